//! Keys of acton-service that Mainstay knows by another name, or no longer needs.

/// What became of one of them.
pub(super) enum Became {
    /// Another key, which takes the same number of seconds.
    Key(&'static str),
    /// Nothing: what to do in its place.
    Nothing(&'static str),
}

/// What became of `name` in `section`, if it is one of them.
pub(super) fn find(section: &str, name: &str) -> Option<Became> {
    Some(match (section, name) {
        ("service", "timeout_secs") => Became::Key("request_timeout"),
        ("redis", "connection_timeout_secs") => Became::Key("connection_timeout"),
        ("redis", "max_retries" | "retry_delay_secs") => Became::Nothing(
            "no such key: attempts to connect never end and pace themselves; connect_timeout bounds one of them",
        ),
        ("redis", "lazy_init") => Became::Nothing(
            "no such key: the service always starts without waiting for Redis; optional says whether it is ready without",
        ),
        _ => return None,
    })
}
