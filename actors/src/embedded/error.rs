use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;

/// Why the embedded server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server program was found.
    #[error(
        "neither redis-server nor valkey-server is on PATH; install the package redis-server (Debian, Ubuntu), \
         redis (Fedora, Alpine, Homebrew) or valkey, or set the url of a server that runs"
    )]
    NotInstalled,
    /// The path of the socket is too long.
    #[error("the socket path {} is longer than {most_bytes} bytes; set TMPDIR to a shorter one", path.display())]
    PathTooLong {
        /// The path of the socket.
        path: PathBuf,
        /// The most bytes that it may have.
        most_bytes: usize,
    },
    /// The directory could not be created and locked.
    #[error("{} cannot be made and locked", path.display())]
    Home {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The directory was replaced while the server ran, and what stands there cannot be removed.
    #[error(
        "{} was replaced by something that this user cannot remove; remove it, or restart the service", path.display()
    )]
    Taken {
        /// The path of the directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The server did not start.
    #[error("{} did not start; check that it runs by hand", program.display())]
    Start {
        /// The server program.
        program: PathBuf,
        /// The error of the system, or how the server ended and the last line of its log.
        #[source]
        source: io::Error,
    },
}

/// How long a caller should wait: about as long as the first pauses between two starts.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// What this failure means to the caller. Answers from memory.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotInstalled | Self::PathTooLong { .. } | Self::Home { .. } => Outcome::Refused,
            Self::Taken { .. } | Self::Start { .. } => {
                Outcome::Unavailable { retry_after: RETRY_AFTER }
            }
        }
    }
}
