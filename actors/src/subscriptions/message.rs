use super::state::Step;
use crate::redis::{Cause, Failed, Incoming, PubSub};

/// What the actor's mailbox takes: only what it sends itself.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Someone subscribed, or no longer does.
    Changed,
    /// It is time to look after the connection.
    Tick,
    /// An attempt to connect has ended, which began when this generation was in use.
    Connected { epoch: u64, generation: Option<u64>, made: Result<(PubSub, Incoming), Cause> },
    /// The other side has closed the connection.
    Closed { epoch: u64 },
    /// The server has answered what it was told, or not.
    Answered { epoch: u64, answers: Vec<(Step, Result<(), Failed>)> },
    /// The same for a `PING`.
    Ponged { epoch: u64, answer: Result<(), Failed> },
}
