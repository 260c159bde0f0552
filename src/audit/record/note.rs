//! Everything but executions, as fields of their records.

use std::borrow::Cow;

use serde::Serialize;

use super::{ClientFields, Definition, Kind, PrincipalFields, Record, rfc3339};
use crate::audit::log::Note;
use crate::fault::Reason;

/// The fields of every [`Note`].
#[derive(Serialize)]
#[serde(untagged)]
enum NoteFields<'a> {
    SessionStarted {
        session: &'a str,
    },
    SessionEnded {
        session: &'a str,
        end: &'a str,
        executions: u64,
        denied: u64,
        bytes_to_target: u64,
        bytes_to_client: u64,
        duration_us: u64,
    },
    SessionRefused {
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<&'a str>,
        listener: &'a str,
        #[serde(flatten)]
        client: ClientFields<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        database: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        principal: Option<PrincipalFields<'a>>,
    },
    CredentialExchanged {
        exchange: &'a str,
        credential: &'a str,
        expires_at: String,
        target: &'a str,
        principal: PrincipalFields<'a>,
    },
    PolicyLoaded {
        revision: &'a str,
        policies: &'a [String],
    },
    PolicyRejected {
        in_force: &'a str,
        problems: Vec<Cow<'a, str>>,
    },
    ManifestLoaded {
        digest: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        project: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        invocation: Option<&'a str>,
        nodes: usize,
    },
    ManifestRejected {
        in_force: &'a str,
        problem: String,
    },
    Draining {
        sessions: u64,
    },
}

/// The record of a note, and the facts that must stand before it.
pub(in crate::audit) fn record(note: &Note<'_>) -> (Record, Option<Definition>) {
    let mut definition = None;
    let code = |reason: Reason| reason.code();
    let (kind, fields) = match *note {
        Note::SessionStarted(facts) => {
            definition = Some(Definition::session(facts));
            (Kind::SessionStarted, NoteFields::SessionStarted { session: &facts.id })
        }
        Note::SessionEnded { session, end, executions, denied, bytes_to_target, bytes_to_client, duration } => {
            let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let fields = NoteFields::SessionEnded { session, end, executions, denied, bytes_to_target, bytes_to_client, duration_us };
            (Kind::SessionEnded, fields)
        }
        Note::SessionRefused { reason, about, listener, client, client_user, database, principal } => {
            let client = ClientFields::new(client);
            let principal = principal.map(PrincipalFields::new);
            let reason = code(reason);
            let fields = NoteFields::SessionRefused { reason, about, listener, client, client_user, database, principal };
            (Kind::SessionRefused, fields)
        }
        Note::CredentialExchanged { exchange, credential, expires_at, target, principal } => {
            let (expires_at, principal) = (rfc3339(expires_at), PrincipalFields::new(principal));
            let fields = NoteFields::CredentialExchanged { exchange, credential, expires_at, target: &target.name, principal };
            (Kind::CredentialExchanged, fields)
        }
        Note::PolicyLoaded { revision, policies } => (Kind::PolicyLoaded, NoteFields::PolicyLoaded { revision, policies }),
        Note::PolicyRejected { in_force, problems } => {
            let problems = problems.iter().map(|problem| Cow::Owned(problem.to_string())).collect();
            (Kind::PolicyRejected, NoteFields::PolicyRejected { in_force, problems })
        }
        Note::ManifestLoaded { digest, project, invocation, nodes } => {
            (Kind::ManifestLoaded, NoteFields::ManifestLoaded { digest, project, invocation, nodes })
        }
        Note::ManifestRejected { in_force, problem } => {
            (Kind::ManifestRejected, NoteFields::ManifestRejected { in_force, problem: problem.to_string() })
        }
        Note::Draining { sessions } => (Kind::Draining, NoteFields::Draining { sessions }),
    };
    (Record::new(kind, &fields), definition)
}
