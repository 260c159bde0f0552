//! Cancel requests.

use tokio_postgres::NoTls;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, query, untyped};
use crate::support::{eventually, within};

#[tokio::test]
async fn a_cancel_request_with_the_true_key_cancels_and_is_recorded() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let token = client.cancel_token();
    let sleep = "select pg_sleep(60) /* true key */";
    let cancel = async {
        warehouse().until_running(sleep).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (error, ()) = within(async { tokio::join!(client.simple_query(sleep), cancel) }).await;
    assert_eq!(error.unwrap_err().code().unwrap().code(), "57014");
    within(client.simple_query("select 1")).await.unwrap();
    let evidence = proxy.stop().await;
    let execution = evidence.execution(sleep);
    assert_eq!((execution.status.as_str(), execution.sqlstate.as_deref()), ("cancelled", Some("57014")));
}

#[tokio::test]
async fn a_cancel_request_with_a_wrong_key_does_nothing_and_is_told_nothing() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let process_id: i32 = within(client.query_one("select pg_backend_pid()", &[])).await.unwrap().get(0);
    let sleep = "select pg_sleep(0.5) /* wrong key */";
    let cancel = async {
        warehouse().until_running(sleep).await;
        let mut wire = Wire::connect(proxy.address).await;
        wire.send(&cancel_request(process_id, 12345)).await;
        assert_eq!(wire.until_closed().await, []);
    };
    let (answer, ()) = within(async { tokio::join!(client.simple_query(sleep), cancel) }).await;
    answer.unwrap();
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution(sleep).status, "completed");
}

#[tokio::test]
async fn the_process_id_that_the_client_is_told_is_the_servers_own() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = Wire::connect(proxy.address).await;
    wire.send(&crate::support::wire::startup(&[("user", "anybody"), ("database", "demo")])).await;
    let greeting = wire.until_ready().await;
    let key = greeting.iter().find(|message| message.kind == b'K').unwrap();
    let told = i32::from_be_bytes(key.body[..4].try_into().unwrap());
    let answer = wire.ask(&query("select pg_backend_pid()")).await;
    assert!(answer[1].body.ends_with(told.to_string().as_bytes()), "{told}: {answer:?}");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.of_kind("session")[0].fields["server_process_id"], told);
}

#[tokio::test]
async fn a_key_is_forgotten_with_its_session() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    let token = client.cancel_token();
    drop(client);
    eventually(|| async { proxy.records_of("session-ended").first().map(|_| ()) }).await;
    // The request is taken, as PostgreSQL does, and reaches nobody.
    within(token.cancel_query(NoTls)).await.unwrap();
    let outcome = [r#"outcome="cancel-unknown""#];
    eventually(|| async {
        let count = crate::support::http::metric(proxy.pod_admin, "tollhouse_connections_total", &outcome).await;
        (count > 0.0).then_some(())
    })
    .await;
    proxy.stop().await;
}

/// CancelRequest (PostgreSQL 18 documentation, section 54.7).
fn cancel_request(process_id: i32, secret: i32) -> Vec<u8> {
    untyped(&[80_877_102_i32, process_id, secret].map(i32::to_be_bytes).concat())
}

/// A query whose client goes away while it runs; whether PostgreSQL is still at work on it once the session has ended.
async fn goes_on_without_its_client(cancel_on_disconnect: bool, sleep: &str) -> bool {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["listeners"][0]["cancel_on_disconnect"] = cancel_on_disconnect.into()).await;
    let mut wire = proxy.wire().await;
    wire.send(&query(sleep)).await;
    warehouse().until_running(sleep).await;
    drop(wire);
    eventually(|| async { proxy.records_of("session-ended").first().map(|_| ()) }).await;
    // What PostgreSQL was told to cancel, it has ended within this time.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let administrator = warehouse().administrator().await;
    let running = "select pg_cancel_backend(pid) from pg_stat_activity where query = $1 and state = 'active'";
    let goes_on = within(administrator.query_opt(running, &[&sleep])).await.unwrap().is_some();
    assert_eq!(proxy.stop().await.execution(sleep).status, "abandoned");
    goes_on
}

#[tokio::test]
async fn a_query_whose_client_is_gone_is_cancelled_where_that_is_asked_for_and_abandoned_either_way() {
    assert!(!goes_on_without_its_client(true, "select pg_sleep(60) /* cancelled without its client */").await);
    assert!(goes_on_without_its_client(false, "select pg_sleep(60) /* goes on without its client */").await);
}
