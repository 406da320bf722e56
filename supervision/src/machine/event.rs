//! The inputs and effects of a [`Machine`](super::Machine).

use std::sync::Arc;
use std::time::Duration;

use super::deadlines::Deadlines;
use crate::exit::{Cause, Exit};
#[cfg(doc)]
use crate::policy::Shutdown;
use serde::Serialize;

/// One incarnation of one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Which child, in start order.
    pub(crate) child: usize,
    /// Which of its incarnations; the first is 1.
    pub(crate) incarnation: u64,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Start the children, in order.
    Boot,
    /// This incarnation waits until nothing of an earlier one is left.
    Waits(Key),
    /// This incarnation begins its `init` after that wait.
    Begins(Key),
    /// This incarnation is up: its `init` succeeded.
    Started(Key),
    /// This incarnation asks to end by itself.
    Finish(Key),
    /// This incarnation has ended; something of it may still be left.
    Fell(Key, Exit),
    /// This incarnation has ended, and nothing of it is left.
    Exited(Key, Exit),
    /// Restart this child by hand. This does not count as a fall.
    Restart(usize),
    /// Remove this child.
    Remove(usize),
    /// Stop all children in reverse order, by these deadlines.
    Shutdown(Deadlines),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Start this incarnation.
    Spawn(Key),
    /// Ask this incarnation to stop as its [`Shutdown`] says. The deadlines are for a supervisor, if the
    /// whole tree is ending.
    Stop(Key, Option<Deadlines>),
    /// Cut this incarnation off.
    Kill(Key),
    /// Publish this change as an event.
    Tell(Key, Change),
    /// Every child has been started once.
    Booted,
    /// The supervisor has ended, with a cause if it gave up.
    Halt(Option<Arc<Cause>>),
}

/// What happened to an incarnation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Change {
    /// It is up.
    Started {
        /// The time from its spawn to the end of `init`.
        took: Duration,
    },
    /// It ended.
    Exited {
        /// How it ended.
        exit: Exit,
        /// How long it had been up.
        uptime: Duration,
    },
    /// It will be restarted.
    RestartScheduled {
        /// After this time.
        delay: Duration,
        /// The number of restarts since an incarnation was last stable
        /// ([`Backoff`](crate::Backoff)), with this one.
        attempt: u32,
    },
    /// It did not stop in time and is being cut off.
    StopTimedOut,
    /// It has fallen or was cut off, and something of it is still running, because it blocks a thread. The
    /// next incarnation starts only after that is gone.
    Leaked,
    /// The supervisor gives up because of this fall.
    Escalated {
        /// Why it gives up.
        cause: Arc<Cause>,
    },
    /// It refuses messages: its mailbox is full, or it runs as many tasks as it may. Reported once, and
    /// again only after both were down to half.
    Overloaded {
        /// The number of messages, or of tasks if these are at their limit.
        depth: usize,
    },
}

/// The state of an actor or a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Not started yet: it waits for its turn.
    Idle,
    /// In `init`, or waiting until nothing of its previous incarnation is left.
    Starting,
    /// Running.
    Up,
    /// Fell, and waits for its restart.
    Backoff,
    /// Stopping.
    Stopping,
    /// Ended for good.
    Down,
}
