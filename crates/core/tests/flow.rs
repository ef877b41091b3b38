//! The flows, through their public doors: set a manifest, activate, inspect.

#![cfg(test)]

use std::sync::Arc;

use marblerun_attestation::{Admission, SimulationMode};
use marblerun_core::ambient::Dice;
use marblerun_core::change::Change;
use marblerun_core::decision::{Decision, Prepared, Verdict};
use marblerun_core::flow::{activate, inspect, set_manifest};
use marblerun_core::manifest::{HsmEnvironment, Limits};
use marblerun_core::phase::Phase;
use marblerun_core::pki::key::KeyKind;
use marblerun_core::pki::{CryptoSuite, HostName, authority};
use marblerun_core::recovery::RecoveryScheme;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;

const UUID: &str = "11111111-2222-4333-8444-555555555555";
const GOLDEN: &[u8] = include_bytes!("golden/single-manifest.json");

fn begin(dice: &TestDice) -> State {
    let authority = authority::create(
        CryptoSuite::P256Aes128,
        &[HostName::Dns("localhost".into())],
        None,
        &dice.ambient(),
    )
    .unwrap();
    State::begin(
        authority,
        SecretBytes::fill_with(32, |bytes| dice.fill(bytes)),
        false,
    )
}

fn prepare_manifest(
    state: &State,
    dice: &TestDice,
    raw: &[u8],
) -> Result<Prepared<set_manifest::NewDeployment>, Refusal> {
    set_manifest::prepare(
        state,
        raw,
        &Limits::default(),
        &HsmEnvironment::from_lookup(|_| false),
        &dice.ambient(),
    )
}

fn decided<R>(verdict: Result<Verdict<R>, Refusal>) -> Decision<R> {
    match verdict {
        Ok(Verdict::Decided(decision)) => decision,
        Ok(Verdict::Stale) => panic!("stale"),
        Err(refusal) => panic!("refused: {refusal}"),
    }
}

fn applied(mut state: State, changes: &[Change]) -> State {
    changes.iter().for_each(|change| state.apply(change));
    state
}

fn deployed(dice: &TestDice, raw: &[u8]) -> State {
    let state = begin(dice);
    let prepared = prepare_manifest(&state, dice, raw).unwrap_or_else(|refusal| panic!("{refusal}"));
    let decision = decided(set_manifest::decide(&state, &prepared, &dice.ambient()));
    applied(state, &decision.changes)
}

fn csr() -> Vec<u8> {
    // PKCS#10 of the recorded activations: a key on P-384, two DNS names, an organisation to be dropped.
    const PEM: &str = include_str!("golden/recorded.csr.pem");
    let body: String = PEM.lines().filter(|line| !line.starts_with("-----")).collect();
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

fn prepare_activation(
    state: &State,
    dice: &TestDice,
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
    activate::prepare(state, request, &dice.ambient())
}

fn refusal<T>(result: Result<T, Refusal>) -> Refusal {
    match result {
        Ok(_) => panic!("not refused"),
        Err(refusal) => refusal,
    }
}

fn manifest(secrets: &str, env: &str) -> String {
    format!(
        r#"{{"Packages": {{"p": {{"Debug": true}}}},
            "Marbles": {{"m": {{"Package": "p", "Parameters": {{"Env": {{{env}}}}}}},
                        "few": {{"Package": "p", "MaxActivations": 2}}}},
            "Secrets": {{{secrets}}}}}"#
    )
}

fn env(state: &State, dice: &TestDice, marble_type: &str, uuid: &str, variable: &str) -> String {
    let prepared = prepare_activation(state, dice, marble_type, uuid).unwrap_or_else(|r| panic!("{r}"));
    let activated = decided(activate::decide(state, &prepared)).reply;
    String::from_utf8(activated.parameters.env.get(variable).unwrap().to_vec()).unwrap()
}

#[test]
fn the_recorded_manifest_starts_a_deployment() {
    let dice = TestDice::new(1);
    let state = begin(&dice);
    assert_eq!(inspect::status(&state), Phase::AcceptingManifest);
    assert!(inspect::manifest(&state).is_none());
    assert_eq!(
        refusal(inspect::update_log(&state)).kind(),
        RefusalKind::WrongPhase
    );

    let prepared = prepare_manifest(&state, &dice, GOLDEN).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(
        inspect::status(&state),
        Phase::AcceptingManifest,
        "preparing changes nothing"
    );
    let decision = decided(set_manifest::decide(&state, &prepared, &dice.ambient()));
    assert_eq!(
        decision
            .reply
            .recovery_secrets
            .keys()
            .map(|k| &**k)
            .collect::<Vec<_>>(),
        ["one"]
    );
    assert_eq!(decision.reply.recovery_secrets["one"].len(), 256);

    let state = applied(state, &decision.changes);
    assert_eq!(inspect::status(&state), Phase::AcceptingMarbles);
    let view = inspect::manifest(&state).unwrap();
    assert_eq!(&*view.raw, GOLDEN);
    assert_eq!(
        view.fingerprint,
        "42a815a3294c6f5954ec950f3ff4d3a5d38d7efcd344b8a77cc6c761ed46a98e"
    );
    assert_eq!(
        inspect::update_log(&state)
            .unwrap_or_default()
            .iter()
            .map(|l| &**l)
            .collect::<Vec<_>>(),
        [r#"{"time":"2026-11-21T08:42:31.000Z","update":"Initial manifest set"}"#]
    );
    let sealing = state.sealing().unwrap();
    assert_eq!(
        (sealing.key_generation, sealing.recovery.scheme()),
        (1, RecoveryScheme::Single)
    );
    assert_eq!(state.manifest_generation(), 1);
    assert_eq!(
        inspect::certificate_chain(&state)
            .matches("BEGIN CERTIFICATE")
            .count(),
        2
    );
}

#[test]
fn a_manifest_is_set_once_and_a_refused_one_changes_nothing() {
    let dice = TestDice::new(2);
    let raw = manifest("", "");
    let fresh = begin(&dice);
    let (first, second) = (
        prepare_manifest(&fresh, &dice, raw.as_bytes()).unwrap_or_else(|r| panic!("{r}")),
        prepare_manifest(&fresh, &dice, raw.as_bytes()).unwrap_or_else(|r| panic!("{r}")),
    );
    let state = applied(
        fresh.clone(),
        &decided(set_manifest::decide(&fresh, &first, &dice.ambient())).changes,
    );
    let late = refusal(set_manifest::decide(&state, &second, &dice.ambient()));
    assert_eq!(
        (late.kind(), late.message()),
        (RefusalKind::WrongPhase, "server is not in expected state")
    );
    assert_eq!(
        refusal(prepare_manifest(&state, &dice, raw.as_bytes())).kind(),
        RefusalKind::WrongPhase
    );

    let broken = raw.replace(
        r#""few": {"Package": "p""#,
        r#""few": {"Package": "q", "Roles": ["r"]"#,
    );
    let refused = refusal(prepare_manifest(&fresh, &dice, broken.as_bytes()));
    assert_eq!(refused.kind(), RefusalKind::Invalid);
    assert!(
        refused
            .message()
            .starts_with("checking manifest: Marbles.few.Package"),
        "{refused}"
    );
    assert!(refused.message().contains("Marbles.few.Roles"), "{refused}");
    assert_eq!(fresh.phase(), Phase::AcceptingManifest);
    let limits = Limits {
        bytes: 10,
        ..Limits::default()
    };
    let large = set_manifest::prepare(
        &fresh,
        raw.as_bytes(),
        &limits,
        &HsmEnvironment::from_lookup(|_| false),
        &dice.ambient(),
    );
    assert_eq!(refusal(large).kind(), RefusalKind::TooLarge);
}

#[test]
fn activation_refuses_in_the_order_of_its_steps() {
    let dice = TestDice::new(3);
    let fresh = begin(&dice);
    let state = deployed(&dice, manifest("", "").as_bytes());
    let refused = |state: &State, marble_type, uuid| {
        let refusal = refusal(prepare_activation(state, &dice, marble_type, uuid));
        (refusal.kind(), refusal.message().to_owned())
    };
    assert_eq!(
        refused(&fresh, "nope", "bad"),
        (
            RefusalKind::WrongPhase,
            "cannot accept marbles in current state".into()
        )
    );
    assert_eq!(
        refused(&state, "nope", "bad"),
        (
            RefusalKind::Denied,
            "marble verification failed: unknown marble type requested: \"nope\" is not in the manifest's Marbles"
                .into()
        )
    );
    for uuid in [
        "bad",
        "",
        "00000000-0000-0000-0000-000000000000",
        "11111111-2222-4333-8444-55555555555g",
    ] {
        let (kind, message) = refused(&state, "m", uuid);
        assert_eq!(kind, RefusalKind::Invalid, "{uuid}");
        assert!(message.starts_with("invalid UUID: "), "{message}");
    }
    let admission = Admission::Simulated(SimulationMode::by_explicit_configuration());
    let mut bent = csr();
    *bent.last_mut().unwrap() ^= 1;
    for csr in [&[][..], b"not DER", &bent] {
        let request = activate::Request {
            marble_type: "m",
            uuid: UUID,
            csr,
            admission: &admission,
        };
        let refusal = refusal(activate::prepare(&state, request, &dice.ambient()));
        assert_eq!(refusal.kind(), RefusalKind::Invalid);
        assert!(refusal.message().starts_with("invalid CSR: "), "{refusal}");
    }
    let secrets = r#""late": {"Type": "plain", "UserDefined": true}"#;
    let state = deployed(
        &dice,
        manifest(secrets, r#""V": "{{ string .Secrets.late }}""#).as_bytes(),
    );
    let (kind, message) = refused(&state, "m", UUID);
    assert_eq!(kind, RefusalKind::Internal);
    assert!(
        message.contains("Marble m") && message.contains("\"V\"") && message.contains("late"),
        "{message}"
    );
}

#[test]
fn every_spelling_of_a_uuid_names_the_same_instance() {
    let dice = TestDice::new(4);
    let secrets = r#""key": {"Type": "symmetric-key", "Size": 128}"#;
    let state = deployed(
        &dice,
        manifest(secrets, r#""K": "{{ hex .Secrets.key }}""#).as_bytes(),
    );
    let expected = env(&state, &dice, "m", UUID, "K");
    assert_eq!(expected.len(), 32);
    for uuid in [
        UUID.to_uppercase(),
        format!("urn:uuid:{UUID}"),
        format!("{{{UUID}}}"),
        UUID.replace('-', ""),
    ] {
        assert_eq!(env(&state, &dice, "m", &uuid, "K"), expected, "{uuid}");
    }
    assert_ne!(
        env(&state, &dice, "m", "11111111-2222-4333-8444-555555555556", "K"),
        expected
    );
}

#[test]
fn a_budget_is_spent_in_the_decision_on_the_newest_state() {
    let dice = TestDice::new(5);
    let mut state = deployed(&dice, manifest("", "").as_bytes());
    let prepared: Vec<_> = (0..4)
        .map(|_| prepare_activation(&state, &dice, "few", UUID).unwrap_or_else(|r| panic!("{r}")))
        .collect();
    for (number, prepared) in prepared.iter().enumerate() {
        match activate::decide(&state, prepared) {
            Ok(Verdict::Decided(decision)) => {
                assert!(number < 2);
                state = applied(state, &decision.changes);
                assert_eq!(state.activations("few"), number as u64 + 1);
            }
            Ok(Verdict::Stale) => panic!("stale"),
            Err(refusal) => {
                assert!(number >= 2);
                assert_eq!(refusal.kind(), RefusalKind::Denied);
                assert!(
                    refusal.message().contains("reached max activations count (2)"),
                    "{refusal}"
                );
            }
        }
    }
    assert_eq!(
        refusal(prepare_activation(&state, &dice, "few", UUID)).kind(),
        RefusalKind::Denied
    );
    let unlimited = prepare_activation(&state, &dice, "m", UUID).unwrap_or_else(|r| panic!("{r}"));
    assert!(
        decided(activate::decide(&state, &unlimited)).changes.is_empty(),
        "nothing to keep"
    );
}

#[test]
fn what_was_prepared_before_a_secret_changed_is_stale() {
    let dice = TestDice::new(6);
    let secrets = r#""used": {"Type": "symmetric-key", "Size": 128, "Shared": true},
                     "unused": {"Type": "symmetric-key", "Size": 128, "Shared": true}"#;
    let state = deployed(
        &dice,
        manifest(secrets, r#""K": "{{ hex .Secrets.used }}""#).as_bytes(),
    );
    let prepared = prepare_activation(&state, &dice, "m", UUID).unwrap_or_else(|r| panic!("{r}"));
    let rewrite = |name: &str| {
        let value = marblerun_core::secret::value::SecretValue::Symmetric(SecretBytes::copy_from(&[7; 16]));
        let change = Change::SecretsGenerated {
            values: vec![(name.into(), Arc::new(value))],
        };
        applied(state.clone(), &[change])
    };
    assert!(matches!(
        activate::decide(&rewrite("unused"), &prepared),
        Ok(Verdict::Decided(_))
    ));
    assert!(matches!(
        activate::decide(&rewrite("used"), &prepared),
        Ok(Verdict::Stale)
    ));
    assert_eq!(env(&rewrite("used"), &dice, "m", UUID, "K"), "07".repeat(16));
}

#[test]
fn only_what_is_referred_to_is_made() {
    /// Dice that refuse to make RSA keys.
    struct NoRsa(TestDice);
    impl Dice for NoRsa {
        fn fill(&self, out: &mut [u8]) {
            self.0.fill(out);
        }
        fn generate_key(
            &self,
            kind: KeyKind,
        ) -> Result<marblerun_core::pki::key::PrivateKey, marblerun_core::ambient::CryptoFault> {
            assert!(!matches!(kind, KeyKind::Rsa(_)), "an RSA key nobody refers to");
            self.0.generate_key(kind)
        }
        fn sign(
            &self,
            key: &marblerun_core::pki::key::PrivateKey,
            hash: marblerun_core::pki::key::SignatureHash,
            message: &[u8],
        ) -> Result<Vec<u8>, marblerun_core::ambient::CryptoFault> {
            self.0.sign(key, hash, message)
        }
        fn encrypt_oaep_sha256(
            &self,
            key: &[u8],
            text: &[u8],
        ) -> Result<Vec<u8>, marblerun_core::ambient::CryptoFault> {
            self.0.encrypt_oaep_sha256(key, text)
        }
    }
    let dice = TestDice::new(7);
    let secrets = r#""big": {"Type": "cert-rsa", "Size": 4096}, "key": {"Type": "symmetric-key", "Size": 8}"#;
    let env = r#""K": "{{ hex .Secrets.key }} {{ .Secrets.big.Size }} {{ .Secrets.big.Type }}""#;
    let state = deployed(&dice, manifest(secrets, env).as_bytes());
    let admission = Admission::Simulated(SimulationMode::by_explicit_configuration());
    let csr = csr();
    let request = activate::Request {
        marble_type: "m",
        uuid: UUID,
        csr: &csr,
        admission: &admission,
    };
    let dice = NoRsa(dice);
    let ambient = marblerun_core::ambient::Ambient {
        now: marblerun_core::testing::NOW,
        dice: &dice,
    };
    assert!(activate::prepare(&state, request, &ambient).is_ok());
}

#[test]
fn a_full_activation_has_everything_the_recording_has() {
    let dice = TestDice::new(8);
    // The recorded run uploads `token` before; here the template that needs it is left out.
    let raw = String::from_utf8(GOLDEN.to_vec())
        .unwrap()
        .replace("{{ string .Secrets.token }}", "uploaded");
    let state = deployed(&dice, raw.as_bytes());
    let prepared = prepare_activation(&state, &dice, "backend", UUID).unwrap_or_else(|r| panic!("{r}"));
    let parameters = decided(activate::decide(&state, &prepared)).reply.parameters;
    let names = |map: &std::collections::BTreeMap<Arc<str>, zeroize::Zeroizing<Vec<u8>>>| {
        map.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names(&parameters.files),
        "/b64.bin /ca.pem /cert.pem /cint.pem /croot.pem /hex.txt /key.pem /logic /plain.txt /prev /priv.raw \
         /pub.pem /raw.key /rsa-default-part /rsa.der /shared-cert.pem /untouched"
    );
    assert_eq!(
        names(&parameters.env),
        "A B64 EC224 ED HEX MARBLE_PREDEFINED_COORDINATOR_ROOT_CA MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN \
         MARBLE_PREDEFINED_PRIVATE_KEY MARBLE_PREDEFINED_ROOT_CA MARBLE_TTLS_CONFIG TOKEN"
    );
    assert_eq!(parameters.argv, ["./backend", "--first", "serve"]);
    let file = |name: &str| parameters.files[name].to_vec();
    assert_eq!(file("/plain.txt"), b"foo");
    assert_eq!(file("/b64.bin"), [0, 1, 2, 3]);
    assert_eq!(file("/untouched"), b"{{ not a template }}");
    assert_eq!(
        file("/prev"),
        file("/hex.txt"),
        "never rotated: the previous value is the current one"
    );
    assert_eq!(hex::encode(file("/raw.key")).into_bytes(), file("/hex.txt"));
    assert_eq!(
        String::from_utf8(file("/logic")).unwrap(),
        "shared 13 cert224=224 certCA=384 certEd=0 certRsa=2048 certShared=256 private=256 private128=128 \
         shared=128 token=0 userCert=2048 userKey=128"
    );
    assert!(file("/shared-cert.pem").starts_with(b"-----BEGIN CERTIFICATE-----\n"));
    assert!(file("/shared-cert.pem").ends_with(b"-----END PRIVATE KEY-----\n"));
}

#[test]
fn transparent_tls_is_configured_as_recorded() {
    let dice = TestDice::new(9);
    let state = deployed(
        &dice,
        &String::from_utf8(GOLDEN.to_vec())
            .unwrap()
            .replace("{{ hex .Secrets.userKey }}", "")
            .into_bytes(),
    );
    let config = env(&state, &dice, "frontend", UUID, "MARBLE_TTLS_CONFIG");
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let (incoming, outgoing) = (&config["tls"]["Incoming"], &config["tls"]["Outgoing"]);
    assert_eq!(
        incoming.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["*:8443", "*:9443"]
    );
    assert_eq!(
        outgoing.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["service.name:8080"]
    );
    assert_eq!(incoming["*:8443"]["clientAuth"], true);
    assert_eq!(incoming["*:9443"]["clientAuth"], false);
    assert!(outgoing["service.name:8080"].get("clientAuth").is_none());
    for connection in [
        &incoming["*:8443"],
        &incoming["*:9443"],
        &outgoing["service.name:8080"],
    ] {
        for (field, label) in [
            ("cacrt", "CERTIFICATE"),
            ("clicrt", "CERTIFICATE"),
            ("clikey", "PRIVATE KEY"),
        ] {
            let pem = connection[field].as_str().unwrap();
            assert!(pem.starts_with(&format!("-----BEGIN {label}-----\n")), "{field}");
            assert!(pem.ends_with(&format!("-----END {label}-----\n")), "{field}");
        }
    }
    assert_ne!(
        incoming["*:9443"]["clicrt"], incoming["*:8443"]["clicrt"],
        "the Cert of the tag is presented"
    );
    assert_eq!(
        outgoing["service.name:8080"]["clicrt"],
        incoming["*:8443"]["clicrt"]
    );
}
