//! What an actor's code can do: tasks, timers, facts, and ending itself.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::ActorRef;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::link::{Command, Report};
use crate::address::{Body, Control, Envelope, Handle, Seat, Slot, TaskPanic};
use crate::clock::from_now;
use crate::exit::panic_text;
use crate::published::Load;
use crate::quiet::Quiet;

/// The context of one incarnation: its tasks and timers, its published facts, its own address.
pub struct Cx<M> {
    // Fields are dropped in this order: first the tasks, then what keeps the next incarnation out.
    /// Created with the first task, because most actors have none.
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

    /// The number of this incarnation; the first is 1.
    pub fn incarnation(&self) -> u64 {
        self.report.key.incarnation
    }

    /// This actor's path in the tree.
    pub fn path(&self) -> &str {
        self.seat.node.path()
    }

    /// This actor's own address.
    pub fn handle(&self) -> Handle<M> {
        Handle::new(Arc::clone(&self.seat))
    }

    /// Ends this incarnation after the current message. [`Restart`](crate::Restart) decides whether the
    /// actor is then restarted.
    pub fn stop(&self) {
        self.report.say(Command::Finish);
    }

    /// Runs `work` in a task beside the actor. `into_message` turns the result into a message to the actor.
    ///
    /// The task belongs to this incarnation. When the incarnation ends, the task is aborted at its next
    /// await point, and the next incarnation starts only after the task is gone. If the task panics, the
    /// actor falls.
    ///
    /// Starting a task never fails. While [`Actor::tasks`](crate::Actor::tasks) or more of them run,
    /// the actor refuses messages from outside.
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

    /// Sends this actor a message after `delay`, unless the incarnation ends before. A timer is not counted
    /// as a task.
    pub fn after(&self, delay: Duration, message: M) {
        let myself = self.myself.clone();
        self.spawn("after", async move {
            tokio::time::sleep(delay).await;
            send_to_self(&myself, Body::Own(message));
        });
    }

    /// Sends this actor a message every `period`; the first comes after one `period`.
    ///
    /// While a tick is still in the queue, no other is sent. A timer is not counted as a task.
    ///
    /// A `period` of zero panics in the timer's task, which makes the actor fall.
    pub fn every(&self, period: Duration, tick: impl Fn() -> M + Send + 'static) {
        let myself = self.myself.clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        self.spawn("every", async move {
            assert!(!period.is_zero(), "`period` must be non-zero.");
            let mut next = from_now(period);
            loop {
                tokio::time::sleep_until(next).await;
                // A late tick delays the ones after it.
                next = from_now(period);
                if let Ok(slot) = Slot::take(&waiting, 1) {
                    send_to_self(&myself, Body::Tick(tick(), slot));
                }
            }
        });
    }

    /// Publishes a named value in the [snapshot](crate::TreeSnapshot) of the tree. It stays until it is
    /// replaced, also when the actor is restarted. A name that the snapshot itself uses is left out.
    pub fn publish(&self, name: &'static str, fact: impl Serialize) {
        let fact = serde_json::to_value(fact).unwrap_or(serde_json::Value::Null);
        if self.seat.node.publish_fact(name, &fact) {
            self.report.hub.touch();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is where cx.task gets its tasks from")]
    fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (myself, occupancy) = (self.myself.clone(), Arc::clone(&self.occupancy));
        // An aborted task is dropped at its await point, and its drop may panic.
        let work = Quiet::new(work.boxed());
        self.tasks().get_or_insert_default().spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                let message = panic_text(panic);
                let panicked = TaskPanic { task: name, message };
                let control = Control::TaskPanicked(Box::new(panicked));
                send_to_self(&myself, Body::Control(control));
            }
            drop(occupancy);
        });
    }

    fn tasks(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the wait for tasks after a while. The messages that are queued by then are handled first.
    pub(crate) fn drained_after(&self, patience: Duration) {
        let myself = self.myself.clone();
        self.spawn("drain", async move {
            tokio::time::sleep(patience).await;
            send_to_self(&myself, Body::Control(Control::Drained));
        });
    }

    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// The handling of a message has to wait, from now on.
    pub(super) fn begin_waiting(&self) {
        let since_ms = self.report.hub.elapsed_ms().saturating_add(1);
        self.seat.node.busy_since_ms.store(since_ms, Ordering::Relaxed);
    }

    /// A message has been handled.
    pub(super) fn count_handled(&self) {
        let node = &self.seat.node;
        // There is no other writer, so a cheaper load and store will do.
        let handled = node.handled.load(Ordering::Relaxed);
        node.handled.store(handled + 1, Ordering::Relaxed);
        node.busy_since_ms.store(0, Ordering::Relaxed);
    }

    /// Reports overload again from the next refusal on, if there is room again.
    pub(super) fn relieve(&self) {
        self.seat.relieved(&self.load);
    }

    /// Ends this incarnation after the current message, as its supervisor asked.
    pub(crate) fn end_now(&self) {
        self.myself.stop(None);
    }

    /// Frees the tasks that have ended.
    pub(crate) fn reap_tasks(&self) {
        if let Some(tasks) = &mut *self.tasks() {
            while tasks.try_join_next().is_some() {}
        }
    }

    /// Aborts all tasks and waits until they are gone.
    pub(crate) async fn end_tasks(&self) {
        let tasks = self.tasks().take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}

fn send_to_self<M: Send + 'static>(myself: &ActorRef<Envelope<M>>, body: Body<M>) {
    // It fails only if the actor has ended.
    myself.send_message(Envelope::own(body)).ok();
}
