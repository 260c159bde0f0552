//! A token of Vault for a token of the workload: by the methods `jwt` and `kubernetes`, which ask for the same.
//!
//! <https://developer.hashicorp.com/vault/api-docs/auth/jwt>, `.../auth/kubernetes`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::credential::ExchangeError;
use crate::credential::chain::ChainProblem;
use crate::credential::value::{Token, VaultToken};
use crate::credential::vault::{Anything, Reply, Server, end};
use crate::fetch::Fetch;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure;
use crate::identity::client::Likeness;
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// A server and the role to log in as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The server's address, such as `https://vault.example:8200`.
    pub address: Endpoint,
    /// The namespace (Vault Enterprise, OpenBao).
    #[serde(default)]
    pub namespace: Option<String>,
    /// Where the `jwt` or `kubernetes` method is mounted.
    #[serde(default = "mount_default")]
    pub mount: String,
    /// The role there.
    pub role: String,
    /// How the server is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn mount_default() -> String {
    "jwt".to_owned()
}

/// Tokens kept at most; of more, the one that ends first goes.
const KEPT_MAX: usize = 256;
/// Tokens at most that are only remembered to be revoked at the end; of more, the oldest end by themselves.
const RETIRED_MAX: usize = 1024;
/// What a token must live longer to be used again.
const LIFE_MIN: Duration = Duration::from_secs(60);

/// One role of one server, and the tokens that were given for it.
#[derive(Debug)]
pub(in crate::credential) struct VaultLogin {
    server: Arc<Server>,
    mount: String,
    role: String,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the likeness of the token that was shown: one of the same subject with more or fewer claims has its own.
    current: HashMap<Likeness, Held>,
    /// Tokens that others took the place of, whose leases may still be in use.
    retired: Vec<VaultToken>,
}

#[derive(Debug, Clone)]
struct Held {
    token: VaultToken,
    /// What it was given for.
    life: Duration,
    renewable: bool,
}

impl Held {
    /// Whether more than a quarter of its life is left, and a minute.
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.token.expires_at > now + LIFE_MIN.max(self.life / 4)
    }
}

impl VaultLogin {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        let fetch = Fetch::new(&settings.tls, trust).map_err(ChainProblem::Tls)?;
        let server = Arc::new(Server { fetch, address: settings.address.clone(), namespace: settings.namespace.clone() });
        Ok(Self { server, mount: settings.mount.clone(), role: settings.role.clone(), kept: Mutex::default() })
    }

    /// The token that was given for one like this, renewed where that is due, or a new one.
    pub(in crate::credential) async fn exchange(&self, token: &Token) -> Result<VaultToken, ExchangeError> {
        let key = Likeness::of(&token.value);
        let held = key.as_ref().and_then(|key| self.kept().current.get(key).cloned());
        if let (Some(held), Some(key)) = (held, &key) {
            if held.is_fresh(SystemTime::now()) {
                return Ok(VaultToken { is_kept: true, ..held.token });
            }
            if let Some(renewed) = self.renew(&held).await {
                self.keep(Some(key.clone()), renewed.clone());
                return Ok(VaultToken { is_kept: true, ..renewed.token });
            }
        }
        let held = self.log_in(token).await?;
        self.keep(key, held.clone());
        Ok(held.token)
    }

    /// Leaves a token to its end: the server no longer takes it.
    pub(in crate::credential) fn forget(&self, token: &Secret<String>) {
        self.kept().current.retain(|_, held| held.token.value.expose() != token.expose());
    }

    /// Has every token revoked that was given, and with it what it was given in turn.
    pub(in crate::credential) async fn release(&self) {
        let tokens = {
            let mut kept = self.kept();
            let current: Vec<_> = kept.current.drain().map(|(_, held)| held.token).collect();
            kept.retired.drain(..).chain(current).collect::<Vec<_>>()
        };
        for token in tokens.iter().filter(|token| token.expires_at > SystemTime::now()) {
            if let Err(error) = self.server.revoke(&token.value).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "a Vault token was not revoked; it ends by itself");
            }
        }
    }

    async fn log_in(&self, token: &Token) -> Result<Held, ExchangeError> {
        let request = json!({ "role": self.role, "jwt": token.value.expose() });
        let now = SystemTime::now();
        let reply: Reply<Anything> = self.server.post(&format!("auth/{}/login", self.mount), None, &request).await?;
        let auth = reply.auth.ok_or_else(|| failure::unusable("the answer holds no token"))?;
        Ok(self.held(auth.client_token, auth.lease_duration, auth.renewable, now))
    }

    /// The same token with a longer life, where the server gives at least half of what it gave at first.
    async fn renew(&self, held: &Held) -> Option<Held> {
        let now = SystemTime::now();
        if !held.renewable || held.token.expires_at <= now {
            return None;
        }
        let reply: Reply<Anything> = self.server.post("auth/token/renew-self", Some(&held.token.value), &json!({})).await.ok()?;
        let auth = reply.auth?;
        let is_enough = Duration::from_secs(auth.lease_duration) >= held.life / 2;
        is_enough.then(|| Held { life: held.life, ..self.held(auth.client_token, auth.lease_duration, auth.renewable, now) })
    }

    fn held(&self, token: String, seconds: u64, renewable: bool, now: SystemTime) -> Held {
        let token =
            VaultToken { value: Secret::new(token), server: Arc::clone(&self.server), expires_at: end(now, seconds), is_kept: false };
        Held { token, life: Duration::from_secs(seconds), renewable }
    }

    fn keep(&self, key: Option<Likeness>, held: Held) {
        let now = SystemTime::now();
        let mut kept = self.kept();
        kept.retired.retain(|token| token.expires_at > now);
        // What cannot be told from others serves once, and is only revoked at the end.
        let Some(key) = key else {
            kept.retired.push(held.token);
            return;
        };
        let value = held.token.value.clone();
        let before = kept.current.insert(key, held).map(|before| before.token);
        kept.retired.extend(before.filter(|before| before.value.expose() != value.expose()));
        if kept.current.len() > KEPT_MAX {
            let first = kept.current.iter().min_by_key(|(_, held)| held.token.expires_at).map(|(key, _)| key.clone());
            let gone = first.and_then(|key| kept.current.remove(&key));
            kept.retired.extend(gone.map(|gone| gone.token));
        }
        let surplus = kept.retired.len().saturating_sub(RETIRED_MAX);
        kept.retired.drain(..surplus);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
