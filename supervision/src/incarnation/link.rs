//! The messages that a supervisor takes, and how an incarnation reports to it.

use std::sync::Arc;

use ractor::ActorRef;

use crate::exit::Exit;
use crate::machine::{Deadlines, Key};
use crate::published::Hub;

/// A message to a supervisor.
#[derive(Debug)]
pub(crate) enum Command {
    /// This incarnation waits until nothing of an earlier one is left.
    Waits(Key),
    /// This incarnation begins its `init` after that wait.
    Begins(Key),
    /// The `init` of this incarnation succeeded.
    Started(Key),
    /// This incarnation asks to end.
    Finish(Key),
    /// Nothing of this incarnation is left.
    Gone(Key, Exit),
    /// A deadline may have passed.
    Tick,
    /// Restart a child by hand.
    Restart(usize),
    /// Remove a child.
    Remove(usize),
    /// End all children by these deadlines.
    Shutdown(Deadlines),
}

/// Identifies an incarnation and its supervisor.
#[derive(Clone)]
pub(crate) struct Report {
    pub(crate) key: Key,
    pub(crate) supervisor: ActorRef<Command>,
    pub(crate) hub: Arc<Hub>,
}

impl Report {
    pub(crate) fn say(&self, what: fn(Key) -> Command) {
        // It fails only if the supervisor is gone, which has then ended this incarnation.
        self.supervisor.send_message(what(self.key)).ok();
    }
}
