use std::mem;
use std::task::Waker;

use ::redis::Value;
use tokio::time::Instant;

use super::expected::{Answer, Expected, Form, Replies};
use crate::redis::status::Unreadable;

/// The requests of a connection: those whose replies are to come, and those whose callers have not yet taken them.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Slot {
    caller: Caller,
    pub(super) expected: Expected,
    /// How many replies are still to come.
    pub(super) to_come: usize,
    replies: Replies,
    unreadable: Option<Unreadable>,
    pub(super) until: Option<Instant>,
    /// Which byte of all that were ever added is its first.
    pub(super) begin: u64,
}

/// What a caller leaves behind. It is dropped after the lock is released: dropping a waker may run code of others.
#[derive(Debug)]
pub(crate) struct Left {
    _caller: Caller,
    _replies: Option<Replies>,
}

/// Who waits for the replies to a request.
#[derive(Debug)]
enum Caller {
    /// Leaves to `Told` with the answer, to `Gone` if it is dropped.
    Waiting(Waker),
    /// Leaves to `Gone` when the caller has taken the answer, or is dropped.
    Told(Answer),
    /// The slot is free as soon as no reply is to come.
    Gone,
}

impl Slots {
    /// How many requests there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn add(&mut self, slot: Slot) -> usize {
        if let Some(key) = self.free.pop() {
            self.slots[key] = slot;
            return key;
        }
        self.slots.push(slot);
        self.slots.len() - 1
    }

    pub(super) fn get_mut(&mut self, key: usize) -> &mut Slot {
        &mut self.slots[key]
    }

    /// The answer, if it is there, else the waker that was to be woken before this call. After the answer the caller
    /// must not ask again.
    pub(super) fn poll(&mut self, key: usize, waker: &Waker) -> Result<Answer, Option<Waker>> {
        let slot = &mut self.slots[key];
        if let Caller::Waiting(before) = &mut slot.caller {
            let is_same = before.will_wake(waker);
            return Err((!is_same).then(|| mem::replace(before, waker.clone())));
        }
        let Caller::Told(answer) = mem::replace(&mut slot.caller, Caller::Gone) else {
            unreachable!("a caller takes its answer once")
        };
        self.free_if_over(key);
        Ok(answer)
    }

    /// Notes that the caller is gone. Returns what it leaves behind.
    pub(super) fn abandon(&mut self, key: usize) -> Left {
        let slot = &mut self.slots[key];
        let caller = mem::replace(&mut slot.caller, Caller::Gone);
        let replies = (!slot.needs_replies()).then(|| slot.replies.take());
        self.free_if_over(key);
        Left { _caller: caller, _replies: replies }
    }

    /// Frees a slot whose last reply has come, if its caller is gone.
    pub(super) fn free_if_over(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if slot.to_come > 0 || !matches!(slot.caller, Caller::Gone) {
            return;
        }
        self.free.push(key);
        if self.free.len() == self.slots.len() && self.slots.len() > KEPT_SLOTS {
            // A peak is over.
            *self = Self::default();
        }
    }
}

impl Slot {
    pub(super) fn new(
        expected: Expected,
        until: Option<Instant>,
        begin: u64,
        caller: Waker,
    ) -> Self {
        Self {
            caller: Caller::Waiting(caller),
            expected,
            to_come: expected.replies,
            replies: Replies::to(expected),
            unreadable: None,
            until,
            begin,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.caller, Caller::Waiting(_))
    }

    /// Adds a reply. Returns it if nobody will read it.
    pub(super) fn add(&mut self, reply: Result<Value, Unreadable>) -> Option<Value> {
        self.to_come = self.to_come.saturating_sub(1);
        let value = reply.unwrap_or_else(|why| {
            self.unreadable.get_or_insert(why);
            Value::Nil
        });
        if !self.needs_replies() {
            return Some(value);
        }
        self.replies.push(value);
        None
    }

    /// The replies so far.
    pub(super) fn replies(&self) -> &[Value] {
        self.replies.as_slice()
    }

    /// Gives the caller its replies.
    pub(super) fn finish(&mut self) -> Option<Waker> {
        let replies = self.replies.take();
        let answer = self.unreadable.take().map_or(Ok(replies), Err);
        self.tell(Answer::Replied(answer))
    }

    /// Tells the caller what became of its request, and returns whom to wake.
    pub(super) fn tell(&mut self, answer: Answer) -> Option<Waker> {
        match &mut self.caller {
            Caller::Gone => None,
            // It has not looked yet, so it may as well have the replies.
            Caller::Told(told) => {
                *told = answer;
                None
            }
            Caller::Waiting(_) => match mem::replace(&mut self.caller, Caller::Told(answer)) {
                Caller::Waiting(waker) => Some(waker),
                Caller::Told(_) | Caller::Gone => None,
            },
        }
    }

    /// Whether anyone looks at the replies. Those to a transaction tell how it ended, whoever began it.
    fn needs_replies(&self) -> bool {
        !matches!(self.caller, Caller::Gone) || self.expected.form == Form::Transaction
    }
}

/// More slots than these are given back when none is in use.
const KEPT_SLOTS: usize = 1024;
