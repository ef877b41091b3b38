//! Who is recognised, and who may do what.

use marblerun_core::access::{Caller, Unrecognised, recognise, recognise_marble};
use marblerun_core::flow::read_secrets;
use marblerun_core::flow::update_manifest::Outcome;
use marblerun_core::refusal::{Refusal, RefusalKind};
use serde_json::{Value, json};

use crate::support::*;

const UNKNOWN: &str = "unauthorized user: client certificate did not match any MarbleRun users";

#[test]
fn users_are_recognised_by_the_bytes_of_their_certificate() {
    let world = World::new(1);
    let found = |leaf: &[u8]| recognise(&world.state, Some(leaf));
    for name in ["alice", "bob", "admin", "idle"] {
        assert_eq!(found(&certificate(name)), Ok(Caller::User { name: name.into() }));
    }
    let mut bent = certificate("alice");
    for at in [0, 10, bent.len() - 1] {
        bent[at] ^= 1;
        assert_eq!(found(&bent), Err(Unrecognised::User));
        bent[at] ^= 1;
    }
    bent.push(0);
    for leaf in [&certificate("nobody")[..], b"", b"not DER", &bent, &bent[..20]] {
        assert_eq!(found(leaf), Err(Unrecognised::User));
    }
    assert_eq!(recognise(&world.state, None), Err(Unrecognised::User));
    let refusal = Refusal::from(Unrecognised::User);
    assert_eq!(
        (refusal.kind(), refusal.message()),
        (RefusalKind::Unauthenticated, UNKNOWN)
    );
}

#[test]
fn without_a_manifest_nobody_is_recognised() {
    let world = World::empty(2);
    assert_eq!(
        recognise(&world.state, Some(&certificate("alice"))),
        Err(Unrecognised::User)
    );
    let read = read_secrets::read(&world.state, Some(&certificate("alice")), &["shared".into()]);
    assert_eq!(
        read.map(|_| ()).map_err(refused),
        Err((RefusalKind::Unauthenticated, UNKNOWN.into()))
    );
}

#[test]
fn every_operation_refuses_whoever_is_not_recognised() {
    let mut world = World::new(3);
    let unknown = (RefusalKind::Unauthenticated, UNKNOWN.to_owned());
    let raw = manifest().to_string();
    assert_eq!(refusal(world.read("nobody", &["shared"])), unknown);
    // Also with names that would be refused by themselves: strangers learn nothing.
    assert_eq!(refusal(world.read("nobody", &[])), unknown);
    assert_eq!(refusal(world.write("nobody", &[("token", key(b"x"))])), unknown);
    assert_eq!(refusal(world.propose("nobody", &manifest())), unknown);
    assert_eq!(
        refusal(world.propose_as(&certificate("nobody"), b"{bad")),
        unknown
    );
    assert_eq!(refusal(world.raise("nobody", &[("p", 9)])), unknown);
    assert_eq!(refusal(world.acknowledge("nobody", &manifest())), unknown);
    assert_eq!(refusal(world.cancel("nobody")), unknown);
    assert_eq!(refusal(world.propose_as(b"", raw.as_bytes())), unknown);
    assert_eq!(world.log().len(), 1);
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let mut world = World::new(4);
    let denied = |message: &str| (RefusalKind::Denied, message.to_owned());
    for who in ["alice", "admin", "idle"] {
        assert_eq!(
            refusal(world.read(who, &["shared", "cert"])),
            denied(&format!(
                "user {who} is not allowed to read one or more secrets of: [shared cert]"
            ))
        );
    }
    // One name of several is enough to get nothing, also one that does not exist or has no single value.
    for name in ["private", "nope"] {
        assert_eq!(
            refusal(world.read("reader", &["shared", name])),
            denied(&format!(
                "user reader is not allowed to read one or more secrets of: [shared {name}]"
            ))
        );
    }
    assert_eq!(
        refusal(world.write("reader", &[("token", key(b"x"))])),
        denied("user reader is not allowed to update secret: token")
    );
    assert_eq!(
        refusal(world.raise("alice", &[("p", 9), ("q", 9)])),
        denied("user alice is not allowed to update one or more packages of [p q]")
    );
    assert_eq!(
        refusal(world.propose("admin", &manifest())),
        denied("user admin is not allowed to update the complete manifest")
    );
    waiting(world.propose("alice", &manifest()));
    assert_eq!(
        refusal(world.acknowledge("admin", &manifest())),
        denied("user admin is not allowed to acknowledge manifest updates")
    );
    assert_eq!(
        refusal(world.cancel("admin")),
        denied("user admin is not allowed to cancel the manifest update")
    );
    assert_eq!(world.log().len(), 2);
}

#[test]
fn permissions_of_several_roles_add_up() {
    let split = with(
        manifest(),
        "/Roles/readsToken",
        json!({
            "ResourceType": "Secrets", "ResourceNames": ["token"], "Actions": ["readsecret"]
        }),
    );
    let split = with(
        split,
        "/Roles/readsKey",
        json!({
            "ResourceType": "Secrets", "ResourceNames": ["key"], "Actions": ["READSECRET"]
        }),
    );
    let world = World::with(
        5,
        &with(split, "/Users/reader/Roles", json!(["readsToken", "readsKey"])),
    );
    assert!(world.read("reader", &["token", "key"]).is_ok());
    assert_eq!(
        refusal(world.read("reader", &["token", "shared"])).0,
        RefusalKind::Denied
    );
}

#[test]
fn marbles_with_roles_count_as_users() {
    let mut world = World::new(6);
    let robot = world.marble("robot", UUID);
    let name = format!("robot/{UUID}");
    let caller = recognise(&world.state, Some(&robot)).unwrap();
    assert_eq!(&*caller.name(), name.as_str());
    assert!(matches!(caller, Caller::Marble { .. }));
    let without_roles = world.marble("m", UUID);
    assert_eq!(
        recognise(&world.state, Some(&without_roles)),
        Err(Unrecognised::User)
    );
    let (marble_type, uuid) = recognise_marble(&world.state, Some(&without_roles)).unwrap();
    assert_eq!((&*marble_type, uuid.to_string()), ("m", UUID.to_owned()));

    assert!(world.write_as(&robot, &[("token", key(b"by a robot"))]).is_ok());
    assert_eq!(
        world.log().last().unwrap(),
        &format!(r#"{{"update":"Secret set","user":"{name}","secret":"token","type":"plain"}}"#)
    );
    let read =
        read_secrets::read(&world.state, Some(&robot), &["token".into()]).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(read.secrets["token"].private(), Some(&b"by a robot"[..]));

    // It may propose, without a vote: all three users are still asked. It may not acknowledge. It may cancel.
    let raw = manifest().to_string();
    let proposed = world.propose_as(&robot, raw.as_bytes());
    assert_eq!(
        waiting(proposed),
        (3, vec!["alice".into(), "bob".into(), "carol".into()])
    );
    let (kind, message) = refusal(world.acknowledge_as(&robot, raw.as_bytes()));
    assert_eq!(kind, RefusalKind::Denied);
    assert!(
        message.starts_with(&format!(
            "user {name} is not allowed to acknowledge manifest updates"
        )),
        "{message}"
    );
    assert_eq!(world.cancel_as(&robot), Ok(()));

    // A package update renews the intermediate: the robot of before is nobody.
    assert!(
        world
            .propose_as(&robot, br#"{"Packages": {"p": {"SecurityVersion": 4}}}"#)
            .is_ok()
    );
    assert_eq!(recognise(&world.state, Some(&robot)), Err(Unrecognised::User));
    assert!(matches!(
        recognise_marble(&world.state, Some(&robot)),
        Err(Unrecognised::Marble { .. })
    ));
    world.check_restart();
}

#[test]
fn where_only_marbles_may_update_their_proposal_applies_at_once() {
    let no_users = with(manifest(), "/Users", Value::Null);
    let mut world = World::with(7, &no_users);
    let robot = world.marble("robot", UUID);
    applied(world.propose_as(&robot, manifest().to_string().as_bytes()));
    // From now on there are users: the marble proposes, they decide.
    let robot = world.marble("robot", UUID);
    let outcome = world.propose_as(&robot, no_users.to_string().as_bytes());
    assert!(matches!(outcome, Ok(Outcome::Waiting(waiting)) if waiting.missing.acknowledgements == 3));
}

#[test]
fn a_user_called_like_a_marble_is_not_the_marble() {
    let name = format!("robot/{UUID}");
    let mut manifest = manifest();
    manifest["Users"][&name] = user("erin", &[]);
    let mut world = World::with(8, &manifest);
    let robot = world.marble("robot", UUID);
    assert_eq!(
        recognise(&world.state, Some(&certificate("erin"))),
        Ok(Caller::User {
            name: name.as_str().into()
        })
    );
    assert!(matches!(
        recognise(&world.state, Some(&robot)),
        Ok(Caller::Marble { .. })
    ));
    let refused = refusal(world.propose("erin", &manifest));
    assert_eq!(refused.0, RefusalKind::Denied);
    assert!(world.propose_as(&robot, manifest.to_string().as_bytes()).is_ok());
}
