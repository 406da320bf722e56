//! Why an actor, or a whole tree, ended.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::quiet::drop_quietly;

/// What an actor's own code fails with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How one incarnation of an actor ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Exit {
    /// It asked to end ([`Cx::stop`](crate::Cx::stop)).
    Normal,
    /// Its supervisor asked it to end.
    Stopped,
    /// It was cut off at an await point, because it did not end in time.
    Killed,
    /// Its code returned an error, which read like this with all of its sources. The error itself was
    /// dropped by the actor.
    Failed(Arc<str>),
    /// Its code, or a task of its own, panicked with this message.
    Panicked(Arc<str>),
    /// The handling of one message waited for longer than this, and was cut off.
    Stalled(Duration),
    /// `init` failed or panicked with this message.
    StartFailed(Arc<str>),
    /// `init` was not done within this time.
    StartTimedOut(Duration),
    /// It was a supervisor, and gave up.
    GaveUp(Arc<Cause>),
}

impl Exit {
    /// Whether a [`Transient`](crate::Restart::Transient) actor is restarted after this.
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Stopped)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended by itself"),
            Self::Stopped => f.write_str("stopped"),
            Self::Killed => f.write_str("killed: it did not end in time"),
            Self::Failed(message) => write!(f, "failed: {message}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Stalled(limit) => write!(f, "stalled: one message waited for {limit:?}"),
            Self::StartFailed(message) => write!(f, "did not start: {message}"),
            Self::StartTimedOut(limit) => write!(f, "did not start within {limit:?}"),
            Self::GaveUp(cause) => write!(f, "gave up: {cause}"),
        }
    }
}

/// Why a supervisor gave up. At the root this is what the process ends with.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// An actor fell more often than its supervisor tolerates.
    #[error("{path} fell {falls} times within {within:?}; the last time it {exit}")]
    TooManyRestarts {
        /// The actor whose fall was one too many.
        path: Arc<str>,
        /// How often actors of this supervisor fell within the window, this fall included.
        falls: u32,
        /// The width of the window.
        within: Duration,
        /// How it fell the last time.
        exit: Exit,
    },
    /// Actors that had fallen failed to start more often than their supervisor tolerates. Such starts
    /// count until the actor is up, however long they take: a window of time would forget those that
    /// are slow to fail.
    #[error("{path} does not come up again: {starts} starts failed; the last time it {exit}")]
    TooManyFailedStarts {
        /// The actor whose start was one too many.
        path: Arc<str>,
        /// How many starts of actors of this supervisor failed that were not up since.
        starts: u32,
        /// How it failed the last time.
        exit: Exit,
    },
    /// An actor did not come up when the tree was started.
    #[error("{path} {exit}")]
    StartFailed {
        /// The actor that did not come up.
        path: Arc<str>,
        /// What kept it from starting.
        exit: Exit,
    },
    /// An actor ended whose end its supervisor must not survive.
    #[error("{path} {exit}")]
    SignificantExit {
        /// The actor, or supervisor, that ended.
        path: Arc<str>,
        /// How it ended.
        exit: Exit,
    },
    /// The supervisor is gone without having ended: its runtime ended before the tree was shut down. If
    /// the runtime still runs, this is a fault of this crate.
    #[error(
        "its runtime ended before the tree was shut down, or else its supervisor died: \
         please report that as a fault of mainstay-supervision"
    )]
    SupervisorDied,
}

impl Cause {
    /// The actor at the bottom of it.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::TooManyRestarts { path, exit, .. }
            | Self::TooManyFailedStarts { path, exit, .. }
            | Self::StartFailed { path, exit }
            | Self::SignificantExit { path, exit } => match exit {
                Exit::GaveUp(inner) => inner.path().or(Some(path)),
                _ => Some(path),
            },
            Self::SupervisorDied => None,
        }
    }
}

/// How an incarnation fell, on its way through ractor to the supervisor.
///
/// It holds text alone: an error, or what a panic was started with, is a value of the actor's own code.
/// It is shown and dropped in the actor's own task, and never by a supervisor.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fall(pub(crate) Exit);

impl Fall {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self(Exit::Panicked(panic_text(payload)))
    }

    pub(crate) fn failed(error: BoxError) -> Self {
        match error_text(error) {
            Ok(text) => Self(Exit::Failed(text)),
            Err(panic) => Self(Exit::Panicked(panic)),
        }
    }

    pub(crate) fn start_failed(error: BoxError) -> Self {
        let (Ok(text) | Err(text)) = error_text(error);
        Self(Exit::StartFailed(text))
    }

    pub(crate) fn start_panicked(payload: Box<dyn Any + Send>) -> Self {
        Self(Exit::StartFailed(panic_text(payload)))
    }
}

/// An error with all of its sources, on one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// What a panic said. Drops what it was started with.
pub(crate) fn panic_text(payload: Box<dyn Any + Send>) -> Arc<str> {
    let text = if let Some(text) = payload.downcast_ref::<&'static str>() {
        Arc::from(*text)
    } else if let Some(text) = payload.downcast_ref::<String>() {
        Arc::from(text.as_str())
    } else {
        Arc::from("a value that is not text")
    };
    drop_quietly(payload);
    text
}

/// What an error and its sources say, on one line; or what a panic says while they are shown or
/// dropped. Drops the error.
fn error_text(error: BoxError) -> Result<Arc<str>, Arc<str>> {
    let shown =
        panic::catch_unwind(AssertUnwindSafe(|| Arc::from(Chain(error.as_ref()).to_string())));
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(error)));
    let text = shown.map_err(panic_text)?;
    dropped.map_err(panic_text)?;
    Ok(text)
}
