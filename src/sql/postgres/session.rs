//! Statements that change the session: `SET`, `RESET`, `DISCARD`, `PREPARE` and `EXECUTE`.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{DeallocateStmt, DiscardMode, DiscardStmt, ExecuteStmt, Node, PrepareStmt, VariableSetKind, VariableSetStmt};

use super::walk::{Scope, Walk};
use crate::sql::{Effect, OpaqueClass, Session};

/// Parameters that change how fast, how long or in which format a session works, and neither what a text means nor what it
/// may do. A trailing `*` stands for any ending.
const HARMLESS: &[&str] = &[
    "application_name",
    "array_nulls",
    "bytea_output",
    "check_function_bodies",
    "client_min_messages",
    "constraint_exclusion",
    "cpu_*",
    "cursor_tuple_fraction",
    "datestyle",
    "default_statistics_target",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "effective_*",
    "enable_*",
    "escape_string_warning",
    "extra_float_digits",
    "from_collapse_limit",
    "geqo",
    "geqo_*",
    "gin_*",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "jit_*_cost",
    "join_collapse_limit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_parallel_*",
    "min_parallel_*",
    "parallel_*",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "recursive_worktable_factor",
    "seed",
    "seq_page_cost",
    "statement_timeout",
    "synchronize_seqscans",
    "temp_buffers",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "work_mem",
    "xmlbinary",
    "xmloption",
];

impl Walk {
    pub(super) fn set(&mut self, set: &VariableSetStmt) {
        // Names of parameters are case-insensitive.
        let parameter = set.name.to_ascii_lowercase();
        let strings: Vec<&str> = set.args.iter().filter_map(constant).collect();
        match set.kind() {
            VariableSetKind::VarResetAll => self.search_path_unknown(),
            VariableSetKind::VarSetMulti => self.set_many(&parameter, &set.args),
            VariableSetKind::VarSetValue | VariableSetKind::VarSetDefault | VariableSetKind::VarSetCurrent | VariableSetKind::VarReset => {
                self.set_one(parameter, &strings)
            }
            VariableSetKind::Undefined => self.opaque(OpaqueClass::Unsupported, "an unknown form of SET"),
        }
    }

    /// Without values it is a reset to what the session began with.
    pub(super) fn set_one(&mut self, parameter: String, values: &[&str]) {
        match parameter.as_str() {
            "role" | "session_authorization" => {
                let role = values.first().filter(|role| **role != "none").map(|role| (*role).to_owned());
                self.effect(Effect::Role { role });
                // `$user` in a search path follows the role.
                self.search_path_unknown();
            }
            "search_path" => {
                self.search_path_unknown();
                // Elsewhere than in front, names of the catalog would mean other relations and functions.
                if values.iter().skip(1).any(|schema| *schema == "pg_catalog") {
                    self.effect(Effect::Set { parameter });
                }
            }
            "client_encoding" if values.first().is_some_and(|encoding| is_utf8(encoding)) => {}
            "standard_conforming_strings" if values.first().is_some_and(|value| is_on(value)) => {}
            name if is_harmless(name) || (self.kin.is_harmless)(name) => {}
            _ => self.effect(Effect::Set { parameter }),
        }
    }

    /// `SET TRANSACTION` and `SET SESSION CHARACTERISTICS`: isolation and access modes; a snapshot is another matter.
    fn set_many(&mut self, what: &str, modes: &[Node]) {
        if what == "transaction snapshot" {
            return self.effect(Effect::Set { parameter: "transaction_snapshot".to_owned() });
        }
        for mode in modes {
            match &mode.node {
                Some(NodeEnum::DefElem(mode)) => self.set_one(mode.defname.to_ascii_lowercase(), &[]),
                _ => self.opaque(OpaqueClass::Unsupported, "an unknown form of SET"),
            }
        }
    }

    pub(super) fn discard(&mut self, discard: &DiscardStmt) {
        match discard.target() {
            DiscardMode::DiscardAll => {
                self.effect(Effect::Role { role: None });
                self.search_path_unknown();
            }
            DiscardMode::DiscardPlans | DiscardMode::DiscardSequences | DiscardMode::DiscardTemp => {}
            DiscardMode::Undefined => self.opaque(OpaqueClass::Unsupported, "an unknown form of DISCARD"),
        }
    }

    pub(super) fn prepare(&mut self, prepare: &PrepareStmt) {
        self.nodes(&prepare.argtypes, Scope::TOP);
        self.maybe(prepare.query.as_deref(), Scope::TOP);
        let effects: Arc<[Effect]> = self.effects.as_slice().into();
        self.session = Session::Prepares { name: prepare.name.clone(), effects };
    }

    pub(super) fn deallocate(&mut self, deallocate: &DeallocateStmt) {
        let name = (!deallocate.isall).then(|| deallocate.name.clone());
        self.session = Session::Deallocates { name };
    }

    pub(super) fn execute(&mut self, execute: &ExecuteStmt) {
        self.nodes(&execute.params, Scope::TOP);
        self.session = Session::Executes { name: execute.name.clone() };
    }
}

fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().any(|harmless| match harmless.split_once('*') {
        Some((start, end)) => name.len() >= harmless.len() && name.starts_with(start) && name.ends_with(end),
        None => name == *harmless,
    })
}

/// The server ignores case and everything but letters and digits in names of encodings.
fn is_utf8(encoding: &str) -> bool {
    let plain: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
    plain.eq_ignore_ascii_case("utf8") || plain.eq_ignore_ascii_case("unicode")
}

fn is_on(value: &str) -> bool {
    ["on", "true", "yes", "1"].iter().any(|on| value.eq_ignore_ascii_case(on))
}

fn constant(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(Val::Sval(string)) => Some(&string.sval),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{HARMLESS, is_harmless};

    #[test]
    fn parameters_that_change_rights_or_meaning_are_not_harmless() {
        for name in
            ["role", "session_replication_role", "row_security", "standard_conforming_strings", "backslash_quote", "client_encoding"]
        {
            assert!(!is_harmless(name), "{name}");
        }
        for name in ["local_preload_libraries", "default_tablespace", "jit_provider", "enabled", "my.setting", "search_path"] {
            assert!(!is_harmless(name), "{name}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_matches_itself() {
        assert!(HARMLESS.is_sorted());
        assert!(is_harmless("work_mem") && is_harmless("enable_hashjoin") && is_harmless("jit_above_cost"));
    }
}
