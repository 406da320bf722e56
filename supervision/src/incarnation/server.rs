//! What an actor is made of.

use super::context::Cx;
use crate::exit::BoxError;

/// An actor: what it starts from, and how it answers messages. One message at a time.
///
/// The value itself is made anew for each incarnation and only read; what changes lives in
/// [`State`](Self::State), and dies with the incarnation. What must outlive a fall belongs in an
/// `Arc` that the factory hands in.
///
/// An `Err` or a panic says "my state is wrong, begin again": the supervisor restarts the actor.
/// An outage of something outside is not that: it is a state like any other.
pub trait Server: Send + Sync + 'static {
    /// What its mailbox takes.
    type Message: Send + 'static;
    /// What changes from message to message.
    type State: Send + 'static;

    /// Makes the state of a new incarnation. Do no IO here: start a [task](Cx::task) for it.
    fn init(
        &self,
        cx: &Cx<Self::Message>,
    ) -> impl Future<Output = Result<Self::State, BoxError>> + Send;

    /// Handles one message. Await nothing slow here: start a [task](Cx::task) for it.
    fn handle(
        &self,
        cx: &Cx<Self::Message>,
        message: Self::Message,
        state: &mut Self::State,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Says goodbye when the actor is asked to end, or asked for it itself; not after a fall or a
    /// kill. Its tasks have ended by then.
    fn terminate(
        &self,
        cx: &Cx<Self::Message>,
        state: &mut Self::State,
    ) -> impl Future<Output = ()> + Send {
        let _ = (cx, state);
        std::future::ready(())
    }
}
