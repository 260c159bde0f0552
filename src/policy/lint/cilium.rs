//! Findings in Cilium's documents.

use crate::document::Part;
use crate::policy::PolicySet;
use crate::policy::grammar::{FqdnSelector, Port, PortProtocol};
use crate::policy::network::compile::{Grant, Selected, Spoken};
use crate::policy::network::document::{CiliumPolicy, Egress, PortRule};
use crate::policy::peer::Entity;

use super::{EMPTY_FQDNS, HTTP_ON_TLS, L4_LIFTS_L7, Linter, ONE_LABEL, SERVER_NAMES_ON_POSTGRES, UNREACHABLE, WIDE_OPEN};

/// Ports where TLS begins at once.
const TLS_PORTS: &[u16] = &[443, 8443];

/// Ports of PostgreSQL, its poolers and its kin, where TLS is asked for first.
const POSTGRES_PORTS: &[u16] = &[5432, 5439, 6432];

/// Findings in one document by itself.
pub(super) fn document(linter: &mut Linter, part: &Part, written: &CiliumPolicy) {
    let one = written.spec.iter().map(|rule| ("spec".to_owned(), rule));
    let several = written.specs.iter().flatten().enumerate().map(|(index, rule)| (format!("specs[{index}]"), rule));
    for (path, rule) in one.chain(several) {
        for (index, egress) in rule.egress.iter().flatten().enumerate() {
            self::egress(linter, part, &format!("{path}.egress[{index}]"), egress);
        }
    }
}

fn egress(linter: &mut Linter, part: &Part, path: &str, written: &Egress) {
    if written.to_fqdns.as_ref().is_some_and(Vec::is_empty) && written.to_ports.is_some() {
        linter.add(EMPTY_FQDNS, part, &format!("{path}.toFQDNs"), "an empty list of hosts is every peer");
    }
    let nobody = [
        ("toEndpoints", written.to_endpoints.as_ref().is_some_and(Vec::is_empty)),
        ("toCIDR", written.to_cidr.as_ref().is_some_and(Vec::is_empty)),
        ("toCIDRSet", written.to_cidr_set.as_ref().is_some_and(Vec::is_empty)),
        ("toEntities", written.to_entities.as_ref().is_some_and(Vec::is_empty)),
    ];
    for (key, _) in nobody.iter().filter(|(_, empty)| *empty) {
        linter.add(UNREACHABLE, part, &format!("{path}.{key}"), "an empty list selects nobody");
    }
    wide_open(linter, part, path, written);
    one_label(linter, part, &format!("{path}.toFQDNs"), written.to_fqdns.as_deref().unwrap_or_default());
    for (index, rule) in written.to_ports.iter().flatten().enumerate() {
        ports(linter, part, &format!("{path}.toPorts[{index}]"), rule);
    }
}

fn wide_open(linter: &mut Linter, part: &Part, path: &str, written: &Egress) {
    let has_ports = written.to_ports.as_ref().is_some_and(|ports| !ports.is_empty());
    for (index, entity) in written.to_entities.iter().flatten().enumerate() {
        let open = *entity == Entity::All || (*entity == Entity::World && !has_ports);
        if open {
            linter.add(
                WIDE_OPEN,
                part,
                &format!("{path}.toEntities[{index}]"),
                "every host, at every port that the rule names or leaves open",
            );
        }
    }
    for (index, cidr) in written.to_cidr.iter().flatten().enumerate() {
        if cidr.ends_with("/0") && !has_ports {
            linter.add(WIDE_OPEN, part, &format!("{path}.toCIDR[{index}]"), "every address, at every port");
        }
    }
}

/// Patterns whose star covers one label.
pub(super) fn one_label(linter: &mut Linter, part: &Part, path: &str, written: &[FqdnSelector]) {
    for (index, selector) in written.iter().enumerate() {
        let Some(pattern) = &selector.match_pattern else { continue };
        if pattern.starts_with('*') && !pattern.starts_with("**") && pattern.len() > 1 {
            linter.add(
                ONE_LABEL,
                part,
                &format!("{path}[{index}].matchPattern"),
                format!("`{pattern}` covers no host with another dot in its place"),
            );
        }
    }
}

fn ports(linter: &mut Linter, part: &Part, path: &str, written: &PortRule) {
    let holds = |wanted: &[u16]| {
        let port = |port: &u16| written.ports.iter().flatten().any(|range| range_holds(range, *port));
        wanted.iter().copied().find(port)
    };
    let http = written.rules.as_ref().and_then(|rules| rules.http.as_ref()).is_some_and(|http| !http.is_empty());
    if let Some(port) = holds(TLS_PORTS).filter(|_| http && written.terminating_tls.is_none()) {
        linter.add(HTTP_ON_TLS, part, &format!("{path}.rules.http"), format!("port {port} speaks TLS, and nothing ends it here"));
    }
    if let Some(port) = holds(POSTGRES_PORTS).filter(|_| written.server_names.is_some()) {
        linter.add(SERVER_NAMES_ON_POSTGRES, part, &format!("{path}.serverNames"), format!("port {port} speaks PostgreSQL"));
    }
}

fn range_holds(written: &PortProtocol, port: u16) -> bool {
    match written.port {
        Port::Number(0) => true,
        Port::Number(first) => first <= port && port <= written.end_port.unwrap_or(first).max(first),
        Port::Named(_) => false,
    }
}

/// HTTP rules that another rule lifts, whatever document that is in.
pub(super) fn lifted(linter: &mut Linter, set: &PolicySet) {
    let all: Vec<(&Selected, &Grant)> = set.network().rules().flat_map(|rule| rule.allow.iter().map(move |grant| (rule, grant))).collect();
    for (restricting, http) in all.iter().filter(|(_, grant)| matches!(grant.spoken, Spoken::Http(_))) {
        let lifts = all.iter().find(|(lifting, plain)| {
            matches!(plain.spoken, Spoken::Anything)
                && plain.server_names.is_empty()
                && (lifting.namespace == restricting.namespace || lifting.namespace.is_none())
                && plain.peers.covers(&http.peers)
                && ports_meet(plain, http)
        });
        if let Some((_, plain)) = lifts {
            linter.add_at(L4_LIFTS_L7, &http.rule, format!("{} allows everything to be said there", plain.rule));
        }
    }
}

fn ports_meet(one: &Grant, other: &Grant) -> bool {
    match (&one.ports, &other.ports) {
        (None, _) | (_, None) => true,
        (Some(ones), Some(others)) => ones.iter().any(|one| others.iter().any(|other| one.meets(other))),
    }
}
