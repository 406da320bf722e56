//! A service that keeps its users in SQLite, caches them in Redis, keeps sessions there, and counts
//! reads in an actor of its own.
//!
//! Run `scripts/quickstart`, or `cargo run -p quickstart`. It prints where it listens and what to
//! try: read a user twice, kill the Redis server, crash an actor.
#![allow(unreachable_pub, reason = "a program exports nothing: `pub` is how it reads")]

mod reads;
mod sessions;
mod tree;
mod users;
mod welcome;

use std::net::Ipv4Addr;

use mainstay::Config;
use mainstay::actor::Actor;
use mainstay::axum::extract::FromRef;
use mainstay::prelude::*;

use reads::Reads;
use users::Users;

const DATABASE: &str = "quickstart.db";

/// What the handlers share: the service's state, and a database of our own beside it.
#[derive(Clone)]
struct Quickstart {
    app: AppState,
    users: Users,
}

impl FromRef<Quickstart> for AppState {
    fn from_ref(state: &Quickstart) -> Self {
        state.app.clone()
    }
}

impl FromRef<Quickstart> for Users {
    fn from_ref(state: &Quickstart) -> Self {
        state.users.clone()
    }
}

fn routes(with_chaos: bool) -> Router<Quickstart> {
    VersionedApiBuilder::new()
        .with_base_path("/api")
        .add_version(ApiVersion::V1, |router| {
            let router = router
                .route("/users/{id}", get(users::read).put(users::write))
                .route("/users/{id}/reads", get(reads::read))
                .route("/sessions", post(sessions::create))
                .route("/sessions/{id}", get(sessions::read))
                .route("/cache/status", get(tree::cache_status))
                .route("/tree", get(tree::read));
            if with_chaos { router.route("/tree/{actor}/crash", post(tree::crash)) } else { router }
        })
        .build_routes()
}

#[expect(clippy::disallowed_methods, reason = "what only an example needs is not configuration")]
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// On this machine alone, and with a Redis of its own where none is named.
fn by_default_at_home(config: &mut Config) {
    config.service.bind = Ipv4Addr::LOCALHOST.into();
    let is_default = config.redis.url == Config::default().redis.url;
    if is_default && !is_set("ACTON_REDIS_URL") && !is_set("MAINSTAY_REDIS_URL") {
        config.redis.url = "embedded".into();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let with_chaos = is_set("QUICKSTART_CHAOS");
    let users = Users::open(DATABASE).await.map_err(|error| {
        Error::internal(format!("cannot use {DATABASE} in the current directory: {error}"))
    })?;

    let service = ServiceBuilder::new()
        .with_name("quickstart")
        .configure(by_default_at_home)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_state(|app| Quickstart { app, users })
        .with_routes(routes(with_chaos))
        .with_actor(
            Actor::new("reads", || Reads)
                .accepts(reads::Message::Count)
                .accepts(reads::Message::GetReads),
        )
        .build()
        .bind()
        .await?;
    welcome::print(service.local_addr(), service.state(), with_chaos);
    service.serve().await
}
