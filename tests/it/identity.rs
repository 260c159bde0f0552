//! What goes wrong between a client's connection and a session at the warehouse: each with its own reason, told in the
//! client's protocol, recorded, and counted.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};
use tollhouse::audit::read::Line;
use tollhouse::dev::issuer::{Issuer, KeyKind};
use tollhouse::dev::write_certificates;

use crate::support::http::metric;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::{settings, silent_port, warehouse};
use crate::support::{eventually, within};

/// A client of a proxy with this configuration gets no session, for this reason and no other.
async fn refuses(change: impl FnOnce(&mut Value), reason: &str, sqlstate: &str) {
    let proxy = Proxy::with(ALLOW_ALL, change).await;
    let error = proxy.refused().await;
    assert_eq!((error.code().code(), error.severity()), (sqlstate, "FATAL"), "{error:?}");
    let detail = error.detail().unwrap();
    assert!(detail.starts_with(&format!("Reason {reason}, audit record ")), "{reason}: {error:?}");
    let label = format!("reason=\"{reason}\"");
    assert_eq!(metric(proxy.pod_admin, "tollhouse_refusals_total", &[&label]).await, 1.0);
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), [reason]);
    assert_eq!(evidence.told(detail).kind, "session-refused");
    assert!(evidence.of_kind("session-started").is_empty());
}

/// The same, for a token file with this content.
async fn refuses_token(token: &str, reason: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token).unwrap();
    refuses(|config| config["identities"][0]["token_file"] = json!(file), reason, "28000").await;
}

/// A token of the cluster's own issuer whose claims were changed.
fn token_with(change: impl FnOnce(&mut Value)) -> String {
    let cluster = warehouse().stand.cluster();
    let mut claims = cluster.claims().unwrap();
    change(&mut claims);
    cluster.issuer().sign(&claims).unwrap().expose().clone()
}

fn seconds_from_now(claims: &Value, seconds: i64) -> Value {
    json!(claims["iat"].as_i64().unwrap() + seconds)
}

#[tokio::test]
async fn a_token_that_is_missing_or_not_one_is_refused() {
    refuses(|config| config["identities"][0]["token_file"] = "/nonexistent/token".into(), "token-unreadable", "28000").await;
    refuses_token("not a token", "token-malformed").await;
    refuses_token("", "token-empty").await;
    let whole = token_with(|_| {});
    refuses_token(&whole[..whole.len() / 2], "token-incomplete").await;
}

#[tokio::test]
async fn a_token_outside_of_its_life_is_refused() {
    let expired = token_with(|claims| {
        claims["exp"] = seconds_from_now(claims, -3600);
        claims["nbf"] = seconds_from_now(claims, -7200);
    });
    refuses_token(&expired, "token-expired").await;
    refuses_token(&token_with(|claims| claims["nbf"] = seconds_from_now(claims, 3600)), "token-not-yet-valid").await;
}

#[tokio::test]
async fn a_token_for_or_from_somebody_else_is_refused() {
    refuses_token(&token_with(|claims| claims["aud"] = json!(["https://kubernetes.default.svc"])), "token-wrong-audience").await;
    refuses_token(&token_with(|claims| claims["iss"] = json!("https://elsewhere.example")), "token-wrong-issuer").await;
    refuses_token(&token_with(|claims| claims["sub"] = json!("somebody")), "token-claims").await;
}

#[tokio::test]
async fn a_token_that_the_issuer_did_not_sign_is_refused() {
    let cluster = warehouse().stand.cluster();
    let forger = Issuer::new(cluster.issuer().url().to_owned(), KeyKind::Rsa, std::time::Duration::from_secs(60)).unwrap();
    refuses_token(forger.sign(&cluster.claims().unwrap()).unwrap().expose(), "token-unknown-key").await;
    let (good, other) = (token_with(|_| {}), token_with(|claims| claims["jti"] = json!("other")));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    refuses_token(&format!("{signed}.{signature}"), "token-signature").await;
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_or_is_none_is_told_apart() {
    let (_silent, port) = silent_port();
    let nobody = format!("https://localhost:{port}/discovery");
    refuses(|config| config["identities"][0]["discovery_uri"] = json!(nobody), "issuer-unreachable", "28000").await;
    let another = format!("{}/oauth/.well-known/openid-configuration", warehouse().stand.base());
    refuses(|config| config["identities"][0]["discovery_uri"] = json!(another), "issuer-invalid", "28000").await;
}

#[tokio::test]
async fn an_exchange_that_cannot_be_reached_or_refuses_is_told_apart() {
    let (_silent, port) = silent_port();
    let nobody = format!("https://localhost:{port}/1.0/sign");
    refuses(|config| config["targets"][0]["credential"][1]["url"] = json!(nobody), "exchange-unreachable", "28000").await;
    refuses(|config| config["targets"][0]["credential"][1]["common_name"] = "postgres".into(), "exchange-refused", "28000").await;
    let none = format!("{}/kubernetes", warehouse().stand.base());
    refuses(|config| config["targets"][0]["credential"][0]["issuer"] = json!(none), "exchange-invalid", "28000").await;
}

#[tokio::test]
async fn a_warehouse_that_is_down_is_unreachable() {
    let (_silent, port) = silent_port();
    refuses(|config| config["targets"][0]["port"] = port.into(), "target-unreachable", "08001").await;
}

#[tokio::test]
async fn a_warehouse_that_another_authority_certified_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_certificates(&settings(directory.path().to_owned())).unwrap();
    let other: &Path = &directory.path().join("ca.crt");
    refuses(|config| config["targets"][0]["tls"]["ca"] = json!(other), "target-tls", "08001").await;
    refuses(|config| config["targets"][0]["tls"]["server_name"] = "elsewhere.example".into(), "target-tls", "08001").await;
}

#[tokio::test]
async fn a_role_that_the_credential_does_not_open_is_refused_by_the_warehouse() {
    refuses(|config| config["targets"][0]["role"] = "postgres".into(), "target-login", "28000").await;
}

#[tokio::test]
async fn what_is_no_warehouse_at_all_is_refused() {
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stranger.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = stranger.accept().await {
            let _gone = tokio::io::AsyncWriteExt::write_all(&mut socket, b"220 mail.example ESMTP\r\n").await;
        }
    });
    refuses(|config| config["targets"][0]["port"] = port.into(), "target-tls", "08001").await;
}

#[tokio::test]
async fn a_token_that_appears_later_is_taken_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let proxy = Proxy::with(ALLOW_ALL, |config| config["identities"][0]["token_file"] = json!(file)).await;
    assert!(proxy.refused().await.detail().unwrap().contains("token-unreadable"));
    std::fs::write(&file, token_with(|_| {})).unwrap();
    let config = proxy.client_config();
    eventually(|| async { config.connect(tokio_postgres::NoTls).await.ok().map(|_| ()) }).await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.of_kind("credential-exchanged").len(), 1);
}

#[tokio::test]
async fn an_older_token_that_is_put_back_opens_no_session_until_a_newer_one_lies_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let older = token_with(|claims| {
        claims["iat"] = seconds_from_now(claims, -3600);
        claims["nbf"] = claims["iat"].clone();
    });
    std::fs::write(&file, token_with(|_| {})).unwrap();
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        config["identities"][0]["token_file"] = json!(file);
        config["targets"][0]["credential"][1]["lifetime"] = "3s".into();
    })
    .await;
    let open = proxy.client().await;
    std::fs::write(&file, older).unwrap();
    let refusal = eventually(|| async { proxy.client_config().connect(tokio_postgres::NoTls).await.err() }).await;
    let detail = refusal.as_db_error().unwrap().detail().unwrap().to_owned();
    assert!(detail.starts_with("Reason token-older, "), "{detail}");
    within(open.simple_query("select 'still open'")).await.unwrap();
    std::fs::write(&file, token_with(|_| {})).unwrap();
    eventually(|| async { proxy.client_config().connect(tokio_postgres::NoTls).await.ok().map(|_| ()) }).await;
    assert!(proxy.stop().await.texts("session-refused", "reason").iter().all(|reason| *reason == "token-older"));
}

/// One text field of a record.
fn text<'l>(line: &'l Line, field: &str) -> &'l str {
    line.fields.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("no {field} in {line:?}"))
}

/// Times in records are RFC 3339 in UTC with nine digits of a second, so their order is that of their texts.
fn began_after(lines: &[Line], moment: &str) -> bool {
    lines.iter().any(|line| line.time.as_str() > moment)
}

#[tokio::test]
async fn a_run_outlives_its_credentials_and_each_of_its_sessions_logs_in_with_one_that_is_valid() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["targets"][0]["credential"][1]["lifetime"] = "3s".into()).await;
    let first = proxy.client().await;
    let end_of_the_first = text(&proxy.records_of("credential-exchanged")[0], "expires_at").to_owned();
    // As dbt does for each node: a connection, a statement, the end; until some came after the first credential's end.
    eventually(|| async {
        let node = proxy.client().await;
        within(node.simple_query("select 'a node'")).await.unwrap();
        began_after(&proxy.records_of("session-started"), &end_of_the_first).then_some(())
    })
    .await;
    within(first.simple_query("select 'past its credential'")).await.unwrap();

    let evidence = proxy.stop().await;
    assert!(evidence.of_kind("session-refused").is_empty());
    let ends: HashMap<&str, &str> =
        evidence.of_kind("credential-exchanged").into_iter().map(|line| (text(line, "credential"), text(line, "expires_at"))).collect();
    assert_eq!(ends.len(), evidence.of_kind("credential-exchanged").len(), "each has an id of its own");
    let credentials: HashMap<&str, &str> =
        evidence.of_kind("session").into_iter().map(|line| (text(line, "session"), text(line, "credential"))).collect();
    for started in evidence.of_kind("session-started") {
        let credential = credentials[text(started, "session")];
        assert!(started.time.as_str() < ends[credential], "{credential} had ended: {started:?}");
    }
    let used: HashSet<&str> = credentials.values().copied().collect();
    assert!(used.len() >= 2 && used.iter().all(|used| ends.contains_key(used)), "{used:?} of {ends:?}");
    let late = evidence.execution("select 'past its credential'");
    let attempt = evidence.lines.iter().find(|line| line.id() == late.id).unwrap();
    assert!(attempt.time > end_of_the_first && late.status == "completed", "{late:?}");
}

#[tokio::test]
async fn the_first_session_finds_its_credential_made() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let exchanges = || crate::support::http::metric(proxy.pod_admin, "tollhouse_credential_exchange_total", &[]);
    eventually(|| async { (exchanges().await > 0.0).then_some(()) }).await;
    assert!(proxy.records_of("credential-exchanged").is_empty(), "it is recorded with its first use");
    proxy.client().await;
    assert!((exchanges().await - 1.0).abs() < f64::EPSILON, "it was made once");
    assert_eq!(proxy.stop().await.of_kind("credential-exchanged").len(), 1);
}

#[tokio::test]
async fn one_credential_serves_many_sessions() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let clients = within(futures_util::future::join_all((0..8).map(|_| proxy.client()))).await;
    assert_eq!(clients.len(), 8);
    let evidence = proxy.stop().await;
    assert_eq!(evidence.of_kind("session-started").len(), 8);
    assert_eq!(evidence.of_kind("credential-exchanged").len(), 1);
}
