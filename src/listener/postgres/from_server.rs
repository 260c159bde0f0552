//! From the server to the client: original bytes, a buffer at a time, whatever the size of the result.

use bytes::Buf;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

use super::flow::{Fate, Flow, Peek};
use super::message::{Fields, HEADER_BYTES, Severity, error_field, header, rows_of_tag};
use super::session::{Shared, Surroundings, Tally};
use super::wire::Reader;
use crate::fault::{Fault, Reason};
use crate::tls::stream::Stream;

/// Longest message, of those that have to be read whole.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// How much of an error has to be there to find its SQLSTATE, which stands in front.
const ERROR_PEEK_BYTES: usize = 1024;

/// The direction from the server to the client.
pub(super) struct FromServer<'a> {
    reader: Reader<ReadHalf<Stream>>,
    to: &'a mut WriteHalf<Stream>,
    shared: &'a Shared,
    tally: &'a Tally,
    around: &'a Surroundings,
    /// Bytes of the message under way that are still to be relayed.
    passing: usize,
    /// Bytes of the message under way that are to be thrown away.
    skipping: usize,
}

/// What to do with the front of the buffer.
struct Scan {
    /// So many bytes go to the client as they are.
    relay: usize,
    /// Behind them, these bytes go to the client in place of the message that follows.
    replacement: Option<bytes::Bytes>,
}

impl<'a> FromServer<'a> {
    /// The direction, before its first byte.
    pub(super) fn new(
        reader: Reader<ReadHalf<Stream>>,
        to: &'a mut WriteHalf<Stream>,
        shared: &'a Shared,
        tally: &'a Tally,
        around: &'a Surroundings,
    ) -> Self {
        Self { reader, to, shared, tally, around, passing: 0, skipping: 0 }
    }

    /// Whether the client has seen the beginning of a message and not its end.
    pub(super) fn is_inside_message(&self) -> bool {
        self.passing > 0
    }

    /// Relays until the server closes the connection.
    ///
    /// # Errors
    /// The client is gone, the server breaks off, or the two are out of step.
    pub(super) async fn run(&mut self) -> Result<(), Fault> {
        loop {
            let scan = self.scan()?;
            if scan.relay > 0 {
                let relayed = self.reader.buffer.get(..scan.relay).unwrap_or_default();
                self.to.write_all(relayed).await.map_err(client_gone)?;
                Tally::add(&self.tally.bytes_to_client, scan.relay);
                self.reader.buffer.advance(scan.relay);
            }
            if let Some(ours) = scan.replacement {
                self.to.write_all(&ours).await.map_err(client_gone)?;
                continue;
            }
            self.to.flush().await.map_err(client_gone)?;
            self.around.gate.audit().settle();
            self.shared.settled.notify_waiters();
            if self.reader.more().await.map_err(server_gone)? == 0 {
                return self.at_end();
            }
        }
    }

    fn at_end(&self) -> Result<(), Fault> {
        let flow = self.shared.flow();
        match flow.farewell() {
            Some(sqlstate) => Err(Fault::new(Reason::TargetClosed).about(format!("SQLSTATE {sqlstate}"))),
            None if flow.is_quiet() && self.passing == 0 && self.reader.buffer.is_empty() => Ok(()),
            None => Err(Fault::new(Reason::TargetClosed)),
        }
    }

    /// Looks at as many messages as the buffer holds, under one lock.
    fn scan(&mut self) -> Result<Scan, Fault> {
        let skipped = self.skipping.min(self.reader.buffer.len());
        self.reader.buffer.advance(skipped);
        self.skipping -= skipped;
        let mut flow = self.shared.flow();
        let mut relay = 0;
        loop {
            let rest = self.reader.buffer.get(relay..).unwrap_or_default();
            let passed = self.passing.min(rest.len());
            relay += passed;
            self.passing -= passed;
            let rest = rest.get(passed..).unwrap_or_default();
            let Some((kind, Some(body))) = header(rest) else {
                return if header(rest).is_some() { Err(out_of_step()) } else { Ok(Scan { relay, replacement: None }) };
            };
            let Some(peek) = peek(kind, body, rest)? else {
                return Ok(Scan { relay, replacement: None });
            };
            let length = HEADER_BYTES + body;
            match reply(&mut flow, kind, length, &peek) {
                Fate::Forward => self.passing = length,
                Fate::Replace(ours) => {
                    self.skipping = length;
                    return Ok(Scan { relay, replacement: Some(ours) });
                }
                Fate::OutOfStep => return Err(out_of_step()),
            }
        }
    }
}

fn reply(flow: &mut Flow, kind: u8, length: usize, peek: &Peek<'_>) -> Fate {
    flow.reply(kind, u64::try_from(length).unwrap_or(u64::MAX), peek)
}

/// What has to be known of a message; `None` while too little of it is there.
fn peek(kind: u8, body: usize, rest: &[u8]) -> Result<Option<Peek<'_>>, Fault> {
    let needed = match kind {
        b'C' | b'S' | b'Z' if body > WHOLE_BYTES_MAX => return Err(out_of_step()),
        b'C' | b'S' | b'Z' => body,
        b'E' => body.min(ERROR_PEEK_BYTES),
        _ => 0,
    };
    let Some(there) = rest.get(HEADER_BYTES..HEADER_BYTES + needed) else { return Ok(None) };
    Ok(Some(match kind {
        b'C' => Peek::Tag(Fields(there).string().and_then(rows_of_tag)),
        b'S' => Peek::Setting(there),
        b'Z' => Peek::Transaction(Fields(there).byte().ok_or_else(out_of_step)?),
        b'E' => Peek::Error(Severity::of(there), error_field(there, b'C').and_then(|code| std::str::from_utf8(code).ok())),
        _ => Peek::Nothing,
    }))
}

fn out_of_step() -> Fault {
    Fault::new(Reason::TargetProtocol).about("the reply belongs to no request")
}

fn client_gone(error: std::io::Error) -> Fault {
    Fault::new(Reason::ClientClosed).because(error)
}

fn server_gone(error: std::io::Error) -> Fault {
    Fault::new(Reason::TargetClosed).because(error)
}
