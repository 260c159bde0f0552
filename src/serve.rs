//! From a [`Config`] to a running program: the only place where the parts meet.
//!
//! Start order: policies, audit log, gate, listeners, admin; nothing is accepted before all are there. Stop order:
//! accept nothing new, let queries finish until the deadline, cancel the rest at the warehouse, close the log, end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::admin::{self, Audience};
use crate::audit::log::{AuditError, AuditLog, Note, Start};
use crate::config::{Config, Route};
use crate::credential::cache::Cache;
use crate::credential::chain::ChainError;
use crate::credential::clients::Clients;
use crate::credential::{self, CredentialExchange};
use crate::dbt::manifest::Manifest;
use crate::document::Problem;
use crate::drain::{self, Drain, Stage, Trigger};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::http_server;
use crate::identity;
use crate::listener::address::Address;
use crate::listener::{self, Authentication, BindError, Cancellation, Credentials, Listener, Parts};
use crate::metrics::Metrics;
use crate::sql;
use crate::tls::{self, TlsError};

pub mod doctor;
pub mod manifest;
pub mod policies;

use policies::Texts;

/// Analyses kept, and bytes of text and effects that they may hold together.
const ANALYSES_MAX: usize = 4096;
const ANALYSES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A program that holds its addresses, its policies and its log, and accepts nothing yet.
pub struct Server {
    config: Config,
    listeners: Vec<Listener>,
    /// The workload's credentials of each listener that uses them, by the name of its target.
    credentials: Vec<(String, Cache)>,
    /// The exchange of each listener.
    exchanges: Vec<Arc<dyn CredentialExchange>>,
    admin_sockets: Vec<(TcpListener, Audience)>,
    state: Arc<admin::State>,
    texts: Texts,
    manifest: Option<(PathBuf, manifest::Stamp)>,
    connections: Arc<Semaphore>,
    trigger: Trigger,
    drain: Drain,
}

/// Why the program did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The policies are not valid.
    #[error("the policies are not valid:\n{}", lines(.0))]
    Policies(Vec<Problem>),
    /// The dbt manifest cannot be used.
    #[error("the dbt manifest cannot be used: {0}")]
    Manifest(Problem),
    /// The audit log cannot be opened or closed.
    #[error("the audit log cannot be used")]
    Audit(#[from] AuditError),
    /// TLS settings cannot be used.
    #[error("TLS settings cannot be used")]
    Tls(#[from] TlsError),
    /// An identity cannot be used.
    #[error("an identity cannot be used")]
    Identity(#[from] identity::SettingsError),
    /// The steps of a credential do not make a chain.
    #[error("the credential steps cannot be used")]
    Credential(#[from] ChainError),
    /// A listener cannot be made.
    #[error(transparent)]
    Listener(#[from] BindError),
    /// An admin address cannot be listened on.
    #[error("cannot listen on {address} for admin")]
    Admin {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The metrics contradict each other, which is a bug.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// A thread that the start needed was lost, which is a bug.
    #[error("the start was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Server {
    /// Opens the log, loads the policies and binds every address.
    ///
    /// # Errors
    /// [`ServeError`]; nothing is left running.
    pub async fn bind(config: Config) -> Result<Self, ServeError> {
        tls::install();
        let metrics = Arc::new(Metrics::new()?);
        let texts = Texts::read(&config.file.policy.paths).map_err(ServeError::Policies)?;
        let set = texts.compile().map_err(ServeError::Policies)?;
        for warning in set.warnings() {
            tracing::warn!(%warning, "a policy has an odd effect");
        }
        let (manifest, watched) = read_manifest(&config).await?.unzip();
        let audit = open_audit(&config, &metrics).await?;
        policies::announce(&set, &metrics);
        let gate = Arc::new(Gate::new(set, audit, Arc::clone(&metrics)));
        if let Some(manifest) = manifest {
            manifest::announce(&manifest, &metrics);
            gate.replace_manifest(manifest);
        }
        let (trigger, drain) = drain::channel();
        let shared = Shared {
            gate: Arc::clone(&gate),
            metrics: Arc::clone(&metrics),
            drain: drain.clone(),
            connections: Arc::new(Semaphore::new(config.file.limits.connections_max)),
            analyses: Arc::new(sql::cache::Cache::new(ANALYSES_MAX, ANALYSES_BYTES_MAX)),
            cancellation: Cancellation::default(),
        };
        let (mut listeners, mut credentials, mut exchanges) = (Vec::new(), Vec::new(), Vec::new());
        for route in &config.routes {
            let exchange = credential::exchange(&route.credential, &route.role, config.trust)?;
            let (listener, cache) = shared.listen(&config, route, Arc::clone(&exchange)).await?;
            exchanges.push(exchange);
            listeners.push(listener);
            credentials.extend(cache.map(|cache| (route.target.name.clone(), cache)));
        }
        let mut admin_sockets = Vec::new();
        let admin = &config.file.admin;
        for (address, audience) in [(admin.address, Audience::Pod), (admin.loopback_address, Audience::Loopback)] {
            let socket = TcpListener::bind(address).await.map_err(|source| ServeError::Admin { address, source })?;
            admin_sockets.push((socket, audience));
        }
        policies::note_loaded(&gate).await?;
        manifest::note_loaded(&gate).await?;
        let state = Arc::new(admin::State {
            metrics,
            gate,
            config: config.redacted(),
            drain: drain.clone(),
            started: AtomicBool::new(false),
            quit: Notify::new(),
        });
        let connections = shared.connections;
        Ok(Self { config, listeners, credentials, exchanges, admin_sockets, state, texts, manifest: watched, connections, trigger, drain })
    }

    /// The addresses of the listeners, in the configuration's order.
    ///
    /// # Errors
    /// The system does not say.
    pub fn listener_addresses(&self) -> io::Result<Vec<Address>> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// The two addresses of the admin endpoints: the pod's, then loopback's.
    ///
    /// # Errors
    /// The system does not say.
    pub fn admin_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.admin_sockets.iter().map(|(socket, _)| socket.local_addr()).collect()
    }

    /// Serves until `stop` is done or `/quitquitquit` is asked for, then drains and closes the log.
    ///
    /// # Errors
    /// `Audit` when the log could not take its closing record.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { config, listeners, credentials, exchanges, admin_sockets, state, texts, manifest, connections, trigger, drain } = self;
        let mut background = JoinSet::new();
        for (socket, audience) in admin_sockets {
            let state = Arc::clone(&state);
            let handler = move |request| {
                let answer = admin::handle(&state, audience, &request);
                std::future::ready(answer)
            };
            background.spawn(http_server::serve(socket, None, drain.clone(), Stage::Ending, handler));
        }
        let watch = policies::Watch {
            paths: config.file.policy.paths.clone(),
            interval: config.file.policy.reload_interval.0,
            in_force: texts,
            gate: Arc::clone(&state.gate),
            metrics: Arc::clone(&state.metrics),
        };
        background.spawn(watch.run(drain.clone()));
        if let Some((path, read)) = manifest {
            let (gate, metrics) = (Arc::clone(&state.gate), Arc::clone(&state.metrics));
            let watch = manifest::Watch { path, interval: config.file.policy.reload_interval.0, read, gate, metrics };
            background.spawn(watch.run(drain.clone()));
        }
        let mut serving = JoinSet::new();
        for listener in listeners {
            serving.spawn(listener.serve());
        }
        for (target, cache) in credentials {
            background.spawn(watch_identity(cache.clone(), drain.clone()));
            background.spawn(prefetch(target, cache, drain.clone()));
        }
        state.started.store(true, Ordering::Release);
        state.metrics.start_time.set(unix_seconds());
        tokio::select! {
            () = stop => {}
            () = state.quit.notified() => {}
        }
        trigger.advance(Stage::Draining);
        let sessions = config.file.limits.connections_max - connections.available_permits();
        note_draining(&state, sessions).await;
        let deadline = config.file.shutdown.deadline.0;
        if tokio::time::timeout(deadline, finished(&mut serving)).await.is_err() {
            tracing::warn!("the shutdown deadline has passed; running queries are cancelled");
            trigger.advance(Stage::Ending);
            finished(&mut serving).await;
        }
        release(exchanges).await;
        let closed = state.gate.audit().close().await;
        trigger.advance(Stage::Ending);
        finished(&mut background).await;
        Ok(closed?)
    }
}

/// What every listener is given.
struct Shared {
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    drain: Drain,
    connections: Arc<Semaphore>,
    analyses: Arc<sql::cache::Cache>,
    cancellation: Cancellation,
}

impl Shared {
    async fn listen(
        &self,
        config: &Config,
        route: &Route,
        exchange: Arc<dyn CredentialExchange>,
    ) -> Result<(Listener, Option<Cache>), ServeError> {
        let (target, metrics) = (Arc::clone(&route.target), Arc::clone(&self.metrics));
        let (credentials, cache) = match &route.listener.authentication {
            Authentication::Token { .. } => {
                let verifier = Box::new(identity::client::Verifier::new(&route.identity, config.trust)?);
                (Credentials::OfClients { verifier, credentials: Clients::new(exchange.clone(), target, metrics) }, None)
            }
            Authentication::Trust | Authentication::Certificate | Authentication::Peer { .. } | Authentication::Scram { .. } => {
                let cache = Cache::new(identity::source(&route.identity, config.trust)?, exchange.clone(), target, metrics);
                (Credentials::OfWorkload(cache.clone()), Some(cache))
            }
        };
        let parts = Parts {
            target: Arc::clone(&route.target),
            kind: route.kind,
            role: route.role.clone(),
            tls: tls::Client::speaking(&route.tls, listener::alpn(route.kind, route.negotiation), config.trust)?,
            negotiation: route.negotiation,
            methods: route.methods.clone(),
            login_parameters: route.login_parameters.clone(),
            trust: config.trust,
            exchange: exchange.kind(),
            credentials,
            gate: Arc::clone(&self.gate),
            analyses: Arc::clone(&self.analyses),
            limits: config.file.limits,
            metrics: Arc::clone(&self.metrics),
            drain: self.drain.clone(),
            cancellation: self.cancellation.clone(),
        };
        Ok((Listener::bind(&route.listener, parts, Arc::clone(&self.connections)).await?, cache))
    }
}

/// The manifest, with its file as it was when it was read.
async fn read_manifest(config: &Config) -> Result<Option<(Manifest, (PathBuf, manifest::Stamp))>, ServeError> {
    let Some(path) = config.file.dbt.as_ref().map(|dbt| dbt.manifest.clone()) else { return Ok(None) };
    let read = move || {
        let stamp = manifest::Stamp::of(&path);
        manifest::read(&path).map(|manifest| (manifest, (path, stamp)))
    };
    tokio::task::spawn_blocking(read).await?.map(Some).map_err(ServeError::Manifest)
}

async fn open_audit(config: &Config, metrics: &Arc<Metrics>) -> Result<AuditLog, ServeError> {
    let (settings, metrics) = (config.file.audit.clone(), Arc::clone(metrics));
    let start = Start { version: env!("CARGO_PKG_VERSION").to_owned(), config_digest: config.digest.clone() };
    // Recovery reads the last segments: too long for a thread that others wait for.
    Ok(tokio::task::spawn_blocking(move || AuditLog::open(&settings, metrics, &start)).await??)
}

/// Has a target's first credential made before anybody asks, so that the first session does not wait for it.
///
/// Nothing depends on its success: a session that comes meanwhile waits for the same exchange, and one that comes after a failure
/// is told why. Later renewals begin with use alone, so that a sidecar that nobody uses calls nobody.
async fn prefetch(target: String, credentials: Cache, drain: Drain) {
    tokio::select! {
        () = drain.reached(Stage::Draining) => {}
        made = credentials.get() => if let Err(error) = made {
            let fault = Fault::from(error);
            tracing::warn!(target, reason = fault.reason.code(), chain = fault.chain(), "no credential could be made ahead of the first session");
        }
    }
}

/// Has credentials go as soon as the identity is known to be gone, until no session begins any more.
async fn watch_identity(credentials: Cache, drain: Drain) {
    tokio::select! {
        () = drain.reached(Stage::Draining) => {}
        () = credentials.watch() => {}
    }
}

/// Time for giving back at the end what was only lent, for all together; what is not given back ends by itself.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(2);

async fn release(exchanges: Vec<Arc<dyn CredentialExchange>>) {
    let mut releasing = JoinSet::new();
    for exchange in exchanges {
        releasing.spawn(async move { exchange.release().await });
    }
    if tokio::time::timeout(RELEASE_TIME_MAX, finished(&mut releasing)).await.is_err() {
        tracing::warn!("not everything that was lent could be given back in time; it ends by itself");
    }
}

async fn finished(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the program ended by a panic; please report it");
        }
    }
}

async fn note_draining(state: &admin::State, sessions: usize) {
    tracing::info!(sessions, "draining");
    if let Err(error) = state.gate.audit().note(Note::Draining { sessions: u64::try_from(sessions).unwrap_or(u64::MAX) }).await {
        tracing::error!(%error, "the beginning of the drain could not be recorded");
    }
}

fn unix_seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
