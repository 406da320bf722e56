//! What stands between a client and a route: the processor time of a request to a service over that of
//! the same route behind `axum::serve`.
//!
//! `edge` is a service as it is by default: request id, deadline, panic guard, problem details, its own
//! way of serving connections. `guard` is the same route behind `axum::serve` with `GuardLayer` around
//! it. `axum_vs_axum` is the route against itself: a run in which it is not about 1 proves nothing.
//!
//! `hit` is a service whose handler takes a `CacheConn` and reads a user that is cached in Redis, as
//! the quickstart does; `bare_redis` is a handler behind `axum::serve` that does the same GET by one
//! multiplexed connection of the redis crate. `bare_redis_vs_bare_redis` is the latter against itself.
//!
//! Each rival answers on a thread of its own, whose processor time is what counts; the clients' is not
//! in it. `--rounds 30` and `--only edge` (with `--turns 400`, for a profiler) change that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use benches::server::Server;
use benches::{Goal, ROUNDS, note, print_for, thread_time};
use mainstay::middleware::GuardLayer;
use mainstay::{AppState, CacheConn, Config, Error, ServiceBuilder};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::mpsc as questions;
use tokio::time::Instant;

const RIVALS: [&str; 7] =
    ["axum", "axum_again", "guard", "edge", "bare_redis", "bare_redis_again", "hit"];
const CONNECTIONS: usize = 16;
/// Of each rival in each round: those that take turns often meet the same machine.
const TURNS: usize = 8;
/// How often each connection is used in a turn.
const REQUESTS: usize = 60;

const CACHED: &str = r#"{"id":7,"name":"Ada","mail":"ada@example.com"}"#;

#[derive(Serialize)]
struct User {
    id: u64,
    name: &'static str,
    mail: &'static str,
}

async fn user() -> Json<User> {
    Json(User { id: 7, name: "Ada", mail: "ada@example.com" })
}

/// The same out of Redis.
#[derive(Serialize, Deserialize)]
struct CachedUser {
    id: u64,
    name: String,
    mail: String,
}

async fn hit(Path(id): Path<u64>, mut conn: CacheConn) -> Result<Json<CachedUser>, Error> {
    let cached: Option<String> = conn.get(format!("user:{id}")).await?;
    let user = cached.and_then(|cached| serde_json::from_str(&cached).ok());
    user.map(Json).ok_or_else(|| Error::not_found("there is no such user"))
}

async fn bare_redis(
    Path(id): Path<u64>,
    State(mut conn): State<MultiplexedConnection>,
) -> Result<Json<CachedUser>, StatusCode> {
    let cached: Option<String> =
        conn.get(format!("user:{id}")).await.map_err(|_away| StatusCode::SERVICE_UNAVAILABLE)?;
    let user = cached.and_then(|cached| serde_json::from_str(&cached).ok());
    user.map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn bare_connection(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("the url is valid");
    client.get_multiplexed_async_connection().await.expect("the server answers")
}

fn route<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/users/{id}", get(user))
}

/// Of a service without Redis.
fn config() -> Config {
    let mut config = Config::default();
    config.service.bind = [127, 0, 0, 1].into();
    config.service.port = 0;
    config.service.log_level = "off".into();
    // Nobody is there, and nobody asks.
    config.redis.url = "unix:///nonexistent/redis.sock".into();
    config.redis.probe_interval = Duration::from_secs(24 * 3600);
    config
}

/// A server on a thread of its own.
struct Rival {
    clients: Vec<TcpStream>,
    ask_time: questions::UnboundedSender<mpsc::Sender<Duration>>,
}

impl Rival {
    #[expect(clippy::disallowed_methods, reason = "the process ends it")]
    fn start(name: &'static str, redis: String) -> Self {
        let (ask_time, asked) = questions::unbounded_channel();
        let (listens, address) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the system has room for another runtime");
            runtime.block_on(async {
                tokio::join!(serve(name, &redis, listens), tell_time(asked));
            });
        });
        let address = address.recv().expect("it listens");
        let connect = |_| {
            let client = TcpStream::connect(address).expect("it listens");
            client.set_nodelay(true).expect("a TCP socket has this option");
            client
        };
        Self { clients: (0..CONNECTIONS).map(connect).collect(), ask_time }
    }

    /// Waits until it answers with a user: a service starts before it has reached Redis.
    fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.answers_with_user() {
            assert!(Instant::now() < deadline, "it does not answer with a user within 5 s");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers_with_user(&mut self) -> bool {
        let client = &mut self.clients[0];
        client.write_all(REQUEST).expect("the server reads");
        is_user(&read(client))
    }

    /// The processor time of its thread until now.
    fn time(&self) -> Duration {
        let (told, time) = mpsc::channel();
        self.ask_time.send(told).expect("the server runs");
        time.recv().expect("the server runs")
    }

    /// The processor time for one turn.
    fn turn(&mut self) -> Duration {
        let before = self.time();
        for _ in 0..REQUESTS {
            for client in &mut self.clients {
                client.write_all(REQUEST).expect("the server reads");
            }
            for client in &mut self.clients {
                assert!(is_user(&read(client)), "every answer is a user");
            }
        }
        self.time().saturating_sub(before)
    }
}

const REQUEST: &[u8] = b"GET /users/7 HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n";

/// One answer, which is small enough to come in one piece.
fn read(client: &mut TcpStream) -> Vec<u8> {
    let mut space = [0; 1024];
    let len = client.read(&mut space).expect("the server answers");
    space[..len].to_vec()
}

fn is_user(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"}")
}

async fn serve(name: &str, redis: &str, listens: mpsc::Sender<SocketAddr>) {
    let service = match name {
        "edge" => Some(ServiceBuilder::new().with_config(config()).with_routes(route())),
        "hit" => {
            let mut config = config();
            redis.clone_into(&mut config.redis.url);
            config.redis.probe_interval = Config::default().redis.probe_interval;
            let routes = Router::new().route("/users/{id}", get(hit));
            Some(ServiceBuilder::new().with_config(config).with_routes(routes))
        }
        _ => None,
    };
    if let Some(service) = service {
        let bound = service.build().bind().await.expect("the configuration is valid");
        listens.send(bound.local_addr()).expect("somebody waits");
        return bound.serve().await.expect("nobody ends it");
    }
    let route = match name {
        "guard" => {
            let state = AppState::start(config()).await.expect("the configuration is valid");
            route().layer(GuardLayer::new(&state))
        }
        "bare_redis" | "bare_redis_again" => {
            let state = bare_connection(redis).await;
            Router::new().route("/users/{id}", get(bare_redis)).with_state(state)
        }
        _ => route(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    listens.send(listener.local_addr().expect("it listens")).expect("somebody waits");
    // As a service does: without it an answer may wait for an acknowledgement.
    let listener = axum::serve::ListenerExt::tap_io(listener, |client| {
        client.set_nodelay(true).ok();
    });
    axum::serve(listener, route).await.expect("nobody ends it");
}

async fn tell_time(mut asked: questions::UnboundedReceiver<mpsc::Sender<Duration>>) {
    while let Some(told) = asked.recv().await {
        told.send(thread_time()).ok(); // Who asked may be gone.
    }
}

/// A server that has the user in its cache.
fn redis_with_user() -> Server {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has room for another runtime").block_on(async {
        let server = Server::start().await;
        let mut conn = bare_connection(&server.url()).await;
        conn.set::<_, _, ()>("user:7", CACHED).await.expect("the server answers");
        server
    })
}

/// The time of one turn of each, in an order that chance decides.
fn turn_of_each(rivals: &mut [Rival]) -> Vec<Duration> {
    let mut times = vec![Duration::ZERO; rivals.len()];
    let mut order: Vec<usize> = (0..rivals.len()).collect();
    fastrand::shuffle(&mut order);
    for rival in order {
        times[rival] = rivals[rival].turn();
    }
    times
}

fn main() {
    let (mut rounds, mut turns, mut only) = (ROUNDS, TURNS, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|n| n.parse().ok()).expect("a number follows");
        match argument.as_str() {
            "--rounds" => rounds = number(),
            "--turns" => turns = number(),
            "--only" => only = arguments.next(),
            other => panic!("unknown: {other}; known are --rounds, --turns and --only"),
        }
    }
    let redis = redis_with_user();
    let chosen = RIVALS.into_iter().filter(|name| only.as_deref().is_none_or(|only| only == *name));
    let mut rivals: Vec<Rival> = chosen.map(|name| Rival::start(name, redis.url())).collect();
    rivals.iter_mut().for_each(Rival::wait_ready);
    turn_of_each(&mut rivals);
    let mut of_rounds = Vec::new();
    for _ in 0..rounds {
        let mut sums = vec![Duration::ZERO; rivals.len()];
        for _ in 0..turns {
            for (sum, time) in sums.iter_mut().zip(turn_of_each(&mut rivals)) {
                *sum += time;
            }
        }
        of_rounds.push(sums);
    }
    let requests = turns * CONNECTIONS * REQUESTS;
    if only.is_some() {
        let micros = |sums: &Vec<Duration>| micros(sums[0], requests);
        return print_for("value", "cpu_us", of_rounds.iter().map(micros).collect(), None);
    }
    let ratio = |ours: usize, theirs: usize| {
        let ratio = |sums: &Vec<Duration>| sums[ours].as_secs_f64() / sums[theirs].as_secs_f64();
        of_rounds.iter().map(ratio).collect::<Vec<_>>()
    };
    note(&format!(
        "{requests} requests a round, {CONNECTIONS} connections, one server thread each"
    ));
    print_for("ratio", "axum_vs_axum_cpu", ratio(1, 0), None);
    print_for("ratio", "guard_vs_axum_cpu", ratio(2, 0), None);
    print_for("ratio", "edge_vs_axum_cpu", ratio(3, 0), Some(Goal::AtMost(1.15)));
    print_for("ratio", "bare_redis_vs_bare_redis_cpu", ratio(5, 4), None);
    print_for("ratio", "hit_vs_bare_redis_cpu", ratio(6, 4), Some(Goal::AtMost(1.1)));
    for (rival, name) in RIVALS.into_iter().enumerate() {
        let micros = of_rounds.iter().map(|sums| micros(sums[rival], requests));
        print_for("value", &format!("{name}_cpu_us"), micros.collect(), None);
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 requests")]
fn micros(time: Duration, requests: usize) -> f64 {
    time.as_secs_f64() * 1e6 / requests as f64
}
