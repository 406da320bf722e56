//! What supervision takes for granted in ractor, pinned on ractor itself and nothing of ours.
//! After an upgrade of ractor a failing test here names the assumption that fell.
#![allow(clippy::unwrap_used, reason = "only tests use these helpers")]

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;
use std::{fmt, mem};

use futures_util::FutureExt as _;
use ractor::rpc::CallResult;
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, MessagingErr, RactorErr,
    RpcReplyPort, SpawnErr, SupervisionEvent,
};
use tokio::sync::Notify;
use tokio::task::{self, JoinHandle, block_in_place, yield_now};
use tokio::time::{sleep, timeout};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Dispatch, Instrument as _, Span, Subscriber, dispatcher, info_span};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan as _, Registry};

const DEADLINE: Duration = Duration::from_secs(10);
const NOTHING: [&str; 0] = [];
const FAILURES: [(Deed, &str); 2] = [(Deed::Fail, "a typed fault"), (Deed::Panic, "a panic")];

// ---- start ----

#[tokio::test(start_paused = true)]
async fn unnamed_actors_never_collide_while_names_are_one_per_process() {
    let journal = Journal::default();
    let (supervisor, _) = Probe::new("supervisor", &journal).spawn().await;

    let mut ids = HashSet::new();
    for _ in 0..1_000 {
        let (child, _) = Probe::new("child", &journal).spawn_under(&supervisor).await.unwrap();
        ids.insert(child.get_id());
    }
    let name = || Some("ractor_contract".to_owned());
    let first = Actor::spawn(name(), Probe::new("named", &journal), ()).await;
    let second = Actor::spawn(name(), Probe::new("named", &journal), ()).await;

    assert_eq!(ids.len(), 1_000);
    assert_eq!(supervisor.get_children().len(), 1_000);
    assert!(first.is_ok());
    assert!(matches!(second, Err(SpawnErr::ActorAlreadyRegistered(_))));
}

#[tokio::test(start_paused = true)]
async fn a_failed_pre_start_is_told_to_the_spawner_and_to_nobody_else() {
    for (deed, text) in FAILURES {
        let journal = Journal::default();
        let (supervisor, _) = Probe::new("supervisor", &journal).spawn().await;
        let child = Probe::new("child", &journal).owning("handler");

        let spawned = Probe { pre_start: deed, ..child }.spawn_under(&supervisor).await;
        let written_before_any_other_task_ran = journal.take();
        settle().await;

        let Err(SpawnErr::StartupFailed(cause)) = spawned else { panic!("it started") };
        assert_eq!(cause.to_string(), text);
        assert_eq!(cause.is::<Fault>(), text == "a typed fault");
        // A `Drop` that panics or blocks there would hit whoever spawned it.
        assert_eq!(written_before_any_other_task_ran, ["handler dropped in the spawner"]);
        assert_eq!(journal.take(), NOTHING);
        assert_eq!(supervisor.get_children(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_spawn_given_up_half_way_leaves_nothing_behind() {
    let journal = Journal::default();
    let (supervisor, _) = Probe::new("supervisor", &journal).spawn().await;
    let child = Probe::new("child", &journal).owning("handler");

    let spawn = Probe { pre_start: Deed::Hang, ..child }.spawn_under(&supervisor);
    let spawned = timeout(DEADLINE, spawn).await;
    settle().await;

    assert!(spawned.is_err());
    assert_eq!(journal.take(), ["handler dropped in the spawner"]);
    assert_eq!(supervisor.get_children(), []);
}

#[tokio::test(start_paused = true)]
async fn a_dying_supervisor_takes_no_child_and_link_does_not_say_so() {
    let journal = Journal::default();
    let supervisor = Probe { post_stop: Deed::Hang, ..Probe::new("supervisor", &journal) };
    let (supervisor, _) = supervisor.spawn().await;
    let (stranger, _) = Probe::new("stranger", &journal).spawn().await;

    supervisor.stop(None);
    settle().await;
    let spawned = Probe::new("child", &journal).spawn_under(&supervisor).await;
    stranger.link(supervisor.get_cell());

    assert!(matches!(spawned, Err(SpawnErr::StartupFailed(_))));
    assert_eq!(stranger.try_get_supervisor(), None);
}

#[tokio::test(start_paused = true)]
async fn post_start_runs_in_the_actors_task_after_the_spawner_has_its_answer() {
    let gate = Gate::default();
    let Family { journal, supervisor, child, .. } =
        Family::with(|child| child.post_start = Deed::Wait(gate.clone())).await;

    settle().await;
    let (status, children) = (child.get_status(), supervisor.get_children());
    let heard_meanwhile = journal.take();
    gate.open();
    settle().await;

    assert_eq!((status, children), (ActorStatus::Starting, vec![child.get_cell()]));
    assert_eq!(heard_meanwhile, NOTHING);
    assert_eq!(journal.take(), ["supervisor heard child started"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_post_start_is_a_failure_with_no_start_before_it() {
    for (deed, text) in FAILURES {
        let Family { journal, .. } = Family::with(|child| child.post_start = deed).await;
        settle().await;

        assert_eq!(journal.take(), [format!("supervisor heard child failed: {text}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_sent_during_post_start_wait_for_it_and_keep_their_order() {
    let gate = Gate::default();
    let Family { journal, child, .. } =
        Family::with(|child| child.post_start = Deed::Wait(gate.clone())).await;
    settle().await;

    child.send_message(Message::Do("1", Deed::Pass)).unwrap();
    child.send_message(Message::Do("2", Deed::Pass)).unwrap();
    settle().await;
    let handled_meanwhile = journal.take();
    gate.open();
    settle().await;

    assert_eq!(handled_meanwhile, NOTHING);
    let expected = ["child handled 1", "child handled 2", "supervisor heard child started"];
    assert_eq!(journal.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_post_start_and_a_kill_cuts_it() {
    let gate = Gate::default();
    let stopped = Family::with(|child| child.post_start = Deed::Wait(gate.clone())).await;
    let killed = Family::with(|child| child.post_start = Deed::Hang).await;
    settle().await;

    stopped.child.stop(None);
    killed.child.kill();
    settle().await;
    let heard_meanwhile = stopped.journal.take();
    gate.open();
    settle().await;

    assert_eq!(heard_meanwhile, NOTHING);
    assert_eq!(
        stopped.journal.take(),
        [
            "child cleaned up",
            "supervisor heard child started",
            "supervisor heard child ended: None, with its state",
        ]
    );
    assert_eq!(
        killed.journal.take(),
        ["supervisor heard child ended: Some(\"killed\"), without its state"]
    );
}

// ---- end ----

#[tokio::test(start_paused = true)]
async fn an_error_keeps_its_type_a_panic_becomes_text_and_neither_runs_post_stop() {
    for (deed, text) in FAILURES {
        let Family { journal, child, .. } = Family::running().await;

        child.send_message(Message::Do("1", deed)).unwrap();
        settle().await;

        assert_eq!(journal.take(), [format!("supervisor heard child failed: {text}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_cuts_every_await_skips_post_stop_and_is_known_by_its_text_alone() {
    let idle = Family::running().await;
    let busy = Family::running().await;
    busy.child.send_message(Message::Do("1", Deed::Hang)).unwrap();
    let stopping = Family::running_with(|child| child.post_stop = Deed::Hang).await;
    stopping.child.stop(None);
    settle().await;

    for family in [&idle, &busy, &stopping] {
        family.child.kill();
    }
    settle().await;

    let with_state = ["supervisor heard child ended: Some(\"killed\"), with its state"];
    let without = ["supervisor heard child ended: Some(\"killed\"), without its state"];
    assert_eq!(idle.journal.take(), with_state);
    assert_eq!(busy.journal.take(), with_state, "although a handler was cut half way through it");
    assert_eq!(stopping.journal.take(), without);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_handler_at_work_and_drops_the_queue() {
    let gate = Gate::default();
    let Family { journal, child, .. } = Family::running().await;
    child.send_message(Message::Do("1", Deed::Wait(gate.clone()))).unwrap();
    child.send_message(Message::Do("2", Deed::Pass)).unwrap();
    settle().await;

    child.stop(None);
    settle().await;
    let done_meanwhile = journal.take();
    gate.open();
    settle().await;

    assert_eq!(done_meanwhile, NOTHING);
    assert_eq!(
        journal.take(),
        [
            "child handled 1",
            "child cleaned up",
            "supervisor heard child ended: None, with its state",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_handles_the_queue_first_unless_a_stop_cuts_it_short() {
    let (drained, cut_short) = (Family::running().await, Family::running().await);

    for Family { child, .. } in [&drained, &cut_short] {
        child.send_message(Message::Do("1", Deed::Pass)).unwrap();
        child.send_message(Message::Do("2", Deed::Pass)).unwrap();
        child.drain().unwrap();
    }
    cut_short.child.stop(None);
    settle().await;

    assert_eq!(
        drained.journal.take(),
        [
            "child handled 1",
            "child handled 2",
            "child cleaned up",
            "supervisor heard child ended: Some(\"Drained\"), with its state",
        ]
    );
    assert_eq!(
        cut_short.journal.take(),
        ["child cleaned up", "supervisor heard child ended: None, with its state"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_and_wait_errs_while_wait_and_kill_and_wait_do_wait() {
    let gate = Gate::default();
    let Family { child, .. } =
        Family::running_with(|child| child.post_stop = Deed::Wait(gate.clone())).await;
    child.stop(None);
    settle().await;

    let second_stop = child.stop_and_wait(None, None).await;
    let too_short_a_wait = child.wait(Some(DEADLINE)).await;
    gate.open();
    let wait = child.wait(Some(DEADLINE)).await;
    let kill_of_the_dead = child.kill_and_wait(Some(DEADLINE)).await;

    assert!(matches!(second_stop, Err(RactorErr::Messaging(MessagingErr::ChannelClosed))));
    assert!(too_short_a_wait.is_err());
    assert!(wait.is_ok() && kill_of_the_dead.is_ok());
}

// ---- what is dropped, where and when ----

#[tokio::test(start_paused = true)]
async fn the_mailbox_is_dropped_before_the_event_and_its_callers_are_told() {
    for exit in Exit::ALL {
        let Family { journal, child, child_join, .. } = exit.family().await;
        exit.begin(&child).await;
        child.send_message(Message::Hold(Witness::new("message", &journal))).unwrap();
        let mut call = pin!(child.call(Message::Ask, None));
        assert!(call.as_mut().now_or_never().is_none());

        exit.finish(&child).await;

        child_join.await.unwrap();
        assert_eq!(call.await.unwrap(), CallResult::SenderError, "{exit:?}");
        let drops = journal.drops_of("message");
        assert_eq!(drops, ["message dropped in child before the event"], "{exit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_dies_in_its_own_task_after_the_event_and_the_state_may_not() {
    for exit in Exit::ALL {
        let Family { journal, child, child_join, .. } = exit.family().await;
        exit.begin(&child).await;

        exit.finish(&child).await;
        child_join.await.unwrap();
        let handler = journal.drops_of("handler");
        settle().await;
        let state = journal.drops_of("state");

        let moved = matches!(exit, Exit::Stopped | Exit::KilledIdle | Exit::KilledBusy);
        let owner = if moved { "supervisor" } else { "child" };
        assert_eq!(handler, ["handler dropped in child after the event"], "{exit:?}");
        assert_eq!(state, [format!("state dropped in {owner} after the event")], "{exit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_drops_its_handler_before_the_event() {
    let Family { journal, child_join, .. } = Family::running_with(|child| {
        child.owned = Some(Witness::new("handler", &child.journal));
    })
    .await;

    child_join.abort();
    settle().await;

    assert_eq!(
        journal.take(),
        [
            "handler dropped in child before the event",
            "supervisor heard child ended: Some(\"actor_task_cancelled\"), without its state",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_join_says_that_the_handler_is_gone() {
    let (release, held) = mpsc::channel();
    let Family { journal, child, child_join, .. } = Family::with(|child| {
        child.owned = Some(Witness::new("handler", &child.journal).waiting_for(held));
    })
    .await;

    child.send_message(Message::Do("1", Deed::Fail)).unwrap();
    journal.eventually("supervisor heard child failed: a typed fault").await;
    child.wait(Some(DEADLINE)).await.unwrap();
    let (status, joined) = (child.get_status(), child_join.is_finished());
    release.send(()).unwrap();
    timeout(DEADLINE, child_join).await.unwrap().unwrap();

    assert_eq!((status, joined), (ActorStatus::Stopped, false));
    assert_eq!(journal.drops_of("handler").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_queued_message_turns_a_stop_into_a_cancelled_task() {
    let Family { journal, child, child_join, .. } = Family::running().await;
    let bomb = Witness::new("message", &journal).panicking();

    child.send_message(Message::Hold(bomb)).unwrap();
    child.stop(None);
    let join = child_join.await;
    settle().await;

    assert!(join.unwrap_err().is_panic());
    assert_eq!(
        journal.take(),
        [
            "child cleaned up",
            "message dropped in child before the event",
            "supervisor heard child ended: Some(\"actor_task_cancelled\"), without its state",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_the_handler_shows_in_the_join_alone() {
    let Family { journal, child, child_join, .. } = Family::running_with(|child| {
        child.owned = Some(Witness::new("handler", &child.journal).panicking());
    })
    .await;

    child.stop(None);
    let join = child_join.await;
    settle().await;

    assert!(join.unwrap_err().is_panic());
    assert_eq!(
        journal.take(),
        [
            "child cleaned up",
            "handler dropped in child after the event",
            "supervisor heard child ended: None, with its state",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_the_state_fails_the_supervisor() {
    let Family { supervisor, child, .. } = Family::running_with(|child| {
        child.state = Mutex::new(Some(Witness::new("state", &child.journal).panicking()));
    })
    .await;

    child.stop(None);
    settle().await;

    assert_eq!(supervisor.get_status(), ActorStatus::Stopped);
}

// ---- sending ----

#[tokio::test(start_paused = true)]
async fn a_message_to_the_draining_the_stopping_or_the_dead_comes_back() {
    let draining = Family::running().await;
    draining.child.send_message(Message::Do("1", Deed::Hang)).unwrap();
    draining.child.drain().unwrap();
    let stopping = Family::running_with(|child| child.post_stop = Deed::Hang).await;
    stopping.child.stop(None);
    let dead = Family::running().await;
    dead.child.kill();
    settle().await;

    for (Family { child, .. }, status) in [
        (draining, ActorStatus::Draining),
        (stopping, ActorStatus::Stopping),
        (dead, ActorStatus::Stopped),
    ] {
        let sent = child.send_message(Message::Do("mine", Deed::Pass));

        assert_eq!(child.get_status(), status);
        assert!(matches!(sent, Err(MessagingErr::SendErr(Message::Do("mine", _)))), "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_after_a_stop_or_kill_is_accepted_and_lost_until_the_actor_notices() {
    let ends: [fn(&ActorRef<Message>); 2] = [|child| child.stop(None), |child| child.kill()];
    for end in ends {
        let Family { journal, child, .. } = Family::running().await;

        end(&child);
        let status = child.get_status();
        let sent = child.send_message(Message::Hold(Witness::new("message", &journal)));
        settle().await;

        assert_eq!(status, ActorStatus::Running);
        assert!(sent.is_ok());
        let drops = journal.drops_of("message");
        assert_eq!(drops, ["message dropped in child before the event"]);
    }
}

// ---- supervisor and children ----

#[tokio::test(start_paused = true)]
async fn events_go_before_messages_whatever_was_sent_first() {
    let Family { journal, supervisor, child, .. } = Family::running().await;

    let tell_then_fail = Deed::TellThenFail(supervisor.clone(), "1");
    child.send_message(Message::Do("0", tell_then_fail)).unwrap();
    settle().await;

    assert_eq!(
        journal.take(),
        ["supervisor heard child failed: a typed fault", "supervisor handled 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_the_handler_at_work_and_a_stop_discards_them() {
    for stop in [false, true] {
        let gate = Gate::default();
        let Family { journal, supervisor, child, .. } = Family::running().await;
        supervisor.send_message(Message::Do("1", Deed::Wait(gate.clone()))).unwrap();
        settle().await;

        child.send_message(Message::Do("2", Deed::Fail)).unwrap();
        settle().await;
        if stop {
            supervisor.stop(None);
        }
        gate.open();
        settle().await;

        let heard = ["supervisor handled 1", "supervisor heard child failed: a typed fault"];
        let discarded = ["supervisor handled 1", "supervisor cleaned up"];
        assert_eq!(journal.take(), if stop { discarded } else { heard });
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_may_await_its_childs_end_in_a_handler_and_hears_of_it_afterwards() {
    let Family { journal, supervisor, child, .. } = Family::running().await;

    let stop = Deed::StopAndWait(child.get_cell());
    supervisor.send_message(Message::Do("1", stop)).unwrap();
    settle().await;

    assert_eq!(
        journal.take(),
        [
            "child cleaned up",
            "supervisor handled 1",
            "supervisor heard child ended: None, with its state",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_override_any_end_of_a_child_stops_its_supervisor() {
    let journal = Journal::default();
    for exit in [Exit::Stopped, Exit::Failed, Exit::KilledIdle] {
        let (supervisor, _) = Actor::spawn(None, Docile, ()).await.unwrap();
        let child = Probe::new("child", &journal);
        let (child, _) = Actor::spawn_linked(None, child, (), supervisor.get_cell()).await.unwrap();

        exit.begin(&child).await;
        exit.finish(&child).await;
        settle().await;

        assert_eq!(supervisor.get_status(), ActorStatus::Stopped, "{exit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_handling_an_event_fails_the_supervisor_and_kills_its_other_children() {
    let journal = Journal::default();
    let (root, _) = Probe::new("root", &journal).spawn().await;
    let supervisor = Probe { on_end: Deed::Panic, ..Probe::new("supervisor", &journal) };
    let (supervisor, _) = supervisor.spawn_under(&root).await.unwrap();
    let (child, _) = Probe::new("child", &journal).spawn_under(&supervisor).await.unwrap();
    let (sibling, _) = Probe::new("sibling", &journal).spawn_under(&supervisor).await.unwrap();
    settle().await;
    journal.take();

    child.send_message(Message::Do("1", Deed::Fail)).unwrap();
    settle().await;

    assert_eq!(
        journal.take(),
        ["supervisor heard child failed: a typed fault", "root heard supervisor failed: a panic"]
    );
    assert_eq!(sibling.get_status(), ActorStatus::Stopped);
    assert_eq!(root.get_status(), ActorStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn children_of_a_dead_parent_are_killed_and_not_stopped() {
    for exit in [Exit::Stopped, Exit::Failed, Exit::KilledIdle] {
        let Family { journal, supervisor, child, child_join, .. } = Family::running().await;

        exit.begin(&supervisor).await;
        exit.finish(&supervisor).await;
        timeout(DEADLINE, child_join).await.unwrap().unwrap();

        assert_eq!(child.get_status(), ActorStatus::Stopped);
        let lines = journal.take();
        assert!(!lines.contains(&"child cleaned up".to_owned()), "{exit:?}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_is_gone_before_its_children_are() {
    let (release, held) = mpsc::channel();
    let Family { supervisor, supervisor_join, child_join, .. } = Family::with(|child| {
        child.owned = Some(Witness::new("handler", &child.journal).waiting_for(held));
    })
    .await;

    supervisor.kill();
    timeout(DEADLINE, supervisor_join).await.unwrap().unwrap();
    let child_joined = child_join.is_finished();
    release.send(()).unwrap();

    assert!(!child_joined);
    timeout(DEADLINE, child_join).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn post_stop_finds_the_children_alive_and_hears_no_more_of_them() {
    let gate = Gate::default();
    let journal = Journal::default();
    let supervisor = Probe::new("supervisor", &journal);
    let supervisor = Probe { post_stop: Deed::Wait(gate.clone()), ..supervisor };
    let (supervisor, _) = supervisor.spawn().await;
    let (child, _) = Probe::new("child", &journal).spawn_under(&supervisor).await.unwrap();
    settle().await;
    journal.take();

    supervisor.stop(None);
    settle().await;
    let status_in_post_stop = child.get_status();
    child.stop(None);
    settle().await;
    gate.open();
    settle().await;

    assert_eq!(status_in_post_stop, ActorStatus::Running);
    assert_eq!(journal.take(), ["child cleaned up", "supervisor cleaned up"]);
}

#[tokio::test(start_paused = true)]
async fn a_draining_or_stopping_child_outlives_its_parent_but_its_own_children_do_not() {
    let gate = Gate::default();
    let draining = Family::running().await;
    draining.child.send_message(Message::Do("1", Deed::Wait(gate.clone()))).unwrap();
    draining.child.drain().unwrap();
    let stopping = Family::running_with(|child| child.post_stop = Deed::Wait(gate.clone())).await;
    let grandchild = Probe::new("grandchild", &stopping.journal);
    let (grandchild, _) = grandchild.spawn_under(&stopping.child).await.unwrap();
    settle().await;
    stopping.journal.take();
    stopping.child.stop(None);
    settle().await;

    draining.supervisor.kill();
    stopping.supervisor.kill();
    settle().await;
    let grandchild = grandchild.get_status();
    let children = (draining.child.get_status(), stopping.child.get_status());
    gate.open();
    gate.open();
    settle().await;

    assert_eq!(children, (ActorStatus::Draining, ActorStatus::Stopping));
    assert_eq!(grandchild, ActorStatus::Stopped);
    assert_eq!(draining.journal.take(), ["child handled 1", "child cleaned up"]);
    assert_eq!(stopping.journal.take(), ["child cleaned up"]);
}

#[tokio::test(start_paused = true)]
async fn an_unlinked_child_outlives_its_parent_and_ends_unheard() {
    let (left, orphan) = (Family::running().await, Family::running().await);
    for Family { supervisor, child, .. } in [&left, &orphan] {
        child.unlink(supervisor.get_cell());
    }

    orphan.supervisor.kill();
    settle().await;
    let orphan_status = orphan.child.get_status();
    left.child.stop(None);
    settle().await;

    assert_eq!(orphan_status, ActorStatus::Running);
    assert_eq!(left.supervisor.get_status(), ActorStatus::Running);
    assert_eq!(left.journal.take(), ["child cleaned up"]);
}

// ---- spans ----

#[tokio::test(start_paused = true)]
async fn a_handler_runs_in_ractors_own_root_span_and_not_in_its_senders() {
    let _subscribed = subscribe(Registry::default()).await;
    let Family { journal, child, .. } = Family::running().await;

    info_span!("sender").in_scope(|| child.send_message(Message::Do("1", Deed::Span)).unwrap());
    settle().await;

    assert_eq!(journal.take(), ["inside ractor::actor Actor", "child handled 1"]);
}

#[tokio::test(start_paused = true)]
async fn pre_start_runs_in_the_spawners_span_and_post_start_does_not() {
    let _subscribed = subscribe(Registry::default()).await;
    let journal = Journal::default();
    let child = Probe { pre_start: Deed::Span, ..Probe::new("child", &journal) };

    let spawn = Probe { post_start: Deed::Span, ..child }.spawn();
    spawn.instrument(info_span!("spawner")).await;
    settle().await;

    assert_eq!(
        journal.take(),
        ["inside ractor_contract spawner > ractor::actor Actor", "inside ractor::actor Actor"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_no_span_when_ractors_are_filtered_or_nobody_subscribes() {
    let filter = filter_fn(|metadata| !metadata.target().starts_with("ractor::"));
    for filtered in [true, false] {
        let subscriber = Registry::default().with(filter.clone());
        let _subscribed = if filtered { Some(subscribe(subscriber).await) } else { None };
        let Family { journal, child, .. } = Family::running().await;

        info_span!("sender").in_scope(|| child.send_message(Message::Do("1", Deed::Span)).unwrap());
        settle().await;

        assert_eq!(journal.take(), ["inside no span", "child handled 1"]);
    }
}

// ---- the actors under test ----

/// What an actor does when one of its steps comes.
#[derive(Clone)]
enum Deed {
    Pass,
    Fail,
    Panic,
    Hang,
    Wait(Gate),
    TellThenFail(ActorRef<Message>, &'static str),
    StopAndWait(ActorCell),
    Span,
}

#[derive(Debug)]
struct Fault;

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a typed fault")
    }
}

enum Message {
    Do(&'static str, Deed),
    Hold(Witness),
    Ask(RpcReplyPort<()>),
}

/// Does at each step what it was told to and writes it down; as a supervisor, writes down what it hears.
struct Probe {
    name: &'static str,
    journal: Journal,
    pre_start: Deed,
    post_start: Deed,
    post_stop: Deed,
    on_end: Deed,
    owned: Option<Witness>,
    state: Mutex<Option<Witness>>,
}

type Done = Result<(), ActorProcessingErr>;
type Owned = Option<Witness>;

impl Actor for Probe {
    type Msg = Message;
    type State = Owned;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (): (),
    ) -> Result<Owned, ActorProcessingErr> {
        self.journal.0.actors.lock().unwrap().insert(myself.get_id(), self.name);
        self.act(&self.pre_start).await?;
        Ok(self.state.lock().unwrap().take())
    }

    async fn post_start(&self, _: ActorRef<Message>, _: &mut Owned) -> Done {
        self.act(&self.post_start).await
    }

    async fn handle(&self, _: ActorRef<Message>, message: Message, _: &mut Owned) -> Done {
        match message {
            Message::Do(label, deed) => {
                self.act(&deed).await?;
                self.journal.write(format!("{} handled {label}", self.name));
            }
            Message::Hold(witness) => drop(witness),
            Message::Ask(reply) => reply.send(())?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        _: &mut Owned,
    ) -> Done {
        let who =
            event.actor_cell().map(|cell| self.journal.0.actors.lock().unwrap()[&cell.get_id()]);
        let what = match &event {
            SupervisionEvent::ActorStarted(_) => "started".to_owned(),
            SupervisionEvent::ActorFailed(_, cause) if cause.is::<Fault>() => {
                "failed: a typed fault".to_owned()
            }
            SupervisionEvent::ActorFailed(_, cause) => format!("failed: {cause}"),
            SupervisionEvent::ActorTerminated(_, state, reason) => {
                let with = if state.is_some() { "with" } else { "without" };
                format!("ended: {reason:?}, {with} its state")
            }
            SupervisionEvent::ProcessGroupChanged(_) => unreachable!("no group is used"),
        };
        self.journal.write(format!("{} heard {} {what}", self.name, who.unwrap_or("nobody")));
        match event {
            SupervisionEvent::ActorStarted(_) => Ok(()),
            _ => self.act(&self.on_end).await,
        }
    }

    async fn post_stop(&self, _: ActorRef<Message>, _: &mut Owned) -> Done {
        self.act(&self.post_stop).await?;
        self.journal.write(format!("{} cleaned up", self.name));
        Ok(())
    }
}

impl Probe {
    fn new(name: &'static str, journal: &Journal) -> Self {
        Self {
            name,
            journal: journal.clone(),
            pre_start: Deed::Pass,
            post_start: Deed::Pass,
            post_stop: Deed::Pass,
            on_end: Deed::Pass,
            owned: None,
            state: Mutex::new(None),
        }
    }

    fn owning(self, what: &'static str) -> Self {
        Self { owned: Some(Witness::new(what, &self.journal)), ..self }
    }

    async fn spawn(self) -> (ActorRef<Message>, JoinHandle<()>) {
        let (name, journal) = (self.name, self.journal.clone());
        let (actor, join) = Actor::spawn(None, self, ()).await.unwrap();
        journal.0.tasks.lock().unwrap().insert(join.id(), name);
        (actor, join)
    }

    async fn spawn_under(
        self,
        supervisor: &ActorRef<Message>,
    ) -> Result<(ActorRef<Message>, JoinHandle<()>), SpawnErr> {
        let (name, journal) = (self.name, self.journal.clone());
        let (actor, join) = Actor::spawn_linked(None, self, (), supervisor.get_cell()).await?;
        journal.0.tasks.lock().unwrap().insert(join.id(), name);
        Ok((actor, join))
    }

    async fn act(&self, deed: &Deed) -> Done {
        match deed {
            Deed::Pass => {}
            Deed::Fail => return Err(Fault.into()),
            // A panic in all but the noise of the hook.
            Deed::Panic => resume_unwind(Box::new("a panic")),
            Deed::Hang => std::future::pending().await,
            Deed::Wait(gate) => gate.0.notified().await,
            Deed::TellThenFail(who, label) => {
                who.send_message(Message::Do(label, Deed::Pass))?;
                return Err(Fault.into());
            }
            Deed::StopAndWait(who) => who.stop_and_wait(None, None).await?,
            Deed::Span => self.journal.write(format!("inside {}", span_path())),
        }
        Ok(())
    }
}

/// Supervises as ractor does when nobody says how.
struct Docile;

impl Actor for Docile {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Done {
        Ok(())
    }
}

/// A supervisor and its child, which share a journal.
struct Family {
    journal: Journal,
    supervisor: ActorRef<Message>,
    supervisor_join: JoinHandle<()>,
    child: ActorRef<Message>,
    child_join: JoinHandle<()>,
}

impl Family {
    /// Returns before the child's task has run for the first time.
    async fn with(alter: impl FnOnce(&mut Probe)) -> Self {
        let journal = Journal::default();
        let mut child = Probe::new("child", &journal);
        alter(&mut child);
        let (supervisor, supervisor_join) = Probe::new("supervisor", &journal).spawn().await;
        let (child, child_join) = child.spawn_under(&supervisor).await.unwrap();
        journal.0.child.set(child.get_cell()).unwrap();
        Self { journal, supervisor, supervisor_join, child, child_join }
    }

    /// Its journal begins after the start.
    async fn running_with(alter: impl FnOnce(&mut Probe)) -> Self {
        let family = Self::with(alter).await;
        settle().await;
        family.journal.take();
        family
    }

    async fn running() -> Self {
        Self::running_with(|_| {}).await
    }
}

/// Every way in which an actor that was spawned can end with messages in its mailbox.
#[derive(Debug, Clone, Copy)]
enum Exit {
    Stopped,
    Failed,
    Panicked,
    KilledIdle,
    KilledBusy,
    PostStartFailed,
    PostStartPanicked,
    KilledInPostStart,
    PostStopFailed,
    PostStopPanicked,
    KilledInPostStop,
}

impl Exit {
    const ALL: [Self; 11] = [
        Self::Stopped,
        Self::Failed,
        Self::Panicked,
        Self::KilledIdle,
        Self::KilledBusy,
        Self::PostStartFailed,
        Self::PostStartPanicked,
        Self::KilledInPostStart,
        Self::PostStopFailed,
        Self::PostStopPanicked,
        Self::KilledInPostStop,
    ];

    async fn family(self) -> Family {
        Family::with(|child| {
            child.owned = Some(Witness::new("handler", &child.journal));
            child.state = Mutex::new(Some(Witness::new("state", &child.journal)));
            match self {
                Self::PostStartFailed => child.post_start = Deed::Fail,
                Self::PostStartPanicked => child.post_start = Deed::Panic,
                Self::KilledInPostStart => child.post_start = Deed::Hang,
                Self::PostStopFailed => child.post_stop = Deed::Fail,
                Self::PostStopPanicked => child.post_stop = Deed::Panic,
                Self::KilledInPostStop => child.post_stop = Deed::Hang,
                _ => {}
            }
        })
        .await
    }

    /// Goes as far as a message can still be sent that will not be handled any more.
    async fn begin(self, actor: &ActorRef<Message>) {
        if matches!(self, Self::PostStartFailed | Self::PostStartPanicked) {
            return;
        }
        settle().await;
        match self {
            Self::Failed => actor.send_message(Message::Do("1", Deed::Fail)).unwrap(),
            Self::Panicked => actor.send_message(Message::Do("1", Deed::Panic)).unwrap(),
            Self::KilledBusy => actor.send_message(Message::Do("1", Deed::Hang)).unwrap(),
            Self::Stopped | Self::PostStopFailed | Self::PostStopPanicked => actor.stop(None),
            _ => {}
        }
    }

    async fn finish(self, actor: &ActorRef<Message>) {
        match self {
            Self::KilledIdle | Self::KilledInPostStart => {}
            Self::KilledBusy => settle().await,
            Self::KilledInPostStop => {
                actor.stop(None);
                settle().await;
            }
            _ => return,
        }
        actor.kill();
    }
}

/// Writes down in which task it is dropped, and whether the child's event has gone out by then.
struct Witness {
    what: &'static str,
    journal: Journal,
    held: Option<Mutex<mpsc::Receiver<()>>>,
    explodes: bool,
}

impl Witness {
    fn new(what: &'static str, journal: &Journal) -> Self {
        Self { what, journal: journal.clone(), held: None, explodes: false }
    }

    fn waiting_for(mut self, release: mpsc::Receiver<()>) -> Self {
        self.held = Some(Mutex::new(release));
        self
    }

    fn panicking(mut self) -> Self {
        self.explodes = true;
        self
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            block_in_place(|| held.into_inner().unwrap().recv_timeout(DEADLINE)).unwrap();
        }
        let owner = self.journal.task();
        // ractor unlinks an actor right after it has sent its event.
        let when = match self.journal.0.child.get() {
            Some(child) if child.try_get_supervisor().is_some() => " before the event",
            Some(_) => " after the event",
            None => "",
        };
        self.journal.write(format!("{} dropped in {owner}{when}", self.what));
        if self.explodes {
            resume_unwind(Box::new("a panic in a drop"));
        }
    }
}

/// What happened, in order, by the names of the actors under test.
#[derive(Clone, Default)]
struct Journal(Arc<Pages>);

#[derive(Default)]
struct Pages {
    lines: Mutex<Vec<String>>,
    actors: Mutex<HashMap<ActorId, &'static str>>,
    tasks: Mutex<HashMap<task::Id, &'static str>>,
    child: OnceLock<ActorCell>,
}

impl Journal {
    fn write(&self, line: String) {
        self.0.lines.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        mem::take(&mut self.0.lines.lock().unwrap())
    }

    fn drops_of(&self, what: &str) -> Vec<String> {
        let mut lines = self.0.lines.lock().unwrap().clone();
        lines.retain(|line| line.starts_with(&format!("{what} dropped")));
        lines
    }

    /// For a clock that runs; where it is paused, `settle` does.
    async fn eventually(&self, expected: &str) {
        let appears = async {
            while !self.0.lines.lock().unwrap().iter().any(|line| line == expected) {
                yield_now().await;
            }
        };
        timeout(DEADLINE, appears).await.unwrap();
    }

    /// The actor in whose task this is called.
    fn task(&self) -> &'static str {
        let id = task::try_id();
        id.map_or("the spawner", |id| self.0.tasks.lock().unwrap()[&id])
    }
}

#[derive(Clone, Default)]
struct Gate(Arc<Notify>);

impl Gate {
    /// Lets one waiter through, now or later.
    fn open(&self) {
        self.0.notify_one();
    }
}

/// With the clock paused a sleep ends when every task has nothing left to do.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn span_path() -> String {
    let Some(id) = Span::current().id() else { return "no span".to_owned() };
    dispatcher::get_default(|dispatch| {
        let leaf = dispatch.downcast_ref::<Registry>().unwrap().span(&id).unwrap();
        let spans = leaf.scope().from_root().map(|span| {
            let metadata = span.metadata();
            format!("{} {}", metadata.target(), metadata.name())
        });
        spans.collect::<Vec<_>>().join(" > ")
    })
}

/// Subscribes for this thread, until the guard is dropped.
async fn subscribe(
    subscriber: impl Subscriber + Send + Sync + 'static,
) -> (DefaultGuard, Dispatch) {
    // ractor's callsites are known from here on, and with two subscribers alive tracing asks both whether they
    // want one; with a single subscriber it would ask only that of the thread which is the first to come by.
    Family::running().await;
    let second = Dispatch::new(Registry::default());
    (set_default(subscriber), second)
}
