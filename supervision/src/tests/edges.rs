//! What the machine decides where two things happen at once: an end within an end, a restart of what is ending.

use std::time::Duration;

use super::world::{Deed, Ending, Plot, Run, Start, World, policy};
use crate::machine::State;
use crate::policy::{ChildPolicy, SupervisorPolicy};
use crate::{Cause, Exit, Restart, Strategy};

const GOOD: Plot = Plot::GOOD;
const FOREVER_MS: u64 = 3_600_000;

fn world(strategy: Strategy, children: Vec<(ChildPolicy, Vec<Plot>)>) -> World {
    World::new(SupervisorPolicy { strategy, ..SupervisorPolicy::default() }, children, 0)
}

#[test]
fn a_restart_by_hand_of_a_temporary_child_that_is_falling_starts_it() {
    let temporary = ChildPolicy { restart: Restart::Temporary, ..policy("a") };
    let falls = Plot { run: Run::Falls(0), lingers_ms: 500, ..GOOD };
    let mut world = world(Strategy::OneForOne, vec![(temporary, vec![falls])]);
    world.boot();
    world.run_for(100);
    world.act(Deed::Restart(0));
    world.run_to_rest();
    assert_eq!(world.view(0), State::Up, "{:#?}", world.log);
}

#[test]
fn a_restart_by_hand_of_a_transient_child_that_is_ending_well_starts_it() {
    let transient = ChildPolicy { restart: Restart::Transient, ..policy("a") };
    let ends = Plot { run: Run::Finishes(0), stop: Ending::Obeys(200), lingers_ms: 500, ..GOOD };
    for at in [100, 300] {
        let mut world = world(Strategy::OneForOne, vec![(transient.clone(), vec![ends])]);
        world.boot();
        world.run_for(at);
        world.act(Deed::Restart(0));
        world.run_to_rest();
        assert_eq!(world.view(0), State::Up, "{:#?}", world.log);
    }
}

#[test]
fn a_start_that_timed_out_is_named_as_that_when_a_part_of_it_is_left() {
    let hung = Plot { start: Start::Hangs, lingers_ms: FOREVER_MS, ..GOOD };
    let mut world = world(Strategy::OneForOne, vec![(policy("a"), vec![hung])]);
    world.boot();
    world.run_for(7_000);
    let cause = world.cause.clone().unwrap();
    let Cause::StartFailed { exit, .. } = &*cause else { panic!("{cause}") };
    assert!(matches!(exit, Exit::StartTimedOut(_)), "{cause}");
}

#[test]
fn a_removed_child_that_cannot_be_ended_holds_up_nobody() {
    let blocked = Plot { stop: Ending::Ignores, kill_ms: FOREVER_MS, ..GOOD };
    let falls = Plot { run: Run::Falls(20_000), ..GOOD };
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let children = vec![(policy("a"), vec![falls]), (policy("b"), vec![blocked])];
        let mut world = world(strategy, children);
        world.boot();
        world.run_for(1);
        world.act(Deed::Remove(1));
        world.run_for(60_000);
        assert_eq!(world.view(0), State::Up, "{:#?}", world.log);
    }
}

#[test]
fn a_removed_child_that_never_comes_up_does_not_fail_the_boot() {
    let hung = Plot { start: Start::Hangs, kill_ms: FOREVER_MS, ..GOOD };
    let slow = Plot { start: Start::Succeeds(4_000), ..GOOD };
    let mut world = world(
        Strategy::OneForOne,
        vec![(policy("a"), vec![]), (policy("b"), vec![hung]), (policy("c"), vec![slow])],
    );
    world.boot();
    world.run_for(5_500);
    world.act(Deed::Remove(1));
    world.run_for(5_000);
    assert!(!world.halted, "{:#?}", world.log);
}

#[test]
fn who_fell_and_does_not_come_back_is_not_shown_as_in_backoff() {
    let falls = Plot { run: Run::Falls(0), lingers_ms: FOREVER_MS, ..GOOD };
    let mut shown = Vec::new();
    // Removed while something of it is left.
    let mut world_of = world(Strategy::OneForOne, vec![(policy("a"), vec![falls])]);
    world_of.boot();
    world_of.run_for(100);
    world_of.act(Deed::Remove(0));
    shown.push(("removed", world_of.view(0)));
    // Never restarted.
    let temporary = ChildPolicy { restart: Restart::Temporary, ..policy("a") };
    let mut world_of = world(Strategy::OneForOne, vec![(temporary, vec![falls])]);
    world_of.boot();
    world_of.run_for(100);
    shown.push(("temporary", world_of.view(0)));
    // Everything has ended.
    let mut world_of = world(Strategy::OneForOne, vec![(policy("a"), vec![falls])]);
    world_of.boot();
    world_of.run_for(100);
    world_of.act(Deed::Shutdown(100));
    shown.push(("ending", world_of.view(0)));
    world_of.run_for(Duration::from_secs(5).as_millis().try_into().unwrap());
    assert!(world_of.halted);
    shown.push(("ended", world_of.view(0)));
    assert!(shown.iter().all(|(_, state)| *state != State::Backoff), "{shown:?}");
}
