//! What a GET costs through `CacheConn`, against pools and the connection below all of them.
//!
//! Everyone asks one redis-server on the loopback for the same key and takes a connection for each
//! GET, as a handler does; the pools have 50 each. The rivals come as they are by default:
//! `bare` is one multiplexed connection, cloned for each task, and `bare_nodelay` the same with
//! `TCP_NODELAY`, which `CacheConn` sets too. `breaker_open_vs_get` is a GET that is refused because
//! Redis is away, over one that succeeds.
//!
//! `--rounds 30`, `--only 64` (tasks) and `--rival bare` (or `breaker`) repeat a part of it. `--rival variants` sets
//! `CacheConn` against itself with 1, 2 and 4 lanes, and pinned.

use std::time::Duration;

use bb8_redis::{RedisConnectionManager, bb8};
use benches::server::Server;
use benches::{Comparison, Cost, Goal, ROUNDS, cost, cpu_ratio, print_for};
use mainstay_actors::cache::Cache;
use mainstay_actors::health::GetHealth;
use mainstay_actors::redis::{Config, Error};
use mainstay_actors::tree::{Setup, Tree};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, Client, IntoConnectionInfo};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const KEY: &str = "session:4f9a2c";
const VALUE: &str = "twenty bytes of text";
const POOL: u32 = 50;
const TASKS: [usize; 3] = [1, 64, 256];
/// Of each rival in each round: two that take turns often meet the same machine.
const TURNS: usize = 4;
const RIVALS: [&str; 4] = ["deadpool", "bb8", "bare", "bare_nodelay"];
/// `CacheConn` itself with other numbers of lanes, and with commands that have a connection to themselves.
const VARIANTS: [&str; 4] = ["lanes_1", "lanes_2", "lanes_4", "pinned"];
const BREAKER: &str = "breaker";

/// One way to Redis; a clone for each task.
#[derive(Clone)]
enum Path {
    CacheConn(Cache),
    /// The same with its own tree, which ends with it.
    Variant {
        cache: Cache,
        _tree: Tree,
    },
    Pinned(Cache),
    /// The same, where Redis is away.
    Refused(Cache),
    Deadpool(deadpool_redis::Pool),
    Bb8(bb8::Pool<RedisConnectionManager>),
    Bare(MultiplexedConnection),
}

impl Path {
    async fn to_rival(name: &str, url: &str, ours: &Cache) -> Self {
        match name {
            "pinned" => Self::Pinned(ours.clone()),
            "lanes_1" | "lanes_2" | "lanes_4" => {
                let lanes = name[6..].parse().expect("a number follows");
                let tree = tree(url.to_owned(), Some(lanes)).await;
                Self::Variant { cache: tree.cache(), _tree: tree }
            }
            "deadpool" => {
                let mut config = deadpool_redis::Config::from_url(url);
                config.pool = Some(deadpool_redis::PoolConfig::new(size(POOL)));
                let runtime = Some(deadpool_redis::Runtime::Tokio1);
                Self::Deadpool(config.create_pool(runtime).expect("the url is valid"))
            }
            "bb8" => {
                let manager = RedisConnectionManager::new(url).expect("the url is valid");
                let pool = bb8::Pool::builder().max_size(POOL).build(manager).await;
                Self::Bb8(pool.expect("the server answers"))
            }
            _ => {
                let settings = TcpSettings::default().set_nodelay(name == "bare_nodelay");
                let info = url.into_connection_info().expect("the url is valid");
                let client = Client::open(info.set_tcp_settings(settings));
                let client = client.expect("the url is valid");
                let connection = client.get_multiplexed_async_connection().await;
                Self::Bare(connection.expect("the server answers"))
            }
        }
    }

    async fn get(&mut self) {
        let value: String = match self {
            Self::CacheConn(cache) | Self::Variant { cache, .. } => {
                let mut conn = cache.get().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            Self::Pinned(cache) => {
                let mut conn = cache.get().await.expect("the server answers");
                conn.pin().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            Self::Refused(cache) => {
                let refused = match cache.get().await {
                    Ok(mut conn) => conn.get::<_, String>(KEY).await,
                    Err(error) => Err(error),
                };
                assert!(matches!(refused, Err(Error::Unavailable { .. })), "the breaker is open");
                return;
            }
            Self::Deadpool(pool) => {
                let mut conn = pool.get().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            Self::Bb8(pool) => {
                let mut conn = pool.get().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            Self::Bare(conn) => conn.get(KEY).await.expect("the server answers"),
        };
        assert_eq!(value, VALUE);
    }
}

#[expect(clippy::disallowed_methods, reason = "the tasks stand for requests of a server")]
async fn gets(path: &Path, tasks: usize) {
    let each = match tasks {
        1 => 800,
        _ => 25 + 1_600 / tasks,
    };
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let mut path = path.clone();
        running.spawn(async move {
            for _ in 0..each {
                path.get().await;
            }
        });
    }
    running.join_all().await;
}

/// Which part of it all to run.
struct Choice {
    rounds: usize,
    only: Option<usize>,
    rival: Option<String>,
}

impl Choice {
    fn from_arguments() -> Self {
        let mut choice = Self { rounds: ROUNDS, only: None, rival: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let number = || value.parse().expect("a number follows");
            match name.as_str() {
                "--rounds" => choice.rounds = number(),
                "--only" => choice.only = Some(number()),
                "--rival"
                    if [BREAKER, "variants"].contains(&value.as_str())
                        || RIVALS.iter().chain(&VARIANTS).any(|rival| *rival == value) =>
                {
                    choice.rival = Some(value);
                }
                _ => panic!("{name} {value}: there are --rounds, --only (tasks) and --rival"),
            }
        }
        choice
    }

    fn takes(&self, rival: &str) -> bool {
        match self.rival.as_deref() {
            Some("variants") => VARIANTS.contains(&rival),
            Some(only) => only == rival,
            None => !VARIANTS.contains(&rival),
        }
    }
}

/// Prints ours over each of `rivals`.
async fn compare(ours: &Path, rivals: &[(&str, Path)], tasks: usize, rounds: usize) {
    let paths: Vec<_> = std::iter::once(ours).chain(rivals.iter().map(|(_, path)| path)).collect();
    let mut comparisons: Vec<_> = rivals.iter().map(|_| Comparison::default()).collect();
    for number in 0..=rounds {
        let costs = round(&paths, tasks, number).await;
        for (comparison, theirs) in comparisons.iter_mut().zip(&costs[1..]) {
            if number > 0 {
                comparison.add(costs[0], *theirs);
            }
        }
    }
    for ((name, _), comparison) in rivals.iter().zip(comparisons) {
        comparison.print_for(&format!("cacheconn_vs_{name}_{tasks}"), goal(name, tasks));
    }
}

/// What each path needs, who are all in turn [`TURNS`] times, each time beginning with another.
async fn round(paths: &[&Path], tasks: usize, number: usize) -> Vec<Cost> {
    let mut costs = vec![Cost::default(); paths.len()];
    for turn in 0..TURNS {
        for place in 0..paths.len() {
            let which = (number + turn + place) % paths.len();
            costs[which] += cost(gets(paths[which], tasks)).await;
        }
    }
    costs
}

/// Of the throughput. None is set for other numbers of tasks.
fn goal(rival: &str, tasks: usize) -> Option<Goal> {
    (tasks == 64).then_some(match rival {
        "deadpool" => Goal::AtLeast(4.0),
        "bb8" => Goal::AtLeast(3.5),
        "bare" | "bare_nodelay" => Goal::AtLeast(0.95),
        _ => return None,
    })
}

/// Prints what being refused costs over what a GET costs.
async fn compare_refusal(ours: &Path, rounds: usize) {
    let mut server = Server::start().await;
    let tree = tree(server.url(), None).await;
    let refused = Path::Refused(tree.cache());
    // Connections that were in use before the outage are part of it.
    gets(&filled(tree.cache()).await, 64).await;
    server.kill();
    until("the breaker opens", async || {
        tree.ask(GetHealth).await.is_ok_and(|report| report.breaker_open)
    })
    .await;
    let mut ratios = Vec::with_capacity(rounds);
    for number in 0..=rounds {
        let costs = round(&[&refused, ours], 64, number).await;
        if number > 0 {
            ratios.push(cpu_ratio(costs[0], costs[1]));
        }
    }
    print_for("ratio", "breaker_open_vs_get_cpu", ratios, Some(Goal::AtMost(1.0)));
    tree.shutdown(PATIENCE).await;
}

async fn tree(url: String, lanes: Option<u32>) -> Tree {
    let mut setup = Setup::new("bench");
    setup.redis = Config { url, max_connections: POOL, lanes, ..Config::default() };
    let tree = Tree::start(setup).await.expect("the tree starts");
    until("redis is healthy", async || tree.dependencies().iter().all(|one| one.healthy)).await;
    tree
}

async fn filled(cache: Cache) -> Path {
    let mut conn = cache.get().await.expect("the server answers");
    conn.set(KEY, VALUE).await.expect("the server answers");
    Path::CacheConn(cache)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).expect("there is room for as many")
}

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let choice = Choice::from_arguments();
    let server = Server::start().await;
    let tree = tree(server.url(), None).await;
    let cache = tree.cache();
    let ours = filled(cache.clone()).await;

    let mut rivals = Vec::new();
    for name in RIVALS.into_iter().chain(VARIANTS).filter(|name| choice.takes(name)) {
        rivals.push((name, Path::to_rival(name, &server.url(), &cache).await));
    }
    if !rivals.is_empty() {
        for tasks in TASKS.into_iter().filter(|&tasks| choice.only.is_none_or(|only| only == tasks))
        {
            compare(&ours, &rivals, tasks, choice.rounds).await;
        }
    }
    if choice.takes(BREAKER) && choice.only.is_none_or(|only| only == 64) {
        compare_refusal(&ours, choice.rounds).await;
    }
    tree.shutdown(PATIENCE).await;
}
