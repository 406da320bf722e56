//! What can be seen of a tree from outside.

use mainstay_supervision::{Backoff, GetTree, Jitter, Shutdown, State, Supervisor, System};
use serde_json::json;

use crate::support::{
    DEADLINE, Journal, Message, Poke, Probe, act, alone, brief, exactly, hangs, in_state, ms,
    panics, ping, secs, up,
};

#[tokio::test(start_paused = true)]
async fn the_tree_is_data_with_this_shape() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = root.actor(Probe::new("a", &journal).actor().capacity(16).backoff(exactly(secs(4))));
    let mut below = Supervisor::new("below").strategy(mainstay_supervision::Strategy::RestForOne);
    let b = below.actor(Probe::new("b", &journal).actor().capacity(8));
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    b.tell(act(|cx, _| {
        cx.publish("generation", 7);
        cx.publish("reason", "an outage");
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&b).await;
    b.tell(hangs()).unwrap();
    tokio::time::sleep(secs(1)).await;
    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Backoff).await;
    tokio::time::sleep(secs(1)).await;

    let tree = serde_json::to_value(system.tree()).unwrap();
    let shape = json!({
        "id": "root", "path": "root", "state": "up", "uptime_ms": 2000, "incarnation": 1,
        "restarts": 0, "strategy": "one_for_one", "falls_left": 4,
        "children": [
            {
                "id": "a", "path": "root/a", "state": "backoff", "uptime_ms": 0,
                "restarts_in_ms": 3000, "incarnation": 1, "restarts": 1,
                "last_exit": "panicked: boom", "depth": 0, "capacity": 16, "tasks": 0,
                "handled": 0, "busy_ms": 0,
            },
            {
                "id": "below", "path": "root/below", "state": "up", "uptime_ms": 2000,
                "incarnation": 1, "restarts": 0, "strategy": "rest_for_one", "falls_left": 5,
                "children": [{
                    "id": "b", "path": "root/below/b", "state": "up", "uptime_ms": 2000,
                    "incarnation": 1, "restarts": 0, "depth": 1, "capacity": 8, "tasks": 0,
                    "handled": 2, "busy_ms": 2000, "generation": 7, "reason": "an outage",
                }],
            },
        ],
    });
    assert_eq!(tree, shape, "{tree:#}");
    assert_eq!(
        serde_json::to_value(system.recipient::<GetTree>().unwrap().ask(GetTree).await.unwrap())
            .unwrap(),
        shape
    );
}

#[tokio::test(start_paused = true)]
async fn facts_survive_a_restart_until_they_are_replaced() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let says = |number: u64| {
        act(move |cx, _| {
            cx.publish("number", number);
            Box::pin(async { Ok(()) })
        })
    };
    let fact = || system.tree().find("a").unwrap().facts.get("number").cloned();
    a.tell(says(1)).unwrap();
    a.tell(panics()).unwrap();
    up(&system, "a", 2).await;
    assert_eq!(fact(), Some(json!(1)));
    a.tell(says(2)).unwrap();
    ping(&a).await;
    assert_eq!(fact(), Some(json!(2)));
    system.shutdown(secs(1)).await;
    assert_eq!(fact(), Some(json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_changed_fact_wakes_who_waits_for_changes_and_an_equal_one_does_not() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let says_one = || {
        act(|cx, _| {
            cx.publish("number", 1);
            Box::pin(async { Ok(()) })
        })
    };
    let mut changes = system.changes();
    changes.borrow_and_update();
    a.tell(says_one()).unwrap();
    tokio::time::timeout(DEADLINE, changes.changed()).await.unwrap().unwrap();
    a.tell(says_one()).unwrap();
    ping(&a).await;
    assert!(!changes.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn events_come_in_the_order_in_which_things_happen() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = Probe::new("a", &journal).add_to(&mut root);
    let stubborn = Shutdown::Stop(secs(1));
    let b = root.actor(Probe::new("b", &journal).actor().shutdown(stubborn));
    let system = System::start(root).await.unwrap();
    let mut events = system.events();
    a.tell(panics()).unwrap();
    up(&system, "a", 2).await;
    b.tell(hangs()).unwrap();
    system.shutdown(secs(5)).await;
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(brief(&event));
    }
    let order = [
        "root/a#1 panicked: boom",
        "root/a#1 restarts",
        "root/a#2 up",
        "root/b#1 stop timed out",
        "root/b#1 killed: it did not end in time",
        "root/a#2 stopped",
    ];
    assert_eq!(told, order);
}

#[tokio::test(start_paused = true)]
async fn delays_are_told_and_shown_as_they_are() {
    let journal = Journal::default();
    let backoff =
        Backoff { min: ms(100), max: ms(400), jitter: Jitter::None, stable_after: secs(30) };
    let (system, a) = alone(Probe::new("a", &journal).actor().backoff(backoff)).await;
    for (fall, delay) in (1_u64..).zip([100, 200, 400, 400]) {
        a.tell(panics()).unwrap();
        in_state(&system, "a", State::Backoff).await;
        assert_eq!(system.tree().find("a").unwrap().restarts_in_ms, Some(delay));
        up(&system, "a", fall + 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_cut_off_is_not_shown_as_busy_for_ever() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Stop(secs(1)));
    let (system, a) = alone(actor).await;
    a.tell(hangs()).unwrap();
    tokio::time::sleep(ms(500)).await;
    assert_eq!(system.tree().find("a").unwrap().mailbox.unwrap().busy_ms, 500);
    system.remove("a").unwrap();
    in_state(&system, "a", State::Down).await;
    tokio::time::sleep(secs(60)).await;
    let mailbox = system.tree().find("a").unwrap().mailbox.unwrap();
    assert_eq!((mailbox.busy_ms, mailbox.depth), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_handled_is_counted_over_all_incarnations() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    for incarnation in 1..=3 {
        up(&system, "a", incarnation).await;
        a.tell(Message::Poke(Poke("poke"))).unwrap();
        ping(&a).await;
        a.tell(panics()).unwrap();
    }
    up(&system, "a", 4).await;
    assert_eq!(system.tree().find("a").unwrap().mailbox.unwrap().handled, 6);
}
