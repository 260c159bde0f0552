//! Clients with tokens of their own behind one sidecar: each as itself, and who acts for whom.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, NoTls};
use tollhouse::dev::CLIENT_AUDIENCE;
use tollhouse::dev::clients::claims;

use crate::support::proxy::Proxy;
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, error, kinds, message, startup};
use crate::support::within;

/// Ada may read everything, whoever acts for her only `public`, and a job what belongs to its team.
const POLICIES: &str = "apiVersion: tollhouse.dev/v1alpha1
kind: ClusterWarehousePolicy
metadata: { name: ada }
spec:
  endpointSelector:
    matchLabels: { tollhouse.dev/subject: ada }
    matchExpressions: [{ key: tollhouse.dev/actor, operator: DoesNotExist }]
  egress: [{ toPorts: [{ rules: { sql: [{ actions: [select], schemas: [public, finance, pg_catalog] }] } }] }]
---
apiVersion: tollhouse.dev/v1alpha1
kind: ClusterWarehousePolicy
metadata: { name: agents-of-ada }
spec:
  endpointSelector: { matchLabels: { tollhouse.dev/subject: ada, tollhouse.dev/actor: report-agent } }
  egress: [{ toPorts: [{ rules: { sql: [{ actions: [select], schemas: [public, pg_catalog] }] } }] }]
---
apiVersion: tollhouse.dev/v1alpha1
kind: ClusterWarehousePolicy
metadata: { name: jobs-of-finance }
spec:
  endpointSelector: { matchLabels: { team: finance, tollhouse.dev/subject: nightly-job } }
  egress: [{ toPorts: [{ rules: { sql: [{ actions: [select], schemas: [finance] }] } }] }]
";

/// A sidecar whose clients show tokens of the stand-ins' provider.
async fn sidecar() -> Proxy {
    Proxy::with(POLICIES, |config| {
        let warehouse = warehouse();
        let clients = json!({
            "kind": "oidc",
            "name": "clients",
            "issuer": warehouse.stand.provider().url(),
            "audience": CLIENT_AUDIENCE,
            "tls": { "ca": warehouse.file("ca.crt") },
            "labels_from_claims": { "team": "team" },
        });
        config["identities"].as_array_mut().unwrap().push(clients);
        config["listeners"][0]["authentication"] = json!({ "mode": "token", "identity": "clients" });
    })
    .await
}

/// A token of the provider: of this subject, after a change of its claims.
fn token(subject: &str, change: impl FnOnce(&mut Value)) -> String {
    let provider = warehouse().stand.provider();
    let mut claims = claims(provider.url(), subject, Duration::from_secs(300)).unwrap();
    claims["team"] = "analytics".into();
    change(&mut claims);
    provider.sign(&claims).unwrap().expose().clone()
}

async fn session(proxy: &Proxy, token: &str) -> Client {
    let (client, connection) = within(proxy.client_config().password(token).connect(NoTls)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn refused(client: &Client, sql: &str) -> DbError {
    within(client.simple_query(sql)).await.expect_err(sql).as_db_error().unwrap().clone()
}

const SALARIES: &str = "select count(*) from finance.salaries";

#[tokio::test]
async fn an_agent_a_person_and_a_job_behind_one_sidecar_each_keep_their_own_permissions_and_names() {
    let proxy = sidecar().await;
    let ada = session(&proxy, &token("ada", |_| {})).await;
    let agent = session(&proxy, &token("ada", |claims| claims["act"] = json!({ "sub": "report-agent" }))).await;
    let job = session(&proxy, &token("nightly-job", |claims| claims["team"] = "finance".into())).await;

    within(ada.simple_query(SALARIES)).await.unwrap();
    within(ada.simple_query("select count(*) from pg_catalog.pg_class")).await.unwrap();
    within(agent.simple_query("select count(*) from pg_catalog.pg_class")).await.unwrap();
    let of_agent = refused(&agent, &format!("{SALARIES} /* agent */")).await;
    assert_eq!(of_agent.code().code(), "42501", "{of_agent:?}");
    within(job.simple_query(&format!("{SALARIES} /* job */"))).await.unwrap();
    assert_eq!(refused(&job, "select count(*) from pg_catalog.pg_class /* job */").await.code().code(), "42501");

    let evidence = proxy.stop().await;
    let who = |sql: &str| evidence.execution(sql).principal.unwrap();
    assert_eq!(who(SALARIES), "ada");
    assert_eq!(who(&format!("{SALARIES} /* agent */")), "report-agent for ada");
    assert_eq!(who(&format!("{SALARIES} /* job */")), "nightly-job");
    let sessions = evidence.of_kind("session");
    let recorded: Vec<&Value> = sessions.iter().map(|line| &line.fields["principal"]["actors"]).collect();
    assert!(recorded.contains(&&json!([{ "subject": "report-agent" }])), "{recorded:?}");
    let mut credentials = evidence.texts("session", "credential");
    credentials.sort_unstable();
    credentials.dedup();
    assert_eq!(credentials.len(), 3, "each has a credential of its own");
    let exchanged: Vec<_> =
        evidence.of_kind("credential-exchanged").iter().map(|line| line.fields["principal"]["subject"].clone()).collect();
    assert_eq!(exchanged, ["ada", "ada", "nightly-job"], "and never one of the workload's");
}

#[tokio::test]
async fn two_clients_by_turns_keep_the_credential_that_each_was_given() {
    let proxy = sidecar().await;
    for _ in 0..2 {
        session(&proxy, &token("ada", |_| {})).await;
        session(&proxy, &token("nightly-job", |claims| claims["team"] = "finance".into())).await;
    }
    let evidence = proxy.stop().await;
    assert_eq!(evidence.of_kind("session-started").len(), 4);
    assert_eq!(evidence.of_kind("credential-exchanged").len(), 2, "recorded once each");
    let mut numbers: Vec<_> = evidence.of_kind("session").iter().map(|line| line.fields["principal"]["token_id"].clone()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "each session says which token it was given for");
}

#[tokio::test]
async fn a_token_that_is_not_the_clients_to_show_opens_nothing() {
    let proxy = sidecar().await;
    let workloads = std::fs::read_to_string(warehouse().file("token/token")).unwrap();
    let past = |claims: &mut Value| claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 1);
    for (shown, reason) in [
        (workloads, "token-unknown-key"),
        ("hunter2".to_owned(), "token-malformed"),
        (token("ada", |claims| claims["aud"] = "elsewhere".into()), "token-wrong-audience"),
        (token("ada", past), "token-expired"),
        (token("ada", |claims| claims["act"] = json!({})), "token-claims"),
        (token("ada", |claims| claims["team"] = Value::Null), "token-claims"),
        (token("eve", |_| {}), "exchange-refused"),
        (token("nightly-job", |_| {}), "policy-none-selects"),
    ] {
        let error = match within(proxy.client_config().password(&shown).connect(NoTls)).await {
            Ok(_) => panic!("{reason}: let in"),
            Err(error) => error.as_db_error().unwrap().clone(),
        };
        assert!(error.detail().unwrap().starts_with(&format!("Reason {reason}, ")), "{reason}: {error:?}");
        assert!(!format!("{error:?}").contains(&shown), "{reason}");
    }
    let evidence = proxy.stop().await;
    assert!(evidence.of_kind("session-started").is_empty());
    let of_eve = evidence.of_kind("session-refused").into_iter().find(|line| line.fields["reason"] == "exchange-refused").unwrap();
    assert_eq!(of_eve.fields["principal"]["subject"], "eve", "who it was is known and recorded");
}

#[tokio::test]
async fn a_client_that_sends_no_password_or_no_end_of_it_gets_no_session() {
    let proxy = sidecar().await;
    let far_too_long = message(b'p', &vec![b'a'; 70_000]);
    for (answer, sqlstate) in [
        (message(b'p', b""), "28P01"),
        (message(b'p', b"no end"), "28P01"),
        (message(b'p', b"\xff\0"), "28P01"),
        (message(b'Q', b"select 1\0"), "08P01"),
        (far_too_long, "54000"),
    ] {
        let mut wire = Wire::connect(proxy.address).await;
        wire.send(&startup(&[("user", "anybody"), ("database", "demo")])).await;
        let asked = wire.next().await.unwrap();
        assert_eq!((asked.kind, &asked.body[..]), (b'R', &b"\0\0\0\x03"[..]));
        wire.send(&answer).await;
        let messages = wire.until_closed().await;
        assert_eq!(kinds(&messages), "E");
        assert_eq!(error(&messages).sqlstate(), sqlstate);
    }
    proxy.stop().await;
}
