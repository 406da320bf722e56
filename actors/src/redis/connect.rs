use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::{ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, Value};
use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::address::Address;
use super::cause::Cause;
use super::config::Config;
use super::connection::{Line, Open};
use super::ending::Ending;
use super::error::Error;
use super::file;
use super::gate::ConnectGate;
use super::lack::{Lack, Lacks, is_refusal};
use super::lane::Load;
use super::request::Batch;
use super::script::Scripts;
use super::stream;
use super::wire::{Socket, Wire};

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
    lacks: Lacks,
    open: Counts,
    places: Places,
    scripts: Scripts,
}

/// How many connections may be open: what is logged at the start, and held. A connection has its place until its socket
/// is closed, which is a moment after it was let go of.
#[derive(Debug)]
struct Places {
    leases: Arc<Semaphore>,
    lanes: Arc<Semaphore>,
    control: Arc<Semaphore>,
}

/// The right to have a socket.
pub(super) type Place = OwnedSemaphorePermit;

/// How many connections are open.
#[derive(Debug, Default)]
struct Counts {
    leases: Arc<AtomicUsize>,
    lanes: Arc<AtomicUsize>,
    control: Arc<AtomicUsize>,
}

/// A row of failed attempts, with no connection since that answered.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    cause: Cause,
    failures: u32,
    next_attempt: Instant,
    /// When a lease's connection was last lost before it answered anything.
    lost: Option<Instant>,
}

/// How an attempt to get a working connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Connecting failed.
    Connect(Purpose),
    /// The handshake succeeded, and then the connection was lost with its first command, or before it.
    Unanswered,
}

/// What a connection is for; part of its name in `CLIENT LIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Lease,
    Lane(Load),
    Probe,
    Subscription,
}

impl Connector {
    pub(super) fn new(
        endpoint: &str,
        address: Address,
        config: Arc<Config>,
        gate: Arc<ConnectGate>,
    ) -> Self {
        let [leases, lanes, control] = config.connections();
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let places =
            Places { leases: places(leases), lanes: places(lanes), control: places(control) };
        Self {
            endpoint: endpoint.into(),
            address,
            config,
            gate,
            turn: Semaphore::new(1),
            trouble: ArcSwapOption::empty(),
            recovered: Notify::new(),
            speaks_resp2: AtomicBool::new(false),
            lacks: Lacks::default(),
            open: Counts::default(),
            places,
            scripts: Scripts::default(),
        }
    }

    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// Notes what the server lacks and we can do without.
    pub(super) fn lacks(&self, lack: Lack) {
        self.lacks.note(&self.endpoint, lack);
    }

    /// Why connecting fails at present.
    pub(super) fn trouble(&self) -> Option<Cause> {
        self.trouble.load().as_ref().map(|trouble| trouble.cause)
    }

    /// The same, once it is more than one attempt's bad luck, which a failed login never is.
    pub(super) fn standing_trouble(&self) -> Option<Cause> {
        let trouble = self.trouble.load();
        let stands = |trouble: &Trouble| trouble.failures >= STANDING || is_login(trouble.cause);
        trouble.as_ref().filter(|trouble| stands(trouble)).map(|trouble| trouble.cause)
    }

    /// How many attempts have failed since a new connection answered.
    pub(super) fn failures(&self) -> u32 {
        self.trouble.load().as_ref().map_or(0, |trouble| trouble.failures)
    }

    /// How many connections for leases are open.
    pub(super) fn open_leases(&self) -> usize {
        self.open.leases.load(Ordering::Relaxed)
    }

    /// How many connections for lanes are open, those of retired lanes that end their work included.
    pub(super) fn open_lanes(&self) -> usize {
        self.open.lanes.load(Ordering::Relaxed)
    }

    /// How many connections of our own are open.
    pub(super) fn open_control(&self) -> usize {
        self.open.control.load(Ordering::Relaxed)
    }

    /// Tries until a connection is made or `end` ends.
    // redis R4, R5, R26
    pub(super) async fn connect_until(
        &self,
        purpose: Purpose,
        end: impl Future<Output = ()>,
    ) -> Result<Line, Error> {
        let tries = async {
            loop {
                if let Some(line) = self.attempt(purpose).await {
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
    async fn attempt(&self, purpose: Purpose) -> Option<Line> {
        // Before anything that others wait for too.
        let place = self.place(purpose).await;
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
        let made = self.connect_once(purpose, place).await;
        drop((pass, turn));
        made.ok()
    }

    /// One attempt for whoever watches over the endpoint. While attempts fail it keeps the pace of all others; while
    /// none is due because the login failed, that failure is the answer.
    // redis R4, R5
    pub(super) async fn connect_probe(&self) -> Result<Line, Cause> {
        self.pace().await?;
        let place = self.place(Purpose::Probe).await;
        self.connect_once(Purpose::Probe, place).await
    }

    /// Waits for the turn of an attempt that is for no lease; fails at once while none is due.
    pub(super) async fn pace(&self) -> Result<(), Cause> {
        if let Some(trouble) = self.trouble.load_full() {
            if is_login(trouble.cause) && Instant::now() < trouble.next_attempt {
                return Err(trouble.cause);
            }
            // It takes neither a turn nor one of the few places, so that no attempt that hangs holds it up.
            self.gate.pace().await;
        }
        Ok(())
    }

    /// Waits for the turn of one whose connection was lost, so that many that are lost at once do not come back at once.
    // redis R4
    pub(super) async fn wait_turn(&self) {
        // One at a time: a row of moments taken in advance would hold up the first attempt that can succeed.
        let _turn = self.turn.acquire().await.ok();
        if self.trouble.load().is_none() {
            self.gate.pace().await;
        }
    }

    /// Notes that a caller's connection answered for the first time: connecting works.
    pub(super) fn answered(&self) {
        if self.trouble.load().is_some() {
            self.trouble.store(None);
            self.recovered.notify_waiters();
        }
    }

    /// Notes that a probe's connection answered for the first time. That says little where a probe is answered and
    /// leases are not, so a loss among those must have been a while ago.
    pub(super) fn probe_answered(&self) {
        let now = Instant::now();
        let recently = |lost: Instant| now.saturating_duration_since(lost) < RECENT;
        let was = self.trouble.rcu(|trouble| {
            trouble.as_ref().filter(|trouble| trouble.lost.is_some_and(recently)).map(Arc::clone)
        });
        if was.is_some() && self.trouble.load().is_none() {
            self.recovered.notify_waiters();
        }
    }

    /// Notes an attempt that came to nothing.
    pub(super) fn failed(&self, cause: Cause, failure: Failure) {
        let now = Instant::now();
        let chance = fastrand::f64();
        // Read and written as one: attempts for leases and for the probe may fail at the same moment.
        self.trouble.rcu(|trouble| {
            let failures = trouble.as_ref().map_or(1, |trouble| trouble.failures.saturating_add(1));
            // A probe's failure must not put off the next attempt of those who wait for a lease; only a login that
            // failed is not tried again soon by anyone.
            let is_apart =
                matches!(failure, Failure::Connect(Purpose::Probe | Purpose::Subscription));
            let next_attempt = if is_apart && !is_login(cause) {
                trouble.as_ref().map_or(now, |trouble| trouble.next_attempt)
            } else {
                now + pause(failures, cause, chance)
            };
            let lost = match failure {
                Failure::Unanswered => Some(now),
                Failure::Connect(_) => trouble.as_ref().and_then(|trouble| trouble.lost),
            };
            Some(Arc::new(Trouble { cause, failures, next_attempt, lost }))
        });
    }

    async fn connect_once(&self, purpose: Purpose, place: Place) -> Result<Line, Cause> {
        self.once(purpose, self.handshake(purpose, place)).await
    }

    /// One attempt, made now, within `connect_timeout`; every way to fail, a panic included, comes back as a cause.
    // redis R6, R27
    pub(super) async fn once<T>(
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
        // A finished handshake does not end the trouble: a proxy may shake hands for a server that is away.
        if let Err(cause) = &made {
            self.failed(*cause, Failure::Connect(purpose));
        }
        made
    }

    async fn handshake(&self, purpose: Purpose, place: Place) -> Result<Line, Cause> {
        let login = self.login().await?;
        let ending = Arc::new(Ending::default());
        let is_shared = matches!(purpose, Purpose::Lane(_));
        let open = async |login: &RedisConnectionInfo, place| {
            Wire::open(self.socket(place).await?, login, is_shared, None, &ending).await
        };
        let opened = if self.speaks_resp2() {
            open(&login, place).await
        } else {
            match open(&in_resp3(&login), place).await {
                failed if self.falls_back(&failed) => open(&login, self.place(purpose).await).await,
                opened => opened,
            }
        };
        let mut wire = opened.map_err(|error| Cause::of_handshake(&error))?;
        self.name(&mut wire, purpose).await?;
        if let (Purpose::Lane(_), Some(loading)) = (purpose, self.scripts.loading()) {
            let loaded = wire.send(&Batch::whole(&loading)).await;
            // A user without permission for SCRIPT, or a script that does not compile: the call will tell.
            let loaded = loaded.map_err(|error| Cause::of_handshake(&error))?;
            if loaded.iter().any(is_refusal) {
                self.lacks(Lack::ScriptLoad);
            }
        }
        Ok(Line::new(wire, ending, self.count(purpose)))
    }

    /// Whom to log in as, by the password of now.
    pub(super) async fn login(&self) -> Result<RedisConnectionInfo, Cause> {
        let password = match &self.config.password_file {
            Some(path) => Some(password_in(path).await.ok_or(Cause::PasswordFile)?),
            None => None,
        };
        Ok(self.address.login(password.as_deref()))
    }

    pub(super) async fn socket(&self, place: Place) -> Result<Socket, RedisError> {
        let stream = stream::open(&self.address, &self.config.tls).await;
        Ok(Socket::new(stream.map_err(Error::unavailable)?, place))
    }

    /// Tells the server what the connection is for.
    pub(super) async fn name(&self, wire: &mut Wire, purpose: Purpose) -> Result<(), Cause> {
        let named = ::redis::cmd("CLIENT").arg("SETNAME").arg(self.client_name(purpose)).take();
        let named = wire.send(&named).await.map_err(|error| Cause::of_handshake(&error))?;
        // A user without permission for CLIENT goes without a name: replies that are errors are values here.
        if is_refusal(&named) {
            self.lacks(Lack::ClientSetname);
        }
        if let Value::ServerError(error) = &named
            && Cause::of_code(error.code()) == Some(Cause::Auth)
        {
            return Err(Cause::Auth);
        }
        Ok(())
    }

    /// Waits until there is room for a connection.
    pub(super) async fn place(&self, purpose: Purpose) -> Place {
        let places = match purpose {
            Purpose::Lease => &self.places.leases,
            Purpose::Lane(_) => &self.places.lanes,
            Purpose::Probe | Purpose::Subscription => &self.places.control,
        };
        Arc::clone(places).acquire_owned().await.expect("nobody closes this semaphore")
    }

    /// Counts a connection for as long as it is open.
    pub(super) fn count(&self, purpose: Purpose) -> Open {
        Open::count(match purpose {
            Purpose::Lease => &self.open.leases,
            Purpose::Lane(_) => &self.open.lanes,
            Purpose::Probe | Purpose::Subscription => &self.open.control,
        })
    }

    pub(super) fn speaks_resp2(&self) -> bool {
        self.speaks_resp2.load(Ordering::Relaxed)
    }

    /// Whether an attempt failed only because the server knows no RESP3, which is kept in mind.
    pub(super) fn falls_back<T>(&self, opened: &Result<T, RedisError>) -> bool {
        let falls_back = opened.as_ref().is_err_and(knows_no_resp3);
        if falls_back {
            self.speaks_resp2.store(true, Ordering::Relaxed);
            self.lacks(Lack::Resp3);
        }
        falls_back
    }

    fn client_name(&self, purpose: Purpose) -> String {
        let purpose = match purpose {
            Purpose::Lease => "lease",
            Purpose::Lane(Load::Ordinary) => "lane",
            Purpose::Lane(Load::Bulk) => "bulk",
            Purpose::Probe => "probe",
            Purpose::Subscription => "subscriptions",
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
            .field("failures", &self.failures())
            .finish_non_exhaustive()
    }
}

pub(super) fn in_resp3(login: &RedisConnectionInfo) -> RedisConnectionInfo {
    login.clone().set_protocol(ProtocolVersion::RESP3)
}

/// Servers before 6.0 do not know HELLO at all; some that imitate Redis know it and not version 3.
fn knows_no_resp3(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
}

/// The time to the next attempt: 250 ms growing to 500 ms, 50 % more or less; 2 s when the password is wrong, which
/// no haste will mend. `chance` is in 0..1.
pub(crate) fn pause(failures: u32, cause: Cause, chance: f64) -> Duration {
    let middle = match cause {
        cause if is_login(cause) => return AUTH_PAUSE,
        _ => Duration::from_millis(u64::from(125 * failures.saturating_add(1).clamp(2, 4))),
    };
    middle.mul_f64(0.5 + chance)
}

fn is_login(cause: Cause) -> bool {
    matches!(cause, Cause::Auth | Cause::PasswordFile | Cause::Denied)
}

/// The password in a file, without the end of its line. `None` when there is none: a pipe, which might never end, an
/// empty file, or one too large to be a password.
async fn password_in(path: &Path) -> Option<String> {
    let mut text = String::from_utf8(file::read(path, LARGEST_PASSWORD).await?).ok()?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Some(text).filter(|password| !password.is_empty())
}

const AUTH_PAUSE: Duration = Duration::from_secs(2);
/// One failed attempt may be bad luck.
const STANDING: u32 = 2;
/// Longer than the longest time between two attempts, so that a loss with each of them counts.
const RECENT: Duration = Duration::from_secs(2);
const LARGEST_PASSWORD: u64 = 4096;
