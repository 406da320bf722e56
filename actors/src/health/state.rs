use std::borrow::Cow;
use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use super::message::Report;
use crate::redis::{Breaker, Cause, Probe, Verdict};

/// How long a caller whom the breaker refused should wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A probe and its repetition.
const FAILURES_TO_OPEN: u32 = 2;

/// What the probes of one endpoint have found so far.
#[derive(Debug)]
pub(crate) struct State {
    verdict: Verdict,
    /// Failed probes since one was answered.
    failures: u32,
    /// Whether any probe has ended.
    knows: bool,
    /// `None` while a probe is under way, or before the first.
    pub(crate) connection: Option<Probe>,
    pub(crate) probing: bool,
    /// Who waits for the probe under way.
    waiting: Vec<Reply<Report>>,
    /// Who asked while a probe was under way: that one was sent too early for them.
    waiting_for_next: Vec<Reply<Report>>,
}

/// What follows from a probe.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// Probe again, without waiting for the next tick.
    pub(crate) again: bool,
    /// Worth a line in the log.
    pub(crate) transition: Option<Transition>,
    /// Who gets to know.
    pub(crate) replies: Vec<Reply<Report>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The first probe of all was answered.
    Reached,
    Lost(Cause),
    /// The outage is over.
    Regained {
        after: Duration,
    },
}

impl State {
    /// Goes on from what an earlier incarnation published.
    pub(crate) fn resume(verdict: Verdict) -> Self {
        let is_open = matches!(verdict.breaker, Breaker::Open { .. });
        Self {
            failures: if is_open { FAILURES_TO_OPEN } else { 0 },
            knows: verdict.healthy || verdict.cause.is_some(),
            verdict,
            connection: None,
            probing: false,
            waiting: Vec::new(),
            waiting_for_next: Vec::new(),
        }
    }

    pub(crate) fn report(&self, now: Instant) -> Report {
        Report::of(&self.verdict, now)
    }

    /// Someone wants a probe of their own. `true` says that it is to be sent now.
    pub(crate) fn ask(&mut self, reply: Reply<Report>) -> bool {
        if self.probing {
            self.waiting_for_next.push(reply);
            return false;
        }
        self.waiting.push(reply);
        true
    }

    /// A tick that finds a probe still under way. An outage that was known before it goes on: the
    /// verdict is renewed, so that it does not grow old while connecting takes its time.
    pub(crate) fn still_probing(&mut self, now: Instant) -> Option<Verdict> {
        if self.verdict.healthy || !self.knows {
            return None;
        }
        self.verdict.as_of = now;
        Some(self.verdict.clone())
    }

    /// A probe has ended. `vetoed` says that the server has answered someone since it was sent.
    pub(crate) fn probed(
        &mut self,
        now: Instant,
        found: Result<Duration, Cause>,
        vetoed: bool,
    ) -> Decision {
        let was = self.verdict.clone();
        let was_known = std::mem::replace(&mut self.knows, true);
        let since = |same: bool| if same && was_known { was.since } else { now };
        let (verdict, transition) = match found {
            Ok(latency) => {
                self.failures = 0;
                let verdict = Verdict {
                    healthy: true,
                    cause: None,
                    message: Cow::Borrowed("connected"),
                    breaker: Breaker::Closed,
                    as_of: now,
                    since: since(was.healthy),
                    latency: Some(latency),
                };
                let regained = Transition::Regained { after: now - was.since };
                let news = if was_known { regained } else { Transition::Reached };
                (verdict, (!was.healthy).then_some(news))
            }
            Err(cause) => {
                self.failures = self.failures.saturating_add(1);
                let breaker = match was.breaker {
                    Breaker::Open { since, retry_after, .. } => {
                        Breaker::Open { cause, since, retry_after }
                    }
                    Breaker::Closed if self.failures >= FAILURES_TO_OPEN && !vetoed => {
                        Breaker::Open { cause, since: now, retry_after: RETRY_AFTER }
                    }
                    Breaker::Closed => Breaker::Closed,
                };
                let verdict = Verdict {
                    healthy: false,
                    cause: Some(cause),
                    message: Cow::Owned(cause.to_string()),
                    breaker,
                    as_of: now,
                    since: since(!was.healthy),
                    latency: None,
                };
                (verdict, (was.healthy || !was_known).then_some(Transition::Lost(cause)))
            }
        };
        self.verdict = verdict.clone();
        self.probing = false;
        let replies = std::mem::take(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.waiting_for_next);
        let again = self.failures == 1 || !self.waiting.is_empty();
        Decision { verdict, again, transition, replies }
    }
}
