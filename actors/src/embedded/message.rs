use std::process::ExitStatus;
use std::time::Duration;

use super::Error;

/// Nobody asks this actor for anything: whoever uses the server goes to its socket.
#[derive(Debug)]
pub(crate) enum Message {
    /// It is time to start a server.
    Start,
    /// A server is there, or is not.
    Started(Result<(), Error>),
    /// The server has ended.
    Ended(Ended),
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: std::io::Result<ExitStatus>,
    pub(crate) lived: Duration,
}
