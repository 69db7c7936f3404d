//! What a stream thread does with records between two polls: tasks take turns, inputs that are full wait.

use crate::error::Result;
use crate::runtime::broker::{Broker, GroupConsumer};
use crate::runtime::running_task::send_effects;
use crate::runtime::worker::Worker;
use std::sync::Arc;
use std::time::Duration;

/// How many records a task may process before it is the next one's turn.
const RECORDS_PER_TURN_MAX: usize = 1024;

/// How many records a task processes at most between two looks at the clock. An operator that suddenly takes a second for each
/// delays polls, and a stop, by so many seconds once; from then on fewer are processed at a time.
const RECORDS_PER_SLICE_MAX: usize = 16;

/// How long records are processed before the log is polled again, so that no input runs dry meanwhile.
const PROCESSING_TIME_MAX: Duration = Duration::from_millis(100);

impl<B: Broker> Worker<B> {
    /// Processes in rounds until nothing is left, time is up or a commit is due; returns whether a record was processed.
    pub(super) fn process(&mut self) -> Result<bool> {
        let clock = Arc::clone(&self.context.clock);
        let started = clock.elapsed();
        let mut processed_any = false;
        self.update_caught_up();
        loop {
            let now_ms = clock.wall_ms();
            let round_started = clock.elapsed();
            let (processed, all_had_a_turn) = self.process_round(now_ms, round_started)?;
            processed_any |= processed > 0;
            let punctuated = self.punctuate(now_ms)?;
            let committed = self.commit_if_due()?;
            // As in Kafka Streams' `StreamThread#runOnceWithoutProcessingThreads`: longer turns while nothing interferes. Slow
            // operators get shorter ones, so that the group hears of this member in time.
            let now = clock.elapsed();
            let slow = !all_had_a_turn || now.saturating_sub(round_started) > PROCESSING_TIME_MAX;
            if punctuated || committed || slow {
                self.records_per_turn = (self.records_per_turn / 2).max(1);
            } else if processed > 0 {
                self.records_per_turn = (self.records_per_turn + 1).min(RECORDS_PER_TURN_MAX);
            }
            let over = now.saturating_sub(started) > PROCESSING_TIME_MAX;
            if processed == 0 || over || self.is_stopping() {
                return Ok(processed_any);
            }
        }
    }

    /// One turn for each task, in slices between which the clock and a stop are looked at. Returns how many records were
    /// processed and whether every task had its turn before time was up.
    fn process_round(&mut self, now_ms: i64, started: Duration) -> Result<(usize, bool)> {
        let mut processed = 0;
        let count = self.tasks.len();
        let first = if self.first_task < count {
            self.first_task
        } else {
            0
        };
        self.first_task = 0;
        let mut slice_started = started;
        for index in (first..count).chain(0..first) {
            let running = &mut self.tasks[index];
            let mut of_task = 0;
            let mut over = false;
            while !over && of_task < self.records_per_turn {
                let wanted = self.records_per_slice.min(self.records_per_turn - of_task);
                let done = match running.task.process(wanted, now_ms) {
                    Ok(done) => done,
                    // It asked the brokers for something, halfway through a record.
                    Err(error) if error.is_retriable() && !self.is_stopping() => {
                        let id = self.tasks[index].id;
                        self.start_over_with(id, error)?;
                        return Ok((processed, false));
                    }
                    Err(error) => return Err(error),
                };
                of_task += done;
                let now = self.context.clock.elapsed();
                if done > 0 {
                    let taken = now.saturating_sub(slice_started);
                    self.records_per_slice = records_per_slice(done, taken);
                }
                slice_started = now;
                over = now.saturating_sub(started) > PROCESSING_TIME_MAX
                    || self.context.lifecycle.is_stopping();
                if done < wanted {
                    break;
                }
            }
            send_effects(&mut self.producer, running)?;
            processed += of_task;
            if over {
                self.first_task = (index + 1) % count;
                return Ok((processed, self.first_task == first));
            }
        }
        Ok((processed, true))
    }

    fn punctuate(&mut self, now_ms: i64) -> Result<bool> {
        let mut punctuated = false;
        for running in &mut self.tasks {
            punctuated |= running.task.punctuate(now_ms)?;
            send_effects(&mut self.producer, running)?;
        }
        Ok(punctuated)
    }

    /// Tells tasks that wait for an empty input whether the log has anything for it (`max.task.idle.ms`).
    fn update_caught_up(&mut self) {
        if self.context.task_options.max_task_idle.is_none() {
            return;
        }
        for running in &mut self.tasks {
            let inputs = running.inputs.len();
            let empty = (0..inputs)
                .filter(|&i| running.task.buffered(i) == 0)
                .count();
            if empty == 0 || empty == inputs {
                continue;
            }
            for (number, input) in running.inputs.iter().enumerate() {
                if running.task.buffered(number) > 0 {
                    continue;
                }
                let caught_up = match &input.partition {
                    None => true,
                    Some(partition) => {
                        let position = self.consumer.position(partition).unwrap_or(input.start);
                        let end = self.consumer.end_offset(partition);
                        end.is_some_and(|end| position >= end)
                    }
                };
                running.task.set_caught_up(number, caught_up);
            }
        }
    }

    /// Stops fetching inputs whose buffers are full, and fetches those again that have been worked off to a half. Pausing
    /// throws away what the client has fetched ahead, so an input at its bound must not be paused and resumed every turn.
    pub(super) fn balance_buffers(&mut self) -> Result<()> {
        let full = self.context.settings.buffered_records_max;
        let mut pause = Vec::new();
        let mut resume = Vec::new();
        for running in &mut self.tasks {
            for (number, input) in running.inputs.iter_mut().enumerate() {
                let Some(partition) = &input.partition else {
                    continue;
                };
                let buffered = running.task.buffered(number);
                if !input.paused && buffered > full {
                    input.paused = true;
                    pause.push(partition.clone());
                } else if input.paused && buffered <= full / 2 {
                    input.paused = false;
                    resume.push(partition.clone());
                }
            }
        }
        if !pause.is_empty() {
            self.consumer.pause(&pause)?;
        }
        if !resume.is_empty() {
            self.consumer.resume(&resume)?;
        }
        Ok(())
    }
}

/// How many records may be processed at once, so that they take no longer than polls may be apart, when `processed` of them
/// took `taken`.
fn records_per_slice(processed: usize, taken: Duration) -> usize {
    let each_ns = (taken.as_nanos() / processed as u128).max(1);
    let records = PROCESSING_TIME_MAX.as_nanos() / each_ns;
    usize::try_from(records)
        .unwrap_or(RECORDS_PER_SLICE_MAX)
        .clamp(1, RECORDS_PER_SLICE_MAX)
}
