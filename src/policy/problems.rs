//! What is wrong with a document, collected on the way through it; and the parts that both kinds of documents share.

use crate::document::Problem;

use super::cidr::Block;
use super::grammar::{CidrRule, EndpointSelector, FqdnSelector, HttpRule, PortProtocol};
use super::http;
use super::pattern::Host;
use super::peer::PeerSelector;
use super::port::PortMatch;
use super::selector::Selector;

/// The problems of one document so far.
#[derive(Debug)]
pub(super) struct Problems<'f> {
    file: &'f str,
    pub(super) found: Vec<Problem>,
}

impl<'f> Problems<'f> {
    /// None yet.
    pub(super) fn of(file: &'f str) -> Self {
        Self { file, found: Vec::new() }
    }

    /// Notes one.
    pub(super) fn add(&mut self, path: &str, message: impl Into<String>) {
        self.found.push(Problem::at(self.file, path, message));
    }

    /// Keeps what compiles, and notes why the rest does not.
    pub(super) fn keep<T>(&mut self, path: &str, compiled: Result<T, String>) -> Option<T> {
        compiled.map_err(|why| self.add(path, why)).ok()
    }

    /// A selector of labels.
    pub(super) fn selector(&mut self, path: &str, written: &EndpointSelector) -> Option<Selector> {
        match Selector::compile(written) {
            Ok(selector) => Some(selector),
            Err(problems) => {
                for (below, why) in problems {
                    self.add(&format!("{path}.{below}"), why);
                }
                None
            }
        }
    }

    /// Names and patterns of hosts, at `path`.
    pub(super) fn names(&mut self, path: &str, written: &[FqdnSelector]) -> Vec<Host> {
        let mut names = Vec::new();
        for (index, selector) in written.iter().enumerate() {
            match Host::compile(selector) {
                Ok(host) => names.push(host),
                Err((below, why)) => self.add(&format!("{path}[{index}]{below}"), why),
            }
        }
        names
    }

    /// `toCIDR` and `toCIDRSet`.
    pub(super) fn blocks(&mut self, path: &str, cidr: &[String], cidr_set: &[CidrRule]) -> Vec<PeerSelector> {
        let mut blocks = Vec::new();
        for (index, cidr) in cidr.iter().enumerate() {
            blocks.extend(self.keep(&format!("{path}.toCIDR[{index}]"), Block::of_cidr(cidr)).map(PeerSelector::Cidr));
        }
        for (index, rule) in cidr_set.iter().enumerate() {
            match Block::of_rule(rule) {
                Ok(block) => blocks.push(block.map_or(PeerSelector::Groups, PeerSelector::Cidr)),
                Err((below, why)) => self.add(&format!("{path}.toCIDRSet[{index}]{below}"), why),
            }
        }
        blocks
    }

    /// More than one kind of peer in one rule.
    pub(super) fn one_kind(&mut self, path: &str, given: &[&str]) {
        if let [first, second, ..] = given {
            self.add(path, format!("`{first}` beside `{second}` is refused, here as by Cilium; write two rules"));
        }
    }

    /// Entries of `ports`; those of protocols without ports are left out.
    pub(super) fn ports(&mut self, path: &str, written: &[PortProtocol]) -> Vec<PortMatch> {
        let mut ports = Vec::new();
        for (index, port) in written.iter().enumerate() {
            ports.extend(self.keep(&format!("{path}.ports[{index}].endPort"), PortMatch::compile(port)).flatten());
        }
        ports
    }

    /// Entries of `serverNames`.
    pub(super) fn server_names(&mut self, path: &str, written: &[String]) -> Vec<Host> {
        let mut names = Vec::new();
        for (index, name) in written.iter().enumerate() {
            names.extend(self.keep(&format!("{path}.serverNames[{index}]"), Host::pattern(name)));
        }
        names
    }

    /// Entries of `rules.http`.
    pub(super) fn http(&mut self, path: &str, written: &[HttpRule]) -> Vec<http::Rule> {
        let mut rules = Vec::new();
        for (index, rule) in written.iter().enumerate() {
            match http::Rule::compile(rule) {
                Ok(rule) => rules.push(rule),
                Err(problems) => {
                    for (key, why) in problems {
                        self.add(&format!("{path}.rules.http[{index}].{key}"), why);
                    }
                }
            }
        }
        rules
    }
}
