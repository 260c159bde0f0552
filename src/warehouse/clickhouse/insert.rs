//! Where the data of an `INSERT` begins: what stands behind its format is no SQL.
//!
//! Source: ClickHouse documentation, "INSERT INTO", and its `ParserInsertQuery`. Only the plainest form is read here, word by
//! word; of every other text all is taken for SQL, which is judged as it stands.

/// How many bytes of `text` are SQL; `None` where it is not an `INSERT` with a format, or where its data may hold expressions.
pub(super) fn sql_length(text: &[u8]) -> Option<usize> {
    let mut words = Words { text, at: 0 };
    words.keyword("INSERT")?;
    words.keyword("INTO")?;
    let _ = words.keyword("TABLE");
    words.name()?;
    if words.sign(b'.').is_some() {
        words.name()?;
    }
    if words.sign(b'(').is_some() {
        words.name()?;
        while words.sign(b',').is_some() {
            words.name()?;
        }
        words.sign(b')')?;
    }
    words.keyword("FORMAT")?;
    let format = words.word()?;
    // Values are expressions, and may be queries.
    let has_expressions = format.eq_ignore_ascii_case(b"Values");
    let length = words.at;
    words.skip()?;
    // There is a setting that has servers read settings there.
    let is_plain = !has_expressions && words.keyword("SETTINGS").is_none();
    is_plain.then_some(length)
}

/// A text, word by word. What is read is behind `at` only if it was there.
struct Words<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Words<'t> {
    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips blanks and comments; `None` at a comment without an end.
    fn skip(&mut self) -> Option<()> {
        loop {
            let rest = self.rest();
            self.at += match rest {
                [byte, ..] if b" \t\r\n".contains(byte) => 1,
                [b'-', b'-', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
                [b'/', b'*', inner @ ..] => {
                    let end = inner.windows(2).position(|pair| pair == b"*/")?;
                    // Newer servers count comments within comments.
                    if inner.get(..=end)?.windows(2).any(|pair| pair == b"/*") {
                        return None;
                    }
                    end + 4
                }
                _ => return Some(()),
            };
        }
    }

    fn sign(&mut self, sign: u8) -> Option<()> {
        self.skip()?;
        (self.rest().first() == Some(&sign)).then(|| self.at += 1)
    }

    /// A word that is not quoted.
    fn word(&mut self) -> Option<&'t [u8]> {
        self.skip()?;
        let rest = self.rest();
        let length = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_')).unwrap_or(rest.len());
        let word = rest.get(..length)?;
        word.first().filter(|first| !first.is_ascii_digit())?;
        self.at += length;
        Some(word)
    }

    fn keyword(&mut self, keyword: &str) -> Option<()> {
        let before = self.at;
        let found = self.word().filter(|word| word.eq_ignore_ascii_case(keyword.as_bytes()));
        if found.is_none() {
            self.at = before;
        }
        found.map(|_| ())
    }

    /// A word, quoted or not. A backslash within the quotes is given up.
    fn name(&mut self) -> Option<()> {
        self.skip()?;
        let [quote @ (b'`' | b'"'), inner @ ..] = self.rest() else { return self.word().map(|_| ()) };
        let end = inner.iter().position(|byte| byte == quote)?;
        let name = inner.get(..end)?;
        // A quote that is doubled goes on.
        let is_plain = end > 0 && !name.contains(&b'\\') && inner.get(end + 1) != Some(quote);
        is_plain.then(|| self.at += end + 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sql_length;

    fn split(text: &str) -> Option<(&str, &str)> {
        sql_length(text.as_bytes()).map(|at| text.split_at(at))
    }

    #[test]
    fn what_stands_behind_the_format_is_data() {
        for (sql, data) in [
            ("insert into t format CSV", "\n1,drop table x\n"),
            ("/* {\"node_id\": \"a\"} */\ninsert into `a`.`b` (\"id\", `n`, c)\n      format CSV", "\n      1,Ada\n"),
            ("INSERT INTO TABLE a . b -- why\nFORMAT Native", "\n\u{1}\u{2}"),
            ("insert into format format JSONEachRow", "{\"a\": 1}"),
            ("insert into t format TSV", ""),
        ] {
            assert_eq!(split(&format!("{sql}{data}")), Some((sql, data)), "{sql}");
        }
        assert_eq!(sql_length(b"insert into t format RowBinary\n\xff\xfe"), Some(30));
    }

    #[test]
    fn a_text_of_any_other_form_is_sql_from_end_to_end() {
        for text in [
            "select * from t format CSV\n1",
            "insert into t values (1)",
            "insert into t format Values ((select max(a) from secret))",
            "insert into t format vAlUeS (1)",
            // The table is called `format`.
            "insert into format select * from secret",
            "insert into t select * from secret format CSV\n1",
            "insert into function s3('x') format CSV 1",
            "insert into t settings dialect = 'kusto' format CSV\n1",
            "insert into t format CSV settings max_threads = 1\n1",
            "insert into t format CSV /* */ SETTINGS max_threads = 1\n1",
            "insert into t (* except (a)) format CSV\n1",
            "insert into `a\\`b` format CSV\n1",
            "insert into `a``b` format CSV\n1",
            "insert into a.b.c format CSV\n1",
            "insert /* /* */ into t format CSV select 1 */ into t select * from secret",
            "insert into t /* /*/ format CSV */ select * from secret",
            "insert into t format 'CSV'\n1",
            "insert into t format",
            "with x as (select 1) insert into t format CSV\n1",
            "",
        ] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reading_and_what_follows_the_data_changes_nothing(
            words in prop::collection::vec(prop::sample::select(vec![
                "insert", "into", "table", "t", "`t`", "\"t", ".", "(", ",", ")", "format", "CSV", "values", "settings", "select",
                "--", "\n", "/*", "*/", " ", "'", "\\", "\u{e4}",
            ]), 0..14),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let text = words.join(" ").into_bytes();
            if let Some(at) = sql_length(&text) {
                prop_assert!(at <= text.len());
                let sql = text.get(..at).unwrap();
                let with_other_data = [sql, b"\n\x00", &rest].concat();
                prop_assert_eq!(sql_length(&with_other_data), Some(at));
            }
        }
    }
}
