//! What a client reads of a failure: RFC 9457, "Problem Details for HTTP APIs".

use std::borrow::Cow;
use std::time::Duration;

use axum::body::HttpBody;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::RequestId;

/// The type of a problem that its status says all about (RFC 9457, 4.2.1).
const BLANK: &str = "about:blank";

/// One answer to a request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    kind: &'static str,
    title: Cow<'static, str>,
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// What there is to say of a status alone.
    pub(super) fn of(status: StatusCode) -> Self {
        Self::plain(
            status,
            match status {
                StatusCode::NOT_FOUND => "Nothing was found here.",
                StatusCode::METHOD_NOT_ALLOWED => "This path does not take this method.",
                _ => "",
            },
        )
    }

    /// A problem that needs no type of its own.
    pub(super) fn plain(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").into();
        Self { kind: BLANK, title, status, detail: detail.into(), retry_after: None }
    }

    /// A problem that a client may want to tell apart from others of its status.
    pub(super) fn typed(
        kind: &'static str,
        title: &'static str,
        status: StatusCode,
        detail: &'static str,
    ) -> Self {
        Self { kind, title: title.into(), status, detail: detail.into(), retry_after: None }
    }

    pub(super) fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let request_id = RequestId::current();
        let body = Body {
            kind: self.kind,
            title: &self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id: request_id.as_ref().map(RequestId::as_str),
        };
        let body = serde_json::to_vec(&body).expect("texts and a number are always JSON");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(delay) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
        }
        response
    }
}

/// An error that is nothing but a status, as of a router that has no such path, with a body that
/// says so like every other error's.
pub(super) fn explained(response: Response) -> Response {
    let status = response.status();
    let is_bare = (status.is_client_error() || status.is_server_error())
        && !response.headers().contains_key(CONTENT_TYPE)
        && response.body().size_hint().exact() == Some(0);
    if !is_bare {
        return response;
    }
    let (mut bare, _empty) = response.into_parts();
    bare.headers.remove(CONTENT_LENGTH);
    let mut explained = Problem::of(status).into_response();
    explained.headers_mut().extend(bare.headers);
    *explained.extensions_mut() = bare.extensions;
    explained
}

/// A delay as the header `Retry-After` takes it (RFC 9110, 10.2.3): whole seconds. Rounded up, and
/// never 0, which would send every client back at once.
fn whole_seconds(delay: Duration) -> u64 {
    let begun = u64::from(delay.subsec_nanos() > 0);
    delay.as_secs().saturating_add(begun).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds_and_never_zero() {
        let cases = [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (2500, 3), (60_000, 60)];
        for (given_ms, wanted) in cases {
            assert_eq!(whole_seconds(Duration::from_millis(given_ms)), wanted, "{given_ms} ms");
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
