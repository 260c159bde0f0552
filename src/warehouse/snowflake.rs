//! Snowflake: the session API that its drivers speak, and the SQL API (`/api/v2/statements`).
//!
//! Source: snowflake-connector-python 4.8 and gosnowflake 1.19 for the session API; Snowflake documentation, "Snowflake SQL API".
//! A client logs in once and shows the session's token from then on. It gets a placeholder in the token's place, and another for
//! the master token that renews it; both stay the same for as long as the session lasts.

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::json;

use super::http::{
    Access, Asked, Call, Handle, Head, HttpWarehouse, Outgoing, Purpose, Reader, Refusal, SessionState, Sessions, Told, Unread, Unusable,
    Whole,
};
use super::{Kind, Protocol};
use crate::credential::{Authenticator, Login, LoginKind};
use crate::fault::Reason;
use crate::secret::Secret;
use crate::sql::Dialect;
use crate::sql::dialect::SNOWFLAKE as SQL;

mod login;
mod parameters;
mod placeholder;
mod reply;
mod statement;

use self::placeholder::{Placeholder, Token};
use self::reply::Held;

/// Snowflake.
pub const SNOWFLAKE: Kind =
    Kind { name: "snowflake", dialect: Dialect::Other(&SQL), protocol: Protocol::Http(&Snowflake), default_port: 443, logins: LOGINS };

const LOGINS: &[LoginKind] = &[LoginKind::Snowflake, LoginKind::Password];

/// What is particular about Snowflake.
#[derive(Debug)]
pub struct Snowflake;

const LOGIN: &str = "/session/v1/login-request";
const RENEW: &str = "/session/token-request";
const HEARTBEAT: &str = "/session/heartbeat";
const SESSION: &str = "/session";
const QUERY: &str = "/queries/v1/query-request";
const ABORT: &str = "/queries/v1/abort-request";
const TELEMETRY: &str = "/telemetry/send";
const STATEMENTS: &str = "/api/v2/statements";

const SESSION_OPTIONS: &[&str] = &["delete", "requestId", "request_id", "request_guid"];

/// What a request is, by its method and path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Endpoint {
    Login,
    Renew,
    Heartbeat,
    Session,
    Query,
    /// Ends the execution that the body names.
    Abort,
    /// Ends the execution of that name.
    AbortQuery(String),
    /// The result of an execution, or word that it still runs.
    QueryResult(String),
    /// The state of an execution.
    QueryStatus(String),
    Telemetry,
    /// Runs a statement by the SQL API.
    Submit,
    /// The result of a statement of the SQL API, or a part of it.
    SubmitResult(String),
    /// Ends a statement of the SQL API.
    SubmitCancel(String),
}

impl Endpoint {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let is_post = method == Method::POST;
        let id = |id: &str| is_plain(id).then(|| id.to_owned());
        match path {
            LOGIN if is_post => return Some(Self::Login),
            RENEW if is_post => return Some(Self::Renew),
            HEARTBEAT if is_post => return Some(Self::Heartbeat),
            SESSION if is_post => return Some(Self::Session),
            QUERY if is_post => return Some(Self::Query),
            ABORT if is_post => return Some(Self::Abort),
            TELEMETRY if is_post => return Some(Self::Telemetry),
            STATEMENTS | "/api/v2/statements/" if is_post => return Some(Self::Submit),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/queries/") {
            let (name, what) = rest.split_once('/')?;
            return match what {
                "result" if method == Method::GET => Some(Self::QueryResult(id(name)?)),
                "abort-request" if is_post => Some(Self::AbortQuery(id(name)?)),
                _ => None,
            };
        }
        if let Some(name) = path.strip_prefix("/monitoring/queries/") {
            return if method == Method::GET { Some(Self::QueryStatus(id(name)?)) } else { None };
        }
        let rest = path.strip_prefix(STATEMENTS)?.strip_prefix('/')?;
        match rest.split_once('/') {
            None if method == Method::GET => Some(Self::SubmitResult(id(rest)?)),
            Some((name, "cancel")) if is_post => Some(Self::SubmitCancel(id(name)?)),
            Some(_) | None => None,
        }
    }
}

impl HttpWarehouse for Snowflake {
    fn purpose(&self, head: &Head<'_>) -> Purpose {
        if Endpoint::of(head.method, head.path).is_some() { Purpose::Whole } else { Purpose::Other }
    }

    fn ask<'a>(&self, request: &'a Whole<'_>, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
        let Some(endpoint) = Endpoint::of(request.head.method, request.head.path) else {
            return Ok(Asked { session: None, call: Call::Other, reader: Box::new(Unread) });
        };
        must_be_utf8(request.head.headers)?;
        let (session, state) = session_of(request.head.headers, sessions);
        let of_session = |call: Call<'a>, reader: Box<dyn Reader>| Ok(Asked { session: Some(session.clone()), call, reader });
        let of_none = |call: Call<'a>, reader: Box<dyn Reader>| Ok(Asked { session: None, call, reader });
        let follow = |id: String, ends: bool| Call::Follow(Handle { id, ends });
        match endpoint {
            Endpoint::Login => of_none(login::login(request)?, Box::new(Held::new(reply::Holds::Login))),
            Endpoint::Renew => {
                let id = login::renewed(request)?;
                let reader = Box::new(Held::new(reply::Holds::Renewal { id: id.clone() }));
                Ok(Asked { session: Some(id), call: Call::Service, reader })
            }
            Endpoint::Heartbeat => of_session(Call::Service, Box::new(Held::new(reply::Holds::Answer))),
            Endpoint::Session => {
                let options = parameters::query(&request.head, SESSION_OPTIONS)?;
                let is_end = options.get("delete").is_some_and(|value| value == "true");
                let call = if is_end { Call::Service } else { Call::Other };
                of_session(call, Box::new(Held::new(reply::Holds::Farewell)))
            }
            Endpoint::Query => of_session(statement::query(request, &state)?, Box::new(reply::Queried::begun(request.near, state))),
            Endpoint::QueryResult(id) => of_session(follow(id, false), Box::new(reply::Queried::followed(request.near, state))),
            Endpoint::QueryStatus(id) => of_session(follow(id, false), Box::new(Held::new(reply::Holds::Status))),
            Endpoint::Abort => {
                let id = statement::aborted(request.body)?;
                of_session(follow(id, true), Box::new(Held::new(reply::Holds::Answer)))
            }
            Endpoint::AbortQuery(id) => of_session(follow(id, true), Box::new(Held::new(reply::Holds::Answer))),
            Endpoint::Telemetry => of_none(Call::Answer(telemetry_reply()), Box::new(Unread)),
            Endpoint::Submit => of_none(statement::submit(request)?, reply::submitted(request.near)),
            Endpoint::SubmitResult(id) => {
                let options = parameters::query(&request.head, statement::RESULT_OPTIONS)?;
                // All parts but the first come compressed, whatever was asked for (documentation, "Handling responses").
                let is_first = options.get("partition").is_none_or(|number| number == "0");
                of_none(follow(id, false), if is_first { reply::submitted(request.near) } else { Box::new(Unread) })
            }
            Endpoint::SubmitCancel(id) => of_none(follow(id, true), Box::new(Unread)),
        }
    }

    fn authorize(&self, request: &mut Outgoing, access: &Access<'_>) -> Result<(), Unusable> {
        let theirs: Vec<HeaderName> = request.headers.keys().filter(|name| name.as_str().starts_with("x-snowflake-")).cloned().collect();
        for name in theirs.iter().chain(&[AUTHORIZATION]) {
            request.headers.remove(name);
        }
        let path = request.target.split('?').next().unwrap_or_default();
        let endpoint = Endpoint::of(&request.method, path);
        match (endpoint, access.secrets) {
            (Some(Endpoint::Login), _) => {
                let body = request.body.take().unwrap_or_default();
                request.body = Some(login::rewritten(&body, access)?);
                Ok(())
            }
            (Some(Endpoint::Renew), [session, master]) => {
                request.body = Some(login::renewal(session));
                with_token(&mut request.headers, master.expose())
            }
            (Some(Endpoint::AbortQuery(id)), []) => {
                // What belongs to no session was begun by the SQL API.
                request.target = format!("{STATEMENTS}/{id}/cancel");
                with_login(&mut request.headers, access.login)
            }
            (Some(Endpoint::Submit | Endpoint::SubmitResult(_) | Endpoint::SubmitCancel(_)) | None, _) => {
                with_login(&mut request.headers, access.login)
            }
            (Some(_), [session, ..]) => with_token(&mut request.headers, session.expose()),
            (Some(_), []) => Err(Unusable { given: "request outside of a session", takes: "one in a session" }),
        }
    }

    /// Its drivers show a client's own login in the body of one request, and no other request has it.
    fn shown(&self, _: &HeaderMap) -> Option<Secret<String>> {
        None
    }

    fn tells_moves(&self) -> bool {
        true
    }

    fn takes_clients_tokens(&self) -> bool {
        false
    }

    fn cancel(&self, id: &str) -> Option<Outgoing> {
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json.clone()), (ACCEPT, json)]);
        let target = format!("/queries/{id}/abort-request");
        Some(Outgoing { method: Method::POST, target, headers, body: Some(Bytes::from_static(b"{}")) })
    }

    /// Drivers try again without limit after most other statuses than 200.
    fn refusal(&self, told: &Told<'_>) -> Refusal {
        let code = if matches!(told.reason, Reason::SessionUnknown | Reason::SessionAge) {
            SESSION_GONE
        } else if told.is_denial {
            ACCESS_DENIED
        } else {
            INTERNAL
        };
        if told.head.path.starts_with("/api/") {
            return Refusal::json(422, &json!({ "code": code, "message": told.message, "sqlState": told.sqlstate, "statementHandle": "" }));
        }
        let data = json!({ "errorCode": code, "sqlState": told.sqlstate });
        Refusal::json(200, &json!({ "data": data, "code": code, "message": told.message, "success": false, "headers": null }))
    }
}

/// "SQL access control error: insufficient privileges".
const ACCESS_DENIED: &str = "003001";
/// "Session no longer exists": gosnowflake logs in again.
const SESSION_GONE: &str = "390111";
/// "Processing aborted": what may pass.
const INTERNAL: &str = "000603";

const TOKEN_TYPE: HeaderName = HeaderName::from_static("x-snowflake-authorization-token-type");

/// What the drivers are answered where they tell of themselves; it goes no further.
fn telemetry_reply() -> Refusal {
    Refusal::json(200, &json!({ "data": "Log Received", "code": null, "message": null, "success": true }))
}

/// Puts in the token of a session.
fn with_token(headers: &mut HeaderMap, token: &str) -> Result<(), Unusable> {
    let value = super::http::sensitive(&format!("Snowflake Token=\"{token}\""), "a plain token")?;
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// Puts in the login itself, as the SQL API takes it (documentation, "Authenticating to the server").
fn with_login(headers: &mut HeaderMap, login: &Login) -> Result<(), Unusable> {
    let takes = "an OAuth token, a key pair's JWT or a programmatic access token";
    let (kind, token) = match login {
        Login::Snowflake { authenticator: Authenticator::Oauth, token } => ("OAUTH", token),
        Login::Snowflake { authenticator: Authenticator::SnowflakeJwt, token } => ("KEYPAIR_JWT", token),
        Login::Snowflake { authenticator: Authenticator::WorkloadIdentity, .. } => {
            return Err(Unusable { given: "workload identity at the SQL API", takes });
        }
        Login::Password(token) => ("PROGRAMMATIC_ACCESS_TOKEN", token),
        Login::Token(_) | Login::ClientCertificate { .. } | Login::AwsCredentials(_) => return Err(unusable(login)),
    };
    headers.insert(AUTHORIZATION, super::http::sensitive(&format!("Bearer {}", token.expose()), takes)?);
    headers.insert(TOKEN_TYPE, HeaderValue::from_static(kind));
    Ok(())
}

fn unusable(login: &Login) -> Unusable {
    let given = match login {
        Login::Token(_) => "bearer token",
        Login::ClientCertificate { .. } => "client certificate",
        Login::AwsCredentials(_) => "set of AWS keys",
        Login::Password(_) | Login::Snowflake { .. } => "login of another use",
    };
    Unusable { given, takes: "a login to Snowflake or a password" }
}

/// The session that a request shows the placeholder of, and what is known of it; of one that is not known, what stops it anyway.
fn session_of(headers: &HeaderMap, sessions: &dyn Sessions) -> (String, SessionState) {
    let id = match Placeholder::shown(headers) {
        Some(Placeholder { id, token: Token::Session }) => id,
        Some(Placeholder { token: Token::Master, .. }) | None => String::new(),
    };
    let state = sessions.find(&id).unwrap_or_default();
    (id, state)
}

/// Fails where the server could read the body in another way than as UTF-8.
fn must_be_utf8(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (kind, None) = (kinds.next(), kinds.next()) else { return Err("Content-Type stands twice") };
    let kind = kind.map(HeaderValue::to_str).transpose().map_err(|_| "Content-Type is not ASCII")?.unwrap_or_default();
    let kind = kind.to_ascii_lowercase().replace(['"', ' '], "");
    match kind.split_once("charset") {
        Some((_, rest)) if rest != "=utf-8" => Err("the body of a request must be UTF-8"),
        Some(_) | None => Ok(()),
    }
}

/// Whether a name can be one of an execution: what Snowflake and its clients choose are UUIDs.
fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What the client calls itself: the first word of `User-Agent`.
fn application_name(headers: &HeaderMap) -> Option<String> {
    headers.get(USER_AGENT)?.to_str().ok()?.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests;
