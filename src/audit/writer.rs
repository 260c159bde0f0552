//! The one thread that owns the segment file: many sessions wait for one commit.
//!
//! A commit is built on a copy of the log's position and adopted when it is durable. Until then nobody hears of it,
//! and after an error the file is cut back to the last adopted position before anything else is written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc::Receiver, oneshot};
use tokio::time::Instant;

use super::batch::{Batch, Defined, FORMAT, Position, Seal, SegmentFields};
use super::frame::{Chain, Next, Reader, hex};
use super::key::{KeyError, PublicKey, SigningKey};
use super::log::{AuditError, Entry, Hold, InFlight, Start, Unopened};
use super::record::{BootId, Definition, Kind, Record, RecordId};
use super::recover::{self, Left};
use super::storage::Storage;
use super::{Durability, Settings};
use crate::metrics::Metrics;

/// Messages in one commit.
const COMMIT_MESSAGES_MAX: usize = 1024;

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

/// What is known of the segment file behind the last adopted position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing is there.
    Clean,
    /// A write failed: part of a commit may be there.
    Cut,
    /// A sync failed: what the kernel shows may not be what the disk has, so the segment is never appended to again.
    Doubtful,
    /// The segment is whole, and the next frame belongs to a new one.
    Full,
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

pub(super) struct Writer {
    runtime: Runtime,
    storage: Storage,
    file: File,
    _lock: File,
    seal: Arc<Seal>,
    durability: Durability,
    segment_size: u64,
    checkpoint_interval: Duration,
    close_wait: Duration,
    position: Position,
    /// The last position from which the segment was continued or signed; the tail is re-read from here when in doubt.
    anchor: Position,
    /// Bytes of the segment that are on the disk.
    synced: u64,
    tail: Tail,
    uncovered: u64,
    checkpoint_due: Instant,
    retry_at: Instant,
    defined: Defined,
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
        let keys = PublicKey::beside(&directory).map_err(bad_key)?;
        let left = recover::recover(&storage, &keys)?;

        let boot: BootId = random_hex::<4>().map_err(failed)?.into();
        let log = match &left {
            Some(left) => left.log.clone(),
            None => random_hex::<16>().map_err(failed)?,
        };
        let seal = Arc::new(Seal { log, boot, key, checkpoint_records: settings.checkpoint_records });
        let position = left.as_ref().map_or(BEFORE_THE_FIRST, |left| left.position);
        let file = match &left {
            Some(left) => storage.open(left.position.segment),
            None => storage.create(1),
        };
        let now = Instant::now();
        let mut writer = Self {
            runtime: runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?,
            file: file.map_err(failed)?,
            _lock: lock,
            seal,
            durability: settings.durability,
            segment_size: settings.segment_size.0,
            checkpoint_interval: settings.checkpoint_interval.0,
            close_wait: settings.wait_max.0,
            position,
            anchor: position,
            synced: position.offset,
            tail: if left.is_some() { Tail::Clean } else { Tail::Full },
            uncovered: left.as_ref().map_or(0, |left| left.uncovered),
            checkpoint_due: now,
            retry_at: now,
            defined: Defined::default(),
            open: BTreeSet::new(),
            kept: Vec::new(),
            failure: None,
            writable: Arc::new(AtomicBool::new(true)),
            metrics,
            storage,
        };
        writer.begin(settings, start, left.as_ref())?;
        Ok(writer)
    }

    /// The boot's name.
    pub(super) fn boot(&self) -> BootId {
        BootId::clone(&self.seal.boot)
    }

    /// Whether the last commit succeeded.
    pub(super) fn writable(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.writable)
    }

    /// Starts the thread. It ends when it is asked to close or when nobody can send any more.
    pub(super) fn spawn(self, receiver: Receiver<Message>) -> Result<JoinHandle<()>, AuditError> {
        let path = self.storage.directory().to_owned();
        let failed = |source| AuditError::Io { path, source: Arc::new(source) };
        thread::Builder::new().name("audit".into()).spawn(move || self.run(receiver)).map_err(failed)
    }

    fn run(mut self, mut receiver: Receiver<Message>) {
        loop {
            let mut messages = Vec::new();
            let wake = self.wake();
            let more = receiver.recv_many(&mut messages, COMMIT_MESSAGES_MAX);
            let received = self.runtime.block_on(async { tokio::time::timeout_at(wake, more).await });
            match received {
                Ok(0) => {
                    // Every handle was dropped without closing: the next boot will say so.
                    self.attend(Vec::new(), Mark::Checkpoint);
                    return;
                }
                Ok(_) => {
                    if let Some(reply) = take_close(&mut messages) {
                        return self.close(messages, receiver, reply);
                    }
                    self.commit_or_wait(messages);
                }
                Err(_) => self.attend(Vec::new(), Mark::Checkpoint),
            }
        }
    }

    /// When something is due without being asked.
    fn wake(&self) -> Instant {
        match (&self.failure, self.uncovered) {
            (Some(_), _) => self.retry_at,
            (None, 0) => Instant::now() + IDLE_INTERVAL,
            (None, _) => self.checkpoint_due,
        }
    }

    /// Commits messages, unless a failed disk has to be left alone for now.
    fn commit_or_wait(&mut self, messages: Vec<Message>) {
        let now = Instant::now();
        match &self.failure {
            Some(error) if now < self.retry_at => {
                let error = Arc::clone(error);
                self.refuse(messages, &error);
            }
            Some(_) => self.attend(messages, Mark::Checkpoint),
            None if self.uncovered > 0 && now >= self.checkpoint_due => self.attend(messages, Mark::Checkpoint),
            None => self.attend(messages, Mark::WhenDue),
        }
    }

    /// Commits; whoever waits is told, and a failure is tried again later.
    fn attend(&mut self, messages: Vec<Message>, mark: Mark) {
        // The failure stays in `self.failure`, which decides when to try again.
        let _ = self.commit(messages, mark);
    }

    fn close(mut self, mut messages: Vec<Message>, mut receiver: Receiver<Message>, reply: oneshot::Sender<Result<(), AuditError>>) {
        receiver.close();
        while let Ok(message) = receiver.try_recv() {
            messages.push(message);
        }
        let give_up = Instant::now() + self.close_wait;
        let mut result = self.commit(messages, Mark::Closing);
        while result.is_err() && Instant::now() + RETRY_INTERVAL <= give_up {
            self.runtime.block_on(async { tokio::time::sleep(RETRY_INTERVAL).await });
            result = self.commit(Vec::new(), Mark::Closing);
        }
        // The lock is released before the caller hears of it.
        drop(self);
        // A caller that no longer waits has nothing to hear.
        let _ = reply.send(result.map_err(|source| AuditError::Unwritable { source: Some(source) }));
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
            tracing::error!(directory = %self.storage.directory().display(), %error, "the audit log cannot be written: nothing may run");
        }
        self.metrics.audit_writable.set(0);
    }

    /// Makes the messages durable, and gives the record of each; `None` is one that no frame can hold.
    fn write(&mut self, messages: &[Message], mark: Mark) -> io::Result<Vec<Option<RecordId>>> {
        self.mend()?;
        if self.position.offset >= self.segment_size && self.tail == Tail::Clean {
            if self.uncovered > 0 {
                let mut batch = self.batch();
                batch.checkpoint().map_err(io::Error::other)?;
                self.append(&batch, true)?;
            }
            self.tail = Tail::Full;
        }
        if self.tail == Tail::Full {
            self.rotate()?;
        }

        let mut batch = self.batch();
        let ids: Vec<_> = messages.iter().map(|message| put(&mut batch, message, &self.defined)).collect();
        match mark {
            Mark::WhenDue => {}
            Mark::Checkpoint => batch.checkpoint().map_err(io::Error::other)?,
            Mark::Closing => {
                batch.push(&Record::new(Kind::Closed, &self.unfinished(messages, &ids))).map_err(io::Error::other)?;
                batch.checkpoint().map_err(io::Error::other)?;
            }
        }
        let sync = self.durability == Durability::Fsync || batch.checkpoint.is_some();
        self.append(&batch, sync)?;
        Ok(ids)
    }

    fn batch(&self) -> Batch {
        Batch::new(&self.seal, self.position, self.synced, self.uncovered)
    }

    /// Appends a batch and adopts it.
    fn append(&mut self, batch: &Batch, sync: bool) -> io::Result<()> {
        let started = Instant::now();
        if let Err(error) = self.storage.append(&self.file, &batch.bytes) {
            self.tail = Tail::Cut;
            return Err(error);
        }
        if sync && let Err(error) = self.storage.sync(&self.file) {
            self.tail = Tail::Doubtful;
            return Err(error);
        }
        self.adopt(batch, sync);
        self.metrics.audit_commit_duration.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    fn adopt(&mut self, batch: &Batch, synced: bool) {
        if self.uncovered == 0 || batch.checkpoint.is_some() {
            self.checkpoint_due = Instant::now() + self.checkpoint_interval;
        }
        self.position = batch.end;
        self.uncovered = batch.uncovered();
        if synced {
            self.synced = batch.end.offset;
        }
        if let Some(checkpoint) = batch.checkpoint {
            self.anchor = checkpoint;
        }
        self.defined.extend(&batch.defined);
        for kind in &batch.kinds {
            self.metrics.audit_records_total.with_label_values(&[kind.as_str()]).inc();
        }
        self.metrics.audit_bytes_total.inc_by(u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX));
        self.metrics.audit_commit_records.observe(f64::from(u32::try_from(batch.kinds.len()).unwrap_or(u32::MAX)));
    }

    /// Brings the segment back to the last adopted position.
    fn mend(&mut self) -> io::Result<()> {
        match self.tail {
            Tail::Clean | Tail::Full => Ok(()),
            Tail::Cut => {
                self.storage.truncate(&self.file, self.position.offset)?;
                self.synced = self.position.offset;
                self.tail = Tail::Clean;
                Ok(())
            }
            Tail::Doubtful => {
                self.storage.truncate(&self.file, self.position.offset)?;
                self.prove_tail()?;
                self.tail = Tail::Full;
                Ok(())
            }
        }
    }

    /// Reads back what was adopted since the anchor.
    fn prove_tail(&self) -> io::Result<()> {
        let mut reader = Reader::open(&self.storage.segment_path(self.position.segment))?;
        reader.seek(self.anchor.offset)?;
        let mut chain = self.anchor.chain;
        while let Next::Frame(frame) = reader.next()? {
            chain = frame.follows(chain);
        }
        if reader.offset() == self.position.offset && chain == self.position.chain {
            Ok(())
        } else {
            Err(io::Error::other("the segment does not read back as it was written"))
        }
    }

    /// Begins the next segment. Until that is durable, nothing else is written.
    fn rotate(&mut self) -> io::Result<()> {
        let number = self.position.segment + 1;
        let start = Position { segment: number, offset: 0, ..self.position };
        let mut batch = Batch::new(&self.seal, start, 0, self.uncovered);
        let fields = SegmentFields {
            format: FORMAT.into(),
            log: self.seal.log.clone(),
            segment: number,
            previous: start.chain.to_string(),
            open: self.open.iter().map(|seq| RecordId { boot: self.boot(), seq: *seq }.to_string()).collect(),
        };
        batch.push(&Record::new(Kind::Segment, &fields)).map_err(io::Error::other)?;
        let create = || {
            let file = self.storage.create(number)?;
            self.storage.append(&file, &batch.bytes)?;
            self.storage.sync(&file)?;
            self.storage.sync_directory()?;
            Ok(file)
        };
        match create() {
            Ok(file) => {
                self.file = file;
                self.anchor = start;
                self.adopt(&batch, true);
                self.defined.clear();
                self.tail = Tail::Clean;
                Ok(())
            }
            Err(error) => {
                // What stays behind holds nothing acknowledged, and the next try empties it.
                let _ = self.storage.remove(number);
                Err(error)
            }
        }
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
        ClosedFields { unfinished: open.into_iter().map(|seq| RecordId { boot: self.boot(), seq }.to_string()).collect() }
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

    /// Commits the first records of this boot.
    fn begin(&mut self, settings: &Settings, start: &Start, left: Option<&Left>) -> Result<(), AuditError> {
        let public = self.seal.key.public();
        let opened = Record::new(
            Kind::Opened,
            &OpenedFields {
                version: &start.version,
                config: &start.config_digest,
                durability: settings.durability.as_str(),
                checkpoint_records: settings.checkpoint_records,
                key: &public.id(),
                public_key: &public.to_base64(),
            },
        );
        let recovered = left.filter(|left| left.needs_recovery()).map(|left| Record::new(Kind::Recovered, &left.fields()));
        self.write_beginning(&opened, recovered.as_ref()).map_err(|source| AuditError::Unwritable { source: Some(Arc::new(source)) })?;
        self.metrics.audit_writable.set(1);
        Ok(())
    }

    fn write_beginning(&mut self, opened: &Record, recovered: Option<&Record>) -> io::Result<()> {
        if self.tail == Tail::Full {
            self.rotate()?;
        }
        let mut batch = self.batch();
        batch.begin([Some(opened), recovered].into_iter().flatten()).map_err(io::Error::other)?;
        self.append(&batch, true)
    }
}

/// The position of a log that has no segment.
const BEFORE_THE_FIRST: Position = Position { segment: 0, offset: 0, seq: 0, chain: Chain::START };

#[derive(Serialize)]
struct OpenedFields<'a> {
    version: &'a str,
    config: &'a str,
    durability: &'static str,
    checkpoint_records: u64,
    key: &'a str,
    public_key: &'a str,
}

#[derive(Serialize)]
struct ClosedFields {
    unfinished: Vec<String>,
}

impl Drop for Writer {
    /// However the thread ends, nobody may believe that the log still promises anything.
    fn drop(&mut self) {
        self.writable.store(false, Ordering::Release);
        self.metrics.audit_writable.set(0);
    }
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
