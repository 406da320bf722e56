use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Port;
use super::rules::{Filter, On, Rules, Turns};

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weather {
    /// It arrives.
    Fair,
    /// It arrives this much later, in each direction.
    Slow(Duration),
    /// It arrives, but it takes this long to be connected.
    Distant(Duration),
    /// It arrives in pieces that end anywhere, some of them late. The seed says where and how late.
    Ragged(u64),
    /// It is lost. Connections stay, and new ones are accepted; what was silent once is silent for
    /// good, as behind a firewall that has forgotten it.
    Silent,
    /// So many more bytes arrive this way; the rest is kept until the weather changes.
    HeldAfter(Way, usize),
    /// So many more bytes arrive this way; with the next one its connection is reset.
    CutAfter(Way, usize),
    /// Nothing more arrives this way, and the receiver is told so in good order.
    HalfClosed(Way),
    /// Connections are reset, new ones as soon as they are accepted.
    Cut,
    /// Connections are reset and nothing listens.
    Gone,
}

/// One of the two ways between a service and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the service asks.
    ToServer,
    /// What the server answers.
    ToClient,
}

/// The network between a service and its server, in this process, with the weather that a test sets.
///
/// It ends with this value, and so do the connections through it.
// Not redis-server-wrapper's: that gives its port away while it does not listen, cannot hold or cut one connection among
// others, and has no TCP_NODELAY, so that a SET of 20 kB takes 44 ms in the best of weathers.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    weather: watch::Sender<Weather>,
    /// The weather that has reached the listener.
    reached: watch::Receiver<Weather>,
    routes: Arc<Routes>,
}

/// The connections through a proxy.
#[derive(Debug, Default)]
struct Routes {
    accepted: AtomicUsize,
    open: Mutex<Open>,
    rules: Arc<Rules>,
}

#[derive(Debug, Default)]
struct Open {
    routes: BTreeMap<usize, Route>,
    /// No connection comes through any more.
    is_over: bool,
}

#[derive(Debug)]
struct Route {
    weather: watch::Sender<Weather>,
    /// What the server takes for the client.
    client: Option<SocketAddr>,
}

impl Proxy {
    /// A proxy before whatever listens there, with fair weather.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn before(server: SocketAddr) -> Self {
        let (port, listener) = loop {
            let port = Port::reserve();
            // Somebody who knows nothing of our lock may be faster.
            if let Ok(listener) = TcpListener::bind(port.address()).await {
                break (port, listener);
            }
        };
        let (weather, forecast) = watch::channel(Weather::Fair);
        let (report, reached) = watch::channel(Weather::Fair);
        let routes = Arc::<Routes>::default();
        #[expect(clippy::disallowed_methods, reason = "it ends when the proxy is dropped")]
        tokio::spawn(listen(listener, server, forecast, report, Arc::clone(&routes)));
        Self { port, weather, reached, routes }
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// From now on this is the weather, also for connections that exist.
    pub async fn set(&self, weather: Weather) {
        self.set_for_new(weather).await;
        self.set_for_open(weather);
    }

    /// From now on this is the weather for connections that do not exist yet.
    pub async fn set_for_new(&self, weather: Weather) {
        self.weather.send_replace(weather);
        let reached = self.reached.clone().wait_for(|reached| *reached == weather).await.is_ok();
        assert!(reached, "the proxy's port was taken while it did not listen");
    }

    /// From now on this is the weather for the connections that exist.
    pub fn set_for_open(&self, weather: Weather) {
        for route in self.routes.lock().routes.values() {
            route.weather.send_replace(weather);
        }
    }

    /// From now on this is the weather for one connection, named by the address that the server
    /// has for it. Says whether there is such a connection.
    pub fn set_for(&self, client: SocketAddr, weather: Weather) -> bool {
        let open = self.routes.lock();
        let route = open.routes.values().find(|route| route.client == Some(client));
        route.map(|route| route.weather.send_replace(weather)).is_some()
    }

    /// Picks out a command by its name, or by its name and what follows: `"GET"`, `"client setname"`. What comes
    /// next says how often, and what happens to it; it counts for connections that exist, too. Of two rules that fit a command
    /// the later one counts.
    ///
    /// A reply comes in its turn, however many commands are under way. Rules do not count for what is not RESP (TLS,
    /// or commands typed as text), nor on a connection that replies without being asked: after `MONITOR`, `CLIENT REPLY`,
    /// or, with RESP2, `SUBSCRIBE`.
    ///
    /// ```no_run
    /// # async fn test() {
    /// let redis = mainstay::testing::Redis::start().await;
    /// let proxy = redis.proxy().await;
    /// let refused = proxy.on("EXEC").once().refuse("NOPERM not this user");
    /// proxy.on("GET").answer("$5\r\nhello\r\n"); // The server never sees a GET.
    /// proxy.on("INCR").rewrite(":0\r\n"); // It counts, and its replies are lost.
    /// proxy.on("CLIENT SETINFO").hang_up(); // As a proxy that does not know it.
    /// // .. a service at proxy.url() sends an EXEC ..
    /// assert_eq!(refused.met(), 1);
    /// # }
    /// ```
    ///
    /// # Panics
    /// If these are not one word or two.
    pub fn on(&self, command: &str) -> On {
        self.routes.rules.on(command)
    }

    /// The connections that exist, by the addresses that the server has for them.
    pub fn open(&self) -> Vec<SocketAddr> {
        self.routes.lock().routes.values().filter_map(|route| route.client).collect()
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.routes.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Ends every connection: nobody can change its weather any more.
        *self.routes.lock() = Open { is_over: true, ..Open::default() };
    }
}

impl Routes {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(
    listener: TcpListener,
    server: SocketAddr,
    mut forecast: watch::Receiver<Weather>,
    report: watch::Sender<Weather>,
    routes: Arc<Routes>,
) {
    let Ok(at) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    loop {
        let weather = *forecast.borrow_and_update();
        if weather == Weather::Gone {
            listener = None;
        } else if listener.is_none() {
            match TcpListener::bind(at).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => return,
            }
        }
        report.send_replace(weather);
        tokio::select! {
            changed = forecast.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => {
                // They may have gone away again already.
                let Ok(accepted) = accepted else { continue };
                let number = routes.accepted.fetch_add(1, Ordering::Relaxed);
                let (weather, own) = watch::channel(weather);
                let route = Route { weather, client: None };
                let mut open = routes.lock();
                if open.is_over {
                    return;
                }
                open.routes.insert(number, route);
                let routes = Arc::clone(&routes);
                #[expect(clippy::disallowed_methods, reason = "it ends when the proxy is dropped")]
                tokio::spawn(async move {
                    carry(accepted, server, own, number, &routes).await;
                    routes.lock().routes.remove(&number);
                });
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

/// One connection, from its acceptance to its end.
async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    number: usize,
    routes: &Routes,
) {
    let mut ends = weather.clone();
    let ended = async move {
        // The proxy is dropped when the sender is gone.
        ends.wait_for(|weather| matches!(weather, Weather::Cut | Weather::Gone)).await.ok();
        End::Reset
    };
    let carried = async {
        let first = *weather.borrow_and_update();
        match first {
            Weather::Silent => return std::future::pending().await,
            Weather::Distant(delay) => sleep(delay).await,
            _ => {}
        }
        let Ok(mut server) = TcpStream::connect(server).await else { return End::Closed };
        server.set_nodelay(true).ok(); // It may be closed already.
        client.set_nodelay(true).ok();
        if let Some(route) = routes.lock().routes.get_mut(&number) {
            route.client = server.local_addr().ok();
        }
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let turns = Arc::<Turns>::default();
        let requests = Filter::requests(Arc::clone(&routes.rules), Arc::clone(&turns));
        let replies = Filter::replies(Arc::clone(&turns));
        let ask = Flow::new(requests, &weather, number, &turns);
        let answer = Flow::new(replies, &weather, number, &turns);
        tokio::select! {
            end = ask.carry(from_client, to_server) => end,
            end = answer.carry(from_server, to_client) => end,
        }
    };
    let end = tokio::select! {
        biased;
        end = ended => end,
        end = carried => end,
    };
    if end == End::Reset {
        client.set_zero_linger().ok(); // It may be closed already.
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// What a connection carries one way.
struct Flow {
    way: Way,
    filter: Filter,
    turns: Arc<Turns>,
    weather: watch::Receiver<Weather>,
    number: u64,
    seen: Option<Weather>,
    /// How many bytes since the weather changed.
    passed: usize,
    chance: Rng,
}

impl Flow {
    fn new(
        filter: Filter,
        weather: &watch::Receiver<Weather>,
        number: usize,
        turns: &Arc<Turns>,
    ) -> Self {
        let way = match &filter {
            Filter::Requests(_) => Way::ToServer,
            Filter::Replies(_) => Way::ToClient,
        };
        let turns = Arc::clone(turns);
        let number = number as u64 * 2 + u64::from(way == Way::ToClient);
        let (weather, chance) = (weather.clone(), Rng::with_seed(number));
        Self { way, filter, turns, weather, number, seen: None, passed: 0, chance }
    }

    /// Carries bytes until there are no more.
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            if self.look() == Weather::HalfClosed(self.way) {
                to.shutdown().await.ok(); // It may be closed already.
                return std::future::pending().await;
            }
            let read = tokio::select! {
                biased;
                changed = self.weather.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return End::Reset,
                },
                () = self.turns.changed(), if self.way == Way::ToClient => Ok(None),
                read = from.read(&mut bytes) => read.map(Some),
            };
            let end = match read {
                Ok(None) => {
                    let own = self.filter.pass(&[]);
                    self.pass(&own, &mut to).await
                }
                Ok(Some(count @ 1..)) => {
                    let passed = self.filter.pass(&bytes[..count]);
                    self.pass(&passed, &mut to).await
                }
                Ok(Some(0)) | Err(_) if self.look() == Weather::Silent => {
                    std::future::pending().await
                }
                Ok(Some(0)) | Err(_) => {
                    let rest = self.filter.rest();
                    self.pass(&rest, &mut to).await.or(Some(End::Closed))
                }
            };
            if let Some(end) = end.or(self.filter.is_over().then_some(End::Closed)) {
                return end;
            }
        }
    }

    /// Has some bytes arrive, as the weather will have it.
    async fn pass(&mut self, mut bytes: &[u8], to: &mut WriteHalf<'_>) -> Option<End> {
        while !bytes.is_empty() {
            let count = match self.look() {
                Weather::Silent => return std::future::pending().await,
                Weather::CutAfter(way, most) if way == self.way => match most - self.passed {
                    0 => return Some(End::Reset),
                    left => left,
                },
                Weather::HeldAfter(way, most) if way == self.way => match most - self.passed {
                    0 => {
                        self.weather.changed().await.ok()?;
                        continue;
                    }
                    left => left,
                },
                Weather::HalfClosed(way) if way == self.way => return None,
                Weather::Slow(delay) => {
                    sleep(delay).await;
                    bytes.len()
                }
                Weather::Ragged(_) => {
                    if self.chance.u8(..) < 32 {
                        sleep(Duration::from_micros(self.chance.u64(..3000))).await;
                    }
                    // Short ones far more often than long ones.
                    1 << self.chance.usize(..14)
                }
                _ => bytes.len(),
            };
            let (piece, rest) = bytes.split_at(count.min(bytes.len()));
            if to.write_all(piece).await.is_err() {
                return Some(End::Closed);
            }
            self.passed += piece.len();
            bytes = rest;
        }
        None
    }

    /// The weather now.
    fn look(&mut self) -> Weather {
        let weather = *self.weather.borrow_and_update();
        if self.seen.replace(weather) != Some(weather) {
            self.passed = 0;
            if let Weather::Ragged(seed) = weather {
                self.chance = Rng::with_seed(seed ^ self.number.wrapping_mul(SPREAD));
            }
        }
        weather
    }
}

/// Keeps the seeds of neighbours apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
