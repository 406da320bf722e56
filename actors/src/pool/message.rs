use mainstay_supervision::{Reply, Request};

use crate::redis::{CloseReason, PoolStatus};

/// Asks for the pool of the default endpoint as its manager sees it. [`Cache::status`](crate::cache::Cache::status) says the
/// same without asking, of every endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetPoolStatus;

impl Request for GetPoolStatus {
    type Reply = PoolStatus;
}

/// Replaces every connection of the default endpoint: a new generation is published, and the old one drains.
///
/// The reply is the number of the new generation. While an older generation still drains the reply
/// waits for it, `drain_timeout` at the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildPool;

impl Request for RebuildPool {
    type Reply = u64;
}

#[derive(Debug)]
pub(crate) enum Message {
    GetPoolStatus(GetPoolStatus, Reply<PoolStatus>),
    RebuildPool(RebuildPool, Reply<u64>),
    /// The server answered that it is read-only.
    ReadOnly,
    /// The old generation is gone, or cut.
    Drained,
    /// The lane at a slot is there, where there was none or for this reason another one.
    LaneMade {
        slot: usize,
        reason: Option<CloseReason>,
    },
}
