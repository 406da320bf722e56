use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::frames::{Frames, Head, NotResp, head};

/// The commands that a [`Proxy`](super::Proxy) picks out; what happens to them is said by its last method.
#[derive(Debug)]
#[must_use = "a rule counts once it says what happens"]
pub struct On {
    rules: Arc<Rules>,
    words: Vec<String>,
    most: usize,
}

/// A rule of a [`Proxy`](super::Proxy). It counts until it is lifted, also when this value is dropped.
#[derive(Debug, Clone)]
pub struct Rule(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    words: Vec<String>,
    deed: Deed,
    left: AtomicUsize,
    met: AtomicUsize,
}

#[derive(Debug, Clone)]
enum Deed {
    /// The proxy answers, and the server sees nothing of it.
    Answer(Arc<[u8]>),
    /// The server does it, and its reply is replaced.
    Rewrite(Arc<[u8]>),
    /// The proxy closes the connection, and the server sees nothing of it.
    HangUp,
}

impl On {
    /// Only the next command that fits.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Only the next `most` commands that fit. Default all.
    pub fn times(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Answers with an error instead of the server, which never sees the command: `"NOPERM not you"`.
    ///
    /// # Panics
    /// If `error` has a line's end in it.
    pub fn refuse(self, error: &str) -> Rule {
        assert!(!error.contains(['\r', '\n']), "an error is one line: {error:?}");
        self.answer(format!("-{error}\r\n"))
    }

    /// Answers instead of the server, which never sees the command. `reply` is sent as it is: `"+OK\r\n"`.
    pub fn answer(self, reply: impl AsRef<[u8]>) -> Rule {
        self.rule(Deed::Answer(reply.as_ref().into()))
    }

    /// Lets the server do it, and answers something else: the server's reply is lost, and `reply` is sent as it is.
    pub fn rewrite(self, reply: impl AsRef<[u8]>) -> Rule {
        self.rule(Deed::Rewrite(reply.as_ref().into()))
    }

    /// Closes the connection in place of an answer, behind the replies to the commands before it: as a proxy does that
    /// does not know the command. The server sees neither it nor anything after it.
    pub fn hang_up(self) -> Rule {
        self.rule(Deed::HangUp)
    }

    fn rule(self, deed: Deed) -> Rule {
        let Self { rules, words, most } = self;
        let (left, met) = (AtomicUsize::new(most), AtomicUsize::new(0));
        let entry = Arc::new(Entry { words, deed, left, met });
        rules.lock().push(Arc::clone(&entry));
        Rule(entry)
    }
}

impl Rule {
    /// How many commands it has met.
    pub fn met(&self) -> usize {
        self.0.met.load(Ordering::Acquire)
    }

    /// From now on it does not count any more.
    pub fn lift(&self) {
        self.0.left.store(0, Ordering::Release);
    }
}

/// The rules of a proxy.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<Vec<Arc<Entry>>>);

impl Rules {
    pub(super) fn on(self: &Arc<Self>, command: &str) -> On {
        let words: Vec<_> = command.split_whitespace().map(str::to_ascii_uppercase).collect();
        assert!((1..=MOST_WORDS).contains(&words.len()), "one word or two, as in CLIENT SETNAME");
        On { rules: Arc::clone(self), words, most: usize::MAX }
    }

    /// What is to happen to a command. The latest rule counts.
    fn meet(&self, words: &[String]) -> Option<Deed> {
        let mut rules = self.lock();
        rules.retain(|rule| rule.left.load(Ordering::Acquire) > 0);
        let rule = rules.iter().rev().find(|rule| words.starts_with(&rule.words))?;
        let fewer = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        rule.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).ok()?;
        rule.met.fetch_add(1, Ordering::AcqRel);
        Some(rule.deed.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose turn it is to answer, on one connection.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: Mutex<VecDeque<Turn>>,
    changed: Notify,
    speaks_resp3: AtomicBool,
}

#[derive(Debug)]
enum Turn {
    /// So many replies are the server's.
    Server(usize),
    /// One is the proxy's.
    Proxy(Arc<[u8]>),
    /// One is the server's, and this is sent in its place.
    Instead(Arc<[u8]>),
    /// Replies no longer follow commands.
    Unknown,
    /// There are no more.
    End,
}

impl Turns {
    /// Waits until a command was answered by a rule.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn push(&self, turn: Turn) {
        // The server's own replies wake whoever waits for them.
        let is_answered = matches!(turn, Turn::Proxy(_) | Turn::Unknown | Turn::End);
        let mut queue = self.lock();
        match (queue.back_mut(), &turn) {
            (Some(Turn::Server(count)), Turn::Server(more)) => *count += more,
            _ => queue.push_back(turn),
        }
        drop(queue);
        if is_answered {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Turn>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the rules do to the bytes of one connection, one way.
#[derive(Debug)]
pub(super) enum Filter {
    Requests(Requests),
    Replies(Replies),
}

impl Filter {
    pub(super) fn requests(rules: Arc<Rules>, turns: Arc<Turns>) -> Self {
        Self::Requests(Requests::new(rules, turns))
    }

    pub(super) fn replies(turns: Arc<Turns>) -> Self {
        Self::Replies(Replies::new(turns))
    }

    /// What goes on of these bytes. To a client, also the proxy's own answers whose turn it is.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Requests(requests) => requests.pass(bytes),
            Self::Replies(replies) => replies.pass(bytes),
        }
    }

    /// Whether the connection is to be closed, by a rule.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Requests(_) => false,
            Self::Replies(replies) => replies.is_over,
        }
    }

    /// What was kept of a command that never became whole.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        match self {
            Self::Requests(requests) => requests.rest(),
            Self::Replies(_) => Vec::new(),
        }
    }
}

/// What a client sends, command by command.
#[derive(Debug)]
pub(super) struct Requests {
    rules: Arc<Rules>,
    turns: Arc<Turns>,
    frames: Frames,
    /// The beginning of a command whose name is not known yet.
    head: Vec<u8>,
    is_swallowed: bool,
    is_opaque: bool,
    /// The rest is swallowed, whatever it is.
    is_over: bool,
}

impl Requests {
    fn new(rules: Arc<Rules>, turns: Arc<Turns>) -> Self {
        let (frames, head) = (Frames::default(), Vec::new());
        let (is_swallowed, is_opaque, is_over) = (false, false, false);
        Self { rules, turns, frames, head, is_swallowed, is_opaque, is_over }
    }

    /// The bytes of these that go on to the server.
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        if self.is_opaque {
            out.extend_from_slice(bytes);
            return out;
        }
        let mut kept = std::mem::take(&mut self.head);
        let mut bytes = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        while !bytes.is_empty() && !self.is_over {
            match self.step(bytes, &mut out) {
                Ok(0) => {
                    self.head = bytes.to_vec();
                    break;
                }
                Ok(count) => bytes = &bytes[count..],
                Err(NotResp) => {
                    self.is_opaque = true;
                    self.turns.push(Turn::Unknown);
                    out.extend_from_slice(bytes);
                    break;
                }
            }
        }
        out
    }

    /// Takes some bytes; none if it needs more.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, NotResp> {
        if self.frames.is_between() {
            let Head::Words(words) = head(bytes, MOST_WORDS)? else { return Ok(0) };
            self.begin(&words)?;
        }
        let taken = self.frames.take(bytes)?;
        if !self.is_swallowed {
            out.extend_from_slice(&bytes[..taken.len_bytes]);
        }
        Ok(taken.len_bytes)
    }

    fn begin(&mut self, words: &[String]) -> Result<(), NotResp> {
        self.is_swallowed = false;
        let turn = match self.rules.meet(words) {
            Some(Deed::Answer(reply)) => {
                self.is_swallowed = true;
                Turn::Proxy(reply)
            }
            Some(Deed::Rewrite(reply)) => Turn::Instead(reply),
            Some(Deed::HangUp) => {
                (self.is_swallowed, self.is_over) = (true, true);
                Turn::End
            }
            None => match words.first().map_or("", String::as_str) {
                "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE"
                | "SUNSUBSCRIBE" => {
                    // With RESP3 they are answered by pushes, which are no replies.
                    let speaks_resp3 = self.turns.speaks_resp3.load(Ordering::Acquire);
                    return if speaks_resp3 { Ok(()) } else { Err(NotResp) };
                }
                "MONITOR" | "SYNC" | "PSYNC" => return Err(NotResp),
                "CLIENT" if words.get(1).is_some_and(|word| word == "REPLY") => {
                    return Err(NotResp);
                }
                _ => Turn::Server(1),
            },
        };
        self.turns.push(turn);
        Ok(())
    }

    /// What is left of a command that never became whole.
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }
}

/// What a server answers, reply by reply.
#[derive(Debug)]
pub(super) struct Replies {
    turns: Arc<Turns>,
    frames: Frames,
    /// What is sent in place of the reply that is under way.
    instead: Option<Arc<[u8]>>,
    is_opaque: bool,
    is_over: bool,
}

impl Replies {
    fn new(turns: Arc<Turns>) -> Self {
        let frames = Frames::default();
        Self { turns, frames, instead: None, is_opaque: false, is_over: false }
    }

    /// What goes on to the client: of these bytes, and of the proxy's own answers. Without bytes, the latter alone.
    fn pass(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        loop {
            if !self.is_opaque && self.frames.is_between() {
                self.answer(&mut out);
            }
            if bytes.is_empty() || self.is_over {
                return out;
            }
            if self.is_opaque {
                out.extend_from_slice(bytes);
                return out;
            }
            if self.frames.is_between() && bytes[0] != b'>' {
                self.instead = self.take_turn();
            }
            let Ok(taken) = self.frames.take(bytes) else {
                self.is_opaque = true;
                continue;
            };
            if matches!(self.frames.first(), b'%' | b'>' | b'_') {
                self.turns.speaks_resp3.store(true, Ordering::Release);
            }
            match &self.instead {
                None => out.extend_from_slice(&bytes[..taken.len_bytes]),
                Some(reply) if taken.is_end => out.extend_from_slice(reply),
                Some(_) => {}
            }
            if taken.is_end {
                self.instead = None;
            }
            bytes = &bytes[taken.len_bytes..];
        }
    }

    /// The proxy's own answers whose turn it is.
    fn answer(&mut self, out: &mut Vec<u8>) {
        let mut queue = self.turns.lock();
        while let Some(turn) = queue.pop_front() {
            match turn {
                Turn::Proxy(reply) => out.extend_from_slice(&reply),
                Turn::Unknown => self.is_opaque = true,
                Turn::End => self.is_over = true,
                turn @ (Turn::Server(_) | Turn::Instead(_)) => {
                    queue.push_front(turn);
                    return;
                }
            }
        }
    }

    /// A reply of the server begins: says what is sent in its place.
    fn take_turn(&self) -> Option<Arc<[u8]>> {
        let mut queue = self.turns.lock();
        match queue.pop_front()? {
            Turn::Server(count) => {
                if count > 1 {
                    queue.push_front(Turn::Server(count - 1));
                }
                None
            }
            Turn::Instead(reply) => Some(reply),
            turn @ (Turn::Proxy(_) | Turn::Unknown | Turn::End) => {
                queue.push_front(turn);
                None
            }
        }
    }
}

/// A command and its sub-command.
const MOST_WORDS: usize = 2;
