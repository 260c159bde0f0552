//! From the client to the server: what the gate permits, in the client's own bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

use super::flow::{Closing, Expected};
use super::message::{Fields, HEADER_BYTES};
use super::names::{Name, Prepared};
use super::outbox::{HELD_MAX, Outbox, Withheld};
use super::refuse::{self, Probe};
use super::session::{Session, Shared, Surroundings, Tally};
use super::statement::{self, Context};
use super::wire::{Message, Reader, WireError};
use crate::audit::{Execution, Protocol};
use crate::fault::{Fault, Reason};
use crate::gate::Refusal;
use crate::sql::Effect;
use crate::tls::stream::Stream;

/// Bytes gathered before they are written, while more messages are waiting.
const OUT_BYTES: usize = 32 * 1024;

/// Longest message with nothing but a name in it (Execute, Describe, Close), and longest start of a Bind.
const NAMES_BYTES_MAX: usize = 8 * 1024;

/// A Sync message.
const SYNC: &[u8] = b"S\0\0\0\x04";

/// The direction from the client to the server.
pub(super) struct FromClient<'a> {
    reader: Reader<ReadHalf<Stream>>,
    to: WriteHalf<Stream>,
    out: Outbox,
    shared: &'a Shared,
    session: &'a Session,
    around: &'a Surroundings,
    context: Context,
    copying: bool,
    /// Whether the last CopyData was not followed by its end yet.
    amid_copy_data: bool,
    /// Whether a statement did not fit the dbt node that it names: the log says so once in a session.
    has_warned: bool,
}

/// Whether the session goes on after a message.
enum Next {
    Message,
    End,
}

impl<'a> FromClient<'a> {
    /// The direction, before its first byte.
    pub(super) fn new(
        reader: Reader<ReadHalf<Stream>>,
        to: WriteHalf<Stream>,
        shared: &'a Shared,
        session: &'a Session,
        around: &'a Surroundings,
    ) -> Self {
        let limits = around.limits.sql();
        let context = Context::new(session, around.dialect, limits, Arc::clone(&around.analyses));
        Self {
            reader,
            to,
            out: Outbox::default(),
            shared,
            session,
            around,
            context,
            copying: false,
            amid_copy_data: false,
            has_warned: false,
        }
    }

    /// Relays until the client has terminated the session; then it waits for the server to close.
    ///
    /// # Errors
    /// The client is gone or breaks the protocol, or the server is gone.
    pub(super) async fn run(&mut self) -> Result<(), Fault> {
        loop {
            self.wait_for_room().await?;
            let (kind, length) = self.next().await?;
            self.shared.touch();
            match self.relay_message(kind, length).await? {
                Next::Message => {}
                Next::End => {
                    self.flush().await?;
                    // The server answers what is still under way and closes; the other direction sees that.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn relay_message(&mut self, kind: u8, length: usize) -> Result<Next, Fault> {
        if length > self.around.limits.message_size.as_usize() {
            return Err(Fault::new(Reason::MessageTooLarge).about("limits.message_size"));
        }
        let copying = std::mem::replace(&mut self.copying, matches!(kind, b'd' | b'c' | b'f'));
        self.keep_to_copy_data(kind)?;
        match kind {
            b'X' => {
                self.relay(HEADER_BYTES + length).await?;
                return Ok(Next::End);
            }
            b'S' if length == 0 => {
                self.shared.flow().expect_sync();
                self.relay(HEADER_BYTES).await?;
            }
            b'Q' | b'P' | b'F' if length > self.around.limits.statement_size.as_usize() => {
                self.discard(HEADER_BYTES + length).await?;
                let fault = Fault::new(Reason::MessageTooLarge).about("limits.statement_size");
                self.refuse(kind, &refuse::unrecorded(&fault));
                tracing::warn!(session = self.session.facts.id, reason = fault.reason.code(), "a statement was refused");
            }
            _ if self.shared.flow().is_discarding() => self.discard(HEADER_BYTES + length).await?,
            b'Q' => self.query(length).await?,
            b'P' => self.parse(length).await?,
            b'B' => self.bind(length).await?,
            b'E' => self.execute(length).await?,
            b'D' | b'C' => self.describe_or_close(kind, length).await?,
            b'F' => self.function_call(length).await?,
            b'd' | b'c' | b'f' => {
                if !copying {
                    self.shared.flow().begin_copy_data();
                }
                self.relay(HEADER_BYTES + length).await?;
            }
            b'H' => self.relay(HEADER_BYTES + length).await?,
            _ => return Err(violation("a message of an unknown type")),
        }
        Ok(Next::Message)
    }

    /// Follows the client's COPY data to its end (CopyDone or CopyFail); Flush and Terminate may come amid it.
    fn keep_to_copy_data(&mut self, kind: u8) -> Result<(), Fault> {
        let was_amid = self.amid_copy_data;
        self.amid_copy_data = kind == b'd' || (was_amid && matches!(kind, b'H' | b'X'));
        let broken = was_amid && !matches!(kind, b'd' | b'c' | b'f' | b'H' | b'X');
        if broken && !self.shared.flow().break_copy_data() {
            return Err(violation("another message in the midst of COPY data"));
        }
        Ok(())
    }

    async fn query(&mut self, length: usize) -> Result<(), Fault> {
        let message = self.take(length).await?;
        let text = only_string(message.body()).ok_or_else(|| violation("a malformed Query"))?;
        let prepared = self.read(text);
        if prepared.prepares() && self.holds_too_many() {
            self.refuse_prepared(b'Q');
            return Ok(());
        }
        self.ask(&prepared, Protocol::Simple, &message.bytes).await
    }

    async fn parse(&mut self, length: usize) -> Result<(), Fault> {
        let message = self.take(length).await?;
        let mut fields = Fields(message.body());
        let (Some(name), Some(text)) = (fields.string(), fields.string()) else {
            return Err(violation("a malformed Parse"));
        };
        if self.holds_too_many() {
            self.refuse_prepared(b'P');
            return Ok(());
        }
        let prepared = Arc::new(self.read(text));
        if let Err(refusal) = self.check(&prepared).await {
            self.refuse(b'P', &refuse::error(&refusal));
            return Ok(());
        }
        let mut flow = self.shared.flow();
        let (name, boundaries) = (Name::new(name), flow.boundaries);
        let binding = flow.statements.bind(name.clone(), prepared, boundaries);
        flow.expect(Expected::Parse(name, binding));
        drop(flow);
        self.out.put(&message.bytes);
        Ok(())
    }

    async fn bind(&mut self, length: usize) -> Result<(), Fault> {
        let start = length.min(NAMES_BYTES_MAX);
        self.fill(HEADER_BYTES + start).await?;
        let body = self.reader.buffer.get(HEADER_BYTES..HEADER_BYTES + start).unwrap_or_default();
        let mut fields = Fields(body);
        let (Some(portal), Some(name)) = (fields.string(), fields.string()) else {
            return Err(violation("a malformed Bind"));
        };
        let (portal, name) = (Name::new(portal), Name::new(name));
        {
            let mut flow = self.shared.flow();
            let boundaries = flow.boundaries;
            let prepared = statement::any_of(flow.statements.find(&name, boundaries));
            let binding = flow.portals.bind(portal.clone(), prepared, boundaries);
            flow.expect(Expected::Bind(portal, binding));
        }
        self.relay(HEADER_BYTES + length).await
    }

    async fn execute(&mut self, length: usize) -> Result<(), Fault> {
        let message = self.take_names(length).await?;
        let portal = Fields(message.body()).string().ok_or_else(|| violation("a malformed Execute"))?;
        let prepared = {
            let flow = self.shared.flow();
            statement::any_of(flow.portals.find(&Name::new(portal), flow.boundaries))
        };
        self.ask(&prepared, Protocol::Extended, &message.bytes).await
    }

    async fn describe_or_close(&mut self, kind: u8, length: usize) -> Result<(), Fault> {
        let message = self.take_names(length).await?;
        let mut fields = Fields(message.body());
        let (Some(what), Some(name)) = (fields.byte(), fields.string()) else {
            return Err(violation("a malformed Describe or Close"));
        };
        let mut flow = self.shared.flow();
        let expected = match (kind, what) {
            (b'C', b'S') => Expected::Close(Closing::Statement(Name::new(name), flow.statements.newest())),
            (b'C', b'P') => Expected::Close(Closing::Portal(Name::new(name), flow.portals.newest())),
            (_, b'S' | b'P') => Expected::Describe,
            _ => return Err(violation("a malformed Describe or Close")),
        };
        flow.expect(expected);
        drop(flow);
        self.out.put(&message.bytes);
        Ok(())
    }

    async fn function_call(&mut self, length: usize) -> Result<(), Fault> {
        let message = self.take(length).await?;
        let prepared = statement::function_call();
        self.ask(&prepared, Protocol::FunctionCall, &message.bytes).await
    }

    fn read(&mut self, text: &[u8]) -> Prepared {
        let manifest = self.around.gate.manifest();
        let prepared = self.context.read(text, &self.shared.flow(), manifest.as_deref());
        if let Some(mismatch) = prepared.standing.mismatch()
            && !std::mem::replace(&mut self.has_warned, true)
        {
            let session = &self.session.facts.id;
            tracing::warn!(session, mismatch = mismatch.as_str(), "a statement does not fit the dbt node that it names");
        }
        prepared
    }

    /// Whether the session has as many prepared statements as it may have, counting each that may stand behind a name.
    fn holds_too_many(&self) -> bool {
        self.shared.flow().statements.held() >= self.around.limits.prepared_statements_max
    }

    fn refuse_prepared(&mut self, kind: u8) {
        let fault = Fault::new(Reason::TooManyPrepared).about("limits.prepared_statements_max");
        self.refuse(kind, &refuse::unrecorded(&fault));
        tracing::warn!(session = self.session.facts.id, reason = fault.reason.code(), "a statement was refused");
    }

    /// Asks the gate about an execution; its bytes leave once it is permitted, or the client is refused.
    async fn ask(&mut self, prepared: &Prepared, protocol: Protocol, bytes: &[u8]) -> Result<(), Fault> {
        if self.out.held() >= HELD_MAX || (self.out.held() > 0 && self.around.gate.audit().is_crowded()) {
            self.flush().await?;
        }
        Tally::add(&self.session.tally.executions, 1);
        let effects = self.effects(prepared);
        let judged = self.around.gate.judge(&self.execution(prepared, protocol, &effects)).await;
        let judged = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                self.refuse(bytes.first().copied().unwrap_or_default(), &refuse::error(&refusal));
                return Ok(());
            }
        };
        let mut flow = self.shared.flow();
        let closing = statement::closings(&prepared.analysis, &flow);
        let wrap = if protocol == Protocol::Extended { Expected::Execute } else { Expected::Query };
        if let Some(ticket) = flow.expect_execution(wrap, closing) {
            self.context.admitted(prepared, &mut flow);
            if protocol != Protocol::Extended {
                flow.pass_boundary();
            }
            self.out.hold(ticket, judged, bytes);
        }
        Ok(())
    }

    async fn check(&self, prepared: &Prepared) -> Result<(), Refusal> {
        let effects = self.effects(prepared);
        self.around.gate.check(&self.execution(prepared, Protocol::Extended, &effects)).await
    }

    /// Every effect as the session knows it at this moment.
    fn effects<'e>(&self, prepared: &'e Prepared) -> Cow<'e, [Effect]> {
        let effects = statement::effects(&prepared.analysis, &self.shared.flow());
        self.session.sessions.claim(effects, &self.session.owner)
    }

    fn execution<'e>(&'e self, prepared: &'e Prepared, protocol: Protocol, effects: &'e [Effect]) -> Execution<'e> {
        Execution {
            session: &self.session.facts,
            sql: &prepared.sql,
            protocol,
            analysis: &prepared.analysis,
            effects,
            unqualified_schema: self.context.unqualified_schema(),
            dbt: prepared.claim(),
        }
    }

    /// Makes the server fail in place of a message of type `kind`, and the client read `ours`.
    fn refuse(&mut self, kind: u8, ours: &Bytes) {
        Tally::add(&self.session.tally.denied, 1);
        let Probe { extended, simple } = &self.around.probe;
        let mut flow = self.shared.flow();
        if flow.is_discarding() {
            return;
        }
        flow.expect_refusal(ours.clone());
        if matches!(kind, b'Q' | b'F') {
            flow.expect_sync();
            self.out.put(simple);
        } else {
            self.out.put(extended);
        }
    }

    async fn wait_for_room(&mut self) -> Result<(), Fault> {
        loop {
            let settled = self.shared.settled.notified();
            if !self.shared.flow().is_full() {
                return Ok(());
            }
            self.flush().await?;
            settled.await;
        }
    }

    async fn next(&mut self) -> Result<(u8, usize), Fault> {
        self.fill(HEADER_BYTES).await?;
        self.reader.header().await.map_err(WireError::by_client)
    }

    /// Waits for `count` bytes; what was gathered is written first, because the client may wait for its reply.
    async fn fill(&mut self, count: usize) -> Result<(), Fault> {
        if self.reader.buffer.len() < count {
            self.flush().await?;
            self.reader.fill(count).await.map_err(WireError::by_client)?;
        }
        Ok(())
    }

    async fn take(&mut self, length: usize) -> Result<Message, Fault> {
        self.fill(HEADER_BYTES + length).await?;
        self.reader.message(length).await.map_err(WireError::by_client)
    }

    async fn take_names(&mut self, length: usize) -> Result<Message, Fault> {
        if length > NAMES_BYTES_MAX {
            return Err(violation("a name of impossible length"));
        }
        self.take(length).await
    }

    /// Relays the next `count` bytes as they come, whatever their number.
    async fn relay(&mut self, mut count: usize) -> Result<(), Fault> {
        loop {
            let there = count.min(self.reader.buffer.len());
            if self.out.len() + there > OUT_BYTES {
                self.flush().await?;
                let chunk = self.reader.buffer.split_to(there);
                self.write(&chunk).await?;
            } else {
                self.out.put(self.reader.buffer.get(..there).unwrap_or_default());
                self.reader.buffer.advance(there);
            }
            count -= there;
            if count == 0 {
                return Ok(());
            }
            self.fill(1).await?;
        }
    }

    async fn discard(&mut self, mut count: usize) -> Result<(), Fault> {
        loop {
            let there = count.min(self.reader.buffer.len());
            self.reader.buffer.advance(there);
            count -= there;
            if count == 0 {
                return Ok(());
            }
            self.fill(1).await?;
        }
    }

    /// Writes what was gathered, once all of it is permitted.
    async fn flush(&mut self) -> Result<(), Fault> {
        loop {
            match self.out.release(&self.around.gate, self.shared).await {
                Ok(bytes) if bytes.is_empty() => return Ok(()),
                Ok(bytes) => return self.write(&bytes).await,
                Err(Withheld::Refused { kind, refusal, synced }) => {
                    self.refuse(kind, &refuse::error(&refusal));
                    if synced {
                        self.shared.flow().expect_sync();
                        self.out.put(SYNC);
                    }
                }
                Err(Withheld::Broken(fault)) => return Err(fault),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = async {
            self.to.write_all(bytes).await?;
            self.to.flush().await
        };
        written.await.map_err(|error: std::io::Error| Fault::new(Reason::TargetClosed).because(error))?;
        Tally::add(&self.session.tally.bytes_to_target, bytes.len());
        Ok(())
    }
}

fn violation(what: &str) -> Fault {
    Fault::new(Reason::ProtocolViolation).about(what)
}

/// The one string of a body that holds nothing else.
fn only_string(body: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(body);
    let text = fields.string()?;
    fields.0.is_empty().then_some(text)
}
