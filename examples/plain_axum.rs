//! How does an axum app that serves itself get the supervised Redis?
//!
//! `AppState::start` starts the actors, two routes and a layer go into its router, and
//! `state.shutdown` ends it. `cargo run --example plain_axum` prints
//!
//! ```text
//! GET /ready -> 200 {"ready":true,"service":"example","dependencies":{"redis":{"healthy":true,"message":"connected"}}}
//! GET /health -> 200 {"status":"healthy","service":"example"}
//! POST /visits -> 200 visit 1 to the shop
//! GET /orders -> 504 deadline
//! ```

mod client;

use std::time::Duration;

use client::Client;
use mainstay::axum::{self, extract::FromRef};
use mainstay::middleware::GuardLayer;
use mainstay::prelude::*;

/// The app's own state. `FromRef` is what lets its handlers take a `CacheConn`.
#[derive(Clone)]
struct Shop {
    app: AppState,
    name: &'static str,
}

impl FromRef<Shop> for AppState {
    fn from_ref(shop: &Shop) -> Self {
        shop.app.clone()
    }
}

async fn visit(State(shop): State<Shop>, mut conn: CacheConn) -> Result<String> {
    let visits: u64 = conn.incr("visits", 1).await?;
    Ok(format!("visit {visits} to {}", shop.name))
}

/// Waits for what never comes. `GuardLayer` gives each request a deadline, and answers then.
async fn next_order() -> String {
    std::future::pending().await
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut config = client::config();
    config.service.request_timeout = Duration::from_millis(500);
    let state = AppState::start(config).await?;
    let app = Router::new()
        .route("/visits", post(visit))
        .route("/orders", get(next_order))
        .layer(GuardLayer::new(&state)) // outside of every other layer
        .merge(state.health_routes()) // outside of all
        .with_state(Shop { app: state.clone(), name: "the shop" });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;

    let client = Client::new(listener.local_addr()?);
    let ask = async {
        client.send_until(200, "GET /ready").await?;
        client.send("GET /health").await?;
        client.send("POST /visits").await?;
        client.send("GET /orders").await
    };
    tokio::select! {
        ended = axum::serve(listener, app) => ended?,
        asked = ask => asked?,
    }
    // After the last request: ends the connections and the embedded server.
    state.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
