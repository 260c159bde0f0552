//! The Ed25519 key that signs checkpoints, and the public half that proves them.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use super::frame::{hex, sha256};

/// The key made at the first start, in the directory of the log.
const SIGNING_KEY_FILE: &str = "signing-key.pem";
const PUBLIC_KEY_SUFFIX: &str = ".public.pem";

/// What a SubjectPublicKeyInfo of an Ed25519 key has before the key's 32 bytes (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the key file {path} cannot be used", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no Ed25519 key of the right kind.
    #[error("{path} holds no Ed25519 key in {expected}", path = path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The private key can be read by others than its owner.
    #[error("{path} can be read by others than its owner; its mode must be 0600", path = path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("no key could be made")]
    NotMade,
}

/// Signs checkpoints.
pub(super) struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Reads the configured key, or the log's own, which is made where it is missing; leaves the public half in the
    /// directory of the log under its id.
    pub(super) fn load_or_make(configured: Option<&Path>, directory: &Path) -> Result<Self, KeyError> {
        let own = directory.join(SIGNING_KEY_FILE);
        let key = match configured {
            Some(path) => Self::read(path)?,
            None if own.exists() => Self::read_private(&own)?,
            None => Self::make(&own)?,
        };
        let public = directory.join(format!("{}{PUBLIC_KEY_SUFFIX}", key.public().id()));
        if !public.exists() {
            write_new(&public, 0o644, key.public().to_pem().as_bytes())?;
        }
        Ok(key)
    }

    /// The public half.
    pub(super) fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The signature of a message, in Base64.
    pub(super) fn sign(&self, message: &[u8]) -> String {
        BASE64.encode(self.pair.sign(message))
    }

    fn make(path: &Path) -> Result<Self, KeyError> {
        // Version 1, because OpenSSL's command line does not read version 2.
        let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| KeyError::NotMade)?;
        let text = pem("PRIVATE KEY", document.as_ref());
        write_new(path, 0o600, text.as_bytes())?;
        Self::parse(path, document.as_ref())
    }

    /// A key that we made is ours alone; one that the operator mounts has the mode that the mount gives it.
    fn read_private(path: &Path) -> Result<Self, KeyError> {
        use std::os::unix::fs::PermissionsExt;
        let metadata = fs::metadata(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned() });
        }
        Self::read(path)
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(fs::read(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?);
        match PrivatePkcs8KeyDer::from_pem_slice(&bytes) {
            Ok(key) => Self::parse(path, key.secret_pkcs8_der()),
            Err(_) => Self::parse(path, &bytes),
        }
    }

    fn parse(path: &Path, pkcs8: &[u8]) -> Result<Self, KeyError> {
        match Ed25519KeyPair::from_pkcs8(pkcs8) {
            Ok(pair) => Ok(Self { pair }),
            Err(_) => Err(KeyError::Invalid { path: path.to_owned(), expected: "PKCS#8, PEM or DER" }),
        }
    }
}

/// Proves what a [`SigningKey`] signed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo, PEM or DER.
    ///
    /// # Errors
    /// [`KeyError`] when the file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes = fs::read(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        let parsed = match SubjectPublicKeyInfoDer::from_pem_slice(&bytes) {
            Ok(key) => Self::parse(&key),
            Err(_) => Self::parse(&bytes),
        };
        parsed.ok_or(KeyError::Invalid { path: path.to_owned(), expected: "SubjectPublicKeyInfo, PEM or DER" })
    }

    /// Every public key that lies in the directory of a log.
    ///
    /// # Errors
    /// [`KeyError`] when the directory or one of the files cannot be read.
    pub fn beside(directory: &Path) -> Result<Vec<Self>, KeyError> {
        let failed = |source| KeyError::Io { path: directory.to_owned(), source };
        let mut keys = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(PUBLIC_KEY_SUFFIX)) {
                keys.push(Self::read(&path)?);
            }
        }
        Ok(keys)
    }

    /// The name of the key in records: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes.
    pub fn id(&self) -> String {
        hex(&sha256(&self.0)).chars().take(16).collect()
    }

    /// The 32 bytes in Base64, for records.
    pub(super) fn to_base64(&self) -> String {
        BASE64.encode(self.0)
    }

    /// Did the other half sign `message`?
    pub(super) fn proves(&self, message: &[u8], signature: &str) -> bool {
        BASE64.decode(signature).is_ok_and(|bytes| UnparsedPublicKey::new(&ED25519, self.0).verify(message, &bytes).is_ok())
    }

    fn parse(der: &[u8]) -> Option<Self> {
        Some(Self(der.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?))
    }

    fn to_pem(&self) -> Zeroizing<String> {
        pem("PUBLIC KEY", &[SPKI_PREFIX.as_slice(), self.0.as_slice()].concat())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// PEM (RFC 7468). An Ed25519 key in Base64 is at most 64 characters, so that the one line never has to be broken.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(BASE64.encode(der));
    Zeroizing::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", *text))
}

/// Writes a file that must not exist yet, whole and synced.
fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), KeyError> {
    let write = || {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{PublicKey, SigningKey};

    #[test]
    fn a_key_is_made_once_and_proves_what_it_signed() {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::load_or_make(None, directory.path()).unwrap();
        let again = SigningKey::load_or_make(None, directory.path()).unwrap();
        let signature = again.sign(b"message");

        let [public] = <[PublicKey; 1]>::try_from(PublicKey::beside(directory.path()).unwrap()).unwrap();
        assert_eq!(public, key.public());
        assert!(public.proves(b"message", &signature));
        assert!(!public.proves(b"another", &signature));
    }

    #[test]
    fn a_private_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        SigningKey::load_or_make(None, directory.path()).unwrap();
        let path = directory.path().join(super::SIGNING_KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = SigningKey::load_or_make(None, directory.path()).err().unwrap();
        assert!(error.to_string().contains("0600"), "{error}");
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        std::fs::write(&path, "nothing").unwrap();
        let error = SigningKey::load_or_make(Some(&path), directory.path()).err().unwrap();
        assert!(error.to_string().contains("key.pem"), "{error}");
    }
}
