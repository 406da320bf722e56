//! What the examples share: a configuration for which nothing need be there, and a client that
//! prints what it reads.
#![allow(dead_code, reason = "no example uses all of it")]

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use mainstay::Config;
use mainstay::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A private Redis, and any free port. Nothing is logged, so that the answers stand alone.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.service.name = "example".into();
    config.service.bind = [127, 0, 0, 1].into();
    config.service.port = 0;
    config.service.log_level = "off".into();
    config.redis.url = "embedded".into();
    config
}

/// Prints one line.
pub(crate) fn say(line: &str) {
    // Nobody need be reading: that is no reason to end.
    writeln!(std::io::stdout(), "{}", line.trim_end()).ok();
}

pub(crate) struct Client {
    address: SocketAddr,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Sends a request such as `GET /users/1`, and prints it with its answer.
    pub(crate) async fn send(&self, request: &str) -> Result<()> {
        let (status, body) = self.answer(request).await?;
        say(&format!("{request} -> {status} {body}"));
        Ok(())
    }

    /// The same, again and again until it is answered with `status`. Prints that answer alone.
    pub(crate) async fn send_until(&self, status: u16, request: &str) -> Result<()> {
        let body = self.wait_for(status, request).await?;
        say(&format!("{request} -> {status} {body}"));
        Ok(())
    }

    /// Sends a request until it is answered with `status`, and prints nothing.
    pub(crate) async fn wait_for(&self, status: u16, request: &str) -> Result<String> {
        loop {
            let (answered, body) = self.answer(request).await?;
            if answered == status {
                return Ok(body);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The status, and the body; of a problem its type.
    async fn answer(&self, request: &str) -> Result<(u16, String)> {
        let text = self.exchange(request).await.map_err(Error::internal)?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Error::internal(format!("no status in {head:?}")))?;
        let kind = body.split_once(r#""type":"urn:mainstay:problem:"#);
        let kind = kind.and_then(|(_, rest)| rest.split('"').next());
        Ok((status, kind.unwrap_or(body).to_owned()))
    }

    async fn exchange(&self, request: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }
}
