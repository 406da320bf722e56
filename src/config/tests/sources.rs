use std::time::Duration;

use proptest::prelude::*;

use super::World;
use crate::config::{Config, Fault, Surroundings};

/// Every source that there is, lowest first, each setting `redis.max_connections` to its own place in the order.
const SOURCES: [(&str, bool); 9] = [
    ("/etc/acton-service/shop/config.toml", true),
    ("/home/ada/.config/acton-service/shop/config.toml", true),
    ("/etc/mainstay/shop/config.toml", true),
    ("/home/ada/.config/mainstay/shop/config.toml", true),
    ("/srv/config.toml", true),
    ("ACTON_REDIS_MAX_CONNECTIONS", false),
    ("ACTON_REDIS__MAX_CONNECTIONS", false),
    ("MAINSTAY_REDIS_MAX_CONNECTIONS", false),
    ("MAINSTAY_REDIS__MAX_CONNECTIONS", false),
];

proptest! {
    #[test]
    fn of_any_set_of_sources_the_highest_wins(chosen in proptest::collection::btree_set(0..SOURCES.len(), 1..=SOURCES.len())) {
        let world = chosen.iter().fold(World::new(), |world, &place| match SOURCES[place] {
            (path, true) => world.file(path, format!("[redis]\nmax_connections = {}", place + 1)),
            (variable, false) => world.with(variable, (place + 1).to_string()),
        });
        let highest = u32::try_from(chosen.last().unwrap() + 1).unwrap();
        prop_assert_eq!(world.load().redis.max_connections, highest);
    }
}

// acton 23
#[test]
fn without_any_source_the_defaults_hold_and_the_name_is_the_programs() {
    let mut expected = Config::default();
    expected.service.name = "shop".to_owned();
    assert_eq!(World::new().load(), expected);
    assert_eq!(expected.redis.url, "redis://localhost:6379");
    assert_eq!(expected.redis.max_connections, 50);
    assert_eq!(expected.redis.connection_timeout, Duration::from_secs(30));
    assert_eq!(expected.redis.recycle_timeout, Duration::from_secs(300));
}

#[test]
fn sources_are_merged_key_by_key() {
    let world = World::new()
        .file(
            "/etc/acton-service/shop/config.toml",
            "[redis]\nurl = 'redis://store:6379'\nmax_connections = 7",
        )
        .here("[redis]\noptional = true")
        .with("ACTON_REDIS_MAX_CONNECTIONS", "9");
    let redis = world.load().redis;
    assert_eq!(
        (redis.url.as_str(), redis.max_connections, redis.optional),
        ("redis://store:6379", 9, true)
    );
}

#[test]
fn a_good_value_above_a_bad_one_lets_the_service_start() {
    let world =
        World::new().here("[redis]\nmax_connections = 0").with("ACTON_REDIS_MAX_CONNECTIONS", "9");
    assert_eq!(world.load().redis.max_connections, 9);
}

#[test]
fn the_files_are_those_of_the_name_in_code_then_of_the_variable_then_of_the_program() {
    let world = ["tills", "stock", "shop"].into_iter().zip(1..).fold(
        World::new(),
        |world, (name, port)| {
            world.file(
                &format!("/etc/acton-service/{name}/config.toml"),
                format!("[service]\nport = {port}"),
            )
        },
    );
    assert_eq!(world.load().service.port, 3);
    let world = world.with("ACTON_SERVICE_NAME", "stock");
    assert_eq!(world.load().service.port, 2);
    let loaded = Config::load_from(&world, Some("tills")).unwrap();
    assert_eq!((loaded.config.service.port, loaded.config.service.name.as_str()), (1, "tills"));
    let note = "the service is called \"tills\" in code, which wins over ACTON_SERVICE_NAME";
    assert!(loaded.notes.iter().any(|line| line == note), "{:?}", loaded.notes);
}

#[test]
fn a_file_may_name_the_service_too() {
    assert_eq!(World::new().here("[service]\nname = 'stock'").load().service.name, "stock");
}

#[test]
fn the_environment_decides_the_drain_delay_only_where_nobody_set_one() {
    let production = || World::new().with("ACTON_SERVICE_ENVIRONMENT", "Production");
    assert_eq!(World::new().load().service.drain_delay, Duration::ZERO);
    assert_eq!(production().load().service.drain_delay, Duration::from_secs(5));
    assert_eq!(
        production().with("ACTON_SERVICE_DRAIN_DELAY", "0").load().service.drain_delay,
        Duration::ZERO
    );
    let hasty = production().with("ACTON_SERVICE_SHUTDOWN_TIMEOUT", "4s");
    assert_eq!(hasty.load().service.drain_delay, Duration::from_secs(2));
}

#[test]
fn a_note_says_which_of_two_variables_won_but_not_what_they_say() {
    let world = World::new()
        .with("ACTON_REDIS_URL", "redis://:sesame@old:6379")
        .with("MAINSTAY_REDIS_URL", "redis://:sesame@new:6379");
    let notes = world.notes();
    assert!(notes.contains("MAINSTAY_REDIS_URL wins over ACTON_REDIS_URL"), "{notes}");
    assert!(!notes.contains("sesame") && !notes.contains("old"), "{notes}");
    let agreeing =
        World::new().with("ACTON_REDIS_URL", "embedded").with("MAINSTAY_REDIS_URL", " embedded ");
    assert!(!agreeing.notes().contains("wins over"), "{}", agreeing.notes());
}

#[test]
fn white_space_around_a_url_is_trimmed() {
    assert_eq!(
        World::new().with("ACTON_REDIS_URL", " redis://store:6379\n").load().redis.url,
        "redis://store:6379"
    );
}

#[test]
fn the_surroundings_are_the_path_and_the_temporary_directory() {
    let world = World::new().with("PATH", "/opt/bin:/usr/bin").with("TMPDIR", "/var/tmp");
    let expected = Surroundings {
        path: Some("/opt/bin:/usr/bin".into()),
        temporary_directory: "/var/tmp".into(),
    };
    assert_eq!(world.loaded().surroundings, expected);
    let bare = Surroundings { path: None, temporary_directory: "/tmp".into() };
    assert_eq!(World::new().with("TMPDIR", "").loaded().surroundings, bare);
}

#[test]
fn variables_of_sections_that_are_not_ours_are_passed_over_and_warned_of_where_one_is_near() {
    let world = World::new()
        .with("ACTON_TILL_SECRET", "sesame")
        .with("ACTON_REDSI_URL", "embedded")
        .with("ACTON_", "x");
    let notes = world.notes();
    assert!(notes.contains("not of a section of ours: ACTON_TILL_SECRET"), "{notes}");
    assert!(!notes.contains("sesame"), "{notes}");
    assert_eq!(world.warnings(), ["ACTON_REDSI_URL has no effect; is ACTON_REDIS_.. meant?"]);
}

fn changed(world: &World, change: impl FnOnce(&mut Config)) -> Result<Config, Vec<Fault>> {
    let loaded = Config::load_changed(world, None, change);
    loaded.map(|loaded| loaded.config).map_err(|error| error.faults().to_vec())
}

#[test]
fn what_is_changed_in_code_goes_together_with_what_was_read() {
    let world = World::new().with("ACTON_SERVICE_DRAIN_DELAY", "30s");
    let longer = |config: &mut Config| config.service.shutdown_timeout = Duration::from_secs(60);
    assert_eq!(changed(&world, longer).unwrap().service.drain_delay, Duration::from_secs(30));
    let faults = changed(&world, |_| {}).unwrap_err();
    assert_eq!(
        (faults.len(), faults[0].source.as_str()),
        (1, "ACTON_SERVICE_DRAIN_DELAY"),
        "{faults:?}"
    );
}

#[test]
fn a_fault_of_a_change_in_code_is_reported_beside_those_of_the_sources() {
    let world = World::new().with("ACTON_SERVICE_PORT", "http");
    let faults = changed(&world, |config| config.redis.max_connections = 0).unwrap_err();
    let found: Vec<_> = faults.iter().map(|f| (f.key.as_str(), f.source.as_str())).collect();
    assert_eq!(found, [("service.port", "ACTON_SERVICE_PORT"), ("redis.max_connections", "code")]);
}

#[test]
fn production_has_a_drain_delay_wherever_it_is_said() {
    let (plain, production) =
        (World::new(), World::new().with("ACTON_SERVICE_ENVIRONMENT", "production"));
    let drains = |world: &World, change: fn(&mut Config)| {
        changed(world, change).unwrap().service.drain_delay.as_secs()
    };
    assert_eq!(drains(&plain, |_| {}), 0);
    assert_eq!(drains(&plain, |config| config.service.environment = "production".to_owned()), 5);
    assert_eq!(drains(&production, |_| {}), 5);
    let shorter = |config: &mut Config| config.service.shutdown_timeout = Duration::from_secs(4);
    assert_eq!(drains(&production, shorter), 2);
    assert_eq!(drains(&production, |config| config.service.drain_delay = Duration::ZERO), 0);
}
