//! Clients that ask without pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::app::{Answer, App};

/// How many clients ask at the same time: twice as many as there are leases in the tests that count
/// leases.
const CLIENTS: usize = 16;

/// Clients that ask without pause for one path after the other, until they are told to end.
#[derive(Debug)]
pub(crate) struct Load {
    clients: JoinSet<Vec<(&'static str, Answer)>>,
    enough: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    /// Keeps every answer.
    pub(crate) fn on(app: &Arc<App>, paths: &'static [&'static str]) -> Self {
        let (enough, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients = (0..CLIENTS).map(|client| {
            let (app, enough) = (Arc::clone(app), Arc::clone(&enough));
            let answered = Arc::clone(&answered);
            async move {
                let mut answers = Vec::new();
                // Each client begins elsewhere, so that all paths are asked at once.
                for path in paths.iter().cycle().skip(client % paths.len()) {
                    if enough.load(Ordering::Relaxed) {
                        break;
                    }
                    answers.push((*path, app.get(path).await));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                answers
            }
        });
        Self { clients: clients.collect(), enough, answered }
    }

    /// How many answers have come.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends the clients after the request that each has under way. A request without an answer
    /// fails the test.
    pub(crate) async fn end(self) -> Vec<(&'static str, Answer)> {
        self.enough.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}
