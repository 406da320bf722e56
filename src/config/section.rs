//! Sections, and the paths by which faults name them.

/// A section that a source names. `[redis.endpoints.limits.tls]` has the keys of `redis.tls`, for the endpoint `limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// The section of the table of keys that lists its keys.
    pub(super) keys: &'static str,
    /// The endpoint, if it is not the default one.
    pub(super) endpoint: Option<&'a str>,
}

impl<'a> Section<'a> {
    /// The section `keys` of the table, for the default endpoint.
    pub(super) fn of(keys: &'static str) -> Self {
        Self { keys, endpoint: None }
    }

    /// The section `keys` of the table, for the endpoint called `endpoint`.
    pub(super) fn of_endpoint(keys: &'static str, endpoint: &'a str) -> Self {
        Self { keys, endpoint: Some(endpoint) }
    }

    /// Whether it may contain endpoints.
    pub(super) fn has_endpoints(self) -> bool {
        cfg!(feature = "cache") && self == Self::of(REDIS)
    }

    /// Its path, as in `redis.endpoints.limits.tls`.
    pub(super) fn path(self) -> String {
        self.path_to(self.keys)
    }

    /// The path of the section `keys` of the table, for the same endpoint.
    pub(super) fn path_to(self, keys: &str) -> String {
        match (self.endpoint, keys.strip_prefix(REDIS)) {
            (Some(name), Some(rest)) => format!("{ENDPOINTS}.{name}{rest}"),
            (None, _) | (_, None) => keys.to_owned(),
        }
    }
}

/// The section that contains the endpoints, each in a section of its own.
pub(super) const ENDPOINTS: &str = "redis.endpoints";
/// The section of the default endpoint.
pub(super) const REDIS: &str = "redis";
