//! `.Previous.Secrets` over updates with and without rotation (`spec/02`, "Previous values").

use marblerun_core::refusal::RefusalKind;
use serde_json::{Value, json};

use crate::support::*;

/// Every update of these tests takes one user.
fn plain() -> Value {
    with(manifest(), "/Config/UpdateThreshold", json!(1))
}

fn rotating() -> Value {
    with(plain(), "/Config/RotateRootSecret", json!(true))
}

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    shared: [String; 2],
    private: [String; 2],
    cert: [String; 2],
}

/// Current and previous values as a marble gets them.
fn seen(world: &mut World) -> Seen {
    let parameters = world
        .activate("m", UUID)
        .unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let pair = |name: &str| {
        ["", "PREVIOUS_"].map(|prefix| {
            String::from_utf8(parameters.env[format!("{prefix}{name}").as_str()].to_vec()).unwrap()
        })
    };
    Seen {
        shared: pair("SHARED"),
        private: pair("PRIVATE"),
        cert: pair("CERT"),
    }
}

#[test]
fn before_any_update_previous_is_current() {
    let mut world = World::with(60, &plain());
    let first = seen(&mut world);
    for pair in [&first.shared, &first.private, &first.cert] {
        assert_eq!(pair[0], pair[1]);
    }
    // A certificate each activation makes anew has no other one either.
    let own = with(plain(), "/Secrets/cert/Shared", json!(false));
    let own = with(own, "/Roles/reads/ResourceNames", json!(["token"]));
    let mut world = World::with(60, &own);
    let parameters = world.activate("m", UUID).unwrap();
    assert_eq!(parameters.env["CERT"], parameters.env["PREVIOUS_CERT"]);
}

#[test]
fn rotation_moves_the_value_and_others_leave_it() {
    let mut world = World::with(61, &plain());
    let first = seen(&mut world);
    applied(world.propose("alice", &plain()));
    let second = seen(&mut world);
    assert_eq!(
        (&second.shared, &second.private),
        (&first.shared, &first.private),
        "nothing was rotated"
    );
    assert_eq!(
        second.cert[1], first.cert[0],
        "certificates are made anew by every update"
    );
    assert_ne!(second.cert[0], first.cert[0]);

    applied(world.propose("alice", &rotating()));
    let third = seen(&mut world);
    for (now, before) in [(&third.shared, &second.shared), (&third.private, &second.private)] {
        assert_ne!(now[0], before[0]);
        assert_eq!(now[1], before[0]);
    }
    assert_eq!(third.cert[1], second.cert[0]);

    // Two updates later the key of before the rotation is still reachable; a package update changes nothing here.
    applied(world.propose("alice", &plain()));
    let fourth = seen(&mut world);
    assert_eq!((&fourth.shared, &fourth.private), (&third.shared, &third.private));
    assert_eq!(fourth.cert[1], third.cert[0]);
    applied(world.raise("admin", &[("p", 8)]));
    let fifth = seen(&mut world);
    assert_eq!((&fifth.shared, &fifth.private), (&third.shared, &third.private));
    assert_eq!(
        fifth.cert[1], third.cert[0],
        "the one before the last full update"
    );
    assert_ne!(fifth.cert[0], fourth.cert[0]);

    applied(world.propose("alice", &rotating()));
    let sixth = seen(&mut world);
    assert_eq!(sixth.shared[1], third.shared[0]);
    assert_eq!(sixth.private[1], third.private[0]);
    world.check_restart();
}

#[test]
fn a_definition_that_changed_begins_anew() {
    let mut world = World::with(62, &plain());
    let first = seen(&mut world);
    applied(world.propose("alice", &rotating()));
    let second = seen(&mut world);
    assert_ne!(second.shared[0], second.shared[1]);
    let larger = with(plain(), "/Secrets/shared/Size", json!(256));
    let larger = with(larger, "/Secrets/private/Size", json!(256));
    let larger = with(larger, "/Secrets/cert/ValidFor", json!(7));
    applied(world.propose("alice", &larger));
    let third = seen(&mut world);
    for pair in [&third.shared, &third.private, &third.cert] {
        assert_eq!(pair[0], pair[1], "its current value");
    }
    assert_eq!(third.shared[0].len(), 64);
    assert_ne!(third.cert[0], first.cert[0]);
    world.check_restart();
}

#[test]
fn a_secret_that_leaves_the_manifest_leaves_previous_too() {
    let mut world = World::with(63, &plain());
    applied(world.propose("alice", &rotating()));
    let before = seen(&mut world);
    let mut without = plain();
    for path in [
        "/Secrets/shared",
        "/Secrets/private",
        "/Secrets/cert",
        "/Marbles/m",
    ] {
        without = with(without, path, Value::Null);
    }
    let without = with(without, "/Roles/reads/ResourceNames", json!(["token"]));
    applied(world.propose("alice", &without));
    applied(world.propose("alice", &plain()));
    let after = seen(&mut world);
    for pair in [&after.shared, &after.private, &after.cert] {
        assert_eq!(pair[0], pair[1]);
    }
    assert_ne!(after.shared[0], before.shared[0], "drawn anew");
    assert_eq!(
        after.private[0], before.private[0],
        "derived from the same root secret"
    );
    world.check_restart();
}

#[test]
fn a_secret_that_is_new_after_a_rotation_has_no_older_value() {
    let mut without = with(plain(), "/Secrets/private", Value::Null);
    without = with(without, "/Marbles/m", Value::Null);
    let mut world = World::with(64, &without);
    applied(world.propose("alice", &rotating()));
    let seen = seen(&mut world);
    assert_eq!(seen.private[0], seen.private[1]);
}

#[test]
fn uploads_are_kept_while_their_definition_is() {
    let mut world = World::with(65, &plain());
    world
        .write("admin", &[("token", key(b"kept")), ("key", key(&[9; 16]))])
        .unwrap();
    applied(world.propose("alice", &rotating()));
    assert_eq!(world.value("reader", "token"), b"kept");
    assert_eq!(world.value("reader", "key"), [9; 16]);
    let larger = with(plain(), "/Secrets/key/Size", json!(256));
    applied(world.propose("alice", &larger));
    assert_eq!(world.value("reader", "token"), b"kept");
    assert!(world.value("reader", "key").is_empty(), "empty again");
    world.check_restart();
    // User-defined ones have no previous value.
    let asked = with(
        plain(),
        "/Marbles/t/Parameters/Env/TOKEN",
        json!("{{ hex .Previous.Secrets.token }}"),
    );
    applied(world.propose("alice", &asked));
    let (kind, message) = refusal(world.activate("t", UUID));
    assert!(
        kind == RefusalKind::Internal && message.contains("no previous value"),
        "{message}"
    );
}

#[test]
fn another_owner_of_a_name_gets_nothing_of_it() {
    // A generated key becomes one that is uploaded, and the other way round.
    let mut world = World::with(66, &plain());
    world.write("admin", &[("key", key(&[9; 16]))]).unwrap();
    let shared = world.value("reader", "shared");
    let swapped = with(
        plain(),
        "/Secrets/shared",
        json!({ "Type": "symmetric-key", "Size": 128, "UserDefined": true }),
    );
    let swapped = with(
        swapped,
        "/Secrets/key",
        json!({ "Type": "symmetric-key", "Size": 128, "Shared": true }),
    );
    let swapped = with(swapped, "/Roles/writes/ResourceNames", json!(["token", "shared"]));
    applied(world.propose("alice", &swapped));
    assert!(world.value("reader", "shared").is_empty());
    let generated = world.value("reader", "key");
    assert!(generated.len() == 16 && generated != [9; 16] && generated != shared);
    world.check_restart();
}
