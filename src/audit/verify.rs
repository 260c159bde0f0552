//! Proves a log offline: that nothing is missing, changed or out of order before its last signed checkpoint.
//!
//! Streams: memory is bounded by the longest record and the number of attempts in flight.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::frame::{Damage, Next, Reader};
use super::key::{KeyError, PublicKey};
use super::storage::Storage;
use super::walk::{Phase, Walk};

/// Why a log could not even be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The directory or a segment cannot be read.
    #[error("{path} cannot be read", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no segment in the directory.
    #[error("{directory} holds no audit log", directory = directory.display())]
    NoLog {
        /// Which directory.
        directory: PathBuf,
    },
    /// A public key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No public key was given, and none lies beside the log.
    #[error("no public key was given, and none lies in {directory}", directory = directory.display())]
    NoKey {
        /// Which directory.
        directory: PathBuf,
    },
}

/// What is proven of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Is everything up to the last checkpoint as it was written? A torn tail does not speak against it.
    pub proven: bool,
    /// The first thing that is wrong.
    pub flaw: Option<Flaw>,
    /// Records read, all kinds.
    pub records: u64,
    /// Segments read.
    pub segments: u64,
    /// The number of the first segment; over 1 when earlier ones were archived, which are not proven then.
    pub first_segment: u64,
    /// Boots of the program.
    pub boots: u64,
    /// Checkpoints whose signature is right.
    pub checkpoints: u64,
    /// The last record that a signature covers.
    pub last_proven: Option<u64>,
    /// Records after it: chained, but not signed. Whoever can write to the file could have made or cut them.
    pub unproven_records: u64,
    /// Attempts that the log itself says have no outcome, because their boot ended first.
    pub unfinished: u64,
    /// Attempts without an outcome at the open end.
    pub in_flight: u64,
    /// How the log ends.
    pub tail: Tail,
    /// The ids of the keys that signatures were checked with.
    pub keys: Vec<String>,
    /// Where the keys came from. Keys that lie beside the log prove nothing against one who could replace both.
    pub keys_from: KeySource,
}

/// Where the public keys came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// From the caller.
    Given,
    /// From the directory of the log.
    BesideTheLog,
}

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "end")]
pub enum Tail {
    /// With a closing record and the checkpoint that signs it.
    Closed,
    /// In the middle of a boot: it is being written, or the program was killed.
    Open,
    /// Inside a frame that nobody was told of; the next start cuts it.
    Torn {
        /// Where the tear begins.
        offset: u64,
        /// Bytes from there to the end.
        bytes: u64,
    },
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// The segment.
    pub file: PathBuf,
    /// The frame in which it shows, by its first byte.
    pub offset: u64,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}: {}", self.file.display(), self.offset, self.why)
    }
}

/// Reads the whole log in `directory` and says what is proven. Checks signatures with `keys`, or, where none are
/// given, with the public keys that lie beside the log. A log that is being written can be verified.
///
/// # Errors
/// [`VerifyError`] when there is nothing to judge. A bad log is not an error but a [`Report`] with a flaw.
pub fn verify(directory: &Path, keys: &[PublicKey]) -> Result<Report, VerifyError> {
    let storage = Storage::new(directory);
    let failed = |source| VerifyError::Io { path: directory.to_owned(), source };
    let segments = storage.segments().map_err(failed)?;
    let (Some(first), Some(last)) = (segments.first().copied(), segments.last().copied()) else {
        return Err(VerifyError::NoLog { directory: directory.to_owned() });
    };
    let (keys, keys_from) = match keys {
        [] => (PublicKey::beside(directory)?, KeySource::BesideTheLog),
        given => (given.to_vec(), KeySource::Given),
    };
    if keys.is_empty() {
        return Err(VerifyError::NoKey { directory: directory.to_owned() });
    }

    let mut walk = Walk::new(&keys);
    let mut torn = None;
    let mut flaw = None;
    for (expected, number) in (first..).zip(segments.iter().copied()) {
        let path = storage.segment_path(number);
        let end = match expected == number {
            true => segment(&path, number, number == last, &mut walk).map_err(|source| VerifyError::Io { path, source })?,
            false => End::Flaw(Flaw { file: storage.segment_path(expected), offset: 0, why: "the segment is missing".into() }),
        };
        match end {
            End::Whole => {}
            End::Torn { offset, bytes } => torn = Some((offset, bytes)),
            End::Flaw(found) => {
                flaw = Some(found);
                break;
            }
        }
    }
    if flaw.is_none() && walk.proven.is_none() {
        let file = storage.segment_path(first);
        flaw = Some(Flaw { file, offset: 0, why: "no checkpoint signs anything".into() });
    }
    Ok(report(&walk, flaw, torn, &keys, (first, keys_from, segments.len())))
}

fn report(
    walk: &Walk<'_>,
    flaw: Option<Flaw>,
    torn: Option<(u64, u64)>,
    keys: &[PublicKey],
    (first_segment, keys_from, segments): (u64, KeySource, usize),
) -> Report {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Report {
        proven: flaw.is_none(),
        flaw,
        records: walk.records,
        segments: count(segments),
        first_segment,
        boots: walk.boots,
        checkpoints: walk.checkpoints,
        last_proven: walk.proven,
        unproven_records: walk.uncovered,
        unfinished: walk.unfinished,
        in_flight: count(walk.open.len() + walk.orphans.len()),
        tail: match torn {
            Some((offset, bytes)) => Tail::Torn { offset, bytes },
            None if walk.phase == Phase::Closed && walk.uncovered == 0 => Tail::Closed,
            None => Tail::Open,
        },
        keys: keys.iter().map(PublicKey::id).collect(),
        keys_from,
    }
}

/// How a segment ended.
enum End {
    Whole,
    Torn { offset: u64, bytes: u64 },
    Flaw(Flaw),
}

fn segment(path: &Path, number: u64, last: bool, walk: &mut Walk<'_>) -> io::Result<End> {
    let mut reader = Reader::open(path)?;
    walk.enter(number);
    let flaw = |offset, why: String| End::Flaw(Flaw { file: path.to_owned(), offset, why });
    loop {
        match reader.next()? {
            Next::Frame(frame) => {
                if let Err(why) = walk.take(&frame) {
                    return Ok(flaw(frame.offset, why.into_owned()));
                }
            }
            Next::End if reader.length() == 0 && !last => return Ok(flaw(0, "the segment is empty".into())),
            Next::End => return Ok(End::Whole),
            Next::Bad { offset, why } if !last => return Ok(flaw(offset, why.into())),
            Next::Bad { offset, why } => {
                return Ok(match reader.judge(offset)? {
                    Damage::Torn => End::Torn { offset, bytes: reader.length() - offset },
                    Damage::Corrupt { later } => {
                        flaw(offset, format!("{why}, and the record at byte {later} was written after this one was safe"))
                    }
                });
            }
        }
    }
}
