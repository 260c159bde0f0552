//! An IAM role as the identity: its keys ask STS for a token that says to others which role it is, which is verified as any other.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound.html>.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::container::{Agent, EKS_TOKEN_FILE, EKS_URL};
use crate::aws::instance::Metadata;
use crate::aws::sts::{self, Role, Sts, Wanted};
use crate::aws::{AwsCredentials, Place, Region};
use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure, Kind};
use crate::identity::jwks::Pace;
use crate::identity::kubernetes::leeway_default;
use crate::identity::own_token::not_ended;
use crate::identity::token::Algorithm;
use crate::identity::{IdentityError, IdentitySource, Principal, Proof, Proving, SettingsError, oidc};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// An IAM role, and the issuer of its account. A new token is asked for at each exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name that other parts of the configuration use.
    pub name: String,
    /// Where the role's keys come from.
    #[serde(default)]
    pub keys: Keys,
    /// The region whose STS is asked.
    pub region: Region,
    /// The audience to ask for.
    pub audience: String,
    /// `iss` of the tokens: the account's own issuer, which IAM shows once outbound web identity federation is enabled.
    pub issuer: Endpoint,
    /// What STS signs the token with.
    #[serde(default)]
    pub algorithm: sts::Algorithm,
    /// How long the token should live, from 1 minute to an hour, and no longer than the keys.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
    /// STS at another address than the region's usual one.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// How STS and the issuer are reached.
    #[serde(default)]
    pub tls: ClientSettings,
    /// Labels that policies select by. The role's ARN is the label `tollhouse.dev/subject`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How far the clocks may differ.
    #[serde(default = "leeway_default")]
    pub leeway: Span,
}

/// Where a role's keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Keys {
    /// The agent that the node runs for its containers: of EKS Pod Identity, or of ECS.
    Container {
        /// Its address, as in `AWS_CONTAINER_CREDENTIALS_FULL_URI`; for ECS
        /// `http://169.254.170.2${AWS_CONTAINER_CREDENTIALS_RELATIVE_URI}`. Without TLS only at the addresses that a node answers for
        /// itself.
        #[serde(default = "agent_url_default")]
        url: String,
        /// The token's file, as in `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, read at each exchange; null where the agent wants none,
        /// as ECS's at 169.254.170.2.
        #[serde(default = "agent_token_file_default")]
        token_file: Option<PathBuf>,
    },
    /// The metadata service of an EC2 instance, version 2.
    Instance {
        /// Its address.
        #[serde(default = "metadata_url_default")]
        url: String,
    },
    /// A role that trusts the issuer of a token (STS AssumeRoleWithWebIdentity).
    WebIdentity {
        /// The role's ARN.
        role_arn: String,
        /// The token's file, as in `AWS_WEB_IDENTITY_TOKEN_FILE`, read at each exchange.
        token_file: PathBuf,
        /// What CloudTrail calls the session.
        #[serde(default = "session_name_default")]
        session_name: String,
    },
}

impl Default for Keys {
    fn default() -> Self {
        Self::Container { url: agent_url_default(), token_file: agent_token_file_default() }
    }
}

fn agent_url_default() -> String {
    EKS_URL.to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn agent_token_file_default() -> Option<PathBuf> {
    Some(EKS_TOKEN_FILE.into())
}

fn metadata_url_default() -> String {
    "http://169.254.169.254".to_owned()
}

fn session_name_default() -> String {
    "tollhouse".to_owned()
}

fn lifetime_default() -> Span {
    Span::seconds(300)
}

const KIND: &str = "aws";

/// One role.
#[derive(Debug)]
pub struct Source {
    keys: Holder,
    sts: Sts,
    audiences: Vec<String>,
    algorithm: sts::Algorithm,
    lifetime: Span,
    verifier: oidc::Verifier,
}

/// Who has the keys.
#[derive(Debug)]
enum Holder {
    Container(Agent),
    Instance(Metadata),
    WebIdentity { role_arn: String, token_file: PathBuf, session_name: String },
}

impl Source {
    /// The source that the settings describe. Nothing is read but certificate authorities.
    ///
    /// # Errors
    /// When an address, a life or the TLS settings cannot be used.
    pub fn new(settings: &Settings, trust: Trust) -> Result<Self, SettingsError> {
        let keys = match &settings.keys {
            Keys::Container { url, token_file } => Holder::Container(Agent::new(url, token_file.clone(), &settings.tls, trust)?),
            Keys::Instance { url } => Holder::Instance(Metadata::new(url, trust)?),
            Keys::WebIdentity { role_arn, token_file, session_name } => Holder::WebIdentity {
                role_arn: role_arn.clone(),
                token_file: token_file.clone(),
                session_name: sts::session_name(session_name),
            },
        };
        let place = Place { region: &settings.region, endpoint: settings.endpoint.as_ref(), tls: &settings.tls };
        let source = Self {
            keys,
            sts: Sts::new(place, trust)?,
            audiences: vec![settings.audience.clone()],
            algorithm: settings.algorithm,
            lifetime: settings.lifetime,
            verifier: oidc::Verifier::new(&provider(settings)?, trust, Pace::USUAL)?,
        };
        source.wanted().check()?;
        Ok(source)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { audiences: &self.audiences, algorithm: self.algorithm, lifetime: self.lifetime.0 }
    }

    async fn ask_and_verify(&self) -> Result<Proof, IdentityError> {
        let token = self.token().await.map_err(unminted)?;
        let principal = self.verifier.verify(&token).await?;
        not_ended(principal.expires_at)?;
        Ok(Proof { principal: Arc::new(Principal { proven_by: KIND, ..principal }), token, certificate: None })
    }

    async fn token(&self) -> Result<Secret<String>, Failure> {
        let keys = self.keys().await?;
        let (token, _) = self.sts.web_identity_token(&keys, self.wanted()).await?;
        Ok(token)
    }

    async fn keys(&self) -> Result<AwsCredentials, Failure> {
        match &self.keys {
            Holder::Container(agent) => agent.keys().await,
            Holder::Instance(metadata) => metadata.keys().await,
            Holder::WebIdentity { role_arn, token_file, session_name } => {
                let token = Secret::read(token_file).await.map_err(failure::unprepared)?;
                // A token ends no later than the keys that asked for it.
                let lifetime = self.lifetime.0.max(sts::LIFE_OF_KEYS_MIN);
                let role = Role { arn: role_arn, session: session_name, lifetime, policy: None, policy_arns: &[] };
                self.sts.assume_role_with_web_identity(role, &token).await
            }
        }
    }
}

impl IdentitySource for Source {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn prove(&self) -> Proving<'_> {
        Box::pin(self.ask_and_verify())
    }
}

/// The account's issuer, as an OpenID provider of which one signature is accepted: the one that is asked for. Its keys lie where the
/// API reference of IAM says (`GetOutboundWebIdentityFederationInfo`); its discovery document lacks what an OpenID provider's must have.
fn provider(settings: &Settings) -> Result<oidc::Settings, SettingsError> {
    let algorithm = match settings.algorithm {
        sts::Algorithm::RS256 => Algorithm::RS256,
        sts::Algorithm::ES384 => Algorithm::ES384,
    };
    let keys = settings.issuer.below(".well-known/jwks.json");
    let keys = keys.map_err(|error| crate::aws::SettingsError::Setting { field: "issuer", problem: error.to_string() })?;
    Ok(oidc::Settings {
        name: settings.name.clone(),
        token_file: None,
        token_env: None,
        issuer: settings.issuer.clone(),
        audience: settings.audience.clone(),
        algorithms: vec![algorithm],
        jwks_uri: Some(keys),
        tls: settings.tls.clone(),
        labels: settings.labels.clone(),
        labels_from_claims: BTreeMap::new(),
        leeway: settings.leeway,
    })
}

fn unminted(failure: Failure) -> IdentityError {
    let is_ours = failure.kind == Kind::Unprepared;
    let error = IdentityError::of_issuer(failure, Reason::TokenNotMinted);
    if is_ours { IdentityError { reason: Reason::TokenUnreadable, ..error } } else { error }
}

#[cfg(test)]
mod tests;
