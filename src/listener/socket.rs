//! The socket of a listener: bound, and accepting connections with what the system knows of the client.

use std::io;

use tokio::net::TcpListener;

use super::address::Address;
use crate::audit::{ClientFacts, ClientProcess};
use crate::tls::stream::Stream;
use crate::unix_socket::UnixSocket;

/// A socket that clients can connect to.
pub(super) enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix-domain socket.
    Unix(UnixSocket),
}

impl Socket {
    /// Binds; `mode` is the file mode of a Unix-domain socket.
    ///
    /// # Errors
    /// The address is in use, or the system does not allow it.
    pub(super) async fn bind(address: &Address, mode: u32) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Address::Unix(path) => UnixSocket::bind(path, mode).map(Self::Unix),
        }
    }

    /// The address that was bound.
    pub(super) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Address::Tcp),
            Self::Unix(socket) => Ok(Address::Unix(socket.path().to_owned())),
        }
    }

    /// Waits for a client. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<(Stream, ClientFacts)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                // A client that is gone again is found out by the first read.
                let _gone = stream.set_nodelay(true);
                Ok((Stream::Plain(stream), ClientFacts { address: Some(address), ..ClientFacts::default() }))
            }
            Self::Unix(socket) => {
                let stream = socket.accept().await?;
                let process = stream.peer_cred().ok().map(|process| ClientProcess {
                    user_id: process.uid(),
                    group_id: process.gid(),
                    // 0 stands for a process outside of our namespace.
                    process_id: process.pid().filter(|id| *id > 0),
                });
                Ok((Stream::Unix(stream), ClientFacts { process, ..ClientFacts::default() }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::address::Address;
    use super::Socket;

    #[tokio::test]
    async fn a_unix_client_is_known_by_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::Unix(directory.path().join("s"));
        let socket = Socket::bind(&address, 0o600).await.unwrap();
        let mode = std::fs::metadata(directory.path().join("s")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _client = tokio::net::UnixStream::connect(directory.path().join("s")).await.unwrap();
        let process = socket.accept().await.unwrap().1.process.unwrap();
        assert_eq!(process.process_id, i32::try_from(std::process::id()).ok());
    }
}
