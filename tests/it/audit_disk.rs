//! A disk that takes no more: nothing runs that cannot be recorded, and everything runs again once it can.
//!
//! The full disk is a limit on the size of files, which the program's own process gets: `write` fails there with EFBIG
//! as it fails with ENOSPC on a disk that is full, and no privilege is needed to set it or to lift it.

use std::process::Command;

use crate::support::eventually;
use crate::support::http::{get, metric};
use crate::support::program::Program;
use crate::support::proxy::{ALLOW_ALL, configuration, write_policy_in};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, error, kinds, query, run, sync};

/// SIGXFSZ, which comes with the limit, must not end the program; the soft limit is in units of 1024 bytes.
const SMALL_DISK: &str = "trap '' XFSZ; ulimit -S -f 64";

fn filler(number: usize) -> Vec<u8> {
    query(&format!("select 'filler {number}' /* {} */", "-".repeat(4000)))
}

#[tokio::test]
async fn a_full_disk_refuses_every_query_until_there_is_room_again() {
    let program = Program::start(ALLOW_ALL, SMALL_DISK, |_| {}).await;
    let mut wire = Wire::log_in(program.address).await;
    let mut recorded = 0;
    let refused = loop {
        let answer = wire.ask(&filler(recorded)).await;
        if kinds(&answer) == "E" {
            break answer;
        }
        recorded += 1;
        assert!(recorded < 100, "64 KiB never filled up");
    };
    assert!(recorded > 5, "only {recorded} fitted in");
    assert_eq!(error(&refused).sqlstate(), "58030");
    assert!(error(&refused).field(b'D').contains("Reason audit-unwritable"), "{refused:?}");
    assert!(!warehouse().has_seen(&format!("filler {recorded}'")).await, "it ran without a record");

    let again = wire.ask(&query("select 'small, and refused as well'")).await;
    assert_eq!(error(&again).sqlstate(), "58030");
    assert_eq!(get(program.admin, "/readyz").await, (503, "the audit log is not writable\n".to_owned()));
    assert_eq!(get(program.admin, "/livez").await.0, 200, "a restart would not help");
    assert_eq!(metric(program.admin, "tollhouse_audit_writable", &[]).await, 0.0);
    let mut newcomer = Wire::connect(program.address).await;
    newcomer.send(&crate::support::wire::startup(&[("user", "anybody"), ("database", "demo")])).await;
    assert_eq!(newcomer.until_closed().await[0].sqlstate(), "58030");

    let lifted = Command::new("prlimit").args(["--fsize=unlimited:", "--pid", &program.id().to_string()]).status();
    assert!(lifted.expect("prlimit, of util-linux, is needed; `make setup` installs it").success());
    eventually(|| async { (get(program.admin, "/readyz").await.0 == 200).then_some(()) }).await;
    assert_eq!(kinds(&wire.ask(&query("select 'room again'")).await), "TDC");
    let evidence = program.terminate().await;
    assert_eq!(evidence.execution("select 'room again'").status, "completed");
    let attempts = evidence.of_kind("attempt").len();
    assert_eq!(attempts, recorded + 1, "each that ran, and none that was refused");
}

#[tokio::test]
async fn a_pipeline_that_cannot_be_recorded_is_refused_up_to_its_sync_and_none_of_it_runs() {
    let program = Program::start(ALLOW_ALL, SMALL_DISK, |_| {}).await;
    let mut wire = Wire::log_in(program.address).await;
    let texts: Vec<String> = (0..30).map(|number| format!("select 'piped {number}' /* {} */", "-".repeat(4000))).collect();
    let mut pipeline: Vec<u8> = texts.iter().flat_map(|text| run(text)).collect();
    pipeline.extend(sync());
    let answer = wire.ask(&pipeline).await;
    // What the first error comes behind has run and is recorded; nothing else is.
    assert_eq!(error(&answer).sqlstate(), "58030");
    let ran = kinds(&answer).matches('C').count();
    assert!(ran < texts.len());
    assert!(!warehouse().has_seen("'piped 29'").await, "it ran without a record");

    let lifted = Command::new("prlimit").args(["--fsize=unlimited:", "--pid", &program.id().to_string()]).status();
    assert!(lifted.unwrap().success());
    eventually(|| async { (get(program.admin, "/readyz").await.0 == 200).then_some(()) }).await;
    assert_eq!(kinds(&wire.ask(&query("select 'room again'")).await), "TDC");
    let evidence = program.terminate().await;
    let completed = texts.iter().flat_map(|text| evidence.executions(text)).filter(|execution| execution.status == "completed").count();
    assert_eq!(completed, ran, "each that ran is recorded as that");
}

#[tokio::test]
async fn executions_that_come_together_share_a_commit() {
    let program = Program::start(ALLOW_ALL, ":", |_| {}).await;
    let mut wire = Wire::log_in(program.address).await;
    let commits = || metric(program.admin, "tollhouse_audit_commit_records_count", &[]);
    let before = commits().await;
    let mut pipeline: Vec<u8> = (0..50).flat_map(|number| run(&format!("select 'together {number}'"))).collect();
    pipeline.extend(sync());
    assert_eq!(kinds(&wire.ask(&pipeline).await).matches('C').count(), 50);
    let taken = commits().await - before;
    assert!(taken < 40.0, "50 attempts and their outcomes took {taken} commits");
    program.terminate().await;
}

#[tokio::test]
async fn a_second_program_on_the_same_log_does_not_start() {
    let program = Program::start(ALLOW_ALL, ":", |_| {}).await;
    let audit = program.audit_directory();
    let second =
        Command::new(env!("CARGO_BIN_EXE_tollhouse")).args(["run", "--config"]).arg(audit.with_file_name("config.yaml")).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("audit log"), "{said}");
    let mut wire = Wire::log_in(program.address).await;
    assert_eq!(kinds(&wire.ask(&query("select 1")).await), "TDC");
    program.terminate().await;
}

#[tokio::test]
async fn sigterm_ends_the_program_with_zero_and_tells_its_clients() {
    let program = Program::start(ALLOW_ALL, ":", |_| {}).await;
    let mut wire = Wire::log_in(program.address).await;
    let evidence = program.terminate().await;
    assert_eq!(wire.until_closed().await[0].sqlstate(), "57P01");
    assert_eq!(evidence.of_kind("closed").len(), 1);
}

#[tokio::test]
async fn a_log_on_a_file_system_that_is_read_only_keeps_the_program_from_starting() {
    let place = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    write_policy_in(&files, ALLOW_ALL);
    let mut config = configuration(&files);
    config["audit"]["directory"] = place.path().join("audit").to_string_lossy().into_owned().into();
    let file = files.path().join("config.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    // A mount of its own, in a namespace that ends with the program.
    let alone = |script: &str| {
        Command::new("unshare")
            .args(["--mount", "--map-root-user", "bash", "-c", script, env!("CARGO_BIN_EXE_tollhouse")])
            .args([&file, place.path()])
            .output()
    };
    let mount = r#"mount -t tmpfs -o ro none "$2""#;
    if !alone(mount).is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: this machine lets nobody mount in a namespace of their own (unshare --mount --map-root-user)");
        return;
    }
    let output = alone(&format!(r#"{mount}; exec timeout 20 "$0" run --config "$1""#)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("audit") && said.contains("Read-only file system"), "{said}");
}
