//! A reply on its way to the client: read as it passes, never held.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_ENCODING;
use hyper::{Response, StatusCode};

use super::Body;
use super::executions::{Execution, Executions, Owner, outcome};
use super::head;
use super::opened::OpenSessions;
use super::session::Session;
use crate::audit::Outcome;
use crate::fault::{Fault, Reason};
use crate::gate::Permit;
use crate::warehouse::http::{End, News, Progress, Reader, Reading};

/// What a reply answers.
pub(super) enum Began {
    /// A statement.
    Statement {
        /// What it began.
        execution: Arc<Execution>,
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
    /// A request that no record is about.
    Service,
    /// A request that an HTTP rule allowed.
    Request {
        /// Its permit.
        permit: Permit,
        /// The session.
        session: Arc<Session>,
    },
}

/// A request whose reply is awaited.
pub(super) struct Awaited {
    /// What it is.
    pub(super) began: Began,
    /// Reads the reply.
    pub(super) reader: Box<dyn Reader>,
    /// The session that it is part of, by its name.
    pub(super) opened: Option<String>,
    /// Who asks.
    pub(super) owner: Owner,
}

/// What outlives a request.
#[derive(Clone)]
pub(super) struct Memory {
    /// What was begun.
    pub(super) executions: Arc<Executions>,
    /// The sessions that clients opened.
    pub(super) opened: Arc<OpenSessions>,
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
pub(super) fn relay(response: Response<Incoming>, memory: Memory, mut awaited: Awaited) -> Result<Response<Body>, Fault> {
    let (mut head, body) = response.into_parts();
    head::strip_reply(&mut head.headers);
    let reading = awaited.reader.head(head.status, &mut head.headers);
    let is_encoded = head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    if reading == Reading::Read && is_encoded {
        return Err(Fault::new(Reason::TargetProtocol).about("the warehouse compresses what it was asked to send as it is"));
    }
    let settlement = Settlement { status: head.status, memory, awaited: Some(awaited), bytes: 0 };
    let mut relayed = Relayed { body, reads: reading == Reading::Read, settlement, is_finished: false };
    if relayed.body.is_end_stream() && !relayed.reads {
        relayed.settlement.settle();
    }
    Ok(Response::from_parts(head, BoxBody::new(relayed)))
}

struct Relayed {
    body: Incoming,
    /// Whether pieces go through the reader.
    reads: bool,
    settlement: Settlement,
    /// Whether all has been handed on.
    is_finished: bool,
}

/// What is to be noted when the reply has been read. Dropped before, it leaves an execution that can be followed where it was,
/// and one that cannot abandoned.
struct Settlement {
    status: StatusCode,
    memory: Memory,
    awaited: Option<Awaited>,
    bytes: u64,
}

impl Settlement {
    /// Notes what the reply says, once: when it is whole, since the client may act on that at once.
    fn settle(&mut self) {
        let Some(mut awaited) = self.awaited.take() else { return };
        let mut progress = awaited.reader.progress();
        // Of a statement beside which others ran, a later reply may tell of what is no longer so.
        let is_late = matches!(&awaited.began, Began::Followed { execution, .. } if !execution.is_alone());
        if let Some(news) = progress.news.take().filter(|news| !is_late || !matches!(news, News::Changed(_))) {
            self.memory.opened.note(awaited.opened.as_deref(), &awaited.owner, news);
        }
        self.conclude(awaited.began, progress);
    }

    /// Notes that the warehouse broke off in the midst of a reply. What can be asked for again is left as it is.
    fn break_off(&mut self) {
        let Some(mut awaited) = self.awaited.take() else { return };
        let closed = || End::Failed(Some(Reason::TargetClosed.code().to_owned()));
        match awaited.began {
            began @ (Began::Statement { .. } | Began::Request { .. }) => {
                let said = awaited.reader.progress();
                if let Began::Statement { execution, .. } = &began {
                    execution.give_place();
                }
                let end = said.end.filter(|end| matches!(end, End::Failed(Some(_)))).unwrap_or_else(closed);
                let end = Some(end);
                self.conclude(began, Progress { end, news: None, ..said });
            }
            Began::Followed { .. } | Began::Service => {}
        }
    }

    fn conclude(&self, began: Began, mut progress: Progress) {
        let (status, bytes) = (self.status, self.bytes);
        let error = (!status.is_success()).then(|| End::Failed(Some(format!("HTTP_{}", status.as_u16()))));
        let executions = &self.memory.executions;
        match began {
            Began::Statement { execution, session } => {
                session.tally.relayed(bytes);
                if progress.end.is_none() && error.is_some() {
                    // It may have been carried out all the same.
                    execution.give_place();
                }
                progress.end = progress.end.or(error);
                executions.proceed(&execution, &mut progress, bytes);
            }
            Began::Followed { execution, ends } => {
                let ended = (ends && status.is_success() && !progress.declined).then_some(End::Cancelled);
                progress.end = progress.end.or(ended);
                executions.proceed(&execution, &mut progress, bytes);
            }
            Began::Service => {}
            Began::Request { permit, session } => {
                session.tally.relayed(bytes);
                let end = progress.end.or(error).unwrap_or(End::Completed);
                permit.finish(Outcome { reply_bytes: bytes, ..outcome(&end) });
            }
        }
    }
}

impl Relayed {
    fn pass(&mut self, data: Bytes) -> Bytes {
        let settlement = &mut self.settlement;
        settlement.bytes = settlement.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        let reader = settlement.awaited.as_mut().filter(|_| self.reads).map(|awaited| &mut awaited.reader);
        let Some(reader) = reader else { return data };
        let data = reader.pass(data);
        // Of a body whose length is known nobody asks for more than that.
        if reader.is_whole() {
            settlement.settle();
        }
        data
    }

    /// The end: what the reader held back is the last of it.
    fn finish(&mut self) -> Option<Bytes> {
        self.is_finished = true;
        let held = self.settlement.awaited.as_mut().filter(|_| self.reads).map(|awaited| awaited.reader.finish());
        self.settlement.settle();
        held.filter(|held| !held.is_empty())
    }
}

impl HttpBody for Relayed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if self.is_finished {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(self.finish().map(|held| Ok(Frame::data(held)))),
                Poll::Ready(Some(Err(error))) => {
                    self.settlement.break_off();
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are for one hop unless both sides know better (RFC 9110, section 6.5.1).
                    let Ok(data) = frame.into_data() else { continue };
                    let data = self.pass(data);
                    if !self.reads && self.body.is_end_stream() {
                        self.settlement.settle();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_finished || (!self.reads && self.settlement.awaited.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.reads { SizeHint::default() } else { self.body.size_hint() }
    }
}
