//! Amazon Web Services: calls to its services, signed by keys that a call before them gave.
//!
//! Shapes follow the models in botocore 1.44, AWS's own client library.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::credential::chain::ChainProblem;
use crate::credential::value::AwsCredentials;
use crate::credential::{ExchangeError, answer};
use crate::fetch::endpoint::Endpoint;
use crate::fetch::{Answer, Call, Fetch, form};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

mod fault;
pub mod pod_identity;
pub mod rds_token;
pub mod redshift_credentials;
pub mod sign;
pub mod web_identity;
pub mod web_identity_token;

/// The name of a region, such as `eu-west-1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z0-9-]+$"))]
pub struct Region(String);

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the names of its services end in.
    fn suffix(&self) -> &'static str {
        if self.0.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
    }
}

impl TryFrom<String> for Region {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        // It becomes part of a host's name.
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_name { Ok(Self(name)) } else { Err("expected the name of a region such as eu-west-1") }
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.0
    }
}

/// A service in a region.
#[derive(Debug)]
pub(super) struct Service {
    fetch: Fetch,
    /// Its name in addresses and signatures.
    name: &'static str,
    endpoint: Endpoint,
    region: Region,
}

/// Where a service is and how it is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    region: &'a Region,
    /// In place of the service's usual address.
    endpoint: Option<&'a Endpoint>,
    tls: &'a ClientSettings,
}

impl Service {
    fn new(name: &'static str, place: Place<'_>, trust: Trust) -> Result<Self, ChainProblem> {
        let usual = || Endpoint::parse(&format!("https://{name}.{}.{}/", place.region.as_str(), place.region.suffix()));
        let endpoint = place.endpoint.map_or_else(usual, |endpoint| Ok(endpoint.clone()));
        let endpoint = endpoint.map_err(|error| ChainProblem::Setting { field: "region", problem: error.to_string() })?;
        let fetch = Fetch::new(place.tls, trust).map_err(ChainProblem::Tls)?;
        Ok(Self { fetch, name, endpoint, region: place.region.clone() })
    }

    /// Makes a call of the query protocol, whose answer is XML; signed where there are keys.
    async fn query<T: DeserializeOwned>(&self, keys: Option<&AwsCredentials>, fields: &[(&str, &str)]) -> Result<T, ExchangeError> {
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let answer = self.call(keys, &headers, form(fields)).await?;
        let text = std::str::from_utf8(answer.body.expose()).map_err(|_| answer::invalid("the answer is not text"))?;
        // The parser's message may quote the answer.
        quick_xml::de::from_str(text).map_err(|_| answer::invalid("the answer is not the XML that the call is answered with"))
    }

    /// Makes a signed call of the JSON protocol.
    async fn json<T: DeserializeOwned>(
        &self,
        keys: &AwsCredentials,
        operation: &str,
        request: &serde_json::Value,
    ) -> Result<T, ExchangeError> {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", operation)];
        let answer = self.call(Some(keys), &headers, request.to_string()).await?;
        answer::json(&answer, "a field")
    }

    async fn call(&self, keys: Option<&AwsCredentials>, headers: &[(&'static str, &str)], body: String) -> Result<Answer, ExchangeError> {
        let body = Secret::new(body);
        let mut call = Call::post("application/octet-stream", body.expose().as_bytes().to_vec());
        for (name, value) in headers {
            call = call.header(name, value).map_err(answer::failed)?;
        }
        if let Some(keys) = keys {
            let scope = sign::Scope { service: self.name, region: self.region.as_str(), time: SystemTime::now() };
            for (name, value) in sign::headers(keys, scope, &self.endpoint, headers, body.expose().as_bytes())? {
                call = call.secret_header(name, &value).map_err(answer::failed)?;
            }
        }
        let answer = self.fetch.send(&self.endpoint, call).await.map_err(answer::failed)?;
        if answer.status.is_success() { Ok(answer) } else { Err(fault::refused(&self.endpoint, &answer)) }
    }
}
