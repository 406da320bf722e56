//! What supervision costs a message and a start, against ractor alone; how long a restart takes;
//! and how booting and shutting down grow with the number of children.
//!
//! Both sides do the same, on one thread: one caller and one actor that adds, or one supervisor and
//! thousands of them. Each goal stands behind the figure it is for.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use benches::{Comparison, Goal, ROUNDS, cost, note, print, print_for};
use mainstay_supervision::{
    Actor, Backoff, BoxError, Cx, Handle, Intensity, Reply, Server, Supervisor, System,
};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

const MESSAGES: u64 = 20_000;
const BATCH: u64 = 1_000;
const RESTARTS: usize = 200;
const TIMEOUT: Duration = Duration::from_secs(5);
const CHILDREN: usize = 10_000;
/// How long ending [`CHILDREN`] may take.
const PATIENCE: Duration = Duration::from_secs(600);

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
    let (ask_goals, tell_goals) =
        ((Goal::AtLeast(0.88), Goal::AtMost(1.18)), (Goal::AtLeast(0.7), Goal::AtMost(1.45)));
    ask.print_for_both("ask_vs_ractor_call", Some(ask_goals.0), Some(ask_goals.1));
    ask_untimed.print("ask_vs_ractor_call_without_timeout");
    tell.print_for_both("tell_vs_ractor_cast", Some(tell_goals.0), Some(tell_goals.1));
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

/// How long it takes until all children of one supervisor are up, and until all have ended.
async fn boot_and_shut_down(children: usize) -> [Duration; 2] {
    let mut root = Supervisor::new("root");
    for child in 0..children {
        root.actor(Actor::new(child.to_string(), || Adder));
    }
    let begun = Instant::now();
    let system = System::start(root).await.expect("the tree starts");
    let booted = begun.elapsed();
    let begun = Instant::now();
    let report = system.shutdown(PATIENCE).await;
    let ended = begun.elapsed();
    assert!(report.is_clean(), "every actor ends when it is asked to");
    [booted, ended]
}

/// Hears of each child that is up, and says when there are so many.
struct BareSupervisor(usize, Mutex<Option<oneshot::Sender<()>>>);

impl ractor::Actor for BareSupervisor {
    type Msg = ();
    type State = usize;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        _arguments: (),
    ) -> Result<usize, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        started: &mut usize,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(event, SupervisionEvent::ActorStarted(_)) {
            *started += 1;
        }
        if *started == self.0
            && let Some(all_up) = self.1.lock().expect("nobody panics with it").take()
        {
            all_up.send(()).ok();
        }
        Ok(())
    }
}

/// How long ractor takes until so many linked actors are up, which their supervisor has heard of, and
/// then until they are stopped in reverse order, one after the other.
async fn spawn_and_stop_linked(count: usize) -> [Duration; 2] {
    let (all_up, up) = oneshot::channel();
    let supervisor = BareSupervisor(count, Mutex::new(Some(all_up)));
    let (supervisor, supervising) =
        ractor::Actor::spawn(None, supervisor, ()).await.expect("the supervisor starts");
    let mut actors = Vec::new();
    let begun = Instant::now();
    for _ in 0..count {
        let spawned = ractor::Actor::spawn_linked(None, BareAdder, (), supervisor.get_cell()).await;
        actors.push(spawned.expect("the actor starts"));
    }
    up.await.expect("the supervisor runs until it is stopped");
    let spawned = begun.elapsed();
    let begun = Instant::now();
    for (actor, task) in actors.into_iter().rev() {
        actor.stop(None);
        task.await.expect("no actor panics");
    }
    let stopped = begun.elapsed();
    supervisor.stop(None);
    supervising.await.expect("the supervisor does not panic");
    [spawned, stopped]
}

/// The work that a process of its own measures: who starts and ends how many children.
#[derive(Clone, Copy)]
enum Tree {
    Ours(usize),
    Ractors(usize),
}

impl Tree {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let (whose, children) = (arguments.next()?, arguments.next()?.parse().ok()?);
        match &*whose {
            "ours" => Some(Self::Ours(children)),
            "ractors" => Some(Self::Ractors(children)),
            _ => None,
        }
    }

    /// In this process: prints the nanoseconds of the start and of the end.
    async fn measure_here(self) {
        let times = match self {
            Self::Ours(children) => boot_and_shut_down(children).await,
            Self::Ractors(children) => spawn_and_stop_linked(children).await,
        };
        note(&times.map(|time| time.as_nanos().to_string()).join(" "));
    }

    /// In a new process, as a service starts and ends once in its life: its memory is new, and nothing is
    /// in the caches.
    fn measure(self) -> [f64; 2] {
        let (whose, children) = match self {
            Self::Ours(children) => ("ours", children),
            Self::Ractors(children) => ("ractors", children),
        };
        let program = std::env::current_exe().expect("the path of this program is known");
        let run = Command::new(program).args([whose, &children.to_string()]).output();
        let run = run.expect("this program can be run again");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let printed = String::from_utf8(run.stdout).expect("numbers are text");
        let mut times = printed.split_whitespace().filter_map(|word| word.parse().ok());
        [(); 2].map(|()| times.next().expect("it prints two numbers"))
    }
}

fn children() {
    let [mut boot, mut shutdown, mut over_ractor] = [const { Vec::new() }; 3];
    let [mut bare_boot, mut bare_stop] = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        let [booted_few, ended_few] = Tree::Ours(CHILDREN / 10).measure();
        let [booted, ended] = Tree::Ours(CHILDREN).measure();
        let [spawned_few, stopped_few] = Tree::Ractors(CHILDREN / 10).measure();
        let [spawned, stopped] = Tree::Ractors(CHILDREN).measure();
        boot.push(booted / booted_few);
        shutdown.push(ended / ended_few);
        over_ractor.push(booted / spawned);
        bare_boot.push(spawned / spawned_few);
        bare_stop.push(stopped / stopped_few);
    }
    print_for("value", "boot_10000_over_1000", boot, Some(Goal::AtMost(12.0)));
    print_for("value", "shutdown_10000_over_1000", shutdown, Some(Goal::AtMost(12.0)));
    print_for("value", "boot_over_ractor_spawn", over_ractor, Some(Goal::AtMost(3.0)));
    // How ractor's own actors grow with their number: what memory and its caches make of it.
    print_for("value", "ractor_spawn_10000_over_1000", bare_boot, None);
    print_for("value", "ractor_stop_10000_over_1000", bare_stop, None);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Some(tree) = Tree::from_arguments(std::env::args().skip(1)) {
        return tree.measure_here().await;
    }
    messages().await;
    restarts().await;
    children();
}
