//! The walk over a statement's parse tree that collects its effects.

use std::collections::{HashMap, HashSet};

use pg_query::protobuf::Node;

use super::kin::Kin;
use crate::sql::{Action, Effect, Limits, Object, OpaqueClass, Session};

/// What a walk has found so far.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) effects: Vec<Effect>,
    pub(super) session: Session,
    pub(super) limits: Limits,
    pub(super) kin: &'static Kin,
    known: HashSet<Effect>,
    depth: usize,
}

/// The names of common table expressions that shadow relations at some place of the statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    outer: Option<&'s Scope<'s>>,
    names: Option<&'s Names<'s>>,
    visible: usize,
}

/// The names that one `WITH` defines, each with its place.
pub(super) type Names<'t> = HashMap<&'t str, usize>;

impl Walk {
    pub(super) fn new(limits: &Limits, kin: &'static Kin) -> Self {
        Self { effects: Vec::new(), session: Session::default(), limits: *limits, kin, known: HashSet::new(), depth: 0 }
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        let effect = self.kin.in_catalog(effect);
        if self.kin.hides_the_catalog(&effect) {
            self.opaque(OpaqueClass::Unsupported, "a relation that may hide one of the catalog");
        }
        if self.known.insert(effect.clone()) {
            self.effects.push(effect);
        }
    }

    pub(super) fn access(&mut self, action: Action, object: Object) {
        self.effect(Effect::Access { action, object, columns: Vec::new() });
    }

    /// An access of an object whose name could not be read, which no grammar we know gives, is opaque.
    pub(super) fn access_or_opaque(&mut self, action: Action, object: Option<Object>) {
        match object {
            Some(object) => self.access(action, object),
            None => self.opaque(OpaqueClass::Unsupported, "a name of an unknown form"),
        }
    }

    pub(super) fn opaque(&mut self, class: OpaqueClass, detail: &str) {
        self.effect(Effect::Opaque { class, detail: detail.to_owned() });
    }

    pub(super) fn search_path_unknown(&mut self) {
        if self.session == Session::Unchanged {
            self.session = Session::SearchPathUnknown;
        }
    }

    pub(super) fn nodes(&mut self, nodes: &[Node], scope: Scope<'_>) {
        for node in nodes {
            self.node(node, scope);
        }
    }

    pub(super) fn maybe(&mut self, node: Option<&Node>, scope: Scope<'_>) {
        if let Some(node) = node {
            self.node(node, scope);
        }
    }

    /// Walks an expression, a clause or a query at any place.
    pub(super) fn node(&mut self, node: &Node, scope: Scope<'_>) {
        let Some(kind) = &node.node else { return };
        if self.descend() {
            self.expression(kind, scope);
            self.ascend();
        }
    }

    /// One level down, unless that is too deep; [`Walk::ascend`] afterwards.
    pub(super) fn descend(&mut self) -> bool {
        if self.depth >= self.limits.nesting_max {
            self.opaque(OpaqueClass::TooDeep, "the statement is nested deeper than limits.nesting_max");
            return false;
        }
        self.depth += 1;
        true
    }

    pub(super) fn ascend(&mut self) {
        self.depth -= 1;
    }
}

impl<'s> Scope<'s> {
    /// No common table expression is in scope.
    pub(super) const TOP: Self = Self { outer: None, names: None, visible: 0 };

    /// Inside `self`, the first `visible` of `names` as well.
    pub(super) fn with(&'s self, names: &'s Names<'s>, visible: usize) -> Self {
        Self { outer: Some(self), names: Some(names), visible }
    }

    pub(super) fn shadows(&self, name: &str) -> bool {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if here.names.and_then(|names| names.get(name)).is_some_and(|place| *place < here.visible) {
                return true;
            }
            scope = here.outer;
        }
        false
    }
}
