//! Instants that saturate instead of overflowing.

use std::time::Duration;

use tokio::time::Instant;

/// A time that nobody waits for. Adding more to an `Instant` could overflow, which panics.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// `time` after `at`. A `time` of more than a year counts as a year.
pub(crate) fn later(at: Instant, time: Duration) -> Instant {
    at.checked_add(time.min(FAR)).unwrap_or(at)
}

/// Whether a limit of `time` can ever be reached. One of a year or more counts as no limit.
pub(crate) fn is_reached(time: Duration) -> bool {
    time < FAR
}

/// `time` from now. A `time` of more than a year counts as a year.
pub(crate) fn from_now(time: Duration) -> Instant {
    later(Instant::now(), time)
}
