//! Bounds on what clients may ask for, and what happens at each.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::eventually;
use crate::support::http::metric;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::wire::{bind, error, execute, kinds, message, parse, query, sync};

#[tokio::test]
async fn a_connection_over_the_limit_is_refused_in_the_clients_protocol_until_one_ends() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["connections_max"] = 2.into()).await;
    let (first, _second) = (proxy.client().await, proxy.client().await);
    let error = proxy.refused().await;
    assert_eq!(error.code().code(), "53300");
    assert!(error.detail().unwrap().starts_with("Reason connections-exhausted"), "{error:?}");
    assert_eq!(metric(proxy.pod_admin, "tollhouse_connections_active", &[]).await, 2.0);
    drop(first);
    eventually(|| async { proxy.client_config().connect(tokio_postgres::NoTls).await.ok().map(|_| ()) }).await;
    let evidence = proxy.stop().await;
    assert!(evidence.texts("session-refused", "reason").iter().all(|reason| *reason == "connections-exhausted"));
}

#[tokio::test]
async fn an_idle_session_is_closed_with_its_own_sqlstate() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["idle_timeout"] = "300ms".into()).await;
    let mut wire = proxy.wire().await;
    let begun = Instant::now();
    let messages = wire.until_closed().await;
    assert_eq!((kinds(&messages).as_str(), messages[0].sqlstate().as_str()), ("E", "57P05"));
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-ended", "end"), ["idle-timeout"]);
}

#[tokio::test]
async fn a_session_whose_query_runs_is_not_idle() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["idle_timeout"] = "200ms".into()).await;
    let mut wire = proxy.wire().await;
    let answer = wire.ask(&query("select pg_sleep(0.8)")).await;
    assert_eq!(kinds(&answer), "TDC");
    assert_eq!(wire.until_closed().await[0].sqlstate(), "57P05");
    proxy.stop().await;
}

#[tokio::test]
async fn a_prepared_statement_over_the_limit_is_refused_until_one_is_closed() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["prepared_statements_max"] = 2.into()).await;
    let mut wire = proxy.wire().await;
    let prepare = |name: &str| [parse(name, "select 1"), sync()].concat();
    for name in ["a", "b"] {
        assert_eq!(kinds(&wire.ask(&prepare(name)).await), "1");
    }
    let refused = wire.ask(&prepare("c")).await;
    assert_eq!(error(&refused).sqlstate(), "54000");
    assert!(error(&refused).field(b'D').contains("too-many-prepared"), "{refused:?}");
    assert_eq!(kinds(&wire.ask(&[bind("", "a"), execute(""), sync()].concat()).await), "2DC");
    assert_eq!(kinds(&wire.ask(&[message(b'C', b"Sa\0"), sync()].concat()).await), "3");
    assert_eq!(kinds(&wire.ask(&prepare("c")).await), "1");
    proxy.stop().await;
}

#[tokio::test]
async fn a_query_over_the_number_in_flight_waits_and_is_then_refused() {
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        config["audit"]["queries_in_flight_max"] = json!(1);
        config["audit"]["wait_max"] = json!("200ms");
    })
    .await;
    let (mut busy, mut waiting) = (proxy.wire().await, proxy.wire().await);
    busy.send(&query("select pg_sleep(1)")).await;
    eventually(|| async { (proxy.records_of("attempt").len() == 1).then_some(()) }).await;
    let refused = waiting.ask(&query("select 'over'")).await;
    assert_eq!(error(&refused).sqlstate(), "53000");
    assert!(error(&refused).field(b'D').contains("audit-backpressure"), "{refused:?}");
    assert_eq!(kinds(&busy.until_ready().await), "TDC");
    eventually(|| async { (metric(proxy.pod_admin, "tollhouse_audit_queries_in_flight", &[]).await == 0.0).then_some(()) }).await;
    assert_eq!(kinds(&waiting.ask(&query("select 'again'")).await), "TDC");
    proxy.stop().await;
}

#[tokio::test]
async fn a_session_that_is_too_old_ends_between_two_queries_and_not_within_one() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["session_age_max"] = "500ms".into()).await;
    let mut wire = proxy.wire().await;
    assert_eq!(kinds(&wire.ask(&query("select pg_sleep(1)")).await), "TDC");
    let messages = wire.until_closed().await;
    assert_eq!((kinds(&messages).as_str(), messages[0].sqlstate().as_str()), ("E", "57P05"));
    assert!(messages[0].field(b'D').starts_with("Reason session-age"), "{messages:?}");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-ended", "end"), ["session-age"]);
}
