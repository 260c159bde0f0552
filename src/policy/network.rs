//! CiliumNetworkPolicy documents, read as they are: may a workload reach a host, a port, a server name, a request?
//!
//! They only ever forbid: what they allow is still held against every WarehousePolicy. Cilium enforces them on packets;
//! here they turn a time-out into an answer, and hold where Cilium sees two names behind one address.
//!
//! A sidecar does not know everything that Cilium knows. A deny rule that may apply denies. An allow rule that may apply
//! lets pass, because Cilium decides below; labels of pods behind a service, groups of addresses and names of ports are
//! such cases.

pub(super) mod compile;
mod decide;
pub(super) mod document;
#[cfg(test)]
mod tests;
pub mod write;

use std::fmt;
use std::sync::Arc;

use crate::document::Problem;
use crate::identity::Principal;

use super::http::{HeaderEdit, HttpRequest};
use super::peer::Peer;
use super::{RuleRef, Summary};

use compile::{CiliumRules, Selected};
use document::CiliumPolicy;

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One connection, and as much as is known of what is said on it.
#[derive(Debug, Clone, Copy)]
pub struct NetworkRequest<'a> {
    /// Who connects.
    pub workload: &'a Principal,
    /// Where to.
    pub peer: Peer<'a>,
    /// Port of the peer.
    pub port: u16,
    /// What carries it.
    pub transport: Transport,
    /// The server name of a TLS ClientHello, where the connection begins with one. PostgreSQL's usually does not: it asks for
    /// TLS first (docs, section 54.2.10).
    pub server_name: Option<&'a str>,
    /// The request, where HTTP is spoken.
    pub http: Option<HttpRequest<'a>>,
    /// The name that is looked up, where DNS is spoken.
    pub dns: Option<&'a str>,
}

/// Whether a connection or a request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkVerdict {
    /// A rule allows it, or no policy with a default of deny selects the workload.
    Allowed,
    /// A rule may allow it and nothing here can tell; Cilium does.
    Unjudged,
    /// It depends on the address behind the name: to be decided again once that is known.
    NeedsAddress,
    /// A deny rule forbids it, or no rule allows the peer and port.
    Dropped,
    /// A deny rule may forbid it, and nothing here can tell.
    DroppedInDoubt,
    /// Only other server names are allowed, or there is none.
    ServerName,
    /// Only other requests or names are allowed.
    Request,
    /// Rules are about HTTP, and something else is spoken.
    NotHttp,
    /// Rules are about DNS, and something else is spoken.
    NotDns,
    /// Two rules for the same peer and port cannot both hold; Cilium refuses them, or goes by their order.
    Conflict,
}

/// The answer, with the rule that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkDecision {
    /// May it pass?
    pub verdict: NetworkVerdict,
    /// The rule that decided, where a single one did.
    pub rule: Option<RuleRef>,
    /// What is done to the headers of a request that passes.
    pub edits: Vec<HeaderEdit>,
    /// Cilium authenticates both pods first.
    pub authentication: bool,
}

impl NetworkDecision {
    /// Must it not pass?
    pub fn is_denied(&self) -> bool {
        match self.verdict {
            NetworkVerdict::Allowed | NetworkVerdict::Unjudged | NetworkVerdict::NeedsAddress => false,
            NetworkVerdict::Dropped
            | NetworkVerdict::DroppedInDoubt
            | NetworkVerdict::ServerName
            | NetworkVerdict::Request
            | NetworkVerdict::NotHttp
            | NetworkVerdict::NotDns
            | NetworkVerdict::Conflict => true,
        }
    }
}

impl fmt::Display for NetworkDecision {
    /// The rule, and what it says about the connection; to stand before "a connection to host:port".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rule) = &self.rule else {
            return f.write_str(match self.verdict {
                NetworkVerdict::Allowed | NetworkVerdict::Unjudged | NetworkVerdict::NeedsAddress => "no Cilium policy forbids",
                NetworkVerdict::Dropped
                | NetworkVerdict::DroppedInDoubt
                | NetworkVerdict::ServerName
                | NetworkVerdict::Request
                | NetworkVerdict::NotHttp
                | NetworkVerdict::NotDns
                | NetworkVerdict::Conflict => "no rule of the Cilium policies that select this workload allows",
            });
        };
        write!(f, "{rule} ")?;
        f.write_str(match self.verdict {
            NetworkVerdict::Allowed => "allows",
            NetworkVerdict::Unjudged => "may allow (Cilium alone can tell)",
            NetworkVerdict::NeedsAddress => "decides by its address about",
            NetworkVerdict::Dropped => "denies",
            NetworkVerdict::DroppedInDoubt => "may deny, and Cilium alone can tell, so it denies",
            NetworkVerdict::ServerName => "asks for another TLS server name (a connection that begins without TLS has none) and so denies",
            NetworkVerdict::Request => "asks for another request and so denies",
            NetworkVerdict::NotHttp => "lets only HTTP pass and so denies",
            NetworkVerdict::NotDns => "lets only DNS pass and so denies",
            NetworkVerdict::Conflict => "and another rule for the same peer and port exclude each other, so both deny",
        })
    }
}

/// Cilium's documents in force together.
#[derive(Debug, Default)]
pub struct NetworkPolicySet {
    policies: Vec<CiliumRules>,
}

impl NetworkPolicySet {
    /// Compiles one document of `kind: CiliumNetworkPolicy` or `CiliumClusterwideNetworkPolicy` into the set; its name, and what is odd
    /// about it.
    ///
    /// # Errors
    /// Every problem that its schema cannot know; then the set is as it was.
    pub(super) fn add(&mut self, file: &str, document: &CiliumPolicy) -> Result<(Arc<str>, Vec<Problem>), Vec<Problem>> {
        let compiled = compile::compile(file, document)?;
        if self.policies.iter().any(|policy| policy.name == compiled.name) {
            let message = format!("a {} stands elsewhere too", compiled.name);
            return Err(vec![Problem::at(file, "metadata.name", message)]);
        }
        let warnings = compiled.warnings(file).collect();
        let name = Arc::clone(&compiled.name);
        let place = self.policies.partition_point(|policy| policy.name < name);
        self.policies.insert(place, compiled);
        Ok((name, warnings))
    }

    /// Every rule about pods, in the order of the documents' names.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Selected> {
        self.policies.iter().flat_map(|policy| &policy.rules)
    }

    /// Every document, by name.
    pub(super) fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.policies.iter().map(CiliumRules::summary)
    }
}
