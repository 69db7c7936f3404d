//! What one instance tells the others of its application: that all are to stop. It is a record in the topic of the tasks,
//! which every instance looks at about once a second.
//!
//! Kafka Streams tells it through the assignment, which librdkafka keeps to itself.

use crate::error::{Error, Result};
use crate::record::{FetchedRecord, Headers, TopicPartition};
use crate::runtime::broker::{
    Broker, Input, InputSlot, LogProducer, LogReader, ProduceRecord, StartOffset,
};
use crate::runtime::lifecycle::Lifecycle;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The key of the record that asks all instances to stop; its value is the id of the process that asks, a line end, and why.
const SHUTDOWN: &[u8] = b"shutdown-requested";
/// Which partition of the topic it is in.
const PARTITION: i32 = 0;
/// How long the others are told for before this instance stops all the same.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the first look may wait for the brokers.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
const RECORDS_MAX: usize = 1000;

/// Tells the other instances.
pub(crate) struct Notices<B> {
    pub(crate) broker: Arc<B>,
    /// The topic of the tasks; an application without tasks has none.
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) client_id: String,
    pub(crate) process_id: Uuid,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl<B: Broker> Notices<B> {
    /// Asks all other instances to stop because of `error`. One that cannot be told goes on, which the log says.
    pub(crate) fn ask_all_to_stop(&self, error: &Error) {
        match self.send(error) {
            Ok(()) => tracing::error!(%error, "the other instances are asked to stop"),
            Err(failure) => {
                tracing::error!(%failure, "the other instances could not be asked to stop");
            }
        }
    }

    fn send(&self, error: &Error) -> Result<()> {
        let topic = self.topic.as_ref().ok_or_else(|| {
            Error::fatal("an application of global tables alone has no topic to ask through")
        })?;
        let client_id = format!("{}-shutdown-producer", self.client_id);
        let mut producer = self.broker.producer(&client_id, None)?;
        let value = format!("{}\n{error}", self.process_id);
        let record = ProduceRecord {
            topic,
            partition: PARTITION,
            timestamp: None,
            key: Some(SHUTDOWN),
            value: Some(value.as_bytes()),
            headers: &Headers::new(),
        };
        producer.send(&mut std::iter::once(record))?;
        producer.flush(SEND_TIMEOUT)
    }
}

/// Looks for what other instances tell.
pub(crate) struct NoticeReader<'a, B: Broker> {
    notices: &'a Notices<B>,
    reader: Option<B::Reader>,
    records: Vec<(InputSlot, B::Record)>,
}

impl<'a, B: Broker> NoticeReader<'a, B> {
    /// Looks for what is told from its first look on.
    pub(crate) fn new(notices: &'a Notices<B>) -> Self {
        NoticeReader {
            notices,
            reader: None,
            records: Vec::new(),
        }
    }

    /// Stops the application when another instance has asked for it since the last look.
    pub(crate) fn look(&mut self) {
        if let Err(error) = self.try_look() {
            // From the end on again: what was told meanwhile is missed, as by an instance that is cut off.
            self.reader = None;
            tracing::debug!(%error, "what other instances tell is not known");
        }
    }

    fn try_look(&mut self) -> Result<()> {
        let Some(topic) = &self.notices.topic else {
            return Ok(());
        };
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let client_id = format!("{}-notice-consumer", self.notices.client_id);
                let mut reader = self.notices.broker.reader(&client_id)?;
                let partition = TopicPartition::new(&**topic, PARTITION);
                let offsets = reader.offsets(std::slice::from_ref(&partition), LOOK_TIMEOUT)?;
                let end = offsets.first().map_or(0, |(_, end)| *end);
                reader.add_inputs(&[Input {
                    partition,
                    slot: InputSlot(0),
                    offset: StartOffset::At(end),
                }])?;
                none.insert(reader)
            }
        };
        reader.poll(Duration::ZERO, RECORDS_MAX, &mut self.records)?;
        for (_, record) in self.records.drain(..) {
            if record.key() != Some(SHUTDOWN) {
                continue;
            }
            let text = String::from_utf8_lossy(record.value().unwrap_or_default());
            let (process, reason) = text.split_once('\n').unwrap_or(("", &text));
            if process == self.notices.process_id.to_string() {
                continue;
            }
            tracing::error!(process, reason, "another instance asks all to stop");
            self.notices.lifecycle.fail(Error::fatal(format!(
                "another instance ({process}) has asked all instances of the application to stop: {reason}"
            )));
        }
        Ok(())
    }
}
