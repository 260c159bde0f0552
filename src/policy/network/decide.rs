//! The decision, as Cilium combines rules: every rule of every policy is one more way in, and a deny rule closes all.
//!
//! Rules for the same peer selector and the same port are merged before they are asked. There a rule without HTTP rules lifts
//! those of the others, while lists of server names add up and nothing lifts them. Groups of another selector or port are
//! ways in of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::RuleRef;
use crate::policy::http::HeaderEdit;
use crate::policy::peer::{Entity, PeerSelector, Peers};
use crate::policy::port::PortMatch;
use crate::policy::selector::Labels;
use crate::policy::truth::Truth;

use super::compile::{Ban, Grant, Selected, Spoken};
use super::document::AuthenticationMode;
use super::{NetworkDecision, NetworkPolicySet, NetworkRequest, NetworkVerdict};

impl NetworkPolicySet {
    /// Decides. Total and deterministic; the order of documents decides nothing but which of several rules is named.
    pub fn decide(&self, request: &NetworkRequest<'_>) -> NetworkDecision {
        let rules = self.policies.iter().flat_map(|policy| &policy.rules);
        let selecting: Vec<(Truth, &Selected)> =
            rules.map(|rule| (rule.selects(request), rule)).filter(|(selects, _)| *selects != Truth::No).collect();
        let bans = |wanted| {
            selecting.iter().flat_map(move |(selects, rule)| rule.deny.iter().find(|ban| ban.holds(request).min(*selects) == wanted))
        };
        if let Some(ban) = bans(Truth::Yes).next() {
            return decided(NetworkVerdict::Dropped, &ban.rule);
        }
        if let Some(ban) = bans(Truth::Unknown).next() {
            return decided(NetworkVerdict::DroppedInDoubt, &ban.rule);
        }
        let by_address = bans(Truth::Address).next().map(|ban| decided(NetworkVerdict::NeedsAddress, &ban.rule));
        let allowed = if selecting.iter().any(|(_, rule)| rule.default_deny) { allowed(&selecting, request) } else { open() };
        match by_address {
            Some(question) if !allowed.is_denied() => question,
            Some(_) | None => allowed,
        }
    }
}

fn decided(verdict: NetworkVerdict, rule: &RuleRef) -> NetworkDecision {
    NetworkDecision { verdict, rule: Some(rule.clone()), edits: Vec::new(), authentication: false }
}

/// Nothing closes what nothing allows.
fn open() -> NetworkDecision {
    NetworkDecision { verdict: NetworkVerdict::Allowed, rule: None, edits: Vec::new(), authentication: false }
}

/// Asks the rules that certainly hold; where those do not let it pass, those that may hold.
fn allowed(selecting: &[(Truth, &Selected)], request: &NetworkRequest<'_>) -> NetworkDecision {
    let certain = ways_in(selecting, request, Truth::Yes);
    if !certain.is_denied() {
        return certain;
    }
    for (least, verdict) in [(Truth::Unknown, NetworkVerdict::Unjudged), (Truth::Address, NetworkVerdict::NeedsAddress)] {
        let possible = ways_in(selecting, request, least);
        if !possible.is_denied() {
            return NetworkDecision { verdict, ..possible };
        }
    }
    certain
}

/// Whether rules of at least this truth let the request pass.
fn ways_in(selecting: &[(Truth, &Selected)], request: &NetworkRequest<'_>, least: Truth) -> NetworkDecision {
    let mut groups: BTreeMap<(String, String), Group<'_>> = BTreeMap::new();
    for (_, rule) in selecting.iter().filter(|(selects, _)| *selects >= least) {
        for grant in &rule.allow {
            for key in grant.keys(request, least) {
                let group = groups.entry(key).and_modify(|group| group.others.push(grant));
                group.or_insert(Group { first: grant, others: Vec::new() });
            }
        }
    }
    let steps: Vec<Step<'_>> = groups.values().map(|group| group.step(request)).collect();
    let find = |verdict| steps.iter().find_map(|step| step.refuses(verdict));
    // A conflict spoils all, and so does a proxy that breaks what it cannot read.
    for verdict in [NetworkVerdict::Conflict, NetworkVerdict::NotHttp, NetworkVerdict::NotDns] {
        if let Some(rule) = find(verdict) {
            return decided(verdict, rule);
        }
    }
    let passes: Vec<&Pass> = steps.iter().filter_map(Step::pass).collect();
    if let Some(first) = passes.iter().min_by_key(|pass| &pass.rule) {
        let authentication = passes.iter().any(|pass| pass.authentication);
        let edits = passes.iter().flat_map(|pass| pass.edits.iter().cloned()).collect();
        return NetworkDecision { verdict: NetworkVerdict::Allowed, rule: Some(first.rule.clone()), edits, authentication };
    }
    for verdict in [NetworkVerdict::Request, NetworkVerdict::ServerName, NetworkVerdict::Dropped] {
        if let Some(rule) = find(verdict) {
            return decided(verdict, rule);
        }
    }
    NetworkDecision { verdict: NetworkVerdict::Dropped, rule: None, edits: Vec::new(), authentication: false }
}

impl Selected {
    fn selects(&self, request: &NetworkRequest<'_>) -> Truth {
        match &self.namespace {
            Some(namespace) if request.workload.namespace.as_ref() != Some(namespace) => Truth::No,
            Some(_) | None => self.selector.matches(&Labels::of_principal(request.workload)),
        }
    }
}

impl Ban {
    fn holds(&self, request: &NetworkRequest<'_>) -> Truth {
        let port = |port: &PortMatch| port.holds(request.port, request.transport, &request.peer);
        let ports = self.ports.as_ref().map_or(Truth::Yes, |ports| Truth::any(ports.iter().map(port)));
        self.peers.hold(&request.peer).min(ports)
    }
}

impl Grant {
    /// The groups that the rule belongs to, as far as they are about the request.
    fn keys(&self, request: &NetworkRequest<'_>, least: Truth) -> Vec<(String, String)> {
        let peers: Vec<String> = match &self.peers {
            Peers::Anyone => vec![key_of(&PeerSelector::Entity(Entity::All))],
            Peers::Each(selectors) => selectors.iter().filter(|selector| selector.selects(&request.peer) >= least).map(key_of).collect(),
        };
        let ports: Vec<String> = match &self.ports {
            None => vec![PortMatch::every_key()],
            Some(ports) => {
                let holding = ports.iter().filter(|port| port.holds(request.port, request.transport, &request.peer) >= least);
                holding.map(PortMatch::place_key).collect()
            }
        };
        peers.iter().flat_map(|peer| ports.iter().map(|port| (peer.clone(), port.clone()))).collect()
    }
}

/// Two selectors are the same where they are written alike.
fn key_of(selector: &PeerSelector) -> String {
    format!("{selector:?}")
}

/// Rules for one selector and one port; at least one.
#[derive(Debug)]
struct Group<'r> {
    first: &'r Grant,
    others: Vec<&'r Grant>,
}

/// What a group says.
enum Step<'r> {
    Refuses(NetworkVerdict, &'r RuleRef),
    Passes(Pass),
}

/// The rule that lets pass, and what comes with it.
struct Pass {
    rule: RuleRef,
    edits: Vec<HeaderEdit>,
    authentication: bool,
}

impl<'r> Step<'r> {
    fn refuses(&self, with: NetworkVerdict) -> Option<&'r RuleRef> {
        match self {
            Self::Refuses(verdict, rule) if *verdict == with => Some(rule),
            Self::Refuses(..) | Self::Passes(_) => None,
        }
    }

    fn pass(&self) -> Option<&Pass> {
        match self {
            Self::Passes(pass) => Some(pass),
            Self::Refuses(..) => None,
        }
    }
}

impl<'r> Group<'r> {
    fn step(&self, request: &NetworkRequest<'_>) -> Step<'r> {
        if let Some(rule) = self.conflict() {
            return Step::Refuses(NetworkVerdict::Conflict, rule);
        }
        let first = |is_meant: fn(&Grant) -> bool| self.all().find(|grant| is_meant(grant));
        if let Some(grant) = first(|grant| matches!(grant.spoken, Spoken::Http(_))).filter(|_| request.http.is_none()) {
            return Step::Refuses(NetworkVerdict::NotHttp, &grant.rule);
        }
        if let Some(grant) = first(|grant| matches!(grant.spoken, Spoken::Dns(_))).filter(|_| request.dns.is_none()) {
            return Step::Refuses(NetworkVerdict::NotDns, &grant.rule);
        }
        if let Some(grant) = first(|grant| grant.authentication == Some(AuthenticationMode::TestAlwaysFail)) {
            return Step::Refuses(NetworkVerdict::Dropped, &grant.rule);
        }
        if let Some(grant) = first(|grant| !grant.server_names.is_empty()) {
            let mut names = self.all().flat_map(|grant| &grant.server_names);
            if !request.server_name.is_some_and(|asked| names.any(|name| name.matches(asked))) {
                return Step::Refuses(NetworkVerdict::ServerName, &grant.rule);
            }
        }
        self.spoken(request)
    }

    /// Every rule that matches has its way with the headers, not the first alone.
    fn spoken(&self, request: &NetworkRequest<'_>) -> Step<'r> {
        let (mut matching, mut edits) = (None, Vec::new());
        for grant in self.all() {
            let found = grant.matches(request);
            matching = matching.or_else(|| found.as_ref().map(|(rule, _)| rule.clone()));
            edits.extend(found.into_iter().flat_map(|(_, edits)| edits));
        }
        let authentication = self.all().any(|grant| grant.authentication == Some(AuthenticationMode::Required));
        match matching {
            Some(rule) => Step::Passes(Pass { rule, edits, authentication }),
            None => Step::Refuses(NetworkVerdict::Request, &self.first.rule),
        }
    }

    /// What cannot hold at once: HTTP and DNS, HTTP and server names from different rules, two ways of authentication, two
    /// proxies.
    fn conflict(&self) -> Option<&'r RuleRef> {
        let differs = |one: &Grant, other: &Grant| {
            let spoken = match (&one.spoken, &other.spoken) {
                (Spoken::Http(_), Spoken::Dns(_)) | (Spoken::Dns(_), Spoken::Http(_)) => true,
                (Spoken::Http(_), Spoken::Http(_) | Spoken::Anything) | (Spoken::Anything, Spoken::Http(_)) => {
                    one.server_names.is_empty() != other.server_names.is_empty() && (is_http_alone(one) || is_http_alone(other))
                }
                (Spoken::Dns(_) | Spoken::Anything, Spoken::Dns(_) | Spoken::Anything) => false,
            };
            let both = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some() && one != other;
            let modes = (one.authentication, other.authentication);
            spoken || both(&one.proxy, &other.proxy) || matches!(modes, (Some(one), Some(other)) if one != other)
        };
        self.all()
            .enumerate()
            .find_map(|(index, one)| self.all().skip(index + 1).find(|other| differs(one, other)).map(|other| &other.rule))
    }

    fn all(&self) -> impl Iterator<Item = &'r Grant> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

fn is_http_alone(grant: &Grant) -> bool {
    matches!(grant.spoken, Spoken::Http(_)) && grant.server_names.is_empty()
}

impl Grant {
    /// The rule that matches what is said, and what it does to the headers.
    fn matches(&self, request: &NetworkRequest<'_>) -> Option<(RuleRef, Vec<HeaderEdit>)> {
        match (&self.spoken, &request.http, request.dns) {
            (Spoken::Anything, _, _) => Some((self.rule.clone(), Vec::new())),
            (Spoken::Http(rules), Some(http), _) => {
                let mut matching = rules.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.matches(http)?)));
                let (index, mut edits) = matching.next()?;
                edits.extend(matching.flat_map(|(_, edits)| edits));
                Some((self.below(&format!("rules.http[{index}]")), edits))
            }
            (Spoken::Dns(names), _, Some(asked)) => {
                let index = names.iter().position(|name| name.matches(asked))?;
                Some((self.below(&format!("rules.dns[{index}]")), Vec::new()))
            }
            (Spoken::Http(_), None, _) | (Spoken::Dns(_), _, None) => None,
        }
    }

    fn below(&self, path: &str) -> RuleRef {
        RuleRef { policy: Arc::clone(&self.rule.policy), path: format!("{}.{path}", self.rule.path).into() }
    }
}
