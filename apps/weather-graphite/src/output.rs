//! Where the topology's points go.

use crate::point::Point;
use crate::sink::GraphiteSink;
use std::fmt;
use streams_core::{Error, Result};
use weather_averages::WindowAverages;

/// What the points were made of.
#[derive(Clone, Copy, Debug)]
pub enum Made<'a> {
    /// A reading.
    OfReading,
    /// The result of a window.
    OfWindow(&'a WindowAverages),
}

/// The record the points came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{} at offset {}",
            self.topic, self.partition, self.offset
        )
    }
}

/// Takes points; one for all tasks of the process.
pub trait Output: Send + Sync + 'static {
    /// Whether it can take more now.
    fn has_room(&self) -> bool;

    /// Takes the points of one record.
    ///
    /// # Errors
    /// Any error stops the application.
    fn take(&self, points: &[Point], made: Made<'_>, source: Source<'_>) -> Result<()>;

    /// The lowest offset of the partition whose points are not safe yet.
    fn oldest_pending(&self, topic: &str, partition: i32) -> Option<i64>;

    /// A task begins to read the partition from its committed offset: what was pending comes again.
    fn restart(&self, topic: &str, partition: i32);

    /// Why no point will ever be taken again.
    fn failure(&self) -> Option<Error>;
}

impl Output for GraphiteSink {
    fn has_room(&self) -> bool {
        GraphiteSink::has_room(self)
    }

    fn take(&self, points: &[Point], _made: Made<'_>, source: Source<'_>) -> Result<()> {
        for point in points {
            self.push(point, source.topic, source.partition, source.offset);
        }
        Ok(())
    }

    fn oldest_pending(&self, topic: &str, partition: i32) -> Option<i64> {
        GraphiteSink::oldest_pending(self, topic, partition)
    }

    fn restart(&self, topic: &str, partition: i32) {
        GraphiteSink::restart(self, topic, partition);
    }

    fn failure(&self) -> Option<Error> {
        GraphiteSink::failure(self)
    }
}
