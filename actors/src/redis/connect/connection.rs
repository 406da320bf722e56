use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::redis::socket::{CloseSignal, OpenCount, Wire};

/// A connection whose handshake has succeeded.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    /// Fires when the server closes the connection.
    pub(crate) closing: Arc<CloseSignal>,
}

impl Connection {
    pub(crate) fn new(wire: Wire, closing: Arc<CloseSignal>, open: OpenCount) -> Self {
        wire.count_by(open);
        Self { wire, closing }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closing.reason().is_some()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// `age`, 20 % more or less, so that connections made together are not replaced together. `chance` is in 0..1.
// redis R24
pub(crate) fn jittered(age: Duration, chance: f64) -> Duration {
    age.mul_f64(0.8 + 0.4 * chance)
}
