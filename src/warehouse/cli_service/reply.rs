//! What the replies of TCLIService say, read as they pass.

use std::fmt::Write;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;

use crate::warehouse::http::{End, News, Progress, Reader, Reading, SessionState};
use crate::warehouse::thrift::scan::{Leaf, Scan, Sink, WITHIN};

/// Most bytes of an identifier; the servers' have 16.
const GUID_BYTES_MAX: usize = 64;

/// `TStatusCode`: the call failed, or its handle is none.
const FAILED: &[i64] = &[3, 4];
/// `TOperationState`.
const FINISHED: i64 = 2;
const CANCELED: i64 = 3;
const CLOSED: i64 = 4;
const ERROR: i64 = 5;
const TIMED_OUT: i64 = 8;

/// What a reply is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// A session begins, there where its client asked, or where the server says.
    Opened(SessionState),
    /// A session is over.
    Closed,
    /// An execution begins.
    Begun {
        /// Whether it has been carried out when the reply comes.
        is_done: bool,
        /// Where its calls go, path and query.
        target: String,
    },
    /// The state of one.
    State,
    /// Rows of one.
    Rows,
    /// One was asked to end.
    Ended,
    /// Nothing that has to be known.
    Nothing,
}

/// Reads one reply.
#[derive(Debug)]
pub(super) struct ReplyReader {
    said: Said,
    scan: Scan,
    found: Found,
}

/// What is found in a reply.
#[derive(Debug, Default)]
struct Found {
    is_success: bool,
    status: Option<i64>,
    sqlstate: Option<String>,
    guid: Vec<u8>,
    secret: Vec<u8>,
    state: Option<i64>,
    has_no_result: bool,
    modified: Option<u64>,
    is_closed: bool,
    rows: u64,
    links: u64,
    catalog: Option<String>,
    schema: Option<String>,
    place: Place,
}

/// Where in a reply what is looked for stands, which differs between calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// In an `OpenSession`'s: the handle is in another field.
    Session,
    /// In what begins an execution: results may come with it.
    Begun,
    /// In a `GetOperationStatus`'s.
    State,
    /// In a `FetchResults`'.
    Rows,
    /// Only the status.
    #[default]
    Status,
}

impl ReplyReader {
    /// A reader of a reply that has not begun.
    pub(super) fn new(said: Said) -> Self {
        let place = match &said {
            Said::Opened(_) => Place::Session,
            Said::Begun { .. } => Place::Begun,
            Said::State => Place::State,
            Said::Rows => Place::Rows,
            Said::Closed | Said::Ended | Said::Nothing => Place::Status,
        };
        Self { said, scan: Scan::new(), found: Found { place, ..Found::default() } }
    }

    /// How the execution ended, where the reply says so; and whether it was carried out.
    fn end(&self) -> (Option<End>, bool) {
        let found = &self.found;
        let failed = |sqlstate: &Option<String>| Some(End::Failed(sqlstate.clone()));
        if !found.is_success {
            return (None, false);
        }
        if self.scan.is_exception() || found.status.is_some_and(|status| FAILED.contains(&status)) {
            // That a question about it failed says nothing about the execution.
            let is_about_all = matches!(self.said, Said::Begun { .. } | Said::Opened(_));
            return (if is_about_all { failed(&found.sqlstate) } else { None }, false);
        }
        if !self.scan.is_whole() {
            return (None, false);
        }
        let is_done = match (&self.said, found.state) {
            (Said::Begun { .. } | Said::State, Some(FINISHED)) => true,
            (Said::Begun { .. } | Said::State, Some(CANCELED)) => return (Some(End::Cancelled), false),
            (Said::Begun { .. } | Said::State, Some(ERROR | TIMED_OUT)) => return (failed(&found.sqlstate), false),
            (Said::State, Some(CLOSED)) => return (Some(End::Cancelled), false),
            (Said::Begun { is_done, .. }, None) => *is_done,
            (Said::Opened(_), _) => return (Some(End::Completed), true),
            (Said::Ended, _) => return (Some(End::Cancelled), false),
            (_, _) => false,
        };
        let is_over = found.is_closed || found.has_no_result;
        ((is_done && is_over).then_some(End::Completed), is_done)
    }

    fn news(&mut self, has_failed: bool) -> Option<News> {
        if has_failed || !self.scan.is_whole() {
            return None;
        }
        match &self.said {
            Said::Closed => Some(News::Closed),
            Said::Opened(asked) => {
                let mut state = asked.clone();
                if let Some(catalog) = self.found.catalog.take().filter(|catalog| !catalog.is_empty()) {
                    state.database = catalog.to_lowercase();
                }
                if let Some(schema) = self.found.schema.take().filter(|schema| !schema.is_empty()) {
                    state.schema = Some(schema.to_lowercase());
                }
                Some(News::Opened { id: name(&self.found.guid)?, state, secrets: Vec::new() })
            }
            Said::Begun { .. } | Said::State | Said::Rows | Said::Ended | Said::Nothing => None,
        }
    }
}

impl Reader for ReplyReader {
    fn head(&mut self, status: StatusCode, _: &mut HeaderMap) -> Reading {
        self.found.is_success = status.is_success();
        if status.is_success() { Reading::Read } else { Reading::Pass }
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.scan.pass(&piece, &mut self.found);
        piece
    }

    fn is_whole(&self) -> bool {
        self.scan.is_whole()
    }

    fn progress(&mut self) -> Progress {
        let (end, is_done) = self.end();
        let news = self.news(matches!(end, Some(End::Failed(_))));
        let (id, cancel) = match &self.said {
            Said::Begun { target, .. } => {
                (name(&self.found.guid), Some(super::cancel(target.clone(), &self.found.guid, &self.found.secret)))
            }
            Said::Opened(_) | Said::Closed | Said::State | Said::Rows | Said::Ended | Said::Nothing => (None, None),
        };
        Progress {
            id,
            cancel: cancel.map(Box::new),
            rows: self.found.rows,
            changed: self.found.modified,
            is_done,
            end,
            out_of_band: (self.found.links > 0).then_some("object storage of the warehouse"),
            news,
            ..Progress::default()
        }
    }
}

impl Sink for Found {
    fn found(&mut self, path: &[i16], leaf: Leaf<'_>) {
        match (path, self.place) {
            ([0, 1, rest @ ..], _) => self.status(rest, leaf),
            ([0, 3, 1, 1], Place::Session) | ([0, 2, 1, 1], Place::Begun) => self.guid = bytes(leaf),
            ([0, 2, 1, 2], Place::Begun) => self.secret = bytes(leaf),
            ([0, 1284, 1], Place::Session) => self.catalog = text(leaf),
            ([0, 1284, 2], Place::Session) => self.schema = text(leaf),
            ([0, 2, 3], Place::Begun) => self.has_no_result |= leaf == Leaf::Number(0),
            ([0, 1281, 1, rest @ ..], Place::Begun) => self.operation(rest, leaf),
            ([0, 1281, 3, 3, rest @ ..], Place::Begun) | ([0, 3, rest @ ..], Place::Rows) => self.row_set(rest, leaf),
            ([0, 1281, 4, 1, 1], Place::Begun) => self.is_closed = leaf == Leaf::Number(0),
            ([0, rest @ ..], Place::State) => self.operation(rest, leaf),
            (_, _) => {}
        }
    }
}

impl Found {
    /// `TStatus`.
    fn status(&mut self, path: &[i16], leaf: Leaf<'_>) {
        match (path, leaf) {
            ([1], Leaf::Number(code)) => self.status = Some(code),
            ([3], _) => self.sqlstate = text(leaf).or(self.sqlstate.take()),
            (_, _) => {}
        }
    }

    /// `TGetOperationStatusResp`.
    fn operation(&mut self, path: &[i16], leaf: Leaf<'_>) {
        match (path, leaf) {
            ([2], Leaf::Number(state)) => self.state = Some(state),
            ([3], _) => self.sqlstate = text(leaf).or(self.sqlstate.take()),
            ([9], Leaf::Number(0)) => self.has_no_result = true,
            ([11], Leaf::Number(modified)) => self.modified = u64::try_from(modified).ok(),
            (_, _) => {}
        }
    }

    /// `TRowSet`: rows, or columns of which each has all rows, or batches and links that say how many they hold.
    fn row_set(&mut self, path: &[i16], leaf: Leaf<'_>) {
        let count = match leaf {
            Leaf::List(count) => count,
            Leaf::Number(count) => u64::try_from(count).unwrap_or(0),
            Leaf::Double(_) | Leaf::Binary(_) | Leaf::Long => return,
        };
        match path {
            [2] | [3, WITHIN, _, 1] => self.rows = self.rows.max(count),
            [1281, WITHIN, 2] | [1282, WITHIN, 4] => self.rows = self.rows.saturating_add(count),
            [1282] => self.links = count,
            _ => {}
        }
    }
}

/// The name of an identifier: its hexadecimal digits.
pub(super) fn name(guid: &[u8]) -> Option<String> {
    if !(1..=GUID_BYTES_MAX).contains(&guid.len()) {
        return None;
    }
    let mut name = String::with_capacity(guid.len() * 2);
    for byte in guid {
        write!(name, "{byte:02x}").ok()?;
    }
    Some(name)
}

fn bytes(leaf: Leaf<'_>) -> Vec<u8> {
    match leaf {
        Leaf::Binary(bytes) => bytes.to_vec(),
        Leaf::Number(_) | Leaf::Double(_) | Leaf::Long | Leaf::List(_) => Vec::new(),
    }
}

fn text(leaf: Leaf<'_>) -> Option<String> {
    Some(bytes(leaf)).filter(|bytes| !bytes.is_empty()).and_then(|bytes| String::from_utf8(bytes).ok())
}
