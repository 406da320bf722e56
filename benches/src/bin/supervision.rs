//! What supervision costs a message, against ractor alone, and how long a restart takes.
//!
//! Both sides do the same: one caller, one actor that adds, on one thread. Goals: an ask at least
//! 0.8 times as fast as ractor's call with a timeout, a tell at least 0.7 times its cast.

use std::time::Duration;

use benches::{Comparison, ROUNDS, cost, print};
use mainstay_supervision::{
    Actor, Backoff, BoxError, Cx, Handle, Intensity, Reply, Server, Supervisor, System,
};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::time::Instant;

const MESSAGES: u64 = 20_000;
const BATCH: u64 = 1_000;
const RESTARTS: usize = 200;
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Ours {
    Add(u64),
    Sum(u64, Reply<u64>),
}

struct Adder;

impl Server for Adder {
    type Message = Ours;
    type State = u64;

    async fn init(&self, _cx: &Cx<Ours>) -> Result<u64, BoxError> {
        Ok(0)
    }

    async fn handle(&self, _cx: &Cx<Ours>, message: Ours, sum: &mut u64) -> Result<(), BoxError> {
        match message {
            Ours::Add(number) => *sum += number,
            Ours::Sum(number, reply) => {
                *sum += number;
                reply.send(*sum);
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Theirs {
    Add(u64),
    Sum(u64, RpcReplyPort<u64>),
}

struct BareAdder;

impl ractor::Actor for BareAdder {
    type Msg = Theirs;
    type State = u64;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<Theirs>,
        _arguments: (),
    ) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Theirs>,
        message: Theirs,
        sum: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Theirs::Add(number) => *sum += number,
            Theirs::Sum(number, reply) => {
                *sum += number;
                reply.send(*sum).ok();
            }
        }
        Ok(())
    }
}

async fn ask_ours(handle: &Handle<Ours>) {
    for number in 0..MESSAGES {
        let deadline = Instant::now() + TIMEOUT;
        handle.ask(deadline, |reply| Ours::Sum(number, reply)).await.expect("the actor runs");
    }
}

async fn ask_theirs(actor: &ActorRef<Theirs>, timeout: Option<Duration>) {
    for number in 0..MESSAGES {
        let call = actor.call(|reply| Theirs::Sum(number, reply), timeout).await;
        assert!(call.is_ok_and(|result| result.is_success()), "the actor runs");
    }
}

/// In batches that the default mailbox has room for.
async fn tell_ours(handle: &Handle<Ours>) {
    for _ in 0..MESSAGES / BATCH {
        for number in 0..BATCH {
            handle.tell(Ours::Add(number)).expect("the mailbox has room for a batch");
        }
        let deadline = Instant::now() + TIMEOUT;
        handle.ask(deadline, |reply| Ours::Sum(0, reply)).await.expect("the actor runs");
    }
}

async fn tell_theirs(actor: &ActorRef<Theirs>) {
    for _ in 0..MESSAGES / BATCH {
        for number in 0..BATCH {
            actor.cast(Theirs::Add(number)).expect("the actor runs");
        }
        actor.call(|reply| Theirs::Sum(0, reply), Some(TIMEOUT)).await.expect("the actor runs");
    }
}

async fn messages() {
    let mut root = Supervisor::new("root");
    let ours = root.actor(Actor::new("adder", || Adder));
    let system = System::start(root).await.expect("the tree starts");
    let (theirs, _task) =
        ractor::Actor::spawn(None, BareAdder, ()).await.expect("the actor starts");

    let mut ask = Comparison::default();
    let mut ask_untimed = Comparison::default();
    let mut tell = Comparison::default();
    for round in 0..=ROUNDS {
        let asked_ours = cost(ask_ours(&ours)).await;
        let asked_theirs = cost(ask_theirs(&theirs, Some(TIMEOUT))).await;
        let asked_untimed = cost(ask_theirs(&theirs, None)).await;
        let told_ours = cost(tell_ours(&ours)).await;
        let told_theirs = cost(tell_theirs(&theirs)).await;
        if round > 0 {
            ask.add(asked_ours, asked_theirs);
            ask_untimed.add(asked_ours, asked_untimed);
            tell.add(told_ours, told_theirs);
        }
    }
    ask.print("ask_vs_ractor_call");
    ask_untimed.print("ask_vs_ractor_call_without_timeout");
    tell.print("tell_vs_ractor_cast");
    system.shutdown(TIMEOUT).await;
}

/// From the order to panic to the next answer, backoff off.
async fn restarts() {
    std::panic::set_hook(Box::new(|_| {}));
    let intensity = Intensity { max: u32::MAX, within: Duration::from_secs(3600) };
    let mut root = Supervisor::new("root").intensity(intensity);
    let adder = root.actor(Actor::new("adder", || Adder).backoff(Backoff::none()));
    let system = System::start(root).await.expect("the tree starts");
    let mut micros = Vec::with_capacity(RESTARTS);
    for _ in 0..RESTARTS {
        let before = system.tree().children[0].incarnation;
        let begun = Instant::now();
        system.inject_panic("adder").expect("the actor runs");
        while adder.ask(begun + TIMEOUT, |reply| Ours::Sum(1, reply)).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert!(system.tree().children[0].incarnation > before, "it fell");
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    print("value", "restart_us", micros);
    system.shutdown(TIMEOUT).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    messages().await;
    restarts().await;
}
