use ::redis::{PushKind, Value};

use crate::redis::status::Unreadable;

/// A whole message of the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// The reply to a command.
    Reply(Result<Value, Unreadable>),
    /// A push message (RESP3). It is no reply.
    Push { kind: PushKind, data: Vec<Value> },
}

/// The bytes are not the Redis protocol, so nobody knows where the next reply begins: the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server's bytes are not the Redis protocol; check that the address is a Redis server's, and its TLS setting"
)]
pub(crate) struct Broken;
