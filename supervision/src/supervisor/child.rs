//! What a supervisor knows of its children.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use ractor::{ActorCell, ActorRef, SpawnErr};

use crate::incarnation::{Command, Report};
use crate::machine::Deadlines;
use crate::policy::{ChildPolicy, SupervisorPolicy};
use crate::published::{Hub, Node};

/// A child of a supervisor, for all of its incarnations.
pub(crate) trait Child: Send + Sync {
    fn node(&self) -> &Arc<Node>;
    fn policy(&self) -> ChildPolicy;
    /// The supervisor that this child is, if it is one.
    fn plan(&self) -> Option<&Plan>;
    /// Gives the child what its tree shares.
    fn connect(&self, hub: &Arc<Hub>);
    fn spawn(
        self: Arc<Self>,
        report: Report,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, SpawnErr>>;
    /// Lets messages in.
    fn open(&self, incarnation: u64, cell: &ActorCell);
    /// Lets no more messages in.
    fn close(&self);
    /// Asks an incarnation to end; a supervisor by these deadlines.
    fn stop(&self, cell: &ActorCell, deadlines: Option<Deadlines>);
    /// Ends an incarnation at once.
    fn kill(&self, cell: &ActorCell);
    #[cfg(feature = "chaos")]
    fn inject_panic(&self) -> bool;
}

/// A supervisor, for all of its incarnations.
pub(crate) struct Plan {
    pub(crate) node: Arc<Node>,
    pub(crate) policy: SupervisorPolicy,
    pub(crate) children: Vec<Arc<dyn Child>>,
    /// The incarnation that takes commands now.
    pub(crate) live: ArcSwapOption<ActorRef<Command>>,
}

impl Plan {
    /// Shows that nobody below comes back.
    pub(crate) fn all_down(&self) {
        for child in &self.children {
            child.node().set_down();
            if let Some(plan) = child.plan() {
                plan.all_down();
            }
        }
    }
}
