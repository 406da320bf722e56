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

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// If that takes longer than `limit`: with `what`, and with the place of the call.
#[track_caller]
pub fn within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let found = timeout_at(Instant::now() + limit, async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                sleep(INTERVAL).await;
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("not within {limit:?}: {what} (waited for at {caller})"))
    }
}

const INTERVAL: Duration = Duration::from_millis(2);
