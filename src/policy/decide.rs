//! The decision: which rules reach the target, and whether they allow every effect.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use crate::dbt::Claim;
use crate::dbt::manifest::verify::Standing;
use crate::fault::Reason;
use crate::identity::Principal;
use crate::sql::{Effect, Signals};
use crate::target::{Opening, Target};

use super::compile::{Policy, Reach, Side, SqlEntry};
use super::entry::{Miss, Reading};
use super::http::{self, HttpRequest};
use super::index::Index;
use super::network::{NetworkDecision, NetworkPolicySet, NetworkRequest, Transport};
use super::peer::Peer;
use super::phrase::Phrase;
use super::port::PortMatch;
use super::selector::Labels;
use super::truth::Truth;
use super::{AccessRequest, Denial, Mode, RuleRef, Verdict};

/// The one rule that stands in no policy: a principal may cancel and end its own sessions. dbt does so on an interrupt, from
/// a connection of its own. Deny rules win over it as over every other.
static OWN_SESSION: LazyLock<RuleRef> = LazyLock::new(|| RuleRef { policy: "built-in".into(), path: "own-session".into() });

/// The policies that select a workload, and their rules that reach a target: all that a session's decisions need.
#[derive(Debug)]
pub(super) struct Scope {
    workload: Workload,
    host: String,
    port: u16,
    opening: Opening,
    /// Some policy selects the workload.
    selected: bool,
    /// Some policy in enforce mode does.
    enforced: bool,
    /// What Cilium's documents say about the connection.
    network: NetworkDecision,
    /// The first rule that reaches the target, and the entries of all that do.
    allow: Rules,
    /// The same for `egressDeny` of policies that enforce; here the first rule is the first without entries.
    forbid: Rules,
    /// The same for `egressDeny` of policies that observe.
    would_forbid: Rules,
}

/// What selectors see of a principal.
#[derive(Debug, PartialEq, Eq)]
struct Workload {
    namespace: Option<String>,
    service_account: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Rules {
    connection: Option<RuleRef>,
    effects: Index,
    /// `None` matches every request.
    requests: Vec<(RuleRef, Option<Arc<http::Rule>>)>,
}

/// What became of one question: a connection or an effect.
#[derive(Debug)]
pub(super) struct Answer<'p> {
    pub(super) verdict: Verdict,
    pub(super) rule: Option<&'p RuleRef>,
    /// What forbids it.
    pub(super) refusal: Option<Refusal<'p>>,
}

/// What forbids a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal<'p> {
    /// No policy selects the principal.
    NoneSelects,
    /// No rule allows it.
    NoneAllows,
    /// No rule allows it to this node of dbt's project, and some allow others.
    NoneAllowsNode,
    /// Rules would allow it to the node that the statement names, if it were verified.
    Unverified,
    /// This deny rule.
    Rule(&'p RuleRef),
    /// Cilium's documents.
    Network(&'p NetworkDecision),
}

/// The connection to a target, as Cilium sees it.
pub(super) fn connection<'a>(principal: &'a Principal, target: &'a Target, peer: Peer<'a>) -> NetworkRequest<'a> {
    let server_name = match target.opening {
        Opening::Plain => None,
        // An address is not sent as a server name (RFC 6066, section 3).
        Opening::Tls => Some(target.host.as_str()).filter(|host| host.parse::<IpAddr>().is_err()),
    };
    NetworkRequest { workload: principal, peer, port: target.port, transport: Transport::Tcp, server_name, http: None, dns: None }
}

/// Why a policy does not select a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unselected<'p> {
    /// It belongs to this namespace.
    Namespace(&'p str),
    /// The label with this key does not match.
    Label(&'p str),
}

/// Why a rule does not reach a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreached {
    /// Nothing under `toFQDNs`, `toCIDR` or `toCIDRSet` matches the host.
    Host,
    /// Nothing under `ports` holds the port.
    Port,
    /// Nothing under `serverNames` matches the host, which is what TLS verifies.
    ServerName,
}

impl Policy {
    /// Does the policy select the principal? A namespaced policy selects only in its own namespace.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn selects(&self, principal: &Principal) -> Result<(), Unselected<'_>> {
        match &self.namespace {
            Some(namespace) if principal.namespace.as_ref() != Some(namespace) => Err(Unselected::Namespace(namespace)),
            Some(_) | None => self.selector.selects(principal).map_err(Unselected::Label),
        }
    }

    /// Could the policy select a pod of the service account, by whatever labels?
    pub(super) fn may_select(&self, namespace: &str, service_account: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
            && self.selector.matches(&Labels::of_account(namespace, service_account)) != Truth::No
    }
}

impl Reach {
    /// Does the rule reach the target? Where that depends on the address behind a name, a deny rule does, and no other.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn reaches(&self, target: &Target) -> Result<(), Unreached> {
        let least = match self.side {
            Side::Allow => Truth::Yes,
            Side::Deny => Truth::Address,
        };
        let peer = Peer::Outside { name: Some(&target.host), address: target.host.parse().ok() };
        if self.peers.hold(&peer) < least {
            return Err(Unreached::Host);
        }
        let holds = |port: &PortMatch| port.holds(target.port, Transport::Tcp, &peer) == Truth::Yes;
        if !self.ports.as_ref().is_none_or(|ports| ports.iter().any(holds)) {
            return Err(Unreached::Port);
        }
        match self.server_names.as_ref().is_none_or(|names| names.iter().any(|name| name.matches(&target.host))) {
            true => Ok(()),
            false => Err(Unreached::ServerName),
        }
    }
}

impl Scope {
    /// One pass over all policies; every decision after it looks only at what was found.
    pub(super) fn new(policies: &[Policy], network: &NetworkPolicySet, principal: &Principal, target: &Target) -> Self {
        let selecting: Vec<&Policy> = policies.iter().filter(|policy| policy.selects(principal).is_ok()).collect();
        let of = |mode| selecting.iter().copied().filter(move |policy| policy.mode == mode);
        let reaches = |reach: &&Reach| reach.reaches(target).is_ok();
        Self {
            workload: Workload {
                namespace: principal.namespace.clone(),
                service_account: principal.service_account.clone(),
                labels: principal.labels.clone(),
            },
            host: target.host.clone(),
            port: target.port,
            opening: target.opening,
            selected: !selecting.is_empty(),
            enforced: of(Mode::Enforce).next().is_some(),
            network: network.decide(&connection(principal, target, Peer::of_host(&target.host))),
            allow: Rules::allowing(selecting.iter().flat_map(|policy| &policy.allow).filter(reaches)),
            forbid: Rules::denying(of(Mode::Enforce).flat_map(|policy| &policy.deny).filter(reaches)),
            would_forbid: Rules::denying(of(Mode::Observe).flat_map(|policy| &policy.deny).filter(reaches)),
        }
    }

    /// Is this the scope of the principal and the target?
    pub(super) fn is_of(&self, principal: &Principal, target: &Target) -> bool {
        let Workload { namespace, service_account, labels } = &self.workload;
        (self.port, self.opening) == (target.port, target.opening)
            && self.host == target.host
            && *namespace == principal.namespace
            && *service_account == principal.service_account
            && *labels == principal.labels
    }

    /// May the connection itself be made? Cilium's documents may forbid it, and deny rules without `rules`.
    pub(super) fn connection(&self) -> Answer<'_> {
        if self.network.is_denied() {
            let (rule, refusal) = (self.network.rule.as_ref(), Some(Refusal::Network(&self.network)));
            return Answer { verdict: Verdict::Denied, rule, refusal };
        }
        self.answer(|| self.allow.connection.as_ref(), |rules| rules.connection.as_ref())
    }

    /// May the effect be had?
    pub(super) fn effect(&self, effect: &Effect, request: &AccessRequest<'_>) -> Answer<'_> {
        let allowed = || self.allow.effects.first_match(effect, request, Reading::Certain).or_else(|| built_in(effect));
        let mut answer = self.answer(allowed, |rules| rules.effects.first_match(effect, request, Reading::Possible));
        if let (Some(Refusal::NoneAllows), Some(claim)) = (answer.refusal, request.dbt) {
            let verified = AccessRequest { dbt: Some(Claim { standing: &Standing::Verified, ..claim }), ..*request };
            let node = claim.attribution.node.as_deref();
            if self.allow.effects.first_match(effect, &verified, Reading::Certain).is_some() {
                answer.refusal = Some(Refusal::Unverified);
            } else if node.is_some_and(|node| self.allow.effects.names_node(node)) {
                answer.refusal = Some(Refusal::NoneAllowsNode);
            }
        }
        answer
    }

    /// May the request be made?
    pub(super) fn request(&self, request: &HttpRequest<'_>) -> Answer<'_> {
        self.answer(|| self.allow.request(request), |rules| rules.request(request))
    }

    /// A deny rule of an enforcing policy wins over everything; one of an observing policy only where the rest allows.
    fn answer<'s>(
        &'s self,
        allowed: impl FnOnce() -> Option<&'s RuleRef>,
        denying: impl Fn(&'s Rules) -> Option<&'s RuleRef>,
    ) -> Answer<'s> {
        if let Some(rule) = denying(&self.forbid) {
            return Answer { verdict: Verdict::Denied, rule: Some(rule), refusal: Some(Refusal::Rule(rule)) };
        }
        let observes = self.selected && !self.enforced;
        let allowed = allowed();
        if allowed.is_none() && !observes {
            let refusal = Some(if self.selected { Refusal::NoneAllows } else { Refusal::NoneSelects });
            return Answer { verdict: Verdict::Denied, rule: None, refusal };
        }
        // What is observed is told as it would be if every policy enforced: the deny rule first.
        match (denying(&self.would_forbid), allowed) {
            (Some(rule), _) => Answer { verdict: Verdict::Observed, rule: Some(rule), refusal: Some(Refusal::Rule(rule)) },
            (None, None) => Answer { verdict: Verdict::Observed, rule: None, refusal: Some(Refusal::NoneAllows) },
            (None, Some(allowed)) => Answer { verdict: Verdict::Allowed, rule: Some(allowed), refusal: None },
        }
    }
}

impl Rules {
    /// The first rule that matches the request.
    fn request(&self, request: &HttpRequest<'_>) -> Option<&RuleRef> {
        let matches = |rule: &Option<Arc<http::Rule>>| rule.as_ref().is_none_or(|rule| rule.matches(request).is_some());
        self.requests.iter().find(|(_, rule)| matches(rule)).map(|(rule, _)| rule)
    }

    /// Rules of `egress`: each allows the connection, and the statements that its entries match.
    fn allowing<'p>(reaches: impl Iterator<Item = &'p Reach> + Clone) -> Self {
        let entries = reaches.clone().filter_map(|reach| reach.sql.as_deref()).flatten();
        let requests = reaches.clone().flat_map(|reach| &reach.http).map(|(rule, http)| (rule.clone(), Some(Arc::clone(http)))).collect();
        Self {
            requests,
            connection: reaches.map(|reach| reach.rule.clone()).next(),
            effects: Index::new(entries.map(|entry| (entry.rule.clone(), Arc::clone(&entry.entry))).collect()),
        }
    }

    /// Rules of `egressDeny`: one without entries forbids the connection and every statement.
    fn denying<'p>(reaches: impl Iterator<Item = &'p Reach> + Clone) -> Self {
        let (mut entries, mut requests) = (Vec::new(), Vec::new());
        for reach in reaches.clone() {
            requests.extend(reach.http.iter().map(|(rule, http)| (rule.clone(), Some(Arc::clone(http)))));
            match &reach.sql {
                None => {
                    entries.push((reach.rule.clone(), Arc::default()));
                    requests.push((reach.rule.clone(), None));
                }
                Some(sql) => entries.extend(sql.iter().map(|entry| (entry.rule.clone(), Arc::clone(&entry.entry)))),
            }
        }
        let mut whole = reaches.filter(|reach| reach.sql.is_none());
        Self { connection: whole.next().map(|reach| reach.rule.clone()), effects: Index::new(entries), requests }
    }
}

/// The rule that stands in no policy and allows the effect.
pub(super) fn built_in(effect: &Effect) -> Option<&'static RuleRef> {
    match effect {
        Effect::Call { function: _, signals: Signals::OwnSession(_) } => Some(&OWN_SESSION),
        Effect::Call { function: _, signals: Signals::Unsaid | Signals::Process(_) } => None,
        Effect::Access { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => None,
    }
}

impl SqlEntry {
    /// Does the entry match the effect?
    ///
    /// # Errors
    /// Why not.
    pub(super) fn matches(&self, effect: &Effect, request: &AccessRequest<'_>, reading: Reading) -> Result<(), Miss> {
        self.entry.matches(effect, request, reading)
    }
}

impl Refusal<'_> {
    /// The refusal as the client is told.
    pub(super) fn denial(self, asked: &Phrase<'_>) -> Denial {
        match self {
            Self::NoneSelects => {
                let sentence = format!("no policy selects this workload, so nothing allows {asked}");
                Denial { reason: Reason::PolicyNoneSelects, sentence }
            }
            Self::NoneAllows => Denial { reason: asked.reason_without_rule(), sentence: format!("no rule allows {asked}") },
            Self::NoneAllowsNode => {
                let sentence = format!("no rule allows {asked} {}", asked.for_node());
                Denial { reason: asked.reason_without_rule(), sentence }
            }
            Self::Unverified => {
                let sentence = format!("rules allow {asked} only {}", asked.if_verified());
                Denial { reason: Reason::DbtUnverified, sentence }
            }
            Self::Rule(rule) => Denial { reason: Reason::PolicyDenyRule, sentence: format!("deny rule {rule} forbids {asked}") },
            Self::Network(decision) => Denial { reason: Reason::NetworkPolicyDenied, sentence: format!("{decision} {asked}") },
        }
    }
}
