//! Serves small HTTP endpoints of our own: one short stack of bounds, then a handler that sees whole requests.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use crate::drain::{Drain, Stage};
use crate::tls::Acceptor;
use crate::tls::stream::Stream;

/// Connections at once; further ones wait in the system's backlog.
const CONNECTIONS_MAX: usize = 64;

/// Requests at once over all connections: one for each, so that a burst of admission reviews waits in the backlog. Further ones would be
/// answered 503, which to an API server means that a pod must not be made.
const REQUESTS_MAX: usize = CONNECTIONS_MAX;

/// Longest request body; a longer one is answered 413.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Time for a request's head, and separately for its body and answer; then 503 or the connection's end.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Pause after a failure to accept, which would otherwise repeat at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer that is whole before it is sent.
pub type Answer = Response<Full<Bytes>>;

/// An answer with a body of one type.
pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer in plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    answer(status, "application/json", body.to_string())
}

/// Serves until the drain has come to `until`; connections are then closed after the request they are at.
pub async fn serve<H, F>(socket: TcpListener, acceptor: Option<Arc<Acceptor>>, drain: Drain, until: Stage, handler: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = ServiceBuilder::new().load_shed().concurrency_limit(REQUESTS_MAX).timeout(REQUEST_TIME_MAX).service_fn(
        move |request: Request<Incoming>| {
            let handler = handler.clone();
            async move { whole(request, handler).await }
        },
    );
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = drain.reached(until) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&socket, &slots) => accepted,
        };
        let Some((connection, slot)) = accepted else { continue };
        let (service, acceptor, drain) = (service.clone(), acceptor.clone(), drain.clone());
        connections.spawn(async move {
            let _slot = slot;
            if let Some(stream) = encrypted(connection, acceptor).await {
                serve_connection(stream, service, drain, until).await;
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn serve_connection<S>(stream: Stream, service: S, drain: Drain, until: Stage)
where
    S: Service<Request<Incoming>, Response = Answer, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let answering = service_fn(move |request| {
        let answering = service.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answering.await.unwrap_or_else(|error| recover(&error))) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIME_MAX)
            .serve_connection(TokioIo::new(stream), answering)
    );
    tokio::select! {
        // A broken connection concerns only the peer that broke it.
        _ended = connection.as_mut() => return,
        () = drain.reached(until) => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}

async fn accept(socket: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((connection, _)) => Some((connection, slot)),
        Err(error) => {
            tracing::warn!(%error, "an HTTP connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn encrypted(connection: TcpStream, acceptor: Option<Arc<Acceptor>>) -> Option<Stream> {
    let Some(acceptor) = acceptor else { return Some(Stream::Plain(connection)) };
    match tokio::time::timeout(REQUEST_TIME_MAX, acceptor.accept(connection)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_elapsed) => None,
    }
}

async fn whole<H, F>(request: Request<Incoming>, handler: H) -> Result<Answer, Infallible>
where
    H: Fn(Request<Bytes>) -> F,
    F: Future<Output = Answer>,
{
    let (head, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(handler(Request::from_parts(head, body.to_bytes())).await),
        Err(_) => Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large or incomplete\n")),
    }
}

/// Turns what the bounds say into an answer.
fn recover(error: &BoxError) -> Answer {
    let said = if error.is::<tower::timeout::error::Elapsed>() { "the request took too long\n" } else { "too many requests\n" };
    text(StatusCode::SERVICE_UNAVAILABLE, said)
}

#[cfg(test)]
pub(crate) mod stand_in;
