//! `print`: records as lines of text, for a look at a stream.

use super::partitioning::Partitioning;
use super::stream::KStream;
use super::stream_node;
use crate::error::Error;
use crate::operators::peek::Peek;
use std::fmt::Debug;
use std::fs::File;
use std::io::Write;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Where and how [`KStream::print`] writes records: each is a line `[label]: key, value`.
///
/// Kafka Streams' `Printed`. Without a label, lines have the name of their node. A text alone is the label of what goes to
/// standard output.
///
/// ```
/// # use streams_core::serdes::{I64, Utf8};
/// use streams_core::{Consumed, Printed, StreamsBuilder};
/// # use streams_core::TopologyTestDriver;
///
/// # let directory = std::env::temp_dir().join(format!("printed-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let path = directory.join("amounts.txt");
/// let builder = StreamsBuilder::new();
/// let amounts = builder.stream::<String, i64>("amounts", Consumed::new());
/// amounts.print("amounts");
/// amounts.print(
///     Printed::to_file(&path)
///         .with_label("amounts")
///         .with_key_value_mapper(|name: &String, amount: &i64| format!("{name} has {amount}")),
/// );
/// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// # let input = driver.input("amounts", Utf8, I64);
/// driver.pipe(&input, "ann", &40)?;
/// assert_eq!(std::fs::read_to_string(&path)?, "[amounts]: ann has 40\n");
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Printed<K, V> {
    target: Target,
    label: Option<String>,
    shown: Shown<K, V>,
}

type Shown<K, V> = Arc<dyn Fn(&K, &V) -> String + Send + Sync>;

enum Target {
    StdOut,
    File(PathBuf),
    Writer(Box<dyn Write + Send>),
}

impl<K: Debug, V: Debug> Printed<K, V> {
    /// To standard output. When nobody reads that any more, nothing is printed.
    pub fn to_std_out() -> Self {
        Printed::to(Target::StdOut)
    }

    /// To a file, which is emptied first if it is there. That it cannot be written to is an error of
    /// [`StreamsBuilder::build`](crate::StreamsBuilder::build); what goes wrong with it later is logged, and stops nothing.
    pub fn to_file(path: impl Into<PathBuf>) -> Self {
        Printed::to(Target::File(path.into()))
    }

    /// To anything that can be written to.
    pub fn to_writer(writer: impl Write + Send + 'static) -> Self {
        Printed::to(Target::Writer(Box::new(writer)))
    }

    /// Keys and values in their `Debug` form.
    fn to(target: Target) -> Self {
        Printed {
            target,
            label: None,
            shown: Arc::new(|key, value| format!("{key:?}, {value:?}")),
        }
    }
}

impl<K, V> Printed<K, V> {
    /// What lines begin with, in brackets.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Shows key and value like this, instead of both in their `Debug` form.
    pub fn with_key_value_mapper(
        mut self,
        mapper: impl Fn(&K, &V) -> String + Send + Sync + 'static,
    ) -> Self {
        self.shown = Arc::new(mapper);
        self
    }
}

impl<K: Debug, V: Debug> From<&str> for Printed<K, V> {
    fn from(label: &str) -> Self {
        Printed::to_std_out().with_label(label)
    }
}

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, V, P> {
    /// Prints each record as a line of text; see [`Printed`], or give a label for lines on standard output.
    ///
    /// ```
    /// # use streams_core::{Consumed, StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("amounts", Consumed::new()).print("amounts");
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn print(&self, printed: impl Into<Printed<K, V>>) {
        let location = Location::caller();
        let Printed {
            target,
            label,
            shown,
        } = printed.into();
        let writer: Box<dyn Write + Send> = match target {
            Target::StdOut => Box::new(std::io::stdout()),
            Target::Writer(writer) => writer,
            Target::File(path) => match File::create(&path) {
                Ok(file) => Box::new(file),
                Err(error) => {
                    self.graph.borrow_mut().fail(Error::topology(format!(
                        "the stream at {location} cannot be printed to {}: {error}",
                        path.display()
                    )));
                    return;
                }
            },
        };
        let writer = Arc::new(Mutex::new(writer));
        let factory = stream_node::<K, V>(move |scope, id| {
            let name = scope.node(id).name.to_string();
            let label = label.clone().unwrap_or(name);
            let (writer, shown) = (writer.clone(), shown.clone());
            let action = move |key: &K, value: &V| {
                let line = format!("[{label}]: {}\n", shown(key, value));
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                let written = writer
                    .write_all(line.as_bytes())
                    .and_then(|()| writer.flush());
                // A closed pipe at the other end is no reason to stop processing.
                if let Err(error) = written {
                    tracing::debug!(label, "a record is not printed: {error}");
                }
            };
            Ok(Box::new(Peek {
                action: Arc::new(action),
                children: scope.stream_children(id)?,
            }))
        });
        self.add("KSTREAM-PRINTER-", factory, location);
    }
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use super::Printed;
    use crate::serdes::{I64, Nullable, Utf8};
    use crate::{Consumed, Result, StreamsBuilder, TopologyTestDriver};
    use std::io::{Error, Write};
    use std::sync::{Arc, Mutex};

    /// Shares what is written to it.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panics").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(Error::other("closed"))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// `KStreamPrintTest#testPrintStreamWithProvidedKeyValueMapper`, `PrintedTest`.
    #[test]
    fn records_are_lines_with_labels_or_the_names_of_nodes() -> Result<()> {
        let written = Shared::default();
        let builder = StreamsBuilder::new();
        let numbers = builder.stream("numbers", Consumed::with(Nullable(Utf8), I64));
        numbers.print(Printed::to_writer(Closed));
        numbers.print(Printed::to_writer(written.clone()));
        numbers
            .named("shown")
            .print(Printed::to_writer(written.clone()));
        numbers.print(
            Printed::to_writer(written.clone())
                .with_label("mapped")
                .with_key_value_mapper(|key: &Option<String>, value: &i64| {
                    format!("{} -> {value}", key.as_deref().unwrap_or("nobody"))
                }),
        );
        let topology = builder.build()?;
        assert!(
            topology
                .describe()
                .contains("Processor: KSTREAM-PRINTER-0000000001")
        );
        let mut driver = TopologyTestDriver::new(&topology)?;
        let input = driver.input("numbers", Nullable(Utf8), I64);
        driver.pipe(&input, Some("a".to_owned()), 1)?;
        driver.pipe(&input, None, 2)?;
        let written = written.0.lock().expect("nobody panics").clone();
        assert_eq!(
            String::from_utf8(written).expect("text"),
            "[KSTREAM-PRINTER-0000000002]: Some(\"a\"), 1\n\
             [shown]: Some(\"a\"), 1\n\
             [mapped]: a -> 1\n\
             [KSTREAM-PRINTER-0000000002]: None, 2\n\
             [shown]: None, 2\n\
             [mapped]: nobody -> 2\n"
        );
        Ok(())
    }

    /// `PrintedTest#shouldThrowTopologyExceptionIfFilePathDoesntExist`.
    #[test]
    fn a_file_that_cannot_be_made_is_refused() {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, i64>("numbers", Consumed::new())
            .print(Printed::to_file("/no/such/directory/numbers.txt"));
        let error = builder
            .build()
            .map(drop)
            .expect_err("there is no such place");
        assert!(error.to_string().contains("/no/such/directory"), "{error}");
    }
}
