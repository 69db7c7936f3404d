//! Mean, lowest and highest value and count of every measured value, per city and window.
//!
//! Readings of the topic `weather` are collected in tumbling windows of their own time, 10 minutes unless another size is
//! set. When a window and its minute of grace are over, its result goes to the topic `weather-averages`: the key is the city
//! and the window's start as Kafka Streams writes windowed keys, the value a [`WindowAverages`] as JSON.
//!
//! What is no reading ([`weather_producer`] has the rules) goes to `weather.dlq` as it came, with the headers `reason`,
//! `message`, `topic`, `partition` and `offset`, and the next record is processed.

mod application;
mod city_window;
mod dead_letters;
mod settings;
mod topology;
mod window_averages;

pub use application::application;
pub use city_window::{CityWindow, Statistics};
pub use dead_letters::dead_letter_header;
pub use settings::Settings;
pub use topology::topology;
pub use window_averages::{Summary, WindowAverages};

#[cfg(test)]
mod tests;
