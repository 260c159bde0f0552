//! Refusals in PostgreSQL's own terms.
//!
//! In place of a refused message the server gets a probe: Describe of a prepared statement that does not exist. The
//! error is the server's own, so an open transaction fails and a pipeline is skipped exactly as after any other error;
//! only the error's text is replaced by ours. No ReadyForQuery is ever made up, and a later COMMIT cannot commit half
//! of what the client meant.

use aws_lc_rs::rand;
use bytes::{BufMut, Bytes, BytesMut};

use super::message::{Severity, put_string, write, write_error};
use crate::fault::Fault;
use crate::gate::Refusal;

/// The messages that make the server fail in place of a refused one.
pub(super) struct Probe {
    /// For the extended protocol: what follows until Sync is thrown away by both sides.
    pub(super) extended: Bytes,
    /// For a simple query: with a Sync of its own.
    pub(super) simple: Bytes,
}

impl Probe {
    /// A probe whose statement name no client can know, so that none can make the statement exist.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut random = [0; 16];
        rand::fill(&mut random)?;
        let name = format!("tollhouse_refused_{:032x}", u128::from_be_bytes(random));
        let mut out = BytesMut::new();
        write(&mut out, b'D', |body| {
            body.put_u8(b'S');
            put_string(body, name.as_bytes());
        });
        let extended = out.clone().freeze();
        write(&mut out, b'S', |_| {});
        Ok(Self { extended, simple: out.freeze() })
    }
}

/// The ErrorResponse that the client gets for a refusal.
pub(super) fn error(refusal: &Refusal) -> Bytes {
    bytes(&refusal.fault, refusal.record.as_ref().map(ToString::to_string).as_deref())
}

/// The ErrorResponse for a fault without a record.
pub(super) fn unrecorded(fault: &Fault) -> Bytes {
    bytes(fault, None)
}

fn bytes(fault: &Fault, record: Option<&str>) -> Bytes {
    let mut out = BytesMut::new();
    write_error(&mut out, Severity::Error, fault, record);
    out.freeze()
}
