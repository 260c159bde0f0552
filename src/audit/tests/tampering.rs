//! What `verify` and a new start find in a log that was changed.

use std::fs;

use super::{Fixture, completed, frames};
use crate::audit::frame::{Chain, HEADER_BYTES, encode};
use crate::audit::key::PublicKey;
use crate::audit::log::AuditError;
use crate::audit::verify::{Tail, verify};
use crate::document::Size;

#[tokio::test]
async fn a_changed_bit_anywhere_is_found_at_or_before_it() {
    let fixture = Fixture::new();
    let log = fixture.open();
    log.attempt(&fixture.attempt("select 1")).await.unwrap().finish(&completed(1));
    log.close().await.unwrap();
    let whole = fs::read(fixture.only_segment()).unwrap();
    let last_commit = frames(fixture.path()).iter().rev().find(|(_, _, payload)| payload["kind"] == "attempt").unwrap().1;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(fixture.only_segment(), changed).unwrap();
        let report = fixture.verify();
        match (report.flaw, report.tail) {
            (Some(flaw), _) => assert!(flaw.offset <= at as u64, "byte {at}: {flaw}"),
            // The last commits cannot be told from a crash's, and the log no longer counts as closed.
            (None, Tail::Torn { offset, .. }) => assert!(offset <= at as u64 && at >= last_commit, "byte {at}"),
            (None, tail) => panic!("byte {at} changed unseen: {tail:?}"),
        }
    }
}

#[tokio::test]
async fn a_damaged_record_before_the_last_commit_is_not_repaired() {
    let fixture = Fixture::new();
    let log = fixture.open();
    for number in 0..3 {
        log.attempt(&fixture.attempt(&format!("select {number}"))).await.unwrap().finish(&completed(1));
    }
    log.close().await.unwrap();
    let attempt = frames(fixture.path()).iter().find(|(_, _, payload)| payload["kind"] == "attempt").unwrap().1;
    let mut bytes = fs::read(fixture.only_segment()).unwrap();
    bytes[attempt + 60] ^= 1;
    fs::write(fixture.only_segment(), &bytes).unwrap();

    let error = fixture.try_open().err().unwrap();
    assert!(matches!(&error, AuditError::Corrupt { offset, .. } if *offset == attempt as u64), "{error}");
    assert_eq!(fs::read(fixture.only_segment()).unwrap(), bytes, "evidence is left as it was found");
}

#[tokio::test]
async fn a_removed_or_moved_record_is_found() {
    let fixture = Fixture::new();
    let log = fixture.open();
    for number in 0..4 {
        log.refuse(&fixture.attempt(&format!("select {number}"))).await.unwrap();
    }
    log.close().await.unwrap();
    let whole = fs::read(fixture.only_segment()).unwrap();
    let starts: Vec<usize> = frames(fixture.path()).iter().map(|(_, offset, _)| *offset).chain([whole.len()]).collect();
    for window in starts.windows(3).take(starts.len() - 3) {
        let [first, second, third] = window else { unreachable!() };
        let removed = [&whole[..*first], &whole[*second..]].concat();
        let swapped = [&whole[..*first], &whole[*second..*third], &whole[*first..*second], &whole[*third..]].concat();
        for changed in [removed, swapped] {
            fs::write(fixture.only_segment(), changed).unwrap();
            let flaw = fixture.verify().flaw.expect("the change shows");
            assert_eq!(flaw.offset, *first as u64, "{flaw}");
        }
    }
}

#[tokio::test]
async fn a_log_rewritten_by_one_without_the_key_is_not_proven() {
    let (fixture, forger) = (Fixture::new(), Fixture::new());
    for (log, sql) in [(&fixture, "select 1"), (&forger, "select 2")] {
        let open = log.open();
        open.attempt(&log.attempt(sql)).await.unwrap().finish(&completed(1));
        open.close().await.unwrap();
    }
    let key = PublicKey::beside(fixture.path()).unwrap();
    assert_eq!(verify(fixture.path(), &key).unwrap().flaw, None);
    let flaw = verify(forger.path(), &key).unwrap().flaw.unwrap();
    assert!(flaw.why.contains("not one of those given"), "{flaw}");
}

#[tokio::test]
async fn a_missing_segment_is_found() {
    let mut fixture = Fixture::new();
    fixture.settings.segment_size = Size(2048);
    let log = fixture.open();
    for number in 0..10 {
        log.refuse(&fixture.attempt(&format!("select {number}"))).await.unwrap();
    }
    log.close().await.unwrap();
    fs::remove_file(fixture.path().join("000002.audit")).unwrap();
    let flaw = fixture.verify().flaw.unwrap();
    assert!(flaw.file.ends_with("000002.audit"), "{flaw}");
}

/// Writes the only segment anew, as one would who can compute everything but a signature. `edit` gives each record's new
/// text, or `None` to leave it out.
fn forge(fixture: &Fixture, mut edit: impl FnMut(&str) -> Option<String>) {
    let whole = fs::read(fixture.only_segment()).unwrap();
    let starts = frames(fixture.path()).into_iter().map(|(_, offset, _)| offset);
    let ends: Vec<usize> = starts.clone().skip(1).chain([whole.len()]).collect();
    let (mut bytes, mut chain, mut seq) = (Vec::new(), Chain::START, 0);
    for (start, end) in starts.zip(ends) {
        let Some(text) = edit(std::str::from_utf8(&whole[start + HEADER_BYTES..end]).unwrap()) else { continue };
        let old: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut text = text.replacen(&format!("\"seq\":{}", old["seq"]), &format!("\"seq\":{}", seq + 1), 1);
        if old["kind"] == "checkpoint" {
            text = text.replacen(&format!("\"through\":{}", old["through"]), &format!("\"through\":{seq}"), 1);
            text = text.replacen(old["chain"].as_str().unwrap(), &chain.to_string(), 1);
        }
        chain = encode(&mut bytes, chain, 0, text.as_bytes()).unwrap();
        seq += 1;
    }
    fs::write(fixture.only_segment(), bytes).unwrap();
}

async fn log_of_three() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.settings.checkpoint_records = 4;
    let log = fixture.open();
    for number in 0..3 {
        log.refuse(&fixture.attempt(&format!("select {number}"))).await.unwrap();
    }
    log.close().await.unwrap();
    fixture
}

#[tokio::test]
async fn a_record_changed_by_one_who_recomputes_the_chain_fails_at_the_next_signature() {
    let fixture = log_of_three().await;
    forge(&fixture, |text| Some(text.replace(r#""verdict":"allowed""#, r#""verdict":"observed""#)));
    let flaw = fixture.verify().flaw.unwrap();
    assert!(flaw.why.contains("signature"), "{flaw}");
    assert!(matches!(fixture.try_open(), Err(AuditError::Corrupt { .. })));
}

#[tokio::test]
async fn a_log_without_its_later_signatures_is_longer_than_was_promised() {
    let fixture = log_of_three().await;
    let mut first = true;
    forge(&fixture, |text| (!text.contains("\"checkpoint\"") || std::mem::replace(&mut first, false)).then(|| text.to_owned()));
    let flaw = fixture.verify().flaw.unwrap();
    assert!(flaw.why.contains("promised every 4"), "{flaw}");
}

#[tokio::test]
async fn a_tail_without_a_signature_is_not_called_proven() {
    let fixture = Fixture::new();
    let log = fixture.open();
    log.refuse(&fixture.attempt("select 1")).await.unwrap();
    let report = fixture.verify();
    assert_eq!((report.flaw, report.tail), (None, Tail::Open));
    assert_eq!(report.last_proven.unwrap() + 1 + report.unproven_records, report.records);
    assert_eq!(report.unproven_records, 3, "session, statement and refusal");
    log.close().await.unwrap();
}
