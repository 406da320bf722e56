//! When a service is asked to end.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse};

/// How close together two signals mean one thing.
const MOMENT: Duration = Duration::from_millis(500);

/// SIGTERM and SIGINT, or whatever the service was given instead.
pub(super) enum Stop {
    #[cfg(unix)]
    Signals { terminate: tokio::signal::unix::Signal, interrupt: tokio::signal::unix::Signal },
    #[cfg(not(unix))]
    Signals,
    /// Ends once; there is no second time.
    Given(Fuse<BoxFuture<'static, ()>>),
}

impl Stop {
    /// From here on signals end the process only by way of this.
    #[cfg_attr(
        not(unix),
        expect(clippy::unnecessary_wraps, reason = "registering can fail on unix")
    )]
    pub(super) fn new(given: Option<BoxFuture<'static, ()>>) -> io::Result<Self> {
        match given {
            Some(future) => Ok(Self::Given(future.fuse())),
            #[cfg(unix)]
            None => {
                use tokio::signal::unix::{SignalKind, signal};
                let (terminate, interrupt) =
                    (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
                Ok(Self::Signals { terminate, interrupt })
            }
            #[cfg(not(unix))]
            None => Ok(Self::Signals),
        }
    }

    /// Waits until the service is asked to end once more. What follows the first time within a
    /// moment is no second wish: some tools signal a process and then its group. *Cancel safety*:
    /// may be dropped.
    pub(super) async fn asked_again(&mut self) {
        tokio::time::sleep(MOMENT).await;
        self.asked().now_or_never();
        self.asked().await;
    }

    /// Waits until the service is asked to end. *Cancel safety*: may be dropped.
    pub(super) async fn asked(&mut self) {
        match self {
            #[cfg(unix)]
            Self::Signals { terminate, interrupt } => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            #[cfg(not(unix))]
            Self::Signals => {
                if tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending().await
                }
            }
            Self::Given(future) => {
                if futures_util::future::FusedFuture::is_terminated(future) {
                    std::future::pending::<()>().await;
                }
                future.await;
            }
        }
    }
}
