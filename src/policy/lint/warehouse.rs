//! Findings in our own documents.

use std::time::SystemTime;

use crate::document::Part;
use crate::identity::Principal;
use crate::policy::compile::{Policy, Reach, compile_entry};
use crate::policy::decide::connection;
use crate::policy::document::{Egress, WarehousePolicy};
use crate::policy::entry::{Entry, Subject};
use crate::policy::pattern::Host;
use crate::policy::peer::{Peer, PeerSelector, Peers};
use crate::policy::{PolicySet, selector};
use crate::sql::OpaqueClass;
use crate::target::{Opening, Target};

use super::cilium::one_label;
use super::{CILIUM_DROPS, EVERY_STATEMENT, Linter, REPLICATION_OF_DATABASES, UNREACHABLE, WIDE_OPEN};

/// Findings in one document by itself.
pub(super) fn document(linter: &mut Linter, part: &Part, written: &WarehousePolicy) {
    for (index, rule) in written.spec.egress.iter().enumerate() {
        egress(linter, part, &format!("spec.egress[{index}]"), rule);
    }
    for (index, rule) in written.spec.egress_deny.iter().enumerate() {
        replication(linter, part, &format!("spec.egressDeny[{index}]"), rule);
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
        if let Some(at) = entries.map(compile_entry).position(|entry| entry.is_ok_and(|entry| is_whole(&entry))) {
            linter.add(EVERY_STATEMENT, part, &format!("{path}.rules.sql[{at}]"), "an entry without keys matches every statement");
        }
    }
    replication(linter, part, path, written);
}

/// Does the entry match whatever may be matched by an entry that names nothing?
fn is_whole(entry: &Entry) -> bool {
    entry.subject == Subject::Everything && entry.dbt.is_none()
}

/// Databases that replication goes past.
fn replication(linter: &mut Linter, part: &Part, path: &str, written: &Egress) {
    for (index, rule) in written.to_ports.iter().flatten().enumerate() {
        let entries = rule.rules.iter().flat_map(|rules| &rules.sql).flatten();
        for (at, entry) in entries.enumerate().filter(|(_, entry)| entry.databases.is_some()) {
            if entry.opaque.iter().flatten().any(|word| word.0 == OpaqueClass::Replication) {
                let path = format!("{path}.toPorts[{index}].rules.sql[{at}].databases");
                linter.add(REPLICATION_OF_DATABASES, part, &path, "replication goes past databases");
            }
        }
    }
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
