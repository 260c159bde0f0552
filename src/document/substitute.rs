//! Fills `${NAME}` in the strings of a document from the environment.

use serde_json::Value;

use super::Env;
use super::judge::Finding;
use super::pointer::child;

/// What came of filling in one document.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// JSON pointers of the values that were one substitution and nothing else.
    pub(super) whole: Vec<String>,
    /// The values that could not be filled in, and why.
    pub(super) failed: Vec<Finding>,
}

/// Fills in every string of `value`, in place.
pub(super) fn fill(value: &mut Value, env: &Env<'_>) -> Filled {
    let mut filled = Filled::default();
    visit(value, "", env, &mut filled);
    filled
}

/// Depth is bounded by the parser of the document.
fn visit(value: &mut Value, pointer: &str, env: &Env<'_>, filled: &mut Filled) {
    match value {
        Value::String(text) if text.contains('$') => match expand(text, env) {
            Ok(expanded) => {
                if is_one_substitution(text) {
                    filled.whole.push(pointer.to_owned());
                }
                *text = expanded;
            }
            Err(why) => filled.failed.push(Finding::new(pointer, why)),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                visit(item, &format!("{pointer}/{index}"), env, filled);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                visit(entry, &child(pointer, key), env, filled);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_one_substitution(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1)
}

fn expand(text: &str, env: &Env<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.extend([escaped, "${"]);
            rest = after;
            continue;
        }
        let (inside, behind) = after.split_once('}').ok_or("`${` is never closed; write `$${` for the characters themselves")?;
        expanded.extend([before, &lookup(inside, env)?]);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn lookup(inside: &str, env: &Env<'_>) -> Result<String, String> {
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    if !is_name(name) {
        return Err("`${...}` holds no environment variable's name; expected `${NAME}` or `${NAME:-default}`".to_owned());
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("the environment variable `{name}` is not set; set it, or write `${{{name}:-default}}`")),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db.example".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn names_are_filled_in_once_and_defaults_stand_in_for_unset_and_empty_ones() {
        for (text, expected) in [
            ("${HOST}", "db.example"),
            ("a${HOST}b${HOST}", "adb.examplebdb.example"),
            ("${UNSET:-x:-y}", "x:-y"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${UNSET:-}", ""),
            ("${NESTED}", "${HOST}"),
            ("$${HOST}", "${HOST}"),
            ("$HOST costs $5", "$HOST costs $5"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        for (text, expected) in [
            ("${UNSET}", "the environment variable `UNSET` is not set; set it, or write `${UNSET:-default}`"),
            ("${HOST", "`${` is never closed; write `$${` for the characters themselves"),
            ("${}", "`${...}` holds no environment variable's name; expected `${NAME}` or `${NAME:-default}`"),
            ("${A-B}", "`${...}` holds no environment variable's name; expected `${NAME}` or `${NAME:-default}`"),
            ("${1A}", "`${...}` holds no environment variable's name; expected `${NAME}` or `${NAME:-default}`"),
        ] {
            assert_eq!(expand(text, &env).unwrap_err(), expected, "{text}");
        }
    }
}
