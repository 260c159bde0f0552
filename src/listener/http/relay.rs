//! A reply on its way to the client: read as it passes, never held.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{Response, StatusCode};

use super::Body;
use super::executions::{Beginning, Execution, Executions, outcome};
use super::head;
use super::session::Session;
use super::tap::Tap;
use crate::fault::{Fault, Reason};
use crate::gate::Permit;
use crate::warehouse::http::{End, HttpWarehouse, Progress, Reply};

/// What a reply answers.
pub(super) enum Began {
    /// A statement.
    Statement {
        /// What begins.
        beginning: Beginning,
        /// The session.
        session: Arc<Session>,
    },
    /// A question about an execution.
    Followed {
        /// Which.
        execution: Arc<Execution>,
        /// Whether it was asked to end.
        ends: bool,
    },
    /// A request that an HTTP rule allowed.
    Request {
        /// Its permit.
        permit: Permit,
        /// The session.
        session: Arc<Session>,
    },
}

/// A body of ours.
pub(super) fn ours(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A client's body, passed on as it comes.
pub(super) fn theirs(body: Incoming) -> Body {
    body.map_err(io::Error::other).boxed()
}

/// Turns the warehouse's reply into the client's.
///
/// # Errors
/// `TargetProtocol` where a reply that has to be read comes compressed all the same.
pub(super) fn relay(
    response: Response<Incoming>,
    warehouse: &'static dyn HttpWarehouse,
    near: String,
    executions: &Arc<Executions>,
    began: Began,
) -> Result<Response<Body>, Fault> {
    let (mut head, body) = response.into_parts();
    let must_be_read = !matches!(began, Began::Request { .. });
    if must_be_read && head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Fault::new(Reason::TargetProtocol).about("the warehouse compresses what it was asked to send as it is"));
    }
    head::strip_reply(&mut head.headers);
    let is_json =
        head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.starts_with("application/json"));
    let tap = (must_be_read && is_json).then(|| Tap::new(warehouse.fields(), near));
    let settlement = Settlement { warehouse, status: head.status, executions: Arc::clone(executions), began: Some(began), bytes: 0 };
    let mut relayed = Relayed { body, tap, settlement };
    if relayed.body.is_end_stream() {
        relayed.settle();
    }
    Ok(Response::from_parts(head, BoxBody::new(relayed)))
}

struct Relayed {
    body: Incoming,
    tap: Option<Tap>,
    settlement: Settlement,
}

/// What is to be noted when the reply has been read. Dropped before, it leaves an execution that can be followed where it was,
/// and one that cannot abandoned.
struct Settlement {
    warehouse: &'static dyn HttpWarehouse,
    status: StatusCode,
    executions: Arc<Executions>,
    began: Option<Began>,
    bytes: u64,
}

impl Relayed {
    /// Notes what the reply says, once: at the end of its JSON value, since the client may act on that at once.
    fn settle(&mut self) {
        let Some(began) = self.settlement.began.take() else { return };
        let bytes = self.settlement.bytes;
        let progress = self.progress(&began);
        let executions = &self.settlement.executions;
        match began {
            Began::Statement { beginning, session } => {
                session.tally.relayed(bytes);
                executions.begin(beginning, &progress, bytes);
            }
            Began::Followed { execution, .. } => executions.proceed(&execution, &progress, bytes),
            Began::Request { permit, session } => {
                session.tally.relayed(bytes);
                let end = if self.settlement.status.is_client_error() || self.settlement.status.is_server_error() {
                    End::Failed(Some(format!("HTTP_{}", self.settlement.status.as_u16())))
                } else {
                    End::Completed
                };
                permit.finish(outcome(&end, None, bytes, None));
            }
        }
    }

    fn progress(&self, began: &Began) -> Progress {
        let status = self.settlement.status;
        let mut progress = match &self.tap {
            Some(tap) => self.settlement.warehouse.progress(&Reply { status, is_whole: tap.is_whole(), found: tap.found() }),
            None => Progress::default(),
        };
        match began {
            Began::Followed { ends: true, .. } if status.is_success() && progress.end.is_none() => progress.end = Some(End::Cancelled),
            Began::Statement { .. } if !status.is_success() && progress.end.is_none() => {
                progress.end = Some(End::Failed(Some(format!("HTTP_{}", status.as_u16()))));
            }
            Began::Followed { .. } | Began::Statement { .. } | Began::Request { .. } => {}
        }
        progress
    }
}

impl HttpBody for Relayed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    self.settle();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are for one hop unless both sides know better (RFC 9110, section 6.5.1).
                    let Ok(data) = frame.into_data() else { continue };
                    self.settlement.bytes = self.settlement.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    let data = match &mut self.tap {
                        Some(tap) => tap.pass(data),
                        None => data,
                    };
                    // Of a body whose length is known nobody asks for more than that.
                    if self.tap.as_ref().is_some_and(Tap::is_whole) || self.body.is_end_stream() {
                        self.settle();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.settlement.began.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.tap.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}
