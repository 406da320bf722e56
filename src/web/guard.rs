//! What every request of a service passes first: it gets an id, a deadline and the service's state,
//! and its failure is answered.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use mainstay_actors::{Outcome, deadline};
use tokio::time::timeout_at;

use super::error::problem_of;
use super::health;
use super::request_id::{self, RequestId};
use crate::AppState;

/// The service's own routes around `routes`: nothing that these are wrapped in can touch `/health`
/// and `/ready`.
pub(crate) fn guarded(routes: Router, app: AppState) -> Router {
    let body_limit = DefaultBodyLimit::max(app.config().service.body_limit);
    let routes = routes.layer(body_limit).layer(from_fn_with_state(app.clone(), guard));
    // As a fallback they may define the same paths without a conflict; the service's own come
    // first.
    health::routes(app).fallback_service(routes)
}

async fn guard(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let deadline = deadline::at_most(app.config().service.request_timeout);
    let late = outcome_of_a_cut(request.method());
    request.extensions_mut().insert(app);
    request.extensions_mut().insert(id.clone());

    let work = async {
        let handled = deadline::scope(deadline, AssertUnwindSafe(next.run(request)).catch_unwind());
        match timeout_at(deadline, handled).await {
            Ok(Ok(response)) => response,
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
    };
    let header: HeaderValue = id.to_header();
    let mut response = id.scope(work).await;
    response.headers_mut().insert(request_id::HEADER, header);
    response
}

/// What it means that a request of this method was cut off: only a method that promises to change
/// nothing (RFC 9110, 9.2.1) may be repeated blindly.
fn outcome_of_a_cut(method: &Method) -> Outcome {
    if method.is_safe() { Outcome::Deadline } else { Outcome::OutcomeUnknown }
}
