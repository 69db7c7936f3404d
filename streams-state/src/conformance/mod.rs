//! What every store must do, as tests to call from your own.
//!
//! Each function opens stores with the closure it is given, works with them, and panics with the rule that was
//! broken. A store of your own that passes [`key_value`] or [`window`] can be used as
//! [`StoreBackend::Custom`](crate::StoreBackend::Custom); [`task_stores`] checks it once more in its place.
//!
//! ```
//! use std::collections::BTreeMap;
//! use streams_state::{conformance, Entries, KeyValueStore, Order, Result};
//!
//! #[derive(Default)]
//! struct Mine(BTreeMap<Vec<u8>, Vec<u8>>);
//!
//! impl KeyValueStore for Mine {
//!     fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
//!         read(self.0.get(key).map(Vec::as_slice));
//!         Ok(())
//!     }
//!     fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
//!         match value {
//!             Some(value) => self.0.insert(key.to_vec(), value.to_vec()),
//!             None => self.0.remove(key),
//!         };
//!         Ok(())
//!     }
//!     fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<Entries<'_>> {
//!         let (from, to) = (from.unwrap_or_default().to_vec(), to.map(<[u8]>::to_vec));
//!         let inside = move |key: &Vec<u8>| *key >= from && to.as_ref().is_none_or(|to| key <= to);
//!         let rows = self.0.iter().filter(move |(key, _)| inside(key));
//!         let rows = rows.map(|(key, value)| Ok((key.clone(), value.clone())));
//!         Ok(match order {
//!             Order::Forward => Box::new(rows),
//!             Order::Backward => Box::new(rows.rev()),
//!         })
//!     }
//!     fn prefix_scan(&self, prefix: &[u8]) -> Result<Entries<'_>> {
//!         let prefix = prefix.to_vec();
//!         let rows = self.0.iter().filter(move |(key, _)| key.starts_with(&prefix));
//!         Ok(Box::new(rows.map(|(key, value)| Ok((key.clone(), value.clone())))))
//!     }
//!     fn approximate_len(&self) -> Result<u64> {
//!         Ok(self.0.len() as u64)
//!     }
//! }
//!
//! conformance::key_value(&mut || Box::new(Mine::default()));
//! ```

mod key_value;
mod task_stores;
mod versioned;
mod window;

pub use self::key_value::key_value;
pub use self::task_stores::task_stores;
pub use self::versioned::versioned;
pub use self::window::window;
