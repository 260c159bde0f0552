//! The HTTP door in front of a server that answers as it is told to: what no real Trino does on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollhouse::dev::CLIENT_AUDIENCE;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::within;

/// A server that answers each request by its first line, and remembers what it was sent.
struct Script {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = socket.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move {
                    let Some(request) = read_request(&mut stream).await else { return };
                    let answer = answer(request.lines().next().unwrap_or_default());
                    log.lock().unwrap().push(request);
                    let _gone = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// A sidecar in front of it, with the workload's own token as the credential.
    async fn sidecar(&self, policy: &str, change: impl FnOnce(&mut Value)) -> Proxy {
        let port = self.address.port();
        Proxy::with(policy, |config| {
            config["targets"][0]["kind"] = json!("trino");
            config["targets"][0]["port"] = json!(port);
            config["targets"][0]["tls"] = json!({ "mode": "disable" });
            config["targets"][0]["credential"] = json!([{ "kind": "token_as_password" }]);
            change(config);
        })
        .await
    }
}

/// One request, head and body as they came.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
}

fn reply(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nSet-Cookie: secret=1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What a client gets for raw bytes.
async fn ask(proxy: &Proxy, request: &str) -> String {
    let mut stream = within(TcpStream::connect(proxy.address)).await.unwrap();
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    let _cut_off = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

fn post(proxy: &Proxy, sql: &str, headers: &str) -> String {
    let (host, length) = (proxy.address, sql.len());
    format!(
        "POST /v1/statement HTTP/1.1\r\nHost: {host}\r\nX-Trino-Catalog: demo\r\nX-Trino-Schema: public\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{sql}"
    )
}

fn get(proxy: &Proxy, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", proxy.address)
}

const BEGUN: &str = r#"{"id":"q1","nextUri":"http://coordinator.example:8080/v1/statement/executing/q1/s/1","stats":{"state":"QUEUED"}}"#;
const ENDED: &str = r#"{"id":"q1","data":[[1],[2]],"stats":{"state":"FINISHED"}}"#;

fn script(line: &str) -> String {
    reply(if line.starts_with("POST") { BEGUN } else { ENDED })
}

#[tokio::test]
async fn a_statement_passes_with_the_login_in_it_and_its_results_lead_back_here() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("sql: [{ actions: [select], tables: [demo.public.t] }]", |_| {}).await;
    let begun = ask(&proxy, &post(&proxy, "select a from t", "Authorization: Basic cGxhY2Vob2xkZXI=\r\nX-Trino-User: root\r\n")).await;
    let next = format!("http://{}/v1/statement/executing/q1/s/1", proxy.address);
    assert!(begun.contains(&format!(r#""nextUri":"{next}""#)), "{begun}");
    assert!(!begun.contains("coordinator") && !begun.to_ascii_lowercase().contains("set-cookie"), "{begun}");
    let ended = ask(&proxy, &get(&proxy, "/v1/statement/executing/q1/s/1", "")).await;
    assert!(ended.contains(r#""data":[[1],[2]]"#), "{ended}");

    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for request in &seen {
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
    let proxy = server.sidecar("sql: [{ actions: [select], tables: [demo.public.t] }]", |_| {}).await;
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
    assert_eq!(server.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_statement_over_the_limit_is_refused_unread() {
    let server = Script::start(script).await;
    let proxy = server.sidecar(ALLOW_ALL, |config| config["limits"]["statement_size"] = json!("1KiB")).await;
    let told = ask(&proxy, &post(&proxy, &format!("select '{}'", "x".repeat(2000)), "")).await;
    assert!(told.contains("[reason message-too-large"), "{told}");
    assert_eq!(server.seen(), Vec::<String>::new());
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
        .sidecar(policy, |config| {
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
async fn a_reply_that_cannot_be_read_to_its_end_is_no_success() {
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{}", &BEGUN[..20]);
    for (answer, told, status) in [
        (cut, None, "abandoned"),
        (reply(BEGUN).replace("Set-Cookie: secret=1", "Content-Encoding: gzip"), Some("target-protocol"), "abandoned"),
        (reply(BEGUN).replace("200 OK", "401 Unauthorized"), Some("target-login"), "abandoned"),
        (reply("{}").replace("200 OK", "503 Unavailable"), None, "failed"),
        (String::new(), Some("target-closed"), "abandoned"),
        (reply(BEGUN), None, "abandoned"),
    ] {
        let scripted = answer.clone();
        let server = Script::start(move |_| scripted.clone()).await;
        let proxy = server.sidecar(ALLOW_ALL, |_| {}).await;
        let heard = ask(&proxy, &post(&proxy, "select 1", "")).await;
        assert!(told.is_none_or(|reason| heard.contains(&format!("[reason {reason}"))), "{answer}: {heard}");
        let execution = proxy.stop().await.execution("select 1");
        assert_eq!(execution.status, status, "{answer}");
    }
}
