use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The other side closed it.
    Closed,
    /// Not a byte arrived for `command_timeout` and a second while something waited for a reply.
    Stalled,
    /// It did not answer a `PING` when the server was reached again after an outage.
    Silent,
    /// What arrived on it was not the Redis protocol, or was no reply to anything that was asked.
    Protocol,
    /// The server no longer accepts its login.
    Unauthenticated,
    /// It may be inside a transaction, in which commands are queued instead of executed.
    InTransaction,
    /// It reached its age.
    Aged,
    /// Its generation was replaced.
    Replaced,
}

/// Tells everyone who uses a connection that it is closed, and why. It fires once.
#[derive(Debug, Default)]
pub(crate) struct CloseSignal {
    reason: AtomicU8,
    fired: Notify,
}

impl CloseSignal {
    /// Signals that the connection is closed, and why. Only the first reason counts.
    pub(crate) fn fire(&self, reason: CloseReason) {
        let first =
            self.reason.compare_exchange(0, reason as u8 + 1, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.fired.notify_waiters();
        }
    }

    pub(crate) fn reason(&self) -> Option<CloseReason> {
        match self.reason.load(Ordering::Acquire) {
            0 => None,
            number => ALL.get(usize::from(number) - 1).copied(),
        }
    }

    pub(crate) async fn fired(&self) -> CloseReason {
        loop {
            let fired = self.fired.notified();
            if let Some(reason) = self.reason() {
                return reason;
            }
            fired.await;
        }
    }
}

impl CloseReason {
    /// Whether no reply is expected on the connection any more, or none that could be trusted, so that it is taken out
    /// of use before its successor is made.
    pub(crate) fn is_sudden(self) -> bool {
        match self {
            Self::Closed
            | Self::Silent
            | Self::Protocol
            | Self::Unauthenticated
            | Self::InTransaction => true,
            // The server may answer after all.
            Self::Stalled | Self::Aged | Self::Replaced => false,
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Stalled => "stalled",
            Self::Silent => "silent",
            Self::Protocol => "out of step",
            Self::Unauthenticated => "unauthenticated",
            Self::InTransaction => "in a transaction",
            Self::Aged => "aged",
            Self::Replaced => "replaced",
        })
    }
}

const ALL: [CloseReason; 8] = [
    CloseReason::Closed,
    CloseReason::Stalled,
    CloseReason::Silent,
    CloseReason::Protocol,
    CloseReason::Unauthenticated,
    CloseReason::InTransaction,
    CloseReason::Aged,
    CloseReason::Replaced,
];
