//! When a child is restarted, with whom, and how it is asked to end.

use std::time::Duration;

/// Which exits a child is restarted after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Restart {
    /// After every exit.
    #[default]
    Permanent,
    /// After an abnormal exit only.
    Transient,
    /// Never.
    Temporary,
}

/// Which siblings are restarted with a child that fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// None.
    #[default]
    OneForOne,
    /// All of them.
    OneForAll,
    /// Those that were started after it.
    RestForOne,
}

/// How a child is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// At its next await point, at once. [`Server::terminate`](crate::Server::terminate) does not run.
    Kill,
    /// After the message in hand; the queue is dropped. Killed when the time is up.
    Stop(Duration),
    /// After all messages that were queued by then. Killed when the time is up.
    Drain(Duration),
    /// As long as it takes (or as the whole shutdown may take): for supervisors.
    Unlimited,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Stop(Duration::from_secs(5))
    }
}
