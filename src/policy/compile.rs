//! Turns documents into rules that can be decided on, or says everything that is wrong with them.

use std::sync::Arc;

use crate::document::Problem;
use crate::sql::Action;

use super::attribution::Attributed;
use super::document::{ActionWord, Egress, Kind, PortRule, Rules, SqlRule, WarehousePolicy};
use super::entry::{Entry, Subject};
use super::grammar::{HttpRule, Port, PortProtocol, Protocol};
use super::http;
use super::pattern::{Dotted, FunctionGlob, Glob, Host, TableGlob};
use super::peer::{PeerSelector, Peers};
use super::port::PortMatch;
use super::problems::Problems;
use super::selector::Selector;
use super::{Mode, RuleRef, Summary};

/// A compiled policy.
#[derive(Debug)]
pub(super) struct Policy {
    /// `namespace/name`, or `name` of a cluster-wide one.
    pub(super) name: Arc<str>,
    /// The namespace it is bound to; `None` is cluster-wide.
    pub(super) namespace: Option<String>,
    pub(super) mode: Mode,
    pub(super) selector: Selector,
    pub(super) allow: Vec<Reach>,
    pub(super) deny: Vec<Reach>,
}

/// One host and port combination, and what may be said there.
#[derive(Debug)]
pub(super) struct Reach {
    /// `spec.egress[0].toPorts[0]`, or `spec.egress[0]` where the rule has no `toPorts`.
    pub(super) rule: RuleRef,
    pub(super) side: Side,
    pub(super) peers: Peers,
    /// `None` is any port.
    pub(super) ports: Option<Vec<PortMatch>>,
    /// `None` is any name.
    pub(super) server_names: Option<Vec<Host>>,
    /// `None` where the rule has no `rules`, and so says nothing about statements and requests.
    pub(super) sql: Option<Vec<SqlEntry>>,
    /// Requests, each with its place.
    pub(super) http: Vec<(RuleRef, Arc<http::Rule>)>,
}

/// An entry of `rules.sql`, and where it stands.
#[derive(Debug)]
pub(super) struct SqlEntry {
    pub(super) rule: RuleRef,
    pub(super) entry: Arc<Entry>,
}

impl Policy {
    /// What is worth showing of it.
    pub(super) fn summary(&self) -> Summary {
        let entries = |reach: &Reach| reach.sql.as_ref().map_or(0, Vec::len);
        Summary {
            policy: Arc::clone(&self.name),
            mode: self.mode,
            allow_rules: self.allow.len(),
            deny_rules: self.deny.len(),
            sql_entries: self.allow.iter().chain(&self.deny).map(entries).sum(),
        }
    }

    /// Rules that allow a connection and then no statement.
    pub(super) fn warnings<'a>(&'a self, file: &'a str) -> impl Iterator<Item = Problem> + 'a {
        self.allow.iter().filter(|reach| reach.sql.is_none()).map(move |reach| {
            Problem::at(
                file,
                &reach.rule.path,
                "without `rules.sql` this allows the connection and no statement; write `sql: [{}]` to allow all",
            )
        })
    }
}

/// Whether a rule allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Allow,
    Deny,
}

/// Compiles one document.
///
/// # Errors
/// Every problem that its schema cannot know.
pub(super) fn compile(file: &str, written: &WarehousePolicy) -> Result<Policy, Vec<Problem>> {
    let mut compiler = Compiler { problems: Problems::of(file) };
    let problems = &mut compiler.problems;
    let namespace = match (written.kind, &written.metadata.namespace) {
        (Kind::WarehousePolicy, namespace) => Some(namespace.clone().unwrap_or_else(|| "default".to_owned())),
        (Kind::ClusterWarehousePolicy, None) => None,
        (Kind::ClusterWarehousePolicy, Some(_)) => {
            problems.add("metadata.namespace", "a ClusterWarehousePolicy has no namespace; leave it out or use a WarehousePolicy");
            None
        }
    };
    let name = written.name();
    for (path, message) in Selector::unknown_here(&written.spec.endpoint_selector) {
        problems.add(&format!("spec.endpointSelector.{path}"), message);
    }
    let selector = problems.selector("spec.endpointSelector", &written.spec.endpoint_selector);
    let allow = compiler.side(&name, Side::Allow, &written.spec.egress);
    let deny = compiler.side(&name, Side::Deny, &written.spec.egress_deny);
    let found = compiler.problems.found;
    match selector.filter(|_| found.is_empty()) {
        Some(selector) => Ok(Policy { name, namespace, mode: written.spec.mode, selector, allow, deny }),
        None => Err(found),
    }
}

/// Compiles one entry of `rules.sql` that stands in no document.
///
/// # Errors
/// Every problem that its schema cannot know.
pub(super) fn compile_entry(written: &SqlRule) -> Result<Entry, Vec<Problem>> {
    let mut compiler = Compiler { problems: Problems::of("") };
    let entry = compiler.entry("", written);
    let found = compiler.problems.found;
    if found.is_empty() { Ok(entry) } else { Err(found) }
}

struct Compiler<'f> {
    problems: Problems<'f>,
}

impl Compiler<'_> {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.problems.add(path, message);
    }

    fn side(&mut self, policy: &Arc<str>, side: Side, rules: &[Egress]) -> Vec<Reach> {
        let key = match side {
            Side::Allow => "egress",
            Side::Deny => "egressDeny",
        };
        let mut reaches = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("spec.{key}[{index}]");
            let peers = self.peers(&path, side, rule);
            let Some(port_rules) = &rule.to_ports else {
                if matches!(peers, Peers::Anyone) {
                    self.add(&path, "an empty rule selects nothing; name hosts under `toFQDNs` or ports under `toPorts`");
                }
                let rule = RuleRef { policy: Arc::clone(policy), path: path.into() };
                reaches.push(Reach { rule, side, peers, ports: None, server_names: None, sql: None, http: Vec::new() });
                continue;
            };
            for (index, port_rule) in port_rules.iter().enumerate() {
                let rule = RuleRef { policy: Arc::clone(policy), path: format!("{path}.toPorts[{index}]").into() };
                reaches.push(self.reach(rule, side, peers.clone(), port_rule));
            }
        }
        reaches
    }

    fn peers(&mut self, path: &str, side: Side, rule: &Egress) -> Peers {
        let keys = [("toFQDNs", rule.to_fqdns.is_some()), ("toCIDR", rule.to_cidr.is_some()), ("toCIDRSet", rule.to_cidr_set.is_some())];
        let given: Vec<&str> = keys.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
        self.problems.one_kind(path, &given);
        if given.is_empty() {
            return Peers::Anyone;
        }
        if side == Side::Deny && rule.to_fqdns.as_ref().is_some_and(Vec::is_empty) {
            self.add(&format!("{path}.toFQDNs"), "an empty list selects no host, so the rule would deny nothing");
        }
        let (cidr, cidr_set) = (rule.to_cidr.as_deref().unwrap_or_default(), rule.to_cidr_set.as_deref().unwrap_or_default());
        let mut selectors = self.problems.blocks(path, cidr, cidr_set);
        if selectors.contains(&PeerSelector::Groups) {
            self.add(&format!("{path}.toCIDRSet"), "a group of addresses is known to Cilium alone; write its blocks under `cidr`");
        }
        let names = self.problems.names(&format!("{path}.toFQDNs"), rule.to_fqdns.as_deref().unwrap_or_default());
        selectors.extend(names.into_iter().map(PeerSelector::Fqdn));
        Peers::Each(selectors)
    }

    fn reach(&mut self, rule: RuleRef, side: Side, peers: Peers, written: &PortRule) -> Reach {
        let ports = written.ports.as_ref().map(|ports| self.ports(&rule.path, ports));
        let server_names = written.server_names.as_ref().map(|names| self.problems.server_names(&rule.path, names));
        let mut http = Vec::new();
        if let Some(written) = written.rules.as_ref().and_then(|rules| rules.http.as_ref()) {
            self.check_http(&rule.path, side, written);
            for (index, compiled) in self.problems.http(&rule.path, written).into_iter().enumerate() {
                let path = format!("{}.rules.http[{index}]", rule.path).into();
                http.push((RuleRef { policy: Arc::clone(&rule.policy), path }, Arc::new(compiled)));
            }
        }
        let sql = written.rules.as_ref().map(|rules| self.sql(&rule, side, rules));
        Reach { rule, side, peers, ports, server_names, sql, http }
    }

    fn sql(&mut self, rule: &RuleRef, side: Side, written: &Rules) -> Vec<SqlEntry> {
        if written.sql.is_none() && written.http.is_none() {
            self.add(&format!("{}.rules", rule.path), "missing key `sql`, or `http` at warehouses that speak HTTP");
        }
        if side == Side::Deny && written.sql.as_ref().is_some_and(Vec::is_empty) {
            self.add(&format!("{}.rules.sql", rule.path), "an empty list denies nothing; leave `rules` out to deny every statement");
        }
        let mut entries = Vec::new();
        for (index, sql) in written.sql.iter().flatten().enumerate() {
            let path = format!("{}.rules.sql[{index}]", rule.path);
            if side == Side::Deny && sql.dbt.is_some() {
                self.add(&format!("{path}.dbt"), "who wants to get around a deny rule would claim another node; deny without it");
            }
            let entry = Arc::new(self.entry(&path, sql));
            entries.push(SqlEntry { rule: RuleRef { policy: Arc::clone(&rule.policy), path: path.into() }, entry });
        }
        entries
    }

    /// Headers pass as they are, so nothing may ask for a change; and secrets are not read.
    fn check_http(&mut self, path: &str, side: Side, written: &[HttpRule]) {
        if side == Side::Deny && written.is_empty() {
            self.add(&format!("{path}.rules.http"), "an empty list denies nothing; leave `rules` out to deny every request");
        }
        for (index, rule) in written.iter().enumerate() {
            for (at, header) in rule.header_matches.iter().enumerate() {
                let path = format!("{path}.rules.http[{index}].headerMatches[{at}]");
                if header.mismatch.is_some() {
                    self.add(
                        &format!("{path}.mismatch"),
                        "no header is changed on the way; leave it out, and the rule asks for the header",
                    );
                }
                if header.secret.is_some() {
                    self.add(&format!("{path}.secret"), "secrets are not read by policies; write the `value`, or ask for the header alone");
                }
            }
        }
    }

    /// Warehouses speak TCP, and what a pod calls its ports is not known.
    fn ports(&mut self, path: &str, written: &[PortProtocol]) -> Vec<PortMatch> {
        for (index, port) in written.iter().enumerate() {
            let path = format!("{path}.ports[{index}]");
            match port.port {
                Port::Number(0) => self.add(&format!("{path}.port"), "expected 1 or more; leave `ports` out for any port"),
                Port::Named(_) => self.add(&format!("{path}.port"), "the names of ports are not known here; write the number"),
                Port::Number(_) => {}
            }
            if !matches!(port.protocol, None | Some(Protocol::Tcp | Protocol::Any)) {
                self.add(&format!("{path}.protocol"), "warehouses speak TCP; write `TCP` or `ANY`");
            }
        }
        self.problems.ports(path, written)
    }

    fn entry(&mut self, path: &str, written: &SqlRule) -> Entry {
        Entry {
            subject: self.subject(path, written),
            actions: written.actions.as_ref().map(|words| words.iter().map(|word| word.0).collect()),
            databases: self.patterns(path, "databases", &written.databases, Glob::parse),
            schemas: self.patterns(path, "schemas", &written.schemas, Glob::parse),
            tables: self.patterns(path, "tables", &written.tables, TableGlob::parse),
            columns: self.columns(path, written),
            locations: self.patterns(path, "locations", &written.locations, Glob::location),
            functions: self.patterns(path, "functions", &written.functions, FunctionGlob::parse),
            opaque: written.opaque.as_ref().map(|words| words.iter().map(|word| word.0).collect()),
            roles: self.patterns(path, "roles", &written.roles, Glob::parse),
            parameters: self.patterns(path, "parameters", &written.parameters, Dotted::parse),
            builtin: written.builtin.as_ref().map(|words| words.iter().map(|word| word.0).collect()),
            dbt: self.attributed(path, written),
        }
    }

    /// Only what is written has columns that a statement names for certain.
    fn columns(&mut self, path: &str, written: &SqlRule) -> Option<Vec<Glob>> {
        let actions = written.actions.as_deref().unwrap_or_default();
        let name_columns = |word: &ActionWord| matches!(word.0, Action::Insert | Action::Update);
        let elsewhere = written.functions.is_some() || written.locations.is_some();
        if written.columns.is_some() && (actions.is_empty() || elsewhere || !actions.iter().all(name_columns)) {
            self.add(
                &format!("{path}.columns"),
                "only inserts into tables and updates say which columns they are about; write `actions: [insert, update]` or one of them beside it, and other actions in an entry without `columns`",
            );
        }
        self.patterns(path, "columns", &written.columns, Glob::parse)
    }

    fn attributed(&mut self, path: &str, written: &SqlRule) -> Option<Attributed> {
        match Attributed::compile(written.dbt.as_ref()?) {
            Ok(compiled) => Some(compiled),
            Err(problems) => {
                for (place, message) in problems {
                    self.add(&format!("{path}.dbt{place}"), message);
                }
                None
            }
        }
    }

    fn patterns<T>(
        &mut self,
        path: &str,
        key: &str,
        written: &Option<Vec<String>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let patterns = written.as_ref()?;
        let mut compiled = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            compiled.extend(self.problems.keep(&format!("{path}.{key}[{index}]"), parse(pattern)));
        }
        Some(compiled)
    }

    /// The effects that the keys speak about; keys that speak about different effects could never match together.
    fn subject(&mut self, path: &str, written: &SqlRule) -> Subject {
        let objects = [
            ("actions", written.actions.is_some()),
            ("schemas", written.schemas.is_some()),
            ("tables", written.tables.is_some()),
            ("columns", written.columns.is_some()),
            ("locations", written.locations.is_some()),
            ("functions", written.functions.is_some()),
        ];
        let alone = [
            ("opaque", written.opaque.is_some(), Subject::Opaque),
            ("roles", written.roles.is_some(), Subject::Roles),
            ("parameters", written.parameters.is_some(), Subject::Parameters),
            ("builtin", written.builtin.is_some(), Subject::Builtin),
        ];
        let about_objects: Vec<&str> = objects.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
        let about_others: Vec<(&str, Subject)> = alone.iter().filter(|(_, given, _)| *given).map(|(key, _, s)| (*key, *s)).collect();
        match (about_objects.as_slice(), about_others.as_slice()) {
            ([], []) if written.databases.is_none() => Subject::Everything,
            ([], [(_, subject)]) => *subject,
            ([.., key], [(other, _), ..]) | ([], [(key, _), (other, _), ..]) => {
                self.add(
                    path,
                    format!("`{key}` and `{other}` speak about different effects, so the entry could never match; write two entries"),
                );
                Subject::Accesses
            }
            (_, []) if [&written.tables, &written.locations, &written.functions].iter().filter(|key| key.is_some()).count() > 1 => {
                self.add(
                    path,
                    "`tables`, `locations` and `functions` speak about different objects, so the entry could never match; write two entries",
                );
                Subject::Accesses
            }
            (_, []) if written.locations.is_some() && written.schemas.is_some() => {
                self.add(path, "no location is in a schema, so the entry could never match; write two entries");
                Subject::Accesses
            }
            (_, []) if written.functions.is_some() && written.actions.is_none() => Subject::Calls,
            (_, []) => Subject::Accesses,
        }
    }
}
