//! Statements that make, change or remove objects.

use sqlparser::ast::{
    AlterTableOperation, CommentObject, CreateTable, CreateTableLikeKind, CreateTableOptions, Expr, Grant, GrantObjects, ObjectName,
    ObjectType, RenameTableNameKind, SchemaName, SqlOption, Statement as Parsed, TableVersion,
};

use super::Reader;
use crate::sql::dialect::query::walk_with_locations;
use crate::sql::{Action, Object, ObjectKind, OpaqueClass};

impl Reader<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    pub(super) fn definition(&mut self, parsed: &Parsed) -> &'static str {
        use Parsed as S;
        match parsed {
            S::CreateTable(create) => self.create_table(parsed, create),
            S::CreateView(create) => {
                self.relation(Action::Create, &create.name);
                if let Some(to) = &create.to {
                    self.relation(Action::Insert, to);
                }
                self.reads("CREATE VIEW", parsed, &[&create.name])
            }
            S::AlterView { name, .. } => {
                self.relation(Action::Alter, name);
                self.reads("ALTER VIEW", parsed, &[name])
            }
            S::AlterTable(alter) => {
                self.relation(Action::Alter, &alter.name);
                alter.operations.iter().for_each(|operation| self.alter_table(&alter.name, operation));
                if alter.location.is_some() {
                    self.class("ALTER TABLE", OpaqueClass::ForeignData);
                }
                walk_with_locations(self.vendor, parsed, &[&alter.name], Some(Action::Import), &mut self.found);
                "ALTER TABLE"
            }
            S::Drop { object_type, names, table, .. } => self.drop(*object_type, names, table.as_ref()),
            S::CreateSchema { schema_name: SchemaName::Simple(name), clone, .. } => {
                self.object(Action::Create, ObjectKind::Schema, name);
                self.copied(ObjectKind::Schema, clone.as_ref());
                walk_with_locations(self.vendor, parsed, &[], Some(Action::Import), &mut self.found);
                "CREATE SCHEMA"
            }
            S::CreateDatabase { db_name, clone, location: None, managed_location: None, external_volume: None, catalog: None, .. } => {
                self.object(Action::Create, ObjectKind::Database, db_name);
                self.copied(ObjectKind::Database, clone.as_ref());
                "CREATE DATABASE"
            }
            S::Comment {
                object_type: CommentObject::Table | CommentObject::View | CommentObject::MaterializedView, object_name, ..
            } => {
                self.relation(Action::Alter, object_name);
                "COMMENT"
            }
            S::Grant(Grant { objects: Some(GrantObjects::Tables(tables)), .. }) => {
                tables.iter().for_each(|table| self.relation(Action::Grant, table));
                "GRANT"
            }
            S::RenameTable(renamed) => {
                for pair in renamed {
                    self.relation(Action::Alter, &pair.old_name);
                    self.relation(Action::Create, &pair.new_name);
                }
                "RENAME TABLE"
            }
            S::Prepare { statement, .. } => {
                self.statement(statement);
                "PREPARE"
            }
            other => match class(other) {
                Some((verb, class)) => self.class(verb, class),
                None => {
                    self.opaque("a statement of an unknown kind");
                    "UNKNOWN"
                }
            },
        }
    }

    fn create_table(&mut self, parsed: &Parsed, create: &CreateTable) -> &'static str {
        self.relation(Action::Create, &create.name);
        if create.or_replace {
            self.relation(Action::Drop, &create.name);
        }
        self.copied(ObjectKind::Relation, create.clone.as_ref());
        if let Some(CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like)) = &create.like {
            self.relation(Action::Select, &like.name);
        }
        let hive = create.hive_formats.as_ref().and_then(|formats| formats.location.as_ref());
        for location in create.location.iter().chain(hive) {
            self.found.location(Action::Import, location);
            self.found.location(Action::Export, location);
        }
        let is_elsewhere = !self.keeps_its_data(&create.table_options)
            || create.iceberg
            || create.snapshot
            || create.external && create.location.is_none() && hive.is_none();
        if is_elsewhere || create.inherits.is_some() || create.partition_of.is_some() || create.on_cluster.is_some() {
            self.class("CREATE TABLE", OpaqueClass::ForeignData);
        }
        let mut targets = vec![&create.name];
        // Snowflake writes time travel like a call.
        if let Some(TableVersion::Function(Expr::Function(travel))) = &create.version {
            targets.push(&travel.name);
        }
        walk_with_locations(self.vendor, parsed, &targets, Some(Action::Export), &mut self.found);
        if create.query.is_some() { "CREATE TABLE AS" } else { "CREATE TABLE" }
    }

    /// ClickHouse: engines that are not on this list keep their data with somebody else, or read files and queues.
    fn keeps_its_data(&self, options: &CreateTableOptions) -> bool {
        const ENGINES: &[&str] = &["Join", "Log", "Memory", "Null", "Set", "StripeLog", "TinyLog"];
        let CreateTableOptions::Plain(options) = options else { return true };
        options.iter().all(|option| match option {
            SqlOption::NamedParenthesizedList(list) if list.key.value.eq_ignore_ascii_case("engine") => {
                list.name.as_ref().is_some_and(|name| name.value.ends_with("MergeTree") || ENGINES.contains(&name.value.as_str()))
            }
            SqlOption::Clustered(_) | SqlOption::Ident(_) | SqlOption::KeyValue { .. } | SqlOption::Partition { .. } => true,
            SqlOption::Comment(_) | SqlOption::TableSpace(_) | SqlOption::NamedParenthesizedList(_) => true,
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    fn alter_table(&mut self, table: &ObjectName, operation: &AlterTableOperation) {
        use AlterTableOperation as O;
        match operation {
            O::AddColumn { .. } | O::DropColumn { .. } | O::RenameColumn { .. } | O::AlterColumn { .. } | O::ModifyColumn { .. } => {}
            O::ChangeColumn { .. } | O::AddConstraint { .. } | O::DropConstraint { .. } | O::DropPrimaryKey { .. } => {}
            O::RenameConstraint { .. } | O::ClusterBy { .. } | O::DropClusteringKey | O::SuspendRecluster | O::ResumeRecluster => {}
            O::SetTblProperties { .. } | O::SetOptionsParens { .. } | O::DropPartitions { .. } | O::AddPartitions { .. } => {}
            O::RenameTable { table_name: RenameTableNameKind::To(new) | RenameTableNameKind::As(new) } => {
                let (old, new) = (self.named(ObjectKind::Relation, table), self.named(ObjectKind::Relation, new));
                // A new name without a schema stays in the old one's.
                let new = old.zip(new).map(|(old, new)| match new.schema {
                    Some(_) => Object { database: new.database.or(old.database), ..new },
                    None => Object { name: new.name, ..old },
                });
                self.access(Action::Create, new);
            }
            // Each gets what the other had.
            O::SwapWith { table_name } => self.relation(Action::Alter, table_name),
            O::OwnerTo { .. } => {
                self.class("ALTER TABLE", OpaqueClass::Authorization);
            }
            _ => self.opaque("a form of ALTER TABLE that is not known"),
        }
    }

    fn drop(&mut self, kind: ObjectType, names: &[ObjectName], table: Option<&ObjectName>) -> &'static str {
        let kind = match kind {
            ObjectType::Table | ObjectType::View | ObjectType::MaterializedView | ObjectType::Sequence => ObjectKind::Relation,
            ObjectType::Schema => ObjectKind::Schema,
            ObjectType::Database => ObjectKind::Database,
            ObjectType::Type => ObjectKind::Type,
            ObjectType::Role | ObjectType::User => return self.class("DROP ROLE", OpaqueClass::Authorization),
            ObjectType::Collation | ObjectType::Index | ObjectType::Stage | ObjectType::Stream | ObjectType::Warehouse => {
                self.opaque("DROP of an object of this kind");
                return "DROP";
            }
        };
        if table.is_some() {
            self.opaque("DROP of a part of a table");
        }
        names.iter().for_each(|name| self.object(Action::Drop, kind, name));
        "DROP"
    }

    fn copied(&mut self, kind: ObjectKind, source: Option<&ObjectName>) {
        if let Some(source) = source {
            self.object(Action::Select, kind, source);
        }
    }
}

/// Verb and class of what is opaque as a whole.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque all the same")]
fn class(parsed: &Parsed) -> Option<(&'static str, OpaqueClass)> {
    use Parsed as S;
    Some(match parsed {
        S::CreateFunction(_) | S::DropFunction(_) | S::AlterFunction(_) => ("CREATE FUNCTION", OpaqueClass::RoutineDefinition),
        S::CreateProcedure { .. } | S::DropProcedure { .. } => ("CREATE PROCEDURE", OpaqueClass::RoutineDefinition),
        S::CreateTrigger(_) | S::DropTrigger(_) | S::CreateMacro { .. } => ("CREATE TRIGGER", OpaqueClass::RoutineDefinition),
        S::CreateStage { .. } => ("CREATE STAGE", OpaqueClass::ForeignData),
        S::CreateServer(_) | S::CreateConnector(_) | S::CreateSecret { .. } => ("CREATE SERVER", OpaqueClass::ForeignData),
        S::Grant(_) => ("GRANT", OpaqueClass::Authorization),
        S::Revoke(_) | S::Deny(_) => ("REVOKE", OpaqueClass::Authorization),
        S::CreateRole(_) | S::CreateUser(_) | S::AlterRole { .. } | S::AlterUser(_) => ("CREATE ROLE", OpaqueClass::Authorization),
        S::CreatePolicy(_) | S::AlterPolicy(_) | S::DropPolicy(_) => ("CREATE POLICY", OpaqueClass::Authorization),
        S::If(_) | S::While(_) | S::Case(_) | S::Raise(_) | S::Declare { .. } | S::Open(_) | S::Fetch { .. } | S::Close { .. } => {
            ("SCRIPT", OpaqueClass::Script)
        }
        _ => return None,
    })
}
