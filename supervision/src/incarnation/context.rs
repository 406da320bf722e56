//! What one incarnation of an actor may do.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::ActorRef;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::link::{Command, Report};
use crate::address::{Body, Envelope, Handle, Seat, Slot, TaskPanic};
use crate::clock::from_now;
use crate::exit::panic_text;
use crate::published::Load;
use crate::quiet::Quiet;

/// What one incarnation of an actor may do.
pub struct Cx<M> {
    // Fields are dropped in this order: the tasks are cut before the place is given up.
    /// Made with the first task: most actors have none.
    tasks: Mutex<Option<JoinSet<()>>>,
    occupancy: Arc<OwnedSemaphorePermit>,
    myself: ActorRef<Envelope<M>>,
    report: Report,
    seat: Arc<Seat<M>>,
    load: Arc<Load>,
}

impl<M> fmt::Debug for Cx<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("path", self.seat.node.path())
            .field("incarnation", &self.report.key.incarnation)
            .finish_non_exhaustive()
    }
}

impl<M: Send + 'static> Cx<M> {
    pub(crate) fn new(
        report: &Report,
        occupancy: Arc<OwnedSemaphorePermit>,
        myself: ActorRef<Envelope<M>>,
        seat: Arc<Seat<M>>,
        load: Arc<Load>,
    ) -> Self {
        Self { tasks: Mutex::new(None), occupancy, myself, report: report.clone(), seat, load }
    }

    /// Which incarnation this is; the first is 1.
    pub fn incarnation(&self) -> u64 {
        self.report.key.incarnation
    }

    /// Where in the tree this actor is.
    pub fn path(&self) -> &str {
        self.seat.node.path()
    }

    /// This actor's own address.
    pub fn handle(&self) -> Handle<M> {
        Handle::new(Arc::clone(&self.seat))
    }

    /// Asks to end by itself. The message in hand is finished; the supervisor then decides by
    /// [`Restart`](crate::Restart) whether the actor begins again.
    pub fn stop(&self) {
        self.report.say(Command::Finish);
    }

    /// Runs `work` beside the actor; its result comes back as a message.
    ///
    /// The task belongs to this incarnation: it is cut off at its next await point when the
    /// incarnation ends, and the next one starts only when it is gone. Its panic is this actor's.
    ///
    /// A task can always be started. While as many run as the actor may have
    /// ([`Actor::tasks`](crate::Actor::tasks)), messages from outside are refused.
    pub fn task<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
        into_message: impl FnOnce(T) -> M + Send + 'static,
    ) {
        let myself = self.myself.clone();
        let task = Arc::clone(&self.load).add_task();
        self.spawn(name, async move {
            let message = into_message(work.await);
            send_to_self(&myself, Body::Result(message, task));
        });
    }

    /// Sends this actor a message after `delay`, unless the incarnation has ended by then.
    pub fn after(&self, delay: Duration, message: M) {
        let myself = self.myself.clone();
        self.spawn("after", async move {
            tokio::time::sleep(delay).await;
            send_to_self(&myself, Body::Own(message));
        });
    }

    /// Sends this actor a message each `period`, the first one after `period`.
    ///
    /// A tick is left out while the one before it still waits: a slow actor is not flooded. A period
    /// of zero is a bug of the actor, and a panic in its task.
    pub fn every(&self, period: Duration, tick: impl Fn() -> M + Send + 'static) {
        let myself = self.myself.clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        self.spawn("every", async move {
            assert!(!period.is_zero(), "`period` must be non-zero.");
            let mut next = from_now(period);
            loop {
                tokio::time::sleep_until(next).await;
                // One that came late puts off those behind it.
                next = from_now(period);
                if let Ok(slot) = Slot::take(&waiting, 1) {
                    send_to_self(&myself, Body::Tick(tick(), slot));
                }
            }
        });
    }

    /// Shows a named value in the [snapshot](crate::TreeSnapshot) of the tree, beside this actor's
    /// state. It stays until it is replaced, also through restarts. A name that the snapshot uses
    /// itself is left out.
    pub fn publish(&self, name: &'static str, fact: impl Serialize) {
        let fact = serde_json::to_value(fact).unwrap_or(serde_json::Value::Null);
        if self.seat.node.publish_fact(name, &fact) {
            self.report.hub.touch();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is where cx.task gets its tasks from")]
    fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (myself, occupancy) = (self.myself.clone(), Arc::clone(&self.occupancy));
        // One that is cut off is dropped where it stands, and may panic then.
        let work = Quiet::new(work.boxed());
        self.tasks().get_or_insert_default().spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                let message = panic_text(panic);
                send_to_self(
                    &myself,
                    Body::TaskPanicked(Box::new(TaskPanic { task: name, message })),
                );
            }
            drop(occupancy);
        });
    }

    fn tasks(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// Ends this incarnation after the message in hand, as its supervisor wants it.
    pub(crate) fn end_now(&self) {
        self.myself.stop(None);
    }

    /// Lets go of the tasks that have ended.
    pub(crate) fn reap_tasks(&self) {
        if let Some(tasks) = &mut *self.tasks() {
            while tasks.try_join_next().is_some() {}
        }
    }

    /// Cuts off all tasks and waits until they are gone.
    pub(crate) async fn end_tasks(&self) {
        let tasks = self.tasks().take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}

fn send_to_self<M: Send + 'static>(myself: &ActorRef<Envelope<M>>, body: Body<M>) {
    // An actor that has ended needs no message.
    myself.send_message(Envelope::own(body)).ok();
}
