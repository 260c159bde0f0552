//! The growing end of the log: appends commits, mends what a failed one left, and begins new segments.
//!
//! A commit is built on a copy of the log's position and adopted when it is durable. After an error the file is cut
//! back to the last adopted position before anything else is written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Durability;
use super::batch::{Batch, Defined, FORMAT, Position, Seal, SegmentFields};
use super::frame::{Chain, Next, Reader};
use super::record::{Kind, Record};
use super::storage::Storage;
use crate::metrics::Metrics;

/// The position of a log that has no segment.
const BEFORE_THE_FIRST: Position = Position { segment: 0, offset: 0, seq: 0, chain: Chain::START };

/// Records that one message can become: what it refers to (a session and a statement), and itself.
const MESSAGE_RECORDS_MAX: u64 = 3;

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

/// The end of the log, and the file that holds it.
pub(super) struct Appender {
    storage: Storage,
    /// The current segment; `None` before the first.
    file: Option<File>,
    seal: Arc<Seal>,
    durability: Durability,
    segment_size: u64,
    position: Position,
    /// The last position at which the segment began or was signed; the tail is re-read from here when in doubt.
    anchor: Position,
    /// Bytes of the segment that are on the disk.
    synced: u64,
    tail: Tail,
    uncovered: u64,
    defined: Defined,
    metrics: Arc<Metrics>,
}

impl Appender {
    /// Continues a log at its whole and synced end, behind which `uncovered` records are not signed; without one,
    /// begins a log. Segments of `segment_size` bytes or more are followed by new ones.
    pub(super) fn open(
        storage: Storage,
        seal: Arc<Seal>,
        (durability, segment_size): (Durability, u64),
        end: Option<(Position, u64)>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (position, uncovered) = end.unwrap_or((BEFORE_THE_FIRST, 0));
        Ok(Self {
            file: end.map(|(position, _)| storage.open(position.segment)).transpose()?,
            storage,
            seal,
            durability,
            segment_size,
            position,
            anchor: position,
            synced: position.offset,
            tail: if end.is_some() { Tail::Clean } else { Tail::Full },
            uncovered,
            defined: Defined::default(),
            metrics,
        })
    }

    /// Records after the last checkpoint.
    pub(super) fn uncovered(&self) -> u64 {
        self.uncovered
    }

    /// Whether `count` messages can be appended without waiting for the disk: they begin no segment and are due no
    /// checkpoint.
    pub(super) fn takes_without_sync(&self, count: usize) -> bool {
        let records = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(MESSAGE_RECORDS_MAX);
        self.durability == Durability::Write
            && self.tail == Tail::Clean
            && self.position.offset < self.segment_size
            && self.uncovered.saturating_add(records) < self.seal.checkpoint_records
    }

    /// What the current segment defines.
    pub(super) fn defined(&self) -> &Defined {
        &self.defined
    }

    /// An empty batch at the end of the log. Valid until the next call that changes the log.
    pub(super) fn batch(&self) -> Batch {
        Batch::new(&self.seal, self.position, self.synced, self.uncovered)
    }

    /// Makes sure that a batch can follow: mends the segment, or begins a new one, which says that `open` attempts have
    /// no outcome yet.
    ///
    /// # Errors
    /// The disk's; nothing is adopted, and the next call tries again.
    pub(super) fn prepare(&mut self, open: impl Fn() -> BTreeSet<String>) -> io::Result<()> {
        self.mend()?;
        if self.tail == Tail::Clean && self.position.offset >= self.segment_size {
            if self.uncovered > 0 {
                let mut batch = self.batch();
                batch.checkpoint().map_err(io::Error::other)?;
                self.append(&batch)?;
            }
            self.tail = Tail::Full;
        }
        if self.tail == Tail::Full { self.rotate(open()) } else { Ok(()) }
    }

    /// Begins the first segment of a log that has none.
    ///
    /// # Errors
    /// The disk's; there is still no segment then.
    pub(super) fn begin_log(&mut self) -> io::Result<()> {
        if self.file.is_none() { self.rotate(BTreeSet::new()) } else { Ok(()) }
    }

    /// Makes a batch durable and adopts it.
    ///
    /// # Errors
    /// The disk's; the batch counts as never written.
    pub(super) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let started = Instant::now();
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the log has no segment yet"))?;
        if let Err(error) = self.storage.append(file, &batch.bytes) {
            self.tail = Tail::Cut;
            return Err(error);
        }
        let sync = self.durability == Durability::Fsync || batch.checkpoint.is_some();
        if sync && let Err(error) = self.storage.sync(file) {
            self.tail = Tail::Doubtful;
            return Err(error);
        }
        self.adopt(batch, sync);
        self.metrics.audit_commit_duration.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    fn adopt(&mut self, batch: &Batch, synced: bool) {
        self.position = batch.end;
        self.uncovered = batch.uncovered();
        if synced {
            self.synced = batch.end.offset;
        }
        if let Some(checkpoint) = batch.checkpoint {
            self.anchor = checkpoint;
            self.measure();
        }
        self.defined.extend(&batch.defined);
        for kind in &batch.kinds {
            self.metrics.audit_records_total.with_label_values(&[kind.as_str()]).inc();
        }
        self.metrics.audit_bytes_total.inc_by(u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX));
        self.metrics.audit_commit_records.observe(f64::from(u32::try_from(batch.kinds.len()).unwrap_or(u32::MAX)));
    }

    /// Tells how much room the disk has. What it does not say stays as it was.
    pub(super) fn measure(&self) {
        match self.storage.room() {
            Ok((available, size)) => {
                self.metrics.audit_filesystem_available.set(i64::try_from(available).unwrap_or(i64::MAX));
                self.metrics.audit_filesystem_size.set(i64::try_from(size).unwrap_or(i64::MAX));
            }
            Err(error) => tracing::debug!(%error, "the room of the audit log is not known"),
        }
    }

    /// Brings the segment back to the last adopted position.
    fn mend(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        match self.tail {
            Tail::Clean | Tail::Full => {}
            Tail::Cut => {
                self.storage.truncate(file, self.position.offset)?;
                self.synced = self.position.offset;
                self.tail = Tail::Clean;
            }
            Tail::Doubtful => {
                self.storage.truncate(file, self.position.offset)?;
                self.prove_tail()?;
                self.tail = Tail::Full;
            }
        }
        Ok(())
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
    fn rotate(&mut self, open: BTreeSet<String>) -> io::Result<()> {
        let number = self.position.segment + 1;
        let start = Position { segment: number, offset: 0, ..self.position };
        let mut batch = Batch::new(&self.seal, start, 0, self.uncovered);
        let (format, log, previous) = (FORMAT.into(), self.seal.log.clone(), start.chain.to_string());
        let fields = SegmentFields { format, log, segment: number, previous, open };
        batch.push(&Record::new(Kind::Segment, &fields)).map_err(io::Error::other)?;
        match self.create(number, &batch) {
            Ok(file) => {
                self.file = Some(file);
                self.anchor = start;
                self.adopt(&batch, true);
                self.defined.clear();
                self.tail = Tail::Clean;
                Ok(())
            }
            Err(error) => {
                // What may stay behind holds nothing acknowledged, and the next try empties it.
                let _left_behind = self.storage.remove(number);
                Err(error)
            }
        }
    }

    fn create(&self, number: u64, batch: &Batch) -> io::Result<File> {
        let file = self.storage.create(number)?;
        self.storage.append(&file, &batch.bytes)?;
        self.storage.sync(&file)?;
        self.storage.sync_directory()?;
        Ok(file)
    }
}
