use std::future::{Future, poll_fn};
use std::task::Poll;

use ::redis::{Cmd, Value, cmd};
use futures_util::future::maybe_done;

use super::capability::MissingCapability;
use super::exchange::{Limit, exchange};
use crate::redis::address::Login;
use crate::redis::command::ScriptTexts;
use crate::redis::socket::Wire;
use crate::redis::status::{Cause, Hello, is_refusal, logged_in, selected, unwelcome};

/// What is said to a new connection: what is needed in one write, and in another what we can do without.
pub(super) struct Greeting {
    steps: Vec<(Step, Cmd)>,
    has_login: bool,
    has_user: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Hello,
    Auth,
    Select,
    /// Proves that RESP2 is spoken.
    Ping,
    /// The server need not know it.
    Optional(MissingCapability),
}

/// Why a connection cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The server said so, or it was lost.
    Failed(Cause),
    /// The server knows no RESP3. It may speak RESP2.
    NoResp3,
    /// The server has hung up at something that we can do without.
    HungUp(MissingCapability),
}

impl Greeting {
    /// For RESP3, with the login.
    pub(super) fn in_resp3(login: &Login) -> Self {
        let mut hello = cmd("HELLO");
        hello.arg(3);
        let credentials = login.credentials();
        if let Some((user, password)) = credentials {
            hello.arg("AUTH").arg(user.unwrap_or("default")).arg(password);
        }
        let has_user = credentials.is_some_and(|(user, _)| user.is_some());
        let greeting = Self { steps: Vec::new(), has_login: credentials.is_some(), has_user };
        greeting.and(Step::Hello, hello).select(login)
    }

    /// For RESP2, with the login.
    pub(super) fn in_resp2(login: &Login) -> Self {
        let mut greeting = Self { steps: Vec::new(), has_login: false, has_user: false };
        if let Some((user, password)) = login.credentials() {
            let auth = cmd("AUTH").arg(user).arg(password).take();
            greeting = greeting.and(Step::Auth, auth);
            (greeting.has_login, greeting.has_user) = (true, user.is_some());
        }
        greeting.and(Step::Ping, cmd("PING")).select(login)
    }

    /// Adds the connection's name in `CLIENT LIST`.
    pub(super) fn name(self, name: &str) -> Self {
        let name = cmd("CLIENT").arg("SETNAME").arg(name).take();
        self.and(Step::Optional(MissingCapability::ClientSetname), name)
    }

    /// Adds the name and version of this library in `CLIENT LIST`.
    pub(super) fn library(self) -> Self {
        let step = Step::Optional(MissingCapability::ClientSetinfo);
        let info = |key, value| cmd("CLIENT").arg("SETINFO").arg(key).arg(value).take();
        self.and(step, info("LIB-NAME", "mainstay"))
            .and(step, info("LIB-VER", env!("CARGO_PKG_VERSION")))
    }

    /// Adds the scripts that were called so far.
    pub(super) fn scripts(mut self, scripts: &ScriptTexts) -> Self {
        let step = Step::Optional(MissingCapability::ScriptLoad);
        self.steps.extend(scripts.loading().into_iter().map(|load| (step, load)));
        self
    }

    fn select(self, login: &Login) -> Self {
        match login.database() {
            0 => self,
            database => self.and(Step::Select, cmd("SELECT").arg(database).take()),
        }
    }

    fn and(mut self, step: Step, command: Cmd) -> Self {
        self.steps.push((step, command));
        self
    }

    /// Says all of it, and reads the answers. Returns what the server has answered and what it has refused of what we can
    /// do without.
    pub(super) async fn say(&self, wire: &Wire) -> Result<Answers, Unusable> {
        let is_optional = |(step, _): &(Step, Cmd)| matches!(step, Step::Optional(_));
        let optional = self.steps.iter().position(is_optional).unwrap_or(self.steps.len());
        let (needed, optional) = self.steps.split_at(optional);
        let mut answers = Answers::default();
        // A proxy that hangs up at something may take with it the answers to what came before.
        self.say_part(needed, wire, &mut answers).await?;
        self.say_part(optional, wire, &mut answers).await?;
        Ok(answers)
    }

    /// Says these in one write, and reads the answers.
    async fn say_part(
        &self,
        steps: &[(Step, Cmd)],
        wire: &Wire,
        answers: &mut Answers,
    ) -> Result<(), Unusable> {
        let asked = steps.iter().map(|(_, command)| exchange(wire, command, Limit::NONE));
        let mut asked: Vec<_> = asked.map(|asked| Box::pin(maybe_done(asked))).collect();
        poll_fn(|cx| {
            for asked in &mut asked {
                let _is_sent = asked.as_mut().poll(cx);
            }
            Poll::Ready(())
        })
        .await;
        for ((step, _), mut asked) in steps.iter().zip(asked) {
            asked.as_mut().await;
            let Some(exchanged) = asked.as_mut().take_output() else { break };
            let reply = exchanged.into_result().map_err(|cause| step.lost(cause, wire.heard()))?;
            self.judge(*step, &reply, answers)?;
        }
        Ok(())
    }

    fn judge(&self, step: Step, reply: &Value, answers: &mut Answers) -> Result<(), Unusable> {
        match step {
            Step::Hello => match Hello::of(reply, self.has_login) {
                Hello::Resp3 => answers.answered.push(MissingCapability::Resp3),
                Hello::Unknown => return Err(Unusable::NoResp3),
                Hello::Refused(cause) => return Err(Unusable::Failed(cause)),
            },
            Step::Auth => logged_in(reply, self.has_user).map_err(Unusable::Failed)?,
            Step::Select => selected(reply).map_err(Unusable::Failed)?,
            Step::Ping | Step::Optional(_) => {
                if let Some(cause) = unwelcome(reply) {
                    return Err(Unusable::Failed(cause));
                }
            }
        }
        if let Step::Optional(capability) = step {
            answers.answered.push(capability);
            // The user may lack the permission, or a script may not compile: calling it returns the error.
            if is_refusal(reply) {
                answers.refused.push(capability);
            }
        }
        Ok(())
    }
}

/// What a server has answered of what we can do without.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) answered: Vec<MissingCapability>,
    /// Of these, what it has refused.
    pub(super) refused: Vec<MissingCapability>,
}

impl Step {
    /// What it means that the connection was lost before this was answered. `heard`: the bytes that have arrived on it.
    fn lost(self, cause: Cause, heard: u64) -> Unusable {
        match (self, cause) {
            (Self::Hello, Cause::Closed) if heard == 0 => {
                Unusable::HungUp(MissingCapability::Resp3)
            }
            (Self::Optional(capability), Cause::Closed) => Unusable::HungUp(capability),
            (_, Cause::Closed) => Unusable::Failed(Cause::HandshakeClosed),
            (_, cause) => Unusable::Failed(cause),
        }
    }
}
