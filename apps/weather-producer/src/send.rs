//! Readings into the topic.

use crate::arguments::{PollArguments, ProducerArguments, Source};
use crate::incoming::{CityKey, Incoming, IncomingSerde};
use crate::pace::{Pace, Pacer};
use crate::poll::Poller;
use crate::reading::Reading;
use crate::stop::Stop;
use crate::topics::{create_topics, topic};
use std::time::{Duration, Instant};
use streams_core::producer::Producer;
use streams_core::{Headers, Produced, Result, StreamsConfig};

/// How long the last readings may take to be acknowledged.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the producer until its source ends or it is asked to stop, and returns how many readings were sent and acknowledged.
///
/// # Errors
/// When Kafka cannot be reached or refuses readings.
pub fn run(arguments: &ProducerArguments, config: &StreamsConfig, stop: &Stop) -> Result<u64> {
    create_topics(
        config,
        &[topic(&arguments.topic, arguments.partitions, false)],
    )?;
    let mut sender = Sender::new(config, &arguments.topic)?;
    match &arguments.source {
        Source::Replay(replay) => {
            let observations = replay.replay();
            let count = replay.count.unwrap_or(usize::MAX);
            let readings = observations.readings().take(count);
            sender.send_all(readings, replay.pace(), stop)?;
        }
        Source::Generate(generate) => {
            let count = generate.count.unwrap_or(usize::MAX);
            let readings = generate.generator().take(count);
            sender.send_all(readings, generate.pace(), stop)?;
        }
        Source::Poll(poll) => sender.poll(poll, stop)?,
    }
    sender.flush()?;
    tracing::info!(
        topic = arguments.topic,
        readings = sender.sent(),
        "all readings are sent"
    );
    Ok(sender.sent())
}

/// Sends readings to a topic, keyed by city.
///
/// The record's timestamp is the time of sending. Kafka deletes by it, so readings of long ago are kept as long as others;
/// when a reading was measured is in its value.
pub struct Sender {
    producer: Producer<String, Incoming>,
    topic: String,
    sent: u64,
}

impl Sender {
    /// A sender to an existing topic.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn new(config: &StreamsConfig, topic: &str) -> Result<Self> {
        let produced = Produced::with(CityKey, IncomingSerde::default());
        Ok(Sender {
            producer: Producer::new(config, produced)?,
            topic: topic.to_owned(),
            sent: 0,
        })
    }

    /// Sends one reading.
    ///
    /// # Errors
    /// When it is refused, or an earlier one could not be delivered.
    pub fn send(&mut self, reading: Reading) -> Result<()> {
        let city = reading.city.clone();
        let value = Incoming::Reading(reading);
        self.producer
            .send(&self.topic, &city, &value, None, &Headers::new())?;
        self.sent += 1;
        Ok(())
    }

    /// Sends readings at a pace, until there are no more or it is time to stop.
    ///
    /// # Errors
    /// When one is refused.
    pub fn send_all(
        &mut self,
        readings: impl Iterator<Item = Reading>,
        pace: Pace,
        stop: &Stop,
    ) -> Result<()> {
        let start = Instant::now();
        let mut pacer = Pacer::new(pace);
        for reading in readings {
            let wait = pacer.due(reading.time_ms).saturating_sub(start.elapsed());
            if !stop.sleep(wait) {
                break;
            }
            self.send(reading)?;
        }
        Ok(())
    }

    /// Sends what a service has to say, round after round, until it is time to stop.
    fn poll(&mut self, arguments: &PollArguments, stop: &Stop) -> Result<()> {
        let interval = Duration::from_secs(arguments.interval_s);
        let mut poller = Poller::new(arguments.settings());
        loop {
            let start = Instant::now();
            let round = poller.poll(stop);
            for failure in &round.failures {
                tracing::warn!("no reading of {failure}");
            }
            for reading in round.readings {
                tracing::info!(city = reading.city, "a new reading");
                self.send(reading)?;
            }
            self.flush()?;
            if arguments.once || !stop.sleep(interval.saturating_sub(start.elapsed())) {
                return Ok(());
            }
        }
    }

    /// Waits until all readings are acknowledged.
    ///
    /// # Errors
    /// When one could not be delivered.
    pub fn flush(&mut self) -> Result<()> {
        self.producer.flush(FLUSH_TIMEOUT)
    }

    /// How many readings were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}
