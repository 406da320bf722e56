use std::pin::pin;
use std::sync::Arc;

use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until};

use super::lane::{Lane, Stall};
use super::lane_set::LaneSet;
use super::state::{OldLane, PATIENCE, Succession, Wait};
use crate::deadline;
use crate::redis::connect::{Connector, Failure, jittered, ping};
use crate::redis::leases::{CurrentGeneration, Waiting, most_waiting};
use crate::redis::socket::{CloseReason, Load, Purpose};
use crate::redis::status::{Cause, Error, Health};

/// Takes, makes and replaces the lanes of one endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<'a> {
    pub(crate) set: &'a LaneSet,
    pub(crate) current: &'a CurrentGeneration,
    pub(crate) connector: &'a Connector,
    pub(crate) health: &'a Health,
}

impl Lanes<'_> {
    /// A lane that serves. Waits for one for at most `connect_timeout`. Cancel safe.
    pub(crate) async fn take(self, load: Load) -> Result<Arc<Lane>, Error> {
        if let Some(error) = self.health.opened() {
            // Otherwise a caller that only tries again would block its thread.
            consume_budget().await;
            return Err(error);
        }
        match self.set.serving(load) {
            Some(lane) => Ok(lane),
            None => Box::pin(self.wait(load)).await,
        }
    }

    async fn wait(self, load: Load) -> Result<Arc<Lane>, Error> {
        let config = self.connector.config();
        let begun = Instant::now();
        let wait = Wait::new(begun, deadline::at_most(config.connect_timeout));
        let connect_failure = || self.connector.backoff().cause();
        let waiting = Waiting::count(&self.set.waiting);
        if waiting.number() > most_waiting(config.max_connections) {
            return Err(Error::unavailable(connect_failure().unwrap_or(Cause::Closed)));
        }
        loop {
            let published = self.set.published();
            if self.current.load().is_none() {
                return Err(Error::NotBuilt);
            }
            if let Some(lane) = self.set.serving(load) {
                return Ok(lane);
            }
            let look_again = wait.look(Instant::now(), connect_failure(), deadline::current())?;
            tokio::select! {
                biased;
                () = published => {}
                error = self.health.wait_opened() => return Err(error),
                () = sleep_until(look_again) => {}
            }
        }
    }

    /// Watches the lane in `slot` until it has been replaced, and returns why; `None` if the slot was empty. Cancel
    /// safe: the lane stays in use, unwatched.
    // redis R3, R4, R24
    pub(crate) async fn keep(self, slot: usize) -> Option<CloseReason> {
        let load = self.set.load_of(slot);
        let lane = self.set.slot(slot).load_full();
        let mut succession = Succession::begin(lane.is_some());
        let new = match lane {
            Some(lane) => self.succeed(slot, &lane, load, &mut succession).await,
            None => self.connect(load).await,
        };
        let reason = succession.reason();
        if let Some(old) = self.set.publish(slot, new) {
            old.retire(reason.unwrap_or(CloseReason::Replaced));
        }
        if self.current.load().is_none() {
            self.set.retire_all();
        }
        reason
    }

    /// Waits until `lane` is to be replaced, and returns its successor.
    async fn succeed(
        self,
        slot: usize,
        lane: &Lane,
        load: Load,
        succession: &mut Succession,
    ) -> Lane {
        let limit = self.connector.config().command_timeout;
        let give_up = |reason| {
            self.set.slot(slot).store(None);
            lane.retire(reason);
        };
        loop {
            let reason = lane.watch(limit, self.health).await;
            if succession.ends(reason) == OldLane::GiveUp {
                give_up(reason);
                self.connector.wait_turn(load).await;
                return self.connect(load).await;
            }
            // The old lane is in use until its successor is ready, so it may still fail, or be heard again.
            let stall = (reason == CloseReason::Stalled).then(|| Stall::of(lane));
            let mut connecting = pin!(self.connect_in_turn(load, stall.as_ref()));
            let mut later_stall = None;
            loop {
                tokio::select! {
                    biased;
                    new = &mut connecting => return new,
                    () = over(stall.as_ref()) => break,
                    // It is replaced for another reason, so that it is heard again does not keep it.
                    () = over(later_stall.as_ref()) => later_stall = None,
                    failed = lane.fails(limit, self.health) => {
                        if succession.ends(failed) == OldLane::GiveUp {
                            give_up(failed);
                            return connecting.await;
                        }
                        if stall.is_none() {
                            // One is kept: dropping it would end the mark.
                            later_stall.get_or_insert_with(|| Stall::of(lane));
                        }
                    }
                }
            }
            succession.recovers();
        }
    }

    /// Makes the successor of a lane that is still in use. Those of lanes that have stalled are made one after the other,
    /// so that a server that was silent for a while does not lose all of them at once.
    async fn connect_in_turn(self, load: Load, stall: Option<&Stall<'_>>) -> Lane {
        let _turn = match (stall, load) {
            (Some(_), Load::Ordinary) => self.set.stalled.acquire().await.ok(),
            (Some(_), Load::Bulk) | (None, _) => None,
        };
        if stall.is_some_and(Stall::is_over) {
            // Nobody has noticed yet. The lane is kept.
            return std::future::pending().await;
        }
        self.connect(load).await
    }

    /// Makes a lane whose server has answered. Never returns once the endpoint is closed.
    async fn connect(self, load: Load) -> Lane {
        let config = self.connector.config();
        loop {
            let Some(generation) = self.current.load() else { return std::future::pending().await };
            let lifecycle = generation.lifecycle();
            drop(generation);
            if lifecycle.is_closed() {
                // The next generation is about to be published.
                sleep(PATIENCE).await;
                continue;
            }
            let purpose = Purpose::Lane(load);
            let Ok(made) = self.connector.connect_until(purpose, lifecycle.closed()).await else {
                continue;
            };
            let found = ping(&made.wire, config.command_timeout).await;
            match found {
                Err(cause) if !cause.will_pass() => {
                    self.connector.backoff().failed(cause, Failure::Unanswered);
                }
                Ok(()) | Err(_) => {
                    self.connector.backoff().answered();
                    let lifetime = jittered(config.recycle_timeout, fastrand::f64());
                    return Lane::new(made, lifecycle, lifetime, found.err());
                }
            }
        }
    }
}

/// Ready when a stalled lane is heard again.
async fn over(stall: Option<&Stall<'_>>) {
    match stall {
        Some(stall) => stall.over().await,
        None => std::future::pending().await,
    }
}
