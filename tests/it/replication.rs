//! Replication: PostgreSQL's own programs for it, by way of the proxy, where policy names it and where it does not.

use std::process::Command;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::{uniquely, warehouse};
use crate::support::wire::{Wire, error, query, startup};
use crate::support::within;

/// Replication, and what its programs ask in SQL (`set_config` of the search path).
const REPLICATION: &str = "sql:\n- { opaque: [replication] }\n- { functions: [set_config] }";

/// Runs one of PostgreSQL's programs against the proxy; what it printed, or its complaint.
async fn run(proxy: &Proxy, program: &'static str, database: &str, arguments: &[&str]) -> Result<String, String> {
    let connection = format!("host=127.0.0.1 port={} user=anybody {database} sslmode=disable", proxy.address.port());
    let arguments: Vec<String> = ["--no-password", "--dbname", &connection].iter().chain(arguments).map(ToString::to_string).collect();
    let output = within(tokio::task::spawn_blocking(move || Command::new(program).args(arguments).output().unwrap())).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Where the server's log of changes ends now; in a segment of its own from here on.
async fn end_of_log() -> String {
    let administrator = warehouse().administrator().await;
    let end = within(administrator.query_one("select pg_switch_wal()::text, pg_current_wal_lsn()::text", &[])).await.unwrap();
    end.get(1)
}

#[tokio::test]
async fn replication_is_refused_unless_policy_names_it_and_reaches_nobody() {
    warehouse().allow_replication().await;
    // An entry without keys allows every statement, and not this.
    let proxy = Proxy::start(ALLOW_ALL).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy");
    let refused = run(&proxy, "pg_basebackup", "", &["--pgdata", path.to_str().unwrap()]).await.unwrap_err();
    assert!(refused.contains("no rule allows the opaque class replication (a replication connection)"), "{refused}");
    let mut wire = Wire::connect(proxy.address).await;
    wire.send(&startup(&[("user", "anybody"), ("database", "demo"), ("replication", "database")])).await;
    assert_eq!(error(&wire.until_closed().await).sqlstate(), "42501");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["statement-opaque"; 2]);
    assert_eq!(evidence.of_kind("session-started").len(), 0);
}

#[tokio::test]
async fn a_backup_of_the_whole_server_goes_through_and_is_recorded() {
    warehouse().allow_replication().await;
    let proxy = Proxy::start(REPLICATION).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy");
    let arguments = ["--pgdata", path.to_str().unwrap(), "--checkpoint=fast", "--no-sync", "--wal-method=stream"];
    run(&proxy, "pg_basebackup", "", &arguments).await.unwrap();
    assert!(path.join("backup_manifest").exists());
    let proven = Command::new("/usr/lib/postgresql/15/bin/pg_verifybackup").arg(&path).output().unwrap();
    assert!(proven.status.success(), "{proven:?}");
    let evidence = proxy.stop().await;
    let verbs: Vec<_> = evidence.of_kind("attempt").iter().map(|line| line.fields["verbs"][0].as_str().unwrap()).collect();
    for verb in ["IDENTIFY_SYSTEM", "BASE_BACKUP", "START_REPLICATION"] {
        assert!(verbs.contains(&verb), "{verb} in {verbs:?}");
    }
    let completed = evidence.texts("outcome", "status").iter().filter(|status| **status == "completed").count();
    assert_eq!(completed, verbs.len());
}

#[tokio::test]
async fn a_stream_of_the_servers_log_is_relayed_both_ways_to_its_end() {
    warehouse().allow_replication().await;
    let proxy = Proxy::start(REPLICATION).await;
    let directory = tempfile::tempdir().unwrap();
    let name = format!("it_physical_{}", uniquely());
    let slot = format!("--slot={name}");
    // The stream begins where the slot does, whatever other tests write, and has these bytes before its end.
    let administrator = warehouse().administrator().await;
    within(administrator.query("select pg_create_physical_replication_slot($1, true)", &[&name])).await.unwrap();
    within(administrator.query("select pg_logical_emit_message(true, 'it', repeat('x', 2000000))", &[])).await.unwrap();
    let end = format!("--endpos={}", end_of_log().await);
    let arguments = ["--directory", directory.path().to_str().unwrap(), &slot, &end, "--no-loop", "--no-sync"];
    let receiving = run(&proxy, "pg_receivewal", "", &arguments);
    let changing = async {
        // Behind the end, so that the program sees that it has been passed.
        for _ in 0..3 {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            end_of_log().await;
        }
    };
    let (received, ()) = tokio::join!(receiving, changing);
    received.unwrap();
    assert!(std::fs::read_dir(directory.path()).unwrap().count() > 0);
    run(&proxy, "pg_receivewal", "", &["--drop-slot", &slot]).await.unwrap();
    let evidence = proxy.stop().await;
    let streams = evidence.of_kind("attempt").into_iter().filter(|line| line.fields["verbs"][0] == "START_REPLICATION");
    let ids: Vec<_> = streams.map(tollhouse::audit::read::Line::id).collect();
    assert_eq!(ids.len(), 1);
    let outcomes = evidence.of_kind("outcome");
    let outcome = outcomes.iter().find(|line| line.fields["attempt"] == ids[0].as_str()).unwrap();
    assert_eq!(outcome.fields["status"], "completed");
    assert!(outcome.fields["reply_bytes"].as_u64().unwrap() > 2_000_000, "{outcome:?}");
}

#[tokio::test]
async fn changes_of_one_database_are_streamed_and_what_is_sql_beside_them_is_judged_as_sql() {
    warehouse().allow_replication().await;
    let proxy = Proxy::start(REPLICATION).await;
    let slot = format!("--slot=it_logical_{}", uniquely());
    let slot = slot.as_str();
    run(&proxy, "pg_recvlogical", "dbname=demo", &["--create-slot", slot, "--plugin=test_decoding"]).await.unwrap();
    let table = format!("public.streamed_{}", uniquely());
    let administrator = warehouse().administrator().await;
    administrator.batch_execute(&format!("create table {table} (n int); insert into {table} values (4711)")).await.unwrap();
    let end = format!("--endpos={}", end_of_log().await);
    let arguments = ["--start", slot, "--file=-", "--no-loop", &end];
    let streamed = run(&proxy, "pg_recvlogical", "dbname=demo", &arguments);
    let more = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        administrator.batch_execute(&format!("insert into {table} values (4712)")).await.unwrap();
    };
    let (streamed, ()) = tokio::join!(streamed, more);
    assert!(streamed.unwrap().contains("INSERT: n[integer]:4711"));
    run(&proxy, "pg_recvlogical", "dbname=demo", &["--drop-slot", slot]).await.unwrap();

    let mut wire = Wire::connect(proxy.address).await;
    wire.send(&startup(&[("user", "anybody"), ("database", "demo"), ("replication", "database")])).await;
    wire.until_ready().await;
    let refused = wire.ask(&query("select amount_cents from finance.salaries")).await;
    assert!(error(&refused).field(b'M').contains("select on demo.finance.salaries"), "{refused:?}");
    assert_eq!(wire.ask(&query("IDENTIFY_SYSTEM")).await.last().unwrap().kind, b'C');
    proxy.stop().await;
}
