//! Who is restarted together, and in which order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use super::child::{State, StopReason, Stopping};
use super::children::Children;
use super::event::Effect;
use super::stop::begin_stop;
use crate::policy::{Restart, Strategy};

/// Children that are brought up together: all of them at boot, later those that fell together. A
/// child is in one group at most, and remembers which.
#[derive(Debug)]
struct Group {
    /// In start order. Some may have left.
    members: Vec<usize>,
    /// When the first may start.
    until: Instant,
    phase: Phase,
    reason: Reason,
    /// Whether the boot is done when this group is up.
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
    /// So many members, counted from the first, may still be alive. Exits to `Starting` when none
    /// is left and `until` has come.
    Stopping { left: usize },
    /// So many members, counted from the first, are up or have ended.
    Starting { done: usize },
}

/// All groups of one supervisor.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_id: BTreeMap<u64, Group>,
    newest: u64,
    /// Groups of which no member is alive, and when they may start.
    waiting: BTreeSet<(Instant, u64)>,
    /// Groups that may be able to take a step.
    stirred: VecDeque<u64>,
}

impl Groups {
    /// A group of everyone, for the boot.
    pub(super) fn boot(&mut self, now: Instant, children: &mut Children) {
        let members = (0..children.len()).collect();
        self.add(children, members, now, Reason::Boot, true);
    }

    /// Puts a fallen child, and whoever falls with it, into one group that starts at `until`.
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
        // A further fall joins a restart that is under way. What it must not do is to restart once
        // more what is already back, or to touch the restart by hand of someone it spares.
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
                // Those that are already back, or are ending by themselves, are in no group from here on.
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

    /// A group of one, for a restart by hand.
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

    /// Takes a child out of whatever it was to be started with.
    pub(super) fn leave(&mut self, child: usize, children: &mut Children) {
        if let Some(id) = children[child].group {
            children.update(child, |child| child.group = None);
            self.stirred.push_back(id);
        }
    }

    /// Notes that something happened to a child: its group may go on, or has to wait for it again.
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

    /// Lets a child that is about to be started anyway start without delay. `false` if it is not.
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

    /// Why a child is to be started, and when.
    pub(super) fn of(&self, child: usize, children: &Children) -> Option<(Reason, Instant)> {
        let group = self.by_id.get(&children[child].group?)?;
        Some((group.reason, group.until))
    }

    /// When the next group may start whose members are all gone.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.waiting.first().map(|&(at, _)| at)
    }

    /// Forgets every group: nobody is started any more.
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

    /// Takes every step that is possible. `true` when the boot is done.
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
    /// Asks the last living member to end. `true` when none is left.
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

    /// Starts the first member that is not up. `true` when all are up, or have ended.
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

    /// As in OTP, a restart of several children also starts the transient ones that had ended by
    /// themselves.
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

/// Whether a child that has ended by itself is started again when its siblings are.
fn comes_back_with_others(children: &Children, child: usize) -> bool {
    !children[child].removed && children[child].policy.restart == Restart::Transient
}
