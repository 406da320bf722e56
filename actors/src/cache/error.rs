use crate::Outcome;

/// No endpoint has the name that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no redis endpoint is called {name:?}; {}", listed(known))]
pub struct NoEndpoint {
    /// The name that was asked for.
    pub name: String,
    /// The names of the endpoints that exist.
    pub known: Vec<String>,
}

impl NoEndpoint {
    /// What this failure means to the caller: a bug, in the service or in its configuration. Answers from memory.
    pub fn outcome(&self) -> Outcome {
        Outcome::Bug
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "there is none beside the default one, see [redis.endpoints.<name>]".to_owned()
    } else {
        format!("known are {}", known.join(", "))
    }
}
