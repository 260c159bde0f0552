//! A replay as tables for people.

use std::io::{self, Write};

use crate::cli::audit::visible;

use super::report::{Change, Group, Report};

/// Most groups that are printed of each change; the JSON form has all.
const GROUPS_SHOWN: usize = 40;

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let totals = &report.totals;
    let span = match (&report.from, &report.until) {
        (Some(from), Some(until)) => format!(", {} to {}", moment(from), moment(until)),
        (None, _) | (_, None) => String::new(),
    };
    writeln!(out, "replayed   executions {}{span}", totals.executions)?;
    let mode = if report.enforced { ", each taken as enforcing" } else { "" };
    writeln!(out, "under      policies {}, {}{mode}", report.policies, report.revision)?;
    for change in Change::ALL {
        writeln!(out, "{:>10} {}", totals.of(*change), change.heading())?;
    }
    write_notes(out, report)?;
    for change in [Change::NewlyDenied, Change::NewlyAllowed, Change::OtherRule] {
        let groups: Vec<&Group> = report.groups_of(change).collect();
        if !groups.is_empty() {
            write_groups(out, change, &groups)?;
        }
    }
    Ok(())
}

/// What the figures above leave out.
fn write_notes(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let unreadable = &report.unreadable;
    if unreadable.count > 0 {
        writeln!(out, "{:>10} could not be judged", unreadable.count)?;
        for example in &unreadable.examples {
            writeln!(out, "           {}: {}", example.record, visible(&example.why))?;
        }
    }
    if report.sessions_refused > 0 {
        writeln!(out, "{:>10} sessions were refused; what they would have run is not known", report.sessions_refused)?;
    }
    let again = &report.reanalysis;
    if again.differ > 0 {
        let (differ, otherwise, records) = (again.differ, again.decided_otherwise, again.records.join(", "));
        writeln!(
            out,
            "{differ:>10} have other effects by today's analysis of their text, {otherwise} decided otherwise for it: {records}"
        )?;
    }
    if report.ungrouped > 0 {
        writeln!(out, "{:>10} are in none of the groups below, of which there are too many", report.ungrouped)?;
    }
    Ok(())
}

fn write_groups(out: &mut impl Write, change: Change, groups: &[&Group]) -> io::Result<()> {
    writeln!(out, "\n{}", change.heading())?;
    let width = groups.iter().take(GROUPS_SHOWN).map(|group| name(group).chars().count()).max().unwrap_or_default().clamp(8, 48);
    writeln!(out, "  {:>7}  {:<width$}  {:<14}  WHAT", "COUNT", "DBT NODE", "FIRST RECORD")?;
    for group in groups.iter().take(GROUPS_SHOWN) {
        let record = group.records.first().map_or("-", String::as_str);
        writeln!(out, "  {:>7}  {:<width$}  {record:<14}  {}", group.count, visible(name(group)), visible(&what(group)))?;
    }
    match groups.len().saturating_sub(GROUPS_SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "           and {more} more groups: --output json has all"),
    }
}

/// A recorded time to the second.
fn moment(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

fn name(group: &Group) -> &str {
    group.node.as_deref().unwrap_or("-")
}

/// What the reader has to know of a change.
pub(super) fn what(group: &Group) -> String {
    let (before, after) = (&group.before, &group.after);
    match group.change {
        Change::NewlyDenied => after.because().to_owned(),
        Change::NewlyAllowed => format!("{} allows it; before, {}", after.because(), before.because()),
        Change::OtherRule => format!("{}: {}; before, {}: {}", after.verdict, after.because(), before.verdict, before.because()),
        Change::Same => format!("{}: {}", after.verdict, after.because()),
    }
}
