//! The deadline of a request: the moment by which its handling must have ended.
//!
//! The server that accepts a request opens a [`scope`] around its handling; everything below bounds its own limits with
//! [`at_most`], so that no wait outlives the request it serves. The deadline belongs to the task: work that is moved to
//! another task starts without one.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `future` under `deadline`, or under the deadline already in force if that is earlier.
///
/// The future is not dropped at the deadline: it sees the deadline, and everything it waits for ends by then. Answers
/// from memory.
pub fn scope<F: Future>(deadline: Instant, future: F) -> impl Future<Output = F::Output> {
    let earliest = current().map_or(deadline, |outer| outer.min(deadline));
    DEADLINE.scope(earliest, future)
}

/// The deadline in force, or `None` outside of every scope. Answers from memory.
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// The end of a wait that may last `limit`: `limit` from now, or the deadline in force if that is earlier. Answers from
/// memory.
pub fn at_most(limit: Duration) -> Instant {
    let now = Instant::now();
    let end = now.checked_add(limit).unwrap_or_else(|| now + FAR);
    current().map_or(end, |deadline| deadline.min(end))
}

/// The deadline in force, or `limit` from now outside of every scope. Answers from memory.
pub fn or_after(limit: Duration) -> Instant {
    current().unwrap_or_else(|| at_most(limit))
}

/// Stands for "never" where a limit is too long to be added to a clock.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn outside_of_a_scope_only_the_limit_counts() {
        assert_eq!(current(), None);
        assert_eq!(at_most(Duration::from_secs(3)), Instant::now() + Duration::from_secs(3));
        assert!(at_most(Duration::MAX) > Instant::now() + Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_limit_and_deadline_counts() {
        let deadline = Instant::now() + Duration::from_secs(2);
        scope(deadline, async {
            assert_eq!(at_most(Duration::from_secs(3)), deadline);
            assert_eq!(at_most(Duration::from_secs(1)), Instant::now() + Duration::from_secs(1));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_for_the_time_outside_of_scopes_does_not_count_inside() {
        let (limit, deadline) = (Duration::from_secs(1), Instant::now() + Duration::from_secs(9));
        assert_eq!(or_after(limit), Instant::now() + limit);
        assert_eq!(scope(deadline, async { or_after(limit) }).await, deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn an_inner_scope_never_extends_an_outer_one() {
        let outer = Instant::now() + Duration::from_secs(1);
        let inner = Instant::now() + Duration::from_secs(9);
        let seen = scope(outer, async { scope(inner, async { current() }).await }).await;
        assert_eq!(seen, Some(outer));
    }
}
