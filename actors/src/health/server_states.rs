//! Which states a server is in that make it refuse commands. Each is one line in the log when it begins and one when it
//! ends, however many requests meet it.

use std::time::Duration;

use tokio::time::Instant;

use crate::redis::{Cause, ServerState, Verdict};

/// Reads succeed while writes are refused, and some writes may too, so only a time without refusals ends a state.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// What the counts of refusals have shown so far.
#[derive(Debug)]
pub(crate) struct ServerStates {
    rows: [(ServerState, Row); ServerState::ALL.len()],
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// The count at the last look.
    seen: u64,
    lasts: Option<Lasting>,
}

#[derive(Debug, Clone, Copy)]
struct Lasting {
    since: Instant,
    last_refusal: Instant,
    refusals: u64,
}

/// A change that is worth a line in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Begins(ServerState),
    Ends { state: ServerState, refusals: u64, lasted: Duration },
}

impl ServerStates {
    /// Begins in no state, whatever was refused before.
    pub(crate) fn new(refusals: impl Fn(ServerState) -> u64) -> Self {
        Self {
            rows: ServerState::ALL.map(|state| (state, Row { seen: refusals(state), lasts: None })),
        }
    }

    /// Compares the current counts with those of the last look.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        refusals: impl Fn(ServerState) -> u64,
    ) -> Vec<News> {
        let news = |(state, row): &mut (ServerState, Row)| row.look(*state, now, refusals(*state));
        self.rows.iter_mut().filter_map(news).collect()
    }

    /// `verdict` with the present state added to its message, unless the server is unhealthy, which is worse. A server that
    /// does not hold all keys is unhealthy whatever a probe found.
    pub(crate) fn amended(&self, verdict: Verdict) -> Verdict {
        match self.present().filter(|_| verdict.healthy) {
            None => verdict,
            Some(ServerState::ClusterNode) => {
                let cause = Cause::ClusterNode;
                let message = cause.to_string().into();
                Verdict { healthy: false, cause: Some(cause), message, ..verdict }
            }
            Some(state) => {
                let message = format!("{}, but {state}", verdict.message).into();
                Verdict { message, ..verdict }
            }
        }
    }

    /// Notes that another server is asked from now on: it may hold all keys.
    pub(crate) fn meet_another_server(&mut self) {
        for (state, row) in &mut self.rows {
            if *state == ServerState::ClusterNode {
                row.lasts = None;
            }
        }
    }

    /// The state that was met last, while it lasts.
    fn present(&self) -> Option<ServerState> {
        let lasting = self.rows.iter().filter_map(|(state, row)| Some((*state, row.lasts?)));
        lasting.max_by_key(|(_, lasting)| lasting.last_refusal).map(|(state, _)| state)
    }
}

impl Row {
    fn look(&mut self, state: ServerState, now: Instant, refusals: u64) -> Option<News> {
        let new = refusals - self.seen;
        self.seen = refusals;
        match (&mut self.lasts, new) {
            (None, 0) => None,
            (None, _) => {
                self.lasts = Some(Lasting { since: now, last_refusal: now, refusals: new });
                Some(News::Begins(state))
            }
            (Some(lasting), 0) => {
                let Lasting { since, last_refusal, refusals } = *lasting;
                // A node of a cluster stays one. It gets no requests while it is not ready, so it refuses none.
                let may_end = state != ServerState::ClusterNode;
                if !may_end || now.saturating_duration_since(last_refusal) < OVER_AFTER {
                    return None;
                }
                self.lasts = None;
                Some(News::Ends { state, refusals, lasted: last_refusal - since })
            }
            (Some(lasting), _) => {
                lasting.last_refusal = now;
                lasting.refusals += new;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_news_when_it_begins_and_when_nothing_was_refused_for_a_minute() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let full = |count: u64| move |state| if state == ServerState::Full { count } else { 0 };
        let mut states = ServerStates::new(full(7));
        assert_eq!(states.look(at(0), full(7)), [], "what was before it is nobody's news");
        assert_eq!(states.look(at(1), full(8)), [News::Begins(ServerState::Full)]);
        assert_eq!(states.present(), Some(ServerState::Full));
        for (second, count) in [(2, 9), (50, 9), (60, 20), (119, 20)] {
            assert_eq!(states.look(at(second), full(count)), [], "second {second}");
        }
        let lasted = Duration::from_secs(59);
        let ends = News::Ends { state: ServerState::Full, refusals: 13, lasted };
        assert_eq!(states.look(at(120), full(20)), [ends]);
        assert_eq!(states.present(), None);
        assert_eq!(states.look(at(300), full(20)), []);
        assert_eq!(states.look(at(301), full(21)), [News::Begins(ServerState::Full)]);
    }

    #[test]
    fn states_that_last_at_once_are_told_apart_and_the_last_one_met_is_shown() {
        let begin = Instant::now();
        let mut states = ServerStates::new(|_| 0);
        let both = |state| u64::from(matches!(state, ServerState::Full | ServerState::ReadOnly));
        let news = states.look(begin, both);
        assert_eq!(news, [News::Begins(ServerState::Full), News::Begins(ServerState::ReadOnly)]);
        let later = begin + Duration::from_secs(30);
        let one_more = |state| if state == ServerState::Full { 2 } else { both(state) };
        assert_eq!(states.look(later, one_more), []);
        assert_eq!(states.present(), Some(ServerState::Full));
    }

    #[test]
    fn a_node_of_a_cluster_is_one_until_another_server_is_met() {
        let begin = Instant::now();
        let moved =
            |count: u64| move |state| if state == ServerState::ClusterNode { count } else { 0 };
        let mut states = ServerStates::new(moved(0));
        let begins = states.look(begin, moved(1));
        assert_eq!(begins, [News::Begins(ServerState::ClusterNode)]);
        let hours = begin + Duration::from_secs(9999);
        assert!(states.look(hours, moved(1)).is_empty());
        let healthy = Verdict { healthy: true, ..Verdict::unknown() };
        assert_eq!(states.amended(healthy.clone()).cause, Some(Cause::ClusterNode));
        states.meet_another_server();
        assert!(states.amended(healthy).healthy);
    }
}
