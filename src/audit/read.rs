//! Reads a log for people: record by record, execution by execution, or all that belongs to one record.
//!
//! Nothing is proven here; that is the work of [`super::verify`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::frame::{Next, Reader};
use super::storage::Storage;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory or a segment cannot be read.
    #[error("{path} cannot be read", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no segment in the directory.
    #[error("{directory} holds no audit log", directory = directory.display())]
    NoLog {
        /// Which directory.
        directory: PathBuf,
    },
    /// A frame holds something else than a record.
    #[error("{file}, byte {offset}: no record; run `tollhouse audit verify`", file = file.display())]
    NoRecord {
        /// The segment.
        file: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
}

/// One record, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its number in the log.
    pub seq: u64,
    /// The boot that wrote it.
    pub boot: String,
    /// What it is about.
    pub kind: String,
    /// When, as RFC 3339 in UTC.
    pub time: String,
    /// The fields of its kind.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Line {
    /// Its name, as clients and other records know it.
    pub fn id(&self) -> String {
        format!("{}-{}", self.boot, self.seq)
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    fn at(&self, pointer: [&str; 2]) -> Option<&str> {
        let [outer, inner] = pointer;
        self.fields.get(outer)?.get(inner)?.as_str()
    }

    fn list(&self, field: &str) -> Vec<String> {
        let items = self.fields.get(field).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// Reads the records of a log in order. At the end it can be asked again later: that is how a growing log is followed.
pub struct Lines {
    storage: Storage,
    segment: u64,
    offset: u64,
    reader: Option<Reader>,
}

impl Lines {
    /// Begins at the first segment.
    ///
    /// # Errors
    /// `NoLog`, or `Io`.
    pub fn open(directory: &Path) -> Result<Self, ReadError> {
        let storage = Storage::new(directory);
        let segments = storage.segments().map_err(|source| ReadError::Io { path: directory.to_owned(), source })?;
        let segment = segments.first().copied().ok_or(ReadError::NoLog { directory: directory.to_owned() })?;
        Ok(Self { storage, segment, offset: 0, reader: None })
    }

    /// The next record; `None` at the end, and at a torn or damaged frame.
    ///
    /// # Errors
    /// `Io`, or `NoRecord`.
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            let path = self.storage.segment_path(self.segment);
            let failed = |source| ReadError::Io { path: path.clone(), source };
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let mut reader = Reader::open(&path).map_err(failed)?;
                    reader.seek(self.offset).map_err(failed)?;
                    self.reader.insert(reader)
                }
            };
            match reader.next().map_err(failed)? {
                Next::Frame(frame) => {
                    self.offset = reader.offset();
                    let line = serde_json::from_slice(&frame.payload);
                    return line.map(Some).map_err(|_| ReadError::NoRecord { file: path, offset: frame.offset });
                }
                Next::End | Next::Bad { .. } => {
                    // The segment may have grown since it was opened.
                    let fresh = self.reader.take().is_some_and(|reader| reader.length() == length(&path));
                    if fresh && !self.advance() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Goes on to the next segment, where there is one.
    fn advance(&mut self) -> bool {
        let next = self.storage.segment_path(self.segment + 1).exists();
        if next {
            self.segment += 1;
            self.offset = 0;
        }
        next
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// One execution as a row: the attempt or refusal, joined with what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// The record of the attempt or refusal.
    pub id: String,
    /// When it was asked for.
    pub time: String,
    /// Who: the subject, and who acts for it (`agent for ada`). `None` where the records of its session are cut off.
    pub principal: Option<String>,
    /// `allowed`, `observed` or `denied`.
    pub verdict: String,
    /// The rule that decided, where one did.
    pub rule: Option<String>,
    /// The reason code of a denial.
    pub reason: Option<String>,
    /// What dbt claims: the node, or the connection where it names no node.
    pub dbt: Option<String>,
    /// The statements' verbs.
    pub verbs: Vec<String>,
    /// The tables, as `database.schema.name`.
    pub tables: Vec<String>,
    /// Digest of the text.
    pub digest: String,
    /// How it ended: a status, `denied`, `unfinished` where its boot ended first, or `running`.
    pub status: String,
    /// Rows, where known.
    pub rows: Option<u64>,
    /// Time from admission to the end of the reply.
    pub duration_us: Option<u64>,
    /// SQLSTATE of an error.
    pub sqlstate: Option<String>,
    /// The name of the error, where the warehouse has names instead.
    pub error: Option<String>,
    /// The warehouse's own name for the execution.
    pub query_id: Option<String>,
    /// Where results lie that the client fetches without passing here, if any do.
    pub out_of_band: Option<String>,
}

impl Execution {
    fn new(line: &Line, status: &str) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            id: line.id(),
            time: line.time.clone(),
            principal: None,
            verdict: owned(line.at(["decision", "verdict"])).unwrap_or_default(),
            rule: owned(line.at(["decision", "rule"])),
            reason: line.fields.get("decision").and_then(|it| it.get("denial")?.get("reason")?.as_str()).map(str::to_owned),
            dbt: owned(line.at(["dbt", "node"]).or(line.at(["dbt", "connection"]))),
            verbs: line.list("verbs"),
            tables: line.list("tables"),
            digest: owned(line.at(["sql", "digest"])).unwrap_or_default(),
            status: status.to_owned(),
            rows: None,
            duration_us: None,
            sqlstate: None,
            error: None,
            query_id: None,
            out_of_band: None,
        }
    }

    fn end(&mut self, outcome: &Line) {
        self.status = outcome.text("status").unwrap_or_default().to_owned();
        self.rows = outcome.fields.get("rows").and_then(Value::as_u64);
        self.duration_us = outcome.fields.get("duration_us").and_then(Value::as_u64);
        self.sqlstate = outcome.text("sqlstate").map(str::to_owned);
        self.error = outcome.text("error").map(str::to_owned);
        self.query_id = outcome.text("query_id").map(str::to_owned);
        self.out_of_band = outcome.text("out_of_band").map(str::to_owned);
    }
}

/// Joins attempts with their outcomes and sessions. Holds no more than the attempts in flight, and who has each live session.
#[derive(Default)]
pub struct Executions {
    running: BTreeMap<String, Execution>,
    principals: BTreeMap<String, String>,
}

impl Executions {
    /// Takes one more record and gives the executions that it ends.
    pub fn take(&mut self, line: &Line) -> Vec<Execution> {
        match line.kind.as_str() {
            "session" => {
                self.principals.extend(line.text("session").map(str::to_owned).zip(principal(line)));
                Vec::new()
            }
            "session-ended" => {
                line.text("session").and_then(|session| self.principals.remove(session));
                Vec::new()
            }
            // The sessions of an earlier boot.
            "opened" => {
                self.principals.clear();
                Vec::new()
            }
            "attempt" => {
                self.running.insert(line.id(), self.execution(line, "running"));
                Vec::new()
            }
            "denied" => vec![self.execution(line, "denied")],
            "outcome" => {
                let mut ended = line.text("attempt").and_then(|attempt| self.running.remove(attempt));
                if let Some(execution) = &mut ended {
                    execution.end(line);
                }
                ended.into_iter().collect()
            }
            "closed" | "recovered" => {
                let unfinished = line.list("unfinished");
                let ended = unfinished.iter().filter_map(|attempt| self.running.remove(attempt));
                ended.map(|execution| Execution { status: "unfinished".into(), ..execution }).collect()
            }
            _ => Vec::new(),
        }
    }

    fn execution(&self, line: &Line, status: &str) -> Execution {
        let principal = line.text("session").and_then(|session| self.principals.get(session)).cloned();
        Execution { principal, ..Execution::new(line, status) }
    }

    /// Those that have not ended.
    pub fn running(self) -> impl Iterator<Item = Execution> {
        self.running.into_values()
    }
}

/// Who has a session, in one line.
fn principal(session: &Line) -> Option<String> {
    let subject = session.at(["principal", "subject"])?;
    let actors = session.fields.get("principal")?.get("actors").and_then(Value::as_array).into_iter().flatten();
    let mut acting: Vec<&str> = actors.filter_map(|actor| actor.get("subject")?.as_str()).collect();
    acting.push(subject);
    Some(acting.join(" for "))
}

/// Everything that belongs to one record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Story {
    /// The record itself.
    pub record: Line,
    /// What came of it, for an attempt that has ended.
    pub outcome: Option<Line>,
    /// The facts of its session.
    pub session: Option<Line>,
    /// The text of its statement.
    pub statement: Option<String>,
}

/// Finds the record called `id` (`<boot id>-<number>`, or the number alone) and what belongs to it; `None` where there
/// is no such record. Reads the log up to the outcome.
///
/// # Errors
/// [`ReadError`].
pub fn story(directory: &Path, id: &str) -> Result<Option<Story>, ReadError> {
    let mut lines = Lines::open(directory)?;
    let record = loop {
        match lines.next_line()? {
            Some(line) if line.id() == id || line.seq.to_string() == id => break line,
            Some(_) => {}
            None => return Ok(None),
        }
    };
    // What a record refers to is defined before it in the same segment.
    let storage = lines.storage.clone();
    let mut segment = Lines { storage, segment: lines.segment, offset: 0, reader: None };
    let (mut session, mut statement) = (None, None);
    let digest = record.at(["sql", "digest"]);
    while let Some(line) = segment.next_line()?.filter(|line| line.seq < record.seq) {
        match line.kind.as_str() {
            "session" if line.text("session") == record.text("session") => session = Some(line),
            "statement" if line.text("digest") == digest => statement = line.text("text").map(str::to_owned),
            _ => {}
        }
    }
    let mut outcome = None;
    if record.kind == "attempt" {
        let id = record.id();
        while let Some(line) = lines.next_line()? {
            let ends = match line.kind.as_str() {
                "outcome" => line.text("attempt") == Some(&id),
                "closed" | "recovered" => line.list("unfinished").contains(&id),
                _ => false,
            };
            if ends {
                outcome = Some(line);
                break;
            }
        }
    }
    Ok(Some(Story { record, outcome, session, statement }))
}

#[cfg(test)]
mod tests {
    use super::{Executions, Lines, story};
    use crate::audit::tests::{Fixture, completed};

    fn statuses(lines: &mut Lines, executions: &mut Executions) -> Vec<String> {
        let mut ended = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            ended.extend(executions.take(&line).into_iter().map(|execution| execution.status));
        }
        ended
    }

    #[tokio::test]
    async fn an_attempt_and_its_outcome_are_one_execution() {
        let fixture = Fixture::new();
        let log = fixture.open();
        log.attempt(&fixture.attempt("select 1")).await.unwrap().finish(&completed(3));
        log.refuse(&fixture.attempt("select 2")).await.unwrap();
        let unfinished = log.attempt(&fixture.attempt("select 3")).await.unwrap();
        let (mut lines, mut executions) = (Lines::open(fixture.path()).unwrap(), Executions::default());
        assert_eq!(statuses(&mut lines, &mut executions), ["completed", "denied"]);
        assert_eq!(executions.running.len(), 1);

        log.close().await.unwrap();
        drop(unfinished);
        assert_eq!(statuses(&mut lines, &mut executions), ["unfinished"], "a growing log can be followed");
    }

    #[tokio::test]
    async fn the_story_of_an_attempt_has_its_text_session_and_outcome() {
        let fixture = Fixture::new();
        let log = fixture.open();
        log.refuse(&fixture.attempt("select 'other'")).await.unwrap();
        let entry = log.attempt(&fixture.attempt("select 'this'")).await.unwrap();
        let id = entry.id().to_string();
        entry.finish(&completed(3));
        log.close().await.unwrap();

        let story = story(fixture.path(), &id).unwrap().unwrap();
        assert_eq!(story.statement.as_deref(), Some("select 'this'"));
        assert_eq!(story.outcome.unwrap().fields["rows"], 3);
        assert_eq!(story.session.unwrap().fields["principal"]["subject"], "system:serviceaccount:shop:dbt");
        assert!(super::story(fixture.path(), "nobody-1").unwrap().is_none());
    }
}
