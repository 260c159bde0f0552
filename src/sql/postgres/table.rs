//! The parts of table definitions: columns, constraints, partitions.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, Constraint, CreateStmt, IndexElem, IndexStmt, ObjectType, PartitionBoundSpec,
};

use super::name;
use super::walk::{Scope, Walk};
use crate::sql::{Action, Object, ObjectKind, OpaqueClass};

impl Walk {
    /// Walks `kind` if it is a part of a table definition.
    #[expect(clippy::wildcard_enum_match_arm, reason = "node kinds that are not listed here are not parts of tables")]
    pub(super) fn table_part(&mut self, kind: &NodeEnum, scope: Scope<'_>) -> bool {
        use NodeEnum as N;
        match kind {
            N::ColumnDef(column) => self.column(column, scope),
            N::Constraint(constraint) => self.constraint(constraint, scope),
            N::IndexElem(element) => self.index_element(element, scope),
            N::PartitionElem(element) => self.maybe(element.expr.as_deref(), scope),
            N::PartitionSpec(spec) => self.nodes(&spec.part_params, scope),
            N::PartitionBoundSpec(bound) => self.partition_bound(Some(bound), scope),
            N::PartitionRangeDatum(datum) => self.maybe(datum.value.as_deref(), scope),
            N::StatsElem(element) => self.maybe(element.expr.as_deref(), scope),
            // The new table copies the definition of the other one.
            N::TableLikeClause(like) => {
                if let Some(relation) = &like.relation {
                    self.access(Action::Select, name::existing(relation));
                }
            }
            N::PartitionCmd(command) => {
                if let Some(relation) = &command.name {
                    self.access(Action::Alter, name::existing(relation));
                }
                self.partition_bound(command.bound.as_ref(), scope);
            }
            N::ReplicaIdentityStmt(_) | N::AtalterConstraint(_) => {}
            _ => return false,
        }
        true
    }

    pub(super) fn create_table(&mut self, create: &CreateStmt) {
        let scope = Scope::TOP;
        if let Some(relation) = &create.relation {
            self.access(Action::Create, name::made(relation));
        }
        // The rows of the new table become rows of its parents.
        for parent in &create.inh_relations {
            if let Some(NodeEnum::RangeVar(parent)) = &parent.node {
                self.access(Action::Alter, name::existing(parent));
            }
        }
        for list in [&create.table_elts, &create.constraints, &create.nnconstraints, &create.options] {
            self.nodes(list, scope);
        }
        self.partition_bound(create.partbound.as_ref(), scope);
        if let Some(spec) = &create.partspec {
            self.nodes(&spec.part_params, scope);
        }
    }

    pub(super) fn create_index(&mut self, index: &IndexStmt) {
        let scope = Scope::TOP;
        if let Some(relation) = &index.relation {
            let table = name::existing(relation);
            if !index.idxname.is_empty() {
                self.access(Action::Create, Object { name: index.idxname.clone(), ..table.clone() });
            }
            self.access(Action::Alter, table);
        }
        for list in [&index.index_params, &index.index_including_params, &index.options] {
            self.nodes(list, scope);
        }
        self.maybe(index.where_clause.as_deref(), scope);
    }

    pub(super) fn alter_table(&mut self, alter: &AlterTableStmt) {
        let kind = if alter.objtype() == ObjectType::ObjectType { ObjectKind::Type } else { ObjectKind::Relation };
        self.access_or_opaque(Action::Alter, alter.relation.as_ref().map(|relation| Object { kind, ..name::existing(relation) }));
        for command in &alter.cmds {
            match &command.node {
                Some(NodeEnum::AlterTableCmd(command)) => self.alter_table_command(command),
                _ => self.opaque(OpaqueClass::Unsupported, "an unknown form of ALTER TABLE"),
            }
        }
    }

    fn alter_table_command(&mut self, command: &AlterTableCmd) {
        use AlterTableType as A;
        match command.subtype() {
            A::AtAddColumn | A::AtColumnDefault | A::AtDropNotNull | A::AtSetNotNull | A::AtSetExpression | A::AtDropExpression => {}
            A::AtSetStatistics | A::AtSetOptions | A::AtResetOptions | A::AtSetStorage | A::AtSetCompression | A::AtDropColumn => {}
            A::AtAddIndex | A::AtAddConstraint | A::AtAlterConstraint | A::AtValidateConstraint | A::AtAddIndexConstraint => {}
            A::AtDropConstraint | A::AtAlterColumnType | A::AtClusterOn | A::AtDropCluster | A::AtSetLogged | A::AtSetUnLogged => {}
            A::AtDropOids | A::AtSetAccessMethod | A::AtSetTableSpace | A::AtSetRelOptions | A::AtResetRelOptions => {}
            A::AtReplicaIdentity | A::AtAttachPartition | A::AtDetachPartition | A::AtDetachPartitionFinalize => {}
            A::AtAddIdentity | A::AtSetIdentity | A::AtDropIdentity | A::AtAddOf | A::AtDropOf => {}
            A::AtAddInherit | A::AtDropInherit => {
                if let Some(NodeEnum::RangeVar(parent)) = command.def.as_ref().and_then(|def| def.node.as_ref()) {
                    return self.access(Action::Alter, name::existing(parent));
                }
            }
            A::AtEnableTrig | A::AtEnableAlwaysTrig | A::AtEnableReplicaTrig | A::AtDisableTrig | A::AtEnableTrigAll => {
                self.opaque(OpaqueClass::RoutineDefinition, "triggers are enabled or disabled");
            }
            A::AtDisableTrigAll | A::AtEnableTrigUser | A::AtDisableTrigUser => {
                self.opaque(OpaqueClass::RoutineDefinition, "triggers are enabled or disabled");
            }
            A::AtEnableRule | A::AtEnableAlwaysRule | A::AtEnableReplicaRule | A::AtDisableRule => {
                self.opaque(OpaqueClass::RoutineDefinition, "rules are enabled or disabled");
            }
            A::AtChangeOwner => self.opaque(OpaqueClass::Authorization, "ALTER ... OWNER TO"),
            A::AtEnableRowSecurity | A::AtDisableRowSecurity | A::AtForceRowSecurity | A::AtNoForceRowSecurity => {
                self.opaque(OpaqueClass::Authorization, "row security is enabled or disabled");
            }
            A::AtAlterColumnGenericOptions | A::AtGenericOptions => self.opaque(OpaqueClass::ForeignData, "options of a foreign table"),
            // Made inside the server only; a parser that gives one is not the one we know.
            A::Undefined | A::AtAddColumnToView | A::AtCookedColumnDefault | A::AtReAddIndex | A::AtReAddConstraint => {
                self.opaque(OpaqueClass::Unsupported, "an unknown form of ALTER TABLE");
            }
            A::AtReAddDomainConstraint | A::AtReAddComment | A::AtReplaceRelOptions | A::AtReAddStatistics => {
                self.opaque(OpaqueClass::Unsupported, "an unknown form of ALTER TABLE");
            }
        }
        self.maybe(command.def.as_deref(), Scope::TOP);
    }

    fn column(&mut self, column: &ColumnDef, scope: Scope<'_>) {
        self.type_name(column.type_name.as_ref(), scope);
        self.maybe(column.raw_default.as_deref(), scope);
        self.nodes(&column.constraints, scope);
        self.nodes(&column.fdwoptions, scope);
    }

    fn constraint(&mut self, constraint: &Constraint, scope: Scope<'_>) {
        self.maybe(constraint.raw_expr.as_deref(), scope);
        self.maybe(constraint.where_clause.as_deref(), scope);
        self.nodes(&constraint.options, scope);
        self.nodes(&constraint.exclusions, scope);
        // Whoever may refer to a table can find out which keys it has.
        if let Some(relation) = &constraint.pktable {
            self.access(Action::Select, name::existing(relation));
        }
    }

    fn index_element(&mut self, element: &IndexElem, scope: Scope<'_>) {
        self.maybe(element.expr.as_deref(), scope);
        self.nodes(&element.opclassopts, scope);
    }

    fn partition_bound(&mut self, bound: Option<&PartitionBoundSpec>, scope: Scope<'_>) {
        let Some(bound) = bound else { return };
        for list in [&bound.listdatums, &bound.lowerdatums, &bound.upperdatums] {
            self.nodes(list, scope);
        }
    }
}
