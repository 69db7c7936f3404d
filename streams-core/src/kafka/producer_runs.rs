//! Queueing many records: those of one partition go to librdkafka together, in their order.

use super::ffi::{OutgoingBatch, Refusal};
use super::producer::{KafkaProducer, outgoing};
use crate::error::Result;
use crate::task::effects::ProduceRecord;
use rdkafka::error::RDKafkaErrorCode;
use std::time::{Duration, Instant};

/// How many records are sorted into runs at a time.
pub(super) const RUN_RECORDS_MAX: usize = 1024;
/// No run.
const NONE: u32 = u32::MAX;

/// The runs of records that are being sorted, kept between calls for their memory.
#[derive(Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    /// How many of them are in use.
    used: usize,
    /// By topic and partition: which run is theirs.
    places: Vec<Vec<u32>>,
}

/// Records of one partition, by their numbers.
#[derive(Default)]
struct Run {
    topic: usize,
    partition: i32,
    records: Vec<u32>,
}

impl Runs {
    /// Adds a record to the run of its partition.
    #[inline]
    fn add(&mut self, topic: usize, partition: i32, record: u32) {
        let index = usize::try_from(partition).unwrap_or_default();
        if self.places.len() <= topic {
            self.places.resize_with(topic + 1, Vec::new);
        }
        let places = &mut self.places[topic];
        if places.len() <= index {
            places.resize(index + 1, NONE);
        }
        if places[index] == NONE {
            places[index] = self.used as u32;
            if self.runs.len() == self.used {
                self.runs.push(Run::default());
            }
            let run = &mut self.runs[self.used];
            (run.topic, run.partition) = (topic, partition);
            self.used += 1;
        }
        self.runs[places[index] as usize].records.push(record);
    }

    fn clear(&mut self) {
        for run in &mut self.runs[..self.used] {
            run.records.clear();
            self.places[run.topic][run.partition as usize] = NONE;
        }
        self.used = 0;
    }
}

impl KafkaProducer {
    /// Queues records, waiting for room; keeps those that are refused.
    ///
    /// # Errors
    /// When the producer cannot go on.
    pub(super) fn queue_runs<'a>(
        &mut self,
        records: &mut dyn Iterator<Item = (ProduceRecord<'a>, u64)>,
    ) -> Result<()> {
        let mut deadline = None;
        let mut sorted: Vec<(ProduceRecord<'a>, u64)> = Vec::new();
        let mut batch = OutgoingBatch::default();
        loop {
            self.client.serve(Duration::ZERO);
            sorted.clear();
            sorted.reserve(records.size_hint().0.min(RUN_RECORDS_MAX));
            let mut alone = None;
            while sorted.len() < RUN_RECORDS_MAX {
                let Some((record, tag)) = records.next() else {
                    break;
                };
                let topic = self.topic(record.topic)?;
                let in_batch = record.partition >= 0
                    && record.headers.is_empty()
                    && self.topics[topic].1.takes_batches();
                if !in_batch {
                    alone = Some((record, tag));
                    break;
                }
                self.runs.add(topic, record.partition, sorted.len() as u32);
                sorted.push((record, tag));
            }
            let more = alone.is_some() || sorted.len() == RUN_RECORDS_MAX;
            let queued = self.queue_sorted(&sorted, &mut batch, &mut deadline);
            self.runs.clear();
            queued?;
            if let Some((record, tag)) = alone
                && let Err(error) = self.queue(&record, tag, &mut deadline)
            {
                self.keep_refused(&record, tag, error)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn queue_sorted<'a>(
        &mut self,
        sorted: &[(ProduceRecord<'a>, u64)],
        batch: &mut OutgoingBatch<'a>,
        deadline: &mut Option<Instant>,
    ) -> Result<()> {
        for number in 0..self.runs.used {
            let Run {
                topic, partition, ..
            } = self.runs.runs[number];
            let records = std::mem::take(&mut self.runs.runs[number].records);
            batch.clear();
            for record in &records {
                let (record, tag) = &sorted[*record as usize];
                batch.push(&outgoing(record, *tag));
            }
            let mut queued = Ok(());
            let mut next = 0;
            while next < records.len() && queued.is_ok() {
                (next, queued) = self.queue_run(
                    (topic, partition),
                    batch,
                    next,
                    &|index| &sorted[records[index] as usize],
                    deadline,
                );
            }
            self.runs.runs[number].records = records;
            queued?;
        }
        Ok(())
    }

    /// Queues the records of a run from `first` on. Returns how far it came: where the queue was full when there is room again.
    fn queue_run<'a, 'b>(
        &mut self,
        (topic, partition): (usize, i32),
        batch: &mut OutgoingBatch<'a>,
        first: usize,
        record: &dyn Fn(usize) -> &'b (ProduceRecord<'a>, u64),
        deadline: &mut Option<Instant>,
    ) -> (usize, Result<()>)
    where
        'a: 'b,
    {
        let mut full_at = None;
        let mut refused = Vec::new();
        let handle = &self.topics[topic].1;
        handle.produce_batch(partition, batch, first, |index, code| match code {
            RDKafkaErrorCode::QueueFull => {
                full_at.get_or_insert(index);
            }
            code => refused.push((index, code)),
        });
        for (index, code) in refused {
            let (record, tag) = record(index);
            let error = self.refused_record(&Refusal::of(code), record);
            if let Err(error) = self.keep_refused(record, *tag, error) {
                return (index, Err(error));
            }
        }
        let Some(full_at) = full_at else {
            return (usize::MAX, Ok(()));
        };
        match self.wait_for_room(deadline) {
            Ok(()) => (full_at, Ok(())),
            Err(error) => {
                let (record, tag) = record(full_at);
                (full_at + 1, self.keep_refused(record, *tag, error))
            }
        }
    }
}
