//! A warehouse password that something else keeps in a file.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::value::Draft;
use crate::credential::{ExchangeError, Login};
use crate::fault::Reason;
use crate::secret::Secret;

/// Where the password lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file: one line. A changed file is seen within a minute.
    pub file: PathBuf,
}

/// How long a reading is believed. The password itself may live longer; nobody tells us.
const READING_LIFE: Duration = Duration::from_secs(60);

/// A file with a password.
#[derive(Debug)]
pub(super) struct PasswordFile {
    file: PathBuf,
}

impl PasswordFile {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { file: settings.file.clone() }
    }

    /// Reads the password.
    pub(super) async fn obtain(&self) -> Result<Draft, ExchangeError> {
        let password = Secret::read(&self.file).await.map_err(|error| ExchangeError::new(Reason::ExchangeUnprepared, error))?;
        Ok(Draft { id: None, login: Login::Password(password), role: None, expires_at: SystemTime::now() + READING_LIFE })
    }
}
