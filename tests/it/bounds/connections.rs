//! No more connections than the service has said that there would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_actors::cache::Cache;
use mainstay_actors::pool::RebuildPool;
use mainstay_actors::tree::Tree;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::Level;

use crate::support::{Log, Server, eventually, tree};

const LEASES: u32 = 8;
const LOOKS: usize = 300;
const REBUILDS: usize = 10;

/// Looks at a server's clients without being one of those it counts.
struct Census {
    connection: MultiplexedConnection,
    id: u64,
}

impl Census {
    async fn of(server: &Server) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        // A server in full use may take its time.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.unwrap();
        let id = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await.unwrap();
        Self { connection, id }
    }

    /// The id and the name of every other client; one that has just come has no name yet.
    async fn clients(&mut self) -> Vec<(u64, String)> {
        let mut list = redis::cmd("CLIENT");
        let list: String = list.arg("LIST").query_async(&mut self.connection).await.unwrap();
        let field = |line: &str, name: &str| {
            line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap().to_owned()
        };
        let all =
            list.lines().map(|line| (field(line, "id=").parse().unwrap(), field(line, "name=")));
        all.filter(|(id, _)| *id != self.id).collect()
    }

    /// Closes one lane's connection at the server.
    async fn kill_a_lane(&mut self, random: &mut fastrand::Rng) {
        let clients = self.clients().await;
        let lanes = clients.iter().filter(|(_, name)| name.contains(":lane:"));
        let Some((id, _)) = random.choice(lanes.collect::<Vec<_>>()) else { return };
        self.kill(*id).await;
    }

    async fn kill(&mut self, id: u64) {
        let mut kill = redis::cmd("CLIENT");
        // It may be gone already, which is an answer too.
        let killed = kill.arg("KILL").arg("ID").arg(id).query_async(&mut self.connection).await;
        let _: u64 = killed.unwrap();
    }
}

/// How many connections to `port` are open at their near end, the census's own not counted. A server that is busy
/// lists one that was closed for a while longer, so its own list would show too many when pools are rebuilt in haste.
fn open_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let open = table.lines().skip(1).filter(|line| {
        let mut words = line.split_whitespace().skip(2);
        let far = words.next().unwrap();
        far.ends_with(&port) && words.next() == Some(ESTABLISHED)
    });
    open.count() - 1
}

const ESTABLISHED: &str = "01";

/// The number that the service logs when its pool starts.
fn most_connections(log: &Log) -> usize {
    let lines = log.lines(Level::INFO);
    let line = lines.iter().find(|line| line.contains("pool started")).unwrap();
    let number = line.split_once("most_connections=").unwrap().1;
    number.split(' ').next().unwrap().parse().unwrap()
}

/// Callers who ride, pin, give up and send large values, until they are dropped.
fn callers(cache: &Cache) -> JoinSet<()> {
    let caller = |cache: Cache, number: u64| async move {
        let mut random = fastrand::Rng::with_seed(number);
        loop {
            let limit = Duration::from_millis(random.u64(1..20));
            let kind = random.u8(..4);
            // What is killed under way fails, and that is all the same here.
            timeout(limit, used(&cache, kind)).await.ok();
            sleep(Duration::from_millis(random.u64(1..10))).await;
        }
    };
    (0..24).map(|number| caller(cache.clone(), number)).collect()
}

async fn used(cache: &Cache, kind: u8) -> Result<(), mainstay_actors::redis::Error> {
    let mut conn = cache.get().await?;
    match kind {
        0 => conn.set("key", "value").await,
        1 => conn.bulk().await?.set("large", vec![b'x'; 256 << 10]).await,
        _ => {
            conn.pin().await?;
            conn.set("key", "value").await?;
            sleep(Duration::from_millis(5)).await;
            conn.set("key", "value").await
        }
    }
}

/// Has the pool rebuilt again and again.
fn rebuilds(tree: &Tree, rebuilt: &Arc<AtomicUsize>) -> JoinSet<()> {
    let (tree, rebuilt) = (tree.clone(), Arc::clone(rebuilt));
    let rebuilds = async move {
        loop {
            tree.ask(RebuildPool).await.unwrap();
            rebuilt.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(50)).await;
        }
    };
    std::iter::once(rebuilds).collect()
}

#[tokio::test]
async fn there_are_never_more_connections_than_were_logged() {
    let log = Log::here();
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| {
        config.max_connections = LEASES;
        config.recycle_timeout = Duration::from_millis(200);
    })
    .await;
    let most = most_connections(&log);
    let mut census = Census::of(&server).await;
    let rebuilt = Arc::<AtomicUsize>::default();
    let (callers, rebuilds) = (callers(&tree.cache()), rebuilds(&tree, &rebuilt));
    let mut random = fastrand::Rng::with_seed(7);
    let mut seen = Vec::new();
    while seen.len() < LOOKS || rebuilt.load(Ordering::Relaxed) < REBUILDS {
        let open = open_to(server.address().port());
        assert!(open <= most, "{open} of {most}: {:?}", tree.cache().status());
        seen.push(open);
        if seen.len() % 20 == 0 {
            census.kill_a_lane(&mut random).await;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let peak = seen.into_iter().max();
    assert!(peak > usize::try_from(LEASES).ok(), "hardly any load: {peak:?}");
    drop((callers, rebuilds));

    tree::has_all_leases(&tree.cache()).await;
    eventually("the server lists what is open", async || {
        let status = tree.cache().status();
        let open = status.size + status.lanes + status.control;
        (open <= most && census.clients().await.len() == open).then_some(())
    })
    .await;
    tree::end(tree).await;
}
