//! For tests: an issuer's key, which signs tokens and can be published.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};

const KEY_ID: &str = "EC384_0";

/// A key for ES384.
pub(super) struct Signer {
    key: EncodingKey,
    published: Jwk,
}

impl Signer {
    pub(super) fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let mut published = Jwk::from_encoding_key(&key, Algorithm::ES384).unwrap();
        published.common.key_id = Some(KEY_ID.to_owned());
        Self { key, published }
    }

    pub(super) fn key_set(&self) -> Value {
        json!({ "keys": [self.published] })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES384) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// What a token says that was made now for five minutes.
pub(super) fn claims(issuer: &str, audience: &str, subject: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({ "iss": issuer, "aud": audience, "sub": subject, "iat": now, "exp": now + 300, "jti": "jti-1" })
}
