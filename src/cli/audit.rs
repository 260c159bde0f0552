//! `tollhouse audit`: proves a log, lists what ran, and tells the whole story of one record.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::audit::key::PublicKey;
use crate::audit::read::{self, Execution, Executions, Line, Lines, Story};
use crate::audit::verify::{KeySource, Report, Tail, verify};

/// How often `tail --follow` looks for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// Read and prove the audit log, offline.
///
/// No running proxy is needed, and one that is running is not disturbed. The log is the directory that
/// `audit.directory` of the configuration names; copy it as it is to read it elsewhere.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(Verify),
    Tail(TailArgs),
    Show(Show),
}

/// Where the log is and how to print.
#[derive(Debug, Args)]
struct Source {
    /// The directory of the log.
    #[arg(long, value_name = "DIRECTORY", env = "TOLLHOUSE_AUDIT_DIRECTORY")]
    directory: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Prove that no record is missing, changed or out of order before the last signed checkpoint.
///
/// Reads every segment: framing, checksums, sequence numbers without a gap, the hash chain, the signatures of the
/// checkpoints, the digests of statement texts, and that every attempt has an outcome or is accounted for. The first
/// thing that is wrong is named with its file and byte.
///
/// Records after the last checkpoint are chained but not signed: their number is printed. A torn frame at the very end
/// is what a crash leaves; it is reported and does not fail the proof.
///
/// Without --public-key the keys that lie beside the log are used. That finds damage and careless edits, but not one
/// who replaced the log and the keys together: keep the public key elsewhere and give it here.
///
/// Exit status: 0 proven, 1 not proven or not readable.
#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    source: Source,
    /// The Ed25519 public key that must have signed the checkpoints (SubjectPublicKeyInfo, PEM or DER). Repeat it for
    /// a log whose key has changed.
    #[arg(long = "public-key", value_name = "FILE")]
    public_keys: Vec<PathBuf>,
}

/// List executions: when, what was decided, who by dbt's account, on which tables, and what came of it.
///
/// Prints the last executions in the order in which they ended; those still running come last.
#[derive(Debug, Args)]
struct TailArgs {
    #[command(flatten)]
    source: Source,
    /// How many executions to print.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    lines: usize,
    /// Leave out executions that name no table: transactions, settings, and the like.
    #[arg(long)]
    tables: bool,
    /// Print further executions as they end, until interrupted.
    #[arg(short, long)]
    follow: bool,
}

/// Print one record with everything that belongs to it: session, identity, decision, outcome, statement text.
///
/// Exit status: 0 found, 1 not found or not readable.
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    source: Source,
    /// The record's id, as a refused client is told it and as `tail` prints it; or its number alone.
    id: String,
}

impl Command {
    /// Does what was asked.
    ///
    /// # Errors
    /// When the log cannot be read. A reader of our output that goes away is not an error.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        let done = match self.action {
            Action::Verify(verify) => verify.run(&mut out),
            Action::Tail(tail) => tail.run(&mut out),
            Action::Show(show) => show.run(&mut out),
        };
        match done {
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            done => done,
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl Verify {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let keys = self.public_keys.iter().map(|path| PublicKey::read(path)).collect::<Result<Vec<_>, _>>()?;
        let report = verify(&self.source.directory, &keys)?;
        match self.source.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
            Format::Text => write_report(out, &report)?,
        }
        Ok(if report.proven { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn write_report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    match &report.flaw {
        None => writeln!(out, "proven")?,
        Some(flaw) => writeln!(out, "NOT PROVEN: {flaw}")?,
    }
    let mut row = |name: &str, value: String| writeln!(out, "  {name:<14} {value}");
    row("records", format!("{} in {} segments, {} boots", report.records, report.segments, report.boots))?;
    if report.first_segment > 1 {
        row("from", format!("segment {}; earlier ones are not here and not proven", report.first_segment))?;
    }
    let last = report.last_proven.map_or("none".into(), |seq| format!("covers records up to {seq}"));
    row("checkpoints", format!("{}; the last {last}", report.checkpoints))?;
    row("not signed", format!("{} records after it", report.unproven_records))?;
    row("no outcome", format!("{} ended with their boot, {} in flight", report.unfinished, report.in_flight))?;
    row(
        "end",
        match &report.tail {
            Tail::Closed => "closed in order".into(),
            Tail::Open => "open: being written, or the program was killed".into(),
            Tail::Torn { offset, bytes } => {
                format!("torn: {bytes} bytes from byte {offset} on belong to no record; the next start cuts them")
            }
        },
    )?;
    let from = match report.keys_from {
        KeySource::Given => "given",
        KeySource::BesideTheLog => "from beside the log: give --public-key to exclude that both were replaced",
    };
    row("keys", format!("{} ({from})", report.keys.join(", ")))
}

impl TailArgs {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut lines = Lines::open(&self.source.directory)?;
        let mut executions = Executions::default();
        let mut last = VecDeque::new();
        while let Some(line) = lines.next_line()? {
            for execution in executions.take(&line).into_iter().filter(|execution| self.wants(execution)) {
                last.push_back(execution);
                if last.len() > self.lines {
                    last.pop_front();
                }
            }
        }
        if self.source.format == Format::Text {
            write_row(out, &HEADINGS)?;
        }
        for execution in &last {
            self.write(out, execution)?;
        }
        if self.follow {
            self.follow(out, &mut lines, &mut executions)?;
        }
        for execution in executions.running().filter(|execution| self.wants(execution)) {
            self.write(out, &execution)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn wants(&self, execution: &Execution) -> bool {
        !self.tables || !execution.tables.is_empty()
    }

    /// Prints what ends from now on; ends only with an error, such as a reader that went away.
    fn follow(&self, out: &mut impl Write, lines: &mut Lines, executions: &mut Executions) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().context("no timer")?;
        loop {
            while let Some(line) = lines.next_line()? {
                for execution in executions.take(&line).into_iter().filter(|execution| self.wants(execution)) {
                    self.write(out, &execution)?;
                }
            }
            out.flush()?;
            runtime.block_on(async { tokio::time::sleep(FOLLOW_INTERVAL).await });
        }
    }

    fn write(&self, out: &mut impl Write, execution: &Execution) -> anyhow::Result<()> {
        match self.source.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(execution)?)?,
            Format::Text => write_row(out, &row(execution).each_ref().map(String::as_str))?,
        }
        Ok(())
    }
}

const HEADINGS: [&str; 10] = ["TIME", "RECORD", "DECISION", "STATUS", "ROWS", "MS", "VERB", "PRINCIPAL", "DBT", "TABLES"];

/// One execution in columns. What a client wrote is printed without control characters.
fn row(execution: &Execution) -> [String; 10] {
    let seconds = execution.time.get(..19).unwrap_or(&execution.time);
    let status = match (&execution.reason, execution.sqlstate.as_ref().or(execution.error.as_ref())) {
        (Some(reason), _) => reason.clone(),
        (None, Some(sqlstate)) => format!("{} {sqlstate}", execution.status),
        (None, None) => execution.status.clone(),
    };
    [
        seconds.replace('T', " "),
        execution.id.clone(),
        execution.verdict.clone(),
        status,
        execution.rows.map_or("-".into(), |rows| rows.to_string()),
        execution.duration_us.map_or("-".into(), |us| format!("{}.{}", us / 1000, us % 1000 / 100)),
        or_dash(execution.verbs.join("; ")),
        or_dash(visible(execution.principal.as_deref().unwrap_or_default())),
        or_dash(visible(execution.dbt.as_deref().unwrap_or_default())),
        or_dash(visible(&execution.tables.join(" "))),
    ]
}

fn write_row(out: &mut impl Write, cells: &[&str; 10]) -> io::Result<()> {
    let [time, id, verdict, status, rows, ms, verb, principal, dbt, tables] = cells;
    write!(out, "{time:<19}  {id:<14} {verdict:<10} {status:<16} {rows:>8} {ms:>9}  {verb:<16} {principal:<40} ")?;
    writeln!(out, "{dbt:<32} {tables}")
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// The text with control characters escaped, so that a statement cannot drive the reader's terminal.
pub(super) fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

impl Show {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let Some(story) = read::story(&self.source.directory, &self.id)? else {
            anyhow::bail!("the log in {} has no record {}", self.source.directory.display(), self.id);
        };
        match self.source.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&story)?)?,
            Format::Text => write_story(out, &story)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_story(out: &mut impl Write, story: &Story) -> io::Result<()> {
    write_line(out, &story.record)?;
    for line in [&story.outcome, &story.session].into_iter().flatten() {
        writeln!(out)?;
        write_line(out, line)?;
    }
    if let Some(statement) = &story.statement {
        writeln!(out, "\nstatement")?;
        for line in statement.lines() {
            writeln!(out, "  {}", visible(line))?;
        }
    }
    Ok(())
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    writeln!(out, "{} {}", line.kind, line.id())?;
    writeln!(out, "  {:<28} {}", "time", line.time)?;
    for (name, value) in &line.fields {
        write_field(out, name, value)?;
    }
    Ok(())
}

/// A field on a line of its own; those of an object under the object's name.
fn write_field(out: &mut impl Write, name: &str, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(field, value)| write_field(out, &format!("{name}.{field}"), value)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().try_for_each(|(index, item)| write_field(out, &format!("{name}[{index}]"), item))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            writeln!(out, "  {name:<28} {}", visible(&items.join(", ")))
        }
        Value::String(text) => writeln!(out, "  {name:<28} {}", visible(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => writeln!(out, "  {name:<28} {value}"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use clap::Parser;

    use super::{Action, Command};
    use crate::audit::tests::{Fixture, completed};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: Command,
    }

    /// Runs `tollhouse audit` with these arguments on the fixture's log; the exit code says success.
    fn run(fixture: &Fixture, arguments: &[&str]) -> (bool, String) {
        let directory = ["--directory", fixture.path().to_str().unwrap()];
        let line = Line::try_parse_from(["audit"].iter().chain(arguments).chain(&directory)).unwrap();
        let mut out = Vec::new();
        let code = match line.command.action {
            Action::Verify(verify) => verify.run(&mut out),
            Action::Tail(tail) => tail.run(&mut out),
            Action::Show(show) => show.run(&mut out),
        };
        (code.is_ok_and(|code| code == ExitCode::SUCCESS), String::from_utf8(out).unwrap())
    }

    async fn log_of_two() -> (Fixture, String) {
        let fixture = Fixture::new();
        let log = fixture.open();
        let entry = log.attempt(&fixture.attempt("select 'a'\n-- \u{1b}[2J")).await.unwrap();
        let id = entry.id().to_string();
        entry.finish(&completed(7));
        log.refuse(&fixture.attempt("select 'b'")).await.unwrap();
        log.close().await.unwrap();
        (fixture, id)
    }

    #[tokio::test]
    async fn verify_says_proven_and_fails_on_a_changed_log() {
        let (fixture, _) = log_of_two().await;
        let (proven, text) = run(&fixture, &["verify"]);
        assert!(proven && text.starts_with("proven\n") && text.contains("closed in order"), "{text}");

        let segment = fixture.path().join("000001.audit");
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&segment, bytes).unwrap();
        let (proven, text) = run(&fixture, &["verify"]);
        assert!(!proven && text.starts_with("NOT PROVEN") && text.contains("000001.audit, byte 0"), "{text}");
        let (proven, json) = run(&fixture, &["verify", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((proven, &report["proven"], &report["flaw"]["offset"]), (false, &false.into(), &0.into()));
    }

    #[tokio::test]
    async fn tail_prints_the_last_executions_in_columns() {
        let (fixture, id) = log_of_two().await;
        let (_, text) = run(&fixture, &["tail"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let cells: Vec<&str> = lines[1].split_whitespace().skip(2).collect();
        assert_eq!(cells[..4], [id.as_str(), "allowed", "completed", "7"]);
        assert_eq!(cells[5..], ["SELECT", "system:serviceaccount:shop:dbt", "model.shop.orders", "shop.public.orders"]);
        assert_eq!(run(&fixture, &["tail", "-n", "1", "--format", "json"]).1.lines().count(), 1);
    }

    #[tokio::test]
    async fn show_tells_the_whole_story_and_cannot_drive_a_terminal() {
        let (fixture, id) = log_of_two().await;
        let (found, text) = run(&fixture, &["show", &id]);
        for part in ["select 'a'", "model.shop.orders", "system:serviceaccount:shop:dbt", "spec.egress[0]", "completed"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(found && !text.contains('\u{1b}') && text.contains("\\u{1b}"), "{text}");
        assert!(!run(&fixture, &["show", "00000000-1"]).0);
    }
}
