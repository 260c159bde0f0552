//! Reads a few values of a JSON reply as it passes, counts the elements of lists, and replaces addresses; holds nothing else.
//!
//! Source: RFC 8259. The scanner follows brackets, strings and commas and does not check the rest: what is not JSON is passed on
//! as it is, and [`Tap::is_whole`] says so.

use std::fmt;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::{Progress, Reader, Reading};

/// A value to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The keys that lead to it, from the outside in. At most [`FIELD_DEPTH_MAX`].
    pub path: &'static [&'static str],
    /// What is done about it.
    pub treatment: Treatment,
}

/// Most keys in the path of a [`Field`].
pub const FIELD_DEPTH_MAX: usize = 4;

/// What is done about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is read.
    Read,
    /// It is read and counted: the elements of an array.
    Count,
    /// It is an address of the warehouse, and is made to lead back to the sidecar.
    Address,
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

/// Longest value, in bytes, that is read or rewritten.
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

/// What was found in a reply.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Whether its body was one whole JSON value.
    pub is_whole: bool,
    /// One for each field that was looked for.
    pub found: &'a [Found],
}

/// Reads a reply in JSON; one of another content type is passed on unread.
pub struct JsonReader {
    tap: Tap,
    is_always_json: bool,
    status: StatusCode,
    progress: fn(&Reply<'_>) -> Progress,
}

impl JsonReader {
    /// A reader that looks for `fields`, makes addresses lead to `near` (a scheme and an authority), and asks `progress` what
    /// was found means.
    pub fn new(fields: &'static [Field], near: &str, progress: fn(&Reply<'_>) -> Progress) -> Self {
        Self { tap: Tap::new(fields, near.to_owned()), is_always_json: false, status: StatusCode::OK, progress }
    }

    /// The same for a protocol that knows no replies but JSON, under whatever content type.
    pub fn always(fields: &'static [Field], near: &str, progress: fn(&Reply<'_>) -> Progress) -> Self {
        Self { is_always_json: true, ..Self::new(fields, near, progress) }
    }

    /// What was found so far.
    pub fn reply(&self) -> Reply<'_> {
        Reply { status: self.status, is_whole: self.tap.is_whole(), found: self.tap.found() }
    }
}

impl fmt::Debug for JsonReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonReader").field("fields", &self.tap.fields).finish_non_exhaustive()
    }
}

impl Reader for JsonReader {
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap) -> Reading {
        self.status = status;
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = self.is_always_json || kind.is_some_and(|kind| kind.starts_with("application/json"));
        if is_json { Reading::Read } else { Reading::Pass }
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.tap.pass(piece)
    }

    fn is_whole(&self) -> bool {
        self.tap.is_whole()
    }

    fn progress(&mut self) -> Progress {
        (self.progress)(&self.reply())
    }
}

/// Longest key, in bytes, that can be one of a field's.
const KEY_BYTES_MAX: usize = 64;
/// Deepest nesting that is followed; deeper text is passed on, and nothing more is read of it.
const DEPTH_MAX: usize = 10_000;

/// A scanner of one JSON text that comes in pieces.
pub struct Tap {
    fields: &'static [Field],
    found: Vec<Found>,
    /// What stands before the path in the replacement of an address.
    near: String,
    state: State,
    /// The open containers that fields are in, from the outside in.
    outer: Vec<Container>,
    /// How many are open in all.
    depth: usize,
    /// The string or scalar that is being read, without quotes.
    held: Vec<u8>,
    held_is_too_long: bool,
}

struct Container {
    is_object: bool,
    /// The key of the value that is being read, in an object.
    key: Vec<u8>,
    /// Elements begun, in a list.
    elements: u64,
    /// The field whose elements are counted here.
    counts: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a value, or behind one.
    Between,
    /// Behind `{` or a comma in an object: a string that comes is a key.
    BeforeKey,
    /// In a string, for a purpose.
    Text(Purpose),
    /// Behind a backslash in a string.
    Escape(Purpose),
    /// In a number, `true`, `false` or `null`.
    Scalar(Option<usize>),
    /// Behind the whole value.
    Whole,
    /// The text is not JSON.
    Broken,
}

/// What a string is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is passed over.
    Nothing,
    /// It is a key of an outer container.
    Key,
    /// It is the value of a field.
    Value(usize),
    /// It is the value of a field, and withheld to be replaced.
    Address(usize),
}

impl Tap {
    /// A scanner for a text that has not begun. Addresses are made to lead to `near`, a scheme and an authority; what does not
    /// look like an address is left as it is.
    pub fn new(fields: &'static [Field], near: String) -> Self {
        Self {
            fields,
            found: vec![Found::Absent; fields.len()],
            near,
            state: State::Between,
            outer: Vec::new(),
            depth: 0,
            held: Vec::new(),
            held_is_too_long: false,
        }
    }

    /// What was found so far, one for each field.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// Whether one whole value has passed.
    pub fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// Reads a piece, and gives what is to be passed on: the very bytes where nothing had to be replaced.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        let mut rewritten: Option<BytesMut> = None;
        // Everything before is in `rewritten`, or still to be passed on as it is.
        let mut kept_from = 0;
        let mut next = 0;
        while let Some(rest) = piece.get(next..).filter(|rest| !rest.is_empty()) {
            next += self.skip(rest);
            let (at, Some(&byte)) = (next, piece.get(next)) else { break };
            next += 1;
            let withheld_before = self.withholds();
            let replacement = self.step(byte);
            if !withheld_before && self.withholds() {
                // The opening quote is passed on, the text behind it is not.
                let out = rewritten.get_or_insert_with(BytesMut::new);
                out.extend_from_slice(piece.get(kept_from..=at).unwrap_or_default());
            } else if withheld_before && !self.withholds() {
                rewritten.get_or_insert_with(BytesMut::new).extend_from_slice(&replacement.unwrap_or_default());
                kept_from = at;
            }
        }
        let rest = if self.withholds() { piece.len() } else { kept_from };
        match rewritten {
            None if rest == 0 => piece,
            None => Bytes::new(),
            Some(mut out) => {
                out.extend_from_slice(piece.get(rest..).unwrap_or_default());
                out.freeze()
            }
        }
    }

    /// How many bytes can be passed over at once: up to the next that changes anything, in a string or a container that no field
    /// is in. Nearly all of a large result is.
    fn skip(&mut self, rest: &[u8]) -> usize {
        match self.state {
            State::Text(Purpose::Nothing) => memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len()),
            State::Between | State::BeforeKey | State::Scalar(None) if self.depth > self.outer.len() => {
                self.state = State::Between;
                rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']')).unwrap_or(rest.len())
            }
            State::Text(_) | State::Escape(_) | State::Between | State::BeforeKey | State::Scalar(_) | State::Whole | State::Broken => 0,
        }
    }

    /// Whether the bytes that come are part of an address that will be replaced.
    fn withholds(&self) -> bool {
        matches!(self.state, State::Text(Purpose::Address(_)) | State::Escape(Purpose::Address(_)))
    }

    /// One byte. Gives the text to put in the place of a withheld address when that has ended, without its quotes.
    fn step(&mut self, byte: u8) -> Option<Vec<u8>> {
        match self.state {
            State::Broken => {}
            State::Whole => {
                if !byte.is_ascii_whitespace() {
                    self.state = State::Broken;
                }
            }
            State::Text(purpose) => return self.text(byte, purpose),
            State::Escape(purpose) => {
                self.hold(byte, purpose);
                self.state = State::Text(purpose);
            }
            State::Scalar(field) => {
                if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) {
                    self.hold(byte, field.map_or(Purpose::Nothing, Purpose::Value));
                } else {
                    self.end_scalar(field);
                    self.punctuation(byte);
                }
            }
            State::Between | State::BeforeKey => self.punctuation(byte),
        }
        None
    }

    fn text(&mut self, byte: u8, purpose: Purpose) -> Option<Vec<u8>> {
        match byte {
            b'\\' => {
                self.hold(byte, purpose);
                self.state = State::Escape(purpose);
                None
            }
            b'"' => self.end_text(purpose),
            _ => {
                self.hold(byte, purpose);
                None
            }
        }
    }

    fn hold(&mut self, byte: u8, purpose: Purpose) {
        let limit = match purpose {
            Purpose::Nothing => return,
            Purpose::Key => KEY_BYTES_MAX,
            Purpose::Value(_) | Purpose::Address(_) => FOUND_BYTES_MAX,
        };
        if self.held.len() < limit {
            self.held.push(byte);
        } else {
            self.held_is_too_long = true;
        }
    }

    fn end_text(&mut self, purpose: Purpose) -> Option<Vec<u8>> {
        let held = std::mem::take(&mut self.held);
        let is_too_long = std::mem::take(&mut self.held_is_too_long);
        match purpose {
            Purpose::Nothing => self.end_value(),
            Purpose::Key => {
                self.state = State::Between;
                if let Some(inner) = self.outer.last_mut() {
                    inner.key = if is_too_long { Vec::new() } else { unescaped(&held).map_or(held, String::into_bytes) };
                }
            }
            Purpose::Value(field) => {
                let value = if is_too_long { None } else { unescaped(&held) };
                self.find(field, value.map_or(Found::Other, Found::Value));
                self.end_value();
            }
            Purpose::Address(field) => {
                let address = if is_too_long { None } else { unescaped(&held) };
                let replacement = address.as_deref().and_then(|address| back(&self.near, address));
                // What is too long to hold is lost, and an address that is cut off leads nowhere: better none.
                let written = if is_too_long { Vec::new() } else { replacement.map_or(held, |text| escaped(&text)) };
                self.find(field, address.map_or(Found::Other, Found::Value));
                self.end_value();
                return Some(written);
            }
        }
        None
    }

    fn end_scalar(&mut self, field: Option<usize>) {
        let held = std::mem::take(&mut self.held);
        let is_too_long = std::mem::take(&mut self.held_is_too_long);
        if let Some(field) = field {
            let value = String::from_utf8(held).ok().filter(|_| !is_too_long);
            self.find(field, value.map_or(Found::Other, Found::Value));
        }
        self.end_value();
    }

    fn find(&mut self, field: usize, value: Found) {
        if let Some(found) = self.found.get_mut(field) {
            *found = value;
        }
    }

    fn punctuation(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b':' => {}
            b',' => self.state = if self.is_in_object() { State::BeforeKey } else { State::Between },
            b'}' | b']' => self.close(),
            b'"' if self.state == State::BeforeKey => {
                self.state = State::Text(if self.depth == self.outer.len() { Purpose::Key } else { Purpose::Nothing });
            }
            _ if self.state == State::BeforeKey && self.depth == self.outer.len() => self.state = State::Broken,
            _ => self.begin_value(byte),
        }
    }

    fn begin_value(&mut self, byte: u8) {
        if self.depth == self.outer.len()
            && let Some(list) = self.outer.last_mut().filter(|container| !container.is_object)
        {
            list.elements += 1;
        }
        let field = self.field();
        match byte {
            b'{' | b'[' => self.open(byte == b'{', field),
            b'"' => {
                let treatment = field.and_then(|field| self.fields.get(field)).map(|field| field.treatment);
                self.state = State::Text(match (field, treatment) {
                    (Some(field), Some(Treatment::Address)) => Purpose::Address(field),
                    (Some(field), _) => Purpose::Value(field),
                    (None, _) => Purpose::Nothing,
                });
            }
            _ => {
                self.state = State::Scalar(field);
                self.hold(byte, field.map_or(Purpose::Nothing, Purpose::Value));
            }
        }
    }

    /// The field that the value that begins here is.
    fn field(&self) -> Option<usize> {
        if self.depth != self.outer.len() || self.outer.iter().any(|container| !container.is_object) {
            return None;
        }
        let leads = |field: &Field| {
            field.path.len() == self.outer.len() && field.path.iter().zip(&self.outer).all(|(key, outer)| key.as_bytes() == outer.key)
        };
        self.fields.iter().position(leads).filter(|_| !self.outer.is_empty())
    }

    fn open(&mut self, is_object: bool, field: Option<usize>) {
        if let Some(field) = field {
            self.find(field, Found::Other);
        }
        let counts = field.filter(|_| !is_object);
        if counts.is_some() || (is_object && self.leads_on()) {
            self.outer.push(Container { is_object, key: Vec::new(), elements: 0, counts });
        }
        self.depth += 1;
        self.state = match (is_object, self.depth > DEPTH_MAX) {
            (_, true) => State::Broken,
            (true, false) => State::BeforeKey,
            (false, false) => State::Between,
        };
    }

    /// Whether a field can be in the container that begins here.
    fn leads_on(&self) -> bool {
        self.depth == self.outer.len()
            && self.outer.iter().all(|container| container.is_object)
            && self.fields.iter().any(|field| {
                field.path.len() > self.outer.len() && field.path.iter().zip(&self.outer).all(|(key, outer)| key.as_bytes() == outer.key)
            })
    }

    fn close(&mut self) {
        if self.depth == self.outer.len()
            && let Some(closed) = self.outer.pop()
            && let Some(field) = closed.counts
        {
            self.find(field, Found::Elements(closed.elements));
        }
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                self.end_value();
            }
            None => self.state = State::Broken,
        }
    }

    fn end_value(&mut self) {
        self.state = if self.depth == 0 { State::Whole } else { State::Between };
    }

    fn is_in_object(&self) -> bool {
        self.depth == self.outer.len() && self.outer.last().is_some_and(|container| container.is_object)
    }
}

/// The address with the same path at `near`.
fn back(near: &str, address: &str) -> Option<String> {
    let (_, rest) = address.split_once("://")?;
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    Some(format!("{near}{path}"))
}

fn unescaped(held: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(held).ok()?;
    if text.contains('\\') { serde_json::from_str(&format!("\"{text}\"")).ok() } else { Some(text.to_owned()) }
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().as_bytes().to_vec()
}

#[cfg(test)]
mod tests;
