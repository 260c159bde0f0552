//! The one place that makes HTTPS calls of our own: to token issuers, token endpoints and certificate authorities.
//!
//! A connection serves one request: calls are minutes apart, and a fresh one always sees the newest trust and addresses.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
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
pub mod failure;

/// Time for name resolution, TCP and TLS.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Time for the whole call. Tests of those who never answer do not wait as long.
const CALL_TIME_MAX: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });
/// The largest answer that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The longest that anybody can have us wait by `Retry-After`: then it is asked again, in case it has recovered.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// A client for HTTPS calls of our own.
///
/// Follows no redirect (the body may hold a credential) and heeds no proxy of the environment.
/// A call takes at most 10 s, connecting 3 s of them, and an answer at most 1 MiB.
#[derive(Debug)]
pub struct Fetch {
    tls: tls::Client,
    /// The client certificate to show and its key, read for each call.
    identity: Option<(tls::ServerSettings, Trust)>,
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
    headers: HeaderMap,
}

impl Answer {
    /// An answer with no header but its content type.
    pub fn new(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { status, body: Secret::new(body), max_age: None, headers }
    }

    /// Whether the status means to ask again later: 408, 429, and those of a failing server, but for the two that say that it never
    /// does such a thing (RFC 9110, section 15.6; RFC 6585, section 4).
    pub fn is_busy(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 429 | 500..=599) && !matches!(self.status.as_u16(), 501 | 505)
    }

    /// For how long a busy server asks not to be asked again, as seconds or as a date (RFC 9110, section 10.2.3); at most
    /// [`RETRY_AFTER_MAX`].
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let written = self.header("retry-after").filter(|_| self.is_busy())?.trim();
        let asked = match written.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(written).ok()?.duration_since(now).unwrap_or_default(),
        };
        Some(asked.min(RETRY_AFTER_MAX))
    }

    /// The value of a header, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A call that is made of more than an address and a body.
#[derive(Debug)]
pub struct Call {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// Reads a document.
    pub fn get() -> Self {
        Self::new(Method::GET, Bytes::new())
    }

    /// Puts nothing: how EC2's metadata service is asked for a token.
    pub fn put() -> Self {
        Self::new(Method::PUT, Bytes::new())
    }

    /// Posts a body of that type.
    pub fn post(content_type: &'static str, body: Vec<u8>) -> Self {
        let mut call = Self::new(Method::POST, body.into());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        call
    }

    /// Changes a document by a patch of that type.
    pub fn patch(content_type: &'static str, body: Vec<u8>) -> Self {
        let mut call = Self::new(Method::PATCH, body.into());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        call
    }

    fn new(method: Method, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // Kubernetes gives its keys as the second and nothing else: 406 for those who do not take it.
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
        Self { method, headers, body }
    }

    /// Adds a header, in place of one of that name.
    ///
    /// # Errors
    /// When the value cannot stand in a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, FetchError> {
        self.headers.insert(name, HeaderValue::from_str(value).map_err(|_| FetchError::Request)?);
        Ok(self)
    }

    /// Adds a header that must not be shown.
    ///
    /// # Errors
    /// When the value cannot stand in a header.
    pub fn secret_header(mut self, name: &'static str, value: &Secret<String>) -> Result<Self, FetchError> {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| FetchError::Request)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Adds what the call proves itself with.
    ///
    /// # Errors
    /// When it cannot stand in a header.
    pub fn authorized(self, authorization: Authorization<'_>) -> Result<Self, FetchError> {
        match authorization_text(authorization) {
            Some(text) => self.secret_header("authorization", &text),
            None => Ok(self),
        }
    }
}

/// Who we say that we are.
const AGENT: &str = concat!("tollhouse/", env!("CARGO_PKG_VERSION"));

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
        Ok(Self { tls: tls::Client::new(settings, trust)?, identity: None })
    }

    /// The same, showing a client certificate (RFC 8705). Certificate and key are read now and again for each call, so that new
    /// ones are seen.
    ///
    /// # Errors
    /// When the settings cannot be used. A certificate that cannot be read fails the call.
    pub fn showing(settings: &tls::ClientSettings, identity: &tls::ServerSettings, trust: Trust) -> Result<Self, TlsError> {
        Ok(Self { identity: Some((identity.clone(), trust)), ..Self::new(settings, trust)? })
    }

    /// Reads a document.
    ///
    /// # Errors
    /// When there is no whole answer; a status of failure is an answer. Cancel safe.
    pub async fn get(&self, from: &Endpoint, authorization: Authorization<'_>) -> Result<Answer, FetchError> {
        self.send(from, Call::get().authorized(authorization)?).await
    }

    /// Posts fields as `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// When there is no whole answer; a status of failure is an answer. Dropping the future leaves open whether the
    /// other side acted.
    pub async fn post_form(&self, to: &Endpoint, fields: &[(&str, &str)], authorization: Authorization<'_>) -> Result<Answer, FetchError> {
        let call = Call::post("application/x-www-form-urlencoded", form(fields).into_bytes());
        self.send(to, call.authorized(authorization)?).await
    }

    /// Posts a JSON text.
    ///
    /// # Errors
    /// When there is no whole answer; a status of failure is an answer. Dropping the future leaves open whether the
    /// other side acted.
    pub async fn post_json(&self, to: &Endpoint, body: Vec<u8>) -> Result<Answer, FetchError> {
        self.send(to, Call::post("application/json", body)).await
    }

    /// Makes a call as it is described.
    ///
    /// # Errors
    /// When there is no whole answer; a status of failure is an answer. Dropping the future leaves open whether the
    /// other side acted.
    pub async fn send(&self, to: &Endpoint, call: Call) -> Result<Answer, FetchError> {
        let Call { method, headers, body } = call;
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
        let body = Secret::new(body.to_bytes().to_vec());
        Ok(Answer { status: head.status, max_age: max_age(&head.headers), headers: head.headers, body })
    }

    async fn connect(&self, to: &Endpoint) -> Result<Stream, FetchError> {
        let unreachable = |source| FetchError::Unreachable { host: to.authority(), source };
        let socket = TcpStream::connect((to.host(), to.port())).await.map_err(|error| unreachable(error.into()))?;
        if !to.is_encrypted() {
            return Ok(Stream::Plain(socket));
        }
        let shown = match &self.identity {
            Some((files, trust)) => Some(tls::read_identity(files, *trust).map_err(|error| FetchError::Identity { source: error })?),
            None => None,
        };
        let client_auth = shown.as_ref().map(|(chain, key)| tls::ClientAuth { chain, key });
        match self.tls.connect(socket, to.host(), client_auth).await {
            Ok(Stream::Plain(_) | Stream::Unix(_)) => Err(unreachable(TlsError::Disabled.into())),
            Ok(stream) => Ok(stream),
            // Nothing was sent yet: what we would show cannot be shown.
            Err(source @ TlsError::Configuration(_)) if shown.is_some() => Err(FetchError::Identity { source }),
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
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
            let answer = self.send(&to, Call { method: head.method, headers, body: body.into() }).await?;
            // What openidconnect makes of an answer has no headers.
            if answer.is_busy() {
                let (host, status) = (to.authority(), answer.status.as_u16());
                return Err(FetchError::Busy { host, status, retry_after: answer.retry_after(SystemTime::now()) });
            }
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
    /// It says to come again later; told only where there is no [`Answer`] to look at.
    #[error("{host} answered {status}")]
    Busy {
        /// Which host and port.
        host: String,
        /// The status.
        status: u16,
        /// For how long it asks not to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is over the limit.
    #[error("the answer of {host} is over 1 MiB")]
    TooLarge {
        /// Which host and port.
        host: String,
    },
    /// The client certificate of ours that the call should show cannot be used.
    #[error("the client certificate to show cannot be used")]
    Identity {
        /// Why.
        #[source]
        source: TlsError,
    },
    /// The address or a header cannot be put on the wire.
    #[error("the request cannot be written")]
    Request,
}

/// Fields as `application/x-www-form-urlencoded` has them.
pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn authorization_text(authorization: Authorization<'_>) -> Option<Secret<String>> {
    Some(match authorization {
        Authorization::None => return None,
        Authorization::Bearer(token) => Secret::new(format!("Bearer {}", token.expose())),
        Authorization::Basic { client_id, client_secret } => Secret::new(format!("Basic {}", basic(client_id, client_secret).expose())),
    })
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
