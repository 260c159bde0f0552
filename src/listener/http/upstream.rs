//! Connections to an HTTP warehouse: verified, kept and used again by the same principal.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use super::executions::Owner;
use super::{Body, PROTOCOLS};
use crate::credential::cache::Lease;
use crate::credential::{Credential, Login};
use crate::fault::{Fault, Reason};
use crate::gate::Gate;
use crate::identity::Principal;
use crate::target::Target;
use crate::tls::stream::Stream;
use crate::tls::{self, ClientAuth, Mode};
use crate::warehouse::http::Outgoing;

/// Principals whose connections are kept; those of the least recent one are closed first.
const PRINCIPALS_MAX: usize = 64;
/// Connections without a request that are kept for a principal, and for how long.
const IDLE_CONNECTIONS_MAX: usize = 64;
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// Where a listener's requests go.
pub(super) struct Upstream {
    destination: Arc<Destination>,
    base: String,
    authority: String,
    /// The most recent last.
    clients: Mutex<Vec<Kept>>,
}

struct Destination {
    target: Arc<Target>,
    tls: tls::Client,
    gate: Arc<Gate>,
    connect_timeout: Duration,
}

/// The connections of one principal, with one client certificate where it has one.
struct Kept {
    owner: Owner,
    certificate: Option<String>,
    client: Client<Connector, Body>,
}

impl Upstream {
    /// Nothing is connected yet.
    pub(super) fn new(target: Arc<Target>, tls: tls::Client, gate: Arc<Gate>, connect_timeout: Duration) -> Self {
        let scheme = if tls.mode() == Mode::Disable { "http" } else { "https" };
        let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
        let base = format!("{scheme}://{host}:{}", target.port);
        let is_usual = target.port == if tls.mode() == Mode::Disable { 80 } else { 443 };
        let authority = if is_usual { host } else { format!("{host}:{}", target.port) };
        Self { authority, destination: Arc::new(Destination { target, tls, gate, connect_timeout }), base, clients: Mutex::default() }
    }

    /// The warehouse's host, with its port where that is not the usual one.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The warehouse.
    pub(super) fn target(&self) -> &Arc<Target> {
        &self.destination.target
    }

    /// Sends a request, whose body is taken as it comes, and waits for the reply's head.
    ///
    /// Has no time limit: a warehouse may think for long before its first byte. Dropped, the connection is closed.
    ///
    /// # Errors
    /// `TargetUnreachable`, `TargetTls` or a denial before anything was sent; `TargetClosed` after that.
    pub(super) async fn send(&self, head: Outgoing, body: Body, lease: &Lease) -> Result<Response<Incoming>, Fault> {
        let mut request = Request::new(body);
        let uri = format!("{}{}", self.base, head.target).parse();
        *request.uri_mut() = uri.map_err(|_| Fault::new(Reason::RequestMalformed).about("the path"))?;
        *request.method_mut() = head.method;
        *request.headers_mut() = head.headers;
        // Servers want to be told of no body where there could be one (RFC 9110, section 8.6); hyper leaves it unsaid.
        let may_have_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        if may_have_body && request.body().size_hint().exact() == Some(0) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.client(lease).request(request).await.map_err(|error| self.fault(error))
    }

    fn fault(&self, error: Error) -> Fault {
        let name = self.target().name.clone();
        if !error.is_connect() {
            return Fault::new(Reason::TargetClosed).about(name).because(error);
        }
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = next {
            if let Some(refused) = cause.downcast_ref::<Fault>() {
                let fault = Fault::new(refused.reason).about(refused.about.clone().unwrap_or(name));
                return fault.because(refused.chain());
            }
            next = cause.source();
        }
        Fault::new(Reason::TargetUnreachable).about(name).because(error)
    }

    fn client(&self, lease: &Lease) -> Client<Connector, Body> {
        let owner = Owner::of(&lease.principal);
        let certificate = matches!(lease.credential.login, Login::ClientCertificate { .. }).then(|| lease.credential.id.clone());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.iter().position(|kept| kept.owner == owner && kept.certificate == certificate);
        let kept = match known {
            Some(at) => clients.remove(at),
            None => {
                // A certificate that was renewed takes the place of the one before.
                clients.retain(|kept| kept.owner != owner);
                let connector = Connector {
                    destination: Arc::clone(&self.destination),
                    principal: Arc::clone(&lease.principal),
                    credential: Arc::clone(&lease.credential),
                };
                let client = Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE_TIME_MAX)
                    .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                    .build(connector);
                Kept { owner, certificate, client }
            }
        };
        let client = kept.client.clone();
        if clients.len() >= PRINCIPALS_MAX {
            clients.remove(0);
        }
        clients.push(kept);
        client
    }
}

/// Makes the connections of one principal.
#[derive(Clone)]
struct Connector {
    destination: Arc<Destination>,
    principal: Arc<Principal>,
    credential: Arc<Credential>,
}

impl Connector {
    async fn connect(self) -> Result<TokioIo<Stream>, Fault> {
        let limit = self.destination.connect_timeout;
        match timeout(limit, self.connect_unbounded()).await {
            Ok(connected) => connected,
            Err(elapsed) => Err(Fault::new(Reason::TargetUnreachable).because(elapsed)),
        }
    }

    async fn connect_unbounded(&self) -> Result<TokioIo<Stream>, Fault> {
        let Destination { target, tls, gate, .. } = &*self.destination;
        let unreachable = |error: io::Error| Fault::new(Reason::TargetUnreachable).about(target.name.clone()).because(error);
        let socket = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(unreachable)?;
        let address = socket.peer_addr().map_err(unreachable)?.ip();
        gate.admit_address(&self.principal, target, address)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        if tls.mode() == Mode::Disable {
            return Ok(TokioIo::new(Stream::Plain(socket)));
        }
        let client_auth = match &self.credential.login {
            Login::ClientCertificate { chain, key } => Some(ClientAuth { chain, key: key.expose() }),
            Login::Password(_) | Login::Token(_) | Login::AwsCredentials(_) | Login::Snowflake { .. } => None,
        };
        let stream = tls.connect(socket, &target.host, client_auth).await;
        let stream = stream.map_err(|error| Fault::new(Reason::TargetTls).about(target.name.clone()).because(error))?;
        Ok(TokioIo::new(stream))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.protocol() == PROTOCOLS.first().copied() { connected.negotiated_h2() } else { connected }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
