//! Texts made by chance, the same on every run of the same seed.

mod change;
mod define;
mod query;
mod writing;

use change::{change, changes_then};
use query::query;
use writing::{disguised, relation};

/// Knuth's generator.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// As many letters as the server keeps of a name.
const LONG: &str = "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg";

/// Tables with an integer column `id`, by schema and name.
const TABLES: &[(&str, &str)] = &[
    ("app", "t1"),
    ("app", "t2"),
    ("app", "Mixed"),
    ("app", "u"),
    ("app", "part"),
    ("app", "part_1"),
    ("app", "parent"),
    ("app", "child"),
    ("app", "secret_view"),
    ("app", "mv"),
    ("app", "plain_view"),
    ("app", "ruled"),
    ("app", "t\u{e4}"),
    ("app", "o.d\"d; --"),
    ("app", LONG),
    ("public", "t1"),
    ("public", "only_public"),
    ("fin", "secret"),
    ("fin", "secret"),
    ("fin", "secret"),
];

/// Relations of which rows can be changed with no more than an `id`.
const WRITABLE: &[(&str, &str)] = &[
    ("app", "u"),
    ("app", "Mixed"),
    ("app", "parent"),
    ("app", "child"),
    ("app", "plain_view"),
    ("app", "ruled"),
    ("app", "triggered"),
    ("app", "t\u{e4}"),
    ("app", "o.d\"d; --"),
    ("app", LONG),
    ("public", "only_public"),
    ("public", "t1"),
    ("fin", "secret"),
    ("fin", "secret"),
];

/// A text with one statement, sometimes with others around it.
pub(crate) fn text(dice: &mut Dice) -> String {
    if dice.chance(2) {
        let copied = format!("copy ({}) to stdout", query(dice, 2));
        return disguised(dice, &copied);
    }
    let mut text = statement(dice);
    if dice.chance(25) {
        text = format!("{}; {text}", before(dice));
    }
    if dice.chance(10) {
        text = format!("{text}; {}", statement(dice));
    }
    disguised(dice, &text)
}

/// What makes names mean other relations.
fn before(dice: &mut Dice) -> String {
    let path = dice.one(&["fin, app", "public, app", "pg_temp, fin, public", "\"$user\", app, fin", "app"]);
    let name = table_name(dice);
    match dice.below(8) {
        0 => format!("set search_path to {path}"),
        1 => format!("set local search_path = {path}"),
        2 => format!("select set_config('search_path', 'fin,app', {})", dice.one(&["true", "false"])),
        3 => "set schema 'fin'".to_owned(),
        4 => format!("create temporary table {name} (id int, v text)"),
        5 => format!("create temp table {name} as {}", query(dice, 1)),
        6 => format!("create temp view {name} (id) as {}", query(dice, 1)),
        _ => format!("create table pg_temp.{name} (id int primary key)"),
    }
}

fn statement(dice: &mut Dice) -> String {
    match dice.below(30) {
        0..=8 => query(dice, 3),
        9..=17 => change(dice, 2),
        18..=20 => changes_then(dice),
        21 => format!("explain (analyze) {}", change(dice, 2)),
        22 => format!("prepare p as {}; {}; deallocate p", query(dice, 2), dice.one(&["execute p", "explain analyze execute p"])),
        23 => format!("prepare p (int) as {}; execute p ((1))", change(dice, 2)),
        24 => format!("declare c cursor for {}; fetch 1 from c; close c", query(dice, 2)),
        25 => format!("prepare p as {}; create table app.made as execute p", query(dice, 2)),
        26 => current_of(dice),
        _ => define::definition(dice),
    }
}

/// A change of the row that a cursor stands on.
fn current_of(dice: &mut Dice) -> String {
    let table = relation(dice, "app", "u");
    let change = match dice.below(2) {
        0 => format!("delete from {table}"),
        _ => format!("update {table} set n = 7"),
    };
    format!("declare c cursor for select id from {table} for update; fetch 1 from c; {change} where current of c")
}

fn table(dice: &mut Dice) -> String {
    let (schema, name) = TABLES[dice.below(TABLES.len())];
    let written = relation(dice, schema, name);
    match dice.below(12) {
        0 => format!("only {written}"),
        1 => format!("only ({written})"),
        2 => format!("{written} *"),
        _ => written,
    }
}

/// A name for an expression or a temporary table that is one of a table as well.
fn table_name(dice: &mut Dice) -> &'static str {
    dice.one(&["t1", "t2", "u", "secret", "only_public", "\"Mixed\"", "parent", "U&\"secr\\0065t\"", "q"])
}
