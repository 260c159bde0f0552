//! The log as the rest of the program sees it: what may run only after it is recorded, and what came of it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::key::KeyError;
use super::queue::Counter;
use super::record::attempt::{AttemptFields, OutcomeFields};
use super::record::note;
use super::record::{BootId, Definition, Kind, Record, RecordId};
use super::storage::Storage;
use super::writer::{Message, Writer};
use super::{Attempt, ClientFacts, Outcome, SessionFacts, Settings, Status};
use crate::document::Problem;
use crate::fault::{Fault, Reason};
use crate::identity::Principal;
use crate::metrics::Metrics;
use crate::target::Target;

/// Longest statement, in bytes, that a record can hold.
const STATEMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The queue's memory is counted in units of this many bytes.
const QUEUE_UNIT_BYTES: usize = 1024;

/// Why the log did not take a record, or did not open.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// The disk does not take records. Nothing may run; the writer tries again by itself.
    #[error("the audit log cannot be written")]
    Unwritable {
        /// What the disk said, where this record was the one to hear it.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// Too many records wait, or the disk is too slow.
    #[error("the audit log did not take the record in time")]
    Backpressure,
    /// The log is closed.
    #[error("the audit log is closed")]
    Closed,
    /// The record is longer than the log can hold.
    #[error("a statement of {bytes} bytes is longer than the audit log can hold")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Another process writes to the directory.
    #[error("another process writes to {directory}", directory = directory.display())]
    Locked {
        /// Which directory.
        directory: PathBuf,
    },
    /// The log was changed or damaged since it was written. It is left as it is; move it away to begin a new one.
    #[error("{file} is damaged at byte {offset}: {why}", file = file.display())]
    Corrupt {
        /// Which segment.
        file: PathBuf,
        /// The first byte that is not as it was written.
        offset: u64,
        /// How that shows.
        why: String,
    },
    /// The directory cannot be read or written.
    #[error("{path} cannot be used", path = path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The signing key cannot be used.
    #[error("the signing key of the audit log cannot be used")]
    Key(#[source] Arc<KeyError>),
    /// A limit in the settings is zero, so that nothing could ever be recorded.
    #[error("audit.{0} must not be zero")]
    Zero(&'static str),
}

impl AuditError {
    /// What a client is told.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Backpressure => Reason::AuditBackpressure,
            Self::Closed => Reason::Draining,
            Self::TooLong { .. } => Reason::MessageTooLarge,
            Self::Unwritable { .. } | Self::Locked { .. } | Self::Corrupt { .. } | Self::Io { .. } | Self::Key(_) | Self::Zero(_) => {
                Reason::AuditUnwritable
            }
        }
    }
}

impl From<AuditError> for Fault {
    fn from(error: AuditError) -> Self {
        Self::new(error.reason()).because(error)
    }
}

/// What the first record of a boot says about the program.
#[derive(Debug, Clone)]
pub struct Start {
    /// The program's version.
    pub version: String,
    /// Digest of the configuration in force.
    pub config_digest: String,
}

/// Everything that is recorded besides executions.
#[derive(Debug, Clone, Copy)]
pub enum Note<'a> {
    /// The client and the warehouse have agreed on a session.
    SessionStarted(&'a SessionFacts),
    /// A session ended.
    SessionEnded {
        /// [`SessionFacts::id`].
        session: &'a str,
        /// How: `closed`, or a reason code.
        end: &'a str,
        /// Executions that were asked for.
        executions: u64,
        /// Those of them that were refused.
        denied: u64,
        /// Bytes relayed to the warehouse.
        bytes_to_target: u64,
        /// Bytes relayed to the client.
        bytes_to_client: u64,
        /// How long it lasted.
        duration: Duration,
    },
    /// A client got no session.
    SessionRefused {
        /// Why.
        reason: Reason,
        /// Safe identifiers, as in [`crate::fault::Fault::about`].
        about: Option<&'a str>,
        /// The listener.
        listener: &'a str,
        /// The client, as its connection shows it.
        client: &'a ClientFacts,
        /// The user name that the client wrote.
        client_user: Option<&'a str>,
        /// The database that the client asked for.
        database: Option<&'a str>,
        /// Who, as far as it was proven.
        principal: Option<&'a Principal>,
    },
    /// A credential was issued.
    CredentialExchanged {
        /// [`crate::credential::CredentialExchange::kind`].
        exchange: &'a str,
        /// [`crate::credential::Credential::id`].
        credential: &'a str,
        /// When the credential stops being accepted.
        expires_at: SystemTime,
        /// For which warehouse.
        target: &'a Target,
        /// To whom.
        principal: &'a Principal,
    },
    /// A policy set is in force from here on.
    PolicyLoaded {
        /// Its digest.
        revision: &'a str,
        /// The names of its policies.
        policies: &'a [String],
    },
    /// A policy set was rejected.
    PolicyRejected {
        /// Digest of the set that stays in force.
        in_force: &'a str,
        /// What is wrong with the new one.
        problems: &'a [crate::document::Problem],
    },
    /// A dbt manifest is in force from here on.
    ManifestLoaded {
        /// [`crate::dbt::manifest::Manifest::digest`].
        digest: &'a str,
        /// The project's name.
        project: Option<&'a str>,
        /// The run of dbt that wrote it.
        invocation: Option<&'a str>,
        /// How many nodes it has.
        nodes: usize,
    },
    /// A dbt manifest was rejected.
    ManifestRejected {
        /// The digest of the one that stays in force.
        in_force: &'a str,
        /// Why.
        problem: &'a Problem,
    },
    /// The program takes no new sessions.
    Draining {
        /// Sessions still open.
        sessions: u64,
    },
}

/// The open log. Clones share it.
#[derive(Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

struct Shared {
    /// The semaphores bound how much can wait there.
    counter: Counter,
    in_flight: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    memory_units: u32,
    in_flight_gauge: IntGauge,
    writable: Arc<AtomicBool>,
    closing: AtomicBool,
    boot: BootId,
    sessions: std::sync::atomic::AtomicU64,
    wait_max: Duration,
    /// Fewer free places than these for queries in flight are few.
    crowded_below: usize,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AuditLog {
    /// Takes the directory for this process, repairs what a crash can have left, records the start, and starts the
    /// writer's thread. Blocks on the disk.
    ///
    /// # Errors
    /// Every [`AuditError`] but `Backpressure` and `Closed`. A log that a crash cannot explain is `Corrupt` and
    /// left untouched.
    pub fn open(settings: &Settings, metrics: Arc<Metrics>, start: &Start) -> Result<Self, AuditError> {
        Self::open_in(Storage::new(&settings.directory), settings, metrics, start)
    }

    pub(super) fn open_in(storage: Storage, settings: &Settings, metrics: Arc<Metrics>, start: &Start) -> Result<Self, AuditError> {
        for (name, limit) in [
            ("queries_in_flight_max", settings.queries_in_flight_max),
            ("queue_max", settings.queue_max),
            ("queue_size", settings.queue_size.as_usize()),
            ("checkpoint_records", usize::try_from(settings.checkpoint_records).unwrap_or(usize::MAX)),
        ] {
            if limit == 0 {
                return Err(AuditError::Zero(name));
            }
        }
        let queries = settings.queries_in_flight_max.min(Semaphore::MAX_PERMITS / 4);
        let waiting = settings.queue_max.min(Semaphore::MAX_PERMITS / 4);
        let units = settings.queue_size.as_usize().div_ceil(QUEUE_UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        let in_flight_gauge = metrics.audit_queries_in_flight.clone();
        let writer = Writer::open(storage, settings, metrics, start)?;
        let (boot, writable) = (writer.boot(), writer.writable());
        let (thread, counter) = writer.spawn(settings.durability)?;
        Ok(Self {
            shared: Arc::new(Shared {
                counter,
                in_flight: Arc::new(Semaphore::new(queries)),
                waiting: Arc::new(Semaphore::new(waiting)),
                memory: Arc::new(Semaphore::new(units)),
                memory_units: u32::try_from(units).unwrap_or(u32::MAX),
                in_flight_gauge,
                writable,
                closing: AtomicBool::new(false),
                boot,
                sessions: std::sync::atomic::AtomicU64::new(0),
                wait_max: settings.wait_max.0,
                crowded_below: queries.div_ceil(4),
                writer: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Hands in the record of an execution that is about to happen and does not wait until it is kept: several that
    /// are submitted one after another share a commit. The execution must not happen before [`AuditLog::durable`].
    ///
    /// Waits for room, at most `wait_max`. Cancel safe; a [`Submitted`] that is dropped gets the outcome `abandoned`.
    ///
    /// # Errors
    /// The execution must not happen. `Backpressure` after `wait_max`; `Unwritable`; `Closed`; `TooLong`.
    pub async fn submit(&self, attempt: &Attempt<'_>) -> Result<Submitted, AuditError> {
        self.in_time(async {
            let shared = &self.shared;
            if shared.in_flight.available_permits() == 0 {
                // Room is given back by outcomes, which may only wait for somebody to come by.
                shared.counter.commit();
            }
            let permit = Arc::clone(&shared.in_flight).acquire_owned().await.map_err(|_| AuditError::Closed)?;
            let in_flight = InFlight::new(permit, &shared.in_flight_gauge);
            let hold = self.hold(attempt.execution.sql.len()).await?;
            let (record, definitions) = attempt_record(Kind::Attempt, attempt)?;
            let (reply, answer) = oneshot::channel();
            let entry = Unopened { counter: shared.counter.clone(), in_flight };
            self.hand_in(Message::Attempt { record, definitions, entry, reply, _hold: hold })?;
            Ok(Submitted(answer))
        })
        .await
    }

    /// Waits until a submitted record is durable, at most `wait_max`. Cancel safe as [`AuditLog::submit`] is.
    ///
    /// # Errors
    /// As [`AuditLog::submit`].
    pub async fn durable(&self, submitted: Submitted) -> Result<Entry, AuditError> {
        let Submitted(mut answer) = submitted;
        if let Ok(answer) = answer.try_recv() {
            return answer;
        }
        self.shared.counter.expedite().await;
        match tokio::time::timeout(self.shared.wait_max, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AuditError::Closed),
            Err(_) => Err(AuditError::Backpressure),
        }
    }

    /// Whether little room is left for queries in flight: whoever has submitted records should see them through before
    /// submitting more, or all might wait for each other's room.
    pub fn is_crowded(&self) -> bool {
        self.shared.in_flight.available_permits() < self.shared.crowded_below
    }

    /// Records an execution that policy refused. When this returns `Ok` the record is durable.
    ///
    /// Cancel safe: the record is written or not.
    ///
    /// # Errors
    /// As [`AuditLog::submit`].
    pub async fn refuse(&self, attempt: &Attempt<'_>) -> Result<RecordId, AuditError> {
        self.in_time(async {
            let hold = self.hold(attempt.execution.sql.len()).await?;
            let (record, definitions) = attempt_record(Kind::Denied, attempt)?;
            self.record(record, definitions, hold).await
        })
        .await
    }

    /// Records a note. When this returns `Ok` the record is durable.
    ///
    /// Cancel safe: the record is written or not.
    ///
    /// # Errors
    /// As [`AuditLog::submit`].
    pub async fn note(&self, note: Note<'_>) -> Result<RecordId, AuditError> {
        self.in_time(async {
            let (record, definition) = note::record(&note);
            let hold = self.hold(record.fields.len()).await?;
            self.record(record, definition.into_iter().collect(), hold).await
        })
        .await
    }

    /// Hands a note to the writer without waiting for the disk; usable in `Drop`. Once this returned `Ok` the note is
    /// kept through disk errors until it is written or the process ends.
    ///
    /// # Errors
    /// `Backpressure` when the queue is full, `Closed` after the closing.
    pub fn note_later(&self, note: Note<'_>) -> Result<(), AuditError> {
        let (record, definition) = note::record(&note);
        let waiting = Arc::clone(&self.shared.waiting).try_acquire_owned().map_err(|_| AuditError::Backpressure)?;
        let units = self.shared.memory_units_of(record.fields.len());
        let memory = Arc::clone(&self.shared.memory).try_acquire_many_owned(units).map_err(|_| AuditError::Backpressure)?;
        let hold = Hold { _waiting: waiting, _memory: memory };
        self.hand_in(Message::Record { record, definitions: definition.into_iter().collect(), reply: None, _hold: hold })?;
        self.settle();
        Ok(())
    }

    /// Sees to it that outcomes and notes handed in before are kept soon. Whoever has finished an execution calls this when
    /// it has told the client: the outcome is in nobody's way then. Never waits for the disk.
    pub fn settle(&self) {
        self.shared.counter.settle();
    }

    /// Can the log promise durability now? Readiness depends on it.
    pub fn writable(&self) -> bool {
        self.shared.writable.load(Ordering::Acquire) && !self.shared.closing.load(Ordering::Acquire)
    }

    /// A new [`SessionFacts::id`]: `<boot id>-s<counter>`.
    pub fn session_id(&self) -> String {
        format!("{}-s{}", self.shared.boot, self.shared.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Writes what waits, the closing record with the attempts that are still in flight, and the last signed
    /// checkpoint; then ends the writer's thread. Outcomes that come later are not recorded.
    ///
    /// Not cancel safe in so far as the log is closed either way.
    ///
    /// # Errors
    /// `Unwritable` when the disk did not take the closing record for `wait_max`; `Closed` from the second call on.
    pub async fn close(&self) -> Result<(), AuditError> {
        if self.shared.closing.swap(true, Ordering::AcqRel) {
            return Err(AuditError::Closed);
        }
        let (reply, answer) = oneshot::channel();
        self.shared.counter.hand_in(Message::Close { reply }).map_err(|_| AuditError::Closed)?;
        self.shared.counter.call();
        let closed = answer.await.map_err(|_| AuditError::Closed)?;
        let thread = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread has answered and only drops what it holds, the directory's lock among it.
            thread.join().map_err(|_| AuditError::Closed)?;
        }
        closed
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, AuditError>>) -> Result<T, AuditError> {
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(AuditError::Closed);
        }
        if !self.shared.writable.load(Ordering::Acquire) {
            return Err(AuditError::Unwritable { source: None });
        }
        match tokio::time::timeout(self.shared.wait_max, work).await {
            Ok(done) => done,
            Err(_) => Err(AuditError::Backpressure),
        }
    }

    /// Waits for room in the queue for a record of about `bytes`.
    async fn hold(&self, bytes: usize) -> Result<Hold, AuditError> {
        if bytes > STATEMENT_BYTES_MAX {
            return Err(AuditError::TooLong { bytes });
        }
        let units = self.shared.memory_units_of(bytes);
        let waiting = Arc::clone(&self.shared.waiting).acquire_owned().await.map_err(|_| AuditError::Closed)?;
        let memory = Arc::clone(&self.shared.memory).acquire_many_owned(units).await.map_err(|_| AuditError::Closed)?;
        Ok(Hold { _waiting: waiting, _memory: memory })
    }

    async fn record(&self, record: Record, definitions: Vec<Definition>, hold: Hold) -> Result<RecordId, AuditError> {
        let (reply, answer) = oneshot::channel();
        self.hand_in(Message::Record { record, definitions, reply: Some(reply), _hold: hold })?;
        self.shared.counter.expedite().await;
        answer.await.map_err(|_| AuditError::Closed)?
    }

    fn hand_in(&self, message: Message) -> Result<(), AuditError> {
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(AuditError::Closed);
        }
        self.shared.counter.hand_in(message).map_err(|_| AuditError::Closed)
    }
}

impl Shared {
    /// A record larger than the whole queue may pass when it is alone.
    fn memory_units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes / QUEUE_UNIT_BYTES + 1).unwrap_or(u32::MAX).min(self.memory_units)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.counter.orphan();
    }
}

fn attempt_record(kind: Kind, attempt: &Attempt<'_>) -> Result<(Record, Vec<Definition>), AuditError> {
    let statement = Definition::statement(attempt.execution.sql);
    let record = Record::new(kind, &AttemptFields::new(attempt, statement.key()));
    if record.fields.len() > STATEMENT_BYTES_MAX {
        return Err(AuditError::TooLong { bytes: record.fields.len() });
    }
    Ok((record, vec![Definition::session(attempt.execution.session), statement]))
}

/// An attempt that the writer has, and that may not be durable yet.
pub struct Submitted(oneshot::Receiver<Result<Entry, AuditError>>);

/// Room in the queue, given back when the record is durable or refused.
pub(super) struct Hold {
    _waiting: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

/// One of the queries that may be in flight, until its outcome is durable.
pub(super) struct InFlight {
    _permit: OwnedSemaphorePermit,
    gauge: IntGauge,
}

impl InFlight {
    fn new(permit: OwnedSemaphorePermit, gauge: &IntGauge) -> Self {
        gauge.inc();
        Self { _permit: permit, gauge: gauge.clone() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// What becomes an [`Entry`] when the attempt is durable. Dropped before that, nothing happened.
pub(super) struct Unopened {
    counter: Counter,
    in_flight: InFlight,
}

impl Unopened {
    /// The attempt is durable as `id`.
    pub(super) fn open(self, id: RecordId) -> Entry {
        Entry { id, started: Instant::now(), open: Some(self) }
    }
}

/// A recorded attempt that has no outcome yet. Dropped without [`Entry::finish`], the outcome is `abandoned`.
pub struct Entry {
    id: RecordId,
    started: Instant,
    open: Option<Unopened>,
}

impl Entry {
    /// The record of the attempt.
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    /// Time since the attempt was durable.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Hands in what came of it; [`AuditLog::settle`] has it kept. Never waits: its room was taken with the attempt's.
    pub fn finish(mut self, outcome: &Outcome) {
        self.hand_in(outcome);
    }

    fn hand_in(&mut self, outcome: &Outcome) -> Option<Counter> {
        let Unopened { counter, in_flight } = self.open.take()?;
        let record = Record::new(Kind::Outcome, &OutcomeFields::new(&self.id, outcome, self.started.elapsed()));
        // Refused only by a closed log, whose last record says that this attempt has no outcome.
        let _ = counter.hand_in(Message::Outcome { record, attempt: self.id.clone(), _in_flight: in_flight });
        Some(counter)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(counter) = self.hand_in(&Outcome::new(Status::Abandoned)) {
            counter.settle();
        }
    }
}
