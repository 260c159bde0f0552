//! The one writer: many sessions wait for one commit.
//!
//! A thread commits what waits in the queue, and whatever takes a wait for the disk; what does not, a session may commit
//! itself ([`super::queue`]).
//!
//! Nobody hears of a record before it is durable. When the disk fails, those who wait are refused, and what nobody waits
//! for is kept until the disk is back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::appender::Appender;
use super::batch::{Batch, Defined, Seal};
use super::frame::hex;
use super::key::{KeyError, PublicKey, SigningKey};
use super::log::{AuditError, Entry, Hold, InFlight, Start, Unopened};
use super::queue::{Counter, Found, Queue};
use super::record::{BootId, Definition, Kind, Record, RecordId};
use super::recover::{self, Left};
use super::storage::Storage;
use super::{Durability, Settings};
use crate::metrics::Metrics;

/// How long the writer waits before it tries a failed disk again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the writer sleeps when nothing is due; any length will do.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);

/// What the writer is asked to record.
pub(super) enum Message {
    /// An attempt; the answer is the entry.
    Attempt {
        record: Record,
        definitions: Vec<Definition>,
        entry: Unopened,
        reply: oneshot::Sender<Result<Entry, AuditError>>,
        _hold: Hold,
    },
    /// What came of an attempt. Kept until it is durable.
    Outcome { record: Record, attempt: RecordId, _in_flight: InFlight },
    /// Anything else. Without a `reply` nobody waits, and it is kept until it is durable.
    Record { record: Record, definitions: Vec<Definition>, reply: Option<oneshot::Sender<Result<RecordId, AuditError>>>, _hold: Hold },
    /// The end.
    Close { reply: oneshot::Sender<Result<(), AuditError>> },
}

/// What stands at the end of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// A checkpoint where enough records are uncovered.
    WhenDue,
    /// A checkpoint.
    Checkpoint,
    /// The closing record and a checkpoint.
    Closing,
}

/// Owns the log while the program runs.
pub(super) struct Writer {
    /// `None` once the log is closed.
    lock: Option<File>,
    directory: PathBuf,
    boot: BootId,
    appender: Appender,
    checkpoint_interval: Duration,
    close_wait: Duration,
    /// When records that no checkpoint covers are to be signed; `None` where there are none.
    checkpoint_due: Option<Instant>,
    retry_at: Instant,
    /// Sequence numbers of attempts without an outcome.
    open: BTreeSet<u64>,
    /// Outcomes and notes that the disk did not take; bounded because each holds its permit.
    kept: Vec<Message>,
    /// Why the last commit failed; `None` while the log is writable.
    failure: Option<Arc<io::Error>>,
    writable: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Locks the directory, recovers, and commits the first records of this boot.
    pub(super) fn open(storage: Storage, settings: &Settings, metrics: Arc<Metrics>, start: &Start) -> Result<Self, AuditError> {
        let directory = storage.directory().to_owned();
        let failed = |source: io::Error| AuditError::Io { path: directory.clone(), source: Arc::new(source) };
        let lock = storage.lock().map_err(failed)?.ok_or(AuditError::Locked { directory: directory.clone() })?;
        let bad_key = |error: KeyError| AuditError::Key(Arc::new(error));
        let key = SigningKey::load_or_make(settings.signing_key_file.as_deref(), &directory).map_err(bad_key)?;
        let left = recover::recover(&storage, &PublicKey::beside(&directory).map_err(bad_key)?)?;

        let boot: BootId = random_hex::<4>().map_err(failed)?.into();
        let log = match &left {
            Some(left) => left.log.clone(),
            None => random_hex::<16>().map_err(failed)?,
        };
        let public = key.public();
        let seal = Arc::new(Seal { log, boot: BootId::clone(&boot), key, checkpoint_records: settings.checkpoint_records });
        let end = left.as_ref().map(|left| (left.position, left.uncovered));
        let size = (settings.durability, settings.segment_size.0);
        let mut appender = Appender::open(storage, seal, size, end, Arc::clone(&metrics)).map_err(failed)?;
        begin(&mut appender, &Record::new(Kind::Opened, &OpenedFields::new(settings, start, &public)), left.as_ref())
            .map_err(|source| AuditError::Unwritable { source: Some(Arc::new(source)) })?;
        metrics.audit_writable.set(1);
        Ok(Self {
            lock: Some(lock),
            boot,
            appender,
            checkpoint_interval: settings.checkpoint_interval.0,
            close_wait: settings.wait_max.0,
            checkpoint_due: None,
            retry_at: Instant::now(),
            open: BTreeSet::new(),
            kept: Vec::new(),
            failure: None,
            writable: Arc::new(AtomicBool::new(true)),
            metrics,
            directory,
        })
    }

    /// The boot's name.
    pub(super) fn boot(&self) -> BootId {
        BootId::clone(&self.boot)
    }

    /// Whether the last commit succeeded.
    pub(super) fn writable(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.writable)
    }

    /// Starts the thread, and opens the counter where messages are handed in. The thread ends when it is asked to close,
    /// or when everything is written and nobody is left to ask.
    pub(super) fn spawn(self, durability: Durability) -> Result<(JoinHandle<()>, Counter), AuditError> {
        let path = self.directory.clone();
        let failed = |source| AuditError::Io { path: path.clone(), source: Arc::new(source) };
        let runtime = runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let queue = Arc::new(Queue::default());
        let over = Over { queue: Arc::clone(&queue), writable: self.writable(), metrics: Arc::clone(&self.metrics) };
        let in_flight = self.metrics.audit_queries_in_flight.clone();
        let writer = Arc::new(Mutex::new(self));
        let counter = Counter::new(Arc::clone(&queue), Arc::clone(&writer), durability, in_flight);
        let thread = Thread { runtime, writer, queue, _over: over };
        let handle = thread::Builder::new().name("audit".into()).spawn(move || thread.run()).map_err(failed)?;
        Ok((handle, counter))
    }

    /// Whether `count` messages can be committed without a wait for the disk: no failure, no checkpoint, no new segment is
    /// due.
    pub(super) fn takes_at_once(&self, count: usize) -> bool {
        self.lock.is_some()
            && self.failure.is_none()
            && self.kept.is_empty()
            && self.checkpoint_due.is_none_or(|due| Instant::now() < due)
            && self.appender.takes_without_sync(count)
    }

    /// When something is due without being asked.
    pub(super) fn wake(&self) -> Instant {
        match &self.failure {
            Some(_) => self.retry_at,
            None => self.checkpoint_due.unwrap_or_else(|| Instant::now() + IDLE_INTERVAL),
        }
    }

    /// Commits messages, unless a failed disk has to be left alone for now.
    pub(super) fn commit_or_wait(&mut self, messages: Vec<Message>) {
        let now = Instant::now();
        match &self.failure {
            Some(error) if now < self.retry_at => {
                let error = Arc::clone(error);
                self.refuse(messages, &error);
            }
            Some(_) => self.attend(messages, Mark::Checkpoint),
            None if self.checkpoint_due.is_some_and(|due| now >= due) => self.attend(messages, Mark::Checkpoint),
            None => self.attend(messages, Mark::WhenDue),
        }
    }

    /// Commits; whoever waits is told, and a failure is tried again later.
    fn attend(&mut self, messages: Vec<Message>, mark: Mark) {
        // The failure stays in `self.failure`, which decides when to try again.
        let _ = self.commit(messages, mark);
    }

    /// Writes the kept and the new messages and answers those who wait.
    fn commit(&mut self, new: Vec<Message>, mark: Mark) -> Result<(), Arc<io::Error>> {
        let mut messages = mem::take(&mut self.kept);
        messages.extend(new);
        match self.write(&messages, mark) {
            Ok(ids) => {
                self.acknowledge(messages, ids);
                self.healthy();
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                self.failing(&error);
                self.refuse(messages, &error);
                Err(error)
            }
        }
    }

    fn healthy(&mut self) {
        if self.failure.take().is_some() {
            tracing::info!("the audit log can be written again");
        }
        self.writable.store(true, Ordering::Release);
        self.metrics.audit_writable.set(1);
    }

    fn failing(&mut self, error: &Arc<io::Error>) {
        self.retry_at = Instant::now() + RETRY_INTERVAL;
        self.writable.store(false, Ordering::Release);
        if self.failure.replace(Arc::clone(error)).is_none() {
            tracing::error!(directory = %self.directory.display(), %error, "the audit log cannot be written: nothing may run");
        }
        self.metrics.audit_writable.set(0);
        self.appender.measure();
    }

    /// Makes the messages durable, and gives the record of each; `None` is one that no frame can hold.
    fn write(&mut self, messages: &[Message], mark: Mark) -> io::Result<Vec<Option<RecordId>>> {
        let (boot, open) = (&self.boot, &self.open);
        self.appender.prepare(|| open.iter().map(|seq| name(boot, *seq)).collect())?;
        let mut batch = self.appender.batch();
        let ids: Vec<_> = messages.iter().map(|message| put(&mut batch, message, self.appender.defined())).collect();
        match mark {
            Mark::WhenDue => {}
            Mark::Checkpoint => batch.checkpoint().map_err(io::Error::other)?,
            Mark::Closing => {
                batch.push(&Record::new(Kind::Closed, &self.unfinished(messages, &ids))).map_err(io::Error::other)?;
                batch.checkpoint().map_err(io::Error::other)?;
            }
        }
        self.appender.append(&batch)?;
        self.checkpoint_due = match self.appender.uncovered() {
            0 => None,
            _ if batch.checkpoint.is_some() => Some(Instant::now() + self.checkpoint_interval),
            _ => self.checkpoint_due.or_else(|| Some(Instant::now() + self.checkpoint_interval)),
        };
        Ok(ids)
    }

    /// The fields of the closing record: attempts that will have no outcome.
    fn unfinished(&self, messages: &[Message], ids: &[Option<RecordId>]) -> ClosedFields {
        let mut open = self.open.clone();
        for (message, id) in messages.iter().zip(ids) {
            match message {
                Message::Attempt { .. } => open.extend(id.as_ref().map(|id| id.seq)),
                Message::Outcome { attempt, .. } => drop(open.remove(&attempt.seq)),
                Message::Record { .. } | Message::Close { .. } => {}
            }
        }
        ClosedFields { unfinished: open.into_iter().map(|seq| name(&self.boot, seq)).collect() }
    }

    /// Tells everybody what became durable.
    fn acknowledge(&mut self, messages: Vec<Message>, ids: Vec<Option<RecordId>>) {
        for (message, id) in messages.into_iter().zip(ids) {
            match message {
                Message::Attempt { record, entry, reply, _hold, .. } => {
                    drop(_hold);
                    let answer = id.map(|id| {
                        self.open.insert(id.seq);
                        entry.open(id)
                    });
                    // When nobody waits any more, the entry comes back, is dropped, and records `abandoned`.
                    let _ = reply.send(answer.ok_or(AuditError::TooLong { bytes: record.fields.len() }));
                }
                Message::Record { record, reply: Some(reply), _hold, .. } => {
                    drop(_hold);
                    let _ = reply.send(id.ok_or(AuditError::TooLong { bytes: record.fields.len() }));
                }
                Message::Outcome { attempt, .. } => {
                    self.open.remove(&attempt.seq);
                }
                Message::Record { reply: None, .. } | Message::Close { .. } => {}
            }
        }
    }

    /// Tells those who wait that nothing became durable; keeps what nobody waits for.
    fn refuse(&mut self, messages: Vec<Message>, error: &Arc<io::Error>) {
        for message in messages {
            let refusal = AuditError::Unwritable { source: Some(Arc::clone(error)) };
            match message {
                Message::Attempt { entry, reply, _hold, .. } => {
                    // An entry that never opened undoes the admission; its room is free before the caller hears of it.
                    drop((entry, _hold));
                    let _ = reply.send(Err(refusal));
                }
                Message::Record { reply: Some(reply), _hold, .. } => {
                    drop(_hold);
                    let _ = reply.send(Err(refusal));
                }
                Message::Outcome { .. } | Message::Record { reply: None, .. } => self.kept.push(message),
                Message::Close { .. } => {}
            }
        }
    }
}

/// The thread and what it waits for.
struct Thread {
    runtime: Runtime,
    writer: Arc<Mutex<Writer>>,
    queue: Arc<Queue>,
    _over: Over,
}

impl Thread {
    fn run(self) {
        loop {
            // A commit that panicked has left nobody knows what: nothing may be written behind it.
            let Ok(wake) = self.writer.lock().map(|writer| writer.wake()) else { return };
            if self.queue.len() == 0 {
                self.runtime.block_on(self.queue.wait(wake));
            }
            let Ok(mut writer) = self.writer.lock() else { return };
            // Taken under the writer's lock, so that the log has them in their order.
            let Found { mut messages, orphaned } = self.queue.take();
            if let Some(reply) = take_close(&mut messages) {
                drop(writer);
                return self.close(messages, reply);
            }
            let is_due = writer.wake() <= Instant::now();
            if !messages.is_empty() || is_due {
                writer.commit_or_wait(messages);
            } else if orphaned {
                // The next boot will say that this one did not close the log.
                return writer.attend(Vec::new(), Mark::Checkpoint);
            }
        }
    }

    fn close(self, mut messages: Vec<Message>, reply: oneshot::Sender<Result<(), AuditError>>) {
        messages.extend(self.queue.close());
        let Ok(mut writer) = self.writer.lock() else { return };
        let give_up = Instant::now() + writer.close_wait;
        let mut result = writer.commit(messages, Mark::Closing);
        while result.is_err() && Instant::now() + RETRY_INTERVAL <= give_up {
            self.runtime.block_on(async { tokio::time::sleep(RETRY_INTERVAL).await });
            result = writer.commit(Vec::new(), Mark::Closing);
        }
        // The directory is free before the caller hears of it, and nothing is written any more.
        writer.lock = None;
        drop(writer);
        // A caller that no longer waits has nothing to hear.
        let _ = reply.send(result.map_err(|source| AuditError::Unwritable { source: Some(source) }));
    }
}

/// However the thread ends, nobody may believe that the log still promises anything.
struct Over {
    queue: Arc<Queue>,
    writable: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.writable.store(false, Ordering::Release);
        self.metrics.audit_writable.set(0);
        // Those who wait hear at once that there is no answer.
        drop(self.queue.close());
    }
}

/// The name of a record.
fn name(boot: &BootId, seq: u64) -> String {
    RecordId { boot: BootId::clone(boot), seq }.to_string()
}

/// Commits the first records of a boot.
fn begin(appender: &mut Appender, opened: &Record, left: Option<&Left>) -> io::Result<()> {
    // A new log has no attempts. An old one is continued where it ends, whatever its size: a boot begins before a segment.
    appender.begin_log()?;
    let recovered = left.filter(|left| left.needs_recovery()).map(|left| Record::new(Kind::Recovered, &left.fields()));
    let mut batch = appender.batch();
    batch.begin([Some(opened), recovered.as_ref()].into_iter().flatten()).map_err(io::Error::other)?;
    appender.append(&batch)
}

#[derive(Serialize)]
struct OpenedFields<'a> {
    version: &'a str,
    config: &'a str,
    durability: &'static str,
    checkpoint_records: u64,
    key: String,
    public_key: String,
}

impl<'a> OpenedFields<'a> {
    fn new(settings: &Settings, start: &'a Start, key: &PublicKey) -> Self {
        Self {
            version: &start.version,
            config: &start.config_digest,
            durability: settings.durability.as_str(),
            checkpoint_records: settings.checkpoint_records,
            key: key.id(),
            public_key: key.to_base64(),
        }
    }
}

#[derive(Serialize)]
struct ClosedFields {
    unfinished: Vec<String>,
}

/// Adds a message's records to the batch; `None` where no frame can hold them.
fn put(batch: &mut Batch, message: &Message, defined: &Defined) -> Option<RecordId> {
    let (record, definitions) = match message {
        Message::Attempt { record, definitions, .. } | Message::Record { record, definitions, .. } => (record, definitions.as_slice()),
        Message::Outcome { record, .. } => (record, [].as_slice()),
        Message::Close { .. } => return None,
    };
    for definition in definitions {
        batch.define(definition, record.time, defined).ok()?;
    }
    batch.push(record).ok()
}

/// Takes the request to close out of the messages, where there is one.
fn take_close(messages: &mut Vec<Message>) -> Option<oneshot::Sender<Result<(), AuditError>>> {
    let index = messages.iter().position(|message| matches!(message, Message::Close { .. }))?;
    match messages.remove(index) {
        Message::Close { reply } => Some(reply),
        Message::Attempt { .. } | Message::Outcome { .. } | Message::Record { .. } => None,
    }
}

/// Random bytes in hexadecimal.
fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gave no randomness"))?;
    Ok(hex(&bytes))
}
