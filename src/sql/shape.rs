//! The shape of a text: what stays of it without its numbers and plain strings.
//!
//! Texts of one shape have the same tokens in the same places, but for the values of literals. Anything that PostgreSQL's
//! lexer (`scan.l`) treats with more subtlety than that has no shape, and is judged by its exact text.

/// The number and the string that stand for every literal in a probe. No text that has one of them has a shape.
const PROBE_NUMBER: &str = "1879048193";
const PROBE_STRING: &str = "tollhouse probe 1879048193";

/// A text without the values of its literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// The text, with one and the same value for all numbers, and for all strings.
    pub(super) key: String,
}

impl Shape {
    /// The shape of `text`; `None` where it has no literals, or is not simple enough.
    pub(super) fn of(text: &str) -> Option<Self> {
        if text.contains(PROBE_NUMBER) {
            return None;
        }
        let mut key = String::with_capacity(text.len());
        let found = Lexer { bytes: text.as_bytes(), at: 0 }.strip(text, &mut key)?;
        (found > 0).then_some(Self { key })
    }

    /// A text of this shape with values that no other text of it has.
    pub(super) fn probe(&self) -> String {
        self.key.replace(NUMBER, PROBE_NUMBER).replace(STRING, PROBE_STRING)
    }
}

/// What stands in a shape for the digits of a number, and for what a string contains. Neither can stand in a text: no text
/// with a control character but white space has a shape.
const NUMBER: char = '\u{1}';
const STRING: char = '\u{2}';

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    /// Copies the text to `key`, and says how many literals it left out.
    fn strip(mut self, text: &str, key: &mut String) -> Option<usize> {
        let mut found = 0;
        // Everything from here on was not copied yet.
        let mut copied = 0;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'0'..=b'9' => {
                    key.push_str(text.get(copied..self.at)?);
                    self.number(key)?;
                    copied = self.at;
                    found += 1;
                }
                b'\'' => {
                    key.push_str(text.get(copied..=self.at)?);
                    self.string()?;
                    key.push(STRING);
                    copied = self.at - 1;
                    found += 1;
                }
                b'"' => self.quoted_name()?,
                b'-' if self.peek(1) == Some(b'-') => self.line_comment(),
                b'/' if self.peek(1) == Some(b'*') => self.comment()?,
                // A parameter; anything else with a dollar is a quoted string, or is subtle.
                b'$' => self.parameter()?,
                byte if starts_name(byte) => self.name()?,
                // An escape, or a control character.
                b'\\' | 0..=8 | 11 | 12 | 14..=31 | 127 => return None,
                _ => self.at += 1,
            }
        }
        key.push_str(text.get(copied..)?);
        Some(found)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, is: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&is) {
            self.at += 1;
        }
    }

    /// Digits, and a fraction. Exponents, other bases, separators and what could be read as the start of a name are subtle.
    fn number(&mut self, key: &mut String) -> Option<()> {
        let follows_a_dot = self.at.checked_sub(1).and_then(|before| self.bytes.get(before)) == Some(&b'.');
        self.skip_while(|byte| byte.is_ascii_digit());
        key.push(NUMBER);
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            let fraction = self.at;
            self.skip_while(|byte| byte.is_ascii_digit());
            if self.at == fraction {
                return None;
            }
            key.push_str(".5");
        }
        let ends = self.peek(0).is_none_or(|byte| !starts_name(byte) && !matches!(byte, b'.' | b'$' | b'\''));
        (ends && !follows_a_dot).then_some(())
    }

    /// A string in plain quotes. Escapes are subtle, and so is a second string that may continue it.
    fn string(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            self.skip_while(|byte| byte >= b' ' && byte != b'\'' && byte != b'\\' && byte != 127 || matches!(byte, b'\n' | b'\t' | b'\r'));
            match (self.peek(0)?, self.peek(1)) {
                (b'\'', Some(b'\'')) => self.at += 1,
                (b'\'', _) => break,
                _ => return None,
            }
        }
        self.at += 1;
        let behind = self.bytes.get(self.at..)?.iter().find(|byte| !byte.is_ascii_whitespace());
        (behind != Some(&b'\'')).then_some(())
    }

    fn quoted_name(&mut self) -> Option<()> {
        self.at += 1;
        self.skip_while(|byte| byte >= b' ' && byte != b'"' && byte != 127);
        (self.peek(0)? == b'"').then(|| self.at += 1)
    }

    fn line_comment(&mut self) {
        self.skip_while(|byte| !matches!(byte, b'\n' | b'\r') && (byte >= b' ' || byte == b'\t'));
    }

    /// A comment that is not nested, to its end.
    fn comment(&mut self) -> Option<()> {
        self.at += 2;
        loop {
            match (self.peek(0)?, self.peek(1)) {
                (b'*', Some(b'/')) => break,
                (b'/', Some(b'*')) | (1 | 2, _) => return None,
                _ => self.at += 1,
            }
        }
        self.at += 2;
        Some(())
    }

    fn parameter(&mut self) -> Option<()> {
        self.at += 1;
        let digits = self.at;
        self.skip_while(|byte| byte.is_ascii_digit());
        let ends = self.peek(0).is_none_or(|byte| !starts_name(byte) && !matches!(byte, b'$' | b'\'' | b'.'));
        (self.at > digits && ends).then_some(())
    }

    /// A name or a keyword. With a quote behind it, it says how the string is to be read (`E''`, `U&''`).
    fn name(&mut self) -> Option<()> {
        self.skip_while(|byte| starts_name(byte) || byte.is_ascii_digit() || byte == b'$');
        let unicode = self.peek(0) == Some(b'&') && matches!(self.peek(1), Some(b'\'' | b'"'));
        (self.peek(0) != Some(b'\'') && !unicode).then_some(())
    }
}

/// Whether a name can start with this byte, or go on with it (`ident_start` in PostgreSQL's `scan.l`).
fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 128
}

#[cfg(test)]
mod tests {
    use super::Shape;

    fn key(text: &str) -> Option<String> {
        Shape::of(text).map(|shape| shape.key)
    }

    #[test]
    fn texts_that_differ_in_values_alone_have_one_shape() {
        let one = key("SELECT abalance FROM pgbench_accounts WHERE aid = 4711 and n = 'it''s' and f < 1.5;");
        assert!(one.is_some());
        assert_eq!(one, key("SELECT abalance FROM pgbench_accounts WHERE aid = 1 and n = '--' and f < 22.75;"));
        assert_ne!(one, key("SELECT abalance FROM pgbench_accounts WHERE aid = 1.5 and n = '--' and f < 22.75;"));
        assert_ne!(one, key("SELECT abalance FROM pgbench_branches WHERE aid = 1 and n = '--' and f < 22.75;"));
    }

    #[test]
    fn digits_in_names_quotes_and_comments_are_no_values() {
        assert_eq!(key("select t1.c2 from t1"), None);
        assert_eq!(key("select \"1\" /* 1 '2' */ -- 3 '"), None);
        assert_ne!(key("select \"1\", 5"), key("select \"2\", 5"));
        assert_ne!(key("select 5 /* 1 */"), key("select 5 /* 2 */"));
        assert_ne!(key("select 5 -- 1"), key("select 5 -- 2"));
        assert_ne!(key("select $1, 5"), key("select $2, 5"));
    }

    #[test]
    fn whatever_the_lexer_reads_with_more_subtlety_has_no_shape() {
        for text in [
            "select e'a', 1",
            "select E'\\'', 1",
            "select u&'a', 1",
            "select U&\"a\", 1",
            "select b'1'",
            "select x'1'",
            "select n'a'",
            "select $$a$$, 1",
            "select $a$1$a$, 1",
            "select 'a\\'",
            "select 'a' 'b'",
            "select 'a'\n'b'",
            "select 1e5",
            "select 0x1F",
            "select 1_000",
            "select 1a",
            "select 1.",
            "select .5",
            "select 1.5.5",
            "select 1..2",
            "select /* /* 1 */ */ 2",
            "select 'open",
            "select \"open, 1",
            "select 1 /* open",
            "select $1a, 1",
            "select 1$1",
            "select 1\0",
            "select \u{1}, 2",
            "select '\u{2}'",
            "select 1879048193",
        ] {
            assert_eq!(key(text), None, "{text}");
        }
    }

    #[test]
    fn postgresqls_own_scanner_sees_the_same_tokens_in_every_text_of_a_shape() {
        let kinds = |text: &str| -> Vec<(i32, i32)> {
            let scanned = pg_query::scan(text).unwrap();
            scanned.tokens.iter().map(|token| (token.token, token.keyword_kind)).collect()
        };
        let mut shapes = 0;
        let sent = include_str!("../../tests/data/dbt-postgres/statements.jsonl");
        let sent = sent.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        for text in sent.map(|sent| sent["sql"].as_str().unwrap().to_owned()) {
            let Some(shape) = Shape::of(&text) else { continue };
            shapes += 1;
            assert_eq!(kinds(&text), kinds(&shape.probe()), "{text}");
        }
        assert!(shapes > 100, "{shapes} of the statements have a shape");
    }

    #[test]
    fn a_probe_has_the_shape_s_tokens() {
        let shape = Shape::of("select 'a', 1, 2.5 from t where \"x\" = 'b'").unwrap();
        let probe = shape.probe();
        assert_eq!(
            probe,
            "select 'tollhouse probe 1879048193', 1879048193, 1879048193.5 from t where \"x\" = 'tollhouse probe 1879048193'"
        );
        assert!(pg_query::parse(&probe, 0).is_ok());
    }
}
