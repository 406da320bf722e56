//! Requests, notices, and replies.

use tokio::sync::oneshot;

/// A message that is *asked*: the sender waits for a reply.
pub trait Request: Send + 'static {
    /// The type of the reply.
    type Reply: Send + 'static;
}

/// A message that is *told*: the sender does not wait, and losing the message is harmless.
///
/// Use a [`Request`] for everything that a caller must be able to rely on.
pub trait Notice: Send + 'static {}

/// The port for the reply to one request. It may be kept and used later, also by a task.
///
/// If it is dropped unused, the caller gets [`CallError::Died`](crate::CallError::Died).
#[derive(Debug)]
pub struct Reply<R> {
    sender: oneshot::Sender<R>,
}

impl<R> Reply<R> {
    /// A port and the receiver of its reply, for testing an actor's state without the actor.
    pub fn channel() -> (Self, oneshot::Receiver<R>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender }, receiver)
    }

    /// Sends the reply. Does nothing if the caller no longer waits.
    pub fn send(self, answer: R) {
        self.sender.send(answer).ok();
    }

    /// Whether the caller has stopped waiting. Check this before costly work.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The name of a type without its path, as logs, spans and errors show it.
pub(crate) fn short_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    let without_parameters = name.split('<').next().unwrap_or(name);
    without_parameters.rsplit("::").next().unwrap_or(name)
}
