//! The journal: one change a line, each with a checksum before it, as `8f3a01bc {"Cluster":{"cluster_id":"…"}}`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::embedded::core::changes::Change;
use crate::embedded::core::durable::DurableState;

/// A journal is rewritten when it is longer than this and [`GROWTH_MAX`] times as long as after the last rewrite.
const REWRITE_LEN_MIN: u64 = 4 << 20;
const GROWTH_MAX: u64 = 4;
/// The checksum in hexadecimal and the space after it.
const CHECKSUM_LEN: usize = 9;

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
    len_rewritten: u64,
}

impl Journal {
    /// Reads the journal, up to the first line that is not whole, and leaves it as short as it can be.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, DurableState)> {
        let mut state = DurableState::default();
        match fs::read(&path) {
            Ok(bytes) => replay(&bytes, &path, &mut state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let journal = Self::rewrite(path, &state)?;
        Ok((journal, state))
    }

    /// Adds a change.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn append(&mut self, change: &Change) -> io::Result<()> {
        let line = line(change)?;
        self.len += line.len() as u64;
        self.file.write_all(&line)
    }

    /// Rewrites the journal if most of it has become history.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn compact_if_long(&mut self, state: &DurableState) -> io::Result<()> {
        if self.len > REWRITE_LEN_MIN && self.len > self.len_rewritten * GROWTH_MAX {
            *self = Self::rewrite(self.path.clone(), state)?;
        }
        Ok(())
    }

    /// Writes the state to a new file and puts that in place of the old one, so that one of the two is always whole.
    fn rewrite(path: PathBuf, state: &DurableState) -> io::Result<Self> {
        let mut bytes = Vec::new();
        for change in state.to_changes() {
            bytes.extend_from_slice(&line(&change)?);
        }
        let new_path = path.with_extension("journal.new");
        fs::write(&new_path, &bytes)?;
        fs::rename(&new_path, &path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        let len = bytes.len() as u64;
        Ok(Self {
            path,
            file,
            len,
            len_rewritten: len,
        })
    }
}

pub(crate) fn line(change: &Change) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(change)?;
    let mut line = format!("{:08x} ", crc32c::crc32c(&json)).into_bytes();
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

fn replay(bytes: &[u8], path: &Path, state: &mut DurableState) {
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(change) = parse(line) else {
            warn!(path = %path.display(), line = number + 1, "the journal ends in a line that is not whole; it is cut off there");
            return;
        };
        state.apply(change);
    }
}

pub(crate) fn parse(line: &[u8]) -> Option<Change> {
    let line = line.strip_suffix(b"\n")?;
    let (checksum, json) = line.split_at_checked(CHECKSUM_LEN)?;
    let checksum = std::str::from_utf8(checksum.strip_suffix(b" ")?).ok()?;
    if u32::from_str_radix(checksum, 16).ok()? != crc32c::crc32c(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::core::changes::CommittedOffset;
    use crate::embedded::core::topic_config::TopicConfig;

    fn changes() -> Vec<Change> {
        let mut config = TopicConfig::default();
        config.set("cleanup.policy", "compact").unwrap();
        let committed = CommittedOffset {
            offset: 7,
            leader_epoch: -1,
            metadata: "line\nbreak".into(),
            commit_timestamp_ms: 1,
        };
        vec![
            Change::Cluster {
                cluster_id: "c".into(),
            },
            Change::NextProducerId { producer_id: 3 },
            Change::Topic {
                topic_id: uuid::Uuid::from_u128(1),
                name: "t".into(),
                partition_count: 2,
                config,
            },
            Change::Offset {
                group_id: "g".into(),
                topic: "t".into(),
                partition: 0,
                committed,
            },
        ]
    }

    #[test]
    fn what_is_written_is_read_back_and_a_torn_line_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metadata.journal");
        let (mut journal, empty) = Journal::open(path.clone()).unwrap();
        assert_eq!(empty, DurableState::default());
        changes()
            .iter()
            .for_each(|change| journal.append(change).unwrap());
        let (_, state) = Journal::open(path.clone()).unwrap();
        assert_eq!(state.to_changes(), changes());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"01234567 {\"Cluster\":{\"clus").unwrap();
        let (_, again) = Journal::open(path).unwrap();
        assert_eq!(again, state);
    }
}
