use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use ::redis::{ProtocolVersion, RedisConnectionInfo, RedisError};

use super::capability::{MissingCapabilities, MissingCapability};
use super::connection::Connection;
use super::exchange::{Limit, exchange};
use crate::redis::address::Address;
use crate::redis::command::{Batch, ScriptTexts};
use crate::redis::config::Config;
use crate::redis::socket::{
    Budget, CloseSignal, Permit, PreferredAddress, Purpose, Socket, Wire, is_being_read,
    open_stream, overdue, read_file,
};
use crate::redis::status::{
    Cause, ConfigFile, Error, cause_of_handshake, cause_of_login, is_refusal, knows_no_resp3,
};

/// Opens connections to one address: socket, protocol version, login and name.
pub(crate) struct Handshake {
    endpoint: Box<str>,
    address: Address,
    config: Arc<Config>,
    budget: Budget,
    scripts: ScriptTexts,
    preferred: PreferredAddress,
    cluster_hangups: AtomicU8,
    speaks_resp2: AtomicBool,
    missing: MissingCapabilities,
}

impl Handshake {
    pub(super) fn new(endpoint: &str, address: Address, config: Arc<Config>) -> Self {
        Self {
            endpoint: endpoint.into(),
            address,
            budget: Budget::new(&config),
            config,
            scripts: ScriptTexts::default(),
            preferred: PreferredAddress::default(),
            cluster_hangups: AtomicU8::new(0),
            speaks_resp2: AtomicBool::new(false),
            missing: MissingCapabilities::default(),
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

    /// Notes that the server hung up at `CLUSTER NODES`: once may be an accident.
    pub(super) fn note_cluster_hangup(&self) {
        if self.cluster_hangups.fetch_add(1, Ordering::Relaxed) > 0 {
            self.note_missing(MissingCapability::ClusterNodes);
        }
    }

    /// Notes that the server answered `CLUSTER NODES`.
    pub(super) fn note_cluster_answer(&self) {
        self.cluster_hangups.store(0, Ordering::Relaxed);
    }

    /// Whether the server was seen to lack a capability.
    pub(super) fn is_missing(&self, missing: MissingCapability) -> bool {
        self.missing.has(missing)
    }

    /// Notes that the server lacks a capability.
    pub(super) fn note_missing(&self, missing: MissingCapability) {
        self.missing.note(&self.endpoint, missing);
    }

    pub(super) async fn connection(
        &self,
        purpose: Purpose,
        permit: Permit,
    ) -> Result<Connection, Cause> {
        let login = self.login().await?;
        let closing = Arc::new(CloseSignal::default());
        let is_shared = matches!(purpose, Purpose::Lane(_));
        let open = async |login: &RedisConnectionInfo, permit| {
            let socket = self.socket(permit).await?;
            let peer = socket.peer();
            Ok((Wire::open(socket, login, is_shared, None, &closing).await?, peer))
        };
        let opened = if self.speaks_resp2() {
            open(&login, permit).await
        } else {
            match open(&in_resp3(&login), permit).await {
                failed if self.falls_back(&failed) => {
                    open(&login, self.budget.of(purpose).take().await).await
                }
                opened => opened,
            }
        };
        let (mut wire, peer) = opened.map_err(|error| cause_of_handshake(&error))?;
        self.name(&mut wire, purpose).await?;
        if matches!(purpose, Purpose::Lane(_)) {
            self.load_scripts(&mut wire).await?;
        }
        if let Some(peer) = peer {
            self.preferred.answered(peer);
        }
        Ok(Connection::new(wire, closing, self.budget.of(purpose).count()))
    }

    /// What an attempt was waiting for when its time was up.
    pub(super) fn overdue(&self) -> Cause {
        let password_file = self.config.password_file.as_deref();
        if password_file.is_some_and(|path| is_being_read(path, LARGEST_PASSWORD)) {
            return Cause::FileTimeout(ConfigFile::Password);
        }
        overdue(&self.address, &self.config.tls)
    }

    /// The login, with the password that the file holds now.
    pub(super) async fn login(&self) -> Result<RedisConnectionInfo, Cause> {
        let password = match &self.config.password_file {
            Some(path) => Some(password_in(path).await?),
            None => None,
        };
        Ok(self.address.login(password.as_deref()))
    }

    pub(super) async fn socket(&self, permit: Permit) -> Result<Socket, RedisError> {
        let opened = open_stream(&self.address, &self.config.tls, &self.preferred).await;
        let (stream, peer) = opened.map_err(Error::unavailable)?;
        Ok(Socket::new(stream, peer, permit))
    }

    /// Tells the server what the connection is for.
    pub(super) async fn name(&self, wire: &mut Wire, purpose: Purpose) -> Result<(), Cause> {
        let name = ::redis::cmd("CLIENT").arg("SETNAME").arg(self.client_name(purpose)).take();
        let named = exchange(wire, &name, Limit::NONE).await.into_result();
        let named = named.map_err(|error| cause_of_handshake(&error))?;
        // Without permission for CLIENT our connections have no names.
        if is_refusal(&named) {
            self.note_missing(MissingCapability::ClientSetname);
        }
        cause_of_login(&named).map_or(Ok(()), Err)
    }

    pub(super) fn speaks_resp2(&self) -> bool {
        self.speaks_resp2.load(Ordering::Relaxed)
    }

    /// Whether an attempt failed only because the server does not speak RESP3. Then RESP2 is spoken from now on.
    pub(super) fn falls_back<T>(&self, opened: &Result<T, RedisError>) -> bool {
        let falls_back = opened.as_ref().is_err_and(knows_no_resp3);
        if falls_back {
            self.speaks_resp2.store(true, Ordering::Relaxed);
            self.note_missing(MissingCapability::Resp3);
        }
        falls_back
    }

    async fn load_scripts(&self, wire: &mut Wire) -> Result<(), Cause> {
        let Some(loading) = self.scripts.loading() else { return Ok(()) };
        let loaded = exchange(wire, &Batch(&loading), Limit::NONE).await.into_result();
        let loaded = loaded.map_err(|error| cause_of_handshake(&error))?;
        // The user may lack permission for SCRIPT, or a script may not compile: calling it returns the error.
        if loaded.iter().any(is_refusal) {
            self.note_missing(MissingCapability::ScriptLoad);
        }
        Ok(())
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

pub(super) fn in_resp3(login: &RedisConnectionInfo) -> RedisConnectionInfo {
    login.clone().set_protocol(ProtocolVersion::RESP3)
}

/// The password in a file, without a line end.
async fn password_in(path: &Path) -> Result<String, Cause> {
    let bytes = read_file(ConfigFile::Password, path, LARGEST_PASSWORD).await?;
    let mut text = String::from_utf8(bytes).map_err(|_| Cause::PasswordFile)?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Some(text).filter(|password| !password.is_empty()).ok_or(Cause::PasswordFile)
}

const LARGEST_PASSWORD: u64 = 4096;
