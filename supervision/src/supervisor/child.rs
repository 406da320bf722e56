//! A supervisor's view of its children.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use ractor::{ActorCell, ActorRef, SpawnErr};

use crate::incarnation::{Command, Report};
use crate::machine::Deadlines;
use crate::policy::{ChildPolicy, SupervisorPolicy};
use crate::published::{Hub, Node};

/// A child of a supervisor, across all of its incarnations.
pub(crate) trait Child: Send + Sync {
    fn node(&self) -> &Arc<Node>;
    fn policy(&self) -> ChildPolicy;
    /// The plan of this child, if it is a supervisor.
    fn plan(&self) -> Option<&Plan>;
    /// Connects the child to its tree.
    fn connect(&self, hub: &Arc<Hub>);
    fn spawn(
        self: Arc<Self>,
        report: Report,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, SpawnErr>>;
    /// Begins to accept messages.
    fn open(&self, incarnation: u64, cell: &ActorCell);
    /// Stops accepting messages.
    fn close(&self);
    /// Asks an incarnation to stop; `deadlines` are for a supervisor.
    fn stop(&self, cell: &ActorCell, deadlines: Option<Deadlines>);
    /// Cuts an incarnation off.
    fn kill(&self, cell: &ActorCell);
    #[cfg(feature = "chaos")]
    fn inject_panic(&self) -> bool;
}

/// A supervisor, across all of its incarnations.
pub(crate) struct Plan {
    pub(crate) node: Arc<Node>,
    pub(crate) policy: SupervisorPolicy,
    pub(crate) children: Vec<Arc<dyn Child>>,
    /// The incarnation that takes commands now.
    pub(crate) live: ArcSwapOption<ActorRef<Command>>,
    pub(crate) kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Plan {
    /// Drops what is kept until the tree has ended.
    pub(crate) fn release(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        for value in kept {
            // The root must not fall with a value that panics.
            catch_unwind(AssertUnwindSafe(|| drop(value))).ok();
        }
    }

    /// Publishes that everything below has ended for good.
    pub(crate) fn all_down(&self) {
        for child in &self.children {
            child.node().set_down();
            if let Some(plan) = child.plan() {
                plan.all_down();
            }
        }
    }
}
