//! The first packets of a connection: encryption requests, a cancel request, or the startup message.
//!
//! Source: PostgreSQL 18 documentation, sections 54.2.1, 54.2.8 to 54.2.11 and 54.7.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWriteExt;

use super::cancel::Key;
use super::message::{Fields, MINOR_VERSION_MAX, STARTUP_BYTES_MAX, put_string, request, write};
use super::wire::{Reader, WireError};
use crate::fault::{Fault, Reason};
use crate::tls::Acceptor;
use crate::tls::stream::Stream;
use crate::warehouse::postgres::ALPN;

/// The first byte of a TLS connection: a record of type handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// A client connection whose encryption is settled.
pub(super) type Wire = Reader<Stream>;

/// What a connection is for.
pub(super) enum Opening {
    /// A session.
    Session(Startup),
    /// A request to cancel what another connection runs.
    Cancel(Key),
}

/// What the client says about the session that it wants.
#[derive(Debug)]
pub(super) struct Startup {
    /// The user name, which decides nothing here.
    pub(super) user: String,
    /// The database, where it names one.
    pub(super) database: Option<String>,
    /// Every other parameter, in the client's order.
    pub(super) parameters: Vec<(String, String)>,
    /// The protocol that it wants to speak.
    pub(super) wanted: Wanted,
}

/// A version of protocol 3 and the protocol options that a client wants.
#[derive(Debug)]
pub(super) struct Wanted {
    minor: u16,
    /// Names that start with `_pq_.`. We know none of them.
    options: Vec<String>,
}

impl Wanted {
    /// The minor version to ask the server for: what the client wants, as far as we know how to speak it.
    pub(super) fn minor(&self) -> u16 {
        self.minor.min(MINOR_VERSION_MAX)
    }

    /// Appends NegotiateProtocolVersion if the client gets less than it wants; `granted` is the server's minor version.
    ///
    /// It belongs before AuthenticationOk (section 54.2.1): only then is known what the server grants.
    pub(super) fn negotiate(&self, granted: u16, out: &mut BytesMut) {
        if granted == self.minor && self.options.is_empty() {
            return;
        }
        write(out, b'v', |body| {
            body.put_u32(request::version_3(granted));
            body.put_u32(u32::try_from(self.options.len()).unwrap_or(0));
            for option in &self.options {
                put_string(body, option.as_bytes());
            }
        });
    }
}

/// How a listener wants its clients' connections encrypted.
#[derive(Clone)]
pub(super) enum Encryption {
    /// SSLRequest is answered with `N`.
    Off,
    /// TLS for those who ask.
    Offered(Arc<Acceptor>),
    /// TLS or nothing.
    Required(Arc<Acceptor>),
}

/// A connection that was given up before its purpose was known, with the way to say so if there is one.
pub(super) struct Unopened {
    /// Why.
    pub(super) fault: Fault,
    /// Where to say it.
    pub(super) wire: Option<Wire>,
}

impl Unopened {
    /// Boxed, because it is far larger than what it stands in for.
    pub(super) fn new(fault: Fault, wire: Option<Wire>) -> Box<Self> {
        Box::new(Self { fault, wire })
    }
}

/// Reads up to the startup message or cancel request, going through TLS where both sides want it.
pub(super) async fn open(stream: Stream, encryption: &Encryption) -> Result<(Opening, Wire), Box<Unopened>> {
    let mut wire = Reader::new(begin(stream, encryption).await?);
    let mut asked = Asked { tls: wire.from.is_encrypted(), gssenc: false };
    loop {
        let packet = match packet(&mut wire).await {
            Ok(packet) => packet,
            Err(fault) => return Err(Unopened::new(fault, Some(wire))),
        };
        match packet {
            Packet::Tls if !asked.tls => {
                asked.tls = true;
                wire = answer_tls(wire, encryption).await?;
            }
            Packet::Gssenc if !asked.gssenc => {
                asked.gssenc = true;
                wire = answer(wire, b'N').await?;
            }
            Packet::Tls | Packet::Gssenc => {
                let fault = Fault::new(Reason::ProtocolViolation).about("encryption was asked for twice");
                return Err(Unopened::new(fault, Some(wire)));
            }
            Packet::Cancel(key) => return Ok((Opening::Cancel(key), wire)),
            Packet::Startup(_) if matches!(encryption, Encryption::Required(_)) && !wire.from.is_encrypted() => {
                return Err(Unopened::new(Fault::new(Reason::TlsRequired), Some(wire)));
            }
            Packet::Startup(startup) => return Ok((Opening::Session(startup), wire)),
        }
    }
}

/// TLS at once for a client whose first byte begins a handshake (`sslnegotiation=direct`, section 54.2.10).
///
/// Such a client must name PostgreSQL's protocol in ALPN, so that no other protocol's client can be made to talk to us.
async fn begin(stream: Stream, encryption: &Encryption) -> Result<Stream, Box<Unopened>> {
    let acceptor = match encryption {
        Encryption::Off => return Ok(stream),
        Encryption::Offered(acceptor) | Encryption::Required(acceptor) => acceptor,
    };
    let Stream::Plain(socket) = stream else { return Ok(stream) };
    let gone = |fault: Fault| Unopened::new(fault, None);
    let mut first = [0];
    socket.peek(&mut first).await.map_err(|error| gone(Fault::new(Reason::ClientClosed).because(error)))?;
    if first != [TLS_HANDSHAKE] {
        return Ok(Stream::Plain(socket));
    }
    let stream = acceptor.accept(socket).await.map_err(|error| gone(Fault::new(Reason::ClientClosed).because(error)))?;
    if stream.protocol() == Some(ALPN) {
        Ok(stream)
    } else {
        Err(gone(Fault::new(Reason::ProtocolViolation).about("direct TLS without the protocol `postgresql` in ALPN")))
    }
}

/// Each kind of encryption may be asked for once; more often is a peer that plays games.
struct Asked {
    tls: bool,
    gssenc: bool,
}

enum Packet {
    Tls,
    Gssenc,
    Cancel(Key),
    Startup(Startup),
}

async fn answer_tls(wire: Wire, encryption: &Encryption) -> Result<Wire, Box<Unopened>> {
    match encryption {
        Encryption::Off => answer(wire, b'N').await,
        Encryption::Offered(acceptor) | Encryption::Required(acceptor) => {
            // Bytes sent behind the request, before TLS, could be injected by anybody (CVE-2021-23214).
            if !wire.buffer.is_empty() {
                let fault = Fault::new(Reason::ProtocolViolation).about("unencrypted data after SSLRequest");
                return Err(Unopened::new(fault, None));
            }
            let wire = answer(wire, b'S').await?;
            let Stream::Plain(socket) = wire.from else {
                let fault = Fault::new(Reason::ProtocolViolation).about("TLS inside TLS");
                return Err(Unopened::new(fault, None));
            };
            match acceptor.accept(socket).await {
                Ok(stream) => Ok(Reader::new(stream)),
                Err(error) => Err(Unopened::new(Fault::new(Reason::ClientClosed).because(error), None)),
            }
        }
    }
}

async fn answer(mut wire: Wire, answer: u8) -> Result<Wire, Box<Unopened>> {
    match wire.from.write_all(&[answer]).await {
        Ok(()) => Ok(wire),
        Err(error) => Err(Unopened::new(Fault::new(Reason::ClientClosed).because(error), None)),
    }
}

async fn packet(wire: &mut Wire) -> Result<Packet, Fault> {
    wire.fill(8).await.map_err(WireError::by_client)?;
    let mut peek = wire.buffer.as_ref();
    let length = usize::try_from(peek.get_u32()).unwrap_or(usize::MAX);
    let code = peek.get_u32();
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err(Fault::new(Reason::StartupInvalid).about("impossible length"));
    }
    wire.fill(length).await.map_err(WireError::by_client)?;
    let packet = wire.buffer.split_to(length);
    let body = packet.get(8..).unwrap_or_default();
    match (code, length) {
        (request::TLS, 8) => Ok(Packet::Tls),
        (request::GSSENC, 8) => Ok(Packet::Gssenc),
        (request::CANCEL, _) => Key::parse(body).map(Packet::Cancel).ok_or_else(invalid),
        (code, _) => {
            let [0, 3, minor @ ..] = code.to_be_bytes() else { return Err(Fault::new(Reason::ProtocolVersion)) };
            startup(body, u16::from_be_bytes(minor)).map(Packet::Startup)
        }
    }
}

fn invalid() -> Fault {
    Fault::new(Reason::StartupInvalid)
}

fn startup(body: &[u8], minor: u16) -> Result<Startup, Fault> {
    let mut fields = Fields(body);
    let (mut user, mut database, mut parameters, mut options) = (None, None, Vec::new(), Vec::new());
    loop {
        let name = text(&mut fields)?;
        if name.is_empty() {
            break;
        }
        let value = text(&mut fields)?;
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value).filter(|name| !name.is_empty()),
            // Protocol options start with `_pq_.`; a server that does not know one says so and goes on.
            option if option.starts_with("_pq_.") => options.push(name),
            _ => parameters.push((name, value)),
        }
    }
    if !fields.0.is_empty() {
        return Err(invalid());
    }
    let user = user.filter(|user| !user.is_empty()).ok_or_else(|| invalid().about("no user name"))?;
    Ok(Startup { user, database, parameters, wanted: Wanted { minor, options } })
}

fn text(fields: &mut Fields<'_>) -> Result<String, Fault> {
    let bytes = fields.string().ok_or_else(invalid)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| invalid().about("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::startup;
    use crate::fault::Reason;

    #[test]
    fn parameters_keep_their_order_and_protocol_options_are_set_apart() {
        let body = b"user\0dbt\0database\0demo\0a\0 1\0_pq_.x\0on\0b\0two\0\0";
        let startup = startup(body, 0).unwrap();
        assert_eq!((startup.user.as_str(), startup.database.as_deref()), ("dbt", Some("demo")));
        assert_eq!(startup.parameters, [("a".into(), " 1".into()), ("b".into(), "two".into())]);
        assert_eq!(startup.wanted.options, ["_pq_.x"]);
    }

    #[test]
    fn a_client_is_told_when_it_gets_less_than_it_wants() {
        let told = |body: &[u8], minor, server_max: u16| {
            let wanted = startup(body, minor).unwrap().wanted;
            let mut out = BytesMut::new();
            wanted.negotiate(wanted.minor().min(server_max), &mut out);
            out.to_vec()
        };
        assert_eq!(told(b"user\0dbt\0\0", 0, 2), b"");
        assert_eq!(told(b"user\0dbt\0\0", 2, 2), b"");
        assert_eq!(told(b"user\0dbt\0\0", 2, 0), b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0");
        assert_eq!(told(b"user\0dbt\0\0", 9999, 2), b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0");
        assert_eq!(told(b"user\0dbt\0_pq_.x\0on\0\0", 0, 2), b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
    }

    #[test]
    fn a_startup_message_that_does_not_end_is_refused() {
        for body in [&b"user\0dbt"[..], b"user\0dbt\0", b"user\0dbt\0\0more", b"\0", b"user\0\0\0", b"user\0\xff\0\0"] {
            let Err(fault) = startup(body, 0) else { panic!("accepted {body:?}") };
            assert_eq!(fault.reason, Reason::StartupInvalid);
        }
    }
}
