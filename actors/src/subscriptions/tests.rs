use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use ::redis::{Msg, Value};
use futures_util::task::noop_waker;
use mainstay_supervision::Reply;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::bounds::{BUFFER_BYTES, BUFFER_MESSAGES, BUFFERS_BYTES, MOST_TOPICS};
use super::buffer::{Buffer, Queue};
use super::error::Error;
use super::event::{Event, Gap, Message};
use super::member::{Begun, Name, Until};
use super::state::{State, Step, Verb};
use crate::redis::{self, TopicKind};

fn message(channel: &str, pattern: Option<&str>, payload: &[u8]) -> Message {
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let mut words = match pattern {
        Some(pattern) => vec![text("pmessage"), text(pattern)],
        None => vec![text("message")],
    };
    words.extend([text(channel), Value::BulkString(payload.to_vec())]);
    Message::new(Msg::from_value(&Value::Array(words)).unwrap())
}

fn channel(name: &str) -> Name {
    (TopicKind::Channel, name.into())
}

fn noperm() -> redis::Error {
    redis::Error::Server { code: "NOPERM".into() }
}

fn taken(buffer: &Buffer) -> Option<Event> {
    match buffer.poll(&mut Context::from_waker(&noop_waker())) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    }
}

fn gap(event: Option<Event>) -> Gap {
    match event {
        Some(Event::Gap(gap)) => gap,
        other => panic!("no gap: {other:?}"),
    }
}

fn number(event: Option<Event>) -> Option<usize> {
    match event {
        Some(Event::Message(message)) => message.get().ok(),
        _ => None,
    }
}

/// What a new subscription waits for.
type Waiting = oneshot::Receiver<Begun>;

fn join(state: &mut State, names: Vec<Name>) -> Result<(u64, Arc<Buffer>, Waiting), Error> {
    let (port, begun) = Reply::channel();
    let (id, buffer) = state.join(names, Until::End, port)?;
    Ok((id, buffer, begun))
}

fn connected(state: &mut State) -> u64 {
    let epoch = state.next_epoch();
    state.connected();
    epoch
}

/// The server does everything that it is told.
fn obey(state: &mut State) {
    for step in state.plan() {
        state.done(&step);
    }
}

fn step(verb: Verb, names: &[&str]) -> Step {
    Step { verb, kind: TopicKind::Channel, names: names.iter().map(|&name| name.into()).collect() }
}

mod queue {
    use super::*;

    // redis R14
    #[test]
    fn a_full_queue_counts_what_it_drops_behind_what_waits() {
        let mut queue = Queue::default();
        for number in 0..BUFFER_MESSAGES + 3 {
            let message = message("c", None, number.to_string().as_bytes());
            assert_eq!(queue.push(message), number < BUFFER_MESSAGES);
        }
        assert_eq!(number(queue.pop()), Some(0));
        assert!(queue.push(message("c", None, b"9999")), "there is room again");
        assert!(!queue.push(message("c", None, b"0")));
        for wanted in 1..BUFFER_MESSAGES {
            assert_eq!(number(queue.pop()), Some(wanted));
        }
        assert_eq!(gap(queue.pop()).dropped, 3);
        assert_eq!(number(queue.pop()), Some(9999));
        assert_eq!(gap(queue.pop()), Gap { dropped: 1, reconnected: false });
        assert!(queue.pop().is_none());
    }

    #[test]
    fn large_messages_wait_in_bounded_space_and_one_always_can() {
        let mut queue = Queue::default();
        let large = message("c", None, &vec![0; BUFFER_BYTES * 2]);
        let third = message("c", None, &vec![0; BUFFER_BYTES / 3]);
        assert!(queue.push(large.clone()));
        assert!(!queue.push(message("c", None, b"x")));
        queue.pop();
        queue.pop();
        assert!(queue.push(third.clone()) && queue.push(third.clone()));
        assert!(!queue.push(third) && !queue.push(large));
    }

    #[test]
    fn gaps_side_by_side_are_one() {
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.gap(|gap| gap.dropped += 2);
            queue.gap(|gap| gap.reconnected = true);
        }
        assert_eq!(gap(queue.pop()), Gap { dropped: 6, reconnected: true });
        assert!(queue.pop().is_none());
    }
}

#[test]
fn a_subscription_runs_once_all_of_its_topics_are_confirmed() {
    let mut state = State::default();
    let epoch = connected(&mut state);
    let (_, buffer, mut begun) = join(&mut state, vec![channel("a"), channel("b")]).unwrap();
    assert_eq!(state.plan(), [step(Verb::Subscribe, &["a", "b"])]);
    assert!(state.plan().is_empty(), "it was told already");
    state.done(&step(Verb::Subscribe, &["a"]));
    state.deliver(epoch, &message("a", None, b"0"));
    assert!(begun.try_recv().is_err());
    state.done(&step(Verb::Subscribe, &["b"]));
    assert_eq!(begun.try_recv(), Ok(Ok(())));
    state.deliver(epoch, &message("a", None, b"1"));
    assert_eq!(number(taken(&buffer)), Some(1));
    let (_, _, mut begun) = join(&mut state, vec![channel("b")]).unwrap();
    assert_eq!(begun.try_recv(), Ok(Ok(())), "the server has confirmed that one before");
}

#[test]
fn a_topic_is_left_with_its_last_holder_and_wanted_again_in_time() {
    let mut state = State::default();
    connected(&mut state);
    let (first, ..) = join(&mut state, vec![channel("a")]).unwrap();
    let (second, ..) = join(&mut state, vec![channel("a")]).unwrap();
    obey(&mut state);
    state.leave(first);
    assert!(state.plan().is_empty());
    state.leave(second);
    assert_eq!(state.plan(), [step(Verb::Unsubscribe, &["a"])]);
    let (third, _, mut begun) = join(&mut state, vec![channel("a")]).unwrap();
    assert!(state.plan().is_empty(), "the server has not answered yet");
    state.done(&step(Verb::Unsubscribe, &["a"]));
    assert!(begun.try_recv().is_err());
    obey(&mut state);
    assert_eq!(begun.try_recv(), Ok(Ok(())));
    state.leave(third);
    obey(&mut state);
    assert!(state.is_quiet() && !state.is_wanted());
}

// redis R14
#[test]
fn the_gap_comes_when_all_topics_are_back_and_nothing_is_missing_after_it() {
    let mut state = State::default();
    let old = connected(&mut state);
    let (_, buffer, _begun) = join(&mut state, vec![channel("a"), channel("b")]).unwrap();
    obey(&mut state);
    for _ in 0..2 {
        state.lost();
        let epoch = connected(&mut state);
        state.deliver(old, &message("a", None, b"0"));
        state.plan();
        state.done(&step(Verb::Subscribe, &["a"]));
        state.deliver(epoch, &message("a", None, b"1"));
        assert!(taken(&buffer).is_none(), "only one of them is back");
        state.done(&step(Verb::Subscribe, &["b"]));
        state.deliver(old, &message("a", None, b"2"));
        state.deliver(epoch, &message("a", None, b"3"));
        assert_eq!(gap(taken(&buffer)), Gap { dropped: 0, reconnected: true });
        assert_eq!(number(taken(&buffer)), Some(3));
    }
    assert_eq!(state.facts().gaps, 2);
}

/// A state in which each of so many subscriptions to a channel of its own runs.
fn running(count: usize) -> (State, u64, Vec<Arc<Buffer>>) {
    let mut state = State::default();
    let names = (0..count).map(|number| channel(&number.to_string()));
    let buffers = names.map(|name| join(&mut state, vec![name]).unwrap().1).collect();
    let epoch = connected(&mut state);
    obey(&mut state);
    (state, epoch, buffers)
}

fn waiting_bytes(state: &State) -> usize {
    state.waiting_bytes.load(Ordering::Relaxed)
}

fn large(channel: usize, len_bytes: usize) -> Message {
    message(&channel.to_string(), None, &vec![0; len_bytes])
}

#[test]
fn slow_readers_hold_no_more_together_than_is_said_and_cost_the_others_nothing() {
    let (mut state, epoch, buffers) = running(10);
    let (reader, slow) = buffers.split_last().unwrap();
    let piece = BUFFER_BYTES / 4 - 1;
    for _ in 0..12 {
        for number in 0..slow.len() {
            state.deliver(epoch, &large(number, piece));
            assert!(waiting_bytes(&state) <= BUFFERS_BYTES);
        }
        for _ in 0..2 {
            state.deliver(epoch, &large(slow.len(), piece));
        }
        assert_eq!(told(reader), (0, 2), "who reads in time loses nothing");
    }
    let missed: u64 = slow.iter().map(|buffer| told(buffer).0).sum();
    assert_eq!(missed, state.facts().dropped, "and who does not is told");
}

/// How many messages a reader is told to have missed, and how many it gets.
fn told(buffer: &Buffer) -> (u64, usize) {
    let (mut missed, mut got) = (0, 0);
    while let Some(event) = taken(buffer) {
        match event {
            Event::Gap(gap) => missed += gap.dropped,
            Event::Message(_) => got += 1,
        }
    }
    (missed, got)
}

#[test]
fn what_waits_for_many_readers_counts_once() {
    let mut state = State::default();
    let buffers: Vec<_> =
        (0..100).map(|_| join(&mut state, vec![channel("0")]).unwrap().1).collect();
    let epoch = connected(&mut state);
    obey(&mut state);
    for _ in 0..2 {
        state.deliver(epoch, &large(0, BUFFER_BYTES / 2 - 1));
    }
    assert_eq!(waiting_bytes(&state), BUFFER_BYTES);
    for buffer in &buffers {
        assert_eq!(told(buffer), (0, 2));
    }
    assert_eq!(waiting_bytes(&state), 0);
}

#[test]
fn those_for_whom_the_same_waits_lose_it_before_others_do() {
    let mut state = State::default();
    let buffers: Vec<_> = (0..9 * 4)
        .map(|number| join(&mut state, vec![channel(&(number % 9).to_string())]).unwrap().1)
        .collect();
    let epoch = connected(&mut state);
    obey(&mut state);
    let piece = BUFFER_BYTES / 4 - 1;
    for number in 0..9 * 4 {
        state.deliver(epoch, &large(number % 9, piece));
    }
    assert!(waiting_bytes(&state) <= BUFFERS_BYTES);
    let losers = buffers.iter().filter(|buffer| told(buffer).0 > 0).count();
    assert_eq!(losers, 4, "the readers of one channel");
}

#[test]
fn a_message_that_is_larger_than_all_that_may_wait_reaches_who_reads_in_time() {
    let (mut state, epoch, buffers) = running(3);
    state.deliver(epoch, &large(0, 1));
    state.deliver(epoch, &large(1, BUFFERS_BYTES + 1));
    assert_eq!((told(&buffers[0]), told(&buffers[1])), ((0, 1), (0, 1)));
}

#[test]
fn a_buffer_that_is_given_up_leaves_one_gap_that_says_all() {
    let mut queue = Queue::default();
    queue.gap(|gap| gap.reconnected = true);
    assert!(queue.push(message("c", None, b"1")));
    queue.gap(|gap| gap.dropped += 4);
    assert_eq!(queue.give_up(), 1);
    assert_eq!(gap(queue.pop()), Gap { dropped: 5, reconnected: true });
    assert!(queue.pop().is_none());
}

#[test]
fn a_refused_command_is_taken_apart_to_find_who_is_meant() {
    let mut state = State::default();
    connected(&mut state);
    let (_, _, mut good) = join(&mut state, vec![channel("good")]).unwrap();
    let (bad_id, _, mut bad) = join(&mut state, vec![channel("bad"), channel("good")]).unwrap();
    let together = state.plan();
    assert_eq!(together, [step(Verb::Subscribe, &["bad", "good"])]);
    assert!(state.refused(&together[0], &noperm()).is_empty());
    let apart = state.plan();
    assert_eq!(apart, [step(Verb::Subscribe, &["bad"]), step(Verb::Subscribe, &["good"])]);
    assert!(state.refused(&apart[0], &noperm()).is_empty(), "whoever asked hears of it");
    state.done(&apart[1]);
    assert_eq!((good.try_recv(), bad.try_recv()), (Ok(Ok(())), Ok(Err(noperm()))));
    state.leave(bad_id);
    assert!(state.is_quiet());
}

#[test]
fn what_is_no_longer_permitted_is_said_once_and_tried_again() {
    let mut state = State::default();
    connected(&mut state);
    let (_, buffer, _begun) = join(&mut state, vec![channel("a")]).unwrap();
    obey(&mut state);
    state.lost();
    connected(&mut state);
    for turn in 0..3 {
        let steps = state.plan();
        assert_eq!(steps, [step(Verb::Subscribe, &["a"])]);
        assert_eq!(state.refused(&steps[0], &noperm()).len(), usize::from(turn == 0));
        assert!(state.plan().is_empty());
        state.retry_denied();
    }
    obey(&mut state);
    assert!(gap(taken(&buffer)).reconnected);
}

#[test]
fn more_topics_than_there_may_be_are_refused_and_change_nothing() {
    let mut state = State::default();
    let many = |from: usize, to: usize| (from..to).map(|n| channel(&n.to_string())).collect();
    join(&mut state, many(0, MOST_TOPICS)).unwrap();
    let refused = join(&mut state, many(MOST_TOPICS - 1, MOST_TOPICS + 1)).unwrap_err();
    assert_eq!(refused, Error::too_many_topics());
    join(&mut state, many(0, 9)).unwrap();
    assert_eq!(state.facts().channels, MOST_TOPICS);
}

#[test]
fn closing_ends_every_subscription_and_those_to_come() {
    let mut state = State::default();
    let (id, buffer, mut begun) = join(&mut state, vec![channel("a")]).unwrap();
    state.end();
    assert!(taken(&buffer).is_none() && state.is_wanted(), "only the actor has ended");
    state.close();
    assert_eq!(join(&mut state, vec![channel("b")]).unwrap_err(), Error::Closed);
    assert!(state.is_wanted(), "the actor goes on yet");
    state.end();
    assert!(begun.try_recv().is_err());
    let waker = noop_waker();
    assert!(matches!(buffer.poll(&mut Context::from_waker(&waker)), Poll::Ready(None)));
    state.leave(id);
    assert_eq!(join(&mut state, vec![channel("a")]).unwrap_err(), Error::Closed);
}

/// A server, and everything that may happen around it.
#[derive(Default)]
struct World {
    state: State,
    epoch: u64,
    is_up: bool,
    /// What the server holds.
    wire: HashSet<Name>,
    /// Told, and not executed yet.
    told: Vec<Step>,
    readers: Vec<Reader>,
    published: Vec<Name>,
}

struct Reader {
    id: u64,
    names: Vec<Name>,
    buffer: Arc<Buffer>,
    begun: Waiting,
    /// From which message on it must get everything.
    since: Option<usize>,
}

#[derive(Debug, Clone)]
enum Happening {
    Join(Vec<usize>),
    Leave(usize),
    Connect,
    Lose,
    Tell,
    /// The server executes one of the commands that wait, or refuses it.
    Answer(usize, bool),
    Retry,
    Publish(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{Answer, Connect, Join, Leave, Lose, Publish, Retry, Tell};
    prop_oneof![
        3 => prop::collection::btree_set(0..6_usize, 1..4)
            .prop_map(|names| Join(names.into_iter().collect())),
        2 => any::<usize>().prop_map(Leave),
        3 => Just(Connect),
        1 => Just(Lose),
        6 => Just(Tell),
        6 => (any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(at, obeys)| Answer(at, obeys)),
        1 => Just(Retry),
        8 => (0..6_usize).prop_map(Publish),
    ]
}

/// Three channels, and a pattern for each.
fn name(index: usize) -> Name {
    let kind = if index < 3 { TopicKind::Channel } else { TopicKind::Pattern };
    (kind, index.to_string().into())
}

impl World {
    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Join(names) => {
                let names: Vec<_> = names.into_iter().map(name).collect();
                let (id, buffer, begun) = join(&mut self.state, names.clone()).unwrap();
                self.readers.push(Reader { id, names, buffer, begun, since: None });
            }
            Happening::Leave(at) if !self.readers.is_empty() => {
                let reader = self.readers.swap_remove(at % self.readers.len());
                self.state.leave(reader.id);
            }
            Happening::Connect if !self.is_up => {
                self.is_up = true;
                self.epoch = connected(&mut self.state);
            }
            Happening::Lose if self.is_up => {
                self.is_up = false;
                self.wire.clear();
                self.told.clear();
                self.state.lost();
            }
            Happening::Tell => self.told.extend(self.state.plan()),
            Happening::Answer(at, obeys) if !self.told.is_empty() => self.answer(at, obeys),
            Happening::Retry => self.state.retry_denied(),
            Happening::Publish(index) => self.publish(index),
            Happening::Leave(_) | Happening::Connect | Happening::Lose | Happening::Answer(..) => {}
        }
        self.readers.retain_mut(|reader| match reader.begun.try_recv() {
            Ok(Ok(())) => {
                reader.since = Some(self.published.len());
                true
            }
            // Whoever is refused leaves.
            Ok(Err(_)) => {
                self.state.leave(reader.id);
                false
            }
            Err(_) => true,
        });
    }

    fn answer(&mut self, at: usize, obeys: bool) {
        let step = self.told.remove(at % self.told.len());
        let names = step.names.iter().map(|name| (step.kind, Arc::clone(name)));
        match step.verb {
            Verb::Subscribe if !obeys => {
                self.state.refused(&step, &noperm());
                return;
            }
            Verb::Subscribe => self.wire.extend(names),
            Verb::Unsubscribe => names.for_each(|name| {
                assert!(self.wire.remove(&name), "it was never subscribed to: {name:?}");
            }),
        }
        self.state.done(&step);
    }

    fn publish(&mut self, index: usize) {
        let name = name(index);
        let payload = self.published.len().to_string();
        if self.wire.contains(&name) {
            let pattern = (name.0 == TopicKind::Pattern).then_some(&*name.1);
            self.state.deliver(self.epoch, &message(&name.1, pattern, payload.as_bytes()));
        }
        self.published.push(name);
    }

    fn settle(&mut self) {
        self.happens(Happening::Connect);
        self.state.retry_denied();
        loop {
            self.happens(Happening::Tell);
            if self.told.is_empty() {
                return;
            }
            self.happens(Happening::Answer(0, true));
        }
    }
}

/// Everything that was published on the reader's topics comes in order; where any of it is missing there is a gap.
fn misses_nothing_unsaid(reader: &Reader, published: &[Name]) {
    let mut due: Vec<usize> = (reader.since.unwrap_or(usize::MAX)..published.len())
        .filter(|&at| reader.names.contains(&published[at]))
        .collect();
    let mut may_miss = false;
    while let Some(event) = taken(&reader.buffer) {
        let Event::Message(message) = event else {
            assert!(!may_miss, "two gaps side by side");
            may_miss = true;
            continue;
        };
        let got: usize = message.get().unwrap();
        let at = due.iter().position(|wanted| *wanted == got).expect("once, and in order");
        assert!(at == 0 || may_miss, "{:?} are missing unsaid", &due[..at]);
        due.drain(..=at);
        may_miss = false;
    }
    assert!(due.is_empty() || may_miss, "{due:?} are missing unsaid");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // redis R14
    #[test]
    fn the_server_holds_what_is_wanted_and_nothing_is_missing_unsaid(
        happenings in prop::collection::vec(happening(), 0..120)
    ) {
        let mut world = World::default();
        for happening in happenings {
            world.happens(happening);
        }
        world.settle();
        prop_assert_eq!(&world.wire, &world.state.held());
        prop_assert!(world.state.is_quiet());
        for index in 0..6 {
            world.happens(Happening::Publish(index));
        }
        for reader in &world.readers {
            misses_nothing_unsaid(reader, &world.published);
        }
    }

    #[test]
    fn a_subscription_without_an_outage_has_no_gap(
        happenings in prop::collection::vec(happening(), 0..120)
    ) {
        let mut world = World::default();
        world.happens(Happening::Connect);
        for happening in happenings {
            if !matches!(happening, Happening::Lose | Happening::Answer(_, false)) {
                world.happens(happening);
            }
        }
        world.settle();
        for reader in &world.readers {
            while let Some(event) = taken(&reader.buffer) {
                prop_assert!(matches!(event, Event::Message(_)), "{:?}", event);
            }
        }
    }
}

#[test]
fn a_drain_ends_the_subscriptions_of_requests_alone_after_what_waits_for_them() {
    let mut state = State::default();
    let epoch = connected(&mut state);
    let mut join = |names: &[&str], until| {
        let (port, begun) = Reply::channel();
        let names = names.iter().map(|name| channel(name)).collect();
        state.join(names, until, port).map(|(_, buffer)| (buffer, begun))
    };
    let (request, _begun) = join(&["news", "sport"], Until::Drain).unwrap();
    let (actor, _begun) = join(&["news"], Until::End).unwrap();
    obey(&mut state);
    state.deliver(epoch, &message("news", None, b"1"));
    let (port, mut late) = Reply::channel();
    let (_, waits) = state.join(vec![channel("late")], Until::Drain, port).unwrap();
    state.drain();
    assert!(late.try_recv().is_err(), "its caller hears that nothing follows it");
    state.deliver(epoch, &message("news", None, b"2"));
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(number(taken(&request)), Some(1));
    for ended in [&request, &waits] {
        assert!(matches!(ended.poll(&mut cx), Poll::Ready(None)));
    }
    assert_eq!((number(taken(&actor)), number(taken(&actor))), (Some(1), Some(2)));
    // The server is told to leave what nobody wants any more.
    assert_eq!(state.plan(), [step(Verb::Unsubscribe, &["sport"])]);
    let (port, _begun) = Reply::channel();
    assert!(matches!(state.join(vec![channel("news")], Until::Drain, port), Err(Error::Closed)));
    let (port, _begun) = Reply::channel();
    assert!(state.join(vec![channel("news")], Until::End, port).is_ok());
}
