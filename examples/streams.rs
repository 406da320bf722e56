//! How do open streams and web sockets end when the service is stopped?
//!
//! A stream of a subscription ends by itself, whatever else goes on waits for `Draining`. Then nothing
//! holds the service up: here it would take 8 minutes. `cargo run --example streams` prints
//!
//! ```text
//! GET /prices -> data: 42
//! GET /chat -> 101
//! SIGTERM
//! GET /prices -> the stream has ended
//! GET /chat -> closed with 1001, going away
//! the service has ended
//! ```

mod client;

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::response::sse::{self, KeepAlive, Sse};
use client::say;
use futures_util::{Stream, StreamExt};
use mainstay::cache::Event;
use mainstay::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Server-sent events: what is published on a channel. It ends when the service drains, because the
/// subscription does.
async fn prices(
    State(state): State<AppState>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event>>>> {
    let prices = state.cache()?.subscribe("prices").await?;
    let events = prices.map(|event| {
        Ok(match event {
            Event::Message(message) => sse::Event::default().data(message.get::<String>()?),
            // Whoever keeps a copy asks for all of it again.
            Event::Gap(_) => sse::Event::default().event("gap"),
        })
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// A web socket that says back what it is told, until its client leaves or the service drains.
async fn chat(draining: Draining, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| talk(socket, draining))
}

async fn talk(mut socket: WebSocket, mut draining: Draining) {
    loop {
        tokio::select! {
            said = socket.recv() => match said {
                Some(Ok(said @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(said).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            () = &mut draining => {
                // The client may connect again at once: to another replica.
                let away = CloseFrame { code: close_code::AWAY, reason: "".into() };
                socket.send(Message::Close(Some(away))).await.ok();
                return;
            }
        }
    }
}

async fn publish(mut conn: CacheConn) -> Result<StatusCode> {
    redis::cmd("PUBLISH").arg("prices").arg(42).query_async::<()>(&mut *conn).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut config = client::config();
    config.service.shutdown_timeout = Duration::from_secs(600);
    let routes =
        Router::new().route("/prices", get(prices).post(publish)).route("/chat", get(chat));
    let service = ServiceBuilder::new().with_config(config).with_routes(routes).build();
    let bound = service.bind().await?;
    let address = bound.local_addr();

    let client = async {
        client::Client::new(address).wait_for(200, "GET /ready").await?;
        let mut prices = open(address, "/prices", "").await?;
        wait_for(&mut prices, "").await?;
        client::Client::new(address).wait_for(204, "POST /prices").await?;
        let price = wait_for(&mut prices, "data:").await?;
        say(&format!("GET /prices -> {price}"));

        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let mut chat = open(address, "/chat", upgrade).await?;
        wait_for(&mut chat, "").await?;
        say("GET /chat -> 101");

        say("SIGTERM");
        let pid = std::process::id().to_string();
        std::process::Command::new("kill").args(["-TERM", &pid]).status()?;
        let mut rest = String::new();
        prices.read_to_string(&mut rest).await?;
        assert!(rest.ends_with("0\r\n\r\n"), "a chunk without bytes is a proper end");
        say("GET /prices -> the stream has ended");
        // A close frame of two bytes, which are the code.
        let mut frame = [0; 4];
        chat.read_exact(&mut frame).await?;
        assert_eq!(frame[..2], [0x88, 2]);
        let code = u16::from_be_bytes([frame[2], frame[3]]);
        say(&format!("GET /chat -> closed with {code}, going away"));
        Ok::<_, Error>(())
    };
    let (served, asked) = tokio::join!(bound.serve(), client);
    served?;
    asked?;
    say("the service has ended");
    Ok(())
}

async fn open(
    address: std::net::SocketAddr,
    path: &str,
    headers: &str,
) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(BufReader::new(stream))
}

/// The next line that begins with `start`; the empty one is the end of a head.
async fn wait_for(stream: &mut BufReader<TcpStream>, start: &str) -> Result<String> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(Error::internal("the connection was closed"));
        }
        let line = line.trim_end();
        let is_it = if start.is_empty() { line.is_empty() } else { line.starts_with(start) };
        if is_it {
            return Ok(line.to_owned());
        }
    }
}
