use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::random;

/// Where a request's id is read from, and where its response has it.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client, in bytes.
const LONGEST: usize = 128;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// What one request is called in the log, in its response's `x-request-id` and in problem details.
///
/// It is the client's own `x-request-id` where that is one to 128 visible ASCII characters, else a
/// new UUID. In a handler: `Extension<RequestId>`; or [`current`](Self::current), where `service.request_id` may be off.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match given.filter(|id| {
            (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        }) {
            Some(id) => Self(id.into()),
            None => Self::random(),
        }
    }

    fn random() -> Self {
        let id = uuid::Builder::from_random_bytes(random::id_bytes()).into_uuid();
        let mut text = uuid::Uuid::encode_buffer();
        Self(id.hyphenated().encode_lower(&mut text)[..].into())
    }

    /// The id of the request whose handler this is called from; `None` outside of one, and in tasks
    /// of its own. Answers from memory.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("visible ASCII is what a header takes")
    }

    /// Runs `future` as part of this request.
    pub(super) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &'static str) -> RequestId {
        RequestId::of(&HeaderMap::from_iter([(HEADER, HeaderValue::from_static(given))]))
    }

    #[test]
    fn a_clients_id_is_kept() {
        assert_eq!(id_for("a-b_c.1").as_str(), "a-b_c.1");
    }

    #[test]
    fn an_id_that_does_not_fit_a_log_line_is_replaced() {
        let long: &'static str = "x".repeat(LONGEST + 1).leak();
        for given in ["", "two words", "tab\there", long] {
            let id = id_for(given);
            assert_ne!(id.as_str(), given);
            let id = uuid::Uuid::parse_str(id.as_str()).unwrap();
            assert_eq!(id.get_version_num(), 4);
        }
    }

    #[tokio::test]
    async fn the_id_is_known_only_within_its_request() {
        let id = id_for("seven");
        assert_eq!(id.clone().scope(async { RequestId::current() }).await, Some(id));
        assert_eq!(RequestId::current(), None);
    }
}
