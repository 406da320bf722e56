//! What each path is asked to do in a turn, and the turns of a round.

use std::time::Duration;

use benches::{Cost, cost};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::paths::Path;

/// Of each path in each round: those that take turns often meet the same machine.
const TURNS: usize = 8;

/// So many tasks, each of which asks so many times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) tasks: usize,
    each: usize,
    /// In one pipeline; without it single GETs.
    pipeline: Option<usize>,
}

impl Work {
    pub(crate) fn gets(tasks: usize) -> Self {
        let each = match tasks {
            1 => 800,
            _ => 25 + 1_600 / tasks,
        };
        Self { tasks, each, pipeline: None }
    }

    /// About so many GETs, however many tasks share them.
    pub(crate) fn gets_in_all(tasks: usize, gets: usize) -> Self {
        Self { tasks, each: gets.div_ceil(tasks), pipeline: None }
    }

    pub(crate) fn pipelines(tasks: usize, commands: usize) -> Self {
        Self { tasks, each: 40, pipeline: Some(commands) }
    }

    pub(crate) fn count(self) -> usize {
        self.tasks * self.each
    }

    #[expect(clippy::disallowed_methods, reason = "the tasks stand for requests of a server")]
    pub(crate) async fn run(self, path: &Path) {
        let mut running = JoinSet::new();
        for _ in 0..self.tasks {
            let mut path = path.clone();
            running.spawn(async move {
                for _ in 0..self.each {
                    match self.pipeline {
                        Some(commands) => path.pipeline(commands).await,
                        None => path.get().await,
                    }
                }
            });
        }
        running.join_all().await;
    }

    /// Single GETs, each of which is timed.
    #[expect(clippy::disallowed_methods, reason = "the tasks stand for requests of a server")]
    async fn timed(self, path: &Path) -> Vec<Vec<Duration>> {
        let mut running = JoinSet::new();
        for _ in 0..self.tasks {
            let mut path = path.clone();
            // Allocated before the first GET, so that to note a time costs everybody the same.
            let mut times = Vec::with_capacity(self.each);
            running.spawn(async move {
                for _ in 0..self.each {
                    let begin = Instant::now();
                    path.get().await;
                    times.push(begin.elapsed());
                }
                times
            });
        }
        running.join_all().await
    }
}

/// What each path needs in one round, in which all are in turn [`TURNS`] times, each time in a new
/// order that chance decides.
pub(crate) async fn round(paths: &[&Path], work: Work, chance: &mut Rng) -> Vec<Cost> {
    let mut costs = vec![Cost::default(); paths.len()];
    for _ in 0..TURNS {
        for which in shuffled(paths.len(), chance) {
            costs[which] += cost(work.run(paths[which])).await;
        }
    }
    costs
}

/// The 99th percentile of the time of a GET, in seconds, of each path in one such round.
pub(crate) async fn round_of_p99(paths: &[&Path], work: Work, chance: &mut Rng) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(TURNS * work.count()); paths.len()];
    for _ in 0..TURNS {
        for which in shuffled(paths.len(), chance) {
            times[which].extend(work.timed(paths[which]).await.into_iter().flatten());
        }
    }
    times.into_iter().map(|times| percentile_99(times).as_secs_f64()).collect()
}

fn percentile_99(mut times: Vec<Duration>) -> Duration {
    let place = times.len() * 99 / 100;
    *times.select_nth_unstable(place).1
}

pub(crate) fn shuffled(count: usize, chance: &mut Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    chance.shuffle(&mut order);
    order
}
