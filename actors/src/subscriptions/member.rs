use std::sync::Arc;

use mainstay_supervision::Reply;

use super::buffer::Buffer;
use crate::redis::{self, TopicKind};

/// A topic: a channel or a pattern, and its name.
pub(super) type Name = (TopicKind, Arc<str>);

/// How a new subscription begins: it runs, or this is why not.
pub(super) type Begun = Result<(), redis::Error>;

/// When a subscription ends that nobody drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// When the service begins to drain: it belongs to a request, which then comes to its end.
    Drain,
    /// When the actors have ended, which use it while the last requests are answered.
    End,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) names: Vec<Name>,
    pub(super) buffer: Arc<Buffer>,
    /// How many topics are not confirmed; at zero it runs.
    pub(super) missing: usize,
    /// Answers its caller when it runs for the first time.
    pub(super) begin: Option<Reply<Begun>>,
    pub(super) until: Until,
}

impl Member {
    /// Notes that all of its topics are confirmed. `true` says that it ran before, so messages may be missing.
    pub(super) fn run(&mut self) -> bool {
        let Some(begin) = self.begin.take() else {
            self.buffer.reconnected();
            return true;
        };
        begin.send(Ok(()));
        false
    }

    /// Answers its caller with `error`. `true` says that it was still waiting to run for the first time.
    pub(super) fn fail(&mut self, error: &redis::Error) -> bool {
        let Some(begin) = self.begin.take() else { return false };
        begin.send(Err(error.clone()));
        true
    }
}
