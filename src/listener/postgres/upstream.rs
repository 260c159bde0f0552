//! The connection to the warehouse: TCP, TLS, and what the session starts with.
//!
//! Source: PostgreSQL 18 documentation, sections 54.2.1, 54.2.10 and 54.7.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cancel::Key;
use super::login::{self, receive, send, unexpected};
use super::message::{put_string, request, write, write_untyped};
use super::settings::ServerSettings;
use super::wire::Reader;
use crate::credential::{Credential, Login};
use crate::fault::{Fault, Reason};
use crate::target::Target;
use crate::tls::stream::Stream;
use crate::tls::{Client, ClientAuth, Mode};
use crate::warehouse::postgres::{Method, Negotiation};

/// Most messages before ReadyForQuery; a server that sends more is not going to end.
pub(super) const LOGIN_MESSAGES_MAX: usize = 1000;

/// Where a listener's sessions go.
pub(super) struct Upstream {
    /// The warehouse.
    pub(super) target: Arc<Target>,
    /// How it is verified.
    pub(super) tls: Client,
    /// How TLS begins.
    pub(super) negotiation: Negotiation,
    /// The ways to log in that the server may ask for.
    pub(super) methods: Vec<Method>,
    /// Startup parameters about the login.
    pub(super) login_parameters: BTreeMap<String, String>,
    /// Bound on TCP connect and TLS handshake together, and on the login after them.
    pub(super) connect_timeout: Duration,
}

/// What the session asks the server for.
pub(super) struct Wish<'a> {
    /// The role to log in as.
    pub(super) role: &'a str,
    /// The database.
    pub(super) database: &'a str,
    /// Session parameters of the client, judged and passed on.
    pub(super) parameters: &'a [(String, String)],
    /// Minor version of protocol 3.
    pub(super) minor: u16,
}

/// A session that the server is ready for.
pub(super) struct Ready {
    /// The connection, behind ReadyForQuery.
    pub(super) wire: Reader<Stream>,
    /// What the server said from AuthenticationOk to ReadyForQuery, for the client to read as it is.
    pub(super) greeting: Bytes,
    /// The minor version of protocol 3 that the server speaks; at most the one that was asked for.
    pub(super) minor: u16,
    /// The key in its BackendKeyData, if it sent one.
    pub(super) key: Option<Key>,
    /// What its ParameterStatus messages said.
    pub(super) settings: ServerSettings,
    /// Its address.
    pub(super) server: Option<SocketAddr>,
}

/// Why there is no session.
pub(super) struct LoginFailure {
    /// Whose failure.
    pub(super) fault: Fault,
    /// The server's own ErrorResponse, where the client should see it instead of ours.
    pub(super) server_error: Option<Bytes>,
    /// Whether the server has refused the credential itself, so that another may be taken.
    pub(super) is_credential_refused: bool,
    /// Whether the server had accepted the login before it failed.
    pub(super) is_logged_in: bool,
}

impl From<Fault> for LoginFailure {
    fn from(fault: Fault) -> Self {
        Self { fault, server_error: None, is_credential_refused: false, is_logged_in: false }
    }
}

/// The fault of a target that cannot be reached.
pub(super) fn unreachable(upstream: &Upstream, error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(Reason::TargetUnreachable).about(upstream.target.name.clone()).because(error)
}

/// Says whether the target may be reached at an address; asked before anything is sent there.
pub(super) type Admits<'a> = dyn Fn(IpAddr) -> Result<(), Fault> + Send + Sync + 'a;

/// Connects and settles encryption; with a client certificate if the credential is one.
///
/// # Errors
/// `TargetUnreachable`, `TargetTls`, or what `admits` says of the address.
pub(super) async fn connect(upstream: &Upstream, credential: Option<&Credential>, admits: &Admits<'_>) -> Result<Stream, Fault> {
    let connected = timeout(upstream.connect_timeout, connect_unbounded(upstream, credential, admits)).await;
    connected.map_err(|elapsed| unreachable(upstream, elapsed))?
}

async fn connect_unbounded(upstream: &Upstream, credential: Option<&Credential>, admits: &Admits<'_>) -> Result<Stream, Fault> {
    let target = &upstream.target;
    let unreachable = |error: std::io::Error| unreachable(upstream, error);
    let mut socket = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(unreachable)?;
    admits(socket.peer_addr().map_err(unreachable)?.ip())?;
    socket.set_nodelay(true).map_err(unreachable)?;
    if upstream.tls.mode() == Mode::Disable {
        return Ok(Stream::Plain(socket));
    }
    match upstream.negotiation {
        Negotiation::Postgres => ask_for_tls(&mut socket, upstream).await?,
        Negotiation::Direct => {}
    }
    let client_auth = match credential.map(|credential| &credential.login) {
        Some(Login::ClientCertificate { chain, key }) => Some(ClientAuth { chain, key: key.expose() }),
        Some(Login::Password(_) | Login::Token(_) | Login::AwsCredentials(_) | Login::Snowflake { .. }) | None => None,
    };
    upstream
        .tls
        .connect(socket, &target.host, client_auth)
        .await
        .map_err(|error| Fault::new(Reason::TargetTls).about(target.name.clone()).because(error))
}

async fn ask_for_tls(socket: &mut TcpStream, upstream: &Upstream) -> Result<(), Fault> {
    let unreachable = |error: std::io::Error| unreachable(upstream, error);
    let refused = |what: &str| Fault::new(Reason::TargetTls).about(format!("{}: {what}", upstream.target.name));
    let mut ask = BytesMut::new();
    write_untyped(&mut ask, |body| body.put_u32(request::TLS));
    socket.write_all(&ask).await.map_err(unreachable)?;
    match socket.read_u8().await.map_err(unreachable)? {
        b'S' => Ok(()),
        b'N' => Err(refused("the server does not offer TLS")),
        _ => Err(refused("the server does not speak PostgreSQL's protocol")),
    }
}

/// Connects and logs in.
///
/// # Errors
/// A fault of the target, or the server's own refusal. Not cancel safe: dropping it closes the connection.
pub(super) async fn log_in(
    upstream: &Upstream,
    credential: &Credential,
    wish: &Wish<'_>,
    admits: &Admits<'_>,
) -> Result<Ready, LoginFailure> {
    let stream = connect(upstream, Some(credential), admits).await?;
    match timeout(upstream.connect_timeout, converse(stream, upstream, credential, wish)).await {
        Ok(done) => done,
        Err(elapsed) => Err(unreachable(upstream, elapsed).into()),
    }
}

async fn converse(stream: Stream, upstream: &Upstream, credential: &Credential, wish: &Wish<'_>) -> Result<Ready, LoginFailure> {
    let mut wire = Reader::new(stream);
    let mut out = BytesMut::new();
    write_untyped(&mut out, |body| startup(body, upstream, wish));
    send(&mut wire, &out).await?;
    let minor = login::authenticate(&mut wire, credential, wish, &upstream.methods).await?;
    greet(wire, minor).await
}

fn startup(body: &mut BytesMut, upstream: &Upstream, wish: &Wish<'_>) {
    body.put_u32(request::version_3(wish.minor));
    let fixed = [("user", wish.role), ("database", wish.database)];
    let login = upstream.login_parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let asked = wish.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in fixed.into_iter().chain(login).chain(asked) {
        put_string(body, name.as_bytes());
        put_string(body, value.as_bytes());
    }
    body.put_u8(0);
}

/// Collects what the server says until it is ready; the client gets it as it is.
async fn greet(mut wire: Reader<Stream>, minor: u16) -> Result<Ready, LoginFailure> {
    let mut greeting = BytesMut::new();
    write(&mut greeting, b'R', |body| body.put_u32(0));
    let mut key = None;
    let mut settings = ServerSettings::default();
    for _ in 0..LOGIN_MESSAGES_MAX {
        let message = receive(&mut wire).await.map_err(|failure| LoginFailure { is_logged_in: true, ..failure })?;
        match message.kind {
            b'K' => key = Some(Key::parse(message.body()).ok_or_else(unexpected)?),
            b'S' => settings.learn(message.body()),
            b'N' => {}
            b'Z' => {
                greeting.extend_from_slice(&message.bytes);
                let server = wire.from.peer_address();
                return Ok(Ready { wire, greeting: greeting.freeze(), minor, key, settings, server });
            }
            _ => return Err(unexpected().into()),
        }
        greeting.extend_from_slice(&message.bytes);
    }
    Err(unexpected().into())
}
