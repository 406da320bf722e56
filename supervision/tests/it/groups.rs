//! Who comes back when siblings are restarted together: as in OTP, everyone who is not temporary.

use mainstay_supervision::{Actor, Handle, Restart, State, Strategy, Supervisor, System};

use crate::support::{Journal, Message, Probe, act, exactly, in_state, panics, ping, secs, up};

/// Makes an actor end by itself, in good order.
async fn ends(system: &System, id: &str, handle: &Handle<Message>) {
    handle
        .tell(act(|cx, _| {
            cx.stop();
            Box::pin(async { Ok(()) })
        }))
        .unwrap();
    in_state(system, id, State::Down).await;
}

/// root/{a, b, c}: `b` is treated by `treat`.
async fn three(
    strategy: Strategy,
    journal: &Journal,
    treat: impl FnOnce(Actor<Probe>) -> Actor<Probe>,
) -> (System, [Handle<Message>; 3]) {
    let mut root = Supervisor::new("root").strategy(strategy);
    let a = Probe::new("a", journal).add_to(&mut root);
    let b = root.actor(treat(Probe::new("b", journal).actor()));
    let c = Probe::new("c", journal).add_to(&mut root);
    (System::start(root).await.unwrap(), [a, b, c])
}

#[tokio::test(start_paused = true)]
async fn a_transient_actor_that_had_ended_well_is_started_again_with_its_siblings() {
    for (strategy, fallen) in
        [(Strategy::OneForAll, 0), (Strategy::OneForAll, 2), (Strategy::RestForOne, 0)]
    {
        let journal = Journal::default();
        let transient = |actor: Actor<Probe>| actor.restart(Restart::Transient);
        let (system, handles) = three(strategy, &journal, transient).await;
        ends(&system, "b", &handles[1]).await;
        journal.take();
        handles[fallen].tell(panics()).unwrap();
        up(&system, "c", 2).await;
        let b = system.tree().find("b").cloned().unwrap();
        assert_eq!((b.state, b.incarnation), (State::Up, 2), "{strategy:?}, {fallen} fell");
        assert_eq!(ping(&handles[1]).await, 2);
        // In its turn, and not as a fall of its own.
        let starts: Vec<_> =
            journal.take().into_iter().filter(|line| line.ends_with("init")).collect();
        assert_eq!(starts, ["a#2 init", "b#2 init", "c#2 init"]);
        assert_eq!(b.restarts, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transient_actor_comes_back_with_the_group_as_often_as_it_ended_before() {
    let journal = Journal::default();
    let transient = |actor: Actor<Probe>| actor.restart(Restart::Transient);
    let (system, handles) = three(Strategy::OneForAll, &journal, transient).await;
    for incarnation in 1..=4 {
        up(&system, "b", incarnation).await;
        ends(&system, "b", &handles[1]).await;
        handles[0].tell(panics()).unwrap();
    }
    up(&system, "b", 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_transient_actor_that_ends_while_its_group_waits_to_be_restarted_comes_back_too() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").strategy(Strategy::OneForAll);
    let a = root.actor(Probe::new("a", &journal).actor().backoff(exactly(secs(5))));
    // Its end takes a while, and the group's restart begins meanwhile.
    let slow = Probe::new("b", &journal)
        .terminate(|_| crate::support::How::Slow(secs(1)))
        .actor()
        .restart(Restart::Transient);
    let b = root.actor(slow);
    let system = System::start(root).await.unwrap();
    b.tell(act(|cx, _| {
        cx.stop();
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    in_state(&system, "b", State::Stopping).await;
    a.tell(panics()).unwrap();
    up(&system, "a", 2).await;
    up(&system, "b", 2).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_ended_below_a_supervisor_that_is_restarted_with_its_group_starts_again() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").strategy(Strategy::OneForAll);
    let a = Probe::new("a", &journal).add_to(&mut root);
    let mut below = Supervisor::new("below");
    let b = below.actor(Probe::new("b", &journal).actor().restart(Restart::Transient));
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    ends(&system, "b", &b).await;
    a.tell(panics()).unwrap();
    up(&system, "below", 2).await;
    up(&system, "b", 2).await;
}

#[tokio::test(start_paused = true)]
async fn those_before_the_fallen_one_the_temporary_and_the_removed_stay_down() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let journal = Journal::default();
        let temporary = |actor: Actor<Probe>| actor.restart(Restart::Temporary);
        let (system, handles) = three(strategy, &journal, temporary).await;
        ends(&system, "b", &handles[1]).await;
        handles[0].tell(panics()).unwrap();
        up(&system, "c", 2).await;
        assert_eq!(system.tree().find("b").unwrap().state, State::Down, "{strategy:?}");

        let transient = |actor: Actor<Probe>| actor.restart(Restart::Transient);
        let (system, handles) = three(strategy, &journal, transient).await;
        ends(&system, "b", &handles[1]).await;
        system.remove("b").unwrap();
        handles[0].tell(panics()).unwrap();
        up(&system, "c", 2).await;
        assert_eq!(system.tree().find("b").unwrap().state, State::Down, "{strategy:?}, removed");
    }
    for strategy in [Strategy::RestForOne, Strategy::OneForOne] {
        let journal = Journal::default();
        let transient = |actor: Actor<Probe>| actor.restart(Restart::Transient);
        let (system, handles) = three(strategy, &journal, transient).await;
        ends(&system, "b", &handles[1]).await;
        handles[2].tell(panics()).unwrap();
        up(&system, "c", 2).await;
        assert_eq!(system.tree().find("b").unwrap().state, State::Down, "{strategy:?}, spared");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_by_hand_brings_back_none_but_the_one_it_names() {
    let journal = Journal::default();
    let transient = |actor: Actor<Probe>| actor.restart(Restart::Transient);
    let (system, handles) = three(Strategy::OneForAll, &journal, transient).await;
    ends(&system, "b", &handles[1]).await;
    system.restart("a").unwrap();
    up(&system, "a", 2).await;
    assert_eq!(system.tree().find("b").unwrap().state, State::Down);
    assert_eq!(system.tree().find("c").unwrap().incarnation, 1);
}
