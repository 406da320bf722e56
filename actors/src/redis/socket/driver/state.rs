use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use ::redis::{PushKind, Value};
use tokio::time::Instant;

use super::expected::{Answer, Expected, Form, Refusal, is_confirmation};
use super::slots::{Left, Slot, Slots};
use super::unsent::Unsent;
use crate::redis::socket::close_reason::CloseReason;
use crate::redis::status::{Cause, Unreadable, has_ended};

/// The requests of one connection: their bytes until the driver takes them, and the callers until they have their
/// replies.
#[derive(Debug)]
pub(crate) struct State {
    /// Whether callers share the connection. Then it must never be inside a transaction.
    is_shared: bool,
    unsent: Unsent,
    slots: Slots,
    /// The requests whose replies are to come, in the order in which they were sent.
    order: VecDeque<usize>,
    /// The earliest of their deadlines, or one before it.
    earliest: Option<Instant>,
    end: Option<Cause>,
    /// The driver, while it is parked.
    parked: Option<Waker>,
}

/// A request that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) key: usize,
    /// The driver was parked, and is to be woken.
    pub(crate) driver: Option<Waker>,
}

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It takes the bytes and writes them.
    Write,
    /// It lets other tasks add theirs first. This is the earliest deadline of those who wait, or one before it.
    Gather(Option<Instant>),
    /// It waits until it is woken, or this deadline of a caller passes.
    Park(Option<Instant>),
}

impl State {
    pub(crate) fn new(is_shared: bool) -> Self {
        Self {
            is_shared,
            unsent: Unsent::default(),
            slots: Slots::default(),
            order: VecDeque::new(),
            earliest: None,
            end: None,
            parked: None,
        }
    }

    /// How many requests wait for replies, or have replies that nobody has taken yet.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.slots.len()
    }

    /// Whether anything was ever asked.
    pub(crate) fn was_asked(&self) -> bool {
        self.unsent.added() > 0
    }

    /// Why a request is refused at present, if it is. One that tests the connection finds more room.
    pub(crate) fn refusal(&self, is_test: bool) -> Option<Refusal> {
        if let Some(cause) = self.end {
            return Some(Refusal::Ended(cause));
        }
        let most = if is_test { MOST_IN_FLIGHT + FOR_TESTS } else { MOST_IN_FLIGHT };
        let is_crowded =
            self.slots.len() >= most || (!is_test && self.unsent.len_bytes() >= MOST_UNSENT_BYTES);
        is_crowded.then_some(Refusal::Crowded)
    }

    /// Accepts a request that is not refused, whose bytes `add` adds.
    pub(crate) fn send(
        &mut self,
        expected: Expected,
        until: Option<Instant>,
        caller: Waker,
        add: impl FnOnce(&mut Unsent),
    ) -> Accepted {
        let begin = self.unsent.added();
        add(&mut self.unsent);
        let key = self.slots.add(Slot::new(expected, until, begin, caller));
        self.order.push_back(key);
        if let Some(until) = until {
            self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
        }
        Accepted { key, driver: self.parked.take() }
    }

    /// The answer to a request, if it is there, else the waker that is no longer to be woken.
    pub(crate) fn poll(&mut self, key: usize, caller: &Waker) -> Result<Answer, Option<Waker>> {
        self.slots.poll(key, caller)
    }

    /// Notes that the caller of a request is gone. Its replies will be thrown away.
    pub(crate) fn abandon(&mut self, key: usize) -> Left {
        self.slots.abandon(key)
    }

    /// Decides what the driver does. `has_gathered`: it has let other tasks add theirs already.
    pub(crate) fn next(&mut self, has_gathered: bool, driver: &Waker) -> Next {
        if self.unsent.is_empty() {
            return Next::Park(self.park(driver));
        }
        // A request that is alone never waits.
        if !has_gathered && self.slots.len() > 1 && !self.unsent.is_enough() {
            return Next::Gather(self.earliest);
        }
        Next::Write
    }

    /// Notes that the driver is parked, and returns the earliest deadline of those who wait, or one before it.
    pub(crate) fn park(&mut self, driver: &Waker) -> Option<Instant> {
        self.parked = Some(driver.clone());
        self.earliest
    }

    /// The bytes to write next. `spare` is an empty buffer.
    pub(crate) fn take_unsent(&mut self, spare: Vec<u8>) -> impl Iterator<Item = Vec<u8>> + use<> {
        self.unsent.take(spare)
    }

    /// Hands a reply to the request that it belongs to, and returns whom to wake.
    ///
    /// # Errors
    /// Why the connection must end now: nobody knows to whom the next reply belongs, or it may be inside a transaction.
    pub(crate) fn replied(
        &mut self,
        reply: Result<Value, Unreadable>,
        left: &mut Vec<Value>,
    ) -> Result<Option<Waker>, (CloseReason, Option<Waker>)> {
        let Some(&key) = self.order.front() else {
            return Err((CloseReason::Protocol, None));
        };
        let slot = self.slots.get_mut(key);
        if slot.expected.form == Form::Confirmations {
            // One error for all topics.
            slot.to_come = 1;
            if !matches!(reply, Ok(Value::ServerError(_))) {
                return Err((CloseReason::Protocol, None));
            }
        }
        left.extend(slot.add(reply));
        if slot.to_come > 0 {
            return Ok(None);
        }
        let is_unfinished =
            self.is_shared && slot.expected.form == Form::Transaction && !has_ended(slot.replies());
        let caller = self.finish_first();
        if is_unfinished { Err((CloseReason::InTransaction, caller)) } else { Ok(caller) }
    }

    /// Notes a push message, and returns whom to wake.
    pub(crate) fn pushed(&mut self, kind: &PushKind) -> Option<Waker> {
        let slot = self.slots.get_mut(*self.order.front()?);
        if slot.expected.form != Form::Confirmations || !is_confirmation(kind) {
            return None;
        }
        slot.add(Ok(Value::Nil));
        if slot.to_come > 0 { None } else { self.finish_first() }
    }

    /// Tells every caller whose time is up, and adds whom to wake. Returns the earliest deadline that is left.
    pub(crate) fn expire(&mut self, now: Instant, wake: &mut Vec<Waker>) -> Option<Instant> {
        let mut earliest = None::<Instant>;
        for &key in &self.order {
            let slot = self.slots.get_mut(key);
            let Some(until) = slot.until.filter(|_| slot.is_waiting()) else { continue };
            if until <= now {
                wake.extend(slot.tell(Answer::TimedOut));
            } else {
                earliest = Some(earliest.map_or(until, |earliest| earliest.min(until)));
            }
        }
        self.earliest = earliest;
        earliest
    }

    /// Accepts no further request. Those that were sent may still be answered.
    pub(crate) fn close(&mut self, cause: Cause) {
        self.end.get_or_insert(cause);
    }

    /// Ends the connection: every request is answered with `cause`, and no further one is accepted. `written` bytes have
    /// been written so far. Returns what to drop after those are woken who were added to `wake`.
    pub(crate) fn end(&mut self, cause: Cause, written: u64, wake: &mut Vec<Waker>) -> Unsent {
        self.end.get_or_insert(cause);
        for key in mem::take(&mut self.order) {
            let slot = self.slots.get_mut(key);
            slot.to_come = 0;
            let was_sent = slot.begin < written;
            if slot.is_waiting() {
                wake.extend(slot.tell(Answer::Lost { cause, was_sent }));
            }
            self.slots.free_if_over(key);
        }
        mem::take(&mut self.unsent)
    }

    fn finish_first(&mut self) -> Option<Waker> {
        let key = self.order.pop_front()?;
        let caller = self.slots.get_mut(key).finish();
        self.slots.free_if_over(key);
        if self.order.is_empty() && self.order.capacity() > KEPT_ORDER {
            // A peak is over.
            self.order = VecDeque::new();
        }
        caller
    }
}

/// A server that keeps up has fewer requests than this to answer at a time.
pub(crate) const MOST_IN_FLIGHT: usize = 16_384;
/// How many requests beyond that may test the connection.
const FOR_TESTS: usize = 1024;
/// Room for so many is kept.
const KEPT_ORDER: usize = 4096;
/// Requests that wait for the driver to take them may have so many bytes, and one request more.
const MOST_UNSENT_BYTES: usize = 64 << 20;
