//! Sessions live in Redis alone: without it they are a 503, and the client may try again.

use mainstay::prelude::*;

use crate::users::Users;

const LIFETIME_SECONDS: u64 = 3600;

#[derive(Deserialize)]
pub struct NewSession {
    user_id: i64,
}

#[derive(Serialize)]
pub struct CreatedSession {
    session_id: uuid::Uuid,
}

#[derive(Serialize, Deserialize)]
pub struct Session {
    user_id: i64,
    created_at: chrono::DateTime<chrono::Utc>,
}

/// `POST /api/v1/sessions`
pub async fn create(
    State(users): State<Users>,
    mut conn: CacheConn,
    Json(NewSession { user_id }): Json<NewSession>,
) -> Result<(StatusCode, Json<CreatedSession>)> {
    if users.find(user_id).await?.is_none() {
        return Err(Error::unprocessable(format!("there is no user {user_id}")));
    }
    let session_id = uuid::Uuid::new_v4();
    let session = Session { user_id, created_at: chrono::Utc::now() };
    let session = serde_json::to_string(&session)?;
    conn.set_ex(format!("session:{session_id}"), session, LIFETIME_SECONDS).await?;
    Ok((StatusCode::CREATED, Json(CreatedSession { session_id })))
}

/// `GET /api/v1/sessions/{id}`
pub async fn read(mut conn: CacheConn, Path(session_id): Path<String>) -> Result<Json<Session>> {
    let session: Option<String> = conn.get(format!("session:{session_id}")).await?;
    let session = session.ok_or_else(|| Error::not_found("there is no such session"))?;
    Ok(Json(serde_json::from_str(&session)?))
}
