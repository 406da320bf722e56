//! TLS to Redis: who is trusted and who is not, certificates that change, and what is said when it fails.
//!
//! The server must be built with TLS; `scripts/test` leaves these tests out where it is not.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_actors::redis::{Cause, Config, ConfigFile, Endpoint, Pace, Reason, Tls};
use rustls::crypto::CryptoProvider;
use tempfile::TempDir;
use tokio::time::Instant;
use tracing::Level;

use crate::support::{App, Authority, Log, Proxy, Server, Weather, config, eventually, routes};

/// A server that speaks TLS alone, and the authority that its certificate comes from.
struct Secured {
    server: Server,
    authority: Authority,
    /// `ca.pem`, `cert.pem` and `key.pem`, as they are now.
    home: TempDir,
}

impl Secured {
    async fn start() -> Self {
        Self::start_with(Authority::certify, None).await
    }

    async fn start_with(
        certify: impl FnOnce(&Authority, &Path),
        client_authority: Option<&Path>,
    ) -> Self {
        let (authority, home) = (Authority::new(), tempfile::tempdir().unwrap());
        std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
        certify(&authority, home.path());
        let server = Server::start_with_tls(home.path(), client_authority).await;
        Self { server, authority, home }
    }

    fn ca_file(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// How to reach it.
    fn redis(&self) -> Config {
        let tls = Tls { ca_file: Some(self.ca_file()), ..Tls::default() };
        Config { url: self.server.tls_url(), tls, ..patient() }
    }
}

/// A machine that is busy with other tests may take its time to shake hands.
fn patient() -> Config {
    Config { connect_timeout: Duration::from_secs(5), ..Config::default() }
}

/// A directory with a certificate and a key of their own, and a configuration that shows them.
fn showing(redis: Config, authority: &Authority) -> (Config, TempDir) {
    let home = tempfile::tempdir().unwrap();
    authority.certify(home.path());
    let (cert_file, key_file) = (home.path().join("cert.pem"), home.path().join("key.pem"));
    let tls = Tls { cert_file: Some(cert_file), key_file: Some(key_file), ..redis.tls };
    (Config { tls, ..redis }, home)
}

fn endpoint(config: Config) -> Arc<Endpoint> {
    let endpoint = Endpoint::new("main", config, Arc::new(Pace::new())).unwrap();
    endpoint.publish(endpoint.build_generation(Reason::Start));
    Arc::new(endpoint)
}

/// Why a connection cannot be made.
async fn cause(config: Config) -> Cause {
    endpoint(config).probe_connection().await.unwrap_err()
}

async fn works(endpoint: &Arc<Endpoint>) {
    eventually("a value is written and read", async || {
        let mut conn = endpoint.lease().await.ok()?;
        conn.set("key", "value").await.ok()?;
        let value: String = conn.get("key").await.ok()?;
        (value == "value").then_some(())
    })
    .await;
}

fn service(redis: Config) -> mainstay::Config {
    mainstay::Config { redis, ..config("redis://replaced") }
}

/// What `/ready` says once a probe has found something wrong.
async fn unready(app: &App) -> String {
    eventually("a probe has failed", async || {
        let answer = app.get("/ready").await;
        let message = answer.json()["dependencies"]["redis"]["message"].as_str()?.to_owned();
        (answer.status == 503 && message != "no probe has ended yet").then_some(message)
    })
    .await
}

// acton 22
#[tokio::test]
async fn a_redis_with_a_private_authority_serves_falls_and_returns() {
    let mut secured = Secured::start().await;
    let app = App::start(service(secured.redis()), routes()).await;
    app.becomes_ready().await;
    assert_eq!(app.get("/stored").await.status, 200);
    secured.server.kill();
    app.answers("/ready", 503).await;
    app.get("/stored").await.is_unavailable();
    secured.server.restart().await;
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    assert_eq!(app.restarts(), 0);
    app.end().await;
}

// acton 22
#[tokio::test]
async fn without_its_authority_a_redis_is_not_trusted_and_ready_says_what_to_check() {
    let secured = Secured::start().await;
    let redis = Config { tls: Tls::default(), ..secured.redis() };
    let app = App::start(service(redis), routes()).await;
    let message = unready(&app).await;
    assert!(message.contains("comes from an authority of tls.ca_file"), "{message}");
    app.get("/stored").await.is_unavailable();
    assert_eq!(app.restarts(), 0);
    app.end().await;
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused() {
    let log = Log::here();
    for (certify, wanted, said) in [
        (
            Authority::certify_another as fn(&Authority, &Path),
            "names the host of the url (as subjectAltName)",
            "not valid for name",
        ),
        (Authority::certify_the_past, "is valid", "expired"),
        (Authority::certify_an_authority, "is no authority's own (CA:TRUE)", "CaUsedAsEndEntity"),
    ] {
        log.clear();
        let secured = Secured::start_with(certify, None).await;
        let cause = cause(secured.redis()).await;
        assert_eq!(cause, Cause::Tls);
        assert!(cause.to_string().contains(wanted), "{cause}");
        let lines = log.lines(Level::DEBUG);
        assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
    }
    let (secured, other) = (Secured::start().await, Secured::start().await);
    assert_eq!(cause(Config { tls: other.redis().tls, ..secured.redis() }).await, Cause::Tls);
    works(&endpoint(secured.redis())).await;
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_ours() {
    let (ours, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let client_authority = files.path().join("clients.pem");
    std::fs::write(&client_authority, ours.pem()).unwrap();
    let secured = Secured::start_with(Authority::certify, Some(&client_authority)).await;

    let (redis, _home) = showing(secured.redis(), &ours);
    works(&endpoint(redis)).await;

    let (redis, _home) = showing(secured.redis(), &Authority::new());
    for redis in [redis, secured.redis()] {
        let cause = cause(redis).await;
        // A server that hangs up at once may take its own alert with it.
        assert!(matches!(cause, Cause::Tls | Cause::HandshakeClosed), "{cause:?}");
        assert!(cause.to_string().contains("a certificate of ours (tls.cert_file)"), "{cause}");
    }
}

// redis R5
#[tokio::test]
async fn new_certificates_count_without_a_restart() {
    let mut secured = Secured::start().await;
    let app = App::start(service(secured.redis()), routes()).await;
    app.becomes_ready().await;

    secured.server.kill();
    let next = Authority::new();
    next.certify(secured.home.path());
    secured.server.restart().await;
    let message = eventually("the certificate is refused", async || {
        let message = unready(&app).await;
        message.contains("tls").then_some(message)
    })
    .await;
    assert!(message.contains("tls failed"), "{message}");

    // Both authorities stand in the file while servers change from the one to the other.
    let both = secured.authority.pem() + &next.pem();
    std::fs::write(secured.ca_file(), both).unwrap();
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.end().await;
}

// redis R5
#[tokio::test]
async fn a_file_that_holds_no_certificate_is_its_own_cause_until_it_is_corrected() {
    let secured = Secured::start().await;
    let (redis, home) = showing(secured.redis(), &secured.authority);
    let endpoint = endpoint(redis);
    let failed = async || endpoint.probe_connection().await.unwrap_err();
    let large = "x".repeat((1 << 20) + 1);
    let stranger = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let (ca, cert, key) =
        (secured.ca_file(), home.path().join("cert.pem"), home.path().join("key.pem"));
    for (file, cause, wrong) in [
        (&ca, Cause::CaFile, ["", "no certificate", &large, &stranger]),
        (&cert, Cause::CertFile, ["", "no certificate", &large, &stranger]),
        (&key, Cause::KeyFile, ["", "no key", &large, &stranger]),
    ] {
        let right = std::fs::read(file).unwrap();
        for wrong in wrong {
            std::fs::write(file, wrong).unwrap();
            assert_eq!(failed().await, cause);
        }
        let name = file.file_name().unwrap().to_str().unwrap().replace(".pem", "_file");
        assert!(cause.to_string().starts_with(&format!("tls.{name} holds no ")), "{cause}");
        std::fs::remove_file(file).unwrap();
        let missing = failed().await.to_string();
        let said = format!("tls.{name} cannot be read: No such file");
        assert!(missing.starts_with(&said), "{missing}");
        std::fs::create_dir(file).unwrap();
        let directory = failed().await.to_string();
        assert!(directory.contains("Is a directory"), "{directory}");
        std::fs::remove_dir(file).unwrap();
        std::fs::write(file, right).unwrap();
        works(&endpoint).await;
    }
    let torn = secured.authority.pem().replace("MII", "AAA");
    std::fs::write(&ca, torn).unwrap();
    assert_eq!(failed().await, Cause::CaFile, "a certificate in name alone");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_hangs_is_its_own_cause_and_holds_up_no_end() {
    use crate::support::hanging::Hanging;

    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.certify(home.path());
    let file = |name: &str| home.path().join(name);
    std::fs::write(file("ca.pem"), authority.pem()).unwrap();
    // Its queue takes connections.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    for (name, of_file) in
        [("ca.pem", ConfigFile::Ca), ("cert.pem", ConfigFile::Cert), ("key.pem", ConfigFile::Key)]
    {
        let Some(_hanging) = Hanging::file(&file(name)) else { return };
        let tls = Tls {
            ca_file: Some(file("ca.pem")),
            cert_file: Some(file("cert.pem")),
            key_file: Some(file("key.pem")),
        };
        let connect_timeout = Duration::from_secs(1);
        let config = Config { url: url.clone(), tls, connect_timeout, ..Config::default() };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        assert_eq!(runtime.block_on(cause(config)), Cause::FileTimeout(of_file));
        let begun = Instant::now();
        drop(runtime);
        assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn the_wrong_port_is_named_as_a_possibility() {
    let (secured, plain) = (Secured::start().await, Server::start().await);
    let redis = Config { url: secured.server.url(), ..patient() };
    let spoken_plainly = cause(redis).await;
    assert!(spoken_plainly.to_string().contains("expects tls (rediss://)"), "{spoken_plainly:?}");

    // A plain server takes the handshake for a command, and whether that is at an end is a matter of chance.
    let connect_timeout = Duration::from_millis(300);
    let redis = Config { url: plain.tls_url(), connect_timeout, ..secured.redis() };
    let spoken_in_tls = cause(redis).await;
    assert!(matches!(spoken_in_tls, Cause::NotTls | Cause::TlsTimeout), "{spoken_in_tls:?}");
    let wanted = "check that the port of the url is the server's port for tls";
    assert!(spoken_in_tls.to_string().contains(wanted), "{spoken_in_tls}");
}

#[tokio::test]
async fn an_answer_that_is_no_tls_is_told_from_silence() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let connect_timeout = Duration::from_millis(100);
    let silent = cause(Config { url: url.clone(), connect_timeout, ..patient() });
    assert_eq!(silent.await, Cause::TlsTimeout);

    let answers = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut client, b"-ERR what?\r\n").await.ok();
        }
    });
    let answered = cause(Config { url, ..patient() }).await;
    answers.abort();
    assert_eq!(answered, Cause::NotTls);
}

// redis R27
#[tokio::test]
async fn a_slow_handshake_is_bounded_by_connect_timeout_and_not_by_command_timeout() {
    let secured = Secured::start().await;
    let proxy = Proxy::before(secured.server.address()).await;
    let command_timeout = Duration::from_millis(50);
    let url = format!("rediss://{}", proxy.address());
    let endpoint = endpoint(Config { url, command_timeout, ..secured.redis() });
    proxy.set(Weather::Slow(Duration::from_millis(75))).await;
    let begun = Instant::now();
    let conn = endpoint.lease().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    proxy.set(Weather::Fair).await;
    drop(conn);
    works(&endpoint).await;
}

// redis R23
#[tokio::test]
async fn no_password_and_no_key_is_shown_by_anything() {
    let log = Log::here();
    let mut secured = Secured::start().await;
    let () = secured.server.ask(&["CONFIG", "SET", "requirepass", "s3cret"]).await;
    let (redis, home) = showing(secured.redis(), &secured.authority);
    let key = std::fs::read_to_string(home.path().join("key.pem")).unwrap();
    let url = secured.server.tls_url().replace("://", "://:s3cret@");
    let app = App::start(service(Config { url, ..redis }), routes()).await;
    app.becomes_ready().await;
    std::fs::write(secured.ca_file(), "s3cret").unwrap();
    std::fs::write(home.path().join("key.pem"), format!("s3cret{key}")).unwrap();
    secured.server.kill();
    secured.server.restart().await;
    eventually("the file is named", async || {
        unready(&app).await.contains("tls.ca_file holds no certificates").then_some(())
    })
    .await;
    let mut said = log.lines(Level::TRACE).join("\n");
    for path in ["/ready", "/health", "/stored", "/tree"] {
        write!(said, "{:?}", app.get(path).await).unwrap();
    }
    write!(said, "{:?} {:?}", app.state, app.state.config()).unwrap();
    assert!(said.contains("rediss://***@127.0.0.1:"), "{said}");
    let secret = key.lines().nth(1).unwrap();
    assert!(!said.contains("s3cret") && !said.contains(secret), "{said}");
    app.end().await;
}

// redis R17
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_with_tls_is_kept_alive_as_any_other() {
    let secured = Secured::start().await;
    let endpoint = endpoint(secured.redis());
    works(&endpoint).await;
    // proc(5): the remote address in hexadecimal, then `02:` where the timer that runs is that of keepalive.
    let remote = format!("0100007F:{:04X}", secured.server.address().port());
    eventually("the timer of keepalive runs", async || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let of = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let ours = sockets.lines().map(of).filter(|line| line[2] == remote && line[3] == "01");
        let timers: Vec<_> = ours.map(|line| line[5].clone()).collect();
        (!timers.is_empty() && timers.iter().all(|timer| timer.starts_with("02:"))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_cryptography_is_chosen_for_the_whole_process() {
    let secured = Secured::start().await;
    works(&endpoint(secured.redis())).await;
    assert!(CryptoProvider::get_default().is_none(), "that choice is the program's");
}
