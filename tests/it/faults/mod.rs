//! Lanes and leases in any weather, below the service: what each caller is told, and when.

mod replies;
mod service;
mod silence;
mod wire;
mod wrong_answers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_actors::redis::{CacheConn, Config, Endpoint};

use crate::support::{Keeper, Proxy, Server, Way, Weather, endpoint, eventually, field};

/// What a machine that is busy with other tests may add to a bound.
const SLACK: Duration = Duration::from_secs(1);

/// The longest silence of an idle lane before it is asked for a reply.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How much longer than a command a lane may be silent.
const STALL: Duration = Duration::from_secs(1);

/// A server, the network before it, and an endpoint with lanes.
#[derive(Debug)]
struct Ground {
    server: Server,
    proxy: Proxy,
    endpoint: Arc<Endpoint>,
    _keeper: Keeper,
}

impl Ground {
    async fn new(lanes: u32, command_timeout: Duration) -> Self {
        let server = Server::start().await;
        let proxy = Proxy::before(server.address()).await;
        let (url, lanes) = (proxy.url(), Some(lanes));
        let endpoint = endpoint(Config { url, lanes, command_timeout, ..Config::default() });
        let keeper = Keeper::of(&endpoint);
        let ground = Self { server, proxy, endpoint, _keeper: keeper };
        eventually("every lane is there", async || {
            (ground.endpoint.status().lanes == ground.endpoint.lane_slots()).then_some(())
        })
        .await;
        ground
    }

    async fn conn(&self) -> CacheConn {
        eventually("a place on a lane", async || self.endpoint.connection().await.ok()).await
    }

    /// A connection on each lane. Lanes are chosen by thread.
    async fn conns(&self) -> Vec<CacheConn> {
        let mut conns = Vec::new();
        let mut met = Vec::new();
        while conns.len() < self.endpoint.lane_slots() - 1 {
            let (endpoint, runtime) =
                (Arc::clone(&self.endpoint), tokio::runtime::Handle::current());
            let elsewhere = std::thread::spawn(move || runtime.block_on(endpoint.connection()));
            let mut conn = elsewhere.join().unwrap().unwrap();
            let lane = address(&mut conn).await;
            if !met.contains(&lane) {
                met.push(lane);
                conns.push(conn);
            }
        }
        conns
    }
}

/// Where the server sees the connection come from that carries the commands.
async fn address(conn: &mut CacheConn) -> SocketAddr {
    let info: String = redis::cmd("CLIENT").arg("INFO").query_async(&mut **conn).await.unwrap();
    field(&info, "addr").parse().unwrap()
}
