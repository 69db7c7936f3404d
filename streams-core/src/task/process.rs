//! Which record a task processes next, and the calls by time in between.

use super::Task;
use super::stores::Origin;
use crate::error::{Error, Result};
use crate::operators::children::catch;
use crate::processor::PunctuationType;
use crate::record::FetchedRecord;

impl<R: FetchedRecord> Task<R> {
    /// Runs queued records through the operators, earliest first, and returns how many.
    ///
    /// # Errors
    /// What an operator or handler could not go on with, with the place of the record. The task cannot be used after one.
    pub(crate) fn process(&mut self, records_max: usize, now_ms: i64) -> Result<usize> {
        self.context.now_ms = now_ms;
        self.initialize_processors()?;
        if !self
            .punctuates
            .iter()
            .all(|node| node.borrow_mut().is_ready())
        {
            return Ok(0);
        }
        if !self.context.states.is_empty() {
            for input in &mut self.inputs {
                input.announce(&mut self.context);
            }
        }
        let mut processed = 0;
        while processed < records_max {
            let Some((input, timestamp)) = self.next_input()? else {
                break;
            };
            self.context.stream_time_ms = self.context.stream_time_ms.max(timestamp);
            self.context.system_time_ms = now_ms;
            let processed_head =
                self.inputs[input].process_head(input as u32, timestamp, &mut self.context);
            if let Err(error) = processed_head {
                return Err(self.fail(error));
            }
            self.enqueue(input)?;
            processed += 1;
            if !self.punctuates.is_empty() {
                self.punctuate_stream_time()?;
                if !self
                    .punctuates
                    .iter()
                    .all(|node| node.borrow_mut().is_ready())
                {
                    break;
                }
            }
        }
        self.commit_needed |= processed > 0;
        Ok(processed)
    }

    /// Which input goes next: the one whose first record is the earliest, once every input has one or need not be waited
    /// for. It is out of the queue then, until its record is processed.
    #[inline]
    fn next_input(&mut self) -> Result<Option<(usize, i64)>> {
        self.read_arrived()?;
        loop {
            if self.by_time.len() < self.inputs.len() && !self.need_not_wait() {
                return Ok(None);
            }
            match self.by_time.poll() {
                None => return Ok(None),
                Some((timestamp, input)) if timestamp >= 0 => {
                    return Ok(Some((input as usize, timestamp)));
                }
                // Its input may be empty behind it, and have to be waited for.
                Some((_, input)) => self.enqueue(input as usize)?,
            }
        }
    }

    /// Reads the first records that arrived since the last time.
    #[inline]
    fn read_arrived(&mut self) -> Result<()> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        for input in arrived.drain(..) {
            self.enqueue(input as usize)?;
        }
        self.arrived = arrived;
        Ok(())
    }

    /// Reads the next record of an input and queues the input by its time. When all its records are skipped, Kafka Streams
    /// queues the last one as a placeholder before all times, which decides about the order of the others.
    #[inline]
    fn enqueue(&mut self, input: usize) -> Result<()> {
        let queue = &mut self.inputs[input];
        if queue.records.is_empty() {
            queue.queued = false;
            return Ok(());
        }
        let mut skipped = false;
        let head = queue.load_head(&mut self.context, &mut skipped);
        if skipped {
            self.commit_needed = true;
        }
        match head {
            Ok(timestamp) => {
                self.by_time.offer(timestamp.unwrap_or(-1), input as u32);
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Whether any input has a record.
    #[cfg(feature = "test-driver")]
    pub(crate) fn has_records(&self) -> bool {
        !self.arrived.is_empty() || self.by_time.len() > 0
    }

    /// The time of the record that goes next, `None` when none can now.
    ///
    /// # Errors
    /// As [`Task::process`].
    #[cfg(feature = "test-driver")]
    pub(crate) fn next_timestamp(&mut self, now_ms: i64) -> Result<Option<i64>> {
        self.context.now_ms = now_ms;
        self.read_arrived()?;
        let next = self.by_time.peek().map(|(timestamp, _)| *timestamp);
        if next.is_none() || self.by_time.len() < self.inputs.len() && !self.need_not_wait() {
            return Ok(None);
        }
        Ok(next)
    }

    /// Whether the empty inputs can be done without, as `max.task.idle.ms` says. The time to wait for an input begins when
    /// it is first found empty, whether or not others have records then.
    #[cold]
    fn need_not_wait(&mut self) -> bool {
        let Some(idle_ms) = self.max_task_idle_ms else {
            return true;
        };
        let now_ms = self.context.now_ms;
        self.inputs
            .iter_mut()
            .filter(|queue| !queue.queued)
            .all(|queue| {
                if !queue.caught_up {
                    queue.idle_until_ms = None;
                    return false;
                }
                now_ms
                    >= *queue
                        .idle_until_ms
                        .get_or_insert(now_ms.saturating_add(idle_ms))
            })
    }

    /// Says where the error is from, and leaves only those records to be produced that are to be written all the same.
    #[cold]
    pub(super) fn fail(&mut self, error: Error) -> Error {
        self.context.io.effects = std::mem::take(&mut self.context.last_letters);
        self.failed = true;
        error.context(format_args!("task {}", self.context.id))
    }

    fn initialize_processors(&mut self) -> Result<()> {
        if self.initialized {
            return Ok(());
        }
        self.initialized = true;
        self.context.system_time_ms = self.context.now_ms;
        for position in &self.init_order {
            let node = &self.punctuates[*position];
            node.borrow_mut().init(&mut self.context)?;
        }
        Ok(())
    }

    /// Makes the calls that are due by the wall clock; returns whether there were any.
    ///
    /// # Errors
    /// As [`Task::process`].
    pub(crate) fn punctuate(&mut self, now_ms: i64) -> Result<bool> {
        self.context.now_ms = now_ms;
        self.initialize_processors()?;
        self.run_due(PunctuationType::WallClock, now_ms)
    }

    fn punctuate_stream_time(&mut self) -> Result<bool> {
        match self.context.stream_time_ms {
            -1 => Ok(false),
            time_ms => self.run_due(PunctuationType::StreamTime, time_ms),
        }
    }

    fn run_due(&mut self, clock: PunctuationType, time_ms: i64) -> Result<bool> {
        let mut any = false;
        while let Some(due) = self.context.schedules.take_due(clock, time_ms) {
            any = true;
            self.commit_needed = true;
            self.context.system_time_ms = self.context.now_ms;
            self.context.origin = Origin {
                input: None,
                offset: -1,
                timestamp: time_ms,
            };
            self.context.io.effects.origin = self.context.origin;
            self.context.io.source = None;
            let node = self.punctuates[due.node].clone();
            let punctuated = catch(|| {
                let mut node = node.borrow_mut();
                node.punctuate(due.schedule, time_ms, &mut self.context)
            });
            if let Err(error) = punctuated {
                let name = node.borrow().name().clone();
                self.context
                    .processing_failed(error, &name, None)
                    .map_err(|error| self.fail(error))?;
            }
            self.context.schedules.called(due, clock, time_ms);
        }
        Ok(any)
    }
}
