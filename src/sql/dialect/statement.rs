//! One statement of a text, by its kind.

mod define;
mod outside;
pub(super) mod own;
mod session;
mod show;

use sqlparser::ast::{FromTable, Insert, Merge, MergeAction, ObjectName, Statement as Parsed, TableFactor, TableObject, TableWithJoins};

use super::Vendor;
use super::found::Found;
use super::name::{self, Named};
use super::query::{called, walk};
use crate::sql::{Action, Effect, Limits, Object, ObjectKind, OpaqueClass, Session, Statement};

/// Reads one statement.
struct Reader<'r> {
    vendor: &'static Vendor,
    limits: &'r Limits,
    /// Texts around this one; a text within a text within a text is not looked at.
    outer_texts: usize,
    found: Found,
    /// The name that `EXECUTE name` runs.
    executes: Option<String>,
}

/// What one statement does.
pub(super) fn judge(vendor: &'static Vendor, parsed: &Parsed, limits: &Limits, outer_texts: usize) -> Statement {
    let mut reader = Reader { vendor, limits, outer_texts, found: Found::default(), executes: None };
    let verb = reader.statement(parsed);
    reader.judged(verb)
}

impl Reader<'_> {
    /// The statement of which everything has been found.
    fn judged(self, verb: &'static str) -> Statement {
        let Found { effects, names_change } = self.found;
        let is_unsure = names_change || effects.iter().any(|effect| matches!(effect, Effect::Opaque { .. } | Effect::Call { .. }));
        let session = match self.executes {
            Some(name) => Session::Executes { name },
            None if is_unsure => Session::SearchPathUnknown,
            None => Session::Unchanged,
        };
        Statement { verb, effects, session }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "statements that are not listed here define something, or are opaque")]
    fn statement(&mut self, parsed: &Parsed) -> &'static str {
        use Parsed as S;
        match parsed {
            S::Query(_) => self.reads("SELECT", parsed, &[]),
            S::Insert(insert) => self.insert(parsed, insert),
            S::Update(update) => {
                let target = self.target(&update.table.relation);
                self.access(Action::Update, target);
                if !update.table.joins.is_empty() {
                    self.opaque("UPDATE of a join");
                }
                self.reads("UPDATE", parsed, &[])
            }
            S::Delete(delete) => {
                let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
                match tables.as_slice() {
                    [TableWithJoins { relation, joins }] if joins.is_empty() && delete.tables.is_empty() => {
                        let target = self.target(relation);
                        self.access(Action::Delete, target);
                    }
                    _ => self.opaque("DELETE from several tables"),
                }
                self.reads("DELETE", parsed, &[])
            }
            S::Merge(merge) => self.merge(parsed, merge),
            S::Truncate(truncate) => {
                let targets: Vec<&ObjectName> = truncate.table_names.iter().map(|target| &target.name).collect();
                self.each(Action::Truncate, &targets);
                self.reads("TRUNCATE TABLE", parsed, &targets)
            }
            S::Explain { statement, .. } => {
                self.statement(statement);
                "EXPLAIN"
            }
            S::ExplainTable { .. } => self.reads("DESCRIBE", parsed, &[]),
            S::StartTransaction { statements, has_end_keyword: false, exception: None, .. } if statements.is_empty() => "BEGIN",
            S::StartTransaction { .. } => self.class("BEGIN", OpaqueClass::Script),
            S::Commit { .. } => "COMMIT",
            S::Rollback { .. } => "ROLLBACK",
            S::Savepoint { .. } | S::ReleaseSavepoint { .. } => "SAVEPOINT",
            S::Set(set) => self.set(parsed, set),
            S::Use(target) => self.use_(target),
            S::AlterSession { session_params, .. } => {
                session_params.options.iter().for_each(|option| self.found.set(&option.option_name));
                "ALTER SESSION"
            }
            S::Execute { .. } => self.execute(parsed),
            S::Deallocate { .. } => "DEALLOCATE",
            S::Call(function) => {
                called(self.vendor, &function.name, &mut self.found);
                self.class("CALL", OpaqueClass::Call);
                self.reads("CALL", parsed, &[])
            }
            S::Analyze(_) | S::Msck(_) | S::OptimizeTable { .. } | S::Vacuum(_) | S::UNCache { .. } => self.maintenance(parsed),
            S::CopyIntoSnowflake { .. } | S::ExportData(_) | S::LoadData { .. } | S::Unload { .. } => self.transfer(parsed),
            S::List(_) => self.reads("LIST", parsed, &[]),
            S::Remove(command) => {
                self.outside(Action::Delete, &command.stage);
                "REMOVE"
            }
            S::ShowTables { .. } | S::ShowViews { .. } | S::ShowColumns { .. } | S::ShowSchemas { .. } | S::ShowDatabases { .. } => {
                self.show(parsed)
            }
            S::ShowObjects(_) | S::ShowFunctions { .. } | S::ShowCreate { .. } | S::ShowCatalogs { .. } => self.show(parsed),
            S::ShowVariables { .. } => "SHOW",
            S::ShowVariable { variable } => self.show_words(variable),
            _ => self.definition(parsed),
        }
    }

    fn insert(&mut self, parsed: &Parsed, insert: &Insert) -> &'static str {
        let TableObject::TableName(target) = &insert.table else {
            self.opaque("INSERT into what is not a table");
            return self.reads("INSERT", parsed, &[]);
        };
        if insert.multi_table_insert_type.is_some() {
            self.opaque("INSERT into several tables");
        }
        match name::named(self.vendor, target) {
            Named::Object(object) => {
                let columns = self.columns(insert).unwrap_or_default();
                self.found.effect(Effect::Access { action: Action::Insert, object, columns });
            }
            Named::Location(location) => self.found.location(Action::Export, &location),
            Named::Wildcard(_) | Named::Unknown => self.found.access(Action::Insert, None),
        }
        for setting in insert.settings.iter().flatten() {
            self.found.set(&setting.key.value);
        }
        if insert.overwrite || insert.replace_into {
            self.relation(Action::Delete, target);
        }
        self.reads("INSERT", parsed, &[target])
    }

    /// The list of columns, where it is whole and each is named by itself alone.
    fn columns(&self, insert: &Insert) -> Option<Vec<String>> {
        if insert.partitioned.is_some() || !insert.after_columns.is_empty() || !insert.assignments.is_empty() {
            return None;
        }
        let column = |column: &ObjectName| match column.0.as_slice() {
            [name] => Some(name::folded(self.vendor, name.as_ident()?)),
            _ => None,
        };
        insert.columns.iter().map(column).collect()
    }

    fn merge(&mut self, parsed: &Parsed, merge: &Merge) -> &'static str {
        let target = self.target(&merge.table);
        for clause in &merge.clauses {
            let action = match &clause.action {
                MergeAction::Insert(_) => Action::Insert,
                MergeAction::Update(_) => Action::Update,
                MergeAction::Delete { .. } => Action::Delete,
                MergeAction::DoNothing { .. } => continue,
            };
            self.access(action, target.clone());
        }
        self.reads("MERGE", parsed, &[])
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the callers pass these kinds only; any other is opaque")]
    fn maintenance(&mut self, parsed: &Parsed) -> &'static str {
        let table = match parsed {
            Parsed::Analyze(analyze) => analyze.table_name.as_ref(),
            Parsed::Msck(msck) => Some(&msck.table_name),
            Parsed::OptimizeTable { name, .. } | Parsed::UNCache { table_name: name, .. } => Some(name),
            Parsed::Vacuum(vacuum) => vacuum.table_name.as_ref(),
            _ => None,
        };
        match table {
            Some(table) => {
                self.relation(Action::Maintain, table);
                self.reads("MAINTAIN", parsed, &[table])
            }
            None => self.class("MAINTAIN", OpaqueClass::System),
        }
    }

    fn reads(&mut self, verb: &'static str, parsed: &Parsed, targets: &[&ObjectName]) -> &'static str {
        walk(self.vendor, parsed, targets, &mut self.found);
        verb
    }

    /// The relation that an `UPDATE`, `DELETE` or `MERGE` changes.
    fn target(&self, factor: &TableFactor) -> Option<Object> {
        if let TableFactor::Table { name, args: None, .. } = factor { self.named(ObjectKind::Relation, name) } else { None }
    }

    fn each(&mut self, action: Action, names: &[&ObjectName]) {
        names.iter().for_each(|name| self.relation(action, name));
    }

    fn relation(&mut self, action: Action, name: &ObjectName) {
        self.object(action, ObjectKind::Relation, name);
    }

    fn object(&mut self, action: Action, kind: ObjectKind, name: &ObjectName) {
        let object = self.named(kind, name);
        self.access(action, object);
    }

    fn named(&self, kind: ObjectKind, name: &ObjectName) -> Option<Object> {
        match (kind, name::named(self.vendor, name)) {
            (ObjectKind::Relation, Named::Location(_) | Named::Wildcard(_) | Named::Unknown) => None,
            _ => name::object(self.vendor, kind, name),
        }
    }

    fn access(&mut self, action: Action, object: Option<Object>) {
        self.found.access(action, object);
    }

    fn opaque(&mut self, detail: &str) {
        self.found.opaque(OpaqueClass::Unsupported, detail);
    }

    fn class(&mut self, verb: &'static str, class: OpaqueClass) -> &'static str {
        self.found.opaque(class, verb);
        verb
    }
}
