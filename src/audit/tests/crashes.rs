//! What a crash, a restart or a new segment must not break.

use std::fs;

use super::{Fixture, assert_gap_free, completed, copy_directory, frames, kinds, payloads};
use crate::audit::Durability;
use crate::audit::log::{AuditError, Note};
use crate::audit::storage::Storage;
use crate::audit::verify::Tail;
use crate::document::Size;

#[tokio::test]
async fn a_second_process_cannot_write_to_the_same_directory() {
    let fixture = Fixture::new();
    let log = fixture.open();
    assert!(matches!(fixture.try_open(), Err(AuditError::Locked { .. })));
    log.close().await.unwrap();
    fixture.try_open().unwrap();
}

#[tokio::test]
async fn every_start_continues_the_chain_of_the_one_before() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        let log = fixture.open();
        log.attempt(&fixture.attempt("select 1")).await.unwrap().finish(&completed(1));
        log.close().await.unwrap();
    }
    let report = fixture.verify();
    assert_eq!((report.flaw, report.boots, report.tail), (None, 3, Tail::Closed));
    assert_gap_free(fixture.path());
    assert!(!kinds(fixture.path()).contains(&"recovered".to_owned()));
}

#[tokio::test]
async fn segments_follow_each_other_without_a_break() {
    let mut fixture = Fixture::new();
    fixture.settings.segment_size = Size(4096);
    let log = fixture.open();
    let long_running = log.attempt(&fixture.attempt("select pg_sleep(1)")).await.unwrap();
    for number in 0..20 {
        log.attempt(&fixture.attempt(&format!("select {number}"))).await.unwrap().finish(&completed(1));
    }
    // Behind the last outcome in the queue.
    log.note(Note::Draining { sessions: 1 }).await.unwrap();
    let crashed = fixture.crashed();
    crashed.open().close().await.unwrap();
    let report = crashed.verify();
    assert_eq!((report.flaw, report.unfinished), (None, 1), "the attempt is known over segments");
    assert!(report.segments > 3, "{}", report.segments);
    assert_gap_free(crashed.path());
    for number in 1..=report.segments {
        let alone = Fixture::new();
        copy_directory(crashed.path(), alone.path());
        for other in (1..=report.segments).filter(|other| *other < number) {
            fs::remove_file(Storage::new(alone.path()).segment_path(other)).unwrap();
        }
        assert_eq!(alone.verify().flaw, None, "segments from {number} on");
    }
    drop(long_running);
}

#[tokio::test]
async fn a_log_cut_at_any_byte_opens_again_and_says_what_was_lost() {
    let mut fixture = Fixture::new();
    fixture.settings.durability = Durability::Write;
    let log = fixture.open();
    log.attempt(&fixture.attempt("select 1")).await.unwrap().finish(&completed(1));
    let open = log.attempt(&fixture.attempt("select 2")).await.unwrap();
    let whole = fs::read(fixture.only_segment()).unwrap();
    let ends: Vec<usize> = frames(fixture.path()).iter().map(|(_, offset, _)| *offset).chain([whole.len()]).collect();
    for length in 0..=whole.len() {
        let cut = fixture.crashed();
        fs::write(cut.only_segment(), &whole[..length]).unwrap();
        let log = cut.open();
        log.close().await.unwrap();

        let report = cut.verify();
        assert_eq!((report.flaw, report.tail), (None, Tail::Closed), "cut at {length}");
        let kept = *ends.iter().filter(|end| **end <= length).max().unwrap();
        let written = fs::read(cut.only_segment()).unwrap();
        assert!(length < ends[1] || written.starts_with(&whole[..kept]), "cut at {length}: whole records are kept");
        let recovered = payloads(cut.path()).into_iter().find(|payload| payload["kind"] == "recovered");
        match recovered {
            Some(recovered) => assert_eq!(recovered["torn_bytes"], length - kept, "cut at {length}"),
            None => assert!(length <= ends[1], "cut at {length}: a boot that did not close is recovered"),
        }
    }
    drop(open);
}

#[tokio::test]
async fn a_commit_that_reached_the_disk_out_of_order_is_torn_and_not_damage() {
    let fixture = Fixture::new();
    let log = fixture.open();
    log.attempt(&fixture.attempt("select 1")).await.unwrap().finish(&completed(1));
    let crashed = fixture.crashed();
    let frames = frames(crashed.path());
    // session, statement and attempt went in one commit; the disk lost the first and kept the others.
    let session = frames.iter().find(|(_, _, payload)| payload["kind"] == "session").unwrap().1;
    let attempt_end = frames.iter().skip_while(|(_, _, payload)| payload["kind"] != "attempt").nth(1).map(|frame| frame.1);
    let mut bytes = fs::read(crashed.only_segment()).unwrap();
    bytes.truncate(attempt_end.unwrap_or(bytes.len()));
    bytes[session..session + 100].fill(0);
    fs::write(crashed.only_segment(), &bytes).unwrap();

    crashed.open().close().await.unwrap();
    let recovered = payloads(crashed.path()).into_iter().find(|payload| payload["kind"] == "recovered").unwrap();
    assert_eq!(recovered["torn_bytes"], bytes.len() - session);
    assert!(crashed.verify().proven);
}
