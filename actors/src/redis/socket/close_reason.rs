use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Whether a connection is over, and why; set once, by whoever learns of it first.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    reason: AtomicU8,
    told: Notify,
}

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// The other side closed it.
    Closed,
    /// Three commands in a row had no reply in time.
    Timeouts,
    /// It was idle, and a `PING` had no reply in time.
    Silent,
    /// The server no longer accepts its login.
    Unauthenticated,
    /// It reached its age.
    Aged,
    /// Its generation was replaced.
    Replaced,
}

impl Ending {
    /// The first reason counts.
    pub(crate) fn tell(&self, reason: Loss) {
        let first =
            self.reason.compare_exchange(0, reason as u8 + 1, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.told.notify_waiters();
        }
    }

    pub(crate) fn reason(&self) -> Option<Loss> {
        match self.reason.load(Ordering::Acquire) {
            0 => None,
            number => ALL.get(usize::from(number) - 1).copied(),
        }
    }

    pub(crate) async fn told(&self) -> Loss {
        loop {
            let told = self.told.notified();
            if let Some(reason) = self.reason() {
                return reason;
            }
            told.await;
        }
    }
}

impl Loss {
    /// Whether nothing more is expected on the connection, so that it is given up before there is another one.
    pub(crate) fn is_sudden(self) -> bool {
        match self {
            Self::Closed | Self::Timeouts | Self::Silent | Self::Unauthenticated => true,
            Self::Aged | Self::Replaced => false,
        }
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Timeouts => "timeouts",
            Self::Silent => "silent",
            Self::Unauthenticated => "unauthenticated",
            Self::Aged => "aged",
            Self::Replaced => "replaced",
        })
    }
}

const ALL: [Loss; 6] =
    [Loss::Closed, Loss::Timeouts, Loss::Silent, Loss::Unauthenticated, Loss::Aged, Loss::Replaced];
