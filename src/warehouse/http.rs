//! The warehouses that are spoken to over HTTP: what their requests and replies mean.
//!
//! A warehouse is a file with an [`HttpWarehouse`] and a row in [`super::KINDS`]. It answers questions about one request or one
//! reply at a time and keeps nothing: what was begun, by whom, and what came of it, the listener remembers.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};

use crate::credential::Login;
use crate::fault::Reason;
use crate::secret::Secret;
use crate::sql::Effect;

pub mod json;

/// What is particular about one HTTP warehouse.
pub trait HttpWarehouse: fmt::Debug + Send + Sync {
    /// What is to be done with a request, by its head alone.
    fn purpose(&self, head: &Head<'_>) -> Purpose;

    /// What a request asks for. Its body is there where the purpose is [`Purpose::Whole`], and empty otherwise.
    ///
    /// # Errors
    /// What is wrong, in our own words: the request is refused.
    fn ask<'a>(&self, request: &'a Whole<'_>, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str>;

    /// Takes out of a request what the client says of its login or must not ask for, and puts in the login and the role.
    ///
    /// # Errors
    /// [`Unusable`]: this warehouse has no use for that kind of login.
    fn authorize(&self, request: &mut Outgoing, access: &Access<'_>) -> Result<(), Unusable>;

    /// The token that a client shows of itself, for listeners that let in whoever shows one: as a bearer token (RFC 6750), or as
    /// the password (RFC 7617) where its library has no other place.
    fn shown(&self, headers: &HeaderMap) -> Option<Secret<String>> {
        bearer_or_password(headers)
    }

    /// Whether a reply's head says that the warehouse did not take the login, and has run nothing.
    fn refuses_login(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
    }

    /// Whether the reply to each statement in a session says where names lead in it then ([`News::Changed`]). A statement whose text
    /// may change that runs alone, as one of [`Call::Move`] does.
    fn tells_moves(&self) -> bool {
        false
    }

    /// Whether a client's token can be seen with each request, as [`HttpWarehouse::shown`] needs it.
    fn takes_clients_tokens(&self) -> bool {
        true
    }

    /// The request that ends the execution of that name, where there is one. It is sent for what still runs when the program ends.
    fn cancel(&self, id: &str) -> Option<Outgoing>;

    /// How the warehouse itself would say that a request failed, so that its clients show the message and do not try again.
    fn refusal(&self, told: &Told<'_>) -> Refusal;
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, as it came: nothing is decoded.
    pub path: &'a str,
    /// What stands behind `?`, as it came.
    pub query: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its body has to be seen: it is taken whole, up to `limits.statement_size`, and uncompressed.
    Whole,
    /// Its head says it all: the body is passed on as it comes.
    Streamed,
    /// Nothing that this warehouse's door knows: only policy's HTTP rules can allow it.
    Other,
}

/// A request of which all is there that has to be seen.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// Its head.
    pub head: Head<'a>,
    /// Its body, as plain as the client wrote it.
    pub body: &'a [u8],
    /// Where the client reached us, a scheme and an authority, for addresses that are to lead back here.
    pub near: &'a str,
}

/// What a request asks for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The session that it is part of, by the name that it was opened under; the door refuses one that is not the principal's.
    pub session: Option<String>,
    /// What it asks.
    pub call: Call<'a>,
    /// Reads the reply.
    pub reader: Box<dyn Reader>,
}

/// What is asked.
#[derive(Debug)]
pub enum Call<'a> {
    /// To run a statement, or to do what a statement could do.
    Run(Box<Statement<'a>>),
    /// To run a statement after which names lead elsewhere in the session: it runs alone there.
    Move {
        /// The statement.
        statement: Box<Statement<'a>>,
        /// Where names lead once it has been carried out.
        to: SessionState,
    },
    /// To go on with an execution that was begun: tell its state, read its result, or end it.
    Follow(Handle),
    /// To keep, renew or end a session, or for something that no policy is about. It is passed on, without a record of its own.
    Service,
    /// Something that is answered here, and goes nowhere.
    Answer(Refusal),
    /// Nothing that this warehouse's door knows: only policy's HTTP rules can allow it.
    Other,
}

/// An execution, as the warehouse or its client names it in addresses and bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// The name.
    pub id: String,
    /// Whether the request asks to end it.
    pub ends: bool,
}

/// What a request asks to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What is run.
    pub text: Text<'a>,
    /// Texts that the request carries under names, for `EXECUTE name`.
    pub prepared: Vec<(String, String)>,
    /// The database (catalog, project) that names without one are in; empty where nobody has said one.
    pub database: String,
    /// The schema that names without one are in.
    pub schema: Option<String>,
    /// What the request does besides its text: a role taken, a parameter set, a table deleted.
    pub effects: Vec<Effect>,
    /// What the client calls itself.
    pub application_name: Option<String>,
    /// The user that the client names; it decides nothing.
    pub client_user: String,
    /// Names that the client has chosen for the execution, under which it may ask for it before the reply is there.
    pub names: Vec<String>,
    /// dbt's invocation, where the request says it beside the text.
    pub invocation: Option<String>,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text<'a> {
    /// SQL, which is analyzed.
    Sql(Cow<'a, [u8]>),
    /// A request without SQL, in the words that its record will have; its effects are the statement's.
    Call(String),
}

impl Text<'_> {
    /// The text for records.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sql(sql) => sql,
            Self::Call(description) => description.as_bytes(),
        }
    }
}

/// The sessions of the principal who asks.
pub trait Sessions {
    /// What is known of the session of that name; `None` where there is none, or it is another's.
    fn find(&self, id: &str) -> Option<SessionState>;
}

/// Where names without a database or a schema are in a session, and whose rights it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionState {
    /// The database; empty where nobody has said one.
    pub database: String,
    /// The schema.
    pub schema: Option<String>,
    /// The role that was taken in it.
    pub role: Option<String>,
}

/// A request on its way to the warehouse.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: String,
    /// Its headers, without those of one hop.
    pub headers: HeaderMap,
    /// Its body; `None` where it is passed on as it comes.
    pub body: Option<Bytes>,
}

/// What a request is sent with.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// The login.
    pub login: &'a Login,
    /// Whom it is for there.
    pub role: &'a str,
    /// The warehouse's host, and its port where that is not the scheme's own: the value of `Host`.
    pub authority: &'a str,
    /// The secrets of the session that the request is part of, in the order in which [`News::Opened`] gave them.
    pub secrets: &'a [Secret<String>],
    /// Tells principals apart, and is the same for one at all times: for names that clients choose and must not share.
    pub owner: &'a str,
    /// The time, for signatures.
    pub now: SystemTime,
}

/// Reads the reply to a request as it passes, and changes what must not reach the client as it is.
pub trait Reader: fmt::Debug + Send + Sync {
    /// The reply's head, before anything of its body.
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap) -> Reading;

    /// A piece of the body. Gives what is passed on in its place: the very bytes where nothing has to be replaced.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        piece
    }

    /// The end of the body. Gives what was held back.
    fn finish(&mut self) -> Bytes {
        Bytes::new()
    }

    /// Whether the reply has said all that it will: a client may act on that before the body's end.
    fn is_whole(&self) -> bool {
        false
    }

    /// What the reply says. Asked once: when it is whole, at its end, or where it broke off.
    fn progress(&mut self) -> Progress;
}

/// Whether a reply's body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Each piece goes through [`Reader::pass`]. A reply that is compressed all the same is refused.
    Read,
    /// It is passed on as it comes.
    Pass,
}

/// Reads nothing: for requests whose reply says nothing that has to be known.
#[derive(Debug, Clone, Copy)]
pub struct Unread;

impl Reader for Unread {
    fn head(&mut self, _: StatusCode, _: &mut HeaderMap) -> Reading {
        Reading::Pass
    }

    fn progress(&mut self) -> Progress {
        Progress::default()
    }
}

/// What a reply says.
#[derive(Debug, Default)]
pub struct Progress {
    /// The warehouse's name for the execution.
    pub id: Option<String>,
    /// Further names under which it can be asked for, as of the statements that it was made of, or of a table that holds its result.
    pub names: Vec<String>,
    /// Rows that came with this reply.
    pub rows: u64,
    /// Whether there may be rows in it that were not counted.
    pub are_rows_uncounted: bool,
    /// Rows that it changed, where the reply says so.
    pub changed: Option<u64>,
    /// Whether it has been carried out, though its result may still be asked for.
    pub is_done: bool,
    /// How it ended, if it did. One that was carried out before was not cancelled.
    pub end: Option<End>,
    /// The request that ends it, where its name alone does not make one: see [`HttpWarehouse::cancel`].
    pub cancel: Option<Box<Outgoing>>,
    /// Where results lie that are fetched past the sidecar.
    pub out_of_band: Option<&'static str>,
    /// Whether the warehouse said that it has not done what it was asked to: neither ended an execution, nor begun one.
    pub declined: bool,
    /// What became of the session.
    pub news: Option<News>,
}

/// What a reply says of a session.
#[derive(Debug)]
pub enum News {
    /// It begins.
    Opened {
        /// The name that the client will use for it. Where it is all that a client shows of itself, it must not be guessable.
        id: String,
        /// Where it begins.
        state: SessionState,
        /// What the warehouse gave for it, which stays in the sidecar.
        secrets: Vec<Secret<String>>,
    },
    /// It goes on elsewhere.
    Changed(SessionState),
    /// The warehouse gave other secrets for it.
    Renewed(Vec<Secret<String>>),
    /// It is over.
    Closed,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Well.
    Completed,
    /// With the warehouse's error of this name, where it gives one.
    Failed(Option<String>),
    /// It was cancelled.
    Cancelled,
}

/// What a client is told instead of a result.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The request.
    pub head: Head<'a>,
    /// Its body, where that was taken.
    pub body: &'a [u8],
    /// One line: what is refused, why, and the record's id.
    pub message: &'a str,
    /// Why.
    pub reason: Reason,
    /// The SQLSTATE of the reason.
    pub sqlstate: &'a str,
    /// The HTTP status of the reason.
    pub status: u16,
    /// Whether the client is at fault or policy says no; otherwise it is something that may pass.
    pub is_denial: bool,
}

/// A reply of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Refusal {
    /// A reply in JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", headers: Vec::new(), body: Bytes::from(body.to_string()) }
    }
}

/// The token in an `Authorization` header that stands once: a bearer token, or the password of a name and password.
pub fn bearer_or_password(headers: &HeaderMap) -> Option<Secret<String>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Secret::new(String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?);
    Some(Secret::new(decoded.expose().split_once(':')?.1.to_owned()))
}

/// The value of an `Authorization` header with a user's name and password (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A header's value that no log shows.
///
/// # Errors
/// [`Unusable`]: no header can carry it.
pub(super) fn sensitive(text: &str, takes: &'static str) -> Result<HeaderValue, Unusable> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Unusable { given: "secret that no header can carry", takes })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A login that a warehouse has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this kind of warehouse cannot log in with a {given}; it takes {takes}")]
pub struct Unusable {
    /// What the credential chain gave.
    pub given: &'static str,
    /// What it should give.
    pub takes: &'static str,
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue};

    use super::bearer_or_password;

    #[test]
    fn a_token_is_read_as_bearer_or_as_the_password() {
        for (value, expected) in [
            ("Bearer abc.def", Some("abc.def")),
            ("bearer abc.def", Some("abc.def")),
            ("Basic dXNlcjphYmMuZGVm", Some("abc.def")),
            ("Basic dXNlcg==", None),
            ("Basic !", None),
            ("Digest abc", None),
            ("abc", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_str(value).unwrap());
            assert_eq!(bearer_or_password(&headers).map(|token| token.expose().clone()).as_deref(), expected, "{value}");
            headers.append("authorization", HeaderValue::from_static("Bearer other"));
            assert!(bearer_or_password(&headers).is_none(), "which of two counts is not for us to say");
        }
        assert!(bearer_or_password(&HeaderMap::new()).is_none());
    }
}
