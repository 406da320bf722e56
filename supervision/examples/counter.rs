//! An actor that falls over a bad message, and is back for the next one.
//!
//! Run `cargo run -p mainstay-supervision --example counter`. It prints
//! ```text
//! counted to 3
//! divided by zero: the actor ended before it replied (incarnation 1)
//! counted to 1, in incarnation 2
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use mainstay_supervision::{
    Actor, Backoff, BoxError, Cx, Reply, Request, Server, State, Supervisor, System,
};

/// Adds to the count; answers with the sum.
struct Add(u64);
impl Request for Add {
    type Reply = u64;
}

/// Divides the count; the actor panics if the divisor is 0.
struct Divide(u64);
impl Request for Divide {
    type Reply = u64;
}

/// What the mailbox takes. Private: messages find their actor by their own type.
enum Message {
    Add(Add, Reply<u64>),
    Divide(Divide, Reply<u64>),
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
        count: &mut u64,
    ) -> Result<(), BoxError> {
        match message {
            Message::Add(Add(number), reply) => {
                *count += number;
                reply.send(*count);
            }
            Message::Divide(Divide(divisor), reply) => {
                *count /= divisor;
                reply.send(*count);
            }
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut root = Supervisor::new("root");
    root.actor(
        Actor::new("counter", || Counter)
            .backoff(Backoff::none())
            .accepts(Message::Add)
            .accepts(Message::Divide),
    );
    let system = System::start(root).await?;
    let (add, divide) = (system.recipient::<Add>()?, system.recipient::<Divide>()?);

    add.ask(Add(1)).await?;
    println!("counted to {}", add.ask(Add(2)).await?);
    if let Err(error) = divide.ask(Divide(0)).await {
        println!("divided by zero: {error}");
    }
    let mut changes = system.changes();
    while system
        .tree()
        .find("counter")
        .is_none_or(|counter| counter.state != State::Up || counter.restarts == 0)
    {
        changes.changed().await?;
    }
    let count = add.ask(Add(1)).await?;
    let counter = system.tree().find("counter").cloned().ok_or("gone")?;
    println!("counted to {count}, in incarnation {}", counter.incarnation);
    system.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
