//! The ways to Redis that are compared.

#[cfg(feature = "fred")]
use std::thread::available_parallelism;
#[cfg(any(feature = "fred", feature = "rustis"))]
use std::time::Duration;

#[cfg(feature = "bb8")]
use bb8_redis::{RedisConnectionManager, bb8};
use benches::until;
#[cfg(feature = "fred")]
use fred::interfaces::{ClientLike, KeysInterface};
use mainstay_actors::cache::Cache;
use mainstay_actors::redis::{Config, Error};
use mainstay_actors::tree::{Setup, Tree};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, Client, IntoConnectionInfo, pipe};
#[cfg(feature = "rustis")]
use rustis::commands::StringCommands;

use crate::PATIENCE;

pub(crate) const KEY: &str = "session:4f9a2c";
pub(crate) const VALUE: &str = "twenty bytes of text";
/// The most connections of a pool, ours included.
const POOL: u32 = 50;
/// As a `CacheConn` and the redis crate have by default, and fred and rustis have not.
#[cfg(any(feature = "fred", feature = "rustis"))]
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// Rivals that this build contains.
pub(crate) const RIVALS: &[&str] = &[
    #[cfg(feature = "deadpool")]
    "deadpool",
    #[cfg(feature = "bb8")]
    "bb8",
    "bare",
    "bare_nodelay",
    #[cfg(feature = "fred")]
    "fred",
    #[cfg(feature = "fred")]
    "fred_pool",
    #[cfg(feature = "rustis")]
    "rustis",
];
/// Those that a feature of this package turns on, and the feature.
pub(crate) const OPTIONAL: [(&str, &str); 5] = [
    ("deadpool", "deadpool"),
    ("bb8", "bb8"),
    ("fred", "fred"),
    ("fred_pool", "fred"),
    ("rustis", "rustis"),
];
/// `CacheConn` itself with other numbers of lanes, and with commands that have a connection to themselves.
pub(crate) const VARIANTS: &[&str] = &["lanes_1", "lanes_2", "lanes_4", "pinned"];

/// One way to Redis; a clone for each task.
#[derive(Clone)]
pub(crate) enum Path {
    CacheConn(Cache),
    /// The same with its own tree, which ends with it.
    Variant {
        cache: Cache,
        _tree: Tree,
    },
    Pinned(Cache),
    /// The same, where Redis is away.
    Refused(Cache),
    #[cfg(feature = "deadpool")]
    Deadpool(deadpool_redis::Pool),
    #[cfg(feature = "bb8")]
    Bb8(bb8::Pool<RedisConnectionManager>),
    Bare(MultiplexedConnection),
    #[cfg(feature = "fred")]
    Fred(fred::clients::Client),
    #[cfg(feature = "fred")]
    FredPool(fred::clients::Pool),
    #[cfg(feature = "rustis")]
    Rustis(rustis::client::Client),
}

impl Path {
    /// The one called `name`, which is among [`RIVALS`] or [`VARIANTS`].
    pub(crate) async fn to_rival(name: &str, url: &str, ours: &Cache) -> Self {
        match name {
            "pinned" => Self::Pinned(ours.clone()),
            "lanes_1" | "lanes_2" | "lanes_4" => {
                let lanes = name[6..].parse().expect("a number follows");
                let tree = tree(config(url, Some(lanes))).await;
                Self::Variant { cache: tree.cache(), _tree: tree }
            }
            #[cfg(feature = "deadpool")]
            "deadpool" => {
                let mut config = deadpool_redis::Config::from_url(url);
                let most = usize::try_from(POOL).expect("there is room for as many");
                config.pool = Some(deadpool_redis::PoolConfig::new(most));
                let runtime = Some(deadpool_redis::Runtime::Tokio1);
                Self::Deadpool(config.create_pool(runtime).expect("the url is valid"))
            }
            #[cfg(feature = "bb8")]
            "bb8" => {
                let manager = RedisConnectionManager::new(url).expect("the url is valid");
                let pool = bb8::Pool::builder().max_size(POOL).build(manager).await;
                Self::Bb8(pool.expect("the server answers"))
            }
            #[cfg(feature = "fred")]
            "fred" => {
                let client = fred_builder(url).build().expect("the url is valid");
                client.init().await.expect("the server answers");
                Self::Fred(client)
            }
            #[cfg(feature = "fred")]
            "fred_pool" => {
                let size = available_parallelism().map_or(1, usize::from);
                let pool = fred_builder(url).build_pool(size).expect("the url is valid");
                pool.init().await.expect("the server answers");
                Self::FredPool(pool)
            }
            #[cfg(feature = "rustis")]
            "rustis" => {
                let mut config: rustis::client::Config = url.parse().expect("the url is valid");
                config.command_timeout = COMMAND_TIMEOUT;
                let client = rustis::client::Client::connect(config).await;
                Self::Rustis(client.expect("the server answers"))
            }
            "bare" | "bare_nodelay" => Self::bare(url, name == "bare_nodelay").await,
            _ => unreachable!("no rival is called {name}"),
        }
    }

    pub(crate) async fn bare(url: &str, nodelay: bool) -> Self {
        let settings = TcpSettings::default().set_nodelay(nodelay);
        let info = url.into_connection_info().expect("the url is valid");
        let client = Client::open(info.set_tcp_settings(settings)).expect("the url is valid");
        let connection = client.get_multiplexed_async_connection().await;
        Self::Bare(connection.expect("the server answers"))
    }

    pub(crate) async fn get(&mut self) {
        let value: String = match self {
            Self::CacheConn(cache) | Self::Variant { cache, .. } => {
                let mut conn = cache.get().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            Self::Pinned(cache) => {
                let mut conn = cache.get().await.expect("the server answers");
                conn.pin().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            Self::Refused(cache) => {
                let refused = match cache.get().await {
                    Ok(mut conn) => conn.get::<_, String>(KEY).await,
                    Err(error) => Err(error),
                };
                assert!(matches!(refused, Err(Error::Unavailable { .. })), "the breaker is open");
                return;
            }
            #[cfg(feature = "deadpool")]
            Self::Deadpool(pool) => {
                let mut conn = pool.get().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            #[cfg(feature = "bb8")]
            Self::Bb8(pool) => {
                let mut conn = pool.get().await.expect("the server answers");
                conn.get(KEY).await.expect("the server answers")
            }
            Self::Bare(conn) => conn.get(KEY).await.expect("the server answers"),
            #[cfg(feature = "fred")]
            Self::Fred(client) => client.get(KEY).await.expect("the server answers"),
            #[cfg(feature = "fred")]
            Self::FredPool(pool) => pool.get(KEY).await.expect("the server answers"),
            #[cfg(feature = "rustis")]
            Self::Rustis(client) => client.get(KEY).await.expect("the server answers"),
        };
        assert_eq!(value, VALUE);
    }

    /// The same GET so many times in one pipeline.
    pub(crate) async fn pipeline(&mut self, commands: usize) {
        let mut pipeline = pipe();
        for _ in 0..commands {
            pipeline.get(KEY);
        }
        let values: Vec<String> = match self {
            Self::CacheConn(cache) => {
                let mut conn = cache.get().await.expect("the server answers");
                pipeline.query_async(&mut *conn).await.expect("the server answers")
            }
            Self::Bare(conn) => pipeline.query_async(conn).await.expect("the server answers"),
            _ => unreachable!("pipelines are compared with the bare connection alone"),
        };
        assert_eq!((values.len(), values[0].as_str()), (commands, VALUE));
    }
}

#[cfg(feature = "fred")]
fn fred_builder(url: &str) -> fred::types::Builder {
    let config = fred::types::config::Config::from_url(url).expect("the url is valid");
    let mut builder = fred::types::Builder::from_config(config);
    builder.with_performance_config(|config| config.default_command_timeout = COMMAND_TIMEOUT);
    builder
}

pub(crate) fn config(url: &str, lanes: Option<u32>) -> Config {
    Config { url: url.to_owned(), max_connections: POOL, lanes, ..Config::default() }
}

/// A tree of ours whose Redis answers.
pub(crate) async fn tree(config: Config) -> Tree {
    let mut setup = Setup::new("bench");
    setup.redis = config;
    let tree = Tree::start(setup).await.expect("the tree starts");
    until(PATIENCE, "redis is healthy", async || tree.dependencies().iter().all(|one| one.healthy))
        .await;
    tree
}

/// Our path, after the key that all of them GET was written through it.
pub(crate) async fn filled(cache: Cache) -> Path {
    let mut conn = cache.get().await.expect("the server answers");
    conn.set(KEY, VALUE).await.expect("the server answers");
    Path::CacheConn(cache)
}
