use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use ::redis::{PushKind, Value};
use proptest::prelude::*;
use tokio::time::Instant;

use super::expected::{Answer, Expected, Form, Refusal, Replies};
use super::outgoing::Outgoing;
use super::state::{Accepted, MOST_IN_FLIGHT, Next, State};
use crate::redis::socket::CloseReason;
use crate::redis::status::{Cause, Unreadable};

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn each(replies: usize) -> Expected {
    Expected { replies, form: Form::Each }
}

fn send(state: &mut State, expected: Expected) -> usize {
    send_until(state, expected, None)
}

fn send_until(state: &mut State, expected: Expected, until: Option<Instant>) -> usize {
    let accepted = state.send(expected, until, Waker::noop().clone(), |unsent| {
        unsent.add(|buffer| buffer.extend_from_slice(b"PING\r\n"));
    });
    accepted.key
}

fn reply(state: &mut State, value: Value) -> Result<(), CloseReason> {
    state.replied(Ok(value), &mut Vec::new()).map(drop).map_err(|(reason, _)| reason)
}

fn answer(state: &mut State, key: usize) -> Option<Answer> {
    state.poll(key, Waker::noop()).ok()
}

fn one(value: Value) -> Answer {
    Answer::Replied(Ok(Replies::One(value)))
}

fn taken(state: &mut State) -> Vec<u8> {
    state.take_unsent(Vec::new()).flatten().collect()
}

#[test]
fn replies_go_to_callers_in_the_order_of_sending() {
    let mut state = State::new(true);
    let (first, second) = (send(&mut state, each(1)), send(&mut state, each(2)));
    reply(&mut state, Value::Int(1)).unwrap();
    assert_eq!(answer(&mut state, second), None);
    reply(&mut state, Value::Int(2)).unwrap();
    reply(&mut state, Value::Int(3)).unwrap();
    let both = Replies::Each(vec![Value::Int(2), Value::Int(3)]);
    assert_eq!(answer(&mut state, second), Some(Answer::Replied(Ok(both))));
    assert_eq!(answer(&mut state, first), Some(one(Value::Int(1))));
}

#[test]
fn a_reply_that_nobody_asked_for_ends_the_connection() {
    let mut state = State::new(true);
    let key = send(&mut state, each(1));
    reply(&mut state, Value::Okay).unwrap();
    assert_eq!(reply(&mut state, Value::Okay), Err(CloseReason::Protocol));
    assert_eq!(answer(&mut state, key), Some(one(Value::Okay)));
}

#[test]
fn an_abandoned_request_takes_its_own_replies_with_it() {
    let mut state = State::new(true);
    let (gone, next) = (send(&mut state, each(2)), send(&mut state, each(1)));
    drop(state.abandon(gone));
    let other = send(&mut state, each(1));
    assert_ne!(other, gone, "its replies are still to come");
    for number in 1..=3 {
        reply(&mut state, Value::Int(number)).unwrap();
    }
    assert_eq!(answer(&mut state, next), Some(one(Value::Int(3))));
    assert_eq!(answer(&mut state, other), None);
}

#[test]
fn a_reply_after_its_time_belongs_to_nobody_else() {
    let now = Instant::now();
    let mut state = State::new(true);
    let late = send_until(&mut state, each(1), Some(now));
    let next = send_until(&mut state, each(1), Some(now + Duration::from_secs(1)));
    let earliest = state.expire(now, &mut Vec::new());
    assert_eq!(earliest, Some(now + Duration::from_secs(1)));
    assert_eq!(answer(&mut state, late), Some(Answer::TimedOut));
    reply(&mut state, Value::Int(1)).unwrap();
    assert_eq!(answer(&mut state, next), None);
    reply(&mut state, Value::Int(2)).unwrap();
    assert_eq!(answer(&mut state, next), Some(one(Value::Int(2))));
}

#[test]
fn a_caller_that_has_not_looked_yet_gets_a_late_reply() {
    let now = Instant::now();
    let mut state = State::new(true);
    let late = send_until(&mut state, each(1), Some(now));
    state.expire(now, &mut Vec::new());
    reply(&mut state, Value::Okay).unwrap();
    assert_eq!(answer(&mut state, late), Some(one(Value::Okay)));
}

#[test]
fn the_end_tells_whether_a_request_was_sent() {
    let mut state = State::new(true);
    let sent = send(&mut state, each(1));
    let written = u64::try_from(taken(&mut state).len()).unwrap();
    let unsent = send(&mut state, each(1));
    state.end(Cause::Closed, written, &mut Vec::new());
    let lost = |was_sent| Some(Answer::Lost { cause: Cause::Closed, was_sent });
    assert_eq!(answer(&mut state, sent), lost(true));
    assert_eq!(answer(&mut state, unsent), lost(false));
    assert_eq!(state.refusal(false), Some(Refusal::Ended(Cause::Closed)));
    assert_eq!(state.refusal(true), Some(Refusal::Ended(Cause::Closed)));
}

#[test]
fn replies_that_have_arrived_survive_the_end() {
    let mut state = State::new(true);
    let key = send(&mut state, each(1));
    reply(&mut state, Value::Okay).unwrap();
    state.end(Cause::Closed, 100, &mut Vec::new());
    assert_eq!(answer(&mut state, key), Some(one(Value::Okay)));
}

#[test]
fn an_unreadable_reply_is_an_answer_to_its_caller_alone() {
    let mut state = State::new(true);
    let (pipeline, next) = (send(&mut state, each(2)), send(&mut state, each(1)));
    reply(&mut state, Value::Okay).unwrap();
    state.replied(Err(Unreadable::TooDeep), &mut Vec::new()).unwrap();
    reply(&mut state, Value::Okay).unwrap();
    assert_eq!(answer(&mut state, pipeline), Some(Answer::Replied(Err(Unreadable::TooDeep))));
    assert_eq!(answer(&mut state, next), Some(one(Value::Okay)));
}

#[test]
fn a_shared_connection_ends_with_a_transaction_that_has_not() {
    let transaction = Expected { replies: 3, form: Form::Transaction };
    let unfinished = [Value::Okay, Value::SimpleString("QUEUED".into()), Value::Okay];
    for (is_shared, is_abandoned) in [(true, false), (true, true), (false, false)] {
        let mut state = State::new(is_shared);
        let key = send(&mut state, transaction);
        if is_abandoned {
            drop(state.abandon(key));
        }
        let [begin, queued, end] = unfinished.clone();
        reply(&mut state, begin).unwrap();
        reply(&mut state, queued).unwrap();
        let ended = reply(&mut state, end);
        assert_eq!(ended.is_err(), is_shared, "abandoned: {is_abandoned}");
    }
    let mut state = State::new(true);
    let key = send(&mut state, transaction);
    reply(&mut state, Value::Okay).unwrap();
    reply(&mut state, Value::SimpleString("QUEUED".into())).unwrap();
    reply(&mut state, Value::Array(vec![Value::Int(1)])).unwrap();
    assert!(answer(&mut state, key).is_some());
}

#[test]
fn a_subscription_is_confirmed_once_for_each_topic_or_refused_once() {
    let two = Expected { replies: 2, form: Form::Confirmations };
    let mut state = State::new(false);
    let key = send(&mut state, two);
    state.pushed(&PushKind::Message);
    state.pushed(&PushKind::SUnsubscribe);
    state.pushed(&PushKind::Subscribe);
    assert_eq!(answer(&mut state, key), None);
    state.pushed(&PushKind::Subscribe);
    let confirmed = Replies::Each(vec![Value::Nil; 2]);
    assert_eq!(answer(&mut state, key), Some(Answer::Replied(Ok(confirmed))));

    let refused = ::redis::parse_redis_value(b"-NOPERM no channel\r\n").unwrap();
    let (key, ping) = (send(&mut state, two), send(&mut state, each(1)));
    reply(&mut state, refused.clone()).unwrap();
    reply(&mut state, Value::Okay).unwrap();
    let refused = Replies::Each(vec![refused]);
    assert_eq!(answer(&mut state, key), Some(Answer::Replied(Ok(refused))));
    assert_eq!(answer(&mut state, ping), Some(one(Value::Okay)));
}

#[test]
fn at_its_bounds_it_refuses_all_but_tests_of_the_connection() {
    let mut state = State::new(true);
    for _ in 0..MOST_IN_FLIGHT {
        send(&mut state, each(1));
    }
    assert_eq!(state.refusal(false), Some(Refusal::Crowded));
    assert_eq!(state.refusal(true), None, "the connection can still be tested");
    let key = send(&mut state, each(1));
    for _ in 0..=MOST_IN_FLIGHT {
        reply(&mut state, Value::Okay).unwrap();
    }
    assert_eq!(answer(&mut state, key), Some(one(Value::Okay)));

    let mut state = State::new(true);
    state.send(each(1), None, Waker::noop().clone(), |unsent| {
        unsent.add_chunk(vec![0; 64 << 20]);
    });
    assert_eq!(state.refusal(false), Some(Refusal::Crowded));
    assert_eq!(state.refusal(true), None);
    taken(&mut state);
    assert_eq!(state.refusal(false), None);
}

#[test]
fn what_cannot_be_packed_leaves_nothing_behind() {
    let mut state = State::new(true);
    send(&mut state, each(1));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        state.send(each(1), None, Waker::noop().clone(), |unsent| {
            unsent.add(|buffer| {
                buffer.extend_from_slice(b"half a comm");
                panic!("on purpose");
            });
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(taken(&mut state), b"PING\r\n");
    reply(&mut state, Value::Okay).unwrap();
    assert_eq!(reply(&mut state, Value::Okay), Err(CloseReason::Protocol), "one was sent");
}

#[test]
fn large_requests_keep_their_place_among_small_ones() {
    let mut state = State::new(true);
    let mut add = |bytes: &'static [u8], is_large: bool| {
        state.send(each(1), None, Waker::noop().clone(), |unsent| {
            if is_large {
                unsent.add_chunk(bytes.to_vec());
            } else {
                unsent.add(|buffer| buffer.extend_from_slice(bytes));
            }
        });
    };
    add(b"a", false);
    add(b"b", true);
    add(b"c", true);
    add(b"d", false);
    add(b"e", false);
    assert_eq!(taken(&mut state), b"abcde");
}

#[test]
fn the_driver_is_woken_once_and_gathers_for_those_who_are_not_alone() {
    let driver = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&driver));
    let mut state = State::new(true);
    assert_eq!(state.next(false, &waker), Next::Park(None));
    let sent = |state: &mut State| {
        let accepted = state.send(each(1), None, Waker::noop().clone(), |unsent| {
            unsent.add(|buffer| buffer.push(b'x'));
        });
        let Accepted { driver, .. } = accepted;
        driver.map(Waker::wake).is_some()
    };
    assert!(sent(&mut state));
    assert_eq!(state.next(false, &waker), Next::Write, "a request that is alone never waits");
    assert!(!sent(&mut state), "it is awake");
    assert_eq!(state.next(false, &waker), Next::Gather(None));
    assert_eq!(state.next(true, &waker), Next::Write);
    taken(&mut state);
    assert_eq!(state.next(false, &waker), Next::Park(None));
    assert_eq!(driver.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_peak_of_a_million_bytes_is_given_back() {
    let mut state = State::new(true);
    let mut outgoing = Outgoing::new();
    let mut sink = tokio::io::sink();
    let rounds = [1_000_000, 100, 100];
    let mut room_bytes = Vec::new();
    for len_bytes in rounds {
        for _ in 0..len_bytes / 50 {
            let key = state
                .send(each(1), None, Waker::noop().clone(), |unsent| {
                    unsent.add(|buffer| buffer.extend_from_slice(&[b'x'; 50]));
                })
                .key;
            drop(state.abandon(key));
        }
        let chunks = state.take_unsent(outgoing.take_spare());
        outgoing.add(chunks);
        std::future::poll_fn(|cx| outgoing.poll_write(&mut sink, cx)).await.unwrap();
        while reply(&mut state, Value::Okay).is_ok() {}
        room_bytes.push(outgoing.take_spare().capacity());
    }
    assert!(room_bytes.iter().all(|room| *room <= 64 * 1024), "{room_bytes:?}");
    assert_eq!(state.in_flight(), 0);
}

/// What callers, the server and the clock do.
#[derive(Debug, Clone)]
enum Deed {
    Send {
        replies: usize,
        until: Option<u64>,
    },
    /// Of the requests that are not over, the one with this number, modulo their count.
    Abandon(usize),
    Look(usize),
    Reply,
    Pass(u64),
    End,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1..4_usize, prop::option::of(1..30_u64))
            .prop_map(|(replies, until)| Deed::Send { replies, until }),
        1 => any::<usize>().prop_map(Deed::Abandon),
        3 => any::<usize>().prop_map(Deed::Look),
        6 => Just(Deed::Reply),
        1 => (1..20_u64).prop_map(Deed::Pass),
        1 => prop::bool::weighted(0.1).prop_map(|ends| if ends { Deed::End } else { Deed::Reply }),
    ]
}

/// A request as the model knows it.
struct Asked {
    number: i64,
    key: usize,
    replies: usize,
    until: Option<Instant>,
    woken: Arc<Count>,
}

/// Every answer is one's own, whole, and there is exactly one of them; whoever has one was woken.
fn check(asked: &Asked, answer: &Answer, now: Instant, has_ended: bool) {
    match answer {
        Answer::Replied(Ok(Replies::One(value))) => {
            assert_eq!((value, asked.replies), (&Value::Int(asked.number), 1));
        }
        Answer::Replied(Ok(Replies::Each(values))) => {
            assert_eq!(values, &vec![Value::Int(asked.number); asked.replies]);
        }
        Answer::Replied(Err(_)) => panic!("every reply can be read"),
        Answer::TimedOut => assert!(asked.until.is_some_and(|until| until <= now)),
        Answer::Lost { .. } => assert!(has_ended),
    }
    assert_eq!(asked.woken.0.load(Ordering::Relaxed), 1);
}

proptest! {
    #[test]
    fn each_request_has_exactly_one_outcome_and_no_reply_of_another(
        deeds in prop::collection::vec(deed(), 0..200)
    ) {
        let mut now = Instant::now();
        let mut state = State::new(true);
        let mut asked: Vec<Asked> = Vec::new();
        let mut server: VecDeque<i64> = VecDeque::new();
        let (mut has_ended, mut next, mut wake) = (false, 0, Vec::new());
        for deed in deeds {
            match deed {
                Deed::Send { replies, until } => {
                    let until = until.map(|millis| now + Duration::from_millis(millis));
                    let woken = Arc::new(Count::default());
                    let caller = Waker::from(Arc::clone(&woken));
                    prop_assert_eq!(state.refusal(false).is_some(), has_ended);
                    if has_ended {
                        continue;
                    }
                    let Accepted { key, .. } = state.send(each(replies), until, caller, |unsent| {
                        unsent.add(|buffer| buffer.push(b'x'));
                    });
                    next += 1;
                    prop_assert!(asked.iter().all(|other| other.key != key));
                    server.extend(std::iter::repeat_n(next, replies));
                    asked.push(Asked { number: next, key, replies, until, woken });
                }
                Deed::Abandon(which) if !asked.is_empty() => {
                    let gone = asked.swap_remove(which % asked.len());
                    drop(state.abandon(gone.key));
                }
                Deed::Look(which) if !asked.is_empty() => {
                    let which = which % asked.len();
                    let caller = Waker::from(Arc::clone(&asked[which].woken));
                    if let Ok(answer) = state.poll(asked[which].key, &caller) {
                        check(&asked.swap_remove(which), &answer, now, has_ended);
                    }
                }
                Deed::Reply if !has_ended => {
                    let reply = server.pop_front();
                    let is_one_too_many = reply.is_none();
                    let replied = state.replied(Ok(reply.map_or(Value::Nil, Value::Int)), &mut Vec::new());
                    prop_assert_eq!(replied.is_err(), is_one_too_many);
                    wake.extend(replied.ok().flatten());
                }
                Deed::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    let earliest = state.expire(now, &mut wake);
                    prop_assert!(earliest.is_none_or(|earliest| earliest > now));
                }
                Deed::End => {
                    has_ended = true;
                    state.end(Cause::Closed, 0, &mut wake);
                }
                Deed::Abandon(_) | Deed::Look(_) | Deed::Reply => {}
            }
            wake.drain(..).for_each(Waker::wake);
        }
        state.end(Cause::Closed, 0, &mut wake);
        wake.drain(..).for_each(Waker::wake);
        for one in asked {
            let answer = state.poll(one.key, Waker::noop());
            check(&one, &answer.expect("the end answers everybody"), now, true);
        }
        prop_assert_eq!(state.in_flight(), 0);
    }
}
