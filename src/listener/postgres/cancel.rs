//! Cancel requests: which session a key belongs to, and the way to that session's server process.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::{Fields, request, write_untyped};
use super::upstream::{self, Upstream};
use crate::fault::Fault;

/// How long the secret of a key may be: 4 bytes up to protocol 3.0, from there on up to 256 (section 54.7, BackendKeyData).
const SECRET_BYTES: RangeInclusive<usize> = 4..=256;

/// What BackendKeyData gave the client, and what a CancelRequest must show (section 54.2.8).
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Process id of the server.
    pub(super) process_id: i32,
    secret: Arc<[u8]>,
}

impl Key {
    /// The body of BackendKeyData, and of CancelRequest behind its code.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let process_id = fields.int32()?;
        SECRET_BYTES.contains(&fields.0.len()).then(|| Self { process_id, secret: fields.0.into() })
    }
}

/// Whoever has the secret can cancel the session's queries, so it is not shown.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("process_id", &self.process_id).finish_non_exhaustive()
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), upstream);
        Registered { key, sessions: Arc::clone(self) }
    }

    /// Where the session of that key is, if it is one of ours: a key that we did not hand out reaches nobody.
    pub(super) fn find(&self, key: &Key) -> Option<Arc<Upstream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
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
pub(super) async fn forward(key: &Key, upstream: &Upstream) -> Result<(), Fault> {
    let mut stream = upstream::connect(upstream, None, &|_| Ok(())).await?;
    let mut out = BytesMut::new();
    write_untyped(&mut out, |body| {
        body.put_u32(request::CANCEL);
        body.put_i32(key.process_id);
        body.extend_from_slice(&key.secret);
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
    fn a_key_has_a_process_id_and_a_secret_of_4_to_256_bytes() {
        for (length, is_good) in [(0, false), (3, false), (4, true), (32, true), (256, true), (257, false)] {
            let body = [&[0, 0, 0, 7][..], &vec![9; length]].concat();
            let key = Key::parse(&body);
            assert_eq!(key.is_some(), is_good, "{length}");
            assert!(key.is_none_or(|key| key.process_id == 7 && *key.secret == body[4..]), "{length}");
        }
        assert_eq!(Key::parse(b"\0\0\0"), None);
    }

    #[test]
    fn a_keys_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Key::parse(b"\0\0\0\x07psst").unwrap()), "Key { process_id: 7, .. }");
    }
}
