//! The HTTP door in front of a Snowflake that answers as it is told to: what fakesnow does not do.

use serde_json::{Value, json};

use crate::support::proxy::Proxy;
use crate::support::script::{Request, Script, ask_text as ask, reply, reply_with, request};

const POLICY: &str = "sql:
              - { actions: [select, insert], tables: [SHOP.ANALYTICS.*] }
              - { actions: [create], databases: [SHOP] }
              - { roles: [TRANSFORMER] }
              - { parameters: [warehouse, schema] }
              - { opaque: [script] }";

fn answer(data: Value) -> Vec<u8> {
    reply(&json!({ "data": data, "code": null, "message": null, "success": true }).to_string())
}

fn failed(code: &str) -> Vec<u8> {
    reply(&json!({ "data": { "queryId": null }, "code": code, "message": "as told", "success": false }).to_string())
}

/// What is done with a text, by words in it.
fn script(request: &Request) -> Vec<u8> {
    let (line, body) = (request.line(), String::from_utf8_lossy(&request.body).into_owned());
    let running =
        |code: &str| json!({ "data": { "queryId": "q-run", "getResultUrl": "/queries/q-run/result" }, "code": code, "success": true });
    let done = |schema: &str| {
        answer(json!({ "queryId": "q-1", "total": 2, "rowset": [["1"], ["2"]], "statementTypeId": 4096, "queryResultFormat": "json",
            "finalDatabaseName": "SHOP", "finalSchemaName": schema, "finalRoleName": "TRANSFORMER" }))
    };
    if line.contains("login-request") {
        let session = json!({ "databaseName": "SHOP", "schemaName": "ANALYTICS", "roleName": "TRANSFORMER" });
        return answer(json!({ "token": "real-session", "masterToken": "real-master", "idToken": "real-id", "sessionInfo": session }));
    }
    if line.contains("token-request") {
        return answer(json!({ "sessionToken": "real-renewed", "masterToken": "real-master", "sessionId": 1 }));
    }
    if line.contains("/queries/q-run/result") || line.contains("/api/v2/statements/") {
        return if line.starts_with("GET /api") {
            reply(r#"{"code":"090001","statementHandle":"h-1","resultSetMetaData":{"numRows":2},"data":[["1"],["2"]]}"#)
        } else {
            done("ANALYTICS")
        };
    }
    if line.contains("/api/v2/statements") {
        let told = r#"{"code":"333334","statementHandle":"h-1","statementStatusUrl":"/api/v2/statements/h-1"}"#;
        return reply_with("202 Accepted", "Content-Type: application/json\r\n", told.as_bytes());
    }
    match &body {
        body if body.contains("slow") => reply(&running("333333").to_string()),
        body if body.contains("expired") => failed("390112"),
        body if body.contains("unauthorized") => reply_with("401 Unauthorized", "Content-Type: application/json\r\n", b"{}"),
        body if body.contains("cut off") => {
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"data\":{\"rowset\":[[".to_vec()
        }
        body if body.contains("use schema other") => done("OTHER"),
        body if body.contains("use schema analytics") => done("ANALYTICS"),
        body if body.contains("execute immediate") => failed("100183"),
        _ => done("ANALYTICS"),
    }
}

async fn sidecar(server: &Script) -> Proxy {
    server.sidecar("snowflake", POLICY, |config| config["targets"][0]["credential"] = json!([{ "kind": "snowflake_oauth" }])).await
}

const JSON: &str = "Content-Type: application/json\r\nAccept: application/snowflake\r\n";

async fn login(proxy: &Proxy) -> Value {
    let body = json!({ "data": { "CLIENT_APP_ID": "PythonConnector", "LOGIN_NAME": "anybody", "PASSWORD": "placeholder", "ACCOUNT_NAME": "a",
        "SESSION_PARAMETERS": { "AUTOCOMMIT": true } } });
    let line = "POST /session/v1/login-request?request_id=r&databaseName=SHOP&schemaName=ANALYTICS&warehouse=WH&roleName=TRANSFORMER";
    let told = ask(proxy, &request(proxy, line, JSON, &body.to_string())).await;
    assert!(!told.contains("real-"), "{told}");
    serde_json::from_str(&body_of(&told)).unwrap()
}

/// The body of a reply, whichever way it is framed.
fn body_of(told: &str) -> String {
    let (_, body) = told.split_once("\r\n\r\n").unwrap();
    body.lines().filter(|line| line.starts_with('{')).collect()
}

fn shows(token: &str) -> String {
    format!("{JSON}Authorization: Snowflake Token=\"{token}\"\r\n")
}

fn token(login: &Value, name: &str) -> String {
    login["data"][name].as_str().unwrap().to_owned()
}

async fn query(proxy: &Proxy, session: &str, sql: &str) -> String {
    let id = format!("POST /queries/v1/query-request?requestId=r-{}", sql.len());
    ask(proxy, &request(proxy, &id, &shows(session), &json!({ "sqlText": sql }).to_string())).await
}

fn with(request: &Request, words: &[&str]) -> bool {
    words.iter().all(|word| request.text().contains(word))
}

#[tokio::test]
async fn a_client_logs_in_without_a_secret_and_never_gets_one() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let session = token(&login(&proxy).await, "token");
    assert!(session.starts_with("tollhouse-session-"));
    let told = query(&proxy, &session, "select a from t").await;
    assert!(told.contains(r#""rowset":[["1"],["2"]]"#), "{told}");

    let seen = server.seen();
    assert!(with(&seen[0], &["\"AUTHENTICATOR\":\"OAUTH\"", "\"TOKEN\":\"ey", "\"LOGIN_NAME\":\"dbt_runner\""]), "{}", seen[0].text());
    assert!(!seen[0].text().contains("placeholder") && !seen[0].text().contains("anybody"));
    assert!(with(&seen[1], &["authorization: Snowflake Token=\"real-session\""]) && !seen[1].text().contains("tollhouse-"));
    assert_eq!(seen.len(), 2);
    let evidence = proxy.stop().await;
    let execution = evidence.execution("select a from t");
    assert_eq!((execution.status.as_str(), execution.rows, execution.query_id.as_deref()), ("completed", Some(2), Some("q-1")));
    assert_eq!(execution.tables, ["SHOP.ANALYTICS.T"]);
    assert_eq!(evidence.execution("login").status, "completed");
}

#[tokio::test]
async fn a_session_is_renewed_under_the_same_placeholders_and_gone_after_its_end() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let opened = login(&proxy).await;
    let (session, master) = (token(&opened, "token"), token(&opened, "masterToken"));
    assert!(query(&proxy, &session, "select 'expired'").await.contains("390112"));
    let renewal = json!({ "oldSessionToken": session, "requestType": "RENEW" }).to_string();
    let told = ask(&proxy, &request(&proxy, "POST /session/token-request?requestId=r", &shows(&master), &renewal)).await;
    assert!(told.contains(&session) && told.contains(&master) && !told.contains("real-"), "{told}");
    assert!(query(&proxy, &session, "select a from t").await.contains("\"success\":true"));
    let seen = server.seen();
    assert!(with(&seen[2], &["Snowflake Token=\"real-master\"", "\"oldSessionToken\":\"real-session\""]), "{}", seen[2].text());
    assert!(with(&seen[3], &["Snowflake Token=\"real-renewed\""]), "{}", seen[3].text());

    ask(&proxy, &request(&proxy, "POST /session?delete=true", &shows(&session), "{}")).await;
    let replayed = query(&proxy, &session, "select a from t").await;
    assert!(replayed.contains("[reason session-unknown") && replayed.contains("\"code\":\"390111\""), "{replayed}");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn what_runs_on_is_followed_to_its_end_by_whom_began_it() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let session = token(&login(&proxy).await, "token");
    assert!(query(&proxy, &session, "select 'slow'").await.contains("333333"));
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", proxy.address);
    let unknown = ask(&proxy, &get("/queries/q-other/result", &shows(&session))).await;
    assert!(unknown.contains("[reason handle-unknown"), "{unknown}");
    let outside = ask(&proxy, &get("/queries/q-run/result", JSON)).await;
    assert!(outside.contains("[reason session-unknown"), "{outside}");
    assert!(ask(&proxy, &get("/queries/q-run/result", &shows(&session))).await.contains("rowset"));
    let evidence = proxy.stop().await;
    let execution = evidence.execution("select 'slow'");
    assert_eq!((execution.status.as_str(), execution.rows), ("completed", Some(2)));
}

#[tokio::test]
async fn what_runs_when_the_program_ends_is_cancelled_at_the_warehouse() {
    let server = Script::start(script).await;
    let proxy = server
        .sidecar("snowflake", POLICY, |config| {
            config["targets"][0]["credential"] = json!([{ "kind": "snowflake_oauth" }]);
            config["shutdown"] = json!({ "deadline": "1s" });
        })
        .await;
    let session = token(&login(&proxy).await, "token");
    query(&proxy, &session, "select 'slow'").await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution("select 'slow'").status, "cancelled");
    let cancel = server.seen().pop().unwrap();
    assert!(with(&cancel, &["POST /queries/q-run/abort-request", "Snowflake Token=\"real-session\""]), "{}", cancel.text());
}

#[tokio::test]
async fn an_abort_by_the_clients_own_name_reaches_the_query() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let session = token(&login(&proxy).await, "token");
    query(&proxy, &session, "select 'slow'").await;
    let abort = |id: &str| {
        request(
            &proxy,
            "POST /queries/v1/abort-request?requestId=x",
            &shows(&session),
            &json!({ "sqlText": "", "requestId": id }).to_string(),
        )
    };
    assert!(ask(&proxy, &abort("r-99")).await.contains("[reason handle-unknown"));
    assert!(ask(&proxy, &abort("r-13")).await.contains("\"success\":true"));
    assert_eq!(proxy.stop().await.execution("select 'slow'").status, "cancelled");
}

#[tokio::test]
async fn what_is_refused_reaches_nobody_and_is_no_error_that_drivers_try_again() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let session = token(&login(&proxy).await, "token");
    let line = "POST /queries/v1/query-request?requestId=r";
    for (line, headers, body, reason) in [
        (line, "", r#"{"sqlText":"select a from finance.salaries"}"#, "policy-denied"),
        (line, "", r#"{"sqlText":"select a from t","parameters":{"TIMEZONE":"UTC"}}"#, "policy-denied"),
        (line, "", r#"{"sqlText":"select a from t","bindStage":"@b"}"#, "policy-denied"),
        (line, "", r#"{"sqlText":"use role accountadmin"}"#, "policy-denied"),
        (line, "", r#"{"sqlText":"select a from t","sqlText":"drop table t"}"#, "request-malformed"),
        (line, "", r#"{"sqlText":"select a from t""#, "request-malformed"),
        (line, "Content-Encoding: gzip\r\n", "not gzip", "request-malformed"),
        ("POST /queries/v1/query-request?requestId=r&requestId=s", "", r#"{"sqlText":"select a from t"}"#, "request-malformed"),
        ("POST /session/authenticator-request", "", "{}", "policy-denied"),
        ("POST /session?delete=false", "", "{}", "policy-denied"),
    ] {
        let told = ask(&proxy, &request(&proxy, line, &format!("{}{headers}", shows(&session)), body)).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.contains(&format!("[reason {reason}")), "{line} {body}: {told}");
        assert!(told.contains("\"success\":false"), "{told}");
    }
    let telemetry = ask(&proxy, &request(&proxy, "POST /telemetry/send", &shows(&session), r#"{"logs":[]}"#)).await;
    assert!(telemetry.contains("\"success\":true"), "{telemetry}");
    assert_eq!(server.seen().len(), 1, "only the login went further");
}

#[tokio::test]
async fn a_statement_is_judged_by_where_its_session_has_gone() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let session = token(&login(&proxy).await, "token");
    assert!(query(&proxy, &session, "use schema other").await.contains("\"success\":true"));
    let told = query(&proxy, &session, "select a from t").await;
    assert!(told.contains("[reason policy-denied") && told.contains("SHOP.OTHER.T"), "{told}");
    query(&proxy, &session, "use schema analytics").await;
    assert!(query(&proxy, &session, "select a from t").await.contains("\"success\":true"));

    // A script that failed may have gone anywhere before.
    assert!(query(&proxy, &session, "execute immediate $script").await.contains("100183"));
    let told = query(&proxy, &session, "select a from t").await;
    assert!(told.contains("[reason session-unsettled"), "{told}");
    assert!(query(&proxy, &session, "select a from shop.analytics.t").await.contains("\"success\":true"));
    assert!(query(&proxy, &session, "select a from t").await.contains("\"success\":true"), "the last reply said where it is");
}

#[tokio::test]
async fn several_statements_of_which_one_moves_the_session_need_the_right_to_a_script() {
    let server = Script::start(script).await;
    let policy = POLICY.replace("[script]", "[call]");
    let proxy =
        server.sidecar("snowflake", &policy, |config| config["targets"][0]["credential"] = json!([{ "kind": "snowflake_oauth" }])).await;
    let session = token(&login(&proxy).await, "token");
    let told = query(&proxy, &session, "use schema other; select a from t").await;
    assert!(told.contains("[reason statement-opaque"), "{told}");
    assert!(query(&proxy, &session, "select a from t; select b from t").await.contains("\"success\":true"));
}

#[tokio::test]
async fn a_warehouse_that_fails_in_the_midst_is_recorded_as_such() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let session = token(&login(&proxy).await, "token");
    query(&proxy, &session, "select 'cut off'").await;
    let told = query(&proxy, &session, "select 'unauthorized'").await;
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("[reason target-login"), "{told}");
    let evidence = proxy.stop().await;
    let execution = evidence.execution("select 'cut off'");
    assert_eq!((execution.status.as_str(), execution.error.as_deref()), ("failed", Some("target-closed")));
}

#[tokio::test]
async fn the_sql_api_is_used_with_the_login_itself() {
    let server = Script::start(script).await;
    let proxy = sidecar(&server).await;
    let submit = |body: &Value| request(&proxy, "POST /api/v2/statements?async=true", JSON, &body.to_string());
    let denied = ask(&proxy, &submit(&json!({ "statement": "select a from t", "database": "SHOP", "schema": "FINANCE" }))).await;
    assert!(denied.starts_with("HTTP/1.1 422") && denied.contains("[reason policy-denied"), "{denied}");
    let begun = ask(&proxy, &submit(&json!({ "statement": "select a from t", "database": "SHOP", "schema": "ANALYTICS" }))).await;
    assert!(begun.starts_with("HTTP/1.1 202"), "{begun}");
    let get = format!("GET /api/v2/statements/h-1 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", proxy.address);
    assert!(ask(&proxy, &get).await.contains("numRows"));
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for request in &seen {
        assert!(with(request, &["authorization: Bearer ey", "x-snowflake-authorization-token-type: OAUTH"]), "{}", request.text());
    }
    let evidence = proxy.stop().await;
    let executions = evidence.executions("select a from t");
    let ended: Vec<_> =
        executions.iter().map(|execution| (execution.status.as_str(), execution.rows, execution.query_id.as_deref())).collect();
    assert_eq!(ended, [("denied", None, None), ("completed", Some(2), Some("h-1"))]);
}
