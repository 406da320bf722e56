//! A history of faults: many callers, a server and a network that go wrong at random, and what nobody may ever be told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use mainstay_actors::redis::{CacheConn, Error};
use mainstay_actors::tree::{Setup, Tree};
use mainstay_actors::{Outcome, deadline};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Port, Proxy, Server, Way, Weather, eventually, figures};

/// What a history has shown.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) answered: u64,
    /// Their caller dropped them.
    pub(crate) cut: u64,
    /// By outcome: nothing was done, and perhaps.
    pub(crate) not_done: u64,
    pub(crate) unknown: u64,
    pub(crate) faults: u64,
    pub(crate) restarts: u64,
    /// How much longer than its limits one took.
    pub(crate) overrun_max: Duration,
    /// How long after the end of a fault a caller was answered.
    pub(crate) recovery_max: Duration,
    /// At the end, more than at the beginning.
    pub(crate) connections_more: u64,
    pub(crate) descriptors_more: u64,
    pub(crate) resident_more_bytes: u64,
    /// Broken promises, the first hundred.
    pub(crate) wrong: Vec<String>,
}

/// Runs a history of this length.
pub(crate) async fn history(length: Duration, seed: u64) -> Report {
    // A new password does not keep the run itself out.
    let user = ["--user", "admin", "on", "nopass", "~*", "&*", "+@all"];
    let server = Arc::new(Server::start_configured(Port::reserve(), &user).await);
    let proxy = Proxy::before(server.address()).await;
    let mut setup = Setup::new("history");
    setup.redis.url = proxy.url();
    setup.redis.max_connections = MOST_LEASES;
    setup.redis.command_timeout = COMMAND_TIMEOUT;
    setup.redis.connection_timeout = COMMAND_TIMEOUT;
    let tree = Arc::new(Tree::start(setup).await.unwrap());
    answers(&tree).await;

    let run = Arc::new(Run { tree, losses: AtomicU64::new(0), is_done: AtomicBool::new(false) });
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let chance = Rng::with_seed(seed ^ (number + 1).wrapping_mul(SPREAD));
        callers.spawn(Caller::new(Arc::clone(&run), number, chance).work());
    }
    let mut report = Report::default();
    sleep(WARM_UP.min(length)).await;
    let before = Held::now(&server).await;
    storm(&run, &server, &proxy, Instant::now() + length, seed, &mut report).await;
    // What was black-holed stays so at the proxy's ends, which are this process', too.
    proxy.set(Weather::Cut).await;
    proxy.set(Weather::Fair).await;
    answers(&run.tree).await;
    sleep(WARM_UP.min(length)).await;
    // As many of them at work as before.
    let at_work = Held::now(&server).await;
    run.is_done.store(true, Ordering::Release);
    for caller in callers.join_all().await {
        report.answered += caller.answered;
        report.cut += caller.cut;
        report.not_done += caller.not_done;
        report.unknown += caller.unknown;
        report.overrun_max = report.overrun_max.max(caller.overrun_max);
        report.wrong.extend(caller.wrong);
    }
    let more = |now: u64, then: u64| now.saturating_sub(then);
    report.connections_more = more(at_work.connections, before.connections);
    report.descriptors_more = more(at_work.descriptors, before.descriptors);
    report.resident_more_bytes = more(at_work.resident_bytes, before.resident_bytes);
    let snapshot = run.tree.snapshot();
    report.restarts = snapshot.children.iter().map(|child| child.restarts).sum();
    report.wrong.truncate(100);
    run.tree.shutdown(Duration::from_secs(5)).await;
    report
}

/// What callers and storms share.
struct Run {
    tree: Arc<Tree>,
    /// Odd while the server may be losing its data.
    losses: AtomicU64,
    is_done: AtomicBool,
}

/// What the process and the server hold.
struct Held {
    connections: u64,
    descriptors: u64,
    resident_bytes: u64,
}

impl Held {
    async fn now(server: &Server) -> Self {
        let list: String = ask(server, &["CLIENT", "LIST"]).await.unwrap();
        let connections = list.lines().filter(|line| line.contains("name=history")).count() as u64;
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64);
        Self { connections, descriptors, resident_bytes: figures::resident_bytes() }
    }
}

/// Asks as a user who is always let in, past the proxy.
async fn ask<T: redis::FromRedisValue>(server: &Server, command: &[&str]) -> redis::RedisResult<T> {
    let url = format!("unix://{}?user=admin&pass=any", server.socket().display());
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::Cmd::new().arg(command).query_async(&mut connection).await
}

/// A caller is answered. Says after how long.
async fn answers(tree: &Tree) -> Duration {
    let begun = Instant::now();
    eventually("a caller is answered", async || {
        let mut conn = tree.cache().get().await.ok()?;
        conn.set_ex("probe", "value", 60).await.ok()
    })
    .await;
    begun.elapsed()
}

const FAULTS: [&str; 15] = [
    "frozen",
    "killed",
    "restarted",
    "flushed",
    "paused for writes",
    "paused",
    "black-holed",
    "black-holed for new ones",
    "deaf",
    "mute",
    "slow",
    "full",
    "re-passworded",
    "reset",
    "ragged",
];

async fn storm(
    run: &Run,
    server: &Server,
    proxy: &Proxy,
    end: Instant,
    seed: u64,
    report: &mut Report,
) {
    let mut chance = Rng::with_seed(!seed);
    let mut order: Vec<_> = FAULTS.into();
    while Instant::now() < end {
        chance.shuffle(&mut order);
        for fault in &order {
            if Instant::now() >= end {
                break;
            }
            let length = Duration::from_millis(chance.u64(50..2500));
            befall(run, server, proxy, fault, length, &mut chance).await;
            report.faults += 1;
            let recovery = answers(&run.tree).await;
            if recovery > report.recovery_max {
                report.recovery_max = recovery;
                eprintln!("history: {recovery:.0?} after: {fault} for {length:.0?}");
            }
            sleep(Duration::from_millis(chance.u64(50..1500))).await;
        }
    }
}

/// One fault, from its beginning to its end.
async fn befall(
    run: &Run,
    server: &Server,
    proxy: &Proxy,
    fault: &str,
    length: Duration,
    chance: &mut Rng,
) {
    let millis = length.as_millis().to_string();
    let weather = match fault {
        "black-holed" => Some(Weather::Silent),
        "deaf" => Some(Weather::HalfClosed(Way::ToServer)),
        "mute" => Some(Weather::HeldAfter(Way::ToClient, chance.usize(..2000))),
        "slow" => Some(Weather::Slow(Duration::from_millis(chance.u64(1..400)))),
        "reset" => Some(Weather::CutAfter(Way::ToClient, chance.usize(..2000))),
        "ragged" => Some(Weather::Ragged(chance.u64(..))),
        _ => None,
    };
    if let Some(weather) = weather {
        proxy.set(weather).await;
        sleep(length).await;
        // What was silent or closed one way stays so for what was open.
        return proxy.set(Weather::Fair).await;
    }
    match fault {
        "frozen" => {
            server.freeze();
            sleep(length).await;
            server.thaw();
        }
        "killed" | "restarted" => {
            run.losses.fetch_add(1, Ordering::SeqCst);
            server.stop();
            if fault == "killed" {
                sleep(length).await;
            }
            server.start_again().await;
            run.losses.fetch_add(1, Ordering::SeqCst);
        }
        "flushed" => {
            run.losses.fetch_add(1, Ordering::SeqCst);
            let () = ask(server, &["FLUSHALL"]).await.unwrap();
            run.losses.fetch_add(1, Ordering::SeqCst);
        }
        "paused for writes" | "paused" => {
            let mode = if fault == "paused" { "ALL" } else { "WRITE" };
            let () = ask(server, &["CLIENT", "PAUSE", &millis, mode]).await.unwrap();
            sleep(length).await;
        }
        "black-holed for new ones" => {
            proxy.set_for_new(Weather::Silent).await;
            let _: i64 = ask(server, &["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
            sleep(length).await;
            proxy.set(Weather::Fair).await;
        }
        "full" => {
            let () = ask(server, &["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
            sleep(length).await;
            let () = ask(server, &["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
        }
        "re-passworded" => {
            let () = ask(server, &["CONFIG", "SET", "requirepass", "other"]).await.unwrap();
            let _: i64 = ask(server, &["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
            sleep(length).await;
            let () = ask(server, &["CONFIG", "SET", "requirepass", ""]).await.unwrap();
        }
        _ => unreachable!("{fault}"),
    }
}

/// One of the callers, and the keys that only it writes.
struct Caller {
    run: Arc<Run>,
    number: u64,
    chance: Rng,
    written: u64,
    /// Counts the connections that it has held.
    conn: u64,
    keys: HashMap<u64, Key>,
    answered: u64,
    cut: u64,
    not_done: u64,
    unknown: u64,
    overrun_max: Duration,
    wrong: Vec<String>,
}

/// What may be at a key.
#[derive(Debug, Default)]
struct Key {
    /// The last write that was said to be done, if any, and the losses when it began.
    done: Option<u64>,
    losses: u64,
    /// Writes that may have happened or may still happen, and on which connection.
    perhaps: HashMap<u64, u64>,
    /// Writes of which it was said that nothing was done.
    not_done: HashSet<u64>,
}

enum Limit {
    None,
    Drop(Duration),
    Deadline(Duration),
}

impl Caller {
    fn new(run: Arc<Run>, number: u64, chance: Rng) -> Self {
        let keys = (0..KEYS).map(|key| (key, Key::default())).collect();
        let (overrun_max, wrong) = (Duration::ZERO, Vec::new());
        let (written, conn, answered, cut, not_done, unknown) = (0, 0, 0, 0, 0, 0);
        Self {
            run,
            number,
            chance,
            written,
            conn,
            keys,
            answered,
            cut,
            not_done,
            unknown,
            overrun_max,
            wrong,
        }
    }

    async fn work(mut self) -> Self {
        let mut kept = None;
        while !self.run.is_done.load(Ordering::Acquire) {
            sleep(Duration::from_micros(self.chance.u64(..20_000))).await;
            if self.chance.u8(..16) == 0 {
                kept = None;
            }
            let mut conn = match kept.take() {
                Some(conn) => conn,
                None => match self.run.tree.cache().get().await {
                    Ok(conn) => {
                        self.conn += 1;
                        conn
                    }
                    Err(error) => {
                        self.fail("a connection", &error);
                        continue;
                    }
                },
            };
            if self.chance.u8(..64) == 0 {
                let pinned = self.limited(conn.pin()).await;
                if let Some(Err(error)) = pinned {
                    self.fail("a lease", &error);
                    continue;
                }
            }
            match self.chance.u8(..10) {
                0..4 => self.writes(&mut conn).await,
                4..8 => self.reads(&mut conn).await,
                8 => self.reads_of_another(&mut conn).await,
                _ => self.echoes(&mut conn).await,
            }
            kept = Some(conn);
        }
        self
    }

    async fn writes(&mut self, conn: &mut CacheConn) {
        let (key, value) = (self.chance.u64(..KEYS), self.written);
        self.written += 1;
        let losses = self.run.losses.load(Ordering::SeqCst);
        let (name, text) = (name(self.number, key), text(self.number, key, value));
        let told = self.limited(conn.set(name, text)).await;
        let Some(it) = self.keys.get_mut(&key) else { return };
        match &told {
            Some(Ok(())) => {
                // No later write of a connection overtakes an earlier one of it.
                it.perhaps.retain(|_, conn| *conn != self.conn);
                (it.done, it.losses) = (Some(value), losses);
            }
            Some(Err(error)) if error.outcome() != Outcome::OutcomeUnknown => {
                it.not_done.insert(value);
            }
            None | Some(Err(_)) => {
                it.perhaps.insert(value, self.conn);
            }
        }
        self.note("a write", told);
    }

    async fn reads(&mut self, conn: &mut CacheConn) {
        let key = self.chance.u64(..KEYS);
        let name = name(self.number, key);
        let told = self.limited(conn.get::<_, Option<String>>(&name)).await;
        let losses = self.run.losses.load(Ordering::SeqCst);
        if let Some(Ok(found)) = &told {
            let it = &self.keys[&key];
            let fault = match found.as_deref().map(|text| value_of(text, &name)) {
                // Nothing was ever there, or it was lost since.
                None if it.done.is_none() || losses != it.losses || losses % 2 == 1 => None,
                None => Some("nothing, and nothing was lost".to_owned()),
                Some(None) => Some(format!("another's value: {found:?}")),
                Some(Some(value)) if it.not_done.contains(&value) => {
                    Some(format!("{value}, of which it was said that nothing was done"))
                }
                Some(Some(value)) if it.done == Some(value) || it.perhaps.contains_key(&value) => {
                    None
                }
                Some(Some(value)) => Some(format!("{value}, which was overwritten")),
            };
            if let Some(fault) = fault {
                let (done, perhaps) = (it.done, &it.perhaps);
                let mut perhaps: Vec<_> = perhaps.iter().collect();
                perhaps.sort_unstable();
                self.wrong.push(format!(
                    "{name} on connection {} is {fault}; done {done:?}, perhaps {perhaps:?}",
                    self.conn
                ));
            }
        }
        self.note("a read", told);
    }

    async fn reads_of_another(&mut self, conn: &mut CacheConn) {
        let name = name(self.chance.u64(..CALLERS), self.chance.u64(..KEYS));
        let told = self.limited(conn.get::<_, Option<String>>(&name)).await;
        if let Some(Ok(Some(text))) = &told
            && value_of(text, &name).is_none()
        {
            self.wrong.push(format!("{name} is {text}"));
        }
        self.note("a read", told);
    }

    async fn echoes(&mut self, conn: &mut CacheConn) {
        let mut text = format!("{}:{}:", self.number, self.chance.u64(..));
        if self.chance.u8(..8) == 0 {
            text.push_str(&"x".repeat(self.chance.usize(..20_000)));
        }
        let echo = redis::cmd("ECHO").arg(&text).take();
        let asked = async { Ok(echo.query_async::<String>(&mut **conn).await?) };
        let told = self.limited(asked).await;
        if let Some(Ok(heard)) = &told
            && *heard != text
        {
            self.wrong.push(format!("{text} was answered {heard}"));
        }
        self.note("an echo", told);
    }

    /// Asks within a limit; `None` if it was dropped.
    async fn limited<T>(
        &mut self,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let short = Duration::from_micros(1 << self.chance.u64(5..18));
        let limit = match self.chance.u8(..4) {
            0 | 1 => Limit::None,
            2 => Limit::Drop(short),
            _ => Limit::Deadline(short),
        };
        let begun = Instant::now();
        let told = match limit {
            Limit::None => Some(asked.await),
            Limit::Drop(limit) => timeout(limit, asked).await.ok(),
            Limit::Deadline(limit) => Some(deadline::scope(begun + limit, asked).await),
        };
        // A wait for a lease, the question on the old connection, and the command itself.
        let most = match limit {
            Limit::None => COMMAND_TIMEOUT * 3,
            Limit::Drop(limit) | Limit::Deadline(limit) => limit,
        };
        self.overrun_max = self.overrun_max.max(begun.elapsed().saturating_sub(most));
        told
    }

    fn note<T>(&mut self, what: &str, told: Option<Result<T, Error>>) {
        match told {
            None => self.cut += 1,
            Some(Ok(_)) => self.answered += 1,
            Some(Err(error)) => self.fail(what, &error),
        }
    }

    fn fail(&mut self, what: &str, error: &Error) {
        match error.outcome() {
            Outcome::Deadline | Outcome::Unavailable { .. } | Outcome::Overloaded { .. } => {
                self.not_done += 1;
            }
            Outcome::OutcomeUnknown => self.unknown += 1,
            _ => self.wrong.push(format!("{what} failed without an excuse: {error:?}")),
        }
    }
}

fn name(caller: u64, key: u64) -> String {
    format!("history:{caller}:{key}")
}

fn text(caller: u64, key: u64, value: u64) -> String {
    format!("{}={value}", name(caller, key))
}

fn value_of(text: &str, name: &str) -> Option<u64> {
    text.strip_prefix(name)?.strip_prefix('=')?.parse().ok()
}

const CALLERS: u64 = 64;
const KEYS: u64 = 4;
const MOST_LEASES: u32 = 8;
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
/// What is built once is there after this.
const WARM_UP: Duration = Duration::from_secs(5);
/// Keeps the seeds of neighbours apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
