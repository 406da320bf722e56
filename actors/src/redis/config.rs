use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::redis::address::Address;

/// The most endpoints beside the default one.
pub const MOST_ENDPOINTS: usize = 16;

/// How one Redis endpoint is reached and used.
///
/// Every size and every duration must be more than zero; [`Config::validate`] names each fault.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where Redis is: `redis://`, `valkey://`, with TLS `rediss://`, `valkeys://`, or `unix://` or `embedded`. May
    /// hold a user and a password. Default `redis://localhost:6379`.
    pub url: String,
    /// The most leases that are out at once, and so the most dedicated connections that callers use. Default 50, at
    /// most 10 000 (the default of the server's `maxclients`).
    pub max_connections: u32,
    /// How many connections callers share for commands that need no dedicated one. Default the number of processors, at
    /// most 4. One more connection carries large values.
    pub lanes: Option<u32>,
    /// The longest wait for a lease; a request's deadline may end it sooner, and so does `connect_timeout` while
    /// connecting fails. Default 30 s. At most 16 callers for each lease (at least 1 024) wait at once.
    pub connection_timeout: Duration,
    /// The longest time for one attempt to connect, with name lookup, handshakes and login. Default 1 s.
    pub connect_timeout: Duration,
    /// The longest time for one command or pipeline; a request's deadline may end it sooner, and a blocking command
    /// gets the time for which it may block on top. Default 500 ms.
    pub command_timeout: Duration,
    /// A regular file of at most 4 096 bytes that holds the password. It is read at each attempt to connect and takes
    /// precedence over a password in `url`; an empty file is an error. Default none.
    pub password_file: Option<PathBuf>,
    /// The files for TLS. Default none: the server's certificate comes from a public authority, and we present none.
    pub tls: Tls,
    /// The age, 20 % more or less, at which a connection is replaced, never during a command. Default 5 min.
    pub recycle_timeout: Duration,
    /// The time from one health probe to the next. Default 500 ms.
    pub probe_interval: Duration,
    /// The longest time for one health probe. Default 250 ms.
    pub probe_timeout: Duration,
    /// Whether the service counts as ready while this endpoint is away. Default false.
    pub optional: bool,
    /// How long leases of an old generation may stay out before they are cut. Default 30 s.
    pub drain_timeout: Duration,
    /// The name of our connections in `CLIENT LIST`; the endpoint, the purpose and the process id follow it. Default
    /// `mainstay`.
    pub client_name: String,
}

/// The files for TLS, each a regular file in PEM of at most 1 MiB. The URL alone says whether TLS is used: `rediss://`
/// or `valkeys://`.
///
/// The server's certificate is always verified, and must name the host of the URL. The files are read at each attempt
/// to connect, so new files take effect with the next connection, without a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The certificates of the only authorities that the server's certificate may come from. Default none, which means
    /// the public authorities (Mozilla's list at the time of this build).
    pub ca_file: Option<PathBuf>,
    /// Our certificate, followed by the intermediate ones, for a server that asks for a client certificate. Default
    /// none.
    pub cert_file: Option<PathBuf>,
    /// The private key of `cert_file`, not encrypted. Default none.
    pub key_file: Option<PathBuf>,
}

/// One value that is not accepted, and what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {given}, wanted is {wanted}")]
pub struct Fault {
    /// The name of the field, as in [`Config`].
    pub key: &'static str,
    /// The value as it was given, without secrets.
    pub given: String,
    /// What is accepted instead.
    pub wanted: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "redis://localhost:6379".to_owned(),
            max_connections: 50,
            lanes: None,
            connection_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_millis(500),
            password_file: None,
            tls: Tls::default(),
            recycle_timeout: Duration::from_secs(5 * 60),
            probe_interval: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(250),
            optional: false,
            drain_timeout: Duration::from_secs(30),
            client_name: "mainstay".to_owned(),
        }
    }
}

impl Config {
    /// Every fault at once; empty if the configuration is valid. Answers from memory.
    pub fn validate(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Err(fault) = Address::parse(&self.url) {
            faults.push(Fault {
                key: "url",
                given: fault.given.clone(),
                wanted: fault.wanted.to_owned(),
            });
        }
        faults.extend(self.tls.validate(&self.url));
        if !(1..=MOST_CONNECTIONS).contains(&self.max_connections) {
            faults.push(Fault {
                key: "max_connections",
                given: self.max_connections.to_string(),
                wanted: format!("a number from 1 to {MOST_CONNECTIONS}"),
            });
        }
        if let Some(lanes) = self.lanes
            && !(1..=MOST_LANES).contains(&lanes)
        {
            faults.push(Fault {
                key: "lanes",
                given: lanes.to_string(),
                wanted: format!("a number from 1 to {MOST_LANES}, or none for as many as suit"),
            });
        }
        let durations = [
            ("connection_timeout", self.connection_timeout),
            ("connect_timeout", self.connect_timeout),
            ("command_timeout", self.command_timeout),
            ("recycle_timeout", self.recycle_timeout),
            ("probe_interval", self.probe_interval),
            ("probe_timeout", self.probe_timeout),
            ("drain_timeout", self.drain_timeout),
        ];
        for (key, duration) in durations {
            if duration < SHORTEST || duration > LONGEST {
                faults.push(Fault {
                    key,
                    given: format!("{duration:?}"),
                    wanted: "a duration from 1ms to 365 days".to_owned(),
                });
            }
        }
        faults
    }
}

impl Config {
    /// The same sizes and times for the Redis at `url`. The fields that belong to a URL (`password_file`, `tls`) and
    /// `optional` get their defaults. Answers from memory.
    #[must_use]
    pub fn elsewhere(&self, url: impl Into<String>) -> Self {
        let Self { password_file, tls, optional, .. } = Self::default();
        Self { url: url.into(), password_file, tls, optional, ..self.clone() }
    }

    /// The number of lanes for ordinary commands. Answers from memory.
    pub fn lane_count(&self) -> usize {
        match self.lanes {
            Some(lanes) => usize::try_from(lanes).unwrap_or(LANES_AUTO).max(1),
            None => std::thread::available_parallelism().map_or(1, usize::from).min(LANES_AUTO),
        }
    }

    /// The most connections that are ever open: every lease, every lane twice (while one replaces another), probes and
    /// subscriptions. Answers from memory.
    pub fn most_connections(&self) -> usize {
        self.connections().into_iter().fold(0, usize::saturating_add)
    }

    /// How many of them are for leases, for lanes, and for probes and subscriptions.
    pub(crate) fn connections(&self) -> [usize; 3] {
        let leases = usize::try_from(self.max_connections).unwrap_or(usize::MAX);
        [leases, 2 * (self.lane_count() + 1), CONTROL]
    }
}

impl Tls {
    /// Every fault of the files, and those in combination with `url`.
    fn validate(&self, url: &str) -> Vec<Fault> {
        let fault = |key, given: String, wanted: &str| Fault { key, given, wanted: wanted.into() };
        if !cfg!(feature = "tls") {
            let wanted = "no value: TLS needs the feature `tls`, which this build does not have";
            return self.given().map(|key| fault(key, "a file".into(), wanted)).collect();
        }
        let mut faults = Vec::new();
        let alone = |key, other| {
            fault(key, "a file".into(), &format!("{other} beside it: they go together"))
        };
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => faults.push(alone("tls.cert_file", "tls.key_file")),
            (None, Some(_)) => faults.push(alone("tls.key_file", "tls.cert_file")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let (Some(key), Ok(address)) = (self.given().next(), Address::parse(url))
            && !address.is_tls()
        {
            let wanted = format!(
                "rediss://host:port, since {key} is set: without the s nothing is encrypted"
            );
            faults.push(fault("url", address.to_string(), &wanted));
        }
        faults
    }

    fn given(&self) -> impl Iterator<Item = &'static str> {
        let Self { ca_file, cert_file, key_file } = self;
        let files =
            [("tls.ca_file", ca_file), ("tls.cert_file", cert_file), ("tls.key_file", key_file)];
        files.into_iter().filter_map(|(key, file)| file.as_ref().map(|_| key))
    }
}

/// What is wrong with `name` as the name of an endpoint beside the default one, or `None`. Answers from memory.
///
/// A name consists of words of lower case letters and digits, joined by one `-` each, at most 32 bytes in all. A
/// variable writes the `-` as `_`: `rate-limits` and `RATE_LIMITS` are the same name, and no other name is written so.
pub fn fault_of_name(name: &str) -> Option<Fault> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if name.len() <= NAME_BYTES_MAX && name.split('-').all(is_word) {
        return None;
    }
    // It may be a URL with a password, written in the wrong place.
    let is_url = name.contains("://") || name.contains('@');
    Some(Fault {
        key: "endpoints",
        given: if is_url { "a URL".to_owned() } else { format!("{name:?}") },
        wanted: format!(
            "a name of lower case letters and digits, its words joined by one -, at most {NAME_BYTES_MAX} bytes"
        ),
    })
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            max_connections,
            lanes,
            connection_timeout,
            connect_timeout,
            command_timeout,
            password_file,
            tls,
            recycle_timeout,
            probe_interval,
            probe_timeout,
            optional,
            drain_timeout,
            client_name,
        } = self;
        let url = match Address::parse(url) {
            Ok(address) => address.to_string(),
            Err(fault) => fault.given,
        };
        f.debug_struct("Config")
            .field("url", &url)
            .field("max_connections", max_connections)
            .field("lanes", lanes)
            .field("connection_timeout", connection_timeout)
            .field("connect_timeout", connect_timeout)
            .field("command_timeout", command_timeout)
            .field("password_file", password_file)
            .field("tls", tls)
            .field("recycle_timeout", recycle_timeout)
            .field("probe_interval", probe_interval)
            .field("probe_timeout", probe_timeout)
            .field("optional", optional)
            .field("drain_timeout", drain_timeout)
            .field("client_name", client_name)
            .finish()
    }
}

const MOST_CONNECTIONS: u32 = 10_000;
const MOST_LANES: u32 = 64;
const LANES_AUTO: usize = 4;
/// Two probes while one replaces the other, and the subscriptions' connection.
const CONTROL: usize = 3;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
const NAME_BYTES_MAX: usize = 32;
