//! Random sequences of everything that writes, by several callers, against a model that is much simpler: nothing of
//! templates, certificates, keys. After each step they agree; at the end a restart reads back the same state.

use std::collections::{BTreeMap, BTreeSet};

use marblerun_core::flow::update_manifest::{Outcome, pending};
use marblerun_core::refusal::RefusalKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

const WHO: [&str; 6] = ["alice", "bob", "carol", "admin", "reader", "nobody"];
const PACKAGES: [(&str, u64); 2] = [("p", 3), ("q", 0)];

/// The manifests that take turns: number of acknowledgements, who may update.
fn variant(number: usize) -> Value {
    let manifest = with(
        manifest(),
        "/Marbles/extra",
        json!({ "Package": "p", "MaxActivations": number + 1 }),
    );
    match number {
        0 => manifest,
        1 => with(manifest, "/Config/UpdateThreshold", json!(2)),
        2 => with(
            with(manifest, "/Config/RotateRootSecret", json!(true)),
            "/Users/carol/Roles",
            json!(["reads"]),
        ),
        _ => {
            let keys = with(manifest, "/RecoveryKeys", recovery_keys(&["one", "two"]));
            with(keys, "/Config/UpdateThreshold", json!(1))
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        who: usize,
        token: Vec<u8>,
        key_length: usize,
    },
    Raise {
        who: usize,
        package: usize,
        version: u64,
    },
    Propose {
        who: usize,
        variant: usize,
    },
    Acknowledge {
        who: usize,
        variant: usize,
    },
    Cancel {
        who: usize,
    },
    Count {
        other_instance: bool,
        name: u8,
        value: u64,
    },
    Activate,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..WHO.len();
    let updater = 0..4_usize;
    let step = prop_oneof![
        3 => (3..6_usize, prop_oneof![Just(vec![]), Just(b"\0".to_vec()), Just(b"value".to_vec()), Just(b"other".to_vec())],
              prop_oneof![4 => Just(16_usize), 1 => Just(0_usize)])
            .prop_map(|(who, token, key_length)| Step::Write { who, token, key_length }),
        2 => (2..5_usize, 0..PACKAGES.len(), 0..8_u64)
            .prop_map(|(who, package, version)| Step::Raise { who, package, version }),
        3 => (updater.clone(), 0..4_usize).prop_map(|(who, variant)| Step::Propose { who, variant }),
        6 => (updater, 0..4_usize).prop_map(|(who, variant)| Step::Acknowledge { who, variant }),
        1 => who.prop_map(|who| Step::Cancel { who }),
        2 => (any::<bool>(), 0..3_u8, 0..5_u64)
            .prop_map(|(other_instance, name, value)| Step::Count { other_instance, name, value }),
        1 => Just(Step::Activate),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..30)
}

/// What is known of a deployment, as far as users see it.
struct Model {
    variant: usize,
    token: Option<Vec<u8>>,
    versions: BTreeMap<&'static str, u64>,
    pending: Option<(usize, BTreeSet<&'static str>)>,
    counters: BTreeMap<(bool, u8), u64>,
    activations: u64,
    generation: u64,
    key_generation: u64,
    entries: usize,
}

impl Model {
    fn new() -> Self {
        Self {
            variant: 0,
            token: None,
            versions: PACKAGES.into(),
            pending: None,
            counters: BTreeMap::new(),
            activations: 0,
            generation: 1,
            key_generation: 1,
            entries: 1,
        }
    }

    fn may_update(&self, who: &str) -> Result<(), RefusalKind> {
        match who {
            "nobody" => Err(RefusalKind::Unauthenticated),
            "alice" | "bob" => Ok(()),
            "carol" if self.variant != 2 => Ok(()),
            _ => Err(RefusalKind::Denied),
        }
    }

    fn missing(&self, acknowledged: &BTreeSet<&str>) -> usize {
        let needed = match self.variant {
            0 => 3,
            3 => 1,
            _ => 2,
        };
        needed - acknowledged.len().min(needed)
    }

    fn update(&mut self, variant: usize) {
        // Recovery keys come with variant 3 and go with the others.
        if (variant == 3) != (self.variant == 3) {
            self.key_generation += 1;
        }
        self.variant = variant;
        self.versions = PACKAGES.into();
        self.pending = None;
        self.generation += 1;
    }

    fn write(&mut self, who: &str, token: &[u8], key_length: usize) -> Result<(), RefusalKind> {
        match who {
            "nobody" => Err(RefusalKind::Unauthenticated),
            "admin" if key_length != 16 || token.contains(&0) => Err(RefusalKind::Invalid),
            "admin" => {
                self.token = (!token.is_empty()).then(|| token.to_vec());
                self.entries += 2;
                Ok(())
            }
            _ => Err(RefusalKind::Denied),
        }
    }

    fn raise(&mut self, who: &str, package: &'static str, version: u64) -> Result<(), RefusalKind> {
        match who {
            "nobody" => Err(RefusalKind::Unauthenticated),
            "admin" if self.pending.is_some() => Err(RefusalKind::Conflict),
            "admin" if version < self.versions[package] => Err(RefusalKind::Invalid),
            "admin" => {
                self.versions.insert(package, version);
                self.generation += 1;
                self.entries += 1;
                Ok(())
            }
            _ => Err(RefusalKind::Denied),
        }
    }

    /// How many acknowledgements are missing then.
    fn propose(&mut self, who: &'static str, variant: usize) -> Result<usize, RefusalKind> {
        self.may_update(who)?;
        if self.pending.is_some() {
            return Err(RefusalKind::Conflict);
        }
        let acknowledged = BTreeSet::from([who]);
        let missing = self.missing(&acknowledged);
        self.pending = Some((variant, acknowledged));
        self.entries += 1;
        if missing == 0 {
            self.entries += 1;
            self.update(variant);
        }
        Ok(missing)
    }

    fn acknowledge(&mut self, who: &'static str, variant: usize) -> Result<usize, RefusalKind> {
        self.may_update(who)?;
        let Some((proposed, mut acknowledged)) = self.pending.clone() else {
            return Err(RefusalKind::NotFound);
        };
        if proposed != variant {
            return Err(RefusalKind::Conflict);
        }
        self.entries += usize::from(acknowledged.insert(who));
        let missing = self.missing(&acknowledged);
        self.pending = Some((variant, acknowledged));
        if missing == 0 {
            self.entries += 1;
            self.update(variant);
        }
        Ok(missing)
    }

    fn cancel(&mut self, who: &str) -> Result<(), RefusalKind> {
        self.may_update(who)?;
        self.pending.take().ok_or(RefusalKind::NotFound)?;
        self.entries += 1;
        Ok(())
    }

    fn activate(&mut self) -> Result<(), RefusalKind> {
        // The type came with the first update, and its limit is that of the manifest in force.
        if self.activations > self.variant as u64 {
            return Err(RefusalKind::Denied);
        }
        self.activations += 1;
        Ok(())
    }
}

fn run(model: &mut Model, world: &mut World, step: &Step) {
    let missing = |outcome: Result<Outcome, Refused>| match outcome {
        Ok(Outcome::Waiting(waiting)) => Ok(waiting.missing.acknowledgements),
        Ok(Outcome::Applied(_)) => Ok(0),
        Ok(Outcome::Dropped(refusal)) => panic!("{refusal}"),
        Err((kind, _)) => Err(kind),
    };
    let kind = |(kind, _): Refused| kind;
    match step {
        Step::Write {
            who,
            token,
            key_length,
        } => {
            let uploads = [("token", key(token)), ("key", key(&vec![7; *key_length]))];
            let written = world.write(WHO[*who], &uploads).map(|_| ()).map_err(kind);
            assert_eq!(written, model.write(WHO[*who], token, *key_length));
        }
        Step::Raise {
            who,
            package,
            version,
        } => {
            let package = PACKAGES[*package].0;
            let raised = missing(world.raise(WHO[*who], &[(package, *version)])).map(|_| ());
            assert_eq!(raised, model.raise(WHO[*who], package, *version));
        }
        Step::Propose { who, variant: number } => {
            let proposed = missing(world.propose(WHO[*who], &variant(*number)));
            assert_eq!(proposed, model.propose(WHO[*who], *number));
        }
        Step::Acknowledge { who, variant: number } => {
            let acknowledged = missing(world.acknowledge(WHO[*who], &variant(*number)));
            assert_eq!(acknowledged, model.acknowledge(WHO[*who], *number));
        }
        Step::Cancel { who } => {
            assert_eq!(world.cancel(WHO[*who]).map_err(kind), model.cancel(WHO[*who]));
        }
        Step::Count {
            other_instance,
            name,
            value,
        } => {
            let leaf = world.marble("m", if *other_instance { OTHER_UUID } else { UUID });
            let counter = model.counters.entry((*other_instance, *name)).or_default();
            assert_eq!(world.count(&leaf, &name.to_string(), *value), Ok(*counter));
            *counter = (*counter).max(*value);
        }
        Step::Restart => world.restart(),
        Step::Activate => {
            assert_eq!(
                world.activate("extra", UUID).map(|_| ()).map_err(kind),
                model.activate()
            );
        }
    }
}

fn compare(model: &Model, world: &World) {
    assert_eq!(
        world.value("reader", "token"),
        model.token.clone().unwrap_or_default()
    );
    assert_eq!(world.log().len(), model.entries);
    assert_eq!(world.state.manifest_generation(), model.generation);
    assert_eq!(
        world.state.sealing().unwrap().key_generation,
        model.key_generation
    );
    assert_eq!(world.state.activations("extra"), model.activations);
    assert_eq!(
        *world.state.manifest().unwrap().raw,
        *variant(model.variant).to_string().into_bytes()
    );
    let missing = pending(&world.state)
        .ok()
        .map(|view| view.missing.acknowledgements);
    let expected = model
        .pending
        .as_ref()
        .map(|(_, acknowledged)| model.missing(acknowledged));
    assert_eq!(missing, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn writers_see_what_the_model_says(steps in steps(), seed in any::<u64>()) {
        let mut world = World::with(seed, &variant(0));
        let mut model = Model::new();
        for step in &steps {
            run(&mut model, &mut world, step);
            compare(&model, &world);
        }
        world.check_restart();
    }
}
