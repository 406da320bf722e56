//! What a GET costs through `CacheConn`, against other clients and the connection below them.
//!
//! Everyone asks one redis-server on the loopback for the same key and takes a connection for each
//! GET, as a handler does. Rivals come as they are by default, but for what is said here:
//!
//! - `itself` is a second handle of the same tree. Its ratio must be 1; see below.
//! - `deadpool` and `bb8`: pools of 50 connections. A checkout sends a PING, which is their default.
//! - `bare`: one multiplexed connection of the redis crate, cloned for each task, with its default
//!   limit of 500 ms for a command, which deadpool-redis and bb8-redis have too. `bare_nodelay`: the
//!   same with `TCP_NODELAY`, which `CacheConn` and rustis set by themselves.
//! - `fred`: one client, by RESP2 and without `TCP_NODELAY`, which are its defaults. It has no limit
//!   for a command by default, and gets the 500 ms of the others (`default_command_timeout`).
//!   `fred_pool`: its round-robin `Pool` of such clients, one for each processor.
//! - `rustis`: one multiplexed client. It has no limit by default either, and gets the same 500 ms
//!   (`command_timeout`).
//!
//! Each is a feature of this package (`bb8`, `deadpool`, `fred`, `rustis`), so that one that does not
//! build can be left out.
//!
//! Chance decides the order in each turn; `--seed` repeats it. After a warm-up come the rounds. When
//! the median of `cacheconn_vs_itself_<tasks>` (or of its CPU time) is not within 0.98 and 1.02, that
//! part is measured again, three times at most; if that does not help either, a note says that the
//! figures prove nothing, and the exit code is 1.
//!
//! Beside throughput and CPU time there are pipelines of 30 commands, the 99th percentile of a GET's
//! time, `cacheconn_vs_server_limit` (what `redis-benchmark` gets out of the same server over one
//! connection), the system calls of a GET, and `breaker_open_vs_get`: a GET that is refused because
//! Redis is away, over one that succeeds.
//!
//! `--rounds 30`, `--only 64` (tasks) and `--rival bare` (or `pipeline`, `server_limit`, `calls`,
//! `breaker`) repeat a part of it. `--variants` sets `CacheConn` against itself with 1, 2 and 4 lanes,
//! and pinned.

mod calls;
mod choice;
mod paths;
mod server_limit;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use benches::server::Server;
use benches::{Comparison, Goal, cost, cpu_ratio, note, print_for, until};
use fastrand::Rng;
use mainstay_actors::health::GetHealth;

use crate::choice::{BREAKER, CALLS, Choice, ITSELF, PIPELINE, SERVER_LIMIT};
use crate::paths::{Path, RIVALS, VARIANTS, config, filled, tree};
use crate::work::{Work, round, round_of_p99, shuffled};

const TASKS: [usize; 3] = [1, 64, 256];
const PIPELINE_TASKS: usize = 16;
const PIPELINE_COMMANDS: usize = 30;
/// How often a part is measured again whose rows against itself are not about 1.
const REPETITIONS: usize = 3;
/// How many GETs each has in its share of a round against the server's limit.
const GETS_AGAINST_LIMIT: usize = 100_000;
/// How often system calls are counted: a count does not vary as a time does.
const COUNTS: usize = 3;

const PATIENCE: Duration = Duration::from_secs(5);

/// A path that is compared with ours, by its name.
type Rival<'a> = (&'static str, &'a Path);

struct Bench {
    rounds: usize,
    chance: Rng,
    ours: Path,
    /// Whether ours was as fast as ours in all parts.
    proves_something: bool,
}

impl Bench {
    /// Prints throughput and processor time of ours over each of `rivals`, under the name that `name`
    /// makes of the rival's. Ours is among the rivals too.
    async fn compare(&mut self, rivals: &[Rival<'_>], work: Work, name: impl Fn(&str) -> String) {
        let ours = self.ours.clone();
        let mut rivals = rivals.to_vec();
        rivals.insert(0, (ITSELF, &ours));
        let paths: Vec<_> =
            std::iter::once(&ours).chain(rivals.iter().map(|(_, path)| *path)).collect();
        let mut repetitions = 0;
        let comparisons = loop {
            let mut comparisons: Vec<_> = rivals.iter().map(|_| Comparison::default()).collect();
            for number in 0..=self.rounds {
                let costs = round(&paths, work, &mut self.chance).await;
                // The first is the warm-up.
                for (comparison, theirs) in comparisons.iter_mut().zip(&costs[1..]) {
                    if number > 0 {
                        comparison.add(costs[0], *theirs);
                    }
                }
            }
            if comparisons[0].is_about_one() {
                break comparisons;
            }
            let (throughput, cpu) = comparisons[0].medians();
            let itself = format!("{} {throughput:.3}, CPU time {cpu:.3}", name(ITSELF));
            if repetitions == REPETITIONS {
                note(&format!(
                    "{itself}, after {REPETITIONS} repetitions: the next figures prove nothing"
                ));
                self.proves_something = false;
                break comparisons;
            }
            repetitions += 1;
            note(&format!("{itself}: not within 0.98 and 1.02, measured again"));
        };
        for ((rival, _), comparison) in rivals.iter().zip(comparisons) {
            let name = name(rival);
            let cpu = goal(&format!("{name}_cpu"));
            comparison.print_for_both(&name, goal(&name), cpu);
        }
    }

    /// Prints the 99th percentile of a GET's time, ours over each of `rivals`.
    async fn compare_p99(&mut self, rivals: &[Rival<'_>], tasks: usize) {
        let ours = self.ours.clone();
        let mut rivals = rivals.to_vec();
        rivals.insert(0, (ITSELF, &ours));
        let paths: Vec<_> =
            std::iter::once(&ours).chain(rivals.iter().map(|(_, path)| *path)).collect();
        let mut ratios = vec![Vec::with_capacity(self.rounds); rivals.len()];
        for number in 0..=self.rounds {
            let p99 = round_of_p99(&paths, Work::gets(tasks), &mut self.chance).await;
            if number > 0 {
                for (ratios, theirs) in ratios.iter_mut().zip(&p99[1..]) {
                    ratios.push(p99[0] / theirs);
                }
            }
        }
        for ((rival, _), ratios) in rivals.iter().zip(ratios) {
            let name = format!("p99_vs_{rival}_{tasks}");
            print_for("ratio", &name, ratios, goal(&name));
        }
    }

    /// Prints our GETs a second over those of `redis-benchmark` with as many commands under way.
    async fn compare_with_server_limit(&mut self, server: &Server, tasks: usize) {
        let work = Work::gets_in_all(tasks, GETS_AGAINST_LIMIT);
        let name = format!("cacheconn_vs_server_limit_{tasks}");
        let mut ratios = Vec::with_capacity(self.rounds);
        for number in 0..=self.rounds {
            let (mut ours, mut limit) = (0.0, 0.0);
            for which in shuffled(2, &mut self.chance) {
                if which == 0 {
                    let wall = cost(work.run(&self.ours)).await.wall;
                    ours = f64::from(u32::try_from(work.count()).expect("so few"))
                        / wall.as_secs_f64();
                } else {
                    match server_limit::gets_per_second(server.port(), tasks).await {
                        Ok(figure) => limit = figure,
                        Err(why) => return note(&format!("{name}: not measured: {why}")),
                    }
                }
            }
            if number > 0 {
                ratios.push(ours / limit);
            }
        }
        print_for("ratio", &name, ratios, goal(&name));
    }

    /// Prints what being refused costs over what a GET costs.
    async fn compare_refusal(&mut self) {
        let mut server = Server::start().await;
        let tree = tree(config(&server.url(), None)).await;
        let refused = Path::Refused(tree.cache());
        // Connections that were in use before the outage are part of it.
        Work::gets(64).run(&filled(tree.cache()).await).await;
        server.kill();
        until(PATIENCE, "the breaker opens", async || {
            tree.ask(GetHealth).await.is_ok_and(|report| report.breaker_open)
        })
        .await;
        let mut ratios = Vec::with_capacity(self.rounds);
        for number in 0..=self.rounds {
            let costs = round(&[&refused, &self.ours], Work::gets(64), &mut self.chance).await;
            if number > 0 {
                ratios.push(cpu_ratio(costs[0], costs[1]));
            }
        }
        print_for("ratio", "breaker_open_vs_get_cpu", ratios, goal("breaker_open_vs_get_cpu"));
        tree.shutdown(PATIENCE).await;
    }
}

/// Prints the system calls of a GET of one task, ours and those of the bare connection.
async fn count_calls(url: &str) {
    for (path, prefix) in [("cacheconn", ""), ("bare", "bare_")] {
        let mut counts = Vec::with_capacity(COUNTS);
        for _ in 0..COUNTS {
            match calls::per_get(path, url).await {
                Ok(calls) => counts.push(calls),
                Err(why) => return note(&format!("{prefix}writes_per_get: not counted: {why}")),
            }
        }
        let print = |name: &str, of: fn(&calls::Calls) -> f64| {
            let name = format!("{prefix}{name}");
            print_for("value", &name, counts.iter().map(of).collect(), goal(&name));
        };
        print("writes_per_get", |calls| calls.writes);
        print("reads_per_get", |calls| calls.reads);
        print("other_calls_per_get", |calls| calls.other);
    }
}

fn goal(name: &str) -> Option<Goal> {
    Some(match name {
        "cacheconn_vs_deadpool_64" | "cacheconn_vs_bb8_64" => Goal::AtLeast(5.0),
        "cacheconn_vs_bare_1_cpu" | "p99_vs_bare_64" | "breaker_open_vs_get_cpu" => {
            Goal::AtMost(1.0)
        }
        "cacheconn_vs_bare_64" | "cacheconn_vs_rustis_64" | "cacheconn_vs_rustis_256" => {
            Goal::AtLeast(1.2)
        }
        "cacheconn_vs_bare_64_cpu" | "cacheconn_vs_bare_256_cpu" => Goal::AtMost(0.7),
        "cacheconn_vs_bare_nodelay_64" => Goal::AtLeast(0.95),
        "cacheconn_vs_rustis_64_cpu" | "cacheconn_vs_rustis_256_cpu" => Goal::AtMost(0.9),
        "cacheconn_vs_fred_64" => Goal::AtLeast(1.5),
        "cacheconn_vs_fred_64_cpu" => Goal::AtMost(0.6),
        "cacheconn_vs_server_limit_64" => Goal::AtLeast(0.75),
        "cacheconn_vs_server_limit_256" => Goal::AtLeast(0.55),
        "pipeline_30_vs_bare" => Goal::AtLeast(1.05),
        "pipeline_30_vs_bare_cpu" => Goal::AtMost(0.95),
        "writes_per_get" | "reads_per_get" => Goal::Exactly(1.0),
        _ => return None,
    })
}

/// Runs what `choice` takes of it all; whether it proves something.
async fn run(choice: Choice) -> bool {
    let server = Server::start().await;
    let tree = tree(config(&server.url(), None)).await;
    let ours = filled(tree.cache()).await;
    let seed = choice.seed.unwrap_or_else(|| fastrand::u64(..));
    note(&format!("{} rounds, --seed {seed}", choice.rounds));
    let chance = Rng::with_seed(seed);
    let mut bench = Bench { rounds: choice.rounds, chance, ours, proves_something: true };

    let is_chosen = |name: &&&str| choice.takes(name);
    let mut paths = Vec::new();
    for name in RIVALS.iter().chain(VARIANTS).filter(is_chosen) {
        paths.push((*name, Path::to_rival(name, &server.url(), &tree.cache()).await));
    }
    let rivals: Vec<Rival<'_>> = paths.iter().map(|(name, path)| (*name, path)).collect();
    for tasks in TASKS.into_iter().filter(|tasks| choice.takes_tasks(*tasks)) {
        if !rivals.is_empty() || choice.takes(ITSELF) {
            let name = |rival: &str| format!("cacheconn_vs_{rival}_{tasks}");
            bench.compare(&rivals, Work::gets(tasks), name).await;
        }
        // A pool's time is that of its queue, and the throughput says it already.
        let timed = |(name, _): &Rival<'_>| !["deadpool", "bb8"].contains(name);
        let timed: Vec<_> = rivals.iter().copied().filter(timed).collect();
        let with_variants = timed.iter().any(|(name, _)| VARIANTS.contains(name));
        if !timed.is_empty() && (tasks == 64 || with_variants) {
            bench.compare_p99(&timed, tasks).await;
        }
        if tasks > 1 && choice.takes(SERVER_LIMIT) {
            bench.compare_with_server_limit(&server, tasks).await;
        }
        if tasks == 1 && choice.takes(CALLS) {
            count_calls(&server.url()).await;
        }
    }
    if choice.takes(PIPELINE) && choice.takes_tasks(PIPELINE_TASKS) {
        let bare = Path::bare(&server.url(), false).await;
        let name = |rival: &str| format!("pipeline_{PIPELINE_COMMANDS}_vs_{rival}");
        let work = Work::pipelines(PIPELINE_TASKS, PIPELINE_COMMANDS);
        bench.compare(&[("bare", &bare)], work, name).await;
    }
    if choice.takes(BREAKER) && choice.takes_tasks(64) {
        bench.compare_refusal().await;
    }
    tree.shutdown(PATIENCE).await;
    bench.proves_something
}

#[tokio::main]
async fn main() -> ExitCode {
    let choice = match Choice::from_arguments(std::env::args().skip(1)) {
        Ok(choice) => choice,
        Err(fault) => {
            note(&fault);
            return ExitCode::from(2);
        }
    };
    if let Some(count) = choice.count {
        calls::child(count.gets, &count.path, &count.url).await;
        return ExitCode::SUCCESS;
    }
    if run(choice).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
