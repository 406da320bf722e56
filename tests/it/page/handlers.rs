//! Handlers as readers of the page would write them. No module imports more than the page does, but for the
//! stand-in of the database.
//!
//! Where `AsyncCommands` is expected not to be used, every command is a method of `CacheConn`: with our errors, and
//! without annotations.

use acton_service::prelude::*;

pub(super) fn routes(router: Router<AppState>) -> Router<AppState> {
    router
        .route("/books/{id}", get(basic_usage::book).put(invalidation::rename))
        .route("/sessions", post(session_storage::begin))
        .route("/sales/{month}", get(cache_aside::sales))
        .route("/news", get(degradation::news))
        .route("/fallback", get(degradation::fallback))
        .route("/pool", get(pool_monitoring::pool))
        .route("/pipeline", get(pipelining::strings))
        .route("/pipeline/options", get(pipelining::options))
        .route("/with-end", get(ends::with))
        .route("/without-end", get(ends::without))
        .route("/other-name", get(other_name::write))
        .route("/errors/pool", get(errors::of_the_pool))
        .route("/errors/redis", get(errors::of_redis))
        .route("/errors/crate", get(errors::of_the_crate))
        .route("/errors/json", get(errors::of_json))
}

mod basic_usage {
    use acton_service::prelude::*;
    #[expect(unused_imports, reason = "the page has it")]
    use redis::AsyncCommands;

    use super::super::{Extension, Source};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Book {
        pub(super) id: i64,
        pub(super) title: String,
        pub(super) asked: usize,
    }

    pub(super) async fn book(
        State(state): State<AppState>,
        Extension(source): Extension<Source>,
        Path(id): Path<i64>,
    ) -> Result<Json<Book>> {
        let cache = state.cache()?;
        let mut conn = cache.get().await?;

        let key = format!("book:{id}");
        if let Ok(text) = conn.get::<_, String>(&key).await
            && let Ok(book) = serde_json::from_str(&text)
        {
            return Ok(Json(book));
        }

        let book = Book { id, title: format!("title {id}"), asked: source.ask() };
        let text = serde_json::to_string(&book)?;
        conn.set_ex(&key, text, 300).await?;
        Ok(Json(book))
    }
}

mod session_storage {
    use acton_service::prelude::*;
    #[expect(unused_imports, reason = "the page has it")]
    use redis::AsyncCommands;

    #[derive(Deserialize)]
    pub(super) struct Login {
        reader: i64,
    }

    #[derive(Serialize)]
    struct Session {
        reader: i64,
        begun: chrono::DateTime<chrono::Utc>,
    }

    #[derive(Serialize)]
    pub(super) struct Begun {
        id: String,
    }

    pub(super) async fn begin(
        State(state): State<AppState>,
        Json(login): Json<Login>,
    ) -> Result<Json<Begun>> {
        let cache = state.cache()?;
        let mut conn = cache.get().await?;
        let id = uuid::Uuid::new_v4().to_string();
        let session =
            serde_json::to_string(&Session { reader: login.reader, begun: chrono::Utc::now() })?;
        conn.set_ex(&format!("session:{id}"), session, 3600).await?;
        Ok(Json(Begun { id }))
    }
}

mod cache_aside {
    use acton_service::prelude::*;
    #[expect(unused_imports, reason = "the page has it")]
    use redis::AsyncCommands;

    use super::super::{Extension, Source};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Sales {
        month: String,
        asked: usize,
    }

    async fn add_up(source: &Source, month: &str) -> Result<Sales> {
        tokio::task::yield_now().await;
        Ok(Sales { month: month.to_owned(), asked: source.ask() })
    }

    pub(super) async fn sales(
        State(state): State<AppState>,
        Extension(source): Extension<Source>,
        Path(month): Path<String>,
    ) -> Result<Json<Sales>> {
        let cache = state.cache()?;
        let mut conn = cache.get().await?;
        let key = format!("sales:{month}");
        if let Ok(text) = conn.get::<_, String>(&key).await
            && let Ok(sales) = serde_json::from_str(&text)
        {
            return Ok(Json(sales));
        }
        let sales = add_up(&source, &month).await?;
        let text = serde_json::to_string(&sales)?;
        conn.set_ex(&key, text, 900).await?;
        Ok(Json(sales))
    }
}

mod invalidation {
    use acton_service::prelude::*;
    #[expect(unused_imports, reason = "the page has it")]
    use redis::AsyncCommands;

    use super::super::{Extension, Source};
    use super::basic_usage::Book;

    #[derive(Deserialize)]
    pub(super) struct Change {
        title: String,
    }

    pub(super) async fn rename(
        State(state): State<AppState>,
        Extension(source): Extension<Source>,
        Path(id): Path<i64>,
        Json(change): Json<Change>,
    ) -> Result<Json<Book>> {
        let cache = state.cache()?;
        let book = Book { id, title: change.title, asked: source.ask() };
        let mut conn = cache.get().await?;
        let key = format!("book:{id}");
        conn.del(&key).await?;
        Ok(Json(book))
    }
}

mod degradation {
    use acton_service::Cache;
    use acton_service::prelude::*;
    #[expect(unused_imports, reason = "the page has it")]
    use redis::AsyncCommands;

    use super::super::{Extension, Source};

    #[derive(Serialize, Deserialize)]
    pub(super) struct News {
        text: String,
    }

    pub(super) async fn news(
        State(state): State<AppState>,
        Extension(source): Extension<Source>,
    ) -> Result<Json<News>> {
        if let Ok(cache) = state.cache()
            && let Ok(mut conn) = cache.get().await
            && let Ok(text) = conn.get::<_, String>("news").await
            && let Ok(news) = serde_json::from_str(&text)
        {
            return Ok(Json(news));
        }
        Ok(Json(from_source(&source)))
    }

    pub(super) async fn fallback(
        State(state): State<AppState>,
        Extension(source): Extension<Source>,
    ) -> Result<Json<News>> {
        if let Ok(cache) = state.cache()
            && let Ok(news) = from_cache(&cache).await
        {
            return Ok(Json(news));
        }
        Ok(Json(from_source(&source)))
    }

    async fn from_cache(cache: &Cache) -> Result<News> {
        let mut conn = cache.get().await?;
        let text = conn.get::<_, String>("news").await?;
        Ok(serde_json::from_str(&text)?)
    }

    fn from_source(source: &Source) -> News {
        News { text: format!("source {}", source.ask()) }
    }
}

mod pool_monitoring {
    use acton_service::prelude::*;

    pub(super) async fn pool(State(state): State<AppState>) -> Result<Json<PoolStats>> {
        let cache = state.cache()?;
        let shown = PoolStats {
            max_size: cache.status().max_size,
            size: cache.status().size,
            available: cache.status().available,
        };
        Ok(Json(shown))
    }
}

mod pipelining {
    use acton_service::prelude::*;
    use redis::pipe;

    pub(super) async fn strings(State(state): State<AppState>) -> Result<Json<Vec<String>>> {
        let cache = state.cache()?;
        let mut conn = cache.get().await?;
        let values: Vec<String> =
            pipe().get("key1").get("key2").get("key3").query_async(&mut *conn).await?;
        Ok(Json(values))
    }

    pub(super) async fn options(
        State(state): State<AppState>,
    ) -> Result<Json<Vec<Option<String>>>> {
        let cache = state.cache()?;
        let mut conn = cache.get().await?;
        let values: Vec<Option<String>> =
            pipe().get("key1").get("key2").get("key3").query_async(&mut *conn).await?;
        Ok(Json(values))
    }
}

mod ends {
    use acton_service::prelude::*;
    #[expect(unused_imports, reason = "the page has it")]
    use redis::AsyncCommands;

    pub(super) async fn with(mut conn: CacheConn) -> Result<Json<()>> {
        conn.set_ex("key", "value", 3600).await?;
        Ok(Json(()))
    }

    pub(super) async fn without(mut conn: CacheConn) -> Result<Json<()>> {
        conn.set("key", "value").await?;
        Ok(Json(()))
    }
}

mod other_name {
    use acton_service::prelude::*;

    pub(super) async fn write(State(state): State<AppState>) -> Result<Json<()>> {
        let mut conn = state.redis()?.get().await?;
        conn.set("by", "redis()").await?;
        Ok(Json(()))
    }
}

mod errors {
    use acton_service::prelude::*;
    use redis::AsyncCommands;

    pub(super) async fn of_the_pool(State(state): State<AppState>) -> Result<StatusCode> {
        state.cache()?.get().await?;
        Ok(StatusCode::OK)
    }

    /// By a method of `CacheConn`.
    pub(super) async fn of_redis(mut conn: CacheConn) -> Result<String> {
        Ok(conn.get::<_, String>("list").await?)
    }

    /// By the redis crate.
    pub(super) async fn of_the_crate(mut conn: CacheConn) -> Result<String> {
        Ok(conn.hget::<_, _, String>("list", "field").await?)
    }

    pub(super) async fn of_json(mut conn: CacheConn) -> Result<Json<Vec<u64>>> {
        let text = conn.lpop::<_, String>("list", None).await?;
        Ok(Json(serde_json::from_str(&text)?))
    }
}
