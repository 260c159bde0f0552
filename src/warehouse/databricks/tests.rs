use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use proptest::prelude::*;

use super::{DATABRICKS, Databricks};
use crate::credential::Login;
use crate::fault::Reason;
use crate::secret::Secret;
use crate::sql::Effect;
use crate::warehouse::http::{
    Access, Asked, Call, End, Head, HttpWarehouse, News, Outgoing, Purpose, SessionState, Sessions, Text, Told, Whole,
};

struct Known;

impl Sessions for Known {
    fn find(&self, id: &str) -> Option<SessionState> {
        (id == "s1").then(|| SessionState { database: "main".to_owned(), schema: Some("raw".to_owned()), role: None })
    }
}

fn asking<T>(method: &Method, path: &str, body: &str, look: impl FnOnce(Purpose, Result<Asked<'_>, &'static str>) -> T) -> T {
    let headers = HeaderMap::new();
    let head = Head { method, path, query: None, headers: &headers };
    look(Databricks.purpose(&head), Databricks.ask(&Whole { head, body: body.as_bytes(), near: "http://near" }, &Known))
}

const STATEMENTS: &str = "/api/2.0/sql/statements";

#[test]
fn a_request_is_known_by_method_and_path() {
    let word = |call: Call<'_>| match call {
        Call::Follow(handle) => format!("{} {}", handle.id, handle.ends),
        Call::Answer(reply) => reply.status.to_string(),
        Call::Other => "other".to_owned(),
        Call::Service => "service".to_owned(),
        call @ (Call::Run(_) | Call::Move { .. }) => panic!("{call:?}"),
    };
    for (method, path, expected) in [
        (Method::GET, "/api/2.0/sql/statements/01ef-a", "01ef-a false"),
        (Method::GET, "/api/2.0/sql/statements/01ef-a/result/chunks/2", "01ef-a false"),
        (Method::POST, "/api/2.0/sql/statements/01ef-a/cancel", "01ef-a true"),
        (Method::DELETE, "/api/2.0/sql/statements/01ef-a", "01ef-a true"),
        (Method::DELETE, "/api/2.0/sql/sessions/s1", "service"),
        (Method::GET, "/.well-known/databricks-config", "404"),
        (Method::POST, "/telemetry-ext", "200"),
        (Method::GET, "/api/2.0/connector-service/feature-flags/PYTHON/4.4.0", "404"),
        (Method::GET, "/api/2.0/sql/statements", "other"),
        (Method::GET, "/api/2.0/sql/statements/..%2f", "other"),
        (Method::POST, "/api/2.0/sql/statements/a/b", "other"),
        (Method::GET, "/api/2.0/sql/history/queries", "other"),
        (Method::POST, "/api/2.0/jobs/create", "other"),
    ] {
        asking(&method, path, "", |purpose, asked| {
            assert_eq!(word(asked.unwrap().call), expected, "{method} {path}");
            assert_eq!(purpose == Purpose::Other, expected == "other", "{method} {path}");
        });
    }
    for (body, is_taken) in
        [(r#"{"statement_id":"a"}"#, true), (r#"{"statement_id":"b"}"#, false), (r#"{"statement_id":"a","x":1}"#, false)]
    {
        asking(&Method::GET, "/api/2.0/sql/statements/a", body, |_, asked| assert_eq!(asked.is_ok(), is_taken, "{body}"));
    }
}

#[test]
fn a_statement_is_judged_where_it_says_that_names_lead() {
    let told = |body: &str| {
        asking(&Method::POST, STATEMENTS, body, |_, asked| {
            let asked = asked.unwrap();
            let session = asked.session.clone();
            match asked.call {
                Call::Run(statement) => {
                    assert_eq!(statement.text, Text::Sql(b"select 1"[..].into()));
                    (session, statement.database, statement.schema)
                }
                Call::Move { to, .. } => (session, format!("to {}", to.database), to.schema),
                call @ (Call::Follow(_) | Call::Service | Call::Answer(_) | Call::Other) => panic!("{call:?}"),
            }
        })
    };
    let at =
        |session: Option<&str>, database: &str, schema: &str| (session.map(str::to_owned), database.to_owned(), Some(schema.to_owned()));
    assert_eq!(told(r#"{"statement":"select 1","catalog":"Dev","warehouse_id":"w"}"#), at(None, "dev", "default"));
    assert_eq!(told(r#"{"statement":"select 1","catalog":"dev","schema":"x"}"#), at(None, "dev", "x"));
    assert_eq!(told(r#"{"statement":"select 1","session_id":"s1","disposition":"INLINE"}"#), at(Some("s1"), "main", "raw"));
    assert_eq!(told(r#"{"statement":"use catalog dev","session_id":"s1"}"#), at(Some("s1"), "to dev", "default"));
    asking(&Method::POST, STATEMENTS, r#"{"statement":"select 1","session_id":"s2"}"#, |_, asked| {
        assert!(matches!(asked.unwrap().call, Call::Other), "the door refuses the session");
    });
}

#[test]
fn what_could_run_something_else_or_send_results_elsewhere_is_refused() {
    for body in [
        "",
        "{",
        "[]",
        r#"{"statement":"select 1"}"#,
        r#"{"statement":"select 1","statement":"drop table a","catalog":"c"}"#,
        r#"{"statement":"select 1","catalog":"c","catalog":"d"}"#,
        r#"{"statement":"select 1","catalog":"c","Statement":"drop table a"}"#,
        r#"{"statement":"select 1","catalog":"c","run_as":"root"}"#,
        r#"{"statement":"select 1","catalog":"c","disposition":"EXTERNAL_LINKS"}"#,
        r#"{"statement":"select 1","catalog":"c","disposition":"HYBRID"}"#,
        r#"{"statement":["select 1"],"catalog":"c"}"#,
        r#"{"statement":"select 1","catalog":"c"} {}"#,
    ] {
        asking(&Method::POST, STATEMENTS, body, |_, asked| assert!(asked.is_err(), "{body}"));
    }
    for body in [
        r#"{"warehouse_id":"w","session_confs":{"a":"1","A":"2"}}"#,
        r#"{"warehouse_id":"w","session_confs":{"spark.sql.defaultCatalog":"x"}}"#,
        r#"{"warehouse_id":"w","x":1}"#,
    ] {
        asking(&Method::POST, "/api/2.0/sql/sessions", body, |_, asked| assert!(asked.is_err(), "{body}"));
    }
}

fn told(method: &Method, path: &str, body: &str, reply: &str) -> crate::warehouse::http::Progress {
    asking(method, path, body, |_, asked| {
        let mut reader = asked.unwrap().reader;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        reader.head(StatusCode::OK, &mut headers);
        for piece in reply.as_bytes().chunks(3) {
            reader.pass(Bytes::copy_from_slice(piece));
        }
        assert!(reader.is_whole());
        reader.progress()
    })
}

#[test]
fn a_reply_says_how_far_a_statement_is() {
    let state = |reply: &str| {
        let progress = told(&Method::GET, "/api/2.0/sql/statements/a", "", reply);
        (progress.is_done, progress.end, progress.rows, progress.out_of_band.is_some())
    };
    assert_eq!(state(r#"{"statement_id":"a","status":{"state":"RUNNING"}}"#), (false, None, 0, false));
    assert_eq!(state(r#"{"status":{"state":"SUCCEEDED"},"result":{"row_count":7,"data_array":[]}}"#), (true, None, 7, false));
    assert_eq!(state(r#"{"row_count":5,"external_links":[{"external_link":"https://x"}]}"#), (false, None, 5, true));
    let failed = r#"{"status":{"state":"FAILED","error":{"error_code":"BAD_REQUEST","message":"m"}}}"#;
    assert_eq!(state(failed), (false, Some(End::Failed(Some("BAD_REQUEST".to_owned()))), 0, false));
    assert_eq!(state(r#"{"status":{"state":"CANCELED"}}"#), (false, Some(End::Cancelled), 0, false));
    assert_eq!(state(r#"{"status":{"state":"CLOSED"}}"#), (true, Some(End::Completed), 0, false));
}

#[test]
fn a_session_of_the_api_is_the_principals_own() {
    let open = r#"{"warehouse_id":"w","catalog":"Main","session_confs":{"ansi_mode":"true"}}"#;
    let progress = told(&Method::POST, "/api/2.0/sql/sessions", open, r#"{"session_id":"s9"}"#);
    let Some(News::Opened { id, state, .. }) = progress.news else { panic!("{progress:?}") };
    assert_eq!((id.as_str(), state.database.as_str(), state.schema.as_deref()), ("s9", "main", Some("default")));
    asking(&Method::POST, "/api/2.0/sql/sessions", open, |_, asked| {
        let Call::Run(statement) = asked.unwrap().call else { panic!() };
        assert_eq!(statement.effects, [Effect::Set { parameter: "ansi_mode".to_owned() }]);
    });
    let closed = told(&Method::DELETE, "/api/2.0/sql/sessions/s1", r#"{"session_id":"s1","warehouse_id":"w"}"#, "{}");
    assert!(matches!(closed.news, Some(News::Closed)));
}

#[test]
fn the_token_takes_the_place_of_every_login_of_the_client() {
    assert_eq!(DATABRICKS.default_port, 443);
    let secret = || Secret::new("t0ken".to_owned());
    let sent = |login: Login| {
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, HeaderValue::from_static("Bearer placeholder")),
            (HeaderName::from_static("x-databricks-azure-sp-management-token"), HeaderValue::from_static("other")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let mut request = Outgoing { method: Method::POST, target: "/".to_owned(), headers, body: Some(Bytes::from_static(b"{}")) };
        let access = Access { login: &login, role: "dbt", authority: "host", secrets: &[], owner: "o", now: SystemTime::UNIX_EPOCH };
        Databricks.authorize(&mut request, &access).map(|()| request)
    };
    let request = sent(Login::Token(secret())).unwrap();
    assert_eq!(request.headers.get(AUTHORIZATION).unwrap(), "Bearer t0ken");
    assert!(request.headers.get(AUTHORIZATION).unwrap().is_sensitive());
    assert_eq!(request.headers.len(), 2);
    assert!(sent(Login::Password(secret())).is_err());
    assert_eq!(Databricks.cancel("a").unwrap().target, "/api/2.0/sql/statements/a/cancel");
}

#[test]
fn a_refusal_is_a_failed_statement_or_an_error_of_the_api() {
    let told = |path: &str, is_denial: bool| {
        let (headers, method) = (HeaderMap::new(), Method::POST);
        let head = Head { method: &method, path, query: None, headers: &headers };
        let (status, reason) = if is_denial { (403, Reason::PolicyDenied) } else { (503, Reason::Draining) };
        let refused = Databricks.refusal(&Told { head, body: b"", message: "no way", reason, sqlstate: "42501", status, is_denial });
        (refused.status, serde_json::from_slice::<serde_json::Value>(&refused.body).unwrap())
    };
    let (status, body) = told(STATEMENTS, true);
    assert_eq!((status, &body["status"]["error"]["message"]), (200, &"no way".into()));
    let (status, body) = told("/api/2.0/clusters/list", true);
    assert_eq!((status, &body["error_code"], &body["message"]), (403, &"PERMISSION_DENIED".into(), &"no way".into()));
    assert_eq!(told("/api/2.0/clusters/list", false).0, 503);
}

proptest! {
    #[test]
    fn any_body_is_refused_or_judged_by_the_text_that_any_parser_finds(
        pairs in prop::collection::vec(
            (prop::sample::select(vec!["statement", "catalog", "session_id", "statements", "disposition", "row_limit"]), "[a-z]{0,3}"), 0..5),
    ) {
        let body = pairs.iter().map(|(key, value)| format!("{key:?}:{value:?}")).collect::<Vec<_>>().join(",");
        let body = format!("{{{body}}}");
        asking(&Method::POST, STATEMENTS, &body, |_, asked| {
            let Ok(Asked { call: Call::Run(statement), .. }) = asked else { return };
            let texts: Vec<_> = pairs.iter().filter(|(key, _)| *key == "statement").collect();
            assert_eq!(texts.len(), 1, "{body}");
            assert_eq!(statement.text.as_bytes(), texts[0].1.as_bytes());
        });
    }
}
