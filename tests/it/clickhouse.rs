//! The HTTP door in front of a ClickHouse that answers as it is told to: what no real one does on demand.

use serde_json::json;
use tollhouse::dev::CLIENT_AUDIENCE;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::script::{Request, Script, ask_text as ask, reply_with, request};
use crate::support::warehouse::warehouse;

const POLICY: &str = "sql: [{ actions: [select, insert], schemas: [analytics] }]";

fn post(proxy: &Proxy, target: &str, headers: &str, body: &str) -> String {
    request(proxy, &format!("POST {target}"), headers, body)
}

/// What the server says of what it ran.
const HEAD: &str = "Content-Type: text/tab-separated-values; charset=UTF-8\r\nX-ClickHouse-Query-Id: q1\r\n\
    X-ClickHouse-Summary: {\"read_rows\":\"2\",\"written_rows\":\"0\",\"result_rows\":\"2\"}\r\n";

fn rows(_: &Request) -> Vec<u8> {
    reply_with("200 OK", HEAD, b"1\n2\n")
}

#[tokio::test]
async fn a_statement_passes_with_the_login_in_it_and_its_rows_come_as_they_are() {
    let server = Script::start(rows).await;
    let proxy = server.sidecar("clickhouse", POLICY, |_| {}).await;
    let login = "Authorization: Basic cGxhY2Vob2xkZXI=\r\nX-ClickHouse-User: root\r\nX-ClickHouse-Key: placeholder\r\n";
    let target = "/?database=analytics&user=root&password=placeholder&wait_end_of_query=1";
    let heard = ask(&proxy, &post(&proxy, target, login, "select a from t")).await;
    assert!(heard.starts_with("HTTP/1.1 200") && heard.contains("1\n2\n"), "{heard}");

    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].line(), seen[0].body.as_slice()),
        ("POST /?database=analytics&wait_end_of_query=1 HTTP/1.1", &b"select a from t"[..])
    );
    assert!(seen[0].head.contains("authorization: Bearer ey"), "{}", seen[0].head);
    for theirs in ["root", "placeholder", "cGxhY2Vob2xkZXI"] {
        assert!(!seen[0].text().contains(theirs), "{}", seen[0].text());
    }
    let execution = proxy.stop().await.execution("select a from t");
    assert_eq!((execution.status.as_str(), execution.rows, execution.query_id.as_deref()), ("completed", Some(2), Some("q1")));
    assert_eq!(execution.tables, [".analytics.t"]);
}

#[tokio::test]
async fn a_denied_statement_reaches_nobody_and_is_told_as_clickhouse_would() {
    let server = Script::start(rows).await;
    let proxy = server.sidecar("clickhouse", POLICY, |_| {}).await;
    for (target, headers, sql, reason) in [
        ("/", "", "select a from finance.salaries", "policy-denied"),
        ("/?database=finance", "", "select a from salaries", "policy-denied"),
        ("/", "X-ClickHouse-Database: finance\r\n", "select a from salaries", "policy-denied"),
        ("/?query=select+a", "", " from finance.salaries", "policy-denied"),
        ("/?query=insert+into+analytics.t", "", " select a from finance.salaries", "policy-denied"),
        ("/", "", "select 1 in finance.salaries", "policy-denied"),
        ("/?role=admin", "", "select a from analytics.t", "policy-denied"),
        ("/?max_memory_usage=1", "", "select a from analytics.t", "policy-denied"),
    ] {
        let told = ask(&proxy, &post(&proxy, target, headers, sql)).await;
        assert!(told.starts_with("HTTP/1.1 403") && told.contains("x-clickhouse-exception-code: 497"), "{target} {sql}: {told}");
        assert!(
            told.contains("Code: 497. DB::Exception: tollhouse") && told.contains(&format!("[reason {reason}")),
            "{target} {sql}: {told}"
        );
    }
    for (target, headers, sql) in [
        ("/?query=select+1&query=select+2", "", ""),
        ("/?QUERY=select+2", "", "select 1"),
        ("/any/path", "", "select 1"),
        ("/?decompress=1", "", "select 1"),
        ("/?dialect=kusto", "", "select 1"),
        ("/?database=analytics", "X-ClickHouse-Database: finance\r\n", "select 1"),
        ("/", "X-ClickHouse-Other: 1\r\n", "select 1"),
        ("/", "Content-Type: multipart/form-data; boundary=x\r\n", "select 1"),
        ("/", "Content-Encoding: lz4\r\n", "select 1"),
    ] {
        let told = ask(&proxy, &post(&proxy, target, headers, sql)).await;
        assert!(told.starts_with("HTTP/1.1 400") && told.contains("[reason request-malformed"), "{target} {headers}: {told}");
    }
    let play = request(&proxy, "GET /play?user=a", "", "");
    assert!(ask(&proxy, &play).await.contains("[reason policy-denied"));
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn the_data_of_an_insert_is_passed_on_unread_and_stands_in_no_record() {
    let server = Script::start(|_| reply_with("200 OK", "X-ClickHouse-Summary: {\"written_rows\":\"5000\"}\r\n", b"")).await;
    let proxy = server.sidecar("clickhouse", POLICY, |config| config["limits"]["statement_size"] = json!("1KiB")).await;
    let data = "private,1\n".repeat(5000);
    let sql = "insert into analytics.t format CSV";
    let target = "/?query=insert+into+analytics.t+format+CSV&query_id=chosen";
    let told = ask(&proxy, &post(&proxy, target, "Content-Encoding: zstd\r\n", &data)).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    // In one with its text it has to be taken whole.
    let told = ask(&proxy, &post(&proxy, "/", "", &format!("{sql}\n{data}"))).await;
    assert!(told.contains("[reason message-too-large"), "{told}");
    let told = ask(&proxy, &post(&proxy, "/", "", &format!("{sql}\nprivate,2"))).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    // There is an empty body, and the server is told so.
    let told = ask(&proxy, &post(&proxy, "/?query=select+1", "", "")).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");

    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].body == data.as_bytes()), (3, true));
    assert!(seen[0].head.to_ascii_lowercase().contains("content-encoding: zstd"), "{}", seen[0].head);
    assert_eq!(seen[1].body, format!("{sql}\nprivate,2").as_bytes());
    assert!(seen[2].head.to_ascii_lowercase().contains("content-length: 0"), "{}", seen[2].head);
    let evidence = proxy.stop().await;
    let executions = evidence.executions(sql);
    assert_eq!(executions.len(), 2);
    assert_eq!((executions[0].rows, executions[0].query_id.as_deref()), (Some(5000), Some("chosen")));
    assert!(evidence.texts("statement", "text").iter().all(|text| !text.contains("private")));
}

#[tokio::test]
async fn sessions_of_one_name_are_apart_for_each_principal() {
    let server = Script::start(rows).await;
    let policy = "apiVersion: tollhouse.dev/v1alpha1
kind: ClusterWarehousePolicy
metadata: { name: all }
spec:
  endpointSelector: {}
  egress: [{ toPorts: [{ rules: { sql: [{}] } }] }]
";
    let proxy = server
        .sidecar("clickhouse", policy, |config| {
            let warehouse = warehouse();
            let clients = json!({
                "kind": "oidc", "name": "clients", "issuer": warehouse.stand.provider().url(), "audience": CLIENT_AUDIENCE,
                "tls": { "ca": warehouse.file("ca.crt") },
            });
            config["identities"].as_array_mut().unwrap().push(clients);
            config["listeners"][0]["authentication"] = json!({ "mode": "token", "identity": "clients" });
        })
        .await;
    let key = |subject: &str| {
        let provider = warehouse().stand.provider();
        let claims = tollhouse::dev::clients::claims(provider.url(), subject, std::time::Duration::from_secs(300)).unwrap();
        format!("X-ClickHouse-User: {subject}\r\nX-ClickHouse-Key: {}\r\n", provider.sign(&claims).unwrap().expose())
    };
    assert!(ask(&proxy, &post(&proxy, "/", "", "select 1")).await.contains("[reason client-authentication"));
    for subject in ["ada", "grace", "ada"] {
        let heard = ask(&proxy, &post(&proxy, "/?session_id=mine", &key(subject), "select 1")).await;
        assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    }
    let targets: Vec<String> = server.seen().iter().map(|request| request.line().to_owned()).collect();
    assert!(targets.iter().all(|target| target.contains("?session_id=") && target.contains(".mine ")), "{targets:?}");
    assert!(targets[0] == targets[2] && targets[0] != targets[1], "{targets:?}");
}

#[tokio::test]
async fn how_a_result_ended_is_recorded_whatever_the_status_was() {
    let tagged = "X-ClickHouse-Query-Id: q1\r\nX-ClickHouse-Exception-Tag: pvsehbnugohxocpe\r\n";
    let marked = b"1\n\r\n__exception__\r\npvsehbnugohxocpe\r\nCode: 241. DB::Exception: no. (X)\n34 pvsehbnugohxocpe\r\n__exception__\r\n";
    let plain = b"1\nCode: 153, e.displayText() = DB::Exception: Division by zero, e.what() = DB::Exception\n";
    let broken = |body: &[u8]| [reply_with("200 OK", tagged, &[b'1'; 2000])[..300].to_vec(), body.to_vec()].concat();
    for (answer, status, error, query_id) in [
        (reply_with("200 OK", tagged, marked), "failed", Some("241"), Some("q1")),
        (reply_with("200 OK", "", plain), "failed", Some("153"), None),
        (reply_with("500 Error", "", plain), "failed", Some("153"), None),
        (reply_with("404 Not Found", "X-ClickHouse-Exception-Code: 60\r\n", b"Code: 60"), "failed", Some("60"), None),
        (reply_with("502 Bad Gateway", "", b"<html>"), "failed", Some("HTTP_502"), None),
        (broken(b""), "failed", Some("target-closed"), Some("q1")),
        (broken(marked), "failed", Some("241"), Some("q1")),
    ] {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let scripted = answer.clone();
        let server = Script::start(move |_| scripted.clone()).await;
        let proxy = server.sidecar("clickhouse", ALLOW_ALL, |_| {}).await;
        let _heard = ask(&proxy, &post(&proxy, "/", "", "select 1")).await;
        let execution = proxy.stop().await.execution("select 1");
        assert_eq!((execution.status.as_str(), execution.error.as_deref()), (status, error), "{text}");
        assert_eq!((execution.query_id.as_deref(), execution.rows), (query_id, None), "{text}");
    }
}

#[tokio::test]
async fn a_login_that_the_server_has_just_stopped_taking_is_replaced_once() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let server = Script::start(move |request| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => reply_with("403 Forbidden", "X-ClickHouse-Exception-Code: 516\r\n", b"Code: 516. DB::Exception: expired"),
        _ => rows(request),
    })
    .await;
    let proxy = server.sidecar("clickhouse", ALLOW_ALL, |_| {}).await;
    let heard = ask(&proxy, &post(&proxy, "/", "", "select 1")).await;
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    assert_eq!(server.seen().len(), 2);
    assert_eq!(proxy.stop().await.execution("select 1").status, "completed");
}
