//! All children of a supervisor, with those that have changed and those that are due. The cost of a step
//! grows with the logarithm of their number at most.

use std::collections::BTreeSet;
use std::ops::Index;

use tokio::time::Instant;

use super::child::{Child, State};
use crate::policy::ChildPolicy;

#[derive(Debug)]
pub(super) struct Children {
    list: Vec<Child>,
    /// The limit of each child that has one.
    limits: BTreeSet<(Instant, usize)>,
    /// The children whose summary must be published again, each once.
    changed: Vec<usize>,
}

impl Index<usize> for Children {
    type Output = Child;

    fn index(&self, child: usize) -> &Child {
        &self.list[child]
    }
}

impl Children {
    pub(super) fn new(policies: Vec<ChildPolicy>) -> Self {
        let list = policies.into_iter().map(Child::new).collect();
        Self { list, limits: BTreeSet::new(), changed: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Changes a child. This is the only way to, so that its limit and its summary stay up to date.
    pub(super) fn update<T>(&mut self, index: usize, change: impl FnOnce(&mut Child) -> T) -> T {
        let child = &mut self.list[index];
        let before = child.limit();
        let value = change(child);
        let after = child.limit();
        if before != after {
            if let Some(at) = before {
                self.limits.remove(&(at, index));
            }
            if let Some(at) = after {
                self.limits.insert((at, index));
            }
        }
        self.mark_changed(index);
        value
    }

    pub(super) fn set_state(&mut self, index: usize, state: State) {
        self.update(index, |child| child.state = state);
    }

    pub(super) fn mark_changed(&mut self, index: usize) {
        if !std::mem::replace(&mut self.list[index].is_changed, true) {
            self.changed.push(index);
        }
    }

    pub(super) fn next_changed(&mut self) -> Option<usize> {
        let index = self.changed.pop()?;
        self.list[index].is_changed = false;
        Some(index)
    }

    pub(super) fn next_limit(&self) -> Option<Instant> {
        self.limits.first().map(|&(at, _)| at)
    }

    /// A child whose limit has passed.
    pub(super) fn first_due(&self, now: Instant) -> Option<usize> {
        self.limits.first().filter(|&&(at, _)| at <= now).map(|&(_, child)| child)
    }
}
