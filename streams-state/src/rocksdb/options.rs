//! How RocksDB is set up for the stores of many tasks in one process.

use ::rocksdb::{
    BlockBasedOptions, DBCompressionType, InfoLogger, LogLevel, Options, WriteOptions,
};

use super::memory::SharedMemory;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A memtable that is this large is flushed even when the budget would still hold it, in bytes.
const WRITE_BUFFER_BYTES_MAX: usize = 64 << 20;
/// Memory a memtable asks for at once, in bytes. Small, because a process has tasks times stores of them.
const ARENA_BLOCK_BYTES: usize = 64 << 10;
/// What is read from disk, and cached, at once, in bytes.
const BLOCK_BYTES: usize = 4 << 10;
/// One wrong answer in a hundred costs 10 bits a key, as in Kafka Streams.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// What is written to a file is collected in so much memory, in bytes. Each database has two files open for writing, idle or not.
const FILE_BUFFER_BYTES: u64 = 4 << 10;
/// Files a task keeps open; the rest is opened when needed.
const OPEN_FILES_MAX: i32 = 256;
/// A file of this size is begun anew by a compaction, which keeps 8 bytes for each key of one until it is done, and needs the
/// filter of one as a whole when it is read.
const FILE_BYTES: u64 = 16 << 20;
/// What a compaction reads ahead of each of its files, in bytes: there may be ten at a time, none of which the budget counts.
const COMPACTION_READAHEAD_BYTES: usize = 256 << 10;
/// Background threads are shared by all databases of the process: one flushes while one compacts.
const BACKGROUND_JOBS_MAX: i32 = 2;

/// Options of the database of one task.
pub(super) fn database(memory: &SharedMemory, path: &Path) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Without a write-ahead log only this keeps the stores and their positions at the same point after a crash: a
    // flush writes out all column families together or none.
    options.set_atomic_flush(true);
    options.set_write_buffer_manager(&memory.write_buffers);
    // One thread owns a task and writes to it.
    options.set_allow_concurrent_memtable_write(false);
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_file_opening_threads(1);
    options.set_compaction_readahead_size(COMPACTION_READAHEAD_BYTES);
    let path = path.display().to_string();
    // A subscriber that panics must not unwind into C++.
    let log = move |level, text: &str| {
        let _ = catch_unwind(AssertUnwindSafe(|| log(&path, level, text)));
    };
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, log));
    options.set_writable_file_max_buffer_size(FILE_BUFFER_BYTES);
    options.set_table_cache_num_shard_bits(0);
    options.set_stats_dump_period_sec(0);
    options
}

/// What RocksDB has to say goes where the application logs: a file of its own takes 64 KB for each task.
fn log(path: &str, level: LogLevel, text: &str) {
    match level {
        LogLevel::Warn => tracing::warn!(target: "rocksdb", path, "{text}"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "rocksdb", path, "{text}"),
        // Settings are told at each start, whatever the level.
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    }
}

/// Options of what is in a database beside its stores, a few rows that are looked up when it is opened: each level takes memory,
/// idle or not.
pub(super) fn positions(memory: &SharedMemory) -> Options {
    let mut options = column_family(memory);
    options.set_num_levels(2);
    options
}

/// Options of one store.
pub(super) fn column_family(memory: &SharedMemory) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&memory.cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    // Index and filters are in the cache too, or they would grow beyond the budget.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(memory.write_buffer_bytes.min(WRITE_BUFFER_BYTES_MAX));
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    options.set_target_file_size_base(FILE_BYTES);
    // The first two levels are rewritten soon, so compressing them is not worth its time.
    let compressed = DBCompressionType::Lz4;
    options.set_compression_per_level(&[
        DBCompressionType::None,
        DBCompressionType::None,
        compressed,
        compressed,
        compressed,
        compressed,
        compressed,
    ]);
    options
}

/// Options of a file of rows that is written past the write buffers. It goes to the first levels, which are not compressed.
pub(super) fn ingested(memory: &SharedMemory) -> Options {
    let mut options = column_family(memory);
    options.set_compression_per_level(&[]);
    options.set_compression_type(DBCompressionType::None);
    options
}

/// How every batch is written: the changelog is the log, so RocksDB keeps none.
pub(super) fn write() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}
