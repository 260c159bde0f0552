//! Temporary AWS keys for a token of an issuer that an IAM role trusts (STS AssumeRoleWithWebIdentity).
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::action::Context;
use crate::credential::aws::{Place, Region, Service};
use crate::credential::chain::ChainProblem;
use crate::credential::value::{AwsCredentials, Token};
use crate::credential::{ExchangeError, answer};
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::identity::Principal;
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// The audience that such a token usually has.
pub(in crate::credential) const AUDIENCE: &str = "sts.amazonaws.com";

/// A role and how it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The role's ARN.
    pub role_arn: String,
    /// The region whose STS is asked.
    pub region: Region,
    /// What CloudTrail calls the session; `NAMESPACE.SERVICEACCOUNT` or the token's subject where absent.
    #[serde(default)]
    pub session_name: Option<String>,
    /// How long the keys should live, from 15 minutes to what the role allows.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
    /// The audience that the role's identity provider wants, for telling an operator what is wrong.
    #[serde(default = "audience_default")]
    pub audience: String,
    /// A session policy as JSON, which takes rights away.
    #[serde(default)]
    pub policy: Option<String>,
    /// ARNs of managed policies that do.
    #[serde(default)]
    pub policy_arns: Vec<String>,
    /// STS at another address than the region's usual one.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// How it is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn lifetime_default() -> Span {
    Span::seconds(3600)
}

fn audience_default() -> String {
    AUDIENCE.to_owned()
}

/// One role.
#[derive(Debug)]
pub(in crate::credential) struct WebIdentity {
    service: Service,
    settings: Settings,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "AssumeRoleWithWebIdentityResult")]
    result: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "Credentials")]
    credentials: Issued,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

impl WebIdentity {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        if !(900..=43_200).contains(&settings.lifetime.0.as_secs()) {
            return Err(ChainProblem::Setting { field: "lifetime", problem: "STS gives keys for 15 minutes to 12 hours".to_owned() });
        }
        let place = Place { region: &settings.region, endpoint: settings.endpoint.as_ref(), tls: &settings.tls };
        Ok(Self { service: Service::new("sts", place, trust)?, settings: settings.clone() })
    }

    /// The audience that the token should have.
    pub(in crate::credential) fn audience(&self) -> &str {
        &self.settings.audience
    }

    /// Asks once.
    pub(in crate::credential) async fn exchange(&self, token: &Token, context: Context<'_>) -> Result<AwsCredentials, ExchangeError> {
        let settings = &self.settings;
        let name = settings.session_name.clone().unwrap_or_else(|| session_name(context.principal));
        let seconds = settings.lifetime.0.as_secs().to_string();
        let mut fields = vec![
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &settings.role_arn),
            ("RoleSessionName", &name),
            ("WebIdentityToken", token.value.expose()),
            ("DurationSeconds", &seconds),
        ];
        fields.extend(settings.policy.as_deref().map(|policy| ("Policy", policy)));
        let names: Vec<_> = (1..=settings.policy_arns.len()).map(|place| format!("PolicyArns.member.{place}.arn")).collect();
        fields.extend(names.iter().map(String::as_str).zip(settings.policy_arns.iter().map(String::as_str)));
        let issued = self.service.query::<Response>(None, &fields).await?.result.credentials;
        Ok(AwsCredentials {
            access_key_id: issued.access_key_id,
            secret_access_key: Secret::new(issued.secret_access_key),
            session_token: Secret::new(issued.session_token),
            expires_at: answer::time(&issued.expiration)?,
        })
    }
}

/// A name that STS takes, `[\w+=,.@-]{2,64}`, for who it is.
fn session_name(principal: &Principal) -> String {
    let name = match (&principal.namespace, &principal.service_account) {
        (Some(namespace), Some(account)) => format!("{namespace}.{account}"),
        (None, _) | (_, None) => principal.subject.clone(),
    };
    let mut name: String =
        name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' }).collect();
    while name.len() < 2 {
        name.push('-');
    }
    name
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::session_name;
    use crate::credential::stand_in::proof;
    use crate::identity::Principal;

    #[test]
    fn a_session_is_named_after_who_it_is_in_what_characters_sts_takes() {
        let workload = proof().principal;
        assert_eq!(session_name(&workload), "shop.dbt");
        let other = |subject: &str| Principal { namespace: None, subject: subject.to_owned(), ..Principal::clone(&Arc::clone(&workload)) };
        assert_eq!(session_name(&other("spiffe://shop/dbt é")), "spiffe---shop-dbt--");
        assert_eq!(session_name(&other("")), "--");
        assert_eq!(session_name(&other(&"x".repeat(100))).len(), 64);
    }
}
