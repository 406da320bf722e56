use std::time::Duration;

use mainstay_actors::redis;
use proptest::prelude::*;

use super::World;
use crate::config::{Config, keys};

const HERE: &str = "/srv/config.toml";

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,6}(-[a-z0-9]{1,6}){0,3}"
}

/// The endpoint called `name` of a world that has it.
fn endpoint(world: &World, name: &str) -> redis::Config {
    world.load().endpoints.remove(name).unwrap_or_else(|| panic!("no endpoint {name}"))
}

proptest! {
    // acton 23
    #[test]
    fn every_key_of_an_endpoint_can_be_set_by_a_file_and_by_each_spelling_of_its_variable(
        name in name(),
        (key, given) in super::keys::key_and_value().prop_filter("of redis", |(key, _)| key.section.starts_with("redis")),
    ) {
        let tls = key.section == "redis.tls";
        let mut text = format!("[redis.endpoints.{name}]\nurl = '{}'\n", if tls { "rediss://a" } else { "redis://a" });
        if tls {
            text += "tls = { cert_file = 'cert', key_file = 'key' }";
        }
        let world = || World::new().file("/etc/acton-service/shop/config.toml", text.clone());
        let mut expected = world().load();
        let mut copy = Config { redis: expected.endpoints[&name].clone(), ..Config::default() };
        prop_assert!(key.slot.set(&mut copy, &given).is_ok());
        expected.endpoints.insert(name.clone(), copy.redis);

        let within = key.section.strip_prefix("redis").unwrap();
        let in_file = world().here(format!("[redis.endpoints.{name}{within}]\n{} = {given}", key.name));
        prop_assert_eq!(&in_file.load(), &expected);
        let in_variable = name.replace('-', "_");
        for separator in ["_", "__"] {
            let path = format!("redis.endpoints.{in_variable}{within}.{}", key.name).replace('.', separator);
            for variable in [
                format!("ACTON_{}", path.to_uppercase()),
                format!("MAINSTAY_{}", path.to_uppercase()),
                format!("acton_{path}"),
            ] {
                let world = world().with(&variable, super::keys::plain(&given));
                prop_assert_eq!(&world.load(), &expected, "{}", variable);
            }
        }
    }

    #[test]
    fn a_variable_whatever_its_name_is_taken_or_refused(rest in "[A-Z_]{0,24}") {
        let variable = format!("ACTON_REDIS_ENDPOINTS{rest}");
        for value in ["redis://store", "7"] {
            if let Err(error) = World::new().with(&variable, value).try_load() {
                prop_assert!(error.faults().iter().all(|fault| fault.source == variable), "{}", error);
            }
        }
    }
}

// This is why a variable can be read in one way only.
#[test]
fn no_key_of_an_endpoint_ends_in_the_name_of_another() {
    let names: Vec<_> = keys::of_an_endpoint()
        .map(|key| key.path().replacen("redis.", "", 1).replace('.', "_"))
        .collect();
    for one in &names {
        for other in &names {
            assert!(!one.ends_with(&format!("_{other}")), "{one} ends in {other}");
        }
    }
}

#[test]
fn sizes_and_times_come_from_redis_and_nothing_else_does() {
    let mut text = String::from(
        "[redis]\nurl = 'redis://cache'\npassword_file = 'p'\noptional = true\nmax_connections = 7\nlanes = 2\n\
         command_timeout = '2s'\n",
    );
    text += "[redis.endpoints.limits]\nurl = 'redis://limits'\ncommand_timeout = '1s'";
    let config = World::new().here(text).load();
    let expected = redis::Config {
        url: "redis://limits".to_owned(),
        max_connections: 7,
        lanes: Some(2),
        command_timeout: Duration::from_secs(1),
        ..redis::Config::default()
    };
    assert_eq!(config.endpoints["limits"], expected);
}

#[cfg(feature = "tls")]
#[test]
fn certificates_do_not_come_from_redis() {
    let world = World::new()
        .here("[redis]\nurl = 'rediss://cache'\ntls.ca_file = 'ca'\n[redis.endpoints.limits]\nurl = 'rediss://limits'");
    assert_eq!(endpoint(&world, "limits").tls, redis::Config::default().tls);
}

#[test]
fn sources_are_merged_key_by_key_for_each_endpoint() {
    let world = World::new()
        .file(
            "/etc/acton-service/shop/config.toml",
            "[redis.endpoints.limits]\nurl = 'redis://a'\nmax_connections = 3\n[redis.endpoints.log]\nurl = 'embedded'",
        )
        .here("[redis.endpoints.limits]\noptional = true")
        .with("ACTON_REDIS_ENDPOINTS_LIMITS_URL", "redis://b")
        .with("MAINSTAY_REDIS__ENDPOINTS__LIMITS__URL", "redis://c")
        .with("ACTON_REDIS_MAX_CONNECTIONS", "9");
    let limits = endpoint(&world, "limits");
    assert_eq!(
        (limits.url.as_str(), limits.max_connections, limits.optional),
        ("redis://c", 3, true)
    );
    assert_eq!(endpoint(&world, "log").max_connections, 9);
    let note = "MAINSTAY_REDIS__ENDPOINTS__LIMITS__URL wins over ACTON_REDIS_ENDPOINTS_LIMITS_URL";
    assert!(world.notes().contains(note), "{}", world.notes());
}

#[test]
fn variables_alone_make_an_endpoint() {
    let world = World::new().with("ACTON_REDIS_ENDPOINTS_RATE_LIMITS_URL", " redis://store ");
    assert_eq!(endpoint(&world, "rate-limits").url, "redis://store");
}

#[test]
fn every_fault_of_every_endpoint_is_reported_at_once_with_its_source() {
    let world = World::new()
        .here(
            "[redis]\nmax_connections = 0\n[redis.endpoints.a]\nurl = 'http://x'\nlanes = 65\noptinal = true\n\
             [redis.endpoints.b]\n[redis.endpoints.c_d]\nurl = 'embedded'",
        )
        .with("ACTON_REDIS_ENDPOINTS_E_PROBE_TIMEOUT", "0")
        .with("ACTON_REDIS_ENDPOINTS_URL", "redis://x");
    let faults = world.faults();
    let mut found: Vec<_> =
        faults.iter().map(|fault| (fault.key.as_str(), fault.source.as_str())).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("redis.endpoints", HERE),
            ("redis.endpoints", "ACTON_REDIS_ENDPOINTS_URL"),
            ("redis.endpoints.a.lanes", HERE),
            ("redis.endpoints.a.optinal", HERE),
            ("redis.endpoints.a.url", HERE),
            ("redis.endpoints.b.url", HERE),
            ("redis.endpoints.e.probe_timeout", "ACTON_REDIS_ENDPOINTS_E_PROBE_TIMEOUT"),
            ("redis.endpoints.e.url", "ACTON_REDIS_ENDPOINTS_E_PROBE_TIMEOUT"),
            ("redis.max_connections", HERE),
        ]
    );
}

// acton 23
#[test]
fn an_unknown_key_of_an_endpoint_is_refused_with_the_nearest_one() {
    let hint = |world: World| world.with("ACTON_REDIS_ENDPOINTS_LIMITS_URL", "embedded").fault().3;
    let in_file = |text: &str| hint(World::new().here(text));
    let in_variable = |name: &str| hint(World::new().with(name, "x"));
    assert_eq!(
        in_file("[redis.endpoints.limits]\nmax_conections = 5"),
        "[redis.endpoints.limits] max_connections?"
    );
    assert_eq!(
        in_file("[redis.endpoints.limits]\nca_file = 'x'"),
        "[redis.endpoints.limits.tls] ca_file?"
    );
    assert_eq!(
        in_file("[redis.endpoints.limits.tls]\ncafile = 'x'"),
        "[redis.endpoints.limits.tls] ca_file?"
    );
    assert_eq!(
        in_variable("ACTON_REDIS_ENDPOINTS_LIMITS_MAX_CONECTIONS"),
        "ACTON_REDIS_ENDPOINTS_LIMITS_MAX_CONNECTIONS?"
    );
    assert_eq!(
        in_variable("MAINSTAY_REDIS__ENDPOINTS__RATE_LIMITS__ULR"),
        "MAINSTAY_REDIS_ENDPOINTS_RATE_LIMITS_URL?"
    );
    assert_eq!(
        in_variable("ACTON_REDIS_ENDPOINTS_RATE_LIMITS_ULR"),
        "ACTON_REDIS_ENDPOINTS_RATE_LIMITS_URL?"
    );
    assert_eq!(
        in_variable("ACTON_REDIS_ENDPOINTS_LIMITS_TLS_KEYFILE"),
        "ACTON_REDIS_ENDPOINTS_LIMITS_TLS_KEY_FILE?"
    );
    assert!(
        in_variable("ACTON_REDIS_ENDPOINTS_LIMITS")
            .starts_with("one of ACTON_REDIS_ENDPOINTS_LIMITS_URL, ")
    );
    let section = "[redis.endpoints.<name>], or as a variable ACTON_REDIS_ENDPOINTS_<NAME>_..?";
    assert_eq!(in_file("[redis.endpoint.limits]\nurl = 'embedded'"), section);
    assert_eq!(in_variable("ACTON_REDIS_ENDPOINT_LIMITS_URL"), section);
}

#[test]
fn an_endpoint_within_an_endpoint_is_refused() {
    let world =
        World::new().here("[redis.endpoints.a]\nurl = 'embedded'\nendpoints.b.url = 'embedded'");
    let (key, _, given, _) = world.fault();
    assert_eq!(
        (key.as_str(), given.as_str()),
        ("redis.endpoints.a.endpoints", "a key that is not known")
    );
}

#[test]
fn an_endpoint_that_is_a_value_is_refused() {
    let found = |text: &str| {
        let (key, _, given, wanted) = World::new().here(text).fault();
        assert_eq!(
            (given.as_str(), wanted.as_str()),
            ("a single value", "a section, [redis.endpoints.<name>]")
        );
        key
    };
    assert_eq!(found("[redis]\nendpoints = 'redis://:sesame@store'"), "redis.endpoints");
    assert_eq!(found("[redis.endpoints]\nurl = 'redis://:sesame@store'"), "redis.endpoints.url");
}

#[test]
fn a_name_that_no_variable_can_spell_is_refused_and_never_shows_a_password() {
    for name in ["c_d", "C", "a--b", "-a", "a-", "", "é", "a.b", &"x".repeat(33)] {
        let world = World::new()
            .here(format!("[redis.endpoints.\"{name}\"]\nurl = 'redis://:sesame@store'"));
        let (key, source, given, wanted) = world.fault();
        assert_eq!(
            (key.as_str(), source.as_str(), given),
            ("redis.endpoints", HERE, format!("{name:?}"))
        );
        assert!(wanted.starts_with("a name of lower case letters and digits"), "{wanted}");
    }
    let world =
        World::new().here("[redis.endpoints]\n\"redis://:sesame@store\" = { optional = true }");
    let text = format!("{:?} {}", world.faults(), world.try_load().unwrap_err());
    assert!(!text.contains("sesame"), "{text}");
    assert_eq!(World::new().with("ACTON_REDIS_ENDPOINTS_A___URL", "embedded").fault().2, "\"a-\"");
}

#[test]
fn an_endpoint_without_a_url_may_be_another_one_spelt_wrong() {
    let declared = || World::new().here("[redis.endpoints.limits]\nurl = 'embedded'");
    for (variable, endpoint) in [
        ("ACTON_REDIS_ENDPOINTS_LIMIT_LANES", "limit"),
        ("ACTON_REDIS_ENDPOINTS_LIMITS_MAX_COMMAND_TIMEOUT", "limits-max"),
    ] {
        let (key, source, given, wanted) = declared().with(variable, "2").fault();
        assert_eq!((key, source.as_str()), (format!("redis.endpoints.{endpoint}.url"), variable));
        assert_eq!(given, "nothing");
        assert_eq!(
            wanted,
            "a URL of its own, since it has none from [redis]; or is the endpoint limits meant?"
        );
    }
    assert!(!World::new().here("[redis.endpoints.limits]").fault().3.contains("meant"));
}

#[test]
fn at_most_sixteen_endpoints_stand_beside_the_default_one() {
    let with = |count: u32| {
        (0..count).fold(World::new(), |world, number| {
            world.with(format!("ACTON_REDIS_ENDPOINTS_E{number}_URL"), "embedded")
        })
    };
    assert_eq!(with(16).load().endpoints.len(), 16);
    let (key, source, given, wanted) = with(17).fault();
    assert!(source.starts_with("ACTON_REDIS_ENDPOINTS_E"), "{source}");
    assert_eq!(
        (key.as_str(), given.as_str(), wanted.as_str()),
        ("redis.endpoints", "17 endpoints", "at most 16")
    );
}

#[test]
fn service_links_of_a_cluster_are_not_endpoints() {
    let world = World::new()
        .with("ACTON_REDIS_ENDPOINTS_SERVICE_HOST", "10.0.0.7")
        .with("ACTON_REDIS_ENDPOINTS_SERVICE_PORT", "6379")
        .with("ACTON_REDIS_ENDPOINTS_PORT", "tcp://10.0.0.7:6379");
    assert_eq!(world.load(), World::new().load());
}

#[test]
fn endpoints_made_in_code_are_held_to_the_same_bounds() {
    let mut config = Config::default();
    let wrong = redis::Config { max_connections: 0, ..config.redis.elsewhere("http://x") };
    config.endpoints.insert("limits".into(), wrong);
    config.endpoints.insert("No_name".into(), redis::Config::default());
    let error = config.validate().unwrap_err();
    let found: Vec<_> =
        error.faults().iter().map(|fault| (fault.key.as_str(), fault.source.as_str())).collect();
    assert_eq!(
        found,
        [
            ("redis.endpoints", "code"),
            ("redis.endpoints.limits.url", "code"),
            ("redis.endpoints.limits.max_connections", "code"),
        ]
    );
}

#[test]
fn no_password_of_an_endpoint_is_shown() {
    let world = World::new().with("ACTON_REDIS_ENDPOINTS_LIMITS_URL", "redis://:sesame@store");
    assert!(!format!("{:?}", world.loaded()).contains("sesame"));
}
