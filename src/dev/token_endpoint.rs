//! A token endpoint that exchanges the cluster's and its own clients' tokens for access tokens (RFC 8693), and an OpenID provider
//! around it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openidconnect::url::form_urlencoded;
use serde_json::{Value, json};

use crate::credential::oauth::token_exchange::{ACCESS_TOKEN_TYPE, GRANT_TYPE, JWT_TOKEN_TYPE};
use crate::dev::cluster::unix_seconds;
use crate::dev::directory::random_text;
use crate::dev::issuer::Issuer;
use crate::dev::{AUTHORITY_AUDIENCE, CLIENT_AUDIENCE, DevError};
use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::identity::jwks::Pace;
use crate::identity::token::Algorithm;
use crate::identity::{Principal, kubernetes, oidc};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// The longest life of an access token.
const ACCESS_LIFE_MAX: Duration = Duration::from_secs(300);
/// Audiences that access tokens are given for.
const AUDIENCES: [&str; 2] = [AUTHORITY_AUDIENCE, "warehouse"];
/// A stand-in may ask itself often: its keys change as the developer likes.
const PACE: Pace = Pace { refetch: Duration::from_millis(100), retry: Duration::from_millis(100), keep: Duration::from_secs(60) };

/// A token endpoint.
#[derive(Debug)]
pub struct TokenEndpoint {
    issuer: Arc<Issuer>,
    subjects: kubernetes::Verifier,
    clients: oidc::Verifier,
    own: oidc::Verifier,
}

/// An answer of refusal (RFC 6749, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A field is missing, twice there, or not what it should be.
    InvalidRequest,
    /// The token is not one that may be exchanged.
    InvalidGrant,
    /// Only one grant is known.
    UnsupportedGrantType,
    /// The audience is not one that tokens are given for.
    InvalidTarget,
    /// The endpoint itself failed.
    ServerError,
}

impl Refusal {
    /// The code on the wire (RFC 6749, section 5.2; RFC 8693, section 2.2.2).
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidTarget => "invalid_target",
            Self::ServerError => "server_error",
        }
    }
}

impl TokenEndpoint {
    pub(super) fn new(issuer: Arc<Issuer>, subjects: kubernetes::Settings, tls: &ClientSettings) -> Result<Self, DevError> {
        let own = oidc::Settings {
            name: "dev".to_owned(),
            token_file: None,
            token_env: None,
            issuer: Endpoint::parse(issuer.url())?,
            audience: AUTHORITY_AUDIENCE.to_owned(),
            algorithms: Algorithm::usual(),
            jwks_uri: None,
            tls: tls.clone(),
            labels: std::collections::BTreeMap::new(),
            labels_from_claims: std::collections::BTreeMap::new(),
            leeway: Span::seconds(30),
        };
        let clients = oidc::Settings { audience: CLIENT_AUDIENCE.to_owned(), ..own.clone() };
        Ok(Self {
            issuer,
            clients: oidc::Verifier::new(&clients, Trust::Development, PACE)?,
            subjects: kubernetes::Verifier::new(&subjects, Trust::Development, PACE)?,
            own: oidc::Verifier::new(&own, Trust::Development, PACE)?,
        })
    }

    /// The provider's discovery document (OpenID Connect Discovery 1.0, section 3).
    pub fn discovery(&self) -> Value {
        let url = self.issuer.url();
        json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.issuer.algorithm()],
            "grant_types_supported": [GRANT_TYPE],
        })
    }

    /// The provider's keys.
    pub fn key_set(&self) -> Value {
        self.issuer.key_set()
    }

    /// Answers a token request: the JSON of success.
    ///
    /// # Errors
    /// [`Refusal`], which says no more than its code.
    pub async fn exchange(&self, form: &[u8]) -> Result<Value, Refusal> {
        let fields = read_form(form)?;
        let field = |name: &str| fields.get(name).map(String::as_str);
        if field("grant_type") != Some(GRANT_TYPE) {
            return Err(Refusal::UnsupportedGrantType);
        }
        let subject_token = field("subject_token").map(Secret::from).ok_or(Refusal::InvalidRequest)?;
        if field("subject_token_type") != Some(JWT_TOKEN_TYPE) {
            return Err(Refusal::InvalidRequest);
        }
        let audience = field("audience").filter(|audience| AUDIENCES.contains(audience)).ok_or(Refusal::InvalidTarget)?;
        let principal = match self.subjects.verify(&subject_token).await {
            // The first check that tells the two apart: the cluster signs with another algorithm or key.
            Err(error) if matches!(error.reason, Reason::TokenUnknownKey | Reason::TokenAlgorithm | Reason::TokenWrongIssuer) => {
                self.clients.verify(&subject_token).await
            }
            verified => verified,
        };
        let principal = principal
            .map_err(|error| if error.reason == Reason::IssuerUnreachable { Refusal::ServerError } else { Refusal::InvalidGrant })?;
        self.accept(&principal, audience).map_err(|_| Refusal::ServerError)
    }

    fn accept(&self, principal: &Principal, audience: &str) -> Result<Value, DevError> {
        let now = SystemTime::now();
        let expires_at = principal.expires_at.min(now + ACCESS_LIFE_MAX);
        let claims = json!({
            "iss": self.issuer.url(),
            "aud": audience,
            "sub": principal.subject,
            "iat": unix_seconds(now),
            "exp": unix_seconds(expires_at),
            "jti": random_text()?.expose(),
        });
        Ok(json!({
            "access_token": self.issuer.sign(&claims)?.expose(),
            "issued_token_type": ACCESS_TOKEN_TYPE,
            "token_type": "Bearer",
            "expires_in": unix_seconds(expires_at).saturating_sub(unix_seconds(now)),
        }))
    }

    /// The subject of an access token of our own that was given for the certificate authority.
    ///
    /// # Errors
    /// The first check that fails.
    pub async fn subject_of(&self, access_token: &Secret<String>) -> Result<String, crate::identity::IdentityError> {
        self.own.verify(access_token).await.map(|principal| principal.subject)
    }
}

/// No field may come twice (RFC 6749, section 3.2).
fn read_form(form: &[u8]) -> Result<HashMap<String, String>, Refusal> {
    let mut fields = HashMap::new();
    for (name, value) in form_urlencoded::parse(form) {
        if fields.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(Refusal::InvalidRequest);
        }
    }
    Ok(fields)
}
