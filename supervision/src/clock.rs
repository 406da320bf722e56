//! Points in time that cannot overflow.

use std::time::Duration;

use tokio::time::Instant;

/// This much later. Past the end of time it is merely far away.
pub(crate) fn from_now(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(86_400 * 365))
}
