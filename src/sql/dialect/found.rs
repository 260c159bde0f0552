//! The effects that a walk has found so far.

use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

/// Effects without duplicates, in order of discovery, and whether unqualified names mean other objects afterwards.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) effects: Vec<Effect>,
    pub(super) names_change: bool,
}

impl Found {
    pub(super) fn effect(&mut self, effect: Effect) {
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }

    pub(super) fn access(&mut self, action: Action, object: Option<Object>) {
        match object {
            Some(object) => self.effect(Effect::Access { action, object, columns: Vec::new() }),
            None => self.opaque(OpaqueClass::Unsupported, "a name of an unknown form"),
        }
    }

    pub(super) fn location(&mut self, action: Action, url: &str) {
        let object = Object { kind: ObjectKind::Location, database: None, schema: None, name: url.to_owned() };
        self.access(action, Some(object));
    }

    pub(super) fn set(&mut self, parameter: &str) {
        self.effect(Effect::Set { parameter: parameter.to_ascii_lowercase() });
    }

    pub(super) fn opaque(&mut self, class: OpaqueClass, detail: &str) {
        self.effect(Effect::Opaque { class, detail: detail.to_owned() });
    }
}
