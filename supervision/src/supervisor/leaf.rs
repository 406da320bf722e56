//! An actor as a child of its supervisor.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor as _, ActorCell, ActorRef, SpawnErr};
use tokio::time::Instant;

use super::child::{Child, Plan};
use crate::address::{Control, Envelope, Seat};
use crate::incarnation::{Host, Report, Server};
use crate::machine::Deadlines;
use crate::policy::{Backoff, ChildPolicy, Restart, Shutdown};
use crate::published::{Hub, Node};

/// An actor, across all of its incarnations.
pub(super) struct Leaf<S: Server> {
    pub(super) seat: Arc<Seat<S::Message>>,
    pub(super) factory: Arc<dyn Fn() -> S + Send + Sync>,
    pub(super) stall_after: Option<Duration>,
    pub(super) restart: Restart,
    pub(super) significant: bool,
    pub(super) shutdown: Shutdown,
    pub(super) backoff: Backoff,
    pub(super) start_timeout: Duration,
}

impl<S: Server> Child for Leaf<S> {
    fn node(&self) -> &Arc<Node> {
        &self.seat.node
    }

    fn policy(&self) -> ChildPolicy {
        ChildPolicy {
            path: Arc::clone(self.seat.node.path()),
            is_supervisor: false,
            restart: self.restart,
            significant: self.significant,
            backoff: self.backoff,
            shutdown: self.shutdown,
            start_timeout: Some(self.start_timeout),
            stall_after: self.stall_after,
        }
    }

    fn plan(&self) -> Option<&Plan> {
        None
    }

    fn connect(&self, hub: &Arc<Hub>) {
        self.seat.connect(hub);
    }

    fn spawn(
        self: Arc<Self>,
        report: Report,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> {
        let host =
            Host::new(Arc::clone(&self.factory), Arc::clone(&self.seat), self.stall_after, report);
        async move {
            // Unnamed: ractor's names are global to the process, and a tree is not.
            let (actor, _task) = Host::spawn_linked(None, host, (), supervisor).await?;
            Ok(actor.get_cell())
        }
        .boxed()
    }

    fn open(&self, incarnation: u64, cell: &ActorCell) {
        self.seat.open(incarnation, cell.clone().into());
    }

    fn close(&self) {
        self.seat.close();
    }

    fn stop(&self, cell: &ActorCell, deadlines: Option<Deadlines>) {
        match self.shutdown {
            Shutdown::Drain(limit) => {
                let until_all_end =
                    |by: Deadlines| by.ask_all.saturating_duration_since(Instant::now());
                let budget = deadlines.map_or(limit, until_all_end);
                let actor: ActorRef<Envelope<S::Message>> = cell.clone().into();
                // It fails only if the actor is already ending.
                actor.send_message(Envelope::control(Control::Drain(limit.min(budget) / 2))).ok();
            }
            Shutdown::Stop(_) | Shutdown::Unlimited | Shutdown::Kill => cell.stop(None),
        }
    }

    fn kill(&self, cell: &ActorCell) {
        cell.kill();
    }

    #[cfg(feature = "chaos")]
    fn inject_panic(&self) -> bool {
        self.seat.inject_panic()
    }
}
