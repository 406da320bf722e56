//! The machine's decisions, one by one.

use std::time::Duration;

use tokio::time::Instant;

use super::world::{Deed, Ending, Plot, Run, Start, World, policy};
use crate::machine::{Change, Deadlines, Effect, Input, Machine, State};
use crate::policy::{ChildPolicy, SupervisorPolicy};
use crate::{Cause, Intensity, Restart, Shutdown, Strategy};

const GOOD: Plot = Plot::GOOD;

fn starts(ms: u64) -> Plot {
    Plot { start: Start::Succeeds(ms), ..GOOD }
}

fn falls(ms: u64) -> Plot {
    Plot { run: Run::Falls(ms), ..GOOD }
}

fn finishes(ms: u64) -> Plot {
    Plot { run: Run::Finishes(ms), ..GOOD }
}

fn world(strategy: Strategy, children: Vec<(ChildPolicy, Vec<Plot>)>) -> World {
    World::new(SupervisorPolicy { strategy, ..SupervisorPolicy::default() }, children, 0)
}

/// Children `a`, `b`, .. that are Permanent, with the plots of their incarnations.
fn trio<const N: usize>(plots: [Vec<Plot>; N]) -> Vec<(ChildPolicy, Vec<Plot>)> {
    ["a", "b", "c", "d", "e"].iter().zip(plots).map(|(id, plots)| (policy(id), plots)).collect()
}

fn booted(strategy: Strategy, children: Vec<(ChildPolicy, Vec<Plot>)>) -> World {
    let mut world = world(strategy, children);
    world.boot();
    world.run_until(world.now);
    world.take_log();
    world
}

#[test]
fn children_start_in_order_each_when_the_one_before_it_is_up() {
    let mut world = world(Strategy::OneForOne, trio([vec![starts(100)], vec![starts(50)], vec![]]));
    world.boot();
    world.run_to_rest();
    let log = ["a#1 spawn", "a#1 up", "b#1 spawn", "b#1 up", "c#1 spawn", "c#1 up", "booted"];
    assert_eq!(world.log, log);
}

#[test]
fn children_stop_in_reverse_order_each_when_the_one_after_it_is_gone() {
    let slow = Plot { stop: Ending::Obeys(300), ..GOOD };
    let mut world = booted(Strategy::OneForOne, trio([vec![], vec![slow], vec![slow]]));
    world.act(Deed::Shutdown(10_000));
    world.run_to_rest();
    let log = [
        "c#1 stop",
        "c#1 exit stopped",
        "b#1 stop",
        "b#1 exit stopped",
        "a#1 stop",
        "a#1 exit stopped",
        "halt",
    ];
    assert_eq!(world.log, log);
    assert!(world.halted && world.cause.is_none());
}

#[test]
fn a_failed_start_at_boot_aborts_it_and_ends_the_ones_before_in_reverse() {
    let bad = Plot { start: Start::Fails(10), ..GOOD };
    let mut world = world(Strategy::OneForOne, trio([vec![], vec![], vec![bad], vec![]]));
    world.boot();
    world.run_to_rest();
    let log = [
        "a#1 spawn",
        "a#1 up",
        "b#1 spawn",
        "b#1 up",
        "c#1 spawn",
        "c#1 exit did not start: no luck",
        "c#1 escalates: c did not start: no luck",
        "b#1 stop",
        "b#1 exit stopped",
        "a#1 stop",
        "a#1 exit stopped",
        "halt",
    ];
    assert_eq!(world.log, log);
    let cause = world.cause.unwrap();
    assert!(matches!(&*cause, Cause::StartFailed { path, .. } if &**path == "c"));
}

#[test]
fn a_start_that_hangs_at_boot_is_cut_off_and_aborts_it() {
    let hung = Plot { start: Start::Hangs, ..GOOD };
    let mut world = world(Strategy::OneForOne, trio([vec![], vec![hung]]));
    world.boot();
    world.run_to_rest();
    assert_eq!(world.log[3..5], ["b#1 kill", "b#1 exit did not start within 5s"]);
    assert_eq!(world.log.last().unwrap(), "halt");
}

#[test]
fn a_start_that_can_not_even_be_cut_off_does_not_hold_up_the_failure_of_the_boot() {
    let hung = Plot { start: Start::Hangs, kill_ms: 3_600_000, ..GOOD };
    let mut world = world(Strategy::OneForOne, trio([vec![], vec![hung]]));
    world.boot();
    world.run_for(7_000);
    assert!(world.halted, "{:?}", world.log);
}

#[test]
fn a_failed_start_after_boot_is_a_counted_restart() {
    let bad = Plot { start: Start::Fails(0), ..GOOD };
    let mut world = booted(Strategy::OneForOne, trio([vec![falls(0), bad]]));
    world.run_to_rest();
    assert_eq!(world.machine.summary(0).restarts, 2);
    assert_eq!(world.machine.summary(0).incarnation, 3);
    assert!(matches!(world.view(0), State::Up));
}

#[test]
fn a_fall_during_boot_does_not_swallow_the_end_of_the_boot() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut world = world(strategy, trio([vec![falls(50)], vec![starts(100)], vec![]]));
        world.boot();
        world.run_to_rest();
        assert!(world.log.contains(&"booted".to_owned()), "{strategy:?}: {:?}", world.log);
        world.check_rest();
    }
}

#[test]
fn one_for_one_restarts_only_the_one_that_fell() {
    let mut world = booted(Strategy::OneForOne, trio([vec![], vec![falls(10)], vec![]]));
    world.run_to_rest();
    let log = ["b#1 exit panicked: boom", "b#1 restart in 100ms", "b#2 spawn", "b#2 up"];
    assert_eq!(world.log, log);
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let mut world = booted(Strategy::OneForAll, trio([vec![], vec![falls(10)], vec![]]));
    world.run_to_rest();
    let log = [
        "b#1 exit panicked: boom",
        "b#1 restart in 100ms",
        "c#1 stop",
        "c#1 exit stopped",
        "a#1 stop",
        "a#1 exit stopped",
        "a#2 spawn",
        "a#2 up",
        "b#2 spawn",
        "b#2 up",
        "c#2 spawn",
        "c#2 up",
    ];
    assert_eq!(world.log, log);
}

#[test]
fn rest_for_one_leaves_those_before_the_fallen_alone() {
    let mut world = booted(Strategy::RestForOne, trio([vec![], vec![falls(10)], vec![]]));
    world.run_to_rest();
    let log = [
        "b#1 exit panicked: boom",
        "b#1 restart in 100ms",
        "c#1 stop",
        "c#1 exit stopped",
        "b#2 spawn",
        "b#2 up",
        "c#2 spawn",
        "c#2 up",
    ];
    assert_eq!(world.log, log);
}

#[test]
fn a_failed_start_inside_a_rest_for_one_restart_leaves_those_already_back_alone() {
    let bad = Plot { start: Start::Fails(10), ..GOOD };
    let children = trio([vec![falls(10)], vec![GOOD, bad], vec![]]);
    let mut world = booted(Strategy::RestForOne, children);
    world.run_to_rest();
    let incarnations = [0, 1, 2].map(|child| world.machine.summary(child).incarnation);
    assert_eq!(incarnations, [2, 3, 2], "{:?}", world.log);
}

#[test]
fn a_second_fall_inside_a_group_restart_joins_it_and_counts_once() {
    // While c takes its time to stop, b falls as well.
    let slow = Plot { stop: Ending::Obeys(500), ..GOOD };
    let children = trio([vec![falls(10)], vec![falls(200)], vec![slow]]);
    let mut world = booted(Strategy::OneForAll, children);
    world.run_for(5_000);
    assert_eq!(world.machine.falls_left(), 3);
    world.run_to_rest();
    assert_eq!([0, 1, 2].map(|child| world.machine.summary(child).incarnation), [2, 2, 2]);
    assert_eq!([0, 1, 2].map(|child| world.machine.summary(child).restarts), [1, 1, 0]);
}

#[test]
fn a_second_fall_does_not_cut_short_the_delay_of_the_first() {
    // a falls four times in a row and has earned 800 ms; b's first fall, 100 ms.
    let slow = Plot { stop: Ending::Obeys(500), ..GOOD };
    let again = [falls(0), falls(0), falls(0), falls(10)].to_vec();
    let b = vec![GOOD, GOOD, GOOD, falls(50)];
    let mut world = world(Strategy::OneForAll, trio([again, b, vec![slow]]));
    world.boot();
    world.run_to_rest();
    let log = world.log.join(", ");
    let (_, after) = log.split_once("b#4 restart in 100ms").expect(&log);
    assert!(!after.contains("restart in"), "{log}");
    let up = world.log.iter().position(|line| line == "a#5 spawn");
    assert!(up.is_some(), "{log}");
    let Some(since) = world.machine.summary(0).up_since else { panic!("{log}") };
    // 10 ms up after restarts of 100, 200 and 400 ms; then 800 ms.
    assert!(since >= world.at(10 + 700 + 800), "up after {:?}", since - world.at(0));
}

#[test]
fn a_temporary_child_that_falls_with_its_siblings_stays_down() {
    let mut children = trio([vec![falls(10)], vec![], vec![]]);
    children[1].0.restart = Restart::Temporary;
    let mut world = booted(Strategy::OneForAll, children);
    world.run_to_rest();
    assert_eq!(world.view(1), State::Down);
    assert_eq!(world.machine.summary(1).incarnation, 1);
    assert_eq!(world.machine.summary(2).incarnation, 2);
}

#[test]
fn what_becomes_of_a_child_that_ended_is_decided_by_its_restart_kind() {
    let ignores = Plot { stop: Ending::Ignores, ..finishes(10) };
    let cases = [
        (Restart::Permanent, falls(10), 2),
        (Restart::Permanent, finishes(10), 2),
        (Restart::Transient, falls(10), 2),
        (Restart::Transient, finishes(10), 1),
        // It asked to end and then did not: killed is abnormal.
        (Restart::Transient, ignores, 2),
        (Restart::Temporary, falls(10), 1),
        (Restart::Temporary, finishes(10), 1),
    ];
    for (restart, plot, incarnation) in cases {
        let mut children = trio([vec![plot]]);
        children[0].0.restart = restart;
        let mut world = booted(Strategy::OneForOne, children);
        world.run_to_rest();
        assert_eq!(world.machine.summary(0).incarnation, incarnation, "{restart:?} {plot:?}");
        world.check_rest();
    }
}

#[test]
fn a_child_to_be_killed_that_ends_by_itself_is_not_killed_for_it() {
    let mut children = trio([vec![finishes(10)]]);
    children[0].0.restart = Restart::Transient;
    children[0].0.shutdown = Shutdown::Kill;
    let mut world = booted(Strategy::OneForOne, children);
    world.run_to_rest();
    assert_eq!(world.log, ["a#1 stop", "a#1 exit ended by itself"]);
}

#[test]
fn a_child_that_asks_to_end_during_its_start_ends_once_it_is_up() {
    let mut machine = Machine::new(SupervisorPolicy::default(), vec![policy("a")], 0);
    let now = Instant::now();
    let mut effects = Vec::new();
    machine.on(now, Input::Boot, &mut effects);
    let Some(&Effect::Spawn(key)) = effects.first() else { panic!("{effects:?}") };
    effects.clear();
    machine.on(now, Input::Finish(key), &mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    machine.on(now, Input::Started(key), &mut effects);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Stop(..))), "{effects:?}");
}

#[test]
fn over_its_intensity_a_supervisor_ends_its_children_and_says_who_it_was() {
    let flags = SupervisorPolicy {
        intensity: Intensity { max: 2, ..Intensity::default() },
        ..SupervisorPolicy::default()
    };
    let children = trio([vec![], vec![falls(0), falls(0), falls(0)], vec![]]);
    let mut world = World::new(flags, children, 0);
    world.boot();
    world.run_to_rest();
    let cause = world.cause.clone().unwrap();
    assert_eq!(cause.to_string(), "b fell 3 times within 30s; the last time it panicked: boom");
    let end = &world.log[world.log.len() - 5..];
    assert_eq!(end, ["c#1 stop", "c#1 exit stopped", "a#1 stop", "a#1 exit stopped", "halt"]);
}

#[test]
fn falls_that_are_far_enough_apart_never_escalate() {
    let falls = vec![falls(7_000); 100];
    let mut world = booted(Strategy::OneForOne, trio([falls]));
    world.run_to_rest();
    assert!(!world.halted);
    assert_eq!(world.machine.summary(0).incarnation, 101);
}

#[test]
fn the_delay_doubles_with_each_fall_and_begins_again_after_a_stable_incarnation() {
    let plots = vec![falls(0), falls(0), falls(0), falls(30_000), falls(29_999), GOOD];
    let mut world = world(Strategy::OneForOne, trio([plots]));
    world.boot();
    world.run_to_rest();
    let delays = world.log.iter().filter_map(|line| line.split_once("restart in ")).map(|(_, d)| d);
    let delays: Vec<_> = delays.collect();
    // What counts is its uptime, not the time since it last fell.
    assert_eq!(delays, ["100ms", "200ms", "400ms", "100ms", "200ms"]);
}

#[test]
fn a_start_that_takes_long_to_fail_is_not_uptime() {
    let hung = Plot { start: Start::Hangs, kill_ms: 40_000, ..GOOD };
    let mut world = world(Strategy::OneForOne, trio([vec![falls(0), hung]]));
    world.boot();
    world.run_to_rest();
    let delays: Vec<_> = world.log.iter().filter(|line| line.contains("restart in")).collect();
    assert_eq!(delays, ["a#1 restart in 100ms", "a#2 restart in 200ms"]);
}

#[test]
fn a_significant_childs_abnormal_exit_escalates_at_once_and_its_normal_one_does_not() {
    for (plot, halts) in [(falls(10), true), (finishes(10), false)] {
        let mut children = trio([vec![], vec![plot]]);
        children[1].0.significant = true;
        children[1].0.restart = Restart::Transient;
        let mut world = booted(Strategy::OneForOne, children);
        world.run_to_rest();
        assert_eq!(world.halted, halts);
        assert_eq!(world.machine.summary(1).restarts, 0);
    }
}

#[test]
fn a_removed_child_never_comes_back() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        for wait in [0, 5, 50, 5_000] {
            let slow = Plot { stop: Ending::Obeys(1_000), ..falls(10) };
            let mut world = booted(strategy, trio([vec![], vec![slow], vec![falls(2_000)]]));
            world.run_for(wait);
            world.act(Deed::Remove(1));
            world.act(Deed::Restart(1));
            let incarnation = world.machine.summary(1).incarnation;
            world.run_to_rest();
            assert_eq!(world.view(1), State::Down);
            assert_eq!(world.machine.summary(1).incarnation, incarnation);
            world.check_rest();
        }
    }
}

// ractor 2: fault 3
#[test]
fn no_timer_brings_back_a_child_that_was_removed_during_its_backoff() {
    let mut world = booted(Strategy::OneForOne, trio([vec![falls(10)]]));
    world.run_for(20);
    assert!(matches!(world.view(0), State::Backoff));
    world.act(Deed::Remove(0));
    assert_eq!(world.view(0), State::Down);
    world.run_to_rest();
    assert_eq!(world.machine.summary(0).incarnation, 1);
}

#[test]
fn a_restart_by_hand_cuts_the_backoff_short_and_is_no_fall() {
    let mut world = booted(Strategy::OneForOne, trio([vec![falls(10)]]));
    world.run_for(20);
    world.act(Deed::Restart(0));
    world.run_until(world.now);
    assert!(matches!(world.view(0), State::Up));
    world.run_to_rest();
    assert_eq!((world.machine.summary(0).incarnation, world.machine.summary(0).restarts), (2, 1));
}

#[test]
fn a_restart_by_hand_brings_back_what_had_ended_for_good() {
    let mut children = trio([vec![finishes(10)]]);
    children[0].0.restart = Restart::Temporary;
    let mut world = booted(Strategy::OneForOne, children);
    world.run_for(20);
    assert_eq!(world.view(0), State::Down);
    world.act(Deed::Restart(0));
    world.run_to_rest();
    assert!(matches!(world.view(0), State::Up));
}

#[test]
fn a_restart_by_hand_of_a_child_that_is_just_ending_is_not_forgotten() {
    let slow = Plot { stop: Ending::Obeys(500), ..finishes(10) };
    let mut children = trio([vec![slow]]);
    children[0].0.restart = Restart::Transient;
    let mut world = booted(Strategy::OneForOne, children);
    world.run_for(100);
    assert_eq!(world.view(0), State::Stopping);
    world.act(Deed::Restart(0));
    world.run_to_rest();
    assert_eq!(world.machine.summary(0).incarnation, 2);
}

#[test]
fn a_restart_by_hand_during_boot_starts_nobody_before_its_turn() {
    let mut world = world(Strategy::OneForOne, trio([vec![starts(100)], vec![]]));
    world.boot();
    world.act(Deed::Restart(1));
    assert_eq!(world.log, ["a#1 spawn"]);
    world.run_to_rest();
    assert_eq!(world.log, ["a#1 spawn", "a#1 up", "b#1 spawn", "b#1 up", "booted"]);
}

#[test]
fn a_child_that_ignores_its_stop_is_killed_and_one_that_ignores_that_is_reported_and_left() {
    let deaf = Plot { stop: Ending::Ignores, kill_ms: 3_600_000, ..GOOD };
    let hung = Plot { stop: Ending::Ignores, ..GOOD };
    let mut world = booted(Strategy::OneForOne, trio([vec![], vec![hung], vec![deaf]]));
    world.act(Deed::Shutdown(60_000));
    world.run_for(20_000);
    let log = [
        "c#1 stop",
        "c#1 stop timed out",
        "c#1 kill",
        "c#1 leaked",
        "b#1 stop",
        "b#1 stop timed out",
        "b#1 kill",
        "b#1 exit killed: it did not end in time",
        "a#1 stop",
        "a#1 exit stopped",
        "halt",
    ];
    assert_eq!(world.log, log);
}

#[test]
fn nothing_is_started_in_the_place_of_a_child_that_cannot_be_ended() {
    let deaf = Plot { stop: Ending::Ignores, kill_ms: 3_600_000, ..GOOD };
    let mut world = booted(Strategy::OneForOne, trio([vec![deaf]]));
    world.act(Deed::Restart(0));
    world.run_for(3_000_000);
    assert_eq!(world.machine.summary(0).incarnation, 1);
    assert_eq!(world.machine.next_deadline(), None);
    world.run_to_rest();
    assert_eq!(world.machine.summary(0).incarnation, 2);
}

#[test]
fn a_second_shutdown_may_only_shorten_the_first() {
    let hung = Plot { stop: Ending::Ignores, ..GOOD };
    let mut world = booted(Strategy::OneForOne, trio([vec![hung]]));
    world.act(Deed::Shutdown(4_000));
    world.act(Deed::Shutdown(1_000));
    world.act(Deed::Shutdown(9_000));
    world.run_for(1_000);
    assert!(world.halted, "{:?}", world.log);
}

/// A supervisor below is bounded by what it is told alone: it must be told of a nearer end too.
#[test]
fn a_supervisor_that_is_ending_is_told_when_the_end_comes_nearer() {
    let shutdown = Shutdown::Unlimited;
    let below = ChildPolicy { shutdown, is_supervisor: true, ..policy("below") };
    let mut machine = Machine::new(SupervisorPolicy::default(), vec![below], 0);
    let now = Instant::now();
    let mut effects = Vec::new();
    machine.on(now, Input::Boot, &mut effects);
    let Some(&Effect::Spawn(key)) = effects.first() else { panic!("{effects:?}") };
    machine.on(now, Input::Started(key), &mut effects);
    machine.on(now, Input::Restart(0), &mut effects);
    effects.clear();

    let deadlines = Deadlines::within(now, Duration::from_secs(3));
    machine.on(now, Input::Shutdown(deadlines), &mut effects);
    let is_told = |effect: &Effect| matches!(effect, Effect::Stop(told, Some(by)) if *told == key && *by == deadlines);
    assert!(effects.len() == 1 && is_told(&effects[0]), "{effects:?}");
    effects.clear();
    // It cuts off its own by then, and is not itself cut off in the middle of that.
    machine.on(deadlines.give_up, Input::Tick, &mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    machine.on(deadlines.give_up + Duration::from_secs(2), Input::Tick, &mut effects);
    let is_given_up = |effect: &Effect| matches!(effect, Effect::Tell(_, Change::Leaked));
    assert!(effects.iter().any(is_given_up), "{effects:?}");
}

#[test]
fn nothing_is_said_after_the_end() {
    let deaf = Plot { stop: Ending::Ignores, kill_ms: 3_600_000, ..GOOD };
    let mut world = booted(Strategy::OneForOne, trio([vec![deaf]]));
    world.act(Deed::Shutdown(0));
    // The deaf one ends long after `Halt`; the world asserts that nothing comes of it.
    world.run_to_rest();
    assert_eq!(world.log.last().unwrap(), "halt");
}

#[test]
fn a_limit_beyond_the_end_of_time_is_no_limit() {
    let mut children = trio([vec![starts(10)]]);
    children[0].0.start_timeout = Some(Duration::MAX);
    children[0].0.shutdown = Shutdown::Stop(Duration::MAX);
    let mut world = world(Strategy::OneForOne, children);
    world.boot();
    world.run_for(100);
    world.act(Deed::Restart(0));
    world.run_for(100);
    assert_eq!(world.machine.summary(0).incarnation, 2);
}
