//! Findings in our own documents.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use crate::document::Part;
use crate::identity::Principal;
use crate::policy::compile::{Policy, Reach};
use crate::policy::decide::connection;
use crate::policy::document::{Egress, SqlRule, WarehousePolicy};
use crate::policy::pattern::{Dotted, Host};
use crate::policy::peer::{Peer, PeerSelector, Peers};
use crate::policy::{PolicySet, selector};
use crate::target::{Opening, Target};

use super::cilium::one_label;
use super::{CILIUM_DROPS, EVERY_STATEMENT, Linter, SHADOWED, UNREACHABLE, WIDE_OPEN};

/// Findings in one document by itself.
pub(super) fn document(linter: &mut Linter, part: &Part, written: &WarehousePolicy) {
    for (index, rule) in written.spec.egress.iter().enumerate() {
        egress(linter, part, &format!("spec.egress[{index}]"), rule);
    }
    for (index, rule) in written.spec.egress_deny.iter().enumerate() {
        shadowed(linter, part, &format!("spec.egressDeny[{index}]"), rule);
    }
}

fn egress(linter: &mut Linter, part: &Part, path: &str, written: &Egress) {
    if written.to_fqdns.as_ref().is_some_and(Vec::is_empty) {
        linter.add(UNREACHABLE, part, &format!("{path}.toFQDNs"), "an empty list selects no host");
    }
    one_label(linter, part, &format!("{path}.toFQDNs"), written.to_fqdns.as_deref().unwrap_or_default());
    let names_hosts = written.to_fqdns.is_some() || written.to_cidr.is_some() || written.to_cidr_set.is_some();
    for (index, rule) in written.to_ports.iter().flatten().enumerate() {
        let path = format!("{path}.toPorts[{index}]");
        if !names_hosts && rule.ports.is_none() {
            linter.add(WIDE_OPEN, part, &path, "every host, at every port");
        }
        let entries = rule.rules.iter().flat_map(|rules| &rules.sql).flatten();
        if let Some(at) = entries.map(keys).position(|keys| keys.is_empty()) {
            linter.add(EVERY_STATEMENT, part, &format!("{path}.rules.sql[{at}]"), "an entry without keys matches every statement");
        }
    }
    shadowed(linter, part, path, written);
}

/// Entries that match nothing which an earlier one of their list does not.
fn shadowed(linter: &mut Linter, part: &Part, path: &str, written: &Egress) {
    for (index, rule) in written.to_ports.iter().flatten().enumerate() {
        let entries: Vec<_> = rule.rules.iter().flat_map(|rules| &rules.sql).flatten().map(keys).collect();
        for (at, later) in entries.iter().enumerate() {
            if let Some(earlier) = entries.iter().take(at).position(|earlier| covers(earlier, later)) {
                let path = format!("{path}.toPorts[{index}].rules.sql[{at}]");
                linter.add(SHADOWED, part, &path, format!("entry {earlier} of the list matches whatever this one matches"));
            }
        }
    }
}

type Keys = BTreeMap<String, Vec<String>>;

/// The keys that an entry gives, with their values.
fn keys(entry: &SqlRule) -> Keys {
    let written = serde_json::to_value(entry).unwrap_or_default();
    let values = |value: &Value| match value {
        Value::Null => None,
        Value::Array(values) => Some(values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Some(vec![value.to_string()]),
    };
    let given = written.as_object().into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), values(value)?)));
    given.collect()
}

/// Each key of the earlier entry is given by the later one too, with no value that the earlier one does not match. An
/// entry by `tables` or the like is about fewer kinds of objects, and so covers none that does not say them.
fn covers(earlier: &Keys, later: &Keys) -> bool {
    let matches = |pattern: &String, value: &String| {
        pattern == value || (!value.contains('*') && Dotted::parse(pattern).is_ok_and(|dotted| dotted.matches(value)))
    };
    if !earlier.is_empty() && subject(earlier) != subject(later) {
        return false;
    }
    earlier.iter().all(|(key, patterns)| {
        later.get(key).is_some_and(|values| values.iter().all(|value| patterns.iter().any(|pattern| matches(pattern, value))))
    })
}

/// What an entry with these keys speaks about.
fn subject(keys: &Keys) -> [bool; 4] {
    let calls = keys.contains_key("functions") && !keys.contains_key("actions");
    [calls, keys.contains_key("opaque"), keys.contains_key("roles"), keys.contains_key("parameters")]
}

/// Hosts that a policy allows by name and port, and Cilium drops.
pub(super) fn dropped(linter: &mut Linter, set: &PolicySet) {
    for policy in &set.policies {
        let Some(workload) = workload(policy) else { continue };
        for reach in &policy.allow {
            for target in targets(reach) {
                let decision = set.network().decide(&connection(&workload, &target, Peer::of_host(&target.host)));
                if decision.is_denied() {
                    linter.add_at(CILIUM_DROPS, &reach.rule, format!("{decision} a connection to {}:{}", target.host, target.port));
                }
            }
        }
    }
}

/// The hosts and ports that a rule names exactly. What begins with TLS cannot be told from a policy, so it is supposed to.
fn targets(reach: &Reach) -> Vec<Target> {
    let hosts: Vec<&String> = match &reach.peers {
        Peers::Anyone => Vec::new(),
        Peers::Each(selectors) => selectors.iter().filter_map(exact).collect(),
    };
    let ports: Vec<u16> = reach.ports.iter().flatten().filter_map(crate::policy::port::PortMatch::single).collect();
    let target = |host: &String, port| Target { name: host.clone(), kind: "", host: host.clone(), port, opening: Opening::Tls };
    hosts.iter().flat_map(|host| ports.iter().map(|port| target(host, *port))).collect()
}

fn exact(selector: &PeerSelector) -> Option<&String> {
    match selector {
        PeerSelector::Fqdn(Host::Name(name)) => Some(name),
        PeerSelector::Fqdn(Host::Every | Host::Labels { .. })
        | PeerSelector::Endpoints(_)
        | PeerSelector::Cidr(_)
        | PeerSelector::Entity(_)
        | PeerSelector::Service { .. }
        | PeerSelector::Groups
        | PeerSelector::Nodes => None,
    }
}

/// The plainest workload that a policy selects, if its selector says enough of one.
fn workload(policy: &Policy) -> Option<Principal> {
    let mut labels = policy.selector.asked();
    let namespace = policy.namespace.clone().or_else(|| labels.remove(selector::NAMESPACE));
    let principal = Principal {
        issuer: String::new(),
        subject: policy.name.to_string(),
        token_id: None,
        actors: Vec::new(),
        namespace,
        service_account: labels.remove(selector::SERVICE_ACCOUNT),
        pod: None,
        pod_uid: None,
        labels,
        proven_by: "",
        expires_at: SystemTime::UNIX_EPOCH,
    };
    policy.selects(&principal).is_ok().then_some(principal)
}
