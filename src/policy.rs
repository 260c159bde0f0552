//! What a workload may do at a warehouse: WarehousePolicy documents, compiled and decided.
//!
//! Pure: no I/O, no clock, no `await`. Reading files is `serve`'s work; it hands texts in.

mod attribution;
mod builtin;
mod cidr;
mod compile;
mod cover;
pub mod crd;
mod decide;
pub mod derive;
mod document;
mod entry;
pub mod explain;
mod flow;
mod grammar;
pub mod http;
mod index;
pub mod lint;
pub mod network;
mod pattern;
pub mod peer;
mod phrase;
mod port;
mod problems;
mod remedy;
mod selector;
#[cfg(test)]
mod tests;
mod truth;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dbt::Claim;
use crate::document::{Part, Problem, Reader, nearest};
use crate::fault::Reason;
use crate::identity::Principal;
use crate::sql::Effect;
use crate::target::Target;

use compile::{Policy, compile};
use decide::{Answer, Refusal, Scope, connection};
use document::WarehousePolicy;
use explain::Explanation;
use http::HttpRequest;
use network::NetworkPolicySet;
use network::document::CiliumPolicy;
use peer::Peer;
use phrase::Phrase;

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// At which warehouse.
    pub target: &'a Target,
    /// The database of the session.
    pub database: &'a str,
    /// The role that the session logged in as.
    pub role: &'a str,
    /// The schema of unqualified names, where the session's search path has just one; `None` leaves them unresolved.
    pub unqualified_schema: Option<&'a str>,
    /// Every effect of every statement; empty asks for nothing beyond the connection.
    pub effects: &'a [Effect],
    /// What dbt claims about the statement, and what that is worth.
    pub dbt: Option<Claim<'a>>,
}

/// The answer, with the rule that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// May it pass?
    pub verdict: Verdict,
    /// The rule that allowed the last effect, or the deny rule that forbade it.
    pub rule: Option<RuleRef>,
    /// Why not, where the verdict is `Denied` or `Observed`.
    pub denial: Option<Denial>,
    /// Digest of the policy set that decided.
    pub revision: Arc<str>,
}

/// Whether a request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Some rule allows every effect, and no deny rule forbids one.
    Allowed,
    /// It would be denied, but every policy that forbids it is in observe mode: it passes and is recorded as such.
    Observed,
    /// It must not pass.
    Denied,
}

impl Verdict {
    /// Every verdict, the mildest first.
    pub const ALL: &'static [Verdict] = &[Verdict::Allowed, Verdict::Observed, Verdict::Denied];

    /// The word in records and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Observed => "observed",
            Self::Denied => "denied",
        }
    }

    /// Does the request go on to the warehouse?
    pub fn passes(self) -> bool {
        match self {
            Self::Allowed | Self::Observed => true,
            Self::Denied => false,
        }
    }
}

/// Why a request is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// One of the `Policy*` reasons or `StatementOpaque`.
    pub reason: Reason,
    /// The missing permission or the deny rule, as a sentence the client may see.
    pub sentence: String,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleRef {
    /// `namespace/name` of the policy, or `name` of a cluster-wide one.
    pub policy: Arc<str>,
    /// The rule's place in it: `spec.egress[0].toPorts[0].rules.sql[2]`.
    pub path: Arc<str>,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.policy, self.path)
    }
}

/// Whether a policy forbids or only says that it would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What it does not allow is denied.
    #[default]
    Enforce,
    /// What it alone would deny passes, and is recorded.
    Observe,
}

impl Mode {
    /// The word in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// A text with policy documents in it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The name of the file, for problems.
    pub file: &'a str,
    /// YAML, one document or several separated by `---`.
    pub text: &'a str,
}

/// What is worth showing of a policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// As in [`RuleRef::policy`].
    pub policy: Arc<str>,
    /// Whether it forbids or only says that it would.
    pub mode: Mode,
    /// Rules under `egress`, one for each of their `toPorts`.
    pub allow_rules: usize,
    /// Rules under `egressDeny`, one for each of their `toPorts`.
    pub deny_rules: usize,
    /// Entries of `rules.sql` under both.
    pub sql_entries: usize,
}

/// A set of policies in force together; immutable, swapped whole.
#[derive(Debug)]
pub struct PolicySet {
    revision: Arc<str>,
    /// By name, so that the order of files decides nothing.
    policies: Vec<Policy>,
    network: NetworkPolicySet,
    warnings: Vec<Problem>,
    /// Scopes that were asked for, the newest last: a sidecar has a workload or two and a few targets.
    scopes: ArcSwap<Vec<Arc<Scope>>>,
}

/// Scopes that are kept; the oldest goes. One holds a reference to each entry that is in it.
const SCOPES_MAX: usize = 32;

impl PolicySet {
    /// Compiles every document of every source. No policy at all is a set that denies everything.
    ///
    /// # Errors
    /// Every [`Problem`] of every document, of Cilium's as of ours: an unknown kind or key, a pattern that cannot match, a name that stands
    /// twice. Nothing is skipped, so a set is either understood whole or not in force.
    pub fn parse(sources: &[Source<'_>]) -> Result<Self, Vec<Problem>> {
        let (parts, problems) = parts(sources);
        Self::of_parts(&parts, problems)
    }

    /// Compiles every document, unless there are problems already.
    fn of_parts(parts: &[Part], problems: Vec<Problem>) -> Result<Self, Vec<Problem>> {
        let mut loading = Loading { problems, ..Loading::new()? };
        parts.iter().for_each(|part| loading.add(part));
        loading.finish()
    }

    /// `sha256:` and 16 hexadecimal digits of everything that decides: neither order of files nor descriptions count.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// What is valid and probably not meant: rules that allow a connection and no statement.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Every policy, ours by name and then Cilium's.
    pub fn summaries(&self) -> Vec<Summary> {
        self.policies.iter().map(Policy::summary).chain(self.network.summaries()).collect()
    }

    /// The same documents with every policy in enforce mode; the revision stays theirs.
    pub fn enforced(mut self) -> Self {
        for policy in &mut self.policies {
            policy.mode = Mode::Enforce;
        }
        self.scopes = ArcSwap::default();
        self
    }

    /// Decides on the effects of a request; without effects, on its connection. Total and deterministic.
    ///
    /// Every effect must be allowed by some entry and denied by none. The first decision about a workload and a target
    /// takes one pass over the policies; after it the cost depends on the number of effects, and of entries only where
    /// their patterns have wildcards.
    pub fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let scope = self.scope(request.principal, request.target);
        let connection = (scope.connection(), Phrase::Connection(request.target));
        let effects = request.effects.iter().map(|effect| (scope.effect(effect, request), Phrase::Effect(effect, request)));
        self.conclude(std::iter::once(connection).chain(effects))
    }

    /// Decides on a connection before any statement: some rule must reach the target, and no deny rule without
    /// `rules` may.
    pub fn admits(&self, principal: &Principal, target: &Target) -> Decision {
        let scope = self.scope(principal, target);
        self.conclude(std::iter::once((scope.connection(), Phrase::Connection(target))))
    }

    /// Decides on a connection once it has an address: Cilium's rules may be about addresses, and a name may lead to another
    /// one each time. Nothing else is asked again.
    pub fn admits_address(&self, principal: &Principal, target: &Target, address: IpAddr) -> Decision {
        let peer = Peer::of_host(&target.host).at(address);
        let judged = self.network.decide(&connection(principal, target, peer));
        let mut decision = self.allowed(judged.rule.clone());
        if judged.is_denied() {
            decision.verdict = Verdict::Denied;
            decision.denial = Some(Refusal::Network(&judged).denial(&Phrase::Connection(target)));
        }
        decision
    }

    /// Decides on one HTTP request. As for statements, some entry must match and no deny rule.
    pub fn admits_request(&self, principal: &Principal, target: &Target, request: &HttpRequest<'_>) -> Decision {
        let scope = self.scope(principal, target);
        let connection = (scope.connection(), Phrase::Connection(target));
        self.conclude([connection, (scope.request(request), Phrase::Request(request, target))].into_iter())
    }

    /// Whether a policy of ours could select a pod of the service account, by whatever labels.
    pub fn may_select(&self, namespace: &str, service_account: &str) -> bool {
        self.policies.iter().any(|policy| policy.may_select(namespace, service_account))
    }

    /// Cilium's documents in force.
    pub fn network(&self) -> &NetworkPolicySet {
        &self.network
    }

    /// Decides, and tells the whole way to the decision.
    pub fn explain<'a>(&'a self, request: &AccessRequest<'a>) -> Explanation<'a> {
        Explanation::new(self, *request, self.decide(request))
    }

    fn allowed(&self, rule: Option<RuleRef>) -> Decision {
        Decision { verdict: Verdict::Allowed, rule, denial: None, revision: Arc::clone(&self.revision) }
    }

    fn scope(&self, principal: &Principal, target: &Target) -> Arc<Scope> {
        if let Some(known) = self.scopes.load().iter().find(|scope| scope.is_of(principal, target)) {
            return Arc::clone(known);
        }
        let made = Arc::new(Scope::new(&self.policies, &self.network, principal, target));
        self.scopes.rcu(|known| {
            let kept = known.iter().skip((known.len() + 1).saturating_sub(SCOPES_MAX));
            kept.cloned().chain([Arc::clone(&made)]).collect::<Vec<_>>()
        });
        made
    }

    /// The worst answer decides; of equal ones the first, or the last where all are allowed.
    fn conclude<'a>(&self, answers: impl Iterator<Item = (Answer<'a>, Phrase<'a>)>) -> Decision {
        let mut decision = self.allowed(None);
        for (answer, asked) in answers {
            let worse = match (decision.verdict, answer.verdict) {
                (Verdict::Allowed, Verdict::Allowed | Verdict::Observed | Verdict::Denied) => true,
                (Verdict::Observed, Verdict::Denied) => true,
                (Verdict::Observed, Verdict::Allowed | Verdict::Observed) => false,
                (Verdict::Denied, Verdict::Allowed | Verdict::Observed | Verdict::Denied) => false,
            };
            if worse {
                decision.verdict = answer.verdict;
                decision.rule = answer.rule.cloned();
                decision.denial = answer.refusal.map(|refusal| refusal.denial(&asked));
            }
        }
        decision
    }
}

/// Every document of every source, and what is no YAML.
fn parts(sources: &[Source<'_>]) -> (Vec<Part>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for source in sources {
        match crate::document::parts(source.file, source.text) {
            Ok(parts) => found.extend(parts),
            Err(unreadable) => problems.extend(unreadable),
        }
    }
    (found, problems)
}

/// Which kinds of documents there are.
const KINDS: &[(&str, Grammar)] = &[
    ("WarehousePolicy", Grammar::Warehouse),
    ("ClusterWarehousePolicy", Grammar::Warehouse),
    ("CiliumNetworkPolicy", Grammar::Cilium),
    ("CiliumClusterwideNetworkPolicy", Grammar::Cilium),
];

/// Whose grammar a document is written in.
#[derive(Debug, Clone, Copy)]
enum Grammar {
    Warehouse,
    Cilium,
}

/// Whatever the kind was meant to be is the grammar that a document's problems are told in.
fn grammar_of(part: &Part) -> Grammar {
    let meant = part.word("kind").and_then(|kind| nearest(kind, KINDS.iter().map(|(kind, _)| *kind)));
    KINDS.iter().find(|(kind, _)| Some(*kind) == meant).map_or(Grammar::Warehouse, |(_, grammar)| *grammar)
}

/// Documents on their way into a set.
struct Loading {
    warehouse: Reader<WarehousePolicy>,
    cilium: Reader<CiliumPolicy>,
    policies: BTreeMap<Arc<str>, (Policy, WarehousePolicy)>,
    network: NetworkPolicySet,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// What decides, written out: the documents of Cilium by their names.
    digested: BTreeMap<Arc<str>, serde_json::Value>,
}

impl Loading {
    fn new() -> Result<Self, Vec<Problem>> {
        Ok(Self {
            warehouse: Reader::new()?,
            cilium: Reader::new()?,
            policies: BTreeMap::new(),
            network: NetworkPolicySet::default(),
            problems: Vec::new(),
            warnings: Vec::new(),
            digested: BTreeMap::new(),
        })
    }

    fn add(&mut self, part: &Part) {
        let added = match grammar_of(part) {
            Grammar::Cilium => self.add_cilium(part),
            Grammar::Warehouse => self.add_warehouse(part),
        };
        match added {
            Ok(warnings) => self.warnings.extend(part.located(warnings)),
            Err(problems) => self.problems.extend(part.located(problems)),
        }
    }

    /// Adds a document; what is odd about it.
    fn add_cilium(&mut self, part: &Part) -> Result<Vec<Problem>, Vec<Problem>> {
        let document = self.cilium.read(part)?;
        let (name, warnings) = self.network.add(part.file(), &document)?;
        self.digested.insert(name, written_out(part.file(), &document)?);
        Ok(warnings)
    }

    /// Adds a document; what is odd about it.
    fn add_warehouse(&mut self, part: &Part) -> Result<Vec<Problem>, Vec<Problem>> {
        let document = self.warehouse.read(part)?;
        let policy = compile(part.file(), &document)?;
        if self.policies.contains_key(&policy.name) {
            let message = format!("a policy named {} stands elsewhere too", policy.name);
            return Err(vec![Problem::at(part.file(), "metadata.name", message)]);
        }
        let warnings = policy.warnings(part.file()).collect();
        self.policies.insert(Arc::clone(&policy.name), (policy, document));
        Ok(warnings)
    }

    fn finish(self) -> Result<PolicySet, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let (policies, documents): (Vec<Policy>, Vec<WarehousePolicy>) = self.policies.into_values().unzip();
        let revision = revision(&documents, &self.digested)?;
        Ok(PolicySet { revision, policies, network: self.network, warnings: self.warnings, scopes: ArcSwap::default() })
    }
}

/// The JSON schema of policy documents.
pub fn schema() -> serde_json::Value {
    crate::document::schema::<WarehousePolicy>()
}

/// Hashes the documents as they serialize: whatever decides, in one order. A set without Cilium's documents has the digest
/// of its own alone.
fn revision(documents: &[WarehousePolicy], cilium: &BTreeMap<Arc<str>, serde_json::Value>) -> Result<Arc<str>, Vec<Problem>> {
    let mut content = written_out("policies", &documents)?.to_string();
    if !cilium.is_empty() {
        content.push_str(&written_out("policies", &cilium.values().collect::<Vec<_>>())?.to_string());
    }
    let hash = digest::digest(&digest::SHA256, content.as_bytes());
    let hex: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}").into())
}

fn written_out(file: &str, documents: &impl Serialize) -> Result<serde_json::Value, Vec<Problem>> {
    serde_json::to_value(documents).map_err(|error| vec![Problem::at(file, "", format!("no digest can be made: {error}"))])
}
