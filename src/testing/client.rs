use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Uri};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout};

/// Longer than any request may take: a request that is not answered by then hangs.
const HUNG: Duration = Duration::from_secs(60);

/// What a request was answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// The status, as a number: compares with `200` and with `StatusCode::OK`.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
    /// From the request to the end of the body.
    pub took: Duration,
}

impl Answer {
    /// The body as JSON: `answer.json()["name"]`.
    ///
    /// # Panics
    /// If it is no JSON.
    pub fn json(&self) -> Value {
        self.parse()
    }

    /// The body as JSON, and that as a `T`.
    ///
    /// # Panics
    /// If it is no JSON, or no `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("not the JSON that was wanted: {error}: {self:?}"))
    }

    /// A header, if there is one of this name and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends requests to one service over connections that are kept.
#[derive(Debug)]
pub(super) struct Client {
    base: String,
    inner: legacy::Client<HttpConnector, Body>,
}

impl Client {
    pub(super) fn of(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self { base: base.to_owned(), inner }
    }

    pub(super) async fn send(&self, mut request: Request<Body>) -> io::Result<Answer> {
        let sent = Instant::now();
        let uri = format!("{}{}", self.base, request.uri());
        *request.uri_mut() = uri.parse::<Uri>().map_err(io::Error::other)?;
        let answered = timeout(HUNG, async {
            let response = self.inner.request(request).await.map_err(io::Error::other)?;
            let (head, body) = response.into_parts();
            let body = to_bytes(Body::new(body), usize::MAX).await.map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(&body).into_owned();
            let (status, headers) = (head.status.as_u16(), head.headers);
            Ok(Answer { status, headers, text, took: sent.elapsed() })
        });
        let hangs = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {HUNG:?}"));
        answered.await.map_err(hangs)?
    }
}
