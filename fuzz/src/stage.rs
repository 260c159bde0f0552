//! A whole proxy in one thread: its own listener, gate and audit log, between a client and a server that are ours.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tollhouse::audit::log::{AuditLog, Start};
use tollhouse::audit::verify::{Tail, verify};
use tollhouse::audit::{Durability, Settings};
use tollhouse::credential::{Credential, CredentialExchange, Exchanging, Login, Report, cache};
use tollhouse::document::{Size, Span};
use tollhouse::drain::{self, Trigger};
use tollhouse::gate::Gate;
use tollhouse::identity::{IdentitySource, Principal, Proof, Proving};
use tollhouse::listener::{Cancellation, Credentials, Limits, Listener, Parts};
use tollhouse::metrics::Metrics;
use tollhouse::policy::{PolicySet, Source};
use tollhouse::secret::Secret;
use tollhouse::sql;
use tollhouse::target::{Opening, Target};
use tollhouse::tls::{self, ClientSettings, Mode, Trust};
use tollhouse::warehouse::postgres::{Method, Negotiation, POSTGRESQL};

use super::server::Server;
use super::witness::Witness;

/// Sessions that one stage serves. Its log is read through at the end, so it must not grow too long.
const SESSIONS_MAX: usize = 200;

/// A session that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Turns of the scheduler after which everything that can happen has happened: all is in one thread.
const SETTLED_TURNS: usize = 24;

/// What the policy of the sessions allows.
const ALLOWED: &str = "{ actions: [select, insert], tables: [\"*.public.*\"] }, { parameters: [search_path] }, { opaque: [function-call] }";

/// One move of the client.
pub(crate) enum Move {
    /// Sends these bytes at once.
    Send(Vec<u8>),
    /// Lets so many turns pass.
    Wait(usize),
}

/// What stands behind the proxy.
pub(crate) enum Behind {
    /// A server that keeps PostgreSQL's rules.
    Server(Box<Server>),
    /// These bytes, after as much of a proper greeting as `greeting` holds.
    Bytes { greeting: Vec<u8>, pieces: Vec<Vec<u8>> },
}

/// Plays one session from connect to close, and says what the client read.
pub(crate) fn play(moves: Vec<Move>, behind: Behind) -> Vec<u8> {
    thread_local! {
        static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
    }
    STAGE.with_borrow_mut(|slot| {
        let stage = slot.get_or_insert_with(Stage::set);
        let read = stage.play(moves, behind);
        if stage.sessions == 1 {
            stage.settle();
            stage.verify(Tail::Open);
        }
        if stage.sessions == SESSIONS_MAX {
            slot.take().unwrap().close();
        }
        read
    })
}

struct Stage {
    runtime: Runtime,
    address: SocketAddr,
    server: TcpListener,
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    witness: Witness,
    directory: TempDir,
    sessions: usize,
    _trigger: Trigger,
}

impl Stage {
    fn set() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let settings = Settings { durability: Durability::Write, ..Settings::at(directory.path()) };
        let start = Start { version: "0".to_owned(), config_digest: "0".to_owned() };
        let log = AuditLog::open(&settings, Arc::clone(&metrics), &start).unwrap();
        let gate = Arc::new(Gate::new(rules(ALLOWED), log, Arc::clone(&metrics)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (trigger, drain) = drain::channel();
        let server = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let target = Arc::new(target_at(server.local_addr().unwrap().port()));
        let listener = runtime.block_on(listen(target, Arc::clone(&gate), Arc::clone(&metrics), drain));
        let address = listener.address().unwrap().tcp().unwrap();
        runtime.spawn(listener.serve());
        let witness = Witness::new(directory.path(), rules(ALLOWED));
        Self { runtime, address, server, gate, metrics, witness, directory, sessions: 0, _trigger: trigger }
    }

    fn play(&mut self, moves: Vec<Move>, behind: Behind) -> Vec<u8> {
        self.sessions += 1;
        self.witness.begin();
        let active = self.metrics.connections_active.with_label_values(&["fuzz"]);
        let session = async {
            let client = async {
                let read = converse(self.address, moves).await;
                while active.get() > 0 {
                    tokio::task::yield_now().await;
                }
                read
            };
            tokio::select! {
                biased;
                () = serve(&self.server, behind, &mut self.witness) => unreachable!("the server never ends by itself"),
                read = client => read,
            }
        };
        let read = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, session).await }).expect("the session hangs");
        let panicked = self.metrics.connections_total.with_label_values(&["fuzz", "internal"]).get();
        assert_eq!(panicked, 0, "a session ended by a panic or by a fault of our own");
        read
    }

    /// Waits for the log's own thread, which writes down what came of the session.
    fn settle(&self) {
        let settled = async {
            while verify(self.directory.path(), &[]).unwrap().in_flight > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, settled).await }).expect("an attempt gets no outcome");
    }

    fn verify(&self, tail: Tail) {
        let report = verify(self.directory.path(), &[]).unwrap();
        assert!(report.proven, "{:?}", report.flaw);
        assert_eq!((report.tail, report.in_flight, report.unfinished), (tail, 0, 0), "each attempt has an outcome");
    }

    /// Closes the log and proves it.
    fn close(self) {
        self.settle();
        self.runtime.block_on(self.gate.audit().close()).unwrap();
        self.verify(Tail::Closed);
    }
}

async fn listen(target: Arc<Target>, gate: Arc<Gate>, metrics: Arc<Metrics>, drain: drain::Drain) -> Listener {
    let settings = json!({ "name": "fuzz", "address": "127.0.0.1:0", "target": target.name });
    let settings = serde_json::from_value(settings).unwrap();
    let limits = Limits {
        message_size: Size(64 * 1024),
        statement_size: Size(4 * 1024),
        prepared_statements_max: 6,
        idle_timeout: Span(Duration::from_secs(60)),
        ..Limits::default()
    };
    let parts = Parts {
        target: Arc::clone(&target),
        kind: &POSTGRESQL,
        role: "dbt_runner".to_owned(),
        tls: tls::Client::new(&ClientSettings { mode: Mode::Disable, ..ClientSettings::default() }, Trust::Production).unwrap(),
        negotiation: Negotiation::default(),
        methods: vec![Method::None, Method::Password, Method::Md5, Method::ScramSha256],
        login_parameters: BTreeMap::new(),
        trust: Trust::Production,
        credentials: Credentials::OfWorkload(cache::Cache::new(Arc::new(Known), Arc::new(Known), target, Arc::clone(&metrics))),
        exchange: "known",
        gate,
        analyses: Arc::new(sql::cache::Cache::new(256, 1024 * 1024)),
        limits,
        metrics,
        drain,
        cancellation: Cancellation::default(),
    };
    Listener::bind(&settings, parts, Arc::new(Semaphore::new(8))).await.unwrap()
}

/// The client: sends, reads all the while, and closes once everything has come to rest.
async fn converse(address: SocketAddr, moves: Vec<Move>) -> Vec<u8> {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut from, mut to) = socket.into_split();
    let mut read = Vec::new();
    let reading = async {
        // A proxy that closes with unread bytes resets the connection, which is an end as well.
        while from.read_buf(&mut read).await.is_ok_and(|count| count > 0) {}
    };
    let writing = async {
        for step in moves {
            match step {
                Move::Send(bytes) => {
                    if to.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                Move::Wait(turns) => turns_pass(turns).await,
            }
        }
        turns_pass(SETTLED_TURNS).await;
        let _gone = to.shutdown().await;
    };
    tokio::join!(reading, writing);
    read
}

async fn serve(listener: &TcpListener, mut behind: Behind, witness: &mut Witness) {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut bytes = Vec::new();
        // A session that has given up already leaves nothing to read.
        while socket.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
            let written = match &mut behind {
                Behind::Server(server) => {
                    let Some(answer) = server.answer(&std::mem::take(&mut bytes), witness) else { break };
                    socket.write_all(&answer).await
                }
                Behind::Bytes { greeting, pieces } => {
                    let written = socket.write_all(&std::mem::take(greeting)).await;
                    turns_pass(SETTLED_TURNS).await;
                    for piece in std::mem::take(pieces) {
                        let _gone = socket.write_all(&piece).await;
                        turns_pass(2).await;
                    }
                    let _gone = socket.shutdown().await;
                    written
                }
            };
            if written.is_err() {
                break;
            }
        }
    }
}

async fn turns_pass(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// An identity and a credential that nobody has to ask for.
struct Known;

impl IdentitySource for Known {
    fn kind(&self) -> &'static str {
        "known"
    }

    fn prove(&self) -> Proving<'_> {
        Box::pin(async { Ok(Proof { principal: Arc::new(principal()), token: Secret::new("token".to_owned()), certificate: None }) })
    }
}

impl CredentialExchange for Known {
    fn kind(&self) -> &'static str {
        "known"
    }

    fn exchange<'a>(&'a self, _: &'a Proof, _: &'a Target, _: &'a Report<'a>) -> Exchanging<'a> {
        Box::pin(async {
            Ok(Credential {
                id: "known".to_owned(),
                login: Login::Password(Secret::new("password".to_owned())),
                role: None,
                issued_at: SystemTime::now(),
                expires_at: far_away(),
            })
        })
    }
}

fn far_away() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}

/// The one who asks.
pub(crate) fn principal() -> Principal {
    Principal {
        issuer: "https://issuer.example".to_owned(),
        subject: "system:serviceaccount:demo:dbt".to_owned(),
        token_id: None,
        actors: Vec::new(),
        namespace: Some("demo".to_owned()),
        service_account: Some("dbt".to_owned()),
        pod: None,
        pod_uid: None,
        labels: BTreeMap::from([("app".to_owned(), "dbt".to_owned())]),
        proven_by: "known",
        expires_at: far_away(),
    }
}

/// The warehouse at a port of this machine.
pub(crate) fn target_at(port: u16) -> Target {
    Target { name: "warehouse".to_owned(), kind: POSTGRESQL.name, host: "127.0.0.1".to_owned(), port, opening: Opening::Plain }
}

/// A policy for everybody with these entries of `rules.sql`.
pub(crate) fn rules(entries: &str) -> PolicySet {
    let text = format!(
        "apiVersion: tollhouse.dev/v1alpha1\nkind: ClusterWarehousePolicy\nmetadata: {{ name: fuzz }}\n\
         spec: {{ endpointSelector: {{}}, egress: [{{ toPorts: [{{ rules: {{ sql: [{entries}] }} }}] }}] }}"
    );
    PolicySet::parse(&[Source { file: "fuzz.yaml", text: &text }]).unwrap()
}
