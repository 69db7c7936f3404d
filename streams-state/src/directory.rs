//! The directory of a task: who has which folder in it, and how one is deleted.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Result, StoreError};

/// Where in the directory of a task its RocksDB lives.
const DATABASE_DIRECTORY: &str = "rocksdb";
/// Where in the directory of a task custom stores get a folder each.
const CUSTOM_DIRECTORY: &str = "custom";
/// What a folder is renamed to while it is deleted, so that half of it is never taken for the whole.
const WIPED_SUFFIX: &str = "wiped";

/// Where the database of a task lives.
pub(crate) fn of_database(directory: &Path) -> PathBuf {
    directory.join(DATABASE_DIRECTORY)
}

/// Where a custom store may keep what it likes.
pub(crate) fn of_custom_store(directory: &Path, name: &str) -> PathBuf {
    directory.join(CUSTOM_DIRECTORY).join(name)
}

/// Creates the directory of a task, and finishes what a crash left half deleted in it.
pub(crate) fn create(directory: &Path) -> Result<()> {
    remove(&of_database(directory).with_extension(WIPED_SUFFIX))?;
    fs::create_dir_all(directory).map_err(|error| io_error("create", directory, error))
}

/// Deletes everything that is in the directory of a task.
pub(crate) fn wipe(directory: &Path) -> Result<()> {
    for name in [DATABASE_DIRECTORY, CUSTOM_DIRECTORY] {
        wipe_one(&directory.join(name))?;
    }
    Ok(())
}

/// Deletes a directory so that after a crash in the middle it is either whole or gone.
pub(crate) fn wipe_one(path: &Path) -> Result<()> {
    let wiped = path.with_extension(WIPED_SUFFIX);
    remove(&wiped)?;
    match fs::rename(path, &wiped) {
        Ok(()) => remove(&wiped),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("delete", path, error)),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("delete", path, error)),
        _ => Ok(()),
    }
}

#[cold]
#[inline(never)]
fn io_error(verb: &str, path: &Path, error: std::io::Error) -> StoreError {
    StoreError::io(format!("cannot {verb} {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiping_nothing_is_fine() {
        let root = tempfile::tempdir().unwrap();
        wipe(&root.path().join("none")).unwrap();
    }

    #[test]
    fn wiping_leaves_what_is_not_of_a_store() {
        let root = tempfile::tempdir().unwrap();
        let foreign = root.path().join("other");
        for path in [
            of_database(root.path()),
            of_custom_store(root.path(), "a"),
            foreign.clone(),
        ] {
            fs::create_dir_all(path.join("deep")).unwrap();
        }
        wipe(root.path()).unwrap();
        let left: Vec<_> = fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(left, [foreign]);
    }

    #[test]
    fn what_a_crash_left_half_deleted_is_gone_before_the_next_use() {
        let root = tempfile::tempdir().unwrap();
        let half = of_database(root.path()).with_extension(WIPED_SUFFIX);
        fs::create_dir_all(half.join("deep")).unwrap();
        create(root.path()).unwrap();
        assert!(!half.exists());
    }
}
