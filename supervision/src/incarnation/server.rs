//! The trait that an actor's code implements.

use super::context::Cx;
use crate::exit::BoxError;

/// The code of an actor. It handles one message at a time.
///
/// The factory creates a new `Server` for each incarnation. The value itself is only read: everything
/// that changes lives in [`State`](Self::State), which is lost with the incarnation. Keep what must
/// survive a fall in an `Arc` that the factory passes in.
///
/// An `Err` or a panic means "my state is wrong, start again": the supervisor restarts the actor. Do
/// not fail because something outside is unavailable: keep that as part of the state.
pub trait Server: Send + Sync + 'static {
    /// The messages of its mailbox: usually a private enum.
    type Message: Send + 'static;
    /// What changes between messages.
    type State: Send + 'static;

    /// Creates the state of a new incarnation. Do no IO here: start a [task](Cx::task) for it.
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

    /// Called when the actor is stopped or ends itself, but not after a fall or a kill. Its tasks have
    /// ended by then.
    fn terminate(
        &self,
        cx: &Cx<Self::Message>,
        state: &mut Self::State,
    ) -> impl Future<Output = ()> + Send {
        let _ = (cx, state);
        std::future::ready(())
    }
}
