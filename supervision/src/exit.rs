//! Why an actor, or a whole tree, ended.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

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
    /// Its code returned an error.
    Failed(Arc<dyn std::error::Error + Send + Sync>),
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
            Self::Failed(error) => write!(f, "failed: {}", Chain(error.as_ref())),
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
    /// The supervisor itself died. This is a fault of this crate.
    #[error("the supervisor itself died; please report this as a fault of mainstay-supervision")]
    SupervisorDied,
}

impl Cause {
    /// The actor at the bottom of it.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::TooManyRestarts { path, exit, .. }
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
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fall(pub(crate) Exit);

impl Fall {
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        Self(Exit::Panicked(panic_message(payload)))
    }

    /// Whoever tells of the error shows it: one that cannot be shown is found out here, where a
    /// panic is the actor's own.
    pub(crate) fn failed(error: BoxError) -> Self {
        match panic::catch_unwind(AssertUnwindSafe(|| error_message(error.as_ref()))) {
            Ok(_shown) => Self(Exit::Failed(Arc::from(error))),
            Err(panic) => Self::panicked(panic.as_ref()),
        }
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

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> Arc<str> {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        Arc::from(*text)
    } else if let Some(text) = payload.downcast_ref::<String>() {
        Arc::from(text.as_str())
    } else {
        Arc::from("a value that is not text")
    }
}

/// An error's chain as one line.
pub(crate) fn error_message(error: &(dyn std::error::Error + 'static)) -> Arc<str> {
    Arc::from(Chain(error).to_string())
}
