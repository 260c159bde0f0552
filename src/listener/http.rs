//! The HTTP door: from an accepted socket to requests that the gate watches.
//!
//! The life of a request, top to bottom: the head is checked, the credential cache says who asks, the warehouse says what for;
//! a statement goes through the gate, what follows a statement goes to the execution that it belongs to, and everything else
//! needs a policy's HTTP rule. [`upstream`] sends it on, and [`relay`] reads the reply as it passes.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::audit::log::Note;
use crate::audit::record::RecordId;
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
use crate::warehouse::http::{Handle, HttpWarehouse, Purpose, Statement, Told, Whole};

mod entry;
mod executions;
mod head;
mod relay;
mod session;
mod statement;
mod tap;
mod upstream;

use self::entry::Entry;
use self::executions::{Beginning, Executions, Owner};
use self::relay::Began;
use self::session::{Asks, Connection, Session, There};
use self::upstream::Upstream;

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
    executions: Arc<Executions>,
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
                let demands = Demands { client_ca: tls.client_ca.clone(), protocol: None };
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
            executions: Arc::new(Executions::new()),
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
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle_timeout.0)
            .serve_connection(TokioIo::new(stream), answering);
        let mut served = std::pin::pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            // What was begun may be followed to its end; nothing new begins.
            () = self.drained() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        self.end(&connection, if ended.is_ok() { "closed" } else { Reason::ClientClosed.code() })
    }

    /// Closes a connection that gets no slot, in the client's protocol.
    pub(super) async fn turn_away(self: Arc<Self>, stream: Stream, client: ClientFacts, reason: Reason) {
        let opened = timeout(self.limits.handshake_timeout.0, self.open(stream, client)).await;
        let Ok(Ok((stream, _))) = opened else { return };
        let answering = service_fn(|_request: Request<Incoming>| {
            let response = self.refusal(&Fault::new(reason).about("limits.connections_max"), None);
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let served = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answering);
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

    /// Until the program stops and nothing that was begun here is left, or the time for that is over.
    async fn drained(&self) {
        self.drain.reached(Stage::Draining).await;
        tokio::select! {
            () = self.executions.all_ended() => {}
            () = self.drain.reached(Stage::Ending) => {}
        }
    }

    async fn answer(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Body> {
        match self.handle(connection, request).await {
            Ok(response) => response,
            Err(refused) => {
                let Refusal { fault, record } = *refused;
                self.log(&fault, connection);
                self.refusal(&fault, record.as_ref())
            }
        }
    }

    async fn handle(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Result<Response<Body>, Box<Refusal>> {
        head::check(&request, &self.upstream.target().host).map_err(|fault| self.refused(fault))?;
        let purpose = self.warehouse.purpose(request.method(), request.uri().path());
        if self.drain.stage() != Stage::Running && !matches!(purpose, Purpose::Follow(_)) {
            return Err(self.refused(Fault::new(Reason::Draining)));
        }
        let lease = self.entry.lease(request.headers()).await.map_err(|fault| self.refused(fault))?;
        match purpose {
            Purpose::Run => self.run(connection, request, &lease).await,
            Purpose::Follow(handle) => self.follow(connection, request, &lease, handle).await,
            Purpose::Other => self.other(connection, request, &lease).await,
        }
    }

    /// A request that runs a statement.
    async fn run(&self, connection: &Arc<Connection>, request: Request<Incoming>, lease: &Lease) -> Result<Response<Body>, Box<Refusal>> {
        let (head, body) = request.into_parts();
        let body = head::whole(&head.headers, body, self.limits.statement_size.as_usize()).await.map_err(|fault| self.refused(fault))?;
        let whole = Whole { headers: &head.headers, body: &body };
        let statement = self.warehouse.statement(&whole).map_err(|why| self.refused(Fault::new(Reason::RequestMalformed).about(why)))?;
        let session = self.session(connection, lease, &Asks::of(&statement)).await?;
        self.executions.sweep();
        let permit = self.admit(&session, &statement).await?;
        let sent = Bytes::clone(&body);
        let request = Request::from_parts(head, relay::ours(sent));
        let beginning = Beginning { permit, owner: Owner::of(&lease.principal), connection: Arc::downgrade(connection) };
        self.forward(connection, request, lease, Began::Statement { beginning, session }).await
    }

    /// Decides about a statement, and has the attempt on disk.
    async fn admit(&self, session: &Session, statement: &Statement<'_>) -> Result<Permit, Box<Refusal>> {
        let manifest = self.gate.manifest();
        let read = statement::read(statement, &self.analyses, self.dialect, self.limits.sql());
        let said = std::str::from_utf8(&statement.sql).ok().and_then(dbt::attribute);
        let standing = match (&manifest, &said) {
            (Some(manifest), Some(said)) => manifest.verify(
                said,
                &dbt::manifest::verify::Asked {
                    text: &String::from_utf8_lossy(&statement.sql),
                    statements: &read.analysis.statements,
                    database: &statement.database,
                    unqualified_schema: statement.schema.as_deref(),
                },
            ),
            (None, _) | (_, None) => Standing::Claimed,
        };
        let execution = Execution {
            session: &session.facts,
            sql: &statement.sql,
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
    async fn follow(
        &self,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
        lease: &Lease,
        handle: Handle,
    ) -> Result<Response<Body>, Box<Refusal>> {
        let execution =
            self.executions.find(&handle.id, &Owner::of(&lease.principal)).map_err(|reason| self.refused(Fault::new(reason)))?;
        self.forward(connection, request.map(relay::theirs), lease, Began::Followed { execution, ends: handle.ends }).await
    }

    /// A request that only an HTTP rule can allow.
    async fn other(&self, connection: &Arc<Connection>, request: Request<Incoming>, lease: &Lease) -> Result<Response<Body>, Box<Refusal>> {
        let session = self.session(connection, lease, &Asks::default()).await?;
        let fields = head::fields(request.headers());
        let asked = HttpRequest {
            method: request.method().as_str(),
            path: request.uri().path_and_query().map_or("/", |path| path.as_str()),
            host: &self.upstream.target().host,
            headers: &fields,
        };
        // What stands behind `?` may be a secret, and is no part of the record.
        let text = format!("{} {}", request.method(), request.uri().path());
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
        self.forward(connection, request.map(relay::theirs), lease, Began::Request { permit, session }).await
    }

    /// Sends a request on with the credential in it, and relays the reply.
    async fn forward(
        &self,
        connection: &Arc<Connection>,
        request: Request<Body>,
        lease: &Lease,
        began: Began,
    ) -> Result<Response<Body>, Box<Refusal>> {
        let near = head::base(&request, connection.is_encrypted);
        let (mut head, body) = request.into_parts();
        head::strip(&mut head.headers);
        let authorized = self.warehouse.authorize(&mut head.headers, &lease.credential.login, self.role(lease));
        authorized.map_err(|error| self.refused(Fault::new(Reason::TargetLogin).about(error.to_string())))?;
        let response = self.upstream.send(Request::from_parts(head, body), lease).await.map_err(|fault| self.refused(fault))?;
        let rejected = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        if rejected {
            return Err(self.refused(Fault::new(Reason::TargetLogin).about(self.upstream.target().name.clone())));
        }
        relay::relay(response, self.warehouse, near, &self.executions, began).map_err(|fault| self.refused(fault))
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
    fn refusal(&self, fault: &Fault, record: Option<&RecordId>) -> Response<Body> {
        let row = fault.reason.row();
        let record = record.map(|record| format!(", audit record {record}")).unwrap_or_default();
        let message = format!("tollhouse: {fault} [reason {}{record}; {}]", row.code, row.remedy);
        let is_denial = matches!(row.http_status, 400..=499);
        let told = Told { message: &message, sqlstate: row.sqlstate, status: row.http_status, is_denial };
        let refusal = self.warehouse.refusal(&told);
        let mut response = Response::new(relay::ours(Bytes::from(refusal.body)));
        *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Time for the first byte of a connection where TLS is offered.
const FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(10);

/// Whether a client begins with a TLS record (RFC 8446, section 5.1: handshake is 22); nothing of it is taken.
async fn begins_with_tls(socket: &tokio::net::TcpStream) -> bool {
    let mut first = [0; 1];
    matches!(timeout(FIRST_BYTE_TIME_MAX, socket.peek(&mut first)).await, Ok(Ok(1)) if first == [22])
}
