//! An actor of the service's own: it counts how often each user was read.

use std::collections::HashMap;

use mainstay::actor::{BoxError, Cx, Notice, Reply, Request, Server};
use mainstay::prelude::*;

/// Counts one more read of a user. Told: nobody waits, and a lost one is no harm.
pub struct CountRead {
    pub user_id: i64,
}

impl Notice for CountRead {}

/// Asks how often a user was read.
pub struct GetReads {
    pub user_id: i64,
}

impl Request for GetReads {
    type Reply = u64;
}

/// What the actor's mailbox takes.
pub enum Message {
    Count(CountRead),
    GetReads(GetReads, Reply<u64>),
}

/// Counts from zero again after a fall: what must outlive one belongs in Redis or a database.
pub struct Reads;

impl Server for Reads {
    type Message = Message;
    type State = HashMap<i64, u64>;

    async fn init(&self, _cx: &Cx<Message>) -> Result<Self::State, BoxError> {
        Ok(HashMap::new())
    }

    async fn handle(
        &self,
        _cx: &Cx<Message>,
        message: Message,
        reads: &mut Self::State,
    ) -> Result<(), BoxError> {
        match message {
            Message::Count(CountRead { user_id }) => *reads.entry(user_id).or_default() += 1,
            Message::GetReads(GetReads { user_id }, reply) => {
                reply.send(reads.get(&user_id).copied().unwrap_or_default());
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
pub struct ReadsOfUser {
    user_id: i64,
    reads: u64,
}

/// `GET /api/v1/users/{id}/reads`
pub async fn read(
    Path(user_id): Path<i64>,
    reads: Recipient<GetReads>,
) -> Result<Json<ReadsOfUser>> {
    let reads = reads.ask(GetReads { user_id }).await?;
    Ok(Json(ReadsOfUser { user_id, reads }))
}
