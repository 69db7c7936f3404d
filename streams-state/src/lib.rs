//! State stores for stream processing: bytes in, bytes out.
//!
//! ```
//! use streams_state::{Order, StoreBackend, StoreResources, StoreSpec, TaskStores};
//!
//! // Described once, opened for each task, in memory or in a directory.
//! let specs = [StoreSpec::key_value("counts", StoreBackend::RocksDb)];
//! let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory())?;
//!
//! // Written and read through traits.
//! stores.key_value_mut(0).put(b"ape", Some(b"1"))?;
//! for entry in stores.key_value(0).range(None, None, Order::Forward)? {
//!     let (key, value) = entry?;
//!     assert_eq!((key.as_slice(), value.as_slice()), (b"ape".as_slice(), b"1".as_slice()));
//! }
//!
//! // Committed together, with how far each changelog has come.
//! stores.commit(&[Some(1)])?;
//! # Ok::<(), streams_state::StoreError>(())
//! ```
//!
//! # What a store promises
//!
//! * A read sees every write before it, committed or not.
//! * [`TaskStores::commit`] is atomic over all stores of a task on disk and their changelog positions. Nothing
//!   uncommitted reaches the disk.
//! * Every backend answers the same: the semantics are written once, over rows; a backend only keeps rows. The suite
//!   in `conformance` (feature of the same name) holds all of them to it, and a store of your own too.
//!
//! # What it does not know
//!
//! Topics, partitions, serdes: a changelog here is a list of [`Change`]s and a position is a number.
//!
//! # The map
//!
//! | layer | modules |
//! |---|---|
//! | what users of the crate see | `key_value`, `window`, `versioned`, `spec`, `change`, `task_stores`, `resources`, `error`, [`key_encoding`], [`timestamped`] |
//! | semantics, once for all backends | `table`: rows, and each kind of store over them |
//! | the folders of a task | `directory` |
//! | uncommitted writes | `overlay`, and `merge`, which scans it and a backend as one; `row_budget`: what stays in memory |
//! | backends | `memory`, `rocksdb` (the only module that names that crate), `custom`, `simulation`; `database` chooses |

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(any(feature = "rocksdb", feature = "simulation")),
    allow(
        dead_code,
        reason = "only a store on disk has a place to write rows to"
    )
)]

mod change;
mod error;
mod key_value;
mod resources;
mod session;
mod spec;
mod task_stores;
mod versioned;
mod window;

pub mod key_encoding;
pub mod timestamped;

mod directory;
#[cfg(any(feature = "rocksdb", feature = "simulation"))]
mod layout;
mod merge;
mod overlay;
mod records;
mod row_budget;
mod row_key;
mod row_log;
mod table;
mod task_store;
mod touch;

mod custom;
mod database;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "simulation")]
mod simulation;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use change::Change;
pub use error::{Result, StoreError, StoreErrorKind};
pub use key_value::{Entries, KeyValueStore, Order};
pub use resources::StoreResources;
pub use session::{SessionEntries, SessionKey, SessionStore};
#[cfg(feature = "simulation")]
pub use simulation::{DiskOperation, SimulatedDisk, SimulatedStore};
pub use spec::{CustomBackend, StoreBackend, StoreKind, StoreSpec, WindowOrder, WindowSpec};
pub use spec::{SessionSpec, VersionedSpec};
pub use task_stores::TaskStores;
pub use versioned::{
    AsOf, Version, VersionedKeyValueStore, VersionedPut, VersionedRecord, versioned_change,
};
pub use window::{PutOutcome, WindowEntries, WindowKey, WindowStore};
