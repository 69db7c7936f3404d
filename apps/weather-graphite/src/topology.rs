//! From readings and results to points.

use crate::output::{Made, Output, Source};
use crate::point::Point;
use crate::series::Series;
use crate::settings::Settings;
use std::sync::Arc;
use std::time::Duration;
use streams_core::processor::{Processor, ProcessorContext, PunctuationType, Schedule};
use streams_core::serdes::{Nullable, RawBytes};
use streams_core::{
    Consumed, Record, Result, StreamsBuilder, Topology, WallclockTimestampExtractor,
};
use weather_averages::WindowAverages;
use weather_producer::{CityKey, EventTime, Incoming, IncomingSerde};

/// How often the output is asked whether it has failed.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The topology: every reading and every result makes points, which go to `output`.
///
/// While the output has no room the topology reads no further, and offsets are committed only up to the oldest record whose
/// points are not safe. What is no reading makes no point: setting it aside is the work of `weather-averages`. A result that
/// cannot be read is skipped with a warning.
///
/// # Errors
/// When the settings make no sense.
pub fn topology(settings: &Settings, output: Arc<dyn Output>) -> Result<Topology> {
    let prefix = settings.prefix()?;
    let step_s = settings.step_s;
    let feed = move || Feed {
        series: Series::new(&*prefix, step_s),
        output: output.clone(),
        has_begun: false,
    };
    let builder = StreamsBuilder::new();
    builder
        .stream(
            &*settings.readings,
            Consumed::with(CityKey, IncomingSerde::default()).with_timestamp_extractor(EventTime),
        )
        .process(
            {
                let feed = feed.clone();
                move || Readings(feed())
            },
            &[],
        );
    builder
        .stream(
            &*settings.averages,
            Consumed::with(Nullable(RawBytes), Nullable(RawBytes))
                .with_timestamp_extractor(WallclockTimestampExtractor),
        )
        .process(move || Averages(feed()), &[]);
    builder.build()
}

/// What both processors do.
struct Feed {
    series: Series,
    output: Arc<dyn Output>,
    /// Whether this task has given the output anything yet.
    has_begun: bool,
}

type Context<'a> = ProcessorContext<'a, (), ()>;

impl Feed {
    fn watch(context: &mut Context<'_>) -> Result<()> {
        context.schedule(WATCH_INTERVAL, PunctuationType::WallClock);
        Ok(())
    }

    fn give(&mut self, points: &[Point], made: Made<'_>, context: &Context<'_>) -> Result<()> {
        let Some(metadata) = context.record_metadata() else {
            return Ok(());
        };
        let source = Source {
            topic: metadata.topic,
            partition: metadata.partition,
            offset: metadata.offset,
        };
        if !self.has_begun {
            self.output.restart(source.topic, source.partition);
            self.has_begun = true;
        }
        self.output.take(points, made, source)
    }

    fn check(&self) -> Result<()> {
        match self.output.failure() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.has_begun
            .then(|| self.output.oldest_pending(topic, partition))
            .flatten()
    }
}

struct Readings(Feed);

impl Processor<String, Incoming, (), ()> for Readings {
    fn init(&mut self, context: &mut Context<'_>) -> Result<()> {
        Feed::watch(context)
    }

    fn process(
        &mut self,
        record: Record<'_, String, Incoming>,
        context: &mut Context<'_>,
    ) -> Result<()> {
        let Incoming::Reading(reading) = record.value else {
            return Ok(());
        };
        let points = self.0.series.of_reading(reading);
        self.0.give(&points, Made::OfReading, context)
    }

    fn punctuate(&mut self, _: Schedule, _: i64, _: &mut Context<'_>) -> Result<()> {
        self.0.check()
    }

    fn is_ready(&mut self) -> bool {
        self.0.output.has_room()
    }

    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.pending_offset(topic, partition)
    }
}

struct Averages(Feed);

impl Processor<Option<Vec<u8>>, Option<Vec<u8>>, (), ()> for Averages {
    fn init(&mut self, context: &mut Context<'_>) -> Result<()> {
        Feed::watch(context)
    }

    fn process(
        &mut self,
        record: Record<'_, Option<Vec<u8>>, Option<Vec<u8>>>,
        context: &mut Context<'_>,
    ) -> Result<()> {
        let bytes = record.value.as_deref().unwrap_or_default();
        match serde_json::from_slice::<WindowAverages>(bytes) {
            Ok(averages) => {
                let points = self.0.series.of_window(&averages);
                self.0.give(&points, Made::OfWindow(&averages), context)
            }
            Err(error) => {
                tracing::warn!(
                    source = ?context.record_metadata(),
                    "skipped a record that is no result of weather-averages: {error}"
                );
                Ok(())
            }
        }
    }

    fn punctuate(&mut self, _: Schedule, _: i64, _: &mut Context<'_>) -> Result<()> {
        self.0.check()
    }

    fn is_ready(&mut self) -> bool {
        self.0.output.has_room()
    }

    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.pending_offset(topic, partition)
    }
}
