use std::sync::Arc;
use std::time::Duration;

use bb8_redis::bb8::ManageConnection;

use super::generation::Lifecycle;
use super::pooled::{Connection, Node};
use crate::redis::connect::{Connector, Failure};
use crate::redis::socket::Purpose;
use crate::redis::status::{Cause, Error};

/// Makes and judges the connections of one generation's pool.
pub(crate) struct Manager {
    connector: Arc<Connector>,
    lifecycle: Arc<Lifecycle>,
}

impl Manager {
    pub(crate) fn new(connector: Arc<Connector>, lifecycle: Arc<Lifecycle>) -> Self {
        Self { connector, lifecycle }
    }

    /// Whoever learns that a connection is spent drops it, so that each one is noted once.
    fn is_spent(&self, node: &Node) -> bool {
        if node.is_stillborn() {
            self.connector.trouble().failed(Cause::Closed, Failure::Unanswered);
        }
        node.is_spent()
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = Error;

    /// Tries until it succeeds; an error means that the generation was closed.
    async fn connect(&self) -> Result<Connection, Error> {
        let line = self.connector.connect_until(Purpose::Lease, self.lifecycle.closed()).await?;
        let lifetime = jittered(self.connector.config().recycle_timeout, fastrand::f64());
        Ok(Connection::Node(Node::new(line, Arc::clone(&self.lifecycle), lifetime)))
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Error> {
        let node = connection.node();
        if self.is_spent(node) || !self.lifecycle.trusts(node.last_reply) {
            return Err(Error::unavailable(Cause::Closed));
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        self.is_spent(connection.node())
    }
}

/// `age`, 20 % more or less, so that connections made together are not replaced together. `chance` is in 0..1.
// redis R24
pub(crate) fn jittered(age: Duration, chance: f64) -> Duration {
    age.mul_f64(0.8 + 0.4 * chance)
}
