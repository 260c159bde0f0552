//! Tokens that clients show: people, jobs and agents behind one sidecar, each as itself and never as the workload.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;

use crate::fault::Reason;
use crate::identity::jwks::Pace;
use crate::identity::token::verified_claims;
use crate::identity::{IdentityError, Proof, Settings, SettingsError, kubernetes, oidc};
use crate::secret::Secret;
use crate::tls::Trust;

/// Longest token that is read from a client, as from a file.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Claims in which two tokens may differ and still be the same in every right: when it was made, and its number (RFC 7519,
/// section 4.1).
const OF_ONE_TOKEN: [&str; 4] = ["exp", "iat", "jti", "nbf"];

/// Verifies tokens that clients show.
#[derive(Debug)]
pub struct Verifier(Kind);

#[derive(Debug)]
enum Kind {
    Kubernetes(Box<kubernetes::Verifier>),
    Oidc(Box<oidc::Verifier>),
}

/// A client's token, verified.
#[derive(Debug)]
pub struct Shown {
    /// Who the client is, and its token.
    pub proof: Proof,
    /// What it shares with other tokens of the same rights.
    pub likeness: Likeness,
}

/// A digest of all claims but those that differ from one token to the next. What is made for a token may serve another of the
/// same likeness: one of the same subject with more or fewer claims is no such token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Likeness([u8; digest::SHA256_OUTPUT_LEN]);

impl Verifier {
    /// A verifier for the issuer that the settings describe.
    ///
    /// # Errors
    /// When the settings are about the workload's own token, or cannot be used.
    pub fn new(settings: &Settings, trust: Trust) -> Result<Self, SettingsError> {
        if settings.proves_workload() {
            return Err(SettingsError::WorkloadsOwn);
        }
        Ok(Self(match settings {
            Settings::Kubernetes(settings) => Kind::Kubernetes(Box::new(kubernetes::Verifier::new(settings, trust, Pace::USUAL)?)),
            Settings::Spiffe(_) | Settings::GithubActions(_) | Settings::Aws(_) => return Err(SettingsError::WorkloadsOwn),
            Settings::Oidc(settings) => Kind::Oidc(Box::new(oidc::Verifier::new(settings, trust, Pace::USUAL)?)),
        }))
    }

    /// Who shows the token. For a client's token the leeway does not stretch `exp`: what is made of it would end at once.
    ///
    /// # Errors
    /// The first check that fails. Cancel safe.
    pub async fn verify(&self, token: Secret<String>) -> Result<Shown, IdentityError> {
        let principal = match &self.0 {
            Kind::Kubernetes(verifier) => verifier.verify(&token).await?,
            Kind::Oidc(verifier) => verifier.verify(&token).await?,
        };
        if principal.expires_at <= SystemTime::now() {
            return Err(IdentityError::new(Reason::TokenExpired, "`exp` has passed"));
        }
        let likeness = Likeness::of(&token).ok_or_else(|| IdentityError::new(Reason::TokenMalformed, "it cannot be decoded"))?;
        Ok(Shown { proof: Proof { principal: Arc::new(principal), token, certificate: None }, likeness })
    }
}

impl Likeness {
    /// The likeness of a token that was verified before.
    pub(crate) fn of(token: &Secret<String>) -> Option<Self> {
        let mut claims = verified_claims(token)?;
        claims.retain(|name, _| !OF_ONE_TOKEN.contains(&name.as_str()));
        let text = Secret::new(serde_json::to_vec(&claims).ok()?);
        digest::digest(&digest::SHA256, text.expose()).as_ref().try_into().ok().map(Self)
    }
}

impl fmt::Debug for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Likeness")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::Likeness;
    use crate::secret::Secret;

    fn likeness(claims: Value) -> Likeness {
        Likeness::of(&Secret::new(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string())))).unwrap()
    }

    #[test]
    fn two_tokens_are_alike_only_where_nothing_but_time_and_number_differs() {
        let first = json!({ "iss": "i", "sub": "ada", "scope": "read", "exp": 1, "iat": 1, "nbf": 1, "jti": "a" });
        let again = json!({ "scope": "read", "sub": "ada", "iss": "i", "exp": 2, "iat": 2, "jti": "b" });
        assert!(likeness(first.clone()) == likeness(again));
        for (name, value) in [("scope", json!("write")), ("sub", json!("eve")), ("iss", json!("j")), ("act", json!({ "sub": "agent" }))] {
            let mut other = first.clone();
            other[name] = value;
            assert!(likeness(first.clone()) != likeness(other), "{name}");
        }
    }
}
