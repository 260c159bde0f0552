//! The log from outside: what it promises through crashes, tampering and failing disks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::log::{AuditError, AuditLog, Note, Start};
use super::storage::Storage;
use super::storage::faults::Faults;
use super::verify::{Report, Tail, verify};
use super::{Attempt, Durability, Outcome, Protocol, SessionFacts, Settings, Status};
use crate::dbt::Attribution;
use crate::document::{Size, Span};
use crate::identity::Principal;
use crate::metrics::Metrics;
use crate::policy::{Decision, RuleRef, Verdict};
use crate::sql::{Action, Analysis, Effect, Object, ObjectKind, Session, Statement};
use crate::target::Target;

/// A log in a directory of its own, and everything that an attempt needs.
pub(super) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) settings: Settings,
    pub(super) session: SessionFacts,
    analysis: Analysis,
    decision: Decision,
    dbt: Attribution,
    faults: Arc<Faults>,
    metrics: Arc<Metrics>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        // In memory where that is possible: the tests sync thousands of times.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let object = Object { kind: ObjectKind::Relation, database: None, schema: None, name: "orders".into() };
        let effects = vec![Effect::Access { action: Action::Select, object, columns: vec!["id".into()] }];
        let rule = RuleRef { policy: "shop/read".into(), path: "spec.egress[0].toPorts[0].rules.sql[0]".into() };
        Self {
            settings: Settings::at(directory.path()),
            directory,
            session: session("cafe0000-s1"),
            analysis: Analysis { statements: vec![Statement { verb: "SELECT", effects, session: Session::Unchanged }] },
            decision: Decision { verdict: Verdict::Allowed, rule: Some(rule), denial: None, revision: "abc123".into() },
            dbt: Attribution { node: Some("model.shop.orders".into()), ..Attribution::default() },
            faults: Arc::default(),
            metrics: Arc::new(Metrics::new().unwrap()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn open(&self) -> AuditLog {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<AuditLog, AuditError> {
        let mut storage = Storage::new(&self.settings.directory);
        storage.faults = Arc::clone(&self.faults);
        let start = Start { version: "0.1.0".into(), config_digest: "digest".into() };
        AuditLog::open_in(storage, &self.settings, Arc::clone(&self.metrics), &start)
    }

    pub(super) fn attempt<'a>(&'a self, sql: &'a str) -> Attempt<'a> {
        Attempt {
            session: &self.session,
            sql,
            protocol: Protocol::Simple,
            analysis: &self.analysis,
            effects: &self.analysis.statements[0].effects,
            unqualified_schema: Some("public"),
            dbt: Some(&self.dbt),
            decision: &self.decision,
        }
    }

    fn verify(&self) -> Report {
        verify(self.path(), &[]).unwrap()
    }

    /// The same log as a crash at this moment would leave it, for another start.
    fn crashed(&self) -> Self {
        let copy = Self::new();
        copy_directory(self.path(), copy.path());
        Self { settings: Settings { directory: copy.path().to_owned(), ..self.settings.clone() }, ..copy }
    }

    fn only_segment(&self) -> PathBuf {
        self.path().join("000001.audit")
    }
}

fn session(id: &str) -> SessionFacts {
    SessionFacts {
        id: id.into(),
        principal: Arc::new(Principal {
            issuer: "https://issuer.example".into(),
            subject: "system:serviceaccount:shop:dbt".into(),
            token_id: Some("jti".into()),
            namespace: Some("shop".into()),
            service_account: Some("dbt".into()),
            pod: Some("dbt-0".into()),
            pod_uid: Some("uid".into()),
            labels: BTreeMap::new(),
            proven_by: "kubernetes",
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
        }),
        target: Arc::new(Target { name: "shop".into(), kind: "postgresql", host: "db.example".into(), port: 5432 }),
        database: "shop".into(),
        role: "dbt".into(),
        client_user: "anyone".into(),
        application_name: Some("dbt".into()),
        client_address: None,
        server_process_id: Some(42),
        credential: "serial-1".into(),
    }
}

pub(super) fn completed(rows: u64) -> Outcome {
    Outcome { status: Status::Completed, rows: Some(rows), reply_bytes: 10, sqlstate: None }
}

fn copy_directory(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The payloads of all segments, in order.
fn payloads(directory: &Path) -> Vec<serde_json::Value> {
    frames(directory).into_iter().map(|(_, _, payload)| payload).collect()
}

/// Every frame: its segment, its offset, and its payload.
fn frames(directory: &Path) -> Vec<(u64, usize, serde_json::Value)> {
    let mut frames = Vec::new();
    for number in Storage::new(directory).segments().unwrap() {
        let bytes = fs::read(Storage::new(directory).segment_path(number)).unwrap();
        let mut at = 0;
        while at < bytes.len() {
            let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            frames.push((number, at, serde_json::from_slice(&bytes[at + 44..at + 44 + length]).unwrap()));
            at += 44 + length;
        }
    }
    frames
}

fn kinds(directory: &Path) -> Vec<String> {
    payloads(directory).iter().map(|payload| payload["kind"].as_str().unwrap().to_owned()).collect()
}

fn assert_gap_free(directory: &Path) {
    let numbers: Vec<u64> = payloads(directory).iter().map(|payload| payload["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

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
    assert_eq!(attempt["dbt"]["claimed"], true);
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
    let key = super::key::PublicKey::beside(fixture.path()).unwrap();
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
