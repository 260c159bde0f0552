//! Values as YAML on one line, for people to copy.

use std::fmt::{self, Display, Formatter, Write};

use serde_json::Value;

/// A value in flow style. Keys that say nothing, `null` or `false`, are left out: documents have no other meaning for them.
pub(super) struct Flow<'v>(pub(super) &'v Value);

impl Flow<'_> {
    /// A string, quoted where YAML would read it as something else.
    pub(super) fn text(text: &str) -> impl Display + use<> {
        if is_plain(text) { text.to_owned() } else { Self::quoted(text).to_string() }
    }

    /// A string in quotes: JSON's strings are strings of YAML.
    pub(super) fn quoted(text: &str) -> impl Display + use<> {
        Value::from(text)
    }
}

impl Display for Flow<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Array(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", Flow(item))?;
                }
                f.write_char(']')
            }
            Value::Object(keys) => {
                let mut given = keys.iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false))).peekable();
                if given.peek().is_none() {
                    return f.write_str("{}");
                }
                f.write_str("{ ")?;
                for (index, (key, value)) in given.enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}: {}", Flow::text(key), Flow(value))?;
                }
                f.write_str(" }")
            }
            Value::String(text) => write!(f, "{}", Flow::text(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => write!(f, "{}", self.0),
        }
    }
}

/// Words that some YAML readers take for a boolean or for nothing.
const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "null", "y", "n"];

fn is_plain(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    starts && plain && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Flow;

    #[test]
    fn a_value_reads_back_as_itself() {
        let odd = ["yes", "a: b", "*any", "-", "1e3", "010", "a#b", "é\n\"", "", "a.b.*", "arn:aws:iam::1:role/x", "{x}", "null"];
        let value = json!({"actions": odd, "dbt": {"nodes": ["model.shop.orders"]}});
        let written = Flow(&value).to_string();
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&written).unwrap(), value, "{written}");
    }

    #[test]
    fn plain_words_stand_without_quotes_and_absent_keys_are_left_out() {
        let value = json!({"actions": ["select"], "databases": null, "dbt": {"verified": false, "nodes": ["a"]}, "tables": ["demo.raw.t"]});
        assert_eq!(Flow(&value).to_string(), "{ actions: [select], dbt: { nodes: [a] }, tables: [demo.raw.t] }");
        assert_eq!(Flow(&json!({})).to_string(), "{}");
    }
}
