use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{error, fmt, io};

use axum::http::StatusCode;
use mainstay_actors::supervision::{BoxError, CallError, Cause, NoActor, NoTaker};
use mainstay_actors::tree::StartError;
use mainstay_actors::{AskError, Outcome};

use crate::config;

/// The result that handlers and the service itself return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request, or a whole service, failed.
///
/// Its response is RFC 9457 problem details. The client reads the [`Answer`](Self::Answer) of the
/// handler, or a fixed text for each [`Outcome`], and never the internal message. `Debug` shows the
/// error with all of its causes on one line, because `main` prints the error that it returns by
/// `Debug`.
///
/// [`Outcome::Unavailable`] and [`Outcome::Overloaded`] are 503 with `Retry-After`,
/// [`Outcome::Deadline`] and [`Outcome::OutcomeUnknown`] 504, all others 500.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handler chose the answer: a status, and the text that the client reads.
    #[error("{detail}")]
    Answer {
        /// The status of the response.
        status: StatusCode,
        /// The text that the client reads.
        detail: Cow<'static, str>,
    },
    /// A command failed. The inner variant says whether it may have run anyway.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    Redis(#[from] mainstay_actors::redis::Error),
    /// A subscription failed. Nothing was subscribed to.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    Subscribe(#[from] mainstay_actors::subscriptions::Error),
    /// No endpoint has this name. No command was sent.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    NoEndpoint(#[from] mainstay_actors::cache::NoEndpoint),
    /// An actor did not answer. [`AskError::outcome`] says whether it may have acted anyway.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// An internal error. The client does not see it.
    #[error("internal error")]
    Internal(#[source] BoxError),
    /// The service was built without the feature that this needs.
    #[error(
        "this service was built without the feature `{feature}` of mainstay: add it, or do without"
    )]
    FeatureOff {
        /// The feature.
        feature: &'static str,
    },
    /// The configuration has faults, all of which are listed.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The service's actors did not start.
    #[error("the service cannot start")]
    Start(#[from] StartError),
    /// The service cannot listen on its address.
    #[error("cannot listen on {address}: {}", listen_advice(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The socket that was given to `with_listener` cannot be used.
    #[error("cannot use the listener of with_listener; check that it is a TCP socket that listens")]
    Listener(#[source] io::Error),
    /// The supervisor of the service's actors gave up, and the service ended.
    #[error("the service ended, because its actors could not be kept running")]
    GaveUp(#[source] Arc<Cause>),
    /// A second signal ended the service at once. Requests may have been cut off.
    #[error("a second signal ended the service before it had come to its end")]
    Interrupted,
}

fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "end the program that listens there, or choose another port with ACTON_SERVICE_PORT"
        }
        io::ErrorKind::PermissionDenied => "choose a port above 1023 with ACTON_SERVICE_PORT",
        io::ErrorKind::AddrNotAvailable => {
            "choose an address of this machine with ACTON_SERVICE_BIND"
        }
        _ => "check ACTON_SERVICE_BIND and ACTON_SERVICE_PORT",
    }
}

impl Error {
    /// Answers with `status`; the client reads `detail`.
    pub fn answer(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Answer { status, detail: detail.into() }
    }

    /// 400: the request is malformed. The client reads `detail`.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: the client is not authenticated. The client reads `detail`.
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the client is not allowed to do this. The client reads `detail`.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::FORBIDDEN, detail)
    }

    /// 404: the resource does not exist. The client reads `detail`.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::NOT_FOUND, detail)
    }

    /// 409: the request conflicts with the current state. The client reads `detail`.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::CONFLICT, detail)
    }

    /// 422: the request is well formed, but its content is not valid. The client reads `detail`.
    pub fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 500: an internal error. `source` is logged; the client does not see it.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal(source.into())
    }

    /// What this failure means to the caller; `None` for an [`Answer`](Self::Answer). Answers from
    /// memory.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Answer { .. } => None,
            #[cfg(feature = "cache")]
            Self::Redis(error) => Some(error.outcome()),
            #[cfg(feature = "cache")]
            Self::Subscribe(error) => Some(error.outcome()),
            #[cfg(feature = "cache")]
            Self::NoEndpoint(error) => Some(error.outcome()),
            Self::Ask(error) => Some(error.outcome()),
            Self::Internal(_)
            | Self::FeatureOff { .. }
            | Self::Config(_)
            | Self::Start(_)
            | Self::Listen { .. }
            | Self::Listener(_)
            | Self::GaveUp(_)
            | Self::Interrupted => Some(Outcome::Bug),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = error::Error::source(self);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(feature = "cache")]
impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error.into())
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Ask(error.into())
    }
}

impl From<NoTaker> for Error {
    fn from(error: NoTaker) -> Self {
        Self::Ask(error.into())
    }
}

impl From<NoActor> for Error {
    fn from(_: NoActor) -> Self {
        Self::not_found("There is no such actor.")
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_the_error_with_its_causes_on_one_line() {
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        let error = Error::Listen { address: ([127, 0, 0, 1], 8080).into(), source: taken };
        let line = format!("{error:?}");
        assert!(line.starts_with("cannot listen on 127.0.0.1:8080: end the program"), "{line}");
        assert!(line.ends_with(": address in use"), "{line}");
        assert!(!line.contains('\n'));
    }
}
