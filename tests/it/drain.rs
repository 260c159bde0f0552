//! The end of the program, as SIGTERM begins it.

use std::time::{Duration, Instant};

use crate::support::http::get;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{error, kinds, query};
use crate::support::{eventually, within};

async fn with_deadline(deadline: &str) -> Proxy {
    Proxy::with(ALLOW_ALL, |config| config["shutdown"]["deadline"] = deadline.into()).await
}

#[tokio::test]
async fn idle_sessions_are_told_and_the_log_is_closed() {
    let proxy = with_deadline("10s").await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    let begun = Instant::now();
    let evidence = proxy.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "idle sessions were waited for");
    for wire in [&mut one, &mut other] {
        let messages = wire.until_closed().await;
        assert_eq!((kinds(&messages).as_str(), messages[0].sqlstate().as_str()), ("E", "57P01"));
    }
    assert_eq!(evidence.of_kind("draining")[0].fields["sessions"], 2);
    assert_eq!(evidence.texts("session-ended", "end"), ["draining"; 2]);
    assert_eq!(evidence.of_kind("closed").len(), 1);
}

#[tokio::test]
async fn a_running_query_may_finish_and_nobody_new_gets_in() {
    let proxy = with_deadline("10s").await;
    let (address, admin) = (proxy.address, proxy.pod_admin);
    let mut wire = proxy.wire().await;
    let sleep = "select pg_sleep(1) /* may finish */";
    wire.send(&query(sleep)).await;
    warehouse().until_running(sleep).await;
    let stopping = proxy.begin_stop();
    eventually(|| async { tokio::net::TcpStream::connect(address).await.err() }).await;
    assert_eq!(get(admin, "/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(get(admin, "/livez").await.0, 200);
    let messages = within(wire.until_ready()).await;
    assert_eq!(kinds(&messages), "TDC");
    assert_eq!(wire.until_closed().await[0].sqlstate(), "57P01");
    let evidence = stopping.ended().await;
    assert_eq!(evidence.execution(sleep).status, "completed");
}

#[tokio::test]
async fn a_query_over_the_deadline_is_cancelled_at_the_warehouse() {
    let proxy = with_deadline("300ms").await;
    let mut wire = proxy.wire().await;
    let sleep = "select pg_sleep(60) /* over the deadline */";
    wire.send(&query(sleep)).await;
    warehouse().until_running(sleep).await;
    let evidence = proxy.stop().await;
    let messages = wire.until_closed().await;
    let sqlstates: Vec<_> = messages.iter().filter(|it| it.kind == b'E').map(|it| it.sqlstate()).collect();
    assert_eq!(sqlstates, ["57014", "57P01"]);
    let execution = evidence.execution(sleep);
    assert_eq!((execution.status.as_str(), execution.sqlstate.as_deref()), ("cancelled", Some("57014")));
}

#[tokio::test]
async fn an_open_transaction_has_until_the_deadline_and_is_then_rolled_back() {
    let proxy = with_deadline("500ms").await;
    let (mut quick, mut slow) = (proxy.wire().await, proxy.wire().await);
    quick.ask(&query("create table public.drained (who text)")).await;
    for (wire, who) in [(&mut quick, "quick"), (&mut slow, "slow")] {
        wire.ask(&query("begin")).await;
        wire.ask(&query(&format!("insert into public.drained values ('{who}')"))).await;
    }
    let stopping = proxy.begin_stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(quick.ask(&query("commit")).await[0].body, b"COMMIT\0");
    let last = slow.until_closed().await;
    assert_eq!(error(&last).sqlstate(), "57P01");
    stopping.ended().await;
    let rows = warehouse().administrator().await.query("select who from public.drained", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["quick"]);
}
