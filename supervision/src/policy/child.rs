//! What a supervisor knows of each child before it starts, and its policy for all of them.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::intensity::Intensity;
use super::restart::{Restart, Shutdown, Strategy};

/// How a supervisor treats one child.
#[derive(Debug, Clone)]
pub(crate) struct ChildPolicy {
    /// Its path in the tree, as in `mainstay/application/reads`.
    pub(crate) path: Arc<str>,
    /// Whether it is itself a supervisor. A supervisor is never killed: it keeps the deadlines itself.
    pub(crate) is_supervisor: bool,
    /// Which exits it is restarted after.
    pub(crate) restart: Restart,
    /// Whether its abnormal exit makes the supervisor give up, instead of a restart.
    pub(crate) significant: bool,
    /// How long it waits before a restart.
    pub(crate) backoff: Backoff,
    /// How it is stopped.
    pub(crate) shutdown: Shutdown,
    /// The limit of `init`. `None` means no limit: for supervisors.
    pub(crate) start_timeout: Option<Duration>,
    /// How long a handler may wait. `None` means no limit.
    pub(crate) stall_after: Option<Duration>,
}

/// A supervisor's policy for all of its children.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SupervisorPolicy {
    /// Which siblings are restarted together.
    pub(crate) strategy: Strategy,
    /// When the supervisor gives up.
    pub(crate) intensity: Intensity,
}
