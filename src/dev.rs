//! Stand-ins for what a laptop lacks: a token issuer, a token endpoint and a certificate authority.
//!
//! Everything that it makes is marked [`DEVELOPMENT_ORGANIZATION`], and it listens on loopback alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep};

use crate::dev::authority::Authority;
use crate::dev::clients::Clients;
use crate::dev::cluster::Cluster;
use crate::dev::directory::write;
use crate::dev::issuer::{Issuer, KeyKind};
use crate::dev::token_endpoint::TokenEndpoint;
use crate::drain::{self, Stage, Trigger};
use crate::http_server;
#[cfg(doc)]
use crate::tls::DEVELOPMENT_ORGANIZATION;
use crate::tls::{Acceptor, ClientSettings, ServerSettings, TlsError, Trust};

pub mod authority;
pub mod clients;
pub mod cluster;
pub mod directory;
pub mod issuer;
pub mod server;
pub mod token_endpoint;

/// What the stand-ins pretend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where certificates, keys and the token file go; made with mode 0700.
    pub directory: PathBuf,
    /// Where to listen; a loopback address.
    pub address: SocketAddr,
    /// Names in the server certificates; the first is also the host of every address. Never empty.
    pub hostnames: Vec<String>,
    /// Namespace of the workload.
    pub namespace: String,
    /// Service account of the workload.
    pub service_account: String,
    /// The role that the certificate authority certifies, for the workload and for the clients.
    pub role: String,
    /// Subjects of clients, such as people and jobs, that get tokens of their own: file names, too.
    pub clients: Vec<String>,
    /// The one audience of the projected token; the token endpoint wants it too.
    pub audience: String,
    /// Life of the projected token.
    pub token_lifetime: Duration,
    /// How often the cluster's issuer gets a new key.
    pub rotate: Duration,
}

/// The audience of the projected token where nothing else is asked for.
pub const WORKLOAD_AUDIENCE: &str = "tollhouse";
/// The audience of the clients' own tokens.
pub const CLIENT_AUDIENCE: &str = "tollhouse-clients";
/// The audience that the certificate authority wants in an exchanged token.
pub const AUTHORITY_AUDIENCE: &str = "warehouse-ca";

/// The stand-ins, listening. Dropping it ends every task.
#[derive(Debug)]
pub struct Stand {
    /// Where it listens.
    pub address: SocketAddr,
    /// The files that it wrote.
    pub directory: PathBuf,
    base: String,
    cluster: Arc<Cluster>,
    provider: Arc<Issuer>,
    tasks: JoinSet<()>,
    /// Keeps the server up while this stands.
    _trigger: Trigger,
}

/// Writes the certificates and stops there; what `--once` does.
///
/// # Errors
/// When the directory cannot be written or a certificate cannot be made.
pub fn write_certificates(settings: &Settings) -> Result<Authority, DevError> {
    let directory = &settings.directory;
    directory::make(directory)?;
    let servers = Authority::load_or_make(directory, "ca", "development servers")?;
    let clients = Authority::load_or_make(directory, "client-ca", "development clients")?;
    for place in ["server", "warehouse"] {
        let (certificate, key) = servers.issue_server(&settings.hostnames)?;
        directory::make(&directory.join(place))?;
        write(&directory.join(place).join("server.crt"), certificate.as_bytes())?;
        write(&directory.join(place).join("server.key"), key.expose().as_bytes())?;
    }
    let secret = directory::random_text()?;
    write(&directory.join("scram-secret"), secret.expose().as_bytes())?;
    Ok(clients)
}

impl Stand {
    /// Writes the directory, listens, and marks the directory ready.
    ///
    /// # Errors
    /// When the address is not loopback or not free, or the directory cannot be written.
    pub async fn start(settings: &Settings) -> Result<Self, DevError> {
        if !settings.address.ip().is_loopback() {
            return Err(DevError::NotLoopback(settings.address));
        }
        // Whoever waits for the marker must not find that of an earlier run. There may be none.
        let _ = std::fs::remove_file(settings.directory.join("ready"));
        let listener = TcpListener::bind(settings.address).await.map_err(DevError::Bind)?;
        let clients = write_certificates(settings)?;
        let directory = &settings.directory.canonicalize().map_err(DevError::file(&settings.directory))?;
        let address = listener.local_addr().map_err(DevError::Bind)?;
        let host = settings.hostnames.first().map_or("localhost", String::as_str);
        let base = format!("https://{host}:{}", address.port());

        let cluster_issuer = Issuer::new(format!("{base}/kubernetes"), KeyKind::Rsa, settings.token_lifetime)?;
        let cluster = Arc::new(Cluster::new(settings, cluster_issuer));
        cluster.project_token()?;
        let provider = Arc::new(Issuer::new(format!("{base}/oauth"), KeyKind::EllipticCurve, settings.token_lifetime)?);
        let clients_of = Clients {
            provider: Arc::clone(&provider),
            directory: directory.join("clients"),
            subjects: settings.clients.clone(),
            token_lifetime: settings.token_lifetime,
        };
        clients_of.write_tokens()?;
        let trust_ours = ClientSettings { ca: Some(directory.join("ca.crt")), ..ClientSettings::default() };
        let token_endpoint = TokenEndpoint::new(Arc::clone(&provider), cluster.verifier_settings(&trust_ours)?, &trust_ours)?;
        let acceptor = Acceptor::new(
            &ServerSettings { certificate: directory.join("server/server.crt"), key: directory.join("server/server.key") },
            Trust::Development,
        )?;
        let site = Arc::new(server::Site {
            cluster: Arc::clone(&cluster),
            token_endpoint,
            authority: clients,
            subjects: [vec![cluster.subject()], settings.clients.clone()].concat(),
            role: settings.role.clone(),
        });
        let (trigger, drain) = drain::channel();
        let mut tasks = JoinSet::new();
        let answer = move |request| server::answer(Arc::clone(&site), request);
        tasks.spawn(http_server::serve(listener, Some(Arc::new(acceptor)), drain, Stage::Draining, answer));
        tasks.spawn(keep_tokens_fresh(Arc::clone(&cluster), clients_of));
        tasks.spawn(rotate_keys(Arc::clone(&cluster), settings.rotate));
        let stand = Self { address, directory: directory.clone(), base, cluster, provider, tasks, _trigger: trigger };
        write(&directory.join("ready"), stand.summary().as_bytes())?;
        Ok(stand)
    }

    /// Serves until the future is dropped.
    pub async fn run(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// The cluster that the stand-ins pretend to be.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The OpenID provider of the clients.
    pub fn provider(&self) -> &Issuer {
        &self.provider
    }

    /// The addresses, one `NAME=value` line each, as the file `ready` has them.
    pub fn summary(&self) -> String {
        let (base, directory) = (&self.base, self.directory.display());
        format!(
            "TOLLHOUSE_DEV_DIR={directory}\n\
             TOLLHOUSE_DEV_ISSUER={base}/kubernetes\n\
             TOLLHOUSE_DEV_OAUTH_ISSUER={base}/oauth\n\
             TOLLHOUSE_DEV_TOKEN_ENDPOINT={base}/oauth/token\n\
             TOLLHOUSE_DEV_SIGN_URL={base}/1.0/sign\n\
             TOLLHOUSE_DEV_TOKEN_FILE={directory}/token/token\n"
        )
    }

    /// Prefix of every address: scheme, host and port.
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// The kubelet's habit: a new token at 80 % of the life of the old.
async fn keep_tokens_fresh(cluster: Arc<Cluster>, clients: Clients) {
    loop {
        sleep(clients.token_lifetime * 4 / 5).await;
        if let Err(error) = cluster.project_token().and_then(|()| clients.write_tokens()) {
            tracing::error!(error = &error as &dyn std::error::Error, "token files not refreshed");
        }
    }
}

async fn rotate_keys(cluster: Arc<Cluster>, period: Duration) {
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    loop {
        ticks.tick().await;
        if let Err(error) = cluster.issuer().rotate() {
            tracing::error!(error = &error as &dyn std::error::Error, "signing key not rotated");
        }
    }
}

/// Why the stand-ins cannot stand.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The address can be reached from elsewhere.
    #[error("{0} is not a loopback address: these keys are for nobody else")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen")]
    Bind(#[source] std::io::Error),
    /// A file or directory cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A token cannot be made.
    #[error("cannot make a token")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// TLS cannot be used.
    #[error("cannot use TLS")]
    Tls(#[from] TlsError),
    /// An identity of ours cannot be used.
    #[error("cannot verify tokens")]
    Identity(#[from] crate::identity::SettingsError),
    /// An address of ours is not one; a host name is wrong.
    #[error("a host name does not make an address")]
    Endpoint(#[from] crate::fetch::endpoint::EndpointError),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness,
}

impl DevError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::File { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
