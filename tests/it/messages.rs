//! Messages that no client library sends: each is answered or ends its own session, and no other session notices.

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::wire::{Message, Wire, bind, error, execute, kinds, message, parse, query, run, sync};
use crate::support::within;

/// A proxy, a witness whose session must go on, and a session to misbehave in.
struct Scene {
    proxy: Proxy,
    witness: Wire,
    wire: Wire,
}

impl Scene {
    async fn set(policy: &str) -> Self {
        let proxy = Proxy::with(policy, |config| {
            config["limits"] = serde_json::json!({ "statement_size": "4KiB", "message_size": "64KiB" });
        })
        .await;
        let (witness, wire) = (proxy.wire().await, proxy.wire().await);
        Self { proxy, witness, wire }
    }

    /// The session ended with this error, and nothing else was harmed.
    async fn ended_with(mut self, sqlstate: &str, says: &str) {
        let messages = self.wire.until_closed().await;
        let last = messages.last().unwrap();
        assert_eq!((last.sqlstate().as_str(), last.field(b'V').as_str()), (sqlstate, "FATAL"), "{last:?}");
        assert!(last.field(b'M').contains(says), "{last:?}");
        self.unharmed().await;
    }

    /// The session goes on, as do the others.
    async fn goes_on(mut self) {
        usable(&mut self.wire).await;
        self.unharmed().await;
    }

    async fn unharmed(mut self) {
        usable(&mut self.witness).await;
        within(self.proxy.client().await.simple_query("select 1")).await.unwrap();
        self.proxy.stop().await;
    }
}

async fn usable(wire: &mut Wire) {
    let answer = wire.ask(&query("select 'usable'")).await;
    assert_eq!(kinds(&answer), "TDC");
}

fn sqlstate(messages: &[Message]) -> String {
    error(messages).sqlstate()
}

#[tokio::test]
async fn an_unknown_message_type_ends_the_session() {
    for kind in [b'z', 0, b'R', b'p', 0xff] {
        let mut scene = Scene::set(ALLOW_ALL).await;
        scene.wire.send(&message(kind, b"")).await;
        scene.ended_with("08P01", "unknown type").await;
    }
}

#[tokio::test]
async fn an_impossible_length_ends_the_session() {
    for length in [0_u32, 3] {
        let mut scene = Scene::set(ALLOW_ALL).await;
        scene.wire.send(&[b"Q", &length.to_be_bytes()[..]].concat()).await;
        scene.ended_with("08P01", "impossible message length").await;
    }
}

#[tokio::test]
async fn a_statement_over_the_limit_is_refused_and_the_session_goes_on() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    let long = format!("select '{}'", "x".repeat(5000));
    let refused = scene.wire.ask(&query(&long)).await;
    assert_eq!((kinds(&refused).as_str(), sqlstate(&refused).as_str()), ("E", "54000"));
    assert!(error(&refused).field(b'M').contains("limits.statement_size"), "{refused:?}");
    let refused = scene.wire.ask(&[run(&long), run("select 1"), sync()].concat()).await;
    assert_eq!((kinds(&refused).as_str(), sqlstate(&refused).as_str()), ("E", "54000"));
    scene.goes_on().await;
}

#[tokio::test]
async fn a_statement_over_the_limit_fails_the_transaction_that_it_is_in() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    scene.wire.ask(&query("begin")).await;
    scene.wire.ask(&query(&format!("select '{}'", "x".repeat(5000)))).await;
    assert_eq!(sqlstate(&scene.wire.ask(&query("select 1")).await), "25P02");
    assert_eq!(scene.wire.ask(&query("commit")).await[0].body, b"ROLLBACK\0");
    scene.goes_on().await;
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_session_at_its_header() {
    for kind in [b'Q', b'd', b'B', b'S', b'E'] {
        let mut scene = Scene::set(ALLOW_ALL).await;
        scene.wire.send(&[&[kind], &0x7fff_ffff_u32.to_be_bytes()[..]].concat()).await;
        scene.ended_with("54000", "limits.message_size").await;
    }
}

#[tokio::test]
async fn a_message_that_breaks_off_ends_the_session_and_is_never_forwarded() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    let whole = query("select 'broken off'");
    scene.wire.send(&whole[..whole.len() - 3]).await;
    scene.wire.finish().await;
    assert_eq!(scene.wire.until_closed().await, []);
    assert!(!crate::support::warehouse::warehouse().has_seen("broken off").await);
    scene.unharmed().await;
}

#[tokio::test]
async fn strings_without_an_end_end_the_session() {
    for (kind, body) in [
        (b'Q', &b"select 1"[..]),
        (b'Q', b"select 1\0select 2\0"),
        (b'P', b"name"),
        (b'P', b"name\0select 1"),
        (b'B', b"portal"),
        (b'B', b"portal\0statement"),
        (b'E', b"portal"),
        (b'D', b""),
        (b'D', b"Sname"),
        (b'C', b"Xname\0"),
    ] {
        let mut scene = Scene::set(ALLOW_ALL).await;
        scene.wire.send(&message(kind, body)).await;
        scene.ended_with("08P01", "malformed").await;
    }
}

#[tokio::test]
async fn names_that_nobody_made_are_the_servers_own_errors_or_opaque() {
    let mut scene = Scene::set("sql: [{ tables: ['*.*.*'] }, { opaque: [execute] }]").await;
    let unknown_statement = scene.wire.ask(&[bind("", "nobody's"), sync()].concat()).await;
    assert_eq!(sqlstate(&unknown_statement), "26000");
    let unknown_portal = scene.wire.ask(&[execute("nobody's"), sync()].concat()).await;
    assert_eq!(sqlstate(&unknown_portal), "34000");
    scene.goes_on().await;

    let mut scene = Scene::set("sql: [{ tables: ['*.*.*'] }]").await;
    let opaque = scene.wire.ask(&[execute("nobody's"), sync()].concat()).await;
    assert_eq!(sqlstate(&opaque), "42501");
    scene.goes_on().await;
}

#[tokio::test]
async fn a_storm_of_syncs_gets_a_reply_for_each() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    // Over twice of what the proxy lets the server owe.
    let count = 25_000;
    scene.wire.send(&sync().repeat(count)).await;
    for _ in 0..count {
        assert_eq!(scene.wire.until_ready().await, []);
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn a_query_behind_a_failed_pipeline_is_skipped_until_sync() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    let answer = scene.wire.ask(&[run("select * from no_such_table"), query("select 'skipped'"), sync()].concat()).await;
    assert_eq!((kinds(&answer).as_str(), sqlstate(&answer).as_str()), ("E", "42P01"));
    scene.goes_on().await;
}

#[tokio::test]
async fn a_query_behind_a_refused_statement_is_skipped_until_sync() {
    let mut scene = Scene::set("sql: [{ tables: [demo.public.*] }]").await;
    let refused = [parse("", "select * from finance.salaries"), query("select 'skipped too'"), sync()].concat();
    let answer = scene.wire.ask(&refused).await;
    assert_eq!((kinds(&answer).as_str(), sqlstate(&answer).as_str()), ("E", "42501"));
    scene.goes_on().await;
}

#[tokio::test]
async fn a_function_call_is_refused_unless_policy_allows_it_by_name() {
    // FunctionCall of int4pl (object id 177) with binary arguments 20 and 22, and a binary result.
    let arguments = [&[0, 0, 0, 177, 0, 1, 0, 1, 0, 2][..], &[0, 0, 0, 4, 0, 0, 0, 20], &[0, 0, 0, 4, 0, 0, 0, 22], &[0, 1]].concat();
    let call = message(b'F', &arguments);
    let mut scene = Scene::set("sql: [{ tables: ['*.*.*'] }]").await;
    let refused = scene.wire.ask(&call).await;
    assert_eq!((kinds(&refused).as_str(), sqlstate(&refused).as_str()), ("E", "42501"));
    assert!(error(&refused).field(b'M').contains("function-call"), "{refused:?}");
    scene.goes_on().await;

    let mut scene = Scene::set("sql: [{ tables: ['*.*.*'] }, { opaque: [function-call] }]").await;
    let answer = scene.wire.ask(&call).await;
    assert_eq!((kinds(&answer).as_str(), &answer[0].body[..]), ("V", &[0, 0, 0, 4, 0, 0, 0, 42][..]));
    scene.goes_on().await;
}

#[tokio::test]
async fn copy_data_that_nobody_asked_for_is_ignored_as_the_server_does() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    let stray = [message(b'd', b"1\n"), message(b'c', b""), message(b'f', b"why\0")].concat();
    scene.wire.send(&stray).await;
    usable(&mut scene.wire).await;
    let answer = scene.wire.ask(&[run("select 1"), stray, run("select 2"), sync()].concat()).await;
    assert_eq!(kinds(&answer), "12DC12DC");
    scene.goes_on().await;
}

#[tokio::test]
async fn a_copy_that_the_client_gives_up_fails_and_the_session_goes_on() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    scene.wire.ask(&query("create temporary table given_up (n int)")).await;
    scene.wire.send(&query("copy given_up from stdin")).await;
    assert_eq!(scene.wire.next().await.unwrap().kind, b'G');
    let answer = scene.wire.ask(&[message(b'd', b"1\n"), message(b'f', b"no more\0")].concat()).await;
    assert_eq!(sqlstate(&answer), "57014");
    let extended = [run("copy given_up from stdin"), sync(), message(b'd', b"2\n"), message(b'c', b""), sync()].concat();
    let answer = scene.wire.ask(&extended).await;
    assert_eq!(kinds(&answer), "12GC");
    scene.goes_on().await;
}

#[tokio::test]
async fn a_query_in_the_midst_of_copy_data_harms_nobody_else() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    scene.wire.ask(&query("create temporary table amid (n int)")).await;
    scene.wire.send(&[query("copy amid from stdin"), message(b'd', b"1\n"), query("select 'amid'")].concat()).await;
    // PostgreSQL loses its place here and ends the session (08P01); whatever it does, it does it to this one alone.
    let messages = scene.wire.until_ready_or_closed().await;
    assert!(messages.iter().any(|message| message.kind == b'E'), "{messages:?}");
    scene.unharmed().await;
}

#[tokio::test]
async fn bytes_behind_terminate_are_never_run() {
    let mut scene = Scene::set(ALLOW_ALL).await;
    scene.wire.send(&[message(b'X', b""), query("select 'after the end'")].concat()).await;
    scene.wire.until_closed().await;
    assert!(!crate::support::warehouse::warehouse().has_seen("after the end").await);
    scene.unharmed().await;
}
