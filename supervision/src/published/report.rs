//! How a shutdown went.

/// How a shutdown went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The paths of those that did not end in time and were cut off, in reverse start order.
    pub killed: Vec<String>,
    /// The paths of those that could not even be cut off, and are still there.
    pub leaked: Vec<String>,
}

impl ShutdownReport {
    /// Whether every actor ended as it was asked to ([`Shutdown`](crate::Shutdown)).
    pub fn is_clean(&self) -> bool {
        let Self { killed, leaked } = self;
        killed.is_empty() && leaked.is_empty()
    }

    /// Adds what happened below a supervisor.
    pub(crate) fn append(&mut self, mut below: Self) {
        self.killed.append(&mut below.killed);
        self.leaked.append(&mut below.leaked);
    }
}
