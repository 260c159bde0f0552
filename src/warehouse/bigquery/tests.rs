use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{BIGQUERY, BigQuery};
use crate::aws::AwsCredentials;
use crate::credential::{Authenticator, Login};
use crate::fault::Reason;
use crate::secret::Secret;
use crate::sql::{Action, Effect, OpaqueClass};
use crate::warehouse::http::{
    Access, Call, Handle, Head, HttpWarehouse, Outgoing, Purpose, Reader, SessionState, Sessions, Statement, Text, Told, Unusable, Whole,
};

mod replies;

/// No sessions: BigQuery's are not served.
struct Nobodys;

impl Sessions for Nobodys {
    fn find(&self, _: &str) -> Option<SessionState> {
        None
    }
}

const P: &str = "/bigquery/v2/projects/jaffle";
const UPLOAD: &str = "/upload/bigquery/v2/projects/jaffle/jobs";

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    headers.insert("user-agent", HeaderValue::from_static("dbt-bigquery-1.12.1 gl-python/3.11.7"));
    headers
}

/// What is asked by a line, `POST /path?query`, below the project where the path does not begin with `/`, and what reads the reply.
fn ask_with(line: &str, body: &str, headers: &HeaderMap) -> Result<(Call<'static>, Box<dyn Reader>), &'static str> {
    let (method, target) = line.split_once(' ').unwrap();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("{P}/{target}") };
    let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let head = Head { method: &method, path, query, headers };
    let whole = Whole { head, body: body.as_bytes(), near: "http://near:1" };
    let asked = BigQuery.ask(&whole, &Nobodys)?;
    let call = match asked.call {
        Call::Run(statement) => {
            let text = match statement.text {
                Text::Sql(sql) => Text::Sql(sql.into_owned().into()),
                Text::Call(call) => Text::Call(call),
            };
            Call::Run(Box::new(Statement { text, ..*statement }))
        }
        Call::Follow(handle) => Call::Follow(handle),
        Call::Service | Call::Move { .. } => panic!("BigQuery has no sessions here"),
        Call::Answer(reply) => Call::Answer(reply),
        Call::Other => Call::Other,
    };
    Ok((call, asked.reader))
}

fn ask(line: &str, body: &str) -> Result<Call<'static>, &'static str> {
    ask_with(line, body, &headers()).map(|(call, _)| call)
}

fn run(line: &str, body: &str) -> Statement<'static> {
    match ask(line, body) {
        Ok(Call::Run(statement)) => *statement,
        other => panic!("{line} {body}: {other:?}"),
    }
}

/// A statement's effects, in short: `select jaffle.raw.orders`, or the class of what is opaque.
fn effects(statement: &Statement<'_>) -> Vec<String> {
    let short = |effect: &Effect| match effect {
        Effect::Access { action, object, .. } => {
            let parts = [object.database.as_deref(), object.schema.as_deref(), Some(object.name.as_str())];
            let path: Vec<&str> = parts.into_iter().flatten().collect();
            format!("{} {} {}", action.as_str(), object.kind.as_str(), path.join("/"))
        }
        Effect::Opaque { class, .. } => format!("opaque {}", class.as_str()),
        Effect::Role { role } => format!("role {}", role.as_deref().unwrap_or_default()),
        Effect::Set { parameter } => format!("set {parameter}"),
        Effect::Call { function, .. } => format!("call {}", function.name),
    };
    statement.effects.iter().map(short).collect()
}

fn query(configuration: &str) -> String {
    format!(
        r#"{{"jobReference": {{"jobId": "j-1", "projectId": "jaffle", "location": "us"}}, "configuration": {{"query": {{"query": "select 1", "useLegacySql": false {configuration}}}}}}}"#
    )
}

#[test]
fn a_query_is_judged_with_its_project_its_dataset_and_the_name_that_its_client_gave_it() {
    let body = r#"{"jobReference": {"jobId": "3685d469-eea3", "projectId": "jaffle", "location": "US"},
        "configuration": {"query": {"useLegacySql": false, "priority": "INTERACTIVE", "query": "select a from t",
                                    "defaultDataset": {"projectId": "jaffle", "datasetId": "raw"}},
                          "labels": {"dbt_invocation_id": "7c322a6a", "x": "y"}, "dryRun": false, "jobTimeoutMs": "86400000"}}"#;
    let statement = run("POST jobs?prettyPrint=false", body);
    assert_eq!(statement.text.as_bytes(), b"select a from t");
    assert_eq!((statement.database.as_str(), statement.schema.as_deref()), ("jaffle", Some("raw")));
    assert_eq!(statement.names, ["jaffle:US.3685d469-eea3"]);
    assert_eq!(statement.invocation.as_deref(), Some("7c322a6a"));
    assert_eq!(statement.application_name.as_deref(), Some("dbt-bigquery-1.12.1"));
    assert_eq!(effects(&statement), ["set project_id"]);

    let body = r#"{"query": "select a from t", "useLegacySql": false, "location": "EU", "requestId": "r", "maxResults": 10,
                   "defaultDataset": {"datasetId": "raw"}, "formatOptions": {"useInt64Timestamp": true}, "labels": {"dbt_invocation_id": "i"}}"#;
    let statement = run("POST queries", body);
    assert_eq!((statement.text.as_bytes(), statement.schema.as_deref()), (&b"select a from t"[..], Some("raw")));
    assert_eq!((effects(&statement), statement.names.len()), (vec!["set project_id".to_owned()], 0));
}

#[test]
fn what_the_configuration_of_a_job_does_is_among_its_effects() {
    let table = |name: &str| format!(r#"{{"projectId": "jaffle", "datasetId": "a", "tableId": "{name}"}}"#);
    let (t, s) = (table("t$20260101"), table("s"));
    for (configuration, expected) in [
        (query(&format!(r#", "destinationTable": {t}"#)), "insert relation jaffle/a/t, create relation jaffle/a/t"),
        (
            query(&format!(r#", "destinationTable": {t}, "writeDisposition": "WRITE_TRUNCATE", "createDisposition": "CREATE_NEVER""#)),
            "insert relation jaffle/a/t, truncate relation jaffle/a/t, alter relation jaffle/a/t",
        ),
        (
            query(&format!(
                r#", "destinationTable": {t}, "createDisposition": "CREATE_NEVER", "schemaUpdateOptions": ["ALLOW_FIELD_ADDITION"]"#
            )),
            "insert relation jaffle/a/t, alter relation jaffle/a/t",
        ),
        (query(r#", "connectionProperties": [{"key": "service_account", "value": "other@x"}]"#), "role other@x"),
        (query("").replace("false", "true"), "opaque unparseable"),
        (query("").replace(r#", "useLegacySql": false"#, ""), "opaque unparseable"),
        (query("").replace("select 1", "#LegacySQL\\nselect 1"), "opaque unparseable"),
        (
            format!(
                r#"{{"configuration": {{"load": {{"sourceUris": ["gs://b/x"], "destinationTable": {t}, "createDisposition": "CREATE_NEVER"}}}}}}"#
            ),
            "import location gs://b/x, insert relation jaffle/a/t",
        ),
        (
            format!(
                r#"{{"configuration": {{"copy": {{"sourceTables": [{s}], "destinationTable": {t}, "writeDisposition": "WRITE_TRUNCATE_DATA"}}}}}}"#
            ),
            "select relation jaffle/a/s, insert relation jaffle/a/t, create relation jaffle/a/t, truncate relation jaffle/a/t",
        ),
        (
            format!(r#"{{"configuration": {{"extract": {{"sourceTable": {s}, "destinationUris": ["gs://b/x", "gs://b/y"]}}}}}}"#),
            "select relation jaffle/a/s, export location gs://b/x, export location gs://b/y",
        ),
    ] {
        assert_eq!(effects(&run("POST jobs", &configuration)).join(", "), format!("{expected}, set project_id"), "{configuration}");
    }
    let load =
        format!(r#"{{"configuration": {{"load": {{"skipLeadingRows": "1", "schema": {{"fields": []}}, "destinationTable": {t}}}}}}}"#);
    let statement = run(&format!("POST {UPLOAD}?uploadType=resumable"), &load);
    assert_eq!(effects(&statement), ["insert relation jaffle/a/t", "create relation jaffle/a/t", "set project_id"]);
    assert_eq!(statement.text, Text::Call("jobs.insert load".to_owned()));
}

#[test]
fn a_job_that_could_be_read_in_two_ways_or_goes_past_policy_is_refused() {
    for body in [
        r#"{"configuration": {"query": {"query": "select 1", "query": "drop table t", "useLegacySql": false}}}"#.to_owned(),
        r#"{"configuration": {"query": {"query": "select 1", "useLegacySql": false}, "query": {"query": "drop table t", "useLegacySql": false}}}"#.to_owned(),
        r#"{"configuration": {"query": {"query": "select 1", "useLegacySql": "false"}}}"#.to_owned(),
        query(r#", "use_legacy_sql": true"#),
        query(r#", "somethingNew": 1"#),
        query(r#", "createSession": true"#),
        query(r#", "connectionProperties": [{"key": "session_id", "value": "s"}]"#),
        query(r#", "connectionProperties": [{"key": "dataset_project_id", "value": "other"}]"#),
        query(r#", "defaultDataset": {"projectId": "other", "datasetId": "a"}"#),
        query(r#", "tableDefinitions": {"t": {"sourceUris": ["gs://b/x"]}}"#),
        query(r#", "userDefinedFunctionResources": [{"inlineCode": "x"}]"#),
        query(r#", "destinationTable": {"projectId": "jaffle", "datasetId": "_anon", "tableId": "t"}"#),
        query(r#", "destinationTable": {"projectId": "jaffle", "datasetId": "a", "tableId": "t"}, "writeDisposition": "WRITE_NEW""#),
        query(r#", "destinationTable": {"projectId": "1234", "datasetId": "a", "tableId": "t"}"#),
        query("").replace(r#""projectId": "jaffle""#, r#""projectId": "other""#),
        query("").replace("j-1", "j/1"),
        query("") + "x",
        query("").replace(r#""configuration""#, r#""configuration": {"load": null}, "configuration""#),
        r#"{"configuration": {}}"#.to_owned(),
        r#"{"configuration": {"extract": {"sourceModel": {}, "destinationUris": ["gs://b/x"]}}}"#.to_owned(),
        String::new(),
        "[".repeat(100_000),
    ] {
        assert!(ask("POST jobs", &body).is_err(), "{body:.300}");
        assert!(ask(&format!("POST {UPLOAD}?uploadType=resumable"), &body).is_err(), "{body:.300}");
    }
    assert!(ask(&format!("POST {UPLOAD}?uploadType=resumable"), &query("")).is_err(), "a query is not uploaded");
    let as_a_form = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))]);
    assert!(ask_with("POST jobs", &query(""), &as_a_form).is_err());
    assert!(ask_with("POST jobs", &query(""), &HeaderMap::new()).is_err());
    let mut overridden = headers();
    overridden.insert("x-http-method-override", HeaderValue::from_static("DELETE"));
    assert!(ask_with("POST jobs", &query(""), &overridden).is_err());
    for (project, is_taken) in [("jaffle", true), ("other", false)] {
        let mut billed = headers();
        billed.insert("x-goog-user-project", HeaderValue::from_static(project));
        assert_eq!(ask_with("POST jobs", &query(""), &billed).is_ok(), is_taken, "{project} pays");
    }
}

#[test]
fn requests_without_sql_are_judged_by_what_they_do() {
    for (line, body, text, expected) in [
        ("GET datasets?maxResults=10000", "", "datasets.list jaffle", "select relation jaffle/INFORMATION_SCHEMA/SCHEMATA"),
        ("GET datasets/a", "", "datasets.get jaffle.a", "select relation jaffle/a.INFORMATION_SCHEMA/SCHEMATA"),
        ("GET datasets/a/tables", "", "tables.list jaffle.a", "select relation jaffle/a.INFORMATION_SCHEMA/TABLES"),
        ("GET datasets/a/routines", "", "routines.list jaffle.a", "select relation jaffle/a.INFORMATION_SCHEMA/ROUTINES"),
        ("GET datasets/a/routines/f", "", "routines.get jaffle.a.f", "select relation jaffle/a.INFORMATION_SCHEMA/ROUTINES"),
        ("GET datasets/a/tables/t", "", "tables.get jaffle.a.t", "select relation jaffle/a.INFORMATION_SCHEMA/COLUMNS"),
        ("GET datasets/a/tables/t/data?startIndex=0", "", "tabledata.list jaffle.a.t", "select relation jaffle/a/t"),
        (
            "POST datasets/a/tables/t/insertAll",
            r#"{"rows": [{"json": {"a": 1}}]}"#,
            "tabledata.insertAll jaffle.a.t",
            "insert relation jaffle/a/t",
        ),
        ("DELETE datasets/a/tables/t%20u$20260101", "", "tables.delete jaffle.a.t u", "drop relation jaffle/a/t u"),
        ("DELETE datasets/a?deleteContents=true", "", "datasets.delete jaffle.a", "drop schema jaffle/a/a"),
        ("DELETE datasets/a/routines/f", "", "routines.delete jaffle.a.f", "drop function jaffle/a/f"),
        ("POST datasets/a/routines", "{}", "routines.insert jaffle.a", "opaque routine-definition"),
        ("PUT datasets/a/routines/f", "{}", "routines.update jaffle.a.f", "opaque routine-definition"),
        (
            "POST datasets",
            r#"{"datasetReference": {"projectId": "jaffle", "datasetId": "a"}, "labels": {}}"#,
            "datasets.insert jaffle.a",
            "create schema jaffle/a/a",
        ),
        ("PATCH datasets/a", r#"{"description": "x"}"#, "datasets.patch jaffle.a", "alter schema jaffle/a/a"),
        (
            "PATCH datasets/a",
            r#"{"access": null}"#,
            "datasets.patch jaffle.a",
            "grant schema jaffle/a/a, revoke schema jaffle/a/a, alter schema jaffle/a/a",
        ),
        ("PATCH datasets/a/tables/t", r#"{"schema": {"fields": []}}"#, "tables.patch jaffle.a.t", "alter relation jaffle/a/t"),
        ("PUT datasets/a/tables/t", r#"{"view": {"query": "select 2", "useLegacySql": false}}"#, "select 2", "alter relation jaffle/a/t"),
        ("PUT datasets/a/tables/t", r#"{"view": {"query": "select 2"}}"#, "select 2", "alter relation jaffle/a/t, opaque unparseable"),
        (
            "POST datasets/a/tables",
            r#"{"tableReference": {"projectId": "jaffle", "datasetId": "a", "tableId": "m"}, "materializedView": {"query": "select 3"}}"#,
            "select 3",
            "create relation jaffle/a/m",
        ),
        (
            "POST datasets/a/tables",
            r#"{"tableReference": {"projectId": "jaffle", "datasetId": "a", "tableId": "x"}, "externalDataConfiguration": {"sourceUris": ["gs://b/x"], "sourceFormat": "CSV"}}"#,
            "tables.insert jaffle.a.x",
            "create relation jaffle/a/x, opaque foreign-data, import location gs://b/x",
        ),
    ] {
        let statement = run(line, body);
        assert_eq!(String::from_utf8_lossy(statement.text.as_bytes()), text, "{line}");
        assert_eq!(matches!(statement.text, Text::Sql(_)), text.starts_with("select"), "{line}");
        assert_eq!((effects(&statement).join(", ").as_str(), statement.database.as_str()), (expected, "jaffle"), "{line}");
    }
    for (line, body) in [
        ("POST datasets/a/tables/t/insertAll", r#"{"rows": [], "templateSuffix": "_x"}"#),
        ("POST datasets", r#"{"datasetReference": {"projectId": "jaffle", "datasetId": "a"}, "isCaseInsensitive": true}"#),
        ("POST datasets", r#"{"datasetReference": {"projectId": "other", "datasetId": "a"}}"#),
        ("POST datasets", r#"{"datasetReference": {"datasetId": "a"}, "linkedDatasetSource": {}}"#),
        ("PATCH datasets/a", r#"{"datasetReference": {"datasetId": "b"}}"#),
        ("POST datasets/a/tables", r#"{"tableReference": {"projectId": "jaffle", "datasetId": "b", "tableId": "m"}}"#),
        ("PATCH datasets/a/tables/t", r#"{"tableReference": {"projectId": "jaffle", "datasetId": "a", "tableId": "u"}}"#),
        ("PATCH datasets/a/tables/t", r#"{"view": {"query": "select 1"}, "view": {"query": "select 2"}}"#),
        ("PATCH datasets/a/tables/t", r#"{"view": {"query": "a"}, "materializedView": {"query": "b"}}"#),
        ("DELETE datasets/a/tables/t", "{}"),
        ("GET datasets/a/tables/t%2Fu", ""),
        ("GET datasets/a/tables/t=u", ""),
        ("GET /bigquery/v2/projects/12345/datasets", ""),
    ] {
        assert!(ask(line, body).is_err(), "{line} {body}");
    }
}

#[test]
fn what_goes_on_with_a_job_names_it_with_its_project_and_its_place() {
    let follow = |line: &str| match ask(line, "") {
        Ok(Call::Follow(Handle { id, ends })) => (id, ends),
        other => panic!("{line}: {other:?}"),
    };
    for (line, id, ends) in [
        ("GET queries/j-1?maxResults=0&location=US&prettyPrint=false", "jaffle:US.j-1", false),
        ("GET queries/j-1?pageToken=0&fields=jobReference%2CtotalRows%2CpageToken%2Crows", "jaffle:US.j-1", false),
        ("GET queries/j-1?location=Europe-West1", "jaffle:europe-west1.j-1", false),
        ("GET jobs/j-1?projection=full&location=eu", "jaffle:EU.j-1", false),
        ("POST jobs/j-1/cancel?location=US", "jaffle:US.j-1", true),
        ("GET datasets/_anon/tables/anon1", "jaffle:_anon.anon1", false),
        ("GET datasets/_anon/tables/anon1/data", "jaffle:_anon.anon1", false),
    ] {
        assert_eq!(follow(line), (id.to_owned(), ends), "{line}");
        assert!(ask(line, "{}").is_err(), "{line} with a body");
    }
    let (id, ends) = follow(&format!("PUT {UPLOAD}?uploadType=resumable&upload_id=s3cret"));
    assert!(id.starts_with("upload:") && !id.contains("s3cret") && !ends);
    assert_eq!(follow(&format!("DELETE {UPLOAD}?uploadType=resumable&upload_id=s3cret")), (id, true));
    let cancel = BigQuery.cancel("example.com:jaffle:EU.j-1").unwrap();
    assert_eq!(
        (cancel.method, cancel.target.as_str()),
        (Method::POST, "/bigquery/v2/projects/example.com:jaffle/jobs/j-1/cancel?location=EU")
    );
    assert!(BigQuery.cancel("upload:00ff").is_none());
}

#[test]
fn what_is_not_known_needs_a_rule_and_what_could_be_another_request_is_refused() {
    for line in [
        "GET jobs",
        "DELETE jobs/j-1/delete",
        "GET /bigquery/v2/projects",
        "GET serviceAccount",
        "POST datasets/a/tables/t:setIamPolicy",
        "GET datasets/a/models/m",
        "GET /discovery/v1/apis/bigquery/v2/rest",
        "PATCH jobs",
    ] {
        assert!(matches!(ask(line, ""), Ok(Call::Other)), "{line}");
    }
    for line in [
        "POST /batch/bigquery/v2",
        "POST /batch",
        "POST /resumable/upload/bigquery/v2/projects/jaffle/jobs",
        "POST /upload/bigquery/v2/projects/jaffle/jobs?uploadType=multipart",
        "POST /upload/bigquery/v2/projects/jaffle/jobs?uploadType=media",
        "PUT /upload/bigquery/v2/projects/jaffle/jobs?uploadType=resumable",
        "POST /upload/bigquery/v2/projects/jaffle/datasets?uploadType=resumable",
        "POST jobs/",
        "POST /bigquery/v2//projects/jaffle/jobs",
        "POST /bigquery/v2/./projects/jaffle/jobs",
        "POST j%6Fbs",
        "POST /bigquery/v2/projects%2Fjaffle/jobs",
        "POST %zz",
        "GET jobs/j-1?location=US&location=EU",
        "GET jobs/j-1?location=U%2FS",
        "GET jobs/j-1?access_token=x",
        "GET jobs/j-1?alt=media",
        "GET jobs/j-1?callback=x",
        "GET queries/j-1?fields=rows",
    ] {
        assert!(ask(line, "").is_err(), "{line}");
        let (method, target) = line.split_once(' ').unwrap();
        let path = target.split('?').next().unwrap();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{P}/{path}") };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let head = Head { method: &method, path: &path, query: target.split_once('?').map(|(_, query)| query), headers: &headers() };
        assert_eq!(BigQuery.purpose(&head), Purpose::Whole, "{line}: its refusal must come about");
    }
}

fn authorized(client: &HeaderMap, target: &str, login: &Login) -> Result<Outgoing, Unusable> {
    let mut request = Outgoing { method: Method::GET, target: target.to_owned(), headers: client.clone(), body: None };
    let authority = "bigquery.googleapis.com";
    let access = Access { login, role: "dbt", authority, secrets: &[], owner: "0", now: std::time::SystemTime::UNIX_EPOCH };
    BigQuery.authorize(&mut request, &access).map(|()| request)
}

#[test]
fn the_login_takes_the_place_of_everything_that_the_client_says_about_its_own() {
    let client = HeaderMap::from_iter(
        ["authorization", "x-goog-user-project", "x-goog-api-key", "x-http-method-override", "x-goog-api-client", "x-upload-content-type"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("placeholder"))),
    );
    let login = Login::Token(Secret::new("t0ken".to_owned()));
    let request = authorized(&client, "/x?a=b%20c&access_token=p&%6Bey=p&oauth_token=p", &login).unwrap();
    assert_eq!(request.target, "/x?a=b+c");
    assert_eq!(request.headers.get(AUTHORIZATION).unwrap(), "Bearer t0ken");
    assert!(request.headers.get(AUTHORIZATION).unwrap().is_sensitive());
    let mut names: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "x-goog-api-client", "x-upload-content-type"]);
    assert_eq!(authorized(&client, "/x?a=b%20c", &login).unwrap().target, "/x?a=b%20c");
}

#[test]
fn the_logins_that_the_kind_takes_are_those_that_a_request_can_be_authorized_with() {
    let secret = || Secret::new("s".to_owned());
    let keys = AwsCredentials {
        access_key_id: "ASIA1".to_owned(),
        secret_access_key: secret(),
        session_token: secret(),
        expires_at: std::time::SystemTime::now(),
    };
    let certificate =
        Login::ClientCertificate { chain: Vec::new(), key: Secret::new(rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0]).into()) };
    let snowflake = Login::Snowflake { authenticator: Authenticator::Oauth, token: secret() };
    for login in [Login::Token(secret()), Login::Password(secret()), certificate, Login::AwsCredentials(keys), snowflake] {
        let is_taken = authorized(&HeaderMap::new(), "/", &login).is_ok();
        assert_eq!(is_taken, BIGQUERY.logins.contains(&login.kind()), "{login:?}");
    }
}

#[test]
fn a_refusal_is_an_error_of_the_api_that_no_client_tries_again() {
    // google-cloud-bigquery 3.47, retry.py; and google-auth renews a credential upon 401.
    let retried =
        ["rateLimitExceeded", "backendError", "internalError", "badGateway", "jobBackendError", "jobInternalError", "jobRateLimitExceeded"];
    for (is_denial, status, reason) in [(true, 403, "accessDenied"), (false, 400, "blocked")] {
        let (method, headers) = (Method::POST, headers());
        let head = Head { method: &method, path: "/", query: None, headers: &headers };
        let told = Told { head, body: b"", message: "no \"way\"", reason: Reason::PolicyDenied, sqlstate: "42501", status: 503, is_denial };
        let refusal = BigQuery.refusal(&told);
        let body: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
        assert_eq!((refusal.status, &body["error"]["code"]), (status, &status.into()));
        assert_eq!((&body["error"]["message"], &body["error"]["errors"][0]["reason"]), (&"no \"way\"".into(), &reason.into()));
        assert!(!retried.contains(&reason));
    }
}

/// Bodies of jobs, as clients write them and as nobody does.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let words =
        ["configuration", "query", "load", "copy", "extract", "dryRun", "destinationTable", "useLegacySql", "sourceUris", "jobReference"];
    let key = prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"];
    let leaf = prop_oneof![
        ".{0,12}".prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null)
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_taken_as_a_job_has_the_effect_of_one(body in json()) {
        if let Ok(Call::Run(statement)) = ask("POST jobs", &body.to_string()) {
            let project = Effect::Set { parameter: "project_id".to_owned() };
            prop_assert!(statement.effects.contains(&project));
            let legacy = |effect: &Effect| matches!(effect, Effect::Opaque { class: OpaqueClass::Unparseable, .. });
            let writes = |effect: &Effect| matches!(effect, Effect::Access { action: Action::Insert | Action::Export, .. });
            let is_modern = body["configuration"]["query"]["useLegacySql"] == false;
            match statement.text {
                Text::Sql(_) => prop_assert!(is_modern || statement.effects.iter().any(legacy)),
                Text::Call(_) => prop_assert!(statement.effects.iter().any(writes)),
            }
        }
    }

    #[test]
    fn no_path_makes_it_panic_or_leads_elsewhere_than_it_says(path in "(/|bigquery|v2|projects|jobs|queries|datasets|upload|a|%[0-9a-f]{2}|\\.|;|:){0,12}", query in ".{0,20}") {
        if let Ok(Call::Follow(handle)) = ask(&format!("GET /{path}?{query}"), "") {
            prop_assert!(handle.id.contains(':'));
        }
    }
}
