//! A runtime that ends without a shutdown takes its tree with it, and everything says so.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_supervision::{
    CallError, Handle, Intensity, Nursery, State, Supervisor, System, TreeSnapshot,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::support::{
    DEADLINE, How, Journal, Message, Ping, Poke, Probe, act, exactly, hangs, in_state, panics,
    ping, secs, soon,
};

const GONE: CallError = CallError::Unavailable { retry_after: None };

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// root/{a, below/{b}, nursery}.
struct Tree {
    system: System,
    handles: [Handle<Message>; 2],
    nursery: Nursery,
}

impl Tree {
    async fn start() -> Self {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let hung = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
        let a = Probe::new("a", &journal).init(hung).actor().accepts(Message::Ping);
        let a = root.actor(a);
        let mut below = Supervisor::new("below");
        let b = below.actor(Probe::new("b", &journal).actor().backoff(exactly(secs(3))));
        root.supervisor(below);
        let nursery = Nursery::add_to(&mut root, "nursery", 4);
        Self { system: System::start(root).await.unwrap(), handles: [a, b], nursery }
    }
}

fn all_down(tree: &TreeSnapshot) -> bool {
    tree.state == State::Down && tree.children.iter().all(all_down)
}

/// Everything that can be asked of `tree` says that it is gone.
fn says_that_it_is_gone(tree: &Tree, what: &str) {
    let shown = tree.system.tree();
    assert!(all_down(&shown), "{what}: {shown:#?}");
    for handle in &tree.handles {
        assert_eq!(handle.state(), State::Down, "{what}: {handle:?}");
        let told = handle.tell(Message::Poke(Poke("anyone?"))).unwrap_err();
        assert_eq!(told.why, GONE, "{what}: {handle:?}");
        assert!(matches!(told.message, Message::Poke(Poke("anyone?"))), "it is given back");
    }
    assert_eq!(tree.nursery.start("work", async {}), Err(GONE), "{what}");
    assert_eq!(tree.nursery.running(), 0, "{what}");
    assert!(tree.system.restart("a").is_err() && tree.system.remove("b").is_err(), "{what}");
    current_thread().block_on(async {
        for handle in &tree.handles {
            let asked = handle.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
            assert_eq!(asked, Err(GONE), "{what}: {handle:?}");
            // At once, and not at its deadline.
            let ready = pin!(handle.ready(soon())).now_or_never();
            assert_eq!(ready, Some(Err(GONE)), "{what}: {handle:?}");
        }
        let by_type = tree.system.recipient::<Ping>().unwrap().ask(Ping).await;
        assert_eq!(by_type, Err(GONE), "{what}");
        assert!(timeout(DEADLINE, tree.system.failed()).await.is_ok(), "{what}");
        assert!(timeout(DEADLINE, tree.system.shutdown(secs(1))).await.is_ok(), "{what}");
    });
}

#[test]
fn handles_and_tree_say_that_the_runtime_of_their_tree_is_gone() {
    for (what, runtime) in [("one thread", current_thread()), ("two threads", multi_thread())] {
        let tree = runtime.block_on(Tree::start());
        drop(runtime);
        says_that_it_is_gone(&tree, what);
    }
}

#[test]
fn whatever_the_actors_were_doing_when_the_runtime_ended_they_are_down() {
    type Does = (&'static str, fn(&Tree), State, State);
    let doing: [Does; 4] = [
        (
            "handling",
            |tree| tree.handles.iter().for_each(|a| a.tell(hangs()).unwrap()),
            State::Up,
            State::Up,
        ),
        (
            "falling",
            |tree| tree.handles.iter().for_each(|a| a.tell(panics()).unwrap()),
            State::Starting,
            State::Backoff,
        ),
        (
            "ending",
            |tree| {
                for (handle, id) in tree.handles.iter().zip(["a", "b"]) {
                    handle.tell(hangs()).unwrap();
                    tree.system.restart(id).unwrap();
                }
            },
            State::Stopping,
            State::Stopping,
        ),
        (
            "working",
            |tree| {
                for handle in &tree.handles {
                    handle
                        .tell(act(|cx, _| {
                            cx.task("works", std::future::pending::<()>(), |()| panics());
                            cx.every(secs(1), || Message::Poke(Poke("tick")));
                            Box::pin(async { Ok(()) })
                        }))
                        .unwrap();
                }
                tree.nursery.start("endless", std::future::pending()).unwrap();
            },
            State::Up,
            State::Up,
        ),
    ];
    for (what, begin, a, b) in doing {
        let runtime = current_thread();
        let tree = runtime.block_on(async {
            let tree = Tree::start().await;
            begin(&tree);
            in_state(&tree.system, "a", a).await;
            in_state(&tree.system, "b", b).await;
            tokio::task::yield_now().await;
            tree
        });
        drop(runtime);
        says_that_it_is_gone(&tree, what);
    }
}

#[test]
fn a_tree_that_was_shut_down_before_its_runtime_ended_is_as_it_was() {
    let runtime = current_thread();
    let (tree, report) = runtime.block_on(async {
        let tree = Tree::start().await;
        let report = tree.system.shutdown(secs(5)).await;
        (tree, report)
    });
    drop(runtime);
    assert!(report.is_clean());
    assert!(all_down(&tree.system.tree()));
    current_thread().block_on(async {
        assert_eq!(timeout(DEADLINE, tree.system.shutdown(secs(1))).await.unwrap(), report);
        let failed = timeout(Duration::from_millis(10), tree.system.failed()).await;
        assert!(failed.is_err(), "it was shut down, and did not fail");
    });
}

#[test]
fn whoever_watches_from_another_runtime_is_woken_when_the_trees_own_ends() {
    let runtime = current_thread();
    let tree = runtime.block_on(async {
        let tree = Tree::start().await;
        ping(&tree.handles[1]).await;
        tree.handles[1].tell(panics()).unwrap();
        in_state(&tree.system, "b", State::Backoff).await;
        tree
    });
    let watcher = current_thread();
    let mut changes = tree.system.changes();
    let mut ready = Box::pin(tree.handles[1].ready(soon()));
    watcher.block_on(async {
        changes.borrow_and_update();
        assert!(ready.as_mut().now_or_never().is_none());
    });
    drop(runtime);
    watcher.block_on(async {
        assert!(timeout(secs(5), changes.changed()).await.unwrap().is_ok());
        assert_eq!(timeout(secs(1), ready).await, Ok(Err(GONE)));
    });
}

#[test]
fn a_start_that_its_runtime_did_not_live_to_see_leaves_addresses_that_say_so() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let up = Probe::new("up", &journal).add_to(&mut root);
    let starts = Probe::new("starts", &journal).init(|_| How::Hang).add_to(&mut root);
    let waits = Probe::new("waits", &journal).add_to(&mut root);
    let runtime = current_thread();
    let mut start = Box::pin(System::start(root));
    runtime.block_on(async {
        assert!(timeout(Duration::from_millis(20), start.as_mut()).await.is_err());
        assert_eq!(ping(&up).await, 1);
    });
    drop(runtime);
    for handle in [&up, &starts, &waits] {
        assert_eq!(handle.state(), State::Down, "{handle:?}");
        assert_eq!(
            handle.tell(Message::Poke(Poke("anyone?"))).unwrap_err().why,
            GONE,
            "{handle:?}"
        );
    }
    let started = current_thread().block_on(async { timeout(DEADLINE, start).await });
    assert!(started.unwrap().is_err(), "it says that the tree did not start");
}

/// Counts its end, which panics.
struct Kept(Arc<AtomicUsize>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("on purpose");
    }
}

#[test]
fn what_a_tree_keeps_ends_with_it_however_it_ends_and_not_with_the_last_handle() {
    let start = async |ended: &Arc<AtomicUsize>| {
        let journal = Journal::default();
        let mut root = Supervisor::new("root").intensity(Intensity { max: 0, within: secs(5) });
        let a = root.actor(Probe::new("a", &journal).actor());
        let mut below = Supervisor::new("below");
        below.keep(Kept(Arc::clone(ended)));
        root.supervisor(below);
        root.keep(Kept(Arc::clone(ended)));
        (System::start(root).await.unwrap(), a)
    };
    for end in ["the runtime ends", "shutdown", "it gives up"] {
        let ended = Arc::<AtomicUsize>::default();
        let runtime = multi_thread();
        let (system, a) = runtime.block_on(start(&ended));
        assert_eq!(ended.load(Ordering::SeqCst), 0, "{end}");
        match end {
            "shutdown" => drop(runtime.block_on(system.shutdown(secs(1)))),
            "it gives up" => {
                a.tell(panics()).unwrap();
                runtime.block_on(async { timeout(DEADLINE, system.failed()).await.unwrap() });
            }
            _ => {}
        }
        drop(runtime);
        assert_eq!(ended.load(Ordering::SeqCst), 2, "{end}");
        assert!(all_down(&system.tree()), "{end}");
    }
}
