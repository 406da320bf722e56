//! The tree as data.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::hub::Hub;
use super::node::{Kind, Node};
use crate::machine::State;
use crate::policy::Strategy;

/// An actor or a supervisor and everything below it, at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TreeSnapshot {
    /// Its id.
    pub id: String,
    /// Its id after those of its supervisors: `mainstay/application/reads`.
    pub path: String,
    /// What it is doing.
    pub state: State,
    /// How long it has been up, in milliseconds; 0 unless its state is `up`.
    pub uptime_ms: u64,
    /// In how many milliseconds it will be restarted; only if its state is `backoff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts_in_ms: Option<u64>,
    /// The number of its newest incarnation; the first is 1.
    pub incarnation: u64,
    /// How often it fell and was restarted. Restarts with a sibling and restarts by hand do not
    /// count.
    pub restarts: u64,
    /// How its last incarnation ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
    /// Its mailbox; only for an actor.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<Mailbox>,
    /// Which of its children are restarted together; only for a supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<&'static str>,
    /// How many more falls it allows within its window; only for a supervisor. Starts that failed count
    /// until the actor is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub falls_left: Option<u32>,
    /// The facts that the actor has published. They are kept when it is restarted.
    #[serde(flatten)]
    pub facts: BTreeMap<String, Value>,
    /// Its children in start order; only for a supervisor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeSnapshot>,
}

/// The mailbox of one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mailbox {
    /// How many messages are queued or being handled.
    pub depth: usize,
    /// At so many messages, more are refused.
    pub capacity: usize,
    /// How many tasks are running, or have a result in the queue. Timers do not count.
    pub tasks: usize,
    /// How many messages all incarnations have handled.
    pub handled: u64,
    /// For how many milliseconds the handler of the current message has been waiting; 0 while none waits.
    /// A large number means that a handler awaits something that belongs in a task.
    pub busy_ms: u64,
}

/// Facts appear beside these fields. A fact of the same name is left out.
const OWN_FIELDS: [&str; 16] = [
    "id",
    "path",
    "state",
    "uptime_ms",
    "restarts_in_ms",
    "incarnation",
    "restarts",
    "last_exit",
    "depth",
    "capacity",
    "tasks",
    "handled",
    "busy_ms",
    "strategy",
    "falls_left",
    "children",
];

impl TreeSnapshot {
    /// The actor or supervisor with this id: this one, or one below.
    pub fn find(&self, id: &str) -> Option<&Self> {
        if self.id == id {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(id))
    }

    pub(crate) fn of(node: &Node, hub: &Hub, now: Instant, children: Vec<Self>) -> Self {
        let summary = node.summary();
        let uptime_ms = summary.up_since.map_or(0, |since| millis_between(since, now));
        let is_in_backoff = summary.state == State::Backoff;
        let starts_at = summary.starts_at.filter(|_| is_in_backoff);
        let (mailbox, strategy) = match node.kind {
            Kind::Supervisor { strategy } => (None, Some(strategy_name(strategy))),
            Kind::Actor { capacity } => {
                let mailbox = Mailbox {
                    depth: node.messages(),
                    tasks: node.tasks(),
                    capacity,
                    handled: node.handled.load(Ordering::Relaxed),
                    busy_ms: match node.busy_since_ms.load(Ordering::Relaxed) {
                        0 => 0,
                        since => hub.elapsed_ms().saturating_sub(since - 1),
                    },
                };
                (Some(mailbox), None)
            }
        };
        let facts = node.facts().into_iter().filter(|(name, _)| !OWN_FIELDS.contains(name));
        let facts = facts.map(|(name, fact)| (name.to_owned(), fact));
        Self {
            id: node.id.to_string(),
            path: node.path().to_string(),
            state: node.state(),
            uptime_ms,
            restarts_in_ms: starts_at.map(|at| millis_between(now, at)),
            incarnation: summary.incarnation,
            restarts: summary.restarts,
            last_exit: summary.last_exit.as_ref().map(ToString::to_string),
            mailbox,
            strategy,
            falls_left: strategy.map(|_| node.falls_left.load(Ordering::Relaxed)),
            facts: facts.collect(),
            children,
        }
    }
}

fn strategy_name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::OneForOne => "one_for_one",
        Strategy::OneForAll => "one_for_all",
        Strategy::RestForOne => "rest_for_one",
    }
}

fn millis_between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
