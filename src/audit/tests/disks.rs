//! What a failing disk must not cost.

use std::time::Duration;

use super::{Fixture, assert_gap_free, completed, kinds, payloads};
use crate::audit::log::{AuditError, Note};
use crate::audit::storage::faults::Faults;
use crate::audit::verify::Tail;
use crate::document::{Size, Span};

/// Makes the disk fail, and proves that nothing is admitted meanwhile and nothing is lost afterwards.
async fn survives(fail: impl Fn(&Faults)) {
    let mut fixture = Fixture::new();
    fixture.settings.wait_max = Span::seconds(3);
    let log = fixture.open();
    let finished = log.attempt(&fixture.attempt("select 'before'")).await.unwrap();
    let dropped = log.attempt(&fixture.attempt("select 'before'")).await.unwrap();
    let (first, second) = (finished.id().to_string(), dropped.id().to_string());

    fail(&fixture.faults);
    let error = log.attempt(&fixture.attempt("select 'lost'")).await.err().unwrap();
    assert!(matches!(error, AuditError::Unwritable { source: Some(_) }), "{error:?}");
    assert!(!log.writable());
    assert!(matches!(log.refuse(&fixture.attempt("select 1")).await, Err(AuditError::Unwritable { .. })));
    finished.finish(&completed(7));
    drop(dropped);
    log.note_later(Note::SessionEnded {
        session: &fixture.session.id,
        end: "closed",
        executions: 2,
        denied: 0,
        bytes_to_target: 1,
        bytes_to_client: 2,
        duration: Duration::from_secs(1),
    })
    .unwrap();

    fixture.faults.clear();
    let healed = tokio::time::timeout(Duration::from_secs(5), async {
        while !log.writable() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    healed.await.expect("the writer tries again by itself");
    log.attempt(&fixture.attempt("select 'after'")).await.unwrap().finish(&completed(1));
    log.close().await.unwrap();

    let report = fixture.verify();
    assert_eq!((report.flaw, report.tail, report.unfinished), (None, Tail::Closed, 0));
    assert_gap_free(fixture.path());
    let payloads = payloads(fixture.path());
    let outcome_of = |id: &str| payloads.iter().find(|payload| payload["attempt"] == id).unwrap().clone();
    assert_eq!(outcome_of(&first)["rows"], 7);
    assert_eq!(outcome_of(&second)["status"], "abandoned");
    assert!(payloads.iter().any(|payload| payload["kind"] == "session-ended"));
    assert!(!payloads.iter().any(|payload| payload["text"] == "select 'lost'"), "what was refused left nothing behind");
}

#[tokio::test]
async fn a_full_disk_refuses_queries_and_loses_nothing() {
    survives(|disk| disk.writes_stop_after(100)).await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_refuses_queries_and_loses_nothing() {
    survives(|disk| disk.writes_stop_after(0)).await;
}

#[tokio::test]
async fn a_failed_sync_refuses_queries_and_loses_nothing() {
    survives(Faults::sync_fails).await;
}

#[tokio::test]
async fn a_disk_that_cannot_even_cut_refuses_queries_and_loses_nothing() {
    survives(|disk| {
        disk.writes_stop_after(100);
        disk.truncate_fails();
    })
    .await;
}

#[tokio::test]
async fn after_a_failed_sync_the_segment_is_left_for_a_new_one() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fixture.faults.sync_fails();
    assert!(log.attempt(&fixture.attempt("select 1")).await.is_err());
    fixture.faults.clear();
    while !log.writable() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    log.close().await.unwrap();
    let report = fixture.verify();
    assert_eq!((report.flaw, report.segments), (None, 2));
}

#[tokio::test]
async fn a_segment_that_cannot_be_made_refuses_queries_until_it_can() {
    let mut fixture = Fixture::new();
    fixture.settings.segment_size = Size(1);
    let log = fixture.open();
    fixture.faults.create_fails();
    assert!(matches!(log.attempt(&fixture.attempt("select 1")).await, Err(AuditError::Unwritable { .. })));
    fixture.faults.clear();
    while !log.writable() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    log.attempt(&fixture.attempt("select 1")).await.unwrap().finish(&completed(1));
    log.close().await.unwrap();
    assert_eq!(fixture.verify().flaw, None);
    assert_gap_free(fixture.path());
}

#[tokio::test]
async fn a_log_that_cannot_be_closed_says_so_and_is_recovered_later() {
    let mut fixture = Fixture::new();
    fixture.settings.wait_max = Span(Duration::from_millis(900));
    let log = fixture.open();
    let entry = log.attempt(&fixture.attempt("select 1")).await.unwrap();
    fixture.faults.writes_stop_after(30);
    assert!(matches!(log.close().await, Err(AuditError::Unwritable { .. })));
    drop(entry);
    fixture.faults.clear();
    fixture.open().close().await.unwrap();
    let report = fixture.verify();
    assert_eq!((report.flaw, report.unfinished), (None, 1));
}

#[tokio::test]
async fn notes_over_the_limit_are_given_back_while_the_disk_fails() {
    let mut fixture = Fixture::new();
    fixture.settings.queue_max = 3;
    let log = fixture.open();
    fixture.faults.sync_fails();
    assert!(log.note(Note::Draining { sessions: 1 }).await.is_err());
    let taken = (0..5).filter(|_| log.note_later(Note::Draining { sessions: 1 }).is_ok()).count();
    assert_eq!(taken, 3);
    fixture.faults.clear();
    log.close().await.unwrap();
    let kept = kinds(fixture.path()).iter().filter(|kind| *kind == "draining").count();
    assert_eq!(kept, 3);
}

#[tokio::test]
async fn the_room_of_the_disk_is_told_at_checkpoints_and_failures() {
    let fixture = Fixture::new();
    let (available, size) = (&fixture.metrics.audit_filesystem_available, &fixture.metrics.audit_filesystem_size);
    let log = fixture.open();
    let all = size.get();
    assert!(all > 0, "the first records end with a checkpoint");
    assert!((0..=all).contains(&available.get()));

    let forget = || {
        available.set(-1);
        size.set(-1);
    };
    forget();
    fixture.faults.sync_fails();
    assert!(log.attempt(&fixture.attempt("select 1")).await.is_err());
    assert_eq!(size.get(), all);
    assert!(available.get() >= 0);

    fixture.faults.clear();
    forget();
    log.close().await.unwrap();
    assert_eq!(size.get(), all, "the last record is followed by a checkpoint");
}
