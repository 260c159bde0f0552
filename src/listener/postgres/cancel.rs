//! Cancel requests: which session a key belongs to, and the way to that session's server process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::{Fields, request, write_untyped};
use super::upstream::{self, Upstream};
use crate::fault::Fault;

/// What BackendKeyData gave the client, and what a CancelRequest must show (section 54.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Process id of the server.
    pub(super) process_id: i32,
    /// Secret of the server process.
    pub(super) secret: i32,
}

impl Key {
    /// The two numbers in the body of BackendKeyData and CancelRequest.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let key = Self { process_id: fields.int32()?, secret: fields.int32()? };
        fields.0.is_empty().then_some(key)
    }
}

/// The keys of all live sessions. As large as the connection limit, since each session has at most one.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Arc<Upstream>>>);

/// Keeps a key known while its session lives.
pub(super) struct Registered {
    key: Key,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// Makes `key` known until the guard is dropped.
    pub(super) fn register(self: &Arc<Self>, key: Key, upstream: Arc<Upstream>) -> Registered {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, upstream);
        Registered { key, sessions: Arc::clone(self) }
    }

    /// Where the session of that key is, if it is one of ours: a key that we did not hand out reaches nobody.
    pub(super) fn find(&self, key: Key) -> Option<Arc<Upstream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Asks the server to cancel what the process of `key` runs, and waits until the server has taken the request.
///
/// # Errors
/// The server cannot be reached. As with PostgreSQL itself, success does not say that anything was cancelled.
pub(super) async fn forward(key: Key, upstream: &Upstream) -> Result<(), Fault> {
    let mut stream = upstream::connect(upstream, None).await?;
    let mut out = BytesMut::new();
    write_untyped(&mut out, |body| {
        body.put_u32(request::CANCEL);
        body.put_i32(key.process_id);
        body.put_i32(key.secret);
    });
    let sent = async {
        stream.write_all(&out).await?;
        stream.flush().await?;
        // The server closes the connection once it has sent the signal.
        let mut end = [0; 1];
        stream.read(&mut end).await
    };
    match tokio::time::timeout(upstream.connect_timeout, sent).await {
        // Some servers reset the connection instead of closing it; the request was taken all the same.
        Ok(Ok(_) | Err(_)) => Ok(()),
        Err(elapsed) => Err(upstream::unreachable(upstream, elapsed)),
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_has_exactly_two_numbers() {
        assert_eq!(Key::parse(&[0, 0, 0, 7, 0, 0, 0, 9]), Some(Key { process_id: 7, secret: 9 }));
        assert_eq!(Key::parse(&[0, 0, 0, 7, 0, 0, 0]), None);
        assert_eq!(Key::parse(&[0; 9]), None);
    }
}
