//! The command line of the application under measurement.

use crate::app::{Mode, Run};
use crate::data;
use crate::workload::Workload;

/// What `workload` takes.
pub const USAGE: &str = "\
usage: workload NAME [--embedded | --bootstrap HOST:PORT] [OPTIONS]

  NAME               W1, W2, W3-30, W3-10k, W4-100, W4-10k, W4-10k-close, W5, W6, W7, W8, W9-10k, W9-2M,
                     W11-random, W11-sorted; W3 is the first of its kind
  --embedded         starts the embedded broker in a process of its own and fills it first
  --bootstrap A      a broker that holds the inputs already (./dev bench fills one)
  --records N --keys N --rate N --partitions N
                     of the data; rate is records per second of event time
  --size-ms N --advance-ms N --on-close 0|1 --difference-ms N --gap-ms N --rows N --sorted 0|1
                     of the topology, each where it has one
  --set NAME=VALUE   a setting of Kafka Streams, as often as needed
  --state-dir DIR    where stores are; a temporary directory if not given
  --mode M           drain (until the input is), start (until RUNNING), serve (until standard input ends)";

/// A command line, understood.
#[derive(Debug)]
pub struct Arguments {
    /// What to run; the address is empty when it is not known yet.
    pub run: Run,
    /// Whether on the embedded broker.
    pub embedded: bool,
}

/// Understands a command line.
///
/// # Errors
/// What is wrong with it.
pub fn parse(words: &[String]) -> Result<Arguments, String> {
    let name = words.first().ok_or("a workload is missing")?;
    let workload = Workload::named(name).ok_or_else(|| format!("there is no workload '{name}'"))?;
    let mut run = Run {
        application_id: format!("bench-{}", workload.name.to_lowercase()),
        workload,
        mode: Mode::Drain,
        bootstrap: String::new(),
        inputs: Vec::new(),
        output: String::new(),
        state_dir: String::new(),
        settings: Vec::new(),
        marker: 1,
    };
    let mut embedded = false;
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        let option = word
            .strip_prefix("--")
            .ok_or_else(|| format!("unknown argument '{word}'"))?;
        if option == "embedded" {
            embedded = true;
            continue;
        }
        let value = rest
            .next()
            .ok_or_else(|| format!("{word} needs a value"))?
            .clone();
        match option {
            "bootstrap" => run.bootstrap = value,
            "application-id" => run.application_id = value,
            "input" => run.inputs.push(value),
            "output" => run.output = value,
            "state-dir" => run.state_dir = value,
            "marker" => run.marker = value.parse().map_err(|_| "--marker takes a number")?,
            "mode" => {
                run.mode = match value.as_str() {
                    "drain" => Mode::Drain,
                    "start" => Mode::Start,
                    "serve" => Mode::Serve,
                    _ => return Err(format!("there is no mode '{value}'")),
                }
            }
            "set" => {
                let (name, value) = value
                    .split_once('=')
                    .ok_or_else(|| format!("--set takes NAME=VALUE, got '{value}'"))?;
                run.settings.push((name.to_owned(), value.to_owned()));
            }
            // For the program in Java, which knows no workload by name.
            "shape" => {}
            _ => run.workload.set(option, &value)?,
        }
    }
    if !embedded && run.bootstrap.is_empty() {
        return Err("give --embedded or --bootstrap HOST:PORT".to_owned());
    }
    if run.inputs.is_empty() {
        let topics = data::topics(&run.workload);
        run.inputs = topics.into_iter().map(|topic| topic.name).collect();
    }
    if run.output.is_empty() {
        run.output = format!("{}-output", run.application_id);
    }
    Ok(Arguments { run, embedded })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_reach_the_workload_and_the_run() {
        let line = "W4-10k --embedded --keys 5 --records 70 --advance-ms 500 --set commit.interval.ms=100 --mode start";
        let Arguments { run, embedded } = parse(&words(line)).expect("it is right");
        assert!(embedded);
        assert_eq!((run.workload.keys, run.workload.records), (5, 70));
        assert_eq!(run.inputs, ["readings0-k5-r5000-70-p4"]);
        let setting = ("commit.interval.ms".to_owned(), "100".to_owned());
        assert_eq!((run.settings, run.mode), (vec![setting], Mode::Start));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for line in [
            "W99 --embedded",
            "W1",
            "W1 --embedded records",
            "W1 --embedded --records",
            "W1 --embedded --gap-ms 1",
            "W1 --embedded --set a",
            "W1 --embedded --mode drained",
        ] {
            assert!(parse(&words(line)).is_err(), "{line}");
        }
    }
}
