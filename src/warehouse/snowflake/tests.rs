use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Endpoint, SNOWFLAKE, Snowflake};
use crate::aws::AwsCredentials;
use crate::credential::{Authenticator, Login};
use crate::fault::Reason;
use crate::secret::Secret;
use crate::sql::{Effect, OpaqueClass};
use crate::warehouse::http::{
    Access, Asked, Call, End, Head, HttpWarehouse, News, Outgoing, Progress, Purpose, Reader, SessionState, Sessions, Statement, Told,
    Whole,
};

/// One session, which begins in `SHOP.ANALYTICS`.
struct OneSession;

impl Sessions for OneSession {
    fn find(&self, id: &str) -> Option<SessionState> {
        (id == "s1").then(|| SessionState { database: "SHOP".to_owned(), schema: Some("ANALYTICS".to_owned()), role: None })
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn in_session() -> HeaderMap {
    headers(&[("authorization", "Snowflake Token=\"tollhouse-session-s1\""), ("user-agent", "PythonConnector/4.8.1 (Linux)")])
}

/// What a request asks for, and the session that it is part of.
fn ask(target: &str, headers: &HeaderMap, body: &str, look: impl FnOnce(Result<Asked<'_>, &'static str>)) {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let head = Head { method: &Method::POST, path, query, headers };
    look(Snowflake.ask(&Whole { head, body: body.as_bytes(), near: "http://near" }, &OneSession));
}

fn statement(target: &str, headers: &HeaderMap, body: &str) -> Statement<'static> {
    let mut found = None;
    ask(target, headers, body, |asked| {
        let Call::Run(statement) = asked.unwrap().call else { panic!("it runs nothing") };
        found = Some(Statement {
            text: crate::warehouse::http::Text::Call(String::from_utf8(statement.text.as_bytes().to_vec()).unwrap()),
            ..*statement
        });
    });
    found.unwrap()
}

fn is_refused(target: &str, body: &str) -> bool {
    let mut refused = false;
    ask(target, &in_session(), body, |asked| refused = asked.is_err());
    refused
}

fn set(parameter: &str) -> Effect {
    Effect::Set { parameter: parameter.to_owned() }
}

#[test]
fn a_request_is_known_by_method_and_path() {
    for (method, path, expected) in [
        (Method::POST, "/session/v1/login-request", Some(Endpoint::Login)),
        (Method::GET, "/session/v1/login-request", None),
        (Method::POST, "/queries/v1/query-request", Some(Endpoint::Query)),
        (Method::POST, "/queries/v1/query-request;a=b", None),
        (Method::POST, "/queries/v1/abort-request", Some(Endpoint::Abort)),
        (Method::POST, "/queries/q-1/abort-request", Some(Endpoint::AbortQuery("q-1".to_owned()))),
        (Method::GET, "/queries/q-1/result", Some(Endpoint::QueryResult("q-1".to_owned()))),
        (Method::GET, "/queries/..%2f/result", None),
        (Method::GET, "/queries/q-1/result/more", None),
        (Method::GET, "/monitoring/queries/q-1", Some(Endpoint::QueryStatus("q-1".to_owned()))),
        (Method::GET, "/monitoring/queries/", None),
        (Method::POST, "/api/v2/statements", Some(Endpoint::Submit)),
        (Method::POST, "/api/v2/statements/", Some(Endpoint::Submit)),
        (Method::GET, "/api/v2/statements/q-1", Some(Endpoint::SubmitResult("q-1".to_owned()))),
        (Method::POST, "/api/v2/statements/q-1/cancel", Some(Endpoint::SubmitCancel("q-1".to_owned()))),
        (Method::POST, "/api/v2/statements/q-1/retry", None),
        (Method::GET, "/api/v2/databases", None),
        (Method::POST, "/session/authenticator-request", None),
    ] {
        assert_eq!(Endpoint::of(&method, path), expected, "{method} {path}");
        let head = Head { method: &method, path, query: None, headers: &HeaderMap::new() };
        assert_eq!(Snowflake.purpose(&head) == Purpose::Whole, expected.is_some(), "{method} {path}");
    }
}

const LOGIN: &str = "/session/v1/login-request?request_id=r&databaseName=shop&schemaName=%22Mixed%22&warehouse=wh&roleName=transformer";

fn login(more: Value) -> String {
    let mut data = json!({
        "CLIENT_APP_ID": "PythonConnector", "CLIENT_APP_VERSION": "4.8.1", "SVN_REVISION": null, "ACCOUNT_NAME": "theirs",
        "LOGIN_NAME": "anybody", "PASSWORD": "placeholder", "CLIENT_ENVIRONMENT": { "APPLICATION": "dbt" },
        "SESSION_PARAMETERS": { "QUERY_TAG": "t", "AUTOCOMMIT": true },
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "data": data }).to_string()
}

#[test]
fn what_a_login_takes_and_sets_are_its_effects() {
    let login = statement(LOGIN, &in_session(), &login(json!({ "SECONDARY_ROLES": "ALL" })));
    assert_eq!(login.text.as_bytes(), b"login");
    assert_eq!((login.database.as_str(), login.schema.as_deref()), ("SHOP", Some("Mixed")));
    assert_eq!(login.application_name.as_deref(), Some("PythonConnector/4.8.1"));
    let secondary = Effect::Opaque { class: OpaqueClass::Authorization, detail: "SECONDARY_ROLES".to_owned() };
    assert_eq!(login.effects, [Effect::Role { role: Some("TRANSFORMER".to_owned()) }, secondary, set("warehouse"), set("query_tag")]);
}

#[test]
fn a_login_that_asks_for_what_is_not_known_is_refused() {
    for body in [
        login(json!({ "CHOSEN_NEW_PASSWORD": "x" })),
        login(json!({ "SOMETHING_NEW": 1 })),
        login(json!({})).replace("{\"data\":", "{\"inFlightCtx\":\"x\",\"data\":"),
        login(json!({})).replace("\"LOGIN_NAME\"", "\"LOGIN_NAME\":\"a\",\"LOGIN_NAME\""),
        format!("{}{{}}", login(json!({}))),
        "[]".to_owned(),
    ] {
        assert!(is_refused(LOGIN, &body), "{body}");
    }
    assert!(is_refused(&format!("{LOGIN}&token=x"), &login(json!({}))));
}

fn secret() -> Secret<String> {
    Secret::new("s3cret".to_owned())
}

fn snowflake(authenticator: Authenticator) -> Login {
    Login::Snowflake { authenticator, token: secret() }
}

fn sent(login: &Login, secrets: &[Secret<String>], target: &str, body: &str) -> Option<Outgoing> {
    let headers = headers(&[
        ("authorization", "Snowflake Token=\"tollhouse-session-s1\""),
        ("x-snowflake-service", "other"),
        ("x-snowflake-external-session-id", "x"),
    ]);
    let body = Some(Bytes::copy_from_slice(body.as_bytes()));
    let mut request = Outgoing { method: Method::POST, target: target.to_owned(), headers, body };
    let authority = "acme-shop.snowflakecomputing.com";
    let access = Access { login, role: "DBT", authority, secrets, owner: "o", now: std::time::SystemTime::now() };
    Snowflake.authorize(&mut request, &access).is_ok().then_some(request)
}

#[test]
fn the_login_takes_the_place_of_everything_that_the_client_says_about_its_own() {
    let theirs = login(json!({ "TOKEN": "theirs", "AUTHENTICATOR": "OAUTH", "PASSCODE": "1", "SPCS_TOKEN": "x" }));
    for (login, expected) in [
        (snowflake(Authenticator::Oauth), json!({ "AUTHENTICATOR": "OAUTH", "TOKEN": "s3cret" })),
        (snowflake(Authenticator::SnowflakeJwt), json!({ "AUTHENTICATOR": "SNOWFLAKE_JWT", "TOKEN": "s3cret" })),
        (
            snowflake(Authenticator::WorkloadIdentity),
            json!({ "AUTHENTICATOR": "WORKLOAD_IDENTITY", "PROVIDER": "OIDC", "TOKEN": "s3cret" }),
        ),
        (Login::Password(secret()), json!({ "PASSWORD": "s3cret" })),
    ] {
        let request = sent(&login, &[], LOGIN, &theirs).unwrap();
        assert!(request.headers.is_empty(), "{:?}", request.headers);
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        let mut wanted = json!({
            "CLIENT_APP_ID": "PythonConnector", "CLIENT_APP_VERSION": "4.8.1", "ACCOUNT_NAME": "ACME-SHOP", "LOGIN_NAME": "DBT",
            "CLIENT_ENVIRONMENT": { "APPLICATION": "dbt" }, "SESSION_PARAMETERS": { "QUERY_TAG": "t", "AUTOCOMMIT": true },
        });
        wanted.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
        assert_eq!(body, json!({ "data": wanted }));
    }
}

#[test]
fn the_logins_that_the_kind_takes_are_those_that_a_request_can_be_authorized_with() {
    let keys = AwsCredentials {
        access_key_id: "ASIA1".to_owned(),
        secret_access_key: secret(),
        session_token: secret(),
        expires_at: std::time::SystemTime::now(),
    };
    let certificate =
        Login::ClientCertificate { chain: Vec::new(), key: Secret::new(rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0]).into()) };
    for login in
        [Login::Token(secret()), Login::Password(secret()), certificate, Login::AwsCredentials(keys), snowflake(Authenticator::Oauth)]
    {
        let is_taken = sent(&login, &[], LOGIN, &super::tests::login(json!({}))).is_some();
        assert_eq!(is_taken, SNOWFLAKE.logins.contains(&login.kind()), "{login:?}");
        assert_eq!(sent(&login, &[], "/api/v2/statements", "{}").is_some(), is_taken, "{login:?}");
    }
    assert!(sent(&snowflake(Authenticator::WorkloadIdentity), &[], "/api/v2/statements", "{}").is_none());
}

#[test]
fn a_session_is_shown_by_its_own_token_and_the_sql_api_by_the_login() {
    let secrets = [Secret::from("real-session"), Secret::from("real-master")];
    let login = snowflake(Authenticator::SnowflakeJwt);
    let shown = |target: &str| {
        let request = sent(&login, &secrets, target, "{}").unwrap();
        assert!(request.headers.get(AUTHORIZATION).unwrap().is_sensitive());
        (request.headers.get(AUTHORIZATION).unwrap().to_str().unwrap().to_owned(), request)
    };
    assert_eq!(shown("/queries/v1/query-request?requestId=r").0, "Snowflake Token=\"real-session\"");
    let (master, renewal) = shown("/session/token-request");
    assert_eq!(master, "Snowflake Token=\"real-master\"");
    assert_eq!(renewal.body.unwrap(), r#"{"oldSessionToken":"real-session","requestType":"RENEW"}"#);
    let (bearer, submit) = shown("/api/v2/statements");
    assert_eq!(
        (bearer.as_str(), submit.headers["x-snowflake-authorization-token-type"].as_bytes()),
        ("Bearer s3cret", &b"KEYPAIR_JWT"[..])
    );
    assert!(sent(&login, &[], "/session/heartbeat", "").is_none(), "outside of a session there is no token");
    let cancel = Snowflake.cancel("q-1").unwrap();
    assert_eq!(sent(&login, &[], &cancel.target, "{}").unwrap().target, "/api/v2/statements/q-1/cancel");
    assert_eq!(sent(&login, &secrets, &cancel.target, "{}").unwrap().target, "/queries/q-1/abort-request");
}

const QUERY: &str = "/queries/v1/query-request?requestId=r-1&request_guid=g&retryCount=1&retryReason=0&clientStartTime=1";

#[test]
fn a_query_is_judged_where_its_session_is() {
    let body = r#"{"sqlText":"select \u00e4 from t","asyncExec":false,"sequenceId":1,"querySubmissionTime":2,"isInternal":false,"describeOnly":true,
        "parameters":{"MULTI_STATEMENT_COUNT":2,"TIMEZONE":"UTC"},"bindings":{"1":{"type":"FIXED","value":"3"}},"bindStage":"@b/1","queryContextDTO":{}}"#;
    let query = statement(QUERY, &in_session(), body);
    assert_eq!(query.text.as_bytes(), "select \u{e4} from t".as_bytes());
    assert_eq!((query.database.as_str(), query.schema.as_deref()), ("SHOP", Some("ANALYTICS")));
    assert_eq!(query.names, ["r-1"]);
    assert_eq!(query.effects, [set("timezone"), super::parameters::import("@b/1".to_owned())]);
}

#[test]
fn a_query_that_two_readers_could_read_differently_is_refused() {
    for body in [
        r#"{"sqlText":"select 1","sqlText":"drop table t"}"#,
        r#"{"sqlText":"select 1","sqltext":"drop table t"}"#,
        r#"{"sqlText":"select 1"} {"sqlText":"drop table t"}"#,
        r#"{"sqlText":"select 1","dataframeAst":"x"}"#,
        r#"{"sqlText":["select 1"]}"#,
        r#"{"sqlText":"\ud800"}"#,
        r#"{"asyncExec":false}"#,
        "",
    ] {
        assert!(is_refused(QUERY, body), "{body}");
    }
    let body = r#"{"sqlText":"select 1"}"#;
    assert!(!is_refused(QUERY, body));
    for target in
        ["/queries/v1/query-request", "/queries/v1/query-request?requestId=a&requestId=b", "/queries/v1/query-request?requestId=a/b"]
    {
        assert!(is_refused(target, body), "{target}");
    }
    let strange = headers(&[("content-type", "application/json; charset=utf-16")]);
    ask(QUERY, &strange, body, |asked| assert!(asked.is_err()));
}

#[test]
fn what_shows_no_placeholder_of_a_session_is_part_of_none() {
    for shown in [
        "Snowflake Token=\"tollhouse-master-s1\"",
        "Snowflake Token=\"None\"",
        "Snowflake Token=tollhouse-session-s1",
        "Bearer tollhouse-session-s1",
    ] {
        ask(QUERY, &headers(&[("authorization", shown)]), r#"{"sqlText":"select 1"}"#, |asked| {
            assert_eq!(asked.unwrap().session.as_deref(), Some(""), "{shown}");
        });
    }
    let mut twice = in_session();
    twice.append(AUTHORIZATION, HeaderValue::from_static("Snowflake Token=\"tollhouse-session-s2\""));
    ask(QUERY, &twice, r#"{"sqlText":"select 1"}"#, |asked| assert_eq!(asked.unwrap().session.as_deref(), Some("")));
}

#[test]
fn a_renewal_shows_both_placeholders_of_one_session() {
    let renew = |master: &str, session: &str, kind: &str| {
        let headers = headers(&[("authorization", &format!("Snowflake Token=\"{master}\""))]);
        let body = json!({ "oldSessionToken": session, "requestType": kind }).to_string();
        let mut session = None;
        ask("/session/token-request?requestId=r", &headers, &body, |asked| session = asked.ok().and_then(|asked| asked.session));
        session
    };
    assert_eq!(renew("tollhouse-master-s1", "tollhouse-session-s1", "RENEW").as_deref(), Some("s1"));
    assert_eq!(renew("tollhouse-master-s1", "tollhouse-session-s2", "RENEW"), None);
    assert_eq!(renew("tollhouse-session-s1", "tollhouse-session-s1", "RENEW"), None);
    assert_eq!(renew("tollhouse-master-s1", "tollhouse-session-s1", "ISSUE"), None);
}

#[test]
fn a_statement_of_the_sql_api_says_where_it_is() {
    let target = "/api/v2/statements?async=true&requestId=r-1";
    let body = json!({ "statement": "select 1", "database": "Shop", "schema": "A", "warehouse": "WH", "role": "R", "timeout": 60,
        "parameters": { "MULTI_STATEMENT_COUNT": "1", "QUERY_TAG": "t" } });
    let submitted = statement(target, &HeaderMap::new(), &body.to_string());
    assert_eq!((submitted.database.as_str(), submitted.schema.as_deref()), ("Shop", Some("A")));
    assert_eq!(submitted.effects, [Effect::Role { role: Some("R".to_owned()) }, set("warehouse"), set("query_tag")]);
    assert_eq!(submitted.names, ["r-1"]);
    for body in [
        json!({ "statement": "select 1" }),
        json!({ "statement": "select 1; select 2", "database": "D", "parameters": { "MULTI_STATEMENT_COUNT": "0" } }),
        json!({ "statement": "select 1", "database": "D", "resultSetMetaData": {} }),
    ] {
        assert!(is_refused(target, &body.to_string()), "{body}");
    }
}

fn reader(target: &str, method: &Method) -> Box<dyn Reader> {
    let headers = match target {
        "/session/token-request" => headers(&[("authorization", "Snowflake Token=\"tollhouse-master-s1\"")]),
        _ => in_session(),
    };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let body = match path {
        "/session/v1/login-request" => login(json!({})),
        "/session/token-request" => json!({ "oldSessionToken": "tollhouse-session-s1", "requestType": "RENEW" }).to_string(),
        "/api/v2/statements" => json!({ "statement": "select 1", "database": "D" }).to_string(),
        "/queries/v1/abort-request" => json!({ "requestId": "r-1" }).to_string(),
        _ => json!({ "sqlText": "select 1" }).to_string(),
    };
    let head = Head { method, path, query, headers: &headers };
    Snowflake.ask(&Whole { head, body: body.as_bytes(), near: "http://near" }, &OneSession).unwrap().reader
}

/// What a client gets of a reply, and what the reply says, cut at one place.
fn read(mut reader: Box<dyn Reader>, reply: &str, cut: usize) -> (String, Progress) {
    reader.head(StatusCode::OK, &mut headers(&[("content-type", "application/json")]));
    let mut shown = Vec::new();
    for piece in [&reply.as_bytes()[..cut], &reply.as_bytes()[cut..]] {
        shown.extend_from_slice(&reader.pass(Bytes::copy_from_slice(piece)));
    }
    shown.extend_from_slice(&reader.finish());
    (String::from_utf8(shown).unwrap(), reader.progress())
}

/// The same of a reply that is cut at every byte, all of which must say the same.
fn replayed(target: &str, method: &Method, reply: &str) -> (String, Progress) {
    let whole = read(reader(target, method), reply, 0);
    for cut in 1..reply.len() {
        let (shown, progress) = read(reader(target, method), reply, cut);
        // A placeholder is another one each time.
        if whole.0.contains("tollhouse-") {
            assert_eq!(shown.len(), whole.0.len(), "cut at {cut}");
        } else {
            assert_eq!((&shown, format!("{progress:?}")), (&whole.0, format!("{:?}", whole.1)), "cut at {cut}");
        }
    }
    whole
}

#[test]
fn no_token_of_a_login_reaches_the_client() {
    let reply = json!({ "data": {
        "token": "real-session", "masterToken": "real-master", "idToken": "id", "mfaToken": "mfa", "remMeToken": "r", "newSecret": "n",
        "sessionId": 7, "validityInSeconds": 3600, "parameters": [{ "name": "TIMEZONE", "value": "UTC" }],
        "sessionInfo": { "databaseName": "SHOP", "schemaName": null, "roleName": "R", "warehouseName": "WH" },
    }, "code": null, "message": null, "success": true });
    let (shown, progress) = replayed(LOGIN, &Method::POST, &reply.to_string());
    for secret in ["real-", "idToken", "mfaToken", "remMeToken", "newSecret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let Some(News::Opened { id, state, secrets }) = progress.news else { panic!("no session began") };
    assert_eq!(state, SessionState { database: "SHOP".to_owned(), schema: None, role: Some("R".to_owned()) });
    assert_eq!(secrets.iter().map(|secret| secret.expose().as_str()).collect::<Vec<_>>(), ["real-session", "real-master"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["data"]["token"], format!("tollhouse-session-{id}"));
    assert_eq!((&shown["data"]["masterToken"], &shown["data"]["sessionId"]), (&json!(format!("tollhouse-master-{id}")), &json!(7)));
    assert_eq!(progress.end, Some(End::Completed));
}

#[test]
fn a_login_that_fails_opens_nothing_and_shows_no_more_than_why() {
    for (reply, error) in [
        (
            r#"{"data":{"nextAction":"x","inFlightCtx":"secret"},"code":"390303","message":"Invalid token.","success":false}"#,
            Some("390303"),
        ),
        (r#"{"data":{"nextAction":"EXT_AUTHN_DUO_ALL","inFlightCtx":"secret"},"success":true}"#, None),
        ("<html>secret</html>", None),
    ] {
        let (shown, progress) = replayed(LOGIN, &Method::POST, reply);
        assert!(shown.contains("\"success\":false") && !shown.contains("secret"), "{shown}");
        assert!(progress.news.is_none());
        assert_eq!(progress.end, Some(End::Failed(error.map(str::to_owned))));
    }
    let (shown, progress) = read(reader(LOGIN, &Method::POST), &format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20)), 5);
    assert!(shown.len() < 300 && progress.end.is_some());
}

#[test]
fn a_renewal_changes_the_secrets_and_not_the_placeholders() {
    let reply = r#"{"data":{"sessionToken":"real-2","masterToken":"master-2","validityInSecondsST":3600,"sessionId":7},"success":true}"#;
    let (shown, progress) = replayed("/session/token-request", &Method::POST, reply);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["data"]["sessionToken"], &shown["data"]["sessionId"]), (&json!("tollhouse-session-s1"), &json!(7)));
    assert_eq!(shown["data"]["masterToken"], "tollhouse-master-s1");
    let Some(News::Renewed(secrets)) = progress.news else { panic!("nothing was renewed") };
    assert_eq!(secrets.iter().map(|secret| secret.expose().as_str()).collect::<Vec<_>>(), ["real-2", "master-2"]);
    let (shown, progress) =
        replayed("/session/token-request", &Method::POST, r#"{"data":{"secret":1},"code":"390114","message":"m","success":false}"#);
    assert!(shown.contains("390114") && !shown.contains("secret") && progress.news.is_none(), "{shown}");
}

/// A reply as fakesnow 0.12 gave it, cut short.
const ROWS: &str = include_str!("../../../tests/data/http-snowflake/rows.json");

#[test]
fn a_recorded_result_passes_unchanged_wherever_it_is_cut() {
    let (shown, progress) = replayed(QUERY, &Method::POST, ROWS);
    assert_eq!(shown, ROWS);
    assert_eq!((progress.rows, progress.changed, &progress.end), (3, None, &Some(End::Completed)));
    assert!(progress.id.is_some_and(|id| id.len() == 36));
    let state = SessionState { database: "SHOP".to_owned(), schema: Some("ANALYTICS".to_owned()), role: None };
    assert!(matches!(progress.news, Some(News::Changed(now)) if now == state));
}

fn told(target: &str, reply: Value) -> Progress {
    replayed(target, if target == QUERY { &Method::POST } else { &Method::GET }, &reply.to_string()).1
}

const RESULT: &str = "/queries/q-1/result";

#[test]
fn what_still_runs_has_no_end() {
    for code in ["333333", "333334"] {
        let reply = json!({ "data": { "queryId": "q-1", "getResultUrl": "/queries/q-1/result" }, "code": code, "success": true });
        let progress = told(QUERY, reply);
        assert_eq!((progress.id.as_deref(), progress.end), (Some("q-1"), None));
    }
    let expired = json!({ "data": null, "code": "390112", "success": false });
    let progress = told(RESULT, expired.clone());
    assert_eq!((progress.end, progress.declined), (None, true));
    let progress = told(QUERY, expired);
    assert_eq!((progress.end, progress.declined), (Some(End::Failed(Some("390112".to_owned()))), true));
}

#[test]
fn an_end_says_how() {
    let data = json!({ "queryId": "q-1", "sqlState": "57014" });
    let canceled = told(RESULT, json!({ "data": data, "code": "000604", "success": false }));
    assert_eq!(canceled.end, Some(End::Cancelled));
    let failed = told(QUERY, json!({ "data": data, "code": "002003", "success": false }));
    assert_eq!((failed.end, failed.news.is_none()), (Some(End::Failed(Some("002003".to_owned()))), true));
    let changed = json!({ "queryId": "q-1", "statementTypeId": 12544, "total": 1, "rowset": [["3"]], "stats": { "numRowsInserted": 3, "numRowsDeleted": 1 } });
    let changed = told(QUERY, json!({ "data": changed, "success": true }));
    assert_eq!((changed.rows, changed.changed), (0, Some(4)));
    let several = told(QUERY, json!({ "data": { "queryId": "q-1", "resultIds": "a-1,b-2,../c" }, "success": true }));
    assert_eq!(several.names, ["a-1", "b-2"]);
}

#[test]
fn results_that_are_fetched_elsewhere_are_named() {
    let chunks = json!({ "queryId": "q-1", "total": 9, "chunks": [{ "url": "https://store/1" }] });
    assert_eq!(told(QUERY, json!({ "data": chunks, "success": true })).out_of_band, Some("result chunks"));
    let stage = json!({ "queryId": "q-1", "stageInfo": { "locationType": "S3", "creds": { "AWS_KEY_ID": "k" } } });
    assert_eq!(told(QUERY, json!({ "data": stage, "success": true })).out_of_band, Some("stage"));
    assert_eq!(told(QUERY, json!({ "data": { "chunks": [] }, "success": true })).out_of_band, None);
}

#[test]
fn a_state_ends_an_execution_where_it_is_a_last_one() {
    let end = |status: &str| {
        told("/monitoring/queries/q-1", json!({ "data": { "queries": [{ "status": status, "errorCode": "1" }] }, "success": true })).end
    };
    assert_eq!(end("RUNNING"), None);
    assert_eq!(end("SUCCESS"), Some(End::Completed));
    assert_eq!(end("ABORTED"), Some(End::Cancelled));
    assert_eq!(end("FAILED_WITH_ERROR"), Some(End::Failed(Some("1".to_owned()))));
}

#[test]
fn an_abort_that_found_nothing_ends_nothing() {
    let abort = |reply: &str| replayed("/queries/v1/abort-request", &Method::POST, reply).1.declined;
    assert!(abort(r#"{"data":null,"code":"000605","success":false}"#));
    assert!(!abort(r#"{"data":null,"code":null,"success":true}"#));
}

#[test]
fn the_sql_api_says_by_its_status_what_became_of_a_statement() {
    let read = |status: StatusCode, reply: &str| {
        let mut reader = reader("/api/v2/statements", &Method::POST);
        reader.head(status, &mut headers(&[("content-type", "application/json")]));
        reader.pass(Bytes::copy_from_slice(reply.as_bytes()));
        reader.progress()
    };
    let done = read(StatusCode::OK, r#"{"code":"090001","statementHandle":"h","resultSetMetaData":{"numRows":4},"data":[]}"#);
    assert_eq!((done.id.as_deref(), done.rows, done.end), (Some("h"), 4, Some(End::Completed)));
    assert_eq!(read(StatusCode::ACCEPTED, r#"{"code":"333334","statementHandle":"h"}"#).end, None);
    let failed = read(StatusCode::UNPROCESSABLE_ENTITY, r#"{"code":"001003","statementHandle":"h"}"#);
    assert_eq!(failed.end, Some(End::Failed(Some("001003".to_owned()))));
    let canceled = read(StatusCode::UNPROCESSABLE_ENTITY, r#"{"code":"000604","statementHandle":"h"}"#);
    assert_eq!(canceled.end, Some(End::Cancelled));
}

#[test]
fn a_refusal_is_a_failed_query_that_no_driver_tries_again() {
    let headers = HeaderMap::new();
    let told = |path, reason: Reason| {
        let head = Head { method: &Method::POST, path, query: None, headers: &headers };
        let told = Told { head, body: b"", message: "no \"way\"", reason, sqlstate: "42501", status: 403, is_denial: true };
        let refusal = Snowflake.refusal(&told);
        (refusal.status, serde_json::from_slice::<Value>(&refusal.body).unwrap())
    };
    let (status, body) = told("/queries/v1/query-request", Reason::PolicyDenied);
    assert_eq!((status, &body["success"], &body["code"], &body["message"]), (200, &json!(false), &json!("003001"), &json!("no \"way\"")));
    assert_eq!(body["data"]["sqlState"], "42501");
    assert_eq!(told("/queries/v1/query-request", Reason::SessionUnknown).1["code"], "390111");
    let (status, body) = told("/api/v2/statements", Reason::PolicyDenied);
    assert_eq!((status, &body["sqlState"]), (422, &json!("42501")));
}
