//! A server that keeps PostgreSQL's rules: names, errors that skip to Sync, COPY. Its moods come from the input.
//!
//! Source: PostgreSQL 18 documentation, sections 54.2.2 to 54.2.7.

use std::collections::{HashMap, VecDeque};

use tollhouse::sql::{self, Dialect, Limits, Session};

use super::witness::Witness;

/// PostgreSQL cuts names to this length (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;

/// What the server makes of the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Obliging,
    /// Fails before it has any effect.
    Failing,
    /// Fails, and what a statement has done to the session stays.
    FailingLate,
    /// Rows, or a suspended portal.
    Generous,
    /// Asks for COPY data.
    CopyIn,
    /// Says something unasked first.
    Talkative,
    /// Leaves the transaction open.
    InTransaction,
}

/// Moods, one for each request; obliging once they are used up.
pub(crate) struct Moods(VecDeque<u8>);

impl Moods {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().collect())
    }

    fn next(&mut self) -> Mood {
        match self.0.pop_front().unwrap_or(0) % 12 {
            1 => Mood::Failing,
            2 => Mood::FailingLate,
            3 => Mood::Generous,
            4 => Mood::CopyIn,
            5 => Mood::Talkative,
            6 | 7 => Mood::InTransaction,
            _ => Mood::Obliging,
        }
    }
}

/// Where COPY data is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copying {
    No,
    Simple,
    Extended,
}

/// The server's side of one session.
pub(crate) struct Server {
    moods: Moods,
    unread: Vec<u8>,
    greeted: bool,
    statements: HashMap<Vec<u8>, Vec<u8>>,
    portals: HashMap<Vec<u8>, Vec<u8>>,
    skipping: bool,
    copying: Copying,
    in_transaction: bool,
    out: Vec<u8>,
}

/// What the server says before the session starts.
pub(crate) fn greeting() -> Vec<u8> {
    let mut out = message(b'R', &[0; 4]);
    for setting in ["client_encoding\0UTF8\0", "standard_conforming_strings\0on\0"] {
        out.extend(message(b'S', setting.as_bytes()));
    }
    out.extend(message(b'K', b"\0\0\0\x07secr"));
    out.extend(message(b'Z', b"I"));
    out
}

/// A message with a type byte.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

impl Server {
    pub(crate) fn new(moods: Moods) -> Self {
        Self {
            moods,
            unread: Vec::new(),
            greeted: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
            copying: Copying::No,
            in_transaction: false,
            out: Vec::new(),
        }
    }

    /// Takes bytes of the client in, and says what the server answers; `None` once the client has said goodbye.
    pub(crate) fn answer(&mut self, bytes: &[u8], witness: &mut Witness) -> Option<Vec<u8>> {
        self.unread.extend_from_slice(bytes);
        while let Some((kind, body)) = self.next() {
            match kind {
                None => self.out.extend(greeting()),
                Some(b'X') => return None,
                Some(kind) => self.take(kind, &body, witness),
            }
        }
        Some(std::mem::take(&mut self.out))
    }

    fn next(&mut self) -> Option<(Option<u8>, Vec<u8>)> {
        let header = if self.greeted { 5 } else { 4 };
        let length: [u8; 4] = self.unread.get(header - 4..header)?.try_into().unwrap();
        let whole = header - 4 + u32::from_be_bytes(length) as usize;
        let body = self.unread.get(header..whole)?.to_vec();
        let kind = self.greeted.then(|| self.unread[0]);
        self.unread.drain(..whole);
        self.greeted = true;
        Some((kind, body))
    }

    fn take(&mut self, kind: u8, body: &[u8], witness: &mut Witness) {
        if self.copying != Copying::No {
            return self.take_copy_data(kind);
        }
        if self.skipping && kind != b'S' {
            return;
        }
        match kind {
            b'S' => {
                self.skipping = false;
                self.ready();
            }
            b'Q' => self.query(string(body), witness),
            b'F' => {
                witness.runs(b"");
                self.say(b'V', b"\xff\xff\xff\xff");
                self.ready();
            }
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'E' => self.execute(string(body), witness),
            b'C' => {
                let (names, name) = self.named(body);
                names.remove(&name);
                self.say(b'3', b"");
            }
            // Flush; and COPY data outside of any COPY, which the server ignores.
            b'H' | b'd' | b'c' | b'f' => {}
            _ => panic!("the server gets a message of type {kind:#x}"),
        }
    }

    fn take_copy_data(&mut self, kind: u8) {
        let copying = self.copying;
        match kind {
            b'd' if self.moods.next() != Mood::Failing => return,
            b'S' | b'H' => return,
            b'c' => self.say(b'C', b"COPY 1\0"),
            // CopyFail, data that cannot be read, and messages that do not belong here.
            _ => self.error(),
        }
        self.copying = Copying::No;
        self.skipping &= copying == Copying::Extended;
        if copying == Copying::Simple {
            self.ready();
        }
    }

    fn query(&mut self, text: Vec<u8>, witness: &mut Witness) {
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        let mood = self.moods.next();
        self.run(&text, mood, witness);
        match mood {
            Mood::Failing | Mood::FailingLate => self.error(),
            Mood::CopyIn => {
                self.copying = Copying::Simple;
                return self.say(b'G', b"\0\0\0");
            }
            Mood::Generous => {
                self.say(b'T', b"\0\0");
                self.say(b'D', b"\0\0");
                self.say(b'C', b"SELECT 1\0");
            }
            Mood::Obliging | Mood::Talkative | Mood::InTransaction => self.say(b'C', b"SELECT 0\0"),
        }
        self.skipping = false;
        self.in_transaction = mood == Mood::InTransaction;
        self.ready();
    }

    fn parse(&mut self, body: &[u8]) {
        let (name, text) = (name(body), string(after_string(body)));
        if self.is_failing() || (!name.is_empty() && self.statements.contains_key(&name)) {
            return self.error();
        }
        self.statements.insert(name, text);
        self.say(b'1', b"");
    }

    fn bind(&mut self, body: &[u8]) {
        let (portal, statement) = (name(body), name(after_string(body)));
        let taken = !portal.is_empty() && self.portals.contains_key(&portal);
        match self.statements.get(&statement).cloned() {
            Some(text) if !taken && !self.is_failing() => {
                self.portals.insert(portal, text);
                self.say(b'2', b"");
            }
            Some(_) | None => self.error(),
        }
    }

    fn describe(&mut self, body: &[u8]) {
        let of_statement = body.first() == Some(&b'S');
        let (names, name) = self.named(body);
        if !names.contains_key(&name) || self.is_failing() {
            return self.error();
        }
        if of_statement {
            self.say(b't', b"\0\0");
        }
        self.say(b'n', b"");
    }

    fn execute(&mut self, portal: Vec<u8>, witness: &mut Witness) {
        let Some(text) = self.portals.get(cut(&portal)).cloned() else { return self.error() };
        let mood = self.moods.next();
        self.run(&text, mood, witness);
        match mood {
            Mood::Failing | Mood::FailingLate => self.error(),
            Mood::CopyIn => {
                self.copying = Copying::Extended;
                self.say(b'G', b"\0\0\0");
            }
            Mood::Generous => {
                self.say(b'D', b"\0\0");
                self.say(b's', b"");
            }
            Mood::Obliging | Mood::Talkative | Mood::InTransaction => self.say(b'C', b"SELECT 0\0"),
        }
        self.in_transaction |= mood == Mood::InTransaction;
    }

    /// Runs a text: it must be recorded and allowed, and so must what stands behind the names that it executes.
    fn run(&mut self, text: &[u8], mood: Mood, witness: &mut Witness) {
        witness.runs(text);
        witness.allows(text);
        if mood == Mood::Talkative {
            self.say(b'N', b"SNOTICE\0C00000\0Mhear\0\0");
        }
        if mood == Mood::Failing {
            return;
        }
        let analysis = sql::analyze(Dialect::Postgres, &String::from_utf8_lossy(text), &Limits::default());
        for statement in analysis.statements {
            match statement.session {
                Session::Unchanged | Session::SearchPathUnknown => {}
                // One that is there already makes PREPARE fail, and stays.
                Session::Prepares { name, .. } => {
                    self.statements.entry(cut(name.as_bytes()).to_vec()).or_insert_with(|| text.to_vec());
                }
                Session::Deallocates { name: Some(name) } => drop(self.statements.remove(cut(name.as_bytes()))),
                Session::Deallocates { name: None } => self.statements.clear(),
                Session::Executes { name } => {
                    if let Some(behind) = self.statements.get(cut(name.as_bytes())) {
                        witness.allows(behind);
                    }
                }
            }
        }
    }

    fn is_failing(&mut self) -> bool {
        matches!(self.moods.next(), Mood::Failing | Mood::FailingLate)
    }

    /// The names of the kind that Describe and Close speak of, and the one that they name.
    fn named(&mut self, body: &[u8]) -> (&mut HashMap<Vec<u8>, Vec<u8>>, Vec<u8>) {
        let name = name(body.get(1..).unwrap_or_default());
        (if body.first() == Some(&b'S') { &mut self.statements } else { &mut self.portals }, name)
    }

    fn error(&mut self) {
        self.skipping = true;
        self.say(b'E', b"SERROR\0VERROR\0C42000\0Mno\0\0");
    }

    fn ready(&mut self) {
        if !self.in_transaction {
            self.portals.clear();
        }
        let status = if self.in_transaction { b"T" } else { b"I" };
        self.say(b'Z', status);
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        self.out.extend(message(kind, body));
    }
}

/// The string at the front of a body.
fn string(body: &[u8]) -> Vec<u8> {
    body.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// A string, cut as names are.
fn name(body: &[u8]) -> Vec<u8> {
    cut(&string(body)).to_vec()
}

fn cut(name: &[u8]) -> &[u8] {
    name.get(..NAME_BYTES_MAX).unwrap_or(name)
}

/// What follows the first string of a body.
fn after_string(body: &[u8]) -> &[u8] {
    body.get(string(body).len() + 1..).unwrap_or_default()
}
