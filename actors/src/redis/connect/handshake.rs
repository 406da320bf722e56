use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::PushInfo;
use tokio::time::{Instant, timeout};

use super::capability::{MissingCapabilities, MissingCapability};
use super::connection::Connection;
use super::greeting::{Greeting, Unusable};
use super::pace::ServerPace;
use crate::redis::address::{Address, Login};
use crate::redis::command::ScriptTexts;
use crate::redis::config::Config;
use crate::redis::socket::{
    Budget, CloseSignal, Permit, PreferredAddress, Progress, Purpose, Pushed, Route, Socket, Wire,
    awaited, is_being_read, race, read_file, routes,
};
use crate::redis::status::{Cause, ConfigFile};

/// Opens connections to one address: socket, protocol version, login and name.
pub(crate) struct Handshake {
    endpoint: Box<str>,
    address: Address,
    config: Arc<Config>,
    budget: Budget,
    scripts: ScriptTexts,
    preferred: PreferredAddress,
    missing: MissingCapabilities,
    pace: ServerPace,
}

/// Takes the push messages of a connection. It is called in the task that reads the connection, so it must not block.
pub(super) type Listener = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// What a connection is wanted for, and what is needed to open it.
struct Order<'a> {
    purpose: Purpose,
    permit: Permit,
    login: Login,
    listener: Option<Listener>,
    progress: &'a Progress,
}

impl Handshake {
    pub(super) fn new(
        endpoint: &str,
        address: Address,
        config: Arc<Config>,
        pace: ServerPace,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            address,
            budget: Budget::new(&config),
            missing: MissingCapabilities::new(config.recycle_timeout),
            config,
            scripts: ScriptTexts::default(),
            preferred: PreferredAddress::default(),
            pace,
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How many connections are open and may be.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn scripts(&self) -> &ScriptTexts {
        &self.scripts
    }

    /// Where its connections lead.
    pub(super) fn preferred(&self) -> &PreferredAddress {
        &self.preferred
    }

    /// What the servers at its addresses lack.
    pub(super) fn missing(&self) -> &MissingCapabilities {
        &self.missing
    }

    /// Notes that the server hung up at `CLUSTER NODES`, which was sent at `sent`.
    pub(super) fn note_cluster_hangup(&self, sent: Instant) {
        self.missing.hung_up(&self.endpoint, MissingCapability::ClusterNodes, None, sent);
    }

    /// Notes that the server lacks a capability.
    pub(super) fn note_missing(&self, missing: MissingCapability) {
        self.missing.log(&self.endpoint, missing);
    }

    /// Opens a connection at the first of the server's addresses that is ready for commands.
    pub(super) async fn connection(
        &self,
        purpose: Purpose,
        permit: Permit,
        listener: Option<Listener>,
        progress: &Progress,
    ) -> Result<Connection, Cause> {
        let login = self.login().await?;
        let order = Order { purpose, permit, login, listener, progress };
        let routes = routes(&self.address, &self.config.tls, &self.preferred).await?;
        let (wire, closing, peer) = {
            let order = &order;
            let at = move |route| async move {
                let (wire, closing) = self.shake_hands(&route, order).await?;
                Ok((wire, closing, route.peer()))
            };
            race(routes, order.progress, at).await?
        };
        if let Some(peer) = peer {
            self.preferred.answered(peer);
        }
        Ok(Connection::new(wire, closing, self.budget.of(purpose).count()))
    }

    /// Opens a connection at one address. A server that does not know something which we can do without gets a new
    /// connection, on which it is not asked for that.
    async fn shake_hands(
        &self,
        route: &Route<'_>,
        order: &Order<'_>,
    ) -> Result<(Wire, Arc<CloseSignal>), Cause> {
        let (begun, peer) = (Instant::now(), route.peer());
        let (mut lacking, mut hung_up) = (Vec::new(), Vec::new());
        loop {
            let is_asked = |capability| {
                !self.missing.has(capability, peer)
                    && !lacking.contains(&capability)
                    && !hung_up.contains(&capability)
            };
            let greeting = self.greeting(order, is_asked);
            let closing = Arc::new(CloseSignal::default());
            let stream = route.open(order.progress).await?;
            let socket = Socket::new(stream, Arc::clone(&order.permit));
            let is_shared = matches!(order.purpose, Purpose::Lane(_));
            let pushed = order
                .listener
                .clone()
                .map(|listener| -> Pushed { Box::new(move |push| listener(push)) });
            let wire = Wire::open(socket, is_shared, pushed, &closing);
            match greeting.say(&wire).await {
                Ok(answers) => {
                    for capability in answers.answered {
                        self.missing.answered(capability, peer);
                    }
                    for capability in answers.refused {
                        if capability != MissingCapability::ClientSetinfo {
                            self.missing.log(&self.endpoint, capability);
                        }
                    }
                    for capability in lacking {
                        self.missing.refused(&self.endpoint, capability, peer);
                    }
                    for capability in hung_up {
                        self.missing.hung_up(&self.endpoint, capability, peer, begun);
                    }
                    return Ok((wire, closing));
                }
                Err(Unusable::Failed(cause)) => return Err(cause),
                Err(Unusable::NoResp3) => lacking.push(MissingCapability::Resp3),
                Err(Unusable::HungUp(capability)) => {
                    order.progress.failed(Cause::HandshakeClosed);
                    hung_up.push(capability);
                    drop(wire);
                    self.pause_after_hangup().await;
                }
            }
        }
    }

    /// Keeps the pace of the server, which may hang up at everybody.
    async fn pause_after_hangup(&self) {
        let (pause, part) = (self.pace.wait_again(), self.config.connect_timeout / 4);
        if part < SHORT {
            // The pace alone would take all of the attempt's time, again and again.
            timeout(part, pause).await.ok();
        } else {
            pause.await;
        }
    }

    /// What is said to a new connection; of what we can do without, that which is asked.
    fn greeting(
        &self,
        order: &Order<'_>,
        is_asked: impl Fn(MissingCapability) -> bool,
    ) -> Greeting {
        let mut greeting = if is_asked(MissingCapability::Resp3) {
            Greeting::in_resp3(&order.login)
        } else {
            Greeting::in_resp2(&order.login)
        };
        if is_asked(MissingCapability::ClientSetname) {
            greeting = greeting.name(&self.client_name(order.purpose));
        }
        if is_asked(MissingCapability::ClientSetinfo) {
            greeting = greeting.library();
        }
        let is_lane = matches!(order.purpose, Purpose::Lane(_));
        if is_lane && is_asked(MissingCapability::ScriptLoad) {
            greeting = greeting.scripts(&self.scripts);
        }
        greeting
    }

    /// What an attempt was waiting for when its time was up.
    pub(super) fn overdue(&self, progress: &Progress) -> Cause {
        let password_file = self.config.password_file.as_deref();
        if password_file.is_some_and(|path| is_being_read(path, LARGEST_PASSWORD)) {
            return Cause::FileTimeout(ConfigFile::Password);
        }
        awaited(&self.address, &self.config.tls).unwrap_or_else(|| progress.overdue())
    }

    /// The login, with the password that the file holds now.
    async fn login(&self) -> Result<Login, Cause> {
        let password = match &self.config.password_file {
            Some(path) => Some(password_in(path).await?),
            None => None,
        };
        Ok(self.address.login(password))
    }

    fn client_name(&self, purpose: Purpose) -> String {
        let name = format!(
            "{}:{}:{purpose}:{}",
            self.config.client_name,
            self.endpoint,
            std::process::id()
        );
        // Redis refuses names with white space or anything that does not print.
        name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
    }
}

/// The password in a file, without a line end.
async fn password_in(path: &Path) -> Result<String, Cause> {
    let bytes = read_file(ConfigFile::Password, path, LARGEST_PASSWORD).await?;
    let mut text = String::from_utf8(bytes).map_err(|_| Cause::PasswordFile)?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Some(text).filter(|password| !password.is_empty()).ok_or(Cause::PasswordFile)
}

const LARGEST_PASSWORD: u64 = 4096;
/// A quarter of `connect_timeout` below which the pace of a server is not waited for in full.
const SHORT: Duration = Duration::from_millis(100);
