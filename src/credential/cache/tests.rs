//! The cache between many callers and one exchange that may be slow, refuse or be away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{Cache, Lease, Look};
use crate::credential::{Credential, CredentialExchange, ExchangeError, Exchanging, Login, Report};
use crate::fault::Reason;
use crate::identity::{Change, Hears, IdentityError, IdentitySource, Principal, Proof, Proving, Watching};
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::target::{Opening, Target};

const HOUR: u64 = 3600;

/// A source and an exchange that do as they are told.
struct Script {
    exchanges: AtomicUsize,
    /// Each exchange takes one before it answers.
    gate: Semaphore,
    answer: Mutex<Answer>,
    /// Seconds that the identity still lives.
    proof_life: AtomicU32,
    token: Mutex<String>,
    identity_failure: Mutex<Option<Reason>>,
    changes: watch::Sender<Option<Change>>,
}

#[derive(Clone, Copy)]
enum Answer {
    /// Seconds since it was issued, and seconds that it still lives.
    Credential(u64, u64),
    Failure(Reason),
    /// Away, and for so long wants to be left alone.
    Busy(Duration),
    Panic,
}

impl IdentitySource for Script {
    fn kind(&self) -> &'static str {
        "script"
    }

    fn prove(&self) -> Proving<'_> {
        Box::pin(async {
            if let Some(reason) = *self.identity_failure.lock().unwrap() {
                return Err(IdentityError::new(reason, "as told"));
            }
            let life = Duration::from_secs(self.proof_life.load(Ordering::SeqCst).into());
            let principal = Principal {
                issuer: "https://issuer".to_owned(),
                subject: "workload".to_owned(),
                token_id: None,
                actors: Vec::new(),
                namespace: None,
                service_account: None,
                pod: None,
                pod_uid: None,
                labels: BTreeMap::new(),
                proven_by: "script",
                expires_at: SystemTime::now() + life,
            };
            Ok(Proof { principal: Arc::new(principal), token: Secret::new(self.token.lock().unwrap().clone()), certificate: None })
        })
    }

    fn watch<'a>(&'a self, hears: &'a Hears<'a>) -> Watching<'a> {
        let mut changes = self.changes.subscribe();
        Box::pin(async move {
            while changes.changed().await.is_ok() {
                let change = *changes.borrow_and_update();
                hears(change.unwrap());
            }
        })
    }
}

impl CredentialExchange for Script {
    fn kind(&self) -> &'static str {
        "script"
    }

    fn exchange<'a>(&'a self, _: &'a Proof, _: &'a Target, _: &'a Report<'a>) -> Exchanging<'a> {
        Box::pin(async {
            let count = self.exchanges.fetch_add(1, Ordering::SeqCst) + 1;
            self.gate.acquire().await.unwrap().forget();
            let answer = *self.answer.lock().unwrap();
            let now = SystemTime::now();
            match answer {
                Answer::Credential(age, life) => Ok(Credential {
                    id: format!("credential-{count}"),
                    login: Login::Password(Secret::from("hunter2")),
                    role: None,
                    issued_at: now - Duration::from_secs(age),
                    expires_at: now + Duration::from_secs(life),
                }),
                Answer::Failure(reason) => Err(ExchangeError::new(reason, "as told")),
                Answer::Busy(wish) => {
                    Err(ExchangeError { retry_after: Some(wish), ..ExchangeError::new(Reason::ExchangeUnreachable, "as told") })
                }
                Answer::Panic => panic!("as told"),
            }
        })
    }
}

impl Script {
    fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self {
            exchanges: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            answer: Mutex::new(answer),
            proof_life: AtomicU32::new(7200),
            token: Mutex::new("token".to_owned()),
            identity_failure: Mutex::new(None),
            changes: watch::Sender::new(None),
        })
    }

    fn closed(answer: Answer) -> Arc<Self> {
        let script = Self::new(answer);
        script.gate.forget_permits(Semaphore::MAX_PERMITS);
        script
    }

    fn tell(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn count(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }
}

fn cache(script: &Arc<Script>) -> (Cache, Arc<Metrics>) {
    let target =
        Target { name: "warehouse".to_owned(), kind: "postgresql", host: "localhost".to_owned(), port: 5432, opening: Opening::Plain };
    let metrics = Arc::new(Metrics::new().unwrap());
    (Cache::new(script.clone(), script.clone(), Arc::new(target), Arc::clone(&metrics)), metrics)
}

/// Waits, at most two seconds, until something has come true that a background task does.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true");
}

async fn id(cache: &Cache) -> String {
    cache.get().await.unwrap().credential.id.clone()
}

#[tokio::test]
async fn fifty_callers_share_one_exchange_even_when_the_first_goes_away() {
    let script = Script::closed(Answer::Credential(0, HOUR));
    let (cache, metrics) = cache(&script);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get().await.map(|_| ()) }
    });
    until(|| script.count() == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());

    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let cache = cache.clone();
        callers.spawn(async move { id(&cache).await });
    }
    tokio::task::yield_now().await;
    script.gate.add_permits(1);
    assert!(callers.join_all().await.iter().all(|id| id == "credential-1"));
    assert_eq!(script.count(), 1);
    assert_eq!(metrics.exchange_total.with_label_values(&["script", "ok"]).get(), 1);
    let expiry = metrics.credential_expiry.with_label_values(&["warehouse"]).get();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((expiry - now - 3600.0).abs() < 5.0, "{expiry}");
}

#[tokio::test]
async fn a_credential_past_three_quarters_of_its_life_serves_while_a_new_one_is_exchanged() {
    let script = Script::new(Answer::Credential(3 * HOUR, HOUR - 60));
    let (cache, _) = cache(&script);
    assert_eq!(id(&cache).await, "credential-1");
    script.tell(Answer::Credential(0, HOUR));
    assert_eq!(id(&cache).await, "credential-1", "nobody waits for the renewal");
    until(|| script.count() == 2).await;
    while id(&cache).await != "credential-2" {
        tokio::task::yield_now().await;
    }
    assert_eq!(id(&cache).await, "credential-2");
    assert_eq!(script.count(), 2, "a young credential is not renewed");
}

#[tokio::test]
async fn an_outage_is_served_from_the_cache_and_asked_about_rarely() {
    let script = Script::new(Answer::Credential(3 * HOUR, HOUR - 60));
    let (cache, metrics) = cache(&script);
    assert_eq!(id(&cache).await, "credential-1");
    script.tell(Answer::Failure(Reason::ExchangeUnreachable));
    let outcome = ["script", "exchange-unreachable"];
    for _ in 0..100 {
        assert_eq!(id(&cache).await, "credential-1");
    }
    until(|| metrics.exchange_total.with_label_values(&outcome).get() == 1).await;
    for _ in 0..100 {
        assert_eq!(id(&cache).await, "credential-1");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.count(), 1 + 4, "one renewal of four attempts, then a pause");
}

#[tokio::test]
async fn a_denial_is_remembered_and_not_retried_while_the_token_is_the_same() {
    let script = Script::new(Answer::Failure(Reason::ExchangeRefused));
    let (cache, _) = cache(&script);
    for _ in 0..10 {
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.reason, Reason::ExchangeRefused);
        assert_eq!(error.source.unwrap().to_string(), "as told");
    }
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_refused_token_that_is_replaced_meanwhile_is_worth_another_attempt() {
    let script = Script::new(Answer::Failure(Reason::ExchangeRefused));
    let (cache, _) = cache(&script);
    let caller = tokio::spawn(async move { id(&cache).await });
    until(|| script.count() == 1).await;
    *script.token.lock().unwrap() = "fresher".to_owned();
    script.tell(Answer::Credential(0, HOUR));
    assert_eq!(caller.await.unwrap(), "credential-2");
}

#[tokio::test]
async fn an_exchange_that_is_away_is_asked_four_times_and_then_again_after_a_second() {
    let script = Script::new(Answer::Failure(Reason::ExchangeUnreachable));
    let (cache, _) = cache(&script);
    assert_eq!(cache.get().await.unwrap_err().reason, Reason::ExchangeUnreachable);
    assert_eq!(cache.get().await.unwrap_err().reason, Reason::ExchangeUnreachable);
    assert_eq!(script.count(), 4);
    script.tell(Answer::Credential(0, HOUR));
    assert!(cache.get().await.is_err(), "still remembered");
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(id(&cache).await, "credential-5");
}

#[tokio::test]
async fn an_identity_that_cannot_be_proven_gets_no_exchange_and_keeps_its_own_reason() {
    let script = Script::new(Answer::Credential(0, HOUR));
    *script.identity_failure.lock().unwrap() = Some(Reason::TokenExpired);
    let (cache, metrics) = cache(&script);
    assert_eq!(cache.get().await.unwrap_err().reason, Reason::TokenExpired);
    assert_eq!(script.count(), 0);
    assert_eq!(metrics.exchange_total.with_label_values(&["script", "token-expired"]).get(), 1);
}

#[tokio::test]
async fn a_lease_ends_with_the_proof_or_the_credential_whichever_is_first() {
    let script = Script::new(Answer::Credential(0, HOUR));
    script.proof_life.store(20, Ordering::SeqCst);
    let (cache, _) = cache(&script);
    let lease = cache.get().await.unwrap();
    assert_eq!(lease.expires_at(), lease.principal.expires_at);
    // 20 s are less than the 30 s before the end in which nothing is used: the next caller gets a new one.
    assert_eq!(id(&cache).await, "credential-2");
}

#[tokio::test]
async fn an_exchange_that_panics_fails_its_callers_and_not_the_next_ones() {
    let script = Script::closed(Answer::Panic);
    let (cache, _) = cache(&script);
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get().await.map(|_| ()) }
    });
    until(|| script.count() == 1).await;
    script.gate.add_permits(1);
    assert_eq!(caller.await.unwrap().unwrap_err().reason, Reason::Internal);
    script.tell(Answer::Credential(0, HOUR));
    script.gate.add_permits(1);
    assert_eq!(id(&cache).await, "credential-2");
}

#[tokio::test]
async fn no_secret_is_in_the_debug_output_of_a_lease() {
    let script = Script::new(Answer::Credential(0, HOUR));
    let lease: Lease = cache(&script).0.get().await.unwrap();
    assert!(!format!("{lease:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_clock_that_is_set_back_or_stands_still_keeps_no_credential_alive() {
    let script = Script::new(Answer::Credential(0, HOUR));
    let (cache, _) = cache(&script);
    cache.get().await.unwrap();
    let (wall, monotonic) = (SystemTime::now(), Instant::now());
    let shared = &cache.shared;
    let serves = |wall, monotonic| matches!(shared.look(wall, monotonic), Look::Lease(_));
    let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * HOUR));
    assert!(serves(wall + minute, monotonic + minute));
    assert!(serves(wall - day, monotonic + minute), "set back, it still serves for its life");
    script.tell(Answer::Failure(Reason::ExchangeUnreachable));
    assert!(!serves(wall - day, monotonic + 60 * minute), "and no longer");
    assert!(!serves(wall + 60 * minute, monotonic), "nor after a sleep, while which the other clock stands still");
}

#[tokio::test]
async fn a_clock_that_runs_ahead_costs_one_exchange_for_each_login_and_no_more() {
    // Issued for an hour, and over already by our clock.
    let script = Script::new(Answer::Credential(2 * HOUR, 0));
    let (cache, _) = cache(&script);
    for expected in 1..=3 {
        assert_eq!(id(&cache).await, format!("credential-{expected}"));
        assert_eq!(script.count(), expected);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.count(), 3, "nothing goes on by itself");
}

#[tokio::test]
async fn a_credential_that_the_warehouse_refuses_is_replaced_once_in_a_while() {
    let script = Script::new(Answer::Credential(0, HOUR));
    let (cache, _) = cache(&script);
    let first = cache.get().await.unwrap();
    let second = cache.replace(&first).await.unwrap();
    assert_eq!((second.credential.id.as_str(), id(&cache).await.as_str()), ("credential-2", "credential-2"));
    assert_eq!(cache.replace(&first).await.unwrap().credential.id, "credential-2", "somebody else has replaced it already");
    assert!(cache.replace(&second).await.is_none(), "the warehouse takes none of them");
    assert_eq!((id(&cache).await.as_str(), script.count()), ("credential-2", 2));
}

#[tokio::test]
async fn what_was_made_of_a_withdrawn_identity_serves_nobody() {
    let script = Script::new(Answer::Credential(3 * HOUR, HOUR - 60));
    let (cache, _) = cache(&script);
    assert_eq!(id(&cache).await, "credential-1");
    *script.identity_failure.lock().unwrap() = Some(Reason::IdentityWithdrawn);
    // Due for renewal, so that the identity is proven again in the background.
    assert_eq!(id(&cache).await, "credential-1");
    until(|| cache.shared.state().held.is_none()).await;
    assert_eq!(cache.get().await.unwrap_err().reason, Reason::IdentityWithdrawn);
}

/// A cache that follows its source, in a task that ends with the test.
async fn watched(script: &Arc<Script>) -> (Cache, JoinSet<()>) {
    let (cache, _) = cache(script);
    let mut following = JoinSet::new();
    following.spawn({
        let cache = cache.clone();
        async move { cache.watch().await }
    });
    until(|| script.changes.receiver_count() == 1).await;
    (cache, following)
}

#[tokio::test]
async fn a_withdrawal_that_the_source_hears_of_takes_a_young_credential_away_at_once() {
    let script = Script::new(Answer::Credential(0, HOUR));
    let (cache, _following) = watched(&script).await;
    assert_eq!(id(&cache).await, "credential-1");
    *script.identity_failure.lock().unwrap() = Some(Reason::IdentityWithdrawn);
    assert_eq!(id(&cache).await, "credential-1", "nobody has heard of it yet");
    script.changes.send_replace(Some(Change::Withdrawn));
    until(|| cache.shared.state().held.is_none()).await;
    assert_eq!(cache.get().await.unwrap_err().reason, Reason::IdentityWithdrawn);
    // It is there again: what was refused a moment ago is asked for anew.
    *script.identity_failure.lock().unwrap() = None;
    assert!(cache.get().await.is_err(), "still remembered");
    script.changes.send_replace(Some(Change::Renewed));
    until(|| cache.shared.state().failed.is_none()).await;
    assert_eq!(id(&cache).await, "credential-2");
}

#[tokio::test]
async fn a_renewed_identity_has_its_credential_exchanged_at_the_next_use_and_served_meanwhile() {
    let script = Script::new(Answer::Credential(0, HOUR));
    let (cache, _following) = watched(&script).await;
    assert_eq!(id(&cache).await, "credential-1");
    let due = || cache.shared.state().held.as_ref().is_some_and(|held| held.is_due(SystemTime::now(), Instant::now()));
    script.changes.send_replace(Some(Change::Renewed));
    until(due).await;
    assert_eq!(script.count(), 1, "nobody uses it, and nobody is asked");
    assert_eq!(id(&cache).await, "credential-1");
    while id(&cache).await != "credential-2" {
        tokio::task::yield_now().await;
    }
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn what_an_exchange_makes_of_an_identity_that_is_withdrawn_meanwhile_serves_nobody() {
    let script = Script::closed(Answer::Credential(0, HOUR));
    let (cache, _following) = watched(&script).await;
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get().await.map(|_| ()) }
    });
    until(|| script.count() == 1).await;
    script.changes.send_replace(Some(Change::Withdrawn));
    until(|| cache.shared.state().withdrawals == 1).await;
    script.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap_err().reason, Reason::IdentityWithdrawn);
    assert!(cache.shared.state().held.is_none());
}

#[tokio::test]
async fn an_exchange_that_wants_to_be_left_alone_for_a_moment_is_waited_for() {
    let wish = Duration::from_millis(1200);
    let script = Script::new(Answer::Busy(wish));
    let (cache, _) = cache(&script);
    let began = Instant::now();
    let waiting = tokio::spawn(async move { id(&cache).await });
    until(|| script.count() == 1).await;
    script.tell(Answer::Credential(0, HOUR));
    assert_eq!(waiting.await.unwrap(), "credential-2", "and asked again once");
    assert!(began.elapsed() >= wish);
}

#[tokio::test]
async fn an_exchange_that_wants_to_be_left_alone_for_longer_fails_at_once_and_is_left_alone() {
    let script = Script::new(Answer::Busy(Duration::from_secs(40)));
    let (cache, _) = cache(&script);
    assert_eq!(cache.get().await.unwrap_err().reason, Reason::ExchangeUnreachable);
    assert_eq!(script.count(), 1);
    let (wall, instant) = (SystemTime::now(), Instant::now());
    let asks_at = |seconds| !matches!(cache.shared.look(wall, instant + Duration::from_secs(seconds)), Look::Failure(_));
    assert!(!asks_at(2) && !asks_at(39), "longer than after another failure");
    script.tell(Answer::Credential(0, HOUR));
    assert!(asks_at(41));
    until(|| cache.shared.state().held.is_some()).await;
    assert_eq!(id(&cache).await, "credential-2");
}
