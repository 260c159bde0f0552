//! What earlier statements and settings of a session change in the meaning of later ones.

use crate::support::eventually;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Message, Wire, bind, error, execute, kinds, message, parse, query, startup, sync};

/// Tables of schema `public`, and a few settings.
const PUBLIC_ONLY: &str = "sql:
- { actions: [select, create, insert, drop], tables: [demo.public.*] }
- { parameters: [search_path, standard_conforming_strings] }
";

async fn log_in(proxy: &Proxy, parameter: (&str, &str)) -> Wire {
    let mut wire = Wire::connect(proxy.address).await;
    wire.send(&startup(&[("user", "anybody"), ("database", "demo"), parameter])).await;
    wire.until_ready().await;
    wire
}

fn reason(messages: &[Message]) -> String {
    error(messages).field(b'D').trim_start_matches("Reason ").split([',', '.']).next().unwrap().to_owned()
}

#[tokio::test]
async fn an_unqualified_name_is_judged_in_the_schema_where_the_server_will_look() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let table = "create table if not exists public.resolved (n int)";
    let mut public = log_in(&proxy, ("options", "-c search_path=public")).await;
    public.ask(&query(table)).await;
    assert_eq!(kinds(&public.ask(&query("select * from resolved")).await), "TC");
    let mut finance = log_in(&proxy, ("options", "-c search_path=finance")).await;
    let refused = finance.ask(&query("select * from salaries")).await;
    assert!(error(&refused).field(b'M').contains("demo.finance.salaries"), "{refused:?}");
    let mut either = log_in(&proxy, ("options", "-c search_path=public,finance")).await;
    assert_eq!(error(&either.ask(&query("select * from salaries")).await).sqlstate(), "42501");
    proxy.stop().await;
}

#[tokio::test]
async fn a_changed_search_path_makes_unqualified_names_uncertain() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = log_in(&proxy, ("options", "-c search_path=public")).await;
    wire.ask(&query("create table if not exists public.resolved (n int)")).await;
    wire.ask(&query("set search_path = finance")).await;
    let refused = wire.ask(&query("select * from salaries")).await;
    assert_eq!(error(&refused).sqlstate(), "42501");
    let together = wire.ask(&query("set search_path = finance; select * from salaries")).await;
    assert_eq!(error(&together).sqlstate(), "42501");
    let evidence = proxy.stop().await;
    assert!(evidence.executions("select * from salaries").iter().all(|execution| execution.verdict == "denied"));
}

#[tokio::test]
async fn a_text_that_the_server_would_read_in_another_way_is_opaque() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    // In Shift_JIS the second byte of a character may be a backslash or a quote.
    let mut wire = log_in(&proxy, ("client_encoding", "SJIS")).await;
    assert_eq!(kinds(&wire.ask(&query("select 1")).await), "TDC");
    for text in [&b"select '\x95\\'\0"[..], "select 'é'\0".as_bytes()] {
        assert_eq!(reason(&wire.ask(&message(b'Q', text)).await), "statement-opaque");
    }
    let mut wire = proxy.wire().await;
    assert_eq!(kinds(&wire.ask(&query(r"select 'a\'")).await), "TDC");
    wire.ask(&query("set standard_conforming_strings = off")).await;
    assert_eq!(reason(&wire.ask(&query(r"select 'a\'; select * from finance.salaries; --'")).await), "statement-opaque");
    proxy.stop().await;
}

#[tokio::test]
async fn a_change_of_role_is_judged() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = proxy.wire().await;
    for sql in ["set role postgres", "set session authorization postgres", "select set_config('role', 'postgres', false)"] {
        let refused = wire.ask(&query(sql)).await;
        assert_eq!(error(&refused).sqlstate(), "42501", "{sql}");
    }
    assert!(!warehouse().has_seen("set session authorization postgres").await);
    proxy.stop().await;
}

#[tokio::test]
async fn what_sql_prepared_is_judged_again_when_it_is_executed() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    wire.ask(&query("prepare hidden as select * from finance.salaries")).await;
    assert_eq!(kinds(&wire.ask(&query("execute hidden")).await), "TDDC");
    proxy.write_policy(PUBLIC_ONLY);
    eventually(|| async { (proxy.records_of("policy-loaded").len() == 2).then_some(()) }).await;
    let refused = wire.ask(&query("execute hidden")).await;
    assert!(error(&refused).field(b'M').contains("demo.finance.salaries"), "{refused:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn a_name_prepared_twice_is_never_mistaken_for_the_first_statement() {
    let proxy = Proxy::start(PUBLIC_ONLY).await;
    let mut wire = proxy.wire().await;
    assert_eq!(kinds(&wire.ask(&query("prepare twice as select 1")).await), "C");
    // The server refuses the second; either may stand behind the name for all that a client could have arranged.
    let refused = wire.ask(&query("prepare twice as select * from finance.salaries")).await;
    assert_eq!(error(&refused).sqlstate(), "42501");
    assert_eq!(kinds(&wire.ask(&query("execute twice")).await), "TDC");
    assert_eq!(kinds(&wire.ask(&query("deallocate twice")).await), "C");
    proxy.stop().await;
}

#[tokio::test]
async fn a_statement_cannot_run_under_the_name_and_text_of_another() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    wire.ask(&[parse("s", "select * from finance.salaries"), sync()].concat()).await;
    // The server refuses the second Parse, because the name is taken, and runs the first statement behind the Sync. All
    // of it is sent before the error comes back.
    let behind = [parse("s", "select 'innocent'"), sync(), bind("", "s"), execute(""), sync()].concat();
    assert_eq!(error(&wire.ask(&behind).await).sqlstate(), "42P05");
    assert_eq!(kinds(&wire.until_ready().await), "2DDC");
    let evidence = proxy.stop().await;
    let attempts = evidence.of_kind("attempt");
    assert_eq!(attempts.len(), 1);
    assert!(attempts[0].fields["tables"].to_string().contains("demo.finance.salaries"), "{:?}", attempts[0]);
    assert!(evidence.texts("statement", "text")[0].contains("select * from finance.salaries"), "{:?}", evidence.texts("statement", "text"));
}

#[tokio::test]
async fn a_name_that_sql_prepared_cannot_stand_for_another_statement_either() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = proxy.wire().await;
    wire.ask(&query("prepare s as select * from finance.salaries")).await;
    wire.send(&[query("prepare s as select 'innocent'"), query("execute s")].concat()).await;
    assert_eq!(error(&wire.until_ready().await).sqlstate(), "42P05");
    assert_eq!(kinds(&wire.until_ready().await), "TDDC");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution("execute s").tables, ["demo.finance.salaries"]);
}
