//! How does a handler ask the actors that look after Redis?
//!
//! A message is a value; its type leads to whoever takes it. `cargo run --example typed_messages`
//! prints
//!
//! ```text
//! GET /health-report -> 200 connected; the breaker is closed
//! GET /pool -> 200 generation 1, leases: 50 of 50
//! POST /pool -> 200 generation 2
//! GET /pool -> 200 generation 2, leases: 50 of 50
//! GET /actors -> 200 embedded-redis, pool-manager, health-monitor, nursery, subscriptions
//! ```

mod client;

use client::Client;
use mainstay::actor::{GetTree, State as Doing};
use mainstay::cache::{GetHealth, GetPoolStatus, RebuildPool};
use mainstay::prelude::*;

/// `Recipient<M>` is whoever takes an `M`. As an argument it says what a handler may ask for.
async fn health_report(health: Recipient<GetHealth>) -> Result<String> {
    let report = health.ask(GetHealth).await?;
    let breaker = if report.breaker_open { "open" } else { "closed" };
    Ok(format!("{}; the breaker is {breaker}", report.message))
}

/// `state.ask` is the same for a handler that has the state anyway.
async fn pool(State(state): State<AppState>) -> Result<String> {
    let pool = state.ask(GetPoolStatus).await?;
    Ok(format!("generation {}, leases: {} of {}", pool.generation, pool.available, pool.max_size))
}

/// Every connection is replaced; what is under way ends on the old ones.
async fn rebuild(rebuild: Recipient<RebuildPool>) -> Result<String> {
    Ok(format!("generation {}", rebuild.ask(RebuildPool).await?))
}

/// The actors that are up.
async fn actors(State(state): State<AppState>) -> Result<String> {
    let tree = state.ask(GetTree).await?;
    let actors = tree.children.iter().filter(|child| child.mailbox.is_some());
    let up = actors.filter(|actor| actor.state == Doing::Up);
    Ok(up.map(|actor| actor.id.as_str()).collect::<Vec<_>>().join(", "))
}

#[tokio::main]
async fn main() -> Result<()> {
    let routes = Router::new()
        .route("/health-report", get(health_report))
        .route("/pool", get(pool).post(rebuild))
        .route("/actors", get(actors));
    let service = ServiceBuilder::new().with_config(client::config()).with_routes(routes);
    let service = service.build().bind().await?;

    let client = Client::new(service.local_addr());
    let ask = async {
        client.wait_for(200, "GET /ready").await?;
        client.send("GET /health-report").await?;
        client.send("GET /pool").await?;
        client.send("POST /pool").await?;
        client.send("GET /pool").await?;
        client.send("GET /actors").await
    };
    tokio::select! {
        ended = service.serve() => ended,
        asked = ask => asked,
    }
}
