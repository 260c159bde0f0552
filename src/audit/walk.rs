//! The rules of a log, applied frame by frame: what `verify` proves of all segments, and recovery of the last one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::batch::{CheckpointFields, FORMAT, Position, SegmentFields, signed_text};
use super::frame::{Chain, Frame, HEADER_BYTES, hex, sha256};
use super::key::PublicKey;
use super::record::Kind;

/// Where a boot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No boot has opened the log yet.
    Fresh,
    /// A boot has opened it and not yet signed that.
    Opening,
    /// Records may come.
    Running,
    /// The boot has closed it.
    Closed,
}

/// A walk through a log: what is proven so far.
pub(super) struct Walk<'k> {
    keys: &'k [PublicKey],
    /// The log's name; `None` until a segment's first record was seen.
    pub(super) log: Option<String>,
    /// The boot in whose name records stand.
    pub(super) boot: Option<String>,
    /// Where that boot stands.
    pub(super) phase: Phase,
    /// The end of what was walked.
    pub(super) position: Position,
    /// Attempts of the boot without an outcome.
    pub(super) open: BTreeSet<String>,
    /// Attempts without an outcome of boots that did not close; the next `recovered` must list them.
    pub(super) orphans: BTreeSet<String>,
    /// Must the boot that opens say what the one before left?
    owes_recovery: bool,
    /// Records after the last checkpoint.
    pub(super) uncovered: u64,
    /// Records after which the boot has promised a checkpoint.
    promised: Option<u64>,
    /// The checkpoints seen.
    pub(super) checkpoints: u64,
    /// The last record that a checkpoint covers.
    pub(super) proven: Option<u64>,
    /// The boots seen.
    pub(super) boots: u64,
    /// The records seen.
    pub(super) records: u64,
    /// Attempts that the log itself says will have no outcome.
    pub(super) unfinished: u64,
}

/// What every record has, and what ties outcomes to attempts.
#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    #[serde(borrow)]
    boot: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    attempt: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct StatementLine<'a> {
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    text_base64: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct OpenedLine {
    checkpoint_records: u64,
}

#[derive(Deserialize)]
struct UnfinishedLine {
    unfinished: BTreeSet<String>,
}

impl<'k> Walk<'k> {
    /// A walk that has seen nothing and will believe what one of `keys` signed.
    pub(super) fn new(keys: &'k [PublicKey]) -> Self {
        Self {
            keys,
            log: None,
            boot: None,
            phase: Phase::Fresh,
            position: Position { segment: 0, offset: 0, seq: 0, chain: Chain::START },
            open: BTreeSet::new(),
            orphans: BTreeSet::new(),
            owes_recovery: false,
            uncovered: 0,
            promised: None,
            checkpoints: 0,
            proven: None,
            boots: 0,
            records: 0,
            unfinished: 0,
        }
    }

    /// The next frame is the first of this segment.
    pub(super) fn enter(&mut self, segment: u64) {
        self.position.segment = segment;
        self.position.offset = 0;
    }

    /// Takes one more frame, or says why it cannot stand here.
    pub(super) fn take(&mut self, frame: &Frame) -> Result<(), Cow<'static, str>> {
        let line: Line<'_> = serde_json::from_slice(&frame.payload).map_err(|error| format!("the frame holds no record: {error}"))?;
        let kind = Kind::parse(&line.kind).ok_or_else(|| format!("unknown kind of record {:?}", line.kind))?;
        if (frame.offset == 0) != (kind == Kind::Segment) {
            return Err("a segment must begin with its own record, and no other".into());
        }
        if kind == Kind::Segment {
            self.segment(frame, &line)?;
        }
        if frame.follows(self.position.chain) != frame.chain {
            return Err("the chain is broken: this record does not continue the one before it".into());
        }
        if line.seq != self.position.seq + 1 {
            return Err(format!("sequence number {} follows {}", line.seq, self.position.seq).into());
        }
        self.apply(kind, &line, frame)?;
        self.cover(kind)?;
        let length = u64::try_from(frame.payload.len() + HEADER_BYTES).unwrap_or(u64::MAX);
        self.position = Position { offset: frame.offset + length, seq: line.seq, chain: frame.chain, ..self.position };
        self.records += 1;
        Ok(())
    }

    /// Counts how long the log goes without a signature: a boot promises a bound, in a signed record.
    fn cover(&mut self, kind: Kind) -> Result<(), Cow<'static, str>> {
        if kind == Kind::Checkpoint {
            self.uncovered = 0;
            return Ok(());
        }
        self.uncovered += 1;
        let beginning = matches!(kind, Kind::Opened | Kind::Recovered);
        match self.promised {
            Some(promised) if !beginning && self.uncovered > promised => {
                Err(format!("{} records without a checkpoint, where one was promised every {promised}", self.uncovered).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn segment(&mut self, frame: &Frame, line: &Line<'_>) -> Result<(), Cow<'static, str>> {
        let fields: SegmentFields = fields(frame)?;
        if fields.format != FORMAT {
            return Err(format!("format {:?} is not {FORMAT:?}", fields.format).into());
        }
        if fields.segment != self.position.segment {
            return Err(format!("this is segment {}, by its own record", fields.segment).into());
        }
        let previous = Chain::parse(&fields.previous).ok_or("the previous chain hash cannot be read")?;
        match &self.log {
            Some(log) if *log != fields.log => Err("this segment belongs to another log".into()),
            Some(_) if previous != self.position.chain => Err("this segment does not continue the one before it".into()),
            Some(_) if self.open != fields.open => Err("the open attempts are not those of the segment before".into()),
            Some(_) => Ok(()),
            None if fields.segment == 1 && (previous != Chain::START || !fields.open.is_empty()) => {
                Err("the first segment continues something".into())
            }
            None => {
                if fields.segment > 1 {
                    // The walk begins here: what came before is taken from the segment's own record.
                    self.boot = Some(line.boot.clone().into_owned());
                    self.phase = Phase::Running;
                    self.position.chain = previous;
                    self.position.seq = line.seq.saturating_sub(1);
                    self.open = fields.open;
                }
                self.log = Some(fields.log);
                Ok(())
            }
        }
    }

    fn apply(&mut self, kind: Kind, line: &Line<'_>, frame: &Frame) -> Result<(), Cow<'static, str>> {
        self.allowed(kind, line)?;
        match kind {
            Kind::Opened => self.opened(line, frame),
            Kind::Recovered => self.recovered(frame),
            Kind::Checkpoint => self.checkpoint(line, frame),
            Kind::Closed => self.closed(frame),
            Kind::Statement => statement(frame),
            Kind::Attempt => {
                self.open.insert(format!("{}-{}", line.boot, line.seq));
                Ok(())
            }
            Kind::Outcome => {
                let attempt = line.attempt.as_deref().unwrap_or_default();
                if self.open.remove(attempt) { Ok(()) } else { Err(format!("an outcome of {attempt:?}, which is not open").into()) }
            }
            Kind::Segment
            | Kind::Session
            | Kind::Denied
            | Kind::SessionStarted
            | Kind::SessionEnded
            | Kind::SessionRefused
            | Kind::CredentialExchanged
            | Kind::PolicyLoaded
            | Kind::PolicyRejected
            | Kind::ManifestLoaded
            | Kind::ManifestRejected
            | Kind::Draining => Ok(()),
        }
    }

    /// May a record of this kind and boot stand here?
    fn allowed(&self, kind: Kind, line: &Line<'_>) -> Result<(), Cow<'static, str>> {
        let own = self.boot.as_deref() == Some(&*line.boot);
        match (self.phase, kind) {
            (Phase::Fresh, Kind::Segment) => Ok(()),
            (_, Kind::Opened) if !own => Ok(()),
            (_, Kind::Opened) => Err("a boot opens the log twice".into()),
            (_, _) if !own => Err("a record of a boot that has not opened the log".into()),
            (Phase::Opening, Kind::Recovered | Kind::Checkpoint) | (Phase::Closed, Kind::Checkpoint) => Ok(()),
            (Phase::Running, Kind::Recovered) => Err("a recovery after the first checkpoint of its boot".into()),
            (Phase::Running, _) => Ok(()),
            (Phase::Fresh, _) => Err("a record before any boot".into()),
            (Phase::Opening, _) => Err("a record before the first checkpoint of its boot".into()),
            (Phase::Closed, _) => Err("a record after the closing of its boot".into()),
        }
    }

    fn opened(&mut self, line: &Line<'_>, frame: &Frame) -> Result<(), Cow<'static, str>> {
        let opened: OpenedLine = fields(frame)?;
        if matches!(self.phase, Phase::Opening | Phase::Running) {
            self.owes_recovery = true;
            self.orphans.append(&mut self.open);
        }
        self.boot = Some(line.boot.clone().into_owned());
        self.phase = Phase::Opening;
        self.promised = Some(opened.checkpoint_records);
        self.boots += 1;
        Ok(())
    }

    fn recovered(&mut self, frame: &Frame) -> Result<(), Cow<'static, str>> {
        let recovered: UnfinishedLine = fields(frame)?;
        if recovered.unfinished != self.orphans {
            return Err("the recovery does not list the attempts without an outcome".into());
        }
        self.unfinished += u64::try_from(self.orphans.len()).unwrap_or(u64::MAX);
        self.orphans.clear();
        self.owes_recovery = false;
        Ok(())
    }

    fn closed(&mut self, frame: &Frame) -> Result<(), Cow<'static, str>> {
        let closed: UnfinishedLine = fields(frame)?;
        if closed.unfinished != self.open {
            return Err("the closing does not list the attempts without an outcome".into());
        }
        self.unfinished += u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        self.open.clear();
        self.phase = Phase::Closed;
        Ok(())
    }

    fn checkpoint(&mut self, line: &Line<'_>, frame: &Frame) -> Result<(), Cow<'static, str>> {
        let fields: CheckpointFields = fields(frame)?;
        if self.owes_recovery {
            return Err("the boot before did not close the log, and this one does not say what it left".into());
        }
        if fields.through != self.position.seq || fields.chain != self.position.chain.to_string() {
            return Err("the checkpoint is about another place".into());
        }
        let key = self.keys.iter().find(|key| key.id() == fields.key);
        let key = key.ok_or_else(|| format!("the checkpoint is signed by key {}, which is not one of those given", fields.key))?;
        let log = self.log.as_deref().unwrap_or_default();
        let text = signed_text(log, &line.boot, &line.time, fields.through, &fields.chain);
        if !key.proves(text.as_bytes(), &fields.signature) {
            return Err("the checkpoint's signature is false".into());
        }
        if self.phase == Phase::Opening {
            self.phase = Phase::Running;
        }
        self.checkpoints += 1;
        self.proven = Some(fields.through);
        Ok(())
    }
}

fn fields<'a, T: Deserialize<'a>>(frame: &'a Frame) -> Result<T, Cow<'static, str>> {
    serde_json::from_slice(&frame.payload).map_err(|error| format!("the record lacks what its kind needs: {error}").into())
}

fn statement(frame: &Frame) -> Result<(), Cow<'static, str>> {
    let statement: StatementLine<'_> = fields(frame)?;
    let original = match &statement.text_base64 {
        None => Cow::Borrowed(statement.text.as_bytes()),
        Some(encoded) => Cow::Owned(STANDARD.decode(encoded.as_bytes()).map_err(|_| "the text is not in Base64")?),
    };
    // Readers are shown the text, so it has to be that of the bytes.
    match hex(&sha256(&original)) == statement.digest && String::from_utf8_lossy(&original) == statement.text {
        true => Ok(()),
        false => Err("the text is not the one that the digest names".into()),
    }
}
