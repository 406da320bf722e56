//! How patient the tree is with its actors.

use std::time::Duration;

/// The section `[supervision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How many restarts a supervisor grants within `within` before it gives up. Default 5.
    pub intensity: u32,
    /// The sliding window that `intensity` counts in. Default 30 s.
    pub within: Duration,
    /// The longest wait before the first restart; it doubles with each further one. Default 100 ms.
    pub backoff_min: Duration,
    /// The longest wait before any restart. Default 10 s.
    pub backoff_max: Duration,
    /// How long an actor must have run for the wait to begin at `backoff_min` again. Default 30 s.
    pub stable_after: Duration,
    /// How many messages an actor's mailbox holds before further ones are refused. Default 1 024.
    pub mailbox_capacity: usize,
    /// How long an actor may take to start. Default 5 s.
    pub start_timeout: Duration,
    /// How long an ask waits for its reply where no request's deadline is in force. Default 5 s.
    pub ask_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            intensity: 5,
            within: Duration::from_secs(30),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            stable_after: Duration::from_secs(30),
            mailbox_capacity: 1024,
            start_timeout: Duration::from_secs(5),
            ask_timeout: Duration::from_secs(5),
        }
    }
}
