//! A bounded home for work that outlives whoever started it.

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

/// Where work lives that a request starts and that goes on when the request is gone.
///
/// The work is owned by an actor of the tree: it ends with the tree, and is bounded. A panic in it
/// is logged and counted, and harms nobody else.
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
    /// Adds a nursery for `capacity` pieces of work at once, as an actor called `id`.
    pub fn add_to(supervisor: &mut Supervisor, id: impl Into<Arc<str>>, capacity: usize) -> Self {
        let panics = Arc::new(AtomicU64::new(0));
        let nurse = move || Nurse { panics: Arc::clone(&panics) };
        // The slots are the bound; a task counts for a moment longer than the work in it.
        let actor = Actor::new(id, nurse).capacity(capacity).tasks(usize::MAX);
        let handle = supervisor.actor(actor);
        Self { handle, slots: Arc::new(AtomicUsize::new(0)), capacity }
    }

    /// Runs `work` to its end, whoever is still interested. Does not wait for it.
    ///
    /// # Errors
    /// [`CallError::Overloaded`] if `capacity` pieces are running, [`CallError::Unavailable`] if
    /// the tree is ending. The work was not begun.
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
    /// Counted over all incarnations.
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
