//! What one service is called, where it listens and how long it takes over things.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The section `[service]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Config {
    /// What the service is called in `/health`, `/ready`, the log and `CLIENT LIST`, and in the paths of its files. Default when loaded: the
    /// program's file name.
    pub name: String,
    /// The address to listen on. Default 0.0.0.0, every IPv4 address of the machine.
    pub bind: IpAddr,
    /// The port to listen on. Default 8080; 0 takes any free one.
    pub port: u16,
    /// Where the service runs. Default "development"; "production" lengthens `drain_delay`.
    pub environment: String,
    /// The least level that is logged, or a list such as `info,redis=debug`. Default "info".
    pub log_level: String,
    /// How long a request may take until its answer begins. Default 30 s.
    pub request_timeout: Duration,
    /// How long the process may take from the signal to its exit. Default 25 s.
    pub shutdown_timeout: Duration,
    /// How long the service still answers, not ready, before it stops accepting. Default 0; when loaded, 5 s in production.
    pub drain_delay: Duration,
    /// How long a connection may be idle, and how long a client may take to send the head of a request. Default 75 s.
    pub keep_alive_timeout: Duration,
    /// The largest request body that is read, in bytes. Default 2 MiB.
    pub body_limit: usize,
    /// Whether each request has an id: `x-request-id` of its response, of log lines and of problem details. Default
    /// true.
    pub request_id: bool,
    /// Whether a handler that panics is answered 500; without, its connection is cut. Default true.
    pub panic_guard: bool,
    /// Whether responses are compressed by gzip for clients that take it. Default false.
    pub compression: bool,
    /// The origins whose pages may call the service: `off`, `*`, or a list as in
    /// `https://a.example, https://b.example`. Where it is on, each `OPTIONS` request is answered before it comes to a
    /// route, or to a `CorsLayer` of the service's own. Default "off".
    pub cors: String,
    /// Whether each request is a line of the log, at `info` and of the target `mainstay::access`. Default false.
    pub access_log: bool,
}

impl Config {
    /// The drain delay of a service in production that sets none: as long as a load balancer takes to notice.
    pub(super) const DRAIN_DELAY_IN_PRODUCTION: Duration = Duration::from_secs(5);

    /// Whether the environment is "production", in whatever case. Answers from memory.
    pub fn is_production(&self) -> bool {
        self.environment.eq_ignore_ascii_case("production")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "service".to_owned(),
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 8080,
            environment: "development".to_owned(),
            log_level: "info".to_owned(),
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(25),
            drain_delay: Duration::ZERO,
            keep_alive_timeout: Duration::from_secs(75),
            body_limit: 2 * 1024 * 1024,
            request_id: true,
            panic_guard: true,
            compression: false,
            cors: "off".to_owned(),
            access_log: false,
        }
    }
}
