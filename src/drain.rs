//! Tells every task when to stop, in two steps: finish what runs, then end.

use tokio::sync::watch;

/// How far the shutdown has come. The order of the variants is the order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Normal work.
    Running,
    /// Nothing new is accepted; what runs may finish.
    Draining,
    /// The deadline has passed: what still runs is cancelled.
    Ending,
}

/// Moves the shutdown on. Dropping it ends everything.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Stage>);

/// Watches the shutdown. Cheap to clone; every task holds one.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Stage>);

/// A trigger and the view that tasks get.
pub fn channel() -> (Trigger, Drain) {
    let (sender, receiver) = watch::channel(Stage::Running);
    (Trigger(sender), Drain(receiver))
}

impl Trigger {
    /// Moves on to `stage`; never back.
    pub fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let later = stage > *now;
            if later {
                *now = stage;
            }
            later
        });
    }
}

impl Drain {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Waits until `stage` is reached or passed. Cancel safe.
    pub async fn reached(&self, stage: Stage) {
        let mut receiver = self.0.clone();
        // A dropped trigger means that the program ends: there is nobody left to move on.
        let _gone = receiver.wait_for(|now| *now >= stage).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Stage, channel};

    #[tokio::test]
    async fn a_stage_is_reached_once_and_never_left() {
        let (trigger, drain) = channel();
        assert_eq!(drain.stage(), Stage::Running);
        trigger.advance(Stage::Ending);
        trigger.advance(Stage::Draining);
        assert_eq!(drain.stage(), Stage::Ending);
        drain.reached(Stage::Draining).await;
    }

    #[tokio::test]
    async fn a_dropped_trigger_ends_every_wait() {
        let (trigger, drain) = channel();
        drop(trigger);
        drain.reached(Stage::Ending).await;
    }
}
