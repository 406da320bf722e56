//! The verdict on Redis, while callers are under way and while whoever gives it is stuck.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::SLACK;
use crate::support::{
    App, Listener, Load, Server, Welcome, config, eventually, routes, tree, within,
};

async fn becomes_unready(app: &App, limit: Duration) {
    let unready = async || (!app.is_ready().await).then_some(());
    within(limit, "the service is not ready", unready).await;
}

// redis R2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_is_noticed_in_time_though_lanes_are_in_full_use() {
    let server = Server::start().await;
    let app = Arc::new(App::start(config(server.url()), routes()).await);
    app.becomes_ready().await;
    let load = Load::on(&app, &["/stored", "/bypass"]);
    for _ in 0..3 {
        let seen = load.answered();
        eventually("the load runs", async || (load.answered() > seen + 100).then_some(())).await;
        server.freeze();
        becomes_unready(&app, app.state.config().redis.probe_interval * 3 + SLACK).await;
        server.thaw();
        let ready = async || app.is_ready().await.then_some(());
        within(Duration::from_secs(1) + SLACK, "ready, after the thaw", ready).await;
        app.answers("/stored", 200).await;
    }
    for (path, answer) in load.end().await {
        assert!(matches!(answer.status, 200 | 503 | 504), "{path}: {answer:?}");
    }
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.has_all_leases().await;
}

#[tokio::test]
async fn a_probe_that_hangs_holds_the_breaker_open_no_longer_than_connecting_may_take() {
    let mut server = Server::start().await;
    let tree = tree::healthy(server.url(), |_| {}).await;
    let cache = tree.cache();
    server.kill();
    let refused = async || {
        let begun = Instant::now();
        (cache.get().await.is_err() && begun.elapsed() < Duration::from_millis(50)).then_some(())
    };
    eventually("the breaker is open", refused).await;
    let mut silent = Listener::at(server.address(), Welcome::Silence).await;
    // The probe and whoever mends a lane hang from now on.
    eventually("they hang", async || (silent.accepted().len() >= 2).then_some(())).await;
    // What has connected to the listener stays silent until it is given up.
    silent.stop_listening().await;
    server.restart().await;
    // One attempt each, the pause before the next, the next probe.
    let limit = Duration::from_secs(1) * 2 + Duration::from_millis(750 + 500) + SLACK;
    let back = async || tree::is_served(&cache).await.then_some(());
    within(limit, "a command is answered", back).await;
    tree::end(tree).await;
}

/// Lets whoever logs `line` go no further until it is opened.
#[derive(Clone, Default)]
struct Barred {
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Gate {
    #[default]
    Shut,
    Occupied,
    Open,
}

const LINE: &str = "redis answers";

/// Opens the gate however a test ends: a runtime does not end before its threads.
struct Opens(Barred);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.set(Gate::Open);
    }
}

impl Barred {
    fn set(&self, gate: Gate) {
        *self.gate.0.lock().unwrap() = gate;
        self.gate.1.notify_all();
    }

    fn is(&self, gate: Gate) -> bool {
        *self.gate.0.lock().unwrap() == gate
    }
}

struct Matches(bool);

impl Visit for Matches {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == LINE;
    }
}

impl<S: Subscriber> Layer<S> for Barred {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut is_the_line = Matches(false);
        event.record(&mut is_the_line);
        if is_the_line.0 && self.is(Gate::Shut) {
            self.set(Gate::Occupied);
            // Nothing else that this thread has to do is to wait with it.
            tokio::task::block_in_place(|| {
                let gate = self.gate.0.lock().unwrap();
                drop(self.gate.1.wait_while(gate, |gate| *gate != Gate::Open).unwrap());
            });
        }
    }
}

/// The health monitor logs that it has reached Redis, after it has said that all is well, and the log takes for ever.
#[test]
fn a_health_monitor_that_hangs_leaves_nobody_ready() {
    let barred = Barred::default();
    let on_thread = barred.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .on_thread_start(move || {
            let subscriber = tracing_subscriber::registry().with(on_thread.clone());
            // For as long as the thread lives.
            std::mem::forget(tracing::subscriber::set_default(subscriber));
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let _opens = Opens(barred.clone());
        let server = Server::start().await;
        let app = App::start(config(server.url()), routes()).await;
        eventually("the monitor hangs", async || barred.is(Gate::Occupied).then_some(())).await;
        assert!(app.state.tree().find("health-monitor").unwrap().restarts == 0);
        let redis = &app.state.config().redis;
        let limit = redis.probe_interval * 3 + redis.probe_timeout + SLACK;
        // Not because the service has only just started.
        let has_aged = async || {
            let ready = app.get("/ready").await;
            let message = &ready.json()["dependencies"]["redis"]["message"];
            (*message == "the health monitor has not reported lately").then_some(ready.status)
        };
        assert_eq!(within(limit, "the verdict is too old", has_aged).await, 503);
        // Nobody says that it is away, so it is tried.
        assert_eq!(app.get("/stored").await.status, 200);
        assert!(!app.is_ready().await);
        barred.set(Gate::Open);
        app.becomes_ready().await;
        app.end().await;
    });
}
