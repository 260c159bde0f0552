//! A value that must never be printed, logged, serialized or left in memory.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;
use zeroize::{Zeroize, Zeroizing};

/// The largest secret file that is read; a projected token has about 1 KiB.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Holds a secret from its first byte to its last: no `Display`, no `Serialize`, redacted `Debug`, wiped on drop.
///
/// Every reading of the value goes through [`Secret::expose`], so that `grep expose` lists them all.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over; the caller must not keep a copy.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// Reads a secret from a file: one line, without the white space around it.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, is over 64 KiB, or is not one line of UTF-8: a line break inside could
    /// become a header of its own on the wire. Cancel safe.
    pub async fn read(path: &Path) -> Result<Self, SecretFileError> {
        let fail = |problem| SecretFileError { path: path.to_owned(), problem };
        let file = tokio::fs::File::open(path).await.map_err(|error| fail(FileProblem::Unreadable(error.kind())))?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await.map_err(|error| fail(FileProblem::Unreadable(error.kind())))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(fail(FileProblem::TooLarge));
        }
        match std::str::from_utf8(&bytes).map(str::trim) {
            Ok("") => Err(fail(FileProblem::Empty)),
            Ok(text) if !text.contains(['\r', '\n', '\0']) => Ok(Self::from(text)),
            Ok(_) | Err(_) => Err(fail(FileProblem::NotOneLine)),
        }
    }
}

/// Why a secret could not be read from its file; names the file and never what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret file {}: {problem}", path.display())]
pub struct SecretFileError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: FileProblem,
}

/// What is wrong with a secret file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// The operating system does not give it.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::ErrorKind),
    /// It holds nothing.
    #[error("is empty")]
    Empty,
    /// It is over the limit.
    #[error("is over 64 KiB")]
    TooLarge,
    /// It holds more than one line, or bytes that are not text.
    #[error("does not hold one line of text")]
    NotOneLine,
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{FileProblem, Secret};

    #[tokio::test]
    async fn a_secret_file_is_one_line_and_the_error_never_shows_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        assert!(matches!(Secret::read(&path).await.unwrap_err().problem, FileProblem::Unreadable(_)));
        for (text, problem) in [
            ("hunter2\r\nX-Evil: 1".to_owned(), FileProblem::NotOneLine),
            (" \n".to_owned(), FileProblem::Empty),
            ("hunter2".repeat(10_000), FileProblem::TooLarge),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Secret::read(&path).await.unwrap_err();
            assert_eq!(error.problem, problem);
            assert!(!format!("{error:?} {error}").contains("hunter2"));
        }
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(Secret::read(&path).await.unwrap().expose(), "hunter2");
    }

    #[test]
    fn debug_output_never_shows_the_value() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
