//! Which keys a marble gets, for random manifests: the same from the same, others from anything else.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::hmac;
use marblerun_core::pki::CryptoSuite;
use marblerun_core::pki::authority::Authority;
use marblerun_core::sealed::{StateId, open_state, seal_state};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::support::{USER, activate, apply, authority, deploy, update};

/// Keys shorter than this may be alike by chance.
const TELLING: usize = 16;

#[derive(Debug, Clone)]
struct Plan {
    /// Name, bits, shared.
    secrets: Vec<(String, usize, bool)>,
    /// Marble type, `DisableSecretBinding`.
    marbles: Vec<(String, bool)>,
    uuids: Vec<Uuid>,
    root_secrets: Vec<[u8; 32]>,
    suite: CryptoSuite,
}

fn name() -> impl Strategy<Value = String> {
    // Identifiers, and names that templates reach by `index` alone. Some continue others.
    prop_oneof!["[a-zA-Z][a-zA-Z0-9_]{0,12}", "[a-c]{1,3}", "[a-z/ .äß日-]{1,8}"]
}

fn distinct<T: Clone + Ord + std::fmt::Debug>(
    item: impl Strategy<Value = T>,
    count: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::btree_set(item, count).prop_map(|set| set.into_iter().collect())
}

prop_compose! {
    fn plan()(
        names in distinct(name(), 1..=5),
        shapes in proptest::collection::vec(
            (prop_oneof![Just(128), Just(256), (1_usize..=80).prop_map(|bytes| bytes * 8), Just(65_280)], any::<bool>()),
            5,
        ),
        marbles in distinct(name(), 2..=3),
        unbound in proptest::collection::vec(any::<bool>(), 3),
        uuids in distinct((1..=u128::MAX).prop_map(Uuid::from_u128), 2..=2),
        root_secrets in distinct(any::<[u8; 32]>(), 2..=2),
        large in any::<bool>(),
    ) -> Plan {
        Plan {
            secrets: names.into_iter().zip(shapes).map(|(name, (bits, shared))| (name, bits, shared)).collect(),
            marbles: marbles.into_iter().zip(unbound).collect(),
            uuids,
            root_secrets,
            suite: CryptoSuite::ALL[usize::from(large)],
        }
    }
}

impl Plan {
    fn manifest(&self) -> Value {
        let secret = |(name, bits, shared): &(String, usize, bool)| {
            (
                name.clone(),
                json!({"Type": "symmetric-key", "Size": bits, "Shared": shared}),
            )
        };
        let mut env = Map::new();
        for (name, ..) in &self.secrets {
            env.insert(
                format!("NOW {name}"),
                json!(format!("{{{{ hex (index .Secrets {name:?}) }}}}")),
            );
            env.insert(
                format!("BEFORE {name}"),
                json!(format!("{{{{ hex (index .Previous.Secrets {name:?}) }}}}")),
            );
        }
        for (variable, path) in SEAL_KEYS {
            env.insert(variable.into(), json!(format!("{{{{ hex {path} }}}}")));
        }
        let marble = |(name, unbound): &(String, bool)| {
            let marble = json!({
                "Package": "p", "DisableSecretBinding": unbound, "Parameters": {"Env": env},
            });
            (name.clone(), marble)
        };
        json!({
            "Users": {"user": {"Certificate": USER, "Roles": ["updater"]}},
            "Roles": {"updater": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]}},
            "Packages": {"p": {"Debug": true}},
            "Marbles": self.marbles.iter().map(marble).collect::<Map<_, _>>(),
            "Secrets": self.secrets.iter().map(secret).collect::<Map<_, _>>(),
        })
    }

    fn is_shared(&self, name: &str) -> bool {
        self.secrets
            .iter()
            .any(|(known, _, shared)| known == name && *shared)
    }
}

const SEAL_KEYS: [(&str, &str); 4] = [
    ("SEAL", ".MarbleRun.SealKey"),
    ("SEAL old", ".Marblerun.SealKey"),
    ("SEAL public", ".MarbleRun.SealKey.Public"),
    ("SEAL private", ".Marblerun.SealKey.Private"),
];

/// What a marble was given: the values of its variables, decoded.
fn given(state: &State, marble_type: &str, uuid: Uuid, seed: u64) -> BTreeMap<String, Vec<u8>> {
    let dice = TestDice::new(seed);
    let activated = activate(state, marble_type, &uuid.to_string(), &dice);
    let env = activated.parameters.env.iter();
    env.filter(|(variable, _)| !variable.starts_with("MARBLE_"))
        .map(|(variable, value)| (variable.to_string(), hex::decode(value.as_slice()).unwrap()))
        .collect()
}

fn deployed(plan: &Plan, authority: Authority, root_secret: [u8; 32], seed: u64) -> State {
    let root_secret = SecretBytes::copy_from(&root_secret);
    deploy(authority, root_secret, &plan.manifest(), &TestDice::new(seed)).0
}

/// HKDF-SHA256 (RFC 5869), from HMAC.
fn hkdf(input: &[u8], salt: &[u8], info: &[u8], length: usize) -> Vec<u8> {
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let key = sign(salt, input);
    let mut out: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    for counter in 1..=u8::MAX {
        if out.len() >= length {
            break;
        }
        last = sign(key.as_ref(), &[&last, info, &[counter]].concat())
            .as_ref()
            .to_vec();
        out.extend_from_slice(&last);
    }
    out.truncate(length);
    out
}

/// All that a private key may depend on.
type Origin = (usize, Uuid, String, Option<String>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_instance_gets_the_same_keys_anywhere(plan in plan()) {
        let dice = TestDice::new(1);
        let root_secret = plan.root_secrets[0];
        let own = authority(plan.suite, &dice);
        let secret = SecretBytes::copy_from(&root_secret);
        let (state, changes, _) = deploy(own.clone(), secret.clone(), &plan.manifest(), &dice);
        // The same deployment from its changes and from its file, and one that has nothing but the root secret in
        // common with it.
        let mut restarted = State::begin(own, secret, false);
        apply(&mut restarted, &changes);
        let (file, _) = seal_state(&state, StateId::generate(&dice), &dice).unwrap();
        let opened = open_state(&file, &state.sealing().unwrap().key).unwrap().state;
        let stranger = deployed(&plan, authority(plan.suite, &dice), root_secret, 99);

        for (marble_type, _) in &plan.marbles {
            for uuid in &plan.uuids {
                let first = given(&state, marble_type, *uuid, 2);
                prop_assert_eq!(&first, &given(&state, marble_type, *uuid, 3));
                prop_assert_eq!(&first, &given(&restarted, marble_type, *uuid, 4));
                prop_assert_eq!(&first, &given(&opened, marble_type, *uuid, 4));
                for (variable, there) in given(&stranger, marble_type, *uuid, 5) {
                    let (_, name) = variable.split_once(' ').unwrap_or_default();
                    if !plan.is_shared(name) {
                        prop_assert_eq!(&first[&variable], &there, "{}", variable);
                    } else if there.len() >= TELLING {
                        prop_assert_ne!(&first[&variable], &there, "{}", variable);
                    }
                }
            }
        }
    }

    #[test]
    fn private_keys_differ_exactly_where_their_origin_does(plan in plan()) {
        let dice = TestDice::new(1);
        let own = authority(plan.suite, &dice);
        let mut by_origin: BTreeMap<Origin, Vec<u8>> = BTreeMap::new();
        let mut by_key: BTreeMap<Vec<u8>, Origin> = BTreeMap::new();
        for (index, root_secret) in plan.root_secrets.iter().enumerate() {
            let state = deployed(&plan, own.clone(), *root_secret, 6);
            for (marble_type, unbound) in &plan.marbles {
                for uuid in &plan.uuids {
                    let given = given(&state, marble_type, *uuid, 7);
                    for (name, bits, _) in plan.secrets.iter().filter(|(_, _, shared)| !shared) {
                        let key = &given[&format!("NOW {name}")];
                        prop_assert_eq!(key.len() * 8, *bits);
                        let bound_to = (!unbound).then(|| marble_type.clone());
                        let salt = format!("{uuid}{name}");
                        let info = bound_to.clone().unwrap_or_default();
                        prop_assert_eq!(key, &hkdf(root_secret, salt.as_bytes(), info.as_bytes(), bits / 8));
                        let origin = (index, *uuid, name.clone(), bound_to);
                        let before = by_origin.insert(origin.clone(), key.clone());
                        prop_assert!(before.is_none_or(|before| before == *key), "{:?}", origin);
                        if let Some(start) = key.get(..TELLING) {
                            let other = by_key.insert(start.to_vec(), origin.clone());
                            prop_assert!(other.as_ref().is_none_or(|other| *other == origin), "{:?}", (other, origin));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn before_a_rotation_previous_is_current(plan in plan()) {
        let dice = TestDice::new(1);
        let state = deployed(&plan, authority(plan.suite, &dice), plan.root_secrets[0], 8);
        let mut shared = BTreeSet::new();
        for (marble_type, _) in &plan.marbles {
            for uuid in &plan.uuids {
                let given = given(&state, marble_type, *uuid, 9);
                for (name, bits, is_shared) in &plan.secrets {
                    let now = &given[&format!("NOW {name}")];
                    prop_assert_eq!(now.len() * 8, *bits);
                    prop_assert_eq!(now, &given[&format!("BEFORE {name}")]);
                    if *is_shared {
                        shared.insert((name.clone(), now.clone()));
                    }
                }
            }
        }
        let count = plan.secrets.iter().filter(|(_, _, shared)| *shared).count();
        prop_assert_eq!(shared.len(), count, "shared keys are the same for all marbles");
    }

    #[test]
    fn previous_is_what_was_before_the_last_rotation(
        plan in plan(),
        rotations in proptest::collection::vec(any::<bool>(), 1..=4),
    ) {
        let dice = TestDice::new(1);
        let mut state = deployed(&plan, authority(plan.suite, &dice), plan.root_secrets[0], 8);
        let (marble_type, uuid) = (&plan.marbles[0].0, plan.uuids[0]);
        let mut before = given(&state, marble_type, uuid, 9);
        for rotate in rotations {
            let mut manifest = plan.manifest();
            manifest["Config"] = json!({"RotateRootSecret": rotate});
            update(&mut state, &manifest, &dice);
            let after = given(&state, marble_type, uuid, 10);
            for (name, ..) in &plan.secrets {
                let [now, previous] = ["NOW", "BEFORE"].map(|age| format!("{age} {name}"));
                if !rotate {
                    prop_assert_eq!(&after[&now], &before[&now]);
                    prop_assert_eq!(&after[&previous], &before[&previous]);
                    continue;
                }
                prop_assert_eq!(&after[&previous], &before[&now]);
                if before[&now].len() >= TELLING {
                    prop_assert_ne!(&after[&now], &before[&now]);
                }
            }
            prop_assert_eq!(after["SEAL"] != before["SEAL"], rotate);
            // Also from the file.
            let (file, _) = seal_state(&state, StateId::generate(&dice), &dice).unwrap();
            let opened = open_state(&file, &state.sealing().unwrap().key).unwrap().state;
            prop_assert_eq!(&given(&opened, marble_type, uuid, 11), &after);
            before = after;
        }
    }

    #[test]
    fn the_seal_key_depends_on_uuid_and_root_secret_alone(plan in plan()) {
        let dice = TestDice::new(1);
        let own = authority(plan.suite, &dice);
        let mut keys = BTreeSet::new();
        for root_secret in &plan.root_secrets {
            let state = deployed(&plan, own.clone(), *root_secret, 10);
            for uuid in &plan.uuids {
                let expected = hkdf(root_secret, uuid.as_bytes(), b"", 32);
                for (marble_type, _) in &plan.marbles {
                    let given = given(&state, marble_type, *uuid, 11);
                    for (variable, path) in SEAL_KEYS {
                        prop_assert_eq!(&given[variable], &expected, "{}", path);
                    }
                }
                keys.insert(expected);
            }
        }
        prop_assert_eq!(keys.len(), plan.root_secrets.len() * plan.uuids.len());
    }
}

#[test]
fn previous_certificates_are_the_current_ones() {
    let dice = TestDice::new(1);
    let manifest = json!({
        "Packages": {"p": {"Debug": true}},
        "Secrets": {
            "shared": {"Type": "cert-ecdsa", "Size": 256, "Shared": true},
            "private": {"Type": "cert-ed25519"},
        },
        "Marbles": {"m": {"Package": "p", "Parameters": {"Env": {
            "NOW": "{{ pem .Secrets.shared }}{{ hex .Secrets.shared.Private }}{{ hex .Secrets.private.Private }}",
            "BEFORE": "{{ with .Previous.Secrets }}{{ pem .shared }}{{ hex .shared.Private }}{{ hex .private.Private }}{{ end }}",
        }}}},
    });
    let own = authority(CryptoSuite::P256Aes128, &dice);
    let (state, _, _) = deploy(own, SecretBytes::copy_from(&[3; 32]), &manifest, &dice);
    let value = |variable: &str| {
        let activated = activate(&state, "m", &Uuid::max().to_string(), &dice);
        assert_eq!(
            activated.parameters.env["NOW"],
            activated.parameters.env["BEFORE"]
        );
        activated.parameters.env[variable].to_vec()
    };
    assert_ne!(
        value("NOW"),
        value("NOW"),
        "a private certificate has a fresh key each time"
    );
}
