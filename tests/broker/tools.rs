//! Other programs talk to the embedded broker: kcat, Kafka's own Java tools, and all of them to the broker by itself.

use std::time::Duration;

use crate::support::kafka::{run_kcat, run_tool};
use crate::support::names::unique;
use crate::support::ports;
use crate::support::process::Program;

const TOPIC_COMMAND: &str = "org.apache.kafka.tools.TopicCommand";
const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

/// kcat writes, lists, and reads alone and as a member of a group.
pub fn kcat_works(bootstrap: &str) {
    let topic = unique("kcat");
    let produced = run_kcat(bootstrap, &["-P", "-t", &topic, "-K", ":"], "a:1\nb:2\n");
    assert!(produced.status.success(), "{produced:?}");
    let listed = run_kcat(bootstrap, &["-L", "-t", &topic], "");
    assert!(text(&listed.stdout).contains(&topic), "{listed:?}");
    assert_eq!(sorted(&consume(bootstrap, &topic)), ["a=1", "b=2"]);

    let group = unique("group");
    let member = run_kcat(
        bootstrap,
        &[
            "-G",
            &group,
            "-o",
            "beginning",
            "-e",
            "-q",
            "-f",
            "%k=%s\n",
            &topic,
        ],
        "",
    );
    assert_eq!(sorted(&text(&member.stdout)), ["a=1", "b=2"], "{member:?}");
}

/// Kafka's console clients and topic tool work.
pub fn java_tools_work(bootstrap: &str) {
    let topic = unique("java-tools");
    let server = ["--bootstrap-server", bootstrap, "--topic", topic.as_str()];
    let tool = |class: &str, more: &[&str], input: &str| {
        let output = run_tool(class, &[&server[..], more].concat(), input);
        assert!(output.status.success(), "{class}: {output:?}");
        text(&output.stdout)
    };
    tool(TOPIC_COMMAND, &["--create", "--partitions", "3"], "");
    assert!(tool(TOPIC_COMMAND, &["--describe"], "").contains("PartitionCount: 3"));
    tool(CONSOLE_PRODUCER, &[], "mosbach\nstuttgart\n");
    let read = tool(
        CONSOLE_CONSUMER,
        &["--from-beginning", "--max-messages", "2"],
        "",
    );
    assert_eq!(sorted(&read), ["mosbach", "stuttgart"]);
}

/// The program `./dev broker` runs keeps what it is told to keep.
pub fn the_broker_program_keeps_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path in UTF-8");
    let [port] = ports::free::<1>();
    let port = port.to_string();
    let bootstrap = format!("127.0.0.1:{port}");
    let arguments = ["--port", port.as_str(), "--directory", path];
    for round in ["1", "2"] {
        let broker = Program::start("examples/broker", &arguments, &[]);
        broker.wait_for_stdout("broker ready", Duration::from_secs(30));
        let line = format!("round:{round}\n");
        let produced = run_kcat(&bootstrap, &["-P", "-t", "kept", "-K", ":"], &line);
        assert!(produced.status.success(), "{produced:?}");
        broker.terminate();
        assert_eq!(broker.wait_for_exit(Duration::from_secs(30)), 0);
    }
    let broker = Program::start("examples/broker", &arguments, &[]);
    broker.wait_for_stdout("broker ready", Duration::from_secs(30));
    assert_eq!(sorted(&consume(&bootstrap, "kept")), ["round=1", "round=2"]);
    broker.terminate();
    assert_eq!(broker.wait_for_exit(Duration::from_secs(30)), 0);
}

fn consume(bootstrap: &str, topic: &str) -> String {
    let arguments = ["-C", "-t", topic, "-e", "-q", "-f", "%k=%s\n"];
    text(&run_kcat(bootstrap, &arguments, "").stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Lines, in an order that partitions do not change.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}
