//! `KeyValueStore`: one value per key, in the order of the keys' bytes.

use crate::Result;

/// In which direction a scan goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Smallest first.
    Forward,
    /// Largest first.
    Backward,
}

/// Keys with their values, as a scan of a [`KeyValueStore`] yields them.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + 'a>;

/// One value per key. Keys are ordered by their unsigned bytes, as in Kafka Streams.
///
/// Writes are seen by every later read of the same store at once, committed or not.
///
/// # Examples
///
/// ```
/// use streams_state::{Order, StoreBackend, StoreResources, StoreSpec, TaskStores};
///
/// let specs = [StoreSpec::key_value("counts", StoreBackend::Memory)];
/// let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory())?;
/// let counts = stores.key_value_mut(0);
/// counts.put(b"ape", Some(b"1"))?;
/// counts.put(b"bee", Some(b"2"))?;
/// counts.put(b"ape", None)?;
///
/// assert_eq!(counts.get(b"bee")?.as_deref(), Some(b"2".as_slice()));
/// assert_eq!(counts.range(None, None, Order::Forward)?.count(), 1);
/// # Ok::<(), streams_state::StoreError>(())
/// ```
pub trait KeyValueStore: Send {
    /// Calls `read` once, with the value of `key` or `None`. Nothing is copied on the way.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// The value of `key`, copied.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut copy = None;
        self.get_with(key, &mut |value| copy = value.map(<[u8]>::to_vec))?;
        Ok(copy)
    }

    /// Makes reads and writes of these keys cheaper that may come soon, where the store can: looked up side by side, keys wait
    /// for memory once, and not each for itself. Returns about how many of them it helped. A store that helps less than a
    /// quarter is seldom told.
    ///
    /// The keys are those of the next input records and of what a flush writes. Nobody need ask for them afterwards, and an
    /// input may write its keys in another form than the store. What reads show must not change, and there is no way to fail:
    /// what cannot be had is left to the read.
    fn prefetch(&self, _keys: &[&[u8]]) -> usize {
        0
    }

    /// Writes the value of `key`; `None` deletes it.
    ///
    /// # Errors
    ///
    /// When the store cannot take the write.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()>;

    /// The entries whose keys lie between `from` and `to`. Both bounds are inclusive, `None` is open, and `from`
    /// behind `to` is an empty range, not an error.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read; also each entry can fail.
    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<Entries<'_>>;

    /// The entries whose keys begin with `prefix`, smallest first.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read; also each entry can fail.
    fn prefix_scan(&self, prefix: &[u8]) -> Result<Entries<'_>>;

    /// How many entries there are, more or less: on disk it is an estimate that counts overwritten and deleted
    /// entries until they are compacted away, as `approximateNumEntries` of Kafka Streams.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn approximate_len(&self) -> Result<u64>;
}
