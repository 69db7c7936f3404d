//! The application, ready to run.

use crate::settings::Settings;
use crate::topology::topology;
use streams_core::{KafkaStreams, Result, StreamsConfig};
use weather_producer::{Rejections, create_topics, topic};

/// The application, ready to run: its topics are there.
///
/// The topic of readings is created too if nobody has: consumers and producers of it may start in any order.
///
/// # Errors
/// When Kafka cannot be reached or the settings make no sense.
pub fn application(
    settings: &Settings,
    config: StreamsConfig,
    rejections: &Rejections,
) -> Result<KafkaStreams> {
    let topology = topology(settings, rejections)?;
    create_topics(
        &config,
        &[
            topic(&settings.input, settings.partitions, false),
            topic(&settings.output, settings.partitions, true),
            topic(&settings.dead_letters, 1, false),
        ],
    )?;
    KafkaStreams::new(topology, config)
}
