//! Pairs of runs: Kafka Streams, then ours, on the same topics, and again.

use crate::app::Mode;
use crate::application::{Launch, Side, delete_topics};
use crate::compare::{self, Answer, Content};
use crate::data::{self, Topic};
use crate::figures::Figures;
use crate::kafka::Kafka;
use crate::statistics::Spread;
use crate::variant::Variant;
use crate::workload::{Shape, Workload};
use crate::{load, machine};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use streams_core::{Error, Result};

/// A broker with what was loaded onto it, and how much is to be measured.
#[derive(Debug)]
pub struct Suite {
    kafka: Kafka,
    loaded: HashSet<String>,
    /// How many pairs.
    pub pairs: usize,
    /// Whether everything is to be short.
    pub quick: bool,
    runs: u64,
}

/// How many times fewer records a quick run has.
const QUICK_DIVISOR: u64 = 16;

/// One run, measured.
#[derive(Debug)]
pub struct Measured {
    /// What it took.
    pub figures: Figures,
    /// What the application said of itself.
    pub said: Value,
    /// What it wrote.
    pub content: Option<Content>,
}

impl Measured {
    fn to_json(&self) -> Value {
        let figures = &self.figures;
        json!({
            "cpu_us": figures.cpu_us,
            "cpu_us_whole_process": figures.cpu_us_whole,
            "cpu_us_last_commit": figures.cpu_us_close,
            "records_per_second": figures.rate,
            "peak_memory_mb": figures.peak_memory_mb,
            "outputs": self.content.as_ref().map(|content| content.records),
        })
    }
}

/// Ratios by the names that the gates know.
pub type Metrics = Vec<(&'static str, Option<Spread>)>;

impl Suite {
    /// Starts a broker.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(pairs: usize, quick: bool) -> Result<Suite> {
        let kafka = Kafka::start()?;
        if !kafka.is_in_memory() {
            eprintln!("bench: topics are on disk, because memory is short");
        }
        if machine::cores() == 1 {
            eprintln!("bench: the broker and the applications share the only core");
        }
        Ok(Suite {
            kafka,
            loaded: HashSet::new(),
            pairs,
            quick,
            runs: 0,
        })
    }

    /// The broker's address.
    pub fn bootstrap(&self) -> &str {
        self.kafka.bootstrap()
    }

    /// The workload with as many records as are to be measured.
    pub fn sized(&self, mut workload: Workload) -> Workload {
        if !self.quick {
            return workload;
        }
        workload.records /= QUICK_DIVISOR;
        match &mut workload.shape {
            Shape::Restore { .. } => workload.keys = workload.records,
            // Loading the table takes longer than the join, and so does what Kafka Streams has left of that many windows.
            Shape::StreamTable { rows } => {
                *rows /= QUICK_DIVISOR;
                workload.keys = *rows;
            }
            Shape::Windows {
                size_ms,
                advance_ms,
                ..
            } if size_ms != advance_ms => {
                workload.keys = (workload.keys / QUICK_DIVISOR).max(100);
            }
            _ => {}
        }
        workload
    }

    /// Writes topics that are not there yet.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub fn load(&mut self, topics: &[Topic]) -> Result<()> {
        for topic in topics {
            if self.loaded.insert(topic.name.clone()) {
                load::fill(&load::broker(self.bootstrap())?, topic)?;
            }
        }
        Ok(())
    }

    /// Drains the workload's input once.
    ///
    /// # Errors
    /// When the application fails.
    pub fn run(
        &mut self,
        side: Side,
        workload: &Workload,
        settings: &[(String, String)],
        heap: &str,
    ) -> Result<Measured> {
        self.runs += 1;
        let prefix = prefix(workload);
        // A restoration reads the changelog of its application.
        let application_id = match workload.shape {
            Shape::Restore { .. } => prefix.clone(),
            _ => format!("{prefix}-{}{}", side.name(), self.runs),
        };
        let output = format!("{prefix}-{}{}-output", side.name(), self.runs);
        let topics = data::topics(workload);
        self.load(&topics)?;
        if let Some(changelog) = data::changelog(workload, &application_id) {
            self.load(&[changelog])?;
        }
        let client = load::broker(self.bootstrap())?;
        load::create(&client, &output, workload.partitions)?;
        let mut application = Launch {
            side,
            workload,
            mode: Mode::Drain,
            bootstrap: self.bootstrap(),
            application_id: &application_id,
            inputs: topics.into_iter().map(|topic| topic.name).collect(),
            output: &output,
            settings: settings.to_vec(),
            heap,
            marker: self.runs,
        }
        .start()?;
        let said = application.wait()?;
        let figures = Figures::of(workload.shape, &said)
            .ok_or_else(|| Error::fatal(format!("figures are missing: {said}")))?;
        let content = match Answer::of(workload.shape) {
            Some(answer) => Some(compare::read(
                self.bootstrap(),
                &output,
                workload.partitions,
                answer,
            )?),
            None => None,
        };
        Ok(Measured {
            figures,
            said,
            content,
        })
    }

    /// Measures pairs of a workload, and gives its result.
    ///
    /// # Errors
    /// When an application fails, or the two answer differently.
    pub fn pairs(&mut self, workload: &Workload) -> Result<Value> {
        let mut variants = vec![Variant::default_of_java()];
        if !self.quick {
            variants.extend(Variant::tuned(workload));
        }
        let mut pairs = Vec::new();
        let (mut ratios, mut ratios_default, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..self.pairs.max(1) {
            let mut javas = Vec::new();
            for variant in &variants {
                let java = self.run(Side::Java, workload, &variant.settings, variant.heap)?;
                javas.push((variant.name, java));
            }
            let ours = self.run(Side::Rust, workload, &[], "")?;
            for (name, java) in &javas {
                check(workload, java, &ours)?;
                if *name == "default" {
                    ratios_default.push(java.figures.cpu_us / ours.figures.cpu_us);
                }
            }
            let cpu = |java: &Measured| java.figures.cpu_us;
            let best = (0..javas.len())
                .min_by(|a, b| cpu(&javas[*a].1).total_cmp(&cpu(&javas[*b].1)))
                .unwrap_or(0);
            let java = &javas[best].1;
            ratios.push(cpu(java) / ours.figures.cpu_us);
            memory.push(java.figures.peak_memory_mb / ours.figures.peak_memory_mb);
            println!(
                "{:<14} pair {}: Java ({}) {:.3} µs, ours {:.3} µs CPU per record: {:.2}x",
                workload.name,
                pair + 1,
                javas[best].0,
                cpu(java),
                ours.figures.cpu_us,
                cpu(java) / ours.figures.cpu_us,
            );
            let java: Map<String, Value> = javas
                .iter()
                .map(|(name, java)| ((*name).to_owned(), java.to_json()))
                .collect();
            pairs.push(json!({"java": java, "best": javas[best].0, "ours": ours.to_json()}));
            // The better one goes on.
            if pair == 0 {
                variants = vec![variants.swap_remove(best)];
            }
        }
        self.clean(workload)?;
        let metrics = vec![
            ("cpu", Spread::of(ratios)),
            ("cpu_default", Spread::of(ratios_default)),
            ("memory_large_heap", Spread::of(memory)),
        ];
        Ok(result(&workload.name, Some(workload), pairs, &metrics))
    }

    /// Removes what applications of this workload wrote.
    ///
    /// # Errors
    /// When the broker does not.
    pub fn clean(&mut self, workload: &Workload) -> Result<()> {
        let prefix = prefix(workload);
        self.loaded.retain(|topic| !topic.starts_with(&prefix));
        delete_topics(self.bootstrap(), &prefix)
    }
}

fn prefix(workload: &Workload) -> String {
    format!("bench-{}-x", workload.name.to_lowercase())
}

/// Fails when the two answered differently.
fn check(workload: &Workload, java: &Measured, ours: &Measured) -> Result<()> {
    if let (Some(java), Some(ours)) = (&java.content, &ours.content)
        && let Some(difference) = java.difference(ours)
    {
        return Err(Error::fatal(format!(
            "{} is void, because the answers differ: of Kafka Streams' ({} records; ours {}), {difference}",
            workload.name, java.records, ours.records
        )));
    }
    Ok(())
}

/// A result as it is kept.
pub fn result(
    name: &str,
    workload: Option<&Workload>,
    runs: Vec<Value>,
    metrics: &Metrics,
) -> Value {
    let options: Map<String, Value> = workload
        .map(Workload::options)
        .unwrap_or_default()
        .into_iter()
        .map(|(option, value)| (option.to_owned(), Value::from(value)))
        .collect();
    let metrics: Map<String, Value> = metrics
        .iter()
        .filter_map(|(metric, spread)| Some(((*metric).to_owned(), (*spread)?.to_json())))
        .collect();
    json!({
        "workload": name,
        "options": options,
        "metrics": metrics,
        "runs": runs,
        "machine": machine::describe(),
    })
}

/// Where results are.
pub fn directory(quick: bool) -> PathBuf {
    PathBuf::from(match quick {
        true => "target/bench/quick",
        false => "bench/results",
    })
}

/// Keeps a result.
///
/// # Errors
/// When it cannot be written.
pub fn keep(result: &Value, quick: bool) -> Result<()> {
    let directory = directory(quick);
    let name = result["workload"].as_str().unwrap_or("unnamed");
    let text = format!("{result:#}\n");
    fs::create_dir_all(&directory)
        .and_then(|()| fs::write(directory.join(format!("{name}.json")), text))
        .map_err(|error| Error::fatal(format!("{}: {error}", directory.display())))
}

/// The latest result of this name, if there is one.
pub fn kept(name: &str, quick: bool) -> Option<Value> {
    let text = fs::read_to_string(directory(quick).join(format!("{name}.json"))).ok()?;
    serde_json::from_str(&text).ok()
}
