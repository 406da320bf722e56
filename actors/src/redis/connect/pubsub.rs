use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::redis::aio::{PubSubSink, PubSubStream};
use ::redis::{Msg, PushKind, RedisConnectionInfo, RedisError, Value, cmd};
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::connector::Connector;
use super::exchange::{Limit, exchange, silence};
use super::handshake::{Handshake, in_resp3};
use crate::redis::socket::{CloseSignal, OpenCount, Permit, Purpose, Pushed, Wire};
use crate::redis::status::{Cause, Error, cause_of_handshake};

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
    answers: Answers,
    limit: Duration,
    /// Bytes that have arrived.
    heard: Arc<AtomicU64>,
    is_new: Arc<AtomicBool>,
    connector: Arc<Connector>,
    _dropped: Arc<oneshot::Sender<()>>,
    _open: Arc<OpenCount>,
}

/// The other half of a [`PubSub`]: the messages.
pub(crate) struct Incoming {
    source: Source,
    dropped: oneshot::Receiver<()>,
}

/// Why a subscription was not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The connection is lost.
    Lost(Cause),
    /// The server answered with an error, and nothing has changed.
    Refused(Error),
}

#[derive(Clone)]
enum Answers {
    Resp3(Wire),
    Resp2(PubSubSink),
}

enum Source {
    /// The task that reads the connection delivers.
    Resp3(Arc<CloseSignal>),
    /// The connection is read into a queue without a bound, so this must be emptied all the time.
    Resp2 { stream: PubSubStream, deliver: Deliver },
}

impl PubSub {
    pub(crate) async fn connect(
        connector: &Arc<Connector>,
        deliver: Deliver,
    ) -> Result<(Self, Incoming), Cause> {
        connector.wait_pace().await?;
        let permit = connector.permit(Purpose::Subscription).await?;
        let opening = open(connector.handshake(), permit, deliver);
        let (answers, source, heard) = connector.once(Purpose::Subscription, opening).await?;
        let (drops, dropped) = oneshot::channel();
        let pubsub = Self {
            answers,
            limit: connector.config().command_timeout,
            heard,
            is_new: Arc::new(AtomicBool::new(true)),
            connector: Arc::clone(connector),
            _dropped: Arc::new(drops),
            _open: Arc::new(connector.budget().of(Purpose::Subscription).count()),
        };
        Ok((pubsub, Incoming { source, dropped }))
    }

    /// Subscribes to `names`. Returns when the server has confirmed each of them, or refused all.
    pub(crate) async fn subscribe(
        &self,
        kind: TopicKind,
        names: &[Arc<str>],
    ) -> Result<(), Failed> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        self.answered(async {
            match (self.answers.clone(), kind) {
                (Answers::Resp3(wire), TopicKind::Channel) => wire.mux().subscribe(names).await,
                (Answers::Resp3(wire), TopicKind::Pattern) => wire.mux().psubscribe(names).await,
                (Answers::Resp2(mut sink), TopicKind::Channel) => sink.subscribe(names).await,
                (Answers::Resp2(mut sink), TopicKind::Pattern) => sink.psubscribe(names).await,
            }
        })
        .await
    }

    /// Unsubscribes from `names`. Returns when the server has confirmed each of them, or refused all.
    pub(crate) async fn unsubscribe(
        &self,
        kind: TopicKind,
        names: &[Arc<str>],
    ) -> Result<(), Failed> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        self.answered(async {
            match (self.answers.clone(), kind) {
                (Answers::Resp3(wire), TopicKind::Channel) => wire.mux().unsubscribe(names).await,
                (Answers::Resp3(wire), TopicKind::Pattern) => wire.mux().punsubscribe(names).await,
                (Answers::Resp2(mut sink), TopicKind::Channel) => sink.unsubscribe(names).await,
                (Answers::Resp2(mut sink), TopicKind::Pattern) => sink.punsubscribe(names).await,
            }
        })
        .await
    }

    /// Sends a `PING` and waits for its answer.
    pub(crate) async fn ping(&self) -> Result<(), Failed> {
        self.answered(async {
            match self.answers.clone() {
                Answers::Resp3(mut wire) => {
                    exchange(&mut wire, &cmd("PING"), Limit::NONE).await.into_result()
                }
                Answers::Resp2(mut sink) => sink.ping::<Value>().await,
            }
            .and_then(Value::extract_error)
            .map(drop)
        })
        .await
    }

    /// Waits for an answer, beyond the limit while anything arrives, since messages that were published earlier arrive
    /// before it, and where this process was too late to look.
    async fn answered(
        &self,
        answer: impl Future<Output = Result<(), RedisError>>,
    ) -> Result<(), Failed> {
        let mut answer = std::pin::pin!(answer);
        for _ in 0..LATE_ANSWERS {
            let (begun, heard) = (Instant::now(), self.heard.load(Ordering::Relaxed));
            let Ok(answered) = timeout(self.limit, &mut answer).await else {
                let is_silent = self.heard.load(Ordering::Relaxed) == heard;
                if is_silent && silence(begun, self.limit) == Cause::Timeout {
                    break;
                }
                continue;
            };
            let answered = answered.map_err(|error| Failed::of(&error));
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
        let lost = async {
            match self.source {
                Source::Resp3(closing) => drop(closing.fired().await),
                Source::Resp2 { stream, deliver } => {
                    let delivered = stream.for_each(|message| {
                        deliver(message);
                        std::future::ready(())
                    });
                    delivered.await;
                }
            }
        };
        tokio::select! {
            _ = self.dropped => {}
            () = lost => {}
        }
    }
}

impl Failed {
    fn of(error: &RedisError) -> Self {
        match Error::from(error.clone()) {
            error @ Error::Server { .. } => Self::Refused(error),
            error => Self::Lost(error.cause().unwrap_or(Cause::Protocol)),
        }
    }
}

/// Opens a connection for subscriptions. On RESP3 it is like any other. On RESP2 a connection that has subscribed
/// speaks differently; the redis crate has a type of its own for it, which cannot send CLIENT SETNAME.
async fn open(
    handshake: &Handshake,
    mut permit: Permit,
    deliver: Deliver,
) -> Result<(Answers, Source, Arc<AtomicU64>), Cause> {
    let login = handshake.login().await?;
    if !handshake.speaks_resp2() {
        let closing = Arc::new(CloseSignal::default());
        let opened = open_resp3(handshake, permit, &login, &deliver, &closing).await;
        if !handshake.falls_back(&opened) {
            let (mut wire, heard) = opened.map_err(|error| cause_of_handshake(&error))?;
            handshake.name(&mut wire, Purpose::Subscription).await?;
            return Ok((Answers::Resp3(wire), Source::Resp3(closing), heard));
        }
        permit = handshake.budget().of(Purpose::Subscription).take().await;
    }
    let opened = async {
        let socket = handshake.socket(permit).await?;
        let heard = socket.heard();
        Ok((::redis::aio::PubSub::new(&login, socket).await?, heard))
    };
    let opened = opened.await;
    let (pubsub, heard) = opened.map_err(|error: RedisError| cause_of_handshake(&error))?;
    let (sink, stream) = pubsub.split();
    Ok((Answers::Resp2(sink), Source::Resp2 { stream, deliver }, heard))
}

async fn open_resp3(
    handshake: &Handshake,
    permit: Permit,
    login: &RedisConnectionInfo,
    deliver: &Deliver,
    closing: &Arc<CloseSignal>,
) -> Result<(Wire, Arc<AtomicU64>), RedisError> {
    let deliver = Arc::clone(deliver);
    let pushed: Pushed = Box::new(move |push| {
        if matches!(push.kind, PushKind::Message | PushKind::PMessage)
            && let Some(message) = Msg::from_push_info(push)
        {
            deliver(message);
        }
    });
    let socket = handshake.socket(permit).await?;
    let heard = socket.heard();
    Ok((Wire::open(socket, &in_resp3(login), false, Some(pushed), closing).await?, heard))
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// How many times in a row a late answer is waited for while something arrives.
const LATE_ANSWERS: u32 = 10;
