//! The long runs: what the tests do for seconds, for as long as it takes to be sure. Prints what they find, one line a
//! figure, and fails if one is out of its bound. `scripts/soak` starts it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is its product")]
#![allow(
    clippy::disallowed_methods,
    reason = "it is the root of its own tasks, as a test is, and chooses its server by a variable"
)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bulk;
mod history;
mod names;
mod redis;
mod returns;
#[allow(dead_code, unused_imports, reason = "the tests use the rest of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Scale {
    /// To see that it runs at all.
    is_quick: bool,
    /// For a run whose length is a time.
    seconds: Option<u64>,
    /// For a run that is to be repeated.
    seed: Option<u64>,
}

/// One of the runs.
struct Soak {
    name: &'static str,
    run: fn(Scale) -> LocalBoxFuture<'static, Vec<Figure>>,
}

/// What a run found.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// Without one it only tells.
    at_most: Option<f64>,
}

impl Scale {
    fn pick<T>(self, quick: T, full: T) -> T {
        if self.is_quick { quick } else { full }
    }

    fn length(self, quick: u64, full: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(self.pick(quick, full)))
    }

    fn seed(self) -> u64 {
        self.seed.unwrap_or_else(|| fastrand::u64(..))
    }
}

impl Figure {
    fn of(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, at_most: None }
    }

    fn millis(name: &'static str, value: Duration) -> Self {
        Self::of(name, value.as_secs_f64() * 1000.0, "ms")
    }

    fn at_most(self, bound: f64) -> Self {
        Self { at_most: Some(bound), ..self }
    }

    fn is_in_bounds(&self) -> bool {
        self.at_most.is_none_or(|bound| self.value <= bound)
    }

    fn print(&self) {
        let Self { name, value, unit, at_most } = self;
        let bound = match at_most {
            Some(bound) => format!("bound {bound}"),
            None => "no bound".to_owned(),
        };
        let broken = if self.is_in_bounds() { "" } else { " BROKEN" };
        println!("soak {name} {value:.3} {unit} ({bound}){broken}");
    }
}

/// The names on the command line: the room, and parts of the names of those of its runs that are wanted.
fn wanted(arguments: &[String]) -> Option<(Scale, Vec<&Soak>)> {
    let mut scale = Scale::default();
    let mut names = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => scale.is_quick = true,
            "--seconds" => scale.seconds = Some(arguments.next()?.parse().ok()?),
            "--seed" => scale.seed = Some(arguments.next()?.parse().ok()?),
            _ => names.push(argument),
        }
    }
    let mut names = names.into_iter();
    let all = match names.next()?.as_str() {
        "redis" => redis::ALL,
        _ => return None,
    };
    let names: Vec<_> = names.collect();
    let is_wanted = |soak: &&Soak| {
        names.is_empty() || names.iter().any(|name| soak.name.contains(name.as_str()))
    };
    let soaks: Vec<_> = all.iter().filter(is_wanted).collect();
    (!soaks.is_empty()).then_some((scale, soaks))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [inner, table] = arguments.as_slice()
        && inner == names::INNER
    {
        names::inner(table.as_ref()).await;
        return ExitCode::SUCCESS;
    }
    let Some((scale, soaks)) = wanted(&arguments) else {
        eprintln!(
            "soak: {arguments:?} cannot be read: wanted are redis, parts of names, --quick, --seconds N and --seed N; \
             redis has:"
        );
        for soak in redis::ALL {
            eprintln!("  {}", soak.name);
        }
        return ExitCode::from(2);
    };
    let mut is_good = true;
    for soak in soaks {
        let begun = Instant::now();
        // One that fails does not keep the others from running.
        let run = std::panic::AssertUnwindSafe((soak.run)(scale)).catch_unwind();
        if let Ok(figures) = run.await {
            figures.iter().for_each(Figure::print);
            is_good &= figures.iter().all(Figure::is_in_bounds);
        } else {
            println!("soak {} FAILED", soak.name);
            is_good = false;
        }
        eprintln!("soak: {} took {:.0?}", soak.name, begun.elapsed());
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
