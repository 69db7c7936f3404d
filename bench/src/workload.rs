//! What is measured: topologies with the shape of their data.

use std::fmt;

/// What a workload does with its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A filter that keeps everything and a `map_values`, to the output.
    Pass,
    /// Lines to words, a repartition by word, a count of each.
    WordCount,
    /// The mean of each key and window; as large as they advance, they tumble.
    Windows {
        /// The size of a window.
        size_ms: u64,
        /// How far windows are apart.
        advance_ms: u64,
        /// Each mean once, when its window closes.
        on_close: bool,
    },
    /// The mean of each key over sliding windows.
    Sliding {
        /// How far apart the records of a window may be.
        difference_ms: u64,
    },
    /// The count of each key's sessions.
    Sessions {
        /// The inactivity gap.
        gap_ms: u64,
    },
    /// Records joined with the rows of a table that is loaded first.
    StreamTable {
        /// Rows of the table; the keys of the stream are among theirs.
        rows: u64,
    },
    /// Records of two streams that are close in time, joined.
    StreamStream {
        /// How far apart.
        difference_ms: u64,
    },
    /// The count of each key.
    Count,
    /// A table's store from its changelog, into an empty directory.
    Restore {
        /// The changelog's keys in their order, or in none.
        sorted: bool,
    },
}

/// A topology and its data.
#[derive(Clone, Debug)]
pub struct Workload {
    /// As it is asked for and reported: `W4-10k-close`.
    pub name: String,
    /// The topology.
    pub shape: Shape,
    /// Input records, those of a joined table not counted.
    pub records: u64,
    /// Different keys among them; of the words of [`Shape::WordCount`].
    pub keys: u64,
    /// Records per second of event time, of each input.
    pub rate: u64,
    /// Partitions of the inputs.
    pub partitions: i32,
}

const SECOND_MS: u64 = 1000;

impl Workload {
    /// Every workload that drains its input, in the order in which they are reported.
    pub fn all() -> Vec<Workload> {
        let hopping = |on_close| Shape::Windows {
            size_ms: 30 * SECOND_MS,
            advance_ms: SECOND_MS,
            on_close,
        };
        let tumbling = Shape::Windows {
            size_ms: 10 * SECOND_MS,
            advance_ms: 10 * SECOND_MS,
            on_close: false,
        };
        let sliding = Shape::Sliding {
            difference_ms: 30 * SECOND_MS,
        };
        let near = Shape::StreamStream {
            difference_ms: 5 * SECOND_MS,
        };
        let rows = 1_000_000;
        let restore = |sorted| Shape::Restore { sorted };
        [
            ("W1", Shape::Pass, 4_000_000, 10_000, 100_000),
            ("W2", Shape::WordCount, 300_000, 10_000, 100_000),
            ("W3-30", tumbling, 4_000_000, 30, 100_000),
            ("W3-10k", tumbling, 4_000_000, 10_000, 100_000),
            ("W4-100", hopping(false), 600_000, 100, 5_000),
            ("W4-10k", hopping(false), 200_000, 10_000, 5_000),
            ("W4-10k-close", hopping(true), 200_000, 10_000, 5_000),
            ("W5", sliding, 100_000, 1_000, 1_000),
            (
                "W6",
                Shape::Sessions { gap_ms: 500 },
                700_000,
                10_000,
                10_000,
            ),
            ("W7", Shape::StreamTable { rows }, 1_000_000, rows, 100_000),
            ("W8", near, 800_000, 100_000, 24_000),
            ("W9-10k", Shape::Count, 4_000_000, 10_000, 100_000),
            ("W9-2M", Shape::Count, 2_000_000, 2_000_000, 100_000),
            ("W11-random", restore(false), 3_000_000, 3_000_000, 100_000),
            ("W11-sorted", restore(true), 3_000_000, 3_000_000, 100_000),
        ]
        .into_iter()
        .map(|(name, shape, records, keys, rate)| Workload {
            name: name.to_owned(),
            shape,
            records,
            keys,
            rate,
            partitions: 4,
        })
        .collect()
    }

    /// The workload of this name, or the first one it begins: `W4` is `W4-100`.
    pub fn named(name: &str) -> Option<Workload> {
        let all = Workload::all();
        let exact = all.iter().find(|workload| workload.name == name);
        exact
            .or_else(|| {
                all.iter()
                    .find(|workload| workload.name.split('-').next() == Some(name))
            })
            .cloned()
    }

    /// Sets what an option of the command line names: `records`, `keys`, `rate`, `partitions`, or a measure of the shape.
    ///
    /// # Errors
    /// When there is no such option for this workload, or its value is no number.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("--{option} takes a number, got '{value}'"))
        };
        match (option, &mut self.shape) {
            ("records", _) => self.records = number()?,
            ("keys", _) => self.keys = number()?,
            ("rate", _) => self.rate = number()?,
            ("partitions", _) => {
                self.partitions = i32::try_from(number()?).map_err(|error| error.to_string())?;
            }
            ("size-ms", Shape::Windows { size_ms, .. }) => *size_ms = number()?,
            ("advance-ms", Shape::Windows { advance_ms, .. }) => *advance_ms = number()?,
            ("on-close", Shape::Windows { on_close, .. }) => *on_close = number()? != 0,
            ("difference-ms", Shape::Sliding { difference_ms }) => *difference_ms = number()?,
            ("difference-ms", Shape::StreamStream { difference_ms }) => *difference_ms = number()?,
            ("gap-ms", Shape::Sessions { gap_ms }) => *gap_ms = number()?,
            ("rows", Shape::StreamTable { rows }) => *rows = number()?,
            ("sorted", Shape::Restore { sorted }) => *sorted = number()? != 0,
            _ => return Err(format!("{} has no --{option}", self.name)),
        }
        Ok(())
    }

    /// The options that make another program, or this one, run the same: what [`Workload::set`] takes, and the shape by name.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = vec![
            ("records", self.records.to_string()),
            ("keys", self.keys.to_string()),
            ("rate", self.rate.to_string()),
            ("partitions", self.partitions.to_string()),
        ];
        match self.shape {
            Shape::Pass | Shape::WordCount | Shape::Count => {}
            Shape::Windows {
                size_ms,
                advance_ms,
                on_close,
            } => options.extend([
                ("size-ms", size_ms.to_string()),
                ("advance-ms", advance_ms.to_string()),
                ("on-close", u8::from(on_close).to_string()),
            ]),
            Shape::Sliding { difference_ms } | Shape::StreamStream { difference_ms } => {
                options.push(("difference-ms", difference_ms.to_string()));
            }
            Shape::Sessions { gap_ms } => options.push(("gap-ms", gap_ms.to_string())),
            Shape::StreamTable { rows } => options.push(("rows", rows.to_string())),
            Shape::Restore { sorted } => options.push(("sorted", u8::from(sorted).to_string())),
        }
        options
    }

    /// Whether a record is in one window only.
    pub fn tumbles(&self) -> bool {
        matches!(self.shape, Shape::Windows { size_ms, advance_ms, .. } if size_ms <= advance_ms)
    }

    /// What the applications count: records, or the words of a word count.
    pub fn counted(&self) -> u64 {
        match self.shape {
            Shape::WordCount => self.records * crate::data::WORDS_PER_LINE,
            _ => self.records,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::Pass => "pass",
            Shape::WordCount => "word-count",
            Shape::Windows { .. } => "windows",
            Shape::Sliding { .. } => "sliding",
            Shape::Sessions { .. } => "sessions",
            Shape::StreamTable { .. } => "stream-table",
            Shape::StreamStream { .. } => "stream-stream",
            Shape::Count => "count",
            Shape::Restore { .. } => "restore",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_whole_or_by_its_beginning() {
        assert_eq!(
            Workload::named("W3-10k").expect("there is one").keys,
            10_000
        );
        assert_eq!(Workload::named("W4").expect("there is one").name, "W4-100");
        assert!(Workload::named("W").is_none());
        assert!(Workload::named("W40").is_none());
    }

    #[test]
    fn options_make_the_same_workload() {
        for workload in Workload::all() {
            let mut copy = workload.clone();
            (copy.records, copy.keys, copy.rate, copy.partitions) = (0, 0, 0, 0);
            for (option, value) in workload.options() {
                copy.set(option, &value).expect("its own option");
            }
            assert_eq!(format!("{copy:?}"), format!("{workload:?}"));
        }
    }

    #[test]
    fn an_option_of_another_shape_is_refused() {
        let mut pass = Workload::named("W1").expect("there is one");
        assert!(pass.set("gap-ms", "5").is_err());
        assert!(pass.set("records", "many").is_err());
    }
}
