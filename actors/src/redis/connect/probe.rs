use std::sync::Arc;
use std::time::Duration;

use ::redis::{Value, cmd};
use tokio::time::Instant;

use super::capability::MissingCapability;
use super::connection::Connection;
use super::connector::Connector;
use super::exchange::{Exchanged, Limit, exchange, ping, silence};
use crate::redis::status::{Cause, has_foreign_slots};

/// A connection for probes of the server. It takes no lease and ignores the breaker.
#[derive(Debug)]
pub struct Probe {
    connection: Connection,
    limit: Duration,
    connector: Arc<Connector>,
    is_new: bool,
    /// Whether other nodes of a cluster hold some of the keys, once that is known.
    has_foreign_slots: Option<bool>,
}

impl Probe {
    pub(crate) async fn connect(connector: &Arc<Connector>) -> Result<Self, Cause> {
        let connection = connector.connect_probe().await?;
        let limit = connector.config().probe_timeout;
        let missing = connector.handshake().missing();
        let may_ask = !missing.has(MissingCapability::ClusterNodes, None);
        let has_foreign_slots = if may_ask { None } else { Some(false) };
        let connector = Arc::clone(connector);
        Ok(Self { connection, limit, connector, is_new: true, has_foreign_slots })
    }

    /// Whether the server has closed the connection. Answers from memory.
    pub fn is_dead(&self) -> bool {
        self.connection.is_closed()
    }

    /// Sends a `PING` and returns how long the answer took. Goes to Redis. Cancel safe.
    ///
    /// # Errors
    /// The cause; the probe should be dropped then.
    pub async fn ping(&mut self) -> Result<Duration, Cause> {
        let sent = Instant::now();
        match ping(&self.connection.wire, self.limit).await {
            Err(Cause::Timeout) => Err(silence(sent, self.limit)),
            Err(cause) => Err(cause),
            Ok(()) => {
                if std::mem::take(&mut self.is_new) {
                    self.connector.backoff().probe_answered();
                }
                Ok(sent.elapsed())
            }
        }
    }

    /// Whether other nodes of a cluster hold some of the keys. Asks once for each connection; a server that does not tell
    /// is taken for one that is no node of a cluster. Goes to Redis. Cancel safe.
    ///
    /// # Errors
    /// The cause, as of [`ping`](Self::ping).
    pub async fn has_foreign_slots(&mut self) -> Result<bool, Cause> {
        if let Some(known) = self.has_foreign_slots {
            return Ok(known);
        }
        let sent = Instant::now();
        let limit = Limit::until(sent + self.limit);
        let question = cmd("CLUSTER").arg("NODES").take();
        let has_foreign_slots = match exchange(&self.connection.wire, &question, limit).await {
            Exchanged::Replied(Value::BulkString(nodes), _) => {
                has_foreign_slots(&String::from_utf8_lossy(&nodes))
            }
            Exchanged::Replied(Value::VerbatimString { text, .. }, _) => has_foreign_slots(&text),
            Exchanged::Replied(..) | Exchanged::Unreadable(_) => false,
            Exchanged::TimedOut => return Err(silence(sent, self.limit)),
            Exchanged::NotSent(_) | Exchanged::Lost(_) | Exchanged::Cut => {
                // Some proxies hang up at what they do not know.
                self.connector.handshake().note_cluster_hangup(sent);
                return Err(Cause::Closed);
            }
        };
        self.connector.handshake().missing().answered(MissingCapability::ClusterNodes, None);
        self.has_foreign_slots = Some(has_foreign_slots);
        Ok(has_foreign_slots)
    }
}
