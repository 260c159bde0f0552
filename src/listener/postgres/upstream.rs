//! The connection to the warehouse: TCP, TLS, and the login with the exchanged credential.
//!
//! Source: PostgreSQL 18 documentation, sections 54.2.1, 54.2.10, 54.3 and 54.7.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cancel::Key;
use super::message::{Fields, error_field, put_string, request, write, write_untyped};
use super::scram::MECHANISM;
use super::settings::ServerSettings;
use super::wire::{Message, Reader, WireError};
use crate::credential::{Credential, Login};
use crate::fault::{Fault, Reason};
use crate::target::Target;
use crate::tls::stream::Stream;
use crate::tls::{Client, ClientAuth, Mode};

/// Longest message that a server may send before the session starts.
const LOGIN_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Most messages before ReadyForQuery; a server that sends more is not going to end.
const LOGIN_MESSAGES_MAX: usize = 1000;

/// Where a listener's sessions go.
pub(super) struct Upstream {
    /// The warehouse.
    pub(super) target: Arc<Target>,
    /// How it is verified.
    pub(super) tls: Client,
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
}

/// Why there is no session.
pub(super) struct LoginFailure {
    /// Whose failure.
    pub(super) fault: Fault,
    /// The server's own ErrorResponse, where the client should see it instead of ours.
    pub(super) server_error: Option<Bytes>,
}

impl From<Fault> for LoginFailure {
    fn from(fault: Fault) -> Self {
        Self { fault, server_error: None }
    }
}

/// The fault of a target that cannot be reached.
pub(super) fn unreachable(upstream: &Upstream, error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(Reason::TargetUnreachable).about(upstream.target.name.clone()).because(error)
}

/// Connects and settles encryption; with a client certificate if the credential is one.
///
/// # Errors
/// `TargetUnreachable` or `TargetTls`.
pub(super) async fn connect(upstream: &Upstream, credential: Option<&Credential>) -> Result<Stream, Fault> {
    let connected = timeout(upstream.connect_timeout, connect_unbounded(upstream, credential)).await;
    connected.map_err(|elapsed| unreachable(upstream, elapsed))?
}

async fn connect_unbounded(upstream: &Upstream, credential: Option<&Credential>) -> Result<Stream, Fault> {
    let target = &upstream.target;
    let unreachable = |error: std::io::Error| unreachable(upstream, error);
    let mut socket = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(unreachable)?;
    socket.set_nodelay(true).map_err(unreachable)?;
    if upstream.tls.mode() == Mode::Disable {
        return Ok(Stream::Plain(socket));
    }
    let mut ask = BytesMut::new();
    write_untyped(&mut ask, |body| body.put_u32(request::TLS));
    socket.write_all(&ask).await.map_err(unreachable)?;
    let refused = |what: &str| Fault::new(Reason::TargetTls).about(format!("{}: {what}", target.name));
    match socket.read_u8().await.map_err(unreachable)? {
        b'S' => {}
        b'N' => return Err(refused("the server does not offer TLS")),
        _ => return Err(refused("the server does not speak PostgreSQL's protocol")),
    }
    let client_auth = match credential.map(|credential| &credential.login) {
        Some(Login::ClientCertificate { chain, key }) => Some(ClientAuth { chain, key: key.expose() }),
        Some(Login::Password(_)) | None => None,
    };
    upstream
        .tls
        .connect(socket, &target.host, client_auth)
        .await
        .map_err(|error| Fault::new(Reason::TargetTls).about(target.name.clone()).because(error))
}

/// Connects and logs in.
///
/// # Errors
/// A fault of the target, or the server's own refusal. Not cancel safe: dropping it closes the connection.
pub(super) async fn log_in(upstream: &Upstream, credential: &Credential, wish: &Wish<'_>) -> Result<Ready, LoginFailure> {
    let stream = connect(upstream, Some(credential)).await?;
    match timeout(upstream.connect_timeout, converse(stream, credential, wish)).await {
        Ok(done) => done,
        Err(elapsed) => Err(unreachable(upstream, elapsed).into()),
    }
}

async fn converse(stream: Stream, credential: &Credential, wish: &Wish<'_>) -> Result<Ready, LoginFailure> {
    let mut wire = Reader::new(stream);
    let mut out = BytesMut::new();
    write_untyped(&mut out, |body| startup(body, wish));
    send(&mut wire, &out).await?;
    let minor = authenticate(&mut wire, credential, wish).await?;
    greet(wire, minor).await
}

fn startup(body: &mut BytesMut, wish: &Wish<'_>) {
    body.put_u32(request::version_3(wish.minor));
    let fixed = [("user", wish.role), ("database", wish.database)];
    let asked = wish.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in fixed.into_iter().chain(asked) {
        put_string(body, name.as_bytes());
        put_string(body, value.as_bytes());
    }
    body.put_u8(0);
}

async fn send(wire: &mut Reader<Stream>, bytes: &[u8]) -> Result<(), Fault> {
    let sent = async {
        wire.from.write_all(bytes).await?;
        wire.from.flush().await
    };
    sent.await.map_err(|error: std::io::Error| Fault::new(Reason::TargetClosed).because(error))
}

async fn receive(wire: &mut Reader<Stream>) -> Result<Message, LoginFailure> {
    let message = wire.message(LOGIN_MESSAGE_BYTES_MAX).await.map_err(WireError::by_target)?;
    if message.kind == b'E' { Err(refused_by_server(&message)) } else { Ok(message) }
}

/// The server's refusal. Errors about authorization concern our credential, which the client knows nothing of, so
/// the client gets our words for those; all others (no such database, too many connections) it gets as they are.
fn refused_by_server(message: &Message) -> LoginFailure {
    let sqlstate = error_field(message.body(), b'C').unwrap_or_default();
    let text = String::from_utf8_lossy(error_field(message.body(), b'M').unwrap_or_default()).into_owned();
    let fault = Fault::new(Reason::TargetLogin).about(format!("SQLSTATE {}", String::from_utf8_lossy(sqlstate))).because(text);
    let server_error = (!sqlstate.starts_with(b"28")).then(|| message.bytes.clone());
    LoginFailure { fault, server_error }
}

/// Answers what the server asks until AuthenticationOk, and says which minor version the server speaks.
async fn authenticate(wire: &mut Reader<Stream>, credential: &Credential, wish: &Wish<'_>) -> Result<u16, LoginFailure> {
    let mut minor = wish.minor;
    for _ in 0..LOGIN_MESSAGES_MAX {
        let message = receive(wire).await?;
        let mut fields = Fields(message.body());
        let code = match message.kind {
            b'R' => fields.int32(),
            b'v' => {
                minor = granted(fields, wish.minor).ok_or_else(unexpected)?;
                continue;
            }
            b'N' => continue,
            _ => None,
        };
        let mut out = BytesMut::new();
        match code {
            Some(0) => return Ok(minor),
            Some(3) => put_password(&mut out, cleartext(wire, credential)?),
            Some(5) => {
                let salt = fields.0.first_chunk::<4>().ok_or_else(unexpected)?;
                put_password(&mut out, md5_hash(wish.role.as_bytes(), password(credential)?, *salt));
            }
            Some(10) => {
                scram(wire, fields, password(credential)?).await?;
                continue;
            }
            _ => return Err(unexpected().into()),
        }
        send(wire, &out).await?;
    }
    Err(unexpected().into())
}

/// The minor version in NegotiateProtocolVersion: never more than was asked for, and about no option, since we send none.
fn granted(mut fields: Fields<'_>, asked: u16) -> Option<u16> {
    let [0, 3, minor @ ..] = fields.int32()?.to_be_bytes() else { return None };
    let minor = u16::from_be_bytes(minor);
    (minor <= asked && fields.int32()? == 0).then_some(minor)
}

fn put_password(out: &mut BytesMut, password: impl AsRef<[u8]>) {
    write(out, b'p', |body| put_string(body, password.as_ref()));
}

fn unexpected() -> Fault {
    Fault::new(Reason::TargetProtocol).about("unexpected message during login")
}

fn password(credential: &Credential) -> Result<&[u8], Fault> {
    match &credential.login {
        Login::Password(password) => Ok(password.expose().as_bytes()),
        Login::ClientCertificate { .. } => {
            Err(Fault::new(Reason::TargetLogin).about("the server asks for a password and the credential is a certificate"))
        }
    }
}

/// The password for a server that wants to see it: only behind TLS, or where the operator chose to have none.
fn cleartext<'a>(wire: &Reader<Stream>, credential: &'a Credential) -> Result<&'a [u8], Fault> {
    if wire.from.is_encrypted() || wire.from.is_local() {
        password(credential)
    } else {
        Err(Fault::new(Reason::TargetLogin).about("the server asks for a cleartext password on an unencrypted connection"))
    }
}

/// SCRAM-SHA-256 as a client, by rust-postgres' implementation.
async fn scram(wire: &mut Reader<Stream>, mut mechanisms: Fields<'_>, password: &[u8]) -> Result<(), LoginFailure> {
    let offered = loop {
        match mechanisms.string() {
            Some(name) if name == MECHANISM.as_bytes() => break true,
            Some([]) | None => break false,
            Some(_) => {}
        }
    };
    if !offered {
        return Err(Fault::new(Reason::TargetLogin).about("the server offers no SCRAM-SHA-256").into());
    }
    let failed = |error: std::io::Error| LoginFailure::from(Fault::new(Reason::TargetLogin).about("SCRAM").because(error));
    let mut conversation = ScramSha256::new(password, ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    write(&mut out, b'p', |body| {
        put_string(body, MECHANISM.as_bytes());
        body.put_u32(u32::try_from(conversation.message().len()).unwrap_or(0));
        body.extend_from_slice(conversation.message());
    });
    send(wire, &out).await?;
    let message = receive(wire).await?;
    conversation.update(sasl_data(&message, 11)?).map_err(failed)?;
    out.clear();
    write(&mut out, b'p', |body| body.extend_from_slice(conversation.message()));
    send(wire, &out).await?;
    let message = receive(wire).await?;
    // A server that cannot prove that it knows the password either is not the server.
    conversation.finish(sasl_data(&message, 12)?).map_err(failed)
}

fn sasl_data(message: &Message, expected: i32) -> Result<&[u8], Fault> {
    let mut fields = Fields(message.body());
    match (message.kind, fields.int32()) {
        (b'R', Some(code)) if code == expected => Ok(fields.0),
        _ => Err(unexpected()),
    }
}

/// Collects what the server says until it is ready; the client gets it as it is.
async fn greet(mut wire: Reader<Stream>, minor: u16) -> Result<Ready, LoginFailure> {
    let mut greeting = BytesMut::new();
    write(&mut greeting, b'R', |body| body.put_u32(0));
    let mut key = None;
    let mut settings = ServerSettings::default();
    for _ in 0..LOGIN_MESSAGES_MAX {
        let message = receive(&mut wire).await?;
        match message.kind {
            b'K' => key = Some(Key::parse(message.body()).ok_or_else(unexpected)?),
            b'S' => settings.learn(message.body()),
            b'N' => {}
            b'Z' => {
                greeting.extend_from_slice(&message.bytes);
                return Ok(Ready { wire, greeting: greeting.freeze(), minor, key, settings });
            }
            _ => return Err(unexpected().into()),
        }
        greeting.extend_from_slice(&message.bytes);
    }
    Err(unexpected().into())
}
