//! Why a connection cannot be made, as this system says it: each cause on real sockets, files and names.
#![cfg(feature = "cache")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have no tree to run tasks in, and choose their server"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_actors::redis::{Cause, Config};

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
use support::{Server, endpoint};

/// Why no connection can be made.
async fn cause(config: Config) -> Cause {
    endpoint(config).probe_connection().await.unwrap_err()
}

async fn cause_at(path: &Path) -> Cause {
    cause(Config { url: format!("unix://{}", path.display()), ..Config::default() }).await
}

fn says(cause: Cause, words: &str) {
    assert!(cause.to_string().contains(words), "{cause:?}: {cause}");
}

/// Runs the test called `test` once more by `command`, to whose arguments the program and what it needs are added.
/// Returns whether this is that run.
fn is_inner(test: &str, command: &[&str]) -> bool {
    const INNER: &str = "MAINSTAY_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let mut inner = Command::new(command[0]);
    inner.args(&command[1..]).arg(std::env::current_exe().unwrap());
    let output = inner.args(["--exact", test, "--nocapture"]).env(INNER, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    false
}

/// Whether `command` works here. Says so if not, since what follows is then not tested.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
fn is_let(command: &[&str]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let is_let = output.is_ok_and(|output| output.status.success());
    if !is_let {
        eprintln!("not tested, since this system does not let us: {}", command.join(" "));
    }
    is_let
}

#[tokio::test]
async fn a_socket_path_that_leads_to_no_socket_is_its_own_cause() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    File::create(path("file")).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    let _datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
    for name in [
        &"x".repeat(108),
        "file/redis.sock",
        "loop",
        "loop/redis.sock",
        "datagrams",
        "file",
        "directory",
    ] {
        let cause = cause_at(&path(name)).await;
        assert_eq!(cause, Cause::SocketPath, "{name}: {cause}");
    }
    says(Cause::SocketPath, "check the path in the url");

    // Where nothing is, or nobody listens any more, a server may come.
    drop(UnixListener::bind(path("left")).unwrap());
    for name in ["left", "none", "none/redis.sock"] {
        assert_eq!(cause_at(&path(name)).await, Cause::Refused, "{name}");
    }
}

#[test]
fn a_directory_that_may_not_be_searched_is_permission_denied() {
    let as_nobody = ["setpriv", "--reuid=65534", "--clear-groups"];
    let program = std::env::current_exe().unwrap();
    let lists = [&as_nobody[..], &[program.to_str().unwrap(), "--list"]].concat();
    if !is_let(&lists) {
        return; // Only root can become another user, and nothing is forbidden to root.
    }
    let this = "a_directory_that_may_not_be_searched_is_permission_denied";
    if is_inner(this, &as_nobody) {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o000)).unwrap();
        let cause = in_a_runtime(cause_at(&home.path().join("redis.sock")));
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
        assert_eq!(cause, Cause::Denied);
        says(cause, "directories");
    }
}

fn in_a_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[tokio::test]
async fn a_password_file_says_why_it_cannot_be_read() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let path = |name: &str| server.path(name);
    std::fs::write(path("file"), "right").unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    let of = async |file: PathBuf| {
        // The password of the url would be right.
        let url = format!("{}?pass=right", server.url());
        cause(Config { url, password_file: Some(file), ..Config::default() }).await
    };
    for (name, why) in [
        ("none", "No such file"),
        ("file/password", "Not a directory"),
        ("directory", "Is a directory"),
        ("loop", "Too many levels of symbolic links"),
    ] {
        let cause = of(path(name)).await;
        assert!(matches!(cause, Cause::FileUnreadable { .. }), "{cause:?}");
        says(cause, &format!("password_file cannot be read: {why}"));
    }
    std::fs::write(path("no text"), [0xff, 0xfe]).unwrap();
    std::fs::write(path("empty"), "\n").unwrap();
    for name in ["no text", "empty"] {
        assert_eq!(of(path(name)).await, Cause::PasswordFile, "{name}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn each_file_for_tls_says_why_it_cannot_be_read() {
    use mainstay_actors::redis::Tls;

    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let path = |name: &str| Some(home.path().join(name));
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(home.path().join("cert.pem"), certificate).unwrap();
    let cert = path("cert.pem");
    for (key, tls) in [
        ("tls.ca_file", Tls { ca_file: path("none"), ..Tls::default() }),
        (
            "tls.cert_file",
            Tls { cert_file: path("none"), key_file: path("none"), ..Tls::default() },
        ),
        ("tls.key_file", Tls { cert_file: cert, key_file: path("none"), ..Tls::default() }),
    ] {
        let cause = cause(Config { url: url.clone(), tls, ..Config::default() }).await;
        says(cause, &format!("{key} cannot be read: No such file"));
    }
}

/// Opens files until no descriptor is left.
fn all_descriptors() -> Vec<File> {
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() < 1024, "the limit does not count");
    files
}

const FEW_DESCRIPTORS: [&str; 4] = ["sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh"];

#[test]
fn a_process_without_descriptors_says_so_whatever_it_wants_one_for() {
    let this = "a_process_without_descriptors_says_so_whatever_it_wants_one_for";
    if !is_inner(this, &FEW_DESCRIPTORS) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::write(path("password"), "sesame").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(path("redis.sock")).unwrap();
    let at = |url: String| Config { url, ..Config::default() };
    #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "one more follows with TLS"))]
    let mut configs = vec![
        ("a socket of TCP", at(format!("redis://{}", tcp.local_addr().unwrap()))),
        ("a unix socket", at(format!("unix://{}", path("redis.sock").display()))),
        ("a name", at("redis://no-such-host.invalid".to_owned())),
        (
            "a password file",
            Config { password_file: Some(path("password")), ..at("redis://127.0.0.1:1".into()) },
        ),
    ];
    #[cfg(feature = "tls")]
    {
        let tls =
            mainstay_actors::redis::Tls { ca_file: Some(path("password")), ..Default::default() };
        let url = format!("rediss://{}", tcp.local_addr().unwrap());
        configs.push(("a file for tls", Config { tls, ..at(url) }));
    }
    in_a_runtime(async {
        for (what, config) in configs {
            let endpoint = endpoint(config);
            let held = all_descriptors();
            let cause = endpoint.probe_connection().await.unwrap_err();
            drop(held);
            assert_eq!(cause, Cause::NoDescriptors, "{what}: {cause}");
        }
    });
    says(Cause::NoDescriptors, "check the limit on open files");
}

/// Runs the test called `test` in a network of its own, in which `setup` has run; says whether this is that run.
#[cfg(target_os = "linux")]
fn is_in_network(test: &str, setup: &str) -> bool {
    let script = format!("ip link set lo up && {setup} && exec \"$@\"");
    let command = ["unshare", "-Urn", "sh", "-c", &script, "sh"];
    let tries = [&command[..], &["true"]].concat();
    (std::env::var_os("MAINSTAY_TEST_INNER").is_some() || is_let(&tries))
        && is_inner(test, &command)
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_a_free_port_is_told_from_a_server_out_of_reach() {
    let this = "a_machine_without_a_free_port_is_told_from_a_server_out_of_reach";
    if !is_in_network(this, "echo 2000 2000 > /proc/sys/net/ipv4/ip_local_port_range") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:3000").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let _only = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let cause = in_a_runtime(cause(Config { url, ..Config::default() }));
    assert_eq!(cause, Cause::NoPorts, "{cause}");
    says(cause, "ip_local_port_range");
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_of_ipv6_on_a_machine_without_is_out_of_reach() {
    let this = "an_address_of_ipv6_on_a_machine_without_is_out_of_reach";
    let disabled = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1";
    if is_in_network(this, disabled) {
        for host in ["[::1]", "[2001:db8::1]"] {
            let url = format!("redis://{host}:6379");
            let cause = in_a_runtime(cause(Config { url, ..Config::default() }));
            assert_eq!(cause, Cause::Unreachable, "{host}: {cause}");
            says(cause, "IPv6");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_this_machine_does_not_let_out_is_told_from_what_is_out_of_reach() {
    let this = "what_this_machine_does_not_let_out_is_told_from_what_is_out_of_reach";
    let routes = "ip route add prohibit 192.0.2.1 && ip route add unreachable 192.0.2.2 \
                  && ip route add blackhole 192.0.2.3";
    if !is_in_network(this, routes) {
        return;
    }
    let of = |host: &str| {
        let url = format!("redis://{host}:6379");
        in_a_runtime(cause(Config { url, ..Config::default() }))
    };
    assert_eq!(of("192.0.2.1"), Cause::Blocked);
    says(Cause::Blocked, "firewall");
    assert_eq!(of("192.0.2.2"), Cause::Unreachable);
    assert_eq!(of("192.0.2.4"), Cause::Unreachable, "there is no route");
    // What we have no advice for, the system says in its own words.
    says(of("192.0.2.3"), "Invalid argument (os error 22)");
}
