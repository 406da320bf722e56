//! The one function that sends a request to Redis, over whatever connection.

use std::time::Duration;

use ::redis::{Cmd, Value};
use tokio::time::Instant;

use super::lifecycle::Lifecycle;
use crate::redis::command::{Reply, Request};
use crate::redis::socket::{Answer, Expected, MOST_IN_FLIGHT, Pack, Refusal, Wire};
use crate::redis::status::{Cause, Error, Meaning, Unreadable};

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Exchanged<T> {
    /// The reply arrived. It may hold errors.
    Replied(T, Meaning),
    /// The reply arrived, and cannot be read. The request was executed.
    Unreadable(Unreadable),
    /// It was not sent. Nothing was executed.
    NotSent(Error),
    /// The connection broke. The request may or may not have been executed.
    Lost(Cause),
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
    wire: &Wire,
    request: &R,
    limit: Limit<'_>,
) -> Exchanged<R::Reply> {
    let answer = wire.ask(request, limit.until);
    let answered = match limit.cut {
        None => answer.await,
        Some(lifecycle) => tokio::select! {
            biased;
            answered = answer => answered,
            () = lifecycle.was_cut() => return Exchanged::Cut,
        },
    };
    match answered {
        Ok(Answer::Replied(Ok(replies))) => {
            let reply = R::Reply::from_replies(replies);
            let meaning = request.meaning(&reply);
            Exchanged::Replied(reply, meaning)
        }
        Ok(Answer::Replied(Err(why))) => Exchanged::Unreadable(why),
        Ok(Answer::TimedOut) => Exchanged::TimedOut,
        Ok(Answer::Lost { cause, was_sent: true }) => Exchanged::Lost(cause),
        Ok(Answer::Lost { cause, was_sent: false }) | Err(Refusal::Ended(cause)) => {
            Exchanged::NotSent(Error::unavailable(cause))
        }
        Err(Refusal::Crowded) => Exchanged::NotSent(Error::Crowded { in_flight: MOST_IN_FLIGHT }),
    }
}

/// Sends one `PING`. Every answer means that the server serves, except those that say "not now".
pub(crate) async fn ping(wire: &Wire, limit: Duration) -> Result<(), Cause> {
    ping_within(wire, Limit::until(Instant::now() + limit)).await
}

/// Sends one `PING`, and waits for its answer for as long as the connection lives.
pub(crate) async fn ping_patiently(wire: &Wire) -> Result<(), Cause> {
    ping_within(wire, Limit::NONE).await
}

async fn ping_within(wire: &Wire, limit: Limit<'_>) -> Result<(), Cause> {
    match exchange(wire, &Ping, limit).await {
        Exchanged::Replied(_, meaning) => meaning.objection.map_or(Ok(()), Err),
        failed => failed.into_result().map(drop),
    }
}

/// A `PING`, which tests the connection.
struct Ping;

impl Pack for Ping {
    fn pack(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(PING);
    }

    fn len_bytes(&self) -> usize {
        PING.len()
    }

    fn expected(&self) -> Expected {
        Expected::ONE
    }

    fn is_test(&self) -> bool {
        true
    }
}

impl Request for Ping {
    type Reply = Value;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send {
        std::iter::empty()
    }

    fn may_come_early(&self) -> bool {
        false
    }

    fn meaning(&self, reply: &Value) -> Meaning {
        Meaning::of(reply.values())
    }
}

impl<T: Reply> Exchanged<T> {
    /// The reply, or one cause for all ways to fail.
    pub(super) fn into_result(self) -> Result<T, Cause> {
        match self {
            Self::Replied(reply, _) => Ok(reply),
            Self::Unreadable(_) => Err(Cause::Protocol),
            // There was no room for it, so it has no answer.
            Self::NotSent(error) => Err(error.cause().unwrap_or(Cause::Timeout)),
            Self::Lost(cause) => Err(cause),
            Self::TimedOut | Self::Cut => Err(Cause::Timeout),
        }
    }
}

/// What no answer in time means: where this process itself was late to look, nothing.
pub(crate) fn silence(sent: Instant, limit: Duration) -> Cause {
    if sent.elapsed() > limit + LATE { Cause::HeldUp } else { Cause::Timeout }
}

/// A timer that is looked at later than this shows that this process was held up.
const LATE: Duration = Duration::from_millis(50);
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
