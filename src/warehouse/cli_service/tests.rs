use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use proptest::prelude::*;

use super::{Home, ask, is_call, keep_inline, refusal};
use crate::fault::Reason;
use crate::sql::{Action, Effect, OpaqueClass};
use crate::warehouse::http::{Asked, Call, End, Head, News, Progress, Reader, Reading, SessionState, Sessions, Text, Told, Whole};
use crate::warehouse::thrift::{self, Value, Writer};

const SPARK: Home = Home { database: "spark_catalog", schema: "default" };
const DATABRICKS: Home = Home { database: "", schema: "" };
const GUID: &[u8] = b"0123456789abcdef";
const NAME: &str = "30313233343536373839616263646566";

#[derive(Default)]
struct Known(HashMap<String, SessionState>);

impl Sessions for Known {
    fn find(&self, id: &str) -> Option<SessionState> {
        self.0.get(id).cloned()
    }
}

fn known(database: &str, schema: Option<&str>) -> Known {
    let state = SessionState { database: database.to_owned(), schema: schema.map(str::to_owned), role: None };
    Known(HashMap::from([(NAME.to_owned(), state)]))
}

fn headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-thrift"))])
}

/// What `look` makes of what a call asks for.
fn asking<T>(body: &[u8], query: Option<&str>, sessions: &Known, home: Home, look: impl FnOnce(Result<Asked<'_>, &'static str>) -> T) -> T {
    let (headers, method) = (headers(), Method::POST);
    let head = Head { method: &method, path: "/cliservice", query, headers: &headers };
    assert!(is_call(&head));
    look(ask(&Whole { head, body, near: "http://near" }, sessions, home))
}

fn begin(name: &str) -> Writer {
    Writer::message(thrift::CALL, name, 3).begin(1)
}

/// A call in the session, or about the operation, of [`GUID`].
fn about(name: &str) -> Writer {
    begin(name).begin(1).begin(1).binary(1, GUID).binary(2, b"secret").end().end()
}

fn execute(sql: &str) -> Writer {
    about("ExecuteStatement").binary(2, sql.as_bytes())
}

fn done(writer: Writer) -> Vec<u8> {
    writer.end().finish()
}

/// `name` in a map of texts.
fn map(writer: Writer, id: i16, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = writer.finish();
    bytes.pop();
    bytes.push(13);
    bytes.extend(id.to_be_bytes());
    bytes.extend([11, 11]);
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    bytes.extend(u32::try_from(pairs.len()).unwrap().to_be_bytes());
    for (key, value) in pairs {
        text(&mut bytes, key);
        text(&mut bytes, value);
    }
    bytes.extend([0, 0]);
    bytes
}

fn effects(asked: Result<Asked<'_>, &'static str>) -> Vec<Effect> {
    match asked.unwrap().call {
        Call::Run(statement) => statement.effects,
        call @ (Call::Move { .. } | Call::Follow(_) | Call::Service | Call::Answer(_) | Call::Other) => panic!("{call:?}"),
    }
}

#[test]
fn only_a_post_of_thrift_is_a_call() {
    let is = |method: Method, kinds: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for kind in kinds {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        is_call(&Head { method: &method, path: "/any", query: None, headers: &headers })
    };
    assert!(is(Method::POST, &["application/x-thrift"]));
    assert!(!is(Method::GET, &["application/x-thrift"]));
    assert!(!is(Method::POST, &["application/json"]) && !is(Method::POST, &[]));
    assert!(!is(Method::POST, &["application/x-thrift", "application/json"]));
}

#[test]
fn a_statement_runs_where_names_in_its_session_lead() {
    asking(&done(execute("select 1").boolean(4, true)), None, &known("main", Some("raw")), DATABRICKS, |asked| {
        let asked = asked.unwrap();
        assert_eq!(asked.session.as_deref(), Some(NAME));
        let Call::Run(statement) = asked.call else { panic!("{:?}", asked.call) };
        assert_eq!(statement.text, Text::Sql(b"select 1"[..].into()));
        assert_eq!((statement.database.as_str(), statement.schema.as_deref()), ("main", Some("raw")));
    });
    asking(&done(execute("USE dev.x")), None, &known("main", None), DATABRICKS, |asked| {
        let Call::Move { to, .. } = asked.unwrap().call else { panic!() };
        assert_eq!((to.database.as_str(), to.schema.as_deref()), ("dev", Some("x")));
    });
    asking(&done(execute("select 1")), None, &known("", None), DATABRICKS, |asked| assert!(asked.is_err(), "no catalog is known"));
    asking(&done(execute("select 1")), None, &Known::default(), SPARK, |asked| {
        let asked = asked.unwrap();
        assert!(matches!(asked.call, Call::Other) && asked.session.is_some(), "the door refuses the session");
    });
}

#[test]
fn a_session_begins_where_the_client_the_server_or_nobody_says() {
    let opened = |body: &[u8], home: Home, reply: Writer| {
        asking(body, None, &Known::default(), home, |asked| {
            let mut asked = asked.unwrap();
            assert!(matches!(asked.call, Call::Service), "{:?}", asked.call);
            let reply = reply.begin(3).begin(1).binary(1, GUID).end().end().end().finish();
            match read(&mut *asked.reader, &reply, 7).news {
                Some(News::Opened { id, state, secrets }) if id == NAME && secrets.is_empty() => (state.database, state.schema),
                news => panic!("{news:?}"),
            }
        })
    };
    let reply = || Writer::message(thrift::REPLY, "OpenSession", 3).begin(0).begin(1).i32(1, 0).end();
    let plain = || begin("OpenSession").i32(1, 5).binary(2, b"anybody");
    let at = |database: &str, schema: Option<&str>| (database.to_owned(), schema.map(str::to_owned));
    assert_eq!(opened(&done(plain()), SPARK, reply()), at("spark_catalog", Some("default")));
    assert_eq!(opened(&done(plain()), DATABRICKS, reply()), at("", None));
    assert_eq!(opened(&map(plain(), 4, &[("use:database", "x")]), SPARK, reply()), at("spark_catalog", Some("x")));
    let namespace = || plain().begin(1284).binary(1, b"Main").binary(2, b"Raw").end();
    assert_eq!(opened(&done(namespace()), DATABRICKS, reply()), at("main", Some("raw")));
    let told = reply().begin(1284).binary(1, b"hive_metastore").binary(2, b"default").end();
    assert_eq!(opened(&done(plain()), DATABRICKS, told), at("hive_metastore", Some("default")));
}

#[test]
fn a_session_that_changes_something_asks_policy() {
    let open = |pairs: &[(&str, &str)]| asking(&map(begin("OpenSession"), 4, pairs), None, &Known::default(), SPARK, effects);
    let set = |parameter: &str| Effect::Set { parameter: parameter.to_owned() };
    assert_eq!(open(&[("hive.server2.proxy.user", "root")]), [Effect::Role { role: Some("root".to_owned()) }]);
    assert_eq!(open(&[("set:hiveconf:Hive.X", "1"), ("set:env:y", "2")]), [set("hive.x"), set("env:y")]);
    for pairs in [
        &[("use:database", "a; drop table b")][..],
        &[("a", "1"), ("A", "2")],
        &[("spark.sql.defaultCatalog", "dev")],
        &[("set:spark.sql.defaultCatalog", "dev")],
    ] {
        asking(&map(begin("OpenSession"), 4, pairs), None, &Known::default(), SPARK, |asked| assert!(asked.is_err(), "{pairs:?}"));
    }
    asking(&map(begin("OpenSession"), 4, &[("QUERY_TAGS", "a:b")]), None, &Known::default(), SPARK, |asked| {
        assert!(matches!(asked.unwrap().call, Call::Service));
    });
}

#[test]
fn parameters_of_one_statement_are_effects_of_it() {
    let overlay = |pairs: &[(&str, &str)], look: &dyn Fn(Result<Asked<'_>, &'static str>)| {
        asking(&map(execute("select 1"), 3, pairs), None, &known("main", None), DATABRICKS, |asked| look(asked));
    };
    overlay(&[("spark.thriftserver.arrowBasedRowSet.timestampAsString", "false"), ("spark.x", "1")], &|asked| {
        assert_eq!(effects(asked), [Effect::Set { parameter: "spark.x".to_owned() }]);
    });
    for key in ["use:database", "hive.server2.proxy.user", "spark.sql.defaultCatalog"] {
        overlay(&[(key, "x")], &|asked| assert!(asked.is_err(), "{key}"));
    }
}

#[test]
fn what_is_listed_is_read_like_the_information_schema() {
    let list = |body: Vec<u8>, database: &str| asking(&body, None, &known(database, None), DATABRICKS, effects);
    let read = |database: Option<&str>, view: &str| {
        let name = [database.unwrap_or_default(), "information_schema", view].join(".");
        format!("{:?} {name}", Action::Select)
    };
    let shown = |effects: Vec<Effect>| -> Vec<String> {
        let one = |effect: &Effect| match effect {
            Effect::Access { action, object, .. } => {
                format!(
                    "{action:?} {}",
                    [object.database.as_deref(), object.schema.as_deref(), Some(&object.name)].map(Option::unwrap_or_default).join(".")
                )
            }
            Effect::Opaque { class, .. } => format!("{class:?}"),
            Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } => panic!("{effect:?}"),
        };
        effects.iter().map(one).collect()
    };
    assert_eq!(shown(list(done(about("GetCatalogs")), "main")), [read(None, "catalogs")]);
    assert_eq!(shown(list(done(about("GetTables").binary(2, b"Dev").binary(3, b"%")), "main")), [read(Some("dev"), "tables")]);
    assert_eq!(shown(list(done(about("GetColumns").binary(2, br"my\_dev")), "main")), [read(Some("my_dev"), "columns")]);
    assert_eq!(shown(list(done(about("GetSchemas")), "spark_catalog")), [read(None, "schemata")]);
    assert_eq!(shown(list(done(about("GetSchemas")), "main")), [format!("{:?}", OpaqueClass::Wildcard)]);
    assert_eq!(shown(list(done(about("GetTables").binary(2, b"%")), "main")), [format!("{:?}", OpaqueClass::Wildcard)]);
    assert_eq!(shown(list(done(about("GetTypeInfo")), "main")), [""; 0]);
}

#[test]
fn what_is_not_known_is_refused() {
    let refused = |body: &[u8], query: Option<&str>| {
        asking(body, query, &known("main", None), DATABRICKS, |asked| assert!(asked.is_err(), "{}", String::from_utf8_lossy(body)));
    };
    for name in ["GetDelegationToken", "RenewDelegationToken", "SetClientInfo", "UploadData", "executeStatement", ""] {
        refused(&done(about(name)), None);
    }
    refused(&done(execute("select 1").begin(1296).end()), None);
    refused(&done(execute("select 1").i32(77, 1)), None);
    refused(&done(about("ExecuteStatement")), None);
    refused(&done(begin("CloseSession").begin(1).end()), None);
    refused(&done(about("CloseOperation").i32(5, 1)), None);
    refused(&begin("CloseSession").end().begin(2).end().finish(), None);
    refused(&Writer::message(thrift::REPLY, "GetInfo", 1).begin(1).end().finish(), None);
    refused(&done(about("CloseSession")), Some("doAs=root"));
    refused(&done(about("CloseSession")), Some("o=1&doAs=root"));
    asking(&done(about("CloseSession")), Some("o=123"), &known("main", None), DATABRICKS, |asked| assert!(asked.is_ok()));
}

/// Gives a reader a reply in pieces of `size`.
fn read(reader: &mut dyn Reader, reply: &[u8], size: usize) -> Progress {
    assert_eq!(reader.head(StatusCode::OK, &mut HeaderMap::new()), Reading::Read);
    for piece in reply.chunks(size) {
        assert!(!reader.is_whole());
        assert_eq!(reader.pass(Bytes::copy_from_slice(piece)), piece);
    }
    assert!(reader.is_whole() && reader.finish().is_empty());
    reader.progress()
}

/// What a recorded exchange says: the call, and what came of it.
fn exchange(call: &[u8], reply: &[u8], size: usize, sessions: &mut Known) -> String {
    let progress = asking(call, None, sessions, SPARK, |asked| {
        let mut asked = asked.unwrap();
        let kind = match &asked.call {
            Call::Run(_) => "run",
            Call::Move { .. } => "move",
            Call::Follow(_) => "follow",
            Call::Service => "service",
            call @ (Call::Answer(_) | Call::Other) => panic!("{call:?}"),
        };
        (kind, read(&mut *asked.reader, reply, size))
    });
    let (kind, progress) = progress;
    let news = match progress.news {
        Some(News::Opened { id, state, .. }) => {
            sessions.0.insert(id, state);
            " opened"
        }
        Some(News::Closed) => " closed",
        None => "",
        news => panic!("{news:?}"),
    };
    let named = if progress.id.is_some() { " named" } else { "" };
    let (is_done, rows, end) = (progress.is_done, progress.rows, progress.end);
    format!("{kind}{named}{news}{} {rows}{}", if is_done { " done" } else { "" }, end.map(|end| format!(" {end:?}")).unwrap_or_default())
}

/// dbt-spark 1.11 against Spark 3.5: two connections, of which one lists schemas and the other tables.
#[test]
fn recorded_sessions_are_read_the_same_wherever_replies_are_cut() {
    let recorded = include_str!("../../../tests/data/http-spark/dbt.jsonl");
    let exchanges: Vec<[Vec<u8>; 2]> = recorded
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            ["call", "reply"].map(|part| STANDARD.decode(line[part].as_str().unwrap()).unwrap())
        })
        .collect();
    let told = |size: usize| {
        let mut sessions = Known::default();
        exchanges.iter().map(|[call, reply]| exchange(call, reply, size, &mut sessions)).collect::<Vec<_>>()
    };
    let listed = |rows: &'static str| {
        [
            "service opened 0 Completed",
            "move named done 0",
            "follow 0 Cancelled",
            "run named 0",
            "follow done 0",
            "follow 0",
            rows,
            "follow 0",
            "follow 0 Cancelled",
            "service closed 0",
        ]
    };
    let expected = [listed("follow 2"), listed("follow 4")].concat();
    for size in (1..64).chain([usize::MAX]) {
        let told: Vec<String> = told(size).iter().map(|line| line.replace(" done 0 Completed", " 0 Completed")).collect();
        assert_eq!(told, expected, "pieces of {size}");
    }
}

#[test]
fn a_reply_says_how_an_execution_ended() {
    let reply = |name: &str| Writer::message(thrift::REPLY, name, 3).begin(0).begin(1).i32(1, 0).end();
    let told = |call: Writer, reply: Writer| {
        asking(&done(call), None, &known("main", None), DATABRICKS, |asked| {
            let progress = read(&mut *asked.unwrap().reader, &done(reply), 5);
            (progress.is_done, progress.end, progress.changed)
        })
    };
    let handle = |writer: Writer| writer.begin(2).begin(1).binary(1, GUID).binary(2, b"s").end().boolean(3, true).end();
    let run = || execute("select 1").boolean(4, true);
    let status = |state: i32| handle(reply("ExecuteStatement")).begin(1281).begin(1).i32(2, state).binary(3, b"42703").end().end();
    let failed = |sqlstate: &str| Some(End::Failed(Some(sqlstate.to_owned())));
    assert_eq!(told(run(), handle(reply("ExecuteStatement"))), (false, None, None));
    assert_eq!(told(execute("select 1"), handle(reply("ExecuteStatement"))), (true, None, None), "the reply comes when it is done");
    assert_eq!(told(run(), status(1)), (false, None, None));
    assert_eq!(told(run(), status(2)), (true, None, None));
    assert_eq!(told(run(), status(3)), (false, Some(End::Cancelled), None));
    assert_eq!(told(run(), status(5)), (false, failed("42703"), None));
    let at_once = handle(reply("ExecuteStatement")).begin(1281).begin(1).i32(2, 2).end().begin(4).begin(1).i32(1, 0).end().end().end();
    assert_eq!(told(run(), at_once), (true, Some(End::Completed), None));
    let refused = Writer::message(thrift::REPLY, "ExecuteStatement", 3).begin(0).begin(1).i32(1, 3).binary(3, b"42501").end();
    assert_eq!(told(run(), refused.clone()), (false, failed("42501"), None));
    // That a question failed says nothing about the execution.
    assert_eq!(told(about("CancelOperation"), refused.clone()), (false, None, None));
    assert_eq!(told(about("FetchResults"), refused), (false, None, None));
    assert_eq!(told(about("GetOperationStatus"), reply("GetOperationStatus").i32(2, 8)), (false, Some(End::Failed(None)), None));
    assert_eq!(told(about("CloseOperation"), reply("CloseOperation")), (false, Some(End::Cancelled), None));
}

#[test]
fn rows_are_counted_in_every_form_and_links_are_told() {
    // A row set with one column of two texts, or batches of Arrow and links that say their rows.
    let list = |id: i16, element: u8, values: Vec<Vec<u8>>| {
        [&[15][..], &id.to_be_bytes(), &[element], &u32::try_from(values.len()).unwrap().to_be_bytes(), &values.concat()].concat()
    };
    let number = |id: i16, value: i64| [&[10][..], &id.to_be_bytes(), &value.to_be_bytes()].concat();
    let texts = list(1, 11, vec![vec![0, 0, 0, 1, b'a'], vec![0, 0, 0, 0]]);
    let column = [&[12, 0, 7][..], &texts, &[0, 0]].concat();
    let batch = |rows: i64| [&[11, 0, 1, 0, 0, 0, 2, 9, 9][..], &number(2, rows), &[0]].concat();
    let link = |rows: i64| [&[11, 0, 1, 0, 0, 0, 1, b'u'][..], &number(4, rows), &[0]].concat();
    let counted = |set: Vec<u8>| {
        let mut reply = Writer::message(thrift::REPLY, "FetchResults", 3).begin(0).begin(3).finish();
        reply.pop();
        reply.extend(set);
        reply.extend([0, 0, 0]);
        asking(&done(about("FetchResults")), None, &known("main", None), DATABRICKS, |asked| {
            let progress = read(&mut *asked.unwrap().reader, &reply, 3);
            (progress.rows, progress.out_of_band.is_some())
        })
    };
    assert_eq!(counted(list(3, 12, vec![column.clone(), column])), (2, false));
    assert_eq!(counted(list(1281, 12, vec![batch(5), batch(6)])), (11, false));
    assert_eq!(counted(list(1282, 12, vec![link(5), link(6)])), (11, true));
    assert_eq!(counted(list(2, 12, vec![vec![0]; 4])), (4, false));
}

#[test]
fn what_runs_can_be_ended_by_what_its_reply_has_shown() {
    asking(&done(execute("select 1").boolean(4, true)), Some("o=1"), &known("main", None), DATABRICKS, |asked| {
        let reply = Writer::message(thrift::REPLY, "ExecuteStatement", 3).begin(0).begin(1).i32(1, 0).end();
        let reply = reply.begin(2).begin(1).binary(1, GUID).binary(2, b"secret").end().i32(2, 0).boolean(3, true).end();
        let cancel = read(&mut *asked.unwrap().reader, &done(reply), 100).cancel.unwrap();
        assert_eq!((cancel.method, cancel.target.as_str()), (Method::POST, "/cliservice?o=1"));
        let body = cancel.body.unwrap();
        let message = thrift::read(&body).unwrap();
        assert_eq!(message.name, "CancelOperation");
        assert!(body.windows(6).any(|window| window == b"secret") && body.windows(16).any(|window| window == GUID));
        asking(&body, None, &known("main", None), DATABRICKS, |asked| assert!(matches!(asked.unwrap().call, Call::Follow(_))));
    });
}

#[test]
fn results_are_kept_from_object_storage() {
    let changed = |body: Vec<u8>| {
        let mut after = Bytes::from(body.clone());
        keep_inline(&mut after);
        let difference: Vec<usize> = (0..body.len()).filter(|at| body[*at] != after[*at]).collect();
        let message = thrift::read(&after).unwrap();
        let Some(Value::Struct(argument)) = message.body.get(1) else { panic!() };
        (difference.len(), argument.get(1283).cloned().map(|value| value == Value::Number(1)))
    };
    assert_eq!(changed(done(execute("select 1").boolean(1283, true))), (1, Some(false)));
    assert_eq!(changed(done(execute("select 1").boolean(1283, false))), (0, Some(false)));
    assert_eq!(changed(done(execute("select 1"))), (0, None));
    assert_eq!(changed(done(about("FetchResults").boolean(1283, true))), (0, Some(true)), "there it asks for something else");
    let mut other = Bytes::from_static(b"{}");
    keep_inline(&mut other);
    assert_eq!(other, "{}");
}

#[test]
fn a_refusal_answers_the_call_that_it_is_about() {
    let (headers, method) = (headers(), Method::POST);
    let told = |body: &[u8]| {
        let head = Head { method: &method, path: "/", query: None, headers: &headers };
        let (reason, sqlstate) = (Reason::PolicyDenied, "42501");
        refusal(&Told { head, body, message: "no way", reason, sqlstate, status: 403, is_denial: true })
    };
    for name in ["ExecuteStatement", "OpenSession"] {
        let refused = told(&done(about(name))).unwrap();
        assert_eq!((refused.status, refused.content_type), (200, "application/x-thrift"));
        let message = thrift::read(&refused.body).unwrap();
        assert_eq!((message.kind, message.name, message.sequence), (thrift::REPLY, name, 3));
        let Some(Value::Struct(result)) = message.body.get(0) else { panic!("{message:?}") };
        let Some(Value::Struct(status)) = result.get(1) else { panic!("{message:?}") };
        assert_eq!((status.get(1), status.get(3)), (Some(&Value::Number(3)), Some(&Value::Binary(b"42501"))));
        assert_eq!(status.get(5), Some(&Value::Binary(b"no way")));
        assert_eq!(result.get(2).is_some(), name == "OpenSession", "what its readers insist on");
    }
    assert_eq!(told(b"garbage"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever passes is what the whole reader of the server would take the statement from.
    #[test]
    fn any_change_of_a_call_is_refused_or_judged_by_the_text_that_it_carries(
        at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut body = map(execute("select a from b").boolean(4, true), 3, &[("query_tags", "x")]);
        let at = at.index(body.len());
        body[at] = with;
        asking(&body, None, &known("main", None), DATABRICKS, |asked| {
            let Ok(Asked { call: Call::Run(statement) | Call::Move { statement, .. }, .. }) = asked else { return };
            let message = thrift::read(&body).unwrap();
            let Some(Value::Struct(argument)) = message.body.get(1) else { panic!("{message:?}") };
            if let (Text::Sql(sql), Some(Value::Binary(carried))) = (&statement.text, argument.get(2)) {
                assert_eq!(sql.as_ref(), *carried);
            }
        });
    }
}
