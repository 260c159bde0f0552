//! Decide, record, permit: the one way to a warehouse.
//!
//! [`Gate::judge`] is the only place in the running proxy that decides about a statement and appends the decision
//! to the audit log. What [`Gate::admit`] hands out once that is durable, a [`Permit`], can be neither made elsewhere nor
//! copied nor used twice, and whoever forwards a statement has to hold one.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::audit::log::{AuditError, AuditLog, Entry, Note, Submitted};
use crate::audit::record::RecordId;
use crate::audit::{Attempt, Execution, Outcome, SessionFacts, Status};
use crate::credential::cache::Lease;
use crate::dbt::Claim;
use crate::dbt::manifest::Manifest;
use crate::dbt::manifest::verify::Mismatch;
use crate::fault::{Fault, Reason};
use crate::identity::Principal;
use crate::metrics::Metrics;
use crate::policy::http::HttpRequest;
use crate::policy::{AccessRequest, Decision, Denial, PolicySet, Verdict};
use crate::sql::{Effect, OpaqueClass};
use crate::target::Target;

/// Decides about statements with the policies in force, and records every decision.
pub struct Gate {
    policies: ArcSwap<PolicySet>,
    manifest: ArcSwapOption<Manifest>,
    audit: AuditLog,
    metrics: Arc<Metrics>,
}

/// What the client is told instead of its result, and the record that says so.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub fault: Fault,
    /// The audit record, where one could be written.
    pub record: Option<RecordId>,
}

/// An execution that policy allows and whose attempt is on its way to the disk. Dropped, it is recorded as abandoned.
#[must_use = "nothing is permitted yet"]
pub struct Judged {
    submitted: Submitted,
    begun: Instant,
    target: Arc<Target>,
}

/// The right to forward one execution, once. Dropped without [`Permit::finish`], it records `abandoned`.
#[must_use = "a permit that is dropped records the execution as abandoned"]
pub struct Permit {
    entry: Entry,
    forwarded: Instant,
    metrics: Arc<Metrics>,
    target: Arc<Target>,
}

impl Gate {
    /// A gate with its first set of policies.
    pub fn new(policies: PolicySet, audit: AuditLog, metrics: Arc<Metrics>) -> Self {
        Self { policies: ArcSwap::from_pointee(policies), manifest: ArcSwapOption::empty(), audit, metrics }
    }

    /// Replaces the policies as a whole; executions admitted before are not judged again.
    pub fn replace_policies(&self, policies: PolicySet) {
        self.policies.store(Arc::new(policies));
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<PolicySet> {
        self.policies.load_full()
    }

    /// Replaces the manifest that dbt's claims are held against; statements prepared before are not verified again.
    pub fn replace_manifest(&self, manifest: Manifest) {
        self.manifest.store(Some(Arc::new(manifest)));
    }

    /// The manifest in force, where there is one.
    pub fn manifest(&self) -> Option<Arc<Manifest>> {
        self.manifest.load_full()
    }

    /// The log that this gate records in.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Decides whether a session may begin: the connection itself, and what its startup parameters would do. The caller
    /// records what comes of it.
    ///
    /// # Errors
    /// The denial.
    pub fn admit_session(&self, request: &AccessRequest<'_>) -> Result<(), Fault> {
        passed(self.policies.load().decide(request))
    }

    /// Decides whether a connection may go to an address. The caller records what comes of it.
    ///
    /// # Errors
    /// The denial.
    pub fn admit_address(&self, principal: &Principal, target: &Target, address: IpAddr) -> Result<(), Fault> {
        passed(self.policies.load().admits_address(principal, target, address))
    }

    /// Records a credential when it is first used.
    ///
    /// # Errors
    /// The audit log does not take it; then the next use tries again.
    pub async fn note_exchange(&self, lease: &Lease, exchange: &'static str, target: &Target) -> Result<(), Fault> {
        if lease.recorded.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let credential = &lease.credential;
        let note = Note::CredentialExchanged {
            exchange,
            credential: &credential.id,
            expires_at: credential.expires_at,
            target,
            principal: &lease.principal,
        };
        let noted = self.audit.note(note).await;
        if noted.is_err() {
            lease.recorded.store(false, Ordering::Release);
        }
        Ok(noted.map(|_| ())?)
    }

    /// Decides, and hands the attempt to the audit log without waiting for the disk, so that executions that came
    /// together share a commit. Nothing may be forwarded before [`Gate::admit`].
    ///
    /// # Errors
    /// A [`Refusal`]: denied by policy, or the audit log has no room.
    /// Cancel safe: an attempt that was recorded and then given up is recorded as abandoned.
    pub async fn judge(&self, execution: &Execution<'_>) -> Result<Judged, Refusal> {
        let begun = Instant::now();
        let decision = self.decide(execution);
        self.conclude(execution, &decision, begun).await
    }

    async fn conclude(&self, execution: &Execution<'_>, decision: &Decision, begun: Instant) -> Result<Judged, Refusal> {
        if decision.verdict == Verdict::Denied {
            return Err(self.record_denial(execution, decision).await);
        }
        let submitted = self.audit.submit(&Attempt { execution: *execution, decision }).await.map_err(|error| self.unrecorded(error))?;
        self.count(if decision.verdict == Verdict::Observed { "observed" } else { "forwarded" }, execution.session);
        Ok(Judged { submitted, begun, target: Arc::clone(&execution.session.target) })
    }

    /// The same for a request that carries no statement, which only an HTTP rule can allow.
    ///
    /// # Errors
    /// As for [`Gate::judge`]. Cancel safe as that is.
    pub async fn judge_request(&self, execution: &Execution<'_>, request: &HttpRequest<'_>) -> Result<Judged, Refusal> {
        let begun = Instant::now();
        self.count("received", execution.session);
        let decision = self.policies.load().admits_request(&execution.session.principal, &execution.session.target, request);
        self.conclude(execution, &decision, begun).await
    }

    /// Waits until the attempt is durable, and permits.
    ///
    /// # Errors
    /// A [`Refusal`]: the audit log cannot promise durability. Cancel safe as [`Gate::judge`] is.
    pub async fn admit(&self, judged: Judged) -> Result<Permit, Refusal> {
        let Judged { submitted, begun, target } = judged;
        let entry = self.audit.durable(submitted).await.map_err(|error| self.unrecorded(error))?;
        self.metrics.admission_duration.observe(begun.elapsed().as_secs_f64());
        Ok(Permit { entry, forwarded: Instant::now(), metrics: Arc::clone(&self.metrics), target })
    }

    /// Decides about a statement that is only prepared yet; each execution of it is admitted again.
    ///
    /// # Errors
    /// A [`Refusal`] if policy denies it, recorded as every denial is. Cancel safe.
    pub async fn check(&self, execution: &Execution<'_>) -> Result<(), Refusal> {
        let decision = self.decide(execution);
        match decision.verdict {
            Verdict::Allowed | Verdict::Observed => Ok(()),
            Verdict::Denied => Err(self.record_denial(execution, &decision).await),
        }
    }

    fn decide(&self, execution: &Execution<'_>) -> Decision {
        self.count("received", execution.session);
        if execution.effects.iter().any(is_parse_error) {
            self.count("parse_errors", execution.session);
        }
        if let Some(Claim { standing, .. }) = execution.dbt {
            let mismatch = standing.mismatch().map_or("", Mismatch::as_str);
            self.metrics.dbt_statements_total.with_label_values(&[standing.as_str(), mismatch]).inc();
        }
        self.policies.load().decide(&request(execution))
    }

    async fn record_denial(&self, execution: &Execution<'_>, decision: &Decision) -> Refusal {
        self.count("denied", execution.session);
        let record = match self.audit.refuse(&Attempt { execution: *execution, decision }).await {
            Ok(record) => record,
            Err(error) => return self.unrecorded(error),
        };
        self.refused(denied(decision.denial.as_ref()), Some(record))
    }

    fn unrecorded(&self, error: AuditError) -> Refusal {
        self.refused(Fault::from(error), None)
    }

    fn refused(&self, fault: Fault, record: Option<RecordId>) -> Refusal {
        let row = fault.reason.row();
        self.metrics.refusals_total.with_label_values(&[row.code, row.blame.as_str()]).inc();
        Refusal { fault, record }
    }

    fn count(&self, rule: &str, session: &SessionFacts) {
        self.metrics.policy_l7_total.with_label_values(&[rule, session.target.kind]).inc();
    }
}

fn passed(decision: Decision) -> Result<(), Fault> {
    if decision.verdict.passes() { Ok(()) } else { Err(denied(decision.denial.as_ref())) }
}

/// The fault that a denial is.
fn denied(denial: Option<&Denial>) -> Fault {
    match denial {
        Some(denial) => Fault::new(denial.reason).about(denial.sentence.clone()),
        None => Fault::new(Reason::PolicyDenied),
    }
}

/// The question to policy that an execution is.
fn request<'a>(execution: &Execution<'a>) -> AccessRequest<'a> {
    AccessRequest {
        principal: &execution.session.principal,
        target: &execution.session.target,
        database: &execution.session.database,
        role: &execution.session.role,
        unqualified_schema: execution.unqualified_schema,
        effects: execution.effects,
        dbt: execution.dbt,
    }
}

fn is_parse_error(effect: &Effect) -> bool {
    matches!(effect, Effect::Opaque { class: OpaqueClass::Unparseable, .. })
}

impl Permit {
    /// The id of the attempt's record.
    pub fn record(&self) -> &RecordId {
        self.entry.id()
    }

    /// Records how the execution ended.
    pub fn finish(self, outcome: Outcome) {
        let label = match outcome.status {
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Skipped => "skipped",
            Status::Abandoned => "abandoned",
        };
        self.metrics
            .operation_duration
            .with_label_values(&[self.target.name.as_str(), label])
            .observe(self.forwarded.elapsed().as_secs_f64());
        self.entry.finish(&outcome);
    }
}
