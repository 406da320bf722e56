use std::sync::atomic::{AtomicU8, Ordering};

/// Something that a server lacks or does not permit, and that we can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingCapability {
    Resp3,
    ClientSetname,
    ScriptLoad,
    CommandInfo,
    ClusterNodes,
}

/// The capabilities that were missing so far. Each is logged once.
#[derive(Debug, Default)]
pub(crate) struct MissingCapabilities {
    noted: AtomicU8,
}

impl MissingCapabilities {
    /// Whether it was missing.
    pub(crate) fn has(&self, missing: MissingCapability) -> bool {
        self.noted.load(Ordering::Relaxed) & (1 << missing as u8) != 0
    }

    /// Logs it, the first time.
    pub(crate) fn note(&self, endpoint: &str, missing: MissingCapability) {
        let bit = 1 << missing as u8;
        if self.noted.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::info!(endpoint, "{}", missing.meaning());
        }
    }
}

impl MissingCapability {
    fn meaning(self) -> &'static str {
        match self {
            Self::Resp3 => "redis has no RESP3, so RESP2 is spoken",
            Self::ClientSetname => {
                "redis refuses CLIENT SETNAME, so our connections have no names in CLIENT LIST"
            }
            Self::ScriptLoad => {
                "redis refuses SCRIPT LOAD, so scripts are not loaded before they are called"
            }
            Self::CommandInfo => {
                "redis refuses COMMAND INFO, so each command that we do not know takes a connection of its own"
            }
            Self::ClusterNodes => {
                "redis hangs up at CLUSTER NODES, so it is not asked whether it is a node of a cluster"
            }
        }
    }
}
