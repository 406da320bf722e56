//! The targets of log lines.

/// The target of what the actor library below logs. It keeps a span open around everything that an
/// actor does, which is of no interest to a service.
pub const LIBRARY_LOG_TARGET: &str = "ractor";
