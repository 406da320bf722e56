use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError,
};
use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::address::Address;
use super::cause::Cause;
use super::config::Config;
use super::connection::{Line, Open};
use super::error::Error;
use super::gate::ConnectGate;
use super::socket::{Names, tcp_settings};

/// Makes connections to one address.
pub(super) struct Connector {
    endpoint: Box<str>,
    address: Address,
    config: Arc<Config>,
    gate: Arc<ConnectGate>,
    /// While attempts fail they are made one after the other, however many connections are wanted.
    turn: Semaphore,
    trouble: ArcSwapOption<Trouble>,
    recovered: Notify,
    speaks_resp2: AtomicBool,
    open: Arc<AtomicUsize>,
}

/// A row of failed attempts with no success since.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    cause: Cause,
    failures: u32,
    next_attempt: Instant,
}

/// What a connection is for; part of its name in `CLIENT LIST`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Lease,
    Probe,
}

impl Connector {
    pub(super) fn new(
        endpoint: &str,
        address: Address,
        config: Arc<Config>,
        gate: Arc<ConnectGate>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            address,
            config,
            gate,
            turn: Semaphore::new(1),
            trouble: ArcSwapOption::empty(),
            recovered: Notify::new(),
            speaks_resp2: AtomicBool::new(false),
            open: Arc::new(AtomicUsize::new(0)),
        }
    }

    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Why connecting fails at present.
    pub(super) fn trouble(&self) -> Option<Cause> {
        self.trouble.load().as_ref().map(|trouble| trouble.cause)
    }

    /// How many connections for leases are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Tries until a connection is made or `end` ends.
    // redis R4, R5, R26
    pub(super) async fn connect_until(&self, end: impl Future<Output = ()>) -> Result<Line, Error> {
        let tries = async {
            loop {
                if let Some(line) = self.attempt().await {
                    return line;
                }
            }
        };
        tokio::select! {
            biased;
            () = end => Err(Error::unavailable(Cause::Replaced)),
            line = tries => Ok(line),
        }
    }

    /// One attempt, made when it is due.
    async fn attempt(&self) -> Option<Line> {
        let was_trouble = self.trouble.load().is_some();
        let mut turn = if was_trouble { self.turn.acquire().await.ok() } else { None };
        // The one whose turn it was before may have changed everything.
        let recovered = self.recovered.notified();
        let trouble = self.trouble.load_full();
        if let Some(trouble) = &trouble {
            tokio::select! {
                () = sleep_until(trouble.next_attempt) => {}
                () = recovered => {}
            }
        }
        let is_retry = self.trouble.load().is_some();
        if !is_retry {
            turn = None;
        }
        let pass = self.gate.enter(is_retry).await;
        if !is_retry && self.trouble.load().is_some() {
            return None;
        }
        let made = self.connect_once(Purpose::Lease).await;
        if let Err(cause) = &made {
            let failures = trouble.map_or(1, |trouble| trouble.failures.saturating_add(1));
            let next_attempt = Instant::now() + pause(failures, *cause, fastrand::f64());
            self.trouble.store(Some(Arc::new(Trouble { cause: *cause, failures, next_attempt })));
        }
        drop((pass, turn));
        made.ok()
    }

    /// One attempt, made now, within `connect_timeout`; every way to fail, a panic included, comes back as a cause.
    // redis R6, R27
    pub(super) async fn connect_once(&self, purpose: Purpose) -> Result<Line, Cause> {
        let attempt = AssertUnwindSafe(self.handshake(purpose)).catch_unwind();
        let made = match timeout(self.config.connect_timeout, attempt).await {
            Ok(Ok(made)) => made,
            Ok(Err(_panic)) => Err(Cause::Defect),
            Err(_elapsed) => Err(Cause::Timeout),
        };
        match &made {
            Ok(_) => {
                self.trouble.store(None);
                self.recovered.notify_waiters();
            }
            // A probe's failure must not put off the next attempt of those who wait for a lease.
            Err(cause) => {
                if let Some(trouble) = self.trouble.load_full() {
                    self.trouble.store(Some(Arc::new(Trouble { cause: *cause, ..*trouble })));
                }
            }
        }
        made
    }

    async fn handshake(&self, purpose: Purpose) -> Result<Line, Cause> {
        let password = match &self.config.password_file {
            Some(path) => {
                Some(tokio::fs::read_to_string(path).await.map_err(|_| Cause::PasswordFile)?)
            }
            None => None,
        };
        let password = password.as_deref().map(|text| text.trim_end_matches(['\r', '\n']));
        let password = password.filter(|password| !password.is_empty());
        let dead = Arc::new(AtomicBool::new(false));
        let mut is_resp3 = !self.speaks_resp2.load(Ordering::Relaxed);
        let mut opened = self.open_line(password, is_resp3, &dead).await;
        if is_resp3 && opened.as_ref().is_err_and(knows_no_resp3) {
            self.speaks_resp2.store(true, Ordering::Relaxed);
            is_resp3 = false;
            opened = self.open_line(password, is_resp3, &dead).await;
        }
        let mut mux = opened.map_err(|error| Cause::of(&error))?;
        // A user without permission for CLIENT goes without a name: replies that are errors are values here.
        let named = ::redis::cmd("CLIENT").arg("SETNAME").arg(self.client_name(purpose)).take();
        mux.send_packed_command(&named).await.map_err(|error| Cause::of(&error))?;
        let counter = match purpose {
            Purpose::Lease => Arc::clone(&self.open),
            Purpose::Probe => Arc::default(),
        };
        Ok(Line::new(mux, dead, is_resp3, Open::count(&counter)))
    }

    async fn open_line(
        &self,
        password: Option<&str>,
        is_resp3: bool,
        dead: &Arc<AtomicBool>,
    ) -> Result<MultiplexedConnection, RedisError> {
        let Some(info) = self.address.connection_info(password) else {
            return Err(Error::NotBuilt.into());
        };
        let protocol = if is_resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let settings = info.redis_settings().clone().set_protocol(protocol);
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        // Deadlines are kept per command above; two clocks on one command would contradict each other.
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_dns_resolver(Names);
        if is_resp3 {
            let dead = Arc::clone(dead);
            config = config.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    dead.store(true, Ordering::Release);
                }
                Ok::<(), ::redis::aio::SendError>(())
            });
        }
        Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
    }

    fn client_name(&self, purpose: Purpose) -> String {
        let purpose = match purpose {
            Purpose::Lease => "lease",
            Purpose::Probe => "probe",
        };
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
            .field("trouble", &self.trouble())
            .finish_non_exhaustive()
    }
}

/// Servers before 6.0 do not know HELLO at all; some that imitate Redis know it and not version 3.
fn knows_no_resp3(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
}

/// The time to the next attempt: 250 ms growing to 500 ms, 50 % more or less; 2 s when the password is wrong, which
/// no haste will mend. `chance` is in 0..1.
pub(super) fn pause(failures: u32, cause: Cause, chance: f64) -> Duration {
    let middle = match cause {
        Cause::Auth | Cause::PasswordFile | Cause::Denied => return AUTH_PAUSE,
        _ => Duration::from_millis(u64::from(125 * failures.saturating_add(1).clamp(2, 4))),
    };
    middle.mul_f64(0.5 + chance)
}

const AUTH_PAUSE: Duration = Duration::from_secs(2);
