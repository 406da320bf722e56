//! What was removed is gone, and whoever wants something of it is told so.

use std::time::Duration;

use mainstay_supervision::{
    CallError, Handle, Intensity, NoActor, Restart, Shutdown, State, Supervisor, System,
};
use tokio::time::timeout;

use crate::support::{
    DEADLINE, How, Journal, Message, Probe, alone, count, exactly, hangs, in_state, panics, secs,
    up,
};

/// root/{below/{a}, b}.
async fn tree(journal: &Journal) -> System {
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    Probe::new("a", journal).add_to(&mut below);
    root.supervisor(below);
    Probe::new("b", journal).add_to(&mut root);
    System::start(root).await.unwrap()
}

fn names(id: &str, done: Result<(), NoActor>) {
    assert_eq!(done.unwrap_err().id, id);
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_can_be_neither_restarted_nor_removed_again() {
    for id in ["a", "b", "below"] {
        let journal = Journal::default();
        let system = tree(&journal).await;
        system.remove(id).unwrap();
        in_state(&system, id, State::Down).await;
        for _ in 0..2 {
            names(id, system.restart(id));
            names(id, system.remove(id));
        }
        assert_eq!(system.tree().find(id).unwrap().state, State::Down);
        assert!(!journal.lines().iter().any(|line| line.contains("#2")));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_below_what_was_removed_can_be_neither_restarted_nor_removed() {
    let journal = Journal::default();
    let system = tree(&journal).await;
    system.remove("below").unwrap();
    in_state(&system, "below", State::Down).await;
    names("a", system.restart("a"));
    names("a", system.remove("a"));
}

#[tokio::test(start_paused = true)]
async fn from_the_removal_on_a_restart_is_an_error_also_while_the_actor_still_ends() {
    let journal = Journal::default();
    let slow = Probe::new("a", &journal).terminate(|_| How::Slow(secs(2))).actor();
    let (system, _) = alone(slow).await;
    system.remove("a").unwrap();
    names("a", system.restart("a"));
    in_state(&system, "a", State::Stopping).await;
    names("a", system.restart("a"));
    names("a", system.remove("a"));
    in_state(&system, "a", State::Down).await;
    assert_eq!(count(&journal, "a#1 terminate"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_while_it_hung_waited_or_started_can_not_be_restarted_either() {
    for way in ["hung", "waited", "started"] {
        let journal = Journal::default();
        let hook = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
        let mut actor = Probe::new("a", &journal).init(hook).actor();
        if way == "waited" {
            actor = actor.backoff(exactly(secs(5)));
        }
        let (system, a) = alone(actor.shutdown(Shutdown::Stop(secs(2)))).await;
        match way {
            "hung" => a.tell(hangs()).unwrap(),
            "waited" => {
                a.tell(panics()).unwrap();
                in_state(&system, "a", State::Backoff).await;
            }
            _ => {
                a.tell(panics()).unwrap();
                in_state(&system, "a", State::Starting).await;
            }
        }
        system.remove("a").unwrap();
        in_state(&system, "a", State::Down).await;
        names("a", system.restart("a"));
        let gone = a.ready(crate::support::soon()).await;
        assert_eq!(gone, Err(CallError::Unavailable { retry_after: None }), "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_outlives_a_restart_of_the_supervisor_above_and_so_does_its_error() {
    let journal = Journal::default();
    let system = tree(&journal).await;
    system.remove("a").unwrap();
    in_state(&system, "a", State::Down).await;
    system.restart("below").unwrap();
    up(&system, "below", 2).await;
    names("a", system.restart("a"));
    names("a", system.remove("a"));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_nobodys_or_the_roots_or_of_a_tree_that_has_ended_is_an_error() {
    let journal = Journal::default();
    let system = tree(&journal).await;
    for id in ["nobody", "root", "root/b", ""] {
        names(id, system.restart(id));
        names(id, system.remove(id));
    }
    assert!(timeout(DEADLINE, system.shutdown(Duration::from_secs(5))).await.is_ok());
    for id in ["a", "b", "below"] {
        names(id, system.restart(id));
        names(id, system.remove(id));
    }
}

#[tokio::test(start_paused = true)]
async fn what_ended_for_good_without_being_removed_can_be_restarted() {
    for restart in [Restart::Transient, Restart::Temporary] {
        let journal = Journal::default();
        let (system, a) = alone(Probe::new("a", &journal).actor().restart(restart)).await;
        a.tell(crate::support::act(|cx, _| {
            cx.stop();
            Box::pin(async { Ok(()) })
        }))
        .unwrap();
        in_state(&system, "a", State::Down).await;
        system.restart("a").unwrap();
        up(&system, "a", 2).await;
        system.remove("a").unwrap();
        in_state(&system, "a", State::Down).await;
        names("a", system.restart("a"));
    }
}

/// root/{below/{slow, a}, b}: `slow` needs two seconds to end, and ends before `a` could.
async fn slow_to_end(journal: &Journal, below: Supervisor) -> (System, Handle<Message>) {
    let mut root = Supervisor::new("root");
    let mut below = below;
    let a = Probe::new("a", journal).add_to(&mut below);
    Probe::new("slow", journal).terminate(|_| How::Slow(secs(2))).add_to(&mut below);
    root.supervisor(below);
    Probe::new("b", journal).add_to(&mut root);
    (System::start(root).await.unwrap(), a)
}

#[tokio::test(start_paused = true)]
async fn while_everything_ends_a_restart_is_an_error_because_nothing_comes_of_it() {
    let journal = Journal::default();
    let (system, _) = slow_to_end(&journal, Supervisor::new("below")).await;
    let during = async {
        in_state(&system, "slow", State::Stopping).await;
        for id in ["a", "b", "below", "slow"] {
            names(id, system.restart(id));
        }
    };
    let (report, ()) = tokio::join!(system.shutdown(secs(5)), during);
    assert!(report.is_clean());
    assert!(!journal.lines().iter().any(|line| line.contains("#2")));
}

#[tokio::test(start_paused = true)]
async fn below_a_supervisor_that_gives_up_a_restart_is_an_error_until_it_is_back() {
    let journal = Journal::default();
    let none = Intensity { max: 0, within: secs(30) };
    let (system, a) = slow_to_end(&journal, Supervisor::new("below").intensity(none)).await;
    a.tell(panics()).unwrap();
    in_state(&system, "slow", State::Stopping).await;
    names("a", system.restart("a"));
    names("slow", system.restart("slow"));
    up(&system, "below", 2).await;
    system.restart("a").unwrap();
    up(&system, "a", 3).await;
}
