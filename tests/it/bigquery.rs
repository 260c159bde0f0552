//! BigQuery's requests in front of a server that answers as it is told to: what no emulator does on demand.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::script::{Request, Script, ask_text as ask, reply, reply_with, request};

const P: &str = "/bigquery/v2/projects/jaffle";
const UPLOAD: &str = "/upload/bigquery/v2/projects/jaffle/jobs?uploadType=resumable";
const JSON: &str = "Content-Type: application/json\r\nAuthorization: Bearer placeholder\r\n";

const ALLOWED: &str =
    "sql: [{ actions: [select, insert, create], tables: [jaffle.raw.*] }, { parameters: [project_id], databases: [jaffle] }]";

fn post(proxy: &Proxy, path: &str, body: &str) -> String {
    request(proxy, &format!("POST {path}"), JSON, body)
}

fn get(proxy: &Proxy, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer placeholder\r\nConnection: close\r\n\r\n", proxy.address)
}

/// The body of `jobs.insert` for a query.
fn query(sql: &str, more: &str) -> String {
    let sql = serde_json::Value::from(sql);
    format!(
        r#"{{"jobReference": {{"projectId": "jaffle", "jobId": "j1", "location": "US"}}, "configuration": {{"query": {{"query": {sql}, "useLegacySql": false}}{more}}}}}"#
    )
}

fn load(dataset: &str) -> String {
    format!(
        r#"{{"jobReference": {{"projectId": "jaffle", "jobId": "j2", "location": "US"}}, "configuration": {{"load": {{"destinationTable": {{"projectId": "jaffle", "datasetId": "{dataset}", "tableId": "t"}}}}}}}}"#
    )
}

const RUNNING: &str = r#"{"jobReference":{"projectId":"jaffle","jobId":"j1","location":"US"},"status":{"state":"RUNNING"},"configuration":{"query":{"destinationTable":{"projectId":"jaffle","datasetId":"_anon","tableId":"anon1"}}}}"#;
const COMPLETE: &str =
    r#"{"jobReference":{"projectId":"jaffle","jobId":"j1","location":"US"},"jobComplete":true,"totalRows":"3","pageToken":"a"}"#;
const FIRST: &str = r#"{"totalRows":"3","rows":[{"f":[{"v":"1"}]},{"f":[{"v":"2"}]}],"pageToken":"b"}"#;
const LAST: &str = r#"{"totalRows":"3","rows":[{"f":[{"v":"3"}]}]}"#;
const LOADED: &str = r#"{"jobReference":{"projectId":"jaffle","jobId":"j2","location":"US"},"status":{"state":"DONE"},"statistics":{"load":{"outputRows":"3"}}}"#;
const LOCATION: &str = "https://bigquery.googleapis.com/upload/bigquery/v2/projects/jaffle/jobs?uploadType=resumable&upload_id=s3cret";

fn script(request: &Request) -> Vec<u8> {
    let line = request.line();
    let (method, path) = line.split_once(' ').unwrap();
    match (method, path) {
        ("POST", path) if path.contains("/cancel") => reply(r#"{"job":{"status":{"state":"RUNNING"}}}"#),
        ("POST", path) if path.starts_with("/upload") => reply_with("200 OK", &format!("Location: {LOCATION}\r\n"), b""),
        ("PUT", _) if request.body.len() < 4 => reply_with("308 Resume Incomplete", "Range: bytes=0-2\r\n", b""),
        ("PUT", _) => reply(LOADED),
        ("GET", path) if path.contains("pageToken=a") => reply(FIRST),
        ("GET", path) if path.contains("pageToken=b") => reply(LAST),
        ("GET", path) if path.contains("/queries/") => reply(COMPLETE),
        ("GET", _) => reply(r#"{"kind":"bigquery#table","numRows":"3"}"#),
        _ => reply(RUNNING),
    }
}

#[tokio::test]
async fn a_job_passes_with_the_login_in_it_and_is_over_with_its_last_page() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("bigquery", ALLOWED, |_| {}).await;
    let sql = "/* {\"app\": \"dbt\", \"node_id\": \"model.jaffle.m\"} */ select a from raw.t";
    let body = query(sql, r#", "labels": {"dbt_invocation_id": "7c322a6a"}"#);
    assert!(ask(&proxy, &post(&proxy, &format!("{P}/jobs?prettyPrint=false"), &body)).await.contains("RUNNING"));
    for (path, told) in [
        ("queries/j1?maxResults=0&location=US", "jobComplete"),
        ("datasets/_anon/tables/anon1", "numRows"),
        ("queries/j1?pageToken=a&location=US&fields=jobReference,totalRows,pageToken,rows", r#""v":"2""#),
        ("queries/j1?pageToken=b&location=US", r#""v":"3""#),
    ] {
        let heard = ask(&proxy, &get(&proxy, &format!("{P}/{path}"))).await;
        assert!(heard.contains(told) && !heard.to_ascii_lowercase().contains("set-cookie"), "{path}: {heard}");
    }
    let seen = server.seen();
    assert_eq!((seen.len(), String::from_utf8_lossy(&seen[0].body).as_ref()), (5, body.as_str()));
    for request in seen.iter().map(Request::text) {
        assert!(request.contains("authorization: Bearer ey") && !request.contains("placeholder"), "{request}");
    }
    let evidence = proxy.stop().await;
    let execution = evidence.execution(sql);
    assert_eq!((execution.status.as_str(), execution.rows, execution.query_id.as_deref()), ("completed", Some(3), Some("jaffle:US.j1")));
    assert_eq!((execution.tables, execution.dbt.as_deref()), (vec!["jaffle.raw.t".to_owned()], Some("model.jaffle.m")));
    let attempts = evidence.of_kind("attempt");
    assert!(attempts.iter().any(|line| format!("{:?}", line.fields).contains("7c322a6a")), "the label is recorded: {attempts:?}");
}

#[tokio::test]
async fn what_policy_does_not_allow_reaches_nobody_and_is_told_as_bigquery_would() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("bigquery", ALLOWED, |_| {}).await;
    let jobs = format!("{P}/jobs");
    let twice = query("select 1", "").replacen(r#""useLegacySql""#, r#""query": "drop table t", "useLegacySql""#, 1);
    for (asked, reason) in [
        (post(&proxy, &jobs, &query("select a from finance.t", "")), "policy-denied"),
        (post(&proxy, &jobs, &query("select 1; drop table raw.t", "")), "policy-denied"),
        (post(&proxy, &jobs, &query("select 1", "").replace("false", "true")), "statement-opaque"),
        (post(&proxy, &jobs, &twice), "request-malformed"),
        (post(&proxy, &jobs, &query("select 1", r#", "dryRun": true, "new": 1"#)), "request-malformed"),
        (post(&proxy, "/bigquery/v2/projects/other/jobs", &query("select 1", "").replace("jaffle", "other")), "policy-denied"),
        (post(&proxy, UPLOAD, &load("finance")), "policy-denied"),
        (
            post(
                &proxy,
                &format!("{P}/datasets/raw/tables"),
                r#"{"tableReference": {"projectId": "jaffle", "datasetId": "raw", "tableId": "v"}, "view": {"query": "select * from finance.t", "useLegacySql": false}}"#,
            ),
            "policy-denied",
        ),
        (request(&proxy, &format!("DELETE {P}/datasets/raw/tables/t"), JSON, ""), "policy-denied"),
        (get(&proxy, &format!("{P}/jobs")), "policy-denied"),
        (get(&proxy, "/discovery/v1/apis/bigquery/v2/rest"), "policy-denied"),
        (get(&proxy, &format!("{P}/queries/j1?location=US")), "handle-unknown"),
        (get(&proxy, &format!("{P}/datasets/_anon/tables/anon1/data")), "handle-unknown"),
        (post(&proxy, "/batch/bigquery/v2", ""), "request-malformed"),
        (
            post(&proxy, &jobs, &query("select 1", "")).replace("Authorization:", "X-HTTP-Method-Override: DELETE\r\nAuthorization:"),
            "request-malformed",
        ),
    ] {
        let told = ask(&proxy, &asked).await;
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        let error: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(head.starts_with("HTTP/1.1 403"), "{asked}: {told}");
        assert_eq!(error["error"]["errors"][0]["reason"], "accessDenied", "{told}");
        assert!(error["error"]["message"].as_str().unwrap().contains(&format!("[reason {reason}")), "{asked}: {told}");
    }
    assert_eq!(server.seen(), Vec::new());
}

#[tokio::test]
async fn an_upload_goes_on_here_and_is_over_with_the_job_that_it_becomes() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("bigquery", ALLOWED, |_| {}).await;
    let begun = ask(&proxy, &post(&proxy, UPLOAD, &load("raw"))).await;
    let near = format!("http://{}{UPLOAD}&upload_id=s3cret", proxy.address);
    assert!(begun.contains(&format!("location: {near}\r\n")) && !begun.contains("googleapis"), "{begun}");
    let put = |id: &str, data: &str| request(&proxy, &format!("PUT {UPLOAD}&upload_id={id}"), "Content-Range: bytes 0-2/*\r\n", data);
    assert!(ask(&proxy, &put("other", "1\n2\n")).await.contains("[reason handle-unknown"));
    assert!(ask(&proxy, &put("s3cret", "1\n2")).await.contains("308"));
    assert!(ask(&proxy, &put("s3cret", "1\n2\n")).await.contains("outputRows"));
    let seen = server.seen();
    assert_eq!((seen.len(), seen[2].body.as_slice()), (3, &b"1\n2\n"[..]));
    assert!(seen[2].text().contains("authorization: Bearer ey"), "{}", seen[2].text());
    let evidence = proxy.stop().await;
    let execution = evidence.execution("jobs.insert load");
    assert_eq!((execution.status.as_str(), execution.rows, execution.query_id.as_deref()), ("completed", Some(3), Some("jaffle:US.j2")));
    assert!(!format!("{:?}", evidence.lines).contains("s3cret"), "whoever has the id of an upload can send its data");
}

#[tokio::test]
async fn a_job_that_was_only_asked_about_lends_its_name_to_nobody() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("bigquery", ALLOWED, |_| {}).await;
    let dry = query("select a from raw.t", r#", "dryRun": true"#);
    assert!(ask(&proxy, &post(&proxy, &format!("{P}/jobs"), &dry)).await.contains("RUNNING"));
    for path in ["queries/j1?location=US", "jobs/j1?location=US", "datasets/_anon/tables/anon1/data"] {
        let heard = ask(&proxy, &get(&proxy, &format!("{P}/{path}"))).await;
        assert!(heard.contains("[reason handle-unknown"), "{path}: {heard}");
    }
    // The same where the warehouse says that the name is taken, by whomever.
    let taken =
        Script::start(|_| reply_with("409 Conflict", "Content-Type: application/json\r\n", br#"{"error":{"status":"ALREADY_EXISTS"}}"#))
            .await;
    let proxy = taken.sidecar("bigquery", ALLOWED, |_| {}).await;
    assert!(ask(&proxy, &post(&proxy, &format!("{P}/jobs"), &query("select a from raw.t", ""))).await.contains("409"));
    assert!(ask(&proxy, &get(&proxy, &format!("{P}/queries/j1?location=US"))).await.contains("[reason handle-unknown"));
    let execution = proxy.stop().await.execution("select a from raw.t");
    assert_eq!((execution.status.as_str(), execution.error.as_deref()), ("failed", Some("ALREADY_EXISTS")));
}

#[tokio::test]
async fn a_job_of_that_name_in_another_place_is_another_job() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("bigquery", ALLOWED, |_| {}).await;
    ask(&proxy, &post(&proxy, &format!("{P}/jobs"), &query("select a from raw.t", ""))).await;
    for (path, is_known) in [("queries/j1?location=EU", false), ("queries/j1?location=us", true), ("queries/j1", true)] {
        let heard = ask(&proxy, &get(&proxy, &format!("{P}/{path}"))).await;
        assert_eq!(heard.contains("jobComplete"), is_known, "{path}: {heard}");
    }
}

#[tokio::test]
async fn a_job_can_be_cancelled_by_its_client_and_what_still_runs_at_the_end_is_cancelled_there() {
    let server = Script::start(script).await;
    let proxy = server.sidecar("bigquery", ALLOWED, |config| config["shutdown"]["deadline"] = json!("1s")).await;
    ask(&proxy, &post(&proxy, &format!("{P}/jobs"), &query("select a from raw.t", ""))).await;
    assert!(ask(&proxy, &post(&proxy, &format!("{P}/jobs/j1/cancel?location=US"), "")).await.contains("RUNNING"));
    ask(&proxy, &post(&proxy, &format!("{P}/jobs"), &query("select b from raw.t", "").replace("US", "EU"))).await;
    let evidence = proxy.stop().await;
    for sql in ["select a from raw.t", "select b from raw.t"] {
        assert_eq!(evidence.execution(sql).status, "cancelled", "{sql}");
    }
    let seen = server.seen();
    let cancel = seen.last().unwrap();
    assert!(cancel.line().starts_with(&format!("POST {P}/jobs/j1/cancel?location=US ")), "{}", cancel.head);
    assert!(cancel.head.contains("authorization: Bearer ey"), "{}", cancel.head);
}

#[tokio::test]
async fn a_login_that_was_just_revoked_is_replaced_once_and_the_job_goes_on() {
    let first = AtomicBool::new(true);
    let server = Script::start(move |request| {
        let is_refused = request.line().starts_with("GET") && first.swap(false, Ordering::Relaxed);
        if is_refused { reply_with("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", b"") } else { script(request) }
    })
    .await;
    let proxy = server.sidecar("bigquery", ALLOWED, |_| {}).await;
    ask(&proxy, &post(&proxy, &format!("{P}/jobs"), &query("select a from raw.t", ""))).await;
    let heard = ask(&proxy, &get(&proxy, &format!("{P}/queries/j1?pageToken=b&location=US"))).await;
    assert!(heard.contains(r#""v":"3""#), "{heard}");
    assert_eq!(proxy.stop().await.execution("select a from raw.t").status, "completed");
}

#[tokio::test]
async fn what_goes_wrong_at_the_warehouse_is_told_so_that_no_client_tries_again_for_long() {
    let json = "Content-Type: application/json\r\n";
    let whole = reply(RUNNING);
    for (answer, told, status) in [
        (whole[..whole.len() - 60].to_vec(), None, "failed"),
        (reply_with("200 OK", &format!("{json}Content-Encoding: gzip\r\n"), RUNNING.as_bytes()), Some("target-protocol"), "abandoned"),
        (reply_with("401 Unauthorized", json, b"{}"), Some("target-login"), "abandoned"),
        (reply_with("503 Unavailable", json, b"{}"), None, "failed"),
        (Vec::new(), Some("target-closed"), "abandoned"),
    ] {
        let answer_text = String::from_utf8_lossy(&answer).into_owned();
        let scripted = answer.clone();
        let server = Script::start(move |_| scripted.clone()).await;
        let proxy = server.sidecar("bigquery", ALLOW_ALL, |_| {}).await;
        let heard = ask(&proxy, &post(&proxy, &format!("{P}/jobs"), &query("select 1", ""))).await;
        if let Some(reason) = told {
            assert!(heard.contains(&format!("[reason {reason}")) && heard.contains(r#""reason":"blocked""#), "{answer_text}: {heard}");
            assert!(heard.starts_with("HTTP/1.1 400"), "{heard}");
        }
        assert_eq!(proxy.stop().await.execution("select 1").status, status, "{answer_text}");
    }
}
