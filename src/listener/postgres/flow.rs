//! Which reply belongs to what: the queue of replies that the server still owes, in order.
//!
//! Nothing here forges a reply. A refused statement is replaced by a probe that the server answers with an error,
//! and that error is replaced by ours: so the transaction fails as it would have, and ReadyForQuery stays the server's.

use std::collections::VecDeque;

use bytes::Bytes;

use super::message::Severity;
use super::names::{Binding, Name, Names};
use super::settings::ServerSettings;
use crate::audit::{Outcome, Status};
use crate::gate::Permit;

/// Most replies that the server may owe; behind that, reading from the client waits.
pub(super) const EXPECTED_MAX: usize = 10_000;

/// SQLSTATE of a cancelled query (`query_canceled`, PostgreSQL docs, appendix A).
const QUERY_CANCELED: &str = "57014";

/// Something that the server owes a reply for.
pub(super) enum Expected {
    /// ParseComplete.
    Parse(Name, Binding),
    /// BindComplete.
    Bind(Name, Binding),
    /// RowDescription or NoData.
    Describe,
    /// CloseComplete.
    Close(Closing),
    /// The reply to Execute.
    Execute(Running),
    /// Everything up to ReadyForQuery, for a simple query or a FunctionCall.
    Query(Running),
    /// ReadyForQuery, for Sync.
    Sync,
    /// An error that stands in for our refusal; the bytes are what the client gets instead.
    Refusal(Bytes),
    /// No reply: the client began to send COPY data here.
    CopyData,
    /// No reply: the client sent something else here before its COPY data had ended.
    BrokenCopyData,
}

impl Expected {
    /// The execution whose reply this is, if it is one.
    fn running(&mut self) -> Option<&mut Running> {
        match self {
            Self::Execute(running) | Self::Query(running) => Some(running),
            Self::Parse(..)
            | Self::Bind(..)
            | Self::Describe
            | Self::Close(_)
            | Self::Sync
            | Self::Refusal(_)
            | Self::CopyData
            | Self::BrokenCopyData => None,
        }
    }
}

/// Prepared statements or portals that are gone once the server says so.
#[derive(Debug, Clone)]
pub(super) enum Closing {
    /// One prepared statement.
    Statement(Name, Binding),
    /// Every prepared statement.
    Statements(Binding),
    /// One portal.
    Portal(Name, Binding),
}

/// An execution whose reply is under way.
pub(super) struct Running {
    ticket: Ticket,
    /// `None` until the attempt is durable; nothing of the execution has left by then.
    permit: Option<Permit>,
    tagged_rows: Option<u64>,
    data_rows: u64,
    bytes: u64,
    sqlstate: Option<String>,
    closing: Vec<Closing>,
}

impl Running {
    fn new(ticket: Ticket) -> Self {
        Self { ticket, permit: None, tagged_rows: None, data_rows: 0, bytes: 0, sqlstate: None, closing: Vec::new() }
    }

    fn finish(self, how: Finish) {
        let rows = self.tagged_rows.or((self.data_rows > 0).then_some(self.data_rows));
        let status = match (how, self.sqlstate.as_deref()) {
            (Finish::Skipped, _) => Status::Skipped,
            (Finish::Replied, None) => Status::Completed,
            (Finish::Replied, Some(QUERY_CANCELED)) => Status::Cancelled,
            (Finish::Replied, Some(_)) => Status::Failed,
        };
        if let Some(permit) = self.permit {
            permit.finish(Outcome { rows, reply_bytes: self.bytes, sqlstate: self.sqlstate, ..Outcome::new(status) });
        }
    }
}

/// Marks one execution in the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What the client had sent behind an execution that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nothing, or only what the server would have thrown away.
    Nothing,
    /// The same and then its Sync.
    Sync,
    /// More, which was judged as if the execution had happened.
    More,
}

#[derive(Clone, Copy)]
enum Finish {
    Replied,
    Skipped,
}

/// What to do with a message of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client gets it as it is.
    Forward,
    /// The client gets these bytes instead.
    Replace(Bytes),
    /// It belongs to nothing: the two sides are out of step, and the session has to end.
    OutOfStep,
}

/// What the two directions of a session share. Locked for moments, never across an await.
pub(super) struct Flow {
    queue: VecDeque<Expected>,
    /// Prepared statements, of the protocol and of SQL: one name space, as in the server.
    pub(super) statements: Names,
    /// Portals.
    pub(super) portals: Names,
    /// What the server has reported of its settings.
    pub(super) settings: ServerSettings,
    /// How many messages were sent behind which the server reads on after an error: Sync, and simple requests.
    pub(super) boundaries: u64,
    tickets: u64,
    discarding: bool,
    copy_in: bool,
    /// Whether the server takes COPY data: it has asked for it, and the copy has not ended.
    copying: bool,
    transaction: u8,
    farewell: Option<String>,
}

impl Flow {
    /// The flow of a session whose greeting was just relayed.
    pub(super) fn new(settings: ServerSettings) -> Self {
        Self {
            queue: VecDeque::new(),
            statements: Names::default(),
            portals: Names::default(),
            settings,
            boundaries: 0,
            tickets: 0,
            discarding: false,
            copy_in: false,
            copying: false,
            transaction: b'I',
            farewell: None,
        }
    }

    /// Whether the server owes nothing and no transaction is open.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.transaction == b'I'
    }

    /// Whether the server owes nothing.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    /// The SQLSTATE with which the server has ended the session, once it has: the client knows then why.
    pub(super) fn farewell(&self) -> Option<&str> {
        self.farewell.as_deref()
    }

    /// Whether reading from the client has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= EXPECTED_MAX
    }

    /// Whether messages are thrown away until Sync, here as in the server, because one failed or was refused.
    pub(super) fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// Notes what the message about to be forwarded will be answered with.
    pub(super) fn expect(&mut self, expected: Expected) {
        self.queue.push_back(expected);
    }

    /// Notes an execution that will be forwarded once it is permitted; `None` if an error came in between. Once it has
    /// succeeded, what `closing` names is gone.
    pub(super) fn expect_execution(&mut self, wrap: fn(Running) -> Expected, closing: Vec<Closing>) -> Option<Ticket> {
        if self.discarding {
            return None;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.queue.push_back(wrap(Running { closing, ..Running::new(ticket) }));
        Some(ticket)
    }

    /// Gives a noted execution its permit; recorded as skipped if an error of the server has overtaken it.
    pub(super) fn grant(&mut self, ticket: Ticket, permit: Permit) {
        // From the back: what waits for a permit has not been sent yet, so it stands there.
        match self.queue.iter_mut().rev().filter_map(Expected::running).find(|running| running.ticket == ticket) {
            Some(running) => running.permit = Some(permit),
            None => Running { permit: Some(permit), ..Running::new(ticket) }.finish(Finish::Skipped),
        }
    }

    /// Takes a noted execution back, with everything behind it: nothing of it was sent.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Behind {
        let mut places = self.queue.iter_mut().enumerate().rev();
        let place = places.find_map(|(place, expected)| expected.running().filter(|running| running.ticket == ticket).map(|_| place));
        let Some(place) = place else { return Behind::More };
        let behind = self.queue.split_off(place);
        let syncs = behind.iter().filter(|expected| matches!(expected, Expected::Sync)).count();
        let ends_with_sync = matches!(behind.back(), Some(Expected::Sync));
        let mixed =
            behind.iter().skip(1).any(|expected| matches!(expected, Expected::Query(_) | Expected::CopyData | Expected::Refusal(_)));
        for expected in behind {
            self.skip(expected);
        }
        match (syncs, ends_with_sync) {
            _ if mixed => Behind::More,
            (0, _) => Behind::Nothing,
            (1, true) => Behind::Sync,
            _ => Behind::More,
        }
    }

    /// Notes a refusal in the extended protocol: the probe is about to be sent, and all until Sync is thrown away.
    pub(super) fn expect_refusal(&mut self, refusal: Bytes) {
        self.queue.push_back(Expected::Refusal(refusal));
        self.discarding = true;
    }

    /// Notes that the server reads on behind the message just noted, whatever becomes of it.
    pub(super) fn pass_boundary(&mut self) {
        self.boundaries += 1;
    }

    /// Notes a Sync about to be forwarded.
    pub(super) fn expect_sync(&mut self) {
        self.discarding = false;
        self.pass_boundary();
        // In the midst of COPY FROM STDIN the server ignores Sync (section 54.2.6).
        if !self.copy_in {
            self.queue.push_back(Expected::Sync);
        }
    }

    /// Notes that the client begins to send COPY data.
    pub(super) fn begin_copy_data(&mut self) {
        self.copy_in = false;
        if !self.queue.is_empty() {
            self.queue.push_back(Expected::CopyData);
        }
    }

    /// Notes that the client sends something else before its COPY data has ended. False if the server is known to take
    /// COPY data: it would ignore a Sync and swallow anything else, and the replies behind could not be told apart.
    ///
    /// After a copy that failed there is nothing wrong with it: clients stop in the midst of their data then.
    pub(super) fn break_copy_data(&mut self) -> bool {
        if !self.copying && !self.queue.is_empty() {
            self.queue.push_back(Expected::BrokenCopyData);
        }
        !self.copying
    }

    /// Takes in a message of the server: its type, its whole length, and its body as far as `peek` holds it.
    pub(super) fn reply(&mut self, kind: u8, length: u64, peek: &Peek<'_>) -> Fate {
        if let Some(Expected::Execute(running) | Expected::Query(running)) = self.queue.front_mut() {
            running.bytes += length;
            if kind == b'D' {
                running.data_rows += 1;
            }
        }
        let fate = self.settle(kind, peek);
        // The marks of COPY data have done their duty once they are the first in the queue.
        while matches!(self.queue.front(), Some(Expected::CopyData | Expected::BrokenCopyData)) {
            self.queue.pop_front();
        }
        fate
    }

    fn settle(&mut self, kind: u8, peek: &Peek<'_>) -> Fate {
        match (kind, peek) {
            (b'D' | b'd' | b'c' | b'H' | b'N' | b'A' | b't' | b'V', _) => Fate::Forward,
            (b'S', Peek::Setting(body)) => {
                self.settings.learn(body);
                Fate::Forward
            }
            (b'1' | b'2' | b'3' | b'n' | b'T', _) => self.acknowledged(kind),
            (b'C' | b's' | b'I', _) => self.executed(kind, peek),
            (b'G' | b'W', _) => self.copy_in_started(),
            (b'E', Peek::Error(Severity::Error, sqlstate)) => self.failed(*sqlstate),
            (b'E', Peek::Error(Severity::Fatal, sqlstate)) => self.ended(*sqlstate),
            (b'Z', Peek::Transaction(status)) => self.ready(*status),
            _ => Fate::OutOfStep,
        }
    }

    fn acknowledged(&mut self, kind: u8) -> Fate {
        match (kind, self.queue.front()) {
            // The row descriptions inside a simple query's reply.
            (b'T', Some(Expected::Query(_))) => return Fate::Forward,
            (b'1', Some(Expected::Parse(name, binding))) => self.statements.confirm(name, *binding),
            (b'2', Some(Expected::Bind(name, binding))) => self.portals.confirm(name, *binding),
            (b'3', Some(Expected::Close(closing))) => {
                let closing = closing.clone();
                self.close(&closing);
            }
            (b'n' | b'T', Some(Expected::Describe)) => {}
            _ => return Fate::OutOfStep,
        }
        self.queue.pop_front();
        Fate::Forward
    }

    fn executed(&mut self, kind: u8, peek: &Peek<'_>) -> Fate {
        self.copying = false;
        match self.queue.front_mut() {
            Some(Expected::Query(running)) if kind != b's' => {
                if let Peek::Tag(Some(rows)) = peek {
                    running.tagged_rows = Some(running.tagged_rows.unwrap_or(0) + rows);
                }
                Fate::Forward
            }
            Some(Expected::Execute(running)) => {
                if let Peek::Tag(rows) = peek {
                    running.tagged_rows = *rows;
                }
                self.copy_in = false;
                if let Some(Expected::Execute(running)) = self.queue.pop_front() {
                    self.close_what_was_dropped(&running);
                    running.finish(Finish::Replied);
                }
                Fate::Forward
            }
            _ => Fate::OutOfStep,
        }
    }

    fn close_what_was_dropped(&mut self, running: &Running) {
        if running.sqlstate.is_none() {
            running.closing.iter().for_each(|closing| self.close(closing));
        }
    }

    fn close(&mut self, closing: &Closing) {
        match closing {
            Closing::Statement(name, through) => self.statements.close(name, *through),
            Closing::Statements(through) => self.statements.close_all(*through),
            Closing::Portal(name, through) => self.portals.close(name, *through),
        }
    }

    /// The server waits for COPY data, or, in a replication stream, sends and takes it at once. In the extended protocol it ignores every Sync until the data ends, and clients
    /// such as libpq have sent one already.
    fn copy_in_started(&mut self) -> Fate {
        if self.queue.iter().any(|expected| matches!(expected, Expected::BrokenCopyData)) {
            return Fate::OutOfStep;
        }
        self.copying = true;
        match self.queue.front() {
            Some(Expected::Query(_)) => Fate::Forward,
            Some(Expected::Execute(_)) => {
                let data = self.queue.iter().position(|expected| matches!(expected, Expected::CopyData));
                let before_data = data.unwrap_or(self.queue.len());
                self.copy_in = data.is_none();
                let mut place = 0;
                self.queue.retain(|expected| {
                    place += 1;
                    place > before_data || !matches!(expected, Expected::Sync)
                });
                Fate::Forward
            }
            _ => Fate::OutOfStep,
        }
    }

    fn failed(&mut self, sqlstate: Option<&str>) -> Fate {
        self.copy_in = false;
        self.copying = false;
        match self.queue.front_mut() {
            Some(Expected::Query(running)) => {
                running.sqlstate = Some(sqlstate.unwrap_or_default().to_owned());
                Fate::Forward
            }
            // A failing commit.
            Some(Expected::Sync) | None => Fate::Forward,
            Some(Expected::Refusal(_)) => match self.queue.pop_front() {
                Some(Expected::Refusal(ours)) => {
                    self.skip_to_sync();
                    Fate::Replace(ours)
                }
                _ => Fate::OutOfStep,
            },
            Some(Expected::Execute(running)) => {
                running.sqlstate = Some(sqlstate.unwrap_or_default().to_owned());
                if let Some(Expected::Execute(running)) = self.queue.pop_front() {
                    running.finish(Finish::Replied);
                }
                self.skip_to_sync();
                Fate::Forward
            }
            Some(
                Expected::Parse(..)
                | Expected::Bind(..)
                | Expected::Describe
                | Expected::Close(_)
                | Expected::CopyData
                | Expected::BrokenCopyData,
            ) => {
                self.skip_to_sync();
                Fate::Forward
            }
        }
    }

    /// The server ends the session: what it was at has failed, and what it was asked for behind that it will not run.
    fn ended(&mut self, sqlstate: Option<&str>) -> Fate {
        let sqlstate = sqlstate.unwrap_or_default();
        self.farewell = Some(sqlstate.to_owned());
        if let Some(Expected::Execute(mut running) | Expected::Query(mut running)) = self.queue.pop_front() {
            running.sqlstate = Some(sqlstate.to_owned());
            running.finish(Finish::Replied);
        }
        for expected in self.queue.drain(..) {
            if let Expected::Execute(running) | Expected::Query(running) = expected {
                running.finish(Finish::Skipped);
            }
        }
        Fate::Forward
    }

    /// What the server throws away after an error, we do too: all until Sync.
    fn skip_to_sync(&mut self) {
        while let Some(expected) = self.queue.pop_front() {
            if matches!(expected, Expected::Sync) {
                self.queue.push_front(expected);
                return;
            }
            self.skip(expected);
        }
        self.discarding = true;
    }

    /// Settles what will not happen.
    fn skip(&mut self, expected: Expected) {
        match expected {
            Expected::Execute(running) | Expected::Query(running) => running.finish(Finish::Skipped),
            Expected::Parse(name, binding) => self.statements.reject(&name, binding),
            Expected::Bind(name, binding) => self.portals.reject(&name, binding),
            Expected::Describe
            | Expected::Close(_)
            | Expected::Sync
            | Expected::Refusal(_)
            | Expected::CopyData
            | Expected::BrokenCopyData => {}
        }
    }

    fn ready(&mut self, status: u8) -> Fate {
        self.transaction = status;
        match self.queue.pop_front() {
            Some(Expected::Query(running)) => {
                self.close_what_was_dropped(&running);
                running.finish(Finish::Replied);
                Fate::Forward
            }
            Some(Expected::Sync) => Fate::Forward,
            Some(_) | None => Fate::OutOfStep,
        }
    }
}

/// What had to be read of a message's body.
pub(super) enum Peek<'a> {
    /// Nothing.
    Nothing,
    /// The rows in a command tag.
    Tag(Option<u64>),
    /// A ParameterStatus body.
    Setting(&'a [u8]),
    /// How grave an error is, and its SQLSTATE.
    Error(Severity, Option<&'a str>),
    /// The transaction status of ReadyForQuery.
    Transaction(u8),
}
