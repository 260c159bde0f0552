//! One statement of a text, by its kind.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar, TransactionStmt, TransactionStmtKind, VacuumStmt};

use super::kin::Kin;
use super::walk::{Scope, Walk};
use super::{name, verb};
use crate::sql::{Action, Limits, OpaqueClass, Statement};

/// What one statement does.
pub(super) fn judge(statement: &NodeEnum, limits: &Limits, kin: &'static Kin) -> Statement {
    let mut walk = Walk::new(limits, kin);
    walk.statement(statement);
    let Walk { effects, session, .. } = walk;
    Statement { verb: verb::of(statement), effects, session }
}

impl Walk {
    #[expect(clippy::wildcard_enum_match_arm, reason = "node kinds that are not listed here are definitions, or become opaque")]
    pub(super) fn statement(&mut self, kind: &NodeEnum) {
        use NodeEnum as N;
        match kind {
            N::SelectStmt(_) | N::InsertStmt(_) | N::UpdateStmt(_) | N::DeleteStmt(_) | N::MergeStmt(_) => {
                self.expression(kind, Scope::TOP);
            }
            N::CopyStmt(s) => self.copy(s),
            N::TruncateStmt(s) => self.truncate(s),
            N::LockStmt(s) => self.each_relation(Action::Lock, &s.relations),
            N::TransactionStmt(s) => self.transaction(s),
            // The cursor's query was judged when it was declared, and the prepared statement when it was prepared.
            N::DeallocateStmt(deallocate) => self.deallocate(deallocate),
            N::FetchStmt(_) | N::ClosePortalStmt(_) | N::ConstraintsSetStmt(_) | N::VariableShowStmt(_) => {}
            N::DeclareCursorStmt(s) => self.inner(s.query.as_deref()),
            // Judged as if it ran, for `ANALYZE` may stand in its options.
            N::ExplainStmt(s) => self.inner(s.query.as_deref()),
            N::PrepareStmt(s) => self.prepare(s),
            N::ExecuteStmt(s) => self.execute(s),
            N::VariableSetStmt(s) => self.set(s),
            N::DiscardStmt(s) => self.discard(s),
            N::VacuumStmt(s) => self.vacuum(s),
            N::ReindexStmt(s) => self.maintain(s.relation.as_ref()),
            N::ClusterStmt(s) => self.maintain(s.relation.as_ref()),
            N::RefreshMatViewStmt(s) => self.maintain(s.relation.as_ref()),
            N::GrantStmt(s) => self.grant(s),
            other => self.definition(other),
        }
    }

    /// A statement inside another one.
    pub(super) fn inner(&mut self, node: Option<&Node>) {
        match node.and_then(|node| node.node.as_ref()) {
            Some(kind) if self.descend() => {
                self.statement(kind);
                self.ascend();
            }
            Some(_) => {}
            None => self.opaque(OpaqueClass::Unsupported, "a statement without an inner statement"),
        }
    }

    fn transaction(&mut self, transaction: &TransactionStmt) {
        use TransactionStmtKind as Kind;
        match transaction.kind() {
            // The end of a transaction also undoes what it had set; but whoever set the search path made it unknown before.
            Kind::TransStmtBegin | Kind::TransStmtStart | Kind::TransStmtSavepoint | Kind::TransStmtRelease => {}
            Kind::TransStmtCommit | Kind::TransStmtRollback | Kind::TransStmtRollbackTo => {}
            // These leave the session, or take up what another one left.
            Kind::TransStmtPrepare | Kind::TransStmtCommitPrepared | Kind::TransStmtRollbackPrepared => {
                self.opaque(OpaqueClass::Unsupported, "two-phase commit");
            }
            Kind::Undefined => self.opaque(OpaqueClass::Unsupported, "an unknown transaction statement"),
        }
    }

    fn vacuum(&mut self, vacuum: &VacuumStmt) {
        if vacuum.rels.is_empty() {
            return self.whole_database();
        }
        for node in &vacuum.rels {
            match &node.node {
                Some(NodeEnum::VacuumRelation(relation)) => self.maintain(relation.relation.as_ref()),
                _ => self.opaque(OpaqueClass::Unsupported, "a name of an unknown form"),
            }
        }
    }

    fn maintain(&mut self, relation: Option<&RangeVar>) {
        match relation {
            Some(relation) => self.access(Action::Maintain, name::existing(relation)),
            None => self.whole_database(),
        }
    }

    fn whole_database(&mut self) {
        self.opaque(OpaqueClass::System, "maintenance of every table of a schema or database");
    }
}
