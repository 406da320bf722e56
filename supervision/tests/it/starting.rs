//! Who falls while starting, or right after, and then blocks a thread: it is not shown as up, it is
//! told of as leaked, and it holds nobody up but itself.

use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{
    Actor, Backoff, BoxError, CallError, Change, Cx, Event, Handle, Server, StartError, State,
    Supervisor, System,
};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, Elsewhere, Held, Journal, Message, Ping, Probe, Wall, act, event, is_up, ms, panics,
    ping, really, secs, until,
};

/// Where an incarnation falls that has started a task which blocks its thread.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Falls {
    /// `init` fails.
    InInit,
    /// `init` panics.
    PanicsInInit,
    /// `init` is not done in time.
    TooSlow,
    /// In its first message, which waits already when `init` is done.
    AtOnce,
}

type Block = dyn Fn(&Cx<Message>) + Send + Sync;

/// Its `which`th incarnation blocks a thread and falls; all others do well.
struct Blocker {
    falls: Falls,
    which: u64,
    block: Arc<Block>,
}

impl Server for Blocker {
    type Message = Message;
    type State = ();

    async fn init(&self, cx: &Cx<Message>) -> Result<(), BoxError> {
        if cx.incarnation() != self.which {
            return Ok(());
        }
        (self.block)(cx);
        match self.falls {
            Falls::InInit => return Err("no luck".into()),
            Falls::PanicsInInit => panic!("boom"),
            Falls::TooSlow => std::future::pending().await,
            Falls::AtOnce => {
                cx.after(Duration::ZERO, panics());
                // It is in the mailbox by then.
                tokio::time::sleep(ms(5)).await;
            }
        }
        Ok(())
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), BoxError> {
        match message {
            Message::Ping(Ping, reply) => reply.send(cx.incarnation()),
            Message::Act(deed) => {
                deed(cx, &mut Held::of("blocker".to_owned(), Journal::default())).await?;
            }
            Message::Poke(_) | Message::Ask(..) => {}
        }
        Ok(())
    }
}

/// root/{blocker, neighbour}, and what blocks.
struct Scene {
    root: Supervisor,
    blocker: Handle<Message>,
    neighbour: Handle<Message>,
    wall: Wall,
    _elsewhere: Elsewhere,
}

impl Scene {
    fn new(falls: Falls, which: u64, treat: impl FnOnce(Actor<Blocker>) -> Actor<Blocker>) -> Self {
        let (wall, elsewhere) = (Wall::default(), Elsewhere::new());
        let block: Arc<Block> = Arc::new(elsewhere.blocking_task(&wall));
        let factory = move || Blocker { falls, which, block: Arc::clone(&block) };
        let mut root = Supervisor::new("root");
        let actor = Actor::new("blocker", factory).backoff(Backoff::none());
        let blocker = root.actor(treat(actor));
        let neighbour = Probe::new("neighbour", &Journal::default()).add_to(&mut root);
        Self { root, blocker, neighbour, wall, _elsewhere: elsewhere }
    }
}

async fn leaks(events: &mut Receiver<Event>, id: &str) -> u64 {
    event(events, |event| {
        (matches!(event.change, Change::Leaked) && event.path.ends_with(id))
            .then_some(event.incarnation)
    })
    .await
}

const ALL: [Falls; 4] = [Falls::AtOnce, Falls::InInit, Falls::PanicsInInit, Falls::TooSlow];

#[tokio::test(start_paused = true)]
async fn who_falls_in_its_start_and_still_blocks_a_thread_is_told_of_as_leaked_and_not_shown_as_up()
{
    for falls in ALL {
        for limit in [secs(2), Duration::MAX] {
            if falls == Falls::TooSlow && limit == Duration::MAX {
                continue;
            }
            let scene = Scene::new(falls, 2, |actor| actor.start_timeout(limit));
            let system = System::start(scene.root).await.unwrap();
            let mut events = system.events();
            scene.blocker.tell(panics()).unwrap();
            until(&system, |tree| tree.find("blocker").unwrap().incarnation == 2).await;
            let begun = Instant::now();
            really(|| scene.wall.count() == 1).await;
            let leaked = timeout(secs(10), leaks(&mut events, "blocker")).await;
            assert_eq!(leaked, Ok(2), "{falls:?}, {limit:?}: {:?}", system.tree().find("blocker"));
            assert!(begun.elapsed() < secs(4), "{falls:?}: {:?}", begun.elapsed());
            let shown = system.tree().find("blocker").unwrap().state;
            assert!(!matches!(shown, State::Up | State::Starting), "{falls:?}: {shown:?}");
            let asked =
                scene.blocker.ask(Instant::now() + secs(1), |reply| Message::Ping(Ping, reply));
            let asked = asked.await;
            assert!(matches!(asked, Err(CallError::Unavailable { .. })), "{falls:?}: {asked:?}");
            assert_eq!(ping(&scene.neighbour).await, 1, "{falls:?}");
            // Once it is gone, the next one starts.
            drop(scene.wall);
            really(|| is_up(&system, "blocker", 3)).await;
            assert_eq!(ping(&scene.blocker).await, 3, "{falls:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_names_who_fell_in_its_start_and_still_blocks_a_thread() {
    for falls in ALL {
        let scene = Scene::new(falls, 2, |actor| actor.start_timeout(secs(2)));
        let system = System::start(scene.root).await.unwrap();
        scene.blocker.tell(panics()).unwrap();
        really(|| scene.wall.count() == 1).await;
        tokio::time::sleep(secs(5)).await;
        let begun = Instant::now();
        let report = timeout(DEADLINE, system.shutdown(ms(100))).await.unwrap();
        assert_eq!(report.leaked, ["root/blocker"], "{falls:?}");
        assert!(begun.elapsed() <= ms(300), "{falls:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_fails_with_a_blocked_thread_is_told_of_in_time_and_names_the_actor() {
    for falls in [Falls::InInit, Falls::PanicsInInit, Falls::TooSlow] {
        for limit in [secs(2), secs(3_600)] {
            if falls == Falls::TooSlow && limit > secs(2) {
                continue;
            }
            let scene = Scene::new(falls, 1, |actor| actor.start_timeout(limit));
            let begun = Instant::now();
            let started = timeout(secs(10), System::start(scene.root)).await;
            let Ok(Err(StartError::Failed(cause))) = started else {
                panic!("{falls:?}, {limit:?}: {started:?}")
            };
            assert_eq!(cause.path(), Some("root/blocker"), "{falls:?}");
            assert!(begun.elapsed() < secs(5), "{falls:?}, {limit:?}: {:?}", begun.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_falls_in_its_first_message_is_a_fall_like_any_other() {
    let scene = Scene::new(Falls::AtOnce, 2, |actor| actor);
    let system = System::start(scene.root).await.unwrap();
    scene.blocker.tell(panics()).unwrap();
    until(&system, |tree| tree.find("blocker").unwrap().incarnation == 2).await;
    really(|| scene.wall.count() == 1).await;
    tokio::time::sleep(ms(10)).await;
    drop(scene.wall);
    really(|| is_up(&system, "blocker", 3)).await;
    let node = system.tree().find("blocker").cloned().unwrap();
    assert_eq!((node.restarts, node.last_exit.as_deref()), (2, Some("panicked: boom")));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_one_before_to_be_gone_is_no_start_that_takes_too_long() {
    let (wall, elsewhere, journal) = (Wall::default(), Elsewhere::new(), Journal::default());
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    let a = Probe::new("a", &journal).add_to(&mut below);
    root.supervisor(below);
    let neighbour = Probe::new("neighbour", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    let block = elsewhere.blocking_task(&wall);
    a.tell(act(move |cx, _| {
        block(cx);
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;
    // `below` cannot end what blocks, and begins anew beside it.
    system.restart("below").unwrap();
    until(&system, |tree| tree.find("below").unwrap().incarnation == 2).await;
    let given_up = timeout(secs(600), system.failed()).await;
    assert!(given_up.is_err(), "a blocked thread is no failed start: {}", given_up.unwrap());
    assert_eq!(ping(&neighbour).await, 1);
    let tree = system.tree();
    assert_eq!(tree.find("below").unwrap().restarts, 0, "{tree:#?}");
    drop(wall);
    really(|| is_up(&system, "below", 2)).await;
    assert_eq!(ping(&a).await, 2);
}
