use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::connector::Connector;
use super::exchange::ping;
use crate::redis::status::Cause;

/// A connection for probes of the server. It takes no lease and ignores the breaker.
#[derive(Debug)]
pub struct Probe {
    connection: Connection,
    limit: Duration,
    connector: Arc<Connector>,
    is_new: bool,
}

impl Probe {
    pub(crate) async fn connect(connector: &Arc<Connector>) -> Result<Self, Cause> {
        let connection = connector.connect_probe().await?;
        let limit = connector.config().probe_timeout;
        Ok(Self { connection, limit, connector: Arc::clone(connector), is_new: true })
    }

    /// Whether the server has closed the connection. Answers from memory.
    pub fn is_dead(&self) -> bool {
        self.connection.is_closed()
    }

    /// Sends a `PING` and returns how long the answer took. Goes to Redis. Cancel safe.
    ///
    /// # Errors
    /// The cause; after [`Cause::Timeout`] or [`Cause::Closed`] the probe should be dropped.
    pub async fn ping(&mut self) -> Result<Duration, Cause> {
        let sent = Instant::now();
        ping(&mut self.connection.wire, self.limit).await?;
        if std::mem::take(&mut self.is_new) {
            self.connector.backoff().probe_answered();
        }
        Ok(sent.elapsed())
    }
}
