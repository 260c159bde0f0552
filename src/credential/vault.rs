//! Vault and OpenBao: a login, and what its token is given.
//!
//! <https://developer.hashicorp.com/vault/api-docs>

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure, Kind};
use crate::fetch::{Answer, Call, Fetch};
use crate::secret::Secret;

pub mod database;
pub mod login;
pub mod pki;

/// One server, and the namespace in it.
#[derive(Debug)]
pub struct Server {
    fetch: Fetch,
    address: Endpoint,
    namespace: Option<String>,
}

/// An answer of success, as far as it matters. `data` or `auth` is there by the call.
#[derive(Deserialize)]
pub(super) struct Reply<T> {
    #[serde(default)]
    lease_id: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    data: Option<T>,
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    renewable: bool,
}

/// Nothing that is read.
#[derive(Debug, Deserialize)]
struct Anything {}

/// The longest life that is believed of anything that Vault gives.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl Server {
    async fn get<T: DeserializeOwned>(&self, path: &str, token: &Secret<String>) -> Result<Reply<T>, Failure> {
        let (to, answer) = self.call(path, Call::get(), Some(token)).await?;
        self.reply(&to, &answer)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&Secret<String>>,
        request: &serde_json::Value,
    ) -> Result<Reply<T>, Failure> {
        let body = Secret::new(request.to_string());
        let (to, answer) = self.call(path, Call::post("application/json", body.expose().clone().into_bytes()), token).await?;
        self.reply(&to, &answer)
    }

    /// Has a token revoked, and with it every lease that it was given.
    async fn revoke(&self, token: &Secret<String>) -> Result<(), Failure> {
        let (to, answer) = self.call("auth/token/revoke-self", Call::post("application/json", Vec::new()), Some(token)).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(&to, &answer)) }
    }

    async fn call(&self, path: &str, call: Call, token: Option<&Secret<String>>) -> Result<(Endpoint, Answer), Failure> {
        let to = self.address.below(&format!("v1/{path}")).map_err(failure::unprepared)?;
        // Vault's own proxies forward only what carries this header.
        let mut call = call.header("x-vault-request", "true").map_err(failure::failed)?;
        if let Some(namespace) = &self.namespace {
            call = call.header("x-vault-namespace", namespace).map_err(failure::failed)?;
        }
        if let Some(token) = token {
            call = call.secret_header("x-vault-token", token).map_err(failure::failed)?;
        }
        let answer = self.fetch.send(&to, call).await.map_err(failure::failed)?;
        Ok((to, answer))
    }

    fn reply<T: DeserializeOwned>(&self, to: &Endpoint, answer: &Answer) -> Result<Reply<T>, Failure> {
        if answer.status.is_success() { failure::json(answer, "auth, data or a field of theirs") } else { Err(refused(to, answer)) }
    }
}

impl<T> Reply<T> {
    fn into_data(self) -> Result<T, Failure> {
        self.data.ok_or_else(|| failure::unusable("the answer holds no data"))
    }
}

/// Vault's own words may repeat what was sent, so only its status is said.
fn refused(to: &Endpoint, answer: &Answer) -> Failure {
    let error = failure::refused(to, answer, None);
    match answer.status.as_u16() {
        // Eventual consistency, and the states of a standby.
        412 | 472 | 473 => Failure { kind: Kind::Away, ..error },
        403 => error.fix("Vault does not allow this: check the role's policies, and the namespace"),
        404 => error.fix("Vault has nothing there: check `mount`, `role` and the namespace"),
        400 => error.fix("Vault does not take this: check `role`, and what the role binds a token to"),
        _ => error,
    }
}

/// When something ends that lives for so many seconds from `now` on.
fn end(now: SystemTime, seconds: u64) -> SystemTime {
    now + Duration::from_secs(seconds).min(LIFE_MAX)
}
