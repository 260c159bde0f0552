//! The kind of a statement, in the words of PostgreSQL's command tags.

use pg_query::NodeEnum;
use pg_query::protobuf::{ObjectType, TransactionStmt, TransactionStmtKind, VariableSetKind};

/// The verb of a statement; `UNKNOWN` for a node that is no statement we know.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds are definitions, or unknown")]
pub(super) fn of(kind: &NodeEnum) -> &'static str {
    use NodeEnum as N;
    match kind {
        N::SelectStmt(s) if s.into_clause.is_some() => "SELECT INTO",
        N::SelectStmt(_) => "SELECT",
        N::InsertStmt(_) => "INSERT",
        N::UpdateStmt(_) => "UPDATE",
        N::DeleteStmt(_) => "DELETE",
        N::MergeStmt(_) => "MERGE",
        N::CopyStmt(_) => "COPY",
        N::TruncateStmt(_) => "TRUNCATE TABLE",
        N::LockStmt(_) => "LOCK TABLE",
        N::TransactionStmt(s) => of_transaction(s),
        N::FetchStmt(s) if s.ismove => "MOVE",
        N::FetchStmt(_) => "FETCH",
        N::ClosePortalStmt(_) => "CLOSE CURSOR",
        N::DeclareCursorStmt(_) => "DECLARE CURSOR",
        N::ExplainStmt(_) => "EXPLAIN",
        N::PrepareStmt(_) => "PREPARE",
        N::ExecuteStmt(_) => "EXECUTE",
        N::DeallocateStmt(_) => "DEALLOCATE",
        N::ConstraintsSetStmt(_) => "SET CONSTRAINTS",
        N::VariableShowStmt(_) => "SHOW",
        N::VariableSetStmt(s) if matches!(s.kind(), VariableSetKind::VarReset | VariableSetKind::VarResetAll) => "RESET",
        N::VariableSetStmt(_) => "SET",
        N::DiscardStmt(_) => "DISCARD",
        N::CallStmt(_) => "CALL",
        N::DoStmt(_) => "DO",
        N::VacuumStmt(s) if s.is_vacuumcmd => "VACUUM",
        N::VacuumStmt(_) => "ANALYZE",
        N::ReindexStmt(_) => "REINDEX",
        N::ClusterStmt(_) => "CLUSTER",
        N::RefreshMatViewStmt(_) => "REFRESH MATERIALIZED VIEW",
        N::GrantStmt(s) if s.is_grant => "GRANT",
        N::GrantStmt(_) => "REVOKE",
        N::CommentStmt(_) => "COMMENT",
        N::NotifyStmt(_) => "NOTIFY",
        N::ListenStmt(_) => "LISTEN",
        N::UnlistenStmt(_) => "UNLISTEN",
        N::LoadStmt(_) => "LOAD",
        N::CheckPointStmt(_) => "CHECKPOINT",
        N::SecLabelStmt(_) => "SECURITY LABEL",
        N::ReassignOwnedStmt(_) => "REASSIGN OWNED",
        N::ImportForeignSchemaStmt(_) => "IMPORT FOREIGN SCHEMA",
        other => create(other).or_else(|| alter(other)).or_else(|| drop(other)).unwrap_or("UNKNOWN"),
    }
}

fn of_transaction(transaction: &TransactionStmt) -> &'static str {
    match transaction.kind() {
        TransactionStmtKind::TransStmtBegin => "BEGIN",
        TransactionStmtKind::TransStmtStart => "START TRANSACTION",
        TransactionStmtKind::TransStmtCommit => "COMMIT",
        TransactionStmtKind::TransStmtSavepoint => "SAVEPOINT",
        TransactionStmtKind::TransStmtRelease => "RELEASE",
        TransactionStmtKind::TransStmtRollback | TransactionStmtKind::TransStmtRollbackTo => "ROLLBACK",
        TransactionStmtKind::TransStmtPrepare => "PREPARE TRANSACTION",
        TransactionStmtKind::TransStmtCommitPrepared => "COMMIT PREPARED",
        TransactionStmtKind::TransStmtRollbackPrepared => "ROLLBACK PREPARED",
        TransactionStmtKind::Undefined => "UNKNOWN",
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds create nothing")]
fn create(kind: &NodeEnum) -> Option<&'static str> {
    use NodeEnum as N;
    let verb = match kind {
        N::CreateStmt(_) => "CREATE TABLE",
        N::CreateTableAsStmt(s) if s.objtype() == ObjectType::ObjectMatview => "CREATE MATERIALIZED VIEW",
        N::CreateTableAsStmt(_) => "CREATE TABLE AS",
        N::ViewStmt(_) => "CREATE VIEW",
        N::IndexStmt(_) => "CREATE INDEX",
        N::CreateSeqStmt(_) => "CREATE SEQUENCE",
        N::CreateSchemaStmt(_) => "CREATE SCHEMA",
        N::CreatedbStmt(_) => "CREATE DATABASE",
        N::CompositeTypeStmt(_) | N::CreateEnumStmt(_) | N::CreateRangeStmt(_) => "CREATE TYPE",
        N::CreateDomainStmt(_) => "CREATE DOMAIN",
        N::CreateStatsStmt(_) => "CREATE STATISTICS",
        N::CreateFunctionStmt(s) if s.is_procedure => "CREATE PROCEDURE",
        N::CreateFunctionStmt(_) => "CREATE FUNCTION",
        N::CreateTrigStmt(_) => "CREATE TRIGGER",
        N::RuleStmt(_) => "CREATE RULE",
        N::CreateEventTrigStmt(_) => "CREATE EVENT TRIGGER",
        N::CreatePlangStmt(_) => "CREATE LANGUAGE",
        // Aggregates, operators, base types, collations and text search objects.
        N::DefineStmt(_) => "CREATE",
        N::CreateOpClassStmt(_) => "CREATE OPERATOR CLASS",
        N::CreateOpFamilyStmt(_) => "CREATE OPERATOR FAMILY",
        N::CreateCastStmt(_) => "CREATE CAST",
        N::CreateTransformStmt(_) => "CREATE TRANSFORM",
        N::CreateConversionStmt(_) => "CREATE CONVERSION",
        N::CreateAmStmt(_) => "CREATE ACCESS METHOD",
        N::CreateExtensionStmt(_) => "CREATE EXTENSION",
        N::CreateTableSpaceStmt(_) => "CREATE TABLESPACE",
        N::CreatePublicationStmt(_) => "CREATE PUBLICATION",
        N::CreateSubscriptionStmt(_) => "CREATE SUBSCRIPTION",
        N::CreateFdwStmt(_) => "CREATE FOREIGN DATA WRAPPER",
        N::CreateForeignServerStmt(_) => "CREATE SERVER",
        N::CreateForeignTableStmt(_) => "CREATE FOREIGN TABLE",
        N::CreateUserMappingStmt(_) => "CREATE USER MAPPING",
        N::CreateRoleStmt(_) => "CREATE ROLE",
        N::GrantRoleStmt(s) if s.is_grant => "GRANT ROLE",
        N::GrantRoleStmt(_) => "REVOKE ROLE",
        N::CreatePolicyStmt(_) => "CREATE POLICY",
        _ => return None,
    };
    Some(verb)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds alter nothing")]
fn alter(kind: &NodeEnum) -> Option<&'static str> {
    use NodeEnum as N;
    let verb = match kind {
        N::AlterTableStmt(s) => of_altered(s.objtype()),
        N::RenameStmt(s) => of_altered(s.rename_type()),
        N::AlterObjectSchemaStmt(s) => of_altered(s.object_type()),
        N::AlterOwnerStmt(s) => of_altered(s.object_type()),
        N::AlterObjectDependsStmt(_) => "ALTER",
        N::AlterSeqStmt(_) => "ALTER SEQUENCE",
        N::AlterDatabaseStmt(_) | N::AlterDatabaseSetStmt(_) | N::AlterDatabaseRefreshCollStmt(_) => "ALTER DATABASE",
        N::AlterEnumStmt(_) | N::AlterTypeStmt(_) => "ALTER TYPE",
        N::AlterDomainStmt(_) => "ALTER DOMAIN",
        N::AlterStatsStmt(_) => "ALTER STATISTICS",
        N::AlterFunctionStmt(_) => "ALTER FUNCTION",
        N::AlterEventTrigStmt(_) => "ALTER EVENT TRIGGER",
        N::AlterOperatorStmt(_) => "ALTER OPERATOR",
        N::AlterOpFamilyStmt(_) => "ALTER OPERATOR FAMILY",
        N::AlterCollationStmt(_) => "ALTER COLLATION",
        N::AlterTsdictionaryStmt(_) => "ALTER TEXT SEARCH DICTIONARY",
        N::AlterTsconfigurationStmt(_) => "ALTER TEXT SEARCH CONFIGURATION",
        N::AlterExtensionStmt(_) | N::AlterExtensionContentsStmt(_) => "ALTER EXTENSION",
        N::AlterSystemStmt(_) => "ALTER SYSTEM",
        N::AlterTableSpaceOptionsStmt(_) => "ALTER TABLESPACE",
        N::AlterTableMoveAllStmt(_) => "ALTER TABLE ALL IN TABLESPACE",
        N::AlterPublicationStmt(_) => "ALTER PUBLICATION",
        N::AlterSubscriptionStmt(_) => "ALTER SUBSCRIPTION",
        N::AlterFdwStmt(_) => "ALTER FOREIGN DATA WRAPPER",
        N::AlterForeignServerStmt(_) => "ALTER SERVER",
        N::AlterUserMappingStmt(_) => "ALTER USER MAPPING",
        N::AlterDefaultPrivilegesStmt(_) => "ALTER DEFAULT PRIVILEGES",
        N::AlterRoleStmt(_) | N::AlterRoleSetStmt(_) => "ALTER ROLE",
        N::AlterPolicyStmt(_) => "ALTER POLICY",
        _ => return None,
    };
    Some(verb)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds drop nothing")]
fn drop(kind: &NodeEnum) -> Option<&'static str> {
    use NodeEnum as N;
    let verb = match kind {
        N::DropStmt(s) => of_dropped(s.remove_type()),
        N::DropdbStmt(_) => "DROP DATABASE",
        N::DropTableSpaceStmt(_) => "DROP TABLESPACE",
        N::DropSubscriptionStmt(_) => "DROP SUBSCRIPTION",
        N::DropUserMappingStmt(_) => "DROP USER MAPPING",
        N::DropRoleStmt(_) => "DROP ROLE",
        N::DropOwnedStmt(_) => "DROP OWNED",
        _ => return None,
    };
    Some(verb)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rarer kinds share one verb")]
fn of_altered(kind: ObjectType) -> &'static str {
    match kind {
        ObjectType::ObjectTable | ObjectType::ObjectColumn | ObjectType::ObjectTabconstraint => "ALTER TABLE",
        ObjectType::ObjectView => "ALTER VIEW",
        ObjectType::ObjectMatview => "ALTER MATERIALIZED VIEW",
        ObjectType::ObjectIndex => "ALTER INDEX",
        ObjectType::ObjectSequence => "ALTER SEQUENCE",
        ObjectType::ObjectForeignTable => "ALTER FOREIGN TABLE",
        ObjectType::ObjectSchema => "ALTER SCHEMA",
        ObjectType::ObjectDatabase => "ALTER DATABASE",
        ObjectType::ObjectType | ObjectType::ObjectAttribute => "ALTER TYPE",
        ObjectType::ObjectDomain | ObjectType::ObjectDomconstraint => "ALTER DOMAIN",
        _ => "ALTER",
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rarer kinds share one verb")]
fn of_dropped(kind: ObjectType) -> &'static str {
    match kind {
        ObjectType::ObjectTable => "DROP TABLE",
        ObjectType::ObjectView => "DROP VIEW",
        ObjectType::ObjectMatview => "DROP MATERIALIZED VIEW",
        ObjectType::ObjectIndex => "DROP INDEX",
        ObjectType::ObjectSequence => "DROP SEQUENCE",
        ObjectType::ObjectForeignTable => "DROP FOREIGN TABLE",
        ObjectType::ObjectSchema => "DROP SCHEMA",
        ObjectType::ObjectType => "DROP TYPE",
        ObjectType::ObjectDomain => "DROP DOMAIN",
        ObjectType::ObjectFunction => "DROP FUNCTION",
        ObjectType::ObjectProcedure => "DROP PROCEDURE",
        ObjectType::ObjectTrigger => "DROP TRIGGER",
        ObjectType::ObjectExtension => "DROP EXTENSION",
        _ => "DROP",
    }
}
