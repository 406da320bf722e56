//! The report of a shutdown.

/// The report of a shutdown: which actors did not stop in time. Paths are in reverse start order.
///
/// It is empty if the runtime ended before the tree was shut down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The actors that did not stop in time and were cut off. Those that [`Shutdown`](crate::Shutdown)
    /// says to kill, and those still in `init`, are cut off without being listed.
    pub killed: Vec<String>,
    /// The actors of which something is still running, because it blocks a thread. They may be in
    /// `killed` too.
    pub leaked: Vec<String>,
}

impl ShutdownReport {
    /// Whether both lists are empty: every actor stopped as its [`Shutdown`](crate::Shutdown) says.
    pub fn is_clean(&self) -> bool {
        let Self { killed, leaked } = self;
        killed.is_empty() && leaked.is_empty()
    }

    /// Appends the report of a supervisor below.
    pub(crate) fn append(&mut self, mut below: Self) {
        self.killed.append(&mut below.killed);
        self.leaked.append(&mut below.leaked);
    }
}
