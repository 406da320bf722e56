use std::time::Duration;

use tokio::time::Instant;

/// The first pause before a server that ended soon after its start is started again, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A server that ran for this long counts as started well.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Decides when the server is started again, and what is news.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Servers in a row that ended soon after their start, or did not start.
    streak: Option<Streak>,
    /// Changes whenever a server starts or ends.
    turn: u64,
}

#[derive(Debug, Clone, Copy)]
struct Streak {
    failures: u32,
    since: Instant,
    /// Whether one of them did not start: its error says more than that one ended.
    has_error: bool,
}

/// What follows the end of a server, or a start that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setback {
    /// The pause before the next start: none after a server that had run well, since its users wait.
    pub(crate) pause: Duration,
    /// Whether it is the first of a streak, or the first in it that did not start.
    pub(crate) is_news: bool,
}

/// The end of a streak: a server has run well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    pub(crate) failures: u32,
    pub(crate) lasted: Duration,
}

impl State {
    /// Notes that a server ended after `lived`, or did not start (`None`).
    pub(crate) fn ended(&mut self, lived: Option<Duration>, now: Instant) -> Setback {
        self.turn += 1;
        if lived.is_some_and(|lived| lived >= STABLE_AFTER) {
            self.streak = None;
            return Setback { pause: Duration::ZERO, is_news: true };
        }
        let is_first = self.streak.is_none();
        let new = Streak { failures: 0, since: now, has_error: false };
        let streak = self.streak.get_or_insert(new);
        let is_error = lived.is_none();
        let is_news = is_first || (is_error && !streak.has_error);
        streak.has_error |= is_error;
        let factor = 1_u32.checked_shl(streak.failures).unwrap_or(u32::MAX);
        streak.failures = streak.failures.saturating_add(1);
        Setback { pause: PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX), is_news }
    }

    /// Whether servers have failed since one has run well.
    pub(crate) fn is_failing(&self) -> bool {
        self.streak.is_some()
    }

    /// Notes that a server has started. In a streak that is no news: `Some` is for [`settled`](Self::settled), after
    /// [`STABLE_AFTER`].
    pub(crate) fn started(&mut self) -> Option<u64> {
        self.turn += 1;
        self.streak.map(|_| self.turn)
    }

    /// Notes that the server of that turn has run for [`STABLE_AFTER`], unless it has ended.
    pub(crate) fn settled(&mut self, turn: u64, now: Instant) -> Option<Recovery> {
        if turn != self.turn {
            return None;
        }
        let Streak { failures, since, .. } = self.streak.take()?;
        Some(Recovery { failures, lasted: now.saturating_duration_since(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_millis(1));

    #[test]
    fn pauses_grow_and_only_the_first_failure_of_a_streak_is_news() {
        let (mut state, now) = (State::default(), Instant::now());
        let at_once = Setback { pause: Duration::ZERO, is_news: true };
        assert_eq!(state.ended(Some(STABLE_AFTER), now), at_once);
        let pauses_ms = [250, 500, 1000, 2000, 4000, 5000, 5000];
        for (number, pause_ms) in pauses_ms.into_iter().enumerate() {
            let lived = if number % 2 == 0 { None } else { SHORT };
            let pause = Duration::from_millis(pause_ms);
            assert_eq!(state.ended(lived, now), Setback { pause, is_news: number == 0 });
        }
        assert_eq!(state.ended(Some(STABLE_AFTER), now), at_once);
        assert_eq!(state.ended(SHORT, now), Setback { pause: PAUSE_MIN, is_news: true });
        assert!(!state.ended(SHORT, now).is_news);
        assert!(state.ended(None, now).is_news, "it has an error");
        assert!(!state.ended(None, now).is_news && !state.ended(SHORT, now).is_news);
    }

    #[test]
    fn a_streak_ends_with_a_server_that_runs_for_long_enough() {
        let (mut state, begun) = (State::default(), Instant::now());
        assert_eq!(state.started(), None, "the first start is news");
        state.ended(SHORT, begun);
        let short = state.started().expect("a streak");
        state.ended(SHORT, begun);
        let long = state.started().expect("still a streak");
        let later = begun + Duration::from_secs(3);
        assert_eq!(state.settled(short, later), None, "that one has ended");
        let recovery = Recovery { failures: 2, lasted: Duration::from_secs(3) };
        assert_eq!(state.settled(long, later), Some(recovery));
        assert_eq!(state.settled(long, later), None);
        assert_eq!(state.started(), None, "the next start is news again");
    }
}
