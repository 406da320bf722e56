//! An actor's own values (errors, panic payloads, messages, states, servers) may panic whenever they
//! are shown or dropped. That is the actor's fall, at most: no supervisor and no neighbour falls by
//! it, nobody is kept waiting, and the process goes on.

use std::error::Error;
use std::fmt;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use mainstay_supervision::{
    Actor, Backoff, BoxError, CallError, Cx, Handle, Nursery, Reply, Server, Shutdown, StartError,
    State, Supervisor, System,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, Held, Journal, Message, Ping, Probe, act, alone, eventually, hangs, ms, panics, ping,
    secs, soon, until, up,
};

/// Panics when it is dropped, with a payload that does the same as often as it says.
#[derive(Debug)]
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        match self.0.checked_sub(1) {
            None => panic!("a bomb was dropped"),
            Some(more) => panic_any(Bomb(more)),
        }
    }
}

/// Made only if it is wanted: it would go off at once.
fn bomb_if(wanted: bool) -> Option<Bomb> {
    if wanted { Some(Bomb(1)) } else { None }
}

/// root/{below/{a, b}, c}: who falls is `a`.
struct Family {
    system: System,
    a: Handle<Message>,
    neighbours: [Handle<Message>; 2],
    journal: Journal,
}

impl Family {
    async fn new(a: impl FnOnce(Probe) -> Actor<Probe>) -> Self {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let mut below = Supervisor::new("below");
        let a = below.actor(a(Probe::new("a", &journal)));
        let b = Probe::new("b", &journal).add_to(&mut below);
        root.supervisor(below);
        let c = Probe::new("c", &journal).add_to(&mut root);
        let system = System::start(root).await.unwrap();
        Self { system, a, neighbours: [b, c], journal }
    }

    /// `a` is there for the `incarnation`th time; nothing else has fallen.
    async fn only_a_fell(&self, incarnation: u64, what: &str) {
        up(&self.system, "a", incarnation).await;
        assert_eq!(ping(&self.a).await, incarnation, "{what}");
        for neighbour in &self.neighbours {
            assert_eq!(ping(neighbour).await, 1, "{what}");
        }
        let tree = self.system.tree();
        assert_eq!((tree.state, tree.find("below").unwrap().incarnation), (State::Up, 1), "{what}");
    }

    /// Nor does what was left of `a`'s falls harm anybody later.
    async fn ends_well(self, what: &str) {
        let before = self.system.tree().find("a").unwrap().incarnation;
        self.a.tell(panics()).unwrap();
        self.only_a_fell(before + 1, what).await;
        let report = timeout(DEADLINE, self.system.shutdown(secs(5))).await.unwrap();
        assert!(report.is_clean(), "{what}: {report:?}");
        assert!(timeout(secs(1), self.system.failed()).await.is_err(), "{what}");
    }
}

fn fails(error: impl FnOnce() -> BoxError + Send + 'static) -> Message {
    act(move |_, _| Box::pin(async move { Err(error()) }))
}

// ---- errors ----

/// An error that panics at the showing, or at the asking for its source, after so many that went
/// well.
#[derive(Debug)]
struct Shy {
    shows: AtomicUsize,
    sources: AtomicUsize,
    _bomb: Option<Bomb>,
}

impl Shy {
    fn after(shows: usize, sources: usize) -> Self {
        let (shows, sources) = (AtomicUsize::new(shows), AtomicUsize::new(sources));
        Self { shows, sources, _bomb: None }
    }
}

type MakeShy = fn() -> Shy;

fn one_less(count: &AtomicUsize, what: &str) {
    let left = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    assert!(left.is_ok(), "{what} once more");
}

impl fmt::Display for Shy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_less(&self.shows, "shown");
        f.write_str("shy")
    }
}

impl Error for Shy {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        one_less(&self.sources, "asked for its source");
        None
    }
}

/// An error that owns something.
#[derive(Debug)]
struct Owns<T>(T);

impl<T> fmt::Display for Owns<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it owns something")
    }
}

impl<T: fmt::Debug> Error for Owns<T> {}

#[derive(Debug)]
struct Because<T>(Owns<T>);

impl<T> fmt::Display for Because<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("because")
    }
}

impl<T: fmt::Debug + 'static> Error for Because<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_dropped_harms_neither_now_nor_at_the_next_fall() {
    type Make = fn() -> BoxError;
    let errors: [(&str, Make); 3] = [
        ("itself", || Owns(Bomb(0)).into()),
        ("its source", || Because(Owns(Bomb(0))).into()),
        ("with a payload that does so too", || Owns(Bomb(2)).into()),
    ];
    for (what, error) in errors {
        let family = Family::new(Probe::actor).await;
        for incarnation in 2..=4 {
            family.a.tell(fails(error)).unwrap();
            family.only_a_fell(incarnation, what).await;
        }
        family.ends_well(what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_dropped_harms_nobody_as_the_reason_of_a_giving_up() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    let a = Probe::new("a", &journal).add_to(&mut below);
    root.supervisor(below);
    let c = Probe::new("c", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    for fall in 1..=6 {
        up(&system, "a", fall).await;
        a.tell(fails(|| Owns(Bomb(0)).into())).unwrap();
    }
    // The cause of below's end is kept by the root until below has ended once more.
    up(&system, "below", 2).await;
    system.restart("below").unwrap();
    up(&system, "below", 3).await;
    assert_eq!((ping(&c).await, ping(&a).await), (1, 8));
    assert_eq!(system.tree().state, State::Up);
    assert!(timeout(DEADLINE, system.shutdown(secs(5))).await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shown_once_where_it_fell_and_its_text_is_what_is_known_of_it() {
    let errors: [(&str, MakeShy); 2] =
        [("Display", || Shy::after(1, 1_000)), ("source", || Shy::after(1_000, 1))];
    for (what, error) in errors {
        let family = Family::new(Probe::actor).await;
        let mut events = family.system.events();
        family.a.tell(fails(move || error().into())).unwrap();
        family.only_a_fell(2, what).await;
        for _ in 0..3 {
            let exit = family.system.tree().find("a").unwrap().last_exit.clone();
            assert_eq!(exit.as_deref(), Some("failed: shy"), "{what}");
        }
        let told = crate::support::event(&mut events, |event| match &event.change {
            mainstay_supervision::Change::Exited { exit, .. } => Some(exit.to_string()),
            _ => None,
        });
        assert_eq!(told.await, "failed: shy", "{what}");
        family.ends_well(what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_be_shown_at_all_is_a_fall_like_any_other() {
    let errors: [(&str, MakeShy); 3] = [
        ("Display", || Shy::after(0, 1_000)),
        ("source", || Shy::after(1_000, 0)),
        ("nor dropped", || Shy { _bomb: Some(Bomb(0)), ..Shy::after(0, 0) }),
    ];
    for (what, error) in errors {
        let family = Family::new(Probe::actor).await;
        family.a.tell(fails(move || error().into())).unwrap();
        family.only_a_fell(2, what).await;
        family.ends_well(what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_reply_that_a_fall_took_with_it_is_told_at_once() {
    type Takes = fn(Reply<u64>) -> Message;
    let ways: [(&str, Takes); 5] = [
        ("an error", |reply| fails(|| Owns(reply).into())),
        ("the source of an error", |reply| fails(|| Because(Owns(reply)).into())),
        ("the payload of a panic", |reply| act(|_, _| Box::pin(async { panic_any(reply) }))),
        ("the payload of a task's panic", |reply| {
            act(move |cx, _| {
                cx.task("panics", async { panic_any(reply) }, |()| panics());
                Box::pin(async { Ok(()) })
            })
        }),
        ("an error of which the drop panics", |reply| fails(|| Owns((Bomb(0), reply)).into())),
    ];
    for (way, takes) in ways {
        let family = Family::new(Probe::actor).await;
        let begun = Instant::now();
        let answer = family.a.ask(soon(), takes).await;
        assert_eq!(answer, Err(CallError::Died { incarnation: 1 }), "{way}");
        assert!(begun.elapsed() < secs(1), "{way}: {:?}", begun.elapsed());
        family.only_a_fell(2, way).await;
    }
}

// ---- panic payloads ----

#[tokio::test(start_paused = true)]
async fn a_panic_whose_payload_panics_when_it_is_dropped_is_one_fall() {
    type Falls = fn(u32) -> Message;
    let ways: [(&str, Falls); 3] = [
        ("in a message", |more| act(move |_, _| Box::pin(async move { panic_any(Bomb(more)) }))),
        ("in a task", |more| {
            act(move |cx, _| {
                cx.task("panics", async move { panic_any(Bomb(more)) }, |()| panics());
                Box::pin(async { Ok(()) })
            })
        }),
        ("in the making of a task's message", |more| {
            act(move |cx, _| {
                cx.task("panics", async {}, move |()| panic_any(Bomb(more)));
                Box::pin(async { Ok(()) })
            })
        }),
    ];
    for (way, falls) in ways {
        for more in 0..=2 {
            let family = Family::new(Probe::actor).await;
            for incarnation in 2..=3 {
                family.a.tell(falls(more)).unwrap();
                family.only_a_fell(incarnation, way).await;
            }
            assert_eq!(family.system.tree().find("a").unwrap().restarts, 2, "{way}");
            family.ends_well(way).await;
        }
    }
}

/// An actor that goes off wherever it is told to.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a place of its own")]
struct Mine {
    /// In each of these, a panic with a payload that is a bomb itself.
    in_factory: bool,
    in_init: bool,
    in_terminate: bool,
    /// An error of `init` that can be neither shown nor dropped.
    by_init_error: bool,
    drops_state: bool,
    drops_server: bool,
}

/// Goes off in the first incarnation alone.
struct Live {
    mine: Mine,
    _server: Option<Bomb>,
}

impl Server for Live {
    type Message = Message;
    type State = Option<Bomb>;

    async fn init(&self, cx: &Cx<Message>) -> Result<Option<Bomb>, BoxError> {
        if cx.incarnation() != 1 {
            return Ok(None);
        }
        if self.mine.in_init {
            panic_any(Bomb(1));
        }
        if self.mine.by_init_error {
            return Err(Shy { _bomb: Some(Bomb(1)), ..Shy::after(0, 0) }.into());
        }
        Ok(bomb_if(self.mine.drops_state))
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        _bomb: &mut Option<Bomb>,
    ) -> Result<(), BoxError> {
        let (journal, me) = (Journal::default(), String::new());
        match message {
            Message::Ping(Ping, reply) => reply.send(cx.incarnation()),
            Message::Act(deed) => deed(cx, &mut Held::of(me, journal)).await?,
            Message::Poke(_) | Message::Ask(..) => {}
        }
        Ok(())
    }

    async fn terminate(&self, cx: &Cx<Message>, _bomb: &mut Option<Bomb>) {
        if self.mine.in_terminate && cx.incarnation() == 1 {
            panic_any(Bomb(1));
        }
    }
}

impl Mine {
    /// An actor of which the incarnations after the first are harmless.
    fn actor(self) -> Actor<Live> {
        let made = Arc::new(AtomicUsize::new(0));
        Actor::new("mine", move || {
            let first = made.fetch_add(1, Ordering::SeqCst) == 0;
            if first && self.in_factory {
                panic_any(Bomb(1));
            }
            Live { mine: self, _server: bomb_if(first && self.drops_server) }
        })
        .backoff(Backoff::none())
    }
}

/// All that can go off while an incarnation ends, alone and together.
fn mines_at_the_end() -> impl Iterator<Item = Mine> {
    (1..8_u8).map(|which| Mine {
        drops_state: which & 1 != 0,
        drops_server: which & 2 != 0,
        in_terminate: which & 4 != 0,
        ..Mine::default()
    })
}

#[tokio::test(start_paused = true)]
async fn a_state_a_server_and_a_goodbye_that_all_panic_end_one_incarnation_and_not_the_process() {
    type Ends = fn(&System, &Handle<Message>);
    let ways: [(&str, Ends); 5] = [
        ("restarted by hand", |system, _| system.restart("mine").unwrap()),
        ("after a panic", |_, mine| mine.tell(panics()).unwrap()),
        ("after an error", |_, mine| mine.tell(fails(|| "wrong".into())).unwrap()),
        ("ended by itself", |_, mine| {
            mine.tell(act(|cx, _| {
                cx.stop();
                Box::pin(async { Ok(()) })
            }))
            .unwrap();
        }),
        ("cut off in a message", |system, mine| {
            mine.tell(hangs()).unwrap();
            system.restart("mine").unwrap();
        }),
    ];
    for mine in mines_at_the_end() {
        for (way, ends) in ways {
            let journal = Journal::default();
            let mut root = Supervisor::new("root");
            let handle = root.actor(mine.actor());
            let neighbour = Probe::new("neighbour", &journal).add_to(&mut root);
            let system = System::start(root).await.unwrap();
            ends(&system, &handle);
            until(&system, |tree| {
                let mine = tree.find("mine").unwrap();
                mine.state == State::Up && mine.incarnation == 2
            })
            .await;
            assert_eq!((ping(&handle).await, ping(&neighbour).await), (2, 1), "{way}, {mine:?}");
            assert!(timeout(DEADLINE, system.shutdown(secs(5))).await.unwrap().is_clean());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_of_actors_whose_parts_panic_in_their_drops_is_clean() {
    for shutdown in [Shutdown::Stop(secs(5)), Shutdown::Drain(secs(5)), Shutdown::Kill] {
        for mine in mines_at_the_end() {
            let mut root = Supervisor::new("root");
            root.actor(mine.actor().shutdown(shutdown));
            let system = System::start(root).await.unwrap();
            let report = timeout(DEADLINE, system.shutdown(secs(30))).await.unwrap();
            assert!(report.is_clean(), "{shutdown:?}, {mine:?}: {report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_with_values_that_panic_in_their_drops_fails_and_names_the_actor() {
    let none = Mine::default();
    let mines = [
        Mine { in_factory: true, ..none },
        Mine { in_init: true, ..none },
        Mine { in_init: true, drops_server: true, ..none },
        Mine { by_init_error: true, ..none },
        Mine { by_init_error: true, drops_server: true, ..none },
    ];
    for mine in mines {
        let mut root = Supervisor::new("root");
        root.actor(mine.actor());
        let error = timeout(DEADLINE, System::start(root)).await.unwrap().unwrap_err();
        let StartError::Failed(cause) = error else { panic!("{mine:?}: {error:?}") };
        assert_eq!(cause.path(), Some("root/mine"), "{mine:?}");
    }
}

// ---- messages, tasks and timers that are lost ----

/// A message that panics when it is dropped unhandled.
fn trapped() -> Message {
    let bomb = Bomb(1);
    act(move |_, _| {
        std::mem::forget(bomb);
        Box::pin(async { Ok(()) })
    })
}

#[tokio::test(start_paused = true)]
async fn messages_that_panic_when_they_are_dropped_in_the_queue_are_lost_like_any_others() {
    type Ends = fn(&Family, &Arc<Semaphore>);
    let ways: [(&str, Ends); 4] = [
        ("after a panic", |_, gate| gate.add_permits(1)),
        ("restarted by hand", |family, gate| {
            family.system.restart("a").unwrap();
            gate.add_permits(1);
        }),
        ("cut off", |family, _| family.system.restart("a").unwrap()),
        ("removed", |family, _| family.system.remove("a").unwrap()),
    ];
    for (way, ends) in ways {
        for count in [1, 3] {
            let family = Family::new(Probe::actor).await;
            let gate = Arc::new(Semaphore::new(0));
            let waits = Arc::clone(&gate);
            family
                .a
                .tell(act(move |_, _| {
                    Box::pin(async move {
                        waits.acquire().await?.forget();
                        Ok(())
                    })
                }))
                .unwrap();
            family.a.tell(panics()).unwrap();
            for _ in 0..count {
                family.a.tell(trapped()).unwrap();
            }
            let asked = family.a.ask(soon(), |reply| Message::Ping(Ping, reply));
            let mut asked = Box::pin(asked);
            assert!(asked.as_mut().now_or_never().is_none());
            ends(&family, &gate);
            let begun = Instant::now();
            assert_eq!(asked.await, Err(CallError::Died { incarnation: 1 }), "{way}, {count}");
            assert!(begun.elapsed() < secs(10), "{way}, {count}");
            if way == "removed" {
                crate::support::in_state(&family.system, "a", State::Down).await;
                assert_eq!(ping(&family.neighbours[0]).await, 1, "{way}, {count}");
            } else {
                family.only_a_fell(2, way).await;
                family.ends_well(way).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_when_it_is_skipped_harms_nobody_else() {
    let family = Family::new(Probe::actor).await;
    family
        .a
        .tell(act(|_, _| {
            Box::pin(async {
                tokio::time::sleep(secs(1)).await;
                Ok(())
            })
        }))
        .unwrap();
    let late = family.a.ask(Instant::now() + ms(10), |reply| {
        let bomb = Bomb(1);
        act(move |_, _| {
            std::mem::forget(bomb);
            reply.send(1_u64);
            Box::pin(async { Ok(()) })
        })
    });
    assert!(late.await.is_err());
    tokio::time::sleep(secs(2)).await;
    for neighbour in &family.neighbours {
        assert_eq!(ping(neighbour).await, 1);
    }
    family.a.ready(soon()).await.unwrap();
    family.ends_well("skipped").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_in_the_middle_may_panic_in_its_drop() {
    type Holds = fn() -> Message;
    let ways: [(&str, Holds); 4] = [
        ("a handler", || {
            act(|_, _| {
                Box::pin(async {
                    let _bomb = Bomb(1);
                    std::future::pending().await
                })
            })
        }),
        ("a task", || {
            act(|cx, _| {
                let work = async {
                    let _bomb = Bomb(1);
                    std::future::pending::<()>().await;
                };
                cx.task("holds", work, |()| panics());
                Box::pin(async { Ok(()) })
            })
        }),
        ("a timer", || {
            act(|cx, _| {
                cx.after(secs(3_600), trapped());
                Box::pin(async { Ok(()) })
            })
        }),
        ("a tick", || {
            act(|cx, _| {
                let bomb = Bomb(1);
                cx.every(secs(3_600), move || {
                    let _ = &bomb;
                    panics()
                });
                Box::pin(async { Ok(()) })
            })
        }),
    ];
    for (way, holds) in ways {
        for falls in [false, true] {
            let family = Family::new(Probe::actor).await;
            family.a.tell(holds()).unwrap();
            eventually(|| way == "a handler" || family.a.depth() == 0).await;
            if falls && way != "a handler" {
                family.a.tell(panics()).unwrap();
            } else {
                family.system.restart("a").unwrap();
            }
            family.only_a_fell(2, way).await;
            if !falls && way != "a handler" {
                let goodbye = "a#1 terminate".to_owned();
                assert!(family.journal.lines().contains(&goodbye), "{way} cost the goodbye");
            }
            family.ends_well(way).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn work_in_a_nursery_that_panics_with_such_a_payload_harms_no_other_work() {
    let mut root = Supervisor::new("root");
    let nursery = Nursery::add_to(&mut root, "nursery", 8);
    let system = System::start(root).await.unwrap();
    let done = Journal::default();
    let log = done.clone();
    let neighbour = async move {
        tokio::time::sleep(secs(1)).await;
        log.write("done");
    };
    nursery.start("neighbour", neighbour).unwrap();
    for more in 0..=2 {
        nursery.start("panics", async move { panic_any(Bomb(more)) }).unwrap();
    }
    eventually(|| nursery.running() == 0).await;
    assert_eq!(done.take(), ["done"]);
    let nurse = system.tree().find("nursery").cloned().unwrap();
    assert_eq!((nurse.incarnation, nurse.restarts), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_waits_for_may_panic_in_its_drop_without_felling_more_than_its_actor() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let gone = a.ask(soon(), |reply: Reply<Bomb>| {
        act(move |_, _| {
            Box::pin(async move {
                tokio::time::sleep(ms(10)).await;
                reply.send(Bomb(1));
                Ok(())
            })
        })
    });
    // Begun, and then given up.
    assert!(timeout(ms(1), gone).await.is_err());
    tokio::time::sleep(secs(1)).await;
    assert!(a.ready(soon()).await.is_ok());
    assert_eq!(system.tree().state, State::Up);
    assert!(timeout(DEADLINE, system.shutdown(secs(5))).await.unwrap().is_clean());
}
