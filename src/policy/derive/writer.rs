//! YAML that people review: entries with a comment above each group, one long list item a line.

use std::fmt::Write;

use super::{DeriveError, Options};
use crate::policy::flow::Flow;
use crate::policy::pattern::naming;

/// Where entries stand under `rules.sql`.
const INDENT: &str = "              ";

/// What stands before the entries.
const LIST: &str = "            sql:";

/// A policy while it is written.
pub(super) struct Writer<'o> {
    options: &'o Options,
    text: String,
    /// Entries so far; a list without any has to be written otherwise.
    entries: usize,
}

/// For whom an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For<'a> {
    /// Whoever asks.
    Anybody,
    /// Statements that name no node.
    WithoutNode,
    /// This node.
    Node(&'a str),
}

impl<'o> Writer<'o> {
    /// A policy of which nothing is written yet.
    pub(super) fn new(options: &'o Options) -> Self {
        Self { options, text: String::new(), entries: 0 }
    }

    /// Everything before the first entry; `about` stands on top as a comment.
    pub(super) fn head(&mut self, about: &[String]) {
        let Options { name, namespace, selector, hosts, .. } = self.options;
        for line in about {
            self.line(&format!("# {line}"));
        }
        self.line("apiVersion: tollhouse.dev/v1alpha1");
        self.line("kind: WarehousePolicy");
        self.line("metadata:");
        self.line(&format!("  name: {}", Flow::text(name)));
        if let Some(namespace) = namespace {
            self.line(&format!("  namespace: {}", Flow::text(namespace)));
        }
        self.line("spec:");
        if selector.is_empty() {
            self.line("  endpointSelector: {}");
        } else {
            self.line("  endpointSelector:");
            self.line("    matchLabels:");
            for (key, value) in selector {
                self.line(&format!("      {}: {}", Flow::text(key), Flow::quoted(value)));
            }
        }
        self.line("  egress:");
        if !hosts.is_empty() {
            self.line("    - toFQDNs:");
            for host in hosts {
                let key = if host.contains('*') { "matchPattern" } else { "matchName" };
                self.line(&format!("        - {key}: {}", Flow::text(host)));
            }
        }
        self.line(if hosts.is_empty() { "    - toPorts:" } else { "      toPorts:" });
        self.line("        - rules:");
        self.line(LIST);
    }

    /// A comment among the entries.
    pub(super) fn comment(&mut self, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.line(&format!("{INDENT}# {text}"));
    }

    /// An entry, by its keys in the order given.
    pub(super) fn entry(&mut self, who: For<'_>, keys: &[(&str, Vec<String>)]) {
        self.entries += 1;
        let mut lines: Vec<String> = self.attributed(who).into_iter().collect();
        for (key, values) in keys {
            let values: Vec<String> = values.iter().map(|value| Flow::text(value).to_string()).collect();
            let flow = format!("{key}: [{}]", values.join(", "));
            if values.len() > 1 && flow.len() > 100 {
                lines.push(format!("{key}:"));
                lines.extend(values.iter().map(|value| format!("  - {value}")));
            } else {
                lines.push(flow);
            }
        }
        for (index, line) in lines.iter().enumerate() {
            let lead = if index == 0 { "- " } else { "  " };
            self.line(&format!("{INDENT}{lead}{line}"));
        }
    }

    /// The text of the whole.
    pub(super) fn finish(self) -> String {
        if self.entries > 0 { self.text } else { self.text.replacen(LIST, &format!("{LIST} []"), 1) }
    }

    fn attributed(&self, who: For<'_>) -> Option<String> {
        let targets = self.options.target.as_ref().map(|target| format!(", targets: [{}]", Flow::text(target))).unwrap_or_default();
        match who {
            For::Anybody => None,
            For::WithoutNode => Some("dbt: { withoutNode: true }".to_owned()),
            For::Node(node) => {
                let verified = if self.options.verified { ", verified: true" } else { "" };
                Some(format!("dbt: {{ nodes: [{}]{targets}{verified} }}", Flow::text(node)))
            }
        }
    }

    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "{}", line.trim_end());
    }
}

/// A name of what `of` says, as a pattern that matches it and nothing else.
///
/// # Errors
/// It has characters that patterns give a meaning or none.
pub(super) fn exact(name: &str, of: &str) -> Result<String, DeriveError> {
    naming(name).map_err(|why| DeriveError::Name { name: name.to_owned(), of: of.to_owned(), why })
}
