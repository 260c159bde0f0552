//! What a proxy's audit log says.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tollhouse::audit::read::{Execution, Executions, Line, Lines};
use tollhouse::audit::verify::{Tail, verify};

/// The records of a log, in order.
pub(crate) struct Evidence {
    /// All of them.
    pub(crate) lines: Vec<Line>,
    /// Every file of the log lies here, for as long as this lives.
    pub(crate) directory: TempDir,
}

/// The records that are in a log now.
pub(crate) fn read(log: &Path) -> Vec<Line> {
    let mut lines = Lines::open(log).unwrap();
    std::iter::from_fn(|| lines.next_line().unwrap()).collect()
}

impl Evidence {
    /// Proves a log that was closed, and reads it.
    pub(crate) fn of_closed_log(log: &Path, directory: TempDir) -> Self {
        let report = verify(log, &[]).unwrap();
        assert!(report.proven, "{:?}", report.flaw);
        assert_eq!(report.tail, Tail::Closed);
        Self { lines: read(log), directory }
    }

    /// The records of one kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.kind == kind).collect()
    }

    /// One text field of each record of a kind.
    pub(crate) fn texts(&self, kind: &str, field: &str) -> Vec<&str> {
        self.of_kind(kind).into_iter().filter_map(|line| line.fields.get(field).and_then(Value::as_str)).collect()
    }

    /// The record that a client was told of, in the detail of an error.
    pub(crate) fn told(&self, detail: &str) -> &Line {
        let found = self.lines.iter().find(|line| detail.contains(&format!("audit record {}.", line.id())));
        found.unwrap_or_else(|| panic!("no record is named in: {detail}"))
    }

    /// The executions of exactly this text.
    pub(crate) fn executions(&self, sql: &str) -> Vec<Execution> {
        let mut texts: HashMap<&str, &str> = HashMap::new();
        for line in self.of_kind("statement") {
            texts.insert(line.fields["digest"].as_str().unwrap(), line.fields["text"].as_str().unwrap());
        }
        let mut joined = Executions::default();
        let ended = self.lines.iter().flat_map(|line| joined.take(line)).collect::<Vec<_>>();
        ended.into_iter().filter(|execution| texts.get(execution.digest.as_str()) == Some(&sql)).collect()
    }

    /// The one execution of exactly this text.
    pub(crate) fn execution(&self, sql: &str) -> Execution {
        let mut found = self.executions(sql);
        assert_eq!(found.len(), 1, "executions of {sql}: {found:?}");
        found.remove(0)
    }
}
