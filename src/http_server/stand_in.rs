//! For tests: a server on loopback that answers as it is told and remembers what it was asked.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use openidconnect::url::form_urlencoded;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::drain::{self, Stage, Trigger};
use crate::http_server::{self, Answer};

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Heard {
    /// The fields of a form, in their order.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        assert_eq!(self.header("content-type").split(';').next(), Some("application/x-www-form-urlencoded"));
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    /// The one value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut values = self.form().into_iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "`{name}` twice");
        value
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server that answers as it was told.
pub(crate) struct StandIn {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    _trigger: Trigger,
    _serving: JoinSet<()>,
}

impl StandIn {
    pub(crate) async fn start(answer: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> Self {
        Self::silent_after(usize::MAX, answer).await
    }

    /// One that takes every request, and answers so many of them.
    pub(crate) async fn silent_after(answered: usize, answer: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", socket.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (trigger, drain) = drain::channel();
        let (answer, hears) = (Arc::new(answer), Arc::clone(&heard));
        let handler = move |request: Request<Bytes>| {
            let (head, body) = request.into_parts();
            let one = Heard {
                method: head.method.to_string(),
                path: head.uri.to_string(),
                headers: head.headers,
                body: String::from_utf8(body.to_vec()).unwrap(),
            };
            let before = hears.lock().unwrap().len();
            let answer = (before < answered).then(|| answer(&one));
            hears.lock().unwrap().push(one);
            async move {
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        };
        let mut serving = JoinSet::new();
        serving.spawn(http_server::serve(socket, None, drain, Stage::Ending, handler));
        Self { base, heard, _trigger: trigger, _serving: serving }
    }

    /// One that answers everything with this JSON.
    pub(crate) async fn saying(answer: Value) -> Self {
        Self::start(move |_| http_server::json(StatusCode::OK, &answer)).await
    }

    /// What it was asked so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The only request that it was asked.
    pub(crate) fn only(&self) -> Heard {
        let heard = self.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard[0].clone()
    }
}
