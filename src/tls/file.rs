//! PEM files, and values that are made from files and made again when the files change.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::tls::{DEVELOPMENT_ORGANIZATION, TlsError, Trust};

/// Reads every certificate of a PEM file; at least one.
///
/// # Errors
/// When the file cannot be read, holds none, or holds one that `trust` does not allow.
pub(crate) fn certificates(path: &Path, trust: Trust) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| pem_error(path, "certificate", error))?.collect();
    let found = read.map_err(|error| pem_error(path, "certificate", error))?;
    if found.is_empty() {
        return Err(TlsError::Unusable { path: path.to_owned(), wanted: "certificate" });
    }
    if trust == Trust::Production && found.iter().any(is_for_development) {
        return Err(TlsError::NotForProduction { path: path.to_owned() });
    }
    Ok(found)
}

/// Reads the private key of a PEM file.
///
/// # Errors
/// When the file cannot be read or holds no key.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| pem_error(path, "private key", error))
}

/// Whether `tollhouse dev` made the certificate. What cannot be parsed is not ours, and rustls refuses it later.
fn is_for_development(certificate: &CertificateDer<'static>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    [parsed.subject(), parsed.issuer()]
        .iter()
        .any(|name| name.iter_organization().any(|organization| organization.as_str() == Ok(DEVELOPMENT_ORGANIZATION)))
}

/// The parser's own message may quote the file, which may be a key: only I/O errors are passed on.
fn pem_error(path: &Path, wanted: &'static str, error: pem::Error) -> TlsError {
    if let pem::Error::Io(source) = error {
        TlsError::Unreadable { path: path.to_owned(), source }
    } else {
        TlsError::Unusable { path: path.to_owned(), wanted }
    }
}

/// A value made from files. Each use looks whether they changed, which costs a `stat` per file.
pub(crate) struct Fresh<S, T> {
    paths: Vec<PathBuf>,
    settings: S,
    make: fn(&S) -> Result<T, TlsError>,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    marks: Vec<Option<Mark>>,
    value: Arc<T>,
}

impl<S, T> Fresh<S, T> {
    /// Makes the value for the first time.
    ///
    /// # Errors
    /// What `make` says.
    pub(crate) fn new(paths: Vec<PathBuf>, settings: S, make: fn(&S) -> Result<T, TlsError>) -> Result<Self, TlsError> {
        // The marks are taken before the files are read: a change in between is seen at the next use.
        let kept = Kept { marks: marks(&paths), value: Arc::new(make(&settings)?) };
        Ok(Self { paths, settings, make, kept: Mutex::new(kept) })
    }

    /// The value of the files as they are now.
    ///
    /// # Errors
    /// What `make` says about changed files; the next use tries again.
    pub(crate) fn get(&self) -> Result<Arc<T>, TlsError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = marks(&self.paths);
        if now != kept.marks {
            *kept = Kept { marks: now, value: Arc::new((self.make)(&self.settings)?) };
        }
        Ok(Arc::clone(&kept.value))
    }

    /// The value of the files as they are now, or of the last time that they could be used.
    pub(crate) fn get_or_last_good(&self) -> Arc<T> {
        self.get().unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "changed file not used");
            Arc::clone(&self.kept.lock().unwrap_or_else(PoisonError::into_inner).value)
        })
    }
}

impl<S, T> fmt::Debug for Fresh<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// What changes when a file is written or replaced: modification time, inode and length.
type Mark = (SystemTime, u64, u64);

fn marks(paths: &[PathBuf]) -> Vec<Option<Mark>> {
    let mark = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.ino(), data.len()))
    };
    paths.iter().map(mark).collect()
}
