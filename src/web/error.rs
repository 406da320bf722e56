use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{error, fmt, io};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mainstay_actors::supervision::{BoxError, CallError, Cause, NoActor, NoTaker};
use mainstay_actors::tree::StartError;
use mainstay_actors::{AskError, Outcome};

use super::RequestId;
use super::problem::Problem;
use crate::config;

/// What handlers and the service itself return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request, or a whole service, failed.
///
/// As a response it is RFC 9457 problem details. What a client reads there is the
/// [`Answer`](Self::Answer) of a handler, or one fixed text for each [`Outcome`]: never what went
/// wrong inside. `Debug` shows the error with all of its causes on one line, because that is what
/// `main` prints of the error it returns.
///
/// [`Outcome::Unavailable`] and [`Outcome::Overloaded`] are 503 with `Retry-After`,
/// [`Outcome::Deadline`] and [`Outcome::OutcomeUnknown`] 504, all others 500.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the handler answers: a status, and what the client reads.
    #[error("{detail}")]
    Answer {
        /// The status of the response.
        status: StatusCode,
        /// What the client reads.
        detail: Cow<'static, str>,
    },
    /// Redis did not do what was asked. Whether it happened anyway: see the variant within.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    Redis(#[from] mainstay_actors::redis::Error),
    /// There is no subscription. Nothing happened.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    Subscribe(#[from] mainstay_actors::subscriptions::Error),
    /// No endpoint has the name that was asked for. Nothing happened.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    NoEndpoint(#[from] mainstay_actors::cache::NoEndpoint),
    /// An actor did not answer. Whether it acted anyway: see [`AskError::outcome`].
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Something that should not have happened. The client reads nothing of it.
    #[error("internal error")]
    Internal(#[source] BoxError),
    /// The service was built without what was asked for.
    #[error(
        "this service was built without the feature `{feature}` of mainstay: add it, or do without"
    )]
    FeatureOff {
        /// The feature.
        feature: &'static str,
    },
    /// The configuration was refused, with all of its faults.
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
        /// What the system said.
        source: io::Error,
    },
    /// The socket that the program gave to listen on cannot be used.
    #[error("cannot use the listener of with_listener; check that it is a TCP socket that listens")]
    Listener(#[source] io::Error),
    /// The supervisor of the service's actors gave up, and the service with it.
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

    /// 400: the request is not one that can be understood. The client reads `detail`.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: it is not known who asks. The client reads `detail`.
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: whoever asks may not do this. The client reads `detail`.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::FORBIDDEN, detail)
    }

    /// 404: what is asked for is not there. The client reads `detail`.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::NOT_FOUND, detail)
    }

    /// 409: what is asked for does not go with how things are. The client reads `detail`.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::CONFLICT, detail)
    }

    /// 422: the request is understood, and its content cannot be used. The client reads `detail`.
    pub fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::answer(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 500: something that should not have happened. It is logged; the client reads nothing of
    /// `source`.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal(source.into())
    }

    /// What this failure means to whoever called; `None` for an answer that the handler chose.
    /// Answers from memory.
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

    fn problem(&self) -> Problem {
        match self {
            Self::Answer { status, detail } => Problem::plain(*status, detail.clone()),
            _ => problem_of(self.outcome().unwrap_or(Outcome::Bug)),
        }
    }
}

/// What a client reads of an outcome: the one place where a failure inside becomes a status.
pub(super) fn problem_of(outcome: Outcome) -> Problem {
    match outcome {
        Outcome::Unavailable { retry_after } => Problem::typed(
            "urn:mainstay:problem:unavailable",
            "Temporarily unavailable",
            StatusCode::SERVICE_UNAVAILABLE,
            "A part of the service is away. This request can be repeated after the time \
             in Retry-After.",
        )
        .retry_after(retry_after),
        Outcome::Overloaded { retry_after } => Problem::typed(
            "urn:mainstay:problem:overloaded",
            "Overloaded",
            StatusCode::SERVICE_UNAVAILABLE,
            "The service has more to do than it can. This request can be repeated after the time \
             in Retry-After.",
        )
        .retry_after(retry_after),
        Outcome::Deadline => Problem::typed(
            "urn:mainstay:problem:deadline",
            "Out of time",
            StatusCode::GATEWAY_TIMEOUT,
            "The request was not done in the time it may take. The step that took too long changed \
             nothing.",
        ),
        Outcome::OutcomeUnknown => Problem::typed(
            "urn:mainstay:problem:outcome-unknown",
            "Outcome unknown",
            StatusCode::GATEWAY_TIMEOUT,
            "A change was begun and never confirmed. Read back whether it was made before \
             repeating the request.",
        ),
        Outcome::Refused | Outcome::Bug => Problem::plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The service could not do this. Repeating the request will not help.",
        ),
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let request_id = RequestId::current();
        let request_id = request_id.as_ref().map(RequestId::as_str);
        match self.outcome() {
            None => {}
            Some(Outcome::Bug | Outcome::Refused) => {
                tracing::error!(request_id, error = ?self, "a request failed");
            }
            // An outage is a line when it begins and one when it ends, not one for each request.
            Some(_) => tracing::debug!(request_id, error = ?self, "a request failed"),
        }
        self.problem().into_response()
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
    use std::time::Duration;

    use axum::body::to_bytes;
    use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
    use serde_json::{Value, json};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn shown(error: Error) -> (StatusCode, Option<String>, Value) {
        let response = error.into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let retry_after =
            response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, retry_after, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn each_outcome_has_its_status() {
        let retry_after = SECOND;
        let cases = [
            (Outcome::Unavailable { retry_after }, 503),
            (Outcome::Overloaded { retry_after }, 503),
            (Outcome::Deadline, 504),
            (Outcome::OutcomeUnknown, 504),
            (Outcome::Refused, 500),
            (Outcome::Bug, 500),
        ];
        for (outcome, status) in cases {
            assert_eq!(problem_of(outcome).status().as_u16(), status, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_says_what_the_handler_said() {
        let (status, retry_after, body) = shown(Error::not_found("there is no user 7")).await;
        assert_eq!((status, retry_after), (StatusCode::NOT_FOUND, None));
        let wanted = json!({
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "there is no user 7",
        });
        assert_eq!(body, wanted);
    }

    #[tokio::test]
    async fn a_client_reads_nothing_of_an_internal_error() {
        let (status, _, body) = shown(Error::internal("password=hunter2")).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }

    #[tokio::test]
    async fn an_unknown_outcome_is_told_apart_from_a_deadline_by_its_type() {
        let asked = |accepted| Error::from(CallError::Deadline { accepted });
        let (status, _, not_accepted) = shown(asked(false)).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(not_accepted["type"], "urn:mainstay:problem:deadline");
        for error in [asked(true), Error::from(CallError::Died { incarnation: 1 })] {
            let (status, _, body) = shown(error).await;
            assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(body["type"], "urn:mainstay:problem:outcome-unknown");
        }
    }

    #[tokio::test]
    async fn what_is_away_is_503_with_the_time_to_wait() {
        let retry_after = Some(Duration::from_millis(1200));
        let away = shown(CallError::Unavailable { retry_after }.into()).await;
        assert_eq!((away.0, away.1.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("2")));
        let full = shown(CallError::Overloaded { depth: 9 }.into()).await;
        assert_eq!((full.0, full.1.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
        assert_ne!(away.2["type"], full.2["type"]);
    }

    #[tokio::test]
    async fn problem_details_carry_the_id_of_the_request() {
        let id = RequestId::of(&axum::http::HeaderMap::new());
        let (_, _, body) = id.clone().scope(shown(Error::conflict("taken"))).await;
        assert_eq!(body["request_id"], id.as_str());
    }

    #[test]
    fn debug_is_the_error_with_its_causes_on_one_line() {
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        let error = Error::Listen { address: ([127, 0, 0, 1], 8080).into(), source: taken };
        let line = format!("{error:?}");
        assert!(line.starts_with("cannot listen on 127.0.0.1:8080: end the program"), "{line}");
        assert!(line.ends_with(": address in use"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[cfg(feature = "cache")]
    #[tokio::test]
    async fn an_error_of_redis_keeps_its_meaning_through_the_redis_crate() {
        use mainstay_actors::redis;
        let away =
            redis::Error::Unavailable { cause: redis::Cause::Refused, retry_after: 3 * SECOND };
        let foreign: ::redis::RedisError = away.into();
        let (status, retry_after, body) = shown(foreign.into()).await;
        assert_eq!((status, retry_after.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("3")));
        assert_eq!(body["type"], "urn:mainstay:problem:unavailable");
    }
}
