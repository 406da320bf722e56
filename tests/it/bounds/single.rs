//! One lease, and everybody wants it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use mainstay_actors::cache::Cache;
use mainstay_actors::redis::{Error, Script};
use redis::AsyncCommands;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Server, tree};

const CALLERS: usize = 200;
/// Whoever is not done by then hangs.
const HUNG: Duration = Duration::from_secs(60);

type Done = BoxFuture<'static, Result<(), Error>>;

/// Everything that a connection can do.
const OPERATIONS: [fn(Cache, usize, Script) -> Done; 8] =
    [values, numbers, pipeline, transaction, scripted, watched, blocked, large];

fn values(cache: Cache, caller: usize, _: Script) -> Done {
    Box::pin(async move {
        let (key, mut conn) = (format!("value:{caller}"), cache.get().await?);
        conn.set(&key, caller).await?;
        conn.set_ex(&key, caller, 60).await?;
        assert!(conn.exists(&key).await? && conn.expire(&key, 60).await?);
        assert_eq!(conn.get::<_, usize>(&key).await?, caller);
        assert_eq!(conn.del(&key).await?, 1);
        Ok(())
    })
}

fn numbers(cache: Cache, _: usize, _: Script) -> Done {
    Box::pin(async move {
        let mut conn = cache.get().await?;
        conn.incr::<_, _, u64>("number", 1).await?;
        Ok(())
    })
}

fn pipeline(cache: Cache, caller: usize, _: Script) -> Done {
    Box::pin(async move {
        let (key, mut conn) = (format!("piped:{caller}"), cache.get().await?);
        let mut pipe = redis::pipe();
        pipe.set(&key, caller).ignore().get(&key);
        let (read,): (usize,) = pipe.query_async(&mut *conn).await?;
        let (again,): (usize,) = pipe.atomic().query_async(&mut *conn).await?;
        assert_eq!((read, again), (caller, caller));
        Ok(())
    })
}

fn transaction(cache: Cache, _: usize, _: Script) -> Done {
    Box::pin(async move {
        let mut conn = cache.get().await?;
        conn.transaction(&["sum"], |tx| {
            Box::pin(async move {
                let sum = tx.get::<_, Option<u64>>("sum").await?.unwrap_or(0);
                tx.queue().set("sum", sum + 1).ignore();
                tx.commit::<()>().await
            })
        })
        .await
    })
}

fn scripted(cache: Cache, _: usize, script: Script) -> Done {
    Box::pin(async move {
        let mut conn = cache.get().await?;
        script.key("scripted").arg(1).invoke::<u64>(&mut conn).await?;
        Ok(())
    })
}

fn watched(cache: Cache, caller: usize, _: Script) -> Done {
    Box::pin(async move {
        let (key, mut conn) = (format!("watched:{caller}"), cache.get().await?);
        conn.pin().await?;
        redis::cmd("WATCH").arg(&key).query_async::<()>(&mut *conn).await?;
        let read: Option<usize> = conn.get(&key).await?;
        let mut pipe = redis::pipe();
        pipe.atomic().set(&key, read.unwrap_or(0) + 1).ignore();
        pipe.query_async::<()>(&mut *conn).await?;
        Ok(())
    })
}

fn blocked(cache: Cache, caller: usize, _: Script) -> Done {
    Box::pin(async move {
        let (key, mut conn) = (format!("list:{caller}"), cache.get().await?);
        conn.rpush::<_, _, u64>(&key, caller).await?;
        let (_, popped): (String, usize) = conn.blpop(&key, 5.0).await?;
        assert_eq!(popped, caller);
        if caller.is_multiple_of(20) {
            let none: Option<(String, usize)> = conn.blpop(&key, 0.001).await?;
            assert_eq!(none, None);
        }
        Ok(())
    })
}

fn large(cache: Cache, caller: usize, _: Script) -> Done {
    Box::pin(async move {
        let (key, conn) = (format!("large:{caller}"), cache.get().await?);
        let mut conn = conn.bulk().await?;
        conn.set_ex(&key, vec![b'x'; 64 << 10], 60).await?;
        assert_eq!(conn.get::<_, Vec<u8>>(&key).await?.len(), 64 << 10);
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_who_share_one_lease_all_get_everything_done() {
    let server = Server::start().await;
    // A machine that stands still for a moment is not to look like an outage.
    let tree = tree::healthy(server.url(), |config| {
        config.max_connections = 1;
        config.command_timeout = Duration::from_secs(10);
        config.probe_timeout = Duration::from_secs(10);
    })
    .await;
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let (all, mut callers) = (Arc::new(Barrier::new(CALLERS)), JoinSet::new());
    for caller in 0..CALLERS {
        let (cache, all, script) = (tree.cache(), Arc::clone(&all), script.clone());
        callers.spawn(async move {
            all.wait().await;
            // Each caller begins elsewhere, so that all are executed at once.
            let operations = OPERATIONS.iter().cycle().skip(caller % OPERATIONS.len());
            for operation in operations.take(OPERATIONS.len()) {
                operation(cache.clone(), caller, script.clone()).await.unwrap();
            }
        });
    }
    timeout(HUNG, callers.join_all()).await.expect("nobody waits for ever");
    let mut conn = tree.cache().get().await.unwrap();
    for key in ["number", "sum", "scripted"] {
        assert_eq!(conn.get::<_, usize>(key).await.unwrap(), CALLERS, "{key}");
    }
    drop(conn);
    tree::has_all_leases(&tree.cache()).await;
    assert_eq!(server.leases().await, 1);
    tree::end(tree).await;
}
