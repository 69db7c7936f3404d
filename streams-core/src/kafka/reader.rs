//! A reader outside any group: changelogs and global topics.

use super::consumer::position;
use super::errors;
use super::fetch::{Fetcher, check_new};
use super::ffi::{Client, EventKind, Queue, Refusal};
use super::offsets::{offsets, starts};
use super::record::KafkaRecord;
use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::broker::{Input, InputSlot, LogReader};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reader of partitions over librdkafka, without a group: it talks to no coordinator and commits nothing.
pub struct KafkaReader {
    fetcher: Fetcher,
    starts: BTreeMap<TopicPartition, i64>,
    api_timeout: Duration,
}

impl KafkaReader {
    pub(super) fn new(client: Arc<Client>, api_timeout: Duration) -> Result<KafkaReader> {
        let start = || {
            let events = Queue::of_client(&client)?;
            Fetcher::new(client.clone(), events)
        };
        let fetcher =
            start().map_err(|refusal| errors::refused(&refusal, "making a reader", None))?;
        Ok(KafkaReader {
            fetcher,
            starts: BTreeMap::new(),
            api_timeout,
        })
    }

    fn client(&self) -> &Arc<Client> {
        &self.fetcher.client
    }

    fn serve_events(&mut self) {
        while let Some(event) = self.fetcher.events.poll(Duration::ZERO) {
            if event.kind() == EventKind::Error {
                let place = event.partition();
                let place = place.as_ref().map_or(("", -1, -1), |place| {
                    (place.topic.as_str(), place.partition, place.offset)
                });
                self.fetcher
                    .note(event.error_code(), &event.error_text(), place);
            }
        }
    }

    fn stop(&mut self, partition: &TopicPartition) -> Result<(), Refusal> {
        self.starts.remove(partition);
        if let Some(topic) = self.fetcher.inputs.topic(&partition.topic) {
            self.fetcher.client.stop(topic, partition.partition)?;
        }
        self.fetcher.inputs.remove(partition);
        Ok(())
    }
}

impl LogReader for KafkaReader {
    type Record = KafkaRecord;

    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        check_new(inputs, |partition| self.starts.contains_key(partition))?;
        let starts = starts(self.client(), inputs, self.api_timeout)?;
        for (input, offset) in inputs.iter().zip(starts) {
            let partition = &input.partition;
            let start = |fetcher: &mut Fetcher| {
                fetcher
                    .inputs
                    .insert(&fetcher.client, partition, input.slot)?;
                let topic = fetcher
                    .inputs
                    .topic(&partition.topic)
                    .ok_or_else(|| Refusal::of(RDKafkaErrorCode::UnknownTopic))?;
                fetcher
                    .client
                    .start(topic, partition.partition, offset, &fetcher.records)
            };
            start(&mut self.fetcher).map_err(|refusal| {
                errors::refused(
                    &refusal,
                    format_args!("starting to read {partition}"),
                    self.client().signals().trouble(),
                )
            })?;
            self.starts.insert(partition.clone(), offset);
        }
        Ok(())
    }

    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            if self.starts.contains_key(partition) {
                self.stop(partition).map_err(|refusal| {
                    errors::refused(
                        &refusal,
                        format_args!("stopping to read {partition}"),
                        self.client().signals().trouble(),
                    )
                })?;
            }
        }
        Ok(())
    }

    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<(i64, i64)>> {
        offsets(self.client(), partitions, timeout)
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, KafkaRecord)>,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            self.fetcher.start_looking();
            self.serve_events();
            self.fetcher.check()?;
            self.fetcher.check_missing()?;
            if records_max > 0 && self.fetcher.take(records_max, records) > 0 {
                let lost = self.fetcher.take_out_of_range();
                return match lost.first() {
                    None => Ok(()),
                    Some((partition, offset)) => Err(errors::error(
                        RDKafkaErrorCode::OffsetOutOfRange,
                        format_args!("reading {partition} at offset {offset}"),
                    )),
                };
            }
            if timeout.is_zero() || !self.fetcher.wait_until(deadline) {
                return Ok(());
            }
        }
    }

    fn position(&mut self, partition: &TopicPartition) -> Option<i64> {
        let start = *self.starts.get(partition)?;
        Some(position(self.client(), partition, start))
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        for partition in self.starts.keys().cloned().collect::<Vec<_>>() {
            if let Err(refusal) = self.stop(&partition) {
                tracing::debug!("stopping to read {partition}: {}", refusal.text);
            }
        }
    }
}
