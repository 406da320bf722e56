// What `kubectl exec pod -- env` shows for three services: `acton-redis`, `acton-service` and `acton`.

use super::World;

fn with_service(world: World, stem: &str, port: &str) -> World {
    let url = format!("tcp://10.0.0.7:{port}");
    world
        .with(format!("{stem}_SERVICE_HOST"), "10.0.0.7")
        .with(format!("{stem}_SERVICE_PORT"), port)
        .with(format!("{stem}_SERVICE_PORT_MAIN"), port)
        .with(format!("{stem}_PORT"), &url)
        .with(format!("{stem}_PORT_{port}_TCP"), &url)
        .with(format!("{stem}_PORT_{port}_TCP_PROTO"), "tcp")
        .with(format!("{stem}_PORT_{port}_TCP_PORT"), port)
        .with(format!("{stem}_PORT_{port}_TCP_ADDR"), "10.0.0.7")
}

// acton 23
#[test]
fn service_links_change_nothing_and_are_noted_in_one_line() {
    for stem in [
        "ACTON_REDIS",
        "ACTON_REDIS_CACHE",
        "ACTON_SERVICE",
        "ACTON",
        "MAINSTAY_REDIS",
        "MAINSTAY",
        "ACTON_SUPERVISION",
    ] {
        let world = with_service(World::new(), stem, "6379");
        assert_eq!(world.load(), World::new().load(), "{stem}");
        let notes = world.loaded().notes;
        let lines: Vec<_> = notes.iter().filter(|note| note.contains("service links")).collect();
        assert_eq!(lines.len(), 1, "{notes:?}");
        let (_, names) = lines[0].split_once("): ").unwrap();
        let expected: Vec<_> = world
            .variables
            .keys()
            .filter_map(|name| name.to_str())
            .filter(|name| *name != "HOME")
            .collect();
        assert_eq!(names, expected.join(", "));
    }
}

#[test]
fn our_own_port_is_ours_unless_its_siblings_show_a_link() {
    let port = |world: World| world.load().service.port;
    assert_eq!(port(World::new().with("ACTON_SERVICE_PORT", "9")), 9);
    assert_eq!(
        port(World::new().with("ACTON_SERVICE_PORT", "9").with("ACTON_PORT", "tcp://10.0.0.7:9")),
        9
    );
    assert_eq!(port(with_service(World::new(), "ACTON", "9")), 8080);
    assert_eq!(
        port(with_service(World::new(), "ACTON_REDIS", "6379").with("ACTON_SERVICE_PORT", "9")),
        9
    );
}

#[test]
fn a_host_beside_our_own_port_without_a_link_is_refused() {
    let world = World::new().with("ACTON_SERVICE_PORT", "9").with("ACTON_SERVICE_HOST", "10.0.0.7");
    assert_eq!(world.fault().1, "ACTON_SERVICE_HOST");
}

#[test]
fn two_underscores_always_mean_ours() {
    let world = with_service(with_service(World::new(), "ACTON", "9"), "MAINSTAY", "10");
    assert_eq!(world.with("ACTON_SERVICE__PORT", "11").load().service.port, 11);
    let world = World::new().with("ACTON_REDIS__PORT", "tcp://10.0.0.7:6379");
    assert_eq!(world.fault().1, "ACTON_REDIS__PORT");
}

#[test]
fn links_stand_beside_the_keys_that_they_resemble() {
    let world = with_service(World::new(), "ACTON_REDIS", "6379")
        .with("ACTON_REDIS_URL", "redis://store:6379");
    assert_eq!(world.load().redis.url, "redis://store:6379");
}
