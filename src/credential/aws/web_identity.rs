//! Temporary AWS keys for a token of an issuer that an IAM role trusts (STS AssumeRoleWithWebIdentity).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::sts::{self, Role, Sts};
use crate::aws::{AwsCredentials, Place, Region, SettingsError};
use crate::credential::value::Token;
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::Failure;
use crate::identity::Principal;
use crate::tls::{ClientSettings, Trust};

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
    sts::AUDIENCE.to_owned()
}

/// One role.
#[derive(Debug)]
pub(in crate::credential) struct WebIdentity {
    sts: Sts,
    settings: Settings,
}

impl WebIdentity {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, SettingsError> {
        sts::check_life_of_keys(settings.lifetime.0)?;
        let place = Place { region: &settings.region, endpoint: settings.endpoint.as_ref(), tls: &settings.tls };
        Ok(Self { sts: Sts::new(place, trust)?, settings: settings.clone() })
    }

    /// The audience that the token should have.
    pub(in crate::credential) fn audience(&self) -> &str {
        &self.settings.audience
    }

    /// Asks once.
    pub(in crate::credential) async fn exchange(&self, token: &Token, principal: &Principal) -> Result<AwsCredentials, Failure> {
        let settings = &self.settings;
        let session = settings.session_name.clone().unwrap_or_else(|| session_name(principal));
        let role = Role {
            arn: &settings.role_arn,
            session: &session,
            lifetime: settings.lifetime.0,
            policy: settings.policy.as_deref(),
            policy_arns: &settings.policy_arns,
        };
        self.sts.assume_role_with_web_identity(role, &token.value).await
    }
}

/// A name that STS takes for who it is.
fn session_name(principal: &Principal) -> String {
    match (&principal.namespace, &principal.service_account) {
        (Some(namespace), Some(account)) => sts::session_name(&format!("{namespace}.{account}")),
        (None, _) | (_, None) => sts::session_name(&principal.subject),
    }
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
