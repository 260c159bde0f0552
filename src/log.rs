//! The ordinary log, for operators; the audit log is another thing and never goes through here.
//!
//! Levels say what the operator must do: error = act now; warn = act if it repeats; info = you asked for it, or
//! it started or stopped; debug = per connection; trace = per message. No level carries SQL text or a secret.

use std::io::IsTerminal;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

#[cfg(test)]
pub(crate) mod paper;

/// How the ordinary log is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or `module=level` pairs with commas.
    pub level: String,
    /// `text` for people, `json` for collectors.
    pub format: Format,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

impl Settings {
    fn filter(&self) -> Result<EnvFilter, ParseError> {
        EnvFilter::builder().parse(&self.level)
    }

    /// Checks that the level can be understood.
    ///
    /// # Errors
    /// The parser's own sentence.
    pub fn check(&self) -> Result<(), ParseError> {
        self.filter().map(|_| ())
    }
}

/// Starts logging to standard error. A second call changes nothing, so that tests may call it freely.
///
/// # Errors
/// The level cannot be understood.
pub fn start(settings: &Settings) -> Result<(), ParseError> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(settings.filter()?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let _already_started = match settings.format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().try_init(),
    };
    Ok(())
}
