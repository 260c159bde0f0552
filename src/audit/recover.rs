//! What a log needs when it is opened again: a torn tail is cut and accounted for, anything else is refused.
//!
//! Only the last segment is read: its first record carries what is needed of those before. `verify` proves them all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::Serialize;

use super::batch::Position;
use super::frame::{Damage, Next, Reader, hex};
use super::key::PublicKey;
use super::log::AuditError;
use super::storage::Storage;
use super::walk::{Phase, Walk};

/// What earlier boots left.
pub(super) struct Left {
    /// The end of the log.
    pub(super) position: Position,
    /// The log's name.
    pub(super) log: String,
    /// Records after the last checkpoint.
    pub(super) uncovered: u64,
    torn: Option<Torn>,
    boot: Option<String>,
    unclosed: bool,
    unfinished: Vec<String>,
}

/// Bytes that were cut.
struct Torn {
    bytes: u64,
    sha256: String,
}

/// The fields of `recovered`.
#[derive(Serialize)]
pub(super) struct RecoveredFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_boot: Option<&'a str>,
    torn_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_sha256: Option<&'a str>,
    unfinished: &'a [String],
}

impl Left {
    /// Does this boot owe the log a `recovered`?
    pub(super) fn needs_recovery(&self) -> bool {
        self.unclosed || self.torn.is_some()
    }

    /// What it says.
    pub(super) fn fields(&self) -> RecoveredFields<'_> {
        RecoveredFields {
            previous_boot: self.boot.as_deref(),
            torn_bytes: self.torn.as_ref().map_or(0, |torn| torn.bytes),
            torn_sha256: self.torn.as_ref().map(|torn| torn.sha256.as_str()),
            unfinished: &self.unfinished,
        }
    }
}

/// Finds the end of the log and cuts what a crash left behind it. `None` where there is no log yet.
///
/// # Errors
/// `Corrupt` for what no crash explains; nothing is changed then. `Io` when the disk refuses.
pub(super) fn recover(storage: &Storage, keys: &[PublicKey]) -> Result<Option<Left>, AuditError> {
    let segments = storage.segments().map_err(|source| io_error(storage, source))?;
    let Some(last) = segments.last().copied() else { return Ok(None) };
    let scan = scan(storage, last, keys)?;
    if scan.walk.log.is_some() {
        return finish(storage, scan).map(Some);
    }

    // The last segment has no whole first record: its making was interrupted, and nothing in it was acknowledged.
    // The segment before was complete by then, so its end is whole.
    let torn = scan.torn;
    let before = segments.iter().rev().nth(1).copied();
    let before = before.map(|number| scan_whole(storage, number, keys)).transpose()?;
    storage.remove(last).and_then(|()| storage.sync_directory()).map_err(|source| io_error(storage, source))?;
    before.map(|scan| finish(storage, Scan { torn, ..scan })).transpose()
}

/// What reading a segment to its end gave.
struct Scan<'k> {
    walk: Walk<'k>,
    torn: Option<Torn>,
}

fn scan<'k>(storage: &Storage, number: u64, keys: &'k [PublicKey]) -> Result<Scan<'k>, AuditError> {
    let failed = |source| io_error(storage, source);
    let corrupt = |offset, why: String| AuditError::Corrupt { file: storage.segment_path(number), offset, why };
    let mut reader = Reader::open(&storage.segment_path(number)).map_err(failed)?;
    let mut walk = Walk::new(keys);
    walk.enter(number);
    loop {
        match reader.next().map_err(failed)? {
            Next::Frame(frame) => walk.take(&frame).map_err(|why| corrupt(frame.offset, why.into_owned()))?,
            Next::End if reader.length() > 0 => return Ok(Scan { walk, torn: None }),
            Next::End => return Ok(Scan { walk, torn: Some(digest_of(&reader, 0).map_err(failed)?) }),
            Next::Bad { offset, why } => {
                return match reader.judge(offset).map_err(failed)? {
                    Damage::Torn => Ok(Scan { walk, torn: Some(digest_of(&reader, offset).map_err(failed)?) }),
                    Damage::Corrupt { later } => {
                        Err(corrupt(offset, format!("{why}, and the record at byte {later} was written after this one was safe")))
                    }
                };
            }
        }
    }
}

fn scan_whole<'k>(storage: &Storage, number: u64, keys: &'k [PublicKey]) -> Result<Scan<'k>, AuditError> {
    let scan = scan(storage, number, keys)?;
    match scan.torn {
        None => Ok(scan),
        Some(_) => Err(AuditError::Corrupt {
            file: storage.segment_path(number),
            offset: scan.walk.position.offset,
            why: "a segment that was followed by another is not whole".into(),
        }),
    }
}

/// Cuts the torn tail and makes sure that the disk has the rest.
fn finish(storage: &Storage, Scan { walk, torn }: Scan<'_>) -> Result<Left, AuditError> {
    let failed = |source| io_error(storage, source);
    let file = storage.open(walk.position.segment).map_err(failed)?;
    storage.truncate(&file, walk.position.offset).map_err(failed)?;
    Ok(Left {
        position: walk.position,
        log: walk.log.unwrap_or_default(),
        uncovered: walk.uncovered,
        torn,
        boot: walk.boot,
        unclosed: matches!(walk.phase, Phase::Opening | Phase::Running),
        unfinished: walk.open.union(&walk.orphans).cloned().collect(),
    })
}

/// The digest of everything from `offset` on.
fn digest_of(reader: &Reader, offset: u64) -> io::Result<Torn> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    let mut at = offset;
    let file: &File = reader.file();
    while at < reader.length() {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            break;
        }
        context.update(buffer.get(..read).unwrap_or_default());
        at += u64::try_from(read).unwrap_or(u64::MAX);
    }
    Ok(Torn { bytes: at - offset, sha256: hex(context.finish().as_ref()) })
}

fn io_error(storage: &Storage, source: io::Error) -> AuditError {
    AuditError::Io { path: storage.directory().to_owned(), source: Arc::new(source) }
}
