//! Keys and sections of acton-service that Mainstay knows by another name, or does not have.

/// What became of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Became {
    /// Another key, which takes the same number of seconds.
    Key(&'static str),
    /// Nothing: what to do in its place.
    Nothing(&'static str),
}

/// A section that acton-service has and Mainstay has not.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) section: &'static str,
    /// What does not happen, whatever the section says.
    pub(super) instead: &'static str,
    /// Somebody may rely on it without noticing that it is not there.
    pub(super) protects: bool,
}

/// What became of `name` in `section`, if acton-service has such a key and Mainstay has not.
pub(super) fn find(section: &str, name: &str) -> Option<Became> {
    KEYS.iter().find(|key| (key.0, key.1) == (section, name)).map(|key| key.2)
}

/// The section of acton-service of this name.
pub(super) fn section(name: &str) -> Option<&'static Absent> {
    SECTIONS.iter().find(|absent| absent.section == name)
}

/// The section that a variable means, without its prefix and in lower case.
pub(super) fn section_of_variable(rest: &str) -> Option<&'static Absent> {
    let is_of = |absent: &&Absent| {
        rest.strip_prefix(absent.section).is_some_and(|key| key.is_empty() || key.starts_with('_'))
    };
    SECTIONS.iter().find(is_of)
}

/// Every key that acton-service 0.47 has in a section of ours, and Mainstay has not.
pub(super) static KEYS: [(&str, &str, Became); 6] = [
    ("service", "timeout_secs", Became::Key("request_timeout")),
    (
        "service",
        "trust_forwarded_headers",
        Became::Nothing(
            "no such key: no header is believed about where a request comes from, so that there is nothing to switch",
        ),
    ),
    ("redis", "connection_timeout_secs", Became::Key("connection_timeout")),
    ("redis", "max_retries", Became::Nothing(NO_RETRIES)),
    ("redis", "retry_delay_secs", Became::Nothing(NO_RETRIES)),
    (
        "redis",
        "lazy_init",
        Became::Nothing(
            "no such key: the service always starts without waiting for Redis; optional says whether it is ready without",
        ),
    ),
];

const NO_RETRIES: &str = "no such key: attempts to connect never end and pace themselves; connect_timeout bounds one of them";

/// Every section of acton-service 0.47 that is none of ours.
pub(super) static SECTIONS: [Absent; 23] = [
    guard("token", "no token is checked"),
    guard("revocation", "no token is revoked"),
    guard("rate_limit", "no request is limited"),
    guard(
        "middleware",
        "what there is of it are keys of [service]: body_limit, compression, cors, panic_guard, request_id",
    ),
    guard("cedar", "no policy is asked"),
    guard("session", "no session is kept"),
    guard("auth", "nobody is authenticated"),
    guard("lockout", "no login is locked out"),
    guard("accounts", "no accounts are kept"),
    guard("audit", "nothing is audited"),
    guard("tls", "the port is not encrypted"),
    guard("caller_auth", "no caller is asked for a certificate"),
    other("database", "no database is connected to"),
    other("turso", "no database is connected to"),
    other("surrealdb", "no database is connected to"),
    other("clickhouse", "no database is connected to"),
    other("nats", "nothing connects to NATS"),
    other("otlp", "nothing is exported"),
    other("grpc", "no gRPC is served"),
    other("graphql", "no GraphQL is served"),
    other("websocket", "no web socket is limited"),
    other("journald", "the log goes to stdout"),
    other("background_worker", "an actor of the service does such work"),
];

const fn guard(section: &'static str, instead: &'static str) -> Absent {
    Absent { section, instead, protects: true }
}

const fn other(section: &'static str, instead: &'static str) -> Absent {
    Absent { section, instead, protects: false }
}

/// Both as the Markdown tables that docs/configuration.md holds.
#[cfg(all(test, feature = "cache"))]
pub(super) fn reference() -> [String; 2] {
    let names = ["[service]", "body_limit", "compression", "cors", "panic_guard", "request_id"];
    let names = names.into_iter().chain(["connect_timeout", "optional"]);
    let marked = |text: &str| {
        names.clone().fold(text.to_owned(), |text, name| text.replace(name, &format!("`{name}`")))
    };
    let keys = KEYS.iter().map(|(section, name, became)| {
        let here = match became {
            Became::Key(new) => format!("read as `{new}`"),
            Became::Nothing(wanted) => {
                format!("refused: {}", marked(wanted.trim_start_matches("no such key: ")))
            }
        };
        format!("| `[{section}]` `{name}` | {here} |\n")
    });
    let sections = SECTIONS.iter().map(|absent| {
        let level = if absent.protects { "warn" } else { "info" };
        format!("| `[{}]` | {} | `{level}` |\n", absent.section, marked(absent.instead))
    });
    [
        "| key of acton-service | here |\n|---|---|\n".to_owned() + &keys.collect::<String>(),
        "| section of acton-service | here | said at |\n|---|---|---|\n".to_owned()
            + &sections.collect::<String>(),
    ]
}
