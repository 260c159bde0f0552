//! The effects that a reader of vendor statements has found so far.

use crate::sql::redshift::KIN;
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

/// Effects without duplicates, in order of discovery.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) effects: Vec<Effect>,
}

impl Found {
    pub(super) fn effect(&mut self, effect: Effect) {
        let effect = KIN.in_catalog(effect);
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }

    pub(super) fn access(&mut self, action: Action, object: Object) {
        self.effect(Effect::Access { action, object, columns: Vec::new() });
    }

    /// An export to or an import from the place of that URL.
    pub(super) fn location(&mut self, action: Action, url: String) {
        self.access(action, Object { kind: ObjectKind::Location, database: None, schema: None, name: url });
    }

    pub(super) fn opaque(&mut self, class: OpaqueClass, detail: &str) {
        self.effect(Effect::Opaque { class, detail: detail.to_owned() });
    }
}
