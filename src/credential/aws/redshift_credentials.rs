//! A user and password of Amazon Redshift for AWS keys: of a cluster, by name or by IAM, or of a serverless workgroup.
//!
//! <https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentials.html>,
//! `API_GetClusterCredentialsWithIAM`, and `GetCredentials` of Redshift Serverless.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::aws::{AwsCredentials, Place, Region, Service};
use crate::credential::Login;
use crate::credential::action::Context;
use crate::credential::chain::ChainProblem;
use crate::credential::value::Draft;
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// A warehouse and the user to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The warehouse's region.
    pub region: Region,
    /// What it is, and how users come about.
    pub deployment: Deployment,
    /// The only database that the user may connect to; any where absent.
    #[serde(default)]
    pub database: Option<String>,
    /// How long the password should let somebody log in, from 15 minutes to an hour.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
    /// The service at another address than the region's usual one.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// How it is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn lifetime_default() -> Span {
    Span::seconds(900)
}

/// What the warehouse is, and how users come about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Deployment {
    /// A cluster, and a database user of it by name: the target's role.
    Cluster {
        /// The cluster's identifier.
        identifier: String,
        /// Make the user if there is none.
        #[serde(default)]
        auto_create: bool,
        /// Groups that the user joins for the session.
        #[serde(default)]
        groups: Vec<String>,
    },
    /// A cluster, and the database user that IAM says the keys are.
    ClusterIam {
        /// The cluster's identifier.
        identifier: String,
    },
    /// A serverless workgroup, and the database user that IAM says the keys are.
    Serverless {
        /// The workgroup's name.
        workgroup: String,
    },
}

/// One warehouse.
#[derive(Debug)]
pub(in crate::credential) struct RedshiftCredentials {
    service: Service,
    settings: Settings,
}

#[derive(Deserialize)]
struct ByName {
    #[serde(rename = "GetClusterCredentialsResult")]
    result: Issued,
}

#[derive(Deserialize)]
struct ByIam {
    #[serde(rename = "GetClusterCredentialsWithIAMResult")]
    result: Issued,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    db_user: String,
    db_password: String,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Serverless {
    db_user: String,
    db_password: String,
    /// Seconds since 1970, with a fraction.
    expiration: f64,
}

impl RedshiftCredentials {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        if !(900..=3600).contains(&settings.lifetime.0.as_secs()) {
            return Err(ChainProblem::Setting {
                field: "lifetime",
                problem: "Redshift gives passwords for 15 minutes to 1 hour".to_owned(),
            });
        }
        let place = Place { region: &settings.region, endpoint: settings.endpoint.as_ref(), tls: &settings.tls };
        let name = match settings.deployment {
            Deployment::Cluster { .. } | Deployment::ClusterIam { .. } => "redshift",
            Deployment::Serverless { .. } => "redshift-serverless",
        };
        Ok(Self { service: Service::new(name, place, trust)?, settings: settings.clone() })
    }

    /// Asks once.
    pub(in crate::credential) async fn obtain(&self, keys: &AwsCredentials, context: Context<'_>) -> Result<Draft, Failure> {
        let (user, password, expires_at) = match &self.settings.deployment {
            Deployment::Cluster { identifier, auto_create, groups } => {
                let names: Vec<_> = (1..=groups.len()).map(|place| format!("DbGroups.DbGroup.{place}")).collect();
                let mut fields = vec![("Action", "GetClusterCredentials"), ("DbUser", context.role), ("ClusterIdentifier", identifier)];
                fields.extend(auto_create.then_some(("AutoCreate", "true")));
                fields.extend(names.iter().map(String::as_str).zip(groups.iter().map(String::as_str)));
                self.query::<ByName>(keys, fields).await?.result.into_parts()?
            }
            Deployment::ClusterIam { identifier } => {
                let fields = vec![("Action", "GetClusterCredentialsWithIAM"), ("ClusterIdentifier", identifier.as_str())];
                self.query::<ByIam>(keys, fields).await?.result.into_parts()?
            }
            Deployment::Serverless { workgroup } => self.serverless(keys, workgroup).await?,
        };
        // The user that comes back may differ from the one asked for (`IAM:`, `IAMA:`, `IAMR:`), and the password is its alone.
        Ok(Draft { id: None, login: Login::Password(password), role: Some(user), expires_at })
    }

    async fn query<T: serde::de::DeserializeOwned>(&self, keys: &AwsCredentials, mut fields: Vec<(&str, &str)>) -> Result<T, Failure> {
        let seconds = self.settings.lifetime.0.as_secs().to_string();
        fields.insert(1, ("Version", "2012-12-01"));
        fields.push(("DurationSeconds", &seconds));
        fields.extend(self.settings.database.as_deref().map(|database| ("DbName", database)));
        self.service.query(Some(keys), &fields).await
    }

    async fn serverless(&self, keys: &AwsCredentials, workgroup: &str) -> Result<(String, Secret<String>, SystemTime), Failure> {
        let database = self.settings.database.iter().map(|database| ("dbName".to_owned(), json!(database)));
        let asked =
            [("workgroupName".to_owned(), json!(workgroup)), ("durationSeconds".to_owned(), json!(self.settings.lifetime.0.as_secs()))];
        let request = asked.into_iter().chain(database).collect();
        let issued: Serverless = self.service.json(keys, "RedshiftServerless.GetCredentials", &request).await?;
        let life = Duration::try_from_secs_f64(issued.expiration).ok();
        let expires_at = life.and_then(|life| SystemTime::UNIX_EPOCH.checked_add(life));
        let expires_at = expires_at.ok_or_else(|| failure::unusable("a time in the answer cannot be read"))?;
        Ok((issued.db_user, Secret::new(issued.db_password), expires_at))
    }
}

impl Issued {
    fn into_parts(self) -> Result<(String, Secret<String>, SystemTime), Failure> {
        let expires_at = failure::time(&self.expiration)?;
        Ok((self.db_user, Secret::new(self.db_password), expires_at))
    }
}
