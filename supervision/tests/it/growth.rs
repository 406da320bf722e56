//! A supervisor's work for each event does not grow with the number of its children.
//!
//! A machine that is busy elsewhere slows down either measurement, so what counts is the best of
//! some rounds, and the bounds are far from what is expected: ten times the children take ten times
//! as long in all, or a hundred times where each event costs ten times as much.

use std::time::Duration;

use mainstay_supervision::{Handle, Intensity, Supervisor, System};
use tokio::time::Instant;

use crate::support::{Journal, Message, Ping, Probe, panics, secs, soon};

const FEW: usize = 200;
const MANY: usize = 2_000;
const ROUNDS: u32 = 5;
/// No further round is begun after this long.
const PATIENCE: Duration = Duration::from_secs(20);

async fn tree(children: usize) -> (System, Handle<Message>, Duration) {
    let journal = Journal::default();
    let patient = Intensity { max: 100_000, within: secs(86_400) };
    let mut root = Supervisor::new("root").intensity(patient);
    let one = Probe::new("one", &journal).add_to(&mut root);
    for child in 1..children {
        root.actor(Probe::new("x", &journal).named(format!("x{child}")));
    }
    let begun = Instant::now();
    let system = System::start(root).await.unwrap();
    (system, one, begun.elapsed())
}

async fn boot(children: usize) -> Duration {
    tree(children).await.2
}

async fn shutdown(children: usize) -> Duration {
    let (system, ..) = tree(children).await;
    let begun = Instant::now();
    assert!(system.shutdown(secs(120)).await.is_clean());
    begun.elapsed()
}

/// The falls and restarts of one child.
async fn falls(children: usize) -> Duration {
    let (_system, one, _) = tree(children).await;
    let begun = Instant::now();
    for incarnation in 2..=50 {
        one.tell(panics()).unwrap();
        while one.ask(soon(), |reply| Message::Ping(Ping, reply)).await != Ok(incarnation) {
            tokio::task::yield_now().await;
        }
    }
    begun.elapsed()
}

/// The least of what `measured` takes with [`MANY`] over what it takes with [`FEW`].
async fn growth(measured: impl AsyncFn(usize) -> Duration, bound: f64) -> f64 {
    let (begun, mut least) = (Instant::now(), f64::INFINITY);
    for _ in 0..ROUNDS {
        let (few, many) = (measured(FEW).await, measured(MANY).await);
        least = least.min(many.div_duration_f64(few));
        if least < bound || begun.elapsed() > PATIENCE {
            break;
        }
    }
    least
}

#[tokio::test]
async fn a_boot_takes_no_longer_for_each_child_the_more_there_are() {
    let growth = growth(boot, 30.0).await;
    assert!(growth < 30.0, "{MANY} children take {growth:.0} times as long as {FEW}");
}

#[tokio::test]
async fn a_shutdown_takes_no_longer_for_each_child_the_more_there_are() {
    let growth = growth(shutdown, 30.0).await;
    assert!(growth < 30.0, "{MANY} children take {growth:.0} times as long as {FEW}");
}

#[tokio::test]
async fn a_fall_and_a_restart_take_no_longer_the_more_siblings_there_are() {
    let growth = growth(falls, 5.0).await;
    assert!(growth < 5.0, "among {MANY} it takes {growth:.1} times as long as among {FEW}");
}
