//! The credentials of clients that show tokens of their own: a cache for each, and none of it for anybody else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::credential::CredentialExchange;
use crate::credential::cache::Cache;
use crate::fault::Reason;
use crate::identity::client::{Likeness, Shown};
use crate::identity::{IdentityError, IdentitySource, Proof, Proving};
use crate::metrics::Metrics;
use crate::target::Target;

/// Most clients whose credentials are kept. For one more, that of the client that was away for longest is forgotten: it costs
/// that client an exchange, and sessions that run nothing.
const CLIENTS_MAX: usize = 256;

/// The credentials of clients for one target.
///
/// A credential serves the sessions whose own token, verified a moment ago, gives the same rights as the token that it was
/// exchanged for ([`Likeness`]). It is never found by the token itself.
pub struct Clients {
    exchange: Arc<dyn CredentialExchange>,
    target: Arc<Target>,
    metrics: Arc<Metrics>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    clients: HashMap<Likeness, Client>,
    /// Counts uses, so that the oldest is known.
    uses: u64,
}

struct Client {
    cache: Cache,
    newest: Arc<Newest>,
    used: u64,
}

impl Clients {
    /// Nobody's credentials yet.
    pub fn new(exchange: Arc<dyn CredentialExchange>, target: Arc<Target>, metrics: Arc<Metrics>) -> Self {
        Self { exchange, target, metrics, kept: Mutex::default() }
    }

    /// The cache of whoever shows this token.
    pub fn cache(&self, shown: &Shown) -> Cache {
        let mut kept = self.kept();
        kept.uses += 1;
        let uses = kept.uses;
        if !kept.clients.contains_key(&shown.likeness) && kept.clients.len() >= CLIENTS_MAX {
            let oldest = kept.clients.iter().min_by_key(|(_, client)| client.used).map(|(likeness, _)| likeness.clone());
            oldest.and_then(|likeness| kept.clients.remove(&likeness));
        }
        let client = match kept.clients.entry(shown.likeness.clone()) {
            Entry::Occupied(known) => {
                let client = known.into_mut();
                client.newest.replace(&shown.proof);
                client
            }
            Entry::Vacant(place) => {
                let newest = Arc::new(Newest(Mutex::new(shown.proof.clone())));
                let cache = Cache::new(newest.clone(), Arc::clone(&self.exchange), Arc::clone(&self.target), Arc::clone(&self.metrics));
                place.insert(Client { cache, newest, used: 0 })
            }
        };
        client.used = uses;
        client.cache.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the tokens that a client has shown, the one that lives longest.
struct Newest(Mutex<Proof>);

impl Newest {
    fn replace(&self, shown: &Proof) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.principal.expires_at > newest.principal.expires_at {
            *newest = shown.clone();
        }
    }
}

impl IdentitySource for Newest {
    fn kind(&self) -> &'static str {
        "client"
    }

    fn prove(&self) -> Proving<'_> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(std::future::ready(if newest.principal.expires_at > SystemTime::now() {
            Ok(newest)
        } else {
            Err(IdentityError::new(Reason::TokenExpired, "the client has shown no newer token"))
        }))
    }
}

#[cfg(test)]
mod tests;
