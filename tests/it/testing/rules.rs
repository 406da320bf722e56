//! What a proxy's rules do to single commands.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay::testing::{Proxy, Weather};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Server, eventually};

/// A request, as a client of Redis sends it.
fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(&bulk(word));
    }
    bytes
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

struct Client(TcpStream);

impl Client {
    async fn of(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    async fn sends(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads exactly this.
    async fn hears(&mut self, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        let read = timeout(Duration::from_secs(10), self.0.read_exact(&mut heard)).await;
        let so_far = String::from_utf8_lossy(&heard[..heard.len().min(200)]).into_owned();
        read.unwrap_or_else(|_| panic!("too little: {so_far:?}")).unwrap();
        assert!(heard == expected, "{so_far:?}");
    }

    async fn asks(&mut self, words: &[&str], expected: &str) {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.sends(&request(&words)).await;
        self.hears(expected.as_bytes()).await;
    }
}

async fn calls(server: &Server, command: &str) -> u64 {
    let stats: String = server.ask(&["INFO", "commandstats"]).await;
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_reply_comes_in_its_turn_however_the_commands_arrive() {
    let server = Server::start().await;
    let proxy = server.proxy().await;
    proxy.on("get").answer("$4\r\nmine\r\n");
    proxy.on("INCR").rewrite(b":\xff\r\n");
    proxy.on("client setname").refuse("NOPERM not you");
    // Binary, with what looks like commands and replies in it, and longer than any buffer.
    let large = b"*1\r\n$3\r\nGET\r\n\xff\0:1\r\n".repeat(20_000);
    let asked = [
        request(&[b"SET", b"key", &large]),
        request(&[b"Get", b"key"]),
        request(&[b"GETRANGE", b"key", b"0", b"3"]),
        request(&[b"CLIENT", b"SETNAME", b"me"]),
        request(&[b"CLIENT", b"NO-EVICT", b"off"]),
        request(&[b"INCR", b"sum"]),
        request(&[b"GET", &large]),
        request(&[b"STRLEN", b"key"]),
        request(&[b"HMGET", b"none", b"a", b"b"]),
        request(&[b"INCR", b"key"]),
        request(&[b"ECHO", &large]),
        request(&[b"GET"]),
    ];
    let heard = [
        b"+OK\r\n".to_vec(),
        b"$4\r\nmine\r\n".to_vec(),
        bulk(b"*1\r\n"),
        b"-NOPERM not you\r\n".to_vec(),
        b"+OK\r\n".to_vec(),
        b":\xff\r\n".to_vec(),
        b"$4\r\nmine\r\n".to_vec(),
        format!(":{}\r\n", large.len()).into_bytes(),
        b"*2\r\n$-1\r\n$-1\r\n".to_vec(),
        b":\xff\r\n".to_vec(),
        bulk(&large),
        b"$4\r\nmine\r\n".to_vec(),
    ];
    let (asked, heard) = (asked.concat(), heard.concat());

    let weathers = [Weather::Fair, Weather::Ragged(1), Weather::Ragged(2)];
    for (weather, piece) in weathers.into_iter().zip([asked.len(), asked.len(), 1 << 12]) {
        proxy.set(weather).await;
        let mut client = Client::of(proxy.address()).await;
        let (mut from, mut to) = client.0.split();
        let mut all = vec![0; heard.len()];
        let send = async {
            for piece in asked.chunks(piece) {
                to.write_all(piece).await.unwrap();
            }
        };
        let read = timeout(Duration::from_secs(30), async {
            tokio::join!(send, from.read_exact(&mut all)).1
        });
        read.await.expect("all of the replies").unwrap();
        assert!(all == heard, "{weather:?}");
    }
    // Byte by byte.
    proxy.set(Weather::Fair).await;
    let short = [request(&[b"GET", b"a"]), request(&[b"STRLEN", b"key"])].concat();
    for pieces in [1, 2, 5] {
        let mut client = Client::of(proxy.address()).await;
        for piece in short.chunks(pieces) {
            client.sends(piece).await;
        }
        client.hears(format!("$4\r\nmine\r\n:{}\r\n", large.len()).as_bytes()).await;
    }
    assert_eq!(calls(&server, "get").await, 0, "the server never saw one");
    assert_eq!(server.ask::<u64>(&["GET", "sum"]).await, 3, "it did these");
}

#[tokio::test]
async fn an_answer_of_the_proxy_waits_for_the_servers_replies_before_it() {
    let server = Server::start().await;
    let proxy = server.proxy().await;
    let refused = proxy.on("PING").refuse("ERR no");
    let mut client = Client::of(proxy.address()).await;
    client.sends(&[request(&[b"BLPOP", b"list", b"0"]), request(&[b"PING"])].concat()).await;
    eventually("it is met", async || (refused.met() == 1).then_some(())).await;
    let early = timeout(Duration::from_millis(20), client.0.read_u8()).await;
    assert!(early.is_err(), "nothing is answered before the first command: {early:?}");
    let _: u64 = server.ask(&["LPUSH", "list", "element"]).await;
    client.hears(b"*2\r\n$4\r\nlist\r\n$7\r\nelement\r\n-ERR no\r\n").await;
}

#[tokio::test]
async fn pushes_are_no_replies() {
    let server = Server::start().await;
    let proxy = server.proxy().await;
    let told = proxy.on("HELLO").rewrite("%1\r\n+proto\r\n:3\r\n");
    proxy.on("GET").once().answer("_\r\n");
    let mut client = Client::of(proxy.address()).await;
    client.asks(&["HELLO", "3"], "%1\r\n+proto\r\n:3\r\n").await;
    assert_eq!(told.met(), 1);
    client.asks(&["CLIENT", "TRACKING", "ON", "BCAST"], "+OK\r\n").await;
    client.asks(&["SUBSCRIBE", "news"], ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n").await;
    for round in 0..3 {
        let _: () = server.ask(&["SET", "key", "value"]).await;
        client.hears(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n").await;
        let _: u64 = server.ask(&["PUBLISH", "news", "-ERR"]).await;
        client.hears(b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\n-ERR\r\n").await;
        let expected = if round == 0 { "_\r\n" } else { "$5\r\nvalue\r\n" };
        client.asks(&["GET", "key"], expected).await;
        client.asks(&["ECHO", "still"], "$5\r\nstill\r\n").await;
    }
}

#[tokio::test]
async fn a_rule_counts_as_often_as_it_says_and_the_latest_first() {
    let server = Server::start().await;
    let proxy = server.proxy().await;
    let mut client = Client::of(proxy.address()).await;
    client.asks(&["PING"], "+PONG\r\n").await;
    let always = proxy.on("PING").answer("+always\r\n");
    let twice = proxy.on("ping").times(2).answer("+twice\r\n");
    let first = proxy.on("PING").once().refuse("ERR first");
    for expected in ["-ERR first\r\n", "+twice\r\n", "+twice\r\n", "+always\r\n", "+always\r\n"] {
        client.asks(&["PING"], expected).await;
    }
    assert_eq!([first.met(), twice.met(), always.met()], [1, 2, 2]);
    always.lift();
    client.asks(&["PING"], "+PONG\r\n").await;
    // A rule for a sub-command leaves the others alone.
    proxy.on("CONFIG GET").answer("*0\r\n");
    client.asks(&["CONFIG", "GET", "maxmemory"], "*0\r\n").await;
    client.asks(&["CONFIG", "SET", "maxmemory", "0"], "+OK\r\n").await;
}

#[tokio::test]
async fn what_is_no_question_and_answer_passes_as_it_is() {
    let server = Server::start().await;
    let proxy = server.proxy().await;
    proxy.on("PING").answer("+mine\r\n");
    let mut typed = Client::of(proxy.address()).await;
    typed.sends(b"PING\r\n").await;
    typed.hears(b"+PONG\r\n").await;

    let mut client = Client::of(proxy.address()).await;
    let all = [request(&[b"PING"]), request(&[b"SUBSCRIBE", b"a", b"b"]), request(&[b"PING"])];
    client.sends(&all.concat()).await;
    client.hears(b"+mine\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    client.hears(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    let _: u64 = server.ask(&["PUBLISH", "a", "x"]).await;
    client.hears(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n").await;
}

#[tokio::test]
async fn what_never_became_a_command_still_arrives() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(listener.local_addr().unwrap()).await;
    let mut client = Client::of(proxy.address()).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.sends(b"*1\r\n$4\r\nPI").await;
    client.0.shutdown().await.unwrap();
    let mut heard = Vec::new();
    timeout(Duration::from_secs(10), server.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, b"*1\r\n$4\r\nPI");
}

#[tokio::test]
async fn a_connection_is_hung_up_on_behind_the_replies_to_what_came_before() {
    let server = Server::start().await;
    let proxy = server.proxy().await;
    let hung_up = proxy.on("CLIENT SETINFO").once().hang_up();
    let mut client = Client::of(proxy.address()).await;
    let all = [
        request(&[b"SET", b"key", b"1"]),
        request(&[b"CLIENT", b"SETINFO", b"LIB-NAME", b"x"]),
        request(&[b"SET", b"key", b"2"]),
    ];
    client.sends(&all.concat()).await;
    client.hears(b"+OK\r\n").await;
    let end = timeout(Duration::from_secs(10), client.0.read_u8()).await.unwrap();
    assert!(end.is_err(), "{end:?}");
    assert_eq!(hung_up.met(), 1);
    let kept: String = server.ask(&["GET", "key"]).await;
    assert_eq!(kept, "1", "the server sees nothing of what follows");
    let mut next = Client::of(proxy.address()).await;
    next.asks(&["PING"], "+PONG\r\n").await;
}
