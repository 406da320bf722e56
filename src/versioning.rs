use std::collections::BTreeMap;
use std::fmt;

use axum::Router;

use crate::AppState;

/// A version of a service's API, as it stands in the path: `v1` to `v5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiVersion {
    /// `v1`
    V1,
    /// `v2`
    V2,
    /// `v3`
    V3,
    /// `v4`
    V4,
    /// `v5`
    V5,
}

impl ApiVersion {
    /// The version as it stands in the path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::V5 => "v5",
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Puts each version of an API under a path of its own: `{base}/v1/..`, `{base}/v2/..`.
#[derive(Debug)]
pub struct VersionedApiBuilder<S = AppState> {
    base_path: String,
    versions: BTreeMap<ApiVersion, Router<S>>,
}

impl<S: Clone + Send + Sync + 'static> VersionedApiBuilder<S> {
    /// No versions yet, and no base path.
    pub fn new() -> Self {
        Self { base_path: String::new(), versions: BTreeMap::new() }
    }

    /// What stands before the version, such as `/api`. Default nothing.
    #[must_use]
    pub fn with_base_path(self, base_path: impl Into<String>) -> Self {
        Self { base_path: base_path.into(), ..self }
    }

    /// Adds the routes of a version; their paths begin after the version. A version that is added
    /// twice has the routes of both.
    ///
    /// # Panics
    /// If two routes of one version have the same path and method.
    #[must_use]
    pub fn add_version(
        mut self,
        version: ApiVersion,
        routes: impl FnOnce(Router<S>) -> Router<S>,
    ) -> Self {
        let added = routes(Router::new());
        let known = self.versions.remove(&version).unwrap_or_default();
        self.versions.insert(version, known.merge(added));
        self
    }

    /// The routes of all versions, for
    /// [`ServiceBuilder::with_routes`](crate::ServiceBuilder::with_routes) or any other router.
    pub fn build_routes(self) -> Router<S> {
        let base = self.base_path.trim_matches('/');
        let base = if base.is_empty() { String::new() } else { format!("/{base}") };
        self.versions.into_iter().fold(Router::new(), |router, (version, routes)| {
            router.nest(&format!("{base}/{version}"), routes)
        })
    }
}

impl<S: Clone + Send + Sync + 'static> Default for VersionedApiBuilder<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;

    async fn status_of(api: VersionedApiBuilder<()>, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        api.build_routes().oneshot(request).await.unwrap().status()
    }

    fn users() -> VersionedApiBuilder<()> {
        VersionedApiBuilder::new()
            .add_version(ApiVersion::V1, |router| router.route("/users", get(async || "")))
    }

    #[tokio::test]
    async fn a_version_stands_between_the_base_path_and_its_routes() {
        for base_path in ["/api", "api", "/api/", "api/"] {
            let api = || users().with_base_path(base_path);
            assert_eq!(status_of(api(), "/api/v1/users").await, StatusCode::OK, "{base_path}");
            assert_eq!(status_of(api(), "/api/v2/users").await, StatusCode::NOT_FOUND);
            assert_eq!(status_of(api(), "/v1/users").await, StatusCode::NOT_FOUND);
        }
    }

    #[tokio::test]
    async fn without_a_base_path_the_version_comes_first() {
        for base_path in ["", "/"] {
            assert_eq!(
                status_of(users().with_base_path(base_path), "/v1/users").await,
                StatusCode::OK
            );
        }
    }

    #[tokio::test]
    async fn a_version_added_twice_has_the_routes_of_both() {
        let api = || {
            users()
                .add_version(ApiVersion::V1, |router| router.route("/sessions", get(async || "")))
                .add_version(ApiVersion::V1, |router| router.route("/users", post(async || "")))
        };
        assert_eq!(status_of(api(), "/v1/users").await, StatusCode::OK);
        assert_eq!(status_of(api(), "/v1/sessions").await, StatusCode::OK);
    }
}
