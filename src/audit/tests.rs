//! The log from outside: what it promises through crashes, tampering and failing disks.

mod crashes;
mod disks;
mod promises;
mod tampering;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::log::{AuditError, AuditLog, Entry, Start};
use super::record::RecordedSession;
use super::storage::Storage;
use super::storage::faults::Faults;
use super::verify::{Report, verify};
use super::{Attempt, ClientFacts, Execution, Outcome, Protocol, SessionFacts, Settings, Status};
use crate::dbt::manifest::verify::Standing;
use crate::dbt::{Attribution, Claim};
use crate::identity::Principal;
use crate::metrics::Metrics;
use crate::policy::{Decision, RuleRef, Verdict};
use crate::sql::{Action, Analysis, Effect, Object, ObjectKind, Session, Statement};
use crate::target::{Opening, Target};

/// A log in a directory of its own, and everything that an attempt needs.
pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
    pub(crate) settings: Settings,
    pub(crate) session: SessionFacts,
    analysis: Analysis,
    decision: Decision,
    dbt: Attribution,
    faults: Arc<Faults>,
    metrics: Arc<Metrics>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn open(&self) -> AuditLog {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<AuditLog, AuditError> {
        let mut storage = Storage::new(&self.settings.directory);
        storage.faults = Arc::clone(&self.faults);
        let start = Start { version: "0.1.0".into(), config_digest: "digest".into() };
        AuditLog::open_in(storage, &self.settings, Arc::clone(&self.metrics), &start)
    }

    pub(crate) fn attempt<'a>(&'a self, sql: &'a str) -> Attempt<'a> {
        let execution = Execution {
            session: &self.session,
            sql: sql.as_bytes(),
            protocol: Protocol::Simple,
            analysis: &self.analysis,
            effects: &self.analysis.statements[0].effects,
            unqualified_schema: Some("public"),
            dbt: Some(Claim { attribution: &self.dbt, standing: &Standing::Claimed }),
        };
        Attempt { execution, decision: &self.decision }
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
            actors: Vec::new(),
            namespace: Some("shop".into()),
            service_account: Some("dbt".into()),
            pod: Some("dbt-0".into()),
            pod_uid: Some("uid".into()),
            labels: BTreeMap::new(),
            proven_by: "kubernetes",
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
        }),
        target: Arc::new(Target {
            name: "shop".into(),
            kind: "postgresql",
            host: "db.example".into(),
            port: 5432,
            opening: Opening::Plain,
        }),
        database: "shop".into(),
        role: "dbt".into(),
        client_user: "anyone".into(),
        application_name: Some("dbt".into()),
        client: ClientFacts::default(),
        server_process_id: Some(42),
        credential: "serial-1".into(),
        recorded: RecordedSession::default(),
    }
}

pub(crate) fn completed(rows: u64) -> Outcome {
    Outcome { rows: Some(rows), reply_bytes: 10, ..Outcome::new(Status::Completed) }
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

impl AuditLog {
    /// Submits an attempt and waits until it is durable.
    pub(crate) async fn attempt(&self, attempt: &Attempt<'_>) -> Result<Entry, AuditError> {
        self.durable(self.submit(attempt).await?).await
    }
}
