//! Everything that stands between a client and a service's own routes.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use tower::Service;
use tower::util::MapResponseLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::fused::Fused;
use super::guard::{GuardLayer, guard};
use super::{health, request_id};
use crate::AppState;

/// A service's routes with its own around them: nothing that they are wrapped in can touch `/health`
/// and `/ready`.
#[derive(Debug)]
pub(crate) struct Edge {
    own: Router,
    routes: Routes,
}

#[derive(Debug)]
enum Routes {
    /// As services mostly are: one guard, which is called here.
    Guarded(Guarded),
    /// The guard is within other layers.
    Layered(Router),
}

#[derive(Debug)]
struct Guarded {
    app: AppState,
    /// `None` where it is what axum limits bodies to by itself.
    body_limit: Option<DefaultBodyLimit>,
    routes: Router,
}

/// What axum's extractors read at most where nobody says anything else, in bytes.
const BODY_LIMIT_OF_AXUM: usize = 2 * 1024 * 1024;

impl Edge {
    pub(crate) fn around(routes: Router, app: AppState) -> Self {
        let config = &app.config().service;
        let cors = cors(&config.cors);
        let routes = if config.compression || cors.is_some() {
            Routes::Layered(layered(routes, &app, cors))
        } else {
            let is_other = config.body_limit != BODY_LIMIT_OF_AXUM;
            let body_limit = is_other.then(|| DefaultBodyLimit::max(config.body_limit));
            Routes::Guarded(Guarded { app: app.clone(), body_limit, routes })
        };
        Self { own: health::routes(app), routes }
    }

    /// The same as a router.
    pub(crate) fn into_router(self) -> Router {
        // As a fallback they may define the same paths without a conflict; the service's own come
        // first.
        self.own.fallback_service(match self.routes {
            Routes::Guarded(Guarded { app, routes, .. }) => layered(routes, &app, None),
            Routes::Layered(routes) => routes,
        })
    }

    pub(crate) async fn answer(&self, mut request: Request) -> Response {
        let routes = match &self.routes {
            _ if health::is_own(request.uri().path()) => &self.own,
            Routes::Guarded(Guarded { app, body_limit, routes }) => {
                if let Some(limit) = body_limit {
                    limit.apply(&mut request);
                }
                return guard(app, routes.clone(), request).await;
            }
            Routes::Layered(routes) => routes,
        };
        match routes.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn layered(routes: Router, app: &AppState, cors: Option<CorsLayer>) -> Router {
    let config = &app.config().service;
    let mut routes =
        routes.layer(DefaultBodyLimit::max(config.body_limit)).layer(GuardLayer::new(app));
    if config.compression {
        let fuse = |response: Response| response.map(Fused::body);
        routes = routes.layer(MapResponseLayer::new(fuse)).layer(CompressionLayer::new());
    }
    // Outermost, so that a page may read every error.
    match cors {
        Some(cors) => routes.layer(cors),
        None => routes,
    }
}

/// Lets pages of these origins call the service, with any method and header and without cookies.
fn cors(origins: &str) -> Option<CorsLayer> {
    let origins = match origins.trim() {
        "off" => return None,
        "*" => AllowOrigin::any(),
        list => AllowOrigin::list(
            // What is no header is no origin either; the configuration has refused it.
            list.split(',').filter_map(|origin| HeaderValue::from_str(origin.trim()).ok()),
        ),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([request_id::HEADER, RETRY_AFTER]);
    Some(layer)
}
