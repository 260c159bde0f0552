//! The pump: replies in order, whatever stands between them, and bytes as they are, whatever their number.

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, bind, error, execute, kinds, message, parse, query, run, sync};

const PUBLIC_ONLY: &str = "sql: [{ tables: [demo.public.*] }]";

#[tokio::test]
async fn a_refusal_among_queries_sent_at_once_is_told_in_its_place() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = proxy.wire().await;
    let denied = query("select * from finance.salaries");
    wire.send(&[query("select 1"), denied.clone(), denied, query("select 2, 3")].concat()).await;
    assert_eq!(wire.until_ready().await[1].body, b"\0\x01\0\0\0\x011");
    for _ in 0..2 {
        assert_eq!(error(&wire.until_ready().await).sqlstate(), "42501");
    }
    assert_eq!(wire.until_ready().await[1].body, b"\0\x02\0\0\0\x012\0\0\0\x013");
    proxy.stop().await;
}

#[tokio::test]
async fn a_portal_read_in_parts_is_an_execution_for_each_part() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    let sql = "select generate_series(1, 5)";
    let two_rows = message(b'E', b"p\0\0\0\0\x02");
    let parts = [parse("", sql), bind("p", ""), two_rows.clone(), two_rows, execute("p"), sync()].concat();
    assert_eq!(kinds(&wire.ask(&parts).await), "12DDsDDsDC");
    let evidence = proxy.stop().await;
    let rows: Vec<_> = evidence.executions(sql).into_iter().map(|execution| execution.rows).collect();
    assert_eq!(rows, [Some(2), Some(2), Some(1)]);
}

#[tokio::test]
async fn a_value_far_larger_than_any_buffer_passes_whole() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let length = 8_000_000;
    let row = client.query_one("select repeat('0123456789', 800000)", &[]).await.unwrap();
    let value: &str = row.get(0);
    assert_eq!(value.len(), length);
    assert!(value.as_bytes().chunks(10).all(|chunk| chunk == b"0123456789"));
    let back = client.query_one("select length($1::text)", &[&value]).await.unwrap();
    assert_eq!(usize::try_from(back.get::<_, i32>(0)).unwrap(), length);
    proxy.stop().await;
}

#[tokio::test]
async fn a_notification_reaches_an_idle_client_at_once() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    wire.ask(&query("listen it_channel")).await;
    warehouse().administrator().await.simple_query("notify it_channel, 'hello'").await.unwrap();
    let notification = wire.next().await.unwrap();
    assert_eq!(notification.kind, b'A');
    assert!(notification.body.ends_with(b"it_channel\0hello\0"), "{notification:?}");
    assert_eq!(kinds(&wire.ask(&query("select 1")).await), "TDC");
    proxy.stop().await;
}

#[tokio::test]
async fn a_notice_amid_a_reply_stays_where_it_is() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    let answer = wire.ask(&query("drop table if exists no_such_table; select 1")).await;
    assert_eq!(kinds(&answer), "NCTDC");
    proxy.stop().await;
}

#[tokio::test]
async fn an_empty_query_gets_the_reply_of_an_empty_query() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = proxy.wire().await;
    assert_eq!(kinds(&wire.ask(&query("")).await), "I");
    assert_eq!(kinds(&wire.ask(&query(" ; -- nothing")).await), "I");
    assert_eq!(kinds(&wire.ask(&[run(""), sync()].concat()).await), "12I");
    proxy.stop().await;
}

#[tokio::test]
async fn another_message_in_the_midst_of_copy_data_ends_the_session_before_replies_are_mistaken() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    proxy.wire().await.ask(&query("create table public.amid (n int)")).await;
    let copy = "copy public.amid from stdin";
    let data = message(b'd', b"1\n");
    for start in [query(copy), [run(copy), sync()].concat()] {
        for amid in [sync(), query("select 'amid'"), run("select 'amid'")] {
            let rest = [amid, data.clone(), message(b'c', b""), sync(), query("select 'behind'")].concat();
            // Before the server has asked for data, and after.
            let mut at_once = proxy.wire().await;
            at_once.send(&[&start[..], &data, &rest].concat()).await;
            assert_eq!(at_once.until_closed().await.last().unwrap().sqlstate(), "08P01");
            let mut asked = proxy.wire().await;
            asked.send(&start).await;
            while asked.next().await.unwrap().kind != b'G' {}
            asked.send(&[&data[..], &rest].concat()).await;
            assert_eq!(asked.until_closed().await.last().unwrap().sqlstate(), "08P01");
        }
    }
    let evidence = proxy.stop().await;
    let behind = [evidence.executions("select 'behind'"), evidence.executions("select 'amid'")].concat();
    assert!(behind.iter().all(|execution| execution.status != "completed"), "{behind:?}");
    assert_eq!(evidence.executions(copy).len(), 12);
}

#[tokio::test]
async fn copy_data_that_the_server_refuses_may_stop_in_its_midst() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    wire.ask(&query("create temporary table refused (n int)")).await;
    wire.send(&query("copy refused from stdin")).await;
    assert_eq!(wire.next().await.unwrap().kind, b'G');
    // The server looks at its data when there is enough of it.
    let answer = wire.ask(&message(b'd', &b"not a number\n".repeat(10_000))).await;
    assert_eq!(error(&answer).sqlstate(), "22P02");
    assert_eq!(kinds(&wire.ask(&query("select 'on it goes'")).await), "TDC");
    assert_eq!(kinds(&wire.ask(&[message(b'd', b"stray\n"), run("select 1"), sync()].concat()).await), "12DC");
    proxy.stop().await;
}

#[tokio::test]
async fn a_session_that_the_warehouse_ends_ends_with_the_warehouses_own_error() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let sleep = "select pg_sleep(60) /* terminated */";
    let (mut wire, mut idle) = (proxy.wire().await, proxy.wire().await);
    wire.send(&query(sleep)).await;
    warehouse().until_running(sleep).await;
    terminate(&format!("query = '{sleep}'")).await;
    let last = wire.until_closed().await;
    // Its row description, the server's word, and no other behind it.
    assert_eq!(kinds(&last), "TE");
    assert_eq!(error(&last).sqlstate(), "57P01");
    idle.ask(&query("select 'idle and terminated'")).await;
    terminate("query = 'select ''idle and terminated'''").await;
    assert_eq!(error(&idle.until_closed().await).sqlstate(), "57P01");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution(sleep).status, "failed");
    assert_eq!(evidence.texts("session-ended", "end"), ["target-closed", "target-closed"]);
}

async fn terminate(which: &str) {
    let sql = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'dbt_runner' and {which}");
    assert_eq!(warehouse().administrator().await.query(&sql, &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_may_end_another_of_its_own_as_dbt_does_on_ctrl_c() {
    let proxy = Proxy::start("sql: [{ tables: ['*.*.*'] }, { functions: [pg_sleep, pg_backend_pid, pg_terminate_backend] }]").await;
    let (mut busy, mut other) = (proxy.wire().await, proxy.wire().await);
    let answer = busy.ask(&query("select pg_backend_pid()")).await;
    let process_id = String::from_utf8(answer[1].body[6..].to_vec()).unwrap();
    busy.send(&query("select pg_sleep(60)")).await;
    let answer = other.ask(&query(&format!("select pg_terminate_backend({process_id})"))).await;
    assert!(answer[1].body.ends_with(b"t"), "{answer:?}");
    let ended: Vec<_> = busy.until_closed().await.into_iter().filter(|message| message.kind == b'E').collect();
    assert_eq!(ended[0].sqlstate(), "57P01");
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_else() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut deaf = Wire::log_in(proxy.address).await;
    deaf.send(&query("select repeat('x', 1000000) from generate_series(1, 200)")).await;
    let client = proxy.client().await;
    for _ in 0..20 {
        crate::support::within(client.simple_query("select 1")).await.unwrap();
    }
    drop(deaf);
    proxy.stop().await;
}
