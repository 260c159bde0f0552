//! Expressions: whatever may stand where a value does, and the functions and queries inside.

use pg_query::NodeEnum;
use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{FuncCall, Node, TypeName, WindowDef};

use super::walk::{Scope, Walk};
use super::{catalog, name};
use crate::sql::{Effect, Object, ObjectKind, OpaqueClass, Signals};

/// What is not pure may do anything, also to the search path, unless it is known.
pub(super) fn may_change_search_path(function: &Object) -> bool {
    let built_in = function.schema.as_deref() == Some("pg_catalog") && catalog::is_impure(&function.name);
    !built_in || catalog::may_set_parameters(&function.name)
}

impl Walk {
    #[expect(clippy::wildcard_enum_match_arm, reason = "node kinds that are not listed here are clauses, or become opaque")]
    pub(super) fn expression(&mut self, kind: &NodeEnum, scope: Scope<'_>) {
        use NodeEnum as N;
        match kind {
            N::AConst(_) | N::Integer(_) | N::Float(_) | N::Boolean(_) | N::String(_) | N::BitString(_) => {}
            // `SqlvalueFunction` is `CURRENT_DATE`, `CURRENT_USER` and the like, which only tell.
            N::ParamRef(_) | N::AStar(_) | N::SetToDefault(_) | N::CurrentOfExpr(_) | N::SqlvalueFunction(_) | N::MergeSupportFunc(_) => {}
            N::ColumnRef(column) => self.fields(column.fields.get(1..).unwrap_or_default(), scope),
            N::AExpr(e) => {
                self.operator(&e.name);
                self.maybe(e.lexpr.as_deref(), scope);
                self.maybe(e.rexpr.as_deref(), scope);
            }
            N::BoolExpr(e) => self.nodes(&e.args, scope),
            N::NullTest(e) => self.maybe(e.arg.as_deref(), scope),
            N::BooleanTest(e) => self.maybe(e.arg.as_deref(), scope),
            // A literal cast to regclass, regproc and the like reveals that a name exists, and nothing of what it names.
            N::TypeCast(e) => {
                self.maybe(e.arg.as_deref(), scope);
                self.type_name(e.type_name.as_ref(), scope);
            }
            N::CollateClause(e) => self.maybe(e.arg.as_deref(), scope),
            N::SubLink(e) => {
                self.maybe(e.testexpr.as_deref(), scope);
                self.operator(&e.oper_name);
                self.maybe(e.subselect.as_deref(), scope);
            }
            N::FuncCall(call) => self.call(call, scope),
            N::AIndirection(e) => {
                self.maybe(e.arg.as_deref(), scope);
                self.fields(&e.indirection, scope);
            }
            N::AIndices(e) => {
                self.maybe(e.lidx.as_deref(), scope);
                self.maybe(e.uidx.as_deref(), scope);
            }
            N::AArrayExpr(e) => self.nodes(&e.elements, scope),
            N::CaseExpr(e) => {
                self.maybe(e.arg.as_deref(), scope);
                self.nodes(&e.args, scope);
                self.maybe(e.defresult.as_deref(), scope);
            }
            N::CaseWhen(e) => {
                self.maybe(e.expr.as_deref(), scope);
                self.maybe(e.result.as_deref(), scope);
            }
            N::CoalesceExpr(e) => self.nodes(&e.args, scope),
            N::MinMaxExpr(e) => self.nodes(&e.args, scope),
            N::RowExpr(e) => self.nodes(&e.args, scope),
            N::GroupingFunc(e) => self.nodes(&e.args, scope),
            N::NamedArgExpr(e) => self.maybe(e.arg.as_deref(), scope),
            N::MultiAssignRef(e) => self.maybe(e.source.as_deref(), scope),
            N::XmlExpr(e) => {
                self.nodes(&e.named_args, scope);
                self.nodes(&e.args, scope);
            }
            N::XmlSerialize(e) => {
                self.maybe(e.expr.as_deref(), scope);
                self.type_name(e.type_name.as_ref(), scope);
            }
            N::List(list) => self.nodes(&list.items, scope),
            other => self.clause(other, scope),
        }
    }

    /// Clauses of queries, and the data-modifying statements that may stand in a `WITH`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "node kinds that are not listed here belong to tables or JSON, or become opaque")]
    fn clause(&mut self, kind: &NodeEnum, scope: Scope<'_>) {
        use NodeEnum as N;
        match kind {
            N::SelectStmt(s) => self.select(s, scope),
            N::InsertStmt(s) => self.insert(s, scope),
            N::UpdateStmt(s) => self.update(s, scope),
            N::DeleteStmt(s) => self.delete(s, scope),
            N::MergeStmt(s) => self.merge(s, scope),
            N::CommonTableExpr(e) => self.common_table_expression(e, scope),
            N::RangeVar(relation) => self.relation(relation, scope),
            N::JoinExpr(join) => self.join(join, scope),
            N::RangeSubselect(range) => self.maybe(range.subquery.as_deref(), scope),
            N::RangeFunction(range) => self.range_function(range, scope),
            N::RangeTableFunc(range) => self.range_table_function(range, scope),
            N::RangeTableFuncCol(column) => self.range_table_function_column(column, scope),
            N::RangeTableSample(sample) => self.sample(sample, scope),
            N::ResTarget(target) => {
                self.nodes(&target.indirection, scope);
                self.maybe(target.val.as_deref(), scope);
            }
            N::SortBy(sort) => {
                self.maybe(sort.node.as_deref(), scope);
                self.operator(&sort.use_op);
            }
            N::WindowDef(window) => self.window(window, scope),
            N::GroupingSet(set) => self.nodes(&set.content, scope),
            N::TypeName(name) => self.type_name(Some(name), scope),
            N::DefElem(option) => self.maybe(option.arg.as_deref(), scope),
            // Roles are named by grants and owners, which are judged where they stand.
            N::RoleSpec(_) => {}
            other => {
                if !self.table_part(other, scope) && !self.json(other, scope) {
                    self.opaque(OpaqueClass::Unsupported, "an expression of an unknown kind");
                }
            }
        }
    }

    fn call(&mut self, call: &FuncCall, scope: Scope<'_>) {
        match signalling(call) {
            Some(effect) => self.effect(effect),
            None => self.function(&call.funcname),
        }
        self.nodes(&call.args, scope);
        self.nodes(&call.agg_order, scope);
        self.maybe(call.agg_filter.as_deref(), scope);
        if let Some(window) = &call.over {
            self.window(window, scope);
        }
    }

    pub(super) fn window(&mut self, window: &WindowDef, scope: Scope<'_>) {
        self.nodes(&window.partition_clause, scope);
        self.nodes(&window.order_clause, scope);
        self.maybe(window.start_offset.as_deref(), scope);
        self.maybe(window.end_offset.as_deref(), scope);
    }

    pub(super) fn type_name(&mut self, name: Option<&TypeName>, scope: Scope<'_>) {
        if let Some(name) = name {
            self.nodes(&name.typmods, scope);
        }
    }

    /// A function by its path: no effect if it is built in and only computes.
    pub(super) fn function(&mut self, path: &[Node]) {
        let Some(function) = name::at_path(ObjectKind::Function, path) else {
            return self.opaque(OpaqueClass::Unsupported, "a function name of an unknown form");
        };
        match function.schema.as_deref() {
            None | Some("pg_catalog") if catalog::is_pure(&function.name) || (self.kin.is_pure)(&function.name) => {}
            None if catalog::is_impure(&function.name) => self.called(Object { schema: Some("pg_catalog".to_owned()), ..function }),
            None | Some(_) => self.called(function),
        }
    }

    /// An operator by its path, which is written out only as `OPERATOR(schema.name)`; the code behind it is a function.
    pub(super) fn operator(&mut self, path: &[Node]) {
        let Some(operator) = name::at_path(ObjectKind::Function, path) else { return };
        if operator.schema.as_deref().is_some_and(|schema| schema != "pg_catalog") {
            self.called(operator);
        }
    }

    /// `value.name` is a call of `name(value)` where the value has no such field, so a field may be a function that reads files.
    fn fields(&mut self, fields: &[Node], scope: Scope<'_>) {
        for field in fields {
            match name::string(field) {
                Some(field) if catalog::is_impure(field) || catalog::is_of_extension(field) => {
                    let schema = catalog::is_impure(field).then(|| "pg_catalog".to_owned());
                    self.called(Object { kind: ObjectKind::Function, database: None, schema, name: field.to_owned() });
                }
                Some(_) => {}
                None => self.node(field, scope),
            }
        }
    }

    pub(super) fn called(&mut self, function: Object) {
        if may_change_search_path(&function) {
            self.search_path_unknown();
        }
        self.effect(Effect::Call { function, signals: Signals::Unsaid });
    }
}

/// The call of a built-in function that signals a process, where the text says which: anything but a number that is written
/// out is known only to the server.
fn signalling(call: &FuncCall) -> Option<Effect> {
    let function = name::at_path(ObjectKind::Function, &call.funcname)?;
    let built_in = function.database.is_none() && matches!(function.schema.as_deref(), None | Some("pg_catalog"));
    let Some(NodeEnum::AConst(constant)) = &call.args.first()?.node else { return None };
    match &constant.val {
        Some(Val::Ival(number)) if built_in && catalog::signals(&function.name) && number.ival > 0 => {
            let function = Object { schema: Some("pg_catalog".to_owned()), ..function };
            Some(Effect::Call { function, signals: Signals::Process(number.ival) })
        }
        Some(Val::Ival(_) | Val::Fval(_) | Val::Boolval(_) | Val::Sval(_) | Val::Bsval(_)) | None => None,
    }
}
