//! How do I write an actor of my own, and what becomes of it when it falls?
//!
//! This one keeps a stock. It falls over whoever takes more than there is, as over a bug.
//! `cargo run --example own_actor` prints
//!
//! ```text
//! POST /take/3 -> 200 7 left
//! POST /add/5 -> 202
//! POST /take/1 -> 200 11 left
//! POST /take/99 -> 504 outcome-unknown
//! POST /take/1 -> 200 9 left
//! GET /stock -> 200 incarnation 2, because the last one failed: nobody takes 99 of 11
//! ```
//!
//! The next incarnation has begun again with 10.

mod client;

use client::Client;
use mainstay::actor::{Actor, BoxError, Cx, Notice, Reply, Request, Server};
use mainstay::prelude::*;

/// Takes pieces; the reply is how many are left. Asked: whoever takes wants to know.
struct Take(u32);
impl Request for Take {
    type Reply = u32;
}

/// Adds pieces. Told: nobody waits.
struct Add(u32);
impl Notice for Add {}

enum Message {
    Take(Take, Reply<u32>),
    Add(Add),
}

struct Stock;

impl Server for Stock {
    type Message = Message;
    type State = u32;

    async fn init(&self, _: &Cx<Message>) -> Result<u32, BoxError> {
        Ok(10)
    }

    async fn handle(
        &self,
        _: &Cx<Message>,
        message: Message,
        left: &mut u32,
    ) -> Result<(), BoxError> {
        match message {
            Message::Take(Take(pieces), reply) => {
                let fewer = left.checked_sub(pieces);
                *left = fewer.ok_or_else(|| format!("nobody takes {pieces} of {left}"))?;
                reply.send(*left);
            }
            Message::Add(Add(pieces)) => *left += pieces,
        }
        Ok(())
    }
}

async fn take(Path(pieces): Path<u32>, stock: Recipient<Take>) -> Result<String> {
    Ok(format!("{} left", stock.ask(Take(pieces)).await?))
}

async fn add(Path(pieces): Path<u32>, stock: Recipient<Add>) -> Result<StatusCode> {
    stock.tell(Add(pieces))?;
    Ok(StatusCode::ACCEPTED)
}

async fn stock(State(state): State<AppState>) -> Result<String> {
    let tree = state.tree();
    let stock = tree.find("stock").ok_or_else(|| Error::not_found("there is no stock"))?;
    let why = stock.last_exit.as_deref().unwrap_or("nothing");
    Ok(format!("incarnation {}, because the last one {why}", stock.incarnation))
}

#[tokio::main]
async fn main() -> Result<()> {
    let routes = Router::new()
        .route("/take/{pieces}", post(take))
        .route("/add/{pieces}", post(add))
        .route("/stock", get(stock));
    let stock = Actor::new("stock", || Stock).accepts(Message::Take).accepts(Message::Add);
    let service = ServiceBuilder::new().with_config(client::config());
    let service = service.with_actor(stock).with_routes(routes).build().bind().await?;

    let client = Client::new(service.local_addr());
    let ask = async {
        client.send("POST /take/3").await?;
        client.send("POST /add/5").await?;
        client.send("POST /take/1").await?;
        client.send("POST /take/99").await?;
        // Until it is restarted, which takes 100 ms at most, asking it is a 503.
        client.send_until(200, "POST /take/1").await?;
        client.send("GET /stock").await
    };
    tokio::select! {
        ended = service.serve() => ended,
        asked = ask => asked,
    }
}
