use std::sync::Arc;

use arc_swap::ArcSwap;

/// The text of a Lua script.
#[derive(Debug)]
pub(crate) struct ScriptText {
    text: Box<str>,
    digest: String,
}

/// The texts of the scripts that were called so far. New lanes load them before they are used.
#[derive(Debug, Default)]
pub(crate) struct ScriptTexts {
    known: ArcSwap<Vec<Arc<ScriptText>>>,
}

impl ScriptText {
    pub(crate) fn new(text: Box<str>) -> Self {
        let digest = ::redis::Script::new(&text).get_hash().to_owned();
        Self { text, digest }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Its SHA-1 digest, in 40 hexadecimal digits.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

impl ScriptTexts {
    /// Adds a script, unless there are 256 already: then it is loaded when it is called.
    pub(crate) fn remember(&self, script: &Arc<ScriptText>) {
        self.known.rcu(|known| {
            let mut known = Vec::clone(known);
            let is_known = known.iter().any(|one| one.digest() == script.digest());
            if known.len() < MOST_KNOWN && !is_known {
                known.push(Arc::clone(script));
            }
            known
        });
    }

    /// The commands that load all of them.
    pub(crate) fn loading(&self) -> Vec<::redis::Cmd> {
        let load = |script: &Arc<ScriptText>| {
            ::redis::cmd("SCRIPT").arg("LOAD").arg(script.as_str()).take()
        };
        self.known.load().iter().map(load).collect()
    }
}

const MOST_KNOWN: usize = 256;
