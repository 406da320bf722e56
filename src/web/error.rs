//! Which status a client reads for which failure.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mainstay_actors::Outcome;

use super::RequestId;
use super::problem::Problem;
use crate::Error;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let request_id = RequestId::current();
        let request_id = request_id.as_ref().map(RequestId::as_str);
        match self.outcome() {
            None => {}
            Some(Outcome::Bug | Outcome::Refused) => {
                tracing::error!(request_id, error = ?self, "a request failed");
            }
            // An outage is logged once when it begins and once when it ends, not for each request.
            Some(_) => tracing::debug!(request_id, error = ?self, "a request failed"),
        }
        problem(&self).into_response()
    }
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::Answer { status, detail } => Problem::plain(*status, detail.clone()),
        _ => problem_of(error.outcome().unwrap_or(Outcome::Bug)),
    }
}

/// The problem details of an outcome. This is the only place where a failure becomes a status.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::to_bytes;
    use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
    use mainstay_actors::supervision::CallError;
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
