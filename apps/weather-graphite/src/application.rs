//! The application, ready to run.

use crate::output::Output;
use crate::settings::Settings;
use crate::topology::topology;
use std::sync::Arc;
use streams_core::{KafkaStreams, Result, StreamsConfig};
use weather_producer::{create_topics, topic};

/// The application, ready to run: its topics are there.
///
/// The topics are created if nobody has: those who write and those who read them may start in any order.
///
/// # Errors
/// When Kafka cannot be reached or the settings make no sense.
pub fn application(
    settings: &Settings,
    config: StreamsConfig,
    output: Arc<dyn Output>,
) -> Result<KafkaStreams> {
    let topology = topology(settings, output)?;
    create_topics(
        &config,
        &[
            topic(&settings.readings, settings.partitions, false),
            topic(&settings.averages, settings.partitions, true),
        ],
    )?;
    KafkaStreams::new(topology, config)
}
