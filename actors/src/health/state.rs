use std::borrow::Cow;
use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use super::message::{Miss, Report};
use crate::redis::{Breaker, Cause, Verdict};

/// How long a caller should wait before its next try while the breaker is open.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A probe and its repetition.
const FAILURES_TO_OPEN: u32 = 2;

/// What the probes of one endpoint have found so far, and when the next is due.
#[derive(Debug)]
pub(crate) struct State {
    verdict: Verdict,
    probe_timeout: Duration,
    /// Failed probes since one was answered.
    failures: u32,
    /// Whether a probe had a connection and no answer since the last success, and nobody was answered after it.
    is_unanswered: bool,
    /// Whether any probe has ended, so that the verdict is more than a default.
    knows: bool,
    /// When the probe under way was sent.
    probing_since: Option<Instant>,
    /// Callers that wait for the probe under way, or for the one of the next tick if there is none.
    waiting: Vec<Reply<Report>>,
    /// Callers that asked while a probe was under way: it was sent too early for them.
    waiting_for_next: Vec<Reply<Report>>,
}

/// Signs that the server serves although a probe failed; they speak against an open breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signs {
    /// The server has answered someone since the last probe was sent.
    pub(crate) since_probe: bool,
    /// A lane serves, and was answered lately.
    pub(crate) on_a_lane: bool,
}

/// What follows from a tick.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// A probe is to be sent now.
    Probe,
    /// The verdict stands, with a new time.
    Renew(Verdict),
    Wait,
}

/// What follows from a probe.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// A probe is to be sent now, without waiting for the next tick.
    pub(crate) again: bool,
    /// A change that is worth a line in the log.
    pub(crate) transition: Option<Transition>,
    /// The callers that get the report.
    pub(crate) replies: Vec<Reply<Report>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The first probe was answered.
    Reached,
    /// An outage begins.
    Lost(Cause),
    /// The outage is over.
    Regained { after: Duration },
}

impl State {
    /// Continues from the verdict that an earlier incarnation published.
    pub(crate) fn resume(verdict: Verdict, probe_timeout: Duration) -> Self {
        let is_open = matches!(verdict.breaker, Breaker::Open { .. });
        Self {
            failures: if is_open { FAILURES_TO_OPEN } else { 0 },
            is_unanswered: is_open,
            knows: verdict.healthy || verdict.cause.is_some(),
            verdict,
            probe_timeout,
            probing_since: None,
            waiting: Vec::new(),
            waiting_for_next: Vec::new(),
        }
    }

    pub(crate) fn report(&self, now: Instant) -> Report {
        Report::of(&self.verdict, now)
    }

    /// Notes that a caller asks for a probe. `true` says that it is to be sent now. While probes fail it never is: each
    /// would be a new connection to a server in trouble, so the caller gets the probe of the next tick.
    pub(crate) fn ask(&mut self, reply: Reply<Report>, now: Instant) -> bool {
        let list = if self.is_probing() { &mut self.waiting_for_next } else { &mut self.waiting };
        // Bounds the list by the callers that still wait.
        list.retain(|reply| !reply.is_abandoned());
        list.push(reply);
        let is_due = !self.is_probing() && self.failures == 0;
        if is_due {
            self.probing_since = Some(now);
        }
        is_due
    }

    /// Decides what a tick does. It sends a probe, unless one is still under way. Then a known outage goes on: the
    /// verdict is renewed, so that it does not grow old while connecting takes long, and a repeated probe that takes
    /// longer than `probe_timeout` already counts as failed for the breaker.
    pub(crate) fn tick(&mut self, now: Instant, signs: Signs) -> Beat {
        let vetoed = self.vetoed(signs);
        let Some(sent) = self.probing_since else {
            self.probing_since = Some(now);
            return Beat::Probe;
        };
        if self.verdict.healthy || !self.knows {
            return Beat::Wait;
        }
        let is_late = now.saturating_duration_since(sent) >= self.probe_timeout;
        if let (Breaker::Closed, Some(cause)) = (self.verdict.breaker, self.verdict.cause)
            && self.failures + 1 >= FAILURES_TO_OPEN
            && is_late
            && !vetoed
        {
            self.verdict.breaker = Breaker::Open { cause, since: now, retry_after: RETRY_AFTER };
        }
        self.verdict.as_of = now;
        Beat::Renew(self.verdict.clone())
    }

    /// Closes an open breaker if callers are answered. Returns the verdict if that changed it.
    pub(crate) fn reconsidered(&mut self, signs: Signs) -> Option<Verdict> {
        let is_open = matches!(self.verdict.breaker, Breaker::Open { .. });
        if !(self.vetoed(signs) && is_open) {
            return None;
        }
        self.verdict.breaker = Breaker::Closed;
        Some(self.verdict.clone())
    }

    /// Decides what the result of a probe means.
    pub(crate) fn probed(
        &mut self,
        now: Instant,
        found: Result<Duration, Miss>,
        signs: Signs,
    ) -> Decision {
        let was = self.verdict.clone();
        let was_known = std::mem::replace(&mut self.knows, true);
        let since = |same: bool| if same && was_known { was.since } else { now };
        let (verdict, transition) = match found {
            Ok(latency) => {
                self.failures = 0;
                self.is_unanswered = false;
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
            Err(miss) => {
                self.failures = self.failures.saturating_add(1);
                // An answer to someone else while this probe had none says nothing of the time after it.
                let was_answered = self.vetoed(signs);
                self.is_unanswered |= matches!(miss, Miss::Unanswered(_));
                let vetoed = was_answered && (signs.since_probe || !self.is_unanswered);
                let cause = miss.cause();
                let breaker = match was.breaker {
                    Breaker::Open { .. } if vetoed => Breaker::Closed,
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
        let replies = std::mem::take(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.waiting_for_next);
        let is_asked = self.failures == 0 && !self.waiting.is_empty();
        let again = self.failures == 1 || is_asked;
        self.probing_since = again.then_some(now);
        Decision { verdict, again, transition, replies }
    }

    /// How many callers wait for a probe.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() + self.waiting_for_next.len()
    }

    /// Whether the breaker must not be open. While only connecting fails, a lane that was answered lately is enough: an
    /// idle lane is sent a `PING` once a second, and its callers have the connection that the probe cannot get.
    fn vetoed(&mut self, signs: Signs) -> bool {
        self.is_unanswered &= !signs.since_probe;
        signs.since_probe || (signs.on_a_lane && !self.is_unanswered)
    }

    fn is_probing(&self) -> bool {
        self.probing_since.is_some()
    }
}
