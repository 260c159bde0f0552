//! Parses YAML text into values, within bounds.

use serde_json::Value;
use serde_saphyr::{Error, Options, UserMessageFormatter};

const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Every document of `text` that is not empty; no document at all is an empty list.
///
/// # Errors
/// What is wrong with the YAML itself, and at which line and column.
pub(super) fn parse(text: &str) -> Result<Vec<Value>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the text has {} bytes, and at most {TEXT_BYTES_MAX} are read", text.len()));
    }
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| message(&error))
}

/// What a single scalar says: a boolean or a number that prints as it was written, otherwise `None`.
pub(super) fn scalar(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => serde_json::from_str::<serde_json::Number>(text).ok().filter(|n| n.to_string() == text).map(Value::Number),
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_nodes: 1_000_000,
            max_events: 4_000_000,
            max_total_scalar_bytes: TEXT_BYTES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        leading_zero_numbers_as_strings: true,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// The parser's own words for users; they end with line and column, and show no value.
fn message(error: &Error) -> String {
    format!("not readable as YAML: {}", error.render_with_formatter(&UserMessageFormatter))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{TEXT_BYTES_MAX, parse, scalar};

    #[test]
    fn broken_text_is_refused_with_its_place_and_without_its_values() {
        for (text, expected) in [
            ("a: [1", "not readable as YAML: unclosed bracket '[' at line 1, column 4"),
            ("a: 1\na: 2", "not readable as YAML: duplicate mapping key `a` is not allowed here at line 2, column 1"),
            ("a: *x", "not readable as YAML: reference to unknown value at line 1, column 4"),
            ("a:\n  - b: \"hunter2", "not readable as YAML: unclosed quote at line 2, column 8"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
        assert!(!parse("password: !!int hunter2").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn only_true_and_false_are_booleans_and_leading_zeros_stay_text() {
        assert_eq!(parse("{a: yes, b: true, c: 010, d: 5432}"), Ok(vec![json!({"a": "yes", "b": true, "c": "010", "d": 5432})]));
    }

    #[test]
    fn empty_documents_are_skipped() {
        assert_eq!(parse("# a comment only"), Ok(Vec::new()));
        assert_eq!(parse("---\na: 1\n---\n# nothing\n---\nb: 2\n"), Ok(vec![json!({"a": 1}), json!({"b": 2})]));
    }

    #[test]
    fn texts_that_grow_or_nest_beyond_the_bounds_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", before.repeat(10)));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&format!("a: {}{}", "[".repeat(100), "]".repeat(100))).is_err());
        assert!(parse(&" ".repeat(TEXT_BYTES_MAX + 1)).unwrap_err().starts_with("the text has 8388609 bytes"));
    }

    #[test]
    fn a_scalar_is_read_again_only_where_it_prints_as_it_was_written() {
        assert_eq!(scalar("5432"), Some(json!(5432)));
        assert_eq!(scalar("true"), Some(json!(true)));
        for text in ["007", "1e3", "0x10", "", "null", "[1]", "5432 ", "yes"] {
            assert_eq!(scalar(text), None, "{text}");
        }
    }
}
