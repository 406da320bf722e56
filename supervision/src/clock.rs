//! Points in time that cannot overflow.

use std::time::Duration;

use tokio::time::Instant;

/// What is later than anyone waits for. The clock itself ends somewhere, and a timer set for later
/// than that would panic.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// `time` after `at`. Past the end of time it is merely far away.
pub(crate) fn later(at: Instant, time: Duration) -> Instant {
    at.checked_add(time.min(FAR)).unwrap_or(at)
}

/// Whether anyone lives to see the end of `time`. A limit that nobody does is none.
pub(crate) fn is_reached(time: Duration) -> bool {
    time < FAR
}

/// `time` from now. Past the end of time it is merely far away.
pub(crate) fn from_now(time: Duration) -> Instant {
    later(Instant::now(), time)
}
