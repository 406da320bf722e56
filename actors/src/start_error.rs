//! Why a tree did not start.

use mainstay_supervision::{BoxError, StartError as SystemError};

#[cfg(feature = "cache")]
use crate::redis;

/// Why the tree did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The default Redis endpoint cannot be used.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    Redis(#[from] redis::Error),
    /// An endpoint beside the default one cannot be used.
    #[cfg(feature = "cache")]
    #[error("the redis endpoint {name} cannot be used")]
    Endpoint {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<Self>,
    },
    /// The embedded redis-server cannot be started, or its directory cannot be created.
    #[cfg(feature = "embedded")]
    #[error(transparent)]
    Embedded(#[from] crate::embedded::Error),
    /// The service was built without the feature that `url = "embedded"` needs.
    #[cfg(all(feature = "cache", not(feature = "embedded")))]
    #[error(
        "url = \"embedded\" needs the feature `embedded`: build with it, or set the url of a \
         redis that runs"
    )]
    EmbeddedNotBuilt,
    /// One of the service's own actors could not be constructed.
    #[error("an actor of the service's own cannot be made")]
    Actor(#[source] BoxError),
    /// The actors do not fit together, or one of them did not start.
    #[error(transparent)]
    Actors(#[from] SystemError),
}
