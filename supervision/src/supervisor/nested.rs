//! A supervisor as a child of the one above it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor as _, ActorCell, ActorRef, SpawnErr};
use tokio::time::Instant;

use super::child::{Child, Plan};
use super::driver::Driver;
use crate::incarnation::{Command, Report};
use crate::machine::Deadlines;
use crate::policy::{Backoff, ChildPolicy, Restart, Shutdown};
use crate::published::{Hub, Node};

/// A supervisor below another, across all of its incarnations.
pub(super) struct Nested {
    pub(super) plan: Arc<Plan>,
    pub(super) significant: bool,
    pub(super) backoff: Backoff,
}

impl Child for Nested {
    fn node(&self) -> &Arc<Node> {
        &self.plan.node
    }

    fn policy(&self) -> ChildPolicy {
        ChildPolicy {
            path: Arc::clone(self.plan.node.path()),
            is_supervisor: true,
            restart: Restart::Permanent,
            significant: self.significant,
            backoff: self.backoff,
            shutdown: Shutdown::Unlimited,
            start_timeout: None,
            stall_after: None,
        }
    }

    fn plan(&self) -> Option<&Plan> {
        Some(&self.plan)
    }

    fn connect(&self, _hub: &Arc<Hub>) {}

    fn spawn(
        self: Arc<Self>,
        report: Report,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> {
        let driver = Driver::below(Arc::clone(&self.plan), report);
        async move {
            let (actor, _task) = Driver::spawn_linked(None, driver, (), supervisor).await?;
            Ok(actor.get_cell())
        }
        .boxed()
    }

    fn open(&self, _incarnation: u64, _cell: &ActorCell) {}

    fn close(&self) {}

    fn stop(&self, cell: &ActorCell, deadlines: Option<Deadlines>) {
        let in_its_time = || Deadlines::within(Instant::now(), Duration::MAX);
        let deadlines = deadlines.unwrap_or_else(in_its_time);
        let driver: ActorRef<Command> = cell.clone().into();
        // It fails only if the supervisor has ended.
        driver.send_message(Command::Shutdown(deadlines)).ok();
    }

    /// Ends with deadlines of zero instead: a killed supervisor would leave its children behind.
    fn kill(&self, cell: &ActorCell) {
        self.stop(cell, Some(Deadlines::within(Instant::now(), Duration::ZERO)));
    }

    #[cfg(feature = "chaos")]
    fn inject_panic(&self) -> bool {
        false
    }
}
