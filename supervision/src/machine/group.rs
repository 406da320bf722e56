//! Who is restarted together, and in which order.

use tokio::time::Instant;

use super::child::{Life, StopReason, Stopping};
use super::event::{Effect, Key};
use super::machine::{Machine, Phase};
use crate::policy::{Restart, Strategy};

/// Children that are brought up together: all of them at boot, later those that fell together.
#[derive(Debug)]
pub(super) struct Group {
    /// In start order.
    pub(super) members: Vec<usize>,
    /// When the first may start.
    pub(super) until: Instant,
    /// Exits to `Starting` when no member is alive and `until` has come.
    pub(super) phase: GroupPhase,
    pub(super) reason: GroupReason,
    /// Whether the boot is done when this group is up.
    pub(super) boots: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupReason {
    Boot,
    Fall,
    ByHand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupPhase {
    Stopping,
    Starting,
}

impl Machine {
    /// Puts a fallen child, and whoever falls with it, into one group that starts at `until`.
    pub(super) fn regroup(&mut self, fallen: usize, mut until: Instant) {
        let strategy = self.strategy;
        let falls_too = |child: usize| match strategy {
            Strategy::OneForOne => child == fallen,
            Strategy::OneForAll => true,
            Strategy::RestForOne => child >= fallen,
        };
        let mut members: Vec<usize> = (0..self.children.len())
            .filter(|&child| falls_too(child) && !matches!(self.children[child].life, Life::Ended))
            .collect();
        // A further fall joins a restart that is under way. What it must not do is to restart once
        // more what is already back, or to touch the restart by hand of someone it spares.
        let joins = |group: &Group| {
            strategy != Strategy::OneForOne
                && (group.reason != GroupReason::ByHand
                    || group.members.iter().any(|&member| falls_too(member)))
        };
        let mut boots = false;
        for group in self.groups.extract_if(.., |group| joins(group)) {
            until = until.max(group.until);
            boots |= group.boots;
            let is_due = |member: &usize| {
                group.phase == GroupPhase::Stopping || self.children[*member].life == Life::Idle
            };
            members.extend(group.members.iter().copied().filter(is_due));
        }
        members.sort_unstable();
        members.dedup();
        self.leave_groups(fallen);
        let (phase, reason) = (GroupPhase::Stopping, GroupReason::Fall);
        self.groups.push(Group { members, until, phase, reason, boots });
    }

    /// Takes a child out of whatever it was to be started with.
    pub(super) fn leave_groups(&mut self, child: usize) {
        for group in &mut self.groups {
            group.members.retain(|&member| member != child);
        }
        self.groups.retain(|group| group.boots || !group.members.is_empty());
    }

    pub(super) fn restart(&mut self, now: Instant, child: usize) {
        if !matches!(self.phase, Phase::Running) || self.children[child].removed {
            return;
        }
        self.children[child].attempt = 0;
        let comes_back = match self.children[child].life {
            Life::Idle => true,
            Life::Stopping(Stopping { reason: StopReason::Asked, .. }) => {
                self.children[child].policy.restart != Restart::Temporary
            }
            Life::Stopping(_) | Life::Starting { .. } | Life::Up { .. } | Life::Ended => false,
        };
        let mut groups = self.groups.iter_mut();
        if comes_back && let Some(group) = groups.find(|group| group.members.contains(&child)) {
            // Its turn comes, and now without delay.
            group.until = group.until.min(now);
            return;
        }
        match &mut self.children[child].life {
            life @ Life::Ended => *life = Life::Idle,
            // What it asked for itself is no longer the last word.
            Life::Stopping(Stopping { reason: reason @ StopReason::Finishing, .. }) => {
                *reason = StopReason::Asked;
            }
            Life::Stopping(_) | Life::Starting { .. } | Life::Up { .. } | Life::Idle => {}
        }
        self.leave_groups(child);
        let (phase, reason) = (GroupPhase::Stopping, GroupReason::ByHand);
        let members = vec![child];
        self.groups.push(Group { members, until: now, phase, reason, boots: false });
    }

    /// Brings a group one step further. `true` when all of it is up.
    pub(super) fn advance_group(
        &mut self,
        now: Instant,
        group: &mut Group,
        out: &mut Vec<Effect>,
    ) -> bool {
        if group.phase == GroupPhase::Stopping {
            let all_down = self.stop_last_of(now, group.members.iter().copied(), out);
            if !all_down || now < group.until {
                return false;
            }
            group.phase = GroupPhase::Starting;
        }
        for &member in &group.members {
            match self.children[member].life {
                Life::Up { .. } | Life::Ended => {}
                Life::Starting { .. } | Life::Stopping(_) => return false,
                Life::Idle => {
                    let child = &mut self.children[member];
                    child.incarnation += 1;
                    child.life = Life::Starting { since: now, finishing: false };
                    let incarnation = child.incarnation;
                    out.push(Effect::Spawn(Key { child: member, incarnation }));
                    return false;
                }
            }
        }
        if group.boots && !self.booted {
            self.booted = true;
            out.push(Effect::Booted);
        }
        true
    }

    pub(super) fn group_of(&self, child: usize) -> Option<&Group> {
        self.groups.iter().find(|group| group.members.contains(&child))
    }
}
