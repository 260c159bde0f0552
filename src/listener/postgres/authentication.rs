//! The client's own login towards the proxy.
//!
//! Source: PostgreSQL 18 documentation, sections 54.2.1 and 54.3.1.

use std::path::{Path, PathBuf};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;

use super::message::{Fields, put_string, write};
use super::scram::{Binding, MECHANISM, MECHANISM_PLUS, Verifier};
use super::startup::Wire;
use super::wire::WireError;
use crate::audit::ClientFacts;
use crate::fault::{Fault, Reason};
use crate::identity::client::TOKEN_BYTES_MAX;
use crate::secret::Secret;

/// Longest SASL message that is read.
const SASL_BYTES_MAX: usize = 2048;

/// How a client shows that it may use the listener.
pub(super) enum Authentication {
    /// It reached the listener's loopback address or socket.
    Trust,
    /// It has a certificate that the listener verified.
    Certificate,
    /// Its process is one of these users'.
    Peer(Vec<u32>),
    /// It knows the secret in this file, which is read for each login.
    Scram(PathBuf),
}

/// Lets the client log in. On success the client is waiting for AuthenticationOk.
///
/// # Errors
/// `ClientAuthentication`, or the client breaks the protocol or is gone.
pub(super) async fn authenticate(wire: &mut Wire, authentication: &Authentication, client: &ClientFacts) -> Result<(), Fault> {
    match authentication {
        Authentication::Trust => Ok(()),
        Authentication::Certificate if wire.from.peer_certificate().is_some() => Ok(()),
        Authentication::Certificate => Err(failed().about("a client certificate is needed")),
        Authentication::Peer(users) => match client.process {
            Some(process) if users.contains(&process.user_id) => Ok(()),
            Some(process) => Err(failed().about(format!("uid {} is not among the listener's", process.user_id))),
            None => Err(failed().about("the kernel does not say whose process the client is")),
        },
        Authentication::Scram(file) => scram_by(wire, file).await,
    }
}

/// Asks for the password, which has to be a token, and does not look at it. A client that may not show one in clear is not asked.
///
/// # Errors
/// `TlsRequired`, `ClientAuthentication`, or the client breaks the protocol or is gone.
pub(super) async fn token(wire: &mut Wire) -> Result<Secret<String>, Fault> {
    if !wire.from.is_encrypted() && !wire.from.is_local() {
        return Err(Fault::new(Reason::TlsRequired).about("a token in clear"));
    }
    send(wire, 3, |_| {}).await?;
    // Its body is the password and a zero byte (section 54.7, PasswordMessage).
    let message = wire.message(TOKEN_BYTES_MAX + 1).await.map_err(WireError::by_client)?;
    if message.kind != b'p' {
        return Err(Fault::new(Reason::ProtocolViolation).about("a message other than the password during login"));
    }
    let token = Fields(message.body()).string().and_then(|token| std::str::from_utf8(token).ok());
    token.map(|token| Secret::from(token.trim())).ok_or_else(|| failed().about("the password is no text"))
}

async fn scram_by(wire: &mut Wire, file: &Path) -> Result<(), Fault> {
    let unusable = |error| failed().about("the listener's secret file cannot be used").because(error);
    let secret = Secret::<String>::read(file).await.map_err(unusable)?;
    scram(wire, &secret).await
}

fn failed() -> Fault {
    Fault::new(Reason::ClientAuthentication)
}

async fn scram(wire: &mut Wire, secret: &Secret<String>) -> Result<(), Fault> {
    let verifier = Verifier::new(secret).map_err(|error| failed().because(error))?;
    // Bound to our certificate, a login cannot be relayed by somebody who has another one.
    let end_point = wire.from.end_point();
    send(wire, 10, |body| {
        if end_point.is_some() {
            put_string(body, MECHANISM_PLUS.as_bytes());
        }
        put_string(body, MECHANISM.as_bytes());
        body.put_u8(0);
    })
    .await?;
    let first = receive(wire).await?;
    let mut fields = Fields(&first);
    let mechanism = fields.string().ok_or_else(failed)?;
    let length = fields.int32().ok_or_else(failed)?;
    let binding = match (&end_point, mechanism == MECHANISM_PLUS.as_bytes()) {
        (Some(hash), true) => Binding::EndPoint(hash),
        (Some(_), false) => Binding::Declined,
        (None, _) => Binding::NotOffered,
    };
    let is_offered = mechanism == MECHANISM.as_bytes() || matches!(binding, Binding::EndPoint(_));
    if !is_offered || usize::try_from(length) != Ok(fields.0.len()) {
        return Err(failed().about("not SCRAM-SHA-256"));
    }
    let challenge = verifier.challenge(text(fields.0)?, binding).map_err(|error| failed().because(error))?;
    send(wire, 11, |body| body.extend_from_slice(challenge.server_first.as_bytes())).await?;
    let last = receive(wire).await?;
    let proof = verifier.finish(&challenge, text(&last)?).map_err(|error| failed().because(error))?;
    send(wire, 12, |body| body.extend_from_slice(proof.as_bytes())).await
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| failed().because(error))
}

async fn send(wire: &mut Wire, code: u32, data: impl FnOnce(&mut BytesMut)) -> Result<(), Fault> {
    let mut out = BytesMut::new();
    write(&mut out, b'R', |body| {
        body.put_u32(code);
        data(body);
    });
    let sent = async {
        wire.from.write_all(&out).await?;
        wire.from.flush().await
    };
    sent.await.map_err(|error: std::io::Error| Fault::new(Reason::ClientClosed).because(error))
}

async fn receive(wire: &mut Wire) -> Result<Vec<u8>, Fault> {
    let message = wire.message(SASL_BYTES_MAX).await.map_err(WireError::by_client)?;
    if message.kind != b'p' {
        return Err(Fault::new(Reason::ProtocolViolation).about("a message other than SASL during login"));
    }
    Ok(message.body().to_vec())
}
