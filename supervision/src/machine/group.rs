//! Which children are restarted together, and in which order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use super::child::{State, StopReason, Stopping};
use super::children::Children;
use super::event::Effect;
use super::stop::begin_stop;
use crate::policy::{Restart, Strategy};

/// Children that are started together: at boot all of them, later those that are restarted together. A
/// child is in at most one group.
#[derive(Debug)]
struct Group {
    /// In start order. Some may have left.
    members: Vec<usize>,
    /// The earliest moment at which the first may start.
    until: Instant,
    phase: Phase,
    reason: Reason,
    /// Whether this group is, or includes, that of the boot.
    boots: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Boot,
    Fall,
    ByHand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first `left` members may still be alive. Exits to `Starting` when none
    /// is left and `until` has come.
    Stopping { left: usize },
    /// The first `done` members are up or have ended.
    Starting { done: usize },
}

/// All groups of one supervisor.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_id: BTreeMap<u64, Group>,
    newest: u64,
    /// Groups that have stopped, and when they may start.
    waiting: BTreeSet<(Instant, u64)>,
    /// Groups that may be able to take a step.
    stirred: VecDeque<u64>,
}

impl Groups {
    /// Creates the group of all children, for the boot.
    pub(super) fn boot(&mut self, now: Instant, children: &mut Children) {
        let members = (0..children.len()).collect();
        self.add(children, members, now, Reason::Boot, true);
    }

    /// Creates the group of a fallen child and of the siblings that are restarted with it. It starts at
    /// `until`.
    pub(super) fn regroup(
        &mut self,
        strategy: Strategy,
        fallen: usize,
        mut until: Instant,
        children: &mut Children,
    ) {
        let falls_too = |child: usize| match strategy {
            Strategy::OneForOne => child == fallen,
            Strategy::OneForAll => true,
            Strategy::RestForOne => child >= fallen,
        };
        let mut members = match strategy {
            Strategy::OneForOne => vec![fallen],
            Strategy::OneForAll => (0..children.len()).collect(),
            Strategy::RestForOne => (fallen..children.len()).collect(),
        };
        members.retain(|&child| {
            let may_start = children[child].state != State::Ended && !children[child].removed;
            may_start || comes_back_with_others(children, child)
        });
        // A further fall joins the current restart. It must not restart children that are already up
        // again, nor affect the restart by hand of a child outside of its group.
        let joins = |group: &Group| {
            group.reason != Reason::ByHand || group.members.iter().any(|&member| falls_too(member))
        };
        let mut boots = false;
        if strategy != Strategy::OneForOne {
            let joined: Vec<u64> =
                self.by_id.iter().filter(|(_, group)| joins(group)).map(|(&id, _)| id).collect();
            for id in joined {
                let Some(group) = self.by_id.remove(&id) else { continue };
                until = until.max(group.until);
                boots |= group.boots;
                self.waiting.remove(&(group.until, id));
                let is_stopping = matches!(group.phase, Phase::Stopping { .. });
                let is_due = |member: &usize| {
                    children[*member].group == Some(id)
                        && (is_stopping || children[*member].state == State::Idle)
                };
                members.extend(group.members.iter().copied().filter(is_due));
                // Members that are up, or end by themselves, leave the group.
                for member in group.members {
                    if children[member].group == Some(id) {
                        children.update(member, |child| child.group = None);
                    }
                }
            }
            members.sort_unstable();
            members.dedup();
        }
        self.add(children, members, until, Reason::Fall, boots);
    }

    /// Creates a group of one child, for a restart by hand.
    pub(super) fn restart(&mut self, now: Instant, child: usize, children: &mut Children) {
        self.add(children, vec![child], now, Reason::ByHand, false);
    }

    fn add(
        &mut self,
        children: &mut Children,
        members: Vec<usize>,
        until: Instant,
        reason: Reason,
        boots: bool,
    ) {
        self.newest += 1;
        let id = self.newest;
        for &member in &members {
            self.leave(member, children);
            children.update(member, |child| child.group = Some(id));
        }
        let phase = Phase::Stopping { left: members.len() };
        self.by_id.insert(id, Group { members, until, phase, reason, boots });
        self.stirred.push_back(id);
    }

    /// Takes a child out of its group.
    pub(super) fn leave(&mut self, child: usize, children: &mut Children) {
        if let Some(id) = children[child].group {
            children.update(child, |child| child.group = None);
            self.stirred.push_back(id);
        }
    }

    /// Notes that a child has changed: its group may be able to continue, or must wait for it again.
    pub(super) fn stir(&mut self, child: usize, children: &Children) {
        let Some(id) = children[child].group else { return };
        if let Some(Group { members, phase: Phase::Starting { done }, .. }) =
            self.by_id.get_mut(&id)
            && matches!(children[child].state, State::Stopping(_))
        {
            *done = (*done).min(members.partition_point(|&member| member < child));
        }
        self.stirred.push_back(id);
    }

    /// Lets a child that waits for its start begin without delay. Returns `false` if it does not wait.
    pub(super) fn hasten(&mut self, now: Instant, child: usize, children: &mut Children) -> bool {
        let comes_back = match children[child].state {
            State::Idle => true,
            State::Stopping(Stopping { reason: StopReason::Asked, .. }) => {
                children[child].policy.restart != Restart::Temporary
            }
            State::Stopping(_) | State::Starting { .. } | State::Up { .. } | State::Ended => false,
        };
        let Some(id) = children[child].group.filter(|_| comes_back) else { return false };
        let Some(group) = self.by_id.get_mut(&id) else { return false };
        self.waiting.remove(&(group.until, id));
        group.until = group.until.min(now);
        // All of them come back sooner than watchers were told.
        group.members.iter().for_each(|&member| children.mark_changed(member));
        self.stirred.push_back(id);
        true
    }

    /// Why and when a child is to be started.
    pub(super) fn of(&self, child: usize, children: &Children) -> Option<(Reason, Instant)> {
        let group = self.by_id.get(&children[child].group?)?;
        Some((group.reason, group.until))
    }

    /// Whether a child is to be started again because somebody asked for it, whatever its policy says.
    pub(super) fn is_asked_for(&self, child: usize, children: &Children) -> bool {
        let group = children[child].group.and_then(|id| self.by_id.get(&id));
        group.is_some_and(|group| {
            group.reason == Reason::ByHand && matches!(group.phase, Phase::Stopping { .. })
        })
    }

    /// When the next of the stopped groups may start.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.waiting.first().map(|&(at, _)| at)
    }

    /// Forgets all groups, so that no child is started any more.
    pub(super) fn clear(&mut self, children: &mut Children) {
        for (id, group) in std::mem::take(&mut self.by_id) {
            for member in group.members {
                if children[member].group == Some(id) {
                    children.update(member, |child| child.group = None);
                }
            }
        }
        self.waiting.clear();
        self.stirred.clear();
    }

    /// Takes every step that is possible. Returns `true` when the boot is done.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        children: &mut Children,
        out: &mut Vec<Effect>,
    ) -> bool {
        while let Some(&(at, id)) = self.waiting.first().filter(|&&(at, _)| at <= now) {
            self.waiting.remove(&(at, id));
            self.stirred.push_back(id);
        }
        let mut has_booted = false;
        while let Some(id) = self.stirred.pop_front() {
            let Some(group) = self.by_id.get_mut(&id) else { continue };
            if !group.is_stopped(id, now, children, out) {
                continue;
            }
            if now < group.until {
                self.waiting.insert((group.until, id));
            } else if group.is_started(id, now, children, out) {
                has_booted |= group.boots;
                for member in self.by_id.remove(&id).into_iter().flat_map(|group| group.members) {
                    if children[member].group == Some(id) {
                        children.update(member, |child| child.group = None);
                    }
                }
            }
        }
        has_booted
    }
}

impl Group {
    /// Stops the last member that is alive. Returns `true` when none is left.
    fn is_stopped(
        &mut self,
        id: u64,
        now: Instant,
        children: &mut Children,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Phase::Stopping { left } = &mut self.phase else { return true };
        while *left > 0 {
            let member = self.members[*left - 1];
            if children[member].group == Some(id) {
                match children[member].state {
                    State::Idle | State::Ended => {}
                    State::Stopping(_) => return false,
                    State::Starting { .. } | State::Up { .. } => {
                        begin_stop(now, member, StopReason::Asked, None, children, out);
                        return false;
                    }
                }
            }
            *left -= 1;
        }
        true
    }

    /// Starts the first member that is not up. Returns `true` when all are up or have ended.
    fn is_started(
        &mut self,
        id: u64,
        now: Instant,
        children: &mut Children,
        out: &mut Vec<Effect>,
    ) -> bool {
        if matches!(self.phase, Phase::Stopping { .. }) {
            self.phase = Phase::Starting { done: 0 };
            if self.reason == Reason::Fall {
                self.call_back_the_ended(id, children);
            }
        }
        let Phase::Starting { done } = &mut self.phase else { return false };
        while let Some(&member) = self.members.get(*done) {
            if children[member].group == Some(id) {
                match children[member].state {
                    State::Up { .. } | State::Ended => {}
                    State::Starting { .. } | State::Stopping(_) => return false,
                    State::Idle => {
                        let key = children.update(member, |child| {
                            child.incarnation += 1;
                            child.state = State::Starting { finishing: false };
                            (child.spawned_at, child.begun_at) = (Some(now), Some(now));
                            child.killed = false;
                            child.key(member)
                        });
                        out.push(Effect::Spawn(key));
                        return false;
                    }
                }
            }
            *done += 1;
        }
        true
    }

    /// Also starts the transient members that had ended by themselves, as in OTP.
    fn call_back_the_ended(&self, id: u64, children: &mut Children) {
        for &member in &self.members {
            let has_ended =
                children[member].group == Some(id) && children[member].state == State::Ended;
            if has_ended && comes_back_with_others(children, member) {
                children.set_state(member, State::Idle);
            }
        }
    }
}

/// Whether a child that has ended by itself is started again with its siblings.
fn comes_back_with_others(children: &Children, child: usize) -> bool {
    !children[child].removed && children[child].policy.restart == Restart::Transient
}
