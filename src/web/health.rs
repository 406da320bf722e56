//! `/health` says whether the process is alive, `/ready` whether it should get requests.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Json, Response};
use axum::{Router, routing::get};
use mainstay_actors::tree::Dependency;
use serde::Serialize;

use super::problem::explained;
use crate::AppState;

const HEALTH: &str = "/health";
const READY: &str = "/ready";

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    service: &'a str,
    dependencies: BTreeMap<String, Seen>,
}

#[derive(Serialize)]
struct Seen {
    healthy: bool,
    message: String,
}

impl AppState {
    /// The routes `/health` and `/ready`, for an axum app that has no
    /// [`ServiceBuilder`](crate::ServiceBuilder). Merge them outside of every layer, so that no layer
    /// answers a probe.
    pub fn health_routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        routes(self.clone())
    }
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>(app: AppState) -> Router<S> {
    Router::new()
        .route(HEALTH, get(health))
        .route(READY, get(ready))
        .layer(map_response(async |response| explained(response)))
        .with_state(app)
}

/// Whether a request for `path` is one of [`routes`].
pub(super) fn is_own(path: &str) -> bool {
    matches!(path, HEALTH | READY)
}

/// Does not check dependencies, because a restart of this process would not bring them back.
async fn health(State(app): State<AppState>) -> Response {
    let service = &app.config().service.name;
    let health = Health { status: "healthy", service, version: app.version() };
    ([(CACHE_CONTROL, "no-store")], Json(health)).into_response()
}

/// Answers from the verdict of the health monitor, in memory.
async fn ready(State(app): State<AppState>) -> Response {
    let (status, readiness) =
        readiness(&app.config().service.name, app.is_running(), app.dependencies());
    (status, [(CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

fn readiness(
    service: &str,
    is_running: bool,
    dependencies: Vec<Dependency>,
) -> (StatusCode, Readiness<'_>) {
    let ready = is_running && dependencies.iter().all(|seen| seen.healthy || seen.optional);
    let seen =
        |seen: Dependency| (seen.name, Seen { healthy: seen.healthy, message: seen.message });
    let dependencies = dependencies.into_iter().map(seen).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Readiness { ready, service, dependencies })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redis(healthy: bool, optional: bool) -> Vec<Dependency> {
        let message = if healthy { "answers" } else { "connection refused" };
        vec![Dependency {
            name: "redis".to_owned(),
            healthy,
            message: message.to_owned(),
            optional,
        }]
    }

    #[test]
    fn a_service_is_ready_with_all_that_it_needs() {
        let (status, shown) = readiness("users", true, redis(true, false));
        assert_eq!(status, StatusCode::OK);
        let wanted = json!({
            "ready": true,
            "service": "users",
            "dependencies": {"redis": {"healthy": true, "message": "answers"}},
        });
        assert_eq!(serde_json::to_value(shown).unwrap(), wanted);
    }

    #[test]
    fn a_service_without_what_it_needs_is_not_ready() {
        let (status, shown) = readiness("users", true, redis(false, false));
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let shown = serde_json::to_value(shown).unwrap();
        assert_eq!(shown["ready"], false);
        assert_eq!(
            shown["dependencies"]["redis"],
            json!({"healthy": false, "message": "connection refused"})
        );
    }

    #[test]
    fn what_is_optional_is_shown_and_does_not_count() {
        let (status, shown) = readiness("users", true, redis(false, true));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(serde_json::to_value(shown).unwrap()["dependencies"]["redis"]["healthy"], false);
    }

    #[test]
    fn a_service_that_ends_is_not_ready() {
        assert_eq!(
            readiness("users", false, redis(true, false)).0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
