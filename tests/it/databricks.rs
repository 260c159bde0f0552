//! The HTTP door in front of servers of the Thrift service and of the Statement Execution API that answer as they are told to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tollhouse::dev::CLIENT_AUDIENCE;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::script::{Request, Script, ask, ask_text, reply, reply_with, request};
use crate::support::warehouse::warehouse;

/// A struct of Thrift's binary protocol, field by field.
#[derive(Default, Clone)]
struct Fields(Vec<u8>);

impl Fields {
    fn field(mut self, kind: u8, id: i16, value: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend(id.to_be_bytes());
        self.0.extend(value);
        self
    }

    fn nested(self, id: i16, fields: Fields) -> Self {
        self.field(12, id, &[&fields.0[..], &[0]].concat())
    }

    fn number(self, id: i16, number: i32) -> Self {
        self.field(8, id, &number.to_be_bytes())
    }

    fn flag(self, id: i16, is_set: bool) -> Self {
        self.field(2, id, &[u8::from(is_set)])
    }

    fn text(self, id: i16, text: &str) -> Self {
        self.field(11, id, &[&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat())
    }

    fn message(self, kind: u8, name: &str, field: i16) -> Vec<u8> {
        let mut bytes = vec![0x80, 1, 0, kind];
        bytes.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(77_i32.to_be_bytes());
        bytes.extend(Fields::default().nested(field, self).0);
        bytes.push(0);
        bytes
    }
}

fn fields() -> Fields {
    Fields::default()
}

fn identifier(guid: &str) -> Fields {
    fields().nested(1, fields().text(1, guid).text(2, "handle-secret"))
}

/// A call as a client sends it, in the session or about the operation of that identifier.
fn about(name: &str, guid: &str, more: impl FnOnce(Fields) -> Fields) -> Vec<u8> {
    more(fields().nested(1, identifier(guid))).message(1, name, 1)
}

const SESSION: &str = "session-session1";
const OPERATION: &str = "operation-operat";
const QUERY_ID: &str = "6f7065726174696f6e2d6f7065726174";

fn open() -> Vec<u8> {
    fields().nested(1284, fields().text(1, "demo").text(2, "public")).message(1, "OpenSession", 1)
}

fn execute(sql: &str) -> Vec<u8> {
    about("ExecuteStatement", SESSION, |call| call.text(2, sql).flag(4, true).flag(1283, true))
}

fn is(request: &Request, name: &str) -> bool {
    request.body.get(8..).is_some_and(|rest| rest.starts_with(name.as_bytes()))
}

/// A server that says that everything went well: three rows, and an operation in the state of that number.
fn answer(request: &Request, state: i32) -> Vec<u8> {
    let fine = || fields().nested(1, fields().number(1, 0));
    let reply = |fields: Fields, name: &str| thrift(&fields.message(2, name, 0));
    let names =
        ["OpenSession", "CloseSession", "ExecuteStatement", "GetOperationStatus", "FetchResults", "CloseOperation", "CancelOperation"];
    let name = names.into_iter().find(|name| is(request, name)).unwrap_or("GetInfo");
    match name {
        "OpenSession" => reply(fine().number(2, 42247).nested(3, identifier(SESSION)), name),
        "ExecuteStatement" => reply(fine().nested(2, identifier(OPERATION).number(2, 0).flag(3, true)), name),
        "GetOperationStatus" => reply(fine().number(2, state), name),
        "FetchResults" => {
            let numbers = fields().field(15, 1, &[&[8, 0, 0, 0, 3][..], &[0; 12]].concat());
            let column = [&fields().nested(4, numbers).0[..], &[0]].concat();
            reply(fine().flag(2, false).nested(3, fields().field(15, 3, &[&[12, 0, 0, 0, 1][..], &column].concat())), name)
        }
        _ => reply(fine(), name),
    }
}

fn thrift(body: &[u8]) -> Vec<u8> {
    reply_with("200 OK", "Content-Type: application/x-thrift\r\nSet-Cookie: secret=1\r\n", body)
}

async fn call(proxy: &Proxy, body: &[u8], headers: &str) -> String {
    let head = format!(
        "POST /sql/1.0/warehouses/abc HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-thrift\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
        proxy.address,
        body.len()
    );
    String::from_utf8_lossy(&ask(proxy, &[head.as_bytes(), body].concat()).await).into_owned()
}

const READS_T: &str = "sql: [{ actions: [select], tables: [demo.public.t] }, { parameters: [database] }]";
const PLACEHOLDER: &str = "Authorization: Bearer placeholder\r\n";

#[tokio::test]
async fn a_statement_passes_with_the_login_in_it_and_its_rows_are_counted() {
    let server = Script::start(|request| answer(request, 2)).await;
    let proxy = server.sidecar("databricks", READS_T, |_| {}).await;
    assert!(call(&proxy, &open(), PLACEHOLDER).await.contains(SESSION));
    let begun = call(&proxy, &execute("select a from t"), PLACEHOLDER).await;
    assert!(begun.contains(OPERATION) && !begun.to_ascii_lowercase().contains("set-cookie"), "{begun}");
    for name in ["GetOperationStatus", "FetchResults", "FetchResults", "CloseOperation"] {
        let told = call(&proxy, &about(name, OPERATION, |call| call), PLACEHOLDER).await;
        assert!(told.starts_with("HTTP/1.1 200") && !told.contains("tollhouse"), "{name}: {told}");
    }
    assert!(!call(&proxy, &about("CloseSession", SESSION, |call| call), PLACEHOLDER).await.contains("tollhouse"));
    assert!(call(&proxy, &execute("select a from t"), PLACEHOLDER).await.contains("[reason session-unknown"), "it is closed");

    let seen = server.seen();
    assert_eq!(seen.len(), 7);
    for request in &seen {
        assert!(request.head.contains("authorization: Bearer ey") && !request.head.contains("placeholder"), "{}", request.head);
    }
    let sent = &seen[1].body;
    assert_eq!(sent.len(), execute("select a from t").len());
    assert!(!sent.windows(4).any(|window| window == [5, 3, 1, 0]), "results are not to lie in object storage");
    let execution = proxy.stop().await.execution("select a from t");
    assert_eq!((execution.status.as_str(), execution.rows, execution.query_id.as_deref()), ("completed", Some(6), Some(QUERY_ID)));
    assert_eq!(execution.tables, ["demo.public.t"]);
}

#[tokio::test]
async fn a_denied_call_reaches_nobody_and_is_told_in_its_own_name() {
    let server = Script::start(|request| answer(request, 2)).await;
    let proxy = server.sidecar("databricks", READS_T, |_| {}).await;
    call(&proxy, &open(), "").await;
    let in_session = |name: &str, more: fn(Fields) -> Fields| about(name, SESSION, more);
    for (body, reason) in [
        (execute("select a from finance.salaries"), "policy-denied"),
        (execute("select '${env:HOME}'"), "statement-opaque"),
        (execute("set spark.x = 1"), "policy-denied"),
        (in_session("GetTables", |call| call.text(2, "demo").text(3, "%")), "policy-denied"),
        (in_session("GetSchemas", |call| call.text(2, "%")), "statement-opaque"),
        (in_session("GetDelegationToken", |call| call.text(2, "root")), "request-malformed"),
        (in_session("ExecuteStatement", |call| call.text(2, "select 1").nested(1296, fields().flag(1, true))), "request-malformed"),
        (in_session("ExecuteStatement", |call| call.text(2, "select a from t").text(2, "drop table t")), "request-malformed"),
        ([&execute("select a from t")[..], &[0]].concat(), "request-malformed"),
        (about("ExecuteStatement", "another-session", |call| call.text(2, "select 1")), "session-unknown"),
        (about("FetchResults", "another-operatio", |call| call), "handle-unknown"),
    ] {
        let told = call(&proxy, &body, "").await;
        assert!(told.contains(&format!("[reason {reason}")), "{reason}: {told}");
        // A call that can be read is answered in its own name, with its number.
        let name = String::from_utf8_lossy(&body[8..20]).into_owned();
        let is_read = reason != "request-malformed" || name.starts_with("GetDelegation");
        assert!(!is_read || (told.starts_with("HTTP/1.1 200") && told.contains(&name) && told.contains("\0\0\0M")), "{told}");
    }
    let told = call(&proxy, &execute("select a from t"), "Content-Type: application/json\r\n").await;
    assert!(told.contains("[reason policy-denied"), "{told}");
    assert_eq!(server.seen().len(), 1);
    assert_eq!(proxy.stop().await.execution("select a from finance.salaries").status, "denied");
}

#[tokio::test]
async fn sessions_and_operations_are_their_owners_alone() {
    let server = Script::start(|request| answer(request, 2)).await;
    let policy = "apiVersion: tollhouse.dev/v1alpha1
kind: ClusterWarehousePolicy
metadata: { name: all }
spec:
  endpointSelector: {}
  egress: [{ toPorts: [{ rules: { sql: [{}] } }] }]
";
    let proxy = server
        .sidecar("databricks", policy, |config| {
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
    call(&proxy, &open(), &token("ada")).await;
    assert!(call(&proxy, &execute("select 1"), &token("ada")).await.contains(OPERATION));
    let grace = token("grace");
    assert!(call(&proxy, &execute("select 1"), &grace).await.contains("[reason session-foreign"));
    assert!(call(&proxy, &about("CloseSession", SESSION, |call| call), &grace).await.contains("[reason session-foreign"));
    assert!(call(&proxy, &about("FetchResults", OPERATION, |call| call), &grace).await.contains("[reason handle-foreign"));
    assert!(call(&proxy, &about("CancelOperation", OPERATION, |call| call), &grace).await.contains("[reason handle-foreign"));
    let unknown = call(&proxy, &open(), "").await;
    assert!(unknown.contains("x-thriftserver-error-message: tollhouse") && unknown.contains("[reason client-authentication"), "{unknown}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_session_is_moved_alone_and_where_to_only_its_outcome_tells() {
    let state = std::sync::Arc::new(AtomicUsize::new(1));
    let told = std::sync::Arc::clone(&state);
    let server = Script::start(move |request| answer(request, i32::try_from(told.load(Ordering::Relaxed)).unwrap())).await;
    let proxy = server.sidecar("databricks", READS_T, |_| {}).await;
    call(&proxy, &open(), "").await;
    assert!(call(&proxy, &execute("use demo.finance"), "").await.contains(OPERATION));
    let poll = about("GetOperationStatus", OPERATION, |call| call);
    call(&proxy, &poll, "").await;
    assert!(call(&proxy, &execute("select a from t"), "").await.contains("[reason session-busy"));
    // Failed, it has moved nothing; cancelled, nobody knows.
    state.store(5, Ordering::Relaxed);
    call(&proxy, &poll, "").await;
    assert!(call(&proxy, &execute("select a from t"), "").await.contains(OPERATION));
    assert!(call(&proxy, &execute("use demo.finance"), "").await.contains("[reason session-busy"), "something runs");
    call(&proxy, &poll, "").await;
    assert!(call(&proxy, &execute("use demo.finance"), "").await.contains(OPERATION));
    state.store(2, Ordering::Relaxed);
    call(&proxy, &poll, "").await;
    let moved = call(&proxy, &execute("select a from t"), "").await;
    assert!(moved.contains("demo.finance.t"), "{moved}");
    call(&proxy, &execute("use demo.public"), "").await;
    call(&proxy, &about("CancelOperation", OPERATION, |call| call), "").await;
    let lost = call(&proxy, &execute("select a from t"), "").await;
    assert!(lost.contains("[reason request-malformed") && lost.contains("not known"), "{lost}");
}

#[tokio::test]
async fn a_login_that_is_no_longer_taken_is_replaced_once_in_the_midst_of_a_session() {
    let refuses = std::sync::Arc::new(AtomicBool::new(false));
    let first = std::sync::Arc::clone(&refuses);
    let server = Script::start(move |request| {
        if first.swap(false, Ordering::Relaxed) { reply_with("401 Unauthorized", "", b"expired") } else { answer(request, 2) }
    })
    .await;
    let proxy = server.sidecar("databricks", ALLOW_ALL, |_| {}).await;
    call(&proxy, &open(), "").await;
    refuses.store(true, Ordering::Relaxed);
    assert!(call(&proxy, &execute("select 1"), "").await.contains(OPERATION));
    let seen = server.seen();
    assert_eq!((seen.len(), &seen[1].body), (3, &seen[2].body));
}

#[tokio::test]
async fn what_runs_when_the_program_ends_is_cancelled_and_what_breaks_off_has_failed() {
    let server = Script::start(|request| answer(request, 1)).await;
    let proxy = server.sidecar("databricks", ALLOW_ALL, |config| config["shutdown"]["deadline"] = json!("1s")).await;
    call(&proxy, &open(), "").await;
    call(&proxy, &execute("select 1"), "").await;
    let execution = proxy.stop().await.execution("select 1");
    assert_eq!((execution.status.as_str(), execution.query_id.as_deref()), ("cancelled", Some(QUERY_ID)));
    let seen = server.seen();
    let cancel = seen.last().unwrap();
    assert!(is(cancel, "CancelOperation") && cancel.head.contains("authorization: Bearer ey"), "{}", cancel.text());
    assert!(cancel.text().contains(OPERATION) && cancel.text().contains("handle-secret"), "{}", cancel.text());

    let server = Script::start(|request| {
        let mut whole = answer(request, 1);
        whole.truncate(whole.len() - if is(request, "ExecuteStatement") { 20 } else { 0 });
        whole
    })
    .await;
    let proxy = server.sidecar("databricks", ALLOW_ALL, |_| {}).await;
    call(&proxy, &open(), "").await;
    call(&proxy, &execute("select 1"), "").await;
    assert_eq!(proxy.stop().await.execution("select 1").status, "failed");
}

#[tokio::test]
async fn the_statement_api_passes_what_policy_allows() {
    let server = Script::start(|request| {
        reply(match request.line().split(' ').next() {
            Some("POST") if request.line().contains("/sessions") => r#"{"session_id":"s1"}"#,
            Some("POST") => r#"{"statement_id":"01ef-1","status":{"state":"RUNNING"}}"#,
            _ => r#"{"statement_id":"01ef-1","status":{"state":"SUCCEEDED"},"manifest":{},"result":{"row_count":4,"data_array":[]}}"#,
        })
    })
    .await;
    let proxy = server.sidecar("databricks", READS_T, |_| {}).await;
    let post = |body: &str| request(&proxy, "POST /api/2.0/sql/statements", "Content-Type: application/json\r\n", body);
    let told = |request: String| {
        let proxy = &proxy;
        async move { ask_text(proxy, &request).await }
    };
    let session = r#"{"warehouse_id":"w","catalog":"demo","schema":"public"}"#;
    assert!(told(request(&proxy, "POST /api/2.0/sql/sessions", "", session)).await.contains("s1"));
    let begun = told(post(r#"{"statement":"select a from t","session_id":"s1","warehouse_id":"w","wait_timeout":"0s"}"#)).await;
    assert!(begun.contains("01ef-1"), "{begun}");
    assert!(told(request(&proxy, "GET /api/2.0/sql/statements/01ef-1", "", "")).await.contains("SUCCEEDED"));
    for (request, reason) in [
        (post(r#"{"statement":"select a from u","session_id":"s1"}"#), "policy-denied"),
        (post(r#"{"statement":"select a from t","session_id":"s1","disposition":"EXTERNAL_LINKS"}"#), "request-malformed"),
        (post(r#"{"statement":"select a from t","session_id":"s2"}"#), "session-unknown"),
        (request(&proxy, "GET /api/2.0/sql/statements/01ef-2", "", ""), "handle-unknown"),
        (request(&proxy, "GET /api/2.0/clusters/list", "", ""), "policy-denied"),
    ] {
        let refused = told(request.clone()).await;
        assert!(refused.contains(&format!("[reason {reason}")), "{request}: {refused}");
    }
    let refused = told(post(r#"{"statement":"select a from u","catalog":"demo","schema":"public"}"#)).await;
    assert!(refused.starts_with("HTTP/1.1 200") && refused.contains(r#""state":"FAILED""#), "clients show no other: {refused}");
    assert!(told(request(&proxy, "GET /.well-known/databricks-config", "", "")).await.starts_with("HTTP/1.1 404"));
    assert_eq!(server.seen().len(), 3);
    // Whoever has read the result need not close it.
    let execution = proxy.stop().await.execution("select a from t");
    assert_eq!((execution.rows, execution.query_id.as_deref()), (Some(4), Some("01ef-1")));
}
