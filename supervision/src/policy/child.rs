//! What a supervisor knows of each child before it starts, and what it does about all of them.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::intensity::Intensity;
use super::restart::{Restart, Shutdown, Strategy};

/// How a supervisor treats one child.
#[derive(Debug, Clone)]
pub(crate) struct ChildPolicy {
    /// Where in the tree it is, as in `mainstay/application/reads`.
    pub(crate) path: Arc<str>,
    /// Whether it is a supervisor itself. One is never killed: it keeps deadlines by itself.
    pub(crate) is_supervisor: bool,
    /// Which exits it is restarted after.
    pub(crate) restart: Restart,
    /// Whether its abnormal exit ends the supervisor instead of restarting it.
    pub(crate) significant: bool,
    /// How long it waits before a restart.
    pub(crate) backoff: Backoff,
    /// How it is asked to end.
    pub(crate) shutdown: Shutdown,
    /// How long its `init` may take. `None` is without limit: for supervisors.
    pub(crate) start_timeout: Option<Duration>,
    /// How long the handling of one message may wait. `None` is without limit.
    pub(crate) stall_after: Option<Duration>,
}

/// What a supervisor does about its children as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SupervisorPolicy {
    /// Which siblings fall together.
    pub(crate) strategy: Strategy,
    /// When the supervisor gives up.
    pub(crate) intensity: Intensity,
}
