//! Where a node lives: a relation by its three names, and the names that the adapter makes from it.

use std::fmt;

/// Longest name, in bytes; PostgreSQL cuts longer ones (docs, section 4.1.1).
const NAME_BYTES_MAX: usize = 63;

/// A table or view, by names as the warehouse stores them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// The database.
    pub database: String,
    /// The schema.
    pub schema: String,
    /// Its own name.
    pub name: String,
}

impl Relation {
    /// Reads `relation_name`: three parts, each folded to lower case unless it is quoted.
    pub(super) fn parse(written: &str) -> Option<Self> {
        let (database, rest) = part(written)?;
        let (schema, rest) = part(rest.strip_prefix('.')?)?;
        let (name, rest) = part(rest.strip_prefix('.')?)?;
        rest.is_empty().then_some(Self { database, schema, name })
    }

    /// The relation of another name beside it.
    pub(super) fn beside(&self, name: String) -> Self {
        Self { name, ..self.clone() }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.database, self.schema, self.name)
    }
}

/// One part of a name, and what follows it. PostgreSQL quotes with `"`, doubled inside.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
        return plain.then(|| (cut(&name.to_ascii_lowercase()).to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (before, behind) = rest.split_once('"')?;
        name.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if name.is_empty() => return None,
            None => return Some((cut(&name).to_owned(), behind)),
        }
    }
}

/// A name as the server stores it.
fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or(name)
}

/// The name that dbt-postgres makes of `base` for a helper of it: the base shortened so that all of it and what is yet to
/// come (`more` characters) has room (`postgres__make_relation_with_suffix` in its `macros/adapters.sql`).
pub(super) fn with_suffix(base: &str, suffix: &str, more: usize) -> String {
    let room = NAME_BYTES_MAX.saturating_sub(suffix.len() + more);
    let mut name: String = base.chars().take(room).collect();
    name.push_str(suffix);
    cut(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Relation, with_suffix};

    fn parsed(written: &str) -> Option<String> {
        Relation::parse(written).map(|relation| relation.to_string())
    }

    #[test]
    fn names_are_read_as_the_server_reads_them() {
        assert_eq!(parsed(r#""demo"."raw"."Orders""#).as_deref(), Some("demo.raw.Orders"));
        assert_eq!(parsed("Demo.raw.ORDERS").as_deref(), Some("demo.raw.orders"));
        assert_eq!(parsed(r#""a""b".c."d.e""#).as_deref(), Some("a\"b.c.d.e"));
        for broken in ["", "a.b", "a.b.c.d", r#""a".b."c"#, r#""a".b."c"x"#, "a..c", "a.b.c d", r#""".b.c"#] {
            assert_eq!(parsed(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_long_name_is_shortened_before_the_suffix_as_dbt_does() {
        let long = "n".repeat(63);
        assert_eq!(with_suffix("orders", "__dbt_tmp", 0), "orders__dbt_tmp");
        assert_eq!(with_suffix(&long, "__dbt_backup", 0), format!("{}__dbt_backup", "n".repeat(51)));
        assert_eq!(with_suffix(&long, "__dbt_tmp", 12), format!("{}__dbt_tmp", "n".repeat(42)));
    }
}
