//! Unix-domain sockets that are listened on, and their files.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Connections that may wait to be accepted; the system turns further ones away. As for a TCP listener of tokio's.
const BACKLOG: u32 = 1024;

/// A socket that clients can connect to. Dropping it removes its file, unless another has taken its place.
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl UnixSocket {
    /// Binds, in place of a socket that nobody listens on any more, with the file mode `mode` before anybody can connect.
    ///
    /// The directory decides who can put another socket in its place: it should belong to us, and be closed to
    /// everybody whom the socket is not for.
    ///
    /// # Errors
    /// Somebody listens there, there is another kind of file, or the system does not allow it.
    pub fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = tokio::net::UnixSocket::new_stream()?;
        socket.bind(path)?;
        let inode = std::fs::symlink_metadata(path)?.ino();
        // Nobody can connect before `listen`, whatever the umask made of the mode until here.
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(Self { listener: socket.listen(BACKLOG)?, path: path.to_owned(), inode })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a client. Cancel safe.
    ///
    /// # Errors
    /// Those of the system: most often, too many open files.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // A file that cannot be removed is found stale by the next start.
            let _left = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket on which nobody listens; anything else at its place is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::UnixSocket;

    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let bind = || UnixSocket::bind(&path, 0o600).map(drop).map_err(|error| error.kind());

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the stale socket is there");
        assert_eq!(bind(), Ok(()));
        assert!(!path.exists(), "the end of a listener takes its file away");

        let live = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(bind(), Err(ErrorKind::AddrInUse));
        drop(live);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "evidence").unwrap();
        assert_eq!(bind(), Err(ErrorKind::AlreadyExists));
        assert_eq!(std::fs::read(&path).unwrap(), b"evidence");
    }
}
