//! Statements that change rows.

use super::query::{condition, query, scalar, source};
use super::writing::relation;
use super::{Dice, WRITABLE, table_name};

pub(super) fn change(dice: &mut Dice, depth: usize) -> String {
    let target = target(dice);
    let condition = condition(dice, depth);
    match dice.below(12) {
        0 => format!("insert into {target} (id) {}", query(dice, depth)),
        1 => format!("insert into {target} as x (id) values (({}))", scalar(dice, depth)),
        2 => format!("update {target} set id = ({}) where {condition}", scalar(dice, depth)),
        3 => format!("update {target} as x set id = 1 from {} where {condition}", source(dice, depth)),
        4 => format!("update {target} as x set (id) = ({}) where {condition}", scalar_query(dice, depth)),
        5 => format!("delete from {target} as x using {} where {condition}", source(dice, depth)),
        6 => on_conflict(dice, depth),
        7..=9 => merge(dice, depth),
        _ => format!("delete from {target} where {condition}"),
    }
}

/// Changes as expressions, the later ones of what the earlier ones return, and a last statement.
pub(super) fn changes_then(dice: &mut Dice) -> String {
    let (name, returned) = (table_name(dice), returning(dice));
    let first = format!("with {name} as ({} returning {returned})", plain_change(dice));
    match dice.below(4) {
        0 => format!("{first}, other as (insert into {} (id) select id from {name} returning id) select id from other", target(dice)),
        1 => format!("{first}, other as (delete from {} where id in (table {name}) returning id) {}", target(dice), change(dice, 1)),
        2 => format!("{first} {}", plain_change(dice)),
        _ => format!("{first} {}", query(dice, 2)),
    }
}

/// A change that may stand in an expression.
fn plain_change(dice: &mut Dice) -> String {
    let target = target(dice);
    match dice.below(3) {
        0 => format!("insert into {target} (id) {}", query(dice, 1)),
        1 => format!("update {target} as x set id = ({}) where {}", scalar(dice, 1), condition(dice, 1)),
        _ => format!("delete from {target} as x using {} where {}", source(dice, 1), condition(dice, 1)),
    }
}

fn returning(dice: &mut Dice) -> String {
    match dice.below(3) {
        0 => "id".to_owned(),
        1 => format!("({}) as id", scalar(dice, 1)),
        _ => format!("id, ({}) as x", scalar_query(dice, 1)),
    }
}

fn scalar_query(dice: &mut Dice, depth: usize) -> String {
    format!("select max(id)::int from ({}) s", query(dice, depth))
}

fn on_conflict(dice: &mut Dice, depth: usize) -> String {
    let target = relation(dice, "app", "t1");
    let rows = query(dice, depth);
    match dice.below(3) {
        0 => format!("insert into {target} (id) {rows} on conflict do nothing"),
        1 => format!("insert into {target} (id) {rows} on conflict (id) do update set a = ({})", scalar(dice, depth)),
        _ => {
            format!("insert into {target} as x (id) {rows} on conflict (id) do update set a = excluded.id where {}", condition(dice, depth))
        }
    }
}

fn merge(dice: &mut Dice, depth: usize) -> String {
    let (target, source, on) = (target(dice), source(dice, depth), condition(dice, 1));
    let mut merge = format!("merge into {target} as x using {source} on x.id = q9.id and {on}");
    if dice.chance(15) {
        merge = format!("with {} as ({}) {merge}", table_name(dice), query(dice, 1));
    }
    if dice.chance(80) {
        let and = if dice.chance(50) { format!(" and {}", condition(dice, 1)) } else { String::new() };
        let action = match dice.below(4) {
            0 => "do nothing".to_owned(),
            1 => "delete".to_owned(),
            _ => format!("update set id = ({})", scalar(dice, 1)),
        };
        merge.push_str(&format!(" when matched{and} then {action}"));
    }
    if dice.chance(20) || !merge.contains(" when ") {
        merge.push_str(" when matched then do nothing");
    }
    if dice.chance(60) {
        let values = scalar(dice, 1);
        merge.push_str(&match dice.below(3) {
            0 => " when not matched then do nothing".to_owned(),
            _ => format!(" when not matched and {} then insert (id) values (({values}))", condition(dice, 0)),
        });
    }
    merge
}

fn target(dice: &mut Dice) -> String {
    let (schema, name) = WRITABLE[dice.below(WRITABLE.len())];
    let written = relation(dice, schema, name);
    if dice.chance(10) { format!("only {written}") } else { written }
}
