//! What the operator wrote, checked: [`File`] is what was typed, [`Config`] is what it means.

mod check;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{self, Problem, Span};
use crate::target::Target;
use crate::tls::{ClientSettings, Trust};
use crate::warehouse::Kind;
use crate::{admin, audit, credential, identity, listener, log};

/// The configuration of `tollhouse run`, as it is written in YAML. `${NAME}` and `${NAME:-default}` in values are
/// filled in from the environment. Unknown keys are errors.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Accept certificates that `tollhouse dev` made. Never set this in production.
    #[serde(default)]
    pub development: bool,
    /// Where clients connect.
    pub listeners: Vec<listener::Settings>,
    /// The warehouses.
    pub targets: Vec<TargetFile>,
    /// How this workload proves who it is.
    pub identities: Vec<identity::Settings>,
    /// What it may do.
    pub policy: PolicyFile,
    /// The evidence.
    pub audit: audit::Settings,
    /// Health, metrics and introspection.
    #[serde(default)]
    pub admin: admin::Settings,
    /// Bounds on what clients may ask for.
    #[serde(default)]
    pub limits: listener::Limits,
    /// The ordinary log.
    #[serde(default)]
    pub log: log::Settings,
    /// How the program stops.
    #[serde(default)]
    pub shutdown: Shutdown,
}

/// A warehouse.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    /// The name in listeners, policy records and metrics.
    pub name: String,
    /// The kind of warehouse: `postgresql`.
    pub kind: String,
    /// DNS name or address; what its certificate must carry, and what `toFQDNs` matches.
    pub host: String,
    /// The port; the kind's usual one where absent.
    #[serde(default)]
    pub port: Option<u16>,
    /// The role that sessions log in as, whatever user name the client writes.
    pub role: String,
    /// The identity that is exchanged; the only one there is where absent.
    #[serde(default)]
    pub identity: Option<String>,
    /// The steps from the identity's token to a credential, the last of which makes the credential.
    pub credential: Vec<credential::Step>,
    /// How the warehouse is verified.
    #[serde(default)]
    pub tls: ClientSettings,
}

/// Where policies come from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Files, and directories whose `.yaml` and `.yml` files are read in the order of their names.
    pub paths: Vec<PathBuf>,
    /// How often the files are looked at for changes.
    #[serde(default = "PolicyFile::default_reload_interval")]
    pub reload_interval: Span,
}

impl PolicyFile {
    const fn default_reload_interval() -> Span {
        Span::seconds(2)
    }
}

/// How the program stops.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// Time for running queries to finish; then they are cancelled at the warehouse.
    pub deadline: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { deadline: Span::seconds(25) }
    }
}

/// A checked configuration: every name resolves and every setting can be used.
#[derive(Debug)]
pub struct Config {
    /// As written.
    pub file: File,
    /// Listeners with what they refer to, in the file's order.
    pub routes: Vec<Route>,
    /// Which certificates count.
    pub trust: Trust,
    /// Digest of the file with its substitutions.
    pub digest: String,
}

/// A listener with what it refers to.
#[derive(Debug, Clone)]
pub struct Route {
    /// The listener.
    pub listener: listener::Settings,
    /// Its target.
    pub target: Arc<Target>,
    /// The kind of the target.
    pub kind: &'static Kind,
    /// The role that sessions log in as.
    pub role: String,
    /// How the target is verified.
    pub tls: ClientSettings,
    /// What is exchanged.
    pub identity: identity::Settings,
    /// How it is exchanged.
    pub credential: Vec<credential::Step>,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every problem at once, each with its place in the file.
    pub fn load(path: &Path, env: &document::Env<'_>) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let problem = |message| vec![Problem { file: name.clone(), path: String::new(), message }];
        let text = std::fs::read_to_string(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        Self::parse(&name, &text, env)
    }

    /// Checks a configuration; `name` is the file's name in problems.
    ///
    /// # Errors
    /// Every problem at once, each with its place in the file.
    pub fn parse(name: &str, text: &str, env: &document::Env<'_>) -> Result<Self, Vec<Problem>> {
        check::check(name, document::read::<File>(name, text, env)?)
    }

    /// The configuration as JSON with the values of free-form fields left out, for `/config`.
    pub fn redacted(&self) -> String {
        let mut value = serde_json::to_value(&self.file).unwrap_or_default();
        redact(&mut value);
        value.to_string()
    }
}

/// The JSON schema of [`File`].
pub fn schema() -> serde_json::Value {
    document::schema::<File>()
}

/// Replaces the values under `extra`, the one place where an operator can write what we do not know the meaning of.
fn redact(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                match field.as_object_mut() {
                    Some(extra) if key == "extra" => extra.values_mut().for_each(|value| *value = "(redacted)".into()),
                    Some(_) | None => redact(field),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(redact),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => {}
    }
}
