//! What a service's own supervised actors are made of.
//!
//! ```
//! use mainstay::actor::{Actor, BoxError, Cx, Reply, Request, Server};
//! use mainstay::prelude::*;
//!
//! /// Counts one more; answers with the sum.
//! pub struct Count;
//! impl Request for Count {
//!     type Reply = u64;
//! }
//!
//! enum Message {
//!     Count(Count, Reply<u64>),
//! }
//!
//! struct Reads;
//!
//! impl Server for Reads {
//!     type Message = Message;
//!     type State = u64;
//!
//!     async fn init(&self, _cx: &Cx<Message>) -> Result<u64, BoxError> {
//!         Ok(0)
//!     }
//!
//!     async fn handle(
//!         &self,
//!         _cx: &Cx<Message>,
//!         message: Message,
//!         count: &mut u64,
//!     ) -> Result<(), BoxError> {
//!         match message {
//!             Message::Count(Count, reply) => {
//!                 *count += 1;
//!                 reply.send(*count);
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! async fn read(count: Recipient<Count>) -> Result<String> {
//!     Ok(count.ask(Count).await?.to_string())
//! }
//!
//! let service = ServiceBuilder::new()
//!     .with_actor(Actor::new("reads", || Reads).accepts(Message::Count))
//!     .with_routes(Router::new().route("/read", get(read)))
//!     .build();
//! ```

#[expect(clippy::module_name_repetitions, reason = "an actor is what there is none of")]
pub use mainstay_actors::supervision::{
    Actor, Backoff, BoxError, CallError, Cause, Cx, Event, Exit, GetTree, Handle, Intensity,
    Jitter, Mailbox, NoActor, NoTaker, Notice, Nursery, Rejected, Reply, Request, Restart, Server,
    Shutdown, ShutdownReport, State, TreeSnapshot,
};
pub use mainstay_actors::tree::StartError;
pub use mainstay_actors::{AskError, Outcome, deadline};

pub use crate::Recipient;
