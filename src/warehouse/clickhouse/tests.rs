use std::collections::{BTreeMap, BTreeSet};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use super::{CLICKHOUSE, ClickHouse};
use crate::aws::AwsCredentials;
use crate::credential::{Authenticator, Login};
use crate::fault::Reason;
use crate::secret::Secret;
use crate::sql::{Effect, Limits, analyze};
use crate::warehouse::http::{
    Access, Call, Head, HttpWarehouse, Outgoing, Purpose, SessionState, Sessions, Statement, Told, Unusable, Whole,
};

/// No sessions: ClickHouse's are told apart by their names.
struct Nobodys;

impl Sessions for Nobodys {
    fn find(&self, _: &str) -> Option<SessionState> {
        None
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Asks, and looks at what is asked.
fn asked<T>(method: &Method, target: &str, headers: &HeaderMap, body: &[u8], look: impl FnOnce(Call<'_>) -> T) -> Result<T, &'static str> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let head = Head { method, path, query, headers };
    let body = if ClickHouse.purpose(&head) == Purpose::Whole { body } else { b"" };
    let whole = Whole { head, body, near: "http://near" };
    ClickHouse.ask(&whole, &Nobodys).map(|asked| look(asked.call))
}

/// Text, schema and effects of a posted statement.
fn posted(target: &str, headers: &HeaderMap, body: &str) -> Result<(String, Option<String>, Vec<Effect>), &'static str> {
    let parts = |statement: &Statement<'_>| {
        (String::from_utf8_lossy(statement.text.as_bytes()).into_owned(), statement.schema.clone(), statement.effects.clone())
    };
    asked(&Method::POST, target, headers, body.as_bytes(), |call| match call {
        Call::Run(statement) => parts(&statement),
        other @ (Call::Move { .. } | Call::Follow(_) | Call::Service | Call::Answer(_) | Call::Other) => panic!("{target}: {other:?}"),
    })
}

fn plain(target: &str, body: &str) -> Result<(String, Option<String>, Vec<Effect>), &'static str> {
    posted(target, &HeaderMap::new(), body)
}

#[test]
fn a_request_is_known_by_method_path_and_what_stands_behind_it() {
    for (method, target, expected) in [
        (Method::POST, "/", Purpose::Whole),
        (Method::POST, "/?query=select+1", Purpose::Whole),
        (Method::GET, "/?query=select+1", Purpose::Whole),
        (Method::HEAD, "/?query=select+1", Purpose::Whole),
        (Method::GET, "/query?query=select+1", Purpose::Whole),
        (Method::POST, "/any/path", Purpose::Whole),
        (Method::POST, "/?query=insert+into+t+format+CSV", Purpose::Streamed),
        (Method::POST, "/?query=insert+into+t+format+CSV+", Purpose::Streamed),
        (Method::POST, "/?query=insert+into+t+format+CSV+1", Purpose::Whole),
        (Method::POST, "/?query=insert+into+t+format+Values", Purpose::Whole),
        (Method::POST, "/?query=insert+into+t", Purpose::Whole),
        (Method::GET, "/ping", Purpose::Streamed),
        (Method::GET, "/", Purpose::Streamed),
        (Method::GET, "/play", Purpose::Other),
        (Method::GET, "/replicas_status", Purpose::Other),
        (Method::PUT, "/", Purpose::Other),
        (Method::OPTIONS, "/", Purpose::Other),
    ] {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let head = Head { method: &method, path, query, headers: &HeaderMap::new() };
        assert_eq!(ClickHouse.purpose(&head), expected, "{method} {target}");
    }
    let is_service = |target: &str| asked(&Method::GET, target, &HeaderMap::new(), b"", |call| matches!(call, Call::Service));
    assert_eq!((is_service("/ping"), is_service("/"), is_service("/play")), (Ok(true), Ok(true), Ok(false)));
}

#[test]
fn the_text_is_the_address_and_then_the_body_without_data() {
    for (target, body, expected) in [
        ("/", "select 1", "select 1"),
        ("/?query=select+1", "", "select 1"),
        ("/?query=select+*", "from secret", "select *\nfrom secret"),
        ("/?query=insert+into+t", "select * from secret", "insert into t\nselect * from secret"),
        ("/", "insert into t format CSV\n1,drop table x", "insert into t format CSV"),
        ("/?query=insert+into+t", "format CSV\n1", "insert into t\nformat CSV"),
        ("/?query=insert+into+t+format+CSV", "1,2", "insert into t format CSV"),
        ("/?query=insert+into+t+format+Values", "((select 1))", "insert into t format Values\n((select 1))"),
    ] {
        assert_eq!(plain(target, body).unwrap().0, expected, "{target} {body}");
    }
}

#[test]
fn the_database_is_what_names_without_one_are_in() {
    let database = |target: &str, pairs: &[(&'static str, &str)]| posted(target, &headers(pairs), "select 1").map(|statement| statement.1);
    assert_eq!(database("/?database=a", &[]), Ok(Some("a".to_owned())));
    assert_eq!(database("/", &[("x-clickhouse-database", "b")]), Ok(Some("b".to_owned())));
    assert_eq!(database("/?database=a", &[("x-clickhouse-database", "a")]), Ok(Some("a".to_owned())));
    assert_eq!(database("/?database=", &[]), Ok(None));
    assert!(database("/?database=a", &[("x-clickhouse-database", "b")]).is_err());
}

#[test]
fn settings_and_roles_in_the_address_are_effects() {
    let target =
        "/?wait_end_of_query=1&param_x=1&user=root&max_memory_usage=1&role=admin&role=auditor&additional_table_filters=x&profile=p";
    let set = |parameter: &str| Effect::Set { parameter: parameter.to_owned() };
    let role = |role: &str| Effect::Role { role: Some(role.to_owned()) };
    let expected = [set("max_memory_usage"), role("admin"), role("auditor"), set("additional_table_filters"), set("profile")];
    assert_eq!(plain(target, "select 1").unwrap().2, expected);
}

#[test]
fn what_would_be_read_otherwise_by_the_server_is_refused() {
    for (target, pairs) in [
        ("/any/path", &[][..]),
        ("/ping", &[]),
        ("/?query=select+1&query=select+2", &[]),
        ("/?QUERY=select+1", &[]),
        ("/?Database=a", &[]),
        ("/?decompress=1", &[]),
        ("/?dialect=kusto", &[]),
        ("/?allow_settings_after_format_in_insert=1", &[]),
        ("/?query_id=a", &[("x-clickhouse-query-id", "b")]),
        ("/", &[("content-type", "multipart/form-data; boundary=x")]),
        ("/", &[("x-clickhouse-database", "a"), ("x-clickhouse-database", "b")]),
        ("/", &[("x-clickhouse-something", "1")]),
    ] {
        assert!(posted(target, &headers(pairs), "select 1").is_err(), "{target} {pairs:?}");
    }
    // Of an insert whose data the body is, the compression of the data does not matter.
    assert!(plain("/?decompress=1&query=insert+into+t+format+Native", "").is_ok());
}

fn authorized(target: &str, pairs: &[(&'static str, &str)], login: &Login, role: &str) -> Result<Outgoing, Unusable> {
    let mut request = Outgoing { method: Method::POST, target: target.to_owned(), headers: headers(pairs), body: None };
    let now = std::time::SystemTime::now();
    ClickHouse.authorize(&mut request, &Access { login, role, authority: "clickhouse.example.com", secrets: &[], owner: "0a1b", now })?;
    Ok(request)
}

fn secret() -> Secret<String> {
    Secret::new("s".to_owned())
}

#[test]
fn the_login_takes_the_place_of_everything_that_the_client_says_about_its_own() {
    let pairs = [
        ("authorization", "Basic cGxhY2Vob2xkZXI="),
        ("x-clickhouse-user", "root"),
        ("x-clickhouse-key", "k"),
        ("x-clickhouse-quota", "q"),
        ("x-clickhouse-ssl-certificate-auth", "on"),
        ("x-clickhouse-format", "JSON"),
        ("user-agent", "x"),
    ];
    let certificate =
        Login::ClientCertificate { chain: Vec::new(), key: Secret::new(rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0]).into()) };
    for (login, expected) in [
        (Login::Token(secret()), &[("authorization", "Bearer s")][..]),
        (Login::Password(secret()), &[("x-clickhouse-key", "s"), ("x-clickhouse-user", "dbt")]),
        (certificate, &[("x-clickhouse-ssl-certificate-auth", "on"), ("x-clickhouse-user", "dbt")]),
    ] {
        let request = authorized("/?user=root&query=select+1&password=p&quota_key=q", &pairs, &login, "dbt").unwrap();
        assert_eq!(request.target, "/?query=select+1");
        let kept = [("user-agent", "x"), ("x-clickhouse-format", "JSON")];
        let mut found: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        found.retain(|pair| !kept.contains(pair));
        found.sort_unstable();
        assert_eq!(found, expected);
        assert!(request.headers.iter().all(|(_, value)| value != "s" || value.is_sensitive()));
        assert!(request.headers.get(AUTHORIZATION).is_none_or(HeaderValue::is_sensitive));
    }
}

#[test]
fn a_session_gets_a_name_that_only_its_principal_can_say() {
    let request = authorized("/?session_id=dbt::1&query=a", &[], &Login::Password(secret()), "dbt").unwrap();
    assert_eq!(request.target, "/?session_id=0a1b.dbt%3A%3A1&query=a");
    let plain = authorized("/", &[], &Login::Password(secret()), "dbt").unwrap();
    assert_eq!(plain.target, "/");
    assert_eq!(authorized("/?", &[], &Login::Password(secret()), "dbt").unwrap().target, "/?");
    assert!(authorized("/play?user=a&user=b", &[], &Login::Password(secret()), "dbt").is_err());
}

#[test]
fn the_database_of_the_head_is_said_where_every_server_reads_it() {
    for (target, expected) in [("/", "/?database=a%20b"), ("/?database=", "/?database=a%20b"), ("/?query=x", "/?query=x&database=a%20b")] {
        let request = authorized(target, &[("x-clickhouse-database", "a b")], &Login::Password(secret()), "dbt").unwrap();
        assert_eq!((request.target.as_str(), request.headers.get("x-clickhouse-database")), (expected, None));
    }
    let empty = authorized("/?database=a", &[("x-clickhouse-database", "")], &Login::Password(secret()), "dbt").unwrap();
    assert_eq!(empty.target, "/?database=a");
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
    let snowflake = Login::Snowflake { authenticator: Authenticator::Oauth, token: secret() };
    for login in [Login::Token(secret()), Login::Password(secret()), certificate, Login::AwsCredentials(keys), snowflake] {
        assert_eq!(authorized("/", &[], &login, "dbt").is_ok(), CLICKHOUSE.logins.contains(&login.kind()), "{login:?}");
    }
    assert!(authorized("/", &[], &Login::Password(Secret::new("a\nb".to_owned())), "dbt").is_err());
}

#[test]
fn a_refusal_is_an_exception_of_the_server() {
    let headers = HeaderMap::new();
    let head = Head { method: &Method::POST, path: "/", query: None, headers: &headers };
    let told = Told { head, body: b"", message: "no way", reason: Reason::PolicyDenied, sqlstate: "42501", status: 403, is_denial: true };
    let refusal = ClickHouse.refusal(&told);
    assert_eq!((refusal.status, &refusal.body[..]), (403, &b"Code: 497. DB::Exception: no way. (ACCESS_DENIED)\n"[..]));
    assert_eq!(refusal.headers, [("x-clickhouse-exception-code", "497".to_owned())]);
    let unreachable = ClickHouse.refusal(&Told { status: 502, is_denial: false, ..told });
    assert_eq!((unreachable.status, unreachable.headers[0].1.as_str()), (502, "210"));
}

#[test]
fn a_login_that_is_not_taken_is_known_by_its_error() {
    let code = |code: &str| headers(&[("x-clickhouse-exception-code", code)]);
    assert!(ClickHouse.refuses_login(StatusCode::FORBIDDEN, &code("516")));
    assert!(ClickHouse.refuses_login(StatusCode::UNAUTHORIZED, &HeaderMap::new()));
    assert!(!ClickHouse.refuses_login(StatusCode::FORBIDDEN, &code("497")));
}

#[test]
fn the_key_of_a_client_can_be_the_token_that_it_shows() {
    let shown = |pairs: &[(&'static str, &str)]| ClickHouse.shown(&headers(pairs)).map(|token| token.expose().clone());
    assert_eq!(shown(&[("x-clickhouse-key", "t")]).as_deref(), Some("t"));
    assert_eq!(shown(&[("authorization", "Bearer u"), ("x-clickhouse-key", "t")]).as_deref(), Some("u"));
    assert_eq!(shown(&[("x-clickhouse-key", "t"), ("x-clickhouse-key", "u")]), None);
}

/// What dbt-clickhouse 1.10 sends for a build of the project in `tests/warehouses/dbt`, one request a line.
const SENT_BY_DBT: &str = include_str!("../../../tests/data/http-clickhouse/dbt.jsonl");

#[test]
fn every_request_of_a_dbt_build_is_understood_and_nothing_in_it_is_opaque() {
    #[derive(serde::Deserialize)]
    struct Sent {
        target: String,
        headers: BTreeMap<String, String>,
        body: String,
    }
    let (mut attributed, mut settings) = (0, BTreeSet::new());
    for line in SENT_BY_DBT.lines() {
        let sent: Sent = serde_json::from_str(line).unwrap();
        let headers: HeaderMap =
            sent.headers.iter().map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())).collect();
        let (text, schema, effects) = posted(&sent.target, &headers, &sent.body).unwrap();
        assert_eq!(schema.as_deref(), sent.target.contains("database=analytics").then_some("analytics"), "{text}");
        settings.extend(effects.iter().map(ToString::to_string));
        let analysis = analyze(CLICKHOUSE.dialect, &text, &Limits::default());
        assert_eq!(analysis.statements.len(), 1, "{text}");
        let opaque = analysis.statements[0].effects.iter().find(|effect| matches!(effect, Effect::Opaque { .. } | Effect::Call { .. }));
        assert_eq!(opaque, None, "{text}");
        attributed += usize::from(crate::dbt::attribute(&text).is_some());
        assert!(!text.contains("Grace"), "the rows of a seed are data: {text}");
    }
    assert!(attributed >= 10, "{attributed}");
    assert_eq!(settings, BTreeSet::new(), "what dbt sets with every request is harmless");
}
