//! The page's keys and variables, each with the value that the service then runs with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acton_service::Config;
use acton_service::cache;
use acton_service::config::{Environment, Error};

/// A machine on which the service `my-service` is started, by a user who has a file for it.
#[derive(Debug, Default)]
pub(super) struct World {
    file: Option<String>,
    variables: BTreeMap<&'static str, String>,
}

impl World {
    pub(super) fn with_file(text: impl Into<String>) -> Self {
        Self { file: Some(text.into()), ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    pub(super) fn load(&self) -> Config {
        self.try_load().unwrap_or_else(|error| panic!("{error}"))
    }

    fn redis(&self) -> cache::Config {
        self.load().redis
    }

    fn try_load(&self) -> Result<Config, Error> {
        Config::load_from(self, None).map(|loaded| loaded.config)
    }
}

impl Environment for World {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        let own = self.variables.iter().map(|(name, value)| ((*name).into(), value.into()));
        own.chain([("HOME".into(), "/home/ada".into())]).collect()
    }

    fn current_directory(&self) -> Option<PathBuf> {
        Some("/srv".into())
    }

    fn program(&self) -> Option<String> {
        Some("my-service".to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let is_here = path == "/home/ada/.config/acton-service/my-service/config.toml";
        self.file.clone().filter(|_| is_here).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sees(&self, _path: &Path) -> bool {
        true
    }
}

// acton 23
#[test]
fn a_service_that_is_told_nothing_has_the_defaults_of_the_page() {
    let redis = World::default().redis();
    assert_eq!(redis.url, "redis://localhost:6379");
    assert_eq!(redis.max_connections, 50);
    assert_eq!(redis.connection_timeout, Duration::from_secs(30));
    assert_eq!(redis.recycle_timeout, Duration::from_secs(300));
    assert!(!redis.optional);
    assert_eq!(World::default().load().service.port, 8080);
}

#[test]
fn each_key_is_read_from_the_file_of_the_user() {
    let redis = World::with_file(
        "[redis]
         url = 'redis://cache.example:6390'
         max_connections = 12
         optional = true
         connection_timeout = '20s'
         recycle_timeout = '7m'",
    )
    .redis();
    assert_eq!(redis.url, "redis://cache.example:6390");
    assert_eq!(redis.max_connections, 12);
    assert!(redis.optional);
    assert_eq!(redis.connection_timeout, Duration::from_secs(20));
    assert_eq!(redis.recycle_timeout, Duration::from_secs(420));
    assert!(!World::with_file("[redis]\noptional = false").redis().optional);
}

#[test]
fn the_variables_of_the_page_win_over_the_file() {
    let world = World::with_file("[redis]\nurl = 'redis://old:1'\nmax_connections = 1")
        .with("ACTON_REDIS_URL", "redis://cache.example:6379")
        .with("ACTON_REDIS_MAX_CONNECTIONS", "100");
    assert_eq!(world.redis().url, "redis://cache.example:6379");
    assert_eq!(world.redis().max_connections, 100);
}

#[cfg(feature = "tls")]
#[test]
fn an_address_with_tls_is_accepted() {
    let url = "rediss://cache.example:6380";
    for world in [
        World::with_file(format!("[redis]\nurl = {url:?}")),
        World::default().with("ACTON_REDIS_URL", url),
    ] {
        assert_eq!(world.redis().url, url);
        world.load().validate().unwrap();
    }
}

#[test]
fn a_list_of_nodes_is_refused_in_words() {
    let url = "redis://node1:6379,redis://node2:6379,redis://:sesame@node3:6379";
    let world = World::with_file(format!("[redis]\nurl = {url:?}\nmax_connections = 100"));
    let error = world.try_load().unwrap_err().to_string();
    for part in [
        "redis.url",
        "/home/ada/.config/acton-service/my-service/config.toml",
        "one address: a cluster's list of nodes is not supported yet",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("sesame"), "{error}");
}

#[tokio::test]
async fn a_list_of_nodes_does_not_start() {
    let mut config = Config::default();
    config.redis.url = "redis://node1:6379,redis://node2:6379".into();
    let service = acton_service::ServiceBuilder::new().with_config(config).build();
    let error = service.serve().await.unwrap_err();
    assert!(format!("{error:?}").contains("list of nodes is not supported yet"), "{error:?}");
}
