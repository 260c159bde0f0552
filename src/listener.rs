//! Accepts clients and relays what the gate permits: limits, drain, and isolation of one session from another.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::audit::ClientFacts;
use crate::credential;
use crate::document::{Size, Span};
use crate::drain::{Drain, Stage};
use crate::fault::{Fault, Reason};
use crate::gate::Gate;
use crate::identity;
use crate::metrics::Metrics;
use crate::sql;
use crate::target::Target;
use crate::tls::stream::Stream;
use crate::tls::{self, ServerSettings, Trust};
use crate::warehouse::postgres::{ALPN, Method, Negotiation};
use crate::warehouse::{Kind, Protocol};

pub mod address;
mod http;
pub mod postgres;
mod socket;

use self::address::{Address, SocketMode};
use self::socket::Socket;

/// Clients that are being told that there is no slot for them; more than these are closed without a word.
const TURNED_AWAY_MAX: usize = 64;

/// Pause after a failure to accept (out of file descriptors, most often), which would otherwise repeat at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A door for clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name in metrics and logs; the target's name where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Where clients connect. With `authentication: trust` it must be a loopback address or a Unix-domain socket.
    pub address: Address,
    /// The file mode of a Unix-domain socket: whoever may write to it may connect. Its directory should be closed to
    /// everybody else (0700), as that is where another socket could be put in its place.
    #[serde(default)]
    pub socket_mode: SocketMode,
    /// The target that sessions go to.
    pub target: String,
    /// TLS towards clients; none where absent.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// How clients log in to Tollhouse.
    #[serde(default)]
    pub authentication: Authentication,
    /// Whether a query is cancelled at the target when its client's connection ends before its reply. Left to itself,
    /// PostgreSQL runs it to its end, and commits it where no transaction is open. Off, since some clients count on that.
    #[serde(default)]
    pub cancel_on_disconnect: bool,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// `offer` leaves the choice to the client, `require` refuses those who come without.
    pub mode: TlsMode,
    /// Certificate and key.
    #[serde(rename = "identity")]
    pub files: ServerSettings,
    /// PEM bundle of the authorities whose client certificates are verified; clients are asked for one where this is
    /// set. `authentication: certificate` needs it, with others the certificate's subject is recorded. Read again
    /// whenever the file changes.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// Whether clients have to use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// For those who ask.
    Offer,
    /// For everybody.
    Require,
}

/// How clients log in to Tollhouse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
pub enum Authentication {
    /// Whoever reaches the loopback address or Unix-domain socket may log in, with any user name and password.
    #[default]
    Trust,
    /// Whoever has a certificate of one of the authorities in `tls.client_ca`.
    Certificate,
    /// The processes of these users, by a Unix-domain socket: the kernel says whose process connects.
    Peer {
        /// Numbers of the users.
        uids: Vec<u32>,
    },
    /// SCRAM-SHA-256 with the secret in a file, for clients that insist on a password.
    Scram {
        /// The file; read for each login.
        secret_file: PathBuf,
    },
    /// Whoever shows a valid token as its password (behind TLS, or on loopback or a Unix-domain socket), and each as itself:
    /// with permissions, credentials and records of its own, never the workload's.
    Token {
        /// The identity that verifies the tokens, one without a token of its own.
        identity: String,
    },
}

/// Bounds on what clients may ask for, and what happens at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections at once, over all listeners. One more is refused with SQLSTATE 53300.
    pub connections_max: usize,
    /// Longest message of a client, relayed without being held. A longer one ends the session.
    pub message_size: Size,
    /// Longest statement, which is held in memory while it is judged. A longer one is refused; the session goes on.
    pub statement_size: Size,
    /// Deepest nesting of a statement that is analyzed. A deeper one is opaque.
    pub nesting_max: usize,
    /// Prepared statements of one session. One more is refused; the session goes on.
    pub prepared_statements_max: usize,
    /// Time for a client to finish its startup, and separately its login. Then the connection is closed.
    pub handshake_timeout: Span,
    /// Time for the connection to the target, and separately for the login there. Then the client is refused.
    pub connect_timeout: Span,
    /// Time that a session may be idle. Then it is closed with SQLSTATE 57P05. A running query is not idle.
    pub idle_timeout: Span,
    /// The longest life of a session; without bound where absent, also past the end of the credential that opened it. A session of
    /// this age is closed with SQLSTATE 57P05 as soon as no query runs; the server then rolls an open transaction back. Over HTTP
    /// connections of this age are closed behind the request under way, and sessions that clients opened at the warehouse end.
    pub session_age_max: Option<Span>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1000,
            message_size: Size::mebibytes(1024),
            statement_size: Size::mebibytes(16),
            nesting_max: sql::Limits::default().nesting_max,
            prepared_statements_max: 10_000,
            handshake_timeout: Span::seconds(10),
            connect_timeout: Span::seconds(10),
            idle_timeout: Span::seconds(3600),
            session_age_max: None,
        }
    }
}

impl Limits {
    fn sql(&self) -> sql::Limits {
        sql::Limits { statement_bytes_max: self.statement_size.as_usize(), nesting_max: self.nesting_max }
    }
}

impl Settings {
    /// The name in metrics and logs.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.target)
    }
}

/// What a listener needs from the rest of the program.
pub struct Parts {
    /// The warehouse.
    pub target: Arc<Target>,
    /// Its kind.
    pub kind: &'static Kind,
    /// The role that sessions log in as.
    pub role: String,
    /// How the warehouse is verified.
    pub tls: tls::Client,
    /// How TLS with it begins.
    pub negotiation: Negotiation,
    /// The ways to log in that the warehouse may ask for.
    pub methods: Vec<Method>,
    /// Startup parameters about the login there.
    pub login_parameters: BTreeMap<String, String>,
    /// Which certificates count.
    pub trust: Trust,
    /// Who is calling, and what they log in with.
    pub credentials: Credentials,
    /// The kind of exchange, for records.
    pub exchange: &'static str,
    /// Decides and records.
    pub gate: Arc<Gate>,
    /// Analyses of texts that came before.
    pub analyses: Arc<sql::cache::Cache>,
    /// Bounds.
    pub limits: Limits,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The shutdown.
    pub drain: Drain,
    /// What cancel requests are looked up in.
    pub cancellation: Cancellation,
}

/// Whose credentials the sessions of a listener log in with.
pub enum Credentials {
    /// Those of the workload.
    OfWorkload(credential::cache::Cache),
    /// Those of each client.
    OfClients {
        /// Verifies what a client shows.
        verifier: Box<identity::client::Verifier>,
        /// What is exchanged for it.
        credentials: credential::clients::Clients,
    },
}

/// What TLS with a warehouse of this kind says in ALPN.
pub fn alpn(kind: &Kind, negotiation: Negotiation) -> tls::Alpn {
    match (&kind.protocol, negotiation) {
        (Protocol::Http(_), _) => tls::Alpn::Offered(http::PROTOCOLS),
        // Only behind direct TLS has a server to say that it is one of PostgreSQL's.
        (Protocol::Postgres(_), Negotiation::Direct) => tls::Alpn::Demanded(ALPN),
        (Protocol::Postgres(_), Negotiation::Postgres) => tls::Alpn::Unsaid,
    }
}

/// What cancel requests are looked up in; one for all listeners of a program, since one may come in on any of them.
#[derive(Clone, Default)]
pub struct Cancellation(postgres::Cancellation);

/// A bound listener that accepts nothing yet.
pub struct Listener {
    socket: Socket,
    door: Door,
    name: String,
    connections: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    drain: Drain,
}

/// The protocol that a listener speaks.
#[derive(Clone)]
enum Door {
    Postgres(Arc<postgres::Door>),
    Http(Arc<http::Door>),
}

impl Door {
    fn new(settings: &Settings, parts: Parts) -> Result<Self, Fault> {
        Ok(match parts.kind.protocol {
            Protocol::Postgres(flavor) => Self::Postgres(Arc::new(postgres::Door::new(settings, parts, flavor)?)),
            Protocol::Http(warehouse) => Self::Http(Arc::new(http::Door::new(settings, parts, warehouse)?)),
        })
    }

    async fn serve(self, stream: Stream, client: ClientFacts) -> &'static str {
        match self {
            Self::Postgres(door) => door.serve(stream, client).await,
            Self::Http(door) => door.serve(stream, client).await,
        }
    }

    /// Ends at the warehouse what still runs there. A PostgreSQL session has done that for itself.
    async fn cancel_running(self) {
        match self {
            Self::Postgres(_) => {}
            Self::Http(door) => door.cancel_running().await,
        }
    }

    async fn turn_away(self, stream: Stream, client: ClientFacts, reason: Reason) {
        match self {
            Self::Postgres(door) => door.turn_away(stream, client, reason).await,
            Self::Http(door) => door.turn_away(stream, client, reason).await,
        }
    }
}

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Address {
        /// Which.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The listener's own files cannot be used.
    #[error("the listener {name} cannot be set up")]
    Setup {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Fault,
    },
}

impl Listener {
    /// Binds the address. `connections` bounds all listeners of the program together.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(settings: &Settings, parts: Parts, connections: Arc<Semaphore>) -> Result<Self, BindError> {
        let (metrics, drain) = (Arc::clone(&parts.metrics), parts.drain.clone());
        let name = settings.name().to_owned();
        let door = Door::new(settings, parts).map_err(|source| BindError::Setup { name: name.clone(), source })?;
        let bound = Socket::bind(&settings.address, settings.socket_mode.0).await;
        let socket = bound.map_err(|source| BindError::Address { address: settings.address.clone(), source })?;
        Ok(Self { socket, door, name, connections, metrics, drain })
    }

    /// The address that was bound; differs from the configured one where that has port 0.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<Address> {
        self.socket.address()
    }

    /// Accepts until the drain begins, then waits for the sessions to end.
    pub async fn serve(self) {
        let mut sessions = JoinSet::new();
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        loop {
            tokio::select! {
                () = self.drain.reached(Stage::Draining) => break,
                Some(ended) = sessions.join_next() => self.ended(ended),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, client)) => self.admit(&mut sessions, &turned_away, stream, client),
                    Err(error) => {
                        tracing::warn!(listener = self.name, %error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.socket);
        while let Some(ended) = sessions.join_next().await {
            Self::settle(&self.name, &self.metrics, ended);
        }
        self.door.cancel_running().await;
    }

    fn admit(&self, sessions: &mut JoinSet<&'static str>, turned_away: &Arc<Semaphore>, stream: Stream, client: ClientFacts) {
        let door = self.door.clone();
        if let Ok(slot) = Arc::clone(&self.connections).try_acquire_owned() {
            let active = self.metrics.connections_active.with_label_values(&[&self.name]);
            active.inc();
            sessions.spawn(async move {
                let _counted = Counted(active);
                let _slot = slot;
                door.serve(stream, client).await
            });
        } else if let Ok(place) = Arc::clone(turned_away).try_acquire_owned() {
            sessions.spawn(async move {
                let _place = place;
                door.turn_away(stream, client, Reason::ConnectionsExhausted).await;
                Reason::ConnectionsExhausted.code()
            });
        }
    }

    fn ended(&self, ended: Result<&'static str, tokio::task::JoinError>) {
        Self::settle(&self.name, &self.metrics, ended);
    }

    fn settle(name: &str, metrics: &Metrics, ended: Result<&'static str, tokio::task::JoinError>) {
        let outcome = ended.unwrap_or_else(|error| {
            // A panic ends one session; its query is recorded as abandoned, and the others go on.
            tracing::error!(listener = name, %error, "a session ended by a panic; please report it");
            let row = Reason::Internal.row();
            metrics.refusals_total.with_label_values(&[row.code, row.blame.as_str()]).inc();
            row.code
        });
        metrics.connections_total.with_label_values(&[name, outcome]).inc();
    }
}

/// Counts a connection down again, however it ends.
struct Counted(prometheus::IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
