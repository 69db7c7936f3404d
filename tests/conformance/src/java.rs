//! Kafka Streams in a process of its own, asked through pipes.

use crate::scenario::{Answers, read_answers};
use crate::step::{Step, Wrong};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The recorder, serving.
pub struct Java {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Java {
    /// Starts it with the class path of the recorder and Kafka's jars.
    ///
    /// # Errors
    /// When Java cannot be started.
    pub fn start(class_path: &str) -> Result<Self, Wrong> {
        let mut process = Command::new("java")
            .args([
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
                "-XX:+UseSerialGC",
                "-cp",
                class_path,
                "conformance.Recorder",
                "serve",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Wrong::new(format!("Java cannot be started: {error}")))?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (questions, answers) = pipes.ok_or_else(|| Wrong::new("Java has no pipes"))?;
        Ok(Java {
            process,
            questions,
            answers: BufReader::new(answers),
        })
    }

    /// What Kafka Streams answers to a scenario, when nothing else was asked.
    ///
    /// # Errors
    /// As those of `answer`.
    pub fn ask(&mut self, scenario: &Json) -> Result<Answers, Wrong> {
        self.question(scenario)?;
        self.answer(scenario)
    }

    /// Asks without waiting. Several scenarios are run at a time.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn question(&mut self, scenario: &Json) -> Result<(), Wrong> {
        writeln!(self.questions, "{scenario}").map_err(ended)?;
        self.questions.flush().map_err(ended)
    }

    /// The answer to the oldest question that has none yet, which was this scenario.
    ///
    /// # Errors
    /// When the scenario is wrong, or the process has ended.
    pub fn answer(&mut self, scenario: &Json) -> Result<Answers, Wrong> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(ended)?;
        let answers: Json = serde_json::from_str(&line)
            .map_err(|error| Wrong::new(format!("Java answers {line:?}: {error}")))?;
        if let Some(wrong) = Step(&answers).text("wrong") {
            return Err(Wrong::new(format!("{wrong}: {scenario}")));
        }
        read_answers(Step(&answers))
    }
}

fn ended(error: std::io::Error) -> Wrong {
    Wrong::new(format!("Java has ended: {error}"))
}

impl Drop for Java {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
