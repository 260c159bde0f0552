//! What is wrong or probably not meant in policy documents, each with its place, why it matters, and the fix.

mod cilium;
mod covered;
mod warehouse;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::{Part, Problem, Reader};

use super::compile::{Policy, compile};
use super::document::WarehousePolicy;
use super::network::document::CiliumPolicy;
use super::{Grammar, PolicySet, RuleRef, Source, grammar_of, parts};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document is refused, fails open, or contradicts another.
    Error,
    /// It works, and probably not as it was meant.
    Warning,
    /// Worth a look.
    Note,
}

/// A kind of finding; the codes are stable.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// `empty-fqdns`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

macro_rules! checks {
    ($($name:ident { $code:literal, $severity:ident, $why:literal, $fix:literal })*) => {
        $(pub(super) const $name: &Check = &Check { code: $code, severity: Severity::$severity, why: $why, fix: $fix };)*

        /// Every kind of finding.
        pub const CHECKS: &[&Check] = &[$($name,)*];
    };
}

checks! {
    BAD_DOCUMENT { "bad-document", Error,
        "a document that is not understood as a whole is refused, and the whole directory with it: the last good set stays in force",
        "mend what the message says" }
    GENERIC_L7 { "l7proto", Error,
        "Cilium 1.20 has no such rules: Kubernetes drops the keys, and what was stored before then allows everything at that port",
        "leave the plain port rule to Cilium, and write the statements into a WarehousePolicy under `rules.sql`" }
    EMPTY_FQDNS { "empty-fqdns", Error,
        "Cilium reads an empty `toFQDNs` as if it were not there, so the rule allows its ports at every peer",
        "name the hosts, or delete the rule; `toEndpoints: []` is what selects nobody" }
    HTTP_ON_TLS { "http-on-tls", Error,
        "Cilium's proxy reads TLS as broken HTTP and ends the connection",
        "leave `rules.http` out and use `serverNames`, or terminate TLS at Cilium with `terminatingTLS`" }
    SERVER_NAMES_ON_POSTGRES { "server-names-on-postgres", Error,
        "a PostgreSQL connection begins without TLS, so it shows no server name and Cilium ends it",
        "leave `serverNames` out there, and let `toFQDNs` name the hosts; only direct TLS (PostgreSQL 17) shows a name first" }
    ONE_LABEL { "one-label", Note,
        "a `*` stands for part of one label: `*.example.com` covers neither a regional host such as `a.eu-west-1.example.com` nor `example.com`",
        "write `**.` for one or more labels, if such hosts are meant" }
    L4_LIFTS_L7 { "l4-lifts-l7", Warning,
        "rules add up: a rule for the same peer and port without `rules` lets everything be said there, so the HTTP rules restrict nothing",
        "delete the broader rule, or give it the same HTTP rules" }
    WIDE_OPEN { "wide-open", Warning,
        "a rule that names neither hosts nor ports, or every host, allows far more than a warehouse",
        "name the warehouse under `toFQDNs` and its port under `toPorts`" }
    EVERY_STATEMENT { "every-statement", Warning,
        "an empty entry under `rules.sql` allows every statement, what cannot be seen into included",
        "name actions and tables; `tollhouse explain` shows what a statement needs" }
    SHADOWED { "shadowed", Warning,
        "another entry for the same workloads and targets matches all that this one matches, so it decides nothing",
        "delete it, or narrow the other one" }
    FORBIDDEN { "forbidden", Warning,
        "a deny rule matches all that this entry matches, and deny rules win, so it allows nothing",
        "delete it, or narrow the deny rule" }
    REPLICATION_OF_DATABASES { "replication-of-databases", Warning,
        "who replicates copies the whole server, whichever database the session names, so `databases` restricts nothing",
        "leave `databases` out, and allow replication to no more than who may read all databases" }
    UNREACHABLE { "unreachable", Warning,
        "the rule selects nobody, so it allows and denies nothing",
        "name the hosts, or delete the rule" }
    CONNECTION_ONLY { "connection-only", Warning,
        "the rule allows less than it seems to",
        "mend what the message says" }
    CILIUM_DROPS { "cilium-drops", Error,
        "a WarehousePolicy allows a host that the Cilium documents beside it drop, so the connection is refused",
        "allow host and port in a CiliumNetworkPolicy too; `tollhouse policy cilium` writes one" }
}

/// One finding and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind it is.
    pub check: &'static Check,
    /// The file it is in.
    pub file: String,
    /// The line there, counted from 1, as far as it is known.
    pub line: Option<usize>,
    /// Where in the document, as a YAML path.
    pub path: String,
    /// What was found there.
    pub message: String,
}

/// Looks at every document of every source, together as they would be in force. In the order of files and lines.
///
/// A `kind: List`, as Kubernetes prints what it holds, counts as the documents in it. (In force it is refused: who mounts
/// policies means the documents.)
pub fn lint(sources: &[Source<'_>]) -> Vec<Finding> {
    let (parts, unreadable) = parts(sources);
    let parts = parts.into_iter().flat_map(entries).collect::<Vec<_>>();
    let set = PolicySet::of_parts(&parts, unreadable);
    let mut linter = Linter::default();
    parts.into_iter().for_each(|part| linter.document(part));
    covered::entries(&mut linter);
    match set {
        Ok(set) => {
            for warning in set.warnings() {
                linter.findings.push(Finding::of(CONNECTION_ONLY, warning));
            }
            cilium::lifted(&mut linter, &set);
            warehouse::dropped(&mut linter, &set);
        }
        Err(problems) => linter.findings.extend(problems.iter().map(|problem| Finding::of(check_of(problem), problem))),
    }
    linter.findings.sort_by(|one, other| (&one.file, one.line, &one.path).cmp(&(&other.file, other.line, &other.path)));
    linter.findings.dedup();
    linter.findings
}

/// The documents of a list (`List`, `WarehousePolicyList`), each with its lines.
fn entries(part: Part) -> Vec<Part> {
    let is_list = part.word("kind").is_some_and(|kind| kind.ends_with("List"));
    part.entries("items").filter(|_| is_list).unwrap_or_else(|| vec![part])
}

fn check_of(problem: &Problem) -> &'static Check {
    let generic = [".rules.l7proto", ".rules.l7", ".rules.kafka"].iter().any(|key| problem.path.ends_with(key));
    if generic { GENERIC_L7 } else { BAD_DOCUMENT }
}

impl Finding {
    fn of(check: &'static Check, problem: &Problem) -> Self {
        let Problem { file, line, path, message } = problem.clone();
        Self { check, file, line, path, message }
    }
}

/// Findings so far, and where policies stand.
#[derive(Default)]
struct Linter {
    findings: Vec<Finding>,
    /// By [`RuleRef::policy`].
    parts: BTreeMap<Arc<str>, Part>,
    /// Those of ours that compile.
    policies: Vec<Policy>,
}

impl Linter {
    fn document(&mut self, part: Part) {
        let name = match grammar_of(&part) {
            Grammar::Cilium => Reader::<CiliumPolicy>::new().and_then(|reader| reader.read(&part)).map(|document| {
                cilium::document(self, &part, &document);
                document.name()
            }),
            Grammar::Warehouse => Reader::<WarehousePolicy>::new().and_then(|reader| reader.read(&part)).map(|document| {
                warehouse::document(self, &part, &document);
                self.policies.extend(compile(part.file(), &document));
                document.name()
            }),
        };
        // What cannot be read is found when the set is parsed.
        if let Ok(name) = name {
            self.parts.insert(name, part);
        }
    }

    fn add(&mut self, check: &'static Check, part: &Part, path: &str, message: impl Into<String>) {
        let (file, line) = (part.file().to_owned(), part.line(path));
        self.findings.push(Finding { check, file, line, path: path.to_owned(), message: message.into() });
    }

    /// Adds a finding about a rule of the set.
    fn add_at(&mut self, check: &'static Check, rule: &RuleRef, message: impl Into<String>) {
        let part = self.parts.get(&rule.policy);
        let file = part.map_or_else(|| rule.policy.to_string(), |part| part.file().to_owned());
        let line = part.and_then(|part| part.line(&rule.path));
        self.findings.push(Finding { check, file, line, path: rule.path.to_string(), message: message.into() });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CHECKS, Finding, lint};
    use crate::golden::expect_file;
    use crate::policy::{PolicySet, Source};

    /// One file for each finding, named after it, with what is found beside it.
    #[test]
    fn every_kind_of_finding_is_found_in_its_file_and_those_alone_that_belong_there() {
        let mut found = BTreeSet::new();
        for check in CHECKS {
            let file = format!("{}.yaml", check.code);
            let text = std::fs::read_to_string(format!("{}/tests/data/lint/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let findings = lint(&[Source { file: &file, text: &text }]);
            expect_file(&format!("tests/data/lint/{}.findings", check.code), &printed(&findings));
            assert!(findings.iter().any(|finding| finding.check == *check), "{} is not found in its file", check.code);
            found.extend(findings.iter().map(|finding| finding.check.code));
        }
        assert_eq!(found.len(), CHECKS.len());
    }

    fn printed(findings: &[Finding]) -> String {
        let line = |line: Option<usize>| line.map_or_else(String::new, |line| line.to_string());
        let one =
            |found: &Finding| format!("{}:{}: {} {}: {}\n", found.file, line(found.line), found.check.code, found.path, found.message);
        findings.iter().map(one).collect()
    }

    #[test]
    fn what_a_namespace_holds_is_looked_at_as_kubernetes_lists_it_in_yaml_and_json() {
        let text = include_str!("../../tests/data/lint/list.yaml");
        expect_file("tests/data/lint/list.findings", &printed(&lint(&[Source { file: "list.yaml", text }])));
        let (list, _) = text.split_once("---\n").unwrap();
        let json = serde_saphyr::from_str::<serde_json::Value>(list)
            .unwrap()
            .to_string()
            .replace("\"kind\":\"List\"", "\"kind\":\"WarehousePolicyList\"");
        let codes = |text: &str| lint(&[Source { file: "l", text }]).iter().map(|finding| finding.check.code).collect::<BTreeSet<_>>();
        assert_eq!(codes(&json), codes(list));
        assert!(codes(list).contains("every-statement") && codes(list).contains("empty-fqdns"));
        // In force a list is refused, not passed over.
        assert!(PolicySet::parse(&[Source { file: "l", text: list }]).is_err());
    }

    #[test]
    fn the_example_policies_have_no_errors() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config/policy")).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let findings = lint(&[Source { file: "example", text: &text }]);
            assert!(findings.iter().all(|finding| finding.check.severity != super::Severity::Error), "{}: {findings:?}", path.display());
        }
    }
}
