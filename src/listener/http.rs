//! The HTTP door: from an accepted socket to requests that the gate watches.
//!
//! The life of a request, top to bottom: the head is checked, the credential cache says who asks, the warehouse says what for;
//! a statement goes through the gate, what follows a statement goes to the execution that it belongs to, and what is not known
//! needs a policy's HTTP rule. [`upstream`] sends it on, and [`relay`] reads the reply as it passes.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::http::request;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::time::{sleep, timeout};

use crate::audit::log::Note;
use crate::audit::{ClientFacts, Execution, Protocol};
use crate::credential::cache::Lease;
use crate::dbt::manifest::verify::Standing;
use crate::dbt::{self, Claim};
use crate::drain::{Drain, Stage};
use crate::fault::{Fault, Reason};
use crate::gate::{Gate, Permit, Refusal};
use crate::listener::{Limits, Parts, Settings, TlsMode};
use crate::metrics::Metrics;
use crate::policy::http::HttpRequest;
use crate::sql::{self, Analysis, Dialect};
use crate::tls::stream::Stream;
use crate::tls::{self, Acceptor, Demands};
use crate::warehouse::http::{
    Access, Call, End, Handle, HttpWarehouse, Outgoing, Progress, Purpose, Reader, SessionState, Statement, Text, Told, Unread, Whole,
};

mod entry;
mod executions;
mod head;
mod moves;
mod opened;
mod relay;
mod session;
mod statement;
mod upstream;

use self::entry::Entry;
use self::executions::{Beginning, Executions, Owner, Running};
use self::moves::{Moves, follows_session};
use self::opened::{Leads, Open, OpenSessions, Place, View};
use self::relay::{Awaited, Began, Memory};
use self::session::{Asks, Connection, Session, There};
use self::upstream::Upstream;

/// HTTP/2 and HTTP/1.1, as ALPN names them (RFC 9113, section 3.1; RFC 7301, section 6).
pub(super) const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Requests at once on one connection of HTTP/2; the client waits with further ones.
const STREAMS_MAX: u32 = 100;

/// A body that is relayed, or one of ours.
type Body = BoxBody<Bytes, io::Error>;

/// Serves the connections of one listener.
pub(super) struct Door {
    name: String,
    role: String,
    warehouse: &'static dyn HttpWarehouse,
    dialect: Dialect,
    encryption: Option<(TlsMode, Acceptor)>,
    entry: Entry,
    exchange: &'static str,
    upstream: Upstream,
    memory: Memory,
    analyses: Arc<sql::cache::Cache>,
    gate: Arc<Gate>,
    limits: Limits,
    metrics: Arc<Metrics>,
    drain: Drain,
}

impl Door {
    /// A door for a listener.
    ///
    /// # Errors
    /// The listener's certificate cannot be used.
    pub(super) fn new(settings: &Settings, parts: Parts, warehouse: &'static dyn HttpWarehouse) -> Result<Self, Fault> {
        let encryption = match &settings.tls {
            None => None,
            Some(tls) => {
                let demands = Demands { client_ca: tls.client_ca.clone(), protocols: PROTOCOLS };
                let acceptor = Acceptor::demanding(&tls.files, demands, parts.trust);
                Some((tls.mode, acceptor.map_err(|error| Fault::new(Reason::Internal).because(error))?))
            }
        };
        Ok(Self {
            name: settings.name().to_owned(),
            role: parts.role,
            warehouse,
            dialect: parts.kind.dialect,
            encryption,
            entry: Entry::new(&settings.authentication, parts.credentials)?,
            exchange: parts.exchange,
            memory: Memory {
                executions: Arc::new(Executions::new()),
                opened: Arc::new(OpenSessions::new(parts.limits.session_age_max.map(|age| age.0))),
            },
            upstream: Upstream::new(parts.target, parts.tls, Arc::clone(&parts.gate), parts.limits.connect_timeout.0),
            analyses: parts.analyses,
            gate: parts.gate,
            limits: parts.limits,
            metrics: parts.metrics,
            drain: parts.drain,
        })
    }

    /// Serves one connection to its end, and says how it ended: `closed`, or a reason code.
    pub(super) async fn serve(self: Arc<Self>, stream: Stream, client: ClientFacts) -> &'static str {
        let (stream, client) = match timeout(self.limits.handshake_timeout.0, self.open(stream, client)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(fault)) => return self.refuse_connection(&fault),
            Err(_) => return self.refuse_connection(&Fault::new(Reason::HandshakeTimeout).about("limits.handshake_timeout")),
        };
        let connection = Arc::new(Connection::new(client, stream.is_encrypted()));
        let answering = {
            let (door, connection) = (Arc::clone(&self), Arc::clone(&connection));
            service_fn(move |request| {
                let (door, connection) = (Arc::clone(&door), Arc::clone(&connection));
                async move { Ok::<_, Infallible>(door.answer(&connection, request).await) }
            })
        };
        let builder = self.builder();
        let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answering));
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = self.over() => {
                served.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = served => ended,
                    () = self.cut_off() => Ok(()),
                }
            }
        };
        self.end(&connection, if ended.is_ok() { "closed" } else { Reason::ClientClosed.code() })
    }

    /// How connections are served: HTTP/1.1, or HTTP/2 where the client begins with it.
    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.idle_timeout.0);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
        builder
    }

    /// Closes a connection that gets no slot, in the client's protocol.
    pub(super) async fn turn_away(self: Arc<Self>, stream: Stream, client: ClientFacts, reason: Reason) {
        let opened = timeout(self.limits.handshake_timeout.0, self.open(stream, client)).await;
        let Ok(Ok((stream, _))) = opened else { return };
        let answering = service_fn(|request: Request<Incoming>| {
            let (parts, _body) = request.into_parts();
            let refused = Refusal { fault: Fault::new(reason).about("limits.connections_max"), record: None };
            std::future::ready(Ok::<_, Infallible>(self.refusal(&refused, &parts, &[])))
        });
        let mut builder = self.builder();
        builder.http1().keep_alive(false);
        let served = builder.serve_connection(TokioIo::new(stream), answering);
        let _told = timeout(self.limits.handshake_timeout.0, served).await;
    }

    /// Settles encryption and who may connect.
    async fn open(&self, stream: Stream, mut client: ClientFacts) -> Result<(Stream, ClientFacts), Fault> {
        let stream = match (&self.encryption, stream) {
            (Some((mode, acceptor)), Stream::Plain(socket)) => {
                if *mode == TlsMode::Require || begins_with_tls(&socket).await {
                    acceptor.accept(socket).await.map_err(|error| Fault::new(Reason::TlsRequired).because(error))?
                } else {
                    Stream::Plain(socket)
                }
            }
            (Some(_) | None, stream) => stream,
        };
        client.certificate = stream.peer_certificate().and_then(tls::subject);
        self.entry.admit(&client)?;
        Ok((stream, client))
    }

    /// Until a connection takes no more requests: it is as old as one may be, or the program stops and nothing that was begun here is
    /// left, or the time for that is over.
    async fn over(&self) {
        let aged = async {
            match self.limits.session_age_max {
                Some(age) => sleep(age.0).await,
                None => std::future::pending().await,
            }
        };
        let drained = async {
            self.drain.reached(Stage::Draining).await;
            tokio::select! {
                () = self.memory.executions.all_ended() => {}
                () = self.drain.reached(Stage::Ending) => {}
            }
        };
        tokio::select! {
            () = aged => {}
            () = drained => {}
        }
    }

    /// Until not even the request that is under way on a connection is waited for.
    async fn cut_off(&self) {
        self.drain.reached(Stage::Ending).await;
        sleep(LAST_WORDS_TIME_MAX).await;
    }

    async fn answer(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let mut taken = Bytes::new();
        match self.handle(connection, &parts, body, &mut taken).await {
            Ok(response) => response,
            Err(refused) => {
                self.log(&refused.fault, connection);
                self.refusal(&refused, &parts, &taken)
            }
        }
    }

    /// Answers a request, and leaves its body in `taken` where it had to be seen.
    async fn handle(
        &self,
        connection: &Arc<Connection>,
        parts: &request::Parts,
        body: Incoming,
        taken: &mut Bytes,
    ) -> Result<Response<Body>, Box<Refusal>> {
        head::check(parts, &self.upstream.target().host).map_err(|fault| self.refused(fault))?;
        let head = head::of(parts);
        let lease = self.entry.lease(self.warehouse.shown(head.headers)).await.map_err(|fault| self.refused(fault))?;
        let turn = Turn { connection, parts, owner: Owner::of(&lease.principal), lease };
        let body = match self.warehouse.purpose(&head) {
            Purpose::Whole => {
                let whole = head::whole(head.headers, body, self.limits.statement_size.as_usize()).await;
                *taken = whole.map_err(|fault| self.refused(fault))?;
                Sent::Whole(Bytes::clone(taken))
            }
            Purpose::Streamed => Sent::Streamed(body),
            Purpose::Other => return self.other(turn, Sent::Streamed(body)).await,
        };
        let near = head::base(parts, connection.is_encrypted);
        let whole = Whole { head, body: taken, near: &near };
        let view = View { sessions: &self.memory.opened, owner: &turn.owner, seen: Mutex::default() };
        let asked = self.warehouse.ask(&whole, &view).map_err(|why| self.refused(Fault::new(Reason::RequestMalformed).about(why)))?;
        let open = match &asked.session {
            Some(id) => self.memory.opened.find(id, &turn.owner).map_err(|reason| self.refused(Fault::new(reason)))?,
            None => Open::default(),
        };
        let seen = view.seen.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(|| open.state.clone());
        let part = Part { opened: asked.session, open, seen, reader: asked.reader };
        match asked.call {
            Call::Run(statement) => {
                let leads = self.leads(&statement);
                self.run(turn, body, part, (*statement, leads)).await
            }
            Call::Move { statement, to } => self.run(turn, body, part, (*statement, Leads::To(to))).await,
            Call::Follow(handle) => self.follow(turn, body, part, &handle).await,
            Call::Service => self.forward(turn, body, part, Began::Service).await,
            Call::Answer(reply) => Ok(answered(reply)),
            Call::Other => self.other(turn, body).await,
        }
    }

    /// A request that runs a statement, after which names in its session may lead elsewhere.
    async fn run(
        &self,
        turn: Turn<'_>,
        body: Sent,
        part: Part,
        (statement, leads): (Statement<'_>, Leads),
    ) -> Result<Response<Body>, Box<Refusal>> {
        self.not_draining()?;
        let session = self.session(turn.connection, &turn.lease, &Asks::of(&statement)).await?;
        // What nobody follows any more gives its room before more is asked for.
        self.memory.executions.sweep();
        let place = match &part.opened {
            Some(id) => Some(self.memory.opened.enter(id, &part.seen, leads).map_err(|reason| self.refused(Fault::new(reason)))?),
            None => None,
        };
        if place.as_ref().is_some_and(Place::is_unsettled) && self.read(&statement).effects.iter().any(follows_session) {
            return Err(self.refused(Fault::new(Reason::SessionUnsettled)));
        }
        let permit = self.admit(&session, &statement).await?;
        let beginning = Beginning {
            permit,
            owner: turn.owner.clone(),
            connection: Arc::downgrade(turn.connection),
            names: statement.names,
            session: part.opened.clone(),
            lease: turn.lease.clone(),
            place: place.map(Place::sent),
        };
        let execution = self.memory.executions.begin(beginning).map_err(|reason| self.refused(Fault::new(reason)))?;
        let forwarded = self.forward(turn, body, part, Began::Statement { execution: Arc::clone(&execution), session }).await;
        if forwarded.is_err() {
            execution.give_place();
        }
        forwarded
    }

    fn read(&self, statement: &Statement<'_>) -> statement::Read {
        statement::read(statement, &self.analyses, self.dialect, self.limits.sql())
    }

    /// Where names lead after a statement, as far as its text tells.
    fn leads(&self, statement: &Statement<'_>) -> Leads {
        if !self.warehouse.tells_moves() {
            return Leads::Nowhere;
        }
        let read = self.read(statement);
        match Moves::of(&read.effects, read.analysis.statements.len()) {
            Moves::Never => Leads::Nowhere,
            Moves::Succeeding => Leads::Told { is_atomic: true },
            Moves::Anyhow => Leads::Told { is_atomic: false },
        }
    }

    /// Decides about a statement, and has the attempt on disk.
    async fn admit(&self, session: &Session, statement: &Statement<'_>) -> Result<Permit, Box<Refusal>> {
        let manifest = self.gate.manifest();
        let read = self.read(statement);
        let text = statement.text.as_bytes();
        let mut said = match &statement.text {
            Text::Sql(sql) => std::str::from_utf8(sql).ok().and_then(dbt::attribute),
            Text::Call(_) => None,
        };
        if let Some(said) = &mut said {
            said.invocation = said.invocation.take().or_else(|| statement.invocation.clone());
        }
        let standing = match (&manifest, &said) {
            (Some(manifest), Some(said)) => manifest.verify(
                said,
                &dbt::manifest::verify::Asked {
                    text: &String::from_utf8_lossy(text),
                    statements: &read.analysis.statements,
                    database: &statement.database,
                    unqualified_schema: statement.schema.as_deref(),
                },
            ),
            (None, _) | (_, None) => Standing::Claimed,
        };
        let execution = Execution {
            session: &session.facts,
            sql: text,
            protocol: Protocol::Http,
            analysis: &read.analysis,
            effects: &read.effects,
            unqualified_schema: statement.schema.as_deref(),
            dbt: said.as_ref().map(|attribution| Claim { attribution, standing: &standing }),
        };
        session.tally.executed();
        let denied = |refusal| {
            session.tally.denied();
            Box::new(refusal)
        };
        let judged = self.gate.judge(&execution).await.map_err(denied)?;
        self.gate.admit(judged).await.map_err(denied)
    }

    /// A request about an execution that was begun before.
    async fn follow(&self, turn: Turn<'_>, body: Sent, part: Part, handle: &Handle) -> Result<Response<Body>, Box<Refusal>> {
        let execution = self.memory.executions.find(handle, &turn.owner).map_err(|reason| self.refused(Fault::new(reason)))?;
        self.forward(turn, body, part, Began::Followed { execution, ends: handle.ends }).await
    }

    /// A request that only an HTTP rule can allow.
    async fn other(&self, turn: Turn<'_>, body: Sent) -> Result<Response<Body>, Box<Refusal>> {
        self.not_draining()?;
        let session = self.session(turn.connection, &turn.lease, &Asks::default()).await?;
        let fields = head::fields(&turn.parts.headers);
        let asked = HttpRequest {
            method: turn.parts.method.as_str(),
            path: turn.parts.uri.path_and_query().map_or("/", |path| path.as_str()),
            host: &self.upstream.target().host,
            headers: &fields,
        };
        // What stands behind `?` may be a secret, and is no part of the record.
        let text = format!("{} {}", turn.parts.method, turn.parts.uri.path());
        let analysis = Analysis::default();
        let execution = Execution {
            session: &session.facts,
            sql: text.as_bytes(),
            protocol: Protocol::Http,
            analysis: &analysis,
            effects: &[],
            unqualified_schema: None,
            dbt: None,
        };
        session.tally.executed();
        let judged = self.gate.judge_request(&execution, &asked).await.map_err(Box::new)?;
        let permit = self.gate.admit(judged).await.map_err(Box::new)?;
        let part = Part { opened: None, open: Open::default(), seen: SessionState::default(), reader: Box::new(Unread) };
        self.forward(turn, body, part, Began::Request { permit, session }).await
    }

    /// Nothing new begins while the program stops; what was begun may be followed to its end.
    fn not_draining(&self) -> Result<(), Box<Refusal>> {
        if self.drain.stage() == Stage::Running { Ok(()) } else { Err(self.refused(Fault::new(Reason::Draining))) }
    }

    /// Sends a request on with the credential in it, and relays the reply. Where the warehouse does not take the credential, it has
    /// run nothing, and the request is sent once more with a new one if its body is still there.
    async fn forward(&self, turn: Turn<'_>, body: Sent, part: Part, began: Began) -> Result<Response<Body>, Box<Refusal>> {
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
    pub(super) async fn cancel_running(&self) {
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

    /// The session that a request belongs to: the connection's, while who asks and where to stay the same.
    async fn session(&self, connection: &Arc<Connection>, lease: &Lease, asks: &Asks<'_>) -> Result<Arc<Session>, Box<Refusal>> {
        if let Some(session) = connection.session(lease, asks) {
            return Ok(session);
        }
        let target = self.upstream.target();
        let audit = self.gate.audit();
        self.gate.note_exchange(lease, self.exchange, target).await.map_err(|fault| self.refused(fault))?;
        let session = Arc::new(Session::new(audit.session_id(), lease, There { target, role: self.role(lease) }, &connection.client, asks));
        if let Err(fault) = session::admitted(&self.gate, &session) {
            let note = Note::SessionRefused {
                reason: fault.reason,
                about: fault.about.as_deref(),
                listener: &self.name,
                client: &connection.client,
                client_user: Some(asks.client_user),
                database: Some(asks.database),
                principal: Some(&lease.principal),
            };
            let record = audit.note(note).await.ok();
            let mut refused = self.refused(fault);
            refused.record = record;
            return Err(refused);
        }
        audit.note(Note::SessionStarted(&session.facts)).await.map_err(|error| self.refused(Fault::from(error)))?;
        if let Some(ended) = connection.begin(Arc::clone(&session)) {
            self.note_end(&ended, "closed");
        }
        Ok(session)
    }

    /// The role of a request: a credential that is somebody's own can be used for nobody else.
    fn role<'a>(&'a self, lease: &'a Lease) -> &'a str {
        lease.credential.role.as_deref().unwrap_or(&self.role)
    }

    fn end(&self, connection: &Arc<Connection>, end: &'static str) -> &'static str {
        if let Some(session) = connection.end() {
            self.note_end(&session, end);
        }
        end
    }

    fn note_end(&self, session: &Session, end: &str) {
        if let Err(error) = self.gate.audit().note_later(session.ended(end, &self.metrics)) {
            tracing::warn!(listener = self.name, %error, "the end of a session was not recorded");
        }
    }

    fn refuse_connection(&self, fault: &Fault) -> &'static str {
        let row = fault.reason.row();
        self.metrics.refusals_total.with_label_values(&[row.code, row.blame.as_str()]).inc();
        tracing::warn!(listener = self.name, reason = row.code, chain = fault.chain(), "a connection was refused");
        row.code
    }

    /// Counts what was not refused by the gate, which counts its own.
    fn refused(&self, fault: Fault) -> Box<Refusal> {
        let row = fault.reason.row();
        self.metrics.refusals_total.with_label_values(&[row.code, row.blame.as_str()]).inc();
        Box::new(Refusal { fault, record: None })
    }

    fn log(&self, fault: &Fault, connection: &Arc<Connection>) {
        let client_address = connection.client.address.map(tracing::field::display);
        let (listener, reason, chain) = (&self.name, fault.reason.code(), fault.chain());
        tracing::warn!(listener, client_address, reason, chain, "a request was refused");
    }

    /// What the client is told, as the warehouse would say it.
    fn refusal(&self, refused: &Refusal, parts: &request::Parts, body: &[u8]) -> Response<Body> {
        let Refusal { fault, record } = refused;
        let row = fault.reason.row();
        let record = record.as_ref().map(|record| format!(", audit record {record}")).unwrap_or_default();
        let message = format!("tollhouse: {fault} [reason {}{record}; {}]", row.code, row.remedy);
        let is_denial = matches!(row.http_status, 400..=499);
        let (head, reason, sqlstate, status) = (head::of(parts), fault.reason, row.sqlstate, row.http_status);
        answered(self.warehouse.refusal(&Told { head, body, message: &message, reason, sqlstate, status, is_denial }))
    }
}

/// A request, and who asks.
struct Turn<'a> {
    connection: &'a Arc<Connection>,
    parts: &'a request::Parts,
    lease: Lease,
    owner: Owner,
}

/// A request's part in what outlives it, and who reads the reply.
struct Part {
    /// The session that it is part of, by its name.
    opened: Option<String>,
    open: Open,
    /// Where names led in it when it was asked what the request means.
    seen: SessionState,
    reader: Box<dyn Reader>,
}

/// A request's body.
enum Sent {
    /// As it was read, uncompressed.
    Whole(Bytes),
    /// As it comes.
    Streamed(Incoming),
}

/// A reply of our own.
fn answered(reply: crate::warehouse::http::Refusal) -> Response<Body> {
    let mut response = Response::new(relay::ours(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Time for a request that is under way when the deadline of a shutdown has passed.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_millis(500);

/// Time for the cancels that are sent when the program ends.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(5);

/// Time for the first byte of a connection where TLS is offered.
const FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(10);

/// Whether a client begins with a TLS record (RFC 8446, section 5.1: handshake is 22); nothing of it is taken.
async fn begins_with_tls(socket: &tokio::net::TcpStream) -> bool {
    let mut first = [0; 1];
    matches!(timeout(FIRST_BYTE_TIME_MAX, socket.peek(&mut first)).await, Ok(Ok(1)) if first == [22])
}
