use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::redis::command::LearnedCommands;

/// The state that a generation and its connections share: its number, whether it is in use, and what its server said of
/// commands.
pub(crate) struct Lifecycle {
    number: u64,
    stage: AtomicU8,
    changed: Notify,
    leased: AtomicUsize,
    created: Instant,
    /// In nanoseconds since `created`: an idle connection whose last reply is older is not handed out.
    distrusted: AtomicU64,
    learned_commands: LearnedCommands,
}

/// Counts one leased connection of a generation for as long as it lives.
pub(crate) struct Leased(Arc<Lifecycle>);

impl Lifecycle {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            stage: AtomicU8::new(OPEN),
            changed: Notify::new(),
            leased: AtomicUsize::new(0),
            created: Instant::now(),
            distrusted: AtomicU64::new(0),
            learned_commands: LearnedCommands::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn learned_commands(&self) -> &LearnedCommands {
        &self.learned_commands
    }

    /// How many of its connections are leased now.
    pub(crate) fn leased(&self) -> usize {
        self.leased.load(Ordering::Acquire)
    }

    /// Ends its use: no connection is made for it, and none that is given back is kept.
    pub(crate) fn close(&self) {
        self.advance(CLOSED);
    }

    /// Ends blocking commands, and fails every further one.
    pub(crate) fn cut(&self) {
        self.advance(CUT);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= CLOSED
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= CUT
    }

    pub(crate) async fn closed(&self) {
        self.reached(CLOSED).await;
    }

    pub(crate) async fn was_cut(&self) {
        self.reached(CUT).await;
    }

    /// Waits until none of its connections is leased.
    pub(crate) async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            if self.leased() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Notes that an idle connection was dead, so that the others that are idle are not tried one by one.
    pub(crate) fn distrust_idle(&self) {
        self.distrusted.fetch_max(self.nanos(Instant::now()), Ordering::Release);
    }

    pub(crate) fn trusts(&self, last_reply: Instant) -> bool {
        self.nanos(last_reply) >= self.distrusted.load(Ordering::Acquire)
    }

    async fn reached(&self, stage: u8) {
        loop {
            let changed = self.changed.notified();
            if self.stage.load(Ordering::Acquire) >= stage {
                return;
            }
            changed.await;
        }
    }

    fn advance(&self, stage: u8) {
        self.stage.fetch_max(stage, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    fn nanos(&self, instant: Instant) -> u64 {
        let since_created = instant.saturating_duration_since(self.created);
        u64::try_from(since_created.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Leased {
    pub(crate) fn count(lifecycle: &Arc<Lifecycle>) -> Self {
        lifecycle.leased.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(lifecycle))
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.0.leased.fetch_sub(1, Ordering::AcqRel) == 1 && self.0.is_closed() {
            self.0.changed.notify_waiters();
        }
    }
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const CUT: u8 = 2;
