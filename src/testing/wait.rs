use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Long enough for whatever has no bound of its own, on a machine that is busy with other tests.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// If that takes longer than 10 s: with `what`, and with the place of the call.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(SOON, what, look)
}

/// Waits until `look` finds something, and returns it. It looks at least once.
///
/// # Panics
/// If that takes longer than `limit`, or if a look hangs: with `what`, and with the place of the call.
#[track_caller]
pub fn within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + limit;
        loop {
            // One look at least, and each to its end: only one that hangs is cut.
            match timeout_at(end + SOON, look()).await {
                Ok(Some(found)) => return found,
                Ok(None) if Instant::now() < end => sleep(INTERVAL).await,
                _ => panic!("not within {limit:?}: {what} (waited for at {caller})"),
            }
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(2);
