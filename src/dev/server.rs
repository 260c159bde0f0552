//! What the stand-ins answer at a fixed set of addresses.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dev::authority::{Authority, SigningError};
use crate::dev::cluster::Cluster;
use crate::dev::token_endpoint::{Refusal, TokenEndpoint};
use crate::document::Span;
use crate::fault::Reason;
use crate::http_server::{Answer, json as json_answer, text};
use crate::secret::Secret;

/// What the server answers from.
#[derive(Debug)]
pub struct Site {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The token endpoint.
    pub token_endpoint: TokenEndpoint,
    /// The authority of client certificates.
    pub authority: Authority,
    /// The subjects that get certificates.
    pub subjects: Vec<String>,
    /// The one name that they get them for.
    pub role: String,
}

/// Answers one request.
pub async fn answer(site: Arc<Site>, request: Request<Bytes>) -> Answer {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/kubernetes/.well-known/openid-configuration") => public(&site.cluster.discovery()),
        (&Method::GET, "/kubernetes/openid/v1/jwks") if !takes_key_sets(&head.headers) => {
            text(StatusCode::NOT_ACCEPTABLE, "406: Not Acceptable\n")
        }
        (&Method::GET, "/kubernetes/openid/v1/jwks") => public(&site.cluster.issuer().key_set()),
        (&Method::POST, "/kubernetes/rotate") => rotate(&site),
        (&Method::GET, "/oauth/.well-known/openid-configuration") => public(&site.token_endpoint.discovery()),
        (&Method::GET, "/oauth/jwks") => public(&site.token_endpoint.key_set()),
        (&Method::GET, "/oauth/authorize") => private(StatusCode::BAD_REQUEST, &json!({ "error": "unsupported_response_type" })),
        (&Method::POST, "/oauth/token") => token(&site, &body).await,
        (&Method::POST, "/1.0/sign") => sign(&site, &body).await,
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// A kube-apiserver (1.37) gives its keys as `application/jwk-set+json`, to those alone who take it.
fn takes_key_sets(headers: &HeaderMap) -> bool {
    let taken = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    taken.is_none_or(|taken| taken.contains("application/jwk-set+json") || taken.contains("*/*"))
}

fn rotate(site: &Site) -> Answer {
    match site.cluster.issuer().rotate().and_then(|()| site.cluster.project_token()) {
        Ok(()) => text(StatusCode::OK, "rotated\n"),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "signing key not rotated");
            text(StatusCode::INTERNAL_SERVER_ERROR, "not rotated\n")
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
        Ok(subject) if site.subjects.contains(&subject) => {}
        Ok(_) => return problem(StatusCode::FORBIDDEN, "the subject gets no certificates"),
        Err(error) if error.reason == Reason::IssuerUnreachable => {
            return problem(StatusCode::INTERNAL_SERVER_ERROR, "the token could not be verified");
        }
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
    let mut answer = json_answer(status, document);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    answer
}
