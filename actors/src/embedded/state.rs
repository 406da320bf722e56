use std::time::Duration;

/// The first pause before a server that ended soon after its start is started again, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A server that ran for this long counts as started well.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Decides when the server is started again.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// How many servers in a row ended soon after their start, or did not start.
    failures: u32,
}

impl State {
    /// Notes that a server ended after `lived`, or did not start (`None`). Returns the pause before the next start:
    /// none after a server that had run well, since its users wait.
    pub(crate) fn ended(&mut self, lived: Option<Duration>) -> Duration {
        if lived.is_some_and(|lived| lived >= STABLE_AFTER) {
            self.failures = 0;
            return Duration::ZERO;
        }
        let pause = PAUSE_MIN.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        pause.min(PAUSE_MAX)
    }
}
