//! Statements after which names without a database or schema lead elsewhere in their session.

use crate::warehouse::http::SessionState;

/// Where names lead once the statement has been carried out; `None` where they stay. Nowhere that is known, where the text does
/// not show it plainly.
pub(in crate::warehouse) fn destination(sql: &str, state: &SessionState) -> Option<SessionState> {
    let nowhere = Some(SessionState { database: String::new(), schema: None, role: state.role.clone() });
    let Some(text) = behind_comments(sql) else { return nowhere };
    let text = text.trim_end().trim_end_matches(';').trim_end();
    let (verb, rest) = word(text);
    match verb.as_str() {
        "use" => used(rest, state).or(nowhere),
        "set" => {
            let (second, _) = word(rest);
            let parameter: String = rest.chars().filter(|letter| !matches!(letter, '`' | ' ')).collect::<String>().to_ascii_lowercase();
            if ["catalog", "path"].contains(&second.as_str()) || parameter.starts_with("spark.sql.defaultcatalog") { nowhere } else { None }
        }
        // Whatever a text that is not seen may do.
        "begin" | "call" | "declare" | "execute" | "reset" => nowhere,
        "" if !text.is_empty() && !text.starts_with('(') => nowhere,
        _ => None,
    }
}

/// `USE [CATALOG | SCHEMA | DATABASE | NAMESPACE] name[.name]`, behind its first word.
fn used(rest: &str, state: &SessionState) -> Option<SessionState> {
    let (kind, behind) = word(rest);
    let (kind, names) = match kind.as_str() {
        "catalog" | "schema" | "database" | "namespace" if !behind.trim().is_empty() => (kind.as_str(), behind),
        _ => ("", rest),
    };
    let names: Vec<String> = names.trim().split('.').map(plain_name).collect::<Option<_>>()?;
    let role = state.role.clone();
    match (kind, names.as_slice()) {
        ("catalog", [catalog]) => Some(SessionState { database: catalog.clone(), schema: Some("default".to_owned()), role }),
        ("catalog", _) => None,
        (_, [schema]) if !state.database.is_empty() => {
            Some(SessionState { database: state.database.clone(), schema: Some(schema.clone()), role })
        }
        (_, [catalog, schema]) => Some(SessionState { database: catalog.clone(), schema: Some(schema.clone()), role }),
        (_, _) => None,
    }
}

/// A name that is nothing but letters, digits and underscores, in backticks or not, in lower case.
pub(in crate::warehouse) fn plain_name(text: &str) -> Option<String> {
    let name = text.strip_prefix('`').map_or(Some(text), |rest| rest.strip_suffix('`'))?;
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_plain.then(|| name.to_ascii_lowercase())
}

/// The first word in lower case, and what stands behind it.
fn word(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word.to_ascii_lowercase(), rest)
}

/// What stands behind blanks and comments; `None` where a comment is within another, or has no end.
fn behind_comments(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix("--") {
            text = rest.split_once('\n').map_or("", |(_, behind)| behind);
        } else if let Some(rest) = text.strip_prefix("/*") {
            let (comment, behind) = rest.split_once("*/")?;
            if comment.contains("/*") {
                return None;
            }
            text = behind;
        } else {
            return Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{destination, plain_name};
    use crate::warehouse::http::SessionState;

    fn state(database: &str, schema: Option<&str>) -> SessionState {
        SessionState { database: database.to_owned(), schema: schema.map(str::to_owned), role: None }
    }

    #[test]
    fn a_use_that_is_plain_says_where_names_lead() {
        for (sql, database, schema) in [
            ("USE `default`", "main", Some("default")),
            ("/* {\"app\": \"dbt\"} */\nuse Schema Analytics ;", "main", Some("analytics")),
            ("-- a\n use database x", "main", Some("x")),
            ("use catalog dev", "dev", Some("default")),
            ("use dev.raw", "dev", Some("raw")),
            ("use catalog", "main", Some("catalog")),
            ("use identifier('x')", "", None),
            ("use `a b`", "", None),
            ("use a.b.c", "", None),
            ("use x /* more */", "", None),
            ("set catalog dev", "", None),
            ("SET spark.sql.defaultCatalog = dev", "", None),
            ("set `spark.sql.defaultCatalog` = dev", "", None),
            ("execute immediate 'use dev.raw'", "", None),
            ("begin use dev.raw; end", "", None),
            ("/* /* */ use x", "", None),
            ("\u{feff}use x", "", None),
            ("${word} x", "", None),
        ] {
            assert_eq!(destination(sql, &state("main", Some("raw"))), Some(state(database, schema)), "{sql}");
        }
        assert_eq!(destination("use x", &state("", None)), Some(state("", None)), "in which catalog is not known");
    }

    #[test]
    fn other_statements_leave_names_where_they_are() {
        for sql in ["select 1", "", "/* use x */ select 1", "set spark.sql.ansi.enabled = true", "(select 1)", "useful"] {
            assert_eq!(destination(sql, &state("main", None)), None, "{sql}");
        }
        assert_eq!(plain_name("`a`"), Some("a".to_owned()));
        assert!(["", "`a", "a-b", "a b", "\u{e4}", "a;drop"].iter().all(|name| plain_name(name).is_none()));
    }
}
