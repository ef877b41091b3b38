//! Updates of the whole manifest: proposed, acknowledged, cancelled, applied, dropped.

use std::collections::BTreeMap;

use marblerun_core::decision::Verdict;
use marblerun_core::flow::inspect;
use marblerun_core::flow::update_manifest::{self, Outcome, pending};
use marblerun_core::manifest::{HsmEnvironment, Limits};
use marblerun_core::pki::marble;
use marblerun_core::recovery::RecoveryScheme;
use marblerun_core::refusal::RefusalKind;
use serde_json::{Value, json};

use crate::support::*;

fn changed() -> Value {
    with(manifest(), "/Marbles/extra", json!({ "Package": "q" }))
}

fn fingerprint(manifest: &Value) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    hex::encode(digest(&SHA256, manifest.to_string().as_bytes()))
}

fn conflict(message: &str) -> Refused {
    (RefusalKind::Conflict, message.to_owned())
}

const IN_PROGRESS: &str =
    "update already in progress. Acknowledge the update to apply it, or cancel it to start a new one";
const OTHER_BYTES: &str = "provided manifest does not match the pending manifest";
const NONE: (RefusalKind, &str) = (RefusalKind::NotFound, "no update in progress");

#[test]
fn an_update_takes_everybody_by_default() {
    let mut world = World::new(40);
    let (before, changed) = (world.state.clone(), changed());
    assert_eq!(
        waiting(world.propose("bob", &changed)),
        (2, vec!["alice".into(), "carol".into()])
    );
    let view = pending(&world.state).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(&*view.manifest, changed.to_string().as_bytes());
    assert_eq!(view.fingerprint, fingerprint(&changed));
    assert_eq!(
        view.missing.message(),
        "2 users still need to acknowledge the update manifest"
    );
    assert_eq!(
        view.missing.message_with_names(),
        "2 users still need to acknowledge the update manifest: alice, carol"
    );
    world.check_restart();
    world.restart();

    assert_eq!(refusal(world.propose("bob", &changed)), conflict(IN_PROGRESS));
    assert_eq!(
        refusal(world.propose("alice", &manifest())),
        conflict(IN_PROGRESS)
    );
    assert_eq!(
        refusal(world.acknowledge("alice", &manifest())),
        conflict(OTHER_BYTES)
    );
    let spaced = format!("{changed} ");
    assert_eq!(
        refusal(world.acknowledge_as(&certificate("alice"), spaced.as_bytes())),
        conflict(OTHER_BYTES)
    );
    // Again, which counts once, and leaves no entry.
    assert_eq!(waiting(world.acknowledge("bob", &changed)).0, 2);
    assert_eq!(world.log().len(), 2);
    assert_eq!(
        waiting(world.acknowledge("alice", &changed)),
        (1, vec!["carol".into()])
    );
    assert_eq!(
        waiting(world.acknowledge("alice", &changed)),
        (1, vec!["carol".into()])
    );
    let view = pending(&world.state).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(
        view.missing.message(),
        "1 user still needs to acknowledge the update manifest"
    );
    assert_eq!(
        inspect::manifest(&world.state).unwrap().raw,
        inspect::manifest(&before).unwrap().raw
    );

    let done = applied(world.acknowledge("carol", &changed));
    assert!(done.recovery_secrets.is_empty() && done.lowered.is_empty());
    assert_eq!(
        done.message(),
        "All users have acknowledged the update manifest. Update successfully applied"
    );
    let view = inspect::manifest(&world.state).unwrap();
    assert_eq!(&*view.raw, changed.to_string().as_bytes());
    assert_ne!(view.signature, inspect::manifest(&before).unwrap().signature);
    assert_eq!(world.state.manifest_generation(), 2);
    assert_eq!(
        world.state.sealing().unwrap().key_generation,
        1,
        "the recovery keys are the same"
    );
    assert!(world.activate("extra", UUID).is_ok());
    assert_eq!(
        pending(&world.state).map(|_| ()).map_err(refused),
        Err((NONE.0, NONE.1.into()))
    );
    let print = fingerprint(&changed);
    assert_eq!(
        world.log()[1..],
        [
            format!(
                r#"{{"update":"Complete Manifest update initiated by user. Waiting for acknowledgments to apply the update","user":"bob","missingAcknowledgments":2,"missingUsers":["alice","carol"],"manifestFingerprint":"{print}"}}"#
            ),
            format!(
                r#"{{"update":"Complete Manifest update acknowledged by user","user":"alice","missingAcknowledgments":1,"missingUsers":["carol"],"manifestFingerprint":"{print}"}}"#
            ),
            format!(
                r#"{{"update":"Complete Manifest update acknowledged by user","user":"carol","missingAcknowledgments":0,"missingUsers":[],"manifestFingerprint":"{print}"}}"#
            ),
            format!(r#"{{"update":"Complete Manifest updated","manifestFingerprint":"{print}"}}"#),
        ]
    );
    world.check_restart();
}

#[test]
fn a_threshold_takes_whoever_comes_first() {
    let mut world = World::with(41, &with(manifest(), "/Config/UpdateThreshold", json!(2)));
    let changed = with(changed(), "/Config/UpdateThreshold", json!(3));
    assert_eq!(
        waiting(world.propose("alice", &changed)),
        (1, vec!["bob".into(), "carol".into()]),
        "all who still may, more than are missing"
    );
    applied(world.acknowledge("carol", &changed));
    // From now on three are needed.
    assert_eq!(waiting(world.propose("alice", &manifest())).0, 2);
    assert_eq!(waiting(world.acknowledge("bob", &manifest())).0, 1);
    applied(world.acknowledge("carol", &manifest()));
}

#[test]
fn one_acknowledgement_can_be_enough() {
    let mut world = World::with(42, &with(manifest(), "/Config/UpdateThreshold", json!(1)));
    let changed = changed();
    applied(world.propose("alice", &changed));
    let print = fingerprint(&changed);
    assert_eq!(
        world.log()[1..],
        [
            format!(
                r#"{{"update":"Complete Manifest update initiated by user. No further acknowledgements required","user":"alice","manifestFingerprint":"{print}"}}"#
            ),
            format!(r#"{{"update":"Complete Manifest updated","manifestFingerprint":"{print}"}}"#),
        ]
    );
    world.check_restart();
}

#[test]
fn users_of_the_manifest_in_force_decide_not_those_of_the_next() {
    let mut world = World::new(43);
    let next = with(manifest(), "/Users/erin", user("erin", &["upd"]));
    let next = with(next, "/Users/carol", Value::Null);
    assert_eq!(
        waiting(world.propose("alice", &next)),
        (2, vec!["bob".into(), "carol".into()])
    );
    assert_eq!(
        refusal(world.acknowledge("erin", &next)).0,
        RefusalKind::Unauthenticated
    );
    waiting(world.acknowledge("bob", &next));
    applied(world.acknowledge("carol", &next));
    assert_eq!(
        refusal(world.propose("carol", &manifest())).0,
        RefusalKind::Unauthenticated
    );
    assert_eq!(
        waiting(world.propose("erin", &manifest())),
        (2, vec!["alice".into(), "bob".into()])
    );
}

#[test]
fn cancelling_leaves_everything_as_it_was() {
    let mut world = World::new(44);
    assert_eq!(refusal(world.cancel("bob")), (NONE.0, NONE.1.into()));
    assert_eq!(
        refusal(world.acknowledge("bob", &changed())),
        (NONE.0, NONE.1.into())
    );
    waiting(world.propose("alice", &changed()));
    waiting(world.acknowledge("bob", &changed()));
    world.cancel("carol").unwrap();
    assert_eq!(refusal(world.cancel("bob")), (NONE.0, NONE.1.into()));
    assert_eq!(world.state.manifest_generation(), 1);
    assert_eq!(
        world.log().last().unwrap(),
        &format!(
            r#"{{"update":"Complete Manifest update cancelled by user","user":"carol","manifestFingerprint":"{}"}}"#,
            fingerprint(&changed())
        )
    );
    // Acknowledgements of before do not count for the next proposal of the same bytes.
    assert_eq!(waiting(world.propose("alice", &changed())).0, 2);
    world.check_restart();
    assert_eq!(
        pending(&World::empty(1).state).map(|_| ()).map_err(refused),
        Err((NONE.0, NONE.1.into()))
    );
}

#[test]
fn what_rests_on_another_proposal_is_stale() {
    let mut world = World::new(45);
    waiting(world.propose("alice", &changed()));
    let leaf = certificate("bob");
    let raw = changed().to_string();
    let acknowledgement = world
        .prepare_acknowledgement(&leaf, raw.as_bytes())
        .unwrap_or_else(|r| panic!("{r}"));
    let cancellation =
        update_manifest::prepare_cancellation(&world.state, Some(&leaf)).unwrap_or_else(|r| panic!("{r}"));
    world.cancel("carol").unwrap();
    let decide = |world: &World| {
        update_manifest::decide_acknowledgement(&world.state, &acknowledgement, &world.ambient())
    };
    assert_eq!(
        decide(&world).map(|_| ()).map_err(refused),
        Err((NONE.0, NONE.1.into()))
    );
    waiting(world.propose("alice", &changed()));
    assert!(matches!(decide(&world), Ok(Verdict::Stale)));
    let cancelled = update_manifest::decide_cancellation(&world.state, &cancellation, &world.ambient());
    assert!(
        matches!(cancelled, Ok(Verdict::Stale)),
        "never cancels what it did not see"
    );
}

#[test]
fn two_last_acknowledgements_apply_once() {
    let mut world = World::new(46);
    waiting(world.propose("alice", &changed()));
    let raw = changed().to_string();
    let prepare = |world: &World, who: &str| {
        world
            .prepare_acknowledgement(&certificate(who), raw.as_bytes())
            .unwrap_or_else(|r| panic!("{r}"))
    };
    let (bob, carol) = (prepare(&world, "bob"), prepare(&world, "carol"));
    let verdict = update_manifest::decide_acknowledgement(&world.state, &bob, &world.ambient());
    assert_eq!(waiting(world.settle(verdict)).0, 1);
    // Prepared as one of two, it is the last one now: it has to be prepared with all that follows.
    let verdict = update_manifest::decide_acknowledgement(&world.state, &carol, &world.ambient());
    assert!(matches!(verdict, Ok(Verdict::Stale)));
    let (last, twice) = (prepare(&world, "carol"), prepare(&world, "carol"));
    let verdict = update_manifest::decide_acknowledgement(&world.state, &last, &world.ambient());
    applied(world.settle(verdict));
    let verdict = update_manifest::decide_acknowledgement(&world.state, &twice, &world.ambient());
    assert!(
        matches!(verdict, Ok(Verdict::Stale)),
        "of a manifest that is no longer in force"
    );
    assert_eq!(world.state.manifest_generation(), 2);
}

#[test]
fn two_proposals_at_once_leave_one() {
    let mut world = World::new(47);
    let (a, b) = (changed().to_string(), manifest().to_string());
    let prepare = |world: &World, who: &str, raw: &str| {
        let leaf = certificate(who);
        update_manifest::prepare(
            &world.state,
            &world.request(Some(&leaf), raw.as_bytes()),
            &world.ambient(),
        )
        .unwrap_or_else(|refusal| panic!("{refusal}"))
    };
    let (first, second) = (prepare(&world, "alice", &a), prepare(&world, "bob", &b));
    let verdict = update_manifest::decide(&world.state, &first, &world.ambient());
    waiting(world.settle(verdict));
    let verdict = update_manifest::decide(&world.state, &second, &world.ambient());
    assert_eq!(refusal(world.settle(verdict)), conflict(IN_PROGRESS));
}

#[test]
fn a_broken_proposal_is_refused_with_all_problems() {
    let mut world = World::new(48);
    let broken = with(changed(), "/Marbles/extra/Package", json!("nope"));
    let broken = with(broken, "/Config/UpdateThreshold", json!(9));
    let (kind, message) = refusal(world.propose("alice", &broken));
    assert_eq!(kind, RefusalKind::Invalid);
    assert!(message.starts_with("checking update manifest: "), "{message}");
    assert!(
        message.contains("Marbles.extra.Package") && message.contains("Config.UpdateThreshold"),
        "{message}"
    );
    assert_eq!(
        refusal(world.propose_as(&certificate("alice"), b"{bad")).0,
        RefusalKind::Invalid
    );
    assert_eq!(
        refusal(world.propose("alice", &json!({}))).0,
        RefusalKind::Invalid
    );
    let gate = with(changed(), "/Config/FeatureGates", json!(["AzureHSMSealing"]));
    assert_eq!(refusal(world.propose("alice", &gate)).0, RefusalKind::Invalid);
    world.limits = Limits {
        bytes: 10,
        ..Limits::default()
    };
    assert_eq!(
        refusal(world.propose("alice", &changed())).0,
        RefusalKind::TooLarge
    );
    assert_eq!((world.log().len(), pending(&world.state).is_err()), (1, true));
    assert_eq!(
        refusal(World::empty(48).propose("alice", &changed())).0,
        RefusalKind::Unauthenticated
    );
}

#[test]
fn an_update_that_can_no_longer_be_applied_is_dropped() {
    // The values that were uploaded meanwhile do not fit its templates.
    let mut world = World::with(49, &with(manifest(), "/Marbles/t", Value::Null));
    waiting(world.propose("alice", &manifest()));
    waiting(world.acknowledge("bob", &manifest()));
    world.write("admin", &[("token", key(b"a\0b"))]).unwrap();
    let outcome = world.acknowledge("carol", &manifest());
    let Ok(Outcome::Dropped(refusal)) = outcome else {
        panic!("not dropped")
    };
    assert_eq!(refusal.kind(), RefusalKind::Invalid);
    assert!(refusal.message().contains("env variable TOKEN"), "{refusal}");
    let print = fingerprint(&manifest());
    assert_eq!(
        world.log()[4..],
        [
            format!(
                r#"{{"update":"Complete Manifest update acknowledged by user","user":"carol","missingAcknowledgments":0,"missingUsers":[],"manifestFingerprint":"{print}"}}"#
            ),
            format!(
                r#"{{"update":"Complete Manifest update cancelled due to error during apply","manifestFingerprint":"{print}"}}"#
            ),
        ]
    );
    assert!(pending(&world.state).is_err());
    assert_eq!(world.state.manifest_generation(), 1);
    world.check_restart();
    // The same is refused from the start now.
    assert!(matches!(
        world.propose("alice", &manifest()),
        Err((RefusalKind::Invalid, _))
    ));

    // So does one whose environment went away.
    let mut world = World::new(49);
    world.hsm = HsmEnvironment::from_lookup(|_| true);
    let sealed = with(manifest(), "/Config/FeatureGates", json!(["AzureHSMSealing"]));
    waiting(world.propose("alice", &sealed));
    waiting(world.acknowledge("bob", &sealed));
    world.hsm = HsmEnvironment::from_lookup(|_| false);
    assert!(matches!(
        world.acknowledge("carol", &sealed),
        Ok(Outcome::Dropped(_))
    ));
    world.check_restart();
}

#[test]
fn an_upload_between_preparing_and_deciding_makes_it_stale() {
    let mut world = World::with(50, &with(manifest(), "/Config/UpdateThreshold", json!(1)));
    world.write("admin", &[("token", key(b"fine"))]).unwrap();
    let leaf = certificate("alice");
    let raw = changed().to_string();
    let update = update_manifest::prepare(
        &world.state,
        &world.request(Some(&leaf), raw.as_bytes()),
        &world.ambient(),
    )
    .unwrap_or_else(|refusal| panic!("{refusal}"));
    world.write("admin", &[("token", key(b"newer"))]).unwrap();
    let verdict = update_manifest::decide(&world.state, &update, &world.ambient());
    assert!(matches!(verdict, Ok(Verdict::Stale)));
    applied(world.propose("alice", &changed()));
    assert_eq!(world.value("reader", "token"), b"newer");
}

#[test]
fn a_raised_version_may_be_lowered_and_that_is_said() {
    let mut world = World::with(51, &with(manifest(), "/Config/UpdateThreshold", json!(1)));
    applied(world.raise("admin", &[("p", 9), ("q", 4)]));
    let next = with(changed(), "/Packages/q/SecurityVersion", json!(4));
    let next = with(next, "/Config/UpdateThreshold", json!(1));
    let done = applied(world.propose("alice", &next));
    assert_eq!(
        done.message(),
        "All users have acknowledged the update manifest. Update successfully applied. SecurityVersion lowered: \
         p from 9 to 3"
    );
    assert!(
        done.warnings
            .iter()
            .any(|warning| warning.contains("p from 9 to 3")),
        "{:?}",
        done.warnings
    );
    assert!(
        world
            .log()
            .last()
            .unwrap()
            .starts_with(r#"{"update":"Complete Manifest updated","manifestFingerprint""#)
    );
    // The versions of the new manifest count from now on, without what was raised before.
    applied(world.propose("alice", &with(changed(), "/Config/UpdateThreshold", json!(1))));
    applied(world.raise("admin", &[("p", 3)]));
    world.check_restart();
}

#[test]
fn changed_recovery_keys_yield_new_secrets() {
    let one = with(manifest(), "/RecoveryKeys", recovery_keys(&["one"]));
    let one = with(one, "/Config/UpdateThreshold", json!(1));
    let keys = |names: &[&str]| with(one.clone(), "/RecoveryKeys", recovery_keys(names));
    let threshold = |manifest, value: u64| with(manifest, "/Config/RecoveryThreshold", json!(value));
    let mut world = World::with(52, &one);
    let names = |secrets: BTreeMap<_, Vec<u8>>| {
        secrets
            .keys()
            .map(|name: &std::sync::Arc<str>| name.to_string())
            .collect::<Vec<_>>()
    };
    let mut generation = 1;
    for (next, expected, scheme) in [
        (one.clone(), &[][..], RecoveryScheme::Single),
        (keys(&["other"]), &["other"], RecoveryScheme::Single),
        (keys(&["a", "b", "c"]), &["a", "b", "c"], RecoveryScheme::Xor),
        (threshold(keys(&["a", "b", "c"]), 3), &[], RecoveryScheme::Xor),
        (
            threshold(keys(&["a", "b", "c"]), 2),
            &["a", "b", "c"],
            RecoveryScheme::Shamir,
        ),
        (
            threshold(keys(&["a", "b", "c"]), 0),
            &["a", "b", "c"],
            RecoveryScheme::Xor,
        ),
        (
            with(one.clone(), "/RecoveryKeys", Value::Null),
            &[],
            RecoveryScheme::None,
        ),
    ] {
        let before = world.state.sealing().unwrap().key.bytes().expose().to_vec();
        let done = applied(world.propose("alice", &next));
        assert_eq!(names(done.recovery_secrets), expected);
        let sealing = world.state.sealing().unwrap();
        if !expected.is_empty() || scheme == RecoveryScheme::None {
            generation += 1;
            assert_ne!(sealing.key.bytes().expose(), before);
        } else {
            assert_eq!(sealing.key.bytes().expose(), before);
        }
        assert_eq!(
            (sealing.key_generation, sealing.recovery.scheme()),
            (generation, scheme)
        );
        world.check_restart();
    }
    // The same key in another spelling of PEM is a changed key.
    let mut world = World::with(52, &one);
    let text = one["RecoveryKeys"]["one"].as_str().unwrap();
    let spelled = with(one.clone(), "/RecoveryKeys/one", json!(format!("{text}\n")));
    assert_eq!(
        names(applied(world.propose("alice", &spelled)).recovery_secrets),
        ["one"]
    );
}

#[test]
fn an_answer_without_room_for_recovery_secrets_is_refused_before_anything_happens() {
    let one = with(manifest(), "/RecoveryKeys", recovery_keys(&["one"]));
    let two = with(one.clone(), "/RecoveryKeys", recovery_keys(&["one", "two"]));
    let narrow = |world: &World, who: &str, manifest: &Value, acknowledging: bool| {
        let (leaf, raw) = (certificate(who), manifest.to_string());
        let request = update_manifest::Request {
            may_yield_recovery_secrets: false,
            ..world.request(Some(&leaf), raw.as_bytes())
        };
        match acknowledging {
            false => update_manifest::prepare(&world.state, &request, &world.ambient()).map(|_| ()),
            true => {
                update_manifest::prepare_acknowledgement(&world.state, &request, &world.ambient()).map(|_| ())
            }
        }
        .map_err(refused)
    };
    let refused = |refused: Result<(), Refused>| {
        let (kind, message) = refusal(refused);
        assert_eq!(kind, RefusalKind::Malformed);
        assert!(message.contains("/api/v2"), "{message}");
    };
    let mut world = World::with(53, &with(one.clone(), "/Config/UpdateThreshold", json!(2)));
    let two = with(two, "/Config/UpdateThreshold", json!(1));
    assert_eq!(
        narrow(&world, "alice", &two, false),
        Ok(()),
        "a proposal that waits yields nothing yet"
    );
    waiting(world.propose("alice", &two));
    refused(narrow(&world, "bob", &two, true));
    assert_eq!(applied(world.acknowledge("bob", &two)).recovery_secrets.len(), 2);
    refused(narrow(&world, "alice", &one, false));
    assert_eq!(
        narrow(&world, "alice", &two, false),
        Ok(()),
        "the keys stay the same"
    );
    let none = with(two, "/RecoveryKeys", Value::Null);
    assert_eq!(
        narrow(&world, "alice", &none, false),
        Ok(()),
        "there is nothing to yield"
    );
}

#[test]
fn counts_and_counters_outlive_updates() {
    let mut world = World::with(54, &with(manifest(), "/Config/UpdateThreshold", json!(1)));
    let raw = with(manifest(), "/Config/UpdateThreshold", json!(1));
    let few = world.marble("few", UUID);
    world.activate("few", UUID).unwrap();
    assert_eq!(world.count(&few, "c", 7), Ok(0));
    let without = with(raw.clone(), "/Marbles/few", Value::Null);
    applied(world.propose("alice", &without));
    assert_eq!(world.state.activations("few"), 2);
    assert_eq!(
        refusal(world.count(&few, "c", 8)).0,
        RefusalKind::Unauthenticated,
        "of the old intermediate"
    );
    applied(world.propose("alice", &raw));
    let few = world.marble("few", UUID);
    assert_eq!(world.count(&few, "c", 1), Ok(7));
    assert_eq!(
        refusal(world.activate("few", UUID)).0,
        RefusalKind::Denied,
        "three times, two of them before"
    );
    world.check_restart();
}

#[test]
fn an_update_renews_everything_below_the_root() {
    let mut world = World::with(55, &with(manifest(), "/Config/UpdateThreshold", json!(1)));
    let marble_certificate = world.marble("m", UUID);
    let before = world.state.authority().clone();
    let prepared = world
        .prepare_activation("m", UUID)
        .unwrap_or_else(|r| panic!("{r}"));
    applied(world.propose("alice", &changed()));
    let after = world.state.authority();
    assert_eq!(before.root, after.root);
    assert_ne!(before.intermediate, after.intermediate);
    assert_ne!(before.marble_root, after.marble_root);
    assert!(marble::recognise(&before, &marble_certificate).is_ok());
    assert_eq!(
        marble::recognise(after, &marble_certificate),
        Err(marble::NotAMarble::Issuer)
    );
    let decided = marblerun_core::flow::activate::decide(&world.state, &prepared);
    assert!(matches!(decided, Ok(Verdict::Stale)));
}

#[test]
fn the_log_is_chained() {
    use aws_lc_rs::digest::{SHA256, digest};
    let mut world = World::new(56);
    waiting(world.propose("alice", &changed()));
    world
        .write("admin", &[("token", key(b"x")), ("key", key(&[1; 16]))])
        .unwrap();
    let lines = inspect::update_log(&world.state).unwrap_or_default();
    let hashes = inspect::update_log_hashes(&world.state).unwrap_or_default();
    assert_eq!((lines.len(), hashes.len()), (4, 4));
    let mut previous = vec![0; 32];
    for (line, hash) in lines.iter().zip(&hashes) {
        previous.extend(line.as_bytes());
        previous = digest(&SHA256, &previous).as_ref().to_vec();
        assert_eq!(previous, hash);
    }
    assert!(inspect::update_log_hashes(&World::empty(1).state).is_err());
    assert!(!lines.iter().any(|line| line.contains("\"x\"")));
}
