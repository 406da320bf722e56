//! Bounded background work that outlives its caller.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::address::{CallError, Handle, Slot};
use crate::exit::{BoxError, panic_text};
use crate::incarnation::{Cx, Server};
use crate::supervisor::{Actor, Supervisor};

/// Runs work that a request starts and that continues after the request has ended.
///
/// An actor of the tree owns the work: at most `capacity` pieces run at once, and all of them end with
/// that actor's incarnation, and with the tree. A panic is logged and counted, and affects nothing else.
#[derive(Clone)]
pub struct Nursery {
    handle: Handle<Message>,
    slots: Arc<AtomicUsize>,
    capacity: usize,
}

impl fmt::Debug for Nursery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nursery")
            .field("running", &self.running())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Nursery {
    /// Adds a nursery to `supervisor`, as an actor called `id`. At most `capacity` pieces of work run at
    /// once.
    pub fn add_to(supervisor: &mut Supervisor, id: impl Into<Arc<str>>, capacity: usize) -> Self {
        let panics = Arc::new(AtomicU64::new(0));
        let nurse = move || Nurse { panics: Arc::clone(&panics) };
        // The slots are the bound. A task counts for a moment longer than its work. So does the message
        // that is being handled, which therefore needs a place beyond the slots.
        let messages = capacity.saturating_add(1);
        let actor = Actor::new(id, nurse).capacity(messages).tasks(usize::MAX);
        let handle = supervisor.actor(actor);
        Self { handle, slots: Arc::new(AtomicUsize::new(0)), capacity }
    }

    /// Starts `work` and returns at once. The work continues when the caller is gone.
    ///
    /// # Errors
    /// [`CallError::Overloaded`] if `capacity` pieces are running; [`CallError::Unavailable`] if the
    /// nursery's actor is not running. Either way the work did not start.
    pub fn start(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), CallError> {
        let slot = Slot::take(&self.slots, self.capacity)
            .map_err(|depth| CallError::Overloaded { depth })?;
        let work = async move {
            work.await;
            drop(slot);
        };
        let message = Message::Start(name, work.boxed());
        self.handle.tell(message).map_err(|rejected| rejected.why)
    }

    /// How many pieces of work are running. Answers from memory.
    pub fn running(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }
}

enum Message {
    Start(&'static str, BoxFuture<'static, ()>),
    Done,
}

struct Nurse {
    /// Counted across all incarnations.
    panics: Arc<AtomicU64>,
}

impl Server for Nurse {
    type Message = Message;
    type State = ();

    async fn init(&self, _cx: &Cx<Message>) -> Result<(), BoxError> {
        Ok(())
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        _state: &mut (),
    ) -> Result<(), BoxError> {
        match message {
            Message::Start(name, work) => {
                let panics = Arc::clone(&self.panics);
                let guarded = async move {
                    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                        panics.fetch_add(1, Ordering::Relaxed);
                        let panic = panic_text(panic);
                        tracing::error!(
                            target: "mainstay::supervision", parent: None,
                            work = name, %panic, "work in the nursery panicked"
                        );
                    }
                };
                cx.task(name, guarded, |()| Message::Done);
            }
            Message::Done => cx.publish("panics", self.panics.load(Ordering::Relaxed)),
        }
        Ok(())
    }
}
