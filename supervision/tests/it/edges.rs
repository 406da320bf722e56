//! Where two things happen at once: a fall in an ending, a restart of what is ending, an end of the runtime.

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_supervision::{
    Actor, Backoff, BoxError, CallError, Change, Cx, Defaults, Restart, Server, Shutdown,
    StartError, State, Strategy, Supervisor, System,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, Elsewhere, How, Journal, Message, Ping, Probe, Wall, act, alone, event, in_state, ms,
    panics, ping, secs, soon, spawn, up,
};

/// Panics when it is dropped, with another one as long as there are more.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        match self.0.checked_sub(1) {
            None => panic!("a bomb was dropped"),
            Some(more) => panic_any(Bomb(more)),
        }
    }
}

/// Where the first incarnation goes off. What it goes off with is a bomb of this depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Before the future of a handler exists.
    EagerHandle,
    EagerTerminate,
    EagerInit,
    /// In the drop of what is cut off.
    CutInit,
    CutHandle,
    CutTerminate,
}

struct Eager {
    place: Where,
    depth: u32,
}

impl Server for Eager {
    type Message = Message;
    type State = ();

    fn init(&self, cx: &Cx<Message>) -> impl Future<Output = Result<(), BoxError>> + Send {
        let first = cx.incarnation() == 1;
        if first && self.place == Where::EagerInit {
            panic_any(Bomb(self.depth));
        }
        let bomb =
            (cx.incarnation() == 2 && self.place == Where::CutInit).then(|| Bomb(self.depth));
        async move {
            if bomb.is_some() {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    }

    fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        _state: &mut (),
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let first = cx.incarnation() == 1;
        if let Message::Ping(Ping, reply) = message {
            reply.send(cx.incarnation());
        } else if first && self.place == Where::EagerHandle {
            panic_any(Bomb(self.depth));
        } else if self.place == Where::CutInit {
            panic!("to the next one");
        }
        let bomb = (first && self.place == Where::CutHandle).then(|| Bomb(self.depth));
        async move {
            if bomb.is_some() {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    }

    fn terminate(&self, cx: &Cx<Message>, _state: &mut ()) -> impl Future<Output = ()> + Send {
        let first = cx.incarnation() == 1;
        if first && self.place == Where::EagerTerminate {
            panic_any(Bomb(self.depth));
        }
        let bomb = (first && self.place == Where::CutTerminate).then(|| Bomb(self.depth));
        async move {
            if bomb.is_some() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The actor goes off once, and must be back as the next incarnation.
async fn goes_off(place: Where, depth: u32) -> Result<(), String> {
    let mut root = Supervisor::new("root");
    let actor = Actor::new("a", move || Eager { place, depth })
        .backoff(Backoff::none())
        .start_timeout(ms(50))
        .shutdown(Shutdown::Stop(ms(50)));
    let a = root.actor(actor);
    let system = System::start(root).await.map_err(|error| format!("did not start: {error}"))?;
    let poke = || act(|_, _| Box::pin(async { Ok(()) }));
    let wanted = if place == Where::CutInit { 3 } else { 2 };
    match place {
        Where::EagerHandle | Where::CutInit => a.tell(poke()).unwrap(),
        Where::CutHandle => {
            a.tell(poke()).unwrap();
            tokio::time::sleep(ms(10)).await;
            system.restart("a").unwrap();
        }
        Where::EagerTerminate | Where::CutTerminate | Where::EagerInit => {
            system.restart("a").unwrap();
        }
    }
    tokio::time::sleep(secs(5)).await;
    let tree = system.tree().find("a").cloned().unwrap();
    if (tree.state, tree.incarnation) != (State::Up, wanted) {
        return Err(format!("{:?}#{} {:?}", tree.state, tree.incarnation, tree.last_exit));
    }
    let report = timeout(DEADLINE, system.shutdown(secs(1))).await;
    let report = report.map_err(|_| "the shutdown does not end".to_owned())?;
    if report.is_clean() { Ok(()) } else { Err(format!("{report:?}")) }
}

/// The same on a runtime and a thread of its own: what goes off may take both with it.
#[expect(clippy::disallowed_methods, reason = "a test waits for what it spawns")]
fn goes_off_alone(place: Where, depth: u32) -> Result<(), String> {
    let thread = std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(goes_off(place, depth))
    });
    thread.join().unwrap_or_else(|panic| {
        std::mem::forget(panic);
        Err("it took its runtime with it".to_owned())
    })
}

#[test]
fn whatever_panics_beside_the_futures_of_an_actor_fells_that_actor_once() {
    let places = [
        Where::EagerHandle,
        Where::EagerTerminate,
        Where::CutInit,
        Where::CutHandle,
        Where::CutTerminate,
    ];
    let mut wrong = Vec::new();
    for place in places {
        for depth in 0..=2 {
            if let Err(what) = goes_off_alone(place, depth) {
                wrong.push(format!("{place:?} {depth}: {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_off_and_removed_long_ago_is_no_news_of_a_shutdown() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let hung = Probe::new("hung", &journal).terminate(|_| How::Hang);
    root.actor(hung.actor().shutdown(Shutdown::Stop(ms(50))));
    Probe::new("good", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    system.remove("hung").unwrap();
    in_state(&system, "hung", State::Down).await;
    tokio::time::sleep(secs(3_600)).await;
    let report = system.shutdown(secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_off_below_a_removed_supervisor_long_ago_is_no_news_of_a_shutdown() {
    let journal = Journal::default();
    let mut below = Supervisor::new("below");
    let hung = Probe::new("hung", &journal).terminate(|_| How::Hang);
    below.actor(hung.actor().shutdown(Shutdown::Stop(ms(50))));
    let mut root = Supervisor::new("root");
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    system.remove("below").unwrap();
    in_state(&system, "below", State::Down).await;
    tokio::time::sleep(secs(3_600)).await;
    let report = system.shutdown(secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_of_what_was_removed_while_a_part_of_it_is_left_are_told_that_it_is_gone() {
    let (wall, elsewhere) = (Wall::default(), Elsewhere::new());
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = Probe::new("a", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    let blocks = elsewhere.blocking_task(&wall);
    a.tell(act(move |cx, _| {
        blocks(cx);
        Box::pin(async { Err("falls".into()) })
    }))
    .unwrap();
    in_state(&system, "a", State::Backoff).await;
    system.remove("a").unwrap();
    tokio::time::sleep(secs(10)).await;
    let asked = a.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(
        (asked, a.state()),
        (Err(CallError::Unavailable { retry_after: None }), State::Stopping)
    );
}

#[tokio::test(start_paused = true)]
async fn after_the_end_of_the_tree_nobody_waits_for_who_fell_and_blocks_a_thread() {
    let (wall, elsewhere) = (Wall::default(), Elsewhere::new());
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = Probe::new("a", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    let blocks = elsewhere.blocking_task(&wall);
    a.tell(act(move |cx, _| {
        blocks(cx);
        Box::pin(async { Err("falls".into()) })
    }))
    .unwrap();
    in_state(&system, "a", State::Backoff).await;
    let report = system.shutdown(secs(5)).await;
    assert_eq!(report.leaked, ["root/a"]);
    let ready = a.ready(Instant::now() + secs(60)).await;
    assert_eq!(
        (ready, a.state()),
        (Err(CallError::Unavailable { retry_after: None }), State::Down)
    );
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_is_never_restarted_may_take_as_long_as_it_likes_to_stall() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let job = Probe::new("job", &journal).actor().restart(Restart::Temporary);
    root.actor(job.stall_after(secs(60)));
    let started = System::start(root).await;
    assert!(started.is_ok(), "{:?}", started.err());
}

#[tokio::test(start_paused = true)]
async fn handles_of_a_tree_that_was_refused_are_not_told_to_ask_again() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = Probe::new("a", &journal).add_to(&mut root);
    Probe::new("a", &journal).add_to(&mut root);
    assert!(matches!(System::start(root).await, Err(StartError::DuplicateId { .. })));
    let asked = a.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(asked, Err(CallError::Unavailable { retry_after: None }));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_task_that_has_no_end() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Drain(secs(5)));
    let (system, a) = alone(actor).await;
    a.tell(act(|cx, _| {
        cx.task("follows", std::future::pending(), |()| panics());
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;
    let report = system.shutdown(secs(30)).await;
    assert!(report.is_clean(), "{report:?} {:?}", journal.take());
}

#[tokio::test]
async fn two_thousand_actors_that_hang_are_all_cut_off_and_none_is_called_leaked() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    for number in 0..2_000 {
        let hung = Probe::new("hung", &journal).terminate(|_| How::Hang);
        root.actor(hung.named(format!("hung{number}")));
    }
    let system = System::start(root).await.unwrap();
    let begun = Instant::now();
    let report = system.shutdown(ms(300)).await;
    let took = begun.elapsed();
    assert_eq!((report.killed.len(), report.leaked.len()), (2_000, 0), "{took:?}");
    assert!(took < ms(1_500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_ask_at_the_moment_of_a_drain_ends_before_its_deadline() {
    for round in 0..200 {
        let journal = Journal::default();
        let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Drain(secs(20)));
        let (system, a) = alone(actor.capacity(64)).await;
        let told = Arc::new(AtomicUsize::new(0));
        let handled = Arc::new(AtomicUsize::new(0));
        let mut askers = JoinSet::new();
        for _ in 0..4 {
            let (a, told, handled) = (a.clone(), Arc::clone(&told), Arc::clone(&handled));
            spawn(&mut askers, async move {
                loop {
                    let handled = Arc::clone(&handled);
                    let in_task = act(move |cx, _| {
                        cx.task("replies", async {}, move |()| {
                            act(move |_, _| {
                                handled.fetch_add(1, Ordering::SeqCst);
                                Box::pin(async { Ok(()) })
                            })
                        });
                        Box::pin(async { Ok(()) })
                    });
                    if a.tell(in_task).is_ok() {
                        told.fetch_add(1, Ordering::SeqCst);
                    }
                    let asked =
                        a.ask(Instant::now() + secs(15), |reply| Message::Ping(Ping, reply)).await;
                    match asked {
                        Ok(_) | Err(CallError::Overloaded { .. }) => {}
                        Err(CallError::Deadline { .. }) => return Err("deadline"),
                        Err(CallError::Unavailable { .. } | CallError::Died { .. }) => {
                            return Ok(());
                        }
                        Err(_) => return Err("other"),
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        tokio::time::sleep(Duration::from_micros(50 * (round % 20))).await;
        let report = timeout(secs(30), system.shutdown(secs(25))).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        while let Some(ended) = askers.join_next().await {
            assert_eq!(ended.unwrap(), Ok(()), "round {round}");
        }
        let (told, handled) = (told.load(Ordering::SeqCst), handled.load(Ordering::SeqCst));
        assert!(told.abs_diff(handled) <= 4, "round {round}: {told} told, {handled} done");
    }
}

/// Falls, restarts, removals and asks at random, on threads; in the end all is up and ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn after_a_storm_of_everything_at_once_all_come_to_rest() {
    for seed in 0..12_u64 {
        let mut rng = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = move |below: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % below
        };
        let journal = Journal::default();
        let intensity = mainstay_supervision::Intensity { max: 100_000, within: secs(3_600) };
        let defaults = Defaults { backoff: Backoff::none(), ..Defaults::default() };
        let mut root = Supervisor::new("root").intensity(intensity).defaults(defaults);
        let mut handles = Vec::new();
        for (mid, strategy) in [
            ("one", Strategy::OneForOne),
            ("rest", Strategy::RestForOne),
            ("all", Strategy::OneForAll),
        ] {
            let mut below = Supervisor::new(mid).strategy(strategy).intensity(intensity);
            for number in 0..4 {
                let id = format!("{mid}{number}");
                let shutdown = match random(3) {
                    0 => Shutdown::Kill,
                    1 => Shutdown::Drain(secs(5)),
                    _ => Shutdown::Stop(secs(5)),
                };
                let restart = if random(4) == 0 { Restart::Transient } else { Restart::Permanent };
                let probe = Probe::new("p", &journal).named(id.clone());
                handles.push((id, below.actor(probe.shutdown(shutdown).restart(restart))));
            }
            root.supervisor(below);
        }
        let system = System::start(root).await.unwrap();
        for _ in 0..400 {
            let (id, handle) = &handles[usize::try_from(random(12)).unwrap()];
            match random(9) {
                0..=2 => drop(handle.tell(panics())),
                3 | 4 => drop(system.restart(id)),
                5 => drop(
                    system.restart(["one", "rest", "all"][usize::try_from(random(3)).unwrap()]),
                ),
                6 => drop(handle.tell(act(|cx, _| {
                    cx.stop();
                    Box::pin(async { Ok(()) })
                }))),
                7 => drop(handle.tell(act(|cx, _| {
                    cx.task("t", tokio::time::sleep(ms(1)), |()| panics());
                    Box::pin(async { Ok(()) })
                }))),
                _ => tokio::time::sleep(Duration::from_micros(random(800))).await,
            }
        }
        let settled = async {
            loop {
                let tree = system.tree();
                let all = handles
                    .iter()
                    .all(|(id, _)| matches!(tree.find(id).unwrap().state, State::Up | State::Down));
                if all {
                    let mut quiet = true;
                    for (id, handle) in &handles {
                        let asked = handle
                            .ask(Instant::now() + secs(10), |reply| Message::Ping(Ping, reply))
                            .await;
                        let state = system.tree().find(id).unwrap().state;
                        quiet &= asked.is_ok() || state == State::Down;
                    }
                    if quiet {
                        return;
                    }
                }
                tokio::time::sleep(ms(5)).await;
            }
        };
        let settled = timeout(secs(30), settled).await;
        assert!(settled.is_ok(), "seed {seed}: {:#?}", system.tree());
        let report = timeout(secs(30), system.shutdown(secs(20))).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        let tree = system.tree();
        for (id, _) in &handles {
            assert_eq!(tree.find(id).unwrap().state, State::Down, "{id}");
            assert_eq!(tree.find(id).unwrap().mailbox.unwrap().depth, 0, "{id}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_that_is_nearer_holds_for_supervisors_that_give_up() {
    let journal = Journal::default();
    let mut below = Supervisor::new("below");
    let hung = Probe::new("hung", &journal).terminate(|_| How::Hang);
    below.actor(hung.actor().shutdown(Shutdown::Stop(secs(600))));
    let bad = Probe::new("bad", &journal).actor().significant();
    let bad = below.actor(bad);
    let mut root = Supervisor::new("root");
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    let mut events = system.events();
    bad.tell(panics()).unwrap();
    event(&mut events, |event| matches!(event.change, Change::Escalated { .. }).then_some(()))
        .await;
    let begun = Instant::now();
    let mut first = JoinSet::new();
    let waits = system.clone();
    spawn(&mut first, async move { waits.shutdown(secs(60)).await });
    tokio::time::sleep(ms(1)).await;
    let second = system.shutdown(ms(100)).await;
    assert!(begun.elapsed() < ms(200), "{:?}", begun.elapsed());
    assert_eq!(second.killed, ["root/below/hung"]);
    assert_eq!(first.join_next().await.unwrap().unwrap(), second);
}

#[tokio::test(start_paused = true)]
async fn a_remove_and_a_restart_by_hand_leave_no_one_waiting_in_a_rest_for_one_boot() {
    let journal = Journal::default();
    let mut below = Supervisor::new("below").strategy(Strategy::RestForOne);
    for id in ["a", "b", "c"] {
        let probe = Probe::new(id, &journal).init(|_| How::Slow(ms(100)));
        probe.add_to(&mut below);
    }
    let mut root = Supervisor::new("root");
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    system.restart("below").unwrap();
    tokio::time::sleep(ms(150)).await;
    system.restart("b").unwrap();
    system.restart("c").unwrap();
    system.remove("a").unwrap();
    up(&system, "b", 3).await;
    up(&system, "c", 3).await;
    in_state(&system, "below", State::Up).await;
    assert!(system.shutdown(secs(5)).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_tasks_for_half_of_a_shorter_budget() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Drain(secs(30)));
    let (system, a) = alone(actor).await;
    a.tell(act(|cx, _| {
        cx.task("follows", std::future::pending(), |()| panics());
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;
    let report = system.shutdown(secs(10)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(journal.take(), ["a#1 init", "a#1 terminate", "a#1 dropped"]);
}
