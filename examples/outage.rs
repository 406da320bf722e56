//! What are requests answered while Redis is away, and what is it like when it is back?
//!
//! This program freezes its own Redis, thaws it, and then kills it. `cargo run --example outage`
//! prints
//!
//! ```text
//! POST /visits -> 200 visit 1
//! GET /page -> 200 with Redis
//! -- Redis freezes, and nobody has noticed yet: a command waits for 500 ms.
//! POST /visits -> 504 outcome-unknown
//! -- The health monitor has noticed: nothing waits any more.
//! GET /visits -> 503 unavailable
//! POST /visits -> 503 unavailable
//! GET /page -> 200 without Redis
//! GET /health -> 200 {"status":"healthy","service":"example"}
//! GET /ready -> 503 {"ready":false,"service":"example","dependencies":{"redis":{"healthy":false,"message":"no answer in time; check the server's load and the network, and that the url names redis"}}}
//! -- Redis goes on, and first executes what had reached it.
//! GET /page -> 200 with Redis
//! GET /visits -> 200 2 visits
//! -- Redis is killed. Another one takes its place at once, and is empty.
//! POST /visits -> 200 visit 1
//! ```

mod client;

use std::process::Command;
use std::time::Duration;

use client::{Client, say};
use mainstay::prelude::*;

/// Can do without Redis.
async fn page(cache: Option<CacheConn>) -> &'static str {
    let Some(mut conn) = cache else { return "without Redis" };
    if conn.exists("visits").await.is_ok() { "with Redis" } else { "without Redis" }
}

/// Cannot: visits are counted in Redis alone.
async fn visits(mut conn: CacheConn) -> Result<String> {
    Ok(format!("{} visits", conn.get::<_, u64>("visits").await?))
}

async fn visit(mut conn: CacheConn) -> Result<String> {
    let visits: u64 = conn.incr("visits", 1).await?;
    Ok(format!("visit {visits}"))
}

/// Sends the embedded server a signal.
fn signal(state: &AppState, signal: &str) -> Result<()> {
    let pid = pid(state).ok_or_else(|| Error::internal("there is no server"))?;
    Command::new("kill").args([signal, &pid.to_string()]).status().map_err(Error::internal)?;
    Ok(())
}

fn pid(state: &AppState) -> Option<u64> {
    state.tree().find("embedded-redis")?.facts.get("pid")?.as_u64()
}

async fn ask(client: &Client, state: &AppState) -> Result<()> {
    client.wait_for(200, "GET /ready").await?;
    client.send("POST /visits").await?;
    client.send("GET /page").await?;

    say("-- Redis freezes, and nobody has noticed yet: a command waits for 500 ms.");
    signal(state, "-STOP")?;
    client.send("POST /visits").await?;

    client.wait_for(503, "GET /visits").await?;
    say("-- The health monitor has noticed: nothing waits any more.");
    client.send("GET /visits").await?;
    client.send("POST /visits").await?;
    client.send("GET /page").await?;
    client.send("GET /health").await?;
    client.send("GET /ready").await?;

    say("-- Redis goes on, and first executes what had reached it.");
    signal(state, "-CONT")?;
    client.wait_for(200, "GET /ready").await?;
    client.send("GET /page").await?;
    client.send("GET /visits").await?;

    say("-- Redis is killed. Another one takes its place at once, and is empty.");
    let killed = pid(state);
    signal(state, "-KILL")?;
    while pid(state).is_none_or(|pid| Some(pid) == killed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.send_until(200, "POST /visits").await
}

#[tokio::main]
async fn main() -> Result<()> {
    let routes = Router::new().route("/page", get(page)).route("/visits", get(visits).post(visit));
    let service = ServiceBuilder::new().with_config(client::config()).with_routes(routes);
    let service = service.build().bind().await?;
    let (client, state) = (Client::new(service.local_addr()), service.state().clone());
    tokio::select! {
        ended = service.serve() => ended,
        asked = ask(&client, &state) => asked,
    }
}
