//! The long runs of everything about Redis.

use std::time::Duration;

use crate::bulk::small_beside_large;
use crate::history::history;
use crate::names::moved_name;
use crate::returns::{late_start, restart, silence, standstill, wrong_password};
use crate::support::soak::{calls_while_down, cancelled_waits, cancels};
use crate::support::{Proxy, Server, Welcome, figures};
use crate::{Figure, Soak};

pub(crate) const ALL: &[Soak] = &[
    Soak {
        name: "history",
        run: |scale| {
            Box::pin(async move {
                let seed = scale.seed();
                eprintln!("history: --seed {seed}");
                let report = history(scale.length(20, 600), seed).await;
                if !report.wrong.is_empty() {
                    eprintln!("seed {seed}: {:#?}", report.wrong);
                }
                let mebibytes = to_f64(report.resident_more_bytes) / 1_048_576.0;
                vec![
                    count("history_wrong", report.wrong.len()).at_most(0.0),
                    count("history_restarts", report.restarts).at_most(0.0),
                    count("history_faults", report.faults),
                    count("history_answered", report.answered),
                    count("history_cut", report.cut),
                    count("history_not_done", report.not_done),
                    count("history_unknown", report.unknown),
                    Figure::millis("history_overrun_max", report.overrun_max).at_most(1000.0),
                    Figure::millis("history_recovery_max", report.recovery_max).at_most(3000.0),
                    count("history_connections_more", report.connections_more).at_most(10.0),
                    count("history_descriptors_more", report.descriptors_more).at_most(30.0),
                    Figure::of("history_resident_more", mebibytes, "MiB").at_most(32.0),
                ]
            })
        },
    },
    // redis R1
    Soak {
        name: "cancels",
        run: |scale| {
            Box::pin(async move {
                let operations = scale.pick(2000, 100_000);
                let server = Server::start().await;
                let proxy = Proxy::before(server.address()).await;
                let seed = fastrand::u64(..);
                let report = cancels(&server.url(), &proxy, operations, seed).await;
                if !report.wrong.is_empty() {
                    eprintln!("seed {seed}: {:#?}", report.wrong);
                }
                vec![
                    count("cancels_wrong", report.wrong.len()).at_most(0.0),
                    count("cancels_answered", report.answered),
                    count("cancels_cut", report.cut),
                    count("cancels_failed", report.failed),
                    count("cancels_resets", report.resets),
                ]
            })
        },
    },
    // redis R2
    Soak {
        name: "standstill",
        run: |scale| {
            Box::pin(async move {
                let (mut overruns, mut recoveries) = (Vec::new(), Vec::new());
                for _ in 0..scale.pick(2, 20) {
                    let found = standstill(random(500, 3000)).await;
                    overruns.push(found.overrun);
                    recoveries.push(found.recovery);
                }
                let overruns =
                    spread(["standstill_overrun_median", "standstill_overrun_max"], overruns, 50.0);
                let recoveries = spread(
                    ["standstill_recovery_median", "standstill_recovery_max"],
                    recoveries,
                    1000.0,
                );
                overruns.into_iter().chain(recoveries).collect()
            })
        },
    },
    // redis R3
    Soak {
        name: "silence",
        run: |scale| {
            Box::pin(async move {
                let mut times = Vec::new();
                for _ in 0..scale.pick(2, 20) {
                    times.push(silence().await);
                }
                // A second's silence, half a second for the reply to the question, the turns of three to connect.
                spread(["silence_replaced_median", "silence_replaced_max"], times, 1900.0)
            })
        },
    },
    // redis R4
    Soak {
        name: "restart",
        run: |scale| {
            Box::pin(async move {
                let mut times = Vec::new();
                for _ in 0..scale.pick(2, 20) {
                    times.push(restart(random(0, 5000)).await);
                }
                spread(["restart_recovery_median", "restart_recovery_max"], times, 1000.0)
            })
        },
    },
    // redis R5
    Soak {
        name: "wrong-password",
        run: |scale| {
            Box::pin(async move {
                let recovery = wrong_password(seconds(scale.pick(5, 60))).await;
                // A login that failed is tried again every two seconds.
                vec![Figure::millis("wrong_password_recovery", recovery).at_most(3000.0)]
            })
        },
    },
    Soak {
        name: "late-start",
        run: |scale| {
            Box::pin(async move {
                let recovery = late_start(seconds(scale.pick(5, 90))).await;
                vec![Figure::millis("late_start_ready", recovery).at_most(2000.0)]
            })
        },
    },
    // redis R4, R15
    Soak {
        name: "down",
        run: |scale| {
            Box::pin(async move {
                let time = seconds(scale.pick(5, 60));
                let mut down = calls_while_down(10_000, time, Welcome::Reset).await;
                let per_second = |count: usize| to_f64(count) / down.time.as_secs_f64();
                vec![
                    Figure::of("down_calls", per_second(down.calls), "per s"),
                    Figure::of("down_connects", to_f64(down.connects.len()), "connects")
                        .at_most(to_f64(down.most_connects())),
                    Figure::of("down_grown", to_f64(down.grown_bytes) / f64::from(1 << 20), "MiB")
                        .at_most(64.0),
                    Figure::millis("down_call_median", figures::quantile(&mut down.took, 0.5))
                        .at_most(5.0),
                    Figure::millis("down_call_p99", figures::quantile(&mut down.took, 0.99)),
                ]
            })
        },
    },
    // redis R16
    Soak {
        name: "bulk",
        run: |scale| {
            Box::pin(async move {
                let beside = small_beside_large(seconds(scale.pick(2, 20))).await;
                let ratio = |with: Duration| with.as_secs_f64() / beside.nothing.as_secs_f64();
                vec![
                    Figure::millis("bulk_nothing_p99", beside.nothing),
                    Figure::millis("bulk_own_lane_p99", beside.bulk).at_most(100.0),
                    Figure::millis("bulk_same_lane_p99", beside.ordinary),
                    Figure::of("bulk_own_lane_ratio", ratio(beside.bulk), "times nothing"),
                    Figure::of("bulk_same_lane_ratio", ratio(beside.ordinary), "times nothing"),
                ]
            })
        },
    },
    // redis R25
    Soak {
        name: "moved-name",
        run: |_| {
            Box::pin(async move {
                let Some(moved) = moved_name() else {
                    eprintln!("moved-name: this system gives nobody a table of names of one's own");
                    return Vec::new();
                };
                // The age of 2 s, a fifth more, the next probe.
                vec![Figure::millis("moved_name_followed", moved).at_most(3500.0)]
            })
        },
    },
    // redis R22
    Soak {
        name: "waits",
        run: |scale| {
            Box::pin(async move {
                let waits = scale.pick(2000, 100_000);
                let seed = fastrand::u64(..);
                eprintln!("waits: seed {seed}");
                cancelled_waits(seed, waits).await;
                vec![count("waits_exact", waits)]
            })
        },
    },
];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A time between two numbers of milliseconds.
fn random(least: u64, most: u64) -> Duration {
    Duration::from_millis(fastrand::u64(least..=most))
}

fn count(name: &'static str, count: impl TryInto<u64>) -> Figure {
    Figure::of(name, to_f64(count), "times")
}

fn spread(names: [&'static str; 2], mut times: Vec<Duration>, most: f64) -> Vec<Figure> {
    let [median, max] = [0.5, 1.0].map(|share| figures::quantile(&mut times, share));
    vec![Figure::millis(names[0], median), Figure::millis(names[1], max).at_most(most)]
}

#[expect(clippy::cast_precision_loss, reason = "no figure here is that large")]
fn to_f64(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
