//! Files that tests hold the program against; `UPDATE=1 cargo test` writes them anew.

use std::path::Path;

/// Compares `content` with the file at `path` below the repository's root.
///
/// # Panics
/// They differ, and `UPDATE` is not set.
pub fn expect_file(path: &str, content: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, content).unwrap_or_else(|error| panic!("{path} cannot be written: {error}"));
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"));
    assert!(expected == content, "{path} is not what the program makes; look at `UPDATE=1 cargo test` and `git diff {path}`");
}
