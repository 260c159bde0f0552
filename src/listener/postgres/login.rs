//! The proxy's login at the warehouse: answers what the server asks with the exchanged credential.
//!
//! Source: PostgreSQL 18 documentation, sections 54.2.1, 54.3 and 54.7; RFC 7628 for OAUTHBEARER. Redshift's own two codes
//! are documented nowhere: they follow the code of its client library, and were not tried against Redshift.

use bytes::{BufMut, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::AsyncWriteExt;

use super::message::{Fields, error_field, put_string, write};
use super::upstream::{LOGIN_MESSAGES_MAX, LoginFailure, Wish};
use super::wire::{Message, Reader, WireError};
use super::{bearer, digest, scram};
use crate::credential::{Credential, Login};
use crate::fault::{Fault, Reason};
use crate::tls::stream::Stream;
use crate::warehouse::postgres::Method;

/// Longest message that a server may send before the session starts.
const LOGIN_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Longest answer that a server reads (`PG_MAX_AUTH_TOKEN_LENGTH` in its source); at a longer one it hangs up.
const ANSWER_BYTES_MAX: usize = 65_535;

/// Answers what the server asks until AuthenticationOk, and says which minor version of protocol 3 the server speaks.
///
/// # Errors
/// A method that is not among `methods` or that the credential does not fit, or the server's own refusal.
pub(super) async fn authenticate(
    wire: &mut Reader<Stream>,
    credential: &Credential,
    wish: &Wish<'_>,
    methods: &[Method],
) -> Result<u16, LoginFailure> {
    let mut conversation = Conversation { wire, login: &credential.login, role: wish.role, methods };
    let (mut minor, mut is_asked) = (wish.minor, false);
    for _ in 0..LOGIN_MESSAGES_MAX {
        let message = receive(conversation.wire).await?;
        let mut fields = Fields(message.body());
        match message.kind {
            b'v' => minor = granted(fields, wish.minor).ok_or_else(unexpected)?,
            b'N' => {}
            b'R' => match fields.int32() {
                Some(0) if is_asked => return Ok(minor),
                Some(0) => {
                    conversation.allow(Method::None)?;
                    return Ok(minor);
                }
                // A server asks once. One that goes on asking collects answers.
                Some(code) if !is_asked => {
                    conversation.answer(code, fields).await?;
                    is_asked = true;
                }
                Some(_) | None => return Err(unexpected().into()),
            },
            _ => return Err(unexpected().into()),
        }
    }
    Err(unexpected().into())
}

/// The fault of a server whose message makes no sense during the login.
pub(super) fn unexpected() -> Fault {
    Fault::new(Reason::TargetProtocol).about("unexpected message during login")
}

/// Sends bytes to the server.
pub(super) async fn send(wire: &mut Reader<Stream>, bytes: &[u8]) -> Result<(), Fault> {
    let sent = async {
        wire.from.write_all(bytes).await?;
        wire.from.flush().await
    };
    sent.await.map_err(|error: std::io::Error| Fault::new(Reason::TargetClosed).because(error))
}

/// Reads one message of the server, which is not an error.
pub(super) async fn receive(wire: &mut Reader<Stream>) -> Result<Message, LoginFailure> {
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
    // invalid_password and invalid_authorization_specification (PostgreSQL documentation, appendix A).
    let is_credential_refused = matches!(sqlstate, b"28P01" | b"28000");
    LoginFailure { fault, server_error, is_credential_refused, is_logged_in: false }
}

/// The minor version in NegotiateProtocolVersion: never more than was asked for, and about no option, since we send none.
fn granted(mut fields: Fields<'_>, asked: u16) -> Option<u16> {
    let [0, 3, minor @ ..] = fields.int32()?.to_be_bytes() else { return None };
    let minor = u16::from_be_bytes(minor);
    (minor <= asked && fields.int32()? == 0).then_some(minor)
}

/// One login.
struct Conversation<'a> {
    wire: &'a mut Reader<Stream>,
    login: &'a Login,
    role: &'a str,
    methods: &'a [Method],
}

impl Conversation<'_> {
    /// Answers one authentication request, up to what the server says of the answer.
    async fn answer(&mut self, code: i32, fields: Fields<'_>) -> Result<(), LoginFailure> {
        let mut out = BytesMut::new();
        match code {
            3 => {
                let password = self.in_clear(Method::Password)?;
                write(&mut out, b'p', |body| put_string(body, password));
            }
            5 => {
                self.allow(Method::Md5)?;
                let salt = fields.0.first_chunk::<4>().ok_or_else(unexpected)?;
                let hash = md5_hash(self.role.as_bytes(), self.password()?, *salt);
                write(&mut out, b'p', |body| put_string(body, hash.as_bytes()));
            }
            10 => return self.sasl(&mechanisms(fields)).await,
            13 => {
                self.allow(Method::RedshiftDigest)?;
                let challenge = digest::Challenge::parse(fields).ok_or_else(unexpected)?;
                let nonce = digest::nonce().map_err(|error| Fault::new(Reason::Internal).because(error))?;
                challenge.answer(self.password()?, &nonce, &mut out);
            }
            14 => {
                let token = self.in_clear(Method::RedshiftToken)?;
                write(&mut out, b'i', |body| body.extend_from_slice(token));
            }
            _ => return Err(Fault::new(Reason::TargetLogin).about(format!("the server asks for authentication of kind {code}")).into()),
        }
        Ok(send(self.wire, &out).await?)
    }

    /// Chooses the strongest mechanism that the server offers, the credential fits and the configuration allows.
    async fn sasl(&mut self, offered: &[&[u8]]) -> Result<(), LoginFailure> {
        let offers = |name: &str| offered.contains(&name.as_bytes());
        let end_point = self.wire.from.end_point().filter(|_| self.methods.contains(&Method::ScramSha256Plus));
        if let (Login::Token(_), true) = (self.login, offers(bearer::MECHANISM)) {
            return self.bearer().await;
        }
        match end_point {
            Some(hash) if offers(scram::MECHANISM_PLUS) => {
                self.scram(scram::MECHANISM_PLUS, ChannelBinding::tls_server_end_point(hash)).await
            }
            // Ready to bind, and not offered to: a server that did offer learns of it (RFC 5802, section 6).
            Some(_) if offers(scram::MECHANISM) => {
                self.allow(Method::ScramSha256)?;
                self.scram(scram::MECHANISM, ChannelBinding::unrequested()).await
            }
            None if offers(scram::MECHANISM) => {
                self.allow(Method::ScramSha256)?;
                self.scram(scram::MECHANISM, ChannelBinding::unsupported()).await
            }
            Some(_) | None => {
                Err(Fault::new(Reason::TargetLogin).about("the server offers no SASL mechanism that the credential fits").into())
            }
        }
    }

    /// SCRAM-SHA-256 as a client, by rust-postgres' implementation.
    async fn scram(&mut self, mechanism: &str, binding: ChannelBinding) -> Result<(), LoginFailure> {
        let failed = |error: std::io::Error| LoginFailure::from(Fault::new(Reason::TargetLogin).about("SCRAM").because(error));
        let mut conversation = ScramSha256::new(self.password()?, binding);
        let mut out = BytesMut::new();
        put_initial_response(&mut out, mechanism, conversation.message());
        send(self.wire, &out).await?;
        let message = receive(self.wire).await?;
        conversation.update(sasl_data(&message, 11)?).map_err(failed)?;
        out.clear();
        write(&mut out, b'p', |body| body.extend_from_slice(conversation.message()));
        send(self.wire, &out).await?;
        let message = receive(self.wire).await?;
        // A server that cannot prove that it knows the password either is not the server.
        conversation.finish(sasl_data(&message, 12)?).map_err(failed)
    }

    /// OAUTHBEARER, of PostgreSQL 18: one message, which is answered with AuthenticationOk or with a document that says why not.
    async fn bearer(&mut self) -> Result<(), LoginFailure> {
        let token = self.in_clear(Method::Oauthbearer)?;
        let response = bearer::initial_response(token).ok_or_else(|| Fault::new(Reason::TargetLogin).about(bearer::UNFIT))?;
        let mut out = BytesMut::new();
        put_initial_response(&mut out, bearer::MECHANISM, response.expose());
        send(self.wire, &out).await?;
        // AuthenticationOk stays for the caller to read, so that it is read in one place.
        let (kind, length) = self.wire.header().await.map_err(WireError::by_target)?;
        if (kind, length) == (b'R', 4) {
            return Ok(());
        }
        let message = receive(self.wire).await?;
        let fault = bearer::refusal(sasl_data(&message, 11)?);
        // The server waits for one more message before it says that the login failed (RFC 7628, section 3.2.3).
        out.clear();
        write(&mut out, b'p', |body| body.extend_from_slice(bearer::DUMMY));
        send(self.wire, &out).await?;
        Err(LoginFailure { is_credential_refused: true, ..fault.into() })
    }

    fn allow(&self, method: Method) -> Result<(), Fault> {
        if self.methods.contains(&method) {
            return Ok(());
        }
        let about = format!("the server asks for `{}`, which targets[].authentication_methods does not name", method.as_str());
        Err(Fault::new(Reason::TargetLogin).about(about))
    }

    fn password(&self) -> Result<&[u8], Fault> {
        match self.login {
            Login::Password(secret) | Login::Token(secret) => Ok(secret.expose().as_bytes()),
            Login::ClientCertificate { .. } => {
                Err(Fault::new(Reason::TargetLogin).about("the server asks for a password and the credential is a certificate"))
            }
            Login::AwsCredentials(_) | Login::Snowflake { .. } => {
                Err(Fault::new(Reason::TargetLogin).about("the credential is for a warehouse of another kind"))
            }
        }
    }

    /// The secret for a server that wants to see it: only behind TLS, or where the bytes never leave the machine.
    fn in_clear(&self, method: Method) -> Result<&[u8], Fault> {
        self.allow(method)?;
        if !self.wire.from.is_encrypted() && !self.wire.from.is_local() {
            return Err(Fault::new(Reason::TargetLogin).about("the server asks for a cleartext secret on an unencrypted connection"));
        }
        let secret = self.password()?;
        if secret.len() >= ANSWER_BYTES_MAX {
            return Err(Fault::new(Reason::TargetLogin).about("the password or token is longer than a PostgreSQL server reads"));
        }
        Ok(secret)
    }
}

fn mechanisms(mut fields: Fields<'_>) -> Vec<&[u8]> {
    std::iter::from_fn(|| fields.string().filter(|name| !name.is_empty())).collect()
}

/// Appends SASLInitialResponse.
fn put_initial_response(out: &mut BytesMut, mechanism: &str, response: &[u8]) {
    write(out, b'p', |body| {
        put_string(body, mechanism.as_bytes());
        body.put_u32(u32::try_from(response.len()).unwrap_or(0));
        body.extend_from_slice(response);
    });
}

fn sasl_data(message: &Message, expected: i32) -> Result<&[u8], Fault> {
    let mut fields = Fields(message.body());
    match (message.kind, fields.int32()) {
        (b'R', Some(code)) if code == expected => Ok(fields.0),
        _ => Err(unexpected()),
    }
}
