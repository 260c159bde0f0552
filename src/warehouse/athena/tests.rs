use std::time::{Duration, SystemTime};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::{ATHENA, Athena, STARTED, STATE, region, started, state};
use crate::aws::AwsCredentials;
use crate::credential::{Authenticator, Login};
use crate::fault::Reason;
use crate::secret::Secret;
use crate::warehouse::http::json::{Found, Reply};
use crate::warehouse::http::{
    Access, Call, End, Handle, Head, HttpWarehouse, Outgoing, Progress, SessionState, Sessions, Statement, Told, Unusable, Whole,
};

/// No sessions: Athena has none.
struct Nobodys;

impl Sessions for Nobodys {
    fn find(&self, _: &str) -> Option<SessionState> {
        None
    }
}

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIAANY/20261124/eu-central-1/athena/aws4_request, SignedHeaders=host, Signature=00";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn called(operation: &str) -> HeaderMap {
    let target = format!("AmazonAthena.{operation}");
    headers(&[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target), ("authorization", SIGNED)])
}

fn asked<T>(head: Head<'_>, body: &str, look: impl FnOnce(Call<'_>) -> T) -> Result<T, &'static str> {
    let whole = Whole { head, body: body.as_bytes(), near: "http://near" };
    Athena.ask(&whole, &Nobodys).map(|asked| look(asked.call))
}

fn call<T>(operation: &str, body: &str, look: impl FnOnce(Call<'_>) -> T) -> Result<T, &'static str> {
    asked(Head { method: &Method::POST, path: "/", query: None, headers: &called(operation) }, body, look)
}

/// Text, database, schema and effects of what a call runs.
fn run(operation: &str, body: &str) -> Result<(String, String, Option<String>, String), &'static str> {
    let parts = |statement: &Statement<'_>| {
        let effects: Vec<String> = statement.effects.iter().map(ToString::to_string).collect();
        let text = String::from_utf8_lossy(statement.text.as_bytes()).into_owned();
        (text, statement.database.clone(), statement.schema.clone(), effects.join("; "))
    };
    call(operation, body, |call| match call {
        Call::Run(statement) => {
            assert_eq!(statement.client_user, "AKIAANY");
            parts(&statement)
        }
        other @ (Call::Move { .. } | Call::Follow(_) | Call::Service | Call::Answer(_) | Call::Other) => panic!("{operation}: {other:?}"),
    })
}

#[test]
fn a_statement_is_judged_where_its_context_says_with_where_its_result_goes() {
    let body = r#"{"QueryString": "select 1", "QueryExecutionContext": {"Catalog": "AwsDataCatalog", "Database": "Analytics"},
        "ResultConfiguration": {"OutputLocation": "s3://staging/results/"}, "WorkGroup": "etl", "ClientRequestToken": "t"}"#;
    let (text, database, schema, effects) = run("StartQueryExecution", body).unwrap();
    assert_eq!((text.as_str(), database.as_str(), schema.as_deref()), ("select 1", "awsdatacatalog", Some("analytics")));
    assert_eq!(effects, "export location \"s3://staging/results/\"; set work_group");
    let (_, database, schema, effects) = run("StartQueryExecution", r#"{"QueryString": "select 1", "WorkGroup": "primary"}"#).unwrap();
    assert_eq!((database.as_str(), schema, effects.as_str()), ("awsdatacatalog", None, ""));
    let prepared = run("CreatePreparedStatement", r#"{"StatementName": "a", "WorkGroup": "primary", "QueryStatement": "delete from t"}"#);
    assert_eq!(prepared.unwrap().0, "delete from t");
    assert!(run("StartQueryExecution", r#"{"QueryString": "select ?", "ExecutionParameters": ["(select 1)"]}"#).is_err());
}

#[test]
fn looking_at_the_catalog_reads_it() {
    let (text, database, schema, effects) =
        run("GetTableMetadata", r#"{"CatalogName": "AwsDataCatalog", "DatabaseName": "Fin", "TableName": "secret"}"#).unwrap();
    assert_eq!((text.as_str(), database.as_str()), ("GetTableMetadata AwsDataCatalog.Fin.secret", "awsdatacatalog"));
    assert_eq!((schema.as_deref(), effects.as_str()), (Some("fin"), "select awsdatacatalog.information_schema.tables"));
    assert_eq!(run("ListDatabases", r#"{"CatalogName": "a"}"#).unwrap().3, "select a.information_schema.schemata");
}

#[test]
fn an_execution_is_followed_by_its_name() {
    let follow = |operation: &str, body: &str| {
        call(operation, body, |call| match call {
            Call::Follow(Handle { id, ends }) => (id, ends),
            other @ (Call::Run(_) | Call::Move { .. } | Call::Service | Call::Answer(_) | Call::Other) => panic!("{operation}: {other:?}"),
        })
    };
    let one = r#"{"QueryExecutionId": "q1"}"#;
    assert_eq!(follow("GetQueryExecution", one), Ok(("q1".to_owned(), false)));
    assert_eq!(follow("GetQueryResults", r#"{"QueryExecutionId": "q1", "NextToken": "n", "MaxResults": 5}"#), Ok(("q1".to_owned(), false)));
    assert_eq!(follow("StopQueryExecution", one), Ok(("q1".to_owned(), true)));
    assert_eq!(follow("BatchGetQueryExecution", r#"{"QueryExecutionIds": ["q1"]}"#), Ok(("q1".to_owned(), false)));
    assert!(follow("BatchGetQueryExecution", r#"{"QueryExecutionIds": ["q1", "q2"]}"#).is_err());
    assert!(follow("GetQueryExecution", r#"{"QueryExecutionId": "q1", "QueryExecutionId": "q2"}"#).is_err());
}

#[test]
fn what_is_no_call_of_athena_is_refused_and_what_is_not_known_needs_a_rule() {
    let is_other = |operation: &str| call(operation, "{}", |call| matches!(call, Call::Other));
    assert_eq!((is_other("ListQueryExecutions"), is_other("StartSession"), is_other("GetWorkGroup")), (Ok(true), Ok(true), Ok(false)));
    let plain = called("StartQueryExecution");
    let head = Head { method: &Method::POST, path: "/", query: None, headers: &plain };
    let body = r#"{"QueryString": "select 1"}"#;
    assert!(asked(head, body, |_| ()).is_ok());
    for head in [
        Head { method: &Method::GET, ..head },
        Head { path: "/x", ..head },
        Head { query: Some("X-Amz-Signature=00"), ..head },
        Head { headers: &headers(&[("content-type", "application/x-amz-json-1.1")]), ..head },
        Head { headers: &headers(&[("content-type", "text/plain"), ("x-amz-target", "AmazonAthena.StartQueryExecution")]), ..head },
        Head { headers: &headers(&[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AWSGlue.DeleteTable")]), ..head },
    ] {
        assert!(asked(head, body, |_| ()).is_err(), "{head:?}");
    }
    let mut twice = plain.clone();
    twice.append("x-amz-target", HeaderValue::from_static("AmazonAthena.GetWorkGroup"));
    assert!(asked(Head { headers: &twice, ..head }, body, |_| ()).is_err());
}

fn secret() -> Secret<String> {
    Secret::new("s".to_owned())
}

fn authorized(request: &mut Outgoing, login: &Login, authority: &str, now: SystemTime) -> Result<(), Unusable> {
    Athena.authorize(request, &Access { login, role: "dbt", authority, secrets: &[], owner: "0a1b", now })
}

fn outgoing(body: &str) -> Outgoing {
    let mut sent = called("StartQueryExecution");
    for (name, value) in [
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-security-token", "theirs"),
        ("x-amz-content-sha256", "00"),
        ("x-amz-user-agent", "aws-sdk"),
        ("amz-sdk-request", "attempt=1"),
    ] {
        sent.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Outgoing { method: Method::POST, target: "/".to_owned(), headers: sent, body: Some(bytes::Bytes::copy_from_slice(body.as_bytes())) }
}

#[test]
fn the_signature_is_botocores_and_nothing_of_the_clients_stays() {
    let golden: Value = serde_json::from_str(include_str!("../../../tests/data/aws/signatures.json")).unwrap();
    let post = golden["posts"].as_array().unwrap().iter().find(|post| post["service"] == "athena").unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(golden["unix_time"].as_u64().unwrap());
    let key = |place: usize| golden["keys"][place].as_str().unwrap();
    let login = Login::AwsCredentials(AwsCredentials {
        access_key_id: key(0).to_owned(),
        secret_access_key: Secret::from(key(1)),
        session_token: Secret::from(key(2)),
        expires_at: now,
    });
    let mut request = outgoing(post["body"].as_str().unwrap());
    authorized(&mut request, &login, "athena.eu-central-1.amazonaws.com", now).unwrap();
    assert_eq!(request.headers.get(AUTHORIZATION).unwrap(), post["authorization"].as_str().unwrap());
    assert!(["authorization", "x-amz-security-token"].iter().all(|name| request.headers[*name].is_sensitive()));
    let mut names: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected =
        ["amz-sdk-request", "authorization", "content-type", "x-amz-date", "x-amz-security-token", "x-amz-target", "x-amz-user-agent"];
    assert_eq!(names, expected);
    assert_eq!(request.headers["x-amz-security-token"], key(2));
}

#[test]
fn the_region_is_the_hosts_or_else_the_one_that_the_client_signs_for() {
    let signed = headers(&[("authorization", SIGNED)]);
    for (authority, headers, expected) in [
        ("athena.eu-west-1.amazonaws.com", &signed, Some("eu-west-1")),
        ("athena.cn-north-1.amazonaws.com.cn", &signed, Some("cn-north-1")),
        ("athena-fips.us-east-1.amazonaws.com:443", &signed, Some("us-east-1")),
        ("vpce-1-abc.athena.us-east-2.vpce.amazonaws.com", &signed, Some("us-east-2")),
        ("athena.eu-west-1.api.aws", &signed, Some("eu-west-1")),
        ("localhost:5000", &signed, Some("eu-central-1")),
        ("athena.internal.example", &signed, Some("eu-central-1")),
        ("localhost:5000", &HeaderMap::new(), None),
    ] {
        assert_eq!(region(authority, headers).as_deref(), expected, "{authority}");
    }
    let odd = headers(&[("authorization", "AWS4-HMAC-SHA256 Credential=A/20261124/EU WEST/athena/aws4_request")]);
    assert_eq!(region("localhost", &odd), None);
}

#[test]
fn the_logins_that_the_kind_takes_are_those_that_a_request_can_be_authorized_with() {
    let keys = AwsCredentials {
        access_key_id: "ASIA1".to_owned(),
        secret_access_key: secret(),
        session_token: secret(),
        expires_at: SystemTime::now(),
    };
    let certificate =
        Login::ClientCertificate { chain: Vec::new(), key: Secret::new(rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0]).into()) };
    let snowflake = Login::Snowflake { authenticator: Authenticator::Oauth, token: secret() };
    for login in [Login::Token(secret()), Login::Password(secret()), certificate, Login::AwsCredentials(keys), snowflake] {
        let is_taken = authorized(&mut outgoing("{}"), &login, "localhost", SystemTime::now()).is_ok();
        assert_eq!(is_taken, ATHENA.logins.contains(&login.kind()), "{login:?}");
    }
}

#[test]
fn a_cancel_is_a_call_that_can_be_signed() {
    let mut request = Athena.cancel("q1").unwrap();
    assert_eq!(request.body.as_deref(), Some(&br#"{"QueryExecutionId":"q1"}"#[..]));
    let keys = AwsCredentials {
        access_key_id: "ASIA1".to_owned(),
        secret_access_key: secret(),
        session_token: secret(),
        expires_at: SystemTime::now(),
    };
    assert!(authorized(&mut request, &Login::AwsCredentials(keys), "athena.eu-west-1.amazonaws.com", SystemTime::now()).is_ok());
}

fn read(progress: fn(&Reply<'_>) -> Progress, status: StatusCode, found: &[Option<&str>]) -> Progress {
    let found: Vec<Found> = found.iter().map(|value| value.map_or(Found::Absent, |value| Found::Value(value.to_owned()))).collect();
    assert!(found.len() == STARTED.len() && found.len() == STATE.len());
    progress(&Reply { status, is_whole: true, found: &found })
}

#[test]
fn a_reply_says_the_name_the_state_and_the_error() {
    let begun = read(started, StatusCode::OK, &[Some("q1"), None]);
    assert_eq!((begun.id.as_deref(), begun.end), (Some("q1"), None));
    let failed = |name: &str| Some(End::Failed(Some(name.to_owned())));
    assert_eq!(
        read(started, StatusCode::BAD_REQUEST, &[None, Some("com.amazonaws#InvalidRequestException")]).end,
        failed("InvalidRequestException")
    );
    assert_eq!(read(state, StatusCode::OK, &[Some("RUNNING"), None]).end, None);
    assert_eq!(read(state, StatusCode::OK, &[Some("FAILED"), Some("1301")]).end, failed("1301"));
    assert_eq!(read(state, StatusCode::OK, &[Some("CANCELLED"), None]).end, Some(End::Cancelled));
    let done = read(state, StatusCode::OK, &[Some("SUCCEEDED"), None]);
    assert_eq!((done.end, done.out_of_band, done.are_rows_uncounted), (Some(End::Completed), Some("S3"), true));
    assert_eq!(read(state, StatusCode::BAD_REQUEST, &[None, None]).end, None, "that the question failed says nothing of the execution");
}

#[test]
fn a_refusal_is_an_exception_that_botocore_does_not_try_again() {
    let headers = called("StartQueryExecution");
    let head = Head { method: &Method::POST, path: "/", query: None, headers: &headers };
    let (reason, sqlstate) = (Reason::PolicyDenied, "42501");
    let told = Told { head, body: b"", message: "no way", reason, sqlstate, status: 403, is_denial: true };
    let refusal = Athena.refusal(&told);
    let body: Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!((refusal.status, &body["__type"], &body["message"]), (400, &"AccessDeniedException".into(), &"no way".into()));
    assert_eq!(Athena.refusal(&Told { status: 404, ..told }).headers[0].1, "InvalidRequestException");
    assert_eq!(Athena.refusal(&Told { status: 503, is_denial: false, ..told }).status, 503);
}

#[test]
fn the_session_token_of_a_client_can_be_the_token_that_it_shows() {
    let shown = Athena.shown(&headers(&[("authorization", SIGNED), ("x-amz-security-token", "t")]));
    assert_eq!(shown.map(|token| token.expose().clone()).as_deref(), Some("t"));
}
