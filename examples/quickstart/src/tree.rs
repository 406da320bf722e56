//! A look at the supervised tree, and a stone to throw at it.

use mainstay::actor::TreeSnapshot;
use mainstay::cache::PoolStatus;
use mainstay::prelude::*;

/// `GET /api/v1/tree`
pub async fn read(State(app): State<AppState>) -> Json<TreeSnapshot> {
    Json(app.tree())
}

/// `GET /api/v1/cache/status`
pub async fn cache_status(State(app): State<AppState>) -> Result<Json<PoolStatus>> {
    Ok(Json(app.cache()?.status()))
}

/// `POST /api/v1/tree/{actor}/crash`, with `QUICKSTART_CHAOS=1` only
pub async fn crash(State(app): State<AppState>, Path(actor): Path<String>) -> Result<StatusCode> {
    let is_actor = app.tree().find(&actor).is_some_and(|found| found.mailbox.is_some());
    if !is_actor {
        return Err(Error::not_found(format!("there is no actor {actor}")));
    }
    app.inject_panic(&actor)
        .map_err(|_fallen| Error::conflict(format!("{actor} has fallen and is not back yet")))?;
    Ok(StatusCode::ACCEPTED)
}
