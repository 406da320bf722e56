//! What every request of a service passes first: it gets an id, a deadline and the service's state,
//! and its failure is answered.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mainstay_actors::{Outcome, deadline};
use tokio::time::timeout_at;
use tower::{Layer, Service};

use super::access::Access;
use super::error::problem_of;
use super::problem::explained;
use super::request_id::{self, RequestId};
use crate::AppState;

/// Gives each request an id, the deadline `service.request_timeout` and the [`AppState`] as an
/// extension, and answers for a handler that panics, or is late, or says nothing but a status.
///
/// [`ServiceBuilder`](crate::ServiceBuilder) puts it around its routes. It is for an axum app that
/// has none: `router.layer(GuardLayer::new(&state))`, outside of every other layer. The switches
/// `request_id`, `panic_guard` and `access_log` of `[service]` are its own.
#[derive(Debug, Clone)]
pub struct GuardLayer {
    app: AppState,
}

impl GuardLayer {
    /// For requests to the service of this state.
    pub fn new(state: &AppState) -> Self {
        Self { app: state.clone() }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { app: self.app.clone(), inner }
    }
}

/// What [`GuardLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Guard<S> {
    app: AppState,
    inner: S,
}

impl<S> Service<Request> for Guard<S>
where
    S: Service<Request, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that has been polled ready is the one to be called.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        let app = self.app.clone();
        async move { Ok(guard(&app, ready, request).await) }.boxed()
    }
}

/// Answers a request by `inner`, which is ready.
pub(super) async fn guard<S>(app: &AppState, mut inner: S, mut request: Request) -> Response
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
{
    let config = &app.config().service;
    // Within another guard it is that one's request.
    let id = || RequestId::current().unwrap_or_else(|| RequestId::of(request.headers()));
    let id = config.request_id.then(id);
    let mut access = config.access_log.then(|| Access::begins(&request, id.clone()));
    if let Some(id) = id.clone() {
        request.extensions_mut().insert(id);
    }
    request.extensions_mut().insert(app.clone());

    let deadline = deadline::at_most(config.request_timeout);
    let late = outcome_of_a_cut(request.method());
    // Pinned before it is wrapped, so that what it holds is not moved by each.
    let work = pin!(async {
        let handled = pin!(async { inner.call(request).await });
        let handled = deadline::scope(deadline, async {
            if config.panic_guard {
                AssertUnwindSafe(handled).catch_unwind().await
            } else {
                Ok(handled.await)
            }
        });
        match timeout_at(deadline, handled).await {
            Ok(Ok(Ok(response))) => explained(response.into_response()),
            Ok(Err(_panic)) => {
                // The panic hook has shown what it said.
                let request_id = RequestId::current();
                tracing::error!(
                    request_id = request_id.as_ref().map(RequestId::as_str),
                    "a handler panicked"
                );
                problem_of(Outcome::Bug).into_response()
            }
            Err(_elapsed) => problem_of(late).into_response(),
        }
    });
    let response = match id {
        Some(id) => {
            let header = id.to_header();
            let mut response = id.scope(work).await;
            response.headers_mut().insert(request_id::HEADER, header);
            response
        }
        None => work.await,
    };
    if let Some(access) = &mut access {
        access.is_answered(response.status());
    }
    response
}

/// What it means that a request of this method was cut off: only a method that promises to change
/// nothing (RFC 9110, 9.2.1) may be repeated blindly.
fn outcome_of_a_cut(method: &Method) -> Outcome {
    if method.is_safe() { Outcome::Deadline } else { Outcome::OutcomeUnknown }
}
