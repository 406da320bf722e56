use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use mainstay_actors::redis::{CacheConn, Config, Endpoint, Error};
use mainstay_actors::{Outcome, deadline};
use redis::AsyncCommands;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Keeper, Proxy, Way, Weather, endpoint};

/// What became of the operations.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// They had their reply.
    pub(crate) answered: u64,
    /// Their caller dropped them, or their time was over.
    pub(crate) cut: u64,
    /// They failed with an error that an outage explains.
    pub(crate) failed: u64,
    /// Connections that were reset under way.
    pub(crate) resets: u64,
    /// What must never be: a reply to someone else, an increment that was lost or made twice, an
    /// error without an excuse. The first hundred.
    pub(crate) wrong: Vec<String>,
}

/// Callers on lanes and leases drop what they asked at any moment, over a network that delivers in
/// pieces and cuts anywhere. Each reply carries what was asked for.
pub(crate) async fn cancels(server_url: &str, proxy: &Proxy, operations: u64, seed: u64) -> Report {
    let config = Config {
        url: proxy.url(),
        max_connections: 8,
        lanes: Some(2),
        connection_timeout: Duration::from_secs(2),
        command_timeout: Duration::from_secs(2),
        ..Config::default()
    };
    let endpoint = endpoint(config);
    let keeper = Keeper::of(&endpoint);
    proxy.set(Weather::Ragged(seed)).await;
    let run = Arc::new(Run {
        endpoint,
        seed,
        operations,
        begun: AtomicU64::new(0),
        done: AtomicBool::new(false),
    });
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let run = Arc::clone(&run);
        let chance = Rng::with_seed(seed ^ (number + 1).wrapping_mul(SPREAD));
        callers.spawn(
            Caller { run, number, chance, report: Report::default(), added: 0, perhaps_added: 0 }
                .work(),
        );
    }
    let (resets, callers) = tokio::join!(storms(&run, proxy), async {
        let callers = callers.join_all().await;
        run.done.store(true, Ordering::Release);
        callers
    });
    drop(keeper);
    proxy.set(Weather::Fair).await;
    let mut sum = Report { resets, ..Report::default() };
    let (mut added, mut perhaps) = (0, 0);
    for caller in callers {
        sum.answered += caller.report.answered;
        sum.cut += caller.report.cut;
        sum.failed += caller.report.failed;
        sum.wrong.extend(caller.report.wrong);
        added += caller.added;
        perhaps += caller.perhaps_added;
    }
    let client = redis::Client::open(server_url).unwrap();
    let mut direct = client.get_multiplexed_async_connection().await.unwrap();
    let counted: Option<u64> = direct.get(run.key("sum")).await.unwrap();
    if !(added..=added + perhaps).contains(&counted.unwrap_or(0)) {
        sum.wrong.push(format!("{added} increments and {perhaps} perhaps make {counted:?}"));
    }
    sum.wrong.truncate(100);
    sum
}

struct Run {
    endpoint: Arc<Endpoint>,
    seed: u64,
    operations: u64,
    begun: AtomicU64,
    done: AtomicBool,
}

impl Run {
    fn key(&self, name: &str) -> String {
        format!("soak:{:x}:{name}", self.seed)
    }
}

/// Resets a connection every now and then, somewhere within what it carries.
async fn storms(run: &Run, proxy: &Proxy) -> u64 {
    let mut chance = Rng::with_seed(!run.seed);
    let (mut resets, mut due) = (0, EVERY / 2);
    while !run.done.load(Ordering::Acquire) {
        if run.begun.load(Ordering::Relaxed) >= due {
            let open = proxy.open();
            let way = if chance.bool() { Way::ToServer } else { Way::ToClient };
            if let Some(client) = chance.choice(&open)
                && proxy.set_for(*client, Weather::CutAfter(way, chance.usize(..2000)))
            {
                resets += 1;
            }
            due += EVERY;
        }
        sleep(Duration::from_millis(2)).await;
    }
    resets
}

struct Caller {
    run: Arc<Run>,
    number: u64,
    chance: Rng,
    report: Report,
    added: u64,
    perhaps_added: u64,
}

impl Caller {
    async fn work(mut self) -> Self {
        let mut kept = None;
        loop {
            let number = self.run.begun.fetch_add(1, Ordering::Relaxed);
            if number >= self.run.operations {
                return self;
            }
            if self.chance.u8(..) < 128 {
                kept = None;
            }
            let Some(mut conn) = self.connection(kept.take()).await else { continue };
            let operation =
                Operation::new(self.chance.u8(..10), self.number, number, &mut self.chance);
            let limit = self.limit();
            let asked = operation.ask(&mut conn, &self.run);
            // Dropped from outside, and ended by a deadline within.
            let ended = match limit {
                Limit::None => Some(asked.await),
                Limit::Drop(limit) => timeout(limit, asked).await.ok(),
                Limit::Deadline(limit) => {
                    Some(deadline::scope(Instant::now() + limit, asked).await)
                }
            };
            self.note(&operation, ended);
            kept = Some(conn);
        }
    }

    async fn connection(&mut self, kept: Option<CacheConn>) -> Option<CacheConn> {
        if kept.is_some() {
            return kept;
        }
        match self.run.endpoint.connection().await {
            Ok(conn) => Some(conn),
            Err(error) => {
                self.fail("connection", &error);
                None
            }
        }
    }

    fn limit(&mut self) -> Limit {
        // From 30 us to 8 ms, short ones as often as long ones.
        let limit =
            Duration::from_micros(1 << self.chance.u64(5..13)).mul_f64(1.0 + self.chance.f64());
        match self.chance.u8(..4) {
            0 | 1 => Limit::None,
            2 => Limit::Drop(limit),
            _ => Limit::Deadline(limit),
        }
    }

    fn note(&mut self, operation: &Operation, ended: Option<Result<bool, Error>>) {
        let is_sum = operation.kind == Kind::Add;
        let is_unknown = matches!(ended, None | Some(Err(Error::OutcomeUnknown { .. })));
        self.perhaps_added += u64::from(is_sum && is_unknown);
        match ended {
            None => self.report.cut += 1,
            Some(Ok(true)) => {
                self.report.answered += 1;
                self.added += u64::from(is_sum);
            }
            Some(Ok(false)) => self.report.wrong.push(format!("{operation:?}: another's reply")),
            Some(Err(error)) => self.fail(&format!("{operation:?}"), &error),
        }
    }

    fn fail(&mut self, what: &str, error: &Error) {
        match error.outcome() {
            Outcome::Deadline => self.report.cut += 1,
            Outcome::Unavailable { .. } | Outcome::OutcomeUnknown | Outcome::Overloaded { .. } => {
                self.report.failed += 1;
            }
            _ => self.report.wrong.push(format!("{what}: {error:?}")),
        }
    }
}

enum Limit {
    None,
    Drop(Duration),
    Deadline(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Echo,
    SetAndGet,
    Pipeline,
    Atomic,
    Pinned,
    Add,
}

struct Operation {
    kind: Kind,
    /// No other operation has it.
    value: String,
}

impl Operation {
    fn new(kind: u8, caller: u64, number: u64, chance: &mut Rng) -> Self {
        let kind = match kind {
            0..4 => Kind::Echo,
            4 => Kind::SetAndGet,
            5 => Kind::Pipeline,
            6 => Kind::Atomic,
            7 => Kind::Pinned,
            _ => Kind::Add,
        };
        let padding = match chance.u8(..20) {
            0 => chance.usize(..40_000),
            1..5 => chance.usize(..1000),
            _ => 0,
        };
        Self { kind, value: format!("{caller}:{number}:{}", "x".repeat(padding)) }
    }

    /// Whether the reply was the one to this.
    async fn ask(&self, conn: &mut CacheConn, run: &Run) -> Result<bool, Error> {
        let value = self.value.as_str();
        let echo = || redis::cmd("ECHO").arg(value).take();
        let wanted = [format!("{value}a"), format!("{value}b"), format!("{value}c")];
        let mut three = redis::pipe();
        for value in &wanted {
            three.cmd("ECHO").arg(value);
        }
        Ok(match self.kind {
            Kind::Echo => echo().query_async::<String>(&mut **conn).await? == value,
            Kind::SetAndGet => {
                let key = run.key(value.split('x').next().unwrap_or_default());
                conn.set_ex(&key, value, 60).await?;
                conn.get::<_, Option<String>>(&key).await?.as_deref() == Some(value)
            }
            Kind::Pipeline => three.query_async::<Vec<String>>(&mut **conn).await? == wanted,
            Kind::Atomic => three.atomic().query_async::<Vec<String>>(&mut **conn).await? == wanted,
            Kind::Pinned => {
                conn.pin().await?;
                echo().query_async::<String>(&mut **conn).await? == value
            }
            Kind::Add => conn.incr::<_, _, u64>(run.key("sum"), 1).await? > 0,
        })
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let begin: String = self.value.chars().take(20).collect();
        write!(f, "{:?} of {begin} ({} bytes)", self.kind, self.value.len())
    }
}

const CALLERS: u64 = 16;
/// How many operations there are for each reset.
const EVERY: u64 = 300;
/// Keeps the seeds of neighbours apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
