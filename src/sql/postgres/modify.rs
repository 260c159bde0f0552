//! Statements that change rows: `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `COPY`, `TRUNCATE`.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CmdType, CopyStmt, DeleteStmt, DropBehavior, InsertStmt, MergeStmt, MergeWhenClause, Node, OnConflictClause, RangeVar, ReturningClause,
    TruncateStmt, UpdateStmt,
};

use super::name;
use super::query::names;
use super::walk::{Scope, Walk};
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

// The target of a statement is always a relation: common table expressions do not shadow it.

impl Walk {
    pub(super) fn insert(&mut self, insert: &InsertStmt, scope: Scope<'_>) {
        let names = names(insert.with_clause.as_ref());
        self.with(insert.with_clause.as_ref(), &names, scope);
        let scope = scope.with(&names, names.len());
        let Some(target) = self.target(insert.relation.as_ref()) else { return };
        self.write(Action::Insert, target.clone(), name::columns(&insert.cols));
        self.nodes(&insert.cols, scope);
        self.maybe(insert.select_stmt.as_deref(), scope);
        if let Some(conflict) = &insert.on_conflict_clause {
            self.on_conflict(conflict, &target, scope);
        }
        self.returning(insert.returning_clause.as_ref(), &target, scope);
    }

    fn on_conflict(&mut self, conflict: &OnConflictClause, target: &Object, scope: Scope<'_>) {
        self.access(Action::Select, target.clone());
        if let Some(infer) = &conflict.infer {
            self.nodes(&infer.index_elems, scope);
            self.maybe(infer.where_clause.as_deref(), scope);
        }
        if !conflict.target_list.is_empty() {
            self.write(Action::Update, target.clone(), name::columns(&conflict.target_list));
        }
        self.nodes(&conflict.target_list, scope);
        self.maybe(conflict.where_clause.as_deref(), scope);
    }

    pub(super) fn update(&mut self, update: &UpdateStmt, scope: Scope<'_>) {
        let names = names(update.with_clause.as_ref());
        self.with(update.with_clause.as_ref(), &names, scope);
        let scope = scope.with(&names, names.len());
        let Some(target) = self.target(update.relation.as_ref()) else { return };
        self.write(Action::Update, target.clone(), name::columns(&update.target_list));
        let blind = update.where_clause.is_none() && update.from_clause.is_empty() && update.target_list.iter().all(is_given);
        if !blind {
            self.access(Action::Select, target.clone());
        }
        self.nodes(&update.from_clause, scope);
        self.nodes(&update.target_list, scope);
        self.maybe(update.where_clause.as_deref(), scope);
        self.returning(update.returning_clause.as_ref(), &target, scope);
    }

    pub(super) fn delete(&mut self, delete: &DeleteStmt, scope: Scope<'_>) {
        let names = names(delete.with_clause.as_ref());
        self.with(delete.with_clause.as_ref(), &names, scope);
        let scope = scope.with(&names, names.len());
        let Some(target) = self.target(delete.relation.as_ref()) else { return };
        self.write(Action::Delete, target.clone(), Vec::new());
        if delete.where_clause.is_some() || !delete.using_clause.is_empty() {
            self.access(Action::Select, target.clone());
        }
        self.nodes(&delete.using_clause, scope);
        self.maybe(delete.where_clause.as_deref(), scope);
        self.returning(delete.returning_clause.as_ref(), &target, scope);
    }

    pub(super) fn merge(&mut self, merge: &MergeStmt, scope: Scope<'_>) {
        let names = names(merge.with_clause.as_ref());
        self.with(merge.with_clause.as_ref(), &names, scope);
        let scope = scope.with(&names, names.len());
        let Some(target) = self.target(merge.relation.as_ref()) else { return };
        self.access(Action::Select, target.clone());
        self.maybe(merge.source_relation.as_deref(), scope);
        self.maybe(merge.join_condition.as_deref(), scope);
        let mut changes = false;
        for clause in &merge.merge_when_clauses {
            match &clause.node {
                Some(NodeEnum::MergeWhenClause(clause)) => {
                    changes |= clause.command_type() != CmdType::CmdNothing;
                    self.merge_when(clause, &target, scope);
                }
                _ => self.opaque(OpaqueClass::Unsupported, "an unknown clause of MERGE"),
            }
        }
        if !changes {
            // The server locks the target as for a change all the same.
            self.access(Action::Lock, target.clone());
        }
        self.returning(merge.returning_clause.as_ref(), &target, scope);
    }

    fn merge_when(&mut self, clause: &MergeWhenClause, target: &Object, scope: Scope<'_>) {
        let columns = name::columns(&clause.target_list);
        match clause.command_type() {
            CmdType::CmdInsert => self.write(Action::Insert, target.clone(), columns),
            CmdType::CmdUpdate => self.write(Action::Update, target.clone(), columns),
            CmdType::CmdDelete => self.write(Action::Delete, target.clone(), Vec::new()),
            CmdType::CmdNothing => {}
            CmdType::Undefined | CmdType::CmdUnknown | CmdType::CmdSelect | CmdType::CmdMerge | CmdType::CmdUtility => {
                self.opaque(OpaqueClass::Unsupported, "an unknown clause of MERGE");
            }
        }
        self.maybe(clause.condition.as_deref(), scope);
        self.nodes(&clause.target_list, scope);
        self.nodes(&clause.values, scope);
    }

    pub(super) fn copy(&mut self, copy: &CopyStmt) {
        let scope = Scope::TOP;
        if copy.is_program {
            self.opaque(OpaqueClass::CopyProgram, "COPY ... PROGRAM");
        } else if !copy.filename.is_empty() {
            self.opaque(OpaqueClass::CopyFile, "COPY with a file of the server");
        }
        if let Some(relation) = &copy.relation {
            let columns = copy.attlist.iter().filter_map(name::string).map(str::to_owned).collect();
            let action = if copy.is_from { Action::Insert } else { Action::Select };
            self.write(action, name::existing(relation), columns);
        }
        self.maybe(copy.query.as_deref(), scope);
        self.maybe(copy.where_clause.as_deref(), scope);
        self.nodes(&copy.options, scope);
    }

    pub(super) fn truncate(&mut self, truncate: &TruncateStmt) {
        self.each_relation(Action::Truncate, &truncate.relations);
        if truncate.behavior() == DropBehavior::DropCascade {
            self.opaque(OpaqueClass::Unsupported, "TRUNCATE ... CASCADE, which empties tables that it does not name");
        }
    }

    pub(super) fn each_relation(&mut self, action: Action, relations: &[Node]) {
        for node in relations {
            let relation = match &node.node {
                Some(NodeEnum::RangeVar(relation)) => Some(name::existing(relation)),
                _ => None,
            };
            self.access_or_opaque(action, relation);
        }
    }

    /// `RETURNING` reads the rows that were written.
    fn returning(&mut self, clause: Option<&ReturningClause>, target: &Object, scope: Scope<'_>) {
        if let Some(clause) = clause {
            self.access(Action::Select, target.clone());
            self.nodes(&clause.exprs, scope);
        }
    }

    fn write(&mut self, action: Action, object: Object, columns: Vec<String>) {
        // The rules of this view turn an update into a call of set_config.
        if action == Action::Update && object.schema.as_deref() == Some("pg_catalog") && object.name == "pg_settings" {
            let schema = object.schema.clone();
            let function = Object { kind: ObjectKind::Function, database: None, schema, name: "set_config".to_owned() };
            self.called(function);
        }
        self.effect(Effect::Access { action, object, columns });
    }

    fn target(&mut self, relation: Option<&RangeVar>) -> Option<Object> {
        if relation.is_none() {
            self.opaque(OpaqueClass::Unsupported, "a statement without a target");
        }
        relation.map(name::existing)
    }
}

/// Is the new value of a column in the statement itself, so that no row is read for it?
fn is_given(target: &Node) -> bool {
    let Some(NodeEnum::ResTarget(target)) = &target.node else { return false };
    let value = target.val.as_ref().and_then(|value| value.node.as_ref());
    target.indirection.is_empty() && matches!(value, Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SetToDefault(_)))
}
