//! Package updates.

use marblerun_core::decision::Verdict;
use marblerun_core::flow::{activate, inspect, update_manifest};
use marblerun_core::manifest::Limits;
use marblerun_core::refusal::RefusalKind;
use serde_json::json;

use crate::support::*;

fn invalid(part: &str, (kind, message): Refused) {
    assert_eq!(kind, RefusalKind::Invalid, "{message}");
    assert!(
        message.starts_with("checking update manifest: ") && message.contains(part),
        "{message}"
    );
}

#[test]
fn versions_are_raised_and_the_intermediate_renewed() {
    let mut world = World::new(30);
    let before = world.state.clone();
    let (view, chain) = (
        inspect::manifest(&before).unwrap(),
        inspect::certificate_chain(&before),
    );
    let cert = world.value("reader", "cert");
    let shared = world.value("reader", "shared");
    let old_marble = world.marble("m", UUID);

    let outcome = applied(world.raise("admin", &[("p", 5), ("q", 1)]));
    assert!(outcome.recovery_secrets.is_empty() && outcome.lowered.is_empty());
    let after = inspect::manifest(&world.state).unwrap();
    assert_eq!(
        (after.raw, after.signature),
        (view.raw, view.signature),
        "the manifest stays as it was set"
    );
    let renewed = inspect::certificate_chain(&world.state);
    let last = |chain: &str| chain.rsplit("-----BEGIN").next().unwrap().to_owned();
    assert_ne!(renewed, chain);
    assert_eq!(last(&renewed), last(&chain), "the root stays");
    assert_eq!(world.state.manifest_generation(), 2);
    assert_ne!(world.value("reader", "cert"), cert, "re-issued");
    assert_eq!(world.value("reader", "shared"), shared);
    assert_ne!(world.marble("m", UUID), old_marble);
    assert_eq!(
        world.log()[1..],
        [
            r#"{"update":"SecurityVersion increased","user":"admin","package":"p","new version":5}"#,
            r#"{"update":"SecurityVersion increased","user":"admin","package":"q","new version":1}"#,
        ]
    );
    // `.Previous` is left alone: it is what it was before the last full update, and there was none.
    assert_eq!(world.env("m", "PREVIOUS_CERT"), world.env("m", "CERT"));
    world.check_restart();
}

#[test]
fn versions_never_go_down() {
    let mut world = World::new(31);
    let downgrade = "update manifest tries to downgrade SecurityVersion of the original manifest";
    invalid(downgrade, refusal(world.raise("admin", &[("p", 2)])));
    applied(world.raise("admin", &[("p", 5)]));
    invalid(downgrade, refusal(world.raise("admin", &[("p", 4)])));
    // One of several is enough for none to be raised.
    invalid(downgrade, refusal(world.raise("admin", &[("p", 4), ("q", 7)])));
    applied(world.raise("admin", &[("q", 1)]));
    assert_eq!(world.log().len(), 3);
    // The same version is fine, and is an update too.
    applied(world.raise("admin", &[("p", 5)]));
    assert_eq!(world.log().len(), 4);
    assert_eq!(world.state.manifest_generation(), 4);
}

#[test]
fn only_security_versions_of_packages_that_have_one_can_be_raised() {
    let mut world = World::new(32);
    invalid("Packages.u", refusal(world.raise("admin", &[("u", 1)])));
    // A package nobody may raise is refused as one that does not exist.
    assert_eq!(
        refusal(world.raise("admin", &[("nope", 5)])),
        (
            RefusalKind::Denied,
            "user admin is not allowed to update one or more packages of [nope]".into()
        )
    );
    for (package, part) in [
        (
            json!({ "SecurityVersion": 5, "ProductID": 1 }),
            "Packages.p.ProductID",
        ),
        (json!({ "SecurityVersion": 5, "Debug": true }), "Packages.p.Debug"),
        (json!({ "SignerID": "11".repeat(32) }), "Packages.p.SignerID"),
        (json!({}), "Packages.p.SecurityVersion"),
        (json!({ "SecurityVersion": -1 }), "Packages.p.SecurityVersion"),
    ] {
        invalid(
            part,
            refusal(world.propose("admin", &json!({ "Packages": { "p": package } }))),
        );
    }
    // `Config` beside it is not counted, whatever it says.
    let beside = json!({ "Packages": { "p": { "SecurityVersion": 4, "Debug": false } }, "Users": {}, "Config": { "SealMode": "x" } });
    applied(world.propose("admin", &beside));
    world.limits = Limits {
        bytes: 10,
        ..Limits::default()
    };
    assert_eq!(
        refusal(world.raise("admin", &[("p", 9)])).0,
        RefusalKind::TooLarge
    );
}

#[test]
fn what_was_prepared_before_is_stale() {
    let mut world = World::new(33);
    let activation = world
        .prepare_activation("m", UUID)
        .unwrap_or_else(|r| panic!("{r}"));
    let leaf = certificate("admin");
    let raw = br#"{"Packages": {"p": {"SecurityVersion": 7}}}"#;
    let prepare = |world: &World| {
        update_manifest::prepare(&world.state, &world.request(Some(&leaf), raw), &world.ambient())
            .unwrap_or_else(|refusal| panic!("{refusal}"))
    };
    let (first, second) = (prepare(&world), prepare(&world));
    let verdict = update_manifest::decide(&world.state, &first, &world.ambient());
    applied(world.settle(verdict));
    let again = update_manifest::decide(&world.state, &second, &world.ambient());
    assert!(matches!(again, Ok(Verdict::Stale)));
    assert!(matches!(
        activate::decide(&world.state, &activation),
        Ok(Verdict::Stale)
    ));
}

#[test]
fn no_package_update_while_a_manifest_is_pending() {
    let mut world = World::new(34);
    waiting(world.propose("alice", &manifest()));
    let (kind, message) = refusal(world.raise("admin", &[("p", 9)]));
    assert_eq!(kind, RefusalKind::Conflict);
    assert!(message.starts_with("update already in progress"), "{message}");
    world.cancel("bob").unwrap();
    applied(world.raise("admin", &[("p", 9)]));
}
