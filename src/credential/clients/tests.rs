//! Many clients before one exchange: nobody gets what was exchanged for somebody else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{CLIENTS_MAX, Clients};
use crate::credential::{Credential, CredentialExchange, Exchanging, Login, Report};
use crate::fault::Reason;
use crate::identity::client::{Likeness, Shown};
use crate::identity::{Principal, Proof};
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::target::{Opening, Target};

/// Gives credentials that live as long as asked, and remembers for which tokens.
#[derive(Default)]
struct Exchange {
    count: AtomicUsize,
    life: Duration,
    tokens: Mutex<Vec<String>>,
}

impl CredentialExchange for Exchange {
    fn kind(&self) -> &'static str {
        "script"
    }

    fn exchange<'a>(&'a self, proof: &'a Proof, _: &'a Target, _: &'a Report<'a>) -> Exchanging<'a> {
        self.tokens.lock().unwrap().push(proof.token.expose().clone());
        let now = SystemTime::now();
        let credential = Credential {
            id: format!("{}-{}", proof.principal.subject, self.count.fetch_add(1, Ordering::SeqCst)),
            login: Login::Password(Secret::from("hunter2")),
            role: None,
            issued_at: now,
            expires_at: now + self.life,
        };
        Box::pin(std::future::ready(Ok(credential)))
    }
}

fn rig(life: u64) -> (Clients, Arc<Exchange>) {
    let exchange = Arc::new(Exchange { life: Duration::from_secs(life), ..Exchange::default() });
    let target =
        Target { name: "warehouse".to_owned(), kind: "postgresql", host: "localhost".to_owned(), port: 5432, opening: Opening::Plain };
    (Clients::new(exchange.clone(), Arc::new(target), Arc::new(Metrics::new().unwrap())), exchange)
}

/// A token as it is behind the verifier, which lives for so many seconds more.
fn shown(subject: &str, more: &Value, life: i64) -> Shown {
    let mut claims = json!({ "sub": subject, "exp": life, "jti": format!("{subject}-{life}") });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let token = Secret::new(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string())));
    let distance = Duration::from_secs(life.unsigned_abs());
    let now = SystemTime::now();
    let principal = Principal {
        issuer: "https://issuer".to_owned(),
        subject: subject.to_owned(),
        token_id: None,
        actors: Vec::new(),
        namespace: None,
        service_account: None,
        pod: None,
        pod_uid: None,
        labels: BTreeMap::new(),
        proven_by: "oidc",
        expires_at: if life < 0 { now - distance } else { now + distance },
    };
    Shown { likeness: Likeness::of(&token).unwrap(), proof: Proof { principal: Arc::new(principal), token, certificate: None } }
}

async fn id(clients: &Clients, shown: &Shown) -> String {
    clients.cache(shown).get().await.unwrap().credential.id.clone()
}

#[tokio::test]
async fn a_credential_serves_the_same_rights_and_no_others() {
    let (clients, _) = rig(3600);
    assert_eq!(id(&clients, &shown("ada", &json!({}), 3600)).await, "ada-0");
    assert_eq!(id(&clients, &shown("ada", &json!({}), 3601)).await, "ada-0", "another token of the same rights");
    assert_eq!(id(&clients, &shown("ada", &json!({ "act": { "sub": "agent" } }), 3600)).await, "ada-1", "an agent is not Ada");
    assert_eq!(id(&clients, &shown("ada", &json!({ "scope": "admin" }), 3600)).await, "ada-2");
    assert_eq!(id(&clients, &shown("job", &json!({}), 3600)).await, "job-3");
    assert_eq!(id(&clients, &shown("ada", &json!({}), 3600)).await, "ada-0");
}

#[tokio::test]
async fn a_new_exchange_shows_the_token_that_lives_longest() {
    // Under the 30 s in which nothing is used: each use exchanges anew.
    let (clients, exchange) = rig(10);
    let [short, long, short_again] = [100, 200, 150].map(|life| shown("ada", &json!({}), life));
    for shown in [&short, &long, &short_again] {
        id(&clients, shown).await;
    }
    let expected = [&short, &long, &long].map(|shown| shown.proof.token.expose().clone());
    assert_eq!(*exchange.tokens.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_token_whose_time_is_over_is_not_exchanged() {
    let (clients, exchange) = rig(3600);
    let over = shown("ada", &json!({}), -1);
    assert_eq!(clients.cache(&over).get().await.unwrap_err().reason, Reason::TokenExpired);
    assert_eq!(exchange.count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_too_many_clients_the_one_that_was_away_longest_is_forgotten() {
    let (clients, _) = rig(3600);
    let client = |number: usize| shown(&format!("c{number}"), &json!({}), 3600);
    for number in 0..CLIENTS_MAX {
        id(&clients, &client(number)).await;
    }
    assert_eq!(id(&clients, &client(0)).await, "c0-0", "used again: now another is the oldest");
    id(&clients, &client(CLIENTS_MAX)).await;
    assert_eq!(clients.kept().clients.len(), CLIENTS_MAX);
    assert_eq!(id(&clients, &client(0)).await, "c0-0");
    assert_eq!(id(&clients, &client(1)).await, format!("c1-{}", CLIENTS_MAX + 1), "exchanged anew");
}
