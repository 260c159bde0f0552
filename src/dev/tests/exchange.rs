//! From the workload's token to a client certificate, over real sockets.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{Rig, everything};
use crate::credential::oauth::token_exchange::{GRANT_TYPE, JWT_TOKEN_TYPE};
use crate::credential::{Credential, ExchangeError, Login, Step, StepReport, exchange};
use crate::fault::{Fault, Reason};
use crate::fetch::endpoint::Endpoint;
use crate::fetch::{Authorization, Fetch};
use crate::identity::Proof;
use crate::secret::Secret;
use crate::target::{Opening, Target};
use crate::tls::Trust;

/// The fields of a good request.
pub(super) fn form(subject_token: &Secret<String>, audience: &str) -> Vec<(&'static str, String)> {
    vec![
        ("grant_type", GRANT_TYPE.to_owned()),
        ("subject_token", subject_token.expose().clone()),
        ("subject_token_type", JWT_TOKEN_TYPE.to_owned()),
        ("audience", audience.to_owned()),
    ]
}

/// Posts to the token endpoint; status and body.
pub(super) async fn post_token(rig: &Rig, fields: &[(&'static str, String)]) -> (u16, Value) {
    let fetch = Fetch::new(&rig.tls(), Trust::Development).unwrap();
    let to = Endpoint::parse(&format!("{}/oauth/token", rig.stand.base())).unwrap();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = fetch.post_form(&to, &fields, Authorization::None).await.unwrap();
    (answer.status.as_u16(), serde_json::from_slice(answer.body.expose()).unwrap())
}

fn target() -> Target {
    Target { name: "warehouse".to_owned(), kind: "postgresql", host: "localhost".to_owned(), port: 5432, opening: Opening::Plain }
}

/// The steps of the demo, after a change to them.
fn steps(rig: &Rig, change: impl FnOnce(&mut Value)) -> Vec<Step> {
    let tls = json!({ "ca": rig.directory.path().join("ca.crt") });
    let mut steps = json!([
        { "kind": "token_exchange", "issuer": format!("{}/oauth", rig.stand.base()), "audience": "warehouse-ca", "tls": tls },
        { "kind": "client_certificate", "url": format!("{}/1.0/sign", rig.stand.base()), "common_name": "dbt_runner", "tls": tls },
    ]);
    change(&mut steps);
    serde_json::from_value(steps).unwrap()
}

async fn run(steps: &[Step], proof: &Proof) -> Result<Credential, ExchangeError> {
    exchange(steps, "dbt_runner", Trust::Development).unwrap().exchange(proof, &target(), &|_| {}).await
}

#[tokio::test]
async fn the_workloads_token_becomes_a_certificate_that_the_client_authority_signed_for_our_key() {
    let rig = Rig::start().await;
    let credential = run(&steps(&rig, |_| {}), &rig.proof()).await.unwrap();
    let Login::ClientCertificate { chain, key } = &credential.login else { panic!("{credential:?}") };

    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let authority = std::fs::read(rig.directory.path().join("client-ca.crt")).unwrap();
    let (_, authority) = x509_parser::pem::parse_x509_pem(&authority).unwrap();
    leaf.verify_signature(Some(authority.parse_x509().unwrap().public_key())).unwrap();
    let ours = rcgen::KeyPair::try_from(key.expose()).unwrap();
    assert_eq!(leaf.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&ours));
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    let life = credential.expires_at.duration_since(SystemTime::now()).unwrap();
    assert!((Duration::from_secs(280)..=Duration::from_secs(300)).contains(&life), "{life:?}");
    assert_eq!(credential.id.len(), 32);
    assert!(!format!("{credential:?}").contains(&format!("{:?}", key.expose().secret_der())), "the key is in the debug output");
}

#[tokio::test]
async fn a_longer_life_than_the_authority_gives_is_cut_to_what_it_gives() {
    let rig = Rig::start().await;
    let credential = run(&steps(&rig, |steps| steps[1]["lifetime"] = json!("10h")), &rig.proof()).await.unwrap();
    let life = credential.expires_at.duration_since(SystemTime::now()).unwrap();
    assert!(life <= Duration::from_secs(600), "{life:?}");
}

#[tokio::test]
async fn what_the_exchange_refuses_is_named_by_reason_and_code_and_holds_no_token() {
    let rig = Rig::start().await;
    let good = rig.proof();
    let stranger = Proof { token: Secret::from("e30.e30.e30"), ..good.clone() };
    let mut claims = rig.stand.cluster().claims().unwrap();
    claims["sub"] = json!("system:serviceaccount:demo:intruder");
    claims["kubernetes.io"]["serviceaccount"]["name"] = json!("intruder");
    let other_account = Proof { token: rig.stand.cluster().issuer().sign(&claims).unwrap(), ..good.clone() };
    let base = rig.stand.base().to_owned();
    let cases = [
        ("another account", &other_account, steps(&rig, |_| {}), Reason::ExchangeRefused, "403"),
        ("subject token", &stranger, steps(&rig, |_| {}), Reason::ExchangeRefused, "400: invalid_grant"),
        ("audience", &good, steps(&rig, |steps| steps[0]["audience"] = json!("elsewhere")), Reason::ExchangeRefused, "400: invalid_target"),
        (
            "token for another service",
            &good,
            steps(&rig, |steps| steps[0]["audience"] = json!("warehouse")),
            Reason::ExchangeRefused,
            "401",
        ),
        ("name", &good, steps(&rig, |steps| steps[1]["common_name"] = json!("postgres")), Reason::ExchangeRefused, "403"),
        ("no such endpoint", &good, steps(&rig, |steps| steps[1]["url"] = json!(format!("{base}/sign"))), Reason::ExchangeRefused, "404"),
        (
            "nobody there",
            &good,
            steps(&rig, |steps| steps[1]["url"] = json!("https://127.0.0.1:9/sign")),
            Reason::ExchangeUnreachable,
            "127.0.0.1:9",
        ),
        (
            "not a provider",
            &good,
            steps(&rig, |steps| steps[0]["issuer"] = json!(format!("{base}/kubernetes"))),
            Reason::ExchangeInvalid,
            "discovery",
        ),
    ];
    for (case, proof, steps, reason, shown) in cases {
        let error = run(&steps, proof).await.unwrap_err();
        let said = everything(&error);
        assert_eq!(error.reason, reason, "{case}: {said}");
        assert!(said.contains(shown), "{case}: {said}");
        for part in proof.token.expose().split('.').filter(|part| part.len() > 3) {
            assert!(!said.contains(part), "{case}: {said}");
        }
    }
}

#[tokio::test]
async fn a_refusal_names_the_step_and_whom_the_refused_token_was_for() {
    let rig = Rig::start().await;
    let reports = std::sync::Mutex::new(Vec::new());
    let report = |report: &StepReport<'_>| reports.lock().unwrap().push((report.step.to_string(), report.outcome()));
    let steps = steps(&rig, |steps| steps[0]["audience"] = json!("warehouse"));
    let chain = exchange(&steps, "dbt_runner", Trust::Development).unwrap();
    let error = chain.exchange(&rig.proof(), &target(), &report).await.unwrap_err();
    assert_eq!(
        Fault::from(error).to_string(),
        "the credential exchange was refused (credential[1] client_certificate: the token that was shown is for `warehouse`)"
    );
    let expected = [("credential[0] token_exchange".to_owned(), "ok"), ("credential[1] client_certificate".to_owned(), "exchange-refused")];
    assert_eq!(*reports.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_token_endpoint_answers_in_oauths_own_words() {
    let rig = Rig::start().await;
    let token = rig.token();
    let (status, answer) = post_token(&rig, &form(&token, "warehouse-ca")).await;
    assert_eq!((status, &answer["token_type"]), (200, &json!("Bearer")));
    assert!(answer["expires_in"].as_u64().unwrap() <= 300);

    let without = |name: &str| form(&token, "warehouse-ca").into_iter().filter(|(field, _)| *field != name).collect::<Vec<_>>();
    let twice = [form(&token, "warehouse-ca"), vec![("audience", "warehouse".to_owned())]].concat();
    for (fields, code) in [
        (without("grant_type"), "unsupported_grant_type"),
        (without("subject_token"), "invalid_request"),
        (without("subject_token_type"), "invalid_request"),
        (without("audience"), "invalid_target"),
        (twice, "invalid_request"),
        (form(&Secret::from("hunter2"), "warehouse-ca"), "invalid_grant"),
    ] {
        let (status, answer) = post_token(&rig, &fields).await;
        assert_eq!((status, answer), (400, json!({ "error": code })));
    }
}

#[tokio::test]
async fn an_exchanged_token_never_outlives_the_token_that_it_was_exchanged_for() {
    let rig = Rig::start().await;
    let mut claims = rig.stand.cluster().claims().unwrap();
    claims["exp"] = json!(claims["iat"].as_u64().unwrap() + 60);
    let short = rig.stand.cluster().issuer().sign(&claims).unwrap();
    let (_, answer) = post_token(&rig, &form(&short, "warehouse-ca")).await;
    assert!((55..=60).contains(&answer["expires_in"].as_u64().unwrap()), "{}", answer["expires_in"]);
}

#[tokio::test]
async fn an_exchanged_token_may_itself_be_the_password() {
    let rig = Rig::start().await;
    let mut with_password = steps(&rig, |steps| steps[0]["audience"] = json!("warehouse"));
    with_password[1] = Step::TokenAsPassword {};
    let credential = run(&with_password, &rig.proof()).await.unwrap();
    let Login::Token(password) = &credential.login else { panic!("{credential:?}") };
    assert_eq!(password.expose().split('.').count(), 3);
    assert_ne!(password.expose(), rig.token().expose());
    assert!(!credential.id.starts_with("token_as_password"), "its jti names it: {}", credential.id);
    assert!(!format!("{credential:?}").contains(password.expose()));
}

#[tokio::test]
async fn a_password_is_read_from_its_file_anew() {
    let rig = Rig::start().await;
    let file = rig.directory.path().join("password");
    let steps: Vec<Step> = serde_json::from_value(json!([{ "kind": "password_file", "file": file }])).unwrap();
    let error = run(&steps, &rig.proof()).await.unwrap_err();
    assert_eq!(error.reason, Reason::ExchangeUnprepared);
    assert!(Fault::from(error).to_string().contains("credential[0] password_file"));
    for expected in ["first", "second"] {
        std::fs::write(&file, format!("{expected}\n")).unwrap();
        let credential = run(&steps, &rig.proof()).await.unwrap();
        assert!(matches!(&credential.login, Login::Password(password) if password.expose() == expected));
    }
}
