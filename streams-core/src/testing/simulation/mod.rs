//! Applications on simulated brokers, disks and time, where everything fails that can.
//!
//! Several instances of several threads run the code that runs in production: stream threads, commits, transactions, rebalances
//! and restoring. Around them everything is simulated, on one thread and from one seed: the brokers, which are those of
//! `embedded` without a network, the group and its members, the disks, and the clock. What may go wrong goes wrong: processes die
//! at any question they ask, stand still longer than their session lasts, lose their disks or find them full; answers get lost,
//! whether or not the question was heard; transactions are given up; members are expelled and come back as zombies; brokers are
//! silent for a while. Then all is well again, and what was written is looked at.
//!
//! A [`Simulation`] is run with a seed, and the same seed gives the same [`Run`], to the last line of its trace. A run checks
//! four things as it goes: committed offsets never go back, a store on disk is never ahead of what is committed, no instance may be
//! given a task whose state another one has and it has not, for longer than it takes to hear of that, and everything is
//! processed in the end. Whether the results are right is for who made the topology to say.
//!
//! ```
//! use streams_core::simulation::{SimulatedRecord, Simulation};
//! use streams_core::{Consumed, Produced, StreamsBuilder};
//!
//! let builder = StreamsBuilder::new();
//! builder.stream::<String, String>("in", Consumed::new()).to("out", Produced::new());
//! let simulation = Simulation::new(builder.build()?)
//!     .set("processing.guarantee", "exactly_once_v2")?
//!     .topic("in", 2)
//!     .topic("out", 2)
//!     .instances(2)
//!     .input((0..20).map(|number| SimulatedRecord {
//!         topic: "in".to_owned(),
//!         partition: number % 2,
//!         timestamp: i64::from(number),
//!         key: Some(b"key".to_vec()),
//!         value: Some(number.to_string().into_bytes()),
//!     }));
//!
//! let run = simulation.run(7);
//! assert_eq!(run.violation(), None);
//! assert_eq!(run.records("out").len(), 20);
//! # Ok::<(), streams_core::Error>(())
//! ```

mod broker;
mod classic;
mod cluster;
mod consumer;
mod faults;
mod instance;
mod members;
mod producer;
mod random;
mod run;
mod scheduler;
mod stores;
mod warmth;
mod world;

pub use random::Random;
pub use run::{PlantedBug, Run, SimulatedRecord, Simulation};
pub(crate) use world::is_planted;
