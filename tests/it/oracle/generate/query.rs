//! Queries and what stands in them.

use super::writing::literal;
use super::{Dice, table, table_name};

/// A query with one column `id`.
pub(super) fn query(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 {
        return format!("select id from {}", table(dice));
    }
    let less = depth - 1;
    match dice.below(15) {
        0 => set_operation(dice, less),
        1 => format!("select * from (values (({}))) v (id)", scalar(dice, less)),
        2 | 3 => with(dice, depth),
        4 => format!("select ({}) as id", scalar(dice, less)),
        5 => format!("select count(*) over (order by ({}))::int as id from {}", scalar(dice, less), table(dice)),
        6 => format!("select max(q0.id) filter (where {})::int as id from {} q0", condition(dice, less), source_body(dice, less)),
        7 => format!("select q0.id from {} q0, lateral ({}) q1", source_body(dice, less), query(dice, less)),
        8 => locked(dice, less),
        9 => joined(dice, less),
        10 => format!(
            "select q0.id from {} q0 order by ({}) limit abs(({}))",
            source_body(dice, less),
            scalar(dice, less),
            scalar(dice, less)
        ),
        11 => grouped(dice, less),
        12 => format!("select q0.id from {} q0 tablesample system (({})::int % 100) repeatable (1)", table(dice), scalar(dice, less)),
        _ => format!("select q0.id from {} q0 where {}", source_body(dice, less), condition(dice, less)),
    }
}

fn set_operation(dice: &mut Dice, depth: usize) -> String {
    let operator = dice.one(&["union all", "union", "intersect", "intersect all", "except", "except all"]);
    let both = format!("({}) {operator} ({})", query(dice, depth), query(dice, depth));
    match dice.below(3) {
        0 => format!("{both} order by 1 limit abs(({}))", scalar(dice, depth)),
        1 => format!("{both} union all values (({}))", scalar(dice, depth)),
        _ => both,
    }
}

fn locked(dice: &mut Dice, depth: usize) -> String {
    let strength = dice.one(&["update", "no key update", "share", "key share"]);
    let wait = dice.one(&["", " nowait", " skip locked"]);
    let other = source_body(dice, depth);
    match dice.below(3) {
        0 => format!("select q0.id from {} q0 where {} for {strength}{wait}", table(dice), condition(dice, depth)),
        1 => format!("select q0.id from {} q0, {other} q1 for {strength} of q0{wait}", table(dice)),
        _ => format!("select q0.id from ({}) q0 for {strength}{wait}", query(dice, depth)),
    }
}

fn joined(dice: &mut Dice, depth: usize) -> String {
    let (left, right) = (source_body(dice, depth), source_body(dice, depth));
    match dice.below(4) {
        0 => format!("select id from {left} q0 natural join {right} q1"),
        1 => format!("select id from ({left} q0 full join {right} q1 using (id))"),
        2 => format!("select q0.id from ({left} q0 cross join {right} q1) left join {} on {}", source(dice, depth), condition(dice, depth)),
        _ => format!("select q0.id from {left} q0 left join lateral ({}) q1 on q1.id = q0.id", query(dice, depth)),
    }
}

fn grouped(dice: &mut Dice, depth: usize) -> String {
    let groups = dice.one(&["q0.id", "grouping sets ((q0.id), ())", "rollup (q0.id)", "cube (q0.id)"]);
    format!("select q0.id from {} q0 group by {groups} having {}", source_body(dice, depth), condition(dice, depth))
}

/// Expressions whose names are those of tables, so that scopes matter.
fn with(dice: &mut Dice, depth: usize) -> String {
    let (first, second) = (table_name(dice), table_name(dice));
    let recursive = dice.one(&["", "", "recursive "]);
    let body = query(dice, depth - 1);
    if first == second {
        return match dice.below(2) {
            0 => format!("with {recursive}{first} as ({body}) select id from {first}"),
            _ => {
                format!("with recursive {first} (id) as (({body}) union (select id + 1 from {first} where id < 3)) select id from {first}")
            }
        };
    }
    let (other, main) = (query(dice, depth - 1), query(dice, depth - 1));
    let kept = dice.one(&["", "materialized ", "not materialized "]);
    format!("with {recursive}{first} as ({body}), {second} as {kept}({other}) {main}")
}

pub(super) fn scalar(dice: &mut Dice, depth: usize) -> String {
    let less = depth.saturating_sub(1);
    match dice.below(6) {
        0 => format!("length({})", literal(dice)),
        1 => format!("case when {} then 1 else 2 end", condition(dice, less)),
        2 => format!("coalesce((array({}))[1], 0)", query(dice, less)),
        3 => format!("abs(({}))", scalar(dice, less)),
        4 => format!("(row (({}), 2)::record is null)::int", scalar(dice, less)),
        _ => format!("select max(id)::int from ({}) s", query(dice, less)),
    }
}

pub(super) fn condition(dice: &mut Dice, depth: usize) -> String {
    let less = depth.saturating_sub(1);
    match dice.below(6) {
        0 => "true".to_owned(),
        1 => format!("exists ({})", query(dice, less)),
        2 => format!("1 in ({})", query(dice, less)),
        3 => format!("2 >= all ({})", query(dice, less)),
        4 => format!("({}) between 0 and 9", scalar(dice, less)),
        _ => format!("not ({})", condition(dice, less)),
    }
}

pub(super) fn source(dice: &mut Dice, depth: usize) -> String {
    format!("{} q9", source_body(dice, depth))
}

fn source_body(dice: &mut Dice, depth: usize) -> String {
    if dice.chance(50) { table(dice) } else { format!("({})", query(dice, depth.saturating_sub(1))) }
}
