//! Signs tokens, publishes the keys, and changes them with overlap.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use crate::dev::DevError;
use crate::secret::Secret;

/// What kind of keys an issuer signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RS256, as most clusters do.
    Rsa,
    /// ES256.
    EllipticCurve,
}

/// An issuer of tokens.
pub struct Issuer {
    url: String,
    kind: KeyKind,
    /// How long a replaced key stays published: the life of the longest token.
    overlap: Duration,
    keys: Mutex<Vec<SigningKey>>,
}

struct SigningKey {
    id: String,
    encoding: EncodingKey,
    published: Jwk,
    replaced: Option<Instant>,
}

impl Issuer {
    /// An issuer with one new key.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn new(url: String, kind: KeyKind, overlap: Duration) -> Result<Self, DevError> {
        Ok(Self { url, kind, overlap, keys: Mutex::new(vec![new_key(kind)?]) })
    }

    /// `iss` of its tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of the algorithm that it signs with.
    pub fn algorithm(&self) -> &'static str {
        match self.kind {
            KeyKind::Rsa => "RS256",
            KeyKind::EllipticCurve => "ES256",
        }
    }

    /// Signs with a new key from now on. Replaced keys stay published for the overlap.
    ///
    /// # Errors
    /// When the key cannot be made; the old one goes on.
    pub fn rotate(&self) -> Result<(), DevError> {
        let key = new_key(self.kind)?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        keys.retain(|key| key.replaced.is_none_or(|at| now.duration_since(at) < self.overlap));
        for old in keys.iter_mut().filter(|key| key.replaced.is_none()) {
            old.replaced = Some(now);
        }
        keys.push(key);
        Ok(())
    }

    /// The published keys (RFC 7517, section 5).
    pub fn key_set(&self) -> Value {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        json!({ "keys": keys.iter().map(|key| &key.published).collect::<Vec<_>>() })
    }

    /// Signs the claims with the newest key.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, claims: &Value) -> Result<Secret<String>, DevError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = keys.last().ok_or(DevError::Randomness)?;
        let mut header = Header::new(self.kind.algorithm());
        header.kid = Some(newest.id.clone());
        Ok(Secret::new(jsonwebtoken::encode(&header, claims, &newest.encoding)?))
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl KeyKind {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa => Algorithm::RS256,
            Self::EllipticCurve => Algorithm::ES256,
        }
    }
}

fn new_key(kind: KeyKind) -> Result<SigningKey, DevError> {
    let encoding = match kind {
        KeyKind::Rsa => {
            let pem = Secret::new(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?.serialize_pem());
            EncodingKey::from_rsa_pem(pem.expose().as_bytes())?
        }
        KeyKind::EllipticCurve => {
            let pem = Secret::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem());
            EncodingKey::from_ec_pem(pem.expose().as_bytes())?
        }
    };
    let mut published = Jwk::from_encoding_key(&encoding, kind.algorithm())?;
    // The name that RFC 7638 gives the key.
    let id = published.thumbprint(ThumbprintHash::SHA256)?;
    published.common.key_id = Some(id.clone());
    published.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(SigningKey { id, encoding, published, replaced: None })
}
