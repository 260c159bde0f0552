//! The SQL/JSON expressions, which the grammar gives node kinds of their own.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    JsonAggConstructor, JsonBehavior, JsonFuncExpr, JsonKeyValue, JsonOutput, JsonTable, JsonTableColumn, JsonValueExpr,
};

use super::walk::{Scope, Walk};

impl Walk {
    /// Walks `kind` if it is one of SQL/JSON's.
    #[expect(clippy::wildcard_enum_match_arm, reason = "node kinds that are not listed here are not JSON's")]
    pub(super) fn json(&mut self, kind: &NodeEnum, scope: Scope<'_>) -> bool {
        use NodeEnum as N;
        match kind {
            N::JsonFormat(_) | N::JsonReturning(_) => {}
            N::JsonOutput(e) => self.json_output(Some(e), scope),
            N::JsonArgument(e) => self.json_value(e.val.as_deref(), scope),
            N::JsonKeyValue(e) => self.json_key_value(Some(e), scope),
            N::JsonValueExpr(e) => self.json_value(Some(e), scope),
            N::JsonBehavior(e) => self.json_behavior(Some(e), scope),
            N::JsonTablePathSpec(e) => self.maybe(e.string.as_deref(), scope),
            N::JsonIsPredicate(e) => self.maybe(e.expr.as_deref(), scope),
            N::JsonParseExpr(e) => {
                self.json_value(e.expr.as_deref(), scope);
                self.json_output(e.output.as_ref(), scope);
            }
            N::JsonScalarExpr(e) => {
                self.maybe(e.expr.as_deref(), scope);
                self.json_output(e.output.as_ref(), scope);
            }
            N::JsonSerializeExpr(e) => {
                self.json_value(e.expr.as_deref(), scope);
                self.json_output(e.output.as_ref(), scope);
            }
            N::JsonObjectConstructor(e) => {
                self.nodes(&e.exprs, scope);
                self.json_output(e.output.as_ref(), scope);
            }
            N::JsonArrayConstructor(e) => {
                self.nodes(&e.exprs, scope);
                self.json_output(e.output.as_ref(), scope);
            }
            N::JsonArrayQueryConstructor(e) => {
                self.maybe(e.query.as_deref(), scope);
                self.json_output(e.output.as_ref(), scope);
            }
            N::JsonObjectAgg(e) => {
                self.json_aggregate(e.constructor.as_deref(), scope);
                self.json_key_value(e.arg.as_deref(), scope);
            }
            N::JsonArrayAgg(e) => {
                self.json_aggregate(e.constructor.as_deref(), scope);
                self.json_value(e.arg.as_deref(), scope);
            }
            N::JsonFuncExpr(e) => self.json_function(e, scope),
            N::JsonTable(e) => self.json_table(e, scope),
            N::JsonTableColumn(e) => self.json_table_column(e, scope),
            _ => return false,
        }
        true
    }

    fn json_function(&mut self, function: &JsonFuncExpr, scope: Scope<'_>) {
        self.json_value(function.context_item.as_deref(), scope);
        self.maybe(function.pathspec.as_deref(), scope);
        self.nodes(&function.passing, scope);
        self.json_output(function.output.as_ref(), scope);
        self.json_behavior(function.on_empty.as_deref(), scope);
        self.json_behavior(function.on_error.as_deref(), scope);
    }

    fn json_table(&mut self, table: &JsonTable, scope: Scope<'_>) {
        self.json_value(table.context_item.as_deref(), scope);
        self.maybe(table.pathspec.as_ref().and_then(|path| path.string.as_deref()), scope);
        self.nodes(&table.passing, scope);
        self.nodes(&table.columns, scope);
        self.json_behavior(table.on_error.as_deref(), scope);
    }

    fn json_table_column(&mut self, column: &JsonTableColumn, scope: Scope<'_>) {
        self.type_name(column.type_name.as_ref(), scope);
        self.maybe(column.pathspec.as_ref().and_then(|path| path.string.as_deref()), scope);
        self.nodes(&column.columns, scope);
        self.json_behavior(column.on_empty.as_deref(), scope);
        self.json_behavior(column.on_error.as_deref(), scope);
    }

    fn json_aggregate(&mut self, constructor: Option<&JsonAggConstructor>, scope: Scope<'_>) {
        let Some(constructor) = constructor else { return };
        self.json_output(constructor.output.as_ref(), scope);
        self.maybe(constructor.agg_filter.as_deref(), scope);
        self.nodes(&constructor.agg_order, scope);
        if let Some(window) = &constructor.over {
            self.window(window, scope);
        }
    }

    fn json_key_value(&mut self, pair: Option<&JsonKeyValue>, scope: Scope<'_>) {
        let Some(pair) = pair else { return };
        self.maybe(pair.key.as_deref(), scope);
        self.json_value(pair.value.as_deref(), scope);
    }

    fn json_value(&mut self, value: Option<&JsonValueExpr>, scope: Scope<'_>) {
        let Some(value) = value else { return };
        self.maybe(value.raw_expr.as_deref(), scope);
        self.maybe(value.formatted_expr.as_deref(), scope);
    }

    fn json_behavior(&mut self, behavior: Option<&JsonBehavior>, scope: Scope<'_>) {
        self.maybe(behavior.and_then(|behavior| behavior.expr.as_deref()), scope);
    }

    fn json_output(&mut self, output: Option<&JsonOutput>, scope: Scope<'_>) {
        self.type_name(output.and_then(|output| output.type_name.as_ref()), scope);
    }
}
