//! Health, metrics and introspection over HTTP.
//!
//! Two addresses: health and metrics are for the kubelet and Prometheus and may be on the pod's address; what shows
//! configuration or stops the program answers on loopback only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use crate::drain::{Drain, Stage};
use crate::gate::Gate;
use crate::http_server::{Answer, answer, json as json_answer, text};
use crate::metrics::Metrics;

/// Where the program answers about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `/startupz`, `/readyz`, `/livez` and `/metrics`.
    pub address: SocketAddr,
    /// `/config`, `/policies` and `/quitquitquit`, beside the four above. Must be a loopback address.
    pub loopback_address: SocketAddr,
}

impl Default for Settings {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 15020)), loopback_address: SocketAddr::from(([127, 0, 0, 1], 15021)) }
    }
}

/// What the endpoints tell.
pub struct State {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Policies and the log.
    pub gate: Arc<Gate>,
    /// The configuration in force, as JSON, with nothing secret in it.
    pub config: String,
    /// The shutdown.
    pub drain: Drain,
    /// Set once listeners, policy and log are there.
    pub started: AtomicBool,
    /// Signalled by `/quitquitquit`.
    pub quit: Notify,
}

/// Which of the two addresses a request came in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reaches the pod.
    Pod,
    /// Whoever is in the pod.
    Loopback,
}

impl State {
    /// Why the program is not ready; empty if it is. The warehouse and the token issuer do not count: a sidecar that
    /// cannot reach them says so to each client, and restarting it would not help.
    fn unready(&self) -> Vec<&'static str> {
        let started = self.started.load(Ordering::Acquire);
        [
            (!started).then_some("starting"),
            (self.drain.stage() != Stage::Running).then_some("draining"),
            (!self.gate.audit().writable()).then_some("the audit log is not writable"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Answers one request.
pub fn handle(state: &State, audience: Audience, request: &Request<Bytes>) -> Answer {
    match (request.method(), request.uri().path(), audience) {
        (&Method::GET, "/livez", _) => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/startupz", _) => {
            if state.started.load(Ordering::Acquire) {
                text(StatusCode::OK, "ok\n")
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, "starting\n")
            }
        }
        (&Method::GET, "/readyz", _) => match state.unready().as_slice() {
            [] => text(StatusCode::OK, "ok\n"),
            reasons => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n"))),
        },
        (&Method::GET, "/metrics", _) => match state.metrics.render() {
            Ok(page) => answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        (&Method::GET, "/config", Audience::Loopback) => answer(StatusCode::OK, "application/json", state.config.clone()),
        (&Method::GET, "/policies", Audience::Loopback) => policies(state),
        (&Method::POST, "/quitquitquit", Audience::Loopback) => {
            state.quit.notify_one();
            text(StatusCode::OK, "draining\n")
        }
        (_, "/livez" | "/startupz" | "/readyz" | "/metrics", _) | (_, "/config" | "/policies" | "/quitquitquit", Audience::Loopback) => {
            text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn policies(state: &State) -> Answer {
    let set = state.gate.policies();
    let policies: Vec<_> = set
        .summaries()
        .into_iter()
        .map(|summary| {
            json!({
                "policy": summary.policy.as_ref(),
                "mode": summary.mode.as_str(),
                "allowRules": summary.allow_rules,
                "denyRules": summary.deny_rules,
            })
        })
        .collect();
    json_answer(StatusCode::OK, &json!({ "revision": set.revision().as_ref(), "policies": policies }))
}
