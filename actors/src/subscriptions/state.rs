#[cfg(test)]
use std::collections::HashSet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use mainstay_supervision::Reply;

use super::bounds::{MOST_SUBSCRIPTIONS, MOST_TOPICS};
use super::buffer::{Buffer, make_room};
use super::error::Error;
use super::event::Message;
use super::member::{Begun, Member, Name, Until};
use crate::redis::{self, TopicKind};

/// How many names go into one command.
const STEP_NAMES: usize = 256;

/// Which subscription wants which topics, and which of them the server has confirmed.
///
/// A subscription *runs* while all of its topics are confirmed on the present connection. It gets messages only then:
/// whatever arrives earlier belongs to the gap, so that nothing is missing after it.
#[derive(Debug, Default)]
pub(super) struct State {
    members: HashMap<u64, Member>,
    channels: HashMap<Arc<str>, Topic>,
    patterns: HashMap<Arc<str>, Topic>,
    /// Topics that the server may have to be told about.
    due: BTreeSet<Name>,
    ids: u64,
    /// Counts connections. Whatever comes from an earlier one is ignored.
    epoch: u64,
    is_connected: bool,
    is_closed: bool,
    is_draining: bool,
    gaps: u64,
    dropped: u64,
    /// The bytes that wait in all buffers.
    pub(super) waiting_bytes: Arc<AtomicUsize>,
}

/// One command to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(super) verb: Verb,
    pub(super) kind: TopicKind,
    pub(super) names: Vec<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Unsubscribe,
    Subscribe,
}

/// The numbers that the tree shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) subscriptions: usize,
    pub(super) channels: usize,
    pub(super) patterns: usize,
    pub(super) connected: bool,
    pub(super) gaps: u64,
    pub(super) dropped: u64,
}

#[derive(Debug, Default)]
struct Topic {
    holders: Vec<u64>,
    stage: Stage,
    /// The server refused a command that held this name, so the name gets a command of its own.
    is_alone: bool,
    /// Whether the last command for this name alone was refused.
    is_denied: bool,
}

/// What the server knows of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Nothing. Leaves to `Asked` when the server is told to subscribe.
    #[default]
    Absent,
    /// The server was told to subscribe. Leaves to `Present` when it confirms, to `Denied` when it refuses, and to
    /// `Absent` when it refuses a command with other names too.
    Asked,
    /// The server has confirmed. Leaves to `Leaving` when no subscription wants the topic any more.
    Present,
    /// The server was told to unsubscribe. Leaves to `Absent` when it answers.
    Leaving,
    /// The server refused. Leaves to `Absent` when it is time to try again.
    Denied,
}

impl State {
    /// Adds a subscription to `names`: at least one, and none twice. `begin` is answered when it runs.
    pub(super) fn join(
        &mut self,
        names: Vec<Name>,
        until: Until,
        begin: Reply<Begun>,
    ) -> Result<(u64, Arc<Buffer>), Error> {
        if self.is_closed || (self.is_draining && until == Until::Drain) {
            return Err(Error::Closed);
        }
        if self.members.len() >= MOST_SUBSCRIPTIONS {
            return Err(Error::too_many_subscriptions());
        }
        let new = names.iter().filter(|name| self.topic(name).is_none()).count();
        if self.channels.len() + self.patterns.len() + new > MOST_TOPICS {
            return Err(Error::too_many_topics());
        }
        self.ids += 1;
        let id = self.ids;
        let mut missing = 0;
        for name in &names {
            let topic = self.topics_mut(name.0).entry(Arc::clone(&name.1)).or_default();
            topic.holders.push(id);
            missing += usize::from(topic.stage != Stage::Present);
            if topic.stage == Stage::Denied {
                topic.stage = Stage::Absent;
            }
            if topic.stage == Stage::Absent {
                self.touch(name);
            }
        }
        let buffer = Arc::new(Buffer::beside(&self.waiting_bytes));
        let begin = Some(begin);
        let mut member = Member { names, buffer: Arc::clone(&buffer), missing, begin, until };
        if missing == 0 {
            member.run();
        }
        self.members.insert(id, member);
        Ok((id, buffer))
    }

    /// Removes a subscription.
    pub(super) fn leave(&mut self, id: u64) {
        let Some(member) = self.members.remove(&id) else { return };
        for name in &member.names {
            let Some(topic) = self.topics_mut(name.0).get_mut(&name.1) else { continue };
            topic.holders.retain(|holder| *holder != id);
            if topic.holders.is_empty() {
                match topic.stage {
                    Stage::Absent | Stage::Denied => self.forget(name),
                    Stage::Present => self.touch(name),
                    Stage::Asked | Stage::Leaving => {}
                }
            }
        }
    }

    /// Whether there is any subscription.
    pub(super) fn is_wanted(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn facts(&self) -> Facts {
        Facts {
            subscriptions: self.members.len(),
            channels: self.channels.len(),
            patterns: self.patterns.len(),
            connected: self.is_connected,
            gaps: self.gaps,
            dropped: self.dropped,
        }
    }

    /// Begins a new connection: whatever comes from an earlier one is ignored from now on.
    pub(super) fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// Notes that there is a connection, with no subscriptions on it yet.
    pub(super) fn connected(&mut self) {
        self.is_connected = true;
        self.due = self.names().collect();
    }

    /// Notes that the connection is lost, or that what it has confirmed is not known any more.
    pub(super) fn lost(&mut self) {
        self.is_connected = false;
        self.epoch += 1;
        self.due.clear();
        for topics in [&mut self.channels, &mut self.patterns] {
            topics.retain(|_, topic| !topic.holders.is_empty());
            for topic in topics.values_mut() {
                (topic.stage, topic.is_alone) = (Stage::Absent, false);
            }
        }
        for member in self.members.values_mut() {
            member.missing = member.names.len();
        }
    }

    /// The commands to send to the server now.
    pub(super) fn plan(&mut self) -> Vec<Step> {
        if !self.is_connected {
            return Vec::new();
        }
        let mut together: BTreeMap<(Verb, TopicKind), Vec<Arc<str>>> = BTreeMap::new();
        let mut steps = Vec::new();
        for (kind, name) in std::mem::take(&mut self.due) {
            let Some(topic) = self.topics_mut(kind).get_mut(&name) else { continue };
            let verb = match (topic.stage, topic.holders.is_empty()) {
                (Stage::Absent, false) => {
                    topic.stage = Stage::Asked;
                    Verb::Subscribe
                }
                (Stage::Present, true) => {
                    topic.stage = Stage::Leaving;
                    Verb::Unsubscribe
                }
                _ => continue,
            };
            if topic.is_alone {
                steps.push(Step { verb, kind, names: vec![name] });
            } else {
                together.entry((verb, kind)).or_default().push(name);
            }
        }
        for ((verb, kind), names) in together {
            steps.extend(names.chunks(STEP_NAMES).map(|names| Step {
                verb,
                kind,
                names: names.to_vec(),
            }));
        }
        steps
    }

    /// Notes that the server has confirmed a step.
    pub(super) fn done(&mut self, step: &Step) {
        for name in &step.names {
            let name = (step.kind, Arc::clone(name));
            match step.verb {
                Verb::Subscribe => self.confirmed(&name),
                Verb::Unsubscribe => self.left(&name),
            }
        }
    }

    /// Notes that the server has refused a whole step. Returns the topics that are denied now and were not before,
    /// although a subscription to them has run.
    pub(super) fn refused(&mut self, step: &Step, error: &redis::Error) -> Vec<Name> {
        let mut news = Vec::new();
        for name in &step.names {
            let name = (step.kind, Arc::clone(name));
            match step.verb {
                Verb::Subscribe if step.names.len() > 1 => self.split(&name),
                Verb::Subscribe => news.extend(self.denied(&name, error).then_some(name)),
                // Messages that still arrive have no subscription to go to.
                Verb::Unsubscribe => self.left(&name),
            }
        }
        news
    }

    /// Has the denied topics subscribed to once more.
    pub(super) fn retry_denied(&mut self) {
        let denied = |(name, topic): (&Arc<str>, &Topic)| {
            (topic.stage == Stage::Denied).then(|| Arc::clone(name))
        };
        let named = |kind| move |name| (kind, name);
        let channels = self.channels.iter().filter_map(denied).map(named(TopicKind::Channel));
        let patterns = self.patterns.iter().filter_map(denied).map(named(TopicKind::Pattern));
        for name in channels.chain(patterns).collect::<Vec<Name>>() {
            self.left(&name);
        }
    }

    /// Answers every subscription that waits for its first confirmation with `error`.
    pub(super) fn fail_waiting(&mut self, error: &redis::Error) {
        for member in self.members.values_mut() {
            member.fail(error);
        }
    }

    /// Gives a published message to its subscriptions; `epoch` names the connection that it came on.
    pub(super) fn deliver(&mut self, epoch: u64, message: &Message) {
        if epoch != self.epoch {
            return;
        }
        let topic = match message.pattern() {
            Some(pattern) => self.patterns.get(pattern),
            None => self.channels.get(message.channel()),
        };
        for holder in topic.iter().flat_map(|topic| &topic.holders) {
            if let Some(member) = self.members.get(holder)
                && member.missing == 0
                && !member.buffer.push(message.clone())
            {
                self.dropped += 1;
            }
        }
        let buffers = self.members.values().map(|member| &*member.buffer);
        self.dropped += make_room(&self.waiting_bytes, &buffers, message);
    }

    /// Ends the subscriptions of requests, and refuses further ones.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        let of_requests = |(id, member): (&u64, &Member)| {
            (member.until == Until::Drain).then(|| (*id, Arc::clone(&member.buffer)))
        };
        for (id, buffer) in self.members.iter().filter_map(of_requests).collect::<Vec<_>>() {
            self.leave(id);
            buffer.close();
        }
    }

    /// Refuses new subscriptions, because the service ends. The present ones go on until [`end`](Self::end).
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Ends every subscription, if the service ends.
    pub(super) fn end(&mut self) {
        if !self.is_closed {
            return;
        }
        self.lost();
        for (_, member) in self.members.drain() {
            member.buffer.close();
        }
        self.channels.clear();
        self.patterns.clear();
    }

    fn confirmed(&mut self, name: &Name) {
        let Some(topic) = self.topic_mut(name).filter(|topic| topic.stage == Stage::Asked) else {
            return;
        };
        (topic.stage, topic.is_alone, topic.is_denied) = (Stage::Present, false, false);
        let holders = topic.holders.clone();
        if holders.is_empty() {
            self.touch(name);
        }
        for holder in holders {
            let Some(member) = self.members.get_mut(&holder) else { continue };
            member.missing -= 1;
            if member.missing == 0 && member.run() {
                self.gaps += 1;
            }
        }
    }

    fn left(&mut self, name: &Name) {
        let Some(topic) = self.topic_mut(name) else { return };
        topic.stage = Stage::Absent;
        self.settle(name);
    }

    fn split(&mut self, name: &Name) {
        let Some(topic) = self.topic_mut(name) else { return };
        (topic.stage, topic.is_alone) = (Stage::Absent, true);
        self.settle(name);
    }

    fn denied(&mut self, name: &Name, error: &redis::Error) -> bool {
        let Some(topic) = self.topic_mut(name) else { return false };
        (topic.stage, topic.is_alone) = (Stage::Denied, true);
        let is_new = !std::mem::replace(&mut topic.is_denied, true);
        let holders = topic.holders.clone();
        if holders.is_empty() {
            self.forget(name);
        }
        let mut has_run = false;
        for holder in holders {
            if let Some(member) = self.members.get_mut(&holder) {
                has_run |= !member.fail(error);
            }
        }
        is_new && has_run
    }

    /// Forgets a topic that the server does not know and no subscription wants, and has any other subscribed to.
    fn settle(&mut self, name: &Name) {
        if self.topic(name).is_some_and(|topic| topic.holders.is_empty()) {
            self.forget(name);
        } else {
            self.touch(name);
        }
    }

    fn touch(&mut self, name: &Name) {
        if self.is_connected {
            self.due.insert(name.clone());
        }
    }

    fn forget(&mut self, name: &Name) {
        self.topics_mut(name.0).remove(&name.1);
        self.due.remove(name);
    }

    fn names(&self) -> impl Iterator<Item = Name> {
        let channels = self.channels.keys().map(|name| (TopicKind::Channel, Arc::clone(name)));
        channels.chain(self.patterns.keys().map(|name| (TopicKind::Pattern, Arc::clone(name))))
    }

    fn topic(&self, name: &Name) -> Option<&Topic> {
        match name.0 {
            TopicKind::Channel => self.channels.get(&name.1),
            TopicKind::Pattern => self.patterns.get(&name.1),
        }
    }

    fn topic_mut(&mut self, name: &Name) -> Option<&mut Topic> {
        self.topics_mut(name.0).get_mut(&name.1)
    }

    fn topics_mut(&mut self, kind: TopicKind) -> &mut HashMap<Arc<str>, Topic> {
        match kind {
            TopicKind::Channel => &mut self.channels,
            TopicKind::Pattern => &mut self.patterns,
        }
    }

    /// Whether nothing is left to do, and every topic has a subscription.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        self.due.is_empty() && self.names().collect::<HashSet<_>>().len() == self.held().len()
    }

    /// The topics that the subscriptions want.
    #[cfg(test)]
    pub(super) fn held(&self) -> HashSet<Name> {
        self.members.values().flat_map(|member| member.names.clone()).collect()
    }
}
