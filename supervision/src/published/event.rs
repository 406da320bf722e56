//! Events of incarnations, and their lines in the log.

use std::sync::Arc;

use crate::machine::Change;

/// A change of one incarnation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// The path of the actor or supervisor.
    pub path: Arc<str>,
    /// The number of the incarnation; the first is 1.
    pub incarnation: u64,
    /// What happened.
    pub change: Change,
}

impl Event {
    /// Writes one line of the log, outside of any request's span.
    pub(crate) fn trace(&self) {
        let (path, incarnation) = (&*self.path, self.incarnation);
        macro_rules! line {
            ($level:ident, $($rest:tt)*) => {
                tracing::$level!(
                    target: "mainstay::supervision", parent: None, path, incarnation, $($rest)*
                )
            };
        }
        match &self.change {
            Change::Started { took } => line!(debug, ?took, "started"),
            Change::Exited { exit, uptime } if exit.is_abnormal() => {
                line!(error, %exit, ?uptime, "fell");
            }
            Change::Exited { exit, uptime } => line!(debug, %exit, ?uptime, "ended"),
            Change::RestartScheduled { delay, attempt } => {
                line!(warn, ?delay, attempt, "will be restarted");
            }
            Change::StopTimedOut => line!(warn, "did not stop in time and is cut off"),
            Change::Leaked => line!(error, "cannot be cut off: it blocks its thread"),
            Change::Escalated { cause } => line!(error, %cause, "the supervisor gives up"),
            Change::Overloaded { depth } => line!(warn, depth, "overloaded: refusing messages"),
        }
    }
}
