//! Cancelling: which session a key or process belongs to, and the way to that session's server process.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::{Fields, request, write_untyped};
use super::upstream::{self, Upstream};
use crate::fault::Fault;
use crate::identity::Principal;
use crate::sql::{Effect, Signals};

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

/// Whose a session is, and which server runs it.
#[derive(Clone)]
pub(super) struct Owner {
    /// Who is calling.
    pub(super) principal: Arc<Principal>,
    /// Where the session goes.
    pub(super) upstream: Arc<Upstream>,
    /// The server's own address: a target's name may stand for several, and process ids belong to one.
    pub(super) server: Option<SocketAddr>,
}

impl Owner {
    /// Whether what one of them may do to its own session, the other may do to it as well.
    fn is_same(&self, other: &Self) -> bool {
        // Who acts for somebody is somebody else: neither may end the other's sessions.
        let Principal { issuer, subject, actors, .. } = &*self.principal;
        let principal = (issuer, subject, actors) == (&other.principal.issuer, &other.principal.subject, &other.principal.actors);
        let server = self.server.is_some() && self.server == other.server;
        principal && server && self.upstream.target.name == other.upstream.target.name
    }
}

/// The keys of all live sessions. As large as the connection limit, since each session has at most one.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Owner>>);

/// Keeps a key known while its session lives.
pub(super) struct Registered {
    key: Key,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// Makes `key` known until the guard is dropped.
    pub(super) fn register(self: &Arc<Self>, key: Key, owner: Owner) -> Registered {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), owner);
        Registered { key, sessions: Arc::clone(self) }
    }

    /// Where the session of that key is, if it is one of ours: a key that we did not hand out reaches nobody.
    pub(super) fn find(&self, key: &Key) -> Option<Arc<Upstream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).map(|owner| Arc::clone(&owner.upstream))
    }

    /// The effects, with [`Signals::OwnSession`] where they signal the process of a live session of `owner`.
    pub(super) fn claim<'e>(&self, effects: Cow<'e, [Effect]>, owner: &Owner) -> Cow<'e, [Effect]> {
        if !effects.iter().any(|effect| matches!(effect, Effect::Call { signals: Signals::Process(_), .. })) {
            return effects;
        }
        let mut effects = effects.into_owned();
        for effect in &mut effects {
            if let Effect::Call { signals, .. } = effect
                && let Signals::Process(id) = *signals
                && self.owns(owner, id)
            {
                *signals = Signals::OwnSession(id);
            }
        }
        Cow::Owned(effects)
    }

    fn owns(&self, owner: &Owner, process_id: i32) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().any(|(key, other)| key.process_id == process_id && other.is_same(owner))
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
    use std::borrow::Cow;
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::{Key, Owner, Sessions};
    use crate::identity::Principal;
    use crate::identity::actor::Actor;
    use crate::listener::postgres::upstream::Upstream;
    use crate::sql::{Dialect, Effect, Limits, Signals, analyze};
    use crate::target::{Opening, Target};
    use crate::tls::{Client, ClientSettings, Mode, Trust};

    fn owner(subject: &str, target: &str, server: Option<[u8; 4]>) -> Owner {
        let target =
            Target { name: target.to_owned(), kind: "postgresql", host: "localhost".to_owned(), port: 5432, opening: Opening::Plain };
        let tls = Client::new(&ClientSettings { mode: Mode::Disable, ..ClientSettings::default() }, Trust::Production).unwrap();
        Owner {
            principal: Arc::new(Principal {
                issuer: "https://issuer.example".to_owned(),
                subject: subject.to_owned(),
                token_id: None,
                actors: Vec::new(),
                namespace: None,
                service_account: None,
                pod: None,
                pod_uid: None,
                labels: std::collections::BTreeMap::new(),
                proven_by: "oidc",
                expires_at: std::time::SystemTime::UNIX_EPOCH,
            }),
            upstream: Arc::new(Upstream {
                target: Arc::new(target),
                tls,
                negotiation: crate::warehouse::postgres::Negotiation::Postgres,
                methods: Vec::new(),
                login_parameters: std::collections::BTreeMap::new(),
                connect_timeout: std::time::Duration::from_secs(1),
            }),
            server: server.map(|ip| SocketAddr::from((ip, 5432))),
        }
    }

    /// One who acts for the owner.
    fn agent_of(owner: &Owner) -> Owner {
        let actors = vec![Actor { issuer: None, subject: "agent".to_owned() }];
        Owner { principal: Arc::new(Principal { actors, ..(*owner.principal).clone() }), ..owner.clone() }
    }

    fn signalled(sessions: &Sessions, text: &str, owner: &Owner) -> Signals {
        let effects = analyze(Dialect::Postgres, text, &Limits::default()).statements.remove(0).effects;
        match *sessions.claim(Cow::Owned(effects), owner) {
            [Effect::Call { signals, .. }] => signals,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_process_is_ones_own_while_the_same_principal_has_a_session_there_at_the_same_server() {
        let (sessions, end) = (Arc::new(Sessions::default()), "select pg_terminate_backend(7)");
        let ada = owner("ada", "warehouse", Some([10, 0, 0, 1]));
        let registered = sessions.register(Key::parse(b"\0\0\0\x07psst").unwrap(), ada.clone());
        assert_eq!(signalled(&sessions, end, &ada), Signals::OwnSession(7));
        assert_eq!(signalled(&sessions, "select pg_terminate_backend(8)", &ada), Signals::Process(8));
        for other in [
            owner("grace", "warehouse", Some([10, 0, 0, 1])),
            owner("ada", "lake", Some([10, 0, 0, 1])),
            owner("ada", "warehouse", Some([10, 0, 0, 2])),
            owner("ada", "warehouse", None),
            agent_of(&ada),
        ] {
            assert_eq!(signalled(&sessions, end, &other), Signals::Process(7));
        }
        drop(registered);
        assert_eq!(signalled(&sessions, end, &ada), Signals::Process(7));
    }

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
