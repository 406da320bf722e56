//! The targets of log lines.

/// The target under which the actor library (ractor) logs. It opens a span around everything that an
/// actor does, which a service has no use for.
pub const LIBRARY_LOG_TARGET: &str = "ractor";
