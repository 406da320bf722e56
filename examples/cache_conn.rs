//! How does a handler keep a value in Redis?
//!
//! By an argument: `CacheConn`, or `Option<CacheConn>` where it can do without.
//! `cargo run --example cache_conn` prints
//!
//! ```text
//! GET /squares/12 -> 200 computed: 144
//! GET /squares/12 -> 200 cached: 144
//! DELETE /squares/12 -> 204
//! GET /squares/12 -> 200 computed: 144
//! POST /visits/ada -> 200 visit 1
//! POST /visits/ada -> 200 visit 2
//! ```

mod client;

use client::Client;
use mainstay::prelude::*;

/// Without Redis it is computed each time: `Option<CacheConn>` never fails.
async fn square(cache: Option<CacheConn>, Path(n): Path<u64>) -> String {
    let (key, computed) = (format!("square:{n}"), format!("computed: {}", n * n));
    let Some(mut conn) = cache else { return computed };
    match conn.get::<_, Option<u64>>(&key).await {
        Ok(Some(cached)) => format!("cached: {cached}"),
        Ok(None) => {
            // If this fails, the next request computes it again.
            conn.set_ex(&key, n * n, 300).await.ok();
            computed
        }
        Err(_away) => computed,
    }
}

async fn forget(mut conn: CacheConn, Path(n): Path<u64>) -> Result<StatusCode> {
    conn.del(format!("square:{n}")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is in Redis alone cannot do without: a request that finds it away is answered 503.
async fn visit(mut conn: CacheConn, Path(name): Path<String>) -> Result<String> {
    let visits: u64 = conn.incr(format!("visits:{name}"), 1).await?;
    Ok(format!("visit {visits}"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let routes = Router::new()
        .route("/squares/{n}", get(square).delete(forget))
        .route("/visits/{name}", post(visit));
    let service = ServiceBuilder::new().with_config(client::config()).with_routes(routes);
    let service = service.build().bind().await?;

    let client = Client::new(service.local_addr());
    let ask = async {
        client.wait_for(200, "GET /ready").await?;
        client.send("GET /squares/12").await?;
        client.send("GET /squares/12").await?;
        client.send("DELETE /squares/12").await?;
        client.send("GET /squares/12").await?;
        client.send("POST /visits/ada").await?;
        client.send("POST /visits/ada").await
    };
    tokio::select! {
        ended = service.serve() => ended,
        asked = ask => asked,
    }
}
