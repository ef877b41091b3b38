//! A Coordinator without a shell: one state, and beside it what a restart would read back.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_attestation::{Admission, SimulationMode};
use marblerun_core::ambient::{Ambient, Dice, Timestamp};
use marblerun_core::change::Change;
use marblerun_core::decision::{Prepared, Verdict};
use marblerun_core::flow::update_manifest::{self, Outcome, Waiting};
use marblerun_core::flow::{activate, counter, inspect, read_secrets, set_manifest, write_secrets};
use marblerun_core::manifest::{HsmEnvironment, Limits, Name};
use marblerun_core::pki::pem::{self, CERTIFICATE};
use marblerun_core::pki::{CryptoSuite, authority};
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::sealed::{FrameSealer, StateId, open_state, seal_state};
use marblerun_core::secret::upload::Upload;
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::{NOW, TestDice};
use serde_json::{Value, json};

pub const UUID: &str = "11111111-2222-4333-8444-555555555555";
pub const OTHER_UUID: &str = "11111111-2222-4333-8444-666666666666";
const ID: StateId = StateId::from_bytes([3; 32]);

/// A certificate of a user, the same each time a name is asked for: DER.
pub fn certificate(name: &str) -> Vec<u8> {
    const NAMES: [&str; 8] = [
        "alice", "bob", "carol", "admin", "reader", "nobody", "erin", "idle",
    ];
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let make = |seed| {
            let dice = TestDice::new(1000 + seed);
            let made = authority::create(CryptoSuite::P256Aes128, &[], None, &dice.ambient()).unwrap();
            made.root.to_vec()
        };
        (0..NAMES.len() as u64).map(make).collect()
    });
    made[NAMES.iter().position(|known| *known == name).unwrap()].clone()
}

pub fn user(name: &str, roles: &[&str]) -> Value {
    json!({ "Certificate": pem::encode(CERTIFICATE, &certificate(name)), "Roles": roles })
}

/// Three users who may update, one who may write and raise, one who may read; marbles with and without roles.
pub fn manifest() -> Value {
    json!({
        "Packages": {
            "p": { "SignerID": "11".repeat(32), "ProductID": 1, "SecurityVersion": 3 },
            "q": { "SignerID": "22".repeat(32), "ProductID": 2, "SecurityVersion": 0 },
            "u": { "UniqueID": "33".repeat(32) },
        },
        "Marbles": {
            "m": { "Package": "p", "Parameters": { "Env": {
                "SHARED": "{{ hex .Secrets.shared }}",
                "PREVIOUS_SHARED": "{{ hex .Previous.Secrets.shared }}",
                "PRIVATE": "{{ hex .Secrets.private }}",
                "PREVIOUS_PRIVATE": "{{ hex .Previous.Secrets.private }}",
                "CERT": "{{ hex .Secrets.cert.Cert }}",
                "PREVIOUS_CERT": "{{ hex .Previous.Secrets.cert.Cert }}",
            } } },
            "t": { "Package": "p", "Parameters": { "Env": { "TOKEN": "{{ string .Secrets.token }}" } } },
            "few": { "Package": "p", "MaxActivations": 3 },
            "robot": { "Package": "p", "Roles": ["upd", "reads", "writes", "packages"] },
        },
        "Secrets": {
            "shared": { "Type": "symmetric-key", "Size": 128, "Shared": true },
            "private": { "Type": "symmetric-key", "Size": 128 },
            "cert": { "Type": "cert-ecdsa", "Size": 256, "Shared": true },
            "token": { "Type": "plain", "UserDefined": true },
            "key": { "Type": "symmetric-key", "Size": 128, "UserDefined": true },
            "userCert": { "Type": "cert-rsa", "UserDefined": true },
        },
        "Users": {
            "alice": user("alice", &["upd"]),
            "bob": user("bob", &["upd"]),
            "carol": user("carol", &["upd"]),
            "admin": user("admin", &["writes", "packages"]),
            "reader": user("reader", &["reads"]),
            "idle": user("idle", &[]),
        },
        "Roles": {
            "upd": { "ResourceType": "Manifest", "Actions": ["UpdateManifest"] },
            "reads": { "ResourceType": "Secrets", "ResourceNames": ["shared", "cert", "token", "userCert", "key"],
                       "Actions": ["ReadSecret"] },
            "writes": { "ResourceType": "Secrets", "ResourceNames": ["token", "key", "userCert"],
                        "Actions": ["WriteSecret"] },
            "packages": { "ResourceType": "Packages", "ResourceNames": ["p", "q", "u"],
                          "Actions": ["UpdateSecurityVersion"] },
        },
        "Config": { "FeatureGates": ["MonotonicCounter", "SignQuoteEndpoint"] },
    })
}

/// The manifest with a value of it replaced: `/Config/UpdateThreshold`.
pub fn with(mut manifest: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = manifest.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name).unwrap();
    } else {
        parent.insert(name.to_owned(), value);
    }
    manifest
}

/// An RSA public key for recovery, from the recordings.
pub fn recovery_keys(names: &[&str]) -> Value {
    let recorded: Value = serde_json::from_slice(include_bytes!("../golden/single-manifest.json")).unwrap();
    let key = &recorded["RecoveryKeys"]["one"];
    names
        .iter()
        .map(|name| ((*name).to_owned(), key.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Kind and message of a refusal.
pub type Refused = (RefusalKind, String);

pub struct World {
    pub state: State,
    pub dice: TestDice,
    pub now: Timestamp,
    pub limits: Limits,
    pub hsm: HsmEnvironment,
    /// What is on disk.
    file: Vec<u8>,
    sealer: Option<FrameSealer>,
}

impl World {
    pub fn empty(seed: u64) -> Self {
        let dice = TestDice::new(seed);
        let authority = authority::create(CryptoSuite::P256Aes128, &[], None, &dice.ambient()).unwrap();
        let root_secret = SecretBytes::fill_with(32, |bytes| dice.fill(bytes));
        Self {
            state: State::begin(authority, root_secret, false),
            dice,
            now: NOW,
            limits: Limits::default(),
            hsm: HsmEnvironment::from_lookup(|_| false),
            file: Vec::new(),
            sealer: None,
        }
    }

    pub fn new(seed: u64) -> Self {
        Self::with(seed, &manifest())
    }

    pub fn with(seed: u64, manifest: &Value) -> Self {
        Self::with_raw(seed, manifest.to_string().as_bytes())
    }

    pub fn with_raw(seed: u64, raw: &[u8]) -> Self {
        let mut world = Self::empty(seed);
        let ambient = world.dice.ambient();
        let prepared = set_manifest::prepare(&world.state, raw, &world.limits, &world.hsm, &ambient)
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        let verdict = set_manifest::decide(&world.state, &prepared, &ambient);
        world
            .settle(verdict)
            .unwrap_or_else(|refusal| panic!("{refusal:?}"));
        world
    }

    pub fn ambient(&self) -> Ambient<'_> {
        Ambient {
            now: self.now,
            dice: &self.dice,
        }
    }

    pub fn request<'a>(&'a self, leaf: Option<&'a [u8]>, raw: &'a [u8]) -> update_manifest::Request<'a> {
        update_manifest::Request {
            leaf,
            raw,
            may_yield_recovery_secrets: true,
            limits: &self.limits,
            environment: &self.hsm,
        }
    }

    /// Applies what was decided, and writes it where a restart finds it.
    pub fn settle<R>(&mut self, verdict: Result<Verdict<R>, Refusal>) -> Result<R, Refused> {
        match verdict {
            Err(refusal) => Err((refusal.kind(), refusal.message().to_owned())),
            Ok(Verdict::Stale) => panic!("stale"),
            Ok(Verdict::Decided(decision)) => {
                self.apply(&decision.changes);
                Ok(decision.reply)
            }
        }
    }

    pub fn apply(&mut self, changes: &[Change]) {
        changes.iter().for_each(|change| self.state.apply(change));
        if changes.is_empty() {
            return;
        }
        let draws = changes
            .iter()
            .any(|change| matches!(change, Change::DataKeyDrawn { .. }));
        match &mut self.sealer {
            Some(sealer) if !draws => self.file.extend(sealer.changes(changes, &self.dice).unwrap()),
            _ => {
                let (file, sealer) = seal_state(&self.state, ID, &self.dice).unwrap();
                (self.file, self.sealer) = (file, Some(sealer));
            }
        }
    }

    /// What a restart reads back is what is in memory: from the log, and from a checkpoint of it.
    pub fn check_restart(&self) {
        let key = &self.state.sealing().unwrap().key;
        let sealed = |state: &State| seal_state(state, ID, &TestDice::new(77)).unwrap().0;
        let expected = sealed(&self.state);
        let replayed = open_state(&self.file, key).unwrap().state;
        // Dice with one seed make one ciphertext of one state.
        assert!(sealed(&replayed) == expected, "the log leads to another state");
        let reopened = open_state(&expected, key).unwrap().state;
        assert!(
            sealed(&reopened) == expected,
            "the checkpoint leads to another state"
        );
        for state in [&replayed, &reopened] {
            assert_eq!(
                inspect::update_log_hashes(state).ok(),
                inspect::update_log_hashes(&self.state).ok()
            );
        }
    }

    /// Goes on with what a restart reads back.
    pub fn restart(&mut self) {
        let key = self.state.sealing().unwrap().key.clone();
        let opened = open_state(&self.file, &key).unwrap();
        (self.state, self.sealer) = (opened.state, Some(opened.end.sealer));
    }

    pub fn read(&self, who: &str, names: &[&str]) -> Result<read_secrets::SecretsRead, Refused> {
        let names: Vec<Name> = names.iter().map(|name| Name::from(*name)).collect();
        read_secrets::read(&self.state, Some(&certificate(who)), &names).map_err(refused)
    }

    /// The value of a symmetric or plain secret; empty when there is none.
    pub fn value(&self, who: &str, name: &str) -> Vec<u8> {
        let read = self
            .read(who, &[name])
            .unwrap_or_else(|refusal| panic!("{refusal:?}"));
        read.secrets[name].private().unwrap_or_default().to_vec()
    }

    pub fn write(
        &mut self,
        who: &str,
        uploads: &[(&str, Upload)],
    ) -> Result<write_secrets::SecretsWritten, Refused> {
        self.write_as(&certificate(who), uploads)
    }

    pub fn write_as(
        &mut self,
        leaf: &[u8],
        uploads: &[(&str, Upload)],
    ) -> Result<write_secrets::SecretsWritten, Refused> {
        let uploads: BTreeMap<Name, Upload> = uploads
            .iter()
            .map(|(name, upload)| ((*name).into(), upload.clone()))
            .collect();
        let prepared = write_secrets::prepare(&self.state, Some(leaf), &uploads).map_err(refused)?;
        let verdict = write_secrets::decide(&self.state, &prepared, &self.ambient());
        self.settle(verdict)
    }

    pub fn propose(&mut self, who: &str, manifest: &Value) -> Result<Outcome, Refused> {
        self.propose_as(&certificate(who), manifest.to_string().as_bytes())
    }

    pub fn propose_as(&mut self, leaf: &[u8], raw: &[u8]) -> Result<Outcome, Refused> {
        let ambient = self.ambient();
        let prepared = update_manifest::prepare(&self.state, &self.request(Some(leaf), raw), &ambient);
        let verdict = update_manifest::decide(&self.state, &prepared.map_err(refused)?, &ambient);
        self.settle(verdict)
    }

    pub fn acknowledge(&mut self, who: &str, manifest: &Value) -> Result<Outcome, Refused> {
        self.acknowledge_as(&certificate(who), manifest.to_string().as_bytes())
    }

    pub fn acknowledge_as(&mut self, leaf: &[u8], raw: &[u8]) -> Result<Outcome, Refused> {
        let ambient = self.ambient();
        let prepared = self.prepare_acknowledgement(leaf, raw).map_err(refused)?;
        let verdict = update_manifest::decide_acknowledgement(&self.state, &prepared, &ambient);
        self.settle(verdict)
    }

    pub fn prepare_acknowledgement(
        &self,
        leaf: &[u8],
        raw: &[u8],
    ) -> Result<Prepared<update_manifest::Acknowledgement>, Refusal> {
        update_manifest::prepare_acknowledgement(&self.state, &self.request(Some(leaf), raw), &self.ambient())
    }

    pub fn cancel(&mut self, who: &str) -> Result<(), Refused> {
        self.cancel_as(&certificate(who))
    }

    pub fn cancel_as(&mut self, leaf: &[u8]) -> Result<(), Refused> {
        let prepared = update_manifest::prepare_cancellation(&self.state, Some(leaf)).map_err(refused)?;
        let verdict = update_manifest::decide_cancellation(&self.state, &prepared, &self.ambient());
        self.settle(verdict)
    }

    pub fn raise(&mut self, who: &str, packages: &[(&str, u64)]) -> Result<Outcome, Refused> {
        let packages: serde_json::Map<_, _> = packages
            .iter()
            .map(|(name, version)| ((*name).to_owned(), json!({ "SecurityVersion": version })))
            .collect();
        self.propose(who, &json!({ "Packages": packages }))
    }

    pub fn count(&mut self, leaf: &[u8], name: &str, value: u64) -> Result<u64, Refused> {
        let prepared = counter::prepare(&self.state, Some(leaf), name, value).map_err(refused)?;
        let verdict = counter::decide(&self.state, &prepared);
        self.settle(verdict).map(|raised| raised.before)
    }

    pub fn prepare_activation(
        &self,
        marble_type: &str,
        uuid: &str,
    ) -> Result<Prepared<activate::Activation>, Refusal> {
        let admission = Admission::Simulated(SimulationMode::by_explicit_configuration());
        let csr = csr();
        let request = activate::Request {
            marble_type,
            uuid,
            csr: &csr,
            admission: &admission,
        };
        activate::prepare(&self.state, request, &self.ambient())
    }

    pub fn activate(&mut self, marble_type: &str, uuid: &str) -> Result<Arc<activate::Parameters>, Refused> {
        let prepared = self.prepare_activation(marble_type, uuid).map_err(refused)?;
        let verdict = activate::decide(&self.state, &prepared);
        self.settle(verdict).map(|activated| activated.parameters)
    }

    /// A variable of a marble's environment.
    pub fn env(&mut self, marble_type: &str, variable: &str) -> String {
        let parameters = self
            .activate(marble_type, UUID)
            .unwrap_or_else(|refusal| panic!("{refusal:?}"));
        String::from_utf8(parameters.env[variable].to_vec()).unwrap()
    }

    /// The certificate of a freshly activated marble, DER.
    pub fn marble(&mut self, marble_type: &str, uuid: &str) -> Vec<u8> {
        let parameters = self
            .activate(marble_type, uuid)
            .unwrap_or_else(|refusal| panic!("{refusal:?}"));
        let chain = parameters.env["MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN"].to_vec();
        der_of(&String::from_utf8(chain).unwrap())
    }

    /// The update log without times.
    pub fn log(&self) -> Vec<String> {
        let lines = inspect::update_log(&self.state).unwrap_or_else(|refusal| panic!("{refusal}"));
        lines
            .iter()
            .map(|line| {
                let rest = line.strip_prefix(r#"{"time":""#).unwrap();
                let (time, rest) = rest.split_once(r#"","#).unwrap();
                assert!(Timestamp::parse_rfc3339(time).is_some(), "{line}");
                format!("{{{rest}")
            })
            .collect()
    }
}

pub fn key(bytes: &[u8]) -> Upload {
    Upload {
        key: Some(SecretBytes::copy_from(bytes)),
        ..Upload::default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
pub fn refused(refusal: Refusal) -> Refused {
    (refusal.kind(), refusal.message().to_owned())
}

pub fn refusal<T>(result: Result<T, Refused>) -> Refused {
    match result {
        Ok(_) => panic!("not refused"),
        Err(refused) => refused,
    }
}

/// The users who may still acknowledge, and how many must.
pub fn waiting(outcome: Result<Outcome, Refused>) -> (usize, Vec<String>) {
    match outcome {
        Ok(Outcome::Waiting(Waiting { missing, .. })) => (
            missing.acknowledgements,
            missing.users.iter().map(ToString::to_string).collect(),
        ),
        Ok(Outcome::Applied(_)) => panic!("applied"),
        Ok(Outcome::Dropped(refusal)) => panic!("dropped: {refusal}"),
        Err(refused) => panic!("{refused:?}"),
    }
}

pub fn applied(outcome: Result<Outcome, Refused>) -> update_manifest::Applied {
    match outcome {
        Ok(Outcome::Applied(applied)) => applied,
        Ok(Outcome::Waiting(waiting)) => panic!("{waiting:?}"),
        Ok(Outcome::Dropped(refusal)) => panic!("dropped: {refusal}"),
        Err(refused) => panic!("{refused:?}"),
    }
}

/// The first block of a PEM text.
pub fn der_of(pem: &str) -> Vec<u8> {
    let body: String = pem
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    STANDARD.decode(body).unwrap()
}

fn csr() -> Vec<u8> {
    der_of(include_str!("../golden/recorded.csr.pem"))
}
