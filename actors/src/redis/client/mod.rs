//! The connections that callers hold, with scripts and transactions on top.

mod conn;
mod dedicated;
mod open;
mod script;
mod session;
mod shared;
mod transaction;
mod ttl;

#[cfg(test)]
mod tests;

pub use conn::CacheConn;
pub use script::{Call, Script};
pub use session::Session;
pub use transaction::Transaction;
pub use ttl::Ttl;
