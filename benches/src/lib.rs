//! How Mainstay is measured: rivals in one process, round about, and the ratio of each round.
//!
//! A wall clock on a shared machine swings by a factor of three from one second to the next, so an
//! absolute time says little. Rivals that take turns within a few milliseconds meet the same
//! machine; their ratio holds.
#![allow(clippy::print_stdout, reason = "a benchmark's product is what it prints")]

pub mod server;

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use tokio::time::{Instant, sleep};

/// How many rounds a comparison runs, after one that is not counted.
pub const ROUNDS: usize = 15;

/// What one rival needed for its share of one round.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// By the clock on the wall.
    pub wall: Duration,
    /// By the processor time of this process, all threads.
    pub cpu: Duration,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.wall += more.wall;
        self.cpu += more.cpu;
    }
}

/// Measures what `work` costs.
pub async fn cost(work: impl Future<Output = ()>) -> Cost {
    let (wall, cpu) = (Instant::now(), cpu_time());
    work.await;
    Cost { wall: wall.elapsed(), cpu: cpu_time().saturating_sub(cpu) }
}

/// The processor time of the calling thread until now.
pub fn thread_time() -> Duration {
    time_of(UsageWho::RUSAGE_THREAD)
}

fn cpu_time() -> Duration {
    time_of(UsageWho::RUSAGE_SELF)
}

fn time_of(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("getrusage(2) of oneself does not fail");
    let [user, system] = [usage.user_time(), usage.system_time()].map(|time| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).expect("time spent is not negative"))
    });
    user + system
}

/// Our cost over theirs, in processor time.
pub fn cpu_ratio(ours: Cost, theirs: Cost) -> f64 {
    ours.cpu.as_secs_f64() / theirs.cpu.as_secs_f64()
}

/// What a ratio should be; printed behind it.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
    /// This, to one in a hundred: a count over many operations, in which a stray one does not show.
    Exactly(f64),
}

impl Goal {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::Exactly(wanted) => (figure - wanted).abs() < 0.01,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "goal >= {least}"),
            Self::AtMost(most) => write!(f, "goal <= {most}"),
            Self::Exactly(wanted) => write!(f, "goal = {wanted}"),
        }
    }
}

/// One comparison: ours and theirs, over all rounds.
#[derive(Debug, Default)]
pub struct Comparison {
    throughput: Vec<f64>,
    cpu: Vec<f64>,
}

impl Comparison {
    /// Adds a round in which both did the same work.
    pub fn add(&mut self, ours: Cost, theirs: Cost) {
        self.throughput.push(theirs.wall.as_secs_f64() / ours.wall.as_secs_f64());
        self.cpu.push(cpu_ratio(ours, theirs));
    }

    /// The medians of throughput and processor time.
    pub fn medians(&self) -> (f64, f64) {
        let median = |figures: &[f64]| {
            let mut figures = figures.to_vec();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        (median(&self.throughput), median(&self.cpu))
    }

    /// Whether both medians are as near to 1 as those of one rival against itself have to be.
    pub fn is_about_one(&self) -> bool {
        let (throughput, cpu) = self.medians();
        [throughput, cpu].iter().all(|median| (0.98..=1.02).contains(median))
    }

    /// Prints `ratio <name> <median> <min> <max>`, throughput of ours over theirs, and the same for
    /// processor time per operation under `<name>_cpu`.
    pub fn print(self, name: &str) {
        self.print_for(name, None);
    }

    /// The same with the goal of the throughput, if there is one, behind it.
    pub fn print_for(self, name: &str, goal: Option<Goal>) {
        self.print_for_both(name, goal, None);
    }

    /// The same with the goals of the throughput and of the processor time, where there are any.
    pub fn print_for_both(self, name: &str, throughput: Option<Goal>, cpu: Option<Goal>) {
        print_for("ratio", name, self.throughput, throughput);
        print_for("ratio", &format!("{name}_cpu"), self.cpu, cpu);
    }
}

/// Prints `<kind> <name> <median> <min> <max>`.
pub fn print(kind: &str, name: &str, figures: Vec<f64>) {
    print_for(kind, name, figures, None);
}

/// The same with the goal, if there is one, behind it, and whether the median misses it.
pub fn print_for(kind: &str, name: &str, mut figures: Vec<f64>, goal: Option<Goal>) {
    figures.sort_by(f64::total_cmp);
    let (min, max) = (figures[0], figures[figures.len() - 1]);
    let median = figures[figures.len() / 2];
    let goal = goal.map_or_else(String::new, |goal| {
        let missed = if goal.is_met_by(median) { "" } else { ", missed" };
        format!("  # {goal}{missed}")
    });
    println!("{kind} {name} {median:.3} {min:.3} {max:.3}{goal}");
}

/// Prints what is to be known of the figures before it, on a line that is no figure.
pub fn note(text: &str) {
    println!("# {text}");
}

/// Waits until it is so.
///
/// # Panics
///
/// If it is not after `patience`.
pub async fn until(patience: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in {patience:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn itself(ratios: &[f64]) -> Comparison {
        let mut comparison = Comparison::default();
        for ratio in ratios {
            let of = |seconds| Cost {
                wall: Duration::from_secs_f64(seconds),
                cpu: Duration::from_secs_f64(seconds),
            };
            comparison.add(of(1.0), of(*ratio));
        }
        comparison
    }

    #[test]
    fn a_path_against_itself_is_judged_by_its_median() {
        assert!(itself(&[0.5, 1.01, 3.0]).is_about_one());
        assert!(!itself(&[1.0, 1.03, 1.04]).is_about_one());
        assert!(!itself(&[0.9, 0.97, 1.0]).is_about_one());
    }

    #[test]
    fn a_count_is_exact_to_one_in_a_hundred() {
        assert!(Goal::Exactly(1.0).is_met_by(1.004));
        assert!(!Goal::Exactly(1.0).is_met_by(1.02));
        assert!(!Goal::Exactly(1.0).is_met_by(0.98));
    }
}
