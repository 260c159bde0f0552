//! A replay as one page of HTML: nothing is loaded from elsewhere, and nothing in it runs.
//!
//! Every text goes through the templates' own escaping.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::report::{Change, Counts, Group, Node, Report};
use super::text::what;

const STYLE: &str = include_str!("page/page.css");

/// A browser that honours it loads nothing and runs nothing, even if a text got past the escaping.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Most nodes and most groups of each change that are shown; the JSON form has all.
const NODES_SHOWN: usize = 100;
const GROUPS_SHOWN: usize = 200;

/// The page.
pub(super) fn page(report: &Report) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(CONTENT_SECURITY_POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Policy replay" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (heading(report))
                    (figures(&report.totals))
                    (bar(&report.totals, report.totals.executions))
                    (notes(report))
                    (nodes(&report.nodes))
                    @for change in [Change::NewlyDenied, Change::NewlyAllowed, Change::OtherRule] {
                        (groups(change, &report.groups_of(change).collect::<Vec<_>>()))
                    }
                }
            }
        }
    }
}

fn heading(report: &Report) -> Markup {
    let denied = report.totals.newly_denied;
    html! {
        h1 {
            @match denied {
                0 => { "Nothing that passed would be denied" }
                1 => { "1 execution that passed would be denied" }
                _ => { (grouped(denied)) " executions that passed would be denied" }
            }
        }
        p.quiet {
            "Recorded executions, decided again under " (counted(report.policies, "policy", "policies"))
            @if report.enforced { ", each taken as enforcing" }
            " (" code { (report.revision) } ")."
            @if let (Some(from), Some(until)) = (&report.from, &report.until) {
                " From " (moment(from)) " to " (moment(until)) "."
            }
        }
    }
}

fn figures(totals: &Counts) -> Markup {
    html! {
        div.figures {
            @for change in Change::ALL {
                div.sheet.figure.(class(*change)) {
                    b { (grouped(totals.of(*change))) }
                    (change.heading())
                    p.quiet { (share(totals.of(*change), totals.executions)) }
                }
            }
        }
    }
}

/// A bar as long as its share of `longest`, divided by change.
fn bar(counts: &Counts, longest: u64) -> Markup {
    html! {
        div.bar role="img" aria-label=(described(counts)) title=(described(counts)) {
            @for change in Change::ALL {
                @if counts.of(*change) > 0 {
                    i.(class(*change)) style={ "width:" (share(counts.of(*change), longest)) } {}
                }
            }
        }
    }
}

fn notes(report: &Report) -> Markup {
    let (unreadable, again) = (&report.unreadable, &report.reanalysis);
    html! {
        @if unreadable.count > 0 {
            p {
                b { (grouped(unreadable.count)) " could not be judged: " }
                @for example in &unreadable.examples { code { (example.record) } " (" (example.why) ") " }
            }
        }
        @if again.differ > 0 {
            p {
                (grouped(again.differ)) " have other effects by today's analysis of their text than were recorded, and "
                (grouped(again.decided_otherwise)) " would be decided otherwise for it: " (records(&again.records)) "."
            }
        }
        @if report.sessions_refused > 0 {
            p.quiet { (grouped(report.sessions_refused)) " sessions were refused; what they would have run is not known." }
        }
        @if report.ungrouped > 0 {
            p.quiet { (grouped(report.ungrouped)) " are in none of the groups below, of which there are too many." }
        }
    }
}

fn nodes(nodes: &[Node]) -> Markup {
    let longest = nodes.iter().map(|node| node.counts.executions).max().unwrap_or_default();
    let (same, changed): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| node.counts.same == node.counts.executions);
    html! {
        h2 { "By dbt node " small { "as dbt says in its comments" } }
        @if !changed.is_empty() { (node_bars(&changed, longest)) }
        @if !same.is_empty() {
            details {
                summary { (counted(same.len(), "node", "nodes")) " without a change" }
                (node_bars(&same, longest))
            }
        }
    }
}

fn node_bars(nodes: &[&Node], longest: u64) -> Markup {
    html! {
        div.sheet.nodes {
            @for Node { node, counts } in nodes.iter().take(NODES_SHOWN) {
                (name(node.as_deref()))
                (bar(counts, longest))
                span.count {
                    @if counts.newly_denied > 0 { b { (grouped(counts.newly_denied)) " denied" } " of " }
                    (grouped(counts.executions))
                }
            }
        }
        (left_out(nodes.len(), NODES_SHOWN))
    }
}

fn groups(change: Change, groups: &[&Group]) -> Markup {
    html! {
        @if !groups.is_empty() {
            h2 { (sentence_case(change.heading())) " " small { (groups.len()) " by node and rule" } }
            @for group in groups.iter().take(GROUPS_SHOWN) { (one_group(group)) }
            (left_out(groups.len(), GROUPS_SHOWN))
        }
    }
}

fn one_group(group: &Group) -> Markup {
    html! {
        div.sheet.group.(class(group.change)) {
            b { (grouped(group.count)) }
            div {
                div.what { (what(group)) }
                p { (name(group.node.as_deref())) }
                p.quiet {
                    @if let Some(reason) = &group.after.reason { "reason " code { (reason) } ", " }
                    "audit records " (records(&group.records))
                }
                @if let Some(rule) = &group.after.rule { p.quiet { "rule " code { (rule) } } }
                @if let Some(statement) = &group.statement { pre { (statement) } }
            }
        }
    }
}

fn records(records: &[String]) -> Markup {
    html! {
        @for (index, record) in records.iter().enumerate() {
            @if index > 0 { ", " }
            code { (record) }
        }
    }
}

fn name(node: Option<&str>) -> Markup {
    html! {
        @match node {
            Some(node) => code { (node) },
            None => span.quiet { "without a node" },
        }
    }
}

fn left_out(count: usize, shown: usize) -> Markup {
    let more = count.saturating_sub(shown);
    html! {
        @if more > 0 { p.quiet { "And " (more) " more, which the JSON form has." } }
    }
}

fn class(change: Change) -> &'static str {
    match change {
        Change::NewlyDenied => "newly-denied",
        Change::NewlyAllowed => "newly-allowed",
        Change::OtherRule => "other-rule",
        Change::Same => "same",
    }
}

fn described(counts: &Counts) -> String {
    let parts = Change::ALL.iter().filter(|change| counts.of(**change) > 0);
    parts.map(|change| format!("{} {}", counts.of(*change), change.heading())).collect::<Vec<_>>().join(", ")
}

/// `part` of `whole` in percent, to a tenth.
fn share(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    format!("{}.{}%", tenths / 10, tenths % 10)
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A recorded time to the minute.
fn moment(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
