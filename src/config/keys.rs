//! The table of every key that a configuration may have. Files, variables, faults and docs/configuration.md are all
//! derived from it.

#[cfg(feature = "cache")]
use std::path::PathBuf;

use super::root::Config;
use super::section::Section;
use super::slot::{Least, Slot};

/// One key of one section.
#[derive(Debug)]
pub(super) struct Key {
    /// Its section, without brackets. A section within another is named as in `redis.tls`.
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) slot: Slot,
    /// What it means, for docs/configuration.md.
    pub(super) doc: &'static str,
}

impl Key {
    /// Its path, by which a fault names it, as in `redis.url`.
    pub(super) fn path(&self) -> String {
        self.path_in(Section::of(self.section))
    }

    /// Its path for the endpoint of `section`, as in `redis.endpoints.limits.url`.
    pub(super) fn path_in(&self, section: Section<'_>) -> String {
        format!("{}.{}", section.path_to(self.section), self.name)
    }

    /// Its section and name for the endpoint of `section`, as in `[redis.endpoints.limits] url`.
    pub(super) fn section_and_name_in(&self, section: Section<'_>) -> String {
        format!("[{}] {}", section.path_to(self.section), self.name)
    }

    /// Its variable without the prefix, as in `REDIS_URL`.
    pub(super) fn variable(&self) -> String {
        self.variable_in(Section::of(self.section))
    }

    /// Its variable for the endpoint of `section`, as in `REDIS_ENDPOINTS_LIMITS_URL`.
    pub(super) fn variable_in(&self, section: Section<'_>) -> String {
        self.path_in(section).replace(['.', '-'], "_").to_ascii_uppercase()
    }
}

/// Every key, section by section.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    SERVICE.iter().chain(&REDIS).chain(&REDIS_TLS).chain(&SUPERVISION)
}

/// The keys that every endpoint has: those of `[redis]` and of the sections within it.
pub(super) fn of_an_endpoint() -> impl Iterator<Item = &'static Key> {
    REDIS.iter().chain(&REDIS_TLS)
}

/// The names of the sections, an inner section before the one that contains it.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    [SERVICE.first(), REDIS_TLS.first(), REDIS.first(), SUPERVISION.first()]
        .into_iter()
        .flatten()
        .map(|key| key.section)
}

/// The section called `name` within `section`, if there is one.
pub(super) fn section_within<'a>(section: Section<'a>, name: &str) -> Option<Section<'a>> {
    let inner = format!("{}.{name}", section.keys);
    sections().find(|keys| *keys == inner).map(|keys| Section { keys, ..section })
}

/// The key called `name` in `section`.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    all().find(|key| key.section == section && key.name == name)
}

impl Config {
    /// Every key with its variable, default, unit, bound and meaning, as a Markdown table. Answers from memory.
    pub fn reference() -> String {
        let mut defaults = Self::default();
        let mut lines = vec![
            "| key | variable | default | kind | unit | takes | what it says |".to_owned(),
            "|---|---|---|---|---|---|---|".to_owned(),
        ];
        lines.extend(all().map(|key| {
            let default = key
                .slot
                .get(&mut defaults)
                .map_or_else(|| "none".to_owned(), |given| format!("`{given}`"));
            let cells = [
                format!("`[{}]` `{}`", key.section, key.name),
                format!("`ACTON_{}`", key.variable()),
                if (key.section, key.name) == ("service", "name") {
                    "the program's file name".to_owned()
                } else {
                    default
                },
                key.slot.kind().to_owned(),
                key.slot.unit().to_owned(),
                key.slot.bound(),
                key.doc.to_owned(),
            ];
            format!("| {} |", cells.join(" | "))
        }));
        lines.join("\n") + "\n"
    }
}

macro_rules! keys {
    ($section:ident: $($name:ident = $slot:ident $(($bound:expr))? $doc:literal)*) => {
        [$(Key {
            section: stringify!($section),
            name: stringify!($name),
            slot: Slot::$slot(|config| &mut config.$section.$name $(, $bound)?),
            doc: $doc,
        }),*]
    };
}

#[cfg(feature = "cache")]
const MOST_CONNECTIONS: u32 = 10_000;
#[cfg(feature = "cache")]
const MOST_LANES: u32 = 64;
const MOST_RESTARTS: u32 = 1000;
const MOST_MESSAGES: u32 = 1 << 20;
const LARGEST_BODY_BYTES: u64 = 1 << 30;

static SERVICE: [Key; 15] = keys! { service:
    name = Name "What the service is called in `/health`, `/ready`, the log and `CLIENT LIST`, and in the paths of its files."
    bind = Address "The address to listen on."
    port = Port "The port to listen on; 0 takes any free one."
    environment = Name "Where the service runs. `production` makes the default of `drain_delay` 5 s."
    log_level = Levels "The least level that is logged, or a list such as `info,redis=debug`."
    request_timeout = Time(Least::Millisecond) "How long a request may take until its answer begins."
    shutdown_timeout = Time(Least::Millisecond) "The whole time from the signal to the exit of the process."
    drain_delay = Time(Least::Zero) "How long the service still accepts while it is no longer ready. Shorter than `shutdown_timeout`."
    keep_alive_timeout = Time(Least::Millisecond) "How long a connection may be idle, and how long a client may take to send the head of a request. Longer than a load balancer in front keeps its connections."
    body_limit = Size(LARGEST_BODY_BYTES) "The largest request body that an extractor reads. A route may set its own by axum's `DefaultBodyLimit`."
    request_id = Switch "Whether each request has an id, in `x-request-id`, in log lines and in problem details."
    panic_guard = Switch "Whether a handler that panics is answered 500; without, its connection is cut."
    compression = Switch "Whether responses are compressed by gzip for clients that take it."
    cors = Origins "The origins whose pages may call the service, with any method and header and without cookies. It answers every OPTIONS, so it does not go with a `CorsLayer` of your own."
    access_log = Switch "Whether each request is a line of the log, at `info`, target `mainstay::access`. `/health` and `/ready` are not."
};

#[cfg(feature = "cache")]
static REDIS: [Key; 12] = keys! { redis:
    url = Url "Where Redis is; may hold user, password and database. `embedded` starts a private server."
    max_connections = Count(MOST_CONNECTIONS) "The most connections that requests have to themselves at once (leases). Those that all share come on top."
    lanes = Auto(MOST_LANES) "How many connections all requests share for commands that need none to themselves; `auto` is one for each processor, at most 4. One more carries large values."
    connection_timeout = Time(Least::Millisecond) "The longest wait for a lease; a request's own deadline may end it sooner."
    connect_timeout = Time(Least::Millisecond) "The longest time for one attempt to connect, TLS and authentication included."
    command_timeout = Time(Least::Millisecond) "The longest time for one command or pipeline."
    password_file = File "A file of at most 4 096 bytes that holds the password; read again at each attempt to connect, and wins over the URL's."
    recycle_timeout = Time(Least::Millisecond) "The age, 20 % more or less, at which a connection is replaced."
    probe_interval = Time(Least::Millisecond) "The time from one health probe to the next."
    probe_timeout = Time(Least::Millisecond) "The longest time for one health probe."
    optional = Switch "Whether the service counts as ready while Redis is away."
    drain_timeout = Time(Least::Millisecond) "How long leases of a replaced pool may stay out before they are cut."
};

#[cfg(feature = "cache")]
static REDIS_TLS: [Key; 3] = [
    tls_file(
        "ca_file",
        |config| &mut config.redis.tls.ca_file,
        "The certificates of the authorities that the server's may come from, and of no others; without it the public ones.",
    ),
    tls_file(
        "cert_file",
        |config| &mut config.redis.tls.cert_file,
        "Our own certificate, for a server that asks for one. Goes with `key_file`.",
    ),
    tls_file(
        "key_file",
        |config| &mut config.redis.tls.key_file,
        "The private key of `cert_file`, not encrypted.",
    ),
];

#[cfg(feature = "cache")]
const fn tls_file(
    name: &'static str,
    field: fn(&mut Config) -> &mut Option<PathBuf>,
    doc: &'static str,
) -> Key {
    Key { section: "redis.tls", name, slot: Slot::File(field), doc }
}

#[cfg(not(feature = "cache"))]
static REDIS: [Key; 0] = [];
#[cfg(not(feature = "cache"))]
static REDIS_TLS: [Key; 0] = [];

static SUPERVISION: [Key; 8] = keys! { supervision:
    intensity = Count(MOST_RESTARTS) "How many restarts a supervisor grants within `within` before it gives up."
    within = Time(Least::Millisecond) "The sliding window that `intensity` counts in."
    backoff_min = Time(Least::Millisecond) "The longest wait before the first restart; it doubles with each further one."
    backoff_max = Time(Least::Millisecond) "The longest wait before any restart. Not below `backoff_min`."
    stable_after = Time(Least::Millisecond) "How long an actor must have run for the wait to begin at `backoff_min` again."
    mailbox_capacity = Capacity(MOST_MESSAGES) "How many messages a mailbox holds before further ones are refused."
    start_timeout = Time(Least::Millisecond) "How long an actor may take to start."
    ask_timeout = Time(Least::Millisecond) "How long an ask waits for its reply where no request's deadline is in force."
};
