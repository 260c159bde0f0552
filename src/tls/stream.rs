//! A byte stream with or without TLS, from either side of a connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::binding::server_end_point;

/// A connection to a client or a warehouse.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// A Unix-domain socket, where TLS would protect nothing.
    Unix(UnixStream),
    /// We are the TLS client.
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// We are the TLS server; with `tls-server-end-point` of the certificate that we showed.
    Server(Box<tokio_rustls::server::TlsStream<TcpStream>>, Option<Arc<[u8]>>),
}

impl Stream {
    /// Whether the bytes stay on this machine: the other side is at a loopback address or a Unix-domain socket.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_)) || self.peer_address().is_some_and(|address| address.ip().is_loopback())
    }

    /// The other side's address; `None` for a Unix-domain socket, and once the connection is gone.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        let socket = match self {
            Self::Unix(_) => return None,
            Self::Plain(socket) => socket,
            Self::Client(stream) => stream.get_ref().0,
            Self::Server(stream, _) => stream.get_ref().0,
        };
        socket.peer_addr().ok()
    }

    /// `tls-server-end-point` of the connection (RFC 5929, section 4.1), whichever side we are; `None` without TLS, and
    /// for certificates for which it is not defined.
    pub fn end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(_) | Self::Unix(_) => None,
            Self::Client(_) => self.peer_certificate().and_then(server_end_point),
            Self::Server(_, end_point) => end_point.as_deref().map(<[u8]>::to_vec),
        }
    }

    /// The protocol that both sides chose by ALPN (RFC 7301).
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) | Self::Unix(_) => None,
            Self::Client(stream) => stream.get_ref().1.alpn_protocol(),
            Self::Server(stream, _) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The leaf certificate that the other side showed, verified.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) | Self::Unix(_) => None,
            Self::Client(stream) => stream.get_ref().1.peer_certificates()?.first(),
            Self::Server(stream, _) => stream.get_ref().1.peer_certificates()?.first(),
        }
    }

    /// Whether the bytes are encrypted on the wire.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Unix(_) => false,
            Self::Client(_) | Self::Server(..) => true,
        }
    }
}

/// Calls one method on whatever the stream holds.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Plain($inner) => $call,
            Stream::Unix($inner) => $call,
            Stream::Client($inner) => $call,
            Stream::Server($inner, _) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, inner => inner.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(context))
    }
}
