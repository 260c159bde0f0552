//! `tollhouse webhook`: puts the sidecar into pods, or shows what it would do with one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::shield_memory;
use crate::document;
use crate::log;
use crate::webhook::binding::WarehouseBinding;
use crate::webhook::patch::{Injection, Refusal, Skip, inject};
use crate::webhook::validate::validate;
use crate::webhook::{Course, Server, Settings};

/// Serve the admission webhooks that put the sidecar into pods, or show what they would do with one.
///
/// /mutate adds the sidecar, its volumes and where clients find it, to pods of opted-in namespaces; /validate refuses those that
/// would run around it. SIGTERM and SIGINT finish the reviews under way and stop, exit code 0.
///
/// With --dry-run nothing is served: the pod that would be stored is printed, and on standard error what was done and why not.
/// Exit code 0: it would run; 1: it would be refused.
#[derive(Args)]
pub(super) struct Command {
    /// The webhook's configuration; may be left out with --dry-run.
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_WEBHOOK_CONFIG", required_unless_present = "dry_run")]
    config: Option<PathBuf>,
    /// A Pod, or a Job, CronJob or Deployment with the template of one.
    #[arg(long, value_name = "FILE")]
    dry_run: Option<PathBuf>,
    /// The WarehouseBindings of the pod's namespace, one or several.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    binding: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Output::Pod, requires = "dry_run")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The pod that would be stored, as YAML.
    Pod,
    /// The JSON patch (RFC 6902).
    Patch,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let settings = self.config.as_deref().map(load).transpose()?;
        if let Some(pod) = &self.dry_run {
            return self.try_out(pod, settings);
        }
        let Some(settings) = settings else { bail!("--config is missing") };
        shield_memory()?;
        log::start(&settings.log).context("log.level")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
            let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
            let server = Server::bind(settings).await?;
            let [reviews, health] = server.addresses()?;
            tracing::info!(address = %reviews, health = %health, "answers reviews");
            let stop = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            server.run(stop).await;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }

    fn try_out(&self, pod: &Path, settings: Option<Settings>) -> anyhow::Result<ExitCode> {
        let pod = objects(pod)?.into_iter().next().map(template).with_context(|| format!("{} holds no object", pod.display()))?;
        let mut bindings = Vec::new();
        for object in self.binding.as_deref().map(objects).transpose()?.unwrap_or_default() {
            bindings.push(WarehouseBinding::parse(object).map_err(|why| anyhow!(why))?);
        }
        let made = settings.as_ref().map(|settings| settings.sidecar.clone()).unwrap_or_default();
        let (mut out, mut said) = (io::stdout().lock(), io::stderr().lock());
        match inject(&pod, &bindings, &made) {
            Injection::Injected { binding, patch, done } => {
                writeln!(said, "injected, as binding {binding} says")?;
                for line in &done {
                    writeln!(said, "  {line}")?;
                }
                if done.is_empty() {
                    writeln!(said, "  nothing to do: it has the sidecar already")?;
                }
                let mut patched = pod;
                json_patch::patch(&mut patched, &patch.0).context("the patch does not fit the pod")?;
                match self.output {
                    Output::Pod => write!(out, "{}", yaml(&patched)?)?,
                    Output::Patch => writeln!(out, "{}", serde_json::to_string_pretty(&patch)?)?,
                }
                let refusals = validate(&patched, &bindings, &made).err().unwrap_or_default();
                refused(&mut said, &refusals)
            }
            Injection::Skipped(skip) => {
                writeln!(said, "not injected: {}", why(skip))?;
                if settings.is_some_and(|settings| settings.course(skip) == Course::Refuse) {
                    writeln!(said, "refused: the configuration lets no such pod run")?;
                    return Ok(ExitCode::FAILURE);
                }
                match self.output {
                    Output::Pod => write!(out, "{}", yaml(&pod)?)?,
                    Output::Patch => writeln!(out, "[]")?,
                }
                Ok(ExitCode::SUCCESS)
            }
            Injection::Refused(refusal) => refused(&mut said, &[refusal]),
        }
    }
}

fn refused(said: &mut impl Write, refusals: &[Refusal]) -> anyhow::Result<ExitCode> {
    for refusal in refusals {
        writeln!(said, "refused ({}): {}", refusal.reason, refusal.message)?;
    }
    Ok(if refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn why(skip: Skip) -> &'static str {
    match skip {
        Skip::OptedOut => "the pod declines the sidecar",
        Skip::NoBinding => "no WarehouseBinding is for the pod's service account, and it names none",
    }
}

/// The pod that an object would make.
fn template(object: Value) -> Value {
    let templates = ["/spec/jobTemplate/spec/template", "/spec/template"];
    match templates.iter().find_map(|path| object.pointer(path)) {
        Some(template) => {
            let mut pod = serde_json::json!({ "apiVersion": "v1", "kind": "Pod" });
            if let (Some(pod), Some(template)) = (pod.as_object_mut(), template.as_object()) {
                pod.extend(template.clone());
            }
            pod
        }
        None => object,
    }
}

/// Every document of a file.
fn objects(path: &Path) -> anyhow::Result<Vec<Value>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
    let parts = document::parts(&name, &text).map_err(|problems| anyhow!(lines(&problems)))?;
    Ok(parts.iter().map(|part| part.value().clone()).collect())
}

fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("the pod cannot be written")
}

fn load(path: &Path) -> anyhow::Result<Settings> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
    document::read(&name, &text, &|name| std::env::var(name).ok()).map_err(|problems| anyhow!(lines(&problems)))
}

fn lines(problems: &[document::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
