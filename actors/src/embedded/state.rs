use std::time::Duration;

/// The first pause before a server that will not stay up is started again, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A server that has lived this long did not fail to start.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// When the server is started again.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Servers in a row that ended soon after their start, or never came up.
    failures: u32,
}

impl State {
    /// A server ended after `lived`, or never came up (`None`). Says how long to wait before the
    /// next: not at all if it had been up, for whoever uses it waits too.
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
