//! The program as its user meets it: started, asked over HTTP, killed, ended.
#![expect(clippy::disallowed_methods, reason = "a test's load belongs to no actor")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;
#[cfg(target_os = "linux")]
mod surroundings;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Answer, Group, Place, Redis, SLACK, client, eventually, find, kill, restarts, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CHAOS: (&str, &str) = ("QUICKSTART_CHAOS", "1");
const UNAVAILABLE: &str = "urn:mainstay:problem:unavailable";
const OUTCOME_UNKNOWN: &str = "urn:mainstay:problem:outcome-unknown";

#[tokio::test]
async fn a_user_comes_from_the_database_and_then_from_the_cache() {
    let place = Place::new();
    let quickstart = place.start(&[]).await;
    for x_cache in ["miss", "hit", "hit"] {
        let answer = quickstart.get("/api/v1/users/2").await;
        assert_eq!((answer.status, answer.header("x-cache")), (200, Some(x_cache)));
        assert_eq!(answer.json(), json!({"id": 2, "name": "Grace", "email": "grace@example.org"}));
    }
    assert!((1..=300).contains(&ask_redis(&place, "TTL user:2")));

    for _ in 0..2 {
        let unknown = quickstart.get("/api/v1/users/99").await;
        unknown.problem(404);
        assert_eq!(unknown.header("x-cache"), None);
    }
    assert_eq!(quickstart.get("/api/v1/users/ada").await.status, 400);
    assert_eq!(quickstart.get("/api/v1/nothing").await.status, 404);
}

#[tokio::test]
async fn a_changed_user_is_not_served_from_before() {
    let place = Place::new();
    let quickstart = place.start(&[]).await;
    let user = "/api/v1/users/1";
    assert!(!quickstart.is_hit(1).await);
    assert!(quickstart.is_hit(1).await);

    let wanted = json!({"id": 1, "name": "Ada Lovelace", "email": "ada@example.com"});
    let body = r#"{"name":"Ada Lovelace","email":"ada@example.com"}"#;
    let put = quickstart.put(user, body).await;
    assert_eq!((put.status, put.json()), (200, wanted.clone()));
    for x_cache in ["miss", "hit"] {
        let read = quickstart.get(user).await;
        assert_eq!(read.header("x-cache"), Some(x_cache));
        assert_eq!(read.json(), wanted);
    }

    quickstart.put("/api/v1/users/99", body).await.problem(404);
    assert_eq!(quickstart.put(user, r#"{"name":"#).await.status, 400);
    assert_eq!(quickstart.put(user, r#"{"name":"Ada"}"#).await.status, 422);
    assert_eq!(quickstart.put(user, r#"{"name":"","email":""}"#).await.status, 422);
    let untyped = quickstart.client.put(format!("{}{user}", quickstart.url)).body(body);
    assert_eq!(Answer::of(untyped).await.status, 415);
    assert_eq!(quickstart.get(user).await.json(), wanted);
}

#[tokio::test]
async fn what_was_changed_is_there_after_a_restart() {
    let place = Place::new();
    let mut first = place.start(&[]).await;
    let body = r#"{"name":"Barbara Liskov","email":"barbara@example.org"}"#;
    assert_eq!(first.put("/api/v1/users/3", body).await.status, 200);
    first.signal("-TERM");
    assert_eq!(first.ended().await, Some(0));

    let second = place.start(&[]).await;
    assert_eq!(second.get("/api/v1/users/3").await.json()["name"], "Barbara Liskov");
}

#[tokio::test]
async fn reads_are_counted_for_each_user() {
    let place = Place::new();
    let quickstart = place.start(&[]).await;
    for (path, status) in
        [("/api/v1/users/1", 200), ("/api/v1/users/1", 200), ("/api/v1/users/99", 404)]
    {
        assert_eq!(quickstart.get(path).await.status, status);
    }
    for (id, reads) in [(1, 2), (2, 0), (99, 0)] {
        let answer = quickstart.get(&format!("/api/v1/users/{id}/reads")).await;
        assert_eq!(answer.json(), json!({"user_id": id, "reads": reads}));
    }
}

#[tokio::test]
async fn a_session_lives_for_an_hour() {
    let place = Place::new();
    let quickstart = place.start(&[]).await;
    let created = quickstart.post("/api/v1/sessions", r#"{"user_id":3}"#).await;
    assert_eq!(created.status, 201);
    let created = created.json();
    let id = created["session_id"].as_str().unwrap();

    let session = quickstart.get(&format!("/api/v1/sessions/{id}")).await;
    assert_eq!((session.status, &session.json()["user_id"]), (200, &json!(3)));
    assert!(session.json()["created_at"].is_string());
    assert!((3590..=3600).contains(&ask_redis(&place, &format!("TTL session:{id}"))));

    quickstart.get("/api/v1/sessions/none").await.problem(404);
    quickstart.post("/api/v1/sessions", r#"{"user_id":99}"#).await.problem(422);
    assert_eq!(quickstart.post("/api/v1/sessions", "{").await.status, 400);
}

#[tokio::test]
async fn the_service_shows_itself() {
    let place = Place::new();
    let quickstart = place.start(&[]).await;
    assert!(!quickstart.is_hit(1).await);

    let health = quickstart.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("healthy")));
    let ready = quickstart.get("/ready").await;
    assert_eq!(ready.status, 200);
    let wanted = json!({
        "ready": true,
        "service": "quickstart",
        "dependencies": {"redis": {"healthy": true, "message": "connected"}},
    });
    assert_eq!(ready.json(), wanted);

    let status = quickstart.get("/api/v1/cache/status").await.json();
    // Nobody has needed a connection of its own.
    for (field, value) in [
        ("max_size", 50),
        ("size", 0),
        ("available", 50),
        ("waiting", 0),
        ("control", 1),
        ("generation", 1),
        ("rebuilds", 0),
        ("large_values", 0),
    ] {
        assert_eq!(status[field], value, "{field}: {status}");
    }
    // One for each processor, at most 4, and one for large values.
    assert!((2..=5).contains(&status["lanes"].as_u64().unwrap()), "{status}");

    let tree = quickstart.tree().await;
    let ids: Vec<_> = tree["children"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    let wanted = [
        "embedded-redis",
        "pool-manager",
        "health-monitor",
        "nursery",
        "subscriptions",
        "application",
    ];
    assert_eq!(ids, wanted);
    let pool = find(&tree, "pool-manager").unwrap();
    for (field, value) in [
        ("state", json!("up")),
        ("restarts", json!(0)),
        ("generation", json!(1)),
        ("rebuilds", json!(0)),
        ("last_rebuild_reason", Value::Null),
    ] {
        assert_eq!(pool.get(field), Some(&value), "{field}");
    }
    assert_eq!(find(&tree, "reads").unwrap()["path"], "mainstay/application/reads");
    assert!(find(&tree, "embedded-redis").unwrap()["pid"].is_u64());
    assert_eq!(restarts(&tree), 0);
}

#[tokio::test]
async fn only_chaos_brings_the_route_that_crashes_an_actor() {
    let place = Place::new();
    let crash = "/api/v1/tree/pool-manager/crash";
    let quickstart = place.start(&[]).await;
    assert_eq!(quickstart.post(crash, "").await.status, 404);
    assert!(!quickstart.stdout().contains("/crash"));
    assert_eq!(restarts(&quickstart.tree().await), 0);

    let quickstart = place.start(&[CHAOS]).await;
    assert_eq!(quickstart.post(crash, "").await.status, 202);
    eventually("pool-manager is back", async || {
        let tree = quickstart.tree().await;
        let pool = find(&tree, "pool-manager").unwrap();
        pool["restarts"] == 1 && pool["state"] == "up" && pool["generation"] == 1
    })
    .await;
    for id in ["nobody", "application"] {
        quickstart.post(&format!("/api/v1/tree/{id}/crash"), "").await.problem(404);
    }
    assert!(quickstart.stdout().contains("/crash"));
}

#[tokio::test]
async fn an_actor_that_has_fallen_cannot_be_crashed_until_it_is_back() {
    let place = Place::new();
    fs::write(
        place.path("config.toml"),
        "[supervision]\nbackoff_min = \"30s\"\nbackoff_max = \"30s\"\nwithin = \"1h\"\n",
    )
    .unwrap();
    let quickstart = place.start(&[CHAOS]).await;
    let crash = "/api/v1/tree/reads/crash";
    let mut answer = quickstart.post(crash, "").await;
    assert_eq!(answer.status, 202);
    // The delay is random: how often it takes until one is long enough to be seen is too.
    eventually("an answer that is not 202", async || {
        answer = quickstart.post(crash, "").await;
        answer.status != 202
    })
    .await;
    answer.problem(409);
}

#[tokio::test]
async fn the_database_answers_while_the_embedded_server_is_killed_under_load() {
    let place = Place::new();
    let quickstart = Arc::new(place.start(&[]).await);
    eventually("a hit", async || quickstart.is_hit(1).await).await;

    let (ends, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..8 {
        let (quickstart, ends, reads) =
            (Arc::clone(&quickstart), Arc::clone(&ends), Arc::clone(&reads));
        readers.spawn(async move {
            let mut answers = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let answer = quickstart.get("/api/v1/users/1").await;
                let x_cache = answer.header("x-cache").map(str::to_owned);
                answers.push((answer.status, x_cache.unwrap_or_default()));
                reads.fetch_add(1, Ordering::Relaxed);
            }
            answers
        });
    }
    let mut sessions = JoinSet::new();
    for _ in 0..2 {
        let (quickstart, ends) = (Arc::clone(&quickstart), Arc::clone(&ends));
        sessions.spawn(async move {
            let mut answers = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let written = quickstart.post("/api/v1/sessions", r#"{"user_id":1}"#).await;
                let read = quickstart.get("/api/v1/sessions/none").await;
                answers.push((written, read));
            }
            answers
        });
    }
    eventually("load", async || reads.load(Ordering::Relaxed) > 100).await;

    // A server that dies young is not started again at once: there is time in which it is away.
    let mut pid = quickstart.pid().await.unwrap();
    for _ in 0..3 {
        kill("-9", pid);
        let mut next = None;
        eventually("another server", async || {
            next = quickstart.pid().await.filter(|next| *next != pid);
            next.is_some()
        })
        .await;
        pid = next.unwrap();
    }
    let limit = Duration::from_secs(1) + SLACK;
    within(limit, "a hit", async || quickstart.is_hit(1).await).await;
    let created = quickstart.post("/api/v1/sessions", r#"{"user_id":1}"#).await;
    assert_eq!(created.status, 201);

    ends.store(true, Ordering::Relaxed);
    let answers: Vec<_> = readers.join_all().await.into_iter().flatten().collect();
    let known = ["hit", "miss", "bypass"];
    let odd = answers.iter().find(|(status, x)| *status != 200 || !known.contains(&x.as_str()));
    assert_eq!(odd, None);
    for x_cache in ["hit", "bypass"] {
        assert!(answers.iter().any(|(_, seen)| seen == x_cache), "no {x_cache}");
    }

    let mut away = 0;
    for (written, read) in sessions.join_all().await.into_iter().flatten() {
        match written.status {
            201 => {}
            503 => {
                away += 1;
                assert_is_away(&written);
            }
            // Sent when the server died: it may have been executed.
            _ => assert_eq!(written.problem(504).0, OUTCOME_UNKNOWN),
        }
        // A read that was cut off changed nothing, and can be repeated.
        if read.status != 404 {
            assert_is_away(&read);
        }
    }
    assert_ne!(away, 0, "no 503");
    // redis R4
    assert_eq!(restarts(&quickstart.tree().await), 0);
    assert!(!quickstart.stderr().contains("panicked"));
}

fn assert_is_away(answer: &Answer) {
    assert_eq!(answer.problem(503).0, UNAVAILABLE);
    let retry_after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&retry_after));
}

#[tokio::test]
async fn a_user_changed_while_redis_is_frozen_is_not_served_from_before() {
    let place = Place::new();
    let quickstart = place.start(&[]).await;
    let user = "/api/v1/users/1";
    eventually("a hit", async || quickstart.is_hit(1).await).await;
    let pid = quickstart.pid().await.unwrap();
    kill("-STOP", pid);

    // The first is sent to the frozen server; later ones know.
    let begun = Instant::now();
    let read = quickstart.get(user).await;
    assert_eq!((read.status, read.header("x-cache")), (200, Some("bypass")));
    // redis R2
    assert!(begun.elapsed() < Duration::from_millis(500) + SLACK);
    let body = r#"{"name":"Ada Lovelace","email":"ada@example.org"}"#;
    assert_eq!(quickstart.put(user, body).await.status, 200);
    assert_eq!(quickstart.get(user).await.json()["name"], "Ada Lovelace");

    kill("-CONT", pid);
    eventually("a hit on the new user", async || {
        let read = quickstart.get(user).await;
        assert_eq!(read.status, 200);
        read.header("x-cache") == Some("hit") && read.json()["name"] == "Ada Lovelace"
    })
    .await;
    assert_eq!(quickstart.pid().await, Some(pid));
    assert_eq!(restarts(&quickstart.tree().await), 0);
}

#[tokio::test]
async fn a_killed_service_leaves_no_server_and_the_next_one_clears_up() {
    for is_frozen in [false, true] {
        let place = Place::new();
        let mut killed = place.start(&[]).await;
        let pid = killed.pid().await.unwrap();
        let group = Group::of(pid);
        assert!(group.alive().len() > 1, "a server, and who watches it");
        if is_frozen {
            kill("-STOP", pid);
        }
        killed.signal("-9");
        within(Duration::from_secs(2) + SLACK, "no child", async || group.alive().is_empty()).await;
        assert_eq!(killed.ended().await, None);
        let left = place.homes();
        assert_eq!(left.len(), 1);

        let next = place.start(&[]).await;
        assert_eq!(place.homes().len(), 1);
        assert_ne!(place.homes(), left);
        eventually("a hit", async || next.is_hit(1).await).await;
    }
}

#[tokio::test]
async fn a_signal_ends_the_service_and_all_it_started() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        let mut quickstart = place.start(&[]).await;
        let group = Group::of(quickstart.pid().await.unwrap());
        assert_eq!(quickstart.get("/api/v1/users/1").await.status, 200);
        quickstart.signal(signal);
        assert_eq!(quickstart.ended().await, Some(0), "{signal}");
        within(SLACK, "no child", async || group.alive().is_empty()).await;
        assert!(place.homes().is_empty(), "{signal}");
        assert_eq!(quickstart.stderr(), "");
    }
}

#[tokio::test]
async fn two_signals_in_one_moment_are_one_wish() {
    let place = Place::new();
    let mut quickstart = place.start(&[]).await;
    // The connection that this leaves open keeps the end from coming before the second signal.
    assert_eq!(quickstart.get("/api/v1/users/1").await.status, 200);
    quickstart.signal("-INT");
    quickstart.signal("-TERM");
    assert_eq!(quickstart.ended().await, Some(0));
    assert_eq!(quickstart.stderr(), "");
}

#[tokio::test]
async fn a_signal_during_an_outage_ends_the_service_at_once() {
    let place = Place::new();
    let url = format!("unix://{}", place.path("absent.sock").display());
    let mut quickstart = place.start_without_redis(&[("ACTON_REDIS_URL", &url)]).await;
    let body = r#"{"name":"Ada","email":"ada@example.org"}"#;
    assert_eq!(quickstart.put("/api/v1/users/1", body).await.status, 200);
    let begun = Instant::now();
    quickstart.signal("-TERM");
    assert_eq!(quickstart.ended().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5) + SLACK);
}

#[tokio::test]
async fn every_request_that_arrived_before_a_signal_is_answered() {
    let place = Place::new();
    let mut quickstart = place.start(&[]).await;
    let host = quickstart.host().to_owned();

    // Ten requests whose handlers wait for the rest of the body, and so are known to be under way.
    let mut uploads = Vec::new();
    for _ in 0..10 {
        uploads.push(Upload::begin(&host).await);
    }
    let mut load = JoinSet::new();
    let answered = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        load.spawn(read_until_refused(host.clone(), "close", Arc::clone(&answered)));
        load.spawn(read_until_refused(host.clone(), "keep-alive", Arc::clone(&answered)));
    }
    eventually("load", async || answered.load(Ordering::Relaxed) > 100).await;

    let asked = Instant::now();
    quickstart.signal("-TERM");
    for (sent, answer) in load.join_all().await.into_iter().flatten() {
        // Whoever comes after the signal may find the door closing, but never half an answer.
        assert!(sent > asked, "a request from before the signal was not answered");
        assert_eq!(answer, "");
    }
    assert_eq!(quickstart.try_wait(), None, "ten requests are still under way");
    for upload in uploads {
        upload.finish().await;
    }
    assert_eq!(quickstart.ended().await, Some(0));
}

/// Reads a user again and again, until nobody listens any more. Gives the request that was sent and not answered, if
/// there is one: when it was sent, and what came back.
async fn read_until_refused(
    host: String,
    connection: &str,
    answered: Arc<AtomicUsize>,
) -> Option<(Instant, String)> {
    let request =
        format!("GET /api/v1/users/1 HTTP/1.1\r\nhost: q\r\nconnection: {connection}\r\n\r\n");
    while let Ok(mut stream) = TcpStream::connect(&host).await {
        loop {
            // A failure to write is a failure to read, too.
            stream.write_all(request.as_bytes()).await.ok();
            let sent = Instant::now();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") && stream.read_buf(&mut answer).await.unwrap_or(0) > 0 {}
            let answer = String::from_utf8(answer).unwrap();
            if !answer.starts_with("HTTP/1.1 200 ") || !answer.ends_with('}') {
                return Some((sent, answer));
            }
            answered.fetch_add(1, Ordering::Relaxed);
            if answer.contains("connection: close\r\n") {
                break;
            }
        }
    }
    None
}

struct Upload(TcpStream);

impl Upload {
    const BODY: &str = r#"{"name":"Grace","email":"grace@example.org"}"#;

    async fn begin(host: &str) -> Self {
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "PUT /api/v1/users/2 HTTP/1.1\r\nhost: q\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nexpect: 100-continue\r\n\r\n",
            Self::BODY.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        Self(stream)
    }

    async fn finish(mut self) {
        self.0.write_all(Self::BODY.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with('}'), "{answer}");
    }
}

#[tokio::test]
async fn a_taken_port_is_one_line_and_harms_nobody() {
    let place = Place::new();
    let first = place.start(&[]).await;
    let port = first.host().split(':').nth(1).unwrap();
    let text = refusal(&place, &[("ACTON_SERVICE_PORT", port)]).await;
    let taken = std::net::TcpListener::bind(first.host()).unwrap_err();
    let wanted = format!(
        "Error: cannot listen on 127.0.0.1:{port}: end the program that listens there, or choose another port with \
         ACTON_SERVICE_PORT: {taken}\n"
    );
    assert_eq!(text, wanted);
    assert_eq!(place.homes().len(), 1, "the first one's");
    assert_eq!(first.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_port_that_is_none_is_named_with_its_variable() {
    for port in ["abc", "70000", "-1"] {
        let place = Place::new();
        let text = refusal(&place, &[("ACTON_SERVICE_PORT", port)]).await;
        for part in ["service.port", "ACTON_SERVICE_PORT", port] {
            assert!(text.contains(part), "{text}");
        }
        assert!(place.homes().is_empty());
    }
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_file() {
    let place = Place::new();
    fs::write(place.path("config.toml"), "[redis]\nurll = \"redis://localhost\"\n").unwrap();
    let text = refusal(&place, &[]).await;
    for part in ["redis.urll", "config.toml", "url?"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(place.homes().is_empty());
}

// acton 23
#[tokio::test]
async fn three_faults_of_three_sources_are_told_at_once() {
    let place = Place::new();
    fs::write(place.path("config.toml"), "[redis]\nmax_connections = 0\n").unwrap();
    let text = refusal(
        &place,
        &[
            ("ACTON_REDIS_URL", "http://:sesame@store:6379"),
            ("MAINSTAY_SERVICE_REQUEST_TIMEOUT", "soon"),
            ("RUST_BACKTRACE", "1"),
            ("HOME", "/home/nobody"),
        ],
    )
    .await;
    let here = place.path("config.toml");
    let here = here.display();
    let wanted = format!(
        "\
Error: the configuration has 3 faults
  service.request_timeout in MAINSTAY_SERVICE_REQUEST_TIMEOUT: given \"soon\"; wanted: a duration, 1ms to 365d
  redis.url in ACTON_REDIS_URL: given http://***@store:6379; wanted: redis://host:port, valkey://host:port, with TLS \
rediss:// or valkeys://, unix:///path or embedded
  redis.max_connections in {here}: given 0; wanted: a count, 1 to 10000
  configuration files read, the last wins: {here}; not there: /etc/acton-service/quickstart/config.toml, \
/home/nobody/.config/acton-service/quickstart/config.toml, /etc/mainstay/quickstart/config.toml, \
/home/nobody/.config/mainstay/quickstart/config.toml
"
    );
    assert_eq!(text, wanted);
    assert!(place.homes().is_empty());
}

#[tokio::test]
async fn a_bad_url_is_told_with_what_it_should_be() {
    let without_scheme = "a text without a scheme; wanted: redis://host:port, ";
    for (url, told) in [
        ("store:6379", without_scheme),
        ("redis:/store", without_scheme),
        (
            "redis://:sesame@store:port",
            "redis://***@store:***; wanted: redis://[user][:password@]host",
        ),
        (
            "redis://:sesame@store/first",
            "redis://***@store/***; wanted: a database number, as in redis://",
        ),
    ] {
        let text = refusal(&Place::new(), &[("ACTON_REDIS_URL", url)]).await;
        let line = format!("  redis.url in ACTON_REDIS_URL: given {told}");
        assert!(text.lines().nth(1).unwrap().starts_with(&line), "{text}");
        // The heading, the fault, the files.
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains("sesame"), "{text}");
    }
}

// acton 23
#[tokio::test]
async fn the_first_lines_say_what_was_read_what_won_and_what_has_no_effect() {
    let place = Place::new();
    fs::write(place.path("config.toml"), "[redsi]\nurl = 'x'\n[rate_limit]\nper_user_rpm = 5\n")
        .unwrap();
    let nobody = format!("unix://{}", place.path("absent.sock").display());
    let mut quickstart = place
        .start_without_redis(&[
            ("ACTON_REDIS_URL", "redis://:sesame@store:6379"),
            ("MAINSTAY_REDIS_URL", &nobody),
            ("ACTON_REDIS_PORT", "tcp://10.0.0.7:6379"),
            ("ACTON_TOKEN__FORMAT", "sesame"),
        ])
        .await;
    eventually("a probe has failed", async || {
        quickstart.stdout().contains("redis does not answer")
    })
    .await;
    quickstart.signal("-TERM");
    assert_eq!(quickstart.ended().await, Some(0));

    let (log, here) = (quickstart.stdout(), place.path("config.toml"));
    let here = here.display();
    for line in [
        format!("INFO mainstay::config: configuration files read, the last wins: {here}; not there: /etc/acton-service/"),
        "INFO mainstay::config: MAINSTAY_REDIS_URL wins over ACTON_REDIS_URL: they are set differently".to_owned(),
        "INFO mainstay::config: variables passed over as Kubernetes service links".to_owned(),
        format!("WARN mainstay::config: [rate_limit] in {here} has no effect here: no request is limited"),
        format!("WARN mainstay::config: [redsi] in {here} has no effect; is [redis] meant?"),
        "WARN mainstay::config: ACTON_TOKEN__FORMAT has no effect here: no token is checked".to_owned(),
        format!(
            "WARN mainstay_actors::health::actor: redis does not answer endpoint=\"redis\" address={nobody}?db=0 \
             cause=connection refused; check that redis runs and that the url names its port or socket"
        ),
    ] {
        let found = log.lines().filter(|logged| logged.contains(&line)).count();
        assert_eq!(found, 1, "{line} is not once in\n{log}");
    }
    assert!(!log.contains("sesame"), "{log}");
    assert_eq!(quickstart.stderr(), "");
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_one_line() {
    let place = Place::new();
    fs::create_dir(place.path("quickstart.db")).unwrap();
    let line = refusal(&place, &[]).await;
    assert!(line.contains("quickstart.db"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(place.homes().is_empty());

    let place = Place::new();
    fs::write(place.path("quickstart.db"), "no database".repeat(100)).unwrap();
    let line = refusal(&place, &[]).await;
    assert!(line.contains("quickstart.db"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[tokio::test]
async fn a_machine_without_a_server_is_told_what_to_install() {
    let place = Place::new();
    let line = refusal(&place, &[("PATH", "/nowhere")]).await;
    assert!(line.contains("redis-server") && line.contains("install"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

/// What a program that does not start says on stderr.
async fn refusal(place: &Place, variables: &[(&str, &str)]) -> String {
    let mut refused = place.spawn(variables);
    assert_eq!(refused.ended().await, Some(1));
    let text = refused.stderr();
    assert!(text.starts_with("Error: ") && !text.contains("panicked"), "{text}");
    assert!(!refused.stdout().contains("listens on"));
    text
}

#[tokio::test]
async fn an_actor_that_falls_too_often_ends_the_service_which_says_so() {
    for (actor, path) in
        [("pool-manager", "mainstay/pool-manager"), ("reads", "mainstay/application/reads")]
    {
        let place = Place::new();
        let mut quickstart = place.start(&[CHAOS]).await;
        let group = Group::of(quickstart.pid().await.unwrap());
        let client = client();
        let crash = format!("{}/api/v1/tree/{actor}/crash", quickstart.url);
        eventually("the end", async || {
            // Refused once it has ended.
            client.post(&crash).send().await.ok();
            quickstart.try_wait().is_some()
        })
        .await;
        assert_eq!(quickstart.ended().await, Some(1));
        let stderr = quickstart.stderr();
        let last = stderr.lines().last().unwrap();
        assert!(last.starts_with("Error: "), "{last}");
        assert!(last.contains(path) && last.contains("fell 6 times within 30s"), "{last}");
        within(SLACK, "no child", async || group.alive().is_empty()).await;
        assert!(place.homes().is_empty());
    }
}

#[tokio::test]
async fn a_redis_that_comes_late_is_used_once_it_is_there() {
    let place = Place::new();
    let socket = place.path("late.sock");
    let url = format!("unix://{}", socket.display());
    let mut quickstart = place.start_without_redis(&[("ACTON_REDIS_URL", &url)]).await;
    let read = quickstart.get("/api/v1/users/1").await;
    assert_eq!((read.status, read.header("x-cache")), (200, Some("bypass")));
    assert_eq!(quickstart.get("/ready").await.status, 503);
    assert_eq!(quickstart.get("/health").await.status, 200);
    assert_is_away(&quickstart.post("/api/v1/sessions", r#"{"user_id":1}"#).await);
    assert_is_away(&quickstart.get("/api/v1/sessions/none").await);
    let body = r#"{"name":"Ada Lovelace","email":"ada@example.org"}"#;
    assert_eq!(quickstart.put("/api/v1/users/1", body).await.status, 200);

    let _redis = Redis::start(&socket);
    within(Duration::from_secs(2) + SLACK, "ready", async || {
        quickstart.get("/ready").await.status == 200
    })
    .await;
    eventually("a hit", async || quickstart.is_hit(1).await).await;
    assert_eq!(quickstart.get("/api/v1/users/1").await.json()["name"], "Ada Lovelace");
    let tree = quickstart.tree().await;
    assert!(find(&tree, "embedded-redis").is_none());
    assert_eq!(restarts(&tree), 0);
    assert!(place.homes().is_empty());

    quickstart.signal("-INT");
    assert_eq!(quickstart.ended().await, Some(0));
}

#[tokio::test]
async fn a_redis_in_a_file_of_the_configuration_is_used() {
    let place = Place::new();
    let socket = place.path("own.sock");
    let _redis = Redis::start(&socket);
    let text = format!("[redis]\nurl = \"unix://{}\"\n", socket.display());
    fs::write(place.path("config.toml"), text).unwrap();
    let quickstart = place.start(&[]).await;
    eventually("a hit", async || quickstart.is_hit(1).await).await;
    assert!(find(&quickstart.tree().await, "embedded-redis").is_none());
    assert!(place.homes().is_empty());
}

#[tokio::test]
async fn each_command_that_is_printed_works_as_pasted() {
    let place = Place::new();
    let quickstart = place.start(&[CHAOS]).await;
    let text = quickstart.stdout();
    let commands: Vec<_> =
        text.lines().filter_map(|line| Some(&line[line.find("curl ")?..])).collect();
    assert_eq!(commands.len(), 6, "{text}");
    let wanted = ["200 OK", "200 OK", "200 OK", "201 Created", "200 OK", "202 Accepted"];
    for (command, status) in commands.iter().zip(wanted) {
        let answer = paste(command);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{command}: {answer}");
    }

    let old = quickstart.pid().await;
    let kill = text.lines().find_map(|line| Some(&line[line.find("kill -9 ")?..])).unwrap();
    paste(kill);
    eventually("another server", async || {
        let new = quickstart.pid().await;
        new.is_some() && new != old
    })
    .await;
}

fn paste(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nobody_need_read_what_is_printed() {
    let place = Place::new();
    let port = free_port();
    let mut command = place.command(&[("ACTON_SERVICE_PORT", &port)]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let (client, url) = (client(), format!("http://127.0.0.1:{port}/api/v1/users/1"));
    eventually("an answer", async || client.get(&url).send().await.is_ok()).await;
    kill("-TERM", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// A port that nobody had a moment ago. What prints no address cannot be given port 0.
fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// Asks the embedded server itself something whose answer is a number.
fn ask_redis(place: &Place, question: &str) -> i64 {
    let home = place.homes().pop().unwrap();
    let mut stream = UnixStream::connect(home.join("redis.sock")).unwrap();
    stream.write_all(format!("{question}\r\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().strip_prefix(':').unwrap().parse().unwrap()
}
