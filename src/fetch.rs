//! The one place that makes HTTPS calls of our own: to token issuers, token endpoints and certificate authorities.
//!
//! A connection serves one request: calls are minutes apart, and a fresh one always sees the newest trust and addresses.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use openidconnect::url::form_urlencoded;
use openidconnect::{HttpRequest, HttpResponse};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fetch::endpoint::Endpoint;
use crate::secret::Secret;
use crate::tls::stream::Stream;
use crate::tls::{self, TlsError, Trust};

pub mod endpoint;

/// Time for name resolution, TCP and TLS.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Time for the whole call.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A client for HTTPS calls of our own.
///
/// Follows no redirect (the body may hold a credential) and heeds no proxy of the environment.
/// A call takes at most 10 s, connecting 3 s of them, and an answer at most 1 MiB.
#[derive(Debug)]
pub struct Fetch {
    tls: tls::Client,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, which may be a token.
    pub body: Secret<Vec<u8>>,
    /// `max-age` of `Cache-Control` (RFC 9111, section 5.2.2.1).
    pub max_age: Option<Duration>,
}

/// What a call proves itself with.
#[derive(Debug, Clone, Copy)]
pub enum Authorization<'a> {
    /// Nothing.
    None,
    /// A bearer token (RFC 6750).
    Bearer(&'a Secret<String>),
    /// An OAuth client's id and secret (RFC 6749, section 2.3.1).
    Basic {
        /// The client's id.
        client_id: &'a str,
        /// The client's secret.
        client_secret: &'a Secret<String>,
    },
}

impl Fetch {
    /// A client that trusts whom the settings say. The settings do not matter for `http://` on loopback.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(settings: &tls::ClientSettings, trust: Trust) -> Result<Self, TlsError> {
        Ok(Self { tls: tls::Client::new(settings, trust)? })
    }

    /// Reads a document.
    ///
    /// # Errors
    /// When there is no whole answer; a status of failure is an answer. Cancel safe.
    pub async fn get(&self, from: &Endpoint, authorization: Authorization<'_>) -> Result<Answer, FetchError> {
        self.call(from, Method::GET, headers(authorization)?, Bytes::new()).await
    }

    /// Posts fields as `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// When there is no whole answer; a status of failure is an answer. Dropping the future leaves open whether the
    /// other side acted.
    pub async fn post_form(&self, to: &Endpoint, fields: &[(&str, &str)], authorization: Authorization<'_>) -> Result<Answer, FetchError> {
        let mut headers = headers(authorization)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.call(to, Method::POST, headers, body.into()).await
    }

    /// Posts a JSON text.
    ///
    /// # Errors
    /// When there is no whole answer; a status of failure is an answer. Dropping the future leaves open whether the
    /// other side acted.
    pub async fn post_json(&self, to: &Endpoint, body: Vec<u8>) -> Result<Answer, FetchError> {
        let mut headers = headers(Authorization::None)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.call(to, Method::POST, headers, body.into()).await
    }

    async fn call(&self, to: &Endpoint, method: Method, headers: HeaderMap, body: Bytes) -> Result<Answer, FetchError> {
        let mut request =
            Request::builder().method(method).uri(to.path_and_query()).body(Full::new(body)).map_err(|_| FetchError::Request)?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, HeaderValue::from_str(&to.authority()).map_err(|_| FetchError::Request)?);
        match timeout(CALL_TIME_MAX, self.call_once(to, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::TimedOut { host: to.authority(), limit: CALL_TIME_MAX }),
        }
    }

    async fn call_once(&self, to: &Endpoint, request: Request<Full<Bytes>>) -> Result<Answer, FetchError> {
        let unreachable = |source| FetchError::Unreachable { host: to.authority(), source };
        let stream = match timeout(CONNECT_TIME_MAX, self.connect(to)).await {
            Ok(connected) => connected?,
            Err(_) => return Err(FetchError::TimedOut { host: to.authority(), limit: CONNECT_TIME_MAX }),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(error.into()))?;
        // The set owns the task that moves the bytes, and ends it when this call ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| unreachable(error.into()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() { FetchError::TooLarge { host: to.authority() } } else { unreachable(error) }
        })?;
        Ok(Answer { status: head.status, max_age: max_age(&head.headers), body: Secret::new(body.to_bytes().to_vec()) })
    }

    async fn connect(&self, to: &Endpoint) -> Result<Stream, FetchError> {
        let unreachable = |source| FetchError::Unreachable { host: to.authority(), source };
        let socket = TcpStream::connect((to.host(), to.port())).await.map_err(|error| unreachable(error.into()))?;
        if !to.is_encrypted() {
            return Ok(Stream::Plain(socket));
        }
        match self.tls.connect(socket, to.host(), None).await {
            Ok(Stream::Plain(_) | Stream::Unix(_)) => Err(unreachable(TlsError::Disabled.into())),
            Ok(stream) => Ok(stream),
            Err(error) => Err(unreachable(error.into())),
        }
    }
}

/// Lets openidconnect discover providers through this client.
impl<'c> openidconnect::AsyncHttpClient<'c> for Fetch {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let to = Endpoint::parse(&request.uri().to_string()).map_err(|_| FetchError::Request)?;
            let (head, body) = request.into_parts();
            let mut headers = head.headers;
            headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tollhouse/", env!("CARGO_PKG_VERSION"))));
            let answer = Fetch::call(self, &to, head.method, headers, body.into()).await?;
            let mut response = HttpResponse::new(answer.body.expose().clone());
            *response.status_mut() = answer.status;
            // Every document that openidconnect asks for is JSON, and it insists on hearing so.
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        })
    }
}

/// Why there is no answer. Names hosts, never what was sent.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, or it broke.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// Which host and port.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{host} did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// Which host and port.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// The answer is over the limit.
    #[error("the answer of {host} is over 1 MiB")]
    TooLarge {
        /// Which host and port.
        host: String,
    },
    /// The address or a header cannot be put on the wire.
    #[error("the request cannot be written")]
    Request,
}

fn headers(authorization: Authorization<'_>) -> Result<HeaderMap, FetchError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tollhouse/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let text = match authorization {
        Authorization::None => return Ok(headers),
        Authorization::Bearer(token) => Secret::new(format!("Bearer {}", token.expose())),
        Authorization::Basic { client_id, client_secret } => Secret::new(format!("Basic {}", basic(client_id, client_secret).expose())),
    };
    let mut value = HeaderValue::from_str(text.expose()).map_err(|_| FetchError::Request)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1).
fn basic(client_id: &str, client_secret: &Secret<String>) -> Secret<String> {
    let encode = |half: &str| form_urlencoded::byte_serialize(half.as_bytes()).collect::<String>();
    let joined = Secret::new(format!("{}:{}", encode(client_id), encode(client_secret.expose())));
    Secret::new(STANDARD.encode(joined.expose()))
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.split(',');
    let seconds = directives.map(str::trim).find_map(|directive| directive.strip_prefix("max-age="))?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

#[cfg(test)]
mod tests;
