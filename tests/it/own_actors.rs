//! Actors of a service's own, and what they are made from.

use mainstay::actor::{Actor, BoxError, Cx, Reply, Request, Server};
use mainstay::{Cache, prelude::*};

use crate::support::{App, Server as Redis, config};

/// Stores one more; the reply is the sum.
struct Store;
impl Request for Store {
    type Reply = u64;
}

enum Message {
    Store(Store, Reply<u64>),
    Stored(Result<u64>, Reply<u64>),
}

struct Keeper {
    cache: Cache,
    key: String,
}

impl Server for Keeper {
    type Message = Message;
    type State = ();

    async fn init(&self, _: &Cx<Message>) -> Result<(), BoxError> {
        Ok(())
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), BoxError> {
        match message {
            Message::Store(Store, reply) => {
                let (cache, key) = (self.cache.clone(), self.key.clone());
                let store = async move { Ok(cache.get().await?.incr(key, 1).await?) };
                cx.task("store", store, |stored| Message::Stored(stored, reply));
            }
            Message::Stored(stored, reply) => reply.send(stored?),
        }
        Ok(())
    }
}

async fn store(store: Recipient<Store>) -> Result<String> {
    Ok(store.ask(Store).await?.to_string())
}

#[tokio::test]
async fn an_actor_of_the_services_own_has_the_way_to_redis_from_its_first_message() {
    let redis = Redis::start().await;
    let app = App::start_with(config(redis.url()), |builder| {
        builder
            .with_actor_using(|resources| {
                let (cache, name) = (resources.cache()?, resources.config().service.name.clone());
                let keeper = move || Keeper { cache: cache.clone(), key: format!("{name}:stored") };
                Ok(Actor::new("keeper", keeper).accepts(Message::Store))
            })
            .with_routes(Router::new().route("/store", get(store)))
    })
    .await;
    app.becomes_ready().await;
    for sum in ["1", "2"] {
        assert_eq!(app.get("/store").await.text, sum);
    }
    assert_eq!(redis.ask::<u64>(&["GET", "it:stored"]).await, 2);
    app.end().await;
}

#[tokio::test]
async fn an_actor_that_cannot_be_made_keeps_the_service_from_starting() {
    let service = ServiceBuilder::new()
        .with_config(config("redis://127.0.0.1:1"))
        .with_actor_using(|resources| {
            let cache = resources.cache_of("limits")?;
            let keeper = move || Keeper { cache: cache.clone(), key: "stored".into() };
            Ok(Actor::new("keeper", keeper).accepts(Message::Store))
        })
        .build();
    let error = service.bind().await.unwrap_err();
    let line = format!("{error:?}");
    assert!(matches!(error, Error::Start(_)), "{line}");
    assert!(line.contains("cannot be made") && line.contains("limits"), "{line}");
}
