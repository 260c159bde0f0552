//! The HTTP door in front of a server that answers as it is told to: what no real Trino does on demand.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tollhouse::dev::CLIENT_AUDIENCE;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::script::{Request, Script, ask_text as ask, reply, reply_with, request};
use crate::support::warehouse::warehouse;
use crate::support::within;

fn post(proxy: &Proxy, sql: &str, headers: &str) -> String {
    request(proxy, "POST /v1/statement", &format!("X-Trino-Catalog: demo\r\nX-Trino-Schema: public\r\n{headers}"), sql)
}

fn get(proxy: &Proxy, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", proxy.address)
}

const BEGUN: &str = r#"{"id":"q1","nextUri":"http://coordinator.example:8080/v1/statement/executing/q1/s/1","stats":{"state":"QUEUED"}}"#;
const ENDED: &str = r#"{"id":"q1","data":[[1],[2]],"stats":{"state":"FINISHED"}}"#;

fn script(request: &Request) -> Vec<u8> {
    reply(if request.line().starts_with("POST") { BEGUN } else { ENDED })
}

#[tokio::test]
async fn a_statement_passes_with_the_login_in_it_and_its_results_lead_back_here() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("trino", "sql: [{ actions: [select], tables: [demo.public.t] }]", |_| {}).await;
    let begun = ask(&proxy, &post(&proxy, "select a from t", "Authorization: Basic cGxhY2Vob2xkZXI=\r\nX-Trino-User: root\r\n")).await;
    let next = format!("http://{}/v1/statement/executing/q1/s/1", proxy.address);
    assert!(begun.contains(&format!(r#""nextUri":"{next}""#)), "{begun}");
    assert!(!begun.contains("coordinator") && !begun.to_ascii_lowercase().contains("set-cookie"), "{begun}");
    let ended = ask(&proxy, &get(&proxy, "/v1/statement/executing/q1/s/1", "")).await;
    assert!(ended.contains(r#""data":[[1],[2]]"#), "{ended}");

    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for request in seen.iter().map(Request::text) {
        assert!(request.contains("authorization: Bearer ey") && request.contains("x-trino-user: dbt_runner"), "{request}");
        assert!(!request.contains("placeholder") && !request.contains("cGxhY2Vob2xkZXI") && !request.contains("root"), "{request}");
    }
    let evidence = proxy.stop().await;
    let execution = evidence.execution("select a from t");
    assert_eq!((execution.status.as_str(), execution.rows, execution.query_id.as_deref()), ("completed", Some(2), Some("q1")));
    assert_eq!(execution.tables, ["demo.public.t"]);
}

#[tokio::test]
async fn a_denied_statement_reaches_nobody_and_is_told_as_trino_would() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("trino", "sql: [{ actions: [select], tables: [demo.public.t] }]", |_| {}).await;
    for (sql, headers, reason) in [
        ("select a from finance.salaries", "", "policy-denied"),
        ("select a from t; drop table t", "", "policy-denied"),
        ("execute p", "X-Trino-Prepared-Statement: p=delete+from+t\r\n", "policy-denied"),
        ("execute p", "", "statement-opaque"),
        ("select a from t", "X-Trino-Role: system=ROLE{admin}\r\n", "policy-denied"),
        ("select a from t", "X-Trino-Session: a.b=c\r\n", "policy-denied"),
        ("select a from t", "X-Trino-Path: other\r\n", "request-malformed"),
        ("select a from t", "X-Trino-Schema: finance\r\n", "request-malformed"),
        ("select a from t", "Content-Encoding: gzip\r\n", "request-malformed"),
        ("select a from t", "Content-Type: text/plain; charset=\"ISO-2022-JP\"\r\n", "request-malformed"),
    ] {
        let told = ask(&proxy, &post(&proxy, sql, headers)).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.contains(&format!("[reason {reason}")), "{sql} {headers}: {told}");
    }
    for (request, reason) in [
        (get(&proxy, "/v1/query", ""), "policy-denied"),
        (get(&proxy, "/v1/statement/executing/q9/s/1", ""), "handle-unknown"),
        (get(&proxy, "/v1/info", "").replace(&format!("Host: {}", proxy.address), "Host: attacker.example"), "request-malformed"),
        (get(&proxy, "http://localhost/v1/info", ""), "request-malformed"),
    ] {
        let told = ask(&proxy, &request).await;
        assert!(told.contains(&format!("[reason {reason}")), "{request}: {told}");
    }
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn a_statement_over_the_limit_is_refused_unread() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("trino", ALLOW_ALL, |config| config["limits"]["statement_size"] = json!("1KiB")).await;
    let told = ask(&proxy, &post(&proxy, &format!("select '{}'", "x".repeat(2000)), "")).await;
    assert!(told.contains("[reason message-too-large"), "{told}");
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn what_somebody_else_began_cannot_be_read() {
    let server = Script::start(script).await;
    let policy = "apiVersion: tollhouse.dev/v1alpha1
kind: ClusterWarehousePolicy
metadata: { name: all }
spec:
  endpointSelector: {}
  egress: [{ toPorts: [{ rules: { sql: [{}] } }] }]
";
    let proxy = server
        .sidecar("trino", policy, |config| {
            let warehouse = warehouse();
            let clients = json!({
                "kind": "oidc", "name": "clients", "issuer": warehouse.stand.provider().url(), "audience": CLIENT_AUDIENCE,
                "tls": { "ca": warehouse.file("ca.crt") },
            });
            config["identities"].as_array_mut().unwrap().push(clients);
            config["listeners"][0]["authentication"] = json!({ "mode": "token", "identity": "clients" });
        })
        .await;
    let token = |subject: &str| {
        let provider = warehouse().stand.provider();
        let claims = tollhouse::dev::clients::claims(provider.url(), subject, std::time::Duration::from_secs(300)).unwrap();
        format!("Authorization: Bearer {}\r\n", provider.sign(&claims).unwrap().expose())
    };
    assert!(ask(&proxy, &post(&proxy, "select 1", "")).await.contains("[reason client-authentication"));
    let begun = ask(&proxy, &post(&proxy, "select 1", &token("ada"))).await;
    assert!(begun.contains("q1"), "{begun}");
    let path = "/v1/statement/executing/q1/s/1";
    let foreign = ask(&proxy, &get(&proxy, path, &token("grace"))).await;
    assert!(foreign.contains("[reason handle-foreign"), "{foreign}");
    assert_eq!(server.seen().len(), 1);
    assert!(ask(&proxy, &get(&proxy, path, &token("ada"))).await.contains("FINISHED"));
}

#[tokio::test]
async fn a_login_that_the_warehouse_has_just_stopped_taking_is_replaced_once_and_the_statement_runs_once() {
    let first = AtomicBool::new(true);
    let server =
        Script::start(
            move |_| {
                if first.swap(false, Ordering::Relaxed) { reply_with("401 Unauthorized", "", b"expired") } else { reply(ENDED) }
            },
        )
        .await;
    let proxy = server.sidecar("trino", ALLOW_ALL, |_| {}).await;
    let heard = ask(&proxy, &post(&proxy, "select 1", "")).await;
    assert!(heard.contains("FINISHED"), "{heard}");
    let seen = server.seen();
    assert_eq!((seen.len(), &seen[0].body, &seen[1].body), (2, &b"select 1".to_vec(), &b"select 1".to_vec()));
    let execution = proxy.stop().await.execution("select 1");
    assert_eq!((execution.status.as_str(), execution.rows), ("completed", Some(2)));
}

#[tokio::test]
async fn a_client_may_speak_http_2_and_compress_its_statement() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("trino", "sql: [{ actions: [select], tables: [demo.public.t] }]", |_| {}).await;
    let stream = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for (sql, told) in [("select a from t", "nextUri"), ("select a from finance.t", "[reason policy-denied")] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(sql.as_bytes()).unwrap();
        let request = hyper::Request::post(format!("http://{}/v1/statement", proxy.address))
            .header("content-encoding", "gzip")
            .header("x-trino-catalog", "demo")
            .header("x-trino-schema", "public")
            .body(Full::new(Bytes::from(encoder.finish().unwrap())))
            .unwrap();
        let body = within(client.send_request(request)).await.unwrap().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(told), "{sql}: {body:?}");
    }
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].body.as_slice()), (1, &b"select a from t"[..]));
    assert!(!seen[0].head.to_ascii_lowercase().contains("content-encoding"), "{}", seen[0].head);
}

#[tokio::test]
async fn what_still_runs_at_the_warehouse_when_the_program_ends_is_cancelled_there() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("trino", ALLOW_ALL, |config| config["shutdown"]["deadline"] = json!("1s")).await;
    assert!(ask(&proxy, &post(&proxy, "select 1", "")).await.contains("q1"));
    let execution = proxy.stop().await.execution("select 1");
    assert_eq!((execution.status.as_str(), execution.query_id.as_deref()), ("cancelled", Some("q1")));
    let seen = server.seen();
    let cancel = seen.last().unwrap();
    assert!(cancel.line().starts_with("DELETE /v1/query/q1 ") && cancel.head.contains("authorization: Bearer ey"), "{}", cancel.head);
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_to_its_end_is_no_success() {
    let json = "Content-Type: application/json\r\n";
    let whole = reply(BEGUN);
    for (answer, told, status) in [
        (whole[..whole.len() - 60].to_vec(), None, "failed"),
        (reply_with("200 OK", &format!("{json}Content-Encoding: gzip\r\n"), BEGUN.as_bytes()), Some("target-protocol"), "abandoned"),
        (reply_with("401 Unauthorized", json, b"{}"), Some("target-login"), "abandoned"),
        (reply_with("503 Unavailable", json, b"{}"), None, "failed"),
        (Vec::new(), Some("target-closed"), "abandoned"),
        (reply(BEGUN), None, "cancelled"),
    ] {
        let answer_text = String::from_utf8_lossy(&answer).into_owned();
        let scripted = answer.clone();
        let server = Script::start(move |_| scripted.clone()).await;
        let proxy = server.sidecar("trino", ALLOW_ALL, |_| {}).await;
        let heard = ask(&proxy, &post(&proxy, "select 1", "")).await;
        assert!(told.is_none_or(|reason| heard.contains(&format!("[reason {reason}"))), "{answer_text}: {heard}");
        let execution = proxy.stop().await.execution("select 1");
        assert_eq!(execution.status, status, "{answer_text}");
    }
}
