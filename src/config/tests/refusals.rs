use std::time::Duration;

use super::World;
use crate::config::{Config, keys, slot::Slot};

#[test]
fn every_fault_is_reported_at_once_with_its_source() {
    let world = World::new()
        .here("[redis]\nmax_connections = 0\nprobe_timout = '1s'\n[service]\nbody_limit = '2 stone'\nname = true")
        .with("ACTON_REDIS_URL", "http://store")
        .with("MAINSTAY_SUPERVISION__INTENSITY", "-1")
        .with("ACTON_SERVICE_REQUEST_TIMEOUT", "0");
    let faults = world.faults();
    let mut found: Vec<_> =
        faults.iter().map(|fault| (fault.key.as_str(), fault.source.as_str())).collect();
    found.sort_unstable();
    let here = "/srv/config.toml";
    assert_eq!(
        found,
        [
            ("redis.max_connections", here),
            ("redis.probe_timout", here),
            ("redis.url", "ACTON_REDIS_URL"),
            ("service.body_limit", here),
            ("service.name", here),
            ("service.request_timeout", "ACTON_SERVICE_REQUEST_TIMEOUT"),
            ("supervision.intensity", "MAINSTAY_SUPERVISION__INTENSITY"),
        ]
    );
    let text = world.try_load().unwrap_err().to_string();
    assert!(text.starts_with("the configuration has 7 faults\n"), "{text}");
    let line = "redis.max_connections in /srv/config.toml: given 0; wanted: a count, 1 to 10000";
    assert!(text.contains(line), "{text}");
}

#[cfg(feature = "tls")]
#[test]
fn the_documentation_shows_a_refusal_as_it_is() {
    let world = World::new()
        .here("[redis]\nmax_connections = 0")
        .with("ACTON_REDIS_MAX_CONECTIONS", "5")
        .with("MAINSTAY_REDIS_URL", "http://:sesame@store:6379");
    let text = format!("```text\nError: {}\n```", world.try_load().unwrap_err());
    let document = include_str!("../../../docs/configuration.md");
    assert!(document.contains(&text), "docs/configuration.md must hold this:\n{text}");
}

#[test]
fn no_password_is_shown_anywhere() {
    let urls = [
        "redis://:sesame@store:port",
        "http://ada:se@same@store",
        "redis://store:port?password=sesame",
        "sesame",
        ":sesame@store",
    ];
    for url in urls {
        let text =
            format!("{0} {0:?}", World::new().with("ACTON_REDIS_URL", url).try_load().unwrap_err());
        assert!(!text.contains("same"), "{text}");
    }
    let unknown =
        World::new().with("ACTON_REDIS_PASWORD", "sesame").here("[redis]\npasword = 'sesame'");
    let text = format!("{:?}", unknown.faults());
    assert!(!text.contains("sesame"), "{text}");
    let misplaced = World::new().with("ACTON_SERVICE_BIND", "redis://:sesame@store");
    assert_eq!(misplaced.fault().2, "a URL");
    let good = World::new().with("ACTON_REDIS_URL", "redis://:sesame@store").loaded();
    assert!(!format!("{good:?}").contains("sesame"), "{good:?}");
}

// acton 23
#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let hint = |world: World| world.fault().3;
    assert_eq!(
        hint(World::new().with("ACTON_REDIS_MAX_CONECTIONS", "5")),
        "ACTON_REDIS_MAX_CONNECTIONS?"
    );
    assert_eq!(hint(World::new().with("MAINSTAY_REDIS__ULR", "embedded")), "MAINSTAY_REDIS_URL?");
    assert_eq!(
        hint(World::new().with("ACTON_SERVICE_REQUEST__TIMEOUT", "5")),
        "ACTON_SERVICE_REQUEST_TIMEOUT?"
    );
    assert_eq!(
        hint(World::new().here("[redis]\nconnection_timeot = 5")),
        "[redis] connection_timeout?"
    );
    assert_eq!(
        hint(World::new().here("[service]\nmax_connections = 5")),
        "[redis] max_connections?"
    );
    assert_eq!(
        hint(World::new().here("[redis.url]\nhost = 'store'")),
        "a URL, redis://, rediss://, valkey://, valkeys://, unix:// or embedded"
    );
    let all = hint(World::new().here("[redis]\nquux = 5"));
    assert!(all.starts_with("one of [redis] url, [redis] max_connections, "), "{all}");
    assert!(
        hint(World::new().with("ACTON_REDIS", "embedded")).starts_with("one of ACTON_REDIS_URL, ")
    );
}

#[test]
fn a_section_that_is_a_value_is_refused() {
    assert_eq!(
        World::new().here("redis = 'redis://:sesame@store'").fault().3,
        "a section, [redis]"
    );
    assert_eq!(World::new().here("[redis]\ntls = true").fault().3, "a section, [redis.tls]");
}

// acton 23
#[test]
fn an_unknown_key_of_tls_is_refused_with_the_nearest_one() {
    let hint = |world: World| world.fault().3;
    assert_eq!(hint(World::new().here("[redis.tls]\ncafile = 'x'")), "[redis.tls] ca_file?");
    assert_eq!(hint(World::new().here("[redis]\nca_file = 'x'")), "[redis.tls] ca_file?");
    assert_eq!(
        hint(World::new().with("ACTON_REDIS_TLS_KEYFILE", "x")),
        "ACTON_REDIS_TLS_KEY_FILE?"
    );
    assert!(hint(World::new().with("ACTON_REDIS_TLS", "on")).contains("ACTON_REDIS_TLS_CA_FILE"));
}

#[cfg(feature = "tls")]
#[test]
fn files_of_tls_that_cannot_have_effect_are_refused_where_they_were_set() {
    let world = World::new()
        .here("[redis]\nurl = 'redis://:sesame@store'\n[redis.tls]\nca_file = 'ca.pem'")
        .with("ACTON_REDIS_TLS_CERT_FILE", "cert.pem");
    let faults = world.faults();
    let found: Vec<_> =
        faults.iter().map(|fault| (fault.key.as_str(), fault.source.as_str())).collect();
    assert_eq!(
        found,
        [("redis.tls.cert_file", "ACTON_REDIS_TLS_CERT_FILE"), ("redis.url", "/srv/config.toml")]
    );
    assert_eq!(faults[0].wanted, "tls.key_file beside it: they go together");
    assert_eq!(faults[1].given, "redis://***@store:6379/0");
    assert!(faults[1].wanted.starts_with("rediss://host:port, since tls.ca_file is set"));

    let (key, source, _, _) = World::new().with("ACTON_REDIS_TLS_CA_FILE", "ca.pem").fault();
    assert_eq!((key.as_str(), source.as_str()), ("redis.url", "ACTON_REDIS_TLS_CA_FILE"));
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_without_its_feature_is_refused_by_its_name() {
    for (key, variable, value) in [
        ("redis.url", "ACTON_REDIS_URL", "rediss://store"),
        ("redis.tls.ca_file", "ACTON_REDIS_TLS_CA_FILE", "ca.pem"),
    ] {
        let (named, source, _, wanted) = World::new().with(variable, value).fault();
        assert_eq!((named.as_str(), source.as_str()), (key, variable));
        assert!(wanted.contains("the feature `tls`"), "{wanted}");
    }
}

// acton 23
#[test]
fn zero_is_refused_for_every_size_and_every_timeout() {
    for key in keys::all() {
        let is_free = (key.section, key.name) == ("service", "drain_delay");
        if matches!(
            key.slot,
            Slot::Count(..) | Slot::Capacity(..) | Slot::Size(..) | Slot::Time(..)
        ) && !is_free
        {
            let variable = format!("ACTON_{}", key.variable());
            for zero in ["0", "-1", "", " "] {
                let (path, source, given, _) = World::new().with(&variable, zero).fault();
                assert_eq!(
                    (path, source, given),
                    (key.path(), variable.clone(), format!("{zero:?}"))
                );
            }
        }
    }
}

#[test]
fn keys_at_odds_are_refused_where_they_were_set() {
    let world = World::new()
        .with("ACTON_SERVICE_SHUTDOWN_TIMEOUT", "2s")
        .with("ACTON_SERVICE_DRAIN_DELAY", "2s");
    let (key, source, _, wanted) = world.fault();
    assert_eq!(
        (key.as_str(), source.as_str()),
        ("service.drain_delay", "ACTON_SERVICE_DRAIN_DELAY")
    );
    assert_eq!(wanted, "less than shutdown_timeout, which is \"2s\"");
    let world = World::new().here("[supervision]\nbackoff_max = '50ms'");
    let (key, source, given, _) = world.fault();
    assert_eq!(
        (key.as_str(), source.as_str(), given.as_str()),
        ("supervision.backoff_min", "/srv/config.toml", "\"100ms\"")
    );
}

#[test]
fn a_name_that_cannot_stand_in_a_path_is_refused() {
    for name in ["../shop", "a b", "", "..", "a\u{0}b", &"x".repeat(129)] {
        let error = Config::load_from(&World::new(), Some(name)).unwrap_err();
        assert_eq!(
            (error.faults()[0].key.as_str(), error.faults().len()),
            ("service.name", 1),
            "{name:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_a_fault() {
    use std::os::unix::ffi::OsStringExt;
    let world = World::new().with("ACTON_REDIS_URL", std::ffi::OsString::from_vec(vec![0xff]));
    assert_eq!(world.fault().2, "bytes that are not UTF-8");
}

#[test]
fn a_configuration_made_in_code_is_held_to_the_same_bounds() {
    let mut config = Config::default();
    assert_eq!(config.validate(), Ok(()));
    config.redis.max_connections = 0;
    config.redis.probe_timeout = std::time::Duration::ZERO;
    config.service.drain_delay = config.service.shutdown_timeout;
    let error = config.validate().unwrap_err();
    let keys: Vec<_> =
        error.faults().iter().map(|fault| (fault.key.as_str(), fault.source.as_str())).collect();
    assert_eq!(
        keys,
        [
            ("redis.max_connections", "code"),
            ("redis.probe_timeout", "code"),
            ("service.drain_delay", "code")
        ]
    );
}

#[test]
fn a_name_made_in_code_has_no_blanks_around_it() {
    let mut config = Config::default();
    config.service.name = "shop\n".to_owned();
    config.service.environment = " production".to_owned();
    let error = config.validate().unwrap_err();
    let keys: Vec<_> = error.faults().iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["service.name", "service.environment"]);
}

#[test]
fn an_origin_as_a_browser_sends_it_is_taken() {
    for given in
        ["http://localhost:3000", "https://[::1]:8443", "http://web_1", "https://a-b.example"]
    {
        assert_eq!(World::new().with("ACTON_SERVICE_CORS", given).load().service.cors, given);
    }
}

#[test]
fn an_origin_that_no_browser_sends_is_refused() {
    let not_origins =
        ["", "a.example", "https://a.example/", "https://A.example", "ftp://a", "*, *"];
    let default_ports = ["https://a.example:443", "http://a.example:80"];
    let not_hosts =
        ["http://:8080", "https://a:99999", "https://a:", "https://[::", "https://a:b:1"];
    for given in not_origins.iter().chain(&default_ports).chain(&not_hosts) {
        let faults = World::new().with("ACTON_SERVICE_CORS", given).faults();
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["service.cors"], "{given}");
    }
}

#[test]
fn a_keep_alive_of_no_time_is_refused_in_a_file_a_variable_and_in_code() {
    let wanted = "a duration, 1ms to 365d".to_owned();
    let (key, variable) = ("service.keep_alive_timeout", "ACTON_SERVICE_KEEP_ALIVE_TIMEOUT");
    let fault = World::new().with(variable, "0").fault();
    assert_eq!((fault.0.as_str(), fault.1.as_str(), fault.3), (key, variable, wanted.clone()));
    let fault = World::new().here("[service]\nkeep_alive_timeout = '0s'").fault();
    assert_eq!((fault.0.as_str(), fault.3), (key, wanted.clone()));
    let mut config = Config::default();
    config.service.keep_alive_timeout = Duration::ZERO;
    let error = config.validate().unwrap_err();
    assert_eq!((error.faults()[0].key.as_str(), &error.faults()[0].wanted), (key, &wanted));
}

#[test]
fn the_keep_alive_timeout_comes_from_its_variable() {
    assert_eq!(World::new().load().service.keep_alive_timeout, Duration::from_secs(75));
    let config = World::new().with("ACTON_SERVICE_KEEP_ALIVE_TIMEOUT", "610s").load();
    assert_eq!(config.service.keep_alive_timeout, Duration::from_secs(610));
}
