//! The dbt manifest on disk: read at the start, watched for changes, and put in force or rejected as a whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::audit::log::{AuditError, Note};
use crate::dbt::manifest::{BYTES_MAX, Manifest, ManifestError};
use crate::document::Problem;
use crate::drain::{Drain, Stage};
use crate::gate::Gate;
use crate::metrics::Metrics;

/// Reads a manifest from a file.
///
/// # Errors
/// A problem that names the file.
pub fn read(path: &Path) -> Result<Manifest, Problem> {
    let problem = |message| Problem { file: path.display().to_string(), path: String::new(), line: None, message };
    let content = content(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    Manifest::parse(&content).map_err(|error| problem(chain(&error)))
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > BYTES_MAX {
        return Err(io::Error::other(ManifestError::TooLong));
    }
    std::fs::read(path)
}

/// The error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source()).fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    /// The stamp of the file as it is now.
    pub(super) fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
        Self(metadata.ok())
    }
}

/// Looks at the manifest for changes.
pub(super) struct Watch {
    /// The file.
    pub(super) path: PathBuf,
    /// How often.
    pub(super) interval: Duration,
    /// The file as it was read last.
    pub(super) read: Stamp,
    /// Where a new manifest goes.
    pub(super) gate: Arc<Gate>,
    /// Counters.
    pub(super) metrics: Arc<Metrics>,
}

impl Watch {
    /// Puts each changed manifest in force, until the drain begins. One that cannot be used changes nothing but the metrics,
    /// the log and the audit log, which say so.
    pub(super) async fn run(mut self, drain: Drain) {
        loop {
            tokio::select! {
                () = drain.reached(Stage::Draining) => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            let (path, last) = (self.path.clone(), self.read.clone());
            let look = move || {
                let stamp = Stamp::of(&path);
                (stamp != last).then(|| (stamp, read(&path)))
            };
            let Ok(Some((stamp, loaded))) = tokio::task::spawn_blocking(look).await else { continue };
            self.read = stamp;
            match loaded {
                Ok(manifest) => {
                    announce(&manifest, &self.metrics);
                    self.gate.replace_manifest(manifest);
                    if let Err(error) = note_loaded(&self.gate).await {
                        tracing::error!(%error, "the load of the manifest could not be recorded");
                    }
                }
                Err(problem) => self.reject(&problem).await,
            }
        }
    }

    async fn reject(&self, problem: &Problem) {
        self.metrics.manifest_current.set(0);
        let manifest = self.gate.manifest();
        let in_force = manifest.as_deref().map_or("", |manifest| &manifest.digest);
        tracing::error!(%problem, in_force, "the new manifest was rejected; the old one stays in force");
        if let Err(error) = self.gate.audit().note(Note::ManifestRejected { in_force, problem }).await {
            tracing::error!(%error, "the rejection of the manifest could not be recorded");
        }
    }
}

/// Says that a manifest comes into force.
pub(super) fn announce(manifest: &Manifest, metrics: &Metrics) {
    metrics.manifest_current.set(1);
    tracing::info!(digest = manifest.digest, nodes = manifest.nodes.len(), "a dbt manifest is in force");
}

/// Records which manifest is in force, where one is.
pub(super) async fn note_loaded(gate: &Gate) -> Result<(), AuditError> {
    let Some(manifest) = gate.manifest() else { return Ok(()) };
    let note = Note::ManifestLoaded {
        digest: &manifest.digest,
        project: manifest.project.as_deref(),
        invocation: manifest.invocation.as_deref(),
        nodes: manifest.nodes.len(),
    };
    gate.audit().note(note).await.map(|_| ())
}
