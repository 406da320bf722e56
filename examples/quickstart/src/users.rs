//! Users: kept in SQLite, cached in Redis for five minutes.

use std::time::Duration;

use mainstay::axum::response::AppendHeaders;
use mainstay::prelude::*;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::reads::CountRead;

const CACHED_FOR: Duration = Duration::from_secs(300);
const TRY_AGAIN: Duration = Duration::from_millis(250);

#[derive(Serialize, Deserialize)]
pub struct User {
    id: i64,
    name: String,
    email: String,
}

#[derive(Deserialize)]
pub struct UserUpdate {
    name: String,
    email: String,
}

/// The table of users.
#[derive(Clone)]
pub struct Users {
    pool: SqlitePool,
}

impl Users {
    /// Opens the database, and makes it with three users where there is none.
    pub async fn open(path: &str) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS users (
                id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL
             );
             INSERT OR IGNORE INTO users VALUES
                (1, 'Ada', 'ada@example.org'),
                (2, 'Grace', 'grace@example.org'),
                (3, 'Barbara', 'barbara@example.org');",
        )
        .execute(&pool)
        .await?;
        Ok(Self { pool })
    }

    pub async fn find(&self, id: i64) -> Result<Option<User>> {
        let row: Option<(i64, String, String)> =
            sqlx::query_as("SELECT id, name, email FROM users WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.pool)
                .await
                .map_err(Error::internal)?;
        Ok(row.map(|(id, name, email)| User { id, name, email }))
    }

    async fn update(&self, user: &User) -> Result<bool> {
        let done = sqlx::query("UPDATE users SET name = ?, email = ? WHERE id = ?")
            .bind(&user.name)
            .bind(&user.email)
            .bind(user.id)
            .execute(&self.pool)
            .await
            .map_err(Error::internal)?;
        Ok(done.rows_affected() == 1)
    }
}

/// `GET /api/v1/users/{id}`: the header `x-cache` says where the answer came from.
///
/// `Option<CacheConn>` never fails: without Redis the database answers.
pub async fn read(
    State(users): State<Users>,
    Path(id): Path<i64>,
    cache: Option<CacheConn>,
    count: Recipient<CountRead>,
) -> Result<(AppendHeaders<[(&'static str, &'static str); 1]>, Json<User>)> {
    let (x_cache, user) = match cache {
        Some(conn) => through_cache(conn, &users, id).await?,
        None => ("bypass", users.find(id).await?),
    };
    let user = user.ok_or_else(|| Error::not_found(format!("there is no user {id}")))?;
    // A lost count is no harm, and no reason to fail the read.
    count.tell(CountRead { user_id: id }).ok();
    Ok((AppendHeaders([("x-cache", x_cache)]), Json(user)))
}

async fn through_cache(
    mut conn: CacheConn,
    users: &Users,
    id: i64,
) -> Result<(&'static str, Option<User>)> {
    let key = key(id);
    let cached: Option<String> = match conn.get(&key).await {
        Ok(cached) => cached,
        Err(_away) => return Ok(("bypass", users.find(id).await?)),
    };
    // What cannot be read as a user is not one: the database knows better.
    if let Some(user) = cached.and_then(|cached| serde_json::from_str(&cached).ok()) {
        return Ok(("hit", Some(user)));
    }
    let user = users.find(id).await?;
    if let Some(user) = &user {
        // If this fails, the next read tries again. If the user was changed since `find`, this puts
        // the old one back: a value that may never be old needs more than a key and its time.
        conn.set_ex(&key, serde_json::to_string(user)?, CACHED_FOR).await.ok();
    }
    Ok(("miss", user))
}

/// `PUT /api/v1/users/{id}`
pub async fn write(
    State(app): State<AppState>,
    State(users): State<Users>,
    Path(id): Path<i64>,
    Json(UserUpdate { name, email }): Json<UserUpdate>,
) -> Result<Json<User>> {
    if name.is_empty() || email.is_empty() {
        return Err(Error::unprocessable("name and email must not be empty"));
    }
    let user = User { id, name, email };
    if !users.update(&user).await? {
        return Err(Error::not_found(format!("there is no user {id}")));
    }
    forget(&app, id).await?;
    Ok(Json(user))
}

/// Invalidates the cached user. Where Redis is away this goes on in the nursery, so that what was
/// cached before the outage is not served after it.
async fn forget(app: &AppState, id: i64) -> Result<()> {
    let cache = app.cache()?;
    if delete(&cache, id).await.is_err() {
        let in_time = async move {
            while delete(&cache, id).await.is_err() {
                tokio::time::sleep(TRY_AGAIN).await;
            }
        };
        app.nursery().start("invalidate", async move {
            // After that the cached value has ended by itself.
            tokio::time::timeout(CACHED_FOR, in_time).await.ok();
        })?;
    }
    Ok(())
}

async fn delete(cache: &mainstay::Cache, id: i64) -> Result<()> {
    cache.get().await?.del(key(id)).await?;
    Ok(())
}

fn key(id: i64) -> String {
    format!("user:{id}")
}
