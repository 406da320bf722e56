//! What a supervisor promises about its children.

use std::sync::Arc;
use std::time::Duration;

use crate::{Backoff, Intensity};

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

/// Everything the [`Machine`](crate::machine::Machine) knows of one child.
#[derive(Debug, Clone)]
pub struct ChildPolicy {
    /// Its place in the tree, as in `mainstay/application/reads`.
    pub path: Arc<str>,
    /// Which exits it is restarted after.
    pub restart: Restart,
    /// Whether its abnormal exit ends the supervisor instead of restarting it.
    pub significant: bool,
    /// How long it waits before a restart.
    pub backoff: Backoff,
    /// How it is asked to end.
    pub shutdown: Shutdown,
    /// How long its `init` may take. `None` is without limit: for supervisors.
    pub start_timeout: Option<Duration>,
}

/// What a supervisor does about its children as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// Which siblings fall together.
    pub strategy: Strategy,
    /// When the supervisor gives up.
    pub intensity: Intensity,
}
