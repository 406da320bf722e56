//! What a handler may ask for in its arguments.

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::{AppState, Draining, Error, Recipient};

impl<S, M> FromRequestParts<S> for Recipient<M>
where
    S: Send + Sync,
    M: 'static,
    AppState: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(_parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Ok(AppState::from_ref(state).recipient()?)
    }
}

impl<S> FromRequestParts<S> for Draining
where
    S: Send + Sync,
    AppState: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(_parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(AppState::from_ref(state).draining())
    }
}

#[cfg(feature = "cache")]
mod cache {
    use std::convert::Infallible;

    use axum::extract::OptionalFromRequestParts;
    use mainstay_actors::deadline;
    use tokio::time::Instant;

    use super::{AppState, Error, FromRef, FromRequestParts, Parts};
    use crate::CacheConn;

    impl<S> FromRequestParts<S> for CacheConn
    where
        S: Send + Sync,
        AppState: FromRef<S>,
    {
        type Rejection = Error;

        async fn from_request_parts(_parts: &mut Parts, state: &S) -> Result<Self, Error> {
            Ok(AppState::from_ref(state).cache()?.get().await?)
        }
    }

    impl<S> OptionalFromRequestParts<S> for CacheConn
    where
        S: Send + Sync,
        AppState: FromRef<S>,
    {
        type Rejection = Infallible;

        async fn from_request_parts(
            _parts: &mut Parts,
            state: &S,
        ) -> Result<Option<Self>, Infallible> {
            let Ok(cache) = AppState::from_ref(state).cache() else { return Ok(None) };
            // A handler that can do without needs the other half of its time for that.
            let conn = match deadline::current() {
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    deadline::scope(end - left / 2, cache.get()).await
                }
                None => cache.get().await,
            };
            Ok(conn.ok())
        }
    }
}
