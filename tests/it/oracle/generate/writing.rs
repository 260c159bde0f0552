//! The many ways to write one and the same thing.

use super::{Dice, LONG};

/// A table, with its schema or without it where the search path or an expression in scope might give another one.
pub(super) fn relation(dice: &mut Dice, schema: &str, name: &str) -> String {
    let written = identifier(dice, name);
    if dice.chance(if schema == "fin" { 15 } else { 40 }) {
        return written;
    }
    let database = if dice.chance(5) { "oracle." } else { "" };
    format!("{database}{}{}.{written}", identifier(dice, schema), dice.one(&["", " ", "/**/"]))
}

/// A name in one of the ways to write it.
fn identifier(dice: &mut Dice, name: &str) -> String {
    let is_folded = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || !c.is_ascii());
    // What is over the limit is cut off, and no letter is cut in two.
    let over = if name == LONG { dice.one(&["", "ggg", "_secret", "\u{e4}"]) } else { "" };
    match dice.below(9) {
        0..=3 if is_folded => format!("{name}{over}"),
        4 if is_folded => format!("{}{over}", name.to_ascii_uppercase()),
        5 => format!("U&\"{}\"", name.chars().map(|c| format!("\\{:04x}", u32::from(c))).collect::<String>()),
        6 => {
            let escape = dice.one(&["!", "#", "%", "?"]);
            let written = name.chars().map(|c| format!("{escape}+{:06x}", u32::from(c))).collect::<String>();
            format!("U&\"{written}\" uescape '{escape}'")
        }
        7 => format!("u&\"{}\"", name.replace('"', "\"\"")),
        _ => format!("\"{}{over}\"", name.replace('"', "\"\"")),
    }
}

/// A string that looks like something else to whoever reads its end elsewhere.
pub(super) fn literal(dice: &mut Dice) -> &'static str {
    dice.one(&[
        "'it''s'",
        "'\\'",
        "'\\\\'",
        "'\\''; delete from t1; --'",
        "E'\\'; delete from fin.secret; --'",
        "E'\\\\'",
        "E'\\x27 from fin.secret'",
        "e'\\u0027; delete from t1'",
        "E'a' \n '\\'; delete from t1'",
        "U&'\\0027 from fin.secret --'",
        "U&'!0027 /*' uescape '!'",
        "$$;$$",
        "$$it's $not$ \" /* -- $$",
        "$q$ $$ ' ; delete from fin.secret; $q$",
        "$_Q1$ $q$ $_Q1$",
        "$\u{e4}$ ' $\u{e4}$",
        "N'x'",
        "B'0101'::text",
        "'a'\n' from fin.secret '",
        "'/* '",
        "'--'",
        "'\u{e4}\u{20ac}\u{1d11e}'",
        "'\"'",
    ])
}

/// The same text with comments where a blank was, and words in other letters.
pub(super) fn disguised(dice: &mut Dice, text: &str) -> String {
    const BLANKS: &[&str] = &[
        "\n",
        "\t",
        "\u{c}",
        "/* from fin.secret */ ",
        " /* /* nested */ ; delete from t1 */ ",
        " /*/**//* /*x*/ */*/ ",
        " -- from u\n",
        " -- /*\n",
        "\r\n",
        " --\u{e4}\r",
        " /* $$ \" */ ",
    ];
    const WORDS: &[&str] = &["select", "from", "where", "with", "insert", "into", "as", "update", "delete", "merge", "using", "lateral"];
    let mut disguised = String::new();
    for (place, part) in text.split(' ').enumerate() {
        if place > 0 {
            disguised.push_str(if dice.chance(10) { dice.one(BLANKS) } else { " " });
        }
        match WORDS.contains(&part) && dice.chance(15) {
            true => disguised.push_str(&part.to_uppercase()),
            false => disguised.push_str(part),
        }
    }
    disguised
}
