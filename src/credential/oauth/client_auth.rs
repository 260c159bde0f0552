//! How we prove ourselves to a token endpoint, beside the token that is exchanged.

use std::path::PathBuf;
use std::time::SystemTime;

use jsonwebtoken::{EncodingKey, Header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::credential::ExchangeError;
use crate::credential::value::Token;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure;
use crate::secret::Secret;
use crate::tls::ServerSettings;

/// `client_assertion_type` of a JWT (RFC 7523, section 2.2).
pub const JWT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Life of an assertion that we sign: it is used at once, and newer profiles insist on a short one.
const ASSERTION_SECONDS: u64 = 60;

/// How an OAuth client proves itself (RFC 6749, section 2.3; RFC 7523, section 2.2; RFC 8705, section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientAuth {
    /// Not at all: the token is the proof.
    #[default]
    None,
    /// By HTTP Basic authentication.
    Basic {
        /// The client's id.
        client_id: String,
        /// The file with the client's secret, read at each exchange.
        client_secret_file: PathBuf,
    },
    /// By a secret in the form.
    Post {
        /// The client's id.
        client_id: String,
        /// The file with the client's secret, read at each exchange.
        client_secret_file: PathBuf,
    },
    /// By a JWT that we sign with the client's own key.
    PrivateKeyJwt {
        /// The client's id.
        client_id: String,
        /// The PEM file with the key (PKCS#8, or PKCS#1 for RSA), read at each exchange.
        key_file: PathBuf,
        /// The signature's algorithm.
        #[serde(default)]
        algorithm: SigningAlgorithm,
        /// The name of the key at the server.
        #[serde(default)]
        key_id: Option<String>,
        /// Whom the JWT is for; the token endpoint's address where absent. Newer servers insist on the issuer's.
        #[serde(default)]
        audience: Option<String>,
    },
    /// By a token of another issuer that the server trusts: the one that the step takes (`client_credentials`), or the
    /// workload's own where the step exchanges the one that it takes.
    Federated {
        /// The client's id, where the server wants it beside the token.
        #[serde(default)]
        client_id: Option<String>,
        /// What the server is told the token is.
        #[serde(default = "jwt_assertion_type")]
        client_assertion_type: String,
    },
    /// By a TLS client certificate. A token that the server binds to it (`cnf`) is used as it is: no warehouse checks that.
    TlsClientAuth {
        /// The client's id.
        client_id: String,
        /// Certificate and key, read at each exchange.
        identity: ServerSettings,
    },
}

fn jwt_assertion_type() -> String {
    JWT_ASSERTION_TYPE.to_owned()
}

/// An algorithm that we sign with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[default]
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
}

/// What a request shows.
#[derive(Debug)]
pub(super) enum Shown {
    Basic { client_id: String, client_secret: Secret<String> },
    Fields(Vec<(&'static str, Secret<String>)>),
}

impl ClientAuth {
    /// Whether the client is proven by a token of another issuer.
    pub(in crate::credential) fn is_federated(&self) -> bool {
        matches!(self, Self::Federated { .. })
    }

    /// The certificate that connections show.
    pub(super) fn certificate(&self) -> Option<&ServerSettings> {
        if let Self::TlsClientAuth { identity, .. } = self { Some(identity) } else { None }
    }

    /// What a request to this endpoint shows.
    pub(super) async fn show(&self, endpoint: &Endpoint, assertion: &Token) -> Result<Shown, ExchangeError> {
        let plain = |value: &str| Secret::from(value);
        Ok(Shown::Fields(match self {
            Self::None => Vec::new(),
            Self::Basic { client_id, client_secret_file } => {
                let client_secret = Secret::read(client_secret_file).await.map_err(failure::unprepared)?;
                return Ok(Shown::Basic { client_id: client_id.clone(), client_secret });
            }
            Self::Post { client_id, client_secret_file } => {
                let secret = Secret::read(client_secret_file).await.map_err(failure::unprepared)?;
                vec![("client_id", plain(client_id)), ("client_secret", secret)]
            }
            Self::PrivateKeyJwt { client_id, key_file, algorithm, key_id, audience } => {
                let claims = claims(client_id, audience.as_deref().unwrap_or(endpoint.as_str()))?;
                let assertion = sign(key_file, *algorithm, key_id.clone(), &claims).await?;
                vec![("client_id", plain(client_id)), ("client_assertion_type", plain(JWT_ASSERTION_TYPE)), ("client_assertion", assertion)]
            }
            Self::Federated { client_id, client_assertion_type } => {
                let mut fields: Vec<_> = client_id.iter().map(|client_id| ("client_id", plain(client_id))).collect();
                fields.push(("client_assertion_type", plain(client_assertion_type)));
                fields.push(("client_assertion", assertion.value.clone()));
                fields
            }
            Self::TlsClientAuth { client_id, .. } => vec![("client_id", plain(client_id))],
        }))
    }
}

/// What an assertion of ours says (RFC 7523, section 3).
fn claims(client_id: &str, audience: &str) -> Result<serde_json::Value, ExchangeError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(failure::internal)?.as_secs();
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(failure::internal)?;
    Ok(json!({
        "iss": client_id, "sub": client_id, "aud": audience,
        "iat": now, "exp": now + ASSERTION_SECONDS, "jti": format!("{:032x}", u128::from_be_bytes(id)),
    }))
}

/// Signs claims with the key in a PEM file.
pub(in crate::credential) async fn sign(
    key_file: &std::path::Path,
    algorithm: SigningAlgorithm,
    key_id: Option<String>,
    claims: &serde_json::Value,
) -> Result<Secret<String>, ExchangeError> {
    let unfit = |what: &str| failure::unprepared(format!("{}: {what}", key_file.display()));
    let pem = Secret::new(tokio::fs::read(key_file).await.map_err(|error| unfit(&format!("cannot be read: {}", error.kind())))?);
    let (key, algorithm) = match algorithm {
        SigningAlgorithm::RS256 => (EncodingKey::from_rsa_pem(pem.expose()), jsonwebtoken::Algorithm::RS256),
        SigningAlgorithm::ES256 => (EncodingKey::from_ec_pem(pem.expose()), jsonwebtoken::Algorithm::ES256),
    };
    // The library's message may quote the file.
    let key = key.map_err(|_| unfit("holds no private key for the algorithm"))?;
    let header = Header { kid: key_id, ..Header::new(algorithm) };
    Ok(Secret::new(jsonwebtoken::encode(&header, claims, &key).map_err(|_| unfit("its key cannot sign"))?))
}
