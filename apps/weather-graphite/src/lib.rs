//! Weather readings and their averages in Graphite, without losing a point.
//!
//! Every reading of the topic `weather` and every result of the topic `weather-averages` becomes points of Graphite's
//! plaintext protocol, `<prefix>.weather.<city>.<attribute> <value> <Unix seconds>` ([`Series`]). They go over one
//! connection, which comes back when it is lost ([`GraphiteSink`]); offsets in Kafka are committed only up to what is safe.

mod name;
mod point;
mod series;

pub mod sink;

mod output;
mod topology;

mod application;
mod settings;

pub use name::{attribute_segment, segment};
pub use point::{Point, PointRefused};
pub use series::Series;

pub use sink::{GraphiteSink, SinkCounts, SinkSettings};

pub use output::{Made, Output, Source};
pub use topology::topology;

pub use application::application;
pub use settings::Settings;

#[cfg(test)]
mod tests;
