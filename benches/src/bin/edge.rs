//! What stands between a client and a route: the processor time of a request to a service over that of
//! the same route behind `axum::serve`.
//!
//! `edge` is a service as it is by default: request id, deadline, panic guard, problem details, its own
//! way of serving connections. `guard` is the same route behind `axum::serve` with `GuardLayer` around
//! it. `axum_vs_axum` is the route against itself: a run in which it is not about 1 proves nothing.
//!
//! Each rival answers on a thread of its own, whose processor time is what counts; the clients' is not
//! in it. `--rounds 30` and `--only edge` (with `--turns 400`, for a profiler) change that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use benches::{Goal, ROUNDS, note, print_for, thread_time};
use mainstay::middleware::GuardLayer;
use mainstay::{AppState, Config, ServiceBuilder};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc as questions;

const RIVALS: [&str; 4] = ["axum", "axum_again", "guard", "edge"];
const CONNECTIONS: usize = 16;
/// Of each rival in each round: those that take turns often meet the same machine.
const TURNS: usize = 8;
/// How often each connection is used in a turn.
const REQUESTS: usize = 60;

#[derive(Serialize)]
struct User {
    id: u64,
    name: &'static str,
    mail: &'static str,
}

async fn user() -> Json<User> {
    Json(User { id: 7, name: "Ada", mail: "ada@example.com" })
}

fn route<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/users/{id}", get(user))
}

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
    fn start(name: &'static str) -> Self {
        let (ask_time, asked) = questions::unbounded_channel();
        let (listens, address) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the system has room for another runtime");
            runtime.block_on(async {
                tokio::join!(serve(name, listens), tell_time(asked));
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
                let request = b"GET /users/7 HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n";
                client.write_all(request).expect("the server reads");
            }
            for client in &mut self.clients {
                let mut space = [0; 1024];
                let len = client.read(&mut space).expect("the server answers");
                assert!(space[..len].starts_with(b"HTTP/1.1 200") && space[..len].ends_with(b"}"));
            }
        }
        self.time().saturating_sub(before)
    }
}

async fn serve(name: &str, listens: mpsc::Sender<SocketAddr>) {
    if name == "edge" {
        let service = ServiceBuilder::new().with_config(config()).with_routes(route()).build();
        let bound = service.bind().await.expect("the configuration is valid");
        listens.send(bound.local_addr()).expect("somebody waits");
        return bound.serve().await.expect("nobody ends it");
    }
    let route = if name == "guard" {
        let state = AppState::start(config()).await.expect("the configuration is valid");
        route().layer(GuardLayer::new(&state))
    } else {
        route()
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
    let chosen = RIVALS.into_iter().filter(|name| only.as_deref().is_none_or(|only| only == *name));
    let mut rivals: Vec<Rival> = chosen.map(Rival::start).collect();
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
    for (rival, name) in RIVALS.into_iter().enumerate() {
        let micros = of_rounds.iter().map(|sums| micros(sums[rival], requests));
        print_for("value", &format!("{name}_cpu_us"), micros.collect(), None);
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 requests")]
fn micros(time: Duration, requests: usize) -> f64 {
    time.as_secs_f64() * 1e6 / requests as f64
}
