use std::mem;

use ::redis::{PushKind, Value};

use crate::redis::status::{Cause, Unreadable};

/// A request as the bytes that ask and the replies that answer.
pub(crate) trait Pack: Sync {
    /// Appends its bytes to `buffer`. Runs no code of users.
    fn pack(&self, buffer: &mut Vec<u8>);

    /// The size of its arguments, which is nearly that of its bytes.
    fn len_bytes(&self) -> usize;

    fn expected(&self) -> Expected;

    /// Whether it tests the connection. Then it is taken even where callers are refused.
    fn is_test(&self) -> bool {
        false
    }
}

/// What the server answers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    /// How many replies.
    pub(crate) replies: usize,
    pub(crate) form: Form,
}

/// The form of the replies to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A reply to each command, whatever it says.
    Each,
    /// Those to `MULTI`, its commands and `EXEC`, after which the connection is outside of a transaction.
    Transaction,
    /// A confirmation of each topic, as a push message, or one error for all.
    Confirmations,
}

/// The replies to a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Replies {
    One(Value),
    Each(Vec<Value>),
}

/// What became of a request that was accepted.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// The server has answered. A reply that cannot be read says that it has.
    Replied(Result<Replies, Unreadable>),
    /// Not in time. The replies may still come.
    TimedOut,
    /// The connection ended first.
    Lost {
        cause: Cause,
        /// Whether any byte of the request was written.
        was_sent: bool,
    },
}

/// Why a request was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The connection has ended.
    Ended(Cause),
    /// So many requests or bytes are waiting that no more are taken.
    Crowded,
}

impl Expected {
    pub(crate) const ONE: Self = Self { replies: 1, form: Form::Each };
}

impl Replies {
    pub(super) fn to(expected: Expected) -> Self {
        match expected.replies {
            1 => Self::One(Value::Nil),
            count => Self::Each(Vec::with_capacity(count.min(RESERVED))),
        }
    }

    pub(super) fn push(&mut self, value: Value) {
        match self {
            Self::One(one) => *one = value,
            Self::Each(values) => values.push(value),
        }
    }

    pub(super) fn take(&mut self) -> Self {
        mem::replace(self, Self::One(Value::Nil))
    }

    /// The reply to one command.
    pub(crate) fn into_one(self) -> Value {
        match self {
            Self::One(value) => value,
            Self::Each(mut values) => values.pop().unwrap_or_default(),
        }
    }

    /// The replies to several.
    pub(crate) fn into_each(self) -> Vec<Value> {
        match self {
            Self::One(value) => vec![value],
            Self::Each(values) => values,
        }
    }

    pub(super) fn as_slice(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }
}

/// Whether a push message confirms that a subscription has begun or ended.
pub(super) fn is_confirmation(kind: &PushKind) -> bool {
    matches!(
        kind,
        PushKind::Subscribe | PushKind::PSubscribe | PushKind::Unsubscribe | PushKind::PUnsubscribe
    )
}

/// Room for so many replies is made in advance.
const RESERVED: usize = 1024;
