//! A user of a warehouse that Vault makes for a token (database secrets engine), or whose password it keeps.
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/databases>

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::credential::value::{Draft, VaultToken};
use crate::credential::vault::{Anything, Reply, end};
use crate::credential::{ExchangeError, Login};
use crate::secret::Secret;

/// A role of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the engine is mounted.
    #[serde(default = "mount_default")]
    pub mount: String,
    /// The role there.
    pub role: String,
}

fn mount_default() -> String {
    "database".to_owned()
}

/// Users kept at most; of more, the oldest are not renewed.
const KEPT_MAX: usize = 256;

/// One role of which Vault makes a user for each lease.
#[derive(Debug)]
pub(in crate::credential) struct VaultDatabase {
    path: String,
    /// One for each token.
    kept: Mutex<VecDeque<Lease>>,
}

#[derive(Debug, Clone)]
struct Lease {
    id: String,
    /// The token that it was given to, and ends with.
    token: Secret<String>,
    user: String,
    password: Secret<String>,
    life: Duration,
}

#[derive(Deserialize)]
struct User {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct StaticUser {
    username: String,
    password: String,
    /// Seconds until the password is changed.
    ttl: u64,
}

impl VaultDatabase {
    pub(in crate::credential) fn new(settings: &Settings) -> Self {
        Self { path: format!("{}/creds/{}", settings.mount, settings.role), kept: Mutex::default() }
    }

    /// The token's user: the one that it has, for longer where Vault gives at least half of what it gave at first, or a new one.
    pub(in crate::credential) async fn obtain(&self, token: &VaultToken) -> Result<Draft, ExchangeError> {
        let lease = self.kept().iter().find(|lease| lease.token.expose() == token.value.expose()).cloned();
        if let Some(lease) = lease
            && let Some(expires_at) = renew(&lease, token).await
        {
            return Ok(draft(&lease, expires_at.min(token.expires_at)));
        }
        let now = SystemTime::now();
        let reply: Reply<User> = token.server.get(&self.path, &token.value).await?;
        let (id, seconds, renewable) = (reply.lease_id.clone(), reply.lease_duration, reply.renewable);
        let user = reply.into_data()?;
        let life = Duration::from_secs(seconds);
        let lease = Lease { id, token: token.value.clone(), user: user.username, password: Secret::new(user.password), life };
        let made = draft(&lease, end(now, seconds).min(token.expires_at));
        self.forget(&token.value);
        if renewable {
            let mut kept = self.kept();
            kept.push_back(lease);
            let surplus = kept.len().saturating_sub(KEPT_MAX);
            kept.drain(..surplus);
        }
        Ok(made)
    }

    /// Forgets a token's user; its lease ends by itself.
    pub(in crate::credential) fn forget(&self, token: &Secret<String>) {
        self.kept().retain(|lease| lease.token.expose() != token.expose());
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Lease>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn renew(lease: &Lease, token: &VaultToken) -> Option<SystemTime> {
    let now = SystemTime::now();
    let request = json!({ "lease_id": lease.id, "increment": lease.life.as_secs() });
    let reply: Reply<Anything> = token.server.post("sys/leases/renew", Some(&token.value), &request).await.ok()?;
    (Duration::from_secs(reply.lease_duration) >= lease.life / 2).then(|| end(now, reply.lease_duration))
}

fn draft(lease: &Lease, expires_at: SystemTime) -> Draft {
    Draft { id: None, login: Login::Password(lease.password.clone()), role: Some(lease.user.clone()), expires_at }
}

/// The user of a static role, and its password until Vault changes that.
pub(in crate::credential) async fn static_user(settings: &Settings, token: &VaultToken) -> Result<Draft, ExchangeError> {
    let now = SystemTime::now();
    let path = format!("{}/static-creds/{}", settings.mount, settings.role);
    let user: StaticUser = token.server.get::<StaticUser>(&path, &token.value).await?.into_data()?;
    let login = Login::Password(Secret::new(user.password));
    Ok(Draft { id: None, login, role: Some(user.username), expires_at: end(now, user.ttl) })
}
