//! The way of messages to the log: they wait in one queue, and whoever is at hand commits what waits there.
//!
//! A record that counts as kept once the disk has it is committed by the writer's thread, which may wait for the disk.
//! Where the kernel's word is enough, the session that needs a record commits it on the spot, with everything else that
//! waits: the way to the thread and back would cost more than the write. With many queries in flight it lets the
//! others hand in their records first, so that one write does for all.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::Durability;
use super::writer::{Message, Writer};

/// Messages in one commit.
const COMMIT_MESSAGES_MAX: usize = 1024;

/// Queries that run at the warehouse, up to which a session does not wait for others to hand in theirs.
const FEW: usize = 2;

/// How long what nobody waits for may lie in the queue while other sessions are expected to come by and commit it.
const LINGER: Duration = Duration::from_millis(2);

/// Messages that wait for a commit. How many there can be is bounded by who hands them in ([`super::log`]).
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many wait.
    length: AtomicUsize,
    /// Tells the thread that it has to do the commit.
    due: Notify,
    /// Tells the thread that something waits which others may commit before it.
    left: Notify,
    /// Whether `left` was signalled since the thread looked last.
    is_left: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    messages: Vec<Message>,
    /// Whether the log takes no more.
    closed: bool,
    /// Whether nobody is left who could close it.
    orphaned: bool,
}

/// What the thread finds when it wakes.
pub(super) struct Found {
    /// The messages, in order.
    pub(super) messages: Vec<Message>,
    /// Whether nobody can hand in any more.
    pub(super) orphaned: bool,
}

impl Queue {
    /// Adds a message; given back once the queue is closed.
    pub(super) fn push(&self, message: Message) -> Result<(), Box<Message>> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Box::new(message));
        }
        waiting.messages.push(message);
        self.length.store(waiting.messages.len(), Ordering::Release);
        Ok(())
    }

    /// Takes what waits, as much as goes into one commit.
    pub(super) fn take(&self) -> Found {
        let mut waiting = self.lock();
        let messages = if waiting.messages.len() <= COMMIT_MESSAGES_MAX {
            mem::take(&mut waiting.messages)
        } else {
            let rest = waiting.messages.split_off(COMMIT_MESSAGES_MAX);
            mem::replace(&mut waiting.messages, rest)
        };
        self.length.store(waiting.messages.len(), Ordering::Release);
        Found { messages, orphaned: waiting.orphaned }
    }

    /// Takes everything; nothing more is taken in.
    pub(super) fn close(&self) -> Vec<Message> {
        let mut waiting = self.lock();
        waiting.closed = true;
        self.length.store(0, Ordering::Release);
        mem::take(&mut waiting.messages)
    }

    /// Notes that nobody is left who could close the log.
    pub(super) fn orphan(&self) {
        self.lock().orphaned = true;
        self.due.notify_one();
    }

    /// Has the thread commit what waits, at once.
    pub(super) fn call(&self) {
        self.due.notify_one();
    }

    /// Has the thread commit what waits, if nobody else has done so shortly.
    fn leave(&self) {
        if !self.is_left.swap(true, Ordering::AcqRel) {
            self.left.notify_one();
        }
    }

    /// Returns when the thread has something to do, at `wake` at the latest.
    pub(super) async fn wait(&self, wake: Instant) {
        tokio::select! {
            biased;
            () = self.due.notified() => {}
            () = self.left.notified() => {
                tokio::select! {
                    () = self.due.notified() => {}
                    () = sleep(LINGER) => {}
                }
            }
            () = sleep_until(wake) => {}
        }
        self.is_left.store(false, Ordering::Release);
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.length.load(Ordering::Acquire)
    }

    /// A panic elsewhere leaves the messages whole, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where sessions hand in messages. Clones share it.
#[derive(Clone)]
pub(super) struct Counter {
    queue: Arc<Queue>,
    writer: Arc<Mutex<Writer>>,
    durability: Durability,
    in_flight: IntGauge,
}

impl Counter {
    /// The counter before a queue and its writer.
    pub(super) fn new(queue: Arc<Queue>, writer: Arc<Mutex<Writer>>, durability: Durability, in_flight: IntGauge) -> Self {
        Self { queue, writer, durability, in_flight }
    }

    /// Hands in a message; given back once the log is closed. It waits for [`Counter::settle`] or for others' messages
    /// where the thread is not needed for it.
    pub(super) fn hand_in(&self, message: Message) -> Result<(), Box<Message>> {
        self.queue.push(message)?;
        if self.durability == Durability::Fsync {
            self.queue.call();
        }
        Ok(())
    }

    /// Has a message committed that somebody waits for: on the spot where that takes no wait for the disk. Lets other
    /// sessions hand in theirs first, where there are some. Cancel safe: others commit it then.
    pub(super) async fn expedite(&self) {
        if self.durability == Durability::Fsync {
            return;
        }
        if self.running() > FEW {
            // In case this session ends in between.
            self.queue.leave();
            tokio::task::yield_now().await;
        }
        self.commit();
    }

    /// Sees to it that messages which nobody waits for are committed soon.
    pub(super) fn settle(&self) {
        if self.durability == Durability::Fsync || self.queue.len() == 0 {
            return;
        }
        if self.running() > FEW { self.queue.leave() } else { self.commit() }
    }

    /// Commits what waits, unless somebody does already: then they see what was handed in before this call.
    pub(super) fn commit(&self) {
        while self.queue.len() > 0 {
            let mut writer = match self.writer.try_lock() {
                Ok(writer) => writer,
                Err(TryLockError::WouldBlock) => return,
                // Nothing may be written any more: the thread ends the log.
                Err(TryLockError::Poisoned(_)) => return self.queue.call(),
            };
            if !writer.takes_at_once(self.queue.len()) {
                return self.queue.call();
            }
            let sleeps_until = writer.wake();
            writer.commit_or_wait(self.queue.take().messages);
            if writer.wake() < sleeps_until {
                self.queue.call();
            }
        }
    }

    /// Asks the thread to commit everything and end.
    pub(super) fn call(&self) {
        self.queue.call();
    }

    /// Nobody is left who could close the log.
    pub(super) fn orphan(&self) {
        self.queue.orphan();
    }

    /// About how many queries are between their records: the outcomes that wait count as in flight until they are kept.
    fn running(&self) -> usize {
        usize::try_from(self.in_flight.get()).unwrap_or_default().saturating_sub(self.queue.len())
    }
}
