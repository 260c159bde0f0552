//! Vault's steps against a stand-in that keeps tokens and leases as Vault documents them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::credential::stand_in::{proof, target};
use crate::credential::{Credential, CredentialExchange, ExchangeError, Login, Step, exchange};
use crate::fault::Reason;
use crate::http_server::stand_in::{Heard, StandIn};
use crate::http_server::{self, Answer};
use crate::tls::Trust;

/// A server that knows which tokens are alive.
#[derive(Default)]
struct Vault {
    made: usize,
    alive: HashSet<String>,
    /// Seconds that a renewal of a lease gives.
    renewal: u64,
}

impl Vault {
    fn answer(&mut self, heard: &Heard) -> Answer {
        let token = heard.header("x-vault-token").to_owned();
        assert_eq!(heard.header("x-vault-request"), "true");
        assert_eq!(heard.header("x-vault-namespace"), "team/a");
        if heard.path != "/v1/auth/jwt/login" && !self.alive.contains(&token) {
            return http_server::json(StatusCode::FORBIDDEN, &json!({ "errors": ["permission denied hunter2"] }));
        }
        self.made += 1;
        let body = match (heard.method.as_str(), heard.path.as_str()) {
            ("POST", "/v1/auth/jwt/login") => {
                let asked: Value = serde_json::from_str(&heard.body).unwrap();
                assert_eq!(asked, json!({ "role": "dbt", "jwt": proof().token.expose() }));
                let token = format!("hvs.token-{}", self.made);
                self.alive.insert(token.clone());
                json!({ "auth": { "client_token": token, "lease_duration": 3600, "renewable": true, "policies": ["dbt"] }, "data": null })
            }
            ("GET", "/v1/database/creds/dbt") => {
                let user = format!("v-jwt-dbt-{}", self.made);
                json!({ "lease_id": format!("database/creds/dbt/{}", self.made), "lease_duration": 600, "renewable": true,
                        "data": { "username": user, "password": "p-hunter2" } })
            }
            ("GET", "/v1/database/static-creds/dbt") => {
                json!({ "lease_id": "", "lease_duration": 0, "data": { "username": "dbt", "password": "p-hunter2", "ttl": 120 } })
            }
            ("POST", "/v1/sys/leases/renew") => {
                let asked: Value = serde_json::from_str(&heard.body).unwrap();
                assert_eq!(asked["increment"], 600);
                json!({ "lease_id": asked["lease_id"], "lease_duration": self.renewal, "renewable": true })
            }
            ("POST", "/v1/pki/sign/dbt") => sign(&serde_json::from_str(&heard.body).unwrap()),
            ("POST", "/v1/auth/token/revoke-self") => {
                self.alive.remove(&token);
                return http_server::answer(StatusCode::NO_CONTENT, "application/json", "");
            }
            other => panic!("{other:?}"),
        };
        http_server::json(StatusCode::OK, &body)
    }
}

fn sign(asked: &Value) -> Value {
    assert_eq!((&asked["common_name"], &asked["ttl"]), (&json!("dbt_runner"), &json!("300s")));
    let (certificate, authority) = signed(asked["csr"].as_str().unwrap());
    json!({ "data": { "certificate": certificate, "issuing_ca": authority, "ca_chain": [authority] } })
}

/// A certificate for a request, and that of the authority which signed it, in PEM.
pub(super) fn signed(csr: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::default();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, key).unwrap();
    let request = rcgen::CertificateSigningRequestParams::from_pem(csr).unwrap();
    (request.signed_by(&authority).unwrap().pem(), authority.pem())
}

struct Rig {
    server: StandIn,
    vault: Arc<Mutex<Vault>>,
    chain: Arc<dyn CredentialExchange>,
}

impl Rig {
    async fn start(step: &str) -> Self {
        let vault = Arc::new(Mutex::new(Vault { renewal: 600, ..Vault::default() }));
        let answers = Arc::clone(&vault);
        let server = StandIn::start(move |heard| answers.lock().unwrap().answer(heard)).await;
        let steps = json!([
            { "kind": "vault_login", "address": server.base, "namespace": "team/a", "role": "dbt" },
            { "kind": step, "role": "dbt" },
        ]);
        let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
        Self { server, vault, chain: exchange(&steps, "dbt_runner", Trust::Development).unwrap() }
    }

    async fn run(&self) -> Result<Credential, ExchangeError> {
        self.chain.exchange(&proof(), &target(), &|_| {}).await
    }

    fn paths(&self) -> Vec<String> {
        self.server.heard().into_iter().map(|heard| heard.path.trim_start_matches("/v1/").to_owned()).collect()
    }
}

#[tokio::test]
async fn a_user_is_made_once_and_then_lives_on_under_the_same_token() {
    let rig = Rig::start("vault_database").await;
    let (first, second) = (rig.run().await.unwrap(), rig.run().await.unwrap());
    assert_eq!(first.role.as_deref(), Some("v-jwt-dbt-2"));
    assert_eq!(first.role, second.role);
    assert!(matches!(&second.login, Login::Password(password) if password.expose() == "p-hunter2"));
    assert_eq!(rig.paths(), ["auth/jwt/login", "database/creds/dbt", "sys/leases/renew"]);
    // A lease that comes to its greatest life is left, and another user made.
    rig.vault.lock().unwrap().renewal = 299;
    assert_ne!(rig.run().await.unwrap().role, first.role);
}

#[tokio::test]
async fn a_kept_token_that_was_revoked_meanwhile_costs_one_new_login() {
    let rig = Rig::start("vault_database").await;
    rig.run().await.unwrap();
    rig.vault.lock().unwrap().alive.clear();
    rig.run().await.unwrap();
    let logins = rig.paths().iter().filter(|path| *path == "auth/jwt/login").count();
    assert_eq!(logins, 2, "{:?}", rig.paths());
}

#[tokio::test]
async fn what_vault_does_not_allow_costs_no_second_login_and_its_words_are_not_repeated() {
    let rig = Rig::start("vault_database").await;
    let server = StandIn::start(|heard| {
        let (status, body) = match heard.path.as_str() {
            "/v1/auth/jwt/login" => {
                (StatusCode::OK, json!({ "auth": { "client_token": "hvs.1", "lease_duration": 60, "renewable": false } }))
            }
            _ => (StatusCode::FORBIDDEN, json!({ "errors": ["hunter2"] })),
        };
        http_server::json(status, &body)
    })
    .await;
    let steps = json!([{ "kind": "vault_login", "address": server.base, "role": "dbt" }, { "kind": "vault_database", "role": "dbt" }]);
    let error = crate::credential::stand_in::run(steps).await.unwrap_err();
    assert_eq!(error.reason, Reason::ExchangeRefused);
    assert_eq!(server.heard().len(), 2);
    assert!(!crate::credential::stand_in::everything(&error).contains("hunter2"));
    drop(rig);
}

#[tokio::test]
async fn at_the_end_the_tokens_are_revoked_and_with_them_the_users() {
    let rig = Rig::start("vault_database").await;
    rig.run().await.unwrap();
    assert_eq!(rig.vault.lock().unwrap().alive.len(), 1);
    rig.chain.release().await;
    assert!(rig.vault.lock().unwrap().alive.is_empty());
    assert_eq!(rig.paths().last().unwrap(), "auth/token/revoke-self");
}

#[tokio::test]
async fn a_static_users_password_and_a_signed_certificate_are_credentials_too() {
    let rig = Rig::start("vault_database_static").await;
    let credential = rig.run().await.unwrap();
    assert_eq!(credential.role.as_deref(), Some("dbt"));
    let life = credential.expires_at.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((115..=120).contains(&life), "{life}");

    let rig = Rig::start("vault_pki").await;
    let credential = rig.run().await.unwrap();
    let Login::ClientCertificate { chain, .. } = &credential.login else { panic!("{credential:?}") };
    assert_eq!(chain.len(), 2);
    let asked: Value = serde_json::from_str(&rig.server.heard()[1].body).unwrap();
    assert!(!rig.server.heard()[1].body.contains("PRIVATE KEY") && asked["csr"].as_str().unwrap().contains("CERTIFICATE REQUEST"));
}
