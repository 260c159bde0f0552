//! Turns Cilium's documents into rules that can be decided on, or says why Cilium or Tollhouse does not understand them.

use std::sync::Arc;

use crate::document::Problem;
use crate::policy::grammar::{CidrRule, EndpointSelector, FqdnSelector, PortProtocol};
use crate::policy::http;
use crate::policy::pattern::Host;
use crate::policy::peer::{Entity, PeerSelector, Peers};
use crate::policy::port::PortMatch;
use crate::policy::problems::Problems;
use crate::policy::selector::{NAMESPACE, NAMESPACE_LABELS, Selector};
use crate::policy::{Mode, RuleRef, Summary};

use super::document::{AuthenticationMode, CiliumPolicy, Egress, EgressDeny, Kind, L7Rules, PortDenyRule, PortRule, Rule, Service};

/// A compiled document.
#[derive(Debug)]
pub(in crate::policy) struct CiliumRules {
    /// `kind namespace/name`, or `kind name` of a cluster-wide one.
    pub(in crate::policy) name: Arc<str>,
    pub(super) rules: Vec<Selected>,
}

/// One `spec`, if it is about pods.
#[derive(Debug)]
pub(in crate::policy) struct Selected {
    /// `None` is cluster-wide.
    pub(in crate::policy) namespace: Option<String>,
    pub(super) selector: Selector,
    /// Does it close what nothing allows?
    pub(super) default_deny: bool,
    pub(in crate::policy) allow: Vec<Grant>,
    pub(super) deny: Vec<Ban>,
}

/// What one `toPorts` of `egress` allows.
#[derive(Debug)]
pub(in crate::policy) struct Grant {
    /// `spec.egress[0].toPorts[0]`, or `spec.egress[0]` where the rule has no `toPorts`.
    pub(in crate::policy) rule: RuleRef,
    pub(in crate::policy) peers: Peers,
    /// `None` is every port.
    pub(in crate::policy) ports: Option<Vec<PortMatch>>,
    pub(in crate::policy) server_names: Vec<Host>,
    pub(in crate::policy) spoken: Spoken,
    pub(super) authentication: Option<AuthenticationMode>,
    /// TLS settings and listener, written out: two that differ cannot hold at once.
    pub(super) proxy: Option<String>,
}

/// What must be spoken on a connection.
#[derive(Debug)]
pub(in crate::policy) enum Spoken {
    Anything,
    /// HTTP, and one of these must match; each with its index.
    Http(Vec<http::Rule>),
    /// DNS, about one of these names.
    Dns(Vec<Host>),
}

/// What one `toPorts` of `egressDeny` denies.
#[derive(Debug)]
pub(in crate::policy) struct Ban {
    pub(in crate::policy) rule: RuleRef,
    pub(in crate::policy) peers: Peers,
    pub(in crate::policy) ports: Option<Vec<PortMatch>>,
}

impl CiliumRules {
    /// What is worth showing of it.
    pub(super) fn summary(&self) -> Summary {
        let count = |rules: fn(&Selected) -> usize| self.rules.iter().map(rules).sum();
        Summary {
            policy: Arc::clone(&self.name),
            mode: Mode::Enforce,
            allow_rules: count(|rule| rule.allow.len()),
            deny_rules: count(|rule| rule.deny.len()),
            sql_entries: 0,
        }
    }

    /// Rules that can never match here.
    pub(super) fn warnings<'a>(&'a self, file: &'a str) -> impl Iterator<Item = Problem> + 'a {
        let grants = self.rules.iter().flat_map(|rule| &rule.allow);
        let http = grants.flat_map(|grant| match &grant.spoken {
            Spoken::Http(rules) => rules.iter().enumerate().map(|(index, rule)| (grant, index, rule)).collect::<Vec<_>>(),
            Spoken::Anything | Spoken::Dns(_) => Vec::new(),
        });
        http.filter(|(_, _, rule)| rule.needs_secret()).map(move |(grant, index, _)| {
            Problem::at(
                file,
                &format!("{}.rules.http[{index}]", grant.rule.path),
                "a header is compared with a secret, which is not read here, so the rule lets nothing pass",
            )
        })
    }
}

/// Compiles one document.
///
/// # Errors
/// Every problem that its schema cannot know.
pub(in crate::policy) fn compile(file: &str, written: &CiliumPolicy) -> Result<CiliumRules, Vec<Problem>> {
    let namespace = match written.kind {
        Kind::CiliumNetworkPolicy => Some(written.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned())),
        Kind::CiliumClusterwideNetworkPolicy => None,
    };
    let mut compiler = Compiler { problems: Problems::of(file), policy: written.name(), namespace };
    if compiler.namespace.is_none() && written.metadata.namespace.is_some() {
        compiler.problems.add("metadata.namespace", "a CiliumClusterwideNetworkPolicy has no namespace");
    }
    let mut rules = Vec::new();
    for (index, spec) in written.specs.iter().flatten().enumerate() {
        rules.extend(compiler.spec(&format!("specs[{index}]"), spec));
    }
    match (&written.spec, &written.specs) {
        (Some(spec), _) => rules.extend(compiler.spec("spec", spec)),
        (None, Some(_)) => {}
        (None, None) => compiler.problems.add("", "expected `spec` or `specs`"),
    }
    if compiler.problems.found.is_empty() { Ok(CiliumRules { name: compiler.policy, rules }) } else { Err(compiler.problems.found) }
}

/// Collects problems on the way.
struct Compiler<'f> {
    problems: Problems<'f>,
    policy: Arc<str>,
    namespace: Option<String>,
}

/// The peers of a rule, of `egress` and `egressDeny` alike.
struct PeerKeys<'w> {
    endpoints: Option<&'w [EndpointSelector]>,
    cidr: Option<&'w [String]>,
    cidr_set: Option<&'w [CidrRule]>,
    entities: Option<&'w [Entity]>,
    services: Option<&'w [Service]>,
    groups: Option<&'w [serde_json::Value]>,
    nodes: Option<&'w [EndpointSelector]>,
    fqdns: Option<&'w [FqdnSelector]>,
}

impl Compiler<'_> {
    fn rule(&self, path: &str) -> RuleRef {
        RuleRef { policy: Arc::clone(&self.policy), path: path.into() }
    }

    fn spec(&mut self, path: &str, written: &Rule) -> Option<Selected> {
        let (egress, deny) = (written.egress.as_deref().unwrap_or_default(), written.egress_deny.as_deref().unwrap_or_default());
        let ingress = [&written.ingress, &written.ingress_deny].into_iter().flatten().any(|rules| !rules.is_empty());
        if egress.is_empty() && deny.is_empty() && !ingress {
            self.problems.add(path, "Cilium refuses a rule without any rule under `egress`, `egressDeny`, `ingress` or `ingressDeny`; `egress: [{}]` closes egress");
        }
        let written_selector = match (&written.endpoint_selector, &written.node_selector) {
            (Some(selector), None) => Some(selector),
            (None, Some(_)) if self.namespace.is_none() => None,
            (None, Some(_)) => {
                self.problems.add(&format!("{path}.nodeSelector"), "only a CiliumClusterwideNetworkPolicy selects nodes");
                None
            }
            (Some(_), Some(_)) | (None, None) => {
                self.problems.add(path, "expected exactly one of `endpointSelector` and `nodeSelector`");
                None
            }
        };
        let selector = written_selector.and_then(|selector| self.subject(&format!("{path}.endpointSelector"), selector));
        let allow = egress.iter().enumerate().flat_map(|(index, rule)| self.egress(&format!("{path}.egress[{index}]"), rule)).collect();
        let deny_rules = deny.iter().enumerate();
        let bans = deny_rules.flat_map(|(index, rule)| self.egress_deny(&format!("{path}.egressDeny[{index}]"), rule)).collect();
        let asked = written.enable_default_deny.as_ref().and_then(|enable| enable.egress);
        let default_deny = asked.unwrap_or(!egress.is_empty() || !deny.is_empty());
        Some(Selected { namespace: self.namespace.clone(), selector: selector?, default_deny, allow, deny: bans })
    }

    /// A namespaced policy selects in its own namespace, whatever its `k8s:` label for it says.
    fn subject(&mut self, path: &str, written: &EndpointSelector) -> Option<Selector> {
        let mut written = written.clone();
        if self.namespace.is_some() {
            written.match_labels.remove(&format!("k8s:{NAMESPACE}"));
        }
        self.problems.selector(path, &written)
    }

    fn egress(&mut self, path: &str, written: &Egress) -> Vec<Grant> {
        let keys = PeerKeys {
            endpoints: written.to_endpoints.as_deref(),
            cidr: written.to_cidr.as_deref(),
            cidr_set: written.to_cidr_set.as_deref(),
            entities: written.to_entities.as_deref(),
            services: written.to_services.as_deref(),
            groups: written.to_groups.as_deref(),
            nodes: written.to_nodes.as_deref(),
            fqdns: written.to_fqdns.as_deref(),
        };
        let peers = self.peers(path, &keys);
        let ports = written.to_ports.as_deref().unwrap_or_default();
        let icmps = written.icmps.as_deref().unwrap_or_default();
        self.check_icmps(path, !ports.is_empty(), icmps);
        let authentication = written.authentication.as_ref().map(|authentication| authentication.mode);
        if ports.is_empty() {
            // Without peers and ports a rule names nothing that it could allow.
            let names_something = icmps.is_empty() && !matches!(peers, Peers::Anyone);
            let grant = || Grant {
                rule: self.rule(path),
                peers,
                ports: None,
                server_names: Vec::new(),
                spoken: Spoken::Anything,
                authentication,
                proxy: None,
            };
            return names_something.then(grant).into_iter().collect();
        }
        let rules = ports.iter().enumerate();
        rules
            .map(|(index, rule)| Grant { authentication, ..self.grant(&format!("{path}.toPorts[{index}]"), peers.clone(), rule) })
            .collect()
    }

    fn egress_deny(&mut self, path: &str, written: &EgressDeny) -> Vec<Ban> {
        let keys = PeerKeys {
            endpoints: written.to_endpoints.as_deref(),
            cidr: written.to_cidr.as_deref(),
            cidr_set: written.to_cidr_set.as_deref(),
            entities: written.to_entities.as_deref(),
            services: written.to_services.as_deref(),
            groups: written.to_groups.as_deref(),
            nodes: written.to_nodes.as_deref(),
            fqdns: None,
        };
        let peers = self.peers(path, &keys);
        let ports = written.to_ports.as_deref().unwrap_or_default();
        let icmps = written.icmps.as_deref().unwrap_or_default();
        self.check_icmps(path, !ports.is_empty(), icmps);
        if ports.is_empty() {
            let names_something = icmps.is_empty() && !matches!(peers, Peers::Anyone);
            return names_something.then(|| Ban { rule: self.rule(path), peers, ports: None }).into_iter().collect();
        }
        let mut bans = Vec::new();
        for (index, PortDenyRule { ports }) in ports.iter().enumerate() {
            let path = format!("{path}.toPorts[{index}]");
            let ports = self.ports(&path, ports.as_deref());
            bans.push(Ban { rule: self.rule(&path), peers: peers.clone(), ports: Some(ports) });
        }
        bans
    }

    fn check_icmps(&mut self, path: &str, has_ports: bool, icmps: &[serde_json::Value]) {
        if has_ports && !icmps.is_empty() {
            self.problems.add(path, "Cilium refuses `icmps` beside `toPorts`; write two rules");
        }
    }

    /// Peers of one kind; an empty list of most kinds is nobody.
    fn peers(&mut self, path: &str, keys: &PeerKeys<'_>) -> Peers {
        let counts = [
            ("toEndpoints", keys.endpoints.map(<[_]>::len), true),
            ("toCIDR", keys.cidr.map(<[_]>::len), true),
            ("toCIDRSet", keys.cidr_set.map(<[_]>::len), true),
            ("toEntities", keys.entities.map(<[_]>::len), true),
            ("toNodes", keys.nodes.map(<[_]>::len), true),
            ("toServices", keys.services.map(<[_]>::len), false),
            ("toGroups", keys.groups.map(<[_]>::len), false),
            ("toFQDNs", keys.fqdns.map(<[_]>::len), false),
        ];
        let given: Vec<&str> = counts.iter().filter(|(_, count, _)| count.is_some_and(|count| count > 0)).map(|(key, _, _)| *key).collect();
        self.problems.one_kind(path, &given);
        if counts.iter().any(|(_, count, empty_is_nobody)| *count == Some(0) && *empty_is_nobody) {
            return Peers::Each(Vec::new());
        }
        if given.is_empty() {
            return Peers::Anyone;
        }
        let mut selectors = Vec::new();
        for (index, selector) in keys.endpoints.unwrap_or_default().iter().enumerate() {
            selectors.extend(self.endpoints(&format!("{path}.toEndpoints[{index}]"), selector).map(PeerSelector::Endpoints));
        }
        selectors.extend(self.problems.blocks(path, keys.cidr.unwrap_or_default(), keys.cidr_set.unwrap_or_default()));
        selectors.extend(keys.entities.unwrap_or_default().iter().map(|entity| PeerSelector::Entity(*entity)));
        for (index, service) in keys.services.unwrap_or_default().iter().enumerate() {
            selectors.extend(self.service(&format!("{path}.toServices[{index}]"), service));
        }
        selectors.extend(keys.groups.unwrap_or_default().iter().map(|_| PeerSelector::Groups));
        for (index, selector) in keys.nodes.unwrap_or_default().iter().enumerate() {
            selectors.extend(self.problems.selector(&format!("{path}.toNodes[{index}]"), selector).map(|_| PeerSelector::Nodes));
        }
        let names = self.problems.names(&format!("{path}.toFQDNs"), keys.fqdns.unwrap_or_default());
        selectors.extend(names.into_iter().map(PeerSelector::Fqdn));
        Peers::Each(selectors)
    }

    /// Pods of the policy's own namespace, unless the selector says which; a cluster-wide one means pods of any.
    fn endpoints(&mut self, path: &str, written: &EndpointSelector) -> Option<Selector> {
        let selector = self.problems.selector(path, written)?;
        if selector.is_reserved() || selector.asks_for(|key| key == NAMESPACE) {
            return Some(selector);
        }
        match &self.namespace {
            None => Some(selector.with(NAMESPACE, None)),
            Some(_) if selector.asks_for(|key| key.starts_with(NAMESPACE_LABELS)) => Some(selector),
            Some(own) => Some(selector.with(NAMESPACE, Some(own))),
        }
    }

    fn service(&mut self, path: &str, written: &Service) -> Option<PeerSelector> {
        match (&written.k8s_service, &written.k8s_service_selector) {
            (Some(named), None) => Some(PeerSelector::Service {
                name: Some(named.service_name.clone()),
                namespace: named.namespace.clone().or_else(|| self.namespace.clone()),
            }),
            (None, Some(selected)) => {
                self.problems.selector(&format!("{path}.k8sServiceSelector.selector"), &selected.selector)?;
                Some(PeerSelector::Service { name: None, namespace: selected.namespace.clone() })
            }
            (Some(_), Some(_)) | (None, None) => {
                self.problems.add(path, "expected exactly one of `k8sService` and `k8sServiceSelector`");
                None
            }
        }
    }

    fn grant(&mut self, path: &str, peers: Peers, written: &PortRule) -> Grant {
        let ports = self.ports(path, written.ports.as_deref());
        let server_names = self.problems.server_names(path, written.server_names.as_deref().unwrap_or_default());
        let spoken = written.rules.as_ref().map_or(Spoken::Anything, |rules| self.spoken(path, rules));
        if !matches!(spoken, Spoken::Anything) {
            self.check_spoken(path, &spoken, &ports, written);
        }
        let proxy = (&written.terminating_tls, &written.originating_tls, &written.listener);
        let has_proxy = written.terminating_tls.is_some() || written.originating_tls.is_some() || written.listener.is_some();
        Grant {
            rule: self.rule(path),
            peers,
            ports: Some(ports),
            server_names,
            spoken,
            authentication: None,
            proxy: has_proxy.then(|| serde_json::to_string(&proxy).unwrap_or_default()),
        }
    }

    fn ports(&mut self, path: &str, written: Option<&[PortProtocol]>) -> Vec<PortMatch> {
        let written = written.unwrap_or_default();
        if written.is_empty() {
            self.problems.add(
                &format!("{path}.ports"),
                "Cilium reads a rule without ports as one for no port; name the ports, or `\"0\"` for every port",
            );
        }
        self.problems.ports(path, written)
    }

    fn spoken(&mut self, path: &str, written: &L7Rules) -> Spoken {
        let gone = [("kafka", &written.kafka), ("l7proto", &written.l7proto), ("l7", &written.l7)];
        for (key, _) in gone.iter().filter(|(_, value)| value.is_some()) {
            let why =
                "Cilium 1.20 has dropped this key, and then allows what the rule was to restrict; write a WarehousePolicy with `rules.sql`";
            self.problems.add(&format!("{path}.rules.{key}"), why);
        }
        match (&written.http, &written.dns) {
            (Some(http), None) if http.is_empty() => Spoken::Anything,
            (Some(http), None) => Spoken::Http(self.problems.http(path, http)),
            (None, Some(dns)) if dns.is_empty() => Spoken::Anything,
            (None, Some(dns)) => Spoken::Dns(self.problems.names(&format!("{path}.rules.dns"), dns)),
            (None, None) if gone.iter().any(|(_, value)| value.is_some()) => Spoken::Anything,
            (Some(_), Some(_)) | (None, None) => {
                self.problems.add(&format!("{path}.rules"), "expected exactly one of `http` and `dns`");
                Spoken::Anything
            }
        }
    }

    fn check_spoken(&mut self, path: &str, spoken: &Spoken, ports: &[PortMatch], written: &PortRule) {
        if written.server_names.is_some() && written.terminating_tls.is_none() {
            self.problems.add(path, "Cilium refuses `serverNames` beside `rules` without `terminatingTLS`");
        }
        if written.listener.is_some() {
            self.problems.add(path, "Cilium refuses `listener` beside `rules`");
        }
        if ports.iter().any(PortMatch::is_every) {
            self.problems.add(&format!("{path}.ports"), "Cilium refuses `rules` on port 0");
        }
        let is_dns = matches!(spoken, Spoken::Dns(_));
        let ranges = written.ports.iter().flatten().any(|port| port.end_port.is_some_and(|end| end > 0));
        if is_dns && ranges {
            self.problems.add(&format!("{path}.ports"), "Cilium refuses `rules.dns` on a range of ports");
        }
        if !is_dns && !ports.iter().all(PortMatch::is_tcp) {
            self.problems.add(&format!("{path}.ports"), "Cilium refuses `rules.http` on ports that do not say `protocol: TCP`");
        }
    }
}
