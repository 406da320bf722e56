//! An actor that does what a test says, and a journal of what it did.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use mainstay_supervision::{
    Actor, Backoff, BoxError, Change, Cx, Event, Handle, Jitter, Notice, Reply, Request, Server,
    State, Supervisor, System, TreeSnapshot,
};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// No wait of a test is longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What happened, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// How one hook of an actor goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Well,
    Fail,
    Panic,
    Hang,
    /// Awaits for so long.
    Slow(Duration),
    /// Blocks its thread for so long.
    Block(Duration),
}

impl How {
    async fn go(self) -> Result<(), BoxError> {
        match self {
            Self::Well => {}
            Self::Fail => return Err("no luck".into()),
            Self::Panic => panic!("boom"),
            Self::Hang => std::future::pending().await,
            Self::Slow(time) => tokio::time::sleep(time).await,
            Self::Block(time) => std::thread::sleep(time),
        }
        Ok(())
    }
}

type Hook = Arc<dyn Fn(u64) -> How + Send + Sync>;

/// What a test has an actor do.
pub(crate) type Deed = Box<
    dyn for<'a> FnOnce(&'a Cx<Message>, &'a mut Held) -> BoxFuture<'a, Result<(), BoxError>> + Send,
>;

/// Answered with the incarnation that took it.
pub(crate) struct Ping;
impl Request for Ping {
    type Reply = u64;
}

/// Written into the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poke(pub(crate) &'static str);
impl Notice for Poke {}

pub(crate) enum Message {
    Ping(Ping, Reply<u64>),
    Poke(Poke),
    Act(Deed),
    Ask(Deed, Reply<u64>),
}

/// Wraps what an actor is to do. `act(|cx, state| Box::pin(async move { .. }))`.
pub(crate) fn act(
    deed: impl for<'a> FnOnce(&'a Cx<Message>, &'a mut Held) -> BoxFuture<'a, Result<(), BoxError>>
    + Send
    + 'static,
) -> Message {
    Message::Act(Box::new(deed))
}

pub(crate) fn panics() -> Message {
    act(|_, _| Box::pin(async { panic!("boom") }))
}

pub(crate) fn hangs() -> Message {
    act(|_, _| Box::pin(std::future::pending()))
}

/// The state of an incarnation: writes down when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) me: String,
    pub(crate) journal: Journal,
    drop: How,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let How::Block(time) = self.drop {
            std::thread::sleep(time);
        }
        self.journal.write(format!("{} dropped", self.me));
        assert!(!matches!(self.drop, How::Panic), "boom in drop");
    }
}

#[derive(Clone)]
pub(crate) struct Probe {
    id: &'static str,
    journal: Journal,
    init: Hook,
    terminate: Hook,
    drop: Hook,
}

impl Probe {
    pub(crate) fn new(id: &'static str, journal: &Journal) -> Self {
        let well: Hook = Arc::new(|_| How::Well);
        let (init, terminate, drop) = (Arc::clone(&well), Arc::clone(&well), well);
        Self { id, journal: journal.clone(), init, terminate, drop }
    }

    pub(crate) fn init(self, how: impl Fn(u64) -> How + Send + Sync + 'static) -> Self {
        Self { init: Arc::new(how), ..self }
    }

    pub(crate) fn terminate(self, how: impl Fn(u64) -> How + Send + Sync + 'static) -> Self {
        Self { terminate: Arc::new(how), ..self }
    }

    pub(crate) fn on_drop(self, how: impl Fn(u64) -> How + Send + Sync + 'static) -> Self {
        Self { drop: Arc::new(how), ..self }
    }

    /// An actor that is back at once after a fall.
    pub(crate) fn actor(self) -> Actor<Self> {
        Actor::new(self.id, move || self.clone()).backoff(Backoff::none())
    }

    pub(crate) fn add_to(self, supervisor: &mut Supervisor) -> Handle<Message> {
        supervisor.actor(self.actor())
    }
}

impl Server for Probe {
    type Message = Message;
    type State = Held;

    async fn init(&self, cx: &Cx<Message>) -> Result<Held, BoxError> {
        let me = format!("{}#{}", self.id, cx.incarnation());
        self.journal.write(format!("{me} init"));
        (self.init)(cx.incarnation()).go().await?;
        let drop = (self.drop)(cx.incarnation());
        Ok(Held { me, journal: self.journal.clone(), drop })
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        state: &mut Held,
    ) -> Result<(), BoxError> {
        match message {
            Message::Ping(Ping, reply) => reply.send(cx.incarnation()),
            Message::Poke(Poke(word)) => state.journal.write(format!("{} {word}", state.me)),
            Message::Act(deed) => deed(cx, state).await?,
            Message::Ask(deed, reply) => {
                deed(cx, state).await?;
                reply.send(cx.incarnation());
            }
        }
        Ok(())
    }

    async fn terminate(&self, cx: &Cx<Message>, state: &mut Held) {
        state.journal.write(format!("{} terminate", state.me));
        (self.terminate)(cx.incarnation()).go().await.ok();
    }
}

/// The delay of a fallen actor, without jitter.
pub(crate) fn exactly(delay: Duration) -> Backoff {
    Backoff { min: delay, max: delay, jitter: Jitter::None, ..Backoff::default() }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn soon() -> Instant {
    Instant::now() + DEADLINE
}

pub(crate) async fn ping(handle: &Handle<Message>) -> u64 {
    handle.ask(soon(), |reply| Message::Ping(Ping, reply)).await.unwrap()
}

/// Waits until the tree looks as `shows` wants it.
pub(crate) async fn until(system: &System, shows: impl Fn(&TreeSnapshot) -> bool) {
    let mut changes = system.changes();
    let waiting = async {
        while !shows(&system.tree()) {
            changes.changed().await.unwrap();
        }
    };
    let waited = timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "waited too long; the tree: {:#?}", system.tree());
}

/// Waits until this incarnation of `id` is up.
pub(crate) async fn up(system: &System, id: &str, incarnation: u64) {
    until(system, |tree| {
        let node = tree.find(id).unwrap();
        node.state == State::Up && node.incarnation == incarnation
    })
    .await;
}

/// Waits until `id` is in this state.
pub(crate) async fn in_state(system: &System, id: &str, state: State) {
    until(system, |tree| tree.find(id).unwrap().state == state).await;
}

/// Waits for a condition that no tree tells of.
pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(ms(1)).await;
        }
    };
    timeout(DEADLINE, waiting).await.expect("it came true in time");
}

/// The next event that `wanted` finds something in.
pub(crate) async fn event<T>(
    events: &mut broadcast::Receiver<Event>,
    wanted: impl Fn(&Event) -> Option<T>,
) -> T {
    let waiting = async {
        loop {
            if let Some(found) = wanted(&events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(DEADLINE, waiting).await.expect("the event came in time")
}

/// An event in a few words.
pub(crate) fn brief(event: &Event) -> String {
    let what = match &event.change {
        Change::Started { .. } => "up".to_owned(),
        Change::Exited { exit, .. } => exit.to_string(),
        Change::RestartScheduled { .. } => "restarts".to_owned(),
        Change::StopTimedOut => "stop timed out".to_owned(),
        Change::Leaked => "leaked".to_owned(),
        Change::Escalated { cause } => format!("escalates: {cause}"),
        Change::Overloaded { .. } => "overloaded".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{}#{} {what}", event.path, event.incarnation)
}

/// A tree of one actor.
pub(crate) async fn alone(actor: Actor<Probe>) -> (System, Handle<Message>) {
    let mut root = Supervisor::new("root");
    let handle = root.actor(actor);
    (System::start(root).await.unwrap(), handle)
}

impl Probe {
    /// The same under a name that is made at run time; the journal goes on calling it by its own.
    pub(crate) fn named(self, id: String) -> Actor<Self> {
        Actor::new(id, move || self.clone()).backoff(Backoff::none())
    }
}

/// Threads stand still at it until it is dropped; none longer than 20 s.
#[derive(Debug, Default)]
pub(crate) struct Wall(Arc<Standing>);

#[derive(Debug, Default)]
struct Standing {
    is_open: Mutex<bool>,
    opened: Condvar,
    count: AtomicUsize,
}

impl Wall {
    /// Blocks the thread that calls it.
    pub(crate) fn block(&self) -> impl Fn() + Clone + Send + Sync + use<> {
        let standing = Arc::clone(&self.0);
        move || {
            standing.count.fetch_add(1, Ordering::SeqCst);
            let is_open = standing.is_open.lock().unwrap();
            let limit = Duration::from_secs(20);
            drop(standing.opened.wait_timeout_while(is_open, limit, |is_open| !*is_open).unwrap());
        }
    }

    /// How many threads stand there, or stood.
    pub(crate) fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        *self.0.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.opened.notify_all();
    }
}

/// Threads of their own for tasks that block them, so that a tree on a paused clock goes on beside
/// them.
pub(crate) struct Elsewhere(Option<Runtime>);

impl Elsewhere {
    pub(crate) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(Some(builder.worker_threads(1).build().unwrap()))
    }

    /// Starts a task of `cx` that blocks its thread at the wall, and returns when it does.
    pub(crate) fn blocking_task(&self, wall: &Wall) -> impl Fn(&Cx<Message>) + Send + Sync + use<> {
        let (elsewhere, block) = (self.0.as_ref().unwrap().handle().clone(), wall.block());
        let standing = Arc::clone(&wall.0);
        move |cx| {
            let (before, block) = (standing.count.load(Ordering::SeqCst), block.clone());
            let there = elsewhere.enter();
            cx.task("blocks", async move { block() }, |()| panics());
            drop(there);
            // The clock may be paused, but threads of their own take the time they need.
            for _ in 0..10_000 {
                if standing.count.load(Ordering::SeqCst) > before {
                    return;
                }
                std::thread::sleep(ms(1));
            }
            panic!("the task was not begun");
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// Sorted, so that who comes first does not matter.
pub(crate) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

impl Held {
    /// For an actor that is none of a [`Probe`]'s.
    pub(crate) fn of(me: String, journal: Journal) -> Self {
        Self { me, journal, drop: How::Well }
    }
}

/// Wraps what an actor is to do before it answers with its incarnation.
pub(crate) fn answers(
    deed: impl for<'a> FnOnce(&'a Cx<Message>, &'a mut Held) -> BoxFuture<'a, Result<(), BoxError>>
    + Send
    + 'static,
    reply: Reply<u64>,
) -> Message {
    Message::Ask(Box::new(deed), reply)
}

/// Keeps an actor busy until the gate lets it go on.
pub(crate) fn waits_at(gate: &Arc<Semaphore>) -> Message {
    let gate = Arc::clone(gate);
    act(move |_, _| {
        Box::pin(async move {
            gate.acquire().await?.forget();
            Ok(())
        })
    })
}

/// How often the journal has this line.
pub(crate) fn count(journal: &Journal, line: &str) -> usize {
    journal.lines().iter().filter(|found| *found == line).count()
}

#[expect(clippy::disallowed_methods, reason = "a test waits for what it spawns")]
pub(crate) fn spawn<T: Send + 'static>(
    tasks: &mut JoinSet<T>,
    work: impl Future<Output = T> + Send + 'static,
) {
    tasks.spawn(work);
}

/// Waits for something that threads of their own do, while a paused clock stands still.
pub(crate) async fn really(holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(ms(1));
    }
    panic!("it did not come true in time");
}

/// Whether this incarnation of `id` is up.
pub(crate) fn is_up(system: &System, id: &str, incarnation: u64) -> bool {
    let node = system.tree().find(id).cloned().unwrap();
    node.state == State::Up && node.incarnation == incarnation
}
