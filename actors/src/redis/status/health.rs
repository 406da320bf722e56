use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cause::Cause;
use super::classify::Meaning;
use super::error::{Error, RETRY_AFTER};
use super::server_state::{RefusalCounts, ServerState};

/// The result of the last probe of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether callers can be served: the last probe was answered, or only new connections fail.
    pub healthy: bool,
    /// Why the probe failed, if it did. Together with `healthy`: why new connections fail, while those that stand serve on.
    pub cause: Option<Cause>,
    /// Whether this process was held up since the probe, so that later ones say nothing.
    pub held_up: bool,
    /// The result in words.
    pub message: Cow<'static, str>,
    /// Whether commands are let through.
    pub breaker: Breaker,
    /// When the probe ended. A verdict counts for a limited time: see [`Health::is_healthy`] and [`Health::opened`].
    pub as_of: Instant,
    /// When health or breaker last changed.
    pub since: Instant,
    /// How long the answer took, if one came.
    pub latency: Option<Duration>,
}

/// Whether commands are let through to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Commands are let through. Leaves to `Open` when a probe and its repetition failed and nothing else succeeded
    /// since, unless only new connections fail and a lane is still answered.
    Closed,
    /// Commands fail at once with this cause. Leaves to `Closed` when a probe is answered, or a lane.
    Open {
        /// Why the endpoint cannot serve.
        cause: Cause,
        /// When the breaker opened.
        since: Instant,
        /// How long a caller should wait before the next try.
        retry_after: Duration,
    },
}

/// The published health of one endpoint: written by the health monitor, read by everyone.
#[derive(Debug)]
pub struct Health {
    verdict: ArcSwap<Verdict>,
    changed: Notify,
    max_age: Duration,
    /// How many moments were marked.
    marks: AtomicU64,
    /// The number of marks when a caller was last answered.
    succeeded: AtomicU64,
    refusals: RefusalCounts,
    read_only: Notify,
}

/// A moment to compare successes with: see [`Health::succeeded_since`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

impl Verdict {
    /// The verdict before the first probe: not healthy, and commands are let through.
    pub fn unknown() -> Self {
        let now = Instant::now();
        Self {
            healthy: false,
            cause: None,
            held_up: false,
            message: Cow::Borrowed("no probe has ended yet"),
            breaker: Breaker::Closed,
            as_of: now,
            since: now,
            latency: None,
        }
    }
}

impl Health {
    /// The health before the first verdict. Each verdict counts for `max_age`.
    pub fn new(max_age: Duration) -> Self {
        Self {
            verdict: ArcSwap::from_pointee(Verdict::unknown()),
            changed: Notify::new(),
            max_age,
            marks: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            refusals: RefusalCounts::default(),
            read_only: Notify::new(),
        }
    }

    /// Replaces the verdict and wakes everyone who waits for one. Answers from memory.
    pub fn publish(&self, verdict: Verdict) {
        self.verdict.store(Arc::new(verdict));
        self.changed.notify_waiters();
    }

    /// The last verdict, however old. Answers from memory.
    pub fn verdict(&self) -> Arc<Verdict> {
        self.verdict.load_full()
    }

    /// Whether callers can be served, as of not too long ago. Answers from memory.
    pub fn is_healthy(&self) -> bool {
        let verdict = self.verdict.load();
        verdict.healthy && self.is_fresh(&verdict)
    }

    /// The last verdict in words, or why there is none that counts. Answers from memory.
    pub fn message(&self) -> String {
        let verdict = self.verdict.load();
        if self.is_fresh(&verdict) {
            verdict.message.to_string()
        } else if verdict.held_up {
            Cause::HeldUp.to_string()
        } else {
            "the health monitor has not reported lately".to_owned()
        }
    }

    /// The error of an open breaker; `None` if commands are let through. A breaker in an old verdict counts as closed:
    /// the monitor that should have closed it is not running. Answers from memory.
    pub fn opened(&self) -> Option<Error> {
        let verdict = self.verdict.load();
        match verdict.breaker {
            Breaker::Open { cause, retry_after, .. } if self.is_fresh(&verdict) => {
                Some(Error::Unavailable { cause, retry_after: retry_after.max(RETRY_AFTER) })
            }
            Breaker::Open { .. } | Breaker::Closed => None,
        }
    }

    /// Waits until the breaker is open, and returns its error.
    pub(crate) async fn wait_opened(&self) -> Error {
        loop {
            let changed = self.changed.notified();
            if let Some(error) = self.opened() {
                return error;
            }
            changed.await;
        }
    }

    /// Notes that the server has just answered a caller. Called for each command, so it reads no clock, and writes only
    /// once after each mark. Answers from memory.
    pub(crate) fn succeeded(&self) {
        let marks = self.marks.load(Ordering::Acquire);
        if self.succeeded.load(Ordering::Relaxed) < marks {
            self.succeeded.fetch_max(marks, Ordering::AcqRel);
        }
    }

    /// Notes what a reply says about the server.
    pub(crate) fn replied(&self, meaning: Meaning) {
        if let Some(state) = meaning.state {
            self.refusals.refused_for(state);
        }
        match meaning.objection {
            None => self.succeeded(),
            Some(Cause::ReadOnly) => self.read_only.notify_one(),
            Some(_) => {}
        }
    }

    /// Waits until the server has answered READONLY since the last wait.
    pub(crate) async fn read_only(&self) {
        self.read_only.notified().await;
    }

    /// How often the server has refused something in this state. Answers from memory.
    pub fn refusals(&self, state: ServerState) -> u64 {
        self.refusals.refusals(state)
    }

    /// Marks this moment. Answers from memory.
    pub fn mark(&self) -> Mark {
        Mark(self.marks.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Whether the server has answered a caller since `mark`. Such an answer keeps the breaker closed for a probe that
    /// was sent then. Answers from memory.
    pub fn succeeded_since(&self, mark: Mark) -> bool {
        self.succeeded.load(Ordering::Acquire) >= mark.0
    }

    fn is_fresh(&self, verdict: &Verdict) -> bool {
        verdict.as_of.elapsed() <= self.max_age
    }
}
