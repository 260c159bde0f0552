//! Texts made by chance, the same on every run of the same seed.

/// Knuth's generator.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
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

/// Tables with an integer column `id`, by schema and name.
const TABLES: &[(&str, &str)] = &[
    ("app", "t1"),
    ("app", "t2"),
    ("app", "Mixed"),
    ("app", "u"),
    ("app", "part"),
    ("public", "t1"),
    ("public", "only_public"),
    ("fin", "secret"),
    ("app", "secret_view"),
    ("app", "mv"),
];

/// Tables of which rows can be changed with no more than an `id`.
const WRITABLE: &[(&str, &str)] = &[("app", "u"), ("app", "Mixed"), ("public", "only_public"), ("public", "t1"), ("fin", "secret")];

/// A text with one statement, sometimes two.
pub(crate) fn text(dice: &mut Dice) -> String {
    let mut text = statement(dice);
    if dice.chance(15) {
        text = format!("{text}; {}", statement(dice));
    }
    disguised(dice, &text)
}

fn statement(dice: &mut Dice) -> String {
    match dice.below(20) {
        0..=7 => query(dice, 3),
        8..=13 => change(dice, 2),
        14 => format!("explain (analyze) {}", change(dice, 2)),
        15 => format!("create table app.made as {}", aliased(dice)),
        16 => format!("create view app.made as {}", aliased(dice)),
        17 => format!("prepare p as {}; execute p; deallocate p", query(dice, 2)),
        18 => format!("declare c cursor for {}; fetch 1 from c; close c", query(dice, 2)),
        _ => format!("with {} as ({} returning id) {}", table_name(dice), change(dice, 1), query(dice, 2)),
    }
}

fn aliased(dice: &mut Dice) -> String {
    format!("select id from ({}) made", query(dice, 2))
}

fn change(dice: &mut Dice, depth: usize) -> String {
    let (schema, name) = WRITABLE[dice.below(WRITABLE.len())];
    let target = relation(dice, schema, name);
    let condition = condition(dice, depth);
    match dice.below(6) {
        0 => format!("insert into {target} (id) {}", query(dice, depth)),
        1 => format!("insert into {target} (id) values (({}))", scalar(dice, depth)),
        2 => format!("update {target} set id = ({}) where {condition}", scalar(dice, depth)),
        3 => format!("update {target} as x set id = 1 from {} where {condition}", source(dice, depth)),
        4 => format!("delete from {target} as x using {} where {condition}", source(dice, depth)),
        _ => format!("delete from {target} where {condition}"),
    }
}

/// A query with one column `id`.
fn query(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 {
        return format!("select id from {}", table(dice));
    }
    match dice.below(10) {
        0 => format!("({}) union all ({})", query(dice, depth - 1), query(dice, depth - 1)),
        1 => format!("select * from (values (({}))) v (id)", scalar(dice, depth - 1)),
        2 | 3 => with(dice, depth),
        4 => format!("select ({}) as id", scalar(dice, depth - 1)),
        5 => format!("select count(*) over (order by ({}))::int as id from {}", scalar(dice, depth - 1), table(dice)),
        6 => format!("select max(q0.id) filter (where {})::int as id from {} q0", condition(dice, depth - 1), source_body(dice, depth - 1)),
        7 => format!("select q0.id from {} q0, lateral ({}) q1", source_body(dice, depth - 1), query(dice, depth - 1)),
        8 => format!("select q0.id from {} q0 where {} for update", table(dice), condition(dice, depth - 1)),
        _ => format!("select q0.id from {} q0 where {}", source_body(dice, depth - 1), condition(dice, depth - 1)),
    }
}

/// Expressions whose names are those of tables, so that scopes matter.
fn with(dice: &mut Dice, depth: usize) -> String {
    let (first, second) = (table_name(dice), table_name(dice));
    let recursive = dice.one(&["", "", "recursive "]);
    let body = query(dice, depth - 1);
    if first == second {
        return format!("with {recursive}{first} as ({body}) select id from {first}");
    }
    let (other, main) = (query(dice, depth - 1), query(dice, depth - 1));
    format!("with {recursive}{first} as ({body}), {second} as materialized ({other}) {main}")
}

fn table_name(dice: &mut Dice) -> &'static str {
    dice.one(&["t1", "t2", "u", "secret", "only_public", "\"Mixed\"", "q"])
}

fn scalar(dice: &mut Dice, depth: usize) -> String {
    match dice.below(4) {
        0 => dice.one(&["1", "length('it''s')", "length(E'\\'')", "length($$;$$)", "abs(-1)"]).to_owned(),
        1 => format!("case when {} then 1 else 2 end", condition(dice, depth.saturating_sub(1))),
        2 => format!("coalesce((array({}))[1], 0)", query(dice, depth.saturating_sub(1))),
        _ => format!("select max(id)::int from ({}) s", query(dice, depth.saturating_sub(1))),
    }
}

fn condition(dice: &mut Dice, depth: usize) -> String {
    match dice.below(5) {
        0 => "true".to_owned(),
        1 => format!("exists ({})", query(dice, depth.saturating_sub(1))),
        2 => format!("1 in ({})", query(dice, depth.saturating_sub(1))),
        3 => format!("2 >= all ({})", query(dice, depth.saturating_sub(1))),
        _ => format!("not ({})", condition(dice, depth.saturating_sub(1))),
    }
}

fn source(dice: &mut Dice, depth: usize) -> String {
    format!("{} q9", source_body(dice, depth))
}

fn source_body(dice: &mut Dice, depth: usize) -> String {
    if dice.chance(50) { table(dice) } else { format!("({})", query(dice, depth.saturating_sub(1))) }
}

fn table(dice: &mut Dice) -> String {
    let (schema, name) = TABLES[dice.below(TABLES.len())];
    relation(dice, schema, name)
}

/// A table, with its schema or without it where the search path or an expression in scope might give another one.
fn relation(dice: &mut Dice, schema: &str, name: &str) -> String {
    let written = identifier(dice, name);
    if schema != "fin" && dice.chance(40) {
        written
    } else {
        format!("{}{}.{written}", identifier(dice, schema), dice.one(&["", " ", "/**/"]))
    }
}

/// A name in one of the ways to write it.
fn identifier(dice: &mut Dice, name: &str) -> String {
    let is_folded = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match dice.below(8) {
        0..=3 if is_folded => name.to_owned(),
        4 if is_folded => name.to_ascii_uppercase(),
        5 => format!("U&\"{}\"", name.chars().map(|c| format!("\\{:04x}", u32::from(c))).collect::<String>()),
        6 => format!("U&\"{}\" uescape '!'", name.chars().map(|c| format!("!+{:06x}", u32::from(c))).collect::<String>()),
        _ => format!("\"{name}\""),
    }
}

/// The same text with comments where a blank was, and words in other letters.
fn disguised(dice: &mut Dice, text: &str) -> String {
    const BLANKS: &[&str] = &["\n", "\t", "/* from fin.secret */ ", " /* /* nested */ ; delete from t1 */ ", " -- from u\n", "\r\n"];
    let mut disguised = String::new();
    for (place, part) in text.split(' ').enumerate() {
        if place > 0 {
            disguised.push_str(if dice.chance(15) { dice.one(BLANKS) } else { " " });
        }
        disguised.push_str(part);
    }
    disguised
}
