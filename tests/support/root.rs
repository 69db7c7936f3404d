//! Where the repository is.

use std::path::PathBuf;

/// The top of the repository.
pub fn root() -> PathBuf {
    let tests = std::fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("tests/ exists");
    tests
        .parent()
        .expect("tests/ is in the repository")
        .to_path_buf()
}
