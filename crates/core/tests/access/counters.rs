//! Monotonic counters.

use marblerun_core::change::Change;
use marblerun_core::decision::Verdict;
use marblerun_core::flow::counter::{self, MAX_ALTOGETHER, MAX_NAME, MAX_OF_INSTANCE, MAX_OF_TYPE};
use marblerun_core::refusal::RefusalKind;
use serde_json::{Value, json};

use crate::support::*;

#[test]
fn a_counter_only_rises() {
    let mut world = World::new(70);
    let leaf = world.marble("m", UUID);
    assert_eq!(world.count(&leaf, "c", 5), Ok(0));
    assert_eq!(world.count(&leaf, "c", 3), Ok(5));
    assert_eq!(world.count(&leaf, "c", 9), Ok(5));
    assert_eq!(world.count(&leaf, "c", 0), Ok(9));
    assert_eq!(world.count(&leaf, "d", 0), Ok(0));
    assert_eq!(world.count(&leaf, "d", u64::MAX), Ok(0));
    assert_eq!(world.count(&leaf, "d", 1), Ok(u64::MAX));
    assert_eq!(world.log().len(), 1, "no entries in the update log");
    world.check_restart();
}

#[test]
fn it_belongs_to_type_and_uuid() {
    let mut world = World::new(71);
    let own = world.marble("m", UUID);
    let (other_uuid, other_type) = (world.marble("m", OTHER_UUID), world.marble("robot", UUID));
    assert_eq!(world.count(&own, "c", 5), Ok(0));
    assert_eq!(world.count(&other_uuid, "c", 6), Ok(0));
    assert_eq!(world.count(&other_type, "c", 7), Ok(0));
    // The same instance after a restart.
    let again = world.marble("m", UUID);
    assert_ne!(again, own);
    assert_eq!(world.count(&again, "c", 0), Ok(5));
    let prepared = counter::prepare(&world.state, Some(&again), "c", 8).unwrap_or_else(|r| panic!("{r}"));
    let verdict = counter::decide(&world.state, &prepared);
    let raised = world.settle(verdict).unwrap();
    assert_eq!(
        (
            &*raised.marble_type,
            raised.uuid.to_string().as_str(),
            raised.before
        ),
        ("m", UUID, 5)
    );
    world.check_restart();
}

#[test]
fn only_marbles_of_the_present_intermediate_may_count() {
    let mut world = World::new(72);
    let leaf = world.marble("m", UUID);
    let unauthorized = |refused: Refused| {
        assert_eq!(refused.0, RefusalKind::Unauthenticated);
        assert!(refused.1.starts_with("unauthorized marble: "), "{}", refused.1);
    };
    unauthorized(refusal(world.count(&certificate("alice"), "c", 1)));
    unauthorized(refusal(world.count(b"", "c", 1)));
    unauthorized(refusal(
        counter::prepare(&world.state, None, "c", 1).map_err(refused),
    ));
    let stranger = World::new(73).marble("m", UUID);
    unauthorized(refusal(world.count(&stranger, "c", 1)));

    let prepared = counter::prepare(&world.state, Some(&leaf), "c", 1).unwrap_or_else(|r| panic!("{r}"));
    applied(world.raise("admin", &[("p", 5)]));
    assert!(matches!(
        counter::decide(&world.state, &prepared),
        Ok(Verdict::Stale)
    ));
    unauthorized(refusal(world.count(&leaf, "c", 1)));
}

#[test]
fn the_gate_is_asked_first() {
    let disabled = |refused: Refused| {
        assert_eq!(refused.0, RefusalKind::FeatureDisabled);
        assert!(refused.1.contains("MonotonicCounter"), "{}", refused.1);
    };
    for manifest in [
        with(manifest(), "/Config/FeatureGates", json!([])),
        with(manifest(), "/Config/FeatureGates", json!(["SignQuoteEndpoint"])),
        with(manifest(), "/Config", Value::Null),
    ] {
        let mut world = World::with(74, &manifest);
        disabled(refusal(world.count(b"no marble", "", 1)));
    }
    disabled(refusal(
        counter::prepare(&World::empty(74).state, None, "", 1).map_err(refused),
    ));
    // Also where it was switched off since.
    let mut world = World::with(74, &with(manifest(), "/Config/UpdateThreshold", json!(1)));
    let leaf = world.marble("m", UUID);
    let prepared = counter::prepare(&world.state, Some(&leaf), "c", 1).unwrap_or_else(|r| panic!("{r}"));
    applied(world.propose("alice", &with(manifest(), "/Config/FeatureGates", json!([]))));
    let verdict = counter::decide(&world.state, &prepared);
    disabled(refusal(world.settle(verdict)));
}

#[test]
fn names_have_1_to_253_bytes() {
    let mut world = World::new(75);
    let leaf = world.marble("m", UUID);
    for name in [String::new(), "x".repeat(MAX_NAME + 1), "ä".repeat(127)] {
        let (kind, message) = refusal(world.count(&leaf, &name, 1));
        assert_eq!(kind, RefusalKind::Malformed);
        assert!(message.contains("1 to 253 bytes"), "{message}");
    }
    assert_eq!(world.count(&leaf, &"x".repeat(MAX_NAME), 1), Ok(0));
}

#[test]
fn there_are_limits_to_how_many() {
    let mut world = World::new(76);
    let leaf = world.marble("m", UUID);
    let raised_by = |marble_type: &str, uuid: &str, name: String| Change::CounterRaised {
        marble_type: marble_type.into(),
        uuid: uuid.parse().unwrap(),
        name: name.into(),
        value: 1,
    };
    let raised = |uuid: &str, name| raised_by("m", uuid, name);
    let filled: Vec<_> = (0..MAX_OF_INSTANCE)
        .map(|number| raised(UUID, number.to_string()))
        .collect();
    world.apply(&filled);
    let (kind, message) = refusal(world.count(&leaf, "one more", 1));
    assert_eq!(kind, RefusalKind::TooLarge);
    assert!(message.contains("1000"), "{message}");
    assert_eq!(world.count(&leaf, "7", 2), Ok(1), "those there are may rise");
    assert_eq!(world.count(&leaf, "one more", 0), Ok(0), "and be asked for");
    world.check_restart();

    let other = world.marble("m", OTHER_UUID);
    let mut state = world.state.clone();
    let uuid = |number: usize| uuid::Uuid::from_u128(number as u128 / 900).to_string();
    for number in MAX_OF_INSTANCE..MAX_OF_TYPE {
        state.apply(&raised(&uuid(number), number.to_string()));
    }
    world.state = state;
    let (kind, message) = refusal(world.count(&other, "first", 1));
    assert_eq!(kind, RefusalKind::TooLarge);
    assert!(
        message.contains("a marble type may have at most 100000"),
        "{message}"
    );
    // Marbles of other types are not touched by it.
    let robot = world.marble("robot", UUID);
    assert_eq!(world.count(&robot, "first", 1), Ok(0));

    let mut state = world.state.clone();
    for number in MAX_OF_TYPE + 1..MAX_ALTOGETHER {
        let marble_type = format!("type {}", number / 50_000);
        state.apply(&raised_by(&marble_type, &uuid(number), number.to_string()));
    }
    world.state = state;
    assert_eq!(refusal(world.count(&robot, "second", 1)).0, RefusalKind::TooLarge);
    let (_, message) = refusal(world.count(&robot, "second", 1));
    assert!(message.contains("1000000"), "{message}");
    assert_eq!(world.count(&leaf, "7", 3), Ok(2));
}
