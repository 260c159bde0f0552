//! The PostgreSQL door: from an accepted socket to a session that the gate watches.
//!
//! The life of a connection, top to bottom: [`startup`] settles encryption and reads what the client wants,
//! [`entry`] lets the client in and says who it is, its credential logs in [`upstream`], and [`session`] relays until the
//! end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::audit::log::{AuditLog, Note};
use crate::audit::record::RecordedSession;
use crate::audit::{ClientFacts, SessionFacts};
use crate::credential::cache::Lease;
use crate::fault::{Fault, Reason};
use crate::identity::Principal;
use crate::policy::AccessRequest;
use crate::warehouse::postgres::{ALPN, Flavor};

mod authentication;
mod bearer;
mod cancel;
mod digest;
mod entry;
mod flow;
mod from_client;
mod from_server;
mod login;
mod message;
mod names;
mod outbox;
mod parameters;
mod refuse;
mod scram;
mod session;
mod settings;
mod startup;
mod statement;
pub mod trial;
mod upstream;
mod wire;

use self::cancel::{Key, Owner, Registered, Sessions};
use self::entry::{Admitted, Entry};
use self::flow::Flow;
use self::message::{Severity, write_error};
use self::parameters::Asked;
use self::refuse::Probe;
use self::session::{Session, Surroundings, Tally};
use self::startup::{Encryption, Opening, Startup, Unopened, Wire};
use self::upstream::{Ready, Upstream, Wish};
use self::wire::Reader;
use super::{Parts, Settings, TlsMode};
use crate::tls::stream::Stream;
use crate::tls::{self, Acceptor, Demands};

/// Serves the connections of one listener.
pub(super) struct Door {
    name: String,
    role: String,
    flavor: Flavor,
    encryption: Encryption,
    entry: Entry,
    exchange: &'static str,
    upstream: Arc<Upstream>,
    sessions: Arc<Sessions>,
    around: Surroundings,
}

/// What is known of a connection that got no session.
#[derive(Default)]
struct Refused {
    user: Option<String>,
    database: Option<String>,
    principal: Option<Arc<Principal>>,
    server_error: Option<bytes::Bytes>,
}

impl Door {
    /// A door for a listener.
    ///
    /// # Errors
    /// The listener's certificate cannot be used, or the system has no randomness.
    pub(super) fn new(settings: &Settings, parts: Parts, flavor: Flavor) -> Result<Self, Fault> {
        let internal = |error: aws_lc_rs::error::Unspecified| Fault::new(Reason::Internal).because(error);
        let encryption = match &settings.tls {
            None => Encryption::Off,
            Some(tls) => {
                let demands = Demands { client_ca: tls.client_ca.clone(), protocols: &[ALPN] };
                let acceptor = Acceptor::demanding(&tls.files, demands, parts.trust);
                let acceptor = Arc::new(acceptor.map_err(|error| Fault::new(Reason::Internal).because(error))?);
                match tls.mode {
                    TlsMode::Offer => Encryption::Offered(acceptor),
                    TlsMode::Require => Encryption::Required(acceptor),
                }
            }
        };
        Ok(Self {
            name: settings.name().to_owned(),
            role: parts.role,
            flavor,
            encryption,
            entry: Entry::new(&settings.authentication, parts.credentials)?,
            exchange: parts.exchange,
            upstream: Arc::new(Upstream {
                target: parts.target,
                tls: parts.tls,
                negotiation: parts.negotiation,
                methods: parts.methods,
                login_parameters: parts.login_parameters,
                connect_timeout: parts.limits.connect_timeout.0,
            }),
            sessions: parts.cancellation.0.postgres,
            around: Surroundings {
                gate: parts.gate,
                analyses: parts.analyses,
                dialect: parts.kind.dialect,
                probe: Probe::new().map_err(internal)?,
                limits: parts.limits,
                metrics: parts.metrics,
                drain: parts.drain,
                cancel_on_disconnect: settings.cancel_on_disconnect,
            },
        })
    }

    /// Serves one connection to its end, and says how it ended: `closed`, or a reason code.
    pub(super) async fn serve(&self, stream: Stream, client: ClientFacts) -> &'static str {
        match self.open(stream).await {
            Ok((Opening::Cancel(key), wire)) => self.cancel(&key, wire).await,
            Ok((Opening::Session(startup), wire)) => self.session(startup, wire, client).await,
            Err(unopened) => {
                let Unopened { fault, wire } = *unopened;
                self.refuse(&fault, Refused::default(), wire, &client).await
            }
        }
    }

    /// Says why a connection gets no slot, in the client's protocol. Waits for the client's first packet, but not for long.
    pub(super) async fn turn_away(&self, stream: Stream, client: ClientFacts, reason: Reason) {
        let fault = Fault::new(reason).about("limits.connections_max");
        let wire = match self.open(stream).await {
            Ok((_, wire)) => Some(wire),
            Err(unopened) => unopened.wire,
        };
        self.refuse(&fault, Refused::default(), wire, &client).await;
    }

    async fn open(&self, stream: Stream) -> Result<(Opening, Wire), Box<Unopened>> {
        let failed = |fault: Fault| Unopened::new(fault, None);
        let opened = timeout(self.around.limits.handshake_timeout.0, startup::open(stream, &self.encryption)).await;
        opened.unwrap_or_else(|_| Err(failed(Fault::new(Reason::HandshakeTimeout).about("limits.handshake_timeout"))))
    }

    async fn cancel(&self, key: &Key, mut wire: Wire) -> &'static str {
        let outcome = match self.sessions.find(key) {
            Some(upstream) => match cancel::forward(key, &upstream).await {
                Ok(()) => "cancel",
                Err(fault) => {
                    tracing::warn!(listener = self.name, fault = fault.chain(), "a cancel request was not forwarded");
                    fault.reason.code()
                }
            },
            // PostgreSQL too says nothing to a key that it does not know.
            None => "cancel-unknown",
        };
        // The client only waits for the connection to close.
        let _gone = wire.from.shutdown().await;
        outcome
    }

    async fn session(&self, startup: Startup, mut wire: Wire, mut client: ClientFacts) -> &'static str {
        let mut refused =
            Refused { user: Some(startup.user.clone()), database: startup.database.clone(), principal: None, server_error: None };
        client.certificate = wire.from.peer_certificate().and_then(tls::subject);
        let begun = match self.begin(&startup, &mut wire, &client, &mut refused).await {
            Ok(begun) => begun,
            Err(fault) => return self.refuse(&fault, refused, Some(wire), &client).await,
        };
        let started = Instant::now();
        let Begun { session, server, greeting, flow, _registered } = begun;
        let ended = match wire.from.write_all(&greeting).await {
            Ok(()) => session::run(wire, server, flow, &session, &self.around).await,
            Err(error) => Err(Fault::new(Reason::ClientClosed).because(error)),
        };
        let end = match &ended {
            Ok(()) => "closed",
            Err(fault) => {
                self.log(fault, &client);
                fault.reason.code()
            }
        };
        self.note_end(&session, end, started.elapsed());
        end
    }

    fn note_end(&self, session: &Session, end: &str, duration: Duration) {
        let [executions, denied, bytes_to_target, bytes_to_client] =
            [&session.tally.executions, &session.tally.denied, &session.tally.bytes_to_target, &session.tally.bytes_to_client]
                .map(|number| number.load(Ordering::Relaxed));
        let relayed = &self.around.metrics.relayed_bytes;
        relayed.with_label_values(&["to_target"]).inc_by(bytes_to_target);
        relayed.with_label_values(&["to_client"]).inc_by(bytes_to_client);
        let note = Note::SessionEnded { session: &session.facts.id, end, executions, denied, bytes_to_target, bytes_to_client, duration };
        if let Err(error) = self.audit().note_later(note) {
            tracing::warn!(listener = self.name, %error, "the end of a session was not recorded");
        }
    }

    /// Everything between the startup message and the first ReadyForQuery.
    async fn begin(&self, startup: &Startup, wire: &mut Wire, client: &ClientFacts, refused: &mut Refused) -> Result<Begun, Fault> {
        let admitted_client = self.entry.admit(wire, client, self.around.limits.handshake_timeout.0).await?;
        refused.principal.clone_from(&admitted_client.principal);
        let database = match &startup.database {
            Some(database) => database.clone(),
            None if self.flavor.database_defaults_to_user => startup.user.clone(),
            None => return Err(Fault::new(Reason::UnknownDatabase)),
        };
        let passed_on = parameters::passed_on(&startup.parameters, &self.flavor);
        let asked = parameters::read(&passed_on, self.around.dialect, &self.flavor)?;
        let request = Request { database: &database, parameters: &passed_on, asked: &asked, minor: startup.wanted.minor() };
        let (lease, ready) = self.log_in(&admitted_client, &request, refused).await?;
        let role = self.role(&lease).to_owned();
        let Ready { wire, greeting, minor, key, settings, server } = ready;
        let owner = Owner { principal: Arc::clone(&lease.principal), upstream: Arc::clone(&self.upstream), server };
        let mut answer = BytesMut::new();
        startup.wanted.negotiate(minor, &mut answer);
        answer.extend_from_slice(&greeting);
        let facts = SessionFacts {
            id: self.audit().session_id(),
            principal: lease.principal,
            target: Arc::clone(&self.upstream.target),
            database,
            role,
            client_user: startup.user.clone(),
            application_name: asked.application_name,
            client: client.clone(),
            server_process_id: key.as_ref().map(|key| key.process_id),
            credential: lease.credential.id.clone(),
            recorded: RecordedSession::default(),
        };
        self.audit().note(Note::SessionStarted(&facts)).await?;
        Ok(Begun {
            _registered: key.clone().map(|key| self.sessions.register(key, owner.clone())),
            session: Session {
                facts,
                key,
                owner,
                sessions: Arc::clone(&self.sessions),
                search_path: asked.search_path,
                replication: asked.replication,
                tally: Tally::default(),
            },
            server: wire,
            greeting: answer.freeze(),
            flow: Flow::new(settings),
        })
    }

    /// Logs in at the warehouse. A credential that it refuses is given up, and another one tried, once.
    async fn log_in(&self, client: &Admitted, request: &Request<'_>, refused: &mut Refused) -> Result<(Lease, Ready), Fault> {
        let mut lease = client.lease().await.map_err(Fault::from)?;
        let mut is_first = true;
        loop {
            refused.principal = Some(Arc::clone(&lease.principal));
            self.around.gate.note_exchange(&lease, self.exchange, &self.upstream.target).await?;
            self.judge(&lease, request)?;
            let Request { database, parameters, asked: _, minor } = *request;
            let wish = Wish { role: self.role(&lease), database, parameters, minor };
            let admits = |address| self.around.gate.admit_address(&lease.principal, &self.upstream.target, address);
            let failure = match upstream::log_in(&self.upstream, &lease.credential, &wish, &admits).await {
                Ok(ready) => return Ok((lease, ready)),
                Err(failure) => failure,
            };
            let another = if is_first && failure.is_credential_refused { client.replace(&lease).await } else { None };
            match another {
                Some(another) => (lease, is_first) = (another, false),
                None => {
                    refused.server_error = failure.server_error;
                    return Err(failure.fault);
                }
            }
        }
    }

    /// A credential that is somebody's own can be used for nobody else.
    fn role<'a>(&'a self, lease: &'a Lease) -> &'a str {
        lease.credential.role.as_deref().unwrap_or(&self.role)
    }

    /// Whether policy lets the principal connect at all, and with these parameters.
    fn judge(&self, lease: &Lease, request: &Request<'_>) -> Result<(), Fault> {
        self.around.gate.admit_session(&AccessRequest {
            principal: &lease.principal,
            target: &self.upstream.target,
            database: request.database,
            role: self.role(lease),
            unqualified_schema: None,
            effects: &request.asked.effects,
            dbt: None,
        })
    }

    fn audit(&self) -> &AuditLog {
        self.around.gate.audit()
    }

    /// Tells, counts, logs and records that a connection got no session.
    async fn refuse(&self, fault: &Fault, refused: Refused, wire: Option<Wire>, client: &ClientFacts) -> &'static str {
        let row = fault.reason.row();
        self.around.metrics.refusals_total.with_label_values(&[row.code, row.blame.as_str()]).inc();
        self.log(fault, client);
        let note = Note::SessionRefused {
            reason: fault.reason,
            about: fault.about.as_deref(),
            listener: &self.name,
            client,
            client_user: refused.user.as_deref(),
            database: refused.database.as_deref(),
            principal: refused.principal.as_deref(),
        };
        let record = match self.audit().note(note).await {
            Ok(record) => Some(record.to_string()),
            Err(error) => {
                tracing::warn!(listener = self.name, %error, "a refused connection was not recorded");
                None
            }
        };
        if let Some(mut wire) = wire
            && fault.reason != Reason::ClientClosed
        {
            let mut out = BytesMut::new();
            match refused.server_error {
                Some(theirs) => out.extend_from_slice(&theirs),
                None => write_error(&mut out, Severity::Fatal, fault, record.as_deref()),
            }
            // A client that does not read why it was refused is not waited for.
            let told = async {
                wire.from.write_all(&out).await?;
                wire.from.shutdown().await
            };
            let _told = timeout(self.around.limits.handshake_timeout.0, told).await;
        }
        row.code
    }

    fn log(&self, fault: &Fault, client: &ClientFacts) {
        let (listener, reason, chain) = (&self.name, fault.reason.code(), fault.chain());
        let client_address = client.address.map(tracing::field::display);
        let client_uid = client.process.map(|process| process.user_id);
        if matches!(fault.reason, Reason::ClientClosed | Reason::Draining | Reason::IdleTimeout | Reason::SessionAge) {
            tracing::debug!(listener, client_address, client_uid, reason, chain, "a session ended");
        } else {
            tracing::warn!(listener, client_address, client_uid, reason, chain, "a connection was refused or ended");
        }
    }
}

/// The session that a client asks for.
struct Request<'a> {
    database: &'a str,
    /// Its startup parameters that are passed on.
    parameters: &'a [(String, String)],
    /// What they would do.
    asked: &'a Asked,
    minor: u16,
}

/// A session that can start.
struct Begun {
    session: Session,
    server: Reader<crate::tls::stream::Stream>,
    greeting: bytes::Bytes,
    flow: Flow,
    _registered: Option<Registered>,
}

/// The keys of all sessions, shared by the listeners of a program: a cancel request may come in on any of them.
#[derive(Clone, Default)]
pub(super) struct Cancellation {
    postgres: Arc<Sessions>,
}
