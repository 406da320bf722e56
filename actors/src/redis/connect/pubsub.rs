use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::{Cmd, Msg, PushInfo, PushKind, Value, cmd};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::connector::Connector;
use super::exchange::{Exchanged, Limit, exchange, silence};
use super::handshake::Listener;
use crate::redis::command::{Reply, Request};
use crate::redis::socket::{CloseSignal, Expected, Form, Pack, Progress, Purpose};
use crate::redis::status::{Cause, Error, Meaning, of_server, server_error};

/// Takes a message. It is called in the task that reads the connection, so it must not block.
pub(crate) type Deliver = Arc<dyn Fn(Msg) + Send + Sync>;

/// The two kinds of names that can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TopicKind {
    Channel,
    Pattern,
}

/// A connection that only subscribes. It is closed when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct PubSub {
    connection: Arc<Connection>,
    limit: Duration,
    is_new: Arc<AtomicBool>,
    connector: Arc<Connector>,
    _dropped: Arc<oneshot::Sender<()>>,
}

/// Follows a [`PubSub`] to its end.
pub(crate) struct Incoming {
    closing: Arc<CloseSignal>,
    dropped: oneshot::Receiver<()>,
}

/// A command that begins or ends subscriptions. Each of its topics is confirmed by a push message.
struct Change {
    command: Cmd,
    topics: usize,
}

/// Why a subscription was not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The connection is lost.
    Lost(Cause),
    /// The server answered with an error, and nothing has changed.
    Refused(Error),
}

impl PubSub {
    pub(crate) async fn connect(
        connector: &Arc<Connector>,
        deliver: Deliver,
    ) -> Result<(Self, Incoming), Cause> {
        connector.wait_pace().await?;
        let permit = connector.permit(Purpose::Subscription).await?;
        let listener: Listener = Arc::new(move |push: PushInfo| {
            if matches!(push.kind, PushKind::Message | PushKind::PMessage)
                && let Some(message) = Msg::from_push_info(push)
            {
                deliver(message);
            }
        });
        let (purpose, progress) = (Purpose::Subscription, Progress::default());
        let handshake = connector.handshake();
        let opening = handshake.connection(purpose, permit, Some(listener), &progress);
        let connection = connector.once(purpose, &progress, opening).await?;
        let (drops, dropped) = oneshot::channel();
        let closing = Arc::clone(&connection.closing);
        let pubsub = Self {
            connection: Arc::new(connection),
            limit: connector.config().command_timeout,
            is_new: Arc::new(AtomicBool::new(true)),
            connector: Arc::clone(connector),
            _dropped: Arc::new(drops),
        };
        Ok((pubsub, Incoming { closing, dropped }))
    }

    /// Subscribes to `names`. Returns when the server has confirmed each of them, or refused all.
    pub(crate) async fn subscribe(
        &self,
        kind: TopicKind,
        names: &[Arc<str>],
    ) -> Result<(), Failed> {
        let verb = match kind {
            TopicKind::Channel => "SUBSCRIBE",
            TopicKind::Pattern => "PSUBSCRIBE",
        };
        self.change(verb, names).await
    }

    /// Unsubscribes from `names`. Returns when the server has confirmed each of them, or refused all.
    pub(crate) async fn unsubscribe(
        &self,
        kind: TopicKind,
        names: &[Arc<str>],
    ) -> Result<(), Failed> {
        let verb = match kind {
            TopicKind::Channel => "UNSUBSCRIBE",
            TopicKind::Pattern => "PUNSUBSCRIBE",
        };
        self.change(verb, names).await
    }

    async fn change(&self, verb: &str, names: &[Arc<str>]) -> Result<(), Failed> {
        if names.is_empty() {
            // The server would take it for all of them.
            return Ok(());
        }
        let mut command = cmd(verb);
        for name in names {
            command.arg(&**name);
        }
        self.answered(&Change { command, topics: names.len() }).await
    }

    /// Sends a `PING` and waits for its answer.
    pub(crate) async fn ping(&self) -> Result<(), Failed> {
        self.answered(&cmd("PING")).await
    }

    /// Waits for an answer, beyond the limit while anything arrives, since messages that were published earlier arrive
    /// before it, and where this process was too late to look.
    async fn answered<R: Request>(&self, request: &R) -> Result<(), Failed> {
        let wire = &self.connection.wire;
        let mut answer = std::pin::pin!(exchange(wire, request, Limit::NONE));
        for _ in 0..LATE_ANSWERS {
            let (begun, heard) = (Instant::now(), wire.heard());
            let Ok(answered) = timeout(self.limit, &mut answer).await else {
                if wire.heard() == heard && silence(begun, self.limit) == Cause::Timeout {
                    break;
                }
                continue;
            };
            let answered = Failed::of(answered);
            let serves = !matches!(answered, Err(Failed::Lost(_)));
            if serves && self.is_new.swap(false, Ordering::Relaxed) {
                self.connector.backoff().probe_answered();
            }
            return answered;
        }
        Err(Failed::Lost(Cause::Timeout))
    }
}

impl Incoming {
    /// Follows the connection until the server closes it, or the [`PubSub`] is dropped.
    pub(crate) async fn follow(self) {
        tokio::select! {
            _ = self.dropped => {}
            _ = self.closing.fired() => {}
        }
    }
}

impl Failed {
    fn of<T: Reply>(exchanged: Exchanged<T>) -> Result<(), Self> {
        let reply = exchanged.into_result().map_err(Self::Lost)?;
        let Some(error) = reply.values().find_map(server_error) else { return Ok(()) };
        Err(match of_server(error) {
            error @ Error::Server { .. } => Self::Refused(error),
            error => Self::Lost(error.cause().unwrap_or(Cause::Protocol)),
        })
    }
}

impl Pack for Change {
    fn pack(&self, buffer: &mut Vec<u8>) {
        self.command.pack(buffer);
    }

    fn len_bytes(&self) -> usize {
        self.command.len_bytes()
    }

    fn expected(&self) -> Expected {
        Expected { replies: self.topics, form: Form::Confirmations }
    }
}

impl Request for Change {
    type Reply = Vec<Value>;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send {
        std::iter::once(&self.command)
    }

    fn may_come_early(&self) -> bool {
        false
    }

    fn meaning(&self, replies: &Vec<Value>) -> Meaning {
        Meaning::of(replies.iter())
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// How many times in a row a late answer is waited for while something arrives.
const LATE_ANSWERS: u32 = 10;
