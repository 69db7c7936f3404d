//! Weather readings: what they are, what is wrong with bad ones, and where they come from.
//!
//! The program `weather-producer` sends readings to the topic `weather`, keyed by city, as JSON ([`Reading`]). They come from
//! a [`Replay`] of real observations, from a service that is asked on a schedule ([`Poller`]), or are made up for load
//! ([`Generator`]).
//!
//! Those who read the topic take its values as [`Incoming`]: readings that keep the rules, and everything else with the
//! [`Reason`] it was refused for.
//!
//! | rule | reason | example |
//! |---|---|---|
//! | The value is a JSON object. | `not-json` | `hello`, null |
//! | `city` is text, not empty, at most 200 bytes. | `no-city` | `{"tempCurrent":1,"timeStamp":".."}` |
//! | `timeStamp` is there .. | `no-time` | `{"tempCurrent":1,"city":"Mosbach"}` |
//! | .. and is RFC 3339 text with an offset; a number is never guessed to be seconds or milliseconds. | `time-format` | `1637068282000` |
//! | The time is not before 1970 .. | `time-negative` | `-1` |
//! | .. and at most an hour ahead of the clock. | `time-in-future` | `9999-01-01T00:00:00Z` |
//! | A known value is a finite number, or text that is one; `null` means it was not measured. | `not-a-number` | `"n/a"`, `NaN` |
//! | A known value can be true: see [`Attribute`]. | `out-of-range` | a wind of 1,048 miles per hour |
//! | There is at least one value, and at most 64. | `no-values`, `too-many-values` | |
//! | The record's key is the city. | `wrong-key` | no key |

mod attribute;
mod city;
mod parse;
mod reading;
mod rejection;
mod rules;

mod incoming;

mod generate;
mod poll;
mod replay;

mod backoff;
mod pace;
mod program;
mod stop;
mod topics;

pub mod arguments;
mod send;

pub use attribute::Attribute;
pub use city::city_name;
pub use reading::{Reading, Values, WireTime};
pub use rejection::{Reason, Rejection};
pub use rules::{Rules, system_time_ms};

pub use incoming::{CityKey, EventTime, Incoming, IncomingSerde, Rejections};

pub use generate::{Generator, GeneratorSettings};
pub use poll::{Failure, Location, PollSettings, Poller, Round, Service};
pub use replay::Replay;

pub use backoff::Backoff;
pub use pace::{Pace, Pacer};
pub use program::{config, run_program};
pub use stop::Stop;
pub use topics::{PARTITIONS, create_topics, topic};

pub use send::{Sender, run};
