//! Redis is away and nobody stops asking.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::support::soak::{Down, calls_while_down};
use crate::support::{App, Listener, Server, Welcome, config, figures, routes};

const MOST_GROWN_BYTES: u64 = 64 << 20;
/// Longer than what a call takes that is refused from memory, shorter than anything that waits.
const FAST: Duration = Duration::from_millis(5);
/// The same for a request and its client, which share two processors here with all others.
const FAST_REQUEST: Duration = Duration::from_millis(100);

#[track_caller]
fn is_in_bounds(mut down: Down, fast: Duration) {
    let connects = down.connects.len();
    assert!(connects >= 2, "it is tried again: {:?}", down.connects);
    assert!(connects <= down.most_connects(), "{connects} in {:?}", down.time);
    let half = figures::quantile(&mut down.took, 0.5);
    assert!(half < fast, "half of all calls took {half:?} or more");
    assert!(down.grown_bytes < MOST_GROWN_BYTES, "grown by {} bytes", down.grown_bytes);
    assert!(down.calls > 1000, "hardly any load: {}", down.calls);
}

// redis R4, R15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_resets_everyone_is_connected_to_ten_times_a_second_at_most() {
    if !figures::is_alone(
        "bounds::outage::a_redis_that_resets_everyone_is_connected_to_ten_times_a_second_at_most",
    )
    .await
    {
        return;
    }
    is_in_bounds(calls_while_down(2000, Duration::from_secs(4), Welcome::Reset).await, FAST);
}

// redis R4, R15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_silent_is_connected_to_ten_times_a_second_at_most() {
    if !figures::is_alone(
        "bounds::outage::a_redis_that_is_silent_is_connected_to_ten_times_a_second_at_most",
    )
    .await
    {
        return;
    }
    is_in_bounds(calls_while_down(2000, Duration::from_secs(4), Welcome::Silence).await, FAST);
}

// redis R4, R15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_redis_are_refused_at_once_and_connect_to_nobody() {
    const RATE: u32 = 2000;
    const CLIENTS: u32 = 64;
    const TIME: Duration = Duration::from_secs(4);
    if !figures::is_alone(
        "bounds::outage::requests_without_a_redis_are_refused_at_once_and_connect_to_nobody",
    )
    .await
    {
        return;
    }
    let mut server = Server::start().await;
    let app = Arc::new(App::start(config(server.url()), routes()).await);
    app.becomes_ready().await;
    let before = figures::resident_bytes();
    server.kill();
    let begun = Instant::now();
    let listener = Listener::at(server.address(), Welcome::Reset).await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let app = Arc::clone(&app);
        clients.spawn(async move {
            let (mut ticks, mut answers) = (interval(Duration::from_secs(1) * CLIENTS / RATE), 0);
            let mut took = Vec::new();
            while begun.elapsed() < TIME {
                ticks.tick().await;
                let answer = app.get("/stored").await;
                answers += 1;
                // An outage is known when two probes have failed.
                if begun.elapsed() > TIME / 2 {
                    answer.is_unavailable();
                    took.push(answer.took);
                }
            }
            (answers, took)
        });
    }
    let answers = clients.join_all().await;
    let calls = answers.iter().map(|(answers, _)| answers).sum();
    let took = answers.into_iter().flat_map(|(_, took)| took).collect();
    let connects = listener.accepted().iter().map(|at| at.duration_since(begun)).collect();
    let (time, grown_bytes) = (begun.elapsed(), figures::resident_bytes().saturating_sub(before));
    is_in_bounds(Down { calls, took, connects, time, grown_bytes }, FAST_REQUEST);
    drop(listener);

    server.restart().await;
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
}
