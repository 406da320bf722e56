//! The machine's promises (checked in `world.rs` at each step) against random worlds.

use std::time::Duration;

use proptest::prelude::*;

use super::world::{Deed, Ending, Plot, Run, Start, World, policy};
use crate::policy::{ChildPolicy, SupervisorPolicy};
use crate::{Backoff, Intensity, Jitter, Restart, Shutdown, Strategy as Fate};

fn millis() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 3 => 1_u64..200, 2 => 200_u64..3_000, 1 => 3_000_u64..40_000]
}

fn plot() -> impl Strategy<Value = Plot> {
    let start = prop_oneof![
        6 => millis().prop_map(Start::Succeeds),
        1 => millis().prop_map(Start::Fails),
        1 => Just(Start::Hangs),
    ];
    let run = prop_oneof![
        2 => Just(Run::Stays),
        3 => millis().prop_map(Run::Falls),
        1 => millis().prop_map(Run::Finishes),
    ];
    let stop = prop_oneof![
        3 => millis().prop_map(Ending::Obeys),
        1 => millis().prop_map(Ending::Panics),
        1 => Just(Ending::Ignores),
    ];
    let lag = prop_oneof![3 => Just(0), 1 => 0_u64..500];
    let lingers = prop_oneof![3 => Just(0), 1 => millis()];
    let waits = prop_oneof![4 => Just(0), 1 => millis()];
    (start, run, stop, millis(), lingers, waits, lag, any::<bool>()).prop_map(
        |(start, run, stop, kill_ms, lingers_ms, waits_ms, lag_ms, echoes)| Plot {
            start,
            run,
            stop,
            kill_ms,
            lingers_ms,
            waits_ms,
            lag_ms,
            echoes,
        },
    )
}

fn child(index: usize) -> impl Strategy<Value = (ChildPolicy, Vec<Plot>)> {
    let restart = prop_oneof![
        3 => Just(Restart::Permanent),
        1 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ];
    let shutdown = prop_oneof![
        1 => Just(Shutdown::Kill),
        3 => millis().prop_map(|ms| Shutdown::Stop(Duration::from_millis(ms))),
        1 => millis().prop_map(|ms| Shutdown::Drain(Duration::from_millis(ms))),
    ];
    let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Full)];
    let significant = prop::bool::weighted(0.1);
    let backoff = (millis(), millis(), jitter, millis());
    let timeout = 1_u64..5_000;
    let plots = prop::collection::vec(plot(), 0..6);
    (restart, significant, shutdown, backoff, timeout, plots).prop_map(
        move |(restart, significant, shutdown, (min, more, jitter, stable), timeout, plots)| {
            let backoff = Backoff {
                min: Duration::from_millis(min),
                max: Duration::from_millis(min + more),
                jitter,
                stable_after: Duration::from_millis(stable),
            };
            let start_timeout = Some(Duration::from_millis(timeout));
            let named = policy(["a", "b", "c", "d", "e"][index]);
            (ChildPolicy { restart, significant, backoff, shutdown, start_timeout, ..named }, plots)
        },
    )
}

/// A supervisor below: it always comes back, is never cut off, and leaves nothing.
fn supervisor((named, plots): (ChildPolicy, Vec<Plot>)) -> (ChildPolicy, Vec<Plot>) {
    let named = ChildPolicy {
        is_supervisor: true,
        restart: Restart::Permanent,
        shutdown: Shutdown::Unlimited,
        start_timeout: None,
        ..named
    };
    let alone = |plot: Plot| Plot {
        start: match plot.start {
            Start::Hangs => Start::Succeeds(30_000),
            other => other,
        },
        run: match plot.run {
            Run::Finishes(ms) => Run::Falls(ms),
            other => other,
        },
        lingers_ms: 0,
        waits_ms: 0,
        lag_ms: 0,
        ..plot
    };
    (named, plots.into_iter().map(alone).collect())
}

fn any_child(index: usize) -> impl Strategy<Value = (ChildPolicy, Vec<Plot>)> {
    prop_oneof![3 => child(index), 1 => child(index).prop_map(supervisor)]
}

fn children() -> impl Strategy<Value = Vec<(ChildPolicy, Vec<Plot>)>> {
    (1_usize..=5).prop_flat_map(|count| (0..count).map(any_child).collect::<Vec<_>>())
}

fn flags() -> impl Strategy<Value = SupervisorPolicy> {
    let strategy =
        prop_oneof![Just(Fate::OneForOne), Just(Fate::OneForAll), Just(Fate::RestForOne)];
    let intensity = (prop_oneof![0_u32..4, Just(50)], 1_u64..60_000);
    (strategy, intensity).prop_map(|(strategy, (max, within))| {
        let intensity = Intensity { max, within: Duration::from_millis(within) };
        SupervisorPolicy { strategy, intensity }
    })
}

fn deeds() -> impl Strategy<Value = Vec<(u64, Deed, usize)>> {
    let deed = prop_oneof![
        4 => Just(Deed::Restart(0)),
        2 => Just(Deed::Remove(0)),
        4 => millis().prop_map(Deed::Stall),
        1 => millis().prop_map(Deed::Shutdown),
    ];
    prop::collection::vec((millis(), deed, 0_usize..5), 0..12)
}

fn play(world: &mut World, deeds: &[(u64, Deed, usize)], count: usize) {
    world.boot();
    for &(gap, deed, child) in deeds {
        world.run_for(gap);
        world.act(match deed {
            Deed::Restart(_) => Deed::Restart(child % count),
            Deed::Remove(_) => Deed::Remove(child % count),
            Deed::Shutdown(_) | Deed::Stall(_) => deed,
        });
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_the_children_do_the_machine_keeps_its_promises_and_comes_to_rest(
        flags in flags(), children in children(), seed: u64, deeds in deeds(),
    ) {
        let count = children.len();
        let mut world = World::new(flags, children, seed);
        play(&mut world, &deeds, count);
        world.run_to_rest();
        world.check_rest();
    }

    #[test]
    fn a_shutdown_ends_in_one_halt_within_its_budget_whatever_the_children_do(
        flags in flags(), children in children(), seed: u64, deeds in deeds(), budget in millis(),
    ) {
        let count = children.len();
        let mut world = World::new(flags, children, seed);
        play(&mut world, &deeds, count);
        world.act(Deed::Shutdown(budget));
        // The last moments take 20 ms at least.
        let latest = world.now + Duration::from_millis(budget.max(20));
        world.run_until(latest);
        prop_assert!(world.halted);
    }
}
