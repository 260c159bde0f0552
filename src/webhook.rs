//! Admission webhooks: the sidecar is put into pods whose namespace opted in, and pods that would run around it are refused.
//!
//! Nothing here has a side effect, so that a dry run is the same as a real one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::drain::{self, Drain, Stage};
use crate::http_server::{self, Answer, answer, json, text};
use crate::kubernetes::{self, ApiError, ApiServer};
use crate::log;
use crate::metrics::Metrics;
use crate::tls::{Acceptor, TlsError, Trust};

use bindings::{Bindings, Known};
use certificate::{CertificateError, Keeper};
use patch::{Injection, Refusal, Skip, inject};
use review::Response;
use validate::validate;

pub mod binding;
mod bindings;
pub mod certificate;
pub mod patch;
mod review;
pub mod sidecar;
#[cfg(test)]
mod tests;
pub mod validate;

/// The configuration of `tollhouse webhook`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the API server asks: `/mutate` and `/validate`, over TLS.
    #[serde(default = "Settings::default_address")]
    pub address: SocketAddr,
    /// `/livez`, `/readyz` and `/metrics`, in the clear.
    #[serde(default = "Settings::default_metrics_address")]
    pub metrics_address: SocketAddr,
    /// How the sidecar is made.
    #[serde(default)]
    pub sidecar: sidecar::Settings,
    /// What becomes of a pod that no binding is for.
    #[serde(default)]
    pub unbound: Course,
    /// What becomes of a pod that declines.
    #[serde(default)]
    pub declined: Course,
    /// How the API server is reached.
    #[serde(default)]
    pub api_server: kubernetes::Settings,
    /// What the webhook proves itself with.
    pub certificate: certificate::Settings,
    /// The ordinary log.
    #[serde(default)]
    pub log: log::Settings,
}

/// What becomes of a pod that runs without the sidecar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// It runs, and whoever made it is warned.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}

impl Settings {
    fn default_address() -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 9443))
    }

    fn default_metrics_address() -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], sidecar::ADMIN_PORT))
    }

    /// What becomes of a pod that gets no sidecar.
    pub fn course(&self, skip: Skip) -> Course {
        match skip {
            Skip::NoBinding => self.unbound,
            Skip::OptedOut => self.declined,
        }
    }
}

/// The JSON schema of [`Settings`].
pub fn schema() -> Value {
    crate::document::schema::<Settings>()
}

/// A webhook that holds its addresses and its certificate, and answers nobody yet.
pub struct Server {
    state: Arc<State>,
    keeper: Keeper,
    acceptor: Arc<Acceptor>,
    reviews: TcpListener,
    health: TcpListener,
}

struct State {
    settings: Settings,
    bindings: Bindings,
    metrics: Arc<Metrics>,
}

/// Why the webhook did not start.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The API server cannot be used.
    #[error("the API server cannot be used")]
    Api(#[from] ApiError),
    /// The certificate cannot be used.
    #[error("the webhook's certificate cannot be used")]
    Certificate(#[from] CertificateError),
    /// The files of the certificate cannot be used.
    #[error("TLS cannot be used")]
    Tls(#[from] TlsError),
    /// The metrics contradict each other, which is a bug.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

impl Server {
    /// Has a certificate made where one is due, and binds both addresses.
    ///
    /// # Errors
    /// [`WebhookError`]; nothing is left running.
    pub async fn bind(settings: Settings) -> Result<Self, WebhookError> {
        let metrics = Arc::new(Metrics::new()?);
        let keeper = Keeper::new(&settings.certificate, ApiServer::new(&settings.api_server)?, Arc::clone(&metrics));
        keeper.tend().await?;
        let acceptor = Arc::new(Acceptor::new(&settings.certificate.files(), Trust::Production)?);
        let (reviews, health) = (listen(settings.address).await?, listen(settings.metrics_address).await?);
        let bindings = Bindings::new(ApiServer::new(&settings.api_server)?);
        Ok(Self { state: Arc::new(State { settings, bindings, metrics }), keeper, acceptor, reviews, health })
    }

    /// Where it listens: for reviews, then for health.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addresses(&self) -> io::Result<[SocketAddr; 2]> {
        Ok([self.reviews.local_addr()?, self.health.local_addr()?])
    }

    /// Answers until `stop` is done; reviews that are under way are finished.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { state, keeper, acceptor, reviews, health } = self;
        let (trigger, drain) = drain::channel();
        let mut tasks = JoinSet::new();
        state.metrics.start_time.set(time::OffsetDateTime::now_utc().unix_timestamp() as f64);
        let asked = Arc::clone(&state);
        let review = move |request| {
            let state = Arc::clone(&asked);
            async move { state.review(&request).await }
        };
        tasks.spawn(http_server::serve(reviews, Some(acceptor), drain.clone(), Stage::Draining, review));
        let tell = move |request: Request<Bytes>| std::future::ready(state.health(&request));
        tasks.spawn(http_server::serve(health, None, drain.clone(), Stage::Ending, tell));
        tasks.spawn(keep(keeper, drain));
        stop.await;
        trigger.advance(Stage::Draining);
        trigger.advance(Stage::Ending);
        while tasks.join_next().await.is_some() {}
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, WebhookError> {
    TcpListener::bind(address).await.map_err(|source| WebhookError::Bind { address, source })
}

/// Tends the certificate until the drain begins. A failure is tried again; the certificate in use lasts for a third of its life.
async fn keep(keeper: Keeper, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.reached(Stage::Draining) => return,
            () = tokio::time::sleep(keeper.interval()) => {}
        }
        if let Err(error) = keeper.tend().await {
            tracing::error!(error = &error as &dyn std::error::Error, "the webhook's certificate could not be tended");
        }
    }
}

/// Which of the two is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Webhook {
    Mutate,
    Validate,
}

impl State {
    fn health(&self, request: &Request<Bytes>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/livez" | "/readyz") => text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/metrics") => match self.metrics.render() {
                Ok(page) => answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    async fn review(&self, request: &Request<Bytes>) -> Answer {
        let webhook = match (request.method(), request.uri().path()) {
            (&Method::POST, "/mutate") => Webhook::Mutate,
            (&Method::POST, "/validate") => Webhook::Validate,
            _ => return text(StatusCode::NOT_FOUND, "not found\n"),
        };
        let began = Instant::now();
        let asked = match review::Request::parse(request.body()) {
            Ok(asked) => asked,
            Err(message) => return text(StatusCode::BAD_REQUEST, format!("{message}\n")),
        };
        let answered = match self.judge(webhook, &asked).await {
            Ok(verdict) => {
                self.metrics.webhook.injections_total.with_label_values(&[verdict.outcome, verdict.reason]).inc();
                json(StatusCode::OK, &verdict.response.write(&asked.uid))
            }
            Err(error) => {
                // No answer is an answer: the API server's failurePolicy says what becomes of the pod.
                self.metrics.webhook.injections_total.with_label_values(&["failed", "api_server"]).inc();
                tracing::error!(namespace = asked.namespace, error = &error as &dyn std::error::Error, "bindings cannot be read");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the WarehouseBindings cannot be read\n")
            }
        };
        let name = match webhook {
            Webhook::Mutate => "mutate",
            Webhook::Validate => "validate",
        };
        self.metrics.webhook.review_duration.with_label_values(&[name]).observe(began.elapsed().as_secs_f64());
        answered
    }

    /// Judges by the bindings that are known, and asks again before a pod is left without one: it may have been made just before.
    async fn judge(&self, webhook: Webhook, asked: &review::Request) -> Result<Verdict, ApiError> {
        // A pod from before the namespace opted in may be debugged all the same.
        if !asked.sub_resource.is_empty()
            && patch::each(&asked.object, "initContainers")
                .chain(patch::each(&asked.object, "containers"))
                .all(|container| !patch::is_ours(container))
        {
            return Ok(Verdict::passed("skipped", "not_injected"));
        }
        let (known, is_new) = self.bindings.of(&asked.namespace).await?;
        let verdict = self.verdict(webhook, asked, &known);
        if is_new || !UNBOUND.contains(&verdict.reason) {
            return Ok(verdict);
        }
        let known = self.bindings.renewed(&asked.namespace).await?;
        Ok(self.verdict(webhook, asked, &known))
    }

    fn verdict(&self, webhook: Webhook, asked: &review::Request, known: &Known) -> Verdict {
        let (pod, sidecar) = (&asked.object, &self.settings.sidecar);
        let skipped = match webhook {
            Webhook::Mutate => match inject(pod, &known.bindings, sidecar) {
                Injection::Injected { binding, patch, .. } => return Verdict::injected(binding, patch),
                Injection::Skipped(skip) => skip,
                Injection::Refused(refusal) => return Verdict::refused(&[refusal]),
            },
            Webhook::Validate => match validate(pod, &known.bindings, sidecar) {
                Ok(None) => return Verdict::passed("validated", "as_made"),
                Ok(Some(skip)) => skip,
                Err(refusals) => return Verdict::refused(&refusals),
            },
        };
        if skipped == Skip::NoBinding && !known.broken.is_empty() {
            let message = format!("no usable WarehouseBinding is for this pod, and some cannot be read: {}", known.broken.join("; "));
            return Verdict::refused(&[Refusal::new("invalid_binding", message)]);
        }
        Verdict::skipped(skipped, self.settings.course(skipped), &asked.namespace)
    }
}

/// Reasons that a binding may take away which was made just now.
const UNBOUND: &[&str] = &["no_binding", "unknown_binding", "invalid_binding"];

/// What is answered, and how it is counted.
struct Verdict {
    outcome: &'static str,
    reason: &'static str,
    response: Response,
}

impl Verdict {
    fn passed(outcome: &'static str, reason: &'static str) -> Self {
        Self::of(outcome, reason, Response::default())
    }

    fn injected(binding: String, patch: json_patch::Patch) -> Self {
        let reason = if patch.0.is_empty() { "already" } else { "bound" };
        let mut verdict = Self::of("injected", reason, Response { patch: Some(patch), ..Response::default() });
        verdict.response.audit_annotations.insert("binding", binding);
        verdict
    }

    fn refused(refusals: &[Refusal]) -> Self {
        let messages: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
        let reason = refusals.first().map_or("unknown", |refusal| refusal.reason);
        Self::of("refused", reason, Response { refused: Some(messages.join("; ")), ..Response::default() })
    }

    fn skipped(skip: Skip, course: Course, namespace: &str) -> Self {
        let why = match skip {
            Skip::OptedOut => format!("it declines the sidecar ({} is \"false\")", patch::INJECT),
            Skip::NoBinding => format!("no WarehouseBinding of namespace {namespace} is for its service account"),
        };
        match course {
            Course::Refuse => Self::of("refused", skip.reason(), Response { refused: Some(why), ..Response::default() }),
            Course::Warn => {
                let warnings = vec![format!("tollhouse: the pod runs without the sidecar: {why}")];
                Self::of("skipped", skip.reason(), Response { warnings, ..Response::default() })
            }
        }
    }

    fn of(outcome: &'static str, reason: &'static str, mut response: Response) -> Self {
        response.audit_annotations.insert("outcome", format!("{outcome}: {reason}"));
        Self { outcome, reason, response }
    }
}
