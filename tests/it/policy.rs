//! Refusals by policy: nothing of the statement reaches the warehouse, the client knows why, and the session goes on.

use tokio_postgres::error::DbError;

use crate::support::evidence::Evidence;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{bind, error, execute, kinds, message, parse, query, run, sync};
use crate::support::within;

/// Tables of schema `public`, and nothing else.
const PUBLIC_ONLY: &str = "sql:\n- { actions: [select, insert, create, drop], tables: [demo.public.*] }";

/// Everything but one table.
const ALL_BUT_SALARIES: &str = "apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: { name: it, namespace: demo }
spec:
  endpointSelector: {}
  egress: [{ toPorts: [{ rules: { sql: [{}] } }] }]
  egressDeny: [{ toPorts: [{ rules: { sql: [{ tables: [demo.finance.salaries] }] } }] }]
";

/// What a client and the log know of a denied statement.
fn assert_denied(error: &DbError, evidence: &Evidence, sql: &str, permission: &str) {
    assert_eq!(error.code().code(), "42501");
    assert!(error.message().contains(permission), "{error:?}");
    let execution = evidence.execution(sql);
    assert_eq!((execution.verdict.as_str(), execution.status.as_str()), ("denied", "denied"));
    assert_eq!(evidence.told(error.detail().unwrap()).id(), execution.id);
}

fn db_error<T>(result: Result<T, tokio_postgres::Error>) -> DbError {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("not in the protocol: {error:?}")).clone(),
    }
}

#[tokio::test]
async fn a_denied_statement_reaches_nobody() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let client = proxy.client().await;
    let denied = "select amount_cents from finance.salaries /* reaches nobody */";
    let error = db_error(within(client.simple_query(denied)).await);
    within(client.simple_query("select 'still usable, and seen'")).await.unwrap();
    assert!(warehouse().has_seen("still usable, and seen").await);
    assert!(!warehouse().has_seen("/* reaches nobody */").await);
    let evidence = proxy.stop().await;
    assert_denied(&error, &evidence, denied, "select on demo.finance.salaries");
    assert!(error.detail().unwrap().contains("Reason policy-denied"), "{error:?}");
}

#[tokio::test]
async fn a_denied_statement_in_a_transaction_fails_the_transaction_and_nothing_is_committed() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = proxy.wire().await;
    wire.ask(&query("create table public.half (n int)")).await;
    wire.ask(&query("begin")).await;
    wire.ask(&query("insert into public.half values (1)")).await;
    let refusal = wire.ask(&query("select * from finance.salaries")).await;
    assert_eq!(error(&refusal).sqlstate(), "42501");
    // The server's own state is what fails the transaction: 25P02 is `in_failed_sql_transaction`.
    assert_eq!(error(&wire.ask(&query("select 1")).await).sqlstate(), "25P02");
    let commit = wire.ask(&query("commit")).await;
    assert_eq!(commit[0].body, b"ROLLBACK\0");
    assert_eq!(wire.ask(&query("select * from public.half")).await[1].body, b"SELECT 0\0");
    let rows = warehouse().administrator().await.query("select * from public.half", &[]).await.unwrap();
    assert_eq!(rows.len(), 0);
    proxy.stop().await;
}

#[tokio::test]
async fn a_denied_statement_in_a_pipeline_takes_all_until_sync_with_it() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = proxy.wire().await;
    wire.ask(&query("create table public.piped (n int)")).await;
    let pipeline = [
        run("insert into public.piped values (1)"),
        run("select * from finance.salaries /* piped */"),
        run("insert into public.piped values (2)"),
        sync(),
        run("insert into public.piped values (3)"),
        sync(),
    ]
    .concat();
    let refused = wire.ask(&pipeline).await;
    assert_eq!(kinds(&refused), "12CE");
    assert_eq!(error(&refused).sqlstate(), "42501");
    let allowed = wire.until_ready().await;
    assert_eq!(kinds(&allowed), "12C");
    let rows = warehouse().administrator().await.query("select n from public.piped", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [3], "the implicit transaction was rolled back");
    assert!(!warehouse().has_seen("/* piped */").await);
    assert!(!warehouse().has_seen("insert into public.piped values (2)").await);
    proxy.stop().await;
}

#[tokio::test]
async fn a_string_of_several_statements_is_refused_as_a_whole() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let client = proxy.client().await;
    within(client.simple_query("create table public.whole (n int)")).await.unwrap();
    let several = "insert into public.whole values (1); select * from finance.salaries";
    let error = db_error(within(client.simple_query(several)).await);
    let rows = within(client.simple_query("select * from public.whole")).await.unwrap();
    assert!(!rows.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_))));
    let evidence = proxy.stop().await;
    assert_denied(&error, &evidence, several, "select on demo.finance.salaries");
}

#[tokio::test]
async fn a_denied_statement_cannot_even_be_prepared() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let client = proxy.client().await;
    let denied = "select employee from finance.salaries /* prepared */";
    let error = db_error(within(client.prepare(denied)).await);
    within(client.query("select", &[])).await.unwrap();
    assert!(!warehouse().has_seen("/* prepared */").await);
    let evidence = proxy.stop().await;
    assert_denied(&error, &evidence, denied, "select on demo.finance.salaries");
}

#[tokio::test]
async fn execution_is_judged_again_where_preparation_was_allowed_under_another_policy() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    let prepared = [parse("s", "select * from finance.salaries"), sync()].concat();
    assert_eq!(kinds(&wire.ask(&prepared).await), "1");
    let executed = [bind("", "s"), execute(""), sync()].concat();
    assert_eq!(kinds(&wire.ask(&executed).await), "2DDC");
    proxy.write_policy(PUBLIC_ONLY);
    crate::support::eventually(|| async { (proxy.records_of("policy-loaded").len() == 2).then_some(()) }).await;
    let refused = wire.ask(&executed).await;
    assert_eq!((kinds(&refused).as_str(), error(&refused).sqlstate().as_str()), ("2E", "42501"));
    let evidence = proxy.stop().await;
    let statuses: Vec<_> = evidence.executions("select * from finance.salaries").into_iter().map(|it| it.status).collect();
    assert_eq!(statuses, ["completed", "denied"]);
}

#[tokio::test]
async fn a_name_that_sql_prepared_is_judged_by_what_stands_behind_it() {
    let proxy = Proxy::start(ALL_BUT_SALARIES).await;
    let client = proxy.client().await;
    let refused = |sql: &'static str| async { db_error(within(client.simple_query(sql)).await) };
    let prepare = refused("prepare p as select * from finance.salaries").await;
    assert_eq!(prepare.code().code(), "42501");
    let together = refused("prepare q as select 1; execute q; prepare r as select * from finance.salaries; execute r").await;
    assert_eq!(together.code().code(), "42501");
    within(client.simple_query("prepare good as select 1; execute good")).await.unwrap();
    within(client.simple_query("execute good")).await.unwrap();
    proxy.stop().await;
}

#[tokio::test]
async fn a_name_that_nobody_prepared_is_opaque() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let client = proxy.client().await;
    let error = db_error(within(client.simple_query("execute unheard_of")).await);
    assert_eq!(error.code().code(), "42501");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution("execute unheard_of").reason.as_deref(), Some("statement-opaque"));
}

#[tokio::test]
async fn a_deny_rule_wins_over_a_rule_that_allows_everything() {
    let proxy = Proxy::start(ALL_BUT_SALARIES).await;
    let client = proxy.client().await;
    within(client.simple_query("select pg_sleep(0)")).await.unwrap();
    let denied = "with s as (select * from finance.salaries) select count(*) from s";
    let error = db_error(within(client.simple_query(denied)).await);
    let evidence = proxy.stop().await;
    assert_denied(&error, &evidence, denied, "select on demo.finance.salaries");
    let execution = evidence.execution(denied);
    assert_eq!(execution.reason.as_deref(), Some("policy-deny-rule"));
    assert_eq!(execution.rule.as_deref(), Some("spec.egressDeny[0].toPorts[0].rules.sql[0]"));
}

/// Of one table one column may be written.
const STATUS_ONLY: &str = "sql:\n- { actions: [create], schemas: [public] }\n- { actions: [select], tables: [demo.public.*] }\n- { actions: [insert, update], \
                           tables: [demo.public.tickets], columns: [status] }";

#[tokio::test]
async fn columns_that_a_rule_does_not_name_are_not_written() {
    let proxy = Proxy::start(STATUS_ONLY).await;
    let client = proxy.client().await;
    within(client.batch_execute("create table if not exists public.tickets (status text, owner text)")).await.unwrap();
    within(client.batch_execute("insert into public.tickets (status) values ('new')")).await.unwrap();
    within(client.batch_execute("update public.tickets set status = 'open' where status = 'new'")).await.unwrap();
    for denied in [
        "insert into public.tickets values ('new', 'written')",
        "insert into public.tickets (status, owner) values ('new', 'written')",
        "insert into public.tickets select 'new', 'written'",
        "update public.tickets set (status, owner) = ('new', 'written')",
        "insert into public.tickets (status) values ('new') on conflict do nothing returning (with w as (update public.tickets set owner = 'written' returning 1) select 1)",
        "copy public.tickets from stdin",
        "merge into public.tickets t using (select 'open' s) n on t.status = n.s when matched then update set owner = 'written'",
    ] {
        let error = db_error(within(client.simple_query(denied)).await);
        assert_eq!(error.code().code(), "42501", "{denied}: {error:?}");
        assert!(error.message().contains("on demo.public.tickets"), "{denied}: {error:?}");
    }
    let written = within(client.query("select 1 from public.tickets where owner is not null", &[])).await.unwrap();
    assert!(written.is_empty());
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution("insert into public.tickets (status) values ('new')").verdict, "allowed");
}

#[tokio::test]
async fn observe_mode_passes_what_it_would_deny_and_records_that() {
    let observing = ALL_BUT_SALARIES.replace("spec:\n", "spec:\n  mode: observe\n");
    let proxy = Proxy::start(&observing).await;
    let client = proxy.client().await;
    let rows = within(client.query("select * from finance.salaries", &[])).await.unwrap();
    assert_eq!(rows.len(), 2);
    let evidence = proxy.stop().await;
    let execution = evidence.execution("select * from finance.salaries");
    assert_eq!((execution.verdict.as_str(), execution.status.as_str()), ("observed", "completed"));
    assert_eq!(execution.reason.as_deref(), Some("policy-deny-rule"));
}

#[tokio::test]
async fn a_workload_that_no_policy_selects_gets_no_session() {
    let elsewhere = ALL_BUT_SALARIES.replace("namespace: demo", "namespace: elsewhere");
    let proxy = Proxy::start(&elsewhere).await;
    let error = proxy.refused().await;
    assert_eq!(error.code().code(), "42501");
    assert!(error.detail().unwrap().contains("policy-none-selects"), "{error:?}");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["policy-none-selects"]);
}

#[tokio::test]
async fn a_text_that_is_not_sql_or_not_utf8_is_opaque_and_refused() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = proxy.wire().await;
    for text in [&b"selekt 1\0"[..], b"select '\xff'\0"] {
        let refused = wire.ask(&message(b'Q', text)).await;
        assert_eq!(error(&refused).sqlstate(), "42501");
        assert!(error(&refused).field(b'D').contains("statement-opaque"), "{refused:?}");
    }
    assert!(!warehouse().has_seen("selekt").await);
    proxy.stop().await;
}

#[tokio::test]
async fn denials_are_counted() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let client = proxy.client().await;
    within(client.simple_query("select 1")).await.unwrap();
    db_error(within(client.simple_query("select * from finance.salaries")).await);
    let count = |labels| crate::support::http::metric(proxy.pod_admin, "tollhouse_policy_l7_total", labels);
    assert_eq!(count(&[r#"rule="received""#]).await, 2.0);
    assert_eq!(count(&[r#"rule="forwarded""#]).await, 1.0);
    assert_eq!(count(&[r#"rule="denied""#]).await, 1.0);
    proxy.stop().await;
}
