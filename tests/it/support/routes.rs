//! A service that uses everything: connections, actors of its own and of the house, the nursery.

use mainstay::actor::{Actor, BoxError, Cx, GetTree, Notice, Reply, Request, Server};
use mainstay::cache::GetPoolStatus;
use mainstay::prelude::*;

/// Counts one more; answers with the sum.
#[derive(Debug)]
pub(crate) struct Count;
impl Request for Count {
    type Reply = u64;
}

/// Begins at zero again.
#[derive(Debug)]
pub(crate) struct Reset;
impl Notice for Reset {}

enum Message {
    Count(Count, Reply<u64>),
    Reset(Reset),
}

struct Counter;

impl Server for Counter {
    type Message = Message;
    type State = u64;

    async fn init(&self, _cx: &Cx<Message>) -> Result<u64, BoxError> {
        Ok(0)
    }

    async fn handle(
        &self,
        _cx: &Cx<Message>,
        message: Message,
        sum: &mut u64,
    ) -> Result<(), BoxError> {
        match message {
            Message::Count(Count, reply) => {
                *sum += 1;
                reply.send(*sum);
            }
            Message::Reset(Reset) => *sum = 0,
        }
        Ok(())
    }
}

/// The service's own actor.
pub(crate) fn counter() -> Actor<impl Server> {
    Actor::new("counter", || Counter).accepts(Message::Count).accepts(Message::Reset)
}

/// `/stored` needs Redis, `/bypass` can do without; `/count`, `/reset`, `/pool` and `/tree` send
/// messages; `/work` starts what outlives the request.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/stored", get(stored))
        .route("/bypass", get(bypass))
        .route("/count", get(count))
        .route("/reset", get(reset))
        .route("/pool", get(pool))
        .route("/tree", get(tree))
        .route("/work", get(work))
}

/// Writes and reads back: the reply must be the one to this request.
async fn stored(mut conn: CacheConn) -> Result<String> {
    let value = uuid::Uuid::new_v4().to_string();
    let key = format!("stored:{value}");
    conn.set_ex(&key, &value, 60).await?;
    let read: String = conn.get(&key).await?;
    if read == value { Ok(read) } else { Err(Error::internal("the reply to another request")) }
}

async fn bypass(conn: Option<CacheConn>) -> &'static str {
    let Some(mut conn) = conn else { return "bypass" };
    match conn.incr::<_, _, u64>("bypass", 1).await {
        Ok(_) => "hit",
        Err(_) => "bypass",
    }
}

async fn count(count: Recipient<Count>) -> Result<String> {
    Ok(count.ask(Count).await?.to_string())
}

async fn reset(reset: Recipient<Reset>) -> Result<StatusCode> {
    reset.tell(Reset)?;
    Ok(StatusCode::ACCEPTED)
}

async fn pool(State(state): State<AppState>) -> Result<String> {
    Ok(state.ask(GetPoolStatus).await?.generation.to_string())
}

async fn tree(State(state): State<AppState>) -> Result<Json<serde_json::Value>> {
    Ok(Json(serde_json::to_value(state.ask(GetTree).await?)?))
}

async fn work(State(state): State<AppState>) -> Result<StatusCode> {
    let cache = state.cache()?;
    state.nursery().start("work", async move {
        if let Ok(mut conn) = cache.get().await {
            conn.incr::<_, _, u64>("work", 1).await.ok();
        }
    })?;
    Ok(StatusCode::ACCEPTED)
}
