//! What an incarnation and its supervisor say to each other.

use std::sync::Arc;

use ractor::ActorRef;

use crate::exit::Exit;
use crate::machine::{Deadlines, Key};
use crate::published::Hub;

/// What a supervisor takes.
#[derive(Debug)]
pub(crate) enum Command {
    /// This incarnation cannot begin before nothing is left of an earlier one.
    Waits(Key),
    /// This incarnation begins, after it had to wait.
    Begins(Key),
    /// This incarnation's `init` succeeded.
    Started(Key),
    /// This incarnation asks to end.
    Finish(Key),
    /// Nothing of this incarnation is left.
    Gone(Key, Exit),
    /// A limit may have passed.
    Tick,
    /// Restart a child, uncounted.
    Restart(usize),
    /// End a child for good.
    Remove(usize),
    /// End everything, by these deadlines.
    Shutdown(Deadlines),
}

/// Where an incarnation reports to.
#[derive(Clone)]
pub(crate) struct Report {
    pub(crate) key: Key,
    pub(crate) supervisor: ActorRef<Command>,
    pub(crate) hub: Arc<Hub>,
}

impl Report {
    pub(crate) fn say(&self, what: fn(Key) -> Command) {
        // A supervisor that is gone has ended this incarnation already.
        self.supervisor.send_message(what(self.key)).ok();
    }
}
