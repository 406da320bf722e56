//! When a child is restarted, which siblings are restarted with it, and how it is stopped.

use std::time::Duration;

use crate::exit::Exit;

/// After which exits a child is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Restart {
    /// After every exit.
    #[default]
    Permanent,
    /// After an abnormal exit only. A group restart ([`Strategy`]) also starts it again after it ended
    /// by itself.
    Transient,
    /// Never, not even with its siblings.
    Temporary,
}

impl Restart {
    /// Whether a child that ended by itself is restarted after this exit.
    pub(crate) fn follows(self, exit: &Exit) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => exit.is_abnormal(),
            Self::Temporary => false,
        }
    }
}

/// Which siblings are restarted with a child that fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// None: only the child that fell.
    #[default]
    OneForOne,
    /// All of them.
    OneForAll,
    /// Those that come after it in start order.
    RestForOne,
}

/// How a child is stopped: in a shutdown, a restart, or a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// At once, at its next await point. [`Server::terminate`](crate::Server::terminate) does not run.
    Kill,
    /// Finishes the current message, drops the queue, and aborts its tasks. After this time it is killed.
    /// The default, with 5 s.
    Stop(Duration),
    /// Handles the messages in the queue and waits for its tasks, including the replies that they send.
    /// Timers are not waited for, nor tasks that still run after half of this time. After this time it
    /// is killed.
    Drain(Duration),
    /// Like `Stop`, with no limit of its own. The budget of a [shutdown](crate::System::shutdown) still
    /// applies.
    Unlimited,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Stop(Duration::from_secs(5))
    }
}
