//! The directory of a broker that keeps its data.
//!
//! ```text
//! metadata.journal                       topics, offsets, transactions: a change a line, rewritten now and then
//! <topic>-<partition>/<base offset>.log  segments, as Kafka writes them: batch after batch
//! lock                                   held by the broker that uses the directory
//! ```
//!
//! Writes go to the operating system, not to the disk: they survive the death of the process, as Kafka's do, not the loss of
//! power. A torn tail is cut off at the next start.

pub(crate) mod journal;
mod segments;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::broker::EmbeddedError;
use super::core::changes::{Change, LogChange};
use super::core::durable::DurableState;
use super::core::log::Segment;
use journal::Journal;

/// How many segments are kept open for appending.
const OPEN_FILES_MAX: usize = 256;

/// The records of all partitions, as found on disk.
pub(super) type Segments = HashMap<(Uuid, usize), Vec<Segment>>;

/// The directory, open and locked.
#[derive(Debug)]
pub(super) struct Storage {
    directory: PathBuf,
    journal: Journal,
    state: DurableState,
    /// The segment each partition appends to: its base offset and its file.
    appending: HashMap<(Uuid, usize), (i64, File)>,
    /// Released when the file is closed, however the process ends.
    _lock: File,
}

impl Storage {
    /// Opens a directory, creating it if there is none, and reads everything in it.
    ///
    /// # Errors
    /// When the directory is in use by another broker, or cannot be read or written.
    pub(super) fn open(directory: &Path, now_ms: i64) -> Result<(Self, Segments), EmbeddedError> {
        let refuse = |source| EmbeddedError::Directory {
            directory: directory.to_owned(),
            source,
        };
        fs::create_dir_all(directory).map_err(refuse)?;
        let lock_path = directory.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(lock_path)
            .map_err(refuse)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => EmbeddedError::DirectoryInUse {
                directory: directory.to_owned(),
            },
            TryLockError::Error(source) => refuse(source),
        })?;
        let (journal, state) = Journal::open(directory.join("metadata.journal")).map_err(refuse)?;
        let storage = Self {
            directory: directory.to_owned(),
            journal,
            state,
            appending: HashMap::new(),
            _lock: lock,
        };
        storage.remove_strays().map_err(refuse)?;
        let segments = storage.load(now_ms).map_err(refuse)?;
        Ok((storage, segments))
    }

    /// What the journal says.
    pub(super) fn state(&self) -> &DurableState {
        &self.state
    }

    /// Writes changes down, in order.
    ///
    /// # Errors
    /// When the disk does not take them. What was asked for must then not be confirmed.
    pub(super) fn keep(&mut self, changes: Vec<Change>) -> io::Result<()> {
        for change in changes {
            if let Change::Log {
                topic_id,
                partition,
                change,
            } = change
            {
                self.keep_log_change(topic_id, partition, change)?;
                continue;
            }
            self.journal.append(&change)?;
            let deleted = match &change {
                Change::TopicDeleted { topic_id } => self
                    .state
                    .topics
                    .get(topic_id)
                    .map(|topic| (*topic_id, topic.clone())),
                _ => None,
            };
            self.state.apply(change);
            if let Some((topic_id, topic)) = deleted {
                self.appending.retain(|(id, _), _| *id != topic_id);
                for partition in 0..topic.partition_count {
                    remove_directory(&self.partition_directory(&topic.name, partition))?;
                }
            }
        }
        self.journal.compact_if_long(&self.state)
    }

    fn keep_log_change(
        &mut self,
        topic_id: Uuid,
        partition: usize,
        change: LogChange,
    ) -> io::Result<()> {
        let Some(topic) = self.state.topics.get(&topic_id) else {
            return Ok(());
        };
        let directory = self.partition_directory(&topic.name, partition);
        let key = (topic_id, partition);
        match change {
            LogChange::SegmentStarted { base_offset } => {
                fs::create_dir_all(&directory)?;
                self.open_segment(key, &directory, base_offset).map(|_| ())
            }
            LogChange::Appended {
                segment_base_offset,
                batch,
            } => {
                let is_open = self
                    .appending
                    .get(&key)
                    .is_some_and(|(base_offset, _)| *base_offset == segment_base_offset);
                if is_open {
                    let (_, file) = self.appending.get_mut(&key).expect("it was just seen");
                    return file.write_all(&batch);
                }
                self.open_segment(key, &directory, segment_base_offset)?
                    .write_all(&batch)
            }
            LogChange::SegmentDeleted { base_offset } => segments::delete(&directory, base_offset),
            LogChange::SegmentsReplaced {
                base_offset,
                batches,
                merged,
            } => segments::replace(&directory, base_offset, &batches, &merged),
        }
    }

    fn open_segment(
        &mut self,
        key: (Uuid, usize),
        directory: &Path,
        base_offset: i64,
    ) -> io::Result<&mut File> {
        if self.appending.len() >= OPEN_FILES_MAX {
            self.appending.clear();
        }
        let path = segments::path(directory, base_offset);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        self.appending.insert(key, (base_offset, file));
        let (_, file) = self.appending.get_mut(&key).expect("it was just inserted");
        Ok(file)
    }

    fn partition_directory(&self, topic: &str, partition: usize) -> PathBuf {
        self.directory.join(format!("{topic}-{partition}"))
    }

    /// Removes directories of topics that are gone: the broker died while it deleted them.
    fn remove_strays(&self) -> io::Result<()> {
        let known: Vec<PathBuf> = self
            .state
            .topics
            .values()
            .flat_map(|topic| {
                (0..topic.partition_count)
                    .map(|partition| self.partition_directory(&topic.name, partition))
            })
            .collect();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.is_dir() && !known.contains(&path) && segments::is_partition_directory(&path)? {
                remove_directory(&path)?;
            }
        }
        Ok(())
    }

    fn load(&self, now_ms: i64) -> io::Result<Segments> {
        let mut loaded = Segments::new();
        for (topic_id, topic) in &self.state.topics {
            for partition in 0..topic.partition_count {
                let directory = self.partition_directory(&topic.name, partition);
                fs::create_dir_all(&directory)?;
                loaded.insert((*topic_id, partition), segments::load(&directory, now_ms)?);
            }
        }
        Ok(loaded)
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
