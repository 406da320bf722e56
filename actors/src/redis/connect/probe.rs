use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::connector::Connector;
use crate::redis::command::Reply;
use crate::redis::socket::Wire;
use crate::redis::status::{Cause, cause_of};

/// A connection of its own for asking an endpoint whether it is well: it takes no lease and passes no breaker.
#[derive(Debug)]
pub struct Probe {
    connection: Connection,
    limit: Duration,
    connector: Arc<Connector>,
    is_new: bool,
}

impl Probe {
    pub(crate) fn new(connection: Connection, connector: &Arc<Connector>) -> Self {
        let limit = connector.config().probe_timeout;
        Self { connection, limit, connector: Arc::clone(connector), is_new: true }
    }

    /// Whether the other side has closed the connection. Answers from memory.
    pub fn is_dead(&self) -> bool {
        self.connection.is_closed()
    }

    /// Asks for a `PING` and says how long the answer took. Goes to Redis. *Cancel safety*: may be dropped.
    ///
    /// # Errors
    /// The cause; after [`Cause::Timeout`] or [`Cause::Closed`] the probe should be dropped.
    pub async fn ping(&mut self) -> Result<Duration, Cause> {
        let begun = Instant::now();
        ping(&mut self.connection.wire, self.limit).await?;
        if std::mem::take(&mut self.is_new) {
            self.connector.backoff().probe_answered();
        }
        Ok(begun.elapsed())
    }
}

/// One `PING`. Every answer means that the server serves, except the ones that say "not now".
pub(crate) async fn ping(wire: &mut Wire, limit: Duration) -> Result<(), Cause> {
    let reply = timeout(limit, wire.send(&::redis::cmd("PING"))).await;
    match reply {
        Err(_) => Err(Cause::Timeout),
        Ok(Err(error)) => Err(cause_of(&error)),
        Ok(Ok(reply)) => reply.meaning().objection.map_or(Ok(()), Err),
    }
}
