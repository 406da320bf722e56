//! One span a message, under or after its sender's.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use tracing::span::{Attributes, Id};
use tracing::{Instrument as _, Subscriber, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Journal, Message, Ping, Poke, Probe, act, alone, eventually, ms, ping, soon};

/// What became of the spans, in order.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Line>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Open { name: &'static str, parent: Option<&'static str>, depth: usize },
    Follows { name: &'static str, leader: Option<&'static str> },
    Close(&'static str),
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // The actor library keeps a span of its own for each actor.
        if attributes.metadata().target().starts_with("ractor") {
            return;
        }
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.name());
        let line = Line::Open { name: span.name(), parent, depth: span.scope().count() };
        self.0.lock().unwrap().push(line);
    }

    fn on_follows_from(&self, id: &Id, leader: &Id, context: Context<'_, S>) {
        let name = context.span(id).unwrap().name();
        let leader = context.span(leader).map(|leader| leader.name());
        self.0.lock().unwrap().push(Line::Follows { name, leader });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if !span.metadata().target().starts_with("ractor") {
            self.0.lock().unwrap().push(Line::Close(span.name()));
        }
    }
}

impl Capture {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let capture = Self::default();
        let subscriber = tracing_subscriber::registry().with(capture.clone());
        (capture, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> Vec<Line> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

const fn open(name: &'static str, parent: Option<&'static str>, depth: usize) -> Line {
    Line::Open { name, parent, depth }
}

const HANDLE: &str = "actor.handle";

#[tokio::test(start_paused = true)]
async fn an_ask_is_handled_in_a_child_of_the_callers_span() {
    let (capture, _guard) = Capture::begin();
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    capture.take();
    ping(&a).instrument(info_span!("request")).await;
    eventually(|| a.depth() == 0).await;
    let lines = capture.take();
    assert_eq!(lines[..2], [open("request", None, 1), open(HANDLE, Some("request"), 2)]);
    // The caller's span ends: nothing of the actor's holds on to it.
    assert!(lines.contains(&Line::Close(HANDLE)) && lines.contains(&Line::Close("request")));
}

#[tokio::test(start_paused = true)]
async fn a_tell_is_handled_in_a_root_span_that_follows_from_the_callers() {
    let (capture, _guard) = Capture::begin();
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    capture.take();
    async {
        a.tell(Message::Poke(Poke("poke"))).unwrap();
        eventually(|| a.depth() == 0).await;
    }
    .instrument(info_span!("request"))
    .await;
    let lines = [
        open("request", None, 1),
        open(HANDLE, None, 1),
        Line::Follows { name: HANDLE, leader: Some("request") },
        Line::Close(HANDLE),
        Line::Close("request"),
    ];
    assert_eq!(capture.take(), lines);
}

#[tokio::test(start_paused = true)]
async fn the_callers_span_ends_before_a_slow_tell_is_handled() {
    let (capture, _guard) = Capture::begin();
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    capture.take();
    a.tell(act(|_, _| {
        Box::pin(async {
            tokio::time::sleep(ms(100)).await;
            Ok(())
        })
    }))
    .unwrap();
    info_span!("request").in_scope(|| a.tell(Message::Poke(Poke("queued"))).unwrap());
    assert_eq!(capture.take(), [open("request", None, 1), Line::Close("request")]);
    eventually(|| a.depth() == 0).await;
    let lines =
        [open(HANDLE, None, 1), Line::Follows { name: HANDLE, leader: None }, Line::Close(HANDLE)];
    assert_eq!(capture.take(), lines);
}

#[tokio::test(start_paused = true)]
async fn a_sender_without_a_span_makes_none() {
    let (capture, _guard) = Capture::begin();
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    ping(&a).await;
    a.tell(Message::Poke(Poke("poke"))).unwrap();
    a.tell(act(|cx, _| {
        cx.every(ms(10), || Message::Poke(Poke("tick")));
        cx.task("task", async {}, |()| Message::Poke(Poke("task")));
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    tokio::time::sleep(ms(100)).await;
    assert_eq!(capture.take(), []);
}

/// A tick that was set up in a traced message is nobody's call.
#[tokio::test(start_paused = true)]
async fn what_an_actor_sends_itself_later_is_not_part_of_the_request_that_caused_it() {
    let (capture, _guard) = Capture::begin();
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    let sets_up = || {
        act(|cx, _| {
            cx.after(ms(10), Message::Poke(Poke("after")));
            Box::pin(async { Ok(()) })
        })
    };
    info_span!("request").in_scope(|| a.tell(sets_up()).unwrap());
    eventually(|| a.depth() == 0).await;
    capture.take();
    eventually(|| journal.lines().contains(&"a#1 after".to_owned())).await;
    assert_eq!(capture.take(), []);
}

fn echo(left: u32) -> Message {
    act(move |cx, state| {
        if left == 0 {
            state.journal.write("last");
        } else {
            cx.handle().tell(echo(left - 1)).unwrap();
        }
        Box::pin(async { Ok(()) })
    })
}

#[tokio::test(start_paused = true)]
async fn a_thousand_messages_to_oneself_grow_no_chain_of_spans() {
    let (capture, _guard) = Capture::begin();
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    capture.take();
    info_span!("request").in_scope(|| a.tell(echo(1_000)).unwrap());
    eventually(|| journal.lines().contains(&"last".to_owned())).await;
    eventually(|| a.depth() == 0).await;
    let lines = capture.take();
    let opened = lines.iter().filter(|line| matches!(line, Line::Open { .. })).count();
    let closed = lines.iter().filter(|line| matches!(line, Line::Close(_))).count();
    assert_eq!((opened, closed), (1_002, 1_002));
    assert!(!lines.iter().any(|line| matches!(line, Line::Open { depth, .. } if *depth > 1)));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_asks_another_in_a_message_continues_the_callers_trace() {
    let (capture, _guard) = Capture::begin();
    let journal = Journal::default();
    let (_one, a) = alone(Probe::new("a", &journal).actor()).await;
    let (_other, b) = alone(Probe::new("b", &journal).actor()).await;
    capture.take();
    let asks = |reply| {
        Message::Ask(
            Box::new(move |_, _| {
                Box::pin(async move {
                    b.ask(soon(), |reply| Message::Ping(Ping, reply)).await?;
                    Ok(())
                })
            }),
            reply,
        )
    };
    let answer = a.ask(Instant::now() + ms(1_000), asks).instrument(info_span!("request")).await;
    assert_eq!(answer, Ok(1));
    let opened: Vec<_> =
        capture.take().into_iter().filter(|line| matches!(line, Line::Open { .. })).collect();
    let nested =
        [open("request", None, 1), open(HANDLE, Some("request"), 2), open(HANDLE, Some(HANDLE), 3)];
    assert_eq!(opened, nested);
}
