//! Clients with tokens of their own, as an OpenID provider gives them to people, jobs and agents.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::dev::cluster::unix_seconds;
use crate::dev::directory::{self, random_text, write};
use crate::dev::issuer::Issuer;
use crate::dev::{CLIENT_AUDIENCE, DevError};

/// The clients, and where their tokens lie: one file each, by the name of the subject.
#[derive(Debug)]
pub struct Clients {
    pub(super) provider: Arc<Issuer>,
    pub(super) directory: PathBuf,
    pub(super) subjects: Vec<String>,
    pub(super) token_lifetime: Duration,
}

impl Clients {
    /// Writes a new token for each.
    ///
    /// # Errors
    /// When one cannot be made or written.
    pub fn write_tokens(&self) -> Result<(), DevError> {
        if self.subjects.is_empty() {
            return Ok(());
        }
        directory::make(&self.directory)?;
        for subject in &self.subjects {
            let token = self.provider.sign(&claims(self.provider.url(), subject, self.token_lifetime)?)?;
            write(&self.directory.join(subject), token.expose().as_bytes())?;
        }
        Ok(())
    }
}

/// The claims of a new token for a client.
///
/// # Errors
/// When the system gives no randomness.
pub fn claims(provider: &str, subject: &str, lifetime: Duration) -> Result<Value, DevError> {
    let now = unix_seconds(SystemTime::now());
    Ok(json!({
        "iss": provider,
        "aud": CLIENT_AUDIENCE,
        "sub": subject,
        "iat": now,
        "exp": now + lifetime.as_secs(),
        "jti": random_text()?.expose(),
    }))
}
