//! What a client holds in the place of a session's tokens.

use aws_lc_rs::rand;
use hyper::header::{AUTHORIZATION, HeaderMap};

/// A name of a session that nobody can guess, as a client shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The session's name.
    pub(super) id: String,
    /// Which of its tokens this stands for.
    pub(super) token: Token,
}

/// A token of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// It is shown with each request.
    Session,
    /// It renews the session.
    Master,
}

const SESSION: &str = "tollhouse-session-";
const MASTER: &str = "tollhouse-master-";

impl Placeholder {
    /// A name for a session that begins; `None` where the system gives no randomness.
    pub(super) fn new_id() -> Option<String> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).ok()?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What the client gets.
    pub(super) fn text(id: &str, token: Token) -> String {
        let start = match token {
            Token::Session => SESSION,
            Token::Master => MASTER,
        };
        format!("{start}{id}")
    }

    /// The placeholder of that text.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (id, token) = match (text.strip_prefix(SESSION), text.strip_prefix(MASTER)) {
            (Some(id), _) => (id, Token::Session),
            (None, Some(id)) => (id, Token::Master),
            (None, None) => return None,
        };
        Some(Self { id: id.to_owned(), token })
    }

    /// The one that a request shows, in the only header of its kind.
    pub(super) fn shown(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::of(value.to_str().ok()?.strip_prefix("Snowflake Token=\"")?.strip_suffix('"')?)
    }
}
