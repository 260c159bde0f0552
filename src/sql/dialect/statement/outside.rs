//! Data that leaves the warehouse, or comes into it.

use sqlparser::ast::{CopyIntoSnowflakeKind, ExportData, ObjectName, Statement as Parsed};

use super::Reader;
use crate::sql::dialect::name::{self, Named};
use crate::sql::dialect::query::walk_with_locations;
use crate::sql::{Action, Effect, OpaqueClass};

impl Reader<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the callers pass these kinds only; any other is opaque")]
    pub(super) fn transfer(&mut self, parsed: &Parsed) -> &'static str {
        match parsed {
            Parsed::CopyIntoSnowflake { kind: CopyIntoSnowflakeKind::Table, into, from_obj, stage_params, .. } => {
                self.relation(Action::Insert, into);
                from_obj.iter().for_each(|from| self.outside(Action::Import, from));
                stage_params.url.iter().for_each(|url| self.found.location(Action::Import, url));
                if !stage_params.credentials.options.is_empty() {
                    self.class("COPY", OpaqueClass::Authorization);
                }
                self.reads("COPY", parsed, &[])
            }
            Parsed::CopyIntoSnowflake { kind: CopyIntoSnowflakeKind::Location, into, from_obj, stage_params, .. } => {
                self.outside(Action::Export, into);
                from_obj.iter().for_each(|from| self.relation(Action::Select, from));
                stage_params.url.iter().for_each(|url| self.found.location(Action::Export, url));
                if !stage_params.credentials.options.is_empty() {
                    self.class("COPY", OpaqueClass::Authorization);
                }
                self.reads("COPY", parsed, &[])
            }
            Parsed::ExportData(ExportData { connection, .. }) => {
                walk_with_locations(self.vendor, parsed, &[], Some(Action::Export), &mut self.found);
                let is_named = self.found.effects.iter().any(|effect| matches!(effect, Effect::Access { action: Action::Export, .. }));
                if !is_named || connection.is_some() {
                    self.class("EXPORT DATA", OpaqueClass::CopyFile);
                }
                "EXPORT DATA"
            }
            Parsed::LoadData { local: false, inpath, overwrite, table_name, .. } => {
                self.found.location(Action::Import, inpath);
                self.relation(Action::Insert, table_name);
                if *overwrite {
                    self.relation(Action::Delete, table_name);
                }
                "LOAD DATA"
            }
            Parsed::Unload { query: Some(_), query_text: None, to, .. } => {
                self.found.location(Action::Export, &to.value);
                self.reads("UNLOAD", parsed, &[])
            }
            _ => self.class("COPY", OpaqueClass::CopyFile),
        }
    }

    /// A stage or a URL.
    pub(super) fn outside(&mut self, action: Action, name: &ObjectName) {
        match name::named(self.vendor, name) {
            Named::Location(location) => self.found.location(action, &location),
            Named::Object(_) | Named::Wildcard(_) | Named::Unknown => self.opaque("a place that is not known"),
        }
    }
}
