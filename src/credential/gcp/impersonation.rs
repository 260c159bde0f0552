//! A token of a Google service account for the token of somebody who may act as it.
//!
//! <https://cloud.google.com/iam/docs/reference/credentials/rest>

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::credential::chain::ChainProblem;
use crate::credential::gcp::CLOUD_PLATFORM;
use crate::credential::oauth::usual;
use crate::credential::value::{Token, TokenKind, UnverifiedClaims};
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure};
use crate::fetch::{Authorization, Call, Fetch};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// A service account and the token to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The service account's e-mail address.
    pub service_account: String,
    /// Scopes of the access token.
    #[serde(default = "scopes_default")]
    pub scopes: Vec<String>,
    /// Ask for an identity token for this audience in place of an access token.
    #[serde(default)]
    pub id_token_audience: Option<String>,
    /// Service accounts between, each of which may act as the next.
    #[serde(default)]
    pub delegates: Vec<String>,
    /// How long an access token should live; over an hour only where the organization allows it.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
    /// The service at another address than `https://iamcredentials.googleapis.com`.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// How it is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn scopes_default() -> Vec<String> {
    vec![CLOUD_PLATFORM.to_owned()]
}

fn lifetime_default() -> Span {
    Span::seconds(3600)
}

/// One service account.
#[derive(Debug)]
pub(in crate::credential) struct Impersonation {
    fetch: Fetch,
    /// Everything of the address but the call's name.
    account: Endpoint,
    settings: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessToken {
    access_token: String,
    expire_time: String,
}

#[derive(Deserialize)]
struct IdToken {
    token: String,
}

/// An error of Google's APIs: <https://cloud.google.com/apis/design/errors>.
#[derive(Deserialize)]
struct Refused {
    error: Status,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

impl Impersonation {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        let fail =
            |error: crate::fetch::endpoint::EndpointError| ChainProblem::Setting { field: "service_account", problem: error.to_string() };
        if !settings.service_account.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_".contains(&byte)) {
            return Err(ChainProblem::Setting { field: "service_account", problem: "expected an e-mail address".to_owned() });
        }
        let service = usual(settings.endpoint.as_ref(), "https://iamcredentials.googleapis.com")?;
        let account = service.below(&format!("v1/projects/-/serviceAccounts/{}", settings.service_account)).map_err(fail)?;
        Ok(Self { fetch: Fetch::new(&settings.tls, trust).map_err(ChainProblem::Tls)?, account, settings: settings.clone() })
    }

    /// Asks once.
    pub(in crate::credential) async fn exchange(&self, token: &Token) -> Result<Token, Failure> {
        let settings = &self.settings;
        let delegates: Vec<_> = settings.delegates.iter().map(|account| format!("projects/-/serviceAccounts/{account}")).collect();
        if let Some(audience) = &settings.id_token_audience {
            let request = json!({ "audience": audience, "delegates": delegates, "includeEmail": true });
            let value = Secret::new(self.call::<IdToken>("generateIdToken", &request, token).await?.token);
            let claims = UnverifiedClaims::of(&value).ok_or_else(|| failure::unusable("the identity token is not a JWT"))?;
            let expires_at = claims.exp.and_then(|exp| exp.time()).ok_or_else(|| failure::unusable("the identity token has no end"))?;
            return Ok(Token { id: claims.id(), value, kind: TokenKind::Jwt, expires_at });
        }
        let lifetime = format!("{}s", settings.lifetime.0.as_secs());
        let request = json!({ "delegates": delegates, "scope": settings.scopes, "lifetime": lifetime });
        let made: AccessToken = self.call("generateAccessToken", &request, token).await?;
        let expires_at = failure::time(&made.expire_time)?;
        Ok(Token { value: Secret::new(made.access_token), kind: TokenKind::Access, id: None, expires_at })
    }

    async fn call<T: DeserializeOwned>(&self, name: &str, request: &serde_json::Value, token: &Token) -> Result<T, Failure> {
        let to = Endpoint::parse(&format!("{}:{name}", self.account)).map_err(failure::internal)?;
        let call = Call::post("application/json", request.to_string().into_bytes());
        let call = call.authorized(Authorization::Bearer(&token.value)).map_err(failure::failed)?;
        let answer = self.fetch.send(&to, call).await.map_err(failure::failed)?;
        if answer.status.is_success() {
            return failure::json(&answer, "the token or its end");
        }
        let status = serde_json::from_slice::<Refused>(answer.body.expose()).ok().map(|refused| refused.error.status);
        let status = status.as_deref().and_then(failure::code);
        let error = failure::refused(&to, &answer, status);
        Err(match status {
            Some("PERMISSION_DENIED") => error.fix(format!(
                "grant roles/iam.workloadIdentityUser or serviceAccountTokenCreator on {} to who is exchanged; a new grant takes minutes",
                self.settings.service_account
            )),
            Some("NOT_FOUND") => error.fix(format!("there is no service account {}", self.settings.service_account)),
            Some(_) | None => error,
        })
    }
}
