//! The frames of one commit, built on a copy of the log's position: nothing counts until the commit is durable.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::frame::{self, Chain};
use super::key::SigningKey;
use super::record::{BootId, Definition, Kind, Record, RecordId, rfc3339};

/// What a segment's first record says it is. Another number means another reader.
pub(super) const FORMAT: &str = "tollhouse-audit/1";

/// Definitions that are remembered as written to the segment; over it all are forgotten and written again.
const DEFINED_MAX: usize = 65_536;

/// The end of a log: where the next frame goes and what it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The segment's number.
    pub(super) segment: u64,
    /// Bytes of the segment.
    pub(super) offset: u64,
    /// The sequence number of the last record.
    pub(super) seq: u64,
    /// The chain hash after it.
    pub(super) chain: Chain,
}

/// What the records of one boot have in common, and what signs its checkpoints.
pub(super) struct Seal {
    /// The log's own name: 32 hexadecimal digits, in the first record of every segment.
    pub(super) log: String,
    /// The boot.
    pub(super) boot: BootId,
    /// The key.
    pub(super) key: SigningKey,
    /// Records after which a checkpoint follows.
    pub(super) checkpoint_records: u64,
}

/// Which definitions the current segment has.
#[derive(Default)]
pub(super) struct Defined(HashSet<[u8; 32]>);

impl Defined {
    /// Takes over what a durable commit defined.
    pub(super) fn extend(&mut self, keys: &[[u8; 32]]) {
        if self.0.len() + keys.len() > DEFINED_MAX {
            self.0.clear();
        }
        self.0.extend(keys);
    }

    /// A new segment has none.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The fields of `segment`.
#[derive(Serialize, Deserialize)]
pub(super) struct SegmentFields {
    pub(super) format: String,
    pub(super) log: String,
    pub(super) segment: u64,
    /// The chain hash before this record.
    pub(super) previous: String,
    /// Attempts that have no outcome yet.
    pub(super) open: BTreeSet<String>,
}

/// The fields of `checkpoint`.
#[derive(Serialize, Deserialize)]
pub(super) struct CheckpointFields {
    /// The last record covered: the one before the checkpoint.
    pub(super) through: u64,
    /// The chain hash after it.
    pub(super) chain: String,
    /// The id of the key.
    pub(super) key: String,
    /// Ed25519 over [`signed_text`], in Base64.
    pub(super) signature: String,
}

/// What a checkpoint's signature covers.
pub(super) fn signed_text(log: &str, boot: &str, time: &str, through: u64, chain: &str) -> String {
    format!("{FORMAT} checkpoint\nlog {log}\nboot {boot}\ntime {time}\nthrough {through}\nchain {chain}\n")
}

/// Frames that go to the disk together.
pub(super) struct Batch {
    seal: Arc<Seal>,
    synced: u64,
    uncovered: u64,
    /// The bytes to append.
    pub(super) bytes: Vec<u8>,
    /// Where the log ends once they are durable.
    pub(super) end: Position,
    /// The kinds of the records, in order.
    pub(super) kinds: Vec<Kind>,
    /// What was defined.
    pub(super) defined: Vec<[u8; 32]>,
    /// The log's end after the last checkpoint of the batch.
    pub(super) checkpoint: Option<Position>,
}

impl Batch {
    /// A batch at `start`, in a segment of which the first `synced` bytes are on the disk;
    /// `uncovered` records stand after the last checkpoint.
    pub(super) fn new(seal: &Arc<Seal>, start: Position, synced: u64, uncovered: u64) -> Self {
        Self {
            seal: Arc::clone(seal),
            synced,
            uncovered,
            bytes: Vec::new(),
            end: start,
            kinds: Vec::new(),
            defined: Vec::new(),
            checkpoint: None,
        }
    }

    /// Records after the last checkpoint.
    pub(super) fn uncovered(&self) -> u64 {
        self.uncovered
    }

    /// Adds a record, and a checkpoint where one is due.
    ///
    /// # Errors
    /// [`frame::TooLong`]; the batch is as before.
    pub(super) fn push(&mut self, record: &Record) -> Result<RecordId, frame::TooLong> {
        let id = self.append(record)?;
        self.uncovered += 1;
        if self.uncovered >= self.seal.checkpoint_records {
            self.checkpoint()?;
        }
        Ok(id)
    }

    /// Adds the first records of a boot, with the checkpoint that signs them.
    ///
    /// # Errors
    /// [`frame::TooLong`].
    pub(super) fn begin<'r>(&mut self, records: impl IntoIterator<Item = &'r Record>) -> Result<(), frame::TooLong> {
        for record in records {
            self.append(record)?;
        }
        self.checkpoint()
    }

    /// Adds what a record refers to, where the segment does not have it.
    ///
    /// # Errors
    /// [`frame::TooLong`]; the batch is as before.
    pub(super) fn define(&mut self, definition: &Definition, time: SystemTime, defined: &Defined) -> Result<(), frame::TooLong> {
        let key = *definition.key();
        if !defined.0.contains(&key) && !self.defined.contains(&key) {
            self.push(&definition.record(time))?;
            self.defined.push(key);
        }
        Ok(())
    }

    /// Adds a checkpoint over everything before it.
    ///
    /// # Errors
    /// [`frame::TooLong`], which a checkpoint never is.
    pub(super) fn checkpoint(&mut self) -> Result<(), frame::TooLong> {
        let now = SystemTime::now();
        let (through, chain) = (self.end.seq, self.end.chain.to_string());
        let text = signed_text(&self.seal.log, &self.seal.boot, &rfc3339(now), through, &chain);
        let signature = self.seal.key.sign(text.as_bytes());
        let key = self.seal.key.public().id();
        self.append(&Record::at(now, Kind::Checkpoint, &CheckpointFields { through, chain, key, signature }))?;
        self.uncovered = 0;
        self.checkpoint = Some(self.end);
        Ok(())
    }

    fn append(&mut self, record: &Record) -> Result<RecordId, frame::TooLong> {
        let id = RecordId { boot: BootId::clone(&self.seal.boot), seq: self.end.seq + 1 };
        let before = self.bytes.len();
        let unsynced = self.end.offset.saturating_sub(self.synced);
        self.end.chain = frame::encode(&mut self.bytes, self.end.chain, unsynced, record.payload(&id).as_bytes())?;
        self.end.seq = id.seq;
        self.end.offset += u64::try_from(self.bytes.len() - before).unwrap_or(u64::MAX);
        self.kinds.push(record.kind);
        Ok(id)
    }
}
