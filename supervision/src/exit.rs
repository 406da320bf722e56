//! Why an actor, or a whole tree, ended.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::quiet::drop_quietly;

/// The error type of an actor's own code.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How one incarnation of an actor ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Exit {
    /// It ended itself with [`Cx::stop`](crate::Cx::stop).
    Normal,
    /// Its supervisor stopped it.
    Stopped,
    /// It was cut off at an await point because it did not stop in time.
    Killed,
    /// Its code returned an error. This is the text of the error and of its sources, on one line; the
    /// actor's own task has dropped the error itself.
    Failed(Arc<str>),
    /// Its code or one of its tasks panicked with this message.
    Panicked(Arc<str>),
    /// A handler waited for longer than this ([`Actor::stall_after`](crate::Actor::stall_after)) and
    /// was cut off.
    Stalled(Duration),
    /// `init` returned an error or panicked, with this message.
    StartFailed(Arc<str>),
    /// `init` did not finish within this time.
    StartTimedOut(Duration),
    /// It is a supervisor that gave up.
    GaveUp(Arc<Cause>),
}

impl Exit {
    /// Whether a [`Transient`](crate::Restart::Transient) actor is restarted after this exit.
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

/// Why a supervisor gave up. [`System::failed`](crate::System::failed) returns that of the root.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The supervisor's children fell more often than its [`Intensity`](crate::Intensity) allows.
    #[error("{path} fell {falls} times within {within:?}; the last time it {exit}")]
    TooManyRestarts {
        /// The child whose fall was one too many.
        path: Arc<str>,
        /// How many falls there were within the window, counting this one.
        falls: u32,
        /// The length of the window.
        within: Duration,
        /// How that child fell.
        exit: Exit,
    },
    /// More restarts failed in `init` than the supervisor's [`Intensity`](crate::Intensity) allows.
    ///
    /// The failed starts of all children count together, however long each took. Those of a child are
    /// forgotten when it is up, or is restarted or removed by hand. The window does not apply, because
    /// it would forget starts that are slow to fail.
    #[error("{path} does not come up again: {starts} starts failed; the last time it {exit}")]
    TooManyFailedStarts {
        /// The child whose failed start was one too many.
        path: Arc<str>,
        /// How many failed starts counted, with this one.
        starts: u32,
        /// How that start failed.
        exit: Exit,
    },
    /// An actor failed to start while its supervisor was starting all of its children.
    #[error("{path} {exit}")]
    StartFailed {
        /// The actor that failed to start.
        path: Arc<str>,
        /// How it failed.
        exit: Exit,
    },
    /// A child ended abnormally that is marked as significant.
    #[error("{path} {exit}")]
    SignificantExit {
        /// The actor or supervisor that ended.
        path: Arc<str>,
        /// How it ended.
        exit: Exit,
    },
    /// The tokio runtime ended before the tree was shut down, and took the supervisor with it. If the
    /// runtime still runs, this is a bug in this crate.
    #[error(
        "its runtime ended before the tree was shut down, or else its supervisor died: \
         please report that as a fault of mainstay-supervision"
    )]
    SupervisorDied,
}

impl Cause {
    /// The path of the actor that caused it: the lowest one in the chain of causes.
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

/// How an incarnation fell, as ractor carries it to the supervisor.
///
/// It holds only text. An error or a panic payload is a value of the actor's own code: the actor's own
/// task formats and drops it, and a supervisor never does.
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

/// An error and its sources, on one line.
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

/// The message of a panic. Drops the payload.
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

/// The text of an error and its sources, on one line. `Err` holds the message of a panic that happened
/// while the error was formatted or dropped. Drops the error.
fn error_text(error: BoxError) -> Result<Arc<str>, Arc<str>> {
    let shown =
        panic::catch_unwind(AssertUnwindSafe(|| Arc::from(Chain(error.as_ref()).to_string())));
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(error)));
    let text = shown.map_err(panic_text)?;
    dropped.map_err(panic_text)?;
    Ok(text)
}
