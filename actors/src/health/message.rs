use std::time::Duration;

use mainstay_supervision::{Reply, Request};
use serde::Serialize;
use tokio::time::Instant;

use crate::redis::{Breaker, Cause, Probe, Verdict};

/// Asks what the last probe of the default endpoint found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetHealth;

impl Request for GetHealth {
    type Reply = Report;
}

/// Probes the default endpoint at once, and answers with what that probe finds. While probes fail the answer comes from
/// the next regular probe, at most `probe_interval` later, so that asking does not make the service connect more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeNow;

impl Request for ProbeNow {
    type Reply = Report;
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whether callers can be served: the probe was answered, or only new connections fail.
    pub healthy: bool,
    /// The result in words, with what to check.
    pub message: String,
    /// Whether the breaker is open, so that commands fail at once.
    pub breaker_open: bool,
    /// How long ago the probe ended, in milliseconds.
    pub age_ms: u64,
    /// How long the answer took, in microseconds, if one came.
    pub latency_us: Option<u64>,
}

impl Report {
    pub(crate) fn of(verdict: &Verdict, now: Instant) -> Self {
        let age = now.saturating_duration_since(verdict.as_of).as_millis();
        let micros = |latency: Duration| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        Self {
            healthy: verdict.healthy,
            message: verdict.message.to_string(),
            breaker_open: matches!(verdict.breaker, Breaker::Open { .. }),
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            latency_us: verdict.latency.map(micros),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Message {
    GetHealth(GetHealth, Reply<Report>),
    ProbeNow(ProbeNow, Reply<Report>),
    /// A probe may be due.
    Tick,
    /// A probe has ended.
    Probed(Probed),
}

#[derive(Debug)]
pub(crate) struct Probed {
    /// The generation of the pool when the probe was sent.
    pub(crate) generation: u64,
    /// The connection, if it may be used again.
    pub(crate) connection: Option<Connection>,
    pub(crate) found: Result<Duration, Miss>,
}

/// How a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// It had no connection: none could be made, or it was closed. Callers may still have working connections.
    Unconnected(Cause),
    /// It had a connection, and got no answer or one that says "not now".
    Unanswered(Cause),
    /// It was answered by a server that cannot serve this endpoint.
    WrongServer(Cause),
    /// This process was held up, so that nothing is known.
    HeldUp,
}

impl Miss {
    pub(crate) fn cause(self) -> Cause {
        match self {
            Self::Unconnected(cause) | Self::Unanswered(cause) | Self::WrongServer(cause) => cause,
            Self::HeldUp => Cause::HeldUp,
        }
    }
}

/// The monitor's own connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) probe: Probe,
    /// That of the pool when it was made.
    pub(crate) generation: u64,
    pub(crate) created: Instant,
}
