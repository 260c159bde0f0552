//! What dbt claimed and what that was worth, from the fields that `record::attempt` writes.

use serde::Deserialize;

use super::effect::{ObjectLine, word};
use crate::dbt::Attribution;
use crate::dbt::manifest::verify::{Mismatch, Standing};
use crate::sql::Action;

#[derive(Deserialize)]
pub(super) struct ClaimLine {
    node: Option<String>,
    connection: Option<String>,
    invocation: Option<String>,
    target: Option<String>,
    profile: Option<String>,
    version: Option<String>,
    standing: String,
    mismatch: Option<MismatchLine>,
}

#[derive(Deserialize)]
struct MismatchLine {
    reason: String,
    action: Option<String>,
    object: Option<ObjectLine>,
}

impl ClaimLine {
    /// The claim.
    ///
    /// # Errors
    /// What is missing, or not known to this version.
    pub(super) fn into_claim(self) -> Result<(Attribution, Standing), String> {
        let Self { node, connection, invocation, target, profile, version, standing, mismatch } = self;
        let standing = match (standing.as_str(), mismatch) {
            ("claimed", None) => Standing::Claimed,
            ("verified", None) => Standing::Verified,
            ("mismatch", Some(mismatch)) => Standing::Mismatch(mismatch.into_mismatch()?),
            _ => return Err("a standing of dbt's claim that is not known here".to_owned()),
        };
        Ok((Attribution { node, connection, invocation, target, profile, version }, standing))
    }
}

impl MismatchLine {
    fn into_mismatch(self) -> Result<Mismatch, String> {
        let object = self.object.map(ObjectLine::into_object).transpose()?;
        let action = self.action.map(|action| word(Action::ALL, Action::as_str, &action)).transpose()?;
        match (self.reason.as_str(), action, object) {
            ("unknown-node", None, None) => Ok(Mismatch::UnknownNode),
            ("foreign-write", Some(action), Some(object)) => Ok(Mismatch::ForeignWrite(action, object)),
            ("undeclared-read", None, Some(object)) => Ok(Mismatch::UndeclaredRead(object)),
            ("other-text", None, None) => Ok(Mismatch::OtherText),
            ("unseen", None, None) => Ok(Mismatch::Unseen),
            _ => Err("a mismatch with dbt's manifest that is not known here".to_owned()),
        }
    }
}
