//! What can be said to an actor.

use tokio::sync::oneshot;

/// A message that is *asked*: whoever sends it waits for the reply.
pub trait Request: Send + 'static {
    /// What the actor answers.
    type Reply: Send + 'static;
}

/// A message that is *told*: nobody waits, and its loss is harmless.
///
/// What a caller was promised goes by [`Request`].
pub trait Notice: Send + 'static {}

/// Where the answer to a question goes.
///
/// Dropping it unanswered tells the caller [`CallError::Died`](crate::CallError::Died).
#[derive(Debug)]
pub struct Reply<R> {
    sender: oneshot::Sender<R>,
}

impl<R> Reply<R> {
    /// A port, and where its answer comes out: for trying an actor's state without the actor.
    pub fn channel() -> (Self, oneshot::Receiver<R>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender }, receiver)
    }

    /// Answers. A caller that no longer waits is not an error: an actor must not fall over it.
    pub fn send(self, answer: R) {
        self.sender.send(answer).ok();
    }

    /// Whether the caller has stopped waiting. Worth a look before costly work.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The last part of a type's name, without its path: what logs, spans and errors call a message.
pub(crate) fn short_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    let without_parameters = name.split('<').next().unwrap_or(name);
    without_parameters.rsplit("::").next().unwrap_or(name)
}
