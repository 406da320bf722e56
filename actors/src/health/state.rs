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
/// So many probes in a row that say nothing are not followed by another one at once.
const HELD_UP_TO_AGE: u32 = 3;
/// After this long without several such probes in a row the next ones are news.
const HELD_UP_OVER: Duration = Duration::from_secs(60);
/// A tick that is later than this comes from a process that was held up, and says nothing of the probe under way.
const TICK_LATE: Duration = Duration::from_millis(50);

/// What the probes of one endpoint have found so far, and when the next is due.
#[derive(Debug)]
pub(crate) struct State {
    verdict: Verdict,
    probe_interval: Duration,
    probe_timeout: Duration,
    /// What the last probe found that said anything.
    found: Option<Result<Duration, Miss>>,
    /// Failed probes since one was answered.
    failures: u32,
    /// Whether a probe had a connection and no answer since the last success, and nobody was answered after it.
    is_unanswered: bool,
    /// Since when probes are answered while there is no lane.
    laneless_since: Option<Instant>,
    /// Whether it was told that new connections fail, and no outage or success since.
    is_limited: bool,
    /// Probes in a row that say nothing, because this process was held up.
    held_up: u32,
    /// When several in a row last said nothing, since that was told.
    last_held_up: Option<Instant>,
    /// Whether the verdict is more than a default.
    knows: bool,
    /// When the probe under way was sent.
    probing_since: Option<Instant>,
    ticked: Option<Instant>,
    /// Callers that wait for the probe under way, or for the one of the next tick if there is none.
    waiting: Vec<Reply<Report>>,
    /// Callers that asked while a probe was under way: it was sent too early for them.
    waiting_for_next: Vec<Reply<Report>>,
}

/// What is known of callers. An answer to one of them speaks against an open breaker, although a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signs {
    /// The server has answered someone since the last probe was sent.
    pub(crate) since_probe: bool,
    /// A lane serves, and was answered lately.
    pub(crate) on_a_lane: bool,
    /// A lane serves.
    pub(crate) has_lane: bool,
}

/// What follows from a tick.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// A probe is to be sent now.
    Probe,
    /// The verdict stands, with a new time, or has changed by what callers meet.
    Renew(Verdict, Option<Transition>),
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
    /// New connections fail, while those that stand serve on.
    Limited(Cause),
    /// New connections are made again.
    Unlimited,
    /// Several probes in a row say nothing, because this process was held up.
    HeldUp,
    /// That has not happened for a minute.
    Timely,
}

impl State {
    /// Continues from the verdict that an earlier incarnation published.
    pub(crate) fn resume(
        verdict: Verdict,
        probe_interval: Duration,
        probe_timeout: Duration,
    ) -> Self {
        let is_open = matches!(verdict.breaker, Breaker::Open { .. });
        let is_limited = verdict.healthy && verdict.cause.is_some();
        Self {
            failures: if is_open || is_limited { FAILURES_TO_OPEN } else { 0 },
            is_unanswered: is_open,
            knows: verdict.healthy || verdict.cause.is_some(),
            verdict,
            probe_interval,
            probe_timeout,
            found: None,
            laneless_since: None,
            is_limited,
            held_up: 0,
            last_held_up: None,
            probing_since: None,
            ticked: None,
            waiting: Vec::new(),
            waiting_for_next: Vec::new(),
        }
    }

    pub(crate) fn verdict(&self) -> &Verdict {
        &self.verdict
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

    /// Decides what a tick does. It sends a probe, unless one is still under way. Then what is known of an outage is
    /// weighed anew, so that the verdict does not grow old while connecting takes long, and a repeated probe that takes
    /// longer than `probe_timeout` already counts as failed for the breaker.
    pub(crate) fn tick(&mut self, now: Instant, signs: Signs) -> Beat {
        let vetoed = self.vetoed(signs);
        let before = self.ticked.replace(now);
        let Some(sent) = self.probing_since else {
            self.probing_since = Some(now);
            return Beat::Probe;
        };
        let is_late = now.saturating_duration_since(sent) >= self.probe_timeout;
        let is_outage = self.knows && !self.verdict.healthy;
        // The present connection was answered, and a new one takes long.
        let serves = is_late && signs.on_a_lane && self.held_up == 0;
        if !is_outage && !serves && !matches!(self.found, Some(Err(_))) {
            return Beat::Wait;
        }
        let transition = self.judge(now, signs);
        let is_on_time = before.is_none_or(|before| {
            now.saturating_duration_since(before) < self.probe_interval + TICK_LATE
        });
        if let (Breaker::Closed, Some(cause), false) =
            (self.verdict.breaker, self.verdict.cause, self.verdict.healthy)
            && self.failures + 1 >= FAILURES_TO_OPEN
            && !cause.refuses_by_itself()
            && is_late
            && is_on_time
            && !vetoed
        {
            self.verdict.breaker = Breaker::Open { cause, since: now, retry_after: RETRY_AFTER };
        }
        Beat::Renew(self.verdict.clone(), transition)
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
        let found = match found {
            Err(Miss::HeldUp) if self.held_up < HELD_UP_TO_AGE || signs.on_a_lane => {
                return self.was_held_up(now);
            }
            // It goes on, and nobody else is answered either.
            Err(Miss::HeldUp) => Err(Miss::Unanswered(Cause::Timeout)),
            found => found,
        };
        self.held_up = 0;
        self.found = Some(found);
        match found {
            Ok(_) => {
                self.failures = 0;
                self.is_unanswered = false;
                let since = self.laneless_since.unwrap_or(now);
                self.laneless_since = (!signs.has_lane).then_some(since);
                self.verdict.breaker = Breaker::Closed;
            }
            Err(miss) => {
                self.failures = self.failures.saturating_add(1);
                self.laneless_since = None;
                // An answer to someone else while this probe had none says nothing of the time after it.
                let was_answered = self.vetoed(signs);
                self.is_unanswered |= matches!(miss, Miss::Unanswered(_));
                let vetoed = was_answered && (signs.since_probe || !self.is_unanswered);
                self.verdict.breaker = self.breaker_after(miss, vetoed, now);
            }
        }
        let transition = self.judge(now, signs);
        let replies = std::mem::take(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.waiting_for_next);
        let is_asked = self.failures == 0 && !self.waiting.is_empty();
        let again = self.failures == 1 || is_asked;
        self.probing_since = again.then_some(now);
        Decision { verdict: self.verdict.clone(), again, transition, replies }
    }

    /// A probe that says nothing is repeated at once. After several in a row the verdict is left to grow old.
    fn was_held_up(&mut self, now: Instant) -> Decision {
        self.held_up = self.held_up.saturating_add(1);
        let again = self.held_up < HELD_UP_TO_AGE;
        self.verdict.held_up |= !again;
        self.probing_since = again.then_some(now);
        let is_told = self.last_held_up.is_some();
        if !again {
            self.last_held_up = Some(now);
        }
        let transition = (!again && !is_told).then_some(Transition::HeldUp);
        Decision { verdict: self.verdict.clone(), again, transition, replies: Vec::new() }
    }

    fn breaker_after(&self, miss: Miss, vetoed: bool, now: Instant) -> Breaker {
        let cause = miss.cause();
        let is_answered = matches!(miss, Miss::WrongServer(_)) || cause.refuses_by_itself();
        match self.verdict.breaker {
            _ if vetoed || is_answered => Breaker::Closed,
            Breaker::Open { since, retry_after, .. } => Breaker::Open { cause, since, retry_after },
            Breaker::Closed if self.failures >= FAILURES_TO_OPEN => {
                Breaker::Open { cause, since: now, retry_after: RETRY_AFTER }
            }
            Breaker::Closed => Breaker::Closed,
        }
    }

    /// Renews the verdict by what the last probe found and what callers meet. Returns what has changed.
    fn judge(&mut self, now: Instant, signs: Signs) -> Option<Transition> {
        let Some(found) = self.found else {
            self.verdict.as_of = now;
            return None;
        };
        let serves = signs.on_a_lane && !self.is_unanswered;
        let (healthy, cause) = match found {
            Ok(_) if self.is_laneless(now) => (false, Some(Cause::NoLane)),
            Ok(_) => (true, None),
            // One that fails may be an accident, and is repeated at once.
            Err(Miss::Unconnected(cause)) if serves => (true, (self.failures > 1).then_some(cause)),
            Err(miss) => (false, Some(miss.cause())),
        };
        let message = match cause {
            None => Cow::Borrowed("connected"),
            Some(cause) if healthy => {
                Cow::Owned(format!("connected, but new connections fail: {cause}"))
            }
            Some(cause) => Cow::Owned(cause.to_string()),
        };
        let was_known = std::mem::replace(&mut self.knows, true);
        let was = &self.verdict;
        let is_same = was_known && was.healthy == healthy;
        let transition = match (cause, healthy) {
            (Some(cause), false) => (!is_same).then_some(Transition::Lost(cause)),
            _ if !was_known => Some(Transition::Reached),
            _ if !is_same => Some(Transition::Regained { after: now - was.since }),
            (Some(cause), _) => (!self.is_limited).then_some(Transition::Limited(cause)),
            (None, _) if self.is_limited => Some(Transition::Unlimited),
            (None, _) => self.is_timely(now).then_some(Transition::Timely),
        };
        self.is_limited = match transition {
            Some(Transition::Limited(_)) => true,
            Some(Transition::Lost(_) | Transition::Unlimited) => false,
            _ => self.is_limited,
        };
        if transition == Some(Transition::Timely) {
            self.last_held_up = None;
        }
        let was = &self.verdict;
        self.verdict = Verdict {
            healthy,
            cause,
            held_up: false,
            message,
            breaker: was.breaker,
            as_of: now,
            since: if is_same { was.since } else { now },
            latency: found.ok(),
        };
        transition
    }

    fn is_laneless(&self, now: Instant) -> bool {
        let lasts = |since| now.saturating_duration_since(since) >= self.probe_interval / 2;
        self.laneless_since.is_some_and(lasts)
    }

    /// Whether probes have been in time for long enough, after several that were not.
    fn is_timely(&self, now: Instant) -> bool {
        let is_over = |last| now.saturating_duration_since(last) >= HELD_UP_OVER;
        self.last_held_up.is_some_and(is_over)
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
