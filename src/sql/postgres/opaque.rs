//! Statements whose effects cannot be seen from the text, or are not worked out here.

use pg_query::NodeEnum;
use pg_query::protobuf::{ObjectType, RangeVar};

use super::walk::{Scope, Walk};
use super::{name, verb};
use crate::sql::{Action, OpaqueClass};

impl Walk {
    /// Judges a statement that is none of the others.
    pub(super) fn opaque_statement(&mut self, kind: &NodeEnum) {
        let class = class(kind);
        let says_all = matches!(class, OpaqueClass::Do | OpaqueClass::Call);
        self.opaque(class, if says_all { "" } else { verb::of(kind) });
        self.search_path_unknown();
        // What is known of it is said all the same, for deny rules and records.
        if let Some(relation) = relation(kind) {
            self.access(Action::Alter, name::existing(relation));
        }
        if let NodeEnum::CreateForeignTableStmt(s) = kind
            && let Some(table) = &s.base_stmt
        {
            self.create_table(table);
        }
        if let NodeEnum::CallStmt(s) = kind
            && let Some(call) = &s.funccall
        {
            self.function(&call.funcname);
            self.nodes(&call.args, Scope::TOP);
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is not supported")]
fn class(kind: &NodeEnum) -> OpaqueClass {
    use NodeEnum as N;
    match kind {
        N::DoStmt(_) => OpaqueClass::Do,
        N::CallStmt(_) => OpaqueClass::Call,
        N::CreateFunctionStmt(_) | N::AlterFunctionStmt(_) | N::CreateTrigStmt(_) | N::RuleStmt(_) => OpaqueClass::RoutineDefinition,
        N::CreateEventTrigStmt(_) | N::AlterEventTrigStmt(_) | N::CreatePlangStmt(_) => OpaqueClass::RoutineDefinition,
        N::DefineStmt(_) | N::CreateRangeStmt(_) | N::AlterTypeStmt(_) | N::AlterOperatorStmt(_) => OpaqueClass::RoutineDefinition,
        N::CreateOpClassStmt(_) | N::CreateOpFamilyStmt(_) | N::AlterOpFamilyStmt(_) => OpaqueClass::RoutineDefinition,
        N::CreateCastStmt(_) | N::CreateTransformStmt(_) | N::CreateConversionStmt(_) => OpaqueClass::RoutineDefinition,
        N::CreateAmStmt(_) | N::AlterObjectDependsStmt(_) => OpaqueClass::RoutineDefinition,
        N::CreateExtensionStmt(_) | N::AlterExtensionStmt(_) | N::AlterExtensionContentsStmt(_) | N::LoadStmt(_) => OpaqueClass::System,
        N::AlterSystemStmt(_) | N::AlterDatabaseSetStmt(_) | N::AlterDatabaseRefreshCollStmt(_) => OpaqueClass::System,
        N::CheckPointStmt(_) | N::CreateTableSpaceStmt(_) | N::DropTableSpaceStmt(_) => OpaqueClass::System,
        N::AlterTableSpaceOptionsStmt(_) | N::AlterTableMoveAllStmt(_) => OpaqueClass::System,
        N::CreatePublicationStmt(_) | N::AlterPublicationStmt(_) => OpaqueClass::System,
        N::CreateSubscriptionStmt(_) | N::AlterSubscriptionStmt(_) | N::DropSubscriptionStmt(_) => OpaqueClass::System,
        N::CreateFdwStmt(_) | N::AlterFdwStmt(_) | N::CreateForeignServerStmt(_) | N::AlterForeignServerStmt(_) => OpaqueClass::ForeignData,
        N::CreateForeignTableStmt(_) | N::ImportForeignSchemaStmt(_) => OpaqueClass::ForeignData,
        N::CreateUserMappingStmt(_) | N::AlterUserMappingStmt(_) | N::DropUserMappingStmt(_) => OpaqueClass::ForeignData,
        N::GrantRoleStmt(_) | N::AlterDefaultPrivilegesStmt(_) | N::CreateRoleStmt(_) | N::AlterRoleStmt(_) => OpaqueClass::Authorization,
        N::AlterRoleSetStmt(_) | N::DropRoleStmt(_) | N::DropOwnedStmt(_) | N::ReassignOwnedStmt(_) => OpaqueClass::Authorization,
        N::AlterOwnerStmt(_) | N::CreatePolicyStmt(_) | N::AlterPolicyStmt(_) | N::SecLabelStmt(_) => OpaqueClass::Authorization,
        _ => OpaqueClass::Unsupported,
    }
}

/// The class of an object that is dropped, renamed, moved or commented on.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is not supported")]
pub(super) fn class_of_object(kind: ObjectType) -> OpaqueClass {
    use ObjectType as O;
    match kind {
        O::ObjectAggregate | O::ObjectFunction | O::ObjectProcedure | O::ObjectRoutine | O::ObjectTrigger | O::ObjectRule => {
            OpaqueClass::RoutineDefinition
        }
        O::ObjectCast | O::ObjectOperator | O::ObjectOpclass | O::ObjectOpfamily | O::ObjectEventTrigger | O::ObjectLanguage => {
            OpaqueClass::RoutineDefinition
        }
        O::ObjectTransform | O::ObjectConversion | O::ObjectAccessMethod => OpaqueClass::RoutineDefinition,
        O::ObjectExtension | O::ObjectPublication | O::ObjectSubscription | O::ObjectTablespace => OpaqueClass::System,
        O::ObjectFdw | O::ObjectForeignServer | O::ObjectUserMapping => OpaqueClass::ForeignData,
        O::ObjectRole | O::ObjectPolicy => OpaqueClass::Authorization,
        _ => OpaqueClass::Unsupported,
    }
}

/// The relation that a statement is about.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds are not about one relation")]
fn relation(kind: &NodeEnum) -> Option<&RangeVar> {
    use NodeEnum as N;
    match kind {
        N::CreateTrigStmt(s) => s.relation.as_ref(),
        N::RuleStmt(s) => s.relation.as_ref(),
        N::CreatePolicyStmt(s) => s.table.as_ref(),
        N::AlterPolicyStmt(s) => s.table.as_ref(),
        N::AlterOwnerStmt(s) => s.relation.as_ref(),
        _ => None,
    }
}
