use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server program was found.
    #[error(
        "neither redis-server nor valkey-server is on PATH; install the package redis-server (Debian, Ubuntu), \
         redis (Fedora, Alpine, Homebrew) or valkey, or set the url of a server that runs"
    )]
    NotInstalled,
    /// The directory's name is too long for a socket in it.
    #[error("the socket path {} is longer than {most_bytes} bytes; set TMPDIR to a shorter one", path.display())]
    PathTooLong {
        /// The path that would be needed.
        path: PathBuf,
        /// How long it may be.
        most_bytes: usize,
    },
    /// The directory could not be made.
    #[error("{} cannot be made and locked", path.display())]
    Home {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server did not start.
    #[error("{} did not start; check that it runs by hand", program.display())]
    Start {
        /// The server program.
        program: PathBuf,
        /// What the system said, or how it ended and the last line of its log.
        #[source]
        source: io::Error,
    },
}

/// About the longest pause between two starts, in the beginning.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// What this failure means to the caller. Answers from memory.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotInstalled | Self::PathTooLong { .. } | Self::Home { .. } => Outcome::Refused,
            Self::Start { .. } => Outcome::Unavailable { retry_after: RETRY_AFTER },
        }
    }
}
