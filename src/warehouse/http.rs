//! The warehouses that are spoken to over HTTP: what their requests and replies mean.
//!
//! A warehouse is a file with an [`HttpWarehouse`] and a row in [`super::KINDS`]. It answers questions about one request or one
//! reply at a time and keeps nothing: what was begun, by whom, and what came of it, the listener remembers.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use crate::credential::Login;
use crate::sql::Effect;

/// What is particular about one HTTP warehouse.
pub trait HttpWarehouse: fmt::Debug + Send + Sync {
    /// What a request is for, by its method and path alone. The path has no query string.
    fn purpose(&self, method: &Method, path: &str) -> Purpose;

    /// The statement of a request of [`Purpose::Run`], with what its head says about the session.
    ///
    /// # Errors
    /// What is wrong, in our own words: the request is refused.
    fn statement<'a>(&self, request: &'a Whole<'_>) -> Result<Statement<'a>, &'static str>;

    /// Takes out of a request's head what the client says of its login or must not ask for, and puts in the login and the role.
    ///
    /// # Errors
    /// [`Unusable`]: this warehouse has no use for that kind of login.
    fn authorize(&self, headers: &mut HeaderMap, login: &Login, role: &str) -> Result<(), Unusable>;

    /// What to look for in a JSON reply, as it passes.
    fn fields(&self) -> &'static [Field];

    /// What a reply says about the execution.
    fn progress(&self, reply: &Reply<'_>) -> Progress;

    /// How the warehouse itself would say that a statement failed, so that its clients show the message.
    fn refusal(&self, told: &Told<'_>) -> Refusal;
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// It runs a statement, which its body carries.
    Run,
    /// It goes on with an execution that was begun: asks for its state, reads its result, or cancels it.
    Follow(Handle),
    /// Nothing that this warehouse's door knows: only policy's HTTP rules can allow it.
    Other,
}

/// An execution, as the warehouse names it in addresses and replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// The name.
    pub id: String,
    /// Whether the request asks to end it.
    pub ends: bool,
}

/// A request whose body is whole, and as plain as the client wrote it.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

/// What a request asks to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The text.
    pub sql: Cow<'a, [u8]>,
    /// Texts that the request carries under names, for `EXECUTE name`.
    pub prepared: Vec<(String, String)>,
    /// The database (catalog, project) that names without one are in; empty where the client says none.
    pub database: String,
    /// The schema that names without one are in.
    pub schema: Option<String>,
    /// What the head of the request does besides: a role taken, a parameter set.
    pub effects: Vec<Effect>,
    /// What the client calls itself.
    pub application_name: Option<String>,
    /// The user that the client names; it decides nothing.
    pub client_user: String,
}

/// A value to look for in a JSON reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The keys that lead to it, from the outside in. At most [`FIELD_DEPTH_MAX`].
    pub path: &'static [&'static str],
    /// What is done about it.
    pub treatment: Treatment,
}

/// Most keys in the path of a [`Field`].
pub const FIELD_DEPTH_MAX: usize = 4;

/// What is done about a value in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is read.
    Read,
    /// It is read and counted: the elements of an array.
    Count,
    /// It is an address of the warehouse, and is made to lead back to the sidecar.
    Address,
}

/// What was found in a reply.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Whether its body was one whole JSON value.
    pub is_whole: bool,
    /// One for each of [`HttpWarehouse::fields`].
    pub found: &'a [Found],
}

/// What was found of a [`Field`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Found {
    /// Nothing.
    #[default]
    Absent,
    /// A string, or another scalar as JSON writes it; at most [`FOUND_BYTES_MAX`] bytes.
    Value(String),
    /// So many elements.
    Elements(u64),
    /// An object, or something longer than the bound.
    Other,
}

/// Longest value, in bytes, that is read or rewritten in a reply.
pub const FOUND_BYTES_MAX: usize = 16 * 1024;

impl Found {
    /// The value, where there is one.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Elements(_) | Self::Other => None,
        }
    }

    /// The number of elements, where it is a list.
    pub fn elements(&self) -> Option<u64> {
        match self {
            Self::Elements(count) => Some(*count),
            Self::Absent | Self::Value(_) | Self::Other => None,
        }
    }
}

/// What a reply says about an execution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The warehouse's name for it.
    pub id: Option<String>,
    /// Rows that came with this reply.
    pub rows: u64,
    /// Rows that it changed, where the reply says so.
    pub changed: Option<u64>,
    /// How it ended, if it did.
    pub end: Option<End>,
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
    /// One line: what is refused, why, and the record's id.
    pub message: &'a str,
    /// The SQLSTATE of the reason.
    pub sqlstate: &'a str,
    /// The HTTP status of the reason.
    pub status: u16,
    /// Whether it is policy that says no, or something that may pass.
    pub is_denial: bool,
}

/// A refusal in the warehouse's own shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// The value of an `Authorization` header with a user's name and password (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
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
