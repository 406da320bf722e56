//! Everything that stands between a client and a service's own routes.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use tower::util::MapResponseLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::fused::Fused;
use super::guard::GuardLayer;
use super::{health, request_id};
use crate::AppState;

/// The service's own routes around `routes`: nothing that these are wrapped in can touch `/health`
/// and `/ready`.
pub(crate) fn edged(routes: Router, app: AppState) -> Router {
    let config = &app.config().service;
    let mut routes =
        routes.layer(DefaultBodyLimit::max(config.body_limit)).layer(GuardLayer::new(&app));
    if config.compression {
        let fuse = |response: Response| response.map(Fused::body);
        routes = routes.layer(MapResponseLayer::new(fuse)).layer(CompressionLayer::new());
    }
    // Outermost, so that a page may read every error.
    if let Some(cors) = cors(&config.cors) {
        routes = routes.layer(cors);
    }
    // As a fallback they may define the same paths without a conflict; the service's own come
    // first.
    health::routes(app).fallback_service(routes)
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
