use mainstay_supervision::{Reply, Request};

use crate::redis::{CloseReason, PoolStatus, Reason};

/// Asks for the state of the default endpoint's pool. [`Cache::status`](crate::cache::Cache::status) answers the same
/// from memory, for every endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetPoolStatus;

impl Request for GetPoolStatus {
    type Reply = PoolStatus;
}

/// Replaces every connection of the default endpoint: a new generation is published, and the old one drains.
///
/// The reply is the number of the new generation. While an older generation still drains the reply waits for that, for
/// at most `drain_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildPool;

impl Request for RebuildPool {
    type Reply = u64;
}

#[derive(Debug)]
pub(crate) enum Message {
    GetPoolStatus(GetPoolStatus, Reply<PoolStatus>),
    RebuildPool(RebuildPool, Reply<u64>),
    /// The present generation leads to the wrong server.
    Outdated(Reason),
    /// A generation for a name that has moved was put off until now.
    PutOffEnds,
    /// The old generation has drained, or was cut.
    Drained,
    /// A slot has a new lane: its first one, or one that replaces another for this reason.
    LaneMade {
        slot: usize,
        reason: Option<CloseReason>,
    },
}
