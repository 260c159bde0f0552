//! Exchanges one token for another at a token endpoint (RFC 8693).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::ExchangeError;
use crate::credential::chain::ChainProblem;
use crate::credential::value::{Token, TokenKind, UnverifiedClaims};
use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::{Answer, Authorization, Fetch};
use crate::identity::jwks::discover;
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// `grant_type` of an exchange (RFC 8693, section 2.1).
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Token type of any JWT (RFC 8693, section 3).
pub const JWT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Token type of an access token (RFC 8693, section 3).
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A token endpoint and what to ask of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The token endpoint. Exactly one of this and `issuer` is needed.
    #[serde(default)]
    pub token_endpoint: Option<Endpoint>,
    /// An OpenID provider, whose discovery document names the token endpoint.
    #[serde(default)]
    pub issuer: Option<Endpoint>,
    /// The logical name of where the new token is for.
    #[serde(default)]
    pub audience: Option<String>,
    /// The address of where the new token is for.
    #[serde(default)]
    pub resource: Option<String>,
    /// Scopes, separated by spaces.
    #[serde(default)]
    pub scope: Option<String>,
    /// What the endpoint is told the present token is.
    #[serde(default = "jwt_token_type")]
    pub subject_token_type: String,
    /// What the new token should be.
    #[serde(default)]
    pub requested_token_type: Option<String>,
    /// How we prove ourselves to the endpoint, beside the token.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// More fields that the endpoint wants.
    #[serde(default)]
    pub extra: BTreeMap<String, String>,
    /// How the endpoint is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn jwt_token_type() -> String {
    JWT_TOKEN_TYPE.to_owned()
}

/// How an OAuth client proves itself (RFC 6749, section 2.3).
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
}

/// Life of a token whose endpoint does not say (RFC 8693 leaves `expires_in` optional).
const LIFE_DEFAULT: Duration = Duration::from_secs(300);

/// One token endpoint.
#[derive(Debug)]
pub(super) struct TokenExchange {
    fetch: Fetch,
    place: Place,
    settings: Settings,
}

#[derive(Debug)]
enum Place {
    Endpoint(Endpoint),
    Issuer(Endpoint),
}

impl TokenExchange {
    pub(super) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        let place = match (settings.token_endpoint.clone(), settings.issuer.clone()) {
            (Some(endpoint), None) => Place::Endpoint(endpoint),
            (None, Some(issuer)) => Place::Issuer(issuer),
            (None, None) | (Some(_), Some(_)) => return Err(ChainProblem::Endpoint),
        };
        let fetch = Fetch::new(&settings.tls, trust).map_err(ChainProblem::Tls)?;
        Ok(Self { fetch, place, settings: settings.clone() })
    }

    /// Exchanges the token once.
    pub(super) async fn exchange(&self, subject: &Token) -> Result<Token, ExchangeError> {
        let endpoint = self.endpoint().await?;
        let secret = match &self.settings.client_auth {
            ClientAuth::None => None,
            ClientAuth::Basic { client_id, client_secret_file } => {
                let read = Secret::read(client_secret_file).await;
                Some((client_id, read.map_err(|error| ExchangeError::new(Reason::ExchangeUnprepared, error))?))
            }
        };
        let authorization = secret.as_ref().map_or(Authorization::None, |(client_id, client_secret)| Authorization::Basic {
            client_id: client_id.as_str(),
            client_secret,
        });
        let answer = self
            .fetch
            .post_form(&endpoint, &self.fields(subject), authorization)
            .await
            .map_err(|error| ExchangeError::new(Reason::ExchangeUnreachable, error))?;
        if answer.status.is_success() { accepted(&answer, SystemTime::now()) } else { Err(refused(&endpoint, &answer)) }
    }

    async fn endpoint(&self) -> Result<Endpoint, ExchangeError> {
        let issuer = match &self.place {
            Place::Endpoint(endpoint) => return Ok(endpoint.clone()),
            Place::Issuer(issuer) => issuer,
        };
        let metadata = discover(&self.fetch, issuer).await.map_err(|error| {
            let reason = if error.reason == Reason::IssuerUnreachable { Reason::ExchangeUnreachable } else { Reason::ExchangeInvalid };
            ExchangeError { reason, ..ExchangeError::from(error) }
        })?;
        let named = metadata.token_endpoint().map(|endpoint| endpoint.url().as_str());
        let named = named.ok_or_else(|| invalid(format!("the discovery document of {issuer} names no token endpoint")))?;
        Endpoint::parse(named).map_err(|error| invalid(format!("token_endpoint of {issuer}: {error}")))
    }

    fn fields<'a>(&'a self, subject: &'a Token) -> Vec<(&'a str, &'a str)> {
        let settings = &self.settings;
        let mut fields = vec![
            ("grant_type", GRANT_TYPE),
            ("subject_token", subject.value.expose().as_str()),
            ("subject_token_type", settings.subject_token_type.as_str()),
        ];
        let optional = [
            ("audience", &settings.audience),
            ("resource", &settings.resource),
            ("scope", &settings.scope),
            ("requested_token_type", &settings.requested_token_type),
        ];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        fields.extend(settings.extra.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        fields
    }
}

/// A successful answer (RFC 8693, section 2.2.1).
#[derive(Deserialize)]
struct Accepted {
    access_token: String,
    #[serde(rename = "issued_token_type")]
    _issued_token_type: String,
    token_type: String,
    expires_in: Option<Seconds>,
}

/// A number of seconds, which some endpoints write as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// An answer of refusal (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

fn accepted(answer: &Answer, now: SystemTime) -> Result<Token, ExchangeError> {
    // The parser's message may quote the token.
    let accepted: Accepted = serde_json::from_slice(answer.body.expose())
        .map_err(|_| invalid("access_token, issued_token_type or token_type is missing, or expires_in has the wrong shape"))?;
    let value = Secret::new(accepted.access_token);
    // A token bound to a key (RFC 9449) is no use to a warehouse, and sending it on would look like a bearer token.
    if !["bearer", "n_a"].contains(&accepted.token_type.to_ascii_lowercase().as_str()) {
        return Err(invalid("token_type is neither Bearer nor N_A"));
    }
    if value.expose().is_empty() || !value.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("access_token is not a token"));
    }
    let claims = UnverifiedClaims::of(&value);
    let said = match accepted.expires_in {
        None => None,
        Some(Seconds::Number(seconds)) => Some(seconds),
        Some(Seconds::Text(text)) => Some(text.parse().map_err(|_| invalid("expires_in is not a number"))?),
    };
    let said = said.and_then(|seconds| now.checked_add(Duration::from_secs(seconds)));
    let written = claims.as_ref().and_then(|claims| claims.exp?.time());
    let expires_at = [said, written].into_iter().flatten().min().unwrap_or(now + LIFE_DEFAULT);
    Ok(Token { value, kind: TokenKind::Access, id: claims.and_then(UnverifiedClaims::id), expires_at })
}

fn refused(endpoint: &Endpoint, answer: &Answer) -> ExchangeError {
    let status = answer.status.as_u16();
    let code = serde_json::from_slice::<Refused>(answer.body.expose()).ok().map(|refused| refused.error);
    let code = code.as_deref().filter(|code| is_error_code(code)).unwrap_or("no OAuth error code");
    let is_transient = matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
        || matches!(code, "temporarily_unavailable" | "server_error" | "internal_failure");
    let reason = if is_transient { Reason::ExchangeUnreachable } else { Reason::ExchangeRefused };
    ExchangeError::new(reason, format!("{} answered {status}: {code}", endpoint.authority()))
}

/// Some endpoints echo the token in what they say; nothing that could be one passes.
fn is_error_code(code: &str) -> bool {
    (1..=40).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExchangeError {
    ExchangeError::new(Reason::ExchangeInvalid, cause)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hyper::StatusCode;

    use super::{Token, accepted, refused};
    use crate::credential::ExchangeError;
    use crate::fault::Reason;
    use crate::fetch::Answer;
    use crate::fetch::endpoint::Endpoint;
    use crate::secret::Secret;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), body: Secret::new(body.as_bytes().to_vec()), max_age: None }
    }

    fn read(body: &str) -> Result<Token, ExchangeError> {
        accepted(&answer(200, body), NOW)
    }

    fn life(body: &str) -> u64 {
        read(body).unwrap().expires_at.duration_since(NOW).unwrap().as_secs()
    }

    #[test]
    fn the_life_of_a_token_is_the_least_that_anybody_says() {
        // The claims {"exp":100,"jti":"a1"}.
        let jwt = "e30.eyJleHAiOjEwMCwianRpIjoiYTEifQ.x";
        let body = |token: &str, rest: &str| format!(r#"{{"access_token":"{token}","issued_token_type":"t","token_type":"Bearer"{rest}}}"#);
        assert_eq!(life(&body("opaque", "")), 300);
        assert_eq!(life(&body("opaque", r#","expires_in":60"#)), 60);
        assert_eq!(life(&body("opaque", r#","expires_in":"60""#)), 60);
        assert_eq!(life(&body(jwt, "")), 100);
        assert_eq!(life(&body(jwt, r#","expires_in":3600"#)), 100);
        assert_eq!(life(&body(jwt, r#","expires_in":50"#)), 50);
        assert_eq!(read(&body(jwt, "")).unwrap().id.as_deref(), Some("a1"));
    }

    #[test]
    fn an_answer_that_is_not_a_plain_token_is_refused_and_not_quoted() {
        for body in [
            r#"{"access_token":"hunter2","token_type":"Bearer"}"#,
            r#"{"access_token":"hunter2","issued_token_type":"t","token_type":"DPoP"}"#,
            r#"{"access_token":"hunter2","issued_token_type":"t","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"hunter2\r\nX: 1","issued_token_type":"t","token_type":"Bearer"}"#,
            r#"{"access_token":"","issued_token_type":"t","token_type":"Bearer"}"#,
            "hunter2",
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.reason, Reason::ExchangeInvalid, "{body}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let plain = r#"{"access_token":"hunter2","issued_token_type":"t","token_type":"N_A"}"#;
        assert_eq!(read(plain).unwrap().value.expose(), "hunter2");
    }

    #[test]
    fn a_refusal_is_final_or_transient_by_status_and_code_and_never_repeats_the_description() {
        let endpoint = Endpoint::parse("https://sts.example/token").unwrap();
        for (status, body, reason, shown) in [
            (400, r#"{"error":"invalid_grant","error_description":"hunter2"}"#, Reason::ExchangeRefused, "400: invalid_grant"),
            (401, r#"{"error":"invalid_client"}"#, Reason::ExchangeRefused, "401: invalid_client"),
            (400, r#"{"error":"temporarily_unavailable"}"#, Reason::ExchangeUnreachable, "temporarily_unavailable"),
            (503, "hunter2", Reason::ExchangeUnreachable, "503: no OAuth error code"),
            (429, "", Reason::ExchangeUnreachable, "429"),
            (400, r#"{"error":"hunter2"}"#, Reason::ExchangeRefused, "400: no OAuth error code"),
        ] {
            let error = refused(&endpoint, &answer(status, body));
            let chain = format!("{error:?} {}", error.source.as_ref().unwrap());
            assert_eq!(error.reason, reason, "{body}");
            assert!(chain.contains(shown) && !chain.contains("hunter2"), "{chain}");
        }
    }
}
