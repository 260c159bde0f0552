//! Reads whole messages off a connection, within bounds.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadHalf, WriteHalf};

use super::message::{HEADER_BYTES, header};
use crate::fault::{Fault, Reason};
use crate::tls::stream::Stream;

/// Room that a reader starts with. It grows while reads fill it, up to [`BUFFER_BYTES_MAX`].
const BUFFER_BYTES: usize = 8 * 1024;

/// Most that one read takes, however much is waiting.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// A connection's reading side with what was read and not yet used.
pub(super) struct Reader<R> {
    /// Where bytes come from.
    pub(super) from: R,
    /// What was read and not yet used.
    pub(super) buffer: BytesMut,
    room: usize,
}

/// One message, taken off the buffer.
#[derive(Debug)]
pub(super) struct Message {
    /// The type byte.
    pub(super) kind: u8,
    /// The message as it came: type, length and body.
    pub(super) bytes: Bytes,
}

impl Message {
    /// What follows the header.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The peer closed the connection between two messages.
    #[error("the connection was closed")]
    Closed,
    /// The peer closed the connection inside a message.
    #[error("the connection was closed inside a message")]
    Truncated,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// A length field below its minimum.
    #[error("a message has an impossible length")]
    Malformed,
    /// A message over the bound.
    #[error("a message of {0} bytes is over the limit")]
    TooLarge(usize),
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader that has read nothing yet.
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new(), room: BUFFER_BYTES }
    }

    /// Reads once and says how many bytes came; 0 is the end. Cancel safe.
    pub(super) async fn more(&mut self) -> io::Result<usize> {
        self.buffer.reserve(self.room);
        let count = self.from.read_buf(&mut self.buffer).await?;
        if count >= self.room {
            self.room = (self.room * 2).min(BUFFER_BYTES_MAX);
        }
        Ok(count)
    }

    /// Reads until `count` bytes are in the buffer. Cancel safe.
    pub(super) async fn fill(&mut self, count: usize) -> Result<(), WireError> {
        while self.buffer.len() < count {
            let empty = self.buffer.is_empty();
            if self.more().await? == 0 {
                return Err(if empty { WireError::Closed } else { WireError::Truncated });
            }
        }
        Ok(())
    }

    /// Waits for the next message's header: its type and the length of its body. Takes nothing off. Cancel safe.
    pub(super) async fn header(&mut self) -> Result<(u8, usize), WireError> {
        self.fill(HEADER_BYTES).await?;
        match header(&self.buffer) {
            Some((kind, Some(length))) => Ok((kind, length)),
            Some((_, None)) | None => Err(WireError::Malformed),
        }
    }

    /// Takes the next message off, if its body has at most `body_bytes_max` bytes. Cancel safe.
    pub(super) async fn message(&mut self, body_bytes_max: usize) -> Result<Message, WireError> {
        let (kind, length) = self.header().await?;
        if length > body_bytes_max {
            return Err(WireError::TooLarge(length));
        }
        self.fill(HEADER_BYTES + length).await?;
        Ok(Message { kind, bytes: self.buffer.split_to(HEADER_BYTES + length).freeze() })
    }
}

impl Reader<Stream> {
    /// Both directions of the connection; what was read and not used stays with the reading one.
    pub(super) fn split(self) -> (Reader<ReadHalf<Stream>>, WriteHalf<Stream>) {
        let (from, to) = tokio::io::split(self.from);
        (Reader { from, buffer: self.buffer, room: self.room }, to)
    }
}

impl WireError {
    /// The fault when the client is the peer.
    pub(super) fn by_client(self) -> Fault {
        match self {
            Self::Malformed => Fault::new(Reason::ProtocolViolation).about("impossible message length"),
            Self::TooLarge(_) => Fault::new(Reason::MessageTooLarge),
            Self::Closed | Self::Truncated | Self::Broken(_) => Fault::new(Reason::ClientClosed).because(self),
        }
    }

    /// The fault when the warehouse is the peer.
    pub(super) fn by_target(self) -> Fault {
        match self {
            Self::Malformed | Self::TooLarge(_) => Fault::new(Reason::TargetProtocol).because(self),
            Self::Closed | Self::Truncated | Self::Broken(_) => Fault::new(Reason::TargetClosed).because(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, WireError};

    #[tokio::test]
    async fn messages_come_off_one_by_one_however_they_were_split() {
        let bytes: &[u8] = b"Q\0\0\0\x06a\0S\0\0\0\x04";
        let mut reader = Reader::new(tokio::io::AsyncReadExt::chain(&bytes[..3], &bytes[3..]));
        let first = reader.message(100).await.unwrap();
        assert_eq!((first.kind, first.body()), (b'Q', &b"a\0"[..]));
        assert_eq!(reader.message(100).await.unwrap().kind, b'S');
        assert!(matches!(reader.message(100).await, Err(WireError::Closed)));
    }

    #[tokio::test]
    async fn a_message_over_the_bound_is_not_read() {
        let mut reader = Reader::new(&b"Q\x7f\xff\xff\xff"[..]);
        assert!(matches!(reader.message(100).await, Err(WireError::TooLarge(_))));
    }

    #[tokio::test]
    async fn an_end_inside_a_message_is_told_from_an_end_between_two() {
        let mut reader = Reader::new(&b"Q\0\0\0\x09ab"[..]);
        assert!(matches!(reader.message(100).await, Err(WireError::Truncated)));
    }
}
