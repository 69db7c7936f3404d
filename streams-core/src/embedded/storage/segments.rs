//! Segment files: named by the offset they start at, batch after batch inside.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tracing::warn;

use crate::embedded::core::batch::RecordBatch;
use crate::embedded::core::log::Segment;

/// The file of a segment.
pub(super) fn path(directory: &Path, base_offset: i64) -> PathBuf {
    directory.join(format!("{base_offset:020}.log"))
}

fn base_offset_of(path: &Path) -> Option<i64> {
    (path.extension()? == "log")
        .then(|| path.file_stem()?.to_str()?.parse().ok())
        .flatten()
}

/// Whether there is nothing but segments in a directory, so that it may be removed as one of a deleted topic.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn is_partition_directory(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_ours = base_offset_of(&path).is_some()
            || path
                .extension()
                .is_some_and(|extension| extension == "cleaned");
        if !is_ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads all segments of a partition, oldest first. At the first batch that is not whole or fails its checksum the log is
/// cut off, in the file too.
///
/// # Errors
/// When a file cannot be read or cut.
pub(super) fn load(directory: &Path, now_ms: i64) -> io::Result<Vec<Segment>> {
    let mut base_offsets = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match base_offset_of(&path) {
            Some(base_offset) => base_offsets.push(base_offset),
            // A rewrite that was not finished; what it should have replaced is still there.
            None if path
                .extension()
                .is_some_and(|extension| extension == "cleaned") =>
            {
                fs::remove_file(&path)?
            }
            None => {}
        }
    }
    base_offsets.sort_unstable();
    let mut segments: Vec<Segment> = Vec::with_capacity(base_offsets.len());
    let mut next_offset = 0;
    let mut is_cut = false;
    for base_offset in base_offsets {
        let path = path(directory, base_offset);
        if is_cut {
            fs::remove_file(&path)?;
            continue;
        }
        let bytes = Bytes::from(fs::read(&path)?);
        let mut segment = Segment::new(base_offset);
        let mut position = 0;
        while position < bytes.len() {
            let Ok(batch) = RecordBatch::parse(&bytes.slice(position..)) else {
                warn!(path = %path.display(), position, "the log is damaged here; it is cut off");
                OpenOptions::new()
                    .write(true)
                    .open(&path)?
                    .set_len(position as u64)?;
                is_cut = true;
                break;
            };
            position += batch.size_bytes();
            // Compaction died between writing the joined segment and removing the ones it was joined from.
            let is_known = batch.base_offset < next_offset;
            if !is_known {
                next_offset = batch.last_offset + 1;
                segment.push(batch, now_ms);
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Removes a segment.
///
/// # Errors
/// When the file is there and cannot be removed.
pub(super) fn delete(directory: &Path, base_offset: i64) -> io::Result<()> {
    match fs::remove_file(path(directory, base_offset)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts one segment in place of those it was made of, `merged`.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn replace(
    directory: &Path,
    base_offset: i64,
    batches: &[Bytes],
    merged: &[i64],
) -> io::Result<()> {
    let path = path(directory, base_offset);
    let new_path = path.with_extension("cleaned");
    let mut file = io::BufWriter::new(fs::File::create(&new_path)?);
    batches.iter().try_for_each(|batch| file.write_all(batch))?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(&new_path, &path)?;
    merged
        .iter()
        .filter(|merged| **merged != base_offset)
        .try_for_each(|merged| delete(directory, *merged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::core::batch::RecordBatchBuilder;

    fn batch(offset: i64) -> Bytes {
        let builder = RecordBatchBuilder::new().record(1, Some(b"k"), Some(b"v"));
        builder.build().placed_at(offset, None).bytes().clone()
    }

    fn offsets(segments: &[Segment]) -> Vec<Vec<i64>> {
        segments
            .iter()
            .map(|segment| {
                segment
                    .batches
                    .iter()
                    .map(|batch| batch.base_offset)
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_torn_batch_is_cut_off_and_what_follows_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        fs::write(path(directory, 0), [batch(0), batch(1)].concat()).unwrap();
        let torn = [&batch(2)[..], &batch(3)[..40]].concat();
        fs::write(path(directory, 2), torn).unwrap();
        fs::write(path(directory, 4), batch(4)).unwrap();
        let segments = load(directory, 0).unwrap();
        assert_eq!(offsets(&segments), [vec![0, 1], vec![2]]);
        assert_eq!(
            fs::metadata(path(directory, 2)).unwrap().len(),
            batch(2).len() as u64
        );
        assert!(!path(directory, 4).exists());
    }

    #[test]
    fn a_replacement_is_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        for offset in 0..3 {
            fs::write(path(directory, offset), batch(offset)).unwrap();
        }
        fs::write(directory.join("half.cleaned"), b"half").unwrap();
        replace(directory, 0, &[batch(0), batch(2)], &[0, 1, 2]).unwrap();
        assert_eq!(offsets(&load(directory, 0).unwrap()), [vec![0, 2]]);
        assert!(!directory.join("half.cleaned").exists());
        // As if the process had died before the old segments were removed.
        fs::write(path(directory, 1), batch(1)).unwrap();
        assert_eq!(offsets(&load(directory, 0).unwrap()), [vec![0, 2], vec![]]);
    }

    #[test]
    fn only_directories_of_segments_may_be_removed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(path(directory.path(), 0), b"").unwrap();
        assert!(is_partition_directory(directory.path()).unwrap());
        fs::write(directory.path().join("thesis.txt"), b"").unwrap();
        assert!(!is_partition_directory(directory.path()).unwrap());
    }
}
