use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redis::{ProtocolVersion, RedisConnectionInfo, RedisError};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::backoff::{Backoff, Failure};
use super::capability::{MissingCapabilities, MissingCapability};
use super::connection::Connection;
use super::pace::Pace;
use crate::redis::address::Address;
use crate::redis::command::{Batch, ScriptTexts};
use crate::redis::config::Config;
use crate::redis::socket::{
    Budget, CloseSignal, Load, Permit, Purpose, Socket, Wire, open_stream, read_file,
};
use crate::redis::status::{
    Cause, Error, cause_of_handshake, cause_of_login, is_refusal, knows_no_resp3,
};

/// Makes connections to one address.
pub(crate) struct Connector {
    endpoint: Box<str>,
    address: Address,
    config: Arc<Config>,
    pace: Arc<Pace>,
    /// While attempts fail they are made one after the other, however many connections are wanted.
    turn: Semaphore,
    backoff: Backoff,
    speaks_resp2: AtomicBool,
    missing: MissingCapabilities,
    budget: Budget,
    scripts: ScriptTexts,
}

impl Connector {
    pub(crate) fn new(
        endpoint: &str,
        address: Address,
        config: Arc<Config>,
        pace: Arc<Pace>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            address,
            budget: Budget::new(&config),
            config,
            pace,
            turn: Semaphore::new(1),
            backoff: Backoff::default(),
            speaks_resp2: AtomicBool::new(false),
            missing: MissingCapabilities::default(),
            scripts: ScriptTexts::default(),
        }
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn scripts(&self) -> &ScriptTexts {
        &self.scripts
    }

    /// Notes what the server does not have and we can do without.
    pub(crate) fn note_missing(&self, missing: MissingCapability) {
        self.missing.note(&self.endpoint, missing);
    }

    /// Whether connecting fails at present.
    pub(crate) fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// How many connections there are and may be.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Tries until a connection is made or `end` ends.
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

    /// One attempt, made when it is due.
    async fn attempt(&self, purpose: Purpose) -> Option<Connection> {
        // Before anything that others wait for too.
        let permit = self.budget.of(purpose).take().await;
        let mut turn =
            if self.backoff.is_failing() { self.turn.acquire().await.ok() } else { None };
        // The one whose turn it was before may have changed everything.
        self.backoff.due().await;
        let is_retry = self.backoff.is_failing();
        if !is_retry {
            turn = None;
        }
        let pass = self.pace.enter(is_retry).await;
        if !is_retry && self.backoff.is_failing() {
            return None;
        }
        let ended = self.backoff.ended();
        let made = tokio::select! {
            biased;
            made = self.connect_once(purpose, permit) => made.ok(),
            // What was begun before may hang, and would begin a new streak of failures.
            () = ended => None,
        };
        drop((pass, turn));
        made
    }

    /// One attempt for whoever watches over the endpoint. While attempts fail it keeps the pace of all others; while
    /// none is due because the login failed, that failure is the answer.
    // redis R4, R5
    pub(crate) async fn connect_probe(&self) -> Result<Connection, Cause> {
        self.pace().await?;
        let permit = self.permit(Purpose::Probe).await?;
        self.connect_once(Purpose::Probe, permit).await
    }

    /// A permit for an attempt that nobody repeats by itself: whoever asks for it does something else meanwhile.
    pub(crate) async fn permit(&self, purpose: Purpose) -> Result<Permit, Cause> {
        self.budget.of(purpose).take_within(self.config.connect_timeout).await
    }

    /// Waits for the turn of an attempt that is for no lease; fails at once while none is due.
    pub(crate) async fn pace(&self) -> Result<(), Cause> {
        if let Some(cause) = self.backoff.refused_login() {
            return Err(cause);
        }
        if self.backoff.is_failing() {
            // It takes neither a turn nor one of the few permits of the pace, so that no attempt that hangs holds it up.
            self.pace.pace().await;
        }
        Ok(())
    }

    /// Waits for the turn of one whose connection was lost, so that many that are lost at once do not come back at once.
    // redis R4
    pub(crate) async fn wait_turn(&self, load: Load) {
        // One at a time: a row of moments taken in advance would hold up the first attempt that can succeed. The lane
        // for large values stands in no row behind the others, which cannot serve for it.
        let _turn = match load {
            Load::Ordinary => self.turn.acquire().await.ok(),
            Load::Bulk => None,
        };
        if !self.backoff.is_failing() {
            self.pace.pace().await;
        }
    }

    async fn connect_once(&self, purpose: Purpose, permit: Permit) -> Result<Connection, Cause> {
        self.once(purpose, self.handshake(purpose, permit)).await
    }

    /// One attempt, made now, within `connect_timeout`; every way to fail, a panic included, comes back as a cause.
    // redis R6, R27
    pub(crate) async fn once<T>(
        &self,
        purpose: Purpose,
        handshake: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        let attempt = AssertUnwindSafe(handshake).catch_unwind();
        let made = match timeout(self.config.connect_timeout, attempt).await {
            Ok(Ok(made)) => made,
            Ok(Err(_panic)) => Err(Cause::Defect),
            Err(_elapsed) if self.address.is_tls() => Err(Cause::TlsTimeout),
            Err(_elapsed) => Err(Cause::Timeout),
        };
        // A finished handshake does not end the backoff: a proxy may shake hands for a server that is away.
        if let Err(cause) = &made {
            self.backoff.failed(*cause, Failure::Connect(purpose));
        }
        made
    }

    async fn handshake(&self, purpose: Purpose, permit: Permit) -> Result<Connection, Cause> {
        let login = self.login().await?;
        let closing = Arc::new(CloseSignal::default());
        let is_shared = matches!(purpose, Purpose::Lane(_));
        let open = async |login: &RedisConnectionInfo, permit| {
            Wire::open(self.socket(permit).await?, login, is_shared, None, &closing).await
        };
        let opened = if self.speaks_resp2() {
            open(&login, permit).await
        } else {
            match open(&in_resp3(&login), permit).await {
                failed if self.falls_back(&failed) => {
                    open(&login, self.budget.of(purpose).take().await).await
                }
                opened => opened,
            }
        };
        let mut wire = opened.map_err(|error| cause_of_handshake(&error))?;
        self.name(&mut wire, purpose).await?;
        if let (Purpose::Lane(_), Some(loading)) = (purpose, self.scripts.loading()) {
            let loaded = wire.send(&Batch::whole(&loading)).await;
            // A user without permission for SCRIPT, or a script that does not compile: the call will tell.
            let loaded = loaded.map_err(|error| cause_of_handshake(&error))?;
            if loaded.iter().any(is_refusal) {
                self.note_missing(MissingCapability::ScriptLoad);
            }
        }
        Ok(Connection::new(wire, closing, self.budget.of(purpose).count()))
    }

    /// Whom to log in as, by the password of now.
    pub(crate) async fn login(&self) -> Result<RedisConnectionInfo, Cause> {
        let password = match &self.config.password_file {
            Some(path) => Some(password_in(path).await.ok_or(Cause::PasswordFile)?),
            None => None,
        };
        Ok(self.address.login(password.as_deref()))
    }

    pub(crate) async fn socket(&self, permit: Permit) -> Result<Socket, RedisError> {
        let stream = open_stream(&self.address, &self.config.tls).await;
        Ok(Socket::new(stream.map_err(Error::unavailable)?, permit))
    }

    /// Tells the server what the connection is for.
    pub(crate) async fn name(&self, wire: &mut Wire, purpose: Purpose) -> Result<(), Cause> {
        let named = ::redis::cmd("CLIENT").arg("SETNAME").arg(self.client_name(purpose)).take();
        let named = wire.send(&named).await.map_err(|error| cause_of_handshake(&error))?;
        // A user without permission for CLIENT goes without a name: replies that are errors are values here.
        if is_refusal(&named) {
            self.note_missing(MissingCapability::ClientSetname);
        }
        cause_of_login(&named).map_or(Ok(()), Err)
    }

    pub(crate) fn speaks_resp2(&self) -> bool {
        self.speaks_resp2.load(Ordering::Relaxed)
    }

    /// Whether an attempt failed only because the server knows no RESP3, which is kept in mind.
    pub(crate) fn falls_back<T>(&self, opened: &Result<T, RedisError>) -> bool {
        let falls_back = opened.as_ref().is_err_and(knows_no_resp3);
        if falls_back {
            self.speaks_resp2.store(true, Ordering::Relaxed);
            self.note_missing(MissingCapability::Resp3);
        }
        falls_back
    }

    fn client_name(&self, purpose: Purpose) -> String {
        let name = format!(
            "{}:{}:{purpose}:{}",
            self.config.client_name,
            self.endpoint,
            std::process::id()
        );
        // Redis refuses names with white space or anything that does not print.
        name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("endpoint", &self.endpoint)
            .field("address", &self.address)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

pub(crate) fn in_resp3(login: &RedisConnectionInfo) -> RedisConnectionInfo {
    login.clone().set_protocol(ProtocolVersion::RESP3)
}

/// The password in a file, without the end of its connection. `None` when there is none: a pipe, which might never end, an
/// empty file, or one too large to be a password.
async fn password_in(path: &Path) -> Option<String> {
    let mut text = String::from_utf8(read_file(path, LARGEST_PASSWORD).await?).ok()?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Some(text).filter(|password| !password.is_empty())
}

const LARGEST_PASSWORD: u64 = 4096;
