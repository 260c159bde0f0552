//! What passes through, in every form of the protocol, and what the log says of it.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use tokio_postgres::SimpleQueryMessage;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, kinds, message, query, run, startup, sync};
use crate::support::{eventually, within};

#[tokio::test]
async fn a_simple_query_passes_and_its_rows_are_recorded() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let answer = within(client.simple_query("select generate_series(1, 3)")).await.unwrap();
    assert_eq!(answer.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count(), 3);
    let evidence = proxy.stop().await;
    let execution = evidence.execution("select generate_series(1, 3)");
    assert_eq!((execution.status.as_str(), execution.rows, execution.verdict.as_str()), ("completed", Some(3), "allowed"));
}

#[tokio::test]
async fn an_extended_query_passes_and_each_execution_is_recorded() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let statement = within(client.prepare("select $1::int8 + 1")).await.unwrap();
    for number in [1_i64, 41] {
        let row = within(client.query_one(&statement, &[&number])).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), number + 1);
    }
    let evidence = proxy.stop().await;
    let executions = evidence.executions("select $1::int8 + 1");
    assert_eq!(executions.iter().map(|execution| execution.rows).collect::<Vec<_>>(), [Some(1), Some(1)]);
}

#[tokio::test]
async fn pipelined_queries_get_their_replies_in_order() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let statement = within(client.prepare("select $1::int8 * 2")).await.unwrap();
    let all = (0_i64..200).map(|number| {
        let (client, statement) = (&client, &statement);
        async move { (number, client.query_one(statement, &[&number]).await.unwrap().get::<_, i64>(0)) }
    });
    for (number, answer) in within(futures_util::future::join_all(all)).await {
        assert_eq!(answer, number * 2);
    }
    let evidence = proxy.stop().await;
    let executions = evidence.executions("select $1::int8 * 2");
    assert_eq!(executions.len(), 200);
    assert!(executions.iter().all(|execution| execution.status == "completed"));
}

#[tokio::test]
async fn copy_passes_in_both_directions_and_its_rows_are_recorded() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    within(client.batch_execute("create table copied (id int, name text)")).await.unwrap();
    let mut sink = pin!(within(client.copy_in("copy copied from stdin")).await.unwrap());
    // More than one buffer of the proxy.
    for number in 0..20_000 {
        within(sink.send(Bytes::from(format!("{number}\tname {number}\n")))).await.unwrap();
    }
    assert_eq!(within(sink.as_mut().finish()).await.unwrap(), 20_000);
    let rows = within(client.copy_out("copy copied to stdout")).await.unwrap();
    let rows: Vec<Bytes> = within(rows.try_collect()).await.unwrap();
    assert_eq!(rows.len(), 20_000);
    assert_eq!(&rows[19_999][..], b"19999\tname 19999\n");
    let evidence = proxy.stop().await;
    for sql in ["copy copied from stdin", "copy copied to stdout"] {
        assert_eq!(evidence.execution(sql).rows, Some(20_000), "{sql}");
    }
}

#[tokio::test]
async fn an_error_of_the_server_is_recorded_with_its_sqlstate() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let error = within(client.simple_query("select 1/0")).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22012");
    within(client.simple_query("select 'still here'")).await.unwrap();
    let evidence = proxy.stop().await;
    let execution = evidence.execution("select 1/0");
    assert_eq!((execution.status.as_str(), execution.sqlstate.as_deref()), ("failed", Some("22012")));
}

#[tokio::test]
async fn what_stands_behind_an_error_in_a_pipeline_is_recorded_as_skipped() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    let replies = wire.ask(&[run("select 1/x from generate_series(0, 0) x"), run("select 'never'"), sync()].concat()).await;
    assert_eq!(kinds(&replies), "12E");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution("select 1/x from generate_series(0, 0) x").status, "failed");
    // Whether it was admitted before the error came back is a race; that it never completed is not.
    for execution in evidence.executions("select 'never'") {
        assert_eq!(execution.status, "skipped");
    }
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_its_query_recorded_as_abandoned() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    let sleep = "select pg_sleep(60) /* abandoned */";
    wire.send(&query(sleep)).await;
    warehouse().until_running(sleep).await;
    drop(wire);
    eventually(|| async { proxy.records_of("session-ended").first().map(|_| ()) }).await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution(sleep).status, "abandoned");
    assert_eq!(evidence.texts("session-ended", "end"), ["client-closed"]);
}

#[tokio::test]
async fn an_execution_is_in_the_log_before_the_server_sees_it() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    let sleep = "select pg_sleep(60) /* recorded first */";
    wire.send(&query(sleep)).await;
    warehouse().until_running(sleep).await;
    // The server runs it, so the log has it already, without any wait.
    assert_eq!(proxy.records_of("attempt").len(), 1);
    drop(wire);
    proxy.stop().await;
}

#[tokio::test]
async fn the_bytes_of_a_session_mean_the_same_one_at_a_time() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["statement_size"] = "1KiB".into()).await;
    let session = [
        query("select 1, 'a'"),
        run("select 2"),
        sync(),
        query("select 1/0"),
        run("select 1/0"),
        run("select 3"),
        sync(),
        query(&format!("select '{}'", "too long ".repeat(200))),
        query("copy (select 4) to stdout"),
        query("select 'end'"),
    ]
    .concat();
    let ends = 7;
    let mut at_once = proxy.wire().await;
    let before = at_once.received.len();
    at_once.send(&session).await;
    for _ in 0..ends {
        at_once.until_ready().await;
    }
    let mut in_pieces = proxy.wire().await;
    let before_pieces = in_pieces.received.len();
    for byte in &session {
        in_pieces.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..ends {
        in_pieces.until_ready().await;
    }
    assert_eq!(in_pieces.received[before_pieces..], at_once.received[before..]);
    assert!(at_once.received.windows(3).any(|bytes| bytes == b"end"), "{:?}", at_once.received);
    proxy.stop().await;
}

#[tokio::test]
async fn a_session_is_started_and_ended_in_the_log_with_who_and_where() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = Wire::connect(proxy.address).await;
    let parameters = [("user", "mallory"), ("database", "demo"), ("application_name", "the app")];
    wire.send(&crate::support::wire::startup(&parameters)).await;
    wire.until_ready().await;
    let answer = wire.ask(&query("select current_user::text")).await;
    assert!(answer[1].body.ends_with(b"dbt_runner"), "the client's user name decided: {answer:?}");
    wire.send(b"X\0\0\0\x04").await;
    wire.until_closed().await;
    let evidence = proxy.stop().await;
    let facts = &evidence.of_kind("session")[0].fields;
    assert_eq!(facts["client_user"], "mallory");
    assert_eq!(facts["role"], "dbt_runner");
    assert_eq!(facts["database"], "demo");
    assert_eq!(facts["application_name"], "the app");
    assert_eq!(facts["principal"]["subject"], "system:serviceaccount:demo:dbt-runner");
    assert_eq!(evidence.texts("session-ended", "end"), ["closed"]);
}

#[tokio::test]
async fn a_text_that_is_not_utf8_is_recorded_byte_by_byte_and_says_so() {
    let proxy = Proxy::start("sql: [{ opaque: [unparseable] }]").await;
    let mut wire = Wire::connect(proxy.address).await;
    wire.send(&startup(&[("user", "anybody"), ("database", "demo"), ("client_encoding", "LATIN1")])).await;
    wire.until_ready().await;
    let sql = b"select 'caf\xe9' as drink";
    let answer = wire.ask(&message(b'Q', &[&sql[..], b"\0"].concat())).await;
    assert!(answer[1].body.ends_with(b"caf\xe9"), "{answer:?}");
    let evidence = proxy.stop().await;
    let statement =
        evidence.of_kind("statement").into_iter().find(|line| line.fields["text"].as_str().unwrap().ends_with("as drink")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sql);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(statement.fields["digest"], digest.as_str());
    assert_eq!(statement.fields["text"], "select 'caf\u{fffd}' as drink");
    assert_eq!(statement.fields["text_base64"], "c2VsZWN0ICdjYWbpJyBhcyBkcmluaw==");
    let attempt = &evidence.of_kind("attempt")[0].fields;
    assert_eq!((&attempt["sql"]["bytes"], &attempt["effects"][0]["detail"]), (&sql.len().into(), &"the text is not UTF-8".into()));
}
