//! A principal may cancel and end its own sessions, and nobody else's: what dbt does on an interrupt.

use crate::support::proxy::Proxy;
use crate::support::warehouse::warehouse;
use crate::support::{eventually, within};

/// Tables of schema `public`, and no function.
const NO_FUNCTIONS: &str = "sql:\n- { actions: [select, insert, create, drop], tables: [demo.public.*] }";

async fn process_id(client: &tokio_postgres::Client) -> i32 {
    within(client.query_one("select pg_backend_pid()", &[])).await.unwrap().get(0)
}

#[tokio::test]
async fn a_principal_may_end_its_own_session_and_the_record_says_by_which_rule() {
    let proxy = Proxy::start(NO_FUNCTIONS).await;
    let (working, cancelling) = (proxy.client().await, proxy.client().await);
    let end = format!("select pg_terminate_backend({})", process_id(&working).await);
    let ended: bool = within(cancelling.query_one(&end, &[])).await.unwrap().get(0);
    assert!(ended);
    eventually(|| async { working.is_closed().then_some(()) }).await;
    drop(cancelling);
    let evidence = proxy.stop().await;
    let execution = evidence.execution(&end);
    assert_eq!((execution.verdict.as_str(), execution.status.as_str()), ("allowed", "completed"));
    let attempt = evidence.lines.iter().find(|line| line.id() == execution.id).unwrap();
    assert_eq!((&attempt.fields["decision"]["policy"], &attempt.fields["decision"]["rule"]), (&"built-in".into(), &"own-session".into()));
    assert_eq!(attempt.fields["effects"][0]["own_session"], true);
}

#[tokio::test]
async fn a_principal_may_cancel_what_its_own_session_runs() {
    let proxy = Proxy::start("sql:\n- { functions: [pg_sleep] }").await;
    let (working, cancelling) = (proxy.client().await, proxy.client().await);
    let id = process_id(&working).await;
    let sleep = "select pg_sleep(60) /* own session */";
    let cancel = async {
        warehouse().until_running(sleep).await;
        cancelling.simple_query(&format!("select pg_cancel_backend({id})")).await.unwrap();
    };
    let (cancelled, ()) = within(async { tokio::join!(working.simple_query(sleep), cancel) }).await;
    assert_eq!(cancelled.unwrap_err().code().unwrap().code(), "57014");
    drop((working, cancelling));
    assert_eq!(proxy.stop().await.execution(sleep).status, "cancelled");
}

#[tokio::test]
async fn a_session_of_somebody_else_is_not_ones_own_and_lives_on() {
    let proxy = Proxy::start(NO_FUNCTIONS).await;
    let (client, elsewhere) = (proxy.client().await, Proxy::start(NO_FUNCTIONS).await);
    // The same role by way of another sidecar, which PostgreSQL itself would let it end.
    let other = elsewhere.client().await;
    let end = format!("select pg_terminate_backend({})", process_id(&other).await);
    let refused = within(client.simple_query(&end)).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501");
    within(other.simple_query("select 'lives on'")).await.unwrap();
    drop((client, other));
    elsewhere.stop().await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution(&end).verdict, "denied");
}

#[tokio::test]
async fn a_session_that_has_ended_is_nobodys_own() {
    let proxy = Proxy::start(NO_FUNCTIONS).await;
    let (gone, client) = (proxy.client().await, proxy.client().await);
    let end = format!("select pg_terminate_backend({})", process_id(&gone).await);
    drop(gone);
    eventually(|| async { proxy.records_of("session-ended").first().map(|_| ()) }).await;
    assert_eq!(within(client.simple_query(&end)).await.unwrap_err().code().unwrap().code(), "42501");
    drop(client);
    proxy.stop().await;
}

#[tokio::test]
async fn a_prepared_statement_is_judged_by_the_sessions_of_the_moment_it_runs() {
    let proxy = Proxy::start(NO_FUNCTIONS).await;
    let (working, cancelling) = (proxy.client().await, proxy.client().await);
    let id = process_id(&working).await;
    let prepared = within(cancelling.prepare(&format!("select pg_cancel_backend({id})"))).await.unwrap();
    assert!(within(cancelling.query_one(&prepared, &[])).await.unwrap().get::<_, bool>(0));
    drop(working);
    eventually(|| async { proxy.records_of("session-ended").first().map(|_| ()) }).await;
    let refused = within(cancelling.query_one(&prepared, &[])).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501");
    drop(cancelling);
    proxy.stop().await;
}
