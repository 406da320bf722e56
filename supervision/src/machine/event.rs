//! What a [`Machine`](super::Machine) is told, and what it answers.

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
    /// This incarnation cannot begin to start before nothing is left of an earlier one.
    Waits(Key),
    /// This incarnation begins to start, after it had to wait.
    Begins(Key),
    /// This incarnation is up: its `init` succeeded.
    Started(Key),
    /// This incarnation asks to end by itself.
    Finish(Key),
    /// This incarnation has ended; something of it may still be left.
    Fell(Key, Exit),
    /// This incarnation has ended, and nothing of it is left.
    Exited(Key, Exit),
    /// Restart this child, without counting it as a fall.
    Restart(usize),
    /// End this child for good.
    Remove(usize),
    /// End all children in reverse order, by these deadlines.
    Shutdown(Deadlines),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Start this incarnation.
    Spawn(Key),
    /// Ask this incarnation to end as its [`Shutdown`] says; a supervisor also by these deadlines, if
    /// the whole tree is ending.
    Stop(Key, Option<Deadlines>),
    /// Cut this incarnation off.
    Kill(Key),
    /// Tell whoever watches.
    Tell(Key, Change),
    /// Every child has been started once.
    Booted,
    /// The supervisor is done; with a cause if it gave up.
    Halt(Option<Arc<Cause>>),
}

/// What a watcher is told of one incarnation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Change {
    /// It is up, after this long.
    Started {
        /// From the spawn to the end of `init`.
        took: Duration,
    },
    /// It ended.
    Exited {
        /// How.
        exit: Exit,
        /// How long it had been up.
        uptime: Duration,
    },
    /// It will be started again.
    RestartScheduled {
        /// How long from now.
        delay: Duration,
        /// The how-manieth attempt without a stable incarnation in between; the first is 1.
        attempt: u32,
    },
    /// It did not end in time and is being cut off.
    StopTimedOut,
    /// It was cut off and is still there: it blocks its thread. No other incarnation of it is
    /// started before it is gone.
    Leaked,
    /// Its fall was one too many: the supervisor gives up.
    Escalated {
        /// Why.
        cause: Arc<Cause>,
    },
    /// It refuses messages: its mailbox is full, or it runs as many tasks as it may. Told once until
    /// half of that is free again.
    Overloaded {
        /// The messages queued, or the tasks running.
        depth: usize,
    },
}

/// What an actor or a supervisor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Waits for its turn to start.
    Idle,
    /// In `init`.
    Starting,
    /// Running.
    Up,
    /// Fell, and waits to be started again.
    Backoff,
    /// Asked to end.
    Stopping,
    /// Ended for good.
    Down,
}
