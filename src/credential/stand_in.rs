//! A server on loopback that answers as a test says and remembers what it was asked, and a workload to exchange for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use openidconnect::url::form_urlencoded;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::credential::{Credential, ExchangeError, Step, exchange};
use crate::drain::{self, Stage, Trigger};
use crate::http_server::{self, Answer};
use crate::identity::{Principal, Proof};
use crate::secret::Secret;
use crate::target::{Opening, Target};
use crate::tls::Trust;

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Heard {
    /// The fields of a form, in their order.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        assert_eq!(self.header("content-type").split(';').next(), Some("application/x-www-form-urlencoded"));
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    /// The one value of a field.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut values = self.form().into_iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "`{name}` twice");
        value
    }

    /// A header, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server that answers as it was told.
pub(super) struct StandIn {
    /// `http://127.0.0.1:PORT`.
    pub(super) base: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    _trigger: Trigger,
    _serving: JoinSet<()>,
}

impl StandIn {
    pub(super) async fn start(answer: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> Self {
        Self::silent_after(usize::MAX, answer).await
    }

    /// One that takes every request, and answers so many of them.
    pub(super) async fn silent_after(answered: usize, answer: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> Self {
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
    pub(super) async fn saying(answer: Value) -> Self {
        Self::start(move |_| http_server::json(StatusCode::OK, &answer)).await
    }

    /// What it was asked so far.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The only request that it was asked.
    pub(super) fn only(&self) -> Heard {
        let heard = self.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard[0].clone()
    }
}

/// A JWT that nobody signed.
pub(super) fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&json!({ "alg": "ES256" })), part(claims), URL_SAFE_NO_PAD.encode("c2lnbmF0dXJl-hunter2"))
}

/// The end of the workload's token.
const EXP: u64 = 4_102_444_800;

/// The workload's token: for the audience `tollhouse`, until the end of the century. The same each time.
pub(super) fn proof() -> Proof {
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(EXP);
    let subject = "system:serviceaccount:shop:dbt";
    let principal = Principal {
        issuer: "https://cluster.example".to_owned(),
        subject: subject.to_owned(),
        token_id: Some("proof-1".to_owned()),
        actors: Vec::new(),
        namespace: Some("shop".to_owned()),
        service_account: Some("dbt".to_owned()),
        pod: None,
        pod_uid: None,
        labels: BTreeMap::new(),
        proven_by: "stand_in",
        expires_at,
    };
    Proof {
        principal: Arc::new(principal),
        token: Secret::new(jwt(&json!({ "sub": subject, "aud": ["tollhouse"], "exp": EXP }))),
        certificate: None,
    }
}

/// The warehouse.
pub(super) fn target() -> Target {
    Target {
        name: "warehouse".to_owned(),
        kind: "postgresql",
        host: "wh.cluster-abc.eu-west-1.rds.amazonaws.com".to_owned(),
        port: 5432,
        opening: Opening::Plain,
    }
}

/// Runs steps once for the workload, as the role `dbt_runner`.
pub(super) async fn run(steps: Value) -> Result<Credential, ExchangeError> {
    let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
    exchange(&steps, "dbt_runner", Trust::Development).unwrap().exchange(&proof(), &target(), &|_| {}).await
}

/// All that an error says, to whoever prints it in whatever way.
pub(super) fn everything(error: &ExchangeError) -> String {
    let mut text = format!("{error:?} {error} {:?}", error.fix);
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source.as_deref().map(|source| source as _);
    while let Some(cause) = next {
        text.push_str(&format!(" {cause} {cause:?}"));
        next = cause.source();
    }
    text
}
