//! The words of a text, where Redshift and PostgreSQL are sure to find the same ones.
//!
//! Redshift's lexer is that of an old PostgreSQL and not published in all parts. So a text is given up where the two could
//! differ: quoted names with capital letters (Redshift folds them unless `enable_case_sensitive_identifier` is on), names
//! longer than 63 bytes (127 in Redshift), Unicode escapes, comments within comments, and strings with a backslash whose end
//! depends on what a backslash means there.
//!
//! Source: Amazon Redshift Database Developer Guide, "Names and identifiers".

use pg_query::protobuf;

/// Longest name, in bytes, that PostgreSQL's grammar keeps whole (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;

/// A word, string, number or sign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    /// As it is written.
    pub(super) text: &'t str,
    /// Where it starts, in bytes.
    pub(super) start: usize,
    /// Its keyword, or what else it is.
    kind: protobuf::Token,
}

impl<'t> Token<'t> {
    /// The word in lower case, if it is one and not quoted.
    pub(super) fn word(&self) -> Option<String> {
        let is_word = self.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && self.kind != protobuf::Token::Sconst;
        is_word.then(|| self.text.to_ascii_lowercase())
    }

    /// The name, folded, if it is a word or a quoted name.
    pub(super) fn name(&self) -> Option<String> {
        match self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => Some(quoted.replace("\"\"", "\"")),
            None => self.word(),
        }
    }

    /// Is it a string, however quoted?
    pub(super) fn is_string(&self) -> bool {
        self.kind == protobuf::Token::Sconst
    }

    /// Is it a whole number?
    pub(super) fn is_integer(&self) -> bool {
        self.kind == protobuf::Token::Iconst
    }

    /// What a string says, where there is no doubt: no backslash, no escape, not continued on another line.
    pub(super) fn string(&self) -> Option<String> {
        if !self.is_string() {
            return None;
        }
        if let Some(tagged) = self.text.strip_prefix('$') {
            let tag = tagged.find('$')? + 2;
            let end = self.text.len().checked_sub(tag)?;
            return self.text.get(tag..end).map(str::to_owned);
        }
        let body = self.text.strip_prefix('\'')?.strip_suffix('\'')?;
        let is_sure = !body.contains('\\') && !body.replace("''", "").contains('\'');
        is_sure.then(|| body.replace("''", "'"))
    }
}

/// The tokens of a text without comments; `None` where Redshift might find others.
pub(super) fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    if text.contains('\0') {
        return None;
    }
    // Of a text without tokens, pg_query 18.1 makes a slice of a null pointer.
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)) {
        return Some(Vec::new());
    }
    let mut tokens = Vec::new();
    for found in pg_query::scan_tokens(text).ok()? {
        let (start, end) = (usize::try_from(found.start).ok()?, usize::try_from(found.end).ok()?);
        let token = Token { text: text.get(start..end)?, start, kind: found.token() };
        if !is_alike(&token) {
            return None;
        }
        if !matches!(token.kind, protobuf::Token::SqlComment | protobuf::Token::CComment) {
            tokens.push(token);
        }
    }
    Some(tokens)
}

/// The tokens of each statement, without the semicolons.
pub(super) fn statements<'a, 't>(tokens: &'a [Token<'t>]) -> Vec<&'a [Token<'t>]> {
    let mut depth = 0_usize;
    let ends_statement = |token: &Token<'_>| {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.text == ";"
    };
    tokens.split(ends_statement).collect()
}

/// The text from the first token to the last.
pub(super) fn source<'t>(text: &'t str, tokens: &[Token<'_>]) -> &'t str {
    let bounds = tokens.first().zip(tokens.last()).map(|(first, last)| first.start..last.start + last.text.len());
    bounds.and_then(|bounds| text.get(bounds)).unwrap_or_default()
}

/// Whether Redshift is sure to find the same token here, with the same meaning.
#[expect(clippy::wildcard_enum_match_arm, reason = "keywords are short and of ASCII, and whatever else there is carries no name")]
fn is_alike(token: &Token<'_>) -> bool {
    use protobuf::Token as T;
    match token.kind {
        T::Ident => is_name_alike(token.text),
        T::Uident | T::Usconst => false,
        T::Sconst => token.text.starts_with('$') || !token.text.contains('\\') || ends_alike(token.text),
        T::CComment => !token.text.get(2..).unwrap_or_default().contains("/*"),
        _ => true,
    }
}

fn is_name_alike(name: &str) -> bool {
    // Unquoted, both fold the letters of ASCII; what Redshift does with others is not known.
    let is_kept = |letter: char| letter.is_uppercase() && (name.starts_with('"') || !letter.is_ascii());
    name.len() <= NAME_BYTES_MAX && !name.chars().any(is_kept)
}

/// Whether a quoted string ends at the same quote if a backslash escapes the next letter and if it does not.
fn ends_alike(string: &str) -> bool {
    let Some((_, body)) = string.split_once('\'') else { return false };
    closing_quote(body, false) == Some(body.len()) && closing_quote(body, true) == Some(body.len())
}

/// Where the string ends that goes on with `body`: behind its closing quote.
fn closing_quote(body: &str, escapes: bool) -> Option<usize> {
    let mut letters = body.char_indices().peekable();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\\' if escapes => {
                letters.next();
            }
            '\'' if letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                letters.next();
            }
            '\'' => return Some(place + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{statements, tokens};

    #[test]
    fn texts_that_may_be_cut_into_other_words_are_given_up() {
        for text in [
            r#"select * from finance."Salaries""#,
            r#"select "s"."X""y" from s"#,
            "select * from U&\"\\0053alaries\"",
            "select U&'\\0053'",
            "select * from \u{c4}rger",
            &format!("select * from {}", "a".repeat(64)),
            &format!("select * from \"{}\"", "a".repeat(64)),
            r"select '\' from a --'",
            r"select 'a\'' from b --'",
            r"select e'\' from a --'",
            "select 1 /* a /* b */ from c */",
            "select 'a",
            "select 1\0",
        ] {
            assert!(tokens(text).is_none(), "{text}");
        }
    }

    #[test]
    fn backslashes_that_end_no_string_are_read() {
        for text in [r"select regexp_replace(a, '\\d+\\.', '') from b", r"select '\n', E'\t' /* \' */ -- '\'", r"select $$\'$$"] {
            assert!(tokens(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_string_says_what_it_says_or_nothing() {
        let string = |text: &str| tokens(text).unwrap().first().unwrap().string();
        assert_eq!(string("'it''s'").as_deref(), Some("it's"));
        assert_eq!(string("$q$it's$q$").as_deref(), Some("it's"));
        assert_eq!(string("$$$$").as_deref(), Some(""));
        assert_eq!(string(r"'a\\b'"), None);
        assert_eq!(string("'a'\n'b'"), None);
        assert_eq!(string("e'a'"), None);
    }

    #[test]
    fn a_semicolon_in_brackets_ends_no_statement() {
        let tokens = tokens("a; (b; c); d;").unwrap();
        let lengths: Vec<usize> = statements(&tokens).into_iter().map(<[_]>::len).collect();
        assert_eq!(lengths, [1, 5, 1, 0]);
    }
}
