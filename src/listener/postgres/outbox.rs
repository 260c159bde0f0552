//! What is gathered for the server, and leaves only once each execution in it is permitted.
//!
//! Clients send several executions at once (pipelines, batches). Each is handed to the gate when it is read; all are
//! waited for together before the first byte leaves, so that they share one commit of the audit log.

use bytes::BytesMut;

use super::flow::{Behind, Ticket};
use super::session::Shared;
use crate::fault::Fault;
use crate::gate::{Gate, Judged, Refusal};

/// Executions that wait for their permits together, at most.
pub(super) const HELD_MAX: usize = 64;

/// Bytes for the server, in the client's order.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    held: Vec<Held>,
}

/// An execution whose bytes are in the box and whose attempt may not be durable yet.
struct Held {
    ticket: Ticket,
    judged: Judged,
    /// Type byte of the message.
    kind: u8,
    /// Where its bytes begin.
    from: usize,
}

/// Why not everything may leave.
pub(super) enum Withheld {
    /// The audit log could not take an execution: it and what was behind it are out of the box again, and the client is
    /// to be refused.
    Refused {
        /// Type byte of the refused message.
        kind: u8,
        /// Why.
        refusal: Refusal,
        /// Whether the client has sent the Sync that ends the throwing away.
        synced: bool,
    },
    /// The same, with more behind it than can be taken back.
    Broken(Fault),
}

impl Outbox {
    /// How many bytes are gathered.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many executions wait for their permits.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Adds bytes that execute nothing.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds an execution, the flow's entry of which has `ticket`.
    pub(super) fn hold(&mut self, ticket: Ticket, judged: Judged, bytes: &[u8]) {
        let kind = bytes.first().copied().unwrap_or_default();
        self.held.push(Held { ticket, judged, kind, from: self.bytes.len() });
        self.bytes.extend_from_slice(bytes);
    }

    /// Everything gathered, once each execution in it is permitted. Not cancel safe: the session ends with it.
    ///
    /// # Errors
    /// [`Withheld`].
    pub(super) async fn release(&mut self, gate: &Gate, shared: &Shared) -> Result<BytesMut, Withheld> {
        for Held { ticket, judged, kind, from } in std::mem::take(&mut self.held) {
            match gate.admit(judged).await {
                Ok(permit) => shared.flow().grant(ticket, permit),
                Err(refusal) => {
                    self.bytes.truncate(from);
                    return Err(match (kind, shared.flow().withdraw(ticket)) {
                        (_, Behind::Nothing) => Withheld::Refused { kind, refusal, synced: false },
                        (b'E', Behind::Sync) => Withheld::Refused { kind, refusal, synced: true },
                        (_, Behind::Sync | Behind::More) => Withheld::Broken(refusal.fault),
                    });
                }
            }
        }
        Ok(self.bytes.split())
    }
}
