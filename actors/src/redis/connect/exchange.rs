//! The one function that sends a request to Redis, over whatever connection.

use std::pin::{Pin, pin};
use std::time::Duration;

use ::redis::{RedisError, RedisResult};
use futures_util::FutureExt;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::lifecycle::Lifecycle;
use crate::redis::command::{Reply, Request};
use crate::redis::socket::Wire;
use crate::redis::status::{Cause, Error, Meaning, cause_of, is_unsent};

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Exchanged<T> {
    /// The reply arrived. It may hold errors.
    Replied(T, Meaning),
    /// The redis crate refused to send it. Nothing was executed.
    NotSent(RedisError),
    /// The connection broke. The request may or may not have been executed.
    Lost(RedisError),
    /// No reply came in time. The request may or may not have been executed.
    TimedOut,
    /// The generation was cut. The request may or may not have been executed.
    Cut,
}

/// What ends the wait for a reply.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    /// `None` waits for as long as the connection lives.
    pub(crate) until: Option<Instant>,
    /// The generation whose cut ends the wait. Set only for commands that block: any other ends soon by itself.
    pub(crate) cut: Option<&'a Lifecycle>,
}

impl Limit<'_> {
    /// No limit, for a handshake, which is limited as a whole.
    pub(super) const NONE: Self = Self { until: None, cut: None };

    pub(crate) fn until(moment: Instant) -> Self {
        Self { until: Some(moment), cut: None }
    }
}

/// Sends `request` and waits for its reply.
///
/// When dropped, the connection still reads the reply and throws it away; the request may or may not be executed.
pub(crate) async fn exchange<R: Request>(
    wire: &mut Wire,
    request: &R,
    limit: Limit<'_>,
) -> Exchanged<R::Reply> {
    let (connection, _in_flight) = wire.begin();
    let mut reply = pin!(request.send(connection));
    match limit {
        Limit { until: Some(until), cut: None } => match timeout_at(until, &mut reply).await {
            Ok(reply) => Exchanged::of(request, reply),
            Err(_) => {
                late(reply).await.map_or(Exchanged::TimedOut, |reply| Exchanged::of(request, reply))
            }
        },
        Limit { until: None, cut: None } => Exchanged::of(request, reply.await),
        Limit { until, cut: Some(lifecycle) } => tokio::select! {
            biased;
            reply = &mut reply => Exchanged::of(request, reply),
            () = reached(until) => Exchanged::TimedOut,
            () = lifecycle.was_cut() => Exchanged::Cut,
        },
    }
}

/// Sends one `PING`. Every answer means that the server serves, except those that say "not now".
pub(crate) async fn ping(wire: &mut Wire, limit: Duration) -> Result<(), Cause> {
    ping_within(wire, Limit::until(Instant::now() + limit)).await
}

/// Sends one `PING`, and waits for its answer for as long as the connection lives.
pub(crate) async fn ping_patiently(wire: &mut Wire) -> Result<(), Cause> {
    ping_within(wire, Limit::NONE).await
}

async fn ping_within(wire: &mut Wire, limit: Limit<'_>) -> Result<(), Cause> {
    match exchange(wire, &::redis::cmd("PING"), limit).await {
        Exchanged::Replied(_, meaning) => meaning.objection.map_or(Ok(()), Err),
        failed => failed.into_result().map(drop).map_err(|error| cause_of(&error)),
    }
}

impl<T: Reply> Exchanged<T> {
    fn of<R: Request<Reply = T>>(request: &R, reply: RedisResult<T>) -> Self {
        match reply {
            Ok(reply) => {
                let meaning = request.meaning(&reply);
                Self::Replied(reply, meaning)
            }
            Err(error) if is_unsent(&error) => Self::NotSent(error),
            Err(error) => Self::Lost(error),
        }
    }

    /// The reply, or one error for all ways to fail.
    pub(super) fn into_result(self) -> RedisResult<T> {
        match self {
            Self::Replied(reply, _) => Ok(reply),
            Self::NotSent(error) | Self::Lost(error) => Err(error),
            Self::TimedOut | Self::Cut => Err(Error::unavailable(Cause::Timeout).into()),
        }
    }
}

/// What no answer in time means: where this process itself was late to look, nothing.
pub(crate) fn silence(sent: Instant, limit: Duration) -> Cause {
    if sent.elapsed() > limit + LATE { Cause::HeldUp } else { Cause::Timeout }
}

/// A reply that has arrived, but has not been read yet because this process was held up.
async fn late<F: Future>(mut reply: Pin<&mut F>) -> Option<F::Output> {
    for _ in 0..LOOKS {
        yield_now().await;
        if let Some(reply) = reply.as_mut().now_or_never() {
            return Some(reply);
        }
    }
    None
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A timer that is looked at later than this shows that this process was held up.
const LATE: Duration = Duration::from_millis(50);
/// One for the socket to be read, one for the reply to be handed over, and one to spare.
const LOOKS: usize = 3;
