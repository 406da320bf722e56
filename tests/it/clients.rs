//! Clients that close their connection, and streams that a service ends.

use std::time::Duration;

use mainstay::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{App, Server, config, eventually};

/// `/blocked` waits at the server until the deadline of the request.
fn blocked() -> Router<AppState> {
    let blocked = async |mut conn: CacheConn| -> Result<()> {
        redis::cmd("BLPOP").arg("nothing").arg(0).query_async::<()>(&mut *conn).await?;
        Ok(())
    };
    Router::new().route("/blocked", get(blocked))
}

async fn becomes(server: &Server, blocked_clients: usize) {
    eventually(&format!("{blocked_clients} are blocked"), async || {
        let info: String = server.ask(&["INFO", "clients"]).await;
        info.contains(&format!("blocked_clients:{blocked_clients}\r")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_resets_its_connection_ends_its_blocked_command_and_its_lease_is_back() {
    let server = Server::start().await;
    let mut config = config(server.url());
    config.service.request_timeout = Duration::from_secs(600);
    let app = App::start(config, blocked()).await;
    app.becomes_ready().await;
    let mut client = TcpStream::connect(app.address()).await.unwrap();
    client.write_all(b"GET /blocked HTTP/1.1\r\nhost: it\r\n\r\n").await.unwrap();
    becomes(&server, 1).await;
    client.set_zero_linger().unwrap();
    drop(client);
    becomes(&server, 0).await;
    app.has_all_leases().await;
    app.end().await;
}

#[tokio::test]
async fn a_client_that_closes_its_connection_leaves_its_blocked_command_to_the_deadline() {
    let server = Server::start().await;
    let mut config = config(server.url());
    config.service.request_timeout = Duration::from_secs(1);
    let app = App::start(config, blocked()).await;
    app.becomes_ready().await;
    let mut client = TcpStream::connect(app.address()).await.unwrap();
    client.write_all(b"GET /blocked HTTP/1.1\r\nhost: it\r\n\r\n").await.unwrap();
    becomes(&server, 1).await;
    drop(client);
    becomes(&server, 0).await;
    app.has_all_leases().await;
    app.end().await;
}
