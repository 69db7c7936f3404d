//! The memory of all stores on disk of a process: rows of key-value stores, write buffers and blocks, out of one budget.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::rocksdb::{Cache, LruCacheOptions, WriteBufferManager};

use crate::row_budget::RowBudget;

/// The budget of a process that did not give one, in bytes.
const BUDGET_BYTES_DEFAULT: usize = 32 << 20;
/// The cache has this many shards, as a power of two. A shard must have room for several of the filters and indices of large
/// files, of hundreds of kilobytes each, also when rows have taken most of the budget: else every read brings one back from disk.
const CACHE_SHARD_BITS: i32 = 2;
/// By how much what a table holds must change before the others are told, in bytes.
const NOTE_BYTES: usize = 128 << 10;

/// The block cache and the write-buffer manager of a process, and what rows and uncommitted writes take.
#[derive(Clone)]
pub(crate) struct SharedMemory {
    pub(super) cache: Cache,
    pub(super) write_buffers: WriteBufferManager,
    pub(super) write_buffer_bytes: usize,
    rows: Arc<Rows>,
}

struct Rows {
    budget_bytes: usize,
    used_bytes: AtomicUsize,
    tables: AtomicUsize,
}

impl SharedMemory {
    pub fn new(budget_bytes: usize) -> Self {
        let mut options = LruCacheOptions::default();
        options.set_capacity(budget_bytes);
        options.set_num_shard_bits(CACHE_SHARD_BITS);
        let cache = Cache::new_lru_cache_opts(&options);
        // Write buffers count as cache entries, so one number bounds both. A write is not stalled when they are over
        // their quarter: a stalled stream thread would stop polling its consumer.
        let write_buffer_bytes = budget_bytes / 4;
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_buffer_bytes,
            false,
            cache.clone(),
        );
        Self {
            cache,
            write_buffers,
            write_buffer_bytes,
            rows: Arc::new(Rows {
                budget_bytes,
                used_bytes: AtomicUsize::new(0),
                tables: AtomicUsize::new(0),
            }),
        }
    }

    pub fn used_bytes(&self) -> usize {
        self.cache.get_usage() + self.rows.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether rows and uncommitted writes take more than they may.
    pub fn is_over(&self) -> bool {
        self.rows.used_bytes.load(Ordering::Relaxed) > self.row_bytes_max()
    }

    /// Rows take what write buffers leave of three quarters of the budget.
    fn row_bytes_max(&self) -> usize {
        let budget = self.rows.budget_bytes;
        let blocks = budget / 4;
        let buffers = self.write_buffers.get_usage();
        budget - blocks - buffers.saturating_sub(blocks / 2).min(blocks)
    }

    /// The memory of one more table of rows.
    pub fn for_rows(&self) -> RowMemory {
        self.rows.tables.fetch_add(1, Ordering::Relaxed);
        RowMemory {
            shared: self.clone(),
            noted_bytes: Cell::new(0),
            is_table: true,
        }
    }

    /// The memory of the uncommitted writes of a table that has no rows of its own.
    pub fn for_writes(&self) -> RowMemory {
        RowMemory {
            shared: self.clone(),
            noted_bytes: Cell::new(0),
            is_table: false,
        }
    }

    /// Leaves to blocks what rows do not take.
    fn share_out(&self) {
        let used = self.rows.used_bytes.load(Ordering::Relaxed);
        let budget = self.rows.budget_bytes;
        let blocks = budget.saturating_sub(used).max(budget / 4);
        self.cache.clone().set_capacity(blocks);
    }
}

impl Default for SharedMemory {
    fn default() -> Self {
        Self::new(BUDGET_BYTES_DEFAULT)
    }
}

/// What one table of rows may hold, and does.
pub(crate) struct RowMemory {
    shared: SharedMemory,
    noted_bytes: Cell<usize>,
    /// Whether it is one of those that rows are shared out to.
    is_table: bool,
}

impl RowBudget for RowMemory {
    /// Each table may take as much as any other.
    fn share(&self) -> usize {
        let tables = self.shared.rows.tables.load(Ordering::Relaxed);
        self.shared.row_bytes_max() / tables.max(1)
    }

    #[inline]
    fn note(&self, bytes: usize) {
        if bytes.abs_diff(self.noted_bytes.get()) >= NOTE_BYTES {
            self.set(bytes);
        }
    }
}

impl RowMemory {
    #[cold]
    fn set(&self, bytes: usize) {
        let before = self.noted_bytes.replace(bytes);
        let used = &self.shared.rows.used_bytes;
        used.fetch_add(bytes, Ordering::Relaxed);
        used.fetch_sub(before, Ordering::Relaxed);
        self.shared.share_out();
    }
}

impl Drop for RowMemory {
    fn drop(&mut self) {
        self.set(0);
        let tables = &self.shared.rows.tables;
        tables.fetch_sub(usize::from(self.is_table), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_over_when_rows_and_uncommitted_writes_take_more_than_three_quarters() {
        let budget = 64 << 20;
        let memory = SharedMemory::new(budget);
        let (rows, writes) = (memory.for_rows(), memory.for_writes());
        assert_eq!(rows.share(), budget / 4 * 3);
        rows.note(budget / 2);
        assert!(!memory.is_over());
        assert_eq!(memory.cache.get_usage() + budget / 2, memory.used_bytes());
        // Writes without rows have no share, and take of what there is.
        writes.note(budget / 4 + NOTE_BYTES);
        assert_eq!(rows.share(), budget / 4 * 3);
        assert!(memory.is_over());
        let second = memory.for_rows();
        assert_eq!(second.share(), budget / 8 * 3);
        drop((second, writes));
        assert!(!memory.is_over());
        assert_eq!(rows.share(), budget / 4 * 3);
    }
}
