//! `SHOW`: lists are read like the views of the information schema that hold them.

use sqlparser::ast::{Ident, ObjectName, ShowStatementInParentType, ShowStatementOptions, Statement as Parsed};

use super::Reader;
use crate::sql::dialect::{Fold, name};
use crate::sql::{Action, Object, ObjectKind, OpaqueClass};

impl Reader<'_> {
    /// Lists are read like the views of the information schema that hold them.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the callers pass these kinds only; any other is opaque")]
    pub(super) fn show(&mut self, parsed: &Parsed) -> &'static str {
        let (view, options) = match parsed {
            Parsed::ShowTables { show_options, .. } => ("tables", Some(show_options)),
            Parsed::ShowViews { show_options, .. } => ("views", Some(show_options)),
            Parsed::ShowColumns { show_options, .. } => ("columns", Some(show_options)),
            Parsed::ShowSchemas { show_options, .. } => ("schemata", Some(show_options)),
            Parsed::ShowDatabases { show_options, .. } => ("databases", Some(show_options)),
            Parsed::ShowCatalogs { show_options, .. } => ("catalogs", Some(show_options)),
            Parsed::ShowObjects(objects) => ("tables", Some(&objects.show_options)),
            Parsed::ShowFunctions { .. } => ("functions", None),
            Parsed::ShowCreate { obj_name, .. } => {
                self.relation(Action::Select, obj_name);
                return "SHOW";
            }
            _ => return self.class("SHOW", OpaqueClass::Unsupported),
        };
        let of_table = matches!(parsed, Parsed::ShowColumns { .. });
        let database = options.and_then(|options| self.shown_database(options, of_table));
        self.shown(view, database);
        "SHOW"
    }

    /// `SHOW` of what the parser does not know: Snowflake's functions; Spark's tables with more about each, and properties of one.
    pub(super) fn show_words(&mut self, words: &[Ident]) -> &'static str {
        if let Some(database) = self.extended(words) {
            self.shown("tables", database);
            return "SHOW";
        }
        if let [what, path @ ..] = words
            && is_plain(what, &["tblproperties"])
        {
            self.relation(Action::Select, &ObjectName::from(path.to_vec()));
            return "SHOW";
        }
        if words.iter().any(|word| word.quote_style.is_some()) {
            self.opaque("SHOW of a quoted name");
            return "SHOW";
        }
        let words: Vec<String> = words.iter().map(|word| word.value.to_ascii_lowercase()).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["user", "functions", "in", path @ ..] => {
                let database = path.split_first().filter(|(_, schema)| !schema.is_empty()).map(|(database, _)| *database);
                let database = database.map(|database| name::folded(self.vendor, &Ident::new(database)));
                self.shown("functions", database);
            }
            _ => self.opaque("SHOW of what is not known"),
        }
        "SHOW"
    }

    /// The database of `TABLE EXTENDED [IN [database.]schema] LIKE 'pattern'`, of which the parser leaves the pattern out.
    fn extended(&self, words: &[Ident]) -> Option<Option<String>> {
        let [table, extended, path @ .., like] = words else { return None };
        if !is_plain(table, &["table"]) || !is_plain(extended, &["extended"]) || !is_plain(like, &["like"]) {
            return None;
        }
        match path {
            [] => Some(None),
            [within, _] if is_plain(within, &["in", "from"]) => Some(None),
            [within, database, _] if is_plain(within, &["in", "from"]) => Some(Some(name::folded(self.vendor, database))),
            _ => None,
        }
    }

    pub(super) fn shown(&mut self, view: &str, database: Option<String>) {
        let form = |word: &str| name::folded(self.vendor, &Ident::new(word));
        let (schema, name) = match self.vendor.fold {
            Fold::UnquotedUpper | Fold::Lower => (form("information_schema"), form(view)),
            Fold::Kept => ("INFORMATION_SCHEMA".to_owned(), view.to_ascii_uppercase()),
        };
        self.access(Action::Select, Some(Object { kind: ObjectKind::Relation, database, schema: Some(schema), name }));
    }

    fn shown_database(&self, options: &ShowStatementOptions, of_table: bool) -> Option<String> {
        let within = options.show_in.as_ref()?;
        let object = self.named(ObjectKind::Relation, within.parent_name.as_ref()?)?;
        match within.parent_type {
            Some(ShowStatementInParentType::Database | ShowStatementInParentType::Account) => Some(object.name),
            Some(ShowStatementInParentType::Table | ShowStatementInParentType::View) => object.database,
            None if of_table => object.database,
            Some(ShowStatementInParentType::Schema) | None => object.schema,
        }
    }
}

/// Is it one of these words, unquoted?
fn is_plain(word: &Ident, wanted: &[&str]) -> bool {
    word.quote_style.is_none() && wanted.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted))
}
