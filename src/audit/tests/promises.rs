//! What the log promises while all goes well.

use std::sync::Arc;
use std::time::Duration;

use super::{Fixture, assert_gap_free, completed, kinds, payloads};
use crate::audit::log::AuditError;
use crate::audit::verify::Tail;
use crate::document::Span;

#[tokio::test]
async fn a_closed_log_is_proven_to_its_last_record() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let entry = log.attempt(&fixture.attempt("select 1")).await.unwrap();
    let id = entry.id().to_string();
    entry.finish(&completed(1));
    log.refuse(&fixture.attempt("drop table t")).await.unwrap();
    log.close().await.unwrap();

    let report = fixture.verify();
    assert_eq!((report.flaw, report.tail, report.unproven_records), (None, Tail::Closed, 0));
    let kinds = kinds(fixture.path());
    let expected = "segment opened checkpoint session statement attempt";
    assert_eq!(kinds[..6].join(" "), expected);
    assert_eq!(kinds[kinds.len() - 2..].join(" "), "closed checkpoint");
    assert_eq!(kinds.iter().filter(|kind| *kind == "session").count(), 1, "facts of the session are written once");
    let payloads = payloads(fixture.path());
    let outcome = payloads.iter().find(|payload| payload["kind"] == "outcome").unwrap();
    assert_eq!((outcome["attempt"].as_str(), outcome["rows"].as_u64()), (Some(id.as_str()), Some(1)));
    let attempt = payloads.iter().find(|payload| payload["kind"] == "attempt").unwrap();
    assert_eq!(attempt["tables"][0], "shop.public.orders");
    assert_eq!(attempt["decision"]["rule"], "spec.egress[0].toPorts[0].rules.sql[0]");
    assert_eq!(attempt["dbt"]["standing"], "claimed");
}

#[tokio::test]
async fn an_admitted_attempt_is_in_the_file() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let _entry = log.attempt(&fixture.attempt("select 1")).await.unwrap();
    assert!(kinds(fixture.path()).contains(&"attempt".to_owned()));
}

#[tokio::test]
async fn a_dropped_entry_is_recorded_as_abandoned() {
    let fixture = Fixture::new();
    let log = fixture.open();
    drop(log.attempt(&fixture.attempt("select 1")).await.unwrap());
    log.close().await.unwrap();
    let payloads = payloads(fixture.path());
    let outcome = payloads.iter().find(|payload| payload["kind"] == "outcome").unwrap();
    assert_eq!(outcome["status"], "abandoned");
}

#[tokio::test]
async fn an_attempt_whose_caller_went_away_is_recorded_as_abandoned() {
    let fixture = Fixture::new();
    let log = fixture.open();
    for _ in 0..50 {
        // Polled once, so that the message is on its way, then dropped.
        let attempt = fixture.attempt("select 1");
        let mut admission = Box::pin(log.attempt(&attempt));
        let _ = poll_once(admission.as_mut()).await;
        // A task that never yields runs out of tokio's budget, and its sends would not happen.
        tokio::task::yield_now().await;
    }
    log.close().await.unwrap();
    let kinds = kinds(fixture.path());
    let count = |kind: &str| kinds.iter().filter(|word| *word == kind).count();
    assert_eq!(count("attempt"), 50);
    let closed = payloads(fixture.path()).into_iter().find(|payload| payload["kind"] == "closed").unwrap();
    assert_eq!(count("outcome") + closed["unfinished"].as_array().unwrap().len(), 50);
    assert!(fixture.verify().proven);
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_share_commits_and_all_are_kept() {
    let fixture = Arc::new(Fixture::new());
    // While one commit waits for the disk, those that come can only share the next.
    fixture.faults.sync_takes(Duration::from_millis(10));
    let log = fixture.open();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (fixture, log) = (Arc::clone(&fixture), log.clone());
        tasks.spawn(async move {
            let sql = format!("select {}", number % 10);
            let entry = log.attempt(&fixture.attempt(&sql)).await.unwrap();
            entry.finish(&completed(number));
        });
    }
    tasks.join_all().await;
    log.close().await.unwrap();

    assert!(fixture.verify().proven);
    assert_gap_free(fixture.path());
    let kinds = kinds(fixture.path());
    let count = |kind: &str| kinds.iter().filter(|word| *word == kind).count();
    assert_eq!((count("attempt"), count("outcome"), count("statement")), (200, 200, 10));
    let commits = fixture.metrics.audit_commit_duration.get_sample_count();
    assert!(commits < 200, "{commits} commits for 400 records");
}

#[tokio::test]
async fn queries_over_the_limit_are_refused_after_the_wait() {
    let mut fixture = Fixture::new();
    fixture.settings.queries_in_flight_max = 2;
    fixture.settings.wait_max = Span(Duration::from_millis(50));
    let log = fixture.open();
    let first = log.attempt(&fixture.attempt("select 1")).await.unwrap();
    let _second = log.attempt(&fixture.attempt("select 1")).await.unwrap();
    assert!(matches!(log.attempt(&fixture.attempt("select 1")).await, Err(AuditError::Backpressure)));
    assert!(log.writable());
    first.finish(&completed(1));
    log.attempt(&fixture.attempt("select 1")).await.unwrap();
}

#[tokio::test]
async fn nothing_is_taken_after_the_closing() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let late = log.attempt(&fixture.attempt("select 1")).await.unwrap();
    log.close().await.unwrap();
    assert!(matches!(log.attempt(&fixture.attempt("select 1")).await, Err(AuditError::Closed)));
    assert!(matches!(log.close().await, Err(AuditError::Closed)));
    assert!(!log.writable());
    drop(late);
    let report = fixture.verify();
    assert_eq!((report.flaw, report.tail, report.unfinished), (None, Tail::Closed, 1));
}

#[tokio::test]
async fn a_checkpoint_follows_the_promised_number_of_records() {
    let mut fixture = Fixture::new();
    fixture.settings.checkpoint_records = 5;
    let log = fixture.open();
    for number in 0..10 {
        log.refuse(&fixture.attempt(&format!("select {number}"))).await.unwrap();
    }
    let kinds = kinds(fixture.path());
    let longest = kinds.split(|kind| kind == "checkpoint").map(<[String]>::len).max().unwrap();
    assert_eq!(longest, 5);
    assert!(fixture.verify().unproven_records < 5);
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_follows_after_the_interval() {
    let mut fixture = Fixture::new();
    fixture.settings.checkpoint_interval = Span(Duration::from_millis(50));
    let log = fixture.open();
    log.refuse(&fixture.attempt("select 1")).await.unwrap();
    let covered = tokio::time::timeout(Duration::from_secs(5), async {
        while fixture.verify().unproven_records > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    covered.await.expect("a checkpoint is written without being asked");
}

#[tokio::test]
async fn a_statement_over_the_limit_is_refused() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let sql = "x".repeat(64 * 1024 * 1024 + 1);
    assert!(matches!(log.attempt(&fixture.attempt(&sql)).await, Err(AuditError::TooLong { .. })));
    assert!(log.writable());
}
