use super::state::Step;
use crate::redis::{Cause, Failed, Incoming, PubSub};

/// The messages of the actor. It sends all of them itself.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A subscription began or ended.
    Changed,
    /// The connection is due for a look.
    Tick,
    /// An attempt to connect has ended. `generation` was in use when it began.
    Connected { epoch: u64, generation: Option<u64>, made: Result<(PubSub, Incoming), Cause> },
    /// The server has closed the connection.
    Closed { epoch: u64 },
    /// The server has answered these steps, or the connection was lost first.
    Answered { epoch: u64, answers: Vec<(Step, Result<(), Failed>)> },
    /// The server has answered a `PING`, or the connection was lost first.
    Ponged { epoch: u64, answer: Result<(), Failed> },
}
