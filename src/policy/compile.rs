//! Turns documents into rules that can be decided on, or says everything that is wrong with them.

use std::sync::Arc;

use crate::document::Problem;

use super::document::{Egress, FqdnSelector, Kind, PortProtocol, PortRule, SqlRule, WarehousePolicy};
use super::entry::{Entry, Subject};
use super::pattern::{Dotted, FunctionGlob, Glob, Host, TableGlob};
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
    /// `None` is any host.
    pub(super) hosts: Option<Vec<Host>>,
    /// Inclusive ranges; `None` is any port.
    pub(super) ports: Option<Vec<(u16, u16)>>,
    /// `None` where the rule says nothing about statements.
    pub(super) sql: Option<Vec<SqlEntry>>,
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
        self.allow.iter().filter(|reach| reach.sql.is_none()).map(move |reach| Problem {
            file: file.to_owned(),
            path: reach.rule.path.to_string(),
            message: "without `rules.sql` this allows the connection and no statement; write `sql: [{}]` to allow all".to_owned(),
        })
    }
}

/// Whether a rule allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Allow,
    Deny,
}

/// Compiles one document.
///
/// # Errors
/// Every problem that its schema cannot know.
pub(super) fn compile(file: &str, written: &WarehousePolicy) -> Result<Policy, Vec<Problem>> {
    let mut problems = Problems { file, found: Vec::new() };
    let namespace = match (written.kind, &written.metadata.namespace) {
        (Kind::WarehousePolicy, namespace) => Some(namespace.clone().unwrap_or_else(|| "default".to_owned())),
        (Kind::ClusterWarehousePolicy, None) => None,
        (Kind::ClusterWarehousePolicy, Some(_)) => {
            problems.add("metadata.namespace", "a ClusterWarehousePolicy has no namespace; leave it out or use a WarehousePolicy");
            None
        }
    };
    let name: Arc<str> = match &namespace {
        Some(namespace) => format!("{namespace}/{}", written.metadata.name).into(),
        None => written.metadata.name.as_str().into(),
    };
    let selector = Selector::compile(&written.spec.endpoint_selector).map_err(|found| {
        for (path, message) in found {
            problems.add(&format!("spec.endpointSelector.{path}"), message);
        }
    });
    let allow = problems.side(&name, Side::Allow, &written.spec.egress);
    let deny = problems.side(&name, Side::Deny, &written.spec.egress_deny);
    match selector {
        Ok(selector) if problems.found.is_empty() => Ok(Policy { name, namespace, mode: written.spec.mode, selector, allow, deny }),
        Ok(_) | Err(()) => Err(problems.found),
    }
}

/// Collects problems on the way.
struct Problems<'f> {
    file: &'f str,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.found.push(Problem { file: self.file.to_owned(), path: path.to_owned(), message: message.into() });
    }

    /// Keeps what compiles, and notes why the rest does not.
    fn keep<T>(&mut self, path: &str, compiled: Result<T, String>) -> Option<T> {
        compiled.map_err(|why| self.add(path, why)).ok()
    }

    fn side(&mut self, policy: &Arc<str>, side: Side, rules: &[Egress]) -> Vec<Reach> {
        let key = match side {
            Side::Allow => "egress",
            Side::Deny => "egressDeny",
        };
        let mut reaches = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("spec.{key}[{index}]");
            if rule.to_fqdns.is_none() && rule.to_ports.is_none() {
                self.add(&path, "an empty rule selects nothing; name hosts under `toFQDNs` or ports under `toPorts`");
            }
            if side == Side::Deny && rule.to_fqdns.as_ref().is_some_and(Vec::is_empty) {
                self.add(&format!("{path}.toFQDNs"), "an empty list selects no host, so the rule would deny nothing");
            }
            let hosts = rule.to_fqdns.as_ref().map(|selectors| self.hosts(&path, selectors));
            let Some(port_rules) = &rule.to_ports else {
                let rule = RuleRef { policy: Arc::clone(policy), path: path.into() };
                reaches.push(Reach { rule, hosts, ports: None, sql: None });
                continue;
            };
            for (index, port_rule) in port_rules.iter().enumerate() {
                let rule = RuleRef { policy: Arc::clone(policy), path: format!("{path}.toPorts[{index}]").into() };
                reaches.push(self.reach(rule, side, hosts.clone(), port_rule));
            }
        }
        reaches
    }

    fn hosts(&mut self, path: &str, selectors: &[FqdnSelector]) -> Vec<Host> {
        let mut hosts = Vec::new();
        for (index, selector) in selectors.iter().enumerate() {
            let path = format!("{path}.toFQDNs[{index}]");
            let compiled = match (&selector.match_name, &selector.match_pattern) {
                (Some(name), None) => self.keep(&format!("{path}.matchName"), Host::name(name)),
                (None, Some(pattern)) => self.keep(&format!("{path}.matchPattern"), Host::pattern(pattern)),
                (Some(_), Some(_)) | (None, None) => {
                    self.add(&path, "expected exactly one of `matchName` and `matchPattern`");
                    None
                }
            };
            hosts.extend(compiled);
        }
        hosts
    }

    fn reach(&mut self, rule: RuleRef, side: Side, hosts: Option<Vec<Host>>, written: &PortRule) -> Reach {
        let ports = written.ports.as_ref().map(|ports| self.ports(&rule.path, ports));
        let sql = written.rules.as_ref().map(|rules| {
            if side == Side::Deny && rules.sql.is_empty() {
                self.add(&format!("{}.rules.sql", rule.path), "an empty list denies nothing; leave `rules` out to deny every statement");
            }
            let mut entries = Vec::new();
            for (index, sql) in rules.sql.iter().enumerate() {
                let path = format!("{}.rules.sql[{index}]", rule.path);
                let entry = Arc::new(self.entry(&path, sql));
                entries.push(SqlEntry { rule: RuleRef { policy: Arc::clone(&rule.policy), path: path.into() }, entry });
            }
            entries
        });
        Reach { rule, hosts, ports, sql }
    }

    fn ports(&mut self, path: &str, written: &[PortProtocol]) -> Vec<(u16, u16)> {
        let mut ranges = Vec::new();
        for (index, port) in written.iter().enumerate() {
            let (first, last) = (port.port.0, port.end_port.unwrap_or(port.port.0));
            if last < first {
                self.add(&format!("{path}.ports[{index}].endPort"), "expected a port that is not below `port`");
            }
            ranges.push((first, last));
        }
        ranges
    }

    fn entry(&mut self, path: &str, written: &SqlRule) -> Entry {
        Entry {
            subject: self.subject(path, written),
            actions: written.actions.as_ref().map(|words| words.iter().map(|word| word.0).collect()),
            databases: self.patterns(path, "databases", &written.databases, Glob::parse),
            schemas: self.patterns(path, "schemas", &written.schemas, Glob::parse),
            tables: self.patterns(path, "tables", &written.tables, TableGlob::parse),
            locations: self.patterns(path, "locations", &written.locations, Glob::location),
            functions: self.patterns(path, "functions", &written.functions, FunctionGlob::parse),
            opaque: written.opaque.as_ref().map(|words| words.iter().map(|word| word.0).collect()),
            roles: self.patterns(path, "roles", &written.roles, Glob::parse),
            parameters: self.patterns(path, "parameters", &written.parameters, Dotted::parse),
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
            compiled.extend(self.keep(&format!("{path}.{key}[{index}]"), parse(pattern)));
        }
        Some(compiled)
    }

    /// The effects that the keys speak about; keys that speak about different effects could never match together.
    fn subject(&mut self, path: &str, written: &SqlRule) -> Subject {
        let objects = [
            ("actions", written.actions.is_some()),
            ("schemas", written.schemas.is_some()),
            ("tables", written.tables.is_some()),
            ("locations", written.locations.is_some()),
            ("functions", written.functions.is_some()),
        ];
        let alone = [
            ("opaque", written.opaque.is_some(), Subject::Opaque),
            ("roles", written.roles.is_some(), Subject::Roles),
            ("parameters", written.parameters.is_some(), Subject::Parameters),
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
