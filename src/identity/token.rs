//! A JSON Web Token: what its header asks for, and whether it is what it says (RFC 7515, 7519, 8725).

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault::Reason;
use crate::identity::IdentityError;
use crate::secret::Secret;

/// A signature algorithm that may be allowed. There is no `none` and no shared secret among them, so neither can be
/// configured (RFC 8725, sections 3.1 and 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// All of them.
    const ALL: [Self; 9] =
        [Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::PS384, Self::PS512, Self::ES256, Self::ES384, Self::EdDSA];

    /// What an issuer is expected to use where nothing is configured.
    pub fn usual() -> Vec<Self> {
        vec![Self::RS256, Self::ES256]
    }

    /// The name in a JOSE header (RFC 7518, section 3.1; RFC 8037, section 3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Whether a signature has at least its length in bytes (RFC 7518, sections 3.3 to 3.5; RFC 8032). A shorter RSA one would be of
    /// a key that nobody may use.
    fn is_whole(self, signature: usize) -> bool {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => signature >= 256,
            Self::ES256 | Self::EdDSA => signature >= 64,
            Self::ES384 => signature >= 96,
        }
    }

    fn for_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::RS384 => jsonwebtoken::Algorithm::RS384,
            Self::RS512 => jsonwebtoken::Algorithm::RS512,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::PS384 => jsonwebtoken::Algorithm::PS384,
            Self::PS512 => jsonwebtoken::Algorithm::PS512,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::ES384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// What a token must say to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The only accepted `iss`.
    pub issuer: String,
    /// One `aud` that the token must name, beside any others.
    pub audience: String,
    /// Accepted algorithms; what the header says is only looked up here.
    pub algorithms: Vec<Algorithm>,
    /// How far the clocks may differ.
    pub leeway: Duration,
}

/// What the header of a token asks for, after it was found acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithm, one of the allowed.
    pub algorithm: Algorithm,
    /// The key's name.
    pub key_id: Option<String>,
}

impl Expectation {
    /// Reads the header and decides whether the token may be looked at any further.
    ///
    /// # Errors
    /// `TokenIncomplete`, `TokenMalformed`, `TokenCritical` or `TokenAlgorithm`.
    pub fn header(&self, token: &Secret<String>) -> Result<Header, IdentityError> {
        // How every JOSE header begins that is written without white space: `{"`.
        let is_cut = token.expose().starts_with("eyJ") && token.expose().split('.').count() < 3;
        if is_cut {
            return Err(IdentityError::new(Reason::TokenIncomplete, "it ends before its signature"));
        }
        let fields = header_fields(token).ok_or_else(|| IdentityError::new(Reason::TokenMalformed, "its header cannot be read"))?;
        // The library ignores `crit`, so it is judged here (RFC 7515, section 4.1.11).
        if fields.crit.is_some() {
            return Err(IdentityError::new(Reason::TokenCritical, "its header has `crit`"));
        }
        let allowed = self.algorithms.iter().find(|algorithm| algorithm.as_str() == fields.alg);
        let Some(&algorithm) = allowed else {
            return Err(IdentityError::new(Reason::TokenAlgorithm, unfit(&fields.alg)));
        };
        let signature = token.expose().rsplit('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        if !signature.is_some_and(|signature| algorithm.is_whole(signature.len())) {
            return Err(IdentityError::new(Reason::TokenIncomplete, "its signature is shorter than its algorithm makes one"));
        }
        Ok(Header { algorithm, key_id: fields.kid })
    }

    /// Verifies signature, issuer, audience and times, and gives the claims.
    ///
    /// # Errors
    /// The first of these that fails; never with any part of the token.
    pub fn verify<C: DeserializeOwned>(&self, token: &Secret<String>, header: &Header, key: &Jwk) -> Result<C, IdentityError> {
        let key =
            DecodingKey::from_jwk(key).map_err(|_| IdentityError::new(Reason::TokenUnknownKey, "the published key cannot be used"))?;
        let mut validation = Validation::new(header.algorithm.for_library());
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = self.leeway.as_secs();
        match jsonwebtoken::decode::<C>(token.expose(), &key, &validation) {
            Ok(verified) => Ok(verified.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidAudience) => Err(self.wrong_audience(token)),
            Err(error) => Err(refusal(error.kind())),
        }
    }

    /// Shows what was expected and what came. The signature was verified before, so these are the issuer's own words, and an
    /// audience is no secret.
    fn wrong_audience(&self, token: &Secret<String>) -> IdentityError {
        let came = verified_claims(token).and_then(|mut claims| claims.remove("aud")).unwrap_or_default();
        let came: String = came.to_string().chars().filter(|c| !c.is_control()).take(AUDIENCE_CHARACTERS_MAX).collect();
        let cause = format!("`aud` does not name the configured audience: expected {:?}, got {came}", self.audience);
        IdentityError::new(Reason::TokenWrongAudience, cause)
    }
}

/// Longest list of audiences that is shown.
const AUDIENCE_CHARACTERS_MAX: usize = 300;

/// Why an algorithm is not accepted, with its name where it is one that people know.
fn unfit(algorithm: &str) -> String {
    match algorithm {
        "none" => "it is unsigned".to_owned(),
        "HS256" | "HS384" | "HS512" => "it is signed with a shared secret, which is never accepted".to_owned(),
        "ES512" | "ES256K" | "Ed448" | "ML-DSA-44" | "ML-DSA-65" | "ML-DSA-87" => {
            format!("it is signed with {algorithm}, which cannot be verified here; let the issuer use RS256, ES256, ES384 or EdDSA")
        }
        known if Algorithm::ALL.iter().any(|one| one.as_str() == known) => {
            format!("it is signed with {known}, which is not among the configured")
        }
        _ => "the algorithm of its header is not among the configured".to_owned(),
    }
}

/// The claims of a token whose signature was verified before; what is read here says nothing of one that was not.
pub(super) fn verified_claims(token: &Secret<String>) -> Option<Map<String, Value>> {
    let claims = Secret::new(URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?);
    serde_json::from_slice(claims.expose()).ok()
}

/// A number of seconds since 1970, whole or not, as claims have it (RFC 7519, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct NumericDate(f64);

impl NumericDate {
    /// The time; `None` for what no clock will ever show.
    pub fn time(self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(self.0.floor()).ok()?)
    }
}

/// The time in a claim of an already verified token.
///
/// # Errors
/// `TokenClaims` when it is no time.
pub fn time_of(date: NumericDate) -> Result<SystemTime, IdentityError> {
    date.time().ok_or_else(|| IdentityError::new(Reason::TokenClaims, "a time in it is out of range"))
}

#[derive(Deserialize)]
struct HeaderFields {
    alg: String,
    kid: Option<String>,
    /// Present, whatever it holds: even `null` is an attempt.
    #[serde(default, deserialize_with = "presence")]
    crit: Option<()>,
}

fn presence<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<()>, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| Some(()))
}

fn header_fields(token: &Secret<String>) -> Option<HeaderFields> {
    let mut parts = token.expose().split('.');
    let header = parts.next()?;
    // Compact serialization has three parts; the last may be empty only for `none`, which the algorithm check names.
    if parts.next()?.is_empty() || parts.next().is_none() || parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}

/// The library's own messages may quote claims, so only our words leave here.
fn refusal(kind: &ErrorKind) -> IdentityError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum may grow; what is unknown is refused as malformed")]
    let (reason, words) = match kind {
        ErrorKind::InvalidSignature => (Reason::TokenSignature, "the signature does not verify"),
        ErrorKind::ExpiredSignature => (Reason::TokenExpired, "`exp` has passed"),
        ErrorKind::ImmatureSignature => (Reason::TokenNotYetValid, "`nbf` has not come"),
        ErrorKind::InvalidIssuer => (Reason::TokenWrongIssuer, "`iss` is not the configured issuer"),
        ErrorKind::InvalidAlgorithm => (Reason::TokenAlgorithm, "the published key is not for the algorithm of the header"),
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            (Reason::TokenClaims, "one of `exp`, `nbf`, `iss`, `aud` and `sub` is missing or has the wrong shape")
        }
        ErrorKind::Json(_) => (Reason::TokenClaims, "a claim is missing or has the wrong shape"),
        ErrorKind::InvalidEcdsaKey
        | ErrorKind::InvalidEddsaKey
        | ErrorKind::InvalidRsaKey(_)
        | ErrorKind::InvalidKeyFormat
        | ErrorKind::UnsupportedAlgorithm => (Reason::TokenUnknownKey, "the published key cannot be used"),
        _ => (Reason::TokenMalformed, "it cannot be decoded"),
    };
    IdentityError::new(reason, words)
}
