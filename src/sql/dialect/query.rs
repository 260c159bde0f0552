//! The walk over everything that a statement reads and calls, at any depth.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Cte, Expr, Function, ObjectName, Query, Select, SetExpr, SetOperator, Statement, TableFactor, TableVersion, Value, ValueWithSpan,
    Visit, Visitor,
};

use super::Vendor;
use super::found::Found;
use super::name::{self, Named};
use crate::sql::{Action, Effect, ObjectKind, OpaqueClass, Signals};

/// Collects reads and calls. Names that the statement itself is about are told beforehand.
pub(super) struct Walk<'w> {
    vendor: &'static Vendor,
    found: &'w mut Found,
    /// Names that are no reads: targets, and functions in the place of tables.
    targets: Vec<*const ObjectName>,
    scopes: Vec<Scope>,
    statements: usize,
    /// What a URL in a string outside of any query stands for.
    locations: Option<Action>,
}

/// The common table expressions of one query.
struct Scope {
    /// Name, query, and whether the expression sees itself.
    expressions: Vec<(String, *const Query, bool)>,
    /// As many of them can be seen, besides an expression of its own.
    visible: usize,
}

/// Walks `statement`, of which `targets` are not read.
pub(super) fn walk(vendor: &'static Vendor, statement: &Statement, targets: &[&ObjectName], found: &mut Found) {
    walk_with_locations(vendor, statement, targets, None, found);
}

/// The same for a statement in which URLs outside of queries name locations.
pub(super) fn walk_with_locations(
    vendor: &'static Vendor,
    statement: &Statement,
    targets: &[&ObjectName],
    locations: Option<Action>,
    found: &mut Found,
) {
    let targets = targets.iter().map(|target| std::ptr::from_ref(*target)).collect();
    let mut walk = Walk { vendor, found, targets, scopes: Vec::new(), statements: 0, locations };
    let _: ControlFlow<()> = statement.visit(&mut walk);
}

/// The same for a part of a statement that is read apart.
pub(super) fn walk_part(vendor: &'static Vendor, part: &impl Visit, locations: Option<Action>, found: &mut Found) {
    // The statement that it is a part of is the first one.
    let mut walk = Walk { vendor, found, targets: Vec::new(), scopes: Vec::new(), statements: 1, locations };
    let _: ControlFlow<()> = part.visit(&mut walk);
}

/// A call of a function that is not known to be pure is an effect.
pub(super) fn called(vendor: &'static Vendor, function: &ObjectName, found: &mut Found) {
    let single = match function.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.to_ascii_lowercase()),
        _ => None,
    };
    if single.is_some_and(|name| vendor.pure.contains(name.as_str())) {
        return;
    }
    match name::object(vendor, ObjectKind::Function, function) {
        Some(function) => found.effect(Effect::Call { function, signals: Signals::Unsaid }),
        None => found.opaque(OpaqueClass::Unsupported, "a function name of an unknown form"),
    }
}

impl Walk<'_> {
    fn is_target(&self, name: &ObjectName) -> bool {
        self.targets.contains(&std::ptr::from_ref(name))
    }

    fn is_expression(&self, name: &ObjectName) -> bool {
        let [part] = name.0.as_slice() else { return false };
        let Some(ident) = part.as_ident() else { return false };
        let name = name::folded(self.vendor, ident);
        self.scopes.iter().any(|scope| scope.expressions.iter().take(scope.visible).any(|(known, _, _)| *known == name))
    }

    fn scope(&self, query: &Query) -> Scope {
        let Some(with) = &query.with else { return Scope { expressions: Vec::new(), visible: 0 } };
        let expression = |cte: &Cte| {
            // Only what is sure to be recursive names itself; else the name may be that of a table.
            let sees_itself = with.recursive && matches!(&*cte.query.body, SetExpr::SetOperation { op: SetOperator::Union, .. });
            (name::folded(self.vendor, &cte.alias.name), std::ptr::from_ref(&*cte.query), sees_itself)
        };
        Scope { expressions: with.cte_tables.iter().map(expression).collect(), visible: 0 }
    }

    /// ClickHouse: `x IN name` and `x IN (name)` read a table where there is one. Without brackets, the parser takes what stands
    /// behind the name for a part of it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else begins there is no name, and what stands in it is visited")]
    fn looks_in(&mut self, list: &[Expr]) {
        let [only] = list else { return };
        let mut first = only;
        loop {
            first = match first {
                Expr::BinaryOp { left: inner, .. } | Expr::Nested(inner) | Expr::IsNull(inner) | Expr::IsNotNull(inner) => inner,
                Expr::InList { expr: inner, .. } | Expr::InSubquery { expr: inner, .. } | Expr::Between { expr: inner, .. } => inner,
                Expr::Like { expr: inner, .. } | Expr::ILike { expr: inner, .. } | Expr::Cast { expr: inner, .. } => inner,
                Expr::Identifier(name) => return self.read(&ObjectName::from(vec![name.clone()])),
                Expr::CompoundIdentifier(path) => return self.read(&ObjectName::from(path.clone())),
                Expr::Value(_) | Expr::Array(_) | Expr::Tuple(_) | Expr::Function(_) | Expr::Subquery(_) | Expr::UnaryOp { .. } => return,
                _ => return self.found.opaque(OpaqueClass::Unsupported, "IN of what may be the name of a table"),
            };
        }
    }

    /// The relation is read, unless it is an expression of the query.
    fn read(&mut self, relation: &ObjectName) {
        if self.is_expression(relation) {
            return;
        }
        match name::named(self.vendor, relation) {
            Named::Object(object) => self.found.access(Action::Select, Some(object)),
            Named::Location(location) => self.found.location(Action::Import, &location),
            Named::Wildcard(dataset) => {
                self.found.access(Action::Select, Some(dataset));
                self.found.opaque(OpaqueClass::Wildcard, "tables by the beginning of their names");
            }
            Named::Unknown => self.found.access(Action::Select, None),
        }
    }

    /// Parts of set operations in which the walk has no stop of its own.
    fn set_expression(&mut self, body: &SetExpr) {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expression(left);
                self.set_expression(right);
            }
            SetExpr::Table(_) => self.found.opaque(OpaqueClass::Unsupported, "TABLE in the place of a query"),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.found.opaque(OpaqueClass::Unsupported, "a change within a query");
            }
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
        }
    }
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
        self.statements += 1;
        if self.statements > 1 {
            self.found.opaque(OpaqueClass::Unsupported, "a statement within a statement");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // The scope whose expression this is shows it those before it; of any other, all are to be seen by now.
        if let Some(scope) = self.scopes.last_mut() {
            let place = scope.expressions.iter().position(|(_, expression, _)| std::ptr::eq(*expression, query));
            scope.visible = match place.and_then(|place| scope.expressions.get(place).map(|(_, _, sees_itself)| (place, *sees_itself))) {
                Some((place, sees_itself)) => place + usize::from(sees_itself),
                None => scope.visible,
            };
        }
        self.set_expression(&query.body);
        if !query.pipe_operators.is_empty() || !query.locks.is_empty() {
            self.found.opaque(OpaqueClass::Unsupported, "a clause of a query that is not known");
        }
        for setting in query.settings.iter().flatten() {
            self.found.set(&setting.key.value);
        }
        let scope = self.scope(query);
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut()
            && let Some(place) = scope.expressions.iter().position(|(_, expression, _)| std::ptr::eq(*expression, query))
        {
            scope.visible = place + 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.into.is_some() {
            self.found.opaque(OpaqueClass::Unsupported, "SELECT INTO");
        }
        ControlFlow::Continue(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } => {
                self.targets.push(std::ptr::from_ref(name));
                called(self.vendor, name, self.found);
            }
            TableFactor::Function { name, .. } => {
                self.targets.push(std::ptr::from_ref(name));
                called(self.vendor, name, self.found);
            }
            // Snowflake writes time travel like a call: `AT (TIMESTAMP => ...)`.
            TableFactor::Table { version: Some(TableVersion::Function(Expr::Function(travel))), .. } => {
                self.targets.push(std::ptr::from_ref(&travel.name));
            }
            TableFactor::Table { version: Some(TableVersion::Changes { changes, at, end }), .. } => {
                for part in [Some(changes), Some(at), end.as_ref()].into_iter().flatten() {
                    if let Expr::Function(part) = part {
                        self.targets.push(std::ptr::from_ref(&part.name));
                    }
                }
            }
            TableFactor::Table { .. } | TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } | TableFactor::UNNEST { .. } => {}
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } | TableFactor::JsonTable { .. } => {}
            // The argument of TABLE() is a function, which is visited, or the name of a table in a string.
            TableFactor::TableFunction { expr: Expr::Function(_), .. } => {}
            _ => self.found.opaque(OpaqueClass::Unsupported, "a source of rows that is not known"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if !self.is_target(relation) {
            self.read(relation);
        }
        ControlFlow::Continue(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other expressions call nothing; what stands in them is visited")]
    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Function(Function { name, .. }) if self.is_target(name) => {}
            Expr::Function(Function { name, .. }) => called(self.vendor, name, self.found),
            Expr::InList { list, .. } if self.vendor.looks_in_tables => self.looks_in(list),
            // Snowflake: `sequence.NEXTVAL`.
            Expr::CompoundIdentifier(path) => {
                if let [sequence @ .., last] = path.as_slice()
                    && last.value.eq_ignore_ascii_case("nextval")
                {
                    let sequence = name::object(self.vendor, ObjectKind::Relation, &ObjectName::from(sequence.to_vec()));
                    self.found.access(Action::Update, sequence);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let (Some(action), true) = (self.locations, self.scopes.is_empty())
            && let Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) = &value.value
            && text.contains("://")
        {
            self.found.location(action, text);
        }
        ControlFlow::Continue(())
    }
}
