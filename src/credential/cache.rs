//! One credential for one target: exchanged once for everybody who waits, renewed before it ends, kept through outages.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::credential::{Credential, CredentialExchange, ExchangeError, StepName, StepReport};
use crate::fault::Reason;
use crate::identity::{Change, IdentitySource, Principal, Proof};
use crate::metrics::Metrics;
use crate::target::Target;

/// Time for an exchange with all its attempts.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(15);
/// A credential is not used for a login this close to its end: clocks differ, and a login takes time.
const SKEW: Duration = Duration::from_secs(30);
/// Pauses between attempts while the failure may pass by itself.
const ATTEMPT_PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];
/// A credential is used for no longer than this without a new exchange, whatever it says.
const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// For how long a failure is answered without asking again.
const TRANSIENT_PAUSE: Duration = Duration::from_secs(1);
const DENIED_PAUSE: Duration = Duration::from_secs(10);
/// Pauses between renewals that fail while the old credential still serves: doubled each time, between these.
const RENEWAL_PAUSE_MIN: Duration = Duration::from_secs(5);
const RENEWAL_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The credential of this workload for one target.
///
/// Renewal starts with the first use after three quarters of the life; an idle cache asks nobody for anything.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

/// A credential in use, and who it was given to.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Who, as proven when the credential was exchanged.
    pub principal: Arc<Principal>,
    /// What the login uses.
    pub credential: Arc<Credential>,
    /// Whether its first use is on record.
    pub recorded: Arc<AtomicBool>,
}

impl Lease {
    /// When the first of proof and credential ends.
    pub fn expires_at(&self) -> SystemTime {
        self.principal.expires_at.min(self.credential.expires_at)
    }
}

impl Cache {
    /// An empty cache. Nothing is asked before the first [`Cache::get`].
    pub fn new(source: Arc<dyn IdentitySource>, exchange: Arc<dyn CredentialExchange>, target: Arc<Target>, metrics: Arc<Metrics>) -> Self {
        Self { shared: Arc::new(Shared { source, exchange, target, metrics, state: Mutex::default() }) }
    }

    /// The credential to log in with.
    ///
    /// Waits only where there is none that can be used, at most 15 s. Cancel safe: an exchange that has begun goes on
    /// for the others and for the next caller.
    ///
    /// # Errors
    /// Why the last exchange gave no credential; for a moment after a failure without asking again.
    pub async fn get(&self) -> Result<Lease, ExchangeError> {
        let mut flight = match self.shared.look(SystemTime::now(), Instant::now()) {
            Look::Lease(lease) => return Ok(lease),
            Look::Failure(failure) => return Err(failure.into()),
            Look::Wait(flight) => flight,
        };
        match flight.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(lease))) => Ok(lease.clone()),
            Ok(Some(Err(failure))) => Err(failure.clone().into()),
            // The sender is gone without a word: the exchange panicked.
            Ok(None) | Err(_) => Err(ExchangeError::new(Reason::Internal, "the exchange ended by a panic")),
        }
    }

    /// Follows what the identity's source learns by itself, for as long as it is polled: a credential whose identity is withdrawn is
    /// dropped at once, one whose identity was renewed is exchanged anew at its next use. Returns where the source learns nothing.
    /// Cancel safe.
    pub async fn watch(&self) {
        self.shared.source.watch(&|change| self.shared.note(change)).await;
    }

    /// Another credential in place of one that the warehouse has just refused, if there can be one: it is given up, unless that
    /// happened to another within the last 10 s, for then a new one is no better. `None` leaves the warehouse's refusal as the
    /// answer. Waits and is cancel safe as [`Cache::get`] is.
    pub async fn replace(&self, refused: &Lease) -> Option<Lease> {
        let is_refused = |lease: &Lease| Arc::ptr_eq(&lease.credential, &refused.credential);
        {
            let mut state = self.shared.state();
            if state.held.as_ref().is_some_and(|held| is_refused(&held.lease)) {
                if state.rejected.is_some_and(|at| at.elapsed() < DENIED_PAUSE) {
                    return None;
                }
                state.rejected = Some(Instant::now());
                state.held = None;
            }
        }
        self.get().await.ok().filter(|lease| !is_refused(lease))
    }
}

struct Shared {
    source: Arc<dyn IdentitySource>,
    exchange: Arc<dyn CredentialExchange>,
    target: Arc<Target>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

type Flight = watch::Receiver<Option<Result<Lease, Failure>>>;

#[derive(Default)]
struct State {
    held: Option<Held>,
    flight: Option<Flight>,
    failed: Option<Failed>,
    /// When a credential was last given up because the warehouse did not take it.
    rejected: Option<Instant>,
    /// How often the identity was withdrawn: what an exchange makes that began before the last time is of no use.
    withdrawals: u64,
}

/// A lease and its times on both clocks: the one of the wall can be set back, the other stands still while the machine sleeps.
/// The clock that is ahead decides.
struct Held {
    lease: Lease,
    renew_at: SystemTime,
    /// The same moment on the other clock.
    renew_after: Instant,
    /// The same moment as the end of its use.
    usable_until: Instant,
}

impl Held {
    fn new(lease: Lease) -> Self {
        let (now, instant) = (SystemTime::now(), Instant::now());
        let renew_at = renew_at(&lease);
        let after = |time: SystemTime, less| instant + time.duration_since(now + less).unwrap_or_default().min(LIFE_MAX);
        Self { renew_after: after(renew_at, Duration::ZERO), usable_until: after(lease.expires_at(), SKEW), renew_at, lease }
    }

    fn is_usable(&self, now: SystemTime, instant: Instant) -> bool {
        self.lease.expires_at() > now + SKEW && instant < self.usable_until
    }

    fn is_due(&self, now: SystemTime, instant: Instant) -> bool {
        now >= self.renew_at || instant >= self.renew_after
    }
}

/// The last exchange, where it failed.
struct Failed {
    failure: Failure,
    at: Instant,
    /// How many failed in a row.
    count: u32,
}

impl Failed {
    /// For how long nobody is asked again: longer and longer while an old credential serves, short while nothing does, and as long as
    /// whoever was asked wants.
    fn pause(&self, serves: bool) -> Duration {
        let usual = match (serves, is_transient(self.failure.reason)) {
            (true, _) => RENEWAL_PAUSE_MIN.saturating_mul(1 << (self.count.saturating_sub(1)).min(4)).min(RENEWAL_PAUSE_MAX),
            (false, true) => TRANSIENT_PAUSE,
            (false, false) => DENIED_PAUSE,
        };
        usual.max(self.failure.retry_after.unwrap_or_default())
    }
}

/// A failure that many may be told of.
#[derive(Debug, Clone)]
struct Failure {
    reason: Reason,
    step: Option<StepName>,
    fix: Option<String>,
    retry_after: Option<Duration>,
    cause: Option<Arc<str>>,
}

enum Look {
    Lease(Lease),
    Failure(Failure),
    Wait(Flight),
}

impl Shared {
    fn look(self: &Arc<Self>, now: SystemTime, instant: Instant) -> Look {
        let mut state = self.state();
        let held = state.held.as_ref().filter(|held| held.is_usable(now, instant));
        let is_paused = state.failed.as_ref().is_some_and(|failed| instant < failed.at + failed.pause(held.is_some()));
        if let Some(held) = held {
            let lease = held.lease.clone();
            if held.is_due(now, instant) && !is_paused {
                self.join_flight(&mut state);
            }
            return Look::Lease(lease);
        }
        match &state.failed {
            Some(failed) if is_paused => Look::Failure(failed.failure.clone()),
            Some(_) | None => Look::Wait(self.join_flight(&mut state)),
        }
    }

    /// The exchange that is under way, or a new one in a task of its own, so that no caller's end is its end.
    fn join_flight(self: &Arc<Self>, state: &mut State) -> Flight {
        // A flight without a sender has ended without landing: its task panicked.
        if let Some(flight) = state.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return flight.clone();
        }
        let (land, flight) = watch::channel(None);
        state.flight = Some(flight.clone());
        let (shared, withdrawals) = (Arc::clone(self), state.withdrawals);
        tokio::spawn(async move {
            let result = shared.fly().await;
            let result = shared.land(result, withdrawals);
            // Nobody may be waiting any more; the next caller finds the result in the state.
            let _ = land.send(Some(result));
        });
        flight
    }

    async fn fly(&self) -> Result<Lease, Failure> {
        let kind = self.exchange.kind();
        let timer = self.metrics.exchange_duration.with_label_values(&[kind]).start_timer();
        let result = match timeout(EXCHANGE_TIME_MAX, self.attempts()).await {
            Ok(result) => result,
            Err(_) => Err(ExchangeError::new(Reason::ExchangeUnreachable, "it took over 15 s")),
        };
        timer.observe_duration();
        let outcome = result.as_ref().map_or_else(|error| error.reason.code(), |_| "ok");
        self.metrics.exchange_total.with_label_values(&[kind, outcome]).inc();
        result.map_err(Failure::from)
    }

    async fn attempts(&self) -> Result<Lease, ExchangeError> {
        let (mut pauses, began) = (ATTEMPT_PAUSES.into_iter(), Instant::now());
        let mut proof = self.source.prove().await?;
        loop {
            let error = match self.exchange_once(&proof).await {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            let pause = pause.max(error.retry_after.unwrap_or_default());
            // What asks for more than is left is not asked again; the failure is remembered for as long as it wants.
            if began.elapsed() + pause >= EXCHANGE_TIME_MAX {
                return Err(error);
            }
            sleep(pause).await;
            let newer = self.source.prove().await?;
            // What was refused is worth another attempt only if the token has been replaced in the meantime.
            if !is_transient(error.reason) && newer.token.expose() == proof.token.expose() {
                return Err(error);
            }
            proof = newer;
        }
    }

    async fn exchange_once(&self, proof: &Proof) -> Result<Lease, ExchangeError> {
        let count = |report: &StepReport<'_>| {
            self.metrics.exchange_steps_total.with_label_values(&[report.step.kind, report.outcome()]).inc();
        };
        let credential = self.exchange.exchange(proof, &self.target, &count).await?;
        Ok(Lease { principal: Arc::clone(&proof.principal), credential: Arc::new(credential), recorded: Arc::default() })
    }

    /// Takes the result of an exchange that began after so many withdrawals, and gives what those who wait are told.
    fn land(&self, result: Result<Lease, Failure>, withdrawals: u64) -> Result<Lease, Failure> {
        let mut state = self.state();
        state.flight = None;
        let result = result.and_then(|lease| if state.withdrawals == withdrawals { Ok(lease) } else { Err(Failure::withdrawn()) });
        match &result {
            Ok(lease) => {
                state.failed = None;
                self.metrics.credential_expiry.with_label_values(&[&self.target.name]).set(unix_seconds(lease.expires_at()));
                self.metrics.credential_issued.with_label_values(&[&self.target.name]).set(unix_seconds(lease.credential.issued_at));
                state.held = Some(Held::new(lease.clone()));
            }
            Err(failure) => {
                // Whoever has lost the identity must not go on with what was made of it.
                if failure.reason == Reason::IdentityWithdrawn {
                    state.held = None;
                }
                let count = state.failed.as_ref().map_or(1, |failed| failed.count.saturating_add(1));
                state.failed = Some(Failed { failure: failure.clone(), at: Instant::now(), count });
                let (target, reason, cause) = (&self.target.name, failure.reason.code(), failure.cause.as_deref());
                let step = failure.step.map(tracing::field::display);
                tracing::warn!(target_name = %target, reason, step, fix = failure.fix, cause, count, "no new credential");
            }
        }
        result
    }

    fn note(&self, change: Change) {
        let target = &self.target.name;
        let mut state = self.state();
        match change {
            Change::Withdrawn => {
                tracing::warn!(target_name = %target, "the identity is withdrawn, and what was made of it with it");
                state.withdrawals += 1;
                state.held = None;
            }
            Change::Renewed => {
                tracing::debug!(target_name = %target, "the identity is renewed");
                // What was refused before may have been the old one; whoever wants to be left alone is.
                state.failed.take_if(|failed| failed.failure.retry_after.is_none());
                if let Some(held) = &mut state.held {
                    held.renew_after = Instant::now();
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn withdrawn() -> Self {
        ExchangeError::new(Reason::IdentityWithdrawn, "it was withdrawn during the exchange").into()
    }
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        let mut causes = Vec::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = error.source.as_deref().map(|source| source as _);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let cause = (!causes.is_empty()).then(|| causes.join(": ").into());
        Self { reason: error.reason, step: error.step, fix: error.fix, retry_after: error.retry_after, cause }
    }
}

impl From<Failure> for ExchangeError {
    fn from(failure: Failure) -> Self {
        let source = failure.cause.map(|cause| cause.to_string().into());
        Self { reason: failure.reason, step: failure.step, fix: failure.fix, retry_after: failure.retry_after, source }
    }
}

/// Whether the failure may pass by itself.
fn is_transient(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ExchangeUnreachable
            | Reason::ExchangeUnprepared
            | Reason::IssuerUnreachable
            | Reason::TokenUnreadable
            | Reason::TokenEmpty
            | Reason::TokenIncomplete
            | Reason::IdentityNotIssued
            | Reason::WorkloadApi
    )
}

/// Three quarters of the life, less up to a tenth at random so that a fleet does not renew as one.
fn renew_at(lease: &Lease) -> SystemTime {
    let issued_at = lease.credential.issued_at;
    let life = lease.expires_at().duration_since(issued_at).unwrap_or_default();
    let per_mille = u32::try_from(RandomState::new().build_hasher().finish() % 100).unwrap_or(0);
    issued_at + life * (750 - per_mille) / 1000
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
