use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::{Backoff, Failure};
use super::capability::MissingCapability;
use super::connection::Connection;
use super::exchange::silence;
use super::handshake::Handshake;
use super::pace::{Pace, ServerPace};
use crate::redis::address::Address;
use crate::redis::command::ScriptTexts;
use crate::redis::config::Config;
use crate::redis::socket::{Budget, Load, Permit, PreferredAddress, Progress, Purpose};
use crate::redis::status::{Cause, Error};

/// Makes connections to one address, and times the attempts.
pub(crate) struct Connector {
    handshake: Handshake,
    pace: ServerPace,
    /// Held by an attempt while connecting fails: then attempts are made one after the other, except for those that hang.
    turn: Semaphore,
    /// How many attempts may begin at once while connecting does not fail.
    at_once: Semaphore,
    backoff: Backoff,
}

impl Connector {
    pub(crate) fn new(
        endpoint: &str,
        address: Address,
        config: Arc<Config>,
        pace: Arc<Pace>,
    ) -> Self {
        let pace = pace.of(&address);
        Self {
            handshake: Handshake::new(endpoint, address, config, pace.clone()),
            pace,
            turn: Semaphore::new(1),
            at_once: Semaphore::new(AT_ONCE),
            backoff: Backoff::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.handshake.endpoint()
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        self.handshake.config()
    }

    pub(crate) fn address(&self) -> &Address {
        self.handshake.address()
    }

    pub(crate) fn scripts(&self) -> &ScriptTexts {
        self.handshake.scripts()
    }

    /// Where its connections lead.
    pub(crate) fn preferred(&self) -> &PreferredAddress {
        self.handshake.preferred()
    }

    /// Notes that the server lacks a capability.
    pub(crate) fn note_missing(&self, missing: MissingCapability) {
        self.handshake.note_missing(missing);
    }

    /// Whether connecting fails at present, and when the next attempt is due.
    pub(crate) fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// How many connections are open and may be.
    pub(crate) fn budget(&self) -> &Budget {
        self.handshake.budget()
    }

    pub(super) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Tries until a connection is made, or `end` is ready.
    // redis R4, R5, R26
    pub(crate) async fn connect_until(
        &self,
        purpose: Purpose,
        end: impl Future<Output = ()>,
    ) -> Result<Connection, Error> {
        let tries = async {
            loop {
                if let Some(connection) = self.attempt(purpose).await {
                    return connection;
                }
            }
        };
        tokio::select! {
            biased;
            () = end => Err(Error::unavailable(Cause::Replaced)),
            connection = tries => Ok(connection),
        }
    }

    /// Makes one attempt when it is due.
    async fn attempt(&self, purpose: Purpose) -> Option<Connection> {
        // Taken first: an attempt that waits for its permit must hold nothing that others wait for.
        let permit = self.budget().of(purpose).take().await;
        let mut turn =
            if self.backoff.is_failing() { self.turn.acquire().await.ok() } else { None };
        // The attempt before this one may have ended the streak, or prolonged the pause.
        self.backoff.due().await;
        if self.backoff.is_failing() {
            self.pace.wait().await;
        } else {
            turn = self.at_once.acquire().await.ok();
            if self.backoff.is_failing() {
                return None;
            }
        }
        let ended = self.backoff.ended();
        let hangs = async {
            sleep(HANGS).await;
            drop(turn.take());
            std::future::pending().await
        };
        tokio::select! {
            biased;
            made = self.connect_once(purpose, permit) => made.ok(),
            // The streak has ended, so connecting works. An attempt that began earlier may hang, and its failure would
            // begin a new streak.
            () = ended => None,
            never = hangs => never,
        }
    }

    /// Makes one attempt for a probe. While attempts fail it keeps the server's pace; until the next attempt after a
    /// failed login is due, it returns that failure.
    // redis R4, R5
    pub(crate) async fn connect_probe(&self) -> Result<Connection, Cause> {
        self.wait_pace().await?;
        let permit = self.permit(Purpose::Probe).await?;
        self.connect_once(Purpose::Probe, permit).await
    }

    /// A permit for an attempt that its caller repeats, so the wait for it is limited by `connect_timeout`.
    pub(super) async fn permit(&self, purpose: Purpose) -> Result<Permit, Cause> {
        self.budget().of(purpose).take_within(self.config().connect_timeout).await
    }

    /// Waits for the turn of an attempt for a probe or a subscription; fails at once until the next login is due.
    pub(super) async fn wait_pace(&self) -> Result<(), Cause> {
        if let Some(cause) = self.backoff.refused_login() {
            return Err(cause);
        }
        if self.backoff.is_failing() {
            // It does not take the turn, so an attempt that hangs does not delay it.
            self.pace.wait().await;
        }
        Ok(())
    }

    /// Waits for the turn of a lost lane, so that many lanes that are lost at once do not reconnect at once.
    // redis R4
    pub(crate) async fn wait_turn(&self, load: Load) {
        // One at a time: if all took their moments in advance, the first attempt that can succeed would come late. The
        // lane for large values does not wait for the others, which cannot serve in its place.
        let _turn = match load {
            Load::Ordinary => self.turn.acquire().await.ok(),
            Load::Bulk => None,
        };
        if !self.backoff.is_failing() {
            self.pace.wait().await;
        }
    }

    async fn connect_once(&self, purpose: Purpose, permit: Permit) -> Result<Connection, Cause> {
        let progress = Progress::default();
        let opening = self.handshake.connection(purpose, permit, None, &progress);
        self.once(purpose, &progress, opening).await
    }

    /// Makes one attempt now, within `connect_timeout`. Every failure, including a panic, becomes a cause.
    // redis R6, R27
    pub(crate) async fn once<T>(
        &self,
        purpose: Purpose,
        progress: &Progress,
        handshake: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        // It is dropped after it was asked how far it has come.
        let mut attempt = pin!(AssertUnwindSafe(handshake).catch_unwind());
        let (begun, limit) = (Instant::now(), self.config().connect_timeout);
        let made = match timeout(limit, &mut attempt).await {
            Ok(Ok(made)) => made,
            Ok(Err(_panic)) => Err(Cause::Defect),
            // What one address has said counts, also where this process was too late to hear another.
            Err(_elapsed) => match silence(begun, limit) {
                Cause::HeldUp if !progress.is_told() => Err(Cause::HeldUp),
                _ => Err(self.handshake.overdue(progress)),
            },
        };
        // A successful handshake does not end the streak: a proxy may shake hands for a server that is away.
        match &made {
            // Nothing is known of the server.
            Ok(_) | Err(Cause::HeldUp) => {}
            Err(cause) => {
                self.preferred().avoid();
                self.backoff.failed(*cause, Failure::Connect(purpose));
            }
        }
        made
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("endpoint", &self.endpoint())
            .field("address", self.address())
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

const AT_ONCE: usize = 6;
/// An attempt that takes longer than this lets others begin before it ends: `connect_timeout` may be long, and the server
/// may be back long before that.
const HANGS: Duration = Duration::from_secs(1);
