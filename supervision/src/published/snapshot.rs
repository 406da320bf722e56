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

/// One actor or supervisor and everything below it, at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TreeSnapshot {
    /// Its own name.
    pub id: String,
    /// Its name with those of its supervisors: `mainstay/application/reads`.
    pub path: String,
    /// What it is doing.
    pub state: State,
    /// How long it has been up, in milliseconds; 0 unless `up`.
    pub uptime_ms: u64,
    /// In how many milliseconds it will be started again; only in `backoff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts_in_ms: Option<u64>,
    /// Its newest incarnation; the first is 1.
    pub incarnation: u64,
    /// How often it fell and was restarted. Being restarted along with a sibling, or by hand, is
    /// not counted.
    pub restarts: u64,
    /// How its last incarnation ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
    /// What only an actor has.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<Mailbox>,
    /// Which siblings fall together; only for a supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<&'static str>,
    /// How many falls it still tolerates before it gives up; only for a supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub falls_left: Option<u32>,
    /// What the actor itself has to say, beside the fields above. Kept from one incarnation to the
    /// next.
    #[serde(flatten)]
    pub facts: BTreeMap<String, Value>,
    /// Its children, in start order; only for a supervisor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeSnapshot>,
}

/// The mailbox of one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mailbox {
    /// Messages that wait or are being handled.
    pub depth: usize,
    /// How many may wait before more are refused.
    pub capacity: usize,
    /// Tasks of the actor that run, or whose result waits to be handled.
    pub tasks: usize,
    /// Messages handled by all incarnations.
    pub handled: u64,
    /// For how many milliseconds the message in hand has been waiting for something; 0 while none
    /// waits. More than a moment here says that a handler awaits what belongs in a task.
    pub busy_ms: u64,
}

/// Facts are written beside these: one of the same name would hide the truth, and is left out.
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
    /// The actor or supervisor of this id, here or below.
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
                let load = node.load.load();
                let mailbox = Mailbox {
                    depth: load.messages(),
                    tasks: load.tasks(),
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
        let facts = node.facts.load();
        let facts = facts.iter().filter(|(name, _)| !OWN_FIELDS.contains(name));
        let facts = facts.map(|(name, fact)| ((*name).to_owned(), fact.clone()));
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
