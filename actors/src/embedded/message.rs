use std::process::ExitStatus;
use std::time::Duration;

use super::Error;
use super::home::Lost;

/// The messages of the actor. It sends all of them itself: users of the server go to its socket.
#[derive(Debug)]
pub(crate) enum Message {
    /// A server is to be started.
    Start,
    /// A server has started, or failed to.
    Started(Result<(), Error>),
    /// The server that started in this turn has had the time to run well.
    Settled { turn: u64, pid: Option<u32> },
    /// The server has ended.
    Ended(Ended),
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    pub(crate) lived: Duration,
}

#[derive(Debug)]
pub(crate) enum Ending {
    /// It ended by itself, or was killed.
    Exited(std::io::Result<ExitStatus>),
    /// It was ended, because nobody could connect to it any more.
    Lost(Lost),
}
