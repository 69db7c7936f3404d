//! `StoreResources`: the memory all stores of a process share.

use std::fmt;

/// Rows in memory, write buffers and block cache of every store on disk in the process, out of one budget. Cheap to clone.
///
/// # Examples
///
/// ```
/// use streams_state::StoreResources;
///
/// let resources = StoreResources::new(64 << 20);
/// assert!(resources.memory_used_bytes() <= 64 << 20);
/// ```
#[derive(Clone, Default)]
pub struct StoreResources {
    #[cfg(feature = "rocksdb")]
    shared: Option<crate::rocksdb::SharedMemory>,
    #[cfg(feature = "simulation")]
    disk: Option<crate::SimulatedDisk>,
}

impl StoreResources {
    /// Resources that keep within `budget_bytes`: at most three quarters are rows of key-value stores, at most a quarter write
    /// buffers, and what both do not need is block cache. A write buffer that is full is flushed while the next one fills, so
    /// under a burst of writes use can go over the budget for as long as a flush takes.
    pub fn new(budget_bytes: usize) -> Self {
        #[cfg(feature = "rocksdb")]
        let resources = Self {
            shared: Some(crate::rocksdb::SharedMemory::new(budget_bytes)),
            #[cfg(feature = "simulation")]
            disk: None,
        };
        #[cfg(not(feature = "rocksdb"))]
        let resources = {
            let _ = budget_bytes;
            Self::default()
        };
        resources
    }

    /// Resources of a process without stores on disk. A store that is opened on disk all the same gets a small cache
    /// of its own.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Resources of a simulated process, whose stores on disk are on this one.
    #[cfg(feature = "simulation")]
    pub fn simulated(disk: &crate::SimulatedDisk) -> Self {
        Self {
            #[cfg(feature = "rocksdb")]
            shared: None,
            disk: Some(disk.clone()),
        }
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn simulated_disk(&self) -> Option<&crate::SimulatedDisk> {
        self.disk.as_ref()
    }

    /// How much of the budget is in use, in bytes.
    pub fn memory_used_bytes(&self) -> usize {
        #[cfg(feature = "rocksdb")]
        let used = self.shared.as_ref().map_or(0, |shared| shared.used_bytes());
        #[cfg(not(feature = "rocksdb"))]
        let used = 0;
        used
    }

    #[cfg(feature = "rocksdb")]
    pub(crate) fn shared_or_own(&self) -> crate::rocksdb::SharedMemory {
        self.shared.clone().unwrap_or_default()
    }
}

impl fmt::Debug for StoreResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreResources")
            .field("memory_used_bytes", &self.memory_used_bytes())
            .finish()
    }
}
