use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use mainstay_supervision::Reply;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::bounds::{MOST_NAME_BYTES, MOST_TOPICS_EACH};
use super::buffer::Buffer;
use super::error::Error;
use super::event::Event;
use super::member::Until;
use super::state::State;
use crate::deadline;
use crate::redis::{self, Endpoint, TopicKind};

/// The messages that are published on some channels of an endpoint, in the order in which the server sends them.
///
/// It lasts until it is dropped or the service ends, whatever happens to Redis. One that belongs to a request ends when
/// the service begins to drain, one of an actor with the actors. When the connection is lost, a new one
/// is made and subscribed as soon as the server is back; a connection that no longer answers counts as lost after 1 s
/// and one `command_timeout`. Redis keeps nothing for absent subscribers, so whatever was published meanwhile is
/// missing, and the subscription says so with one [`Event::Gap`]. When the gap is read the subscription works again, so
/// a reader that keeps a copy of something and reads it again then misses nothing. Replacing the generation, because
/// the server turned read-only or on request, causes such a gap too.
///
/// At most 1 024 messages wait for a slow reader, at most 8 MiB together (one larger message waits alone). What does
/// not fit is dropped and counted, and the waiting messages are followed by an [`Event::Gap`] with that count. At most
/// 64 MiB wait for all readers of an endpoint together, where a message counts once and for no more than 8 MiB. Above
/// that, the reader for whom the most waits loses all of it to such a gap. A reader that reads in time never waits for
/// others and loses nothing.
///
/// A message that matches several of its channels and patterns comes once for each of them, as Redis sends it.
#[must_use = "it ends when it is dropped"]
pub struct Subscription {
    id: u64,
    buffer: Arc<Buffer>,
    registry: Arc<Registry>,
}

/// The handle through which a service subscribes to channels. Clones share everything.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) registry: Arc<Registry>,
    until: Until,
}

/// The subscriptions as the tree holds them: when it is dropped their actor is never started again, so all of them
/// end.
#[derive(Debug)]
pub(crate) struct Followed(Subscriptions);

/// The names of channels, or patterns: one or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics(Vec<Arc<str>>);

/// Who subscribes to what. It outlives every incarnation of the actor.
#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    changed: Notify,
}

impl Subscription {
    /// The next event, once there is one; `None` when the service ends. Answers from memory. Cancel safe: no event is
    /// lost.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.buffer.poll(cx)).await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.buffer.poll(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.registry.with(|state| state.leave(self.id));
        self.registry.changed.notify_one();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Subscriptions {
    /// Nothing is subscribed to until an actor serves it.
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, registry: Arc::default(), until: Until::End }
    }

    /// Subscribes to channels: `"news"`, `["news", "sport"]` or a `Vec<String>`. Answers from memory if all of them are
    /// subscribed to already, else goes to Redis and returns when the server has confirmed: what is published from then
    /// on arrives.
    ///
    /// A subscription survives every outage, but none begins during one: the caller gets the error and decides whether
    /// to try again or to go on without.
    ///
    /// # Errors
    /// [`Error::Redis`] with the cause, at once while Redis is known to be away and otherwise after
    /// `connection_timeout` or at the request's deadline, or if the user has no permission for a channel;
    /// [`Error::TooMany`] while there are 1 024 subscriptions, or 10 000 different channels and patterns;
    /// [`Error::Topics`] for no name, for more than 1 024, or for one longer than 4 096 bytes; [`Error::Closed`] while
    /// the service ends. Cancel safe.
    pub async fn subscribe(&self, channels: impl Into<Topics>) -> Result<Subscription, Error> {
        self.begin(TopicKind::Channel, channels.into()).await
    }

    /// Subscribes to every channel whose name matches a pattern, as in `"news.*"`; see Redis' `PSUBSCRIBE`. Otherwise
    /// like [`subscribe`](Self::subscribe).
    ///
    /// # Errors
    /// Those of [`subscribe`](Self::subscribe). Cancel safe.
    pub async fn psubscribe(&self, patterns: impl Into<Topics>) -> Result<Subscription, Error> {
        self.begin(TopicKind::Pattern, patterns.into()).await
    }

    /// The same for requests: what is subscribed to through this handle ends when the service begins to drain.
    #[must_use]
    pub fn until_drain(&self) -> Self {
        Self { until: Until::Drain, ..self.clone() }
    }

    /// Ends the subscriptions of requests, and refuses further ones.
    pub(crate) fn drain(&self) {
        self.registry.with(State::drain);
        self.registry.changed.notify_one();
    }

    pub(crate) fn followed(&self) -> Followed {
        Followed(self.clone())
    }

    /// Refuses new subscriptions, because the service ends. The present ones end with the actor.
    pub(crate) fn close(&self) {
        self.registry.with(State::close);
    }

    /// Ends every subscription: no actor will serve them any more.
    pub(crate) fn end(&self) {
        self.registry.with(|state| {
            state.close();
            state.end();
        });
    }

    async fn begin(&self, kind: TopicKind, topics: Topics) -> Result<Subscription, Error> {
        let Self { endpoint, registry, until } = self;
        let begun = Instant::now();
        let end = deadline::at_most(endpoint.config().connection_timeout);
        let names = topics.checked()?.into_iter().map(|name| (kind, name)).collect();
        if let Some(error) = endpoint.health().opened() {
            return Err(error.into());
        }
        let (port, confirmed) = Reply::channel();
        let (id, buffer) = registry.with(|state| state.join(names, *until, port))?;
        // Dropped when this fails or is cancelled, which ends the subscription again.
        let subscription = Subscription { id, buffer, registry: Arc::clone(registry) };
        registry.changed.notify_one();
        let error = tokio::select! {
            biased;
            confirmed = confirmed => match confirmed.map_err(|_| Error::Closed)? {
                Ok(()) => return Ok(subscription),
                Err(error) => error,
            },
            error = endpoint.health().wait_opened() => error,
            () = sleep_until(end) => match endpoint.connect_failure() {
                Some(cause) => redis::Error::unavailable(cause),
                None => redis::Error::Deadline { waited: begun.elapsed() },
            },
        };
        Err(error.into())
    }
}

impl Registry {
    /// Ends when a subscription has begun or ended since this was last waited for.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Topics {
    fn checked(self) -> Result<BTreeSet<Arc<str>>, Error> {
        let names: BTreeSet<_> = self.0.into_iter().collect();
        let len_bytes = names.iter().map(|name| name.len()).max().unwrap_or(0);
        if names.is_empty() || names.len() > MOST_TOPICS_EACH {
            return Err(Error::Topics {
                given: format!("{} names", names.len()),
                wanted: format!("1 to {MOST_TOPICS_EACH} names"),
            });
        }
        if len_bytes > MOST_NAME_BYTES {
            return Err(Error::Topics {
                given: format!("a name of {len_bytes} bytes"),
                wanted: format!("at most {MOST_NAME_BYTES} bytes"),
            });
        }
        Ok(names)
    }
}

impl From<&str> for Topics {
    fn from(name: &str) -> Self {
        Self(vec![name.into()])
    }
}

impl From<String> for Topics {
    fn from(name: String) -> Self {
        Self(vec![name.into()])
    }
}

impl<T: Into<Arc<str>>, const N: usize> From<[T; N]> for Topics {
    fn from(names: [T; N]) -> Self {
        names.into_iter().collect()
    }
}

impl<T: Into<Arc<str>>> From<Vec<T>> for Topics {
    fn from(names: Vec<T>) -> Self {
        names.into_iter().collect()
    }
}

impl<T: Into<Arc<str>>> FromIterator<T> for Topics {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

impl std::ops::Deref for Followed {
    type Target = Subscriptions;

    fn deref(&self) -> &Subscriptions {
        &self.0
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.end();
    }
}
