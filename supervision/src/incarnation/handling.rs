//! The handling of one message, and what it leaves to be done.

use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use ractor::ActorProcessingErr;
use tracing::Span;

use super::context::Cx;
use crate::exit::{BoxError, Exit, Fall};
use crate::published::Task;

pin_project! {
    /// The handling of one message by the actor's own code. It is moved for each message, so it is kept
    /// small.
    pub(super) struct Handling<'a, M, F> {
        // `None` when it has ended. It is dropped there, because its drop is the actor's own code, too.
        #[pin]
        pub(super) work: Option<F>,
        // How long it may take. It runs from the first time that the handling has to wait.
        pub(super) limit: Option<BoxFuture<'static, ()>>,
        pub(super) stall_after: Option<Duration>,
        pub(super) cx: &'a Cx<M>,
        pub(super) progress: &'a mut Progress,
        pub(super) is_counted: bool,
        pub(super) span: Option<Box<Span>>,
    }
}

impl<M, F> Future for Handling<'_, M, F>
where
    M: Send + 'static,
    F: Future<Output = Result<(), BoxError>>,
{
    type Output = Result<(), ActorProcessingErr>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let _entered = this.span.as_deref().map(Span::enter);
        let work = this.work.as_mut().as_pin_mut().expect("it is not polled after its end");
        let fall = match panic::catch_unwind(AssertUnwindSafe(|| work.poll(context))) {
            Ok(Poll::Ready(Ok(()))) => None,
            Ok(Poll::Ready(Err(error))) => Some(Fall::failed(error)),
            Ok(Poll::Pending) => {
                // A handler that never waits reads no clock.
                let limit = this.limit.get_or_insert_with(|| {
                    this.cx.begin_waiting();
                    match *this.stall_after {
                        Some(limit) => tokio::time::sleep(limit).boxed(),
                        None => std::future::pending().boxed(),
                    }
                });
                ready!(limit.poll_unpin(context));
                Some(Fall(Exit::Stalled(this.stall_after.unwrap_or_default())))
            }
            Err(panic) => Some(Fall::panicked(panic)),
        };
        this.work.set(None);
        if let Some(fall) = fall {
            return Poll::Ready(Err(fall.into()));
        }
        this.cx.count_handled();
        this.progress.end_message(this.cx, *this.is_counted);
        Poll::Ready(Ok(()))
    }
}

/// What the messages of one incarnation leave to be done when they end.
#[derive(Default)]
pub(super) struct Progress {
    /// Whether the incarnation ends when all of its work is done.
    draining: bool,
    /// The task whose result is being handled. It counts until that is done.
    task_in_hand: Option<Task>,
}

impl Progress {
    /// The result of `task` is about to be handled.
    pub(super) fn hold(&mut self, task: Task) {
        self.task_in_hand = Some(task);
    }

    /// From now on the incarnation ends when all of its work is done.
    pub(super) fn drain<M: Send + 'static>(&mut self, cx: &Cx<M>) {
        self.draining = true;
        self.stop_if_drained(cx);
    }

    /// Updates the counts when a message has been handled or skipped.
    pub(super) fn end_message<M: Send + 'static>(&mut self, cx: &Cx<M>, is_counted: bool) {
        if is_counted {
            cx.load().end_message();
        } else {
            self.task_in_hand = None;
            cx.reap_tasks();
        }
        cx.relieve();
        self.stop_if_drained(cx);
    }

    fn stop_if_drained<M: Send + 'static>(&self, cx: &Cx<M>) {
        if self.draining && cx.load().is_nothing() {
            cx.end_now();
        }
    }
}
