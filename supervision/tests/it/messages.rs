//! What becomes of a message, and what its sender is told.

use std::sync::Arc;

use mainstay_supervision::{
    Actor, BoxError, CallError, Change, Cx, Handle, Notice, Reply, Request, Server, Shutdown,
    StartError, State, Supervisor, System,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, How, Journal, Message, Ping, Poke, Probe, act, alone, event, eventually, exactly,
    hangs, in_state, ms, panics, ping, secs, soon, up,
};

/// Keeps the actor busy until the gate lets it go on.
fn waits_for(gate: &Arc<Semaphore>) -> Message {
    let gate = Arc::clone(gate);
    act(move |_, state| {
        state.journal.write("waiting");
        Box::pin(async move {
            gate.acquire().await?.forget();
            Ok(())
        })
    })
}

async fn is_waiting(journal: &Journal) {
    eventually(|| journal.lines().contains(&"waiting".to_owned())).await;
}

#[tokio::test(start_paused = true)]
async fn one_address_of_either_kind_leads_to_every_incarnation() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().accepts(Message::Ping).accepts(Message::Poke);
    let (system, a) = alone(actor).await;
    let (asks, tells) = (system.recipient::<Ping>().unwrap(), system.recipient::<Poke>().unwrap());
    for incarnation in 1..=4 {
        up(&system, "a", incarnation).await;
        assert_eq!(ping(&a).await, incarnation);
        assert_eq!(asks.ask(Ping).await, Ok(incarnation));
        tells.tell(Poke("poke")).unwrap();
        assert_eq!(ping(&a).await, incarnation);
        assert_eq!(journal.take().last().unwrap(), &format!("a#{incarnation} poke"));
        a.tell(panics()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_works_before_the_start_and_says_that_nobody_is_there() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = Probe::new("a", &journal).add_to(&mut root);
    let early = a.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(early, Err(CallError::Unavailable { retry_after: Some(ms(10)) }));
    assert_eq!(a.state(), State::Idle);
    let _system = System::start(root).await.unwrap();
    assert_eq!(ping(&a).await, 1);
    assert_eq!(a.path(), "root/a");
}

#[tokio::test(start_paused = true)]
async fn while_an_actor_is_away_its_callers_learn_when_to_come_again_and_nothing_is_accepted() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().backoff(exactly(secs(4)))).await;
    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Backoff).await;
    tokio::time::sleep(secs(1)).await;

    let asked = a.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(asked, Err(CallError::Unavailable { retry_after: Some(secs(3)) }));
    let told = a.tell(Message::Poke(Poke("lost?"))).unwrap_err();
    assert_eq!(told.why, CallError::Unavailable { retry_after: Some(secs(3)) });
    assert!(matches!(told.message, Message::Poke(Poke("lost?"))), "it is given back");
    assert_eq!(a.depth(), 0);

    tokio::time::sleep(secs(3)).await;
    up(&system, "a", 2).await;
    ping(&a).await;
    assert!(!journal.take().iter().any(|line| line.contains("lost?")));
}

// ractor 2: kameo #335, #345, #351, #364
#[tokio::test(start_paused = true)]
async fn what_was_queued_when_the_actor_fell_ends_as_died_and_holds_no_place() {
    let journal = Journal::default();
    let gate = Arc::new(Semaphore::new(0));
    let (system, a) = alone(Probe::new("a", &journal).actor().capacity(12)).await;
    a.tell(waits_for(&gate)).unwrap();
    is_waiting(&journal).await;
    a.tell(panics()).unwrap();
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let a = a.clone();
        spawn(&mut asks, async move { a.ask(soon(), |reply| Message::Ping(Ping, reply)).await });
    }
    eventually(|| a.depth() == 12).await;
    gate.add_permits(1);
    while let Some(answer) = asks.join_next().await {
        assert_eq!(answer.unwrap(), Err(CallError::Died { incarnation: 1 }));
    }
    up(&system, "a", 2).await;
    assert_eq!(a.depth(), 0);
    assert_eq!(ping(&a).await, 2);
}

#[expect(clippy::disallowed_methods, reason = "a test waits for what it spawns")]
fn spawn<T: Send + 'static>(
    tasks: &mut tokio::task::JoinSet<T>,
    work: impl Future<Output = T> + Send + 'static,
) {
    tasks.spawn(work);
}

#[tokio::test(start_paused = true)]
async fn a_question_dropped_unanswered_is_died_and_the_actor_lives_on() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    let unanswered = a.ask::<u64>(soon(), |reply| {
        act(move |_, _| {
            drop(reply);
            Box::pin(async { Ok(()) })
        })
    });
    assert_eq!(unanswered.await, Err(CallError::Died { incarnation: 1 }));
    assert_eq!(ping(&a).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_at_once_and_says_how_full_it_is() {
    let journal = Journal::default();
    let gate = Arc::new(Semaphore::new(0));
    for capacity in [1, 4] {
        let (system, a) = alone(Probe::new("a", &journal).actor().capacity(capacity)).await;
        let mut events = system.events();
        a.tell(waits_for(&gate)).unwrap();
        for _ in 1..capacity {
            a.tell(Message::Poke(Poke("in"))).unwrap();
        }
        for round in 0..2 {
            let full = CallError::Overloaded { depth: capacity };
            assert_eq!(a.tell(Message::Poke(Poke("out"))).unwrap_err().why, full);
            assert_eq!(a.ask(soon(), |reply| Message::Ping(Ping, reply)).await, Err(full));
            assert_eq!(a.depth(), capacity);
            assert_eq!(system.tree().find("a").unwrap().mailbox.unwrap().depth, capacity);
            // Told once a crowd, not once a message.
            let told = event(&mut events, |event| match event.change {
                Change::Overloaded { depth } => Some(depth),
                _ => None,
            });
            assert_eq!(told.await, capacity, "round {round}");
            assert!(events.try_recv().is_err());

            gate.add_permits(1);
            eventually(|| a.depth() == 0).await;
            a.tell(waits_for(&gate)).unwrap();
            for _ in 1..capacity {
                a.tell(Message::Poke(Poke("in"))).unwrap();
            }
        }
        gate.add_permits(1);
        assert!(system.shutdown(secs(60)).await.is_clean());
        assert!(!journal.take().iter().any(|line| line.contains("out")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_sends_itself_gets_through_when_its_mailbox_is_full() {
    let journal = Journal::default();
    let gate = Arc::new(Semaphore::new(0));
    let (_system, a) = alone(Probe::new("a", &journal).actor().capacity(2)).await;
    a.tell(act(|cx, _| {
        cx.every(ms(10), || Message::Poke(Poke("tick")));
        cx.after(ms(10), Message::Poke(Poke("after")));
        cx.task("task", async { tokio::time::sleep(ms(10)).await }, |()| {
            Message::Poke(Poke("task"))
        });
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;
    a.tell(waits_for(&gate)).unwrap();
    a.tell(Message::Poke(Poke("counted"))).unwrap();
    tokio::time::sleep(ms(15)).await;
    assert!(a.tell(Message::Poke(Poke("refused"))).is_err());
    assert_eq!(a.depth(), 2);
    gate.add_permits(1);
    eventually(|| a.depth() == 0).await;
    let log = journal.take();
    for word in ["tick", "after", "task", "counted"] {
        assert!(log.contains(&format!("a#1 {word}")), "{word}: {log:?}");
    }
}

#[cfg(feature = "chaos")]
#[tokio::test(start_paused = true)]
async fn an_injected_panic_gets_through_when_the_mailbox_is_full() {
    let journal = Journal::default();
    let gate = Arc::new(Semaphore::new(0));
    let (system, a) = alone(Probe::new("a", &journal).actor().capacity(1)).await;
    a.tell(waits_for(&gate)).unwrap();
    assert!(a.tell(Message::Poke(Poke("refused"))).is_err());
    system.inject_panic("a").unwrap();
    gate.add_permits(1);
    up(&system, "a", 2).await;
    let exit = system.tree().find("a").unwrap().last_exit.clone();
    assert_eq!(exit.as_deref(), Some("panicked: on purpose: inject_panic"));
    assert!(system.inject_panic("nobody").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_says_whether_the_question_may_have_been_handled() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    let past = a.ask(Instant::now(), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(past, Err(CallError::Deadline { accepted: false }));
    let begun = Instant::now();
    let in_hand = a.ask(begun + secs(1), |reply| {
        Message::Ask(Box::new(|_, _| Box::pin(std::future::pending())), reply)
    });
    let in_hand = in_hand.await;
    assert_eq!(in_hand, Err(CallError::Deadline { accepted: true }));
    let queued = a.ask(begun + secs(2), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(queued, Err(CallError::Deadline { accepted: false }));
    assert_eq!(begun.elapsed(), secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_deadline_passed_in_the_queue_is_never_handled() {
    let journal = Journal::default();
    let gate = Arc::new(Semaphore::new(0));
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    a.tell(waits_for(&gate)).unwrap();
    let too_late = a.ask(Instant::now() + ms(10), |reply| {
        Message::Ask(
            Box::new(|_, state| {
                state.journal.write("handled");
                Box::pin(async { Ok(()) })
            }),
            reply,
        )
    });
    assert_eq!(too_late.await, Err(CallError::Deadline { accepted: false }));
    assert_eq!(a.depth(), 2);
    gate.add_permits(1);
    ping(&a).await;
    assert!(!journal.take().contains(&"handled".to_owned()));
    eventually(|| a.depth() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_recipient_waits_as_long_as_the_system_says() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = root.actor(Probe::new("a", &journal).actor().accepts(Message::Ping));
    let system = System::start(root).await.unwrap().with_ask_timeout(ms(300));
    a.tell(hangs()).unwrap();
    let (asks, begun) = (system.recipient::<Ping>().unwrap(), Instant::now());
    assert_eq!(asks.ask(Ping).await, Err(CallError::Deadline { accepted: false }));
    assert_eq!(begun.elapsed(), ms(300));
    let by = asks.ask_by(Instant::now() + ms(100), Ping).await;
    assert_eq!(by, Err(CallError::Deadline { accepted: false }));
    assert_eq!(begun.elapsed(), ms(400));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_went_away_neither_fells_the_actor_nor_holds_a_place() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    let gate = Arc::new(Semaphore::new(0));
    a.tell(waits_for(&gate)).unwrap();
    {
        let ask = a.ask(soon(), |reply| Message::Ping(Ping, reply));
        assert!(timeout(ms(1), ask).await.is_err());
    }
    gate.add_permits(1);
    assert_eq!(ping(&a).await, 1);
    eventually(|| a.depth() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn two_takers_and_no_taker_are_errors_that_name_things() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    root.actor(Probe::new("first", &journal).actor().accepts(Message::Ping));
    let mut below = Supervisor::new("below");
    below.actor(Probe::new("second", &journal).actor().accepts(Message::Ping));
    root.supervisor(below);
    let error = System::start(root).await.unwrap_err();
    assert_eq!(error.to_string(), "\"first\" and \"second\" both accept Ping: only one may");
    assert!(matches!(error, StartError::TwoTakers { .. }));
    assert!(journal.take().is_empty());

    let (system, _) = alone(Probe::new("a", &journal).actor()).await;
    let error = system.recipient::<Ping>().unwrap_err();
    assert!(error.to_string().starts_with("no actor accepts Ping: add"), "{error}");
}

/// A taker below a nested supervisor is found like any other.
#[tokio::test(start_paused = true)]
async fn the_type_of_a_message_alone_leads_anywhere_in_the_tree() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    below.actor(Probe::new("a", &journal).actor().accepts(Message::Ping));
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    let ping = system.recipient::<Ping>().unwrap();
    assert_eq!(ping.ask(Ping).await, Ok(1));
    // As nested supervisors begin anew, so does everything below; the way there stays.
    system.restart("below").unwrap();
    up(&system, "a", 2).await;
    assert_eq!(ping.ask(Ping).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_sender_are_handled_in_order_one_at_a_time() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    for _ in 0..100 {
        a.tell(act(|_, state| {
            state.journal.write("in");
            let journal = state.journal.clone();
            Box::pin(async move {
                tokio::task::yield_now().await;
                journal.write("out");
                Ok(())
            })
        }))
        .unwrap();
    }
    ping(&a).await;
    let log = journal.take();
    assert_eq!(log.len(), 201);
    assert!(log[1..].chunks(2).all(|pair| pair == ["in", "out"]));
}

#[tokio::test(start_paused = true)]
async fn a_stop_drops_what_is_queued_and_tells_the_callers() {
    let journal = Journal::default();
    let gate = Arc::new(Semaphore::new(0));
    let actor = Probe::new("a", &journal).terminate(|_| How::Slow(ms(10))).actor();
    let (system, a) = alone(actor.shutdown(Shutdown::Stop(secs(5)))).await;
    a.tell(waits_for(&gate)).unwrap();
    is_waiting(&journal).await;
    let (asked, report, ()) = tokio::join!(
        a.ask(soon(), |reply| Message::Ping(Ping, reply)),
        system.shutdown(secs(5)),
        async { gate.add_permits(1) },
    );
    assert_eq!(asked, Err(CallError::Died { incarnation: 1 }));
    assert!(report.is_clean());
    assert_eq!(a.depth(), 0);
}

/// The mailbox's type stays private to the actor, and sends nothing that is not [`Send`].
mod private {
    use super::{Notice, Reply, Request};

    pub(super) struct Double(pub(super) u64);
    impl Request for Double {
        type Reply = u64;
    }
    #[derive(Debug)]
    pub(super) struct Add(pub(super) u64);
    impl Notice for Add {}
    pub(super) enum Mailbox {
        Double(Double, Reply<u64>),
        Add(Add),
    }
}

struct Sum;

impl Server for Sum {
    type Message = private::Mailbox;
    type State = u64;

    async fn init(&self, _cx: &Cx<Self::Message>) -> Result<u64, BoxError> {
        Ok(0)
    }

    async fn handle(
        &self,
        _cx: &Cx<Self::Message>,
        message: Self::Message,
        sum: &mut u64,
    ) -> Result<(), BoxError> {
        match message {
            private::Mailbox::Double(private::Double(number), reply) => {
                reply.send(number * 2 + *sum);
            }
            private::Mailbox::Add(private::Add(number)) => *sum += number,
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn two_types_of_message_reach_one_private_mailbox() {
    let mut root = Supervisor::new("root");
    let sum =
        Actor::new("sum", || Sum).accepts(private::Mailbox::Double).accepts(private::Mailbox::Add);
    let _: Handle<private::Mailbox> = root.actor(sum);
    let system = System::start(root).await.unwrap();
    system.recipient::<private::Add>().unwrap().tell(private::Add(5)).unwrap();
    let double = system.recipient::<private::Double>().unwrap();
    assert_eq!(timeout(DEADLINE, double.ask(private::Double(4))).await.unwrap(), Ok(13));
}

#[tokio::test(start_paused = true)]
async fn one_can_wait_until_an_actor_takes_messages() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().backoff(exactly(secs(4)))).await;
    assert_eq!(a.ready(soon()).await, Ok(1));
    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Backoff).await;
    let too_early = a.ready(Instant::now() + secs(1)).await;
    assert_eq!(too_early, Err(CallError::Deadline { accepted: false }));
    assert_eq!(a.ready(soon()).await, Ok(2));
    assert_eq!(ping(&a).await, 2);
    system.shutdown(secs(5)).await;
    assert_eq!(a.ready(soon()).await, Err(CallError::Unavailable { retry_after: None }));
}

#[tokio::test(start_paused = true)]
async fn a_handling_that_waits_too_long_fells_its_actor_and_only_that() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().stall_after(secs(2))).await;
    // The limit is for one message, not for many in a row.
    for _ in 0..5 {
        a.tell(act(|_, _| {
            Box::pin(async {
                tokio::time::sleep(ms(1_900)).await;
                Ok(())
            })
        }))
        .unwrap();
    }
    assert_eq!(ping(&a).await, 1);
    a.tell(hangs()).unwrap();
    let (asked, begun) = (a.ask(soon(), |reply| Message::Ping(Ping, reply)).await, Instant::now());
    assert_eq!(asked, Err(CallError::Died { incarnation: 1 }));
    up(&system, "a", 2).await;
    assert!(begun.elapsed() < secs(1));
    let exit = system.tree().find("a").unwrap().last_exit.clone();
    assert_eq!(exit.as_deref(), Some("stalled: one message waited for 2s"));
}
