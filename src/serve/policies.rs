//! Policy files on disk: read as a whole, watched for changes, and put in force or rejected as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::audit::log::{AuditError, Note};
use crate::document::Problem;
use crate::drain::{Drain, Stage};
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::policy::{PolicySet, Source};

/// Most files that are read; a directory with more is refused rather than read in part.
const FILES_MAX: usize = 10_000;

/// Longest policy file, in bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The texts of all policy files at one moment, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts(Vec<(String, String)>);

impl Texts {
    /// Reads every file, and every `.yaml` and `.yml` file of every directory.
    ///
    /// # Errors
    /// A problem for each path that cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Vec<Problem>> {
        let (mut texts, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            match files(path) {
                Ok(files) => {
                    for file in files {
                        match read(&file) {
                            Ok(text) => texts.push((file.display().to_string(), text)),
                            Err(error) => problems.push(problem(&file, &error)),
                        }
                    }
                }
                Err(error) => problems.push(problem(path, &error)),
            }
        }
        if problems.is_empty() { Ok(Self(texts)) } else { Err(problems) }
    }

    /// Compiles them.
    ///
    /// # Errors
    /// Every problem of every document.
    pub fn compile(&self) -> Result<PolicySet, Vec<Problem>> {
        PolicySet::parse(&self.sources())
    }

    /// Each file with its text.
    pub fn sources(&self) -> Vec<Source<'_>> {
        self.0.iter().map(|(file, text)| Source { file, text }).collect()
    }
}

fn problem(path: &Path, error: &io::Error) -> Problem {
    Problem::at(&path.display().to_string(), "", format!("cannot be read: {error}"))
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    // What a file says of its length does not bind it: a pipe has none.
    let read = File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is longer than 8 MiB"));
    }
    Ok(text)
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let is_yaml = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        if is_yaml && std::fs::metadata(&file)?.is_file() {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(io::Error::other("the directory has more than 10000 policy files"));
        }
    }
    files.sort();
    Ok(files)
}

/// Looks at policy files for changes.
pub(super) struct Watch {
    /// Files and directories.
    pub(super) paths: Vec<PathBuf>,
    /// How often.
    pub(super) interval: Duration,
    /// What was read last.
    pub(super) in_force: Texts,
    /// Where new policies go.
    pub(super) gate: Arc<Gate>,
    /// Counters.
    pub(super) metrics: Arc<Metrics>,
}

impl Watch {
    /// Puts each changed set in force, until the drain begins. A set that is not valid changes nothing but the metrics,
    /// the log and the audit log, which say so.
    pub(super) async fn run(mut self, drain: Drain) {
        let mut rejected: Option<Vec<Problem>> = None;
        loop {
            tokio::select! {
                () = drain.reached(Stage::Draining) => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            let paths = self.paths.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || Texts::read(&paths)).await else { continue };
            let loaded = match read {
                Ok(texts) if texts == self.in_force && rejected.is_none() => continue,
                Ok(texts) => texts.compile().map(|set| (texts, set)),
                Err(problems) => Err(problems),
            };
            match loaded {
                Ok((texts, set)) => {
                    self.in_force = texts;
                    rejected = None;
                    put_in_force(set, &self.gate, &self.metrics).await;
                }
                Err(problems) if rejected.as_ref() == Some(&problems) => {}
                Err(problems) => {
                    reject(&problems, &self.gate, &self.metrics).await;
                    rejected = Some(problems);
                }
            }
        }
    }
}

async fn put_in_force(set: PolicySet, gate: &Gate, metrics: &Metrics) {
    for warning in set.warnings() {
        tracing::warn!(%warning, "a policy has an odd effect");
    }
    let revision = Arc::clone(set.revision());
    announce(&set, metrics);
    gate.replace_policies(set);
    if let Err(error) = note_loaded(gate).await {
        tracing::error!(%error, "the load of policies could not be recorded");
    }
    tracing::info!(%revision, "new policies are in force");
}

/// Sets the metrics for a set that comes into force.
pub(super) fn announce(set: &PolicySet, metrics: &Metrics) {
    metrics.policies.set(i64::try_from(set.summaries().len()).unwrap_or(i64::MAX));
    metrics.policy_current.set(1);
    metrics.policy_change_total.with_label_values(&["loaded"]).inc();
}

/// Records which policies are in force.
pub(super) async fn note_loaded(gate: &Gate) -> Result<(), AuditError> {
    let set = gate.policies();
    let policies: Vec<String> = set.summaries().iter().map(|summary| summary.policy.to_string()).collect();
    let note = Note::PolicyLoaded { revision: set.revision(), policies: &policies };
    gate.audit().note(note).await.map(|_| ())
}

async fn reject(problems: &[Problem], gate: &Gate, metrics: &Metrics) {
    metrics.policy_current.set(0);
    metrics.policy_change_total.with_label_values(&["rejected"]).inc();
    let set = gate.policies();
    for problem in problems {
        tracing::error!(%problem, "a policy file is not valid");
    }
    tracing::error!(in_force = %set.revision(), "the new policies were rejected; the old ones stay in force");
    let note = Note::PolicyRejected { in_force: set.revision(), problems };
    if let Err(error) = gate.audit().note(note).await {
        tracing::error!(%error, "the rejection of policies could not be recorded");
    }
}
