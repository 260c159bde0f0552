//! A token that GitHub Actions mints for a job, anew at each exchange.
//!
//! Source: <https://docs.github.com/en/actions/reference/security/oidc>.

use std::collections::BTreeMap;
use std::sync::Arc;

use openidconnect::url::form_urlencoded;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure;
use crate::fetch::{Authorization, Fetch};
use crate::identity::jwks::Pace;
use crate::identity::kubernetes::leeway_default;
use crate::identity::own_token::not_ended;
use crate::identity::token::Algorithm;
use crate::identity::{IdentityError, IdentitySource, Proof, Proving, SettingsError, oidc};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// A job of GitHub Actions, which needs `permissions: { id-token: write }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name that other parts of the configuration use.
    pub name: String,
    /// The audience to ask for.
    pub audience: String,
    /// `iss` of the tokens; a GitHub Enterprise Server has its own.
    #[serde(default = "issuer_default")]
    pub issuer: Endpoint,
    /// The environment variable with the address that tokens are asked of.
    #[serde(default = "request_url_default")]
    pub request_url_env: String,
    /// The environment variable with the job's token to ask with.
    #[serde(default = "request_token_default")]
    pub request_token_env: String,
    /// How GitHub is reached.
    #[serde(default)]
    pub tls: ClientSettings,
    /// Labels that policies select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// More labels, each with the claim that has its value (`repository`, `ref`, `environment`, ...). A token without is refused.
    #[serde(default)]
    pub labels_from_claims: BTreeMap<String, String>,
    /// How far the clocks may differ.
    #[serde(default = "leeway_default")]
    pub leeway: Span,
}

#[expect(clippy::expect_used, reason = "a constant address, which a test reads")]
fn issuer_default() -> Endpoint {
    Endpoint::parse("https://token.actions.githubusercontent.com").expect("it is an address")
}

fn request_url_default() -> String {
    "ACTIONS_ID_TOKEN_REQUEST_URL".to_owned()
}

fn request_token_default() -> String {
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN".to_owned()
}

const KIND: &str = "github_actions";

/// The job's identity.
#[derive(Debug)]
pub struct Source {
    fetch: Fetch,
    verifier: oidc::Verifier,
    audience: String,
    request_url_env: String,
    request_token_env: String,
}

#[derive(Deserialize)]
struct Minted {
    value: String,
}

impl Source {
    /// The source that the settings describe.
    ///
    /// # Errors
    /// When the certificate authorities cannot be used.
    pub fn new(settings: &Settings, trust: Trust) -> Result<Self, SettingsError> {
        let provider = oidc::Settings {
            name: settings.name.clone(),
            token_file: None,
            token_env: None,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            algorithms: vec![Algorithm::RS256],
            jwks_uri: Some(settings.issuer.below(".well-known/jwks").map_err(|_| SettingsError::NoToken)?),
            tls: settings.tls.clone(),
            labels: settings.labels.clone(),
            labels_from_claims: settings.labels_from_claims.clone(),
            leeway: settings.leeway,
        };
        Ok(Self {
            fetch: Fetch::new(&settings.tls, trust)?,
            verifier: oidc::Verifier::new(&provider, trust, Pace::USUAL)?,
            audience: settings.audience.clone(),
            request_url_env: settings.request_url_env.clone(),
            request_token_env: settings.request_token_env.clone(),
        })
    }

    async fn mint_and_verify(&self) -> Result<Proof, IdentityError> {
        let variable = |name: &str| {
            let missing = format!("the environment variable {name} is not set");
            std::env::var(name).map_err(|_| IdentityError::new(Reason::TokenNotMinted, missing))
        };
        let (url, request_token) = (variable(&self.request_url_env)?, variable(&self.request_token_env).map(Secret::new)?);
        let token = self.mint(&url, &request_token).await?;
        let principal = self.verifier.verify(&token).await?;
        not_ended(principal.expires_at)?;
        Ok(Proof { principal: Arc::new(crate::identity::Principal { proven_by: KIND, ..principal }), token, certificate: None })
    }

    /// Asks for a token of the audience.
    pub(super) async fn mint(&self, url: &str, request_token: &Secret<String>) -> Result<Secret<String>, IdentityError> {
        let audience: String = form_urlencoded::byte_serialize(self.audience.as_bytes()).collect();
        // The address has a query already, as GitHub gives it.
        let join = if url.contains('?') { '&' } else { '?' };
        let from = Endpoint::parse(&format!("{url}{join}audience={audience}"))
            .map_err(|error| IdentityError::new(Reason::TokenNotMinted, format!("{}: {error}", self.request_url_env)))?;
        let not_minted = |failure| IdentityError::of_issuer(failure, Reason::TokenNotMinted);
        let answer = self.fetch.get(&from, Authorization::Bearer(request_token)).await;
        let answer = answer.map_err(|error| not_minted(failure::failed(error)))?;
        if !answer.status.is_success() {
            return Err(not_minted(failure::refused(&from, &answer, None)));
        }
        // The parser's message may quote the token.
        let minted: Minted = serde_json::from_slice(answer.body.expose())
            .map_err(|_| IdentityError::new(Reason::IssuerInvalid, format!("the answer of {} has no `value`", from.authority())))?;
        Ok(Secret::new(minted.value))
    }
}

impl IdentitySource for Source {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn prove(&self) -> Proving<'_> {
        Box::pin(self.mint_and_verify())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use hyper::{Request, StatusCode};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::{Settings, Source, issuer_default};
    use crate::drain::{self, Stage};
    use crate::fault::Reason;
    use crate::http_server::{self, Answer};
    use crate::identity::IdentitySource;
    use crate::secret::Secret;
    use crate::tls::Trust;

    fn source() -> Source {
        let settings: Settings = serde_json::from_value(json!({
            "name": "job", "audience": "tollhouse & co", "tls": { "mode": "disable" },
            "request_url_env": "TOLLHOUSE_TEST_NO_URL", "request_token_env": "TOLLHOUSE_TEST_NO_TOKEN",
        }))
        .unwrap();
        Source::new(&settings, Trust::Production).unwrap()
    }

    /// Mints for who asks as GitHub's documentation says.
    fn mint(request: &Request<Bytes>, status: u16, body: &str) -> Answer {
        let is_as_documented = request.uri().path_and_query().unwrap() == "/token?api-version=2.0&audience=tollhouse+%26+co"
            && request.headers()["authorization"] == "Bearer of-the-job";
        let status = if is_as_documented { StatusCode::from_u16(status).unwrap() } else { StatusCode::IM_A_TEAPOT };
        http_server::answer(status, "application/json", body.to_owned())
    }

    async fn minted(status: u16, body: &'static str) -> Result<String, Reason> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
        let (_trigger, drain) = drain::channel();
        let serving =
            http_server::serve(listener, None, drain, Stage::Draining, move |request| std::future::ready(mint(&request, status, body)));
        let (source, secret) = (Arc::new(source()), Secret::from("of-the-job"));
        tokio::select! {
            () = serving => panic!("it ends by itself"),
            minted = source.mint(&url, &secret) => minted.map(|token| token.expose().clone()).map_err(|error| error.reason),
        }
    }

    #[tokio::test]
    async fn a_token_is_asked_for_as_github_documents_it_and_each_refusal_has_its_reason() {
        assert_eq!(minted(200, r#"{"count":1,"value":"e30.e30.x"}"#).await.as_deref(), Ok("e30.e30.x"));
        assert_eq!(minted(200, r#"{"count":1}"#).await, Err(Reason::IssuerInvalid));
        assert_eq!(minted(403, "{}").await, Err(Reason::TokenNotMinted));
        assert_eq!(minted(503, "{}").await, Err(Reason::IssuerUnreachable));
    }

    #[tokio::test]
    async fn a_job_without_the_permission_is_told_by_the_variable_that_is_missing() {
        let error = source().prove().await.unwrap_err();
        assert_eq!(error.reason, Reason::TokenNotMinted);
        assert!(error.source.unwrap().to_string().contains("TOLLHOUSE_TEST_NO_URL"));
        assert_eq!(issuer_default().host(), "token.actions.githubusercontent.com");
    }
}
