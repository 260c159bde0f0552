//! A request's way to the warehouse, with the credential in it; and the cancels that are sent when the program ends.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use tokio::time::timeout;

use super::executions::{Owner, Running};
use super::opened::Open;
use super::relay::{self, Awaited, Began};
use super::{Body, Door, Part, Sent, Turn, head};
use crate::credential::cache::Lease;
use crate::fault::{Fault, Reason};
use crate::gate::Refusal;
use crate::warehouse::http::{Access, End, Outgoing, Progress};

/// Time for the cancels that are sent when the program ends.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(5);

impl Door {
    /// Sends a request on with the credential in it, and relays the reply. Where the warehouse does not take the credential, it has
    /// run nothing, and the request is sent once more with a new one if its body is still there.
    pub(super) async fn forward(&self, turn: Turn<'_>, body: Sent, part: Part, began: Began) -> Result<Response<Body>, Box<Refusal>> {
        let again = match &body {
            Sent::Whole(bytes) => Some(Bytes::clone(bytes)),
            Sent::Streamed(_) => None,
        };
        let mut response = self.send(&turn, &turn.lease, body, &part.open).await?;
        if self.is_refused_login(&response)
            && let Some(bytes) = again
            && let Some(lease) = self.entry.replace(&turn.lease, self.warehouse.shown(&turn.parts.headers)).await
        {
            let noted = self.gate.note_exchange(&lease, self.exchange, self.upstream.target()).await;
            noted.map_err(|fault| self.refused(fault))?;
            response = self.send(&turn, &lease, Sent::Whole(bytes), &part.open).await?;
        }
        if self.is_refused_login(&response) {
            return Err(self.refused(Fault::new(Reason::TargetLogin).about(self.upstream.target().name.clone())));
        }
        let awaited = Awaited { began, reader: part.reader, opened: part.opened, owner: turn.owner };
        relay::relay(response, self.memory.clone(), awaited).map_err(|fault| self.refused(fault))
    }

    fn is_refused_login(&self, response: &Response<Incoming>) -> bool {
        self.warehouse.refuses_login(response.status(), response.headers())
    }

    async fn send(&self, turn: &Turn<'_>, lease: &Lease, body: Sent, open: &Open) -> Result<Response<Incoming>, Box<Refusal>> {
        let mut headers = turn.parts.headers.clone();
        head::strip(&mut headers);
        let (whole, streamed) = match body {
            Sent::Whole(bytes) => {
                // It goes on as it was read: two decoders might not agree.
                headers.remove(CONTENT_ENCODING);
                (Some(bytes), None)
            }
            Sent::Streamed(body) => (None, Some(body)),
        };
        let target = turn.parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut request = Outgoing { method: turn.parts.method.clone(), target, headers, body: whole };
        self.authorize(&mut request, lease, &turn.owner, open).map_err(|fault| self.refused(fault))?;
        let body = match (request.body.take(), streamed) {
            (None, Some(body)) => relay::theirs(body),
            (bytes, _) => relay::ours(bytes.unwrap_or_default()),
        };
        self.upstream.send(request, body, lease).await.map_err(|fault| self.refused(fault))
    }

    fn authorize(&self, request: &mut Outgoing, lease: &Lease, owner: &Owner, open: &Open) -> Result<(), Fault> {
        let access = Access {
            login: &lease.credential.login,
            role: self.role(lease),
            authority: self.upstream.authority(),
            secrets: &open.secrets,
            owner: &owner.tag(),
            now: SystemTime::now(),
        };
        let authorized = self.warehouse.authorize(request, &access);
        authorized.map_err(|error| Fault::new(Reason::TargetLogin).about(error.to_string()))
    }

    /// Ends at the warehouse what still runs there, when the program ends.
    pub(in crate::listener) async fn cancel_running(&self) {
        let cancels = self.memory.executions.running().into_iter().map(|running| self.cancel(running));
        let cancelled = timeout(CANCEL_TIME_MAX, join_all(cancels)).await;
        if cancelled.is_err() {
            tracing::warn!(listener = self.name, "not all that ran could be cancelled at the warehouse in time");
        }
    }

    async fn cancel(&self, running: Running) {
        let Running { id, session, owner, lease, execution, cancel } = running;
        let Some(mut request) = cancel.map(|request| *request).or_else(|| self.warehouse.cancel(&id)) else { return };
        let open = session.and_then(|session| self.memory.opened.find(&session, &owner).ok()).unwrap_or_default();
        let sent = match self.authorize(&mut request, &lease, &owner, &open) {
            Ok(()) => {
                let body = relay::ours(request.body.take().unwrap_or_default());
                self.upstream.send(request, body, &lease).await.map(|response| response.status())
            }
            Err(fault) => Err(fault),
        };
        match sent {
            Ok(status) if status.is_success() => {
                let mut progress = Progress { end: Some(End::Cancelled), ..Progress::default() };
                self.memory.executions.proceed(&execution, &mut progress, 0);
            }
            Ok(status) => tracing::warn!(listener = self.name, %status, "the warehouse did not take a cancel"),
            Err(fault) => tracing::warn!(listener = self.name, chain = fault.chain(), "a cancel could not be sent"),
        }
    }
}
