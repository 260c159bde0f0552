//! The stand-ins' HTTPS server: a fixed set of addresses, everything bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::dev::authority::{Authority, SigningError};
use crate::dev::cluster::Cluster;
use crate::dev::token_endpoint::{Refusal, TokenEndpoint};
use crate::document::Span;
use crate::secret::Secret;
use crate::tls::Acceptor;

const CONNECTIONS_MAX: usize = 256;
const REQUESTS_MAX: usize = 64;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Pause after an accept that failed: it fails again at once while file descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server answers from.
#[derive(Debug)]
pub struct Site {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The token endpoint.
    pub token_endpoint: TokenEndpoint,
    /// The authority of client certificates.
    pub authority: Authority,
    /// The one subject that gets certificates.
    pub subject: String,
    /// The one name that it gets them for.
    pub role: String,
}

type Answer = Response<Full<Bytes>>;

/// Accepts connections until dropped, 256 at a time; further ones are closed at once.
pub async fn serve(listener: TcpListener, acceptor: Acceptor, site: Arc<Site>) {
    let acceptor = Arc::new(acceptor);
    let service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(REQUESTS_MAX)
        .timeout(REQUEST_TIME_MAX)
        .service(tower::service_fn(move |request| answer(Arc::clone(&site), request)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(serve_connection(socket, Arc::clone(&acceptor), service.clone()));
                }
                Ok(_) => tracing::warn!("too many connections"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection<S>(socket: TcpStream, acceptor: Arc<Acceptor>, service: S)
where
    S: Service<Request<Incoming>, Response = Answer, Error = tower::BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME_MAX, acceptor.accept(socket)).await else { return };
    let answer = service_fn(move |request| {
        let service = service.clone();
        // Shed and late requests are answered too, instead of breaking the connection.
        async move { Ok::<_, Infallible>(service.oneshot(request).await.unwrap_or_else(|_| plain(StatusCode::SERVICE_UNAVAILABLE))) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIME_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

async fn answer(site: Arc<Site>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = Secret::new(body.to_bytes().to_vec());
    Ok(match (&head.method, head.uri.path()) {
        (&Method::GET, "/kubernetes/.well-known/openid-configuration") => public(&site.cluster.discovery()),
        (&Method::GET, "/kubernetes/openid/v1/jwks") => public(&site.cluster.issuer().key_set()),
        (&Method::POST, "/kubernetes/rotate") => rotate(&site),
        (&Method::GET, "/oauth/.well-known/openid-configuration") => public(&site.token_endpoint.discovery()),
        (&Method::GET, "/oauth/jwks") => public(&site.token_endpoint.key_set()),
        (&Method::GET, "/oauth/authorize") => private(StatusCode::BAD_REQUEST, &json!({ "error": "unsupported_response_type" })),
        (&Method::POST, "/oauth/token") => token(&site, body.expose()).await,
        (&Method::POST, "/1.0/sign") => sign(&site, body.expose()).await,
        _ => plain(StatusCode::NOT_FOUND),
    })
}

fn rotate(site: &Site) -> Answer {
    match site.cluster.issuer().rotate().and_then(|()| site.cluster.project_token()) {
        Ok(()) => plain(StatusCode::NO_CONTENT),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "signing key not rotated");
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

async fn token(site: &Site, form: &[u8]) -> Answer {
    match site.token_endpoint.exchange(form).await {
        Ok(answer) => private(StatusCode::OK, &answer),
        Err(refusal) => {
            let status = match refusal {
                Refusal::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
                Refusal::InvalidRequest | Refusal::InvalidGrant | Refusal::UnsupportedGrantType | Refusal::InvalidTarget => {
                    StatusCode::BAD_REQUEST
                }
            };
            private(status, &json!({ "error": refusal.code() }))
        }
    }
}

/// The body of step-ca's signing call: <https://smallstep.com/docs/step-ca/api/>.
#[derive(Deserialize)]
struct SignRequest {
    csr: String,
    ott: String,
    #[serde(rename = "notAfter", default = "lifetime_default")]
    not_after: Span,
}

fn lifetime_default() -> Span {
    Span::seconds(300)
}

async fn sign(site: &Site, body: &[u8]) -> Answer {
    let Ok(request) = serde_json::from_slice::<SignRequest>(body) else {
        return problem(StatusCode::BAD_REQUEST, "the request cannot be read");
    };
    match site.token_endpoint.subject_of(&Secret::new(request.ott)).await {
        Ok(subject) if subject == site.subject => {}
        Ok(_) => return problem(StatusCode::FORBIDDEN, "the subject gets no certificates"),
        Err(error) => {
            tracing::info!(reason = error.reason.code(), "signing refused");
            return problem(StatusCode::UNAUTHORIZED, "the token is not accepted");
        }
    }
    match site.authority.sign_client(&request.csr, &site.role, request.not_after.0) {
        Ok(certificate) => {
            let ca = site.authority.certificate();
            private(StatusCode::CREATED, &json!({ "crt": certificate, "ca": ca, "certChain": [certificate, ca] }))
        }
        Err(SigningError::Unreadable) => problem(StatusCode::BAD_REQUEST, "the certificate request cannot be used"),
        Err(SigningError::Name) => problem(StatusCode::FORBIDDEN, "the subject may not have this name"),
        Err(SigningError::Failed(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "certificate not made");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the certificate could not be made")
        }
    }
}

fn problem(status: StatusCode, message: &str) -> Answer {
    private(status, &json!({ "status": status.as_u16(), "message": message }))
}

fn public(document: &Value) -> Answer {
    with_cache(StatusCode::OK, document, "public, max-age=60")
}

fn private(status: StatusCode, document: &Value) -> Answer {
    with_cache(status, document, "no-store")
}

fn with_cache(status: StatusCode, document: &Value, cache: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn plain(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
