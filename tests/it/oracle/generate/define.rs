//! Statements that make, change and remove relations, and those that belong to no other kind.

use super::query::{query, scalar};
use super::writing::{literal, relation};
use super::{Dice, WRITABLE, table, table_name};

pub(super) fn definition(dice: &mut Dice) -> String {
    let (schema, name) = WRITABLE[dice.below(WRITABLE.len())];
    let target = relation(dice, schema, name);
    match dice.below(24) {
        0 | 1 => format!("create table app.made as {}", aliased(dice)),
        2 => format!("create view app.made as {}", aliased(dice)),
        3 => format!("create or replace recursive view app.made (id) as {}", aliased(dice)),
        4 => format!("create materialized view app.made as {}; refresh materialized view app.made", aliased(dice)),
        5 => format!("select id into {} from ({}) made", dice.one(&["app.made", "temp made", "unlogged table app.made"]), query(dice, 2)),
        6 => format!("create table app.made (like {} including all, x int)", only_name(dice)),
        7 => format!("create table app.made () inherits ({target}); insert into app.made (id) {}", query(dice, 1)),
        8 => "create table app.made partition of part for values in (9); insert into part values (1, 9)".to_owned(),
        9 => format!("create index on {target} ((id + length({})))", literal(dice)),
        10 => format!("alter table {target} rename to made; select * from {}", dice.one(&["made", "app.made", "fin.made"])),
        11 => format!("alter table {target} set schema public"),
        12 => format!("alter table {target} add column x int default length({}), alter column id set not null", literal(dice)),
        13 => format!("alter table {target} rename column id to other"),
        14 => format!("drop table if exists {target}"),
        15 => format!("truncate only {target}"),
        16 => format!("lock table {target} in {} mode", dice.one(&["access share", "row exclusive", "share", "exclusive"])),
        17 => format!("comment on table {target} is {}", plain_literal(dice)),
        18 => format!("analyze {target} (id)"),
        19 => format!("grant select on {target} to public; revoke all on {target} from public"),
        20 => format!("create rule r as on delete to {target} do also {}", query(dice, 1)),
        21 => format!("create temp table {} (id int) on commit drop; truncate {}", table_name(dice), table_name(dice)),
        22 => format!("create sequence app.made; select nextval('app.made'), ({})", scalar(dice, 1)),
        _ => format!("explain {}", query(dice, 2)),
    }
}

fn aliased(dice: &mut Dice) -> String {
    format!("select id from ({}) made", query(dice, 2))
}

fn only_name(dice: &mut Dice) -> String {
    table(dice).trim_start_matches("only ").trim_matches(['(', ')', ' ', '*']).to_owned()
}

fn plain_literal(dice: &mut Dice) -> &'static str {
    dice.one(&["null", "'x; drop table t1'", "$$it's$$", "E'\\'; delete from t1'"])
}
