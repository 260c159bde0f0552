//! The words of a text, where the vendor is sure to find the same ones; and how deep a tree they can make.

use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use super::{Comments, Vendor};

/// The tokens of a text.
///
/// # Errors
/// Why the vendor might find others.
pub(super) fn tokens(vendor: &Vendor, dialect: &dyn Dialect, text: &str) -> Result<Vec<TokenWithSpan>, &'static str> {
    if text.contains('\0') {
        return Err("the text contains a NUL byte");
    }
    if vendor.substitutes && text.contains("${") {
        return Err("another text is put in before it is read");
    }
    // Whether a backslash takes a quote's meaning away differs between vendors, and between their kinds of strings.
    if ["\\'", "\\\"", "\\`"].iter().any(|escaped| text.contains(escaped)) {
        return Err("a backslash before a quote");
    }
    // A lone carriage return ends a line for some.
    if text.replace("\r\n", "").contains('\r') {
        return Err("a carriage return that does not end a line");
    }
    let tokens = Tokenizer::new(dialect, text).tokenize_with_location().map_err(|_| "the text cannot be cut into words")?;
    match tokens.iter().find_map(|token| doubt(vendor, &token.token)) {
        Some(doubt) => Err(doubt),
        None => Ok(without_times(tokens.into_iter().map(plain).collect())),
    }
}

/// Trino and Athena: `FOR VERSION | TIMESTAMP AS OF` and a constant, which the parser does not know, and of which no effect
/// depends. No vendor reads anything else in these words.
fn without_times(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is_word(&token.token, &["VERSION", "TIMESTAMP"])) {
        return tokens;
    }
    let mut kept = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let [first, behind @ ..] = rest {
        rest = behind_time(rest).unwrap_or_else(|| {
            kept.push(first.clone());
            behind
        });
    }
    kept
}

/// What stands behind the time that begins here.
fn behind_time(tokens: &[TokenWithSpan]) -> Option<&[TokenWithSpan]> {
    let mut rest = tokens;
    for wanted in [&["FOR"][..], &["VERSION", "TIMESTAMP"], &["AS"], &["OF"]] {
        let (token, behind) = next_word(rest)?;
        rest = is_word(token, wanted).then_some(behind)?;
    }
    let (constant, behind) = next_word(rest)?;
    if is_word(constant, &["TIMESTAMP", "DATE"]) {
        let (string, behind) = next_word(behind)?;
        return matches!(string, Token::SingleQuotedString(_)).then_some(behind);
    }
    matches!(constant, Token::Number(..) | Token::SingleQuotedString(_)).then_some(behind)
}

/// The next token that is no blank, and what stands behind it.
fn next_word(tokens: &[TokenWithSpan]) -> Option<(&Token, &[TokenWithSpan])> {
    let place = tokens.iter().position(|token| !matches!(token.token, Token::Whitespace(_)))?;
    let (token, behind) = tokens.get(place..)?.split_first()?;
    Some((&token.token, behind))
}

/// Is it one of these words, unquoted?
pub(super) fn is_word(token: &Token, wanted: &[&str]) -> bool {
    let Token::Word(word) = token else { return false };
    word.quote_style.is_none() && wanted.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted))
}

/// The parser takes dollar quotes in few of the places where the vendor takes any string.
fn plain(mut token: TokenWithSpan) -> TokenWithSpan {
    if let Token::DollarQuotedString(quoted) = &mut token.token {
        token.token = Token::SingleQuotedString(std::mem::take(&mut quoted.value));
    }
    token
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other tokens are the same in every dialect")]
fn doubt(vendor: &Vendor, token: &Token) -> Option<&'static str> {
    match token {
        Token::Char(_) => Some("a letter that is in no word"),
        Token::Whitespace(Whitespace::MultiLineComment(comment)) if comment.contains("/*") => Some("a comment within a comment"),
        Token::Whitespace(Whitespace::SingleLineComment { prefix, .. }) => match (prefix.as_str(), vendor.comments) {
            ("--", _) | ("//", Comments::Slashes) | ("#", Comments::Hash) => None,
            _ => Some("a comment of another dialect"),
        },
        Token::Sharp | Token::DuckIntDiv if !matches!(vendor.comments, Comments::Hash) => Some("a comment of another dialect"),
        Token::DollarQuotedString(quoted) if !vendor.has_dollar_quotes || quoted.tag.is_some() => Some("dollar quotes"),
        Token::Word(word) if word.quote_style.is_none() && !word.value.is_ascii() => Some("letters beyond ASCII outside of quotes"),
        Token::UnicodeStringLiteral(_) | Token::EscapedStringLiteral(_) | Token::QuoteDelimitedStringLiteral(_) => {
            Some("a string of another dialect")
        }
        Token::NationalQuoteDelimitedStringLiteral(_) | Token::CustomBinaryOperator(_) => Some("words of another dialect"),
        _ => None,
    }
}

/// No tree of these tokens is deeper: operators and keywords put what stands before them one level down, until a comma or a
/// bracket ends their list. Set operations go on behind commas.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other token may be an operator")]
pub(super) fn depth(tokens: &[TokenWithSpan]) -> usize {
    let mut outer: Vec<(usize, usize)> = Vec::new();
    let (mut chain, mut sets) = (0_usize, 0_usize);
    let (mut below, mut deepest) = (0_usize, 0_usize);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                below += chain + sets + 1;
                outer.push((chain, sets));
                (chain, sets) = (0, 0);
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                if let Some(level) = outer.pop() {
                    (chain, sets) = level;
                    below -= chain + sets + 1;
                }
            }
            Token::Comma => chain = 0,
            Token::Word(word) if matches!(word.keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS) => {
                sets += 1
            }
            Token::Word(word) if word.keyword != Keyword::NoKeyword => chain += 1,
            other => chain += usize::from(is_operator(other)),
        }
        deepest = deepest.max(below + chain + sets);
    }
    deepest
}

fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::Whitespace(_)
            | Token::Period
            | Token::SemiColon
            | Token::EOF
    )
}

#[cfg(test)]
mod tests {
    use super::{depth, tokens};
    use crate::sql::dialect::{BIGQUERY, CLICKHOUSE, DATABRICKS, SNOWFLAKE, TRINO, Vendor};

    fn is_doubted(vendor: &'static Vendor, text: &str) -> bool {
        tokens(vendor, &*(vendor.parser)(), text).is_err()
    }

    #[test]
    fn texts_that_a_vendor_may_cut_into_other_words_are_given_up() {
        for (vendor, text) in [
            (&SNOWFLAKE, r"select 'a\' from b --'"),
            (&TRINO, r"select 'a\\' from b --'"),
            (&SNOWFLAKE, "select 1 /* /* */ from a -- */ from b"),
            (&SNOWFLAKE, "select 1 --\rfrom a"),
            (&SNOWFLAKE, "select $a$ x $a$"),
            (&TRINO, "select $$ x $$"),
            (&TRINO, "select 1 // 2 from a"),
            (&CLICKHOUSE, "select 1 # from a"),
            (&DATABRICKS, "select * from \u{e4}"),
            (&DATABRICKS, "select '${x}'"),
            (&BIGQUERY, "select 1\0"),
            (&BIGQUERY, "select 'a"),
        ] {
            assert!(is_doubted(vendor, text), "{vendor:?}: {text}");
        }
        for (vendor, text) in [(&SNOWFLAKE, "select 1 // from a\n, $$ it's $$"), (&BIGQUERY, "select 1 # from a"), (&TRINO, r"select '\d'")]
        {
            assert!(!is_doubted(vendor, text), "{vendor:?}: {text}");
        }
    }

    #[test]
    fn what_goes_deeper_counts_and_what_goes_on_beside_does_not() {
        let depth_of = |text: &str| depth(&tokens(&TRINO, &*(TRINO.parser)(), text).unwrap());
        assert_eq!(depth_of("select a, b, c, d, e"), depth_of("select a, b"));
        assert!(depth_of(&format!("select 1{}", "+1".repeat(500))) >= 500);
        assert!(depth_of(&"select a, b union ".repeat(500)) >= 499);
        assert!(depth_of(&"(".repeat(500)) >= 500);
        assert!(depth_of(&format!("insert into t values {}", "(1, -2), ".repeat(5000))) < 20);
    }
}
