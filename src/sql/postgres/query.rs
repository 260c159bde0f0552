//! Queries: `SELECT`, `WITH`, and what stands in `FROM`.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CommonTableExpr, IntoClause, JoinExpr, LockingClause, Node, RangeFunction, RangeTableFunc, RangeTableFuncCol, RangeTableSample,
    RangeVar, SelectStmt, WithClause,
};

use super::name;
use super::walk::{Names, Scope, Walk};
use crate::sql::Action;

impl Walk {
    pub(super) fn select(&mut self, select: &SelectStmt, scope: Scope<'_>) {
        if !self.descend() {
            return;
        }
        let names = names(select.with_clause.as_ref());
        self.with(select.with_clause.as_ref(), &names, scope);
        let scope = scope.with(&names, names.len());
        self.nodes(&select.from_clause, scope);
        self.locks(select, scope);
        if let Some(into) = &select.into_clause {
            self.into(into, scope);
        }
        for list in [
            &select.distinct_clause,
            &select.target_list,
            &select.group_clause,
            &select.window_clause,
            &select.values_lists,
            &select.sort_clause,
        ] {
            self.nodes(list, scope);
        }
        for part in [&select.where_clause, &select.having_clause, &select.limit_offset, &select.limit_count] {
            self.maybe(part.as_deref(), scope);
        }
        for branch in [&select.larg, &select.rarg].into_iter().flatten() {
            self.select(branch, scope);
        }
        self.ascend();
    }

    /// The bodies of a `WITH`. Each sees those before it; after `RECURSIVE`, each sees all of them and itself.
    pub(super) fn with(&mut self, clause: Option<&WithClause>, names: &Names<'_>, scope: Scope<'_>) {
        let Some(clause) = clause else { return };
        for (place, node) in clause.ctes.iter().enumerate() {
            let visible = if clause.recursive { names.len() } else { place };
            self.node(node, scope.with(names, visible));
        }
    }

    pub(super) fn common_table_expression(&mut self, expression: &CommonTableExpr, scope: Scope<'_>) {
        self.maybe(expression.ctequery.as_deref(), scope);
        if let Some(cycle) = &expression.cycle_clause {
            self.maybe(cycle.cycle_mark_value.as_deref(), scope);
            self.maybe(cycle.cycle_mark_default.as_deref(), scope);
        }
    }

    /// The table that `SELECT INTO` or `CREATE TABLE AS` makes.
    pub(super) fn into(&mut self, into: &IntoClause, scope: Scope<'_>) {
        if let Some(relation) = &into.rel {
            self.access(Action::Create, name::made(relation));
        }
        self.nodes(&into.options, scope);
    }

    /// A relation that is read, unless the name is that of a common table expression.
    pub(super) fn relation(&mut self, relation: &RangeVar, scope: Scope<'_>) {
        if !is_shadowed(relation, scope) {
            self.access(Action::Select, name::existing(relation));
        }
    }

    pub(super) fn join(&mut self, join: &JoinExpr, scope: Scope<'_>) {
        for part in [&join.larg, &join.rarg, &join.quals] {
            self.maybe(part.as_deref(), scope);
        }
    }

    pub(super) fn range_function(&mut self, range: &RangeFunction, scope: Scope<'_>) {
        self.nodes(&range.functions, scope);
        self.nodes(&range.coldeflist, scope);
    }

    pub(super) fn range_table_function(&mut self, range: &RangeTableFunc, scope: Scope<'_>) {
        self.maybe(range.docexpr.as_deref(), scope);
        self.maybe(range.rowexpr.as_deref(), scope);
        self.nodes(&range.namespaces, scope);
        self.nodes(&range.columns, scope);
    }

    pub(super) fn range_table_function_column(&mut self, column: &RangeTableFuncCol, scope: Scope<'_>) {
        self.type_name(column.type_name.as_ref(), scope);
        self.maybe(column.colexpr.as_deref(), scope);
        self.maybe(column.coldefexpr.as_deref(), scope);
    }

    pub(super) fn sample(&mut self, sample: &RangeTableSample, scope: Scope<'_>) {
        self.maybe(sample.relation.as_deref(), scope);
        self.function(&sample.method);
        self.nodes(&sample.args, scope);
        self.maybe(sample.repeatable.as_deref(), scope);
    }

    /// `FOR UPDATE` and its kin lock what the clause names, or everything in `FROM`; a locked subquery, all within it.
    fn locks(&mut self, select: &SelectStmt, scope: Scope<'_>) {
        for clause in &select.locking_clause {
            let Some(NodeEnum::LockingClause(clause)) = &clause.node else { continue };
            let only = locked_names(clause);
            for item in &select.from_clause {
                self.lock(item, only.as_deref(), scope);
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other node kinds of FROM are functions, which have no rows to lock")]
    fn lock(&mut self, item: &Node, only: Option<&[&str]>, scope: Scope<'_>) {
        let Some(kind) = &item.node else { return };
        if !self.descend() {
            return;
        }
        let named = |alias: Option<&str>| only.is_none_or(|only| alias.is_some_and(|alias| only.contains(&alias)));
        match kind {
            NodeEnum::RangeVar(relation) => {
                let alias = relation.alias.as_ref().map_or(relation.relname.as_str(), |alias| &alias.aliasname);
                if named(Some(alias)) && !is_shadowed(relation, scope) {
                    self.access(Action::Lock, name::existing(relation));
                }
            }
            NodeEnum::JoinExpr(join) => {
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.lock(side, only, scope);
                }
            }
            NodeEnum::RangeTableSample(sample) => {
                if let Some(relation) = &sample.relation {
                    self.lock(relation, only, scope);
                }
            }
            NodeEnum::RangeSubselect(range) if named(range.alias.as_ref().map(|alias| alias.aliasname.as_str())) => {
                if let Some(NodeEnum::SelectStmt(select)) = range.subquery.as_ref().and_then(|query| query.node.as_ref()) {
                    let names = names(select.with_clause.as_ref());
                    let scope = scope.with(&names, names.len());
                    for item in &select.from_clause {
                        self.lock(item, None, scope);
                    }
                }
            }
            _ => {}
        }
        self.ascend();
    }
}

/// The names that a `WITH` defines, each with its first place.
pub(super) fn names(clause: Option<&WithClause>) -> Names<'_> {
    let mut names = Names::new();
    for (place, node) in clause.into_iter().flat_map(|clause| &clause.ctes).enumerate() {
        if let Some(NodeEnum::CommonTableExpr(expression)) = &node.node {
            names.entry(&expression.ctename).or_insert(place);
        }
    }
    names
}

fn is_shadowed(relation: &RangeVar, scope: Scope<'_>) -> bool {
    relation.schemaname.is_empty() && relation.catalogname.is_empty() && scope.shadows(&relation.relname)
}

/// The aliases after `OF`; `None` without `OF`.
fn locked_names(clause: &LockingClause) -> Option<Vec<&str>> {
    let names: Vec<&str> = clause
        .locked_rels
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::RangeVar(relation)) => Some(relation.relname.as_str()),
            _ => None,
        })
        .collect();
    (!names.is_empty()).then_some(names)
}
