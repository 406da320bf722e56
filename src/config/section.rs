/// A section as it was given. `[redis.endpoints.limits.tls]` has the keys of `redis.tls`, for the endpoint `limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// The section of the table that says what there may be.
    pub(super) keys: &'static str,
    /// The endpoint, where it is not the default one.
    pub(super) endpoint: Option<&'a str>,
}

impl<'a> Section<'a> {
    /// The section of this name in the table.
    pub(super) fn of(keys: &'static str) -> Self {
        Self { keys, endpoint: None }
    }

    /// The section of this name in the table, for the endpoint called `endpoint`.
    pub(super) fn of_endpoint(keys: &'static str, endpoint: &'a str) -> Self {
        Self { keys, endpoint: Some(endpoint) }
    }

    /// Whether endpoints may stand within it.
    pub(super) fn has_endpoints(self) -> bool {
        cfg!(feature = "cache") && self == Self::of(REDIS)
    }

    /// As a fault names it.
    pub(super) fn path(self) -> String {
        self.path_to(self.keys)
    }

    /// The section `keys` of the table, for the same endpoint.
    pub(super) fn path_to(self, keys: &str) -> String {
        match (self.endpoint, keys.strip_prefix(REDIS)) {
            (Some(name), Some(rest)) => format!("{ENDPOINTS}.{name}{rest}"),
            (None, _) | (_, None) => keys.to_owned(),
        }
    }
}

/// Where the endpoints stand, each in a section of its own name.
pub(super) const ENDPOINTS: &str = "redis.endpoints";
pub(super) const REDIS: &str = "redis";
