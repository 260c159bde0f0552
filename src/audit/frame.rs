//! One frame of a segment file, and the hash chain that binds each to all before it.
//!
//! Layout, integers little-endian: payload length (u32), CRC-32 of everything else in the frame (u32), bytes that
//! were not yet synced when it was written (u32), chain hash (32 bytes), payload (one JSON object).

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use aws_lc_rs::digest;

/// Bytes of a frame before its payload.
pub(super) const HEADER_BYTES: usize = 44;
const HEADER_BYTES_U64: u64 = 44;

/// Longest payload. Over the longest statement (64 MiB) even when JSON escapes each of its bytes in six.
pub(super) const PAYLOAD_BYTES_MAX: u32 = 512 * 1024 * 1024;

/// How every payload begins; the search for frames behind a damaged one looks for it.
/// It cannot occur inside a payload, where JSON escapes the quotation marks of strings.
pub(super) const PAYLOAD_START: &[u8] = b"{\"seq\":";

/// How much is read at a time in the search for later frames.
const SEARCH_WINDOW_BYTES: usize = 1024 * 1024;

/// The chain hash after some frame: SHA-256 of the hash before it, its length, its unsynced count and its payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain([u8; 32]);

impl Chain {
    /// The hash before the first frame of a log.
    pub(super) const START: Self = Self([0; 32]);

    /// The hash after one more frame.
    pub(super) fn next(self, length: u32, unsynced: u32, payload: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.0);
        context.update(&length.to_le_bytes());
        context.update(&unsynced.to_le_bytes());
        context.update(payload);
        Self(finished(context))
    }

    /// Reads what `Display` prints.
    pub(super) fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(bytes);
    finished(context)
}

fn finished(context: digest::Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// A payload over [`PAYLOAD_BYTES_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("a record of {0} bytes is longer than a frame may be")]
pub(super) struct TooLong(pub(super) usize);

/// Appends the frame of `payload` to `out` and returns the chain hash after it.
///
/// `unsynced` is the number of bytes between this frame and the last byte of the segment known to be on the disk.
pub(super) fn encode(out: &mut Vec<u8>, chain: Chain, unsynced: u64, payload: &[u8]) -> Result<Chain, TooLong> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX).ok_or(TooLong(payload.len()))?;
    // Saturation understates what a crash may have torn: recovery then refuses instead of cutting.
    let unsynced = u32::try_from(unsynced).unwrap_or(u32::MAX);
    let chain = chain.next(length, unsynced, payload);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(length, unsynced, &chain, payload).to_le_bytes());
    out.extend_from_slice(&unsynced.to_le_bytes());
    out.extend_from_slice(&chain.0);
    out.extend_from_slice(payload);
    Ok(chain)
}

fn checksum(length: u32, unsynced: u32, chain: &Chain, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length.to_le_bytes());
    crc.update(&unsynced.to_le_bytes());
    crc.update(&chain.0);
    crc.update(payload);
    crc.finalize()
}

/// The fixed part of a frame, as read.
struct Header {
    length: u32,
    checksum: u32,
    unsynced: u32,
    chain: Chain,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let (numbers, chain) = bytes.split_at(12);
        let mut numbers = numbers.chunks(4).map(|four| four.iter().rev().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte)));
        let mut next = || numbers.next().unwrap_or_default();
        let (length, checksum, unsynced) = (next(), next(), next());
        let mut hash = [0; 32];
        hash.copy_from_slice(chain);
        Self { length, checksum, unsynced, chain: Chain(hash) }
    }
}

/// A frame that is whole: its checksum is right. Whether it belongs where it stands is for the chain to say.
#[derive(Debug)]
pub(super) struct Frame {
    /// Where it begins in its segment.
    pub(super) offset: u64,
    /// How many bytes before it were not known to be on the disk when it was written.
    pub(super) unsynced: u32,
    /// The chain hash that it claims.
    pub(super) chain: Chain,
    /// The record.
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The chain hash of a frame with these contents behind `previous`; the frame's own where it belongs there.
    pub(super) fn follows(&self, previous: Chain) -> Chain {
        previous.next(u32::try_from(self.payload.len()).unwrap_or(u32::MAX), self.unsynced, &self.payload)
    }
}

/// What stands at the reader's place.
#[derive(Debug)]
pub(super) enum Next {
    /// A whole frame.
    Frame(Frame),
    /// The end of the segment, exactly behind a frame.
    End,
    /// Bytes that are no frame, from this offset on.
    Bad {
        /// Where they begin.
        offset: u64,
        /// What is wrong with them.
        why: &'static str,
    },
}

/// What bytes that are no frame can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The torn end of a commit that nobody was told of: a crash leaves this.
    Torn,
    /// Not of a crash's making: this later frame was written when the damaged bytes were already on the disk.
    Corrupt {
        /// Where the later frame begins.
        later: u64,
    },
}

/// Reads the frames of one segment in order, one at a time.
///
/// The segment's length is taken once, so that a log that is being written can be read.
pub(super) struct Reader {
    file: BufReader<File>,
    length: u64,
    offset: u64,
}

impl Reader {
    /// Opens a segment.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(256 * 1024, file), length, offset: 0 })
    }

    /// The length of the segment when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The segment's file.
    pub(super) fn file(&self) -> &File {
        self.file.get_ref()
    }

    /// Where the next frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Continues at `offset`, which must be the beginning of a frame.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.offset = offset;
        Ok(())
    }

    /// The next frame. After `Bad` the reader must not be used further.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        let offset = self.offset;
        let left = self.length.saturating_sub(offset);
        let bad = |why| Ok(Next::Bad { offset, why });
        if left == 0 {
            return Ok(Next::End);
        }
        if left < HEADER_BYTES_U64 {
            return bad("the segment ends inside a frame's header");
        }
        let mut bytes = [0; HEADER_BYTES];
        self.file.read_exact(&mut bytes)?;
        let header = Header::parse(&bytes);
        if header.length > PAYLOAD_BYTES_MAX {
            return bad("impossible frame length");
        }
        if u64::from(header.length) > left - HEADER_BYTES_U64 {
            return bad("the segment ends inside a frame");
        }
        let mut payload = vec![0; usize::try_from(header.length).unwrap_or_default()];
        self.file.read_exact(&mut payload)?;
        if checksum(header.length, header.unsynced, &header.chain, &payload) != header.checksum {
            return bad("checksum mismatch");
        }
        if !payload.starts_with(PAYLOAD_START) {
            return bad("the frame holds no record");
        }
        self.offset = offset + HEADER_BYTES_U64 + u64::from(header.length);
        Ok(Next::Frame(Frame { offset, unsynced: header.unsynced, chain: header.chain, payload }))
    }

    /// Says whether a crash can have left the bytes at `bad`, which [`Reader::next`] gave as no frame.
    ///
    /// A commit reaches the disk in any order, so whole frames may follow torn ones; but each frame says how far back
    /// the disk was behind. A later frame that was written after the damaged bytes were synced convicts them.
    pub(super) fn judge(&self, bad: u64) -> io::Result<Damage> {
        let file = self.file.get_ref();
        let mut window = vec![0; SEARCH_WINDOW_BYTES];
        let mut at = bad + 1;
        while at < self.length {
            let read = file.read_at(&mut window, at)?;
            let found = window.get(..read).unwrap_or_default();
            let starts = found.windows(PAYLOAD_START.len()).enumerate().filter(|(_, bytes)| *bytes == PAYLOAD_START);
            for (index, _) in starts {
                let Some(start) = (at + u64::try_from(index).unwrap_or_default()).checked_sub(HEADER_BYTES_U64) else { continue };
                if start > bad && self.convicts(start, bad)? {
                    return Ok(Damage::Corrupt { later: start });
                }
            }
            if read < PAYLOAD_START.len() {
                break;
            }
            // The last bytes are looked at again: a frame's start may lie across two windows.
            at += u64::try_from(read + 1 - PAYLOAD_START.len()).unwrap_or(u64::MAX);
        }
        Ok(Damage::Torn)
    }

    /// Is there a whole frame at `start` that was written when `bad` was already synced?
    fn convicts(&self, start: u64, bad: u64) -> io::Result<bool> {
        let mut later = Self { file: BufReader::new(self.file.get_ref().try_clone()?), length: self.length, offset: start };
        later.seek(start)?;
        Ok(match later.next()? {
            Next::Frame(frame) => frame.offset.saturating_sub(u64::from(frame.unsynced)) > bad,
            Next::End | Next::Bad { .. } => false,
        })
    }
}
