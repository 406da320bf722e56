//! How a shutdown went.

use super::event::Event;
use crate::machine::Change;

/// How a shutdown went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The paths of those that did not end in time and were cut off.
    pub killed: Vec<String>,
    /// The paths of those that could not even be cut off.
    pub leaked: Vec<String>,
}

impl ShutdownReport {
    /// Whether every actor ended as it was asked to ([`Shutdown`](crate::Shutdown)).
    pub fn is_clean(&self) -> bool {
        let Self { killed, leaked } = self;
        killed.is_empty() && leaked.is_empty()
    }

    pub(crate) fn note(&mut self, event: &Event) {
        match event.change {
            Change::StopTimedOut => self.killed.push(event.path.to_string()),
            Change::Leaked => self.leaked.push(event.path.to_string()),
            _ => {}
        }
    }
}
