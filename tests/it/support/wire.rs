//! A client that speaks bytes: whatever no client library would send.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollhouse::tls::stream::Stream;
use tollhouse::tls::{Client, ClientSettings, Trust};

use super::warehouse::warehouse;
use super::within;

/// A connection.
pub(crate) struct Wire {
    stream: Stream,
    /// Every byte that was received.
    pub(crate) received: Vec<u8>,
}

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The type byte.
    pub(crate) kind: u8,
    /// What follows the length.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse.
    pub(crate) fn field(&self, code: u8) -> String {
        assert_eq!(self.kind, b'E', "not an error: {self:?}");
        let mut fields = self.body.split(|byte| *byte == 0);
        let field = fields.find(|field| field.first() == Some(&code)).map(|field| &field[1..]);
        String::from_utf8(field.unwrap_or_default().to_vec()).unwrap()
    }

    /// The SQLSTATE of an ErrorResponse.
    pub(crate) fn sqlstate(&self) -> String {
        self.field(b'C')
    }
}

/// The type bytes of messages, for comparing.
pub(crate) fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.kind)).collect()
}

/// The one error among messages.
pub(crate) fn error(messages: &[Message]) -> &Message {
    let errors: Vec<_> = messages.iter().filter(|message| message.kind == b'E').collect();
    assert_eq!(errors.len(), 1, "{messages:?}");
    errors[0]
}

impl Wire {
    /// A connection on which nothing was said yet.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = within(TcpStream::connect(address)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { stream: Stream::Plain(socket), received: Vec::new() }
    }

    /// A session, ready for queries.
    pub(crate) async fn log_in(address: SocketAddr) -> Self {
        let mut wire = Self::connect(address).await;
        wire.send(&startup(&[("user", "anybody"), ("database", "demo")])).await;
        wire.until_ready().await;
        wire
    }

    /// The same connection behind TLS.
    pub(crate) async fn encrypt(self) -> Self {
        let Stream::Plain(socket) = self.stream else { panic!("encrypted already") };
        let settings = ClientSettings { ca: Some(warehouse().file("ca.crt")), ..ClientSettings::default() };
        let client = Client::new(&settings, Trust::Development).unwrap();
        Self { stream: within(client.connect(socket, "localhost", None)).await.unwrap(), received: self.received }
    }

    /// The stream itself, for a client library.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within(async {
            self.stream.write_all(bytes).await.unwrap();
            self.stream.flush().await.unwrap();
        })
        .await;
    }

    /// Sends bytes and waits for ReadyForQuery.
    pub(crate) async fn ask(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.send(bytes).await;
        self.until_ready().await
    }

    /// The end of what this side sends.
    pub(crate) async fn finish(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// One byte outside of any message: the answer to a request for encryption. `None` at the end.
    pub(crate) async fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.take(&mut byte).await.then_some(byte[0])
    }

    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let mut header = [0; 5];
        if !self.take(&mut header).await {
            return None;
        }
        let length = u32::from_be_bytes(header[1..].try_into().unwrap());
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        assert!(self.take(&mut body).await, "the connection ended inside a message");
        Some(Message { kind: header[0], body })
    }

    /// Everything up to ReadyForQuery, without it.
    pub(crate) async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.next().await {
                Some(Message { kind: b'Z', .. }) => return messages,
                Some(message) => messages.push(message),
                None => panic!("the session ended: {messages:?}"),
            }
        }
    }

    /// Everything up to ReadyForQuery or the end of the connection, whichever comes first.
    pub(crate) async fn until_ready_or_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await.filter(|message| message.kind != b'Z') {
            messages.push(message);
        }
        messages
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn until_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            messages.push(message);
        }
        messages
    }

    /// Fills the buffer, or finds the end before its first byte.
    async fn take(&mut self, buffer: &mut [u8]) -> bool {
        match within(self.stream.read_exact(buffer)).await {
            Ok(_) => {
                self.received.extend_from_slice(buffer);
                true
            }
            // A peer that closes with unread bytes resets the connection, which is an end as well.
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => buffer.is_empty(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A message with a type byte.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], untyped(body).as_slice()].concat()
}

/// A message without one.
pub(crate) fn untyped(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes(), body].concat()
}

/// SSLRequest, GSSENCRequest, and a StartupMessage of protocol 3.0: PostgreSQL 18 documentation, section 54.7.
pub(crate) const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
pub(crate) const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

/// A StartupMessage.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_of_version(3 << 16, parameters)
}

/// A StartupMessage of any version.
pub(crate) fn startup_of_version(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        body.extend(string(text));
    }
    body.push(0);
    untyped(&body)
}

fn string(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// Query.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &string(sql))
}

/// Parse, without parameter types.
pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[string(name), string(sql), vec![0, 0]].concat())
}

/// Bind, without parameters.
pub(crate) fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', &[string(portal), string(statement), vec![0; 6]].concat())
}

/// Execute, for all rows.
pub(crate) fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[string(portal), vec![0; 4]].concat())
}

/// Parse, Bind and Execute of an unnamed statement.
pub(crate) fn run(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", ""), execute("")].concat()
}

/// Sync.
pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}
