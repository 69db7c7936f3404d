//! A real Kafka is there: other clients speak with it, and it survives a restart.

use std::time::Duration;

use crate::support::kafka::{RealKafka, run_kcat, run_tool};
use crate::support::names::unique;
use crate::support::wait;

#[test]
fn kcat_reads_what_kcat_wrote() {
    let bootstrap = RealKafka::shared().bootstrap();
    let topic = &unique("kcat-reads-what-kcat-wrote");
    let produced = run_kcat(bootstrap, &["-P", "-t", topic, "-K", ":"], "mosbach:21.5\n");
    assert!(produced.status.success(), "{produced:?}");

    assert_eq!(consume(bootstrap, topic), "mosbach=21.5\n");
}

#[test]
fn kafkas_tools_run() {
    let bootstrap = RealKafka::shared().bootstrap();
    let topic = &unique("kafkas-tools-run");
    let create = [
        "--bootstrap-server",
        bootstrap,
        "--create",
        "--topic",
        topic,
        "--partitions",
        "3",
    ];
    let created = run_tool("org.apache.kafka.tools.TopicCommand", &create, "");
    assert!(created.status.success(), "{created:?}");

    let describe = [
        "--bootstrap-server",
        bootstrap,
        "--describe",
        "--topic",
        topic,
    ];
    let described = run_tool("org.apache.kafka.tools.TopicCommand", &describe, "");
    let text = String::from_utf8_lossy(&described.stdout);
    assert!(text.contains("PartitionCount: 3"), "{described:?}");
}

#[test]
fn a_tool_reads_its_input() {
    let bootstrap = RealKafka::shared().bootstrap();
    let topic = &unique("a-tool-reads-its-input");
    let arguments = [
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=:",
    ];
    let produced = run_tool(
        "org.apache.kafka.tools.ConsoleProducer",
        &arguments,
        "a:1\nb:2\n",
    );
    assert!(produced.status.success(), "{produced:?}");

    assert_eq!(consume(bootstrap, topic), "a=1\nb=2\n");
}

#[test]
fn records_outlive_the_death_of_a_broker() {
    let kafka = RealKafka::start(&[("num.partitions", "1")]);
    let topic = "records-outlive-the-death";
    run_kcat(kafka.bootstrap(), &["-P", "-t", topic, "-K", ":"], "a:1\n");

    kafka.kill();
    assert!(
        !run_kcat(kafka.bootstrap(), &["-L", "-m", "1"], "")
            .status
            .success()
    );
    kafka.start_again();
    run_kcat(kafka.bootstrap(), &["-P", "-t", topic, "-K", ":"], "b:2\n");
    kafka.restart();

    wait::until("both records", Duration::from_secs(30), || {
        consume(kafka.bootstrap(), topic) == "a=1\nb=2\n"
    });
}

/// Everything in the topic, one `key=value` a line.
fn consume(bootstrap: &str, topic: &str) -> String {
    let consumed = run_kcat(
        bootstrap,
        &["-C", "-t", topic, "-e", "-q", "-f", "%k=%s\n"],
        "",
    );
    assert!(consumed.status.success(), "{consumed:?}");
    String::from_utf8(consumed.stdout).expect("the records are text")
}
