//! Freed memory holds no secrets: the flows run twice with the same dice, first to learn every secret, then under
//! the eyes of an allocator that knows them all.
//!
//! Not seen: the stack, and what the C code of the crypto provider allocates for itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use marblerun_core::ambient::{CryptoFault, Dice};
use marblerun_core::change::Change;
use marblerun_core::flow::{inspect, read_secrets, write_secrets};
use marblerun_core::pki::CryptoSuite;
use marblerun_core::pki::authority;
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash};
use marblerun_core::pki::pem;
use marblerun_core::recovery::{shamir, xor};
use marblerun_core::sealed::{DataKey, KeyBinding, KeyFile, StateId, open_state, seal_state};
use marblerun_core::secret::upload::Upload;
use marblerun_core::secret::value::{SecretBytes, SecretValue};
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;
use serde_json::{Value, json};

use super::allocator::Canaries;
use super::support::{
    USER, activate, ambient, apply, authority, decided, deploy, try_activate, update, user,
};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// A private key as plain bytes, which are made once and outlive everything that is watched.
struct Ready {
    kind: KeyKind,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

/// Dice that give the same bytes and keys, in the same order, each time they are begun anew.
struct Replayed<'k> {
    dice: TestDice,
    keys: &'k [Ready],
    turn: Mutex<BTreeMap<String, usize>>,
}

impl<'k> Replayed<'k> {
    fn new(keys: &'k [Ready]) -> Self {
        Self {
            dice: TestDice::new(77),
            keys,
            turn: Mutex::default(),
        }
    }
}

impl Dice for Replayed<'_> {
    fn fill(&self, out: &mut [u8]) {
        self.dice.fill(out);
    }

    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
        let mut turns = self.turn.lock().unwrap();
        let turn = turns.entry(format!("{kind:?}")).or_default();
        let mut ready = self
            .keys
            .iter()
            .filter(|key| key.kind == kind)
            .cycle()
            .skip(*turn);
        *turn += 1;
        let key = ready
            .next()
            .ok_or(CryptoFault::in_operation("find a ready key"))?;
        Ok(PrivateKey::from_parts(
            kind,
            SecretBytes::copy_from(&key.pkcs8),
            key.public.as_slice(),
        ))
    }

    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.dice.sign(key, hash, message)
    }

    fn encrypt_oaep_sha256(&self, key: &[u8], text: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.dice.encrypt_oaep_sha256(key, text)
    }
}

const KINDS: [(KeyKind, usize); 7] = [
    (KeyKind::P224, 2),
    (KeyKind::P256, 8),
    (KeyKind::P384, 8),
    (KeyKind::P521, 2),
    (KeyKind::Ed25519, 2),
    (KeyKind::Rsa(2048), 2),
    (KeyKind::Rsa(3072), 1),
];

fn ready_keys() -> Vec<Ready> {
    let dice = TestDice::new(7);
    KINDS
        .into_iter()
        .flat_map(|(kind, count)| std::iter::repeat_n(kind, count))
        .map(|kind| {
            let key = dice.generate_key(kind).unwrap();
            Ready {
                kind,
                pkcs8: key.pkcs8().expose().to_vec(),
                public: key.public().to_vec(),
            }
        })
        .collect()
}

/// Where in PKCS#8 the part is that nobody may know.
fn secret_part(key: &Ready) -> (usize, usize) {
    let (length, marker): (usize, &[u8]) = match key.kind {
        KeyKind::P224 => (28, &[2, 1, 1, 4, 28]),
        KeyKind::P256 => (32, &[2, 1, 1, 4, 32]),
        KeyKind::P384 => (48, &[2, 1, 1, 4, 48]),
        KeyKind::P521 => (66, &[2, 1, 1, 4, 66]),
        KeyKind::Ed25519 => (32, &[4, 34, 4, 32]),
        // Behind modulus and public exponent: everything from the middle on.
        KeyKind::Rsa(_) => return (key.pkcs8.len() / 2, key.pkcs8.len()),
    };
    let at = key
        .pkcs8
        .windows(marker.len())
        .position(|window| window == marker);
    let start = at.unwrap() + marker.len();
    (start, start + length)
}

/// What stands in the OCTET STRING of PKCS#8: PKCS#1 or SEC1.
fn inner(key: &Ready) -> Vec<u8> {
    let (_, body) = der_field(&key.pkcs8);
    let (_, rest) = (der_field(body).0, skip(body));
    let key = skip(rest);
    der_field(key).1.to_vec()
}

/// Length of head and value together, and the value of the first field.
fn der_field(der: &[u8]) -> (usize, &[u8]) {
    let (length, head) = match der[1] {
        short @ ..=0x7f => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
    };
    (head + length, &der[head..head + length])
}

fn skip(der: &[u8]) -> &[u8] {
    &der[der_field(der).0..]
}

const SYMMETRIC: [&str; 4] = ["shared", "sharedLong", "private", "privateShort"];
const READABLE: [&str; 4] = ["shared", "c256", "late", "givenCert"];
const CERTIFICATES: [&str; 7] = ["c224", "c256", "c384", "c521", "c25519", "c2048", "c3072"];

fn manifest(recovery_keys: &[Ready], threshold: usize) -> Value {
    let mut files = serde_json::Map::new();
    let mut env = serde_json::Map::new();
    for name in SYMMETRIC {
        env.insert(
            format!("K_{name}"),
            json!(format!("{{{{ hex .Secrets.{name} }}}}")),
        );
        let every_way = format!(
            "{{{{ $k := .Secrets.{name} }}}}{{{{ raw $k }}}} {{{{ base64 $k }}}} {{{{ pem $k.Private }}}}\
             {{{{ with $x := hex $k }}}}{{{{ printf \"%s %q %-80s %x\" $x $x $x $x }}}} {{{{ html $x }}}} {{{{ js $x }}}}\
             {{{{ urlquery $x }}}} {{{{ slice $x 2 }}}} {{{{ print $x 1 $x }}}} {{{{ println $x }}}}\
             {{{{ if eq $x (hex $k) (base64 $k) }}}}{{{{ len $x }}}}{{{{ index $x 3 }}}}{{{{ end }}}}{{{{ end }}}}\
             {{{{ hex (slice $k.Private 1 13) }}}} {{{{ template \"again\" (base64 .Previous.Secrets.{name}) }}}}\
             {{{{ define \"again\" }}}}{{{{ . }}}}{{{{ printf \"%[1]s%[1]s\" . }}}}{{{{ end }}}}"
        );
        files.insert(format!("/{name}"), json!(every_way));
    }
    for name in CERTIFICATES {
        files.insert(
            format!("/{name}"),
            json!(format!(
                "{{{{ pem .Secrets.{name} }}}}{{{{ pem .Secrets.{name}.Private }}}}{{{{ base64 .Secrets.{name}.Private }}}}\
                 {{{{ printf \"%s\" (hex .Secrets.{name}.Private) | html }}}}{{{{ raw .Secrets.{name}.Private }}}}"
            )),
        );
    }
    env.insert(
        "SEAL".into(),
        json!("{{ hex .MarbleRun.SealKey }}{{ base64 .MarbleRun.SealKey }}"),
    );
    env.insert(
        "OWN".into(),
        json!("{{ pem .MarbleRun.MarbleCert.Private }}{{ hex .MarbleRun.MarbleCert.Private }}"),
    );
    env.insert(
        "ALL".into(),
        json!("{{ range .Secrets }}{{ if and (eq .Type \"symmetric-key\") (not .UserDefined) }}{{ hex . }}{{ end }}{{ end }}"),
    );
    // Rendered after the others, and refused: a value with a NUL, more output than there may be.
    let mut broken = env.clone();
    broken.insert(
        "Z".into(),
        json!("{{ hex .Secrets.shared }}{{ hex .Secrets.sharedLong }}{{ string .Secrets.late }}{{ hex .Secrets.given }}{{ pem .Secrets.givenCert.Private }}"),
    );
    let many = "{{ define \"a\" }}{{ printf \"%400000s%s\" . . }}{{ end }}{{ $x := hex .Secrets.sharedLong }}"
        .to_owned() + &"{{ template \"a\" $x }}".repeat(50);
    let certificate =
        |kind: &str, size: u64, shared: bool| json!({"Type": kind, "Size": size, "Shared": shared});
    json!({
        "Users": {"user": {"Certificate": USER, "Roles": ["updater", "reader", "writer"]}},
        "Roles": {
            "updater": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]},
            "reader": {"ResourceType": "Secrets", "Actions": ["ReadSecret"], "ResourceNames": READABLE},
            "writer": {"ResourceType": "Secrets", "Actions": ["WriteSecret"], "ResourceNames": ["late", "given", "givenCert"]},
        },
        "Packages": {"p": {"Debug": true}},
        "Secrets": {
            "shared": {"Type": "symmetric-key", "Size": 128, "Shared": true},
            "sharedLong": {"Type": "symmetric-key", "Size": 4096, "Shared": true},
            "private": {"Type": "symmetric-key", "Size": 2048},
            "privateShort": {"Type": "symmetric-key", "Size": 128},
            "late": {"Type": "plain", "UserDefined": true},
            "given": {"Type": "symmetric-key", "Size": 256, "UserDefined": true},
            "givenCert": {"Type": "cert-ecdsa", "Size": 256, "UserDefined": true},
            "c224": certificate("cert-ecdsa", 224, false),
            "c256": certificate("cert-ecdsa", 256, true),
            "c384": certificate("cert-ecdsa", 384, false),
            "c521": certificate("cert-ecdsa", 521, false),
            "c25519": certificate("cert-ed25519", 0, true),
            "c2048": certificate("cert-rsa", 2048, true),
            "c3072": certificate("cert-rsa", 3072, false),
        },
        "Marbles": {
            "all": {"Package": "p", "TLS": ["tag"], "Parameters": {"Files": files, "Env": env}},
            "broken": {"Package": "p", "TLS": ["tag"], "Parameters": {"Files": files, "Env": broken}},
            "large": {"Package": "p", "Parameters": {"Files": {"/large": many}}},
        },
        "TLS": {"tag": {
            "Outgoing": [{"Port": "80", "Addr": "host"}],
            "Incoming": [{"Port": "81"}, {"Port": "82", "Cert": "c256", "DisableClientAuth": true}, {"Port": "83", "Cert": "c2048", "DisableClientAuth": true}],
        }},
        "RecoveryKeys": recovery_keys
            .iter()
            .enumerate()
            .map(|(index, key)| (format!("key{index}"), json!(pem::encode(pem::PUBLIC_KEY, &key.public))))
            .collect::<serde_json::Map<_, _>>(),
        "Config": {"RecoveryThreshold": threshold},
    })
}

/// What a run shows of its secrets: by name, copied by the caller where they are to be kept.
type Show<'s> = &'s mut dyn FnMut(&str, &[u8]);

/// From a new authority to the end of the deployment; everything made is dropped.
fn run(suite: CryptoSuite, keys: &[Ready], raw: &Value, show: Show<'_>) {
    let dice = Replayed::new(keys);
    let own = authority(suite, &dice);
    let root_secret = SecretBytes::fill_with(32, |out| dice.fill(out));
    show("root secret", root_secret.expose());
    let (mut state, changes, reply) = deploy(own, root_secret, raw, &dice);
    assert!(inspect::manifest(&state).is_some());
    drop(changes);
    recover(keys, &state, &reply.recovery_secrets, show);
    seal(&state, &dice, show);

    let activated = activate(&state, "all", UUID, &dice);
    for (variable, value) in &activated.parameters.env {
        show(&format!("env {variable}"), value);
    }
    for (path, content) in &activated.parameters.files {
        show(&format!("file {path}"), content);
    }
    drop(activated);
    for (marble_type, reason) in [("broken", "late"), ("large", "16 MiB")] {
        let refusal = try_activate(&state, marble_type, UUID, &dice)
            .map(|_| ())
            .unwrap_err();
        assert!(refusal.to_string().contains(reason), "{refusal}");
    }
    write_and_read(&mut state, &dice, show);
    assert!(
        try_activate(&state, "broken", UUID, &dice).is_ok(),
        "`late` has its value now"
    );
    let mut rotated = raw.clone();
    rotated["Config"]["RotateRootSecret"] = json!(true);
    update(&mut state, &rotated, &dice);
    let activated = activate(&state, "all", UUID, &dice);
    for (variable, value) in &activated.parameters.env {
        if variable.starts_with("K_") || &**variable == "SEAL" {
            show(&format!("rotated {variable}"), value);
        }
    }
    drop(activated);
    seal(&state, &dice, show);
    authority::sign_manifest(state.authority(), b"manifest", &ambient(&dice)).unwrap();
    drop(state);
    // Keys as users upload them.
    for key in keys {
        let parsed = PrivateKey::from_pkcs8(&key.pkcs8).unwrap();
        assert_eq!(parsed.kind(), key.kind);
        drop(pem::encode_secret(pem::PRIVATE_KEY, parsed.pkcs8()));
        if key.kind != KeyKind::P224 {
            parsed.signer().unwrap();
        }
    }
}

/// A user uploads values of every kind, and reads some back.
fn write_and_read(state: &mut State, dice: &dyn Dice, show: Show<'_>) {
    let user = user();
    let names = READABLE.map(Arc::from);
    let before = read_secrets::read(state, Some(&user), &names).unwrap();
    let pair = &before.secrets["c256"];
    let key = SecretBytes::fill_with(32, |out| dice.fill(out));
    show("given", key.expose());
    // Text, without NUL.
    let text = SecretBytes::fill_with(64, |out| {
        dice.fill(out);
        out.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    });
    show("late", text.expose());
    let upload = |key: &SecretBytes| Upload {
        key: Some(key.clone()),
        ..Upload::default()
    };
    let certificate = Upload {
        key: None,
        certificate: pair.certificate().map(Arc::from),
        private: pair.private().map(SecretBytes::copy_from),
    };
    let uploads = [
        ("given".into(), upload(&key)),
        ("late".into(), upload(&text)),
        ("givenCert".into(), certificate),
    ];
    let prepared = write_secrets::prepare(state, Some(&user), &uploads.into())
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    let changes = decided(write_secrets::decide(state, &prepared, &ambient(dice))).changes;
    apply(state, &changes);
    let after = read_secrets::read(state, Some(&user), &names).unwrap();
    assert!(after.secrets["givenCert"].private() == pair.private());
    assert_eq!(after.secrets["late"].public().map(<[u8]>::len), Some(64));
    // What does not fit is refused, and wiped as well.
    let long = [("given".into(), upload(&SecretBytes::copy_from(text.expose())))];
    assert!(write_secrets::prepare(state, Some(&user), &long.into()).is_err());
}

/// Shares are decrypted and put together again, as in a recovery.
fn recover(
    keys: &[Ready],
    state: &State,
    encrypted: &BTreeMap<std::sync::Arc<str>, Vec<u8>>,
    show: Show<'_>,
) {
    let sealing = state.sealing().unwrap();
    let recovery_keys: Vec<&Ready> = keys.iter().filter(|key| key.kind == KeyKind::Rsa(2048)).collect();
    let shares: Vec<SecretBytes> = encrypted
        .values()
        .enumerate()
        .map(|(index, secret)| {
            let key = PrivateDecryptingKey::from_pkcs8(&recovery_keys[index % 2].pkcs8).unwrap();
            let key = OaepPrivateDecryptingKey::new(key).unwrap();
            let mut out = zeroize::Zeroizing::new(vec![0; key.min_output_size()]);
            let share = key
                .decrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut out, None)
                .unwrap();
            SecretBytes::copy_from(share)
        })
        .collect();
    for (index, share) in shares.iter().enumerate() {
        show(&format!("share {index}"), share.expose());
        assert!(sealing.recovery.find_share(share.expose()).is_some());
    }
    let combined = match shares[0].len() % 2 {
        0 => xor::combine(&shares),
        _ => shamir::combine(&shares[1..]),
    };
    assert!(combined.unwrap() == *sealing.key.bytes());
    show("data key", sealing.key.bytes().expose());
}

/// The whole state and a change go to a file and come back.
fn seal(state: &State, dice: &dyn Dice, show: Show<'_>) {
    let sealing = state.sealing().unwrap();
    let seal_key = SecretBytes::fill_with(32, |out| dice.fill(out));
    show(
        &format!("seal key {}", state.manifest_generation()),
        seal_key.expose(),
    );
    let state_id = StateId::generate(dice);
    let mut file = KeyFile::new(state_id, KeyBinding::Product, [1; 32]);
    file.wrap(sealing.key_generation, &sealing.key, &seal_key, dice)
        .unwrap();
    let file = KeyFile::parse(&file.encode()).unwrap();
    let key: DataKey = file.unwrap(&state_id, sealing.key_generation, &seal_key).unwrap();

    let (mut bytes, mut sealer) = seal_state(state, state_id, dice).unwrap();
    let again = Change::SecretsGenerated {
        values: vec![
            (
                "shared".into(),
                Arc::new(SecretValue::Symmetric(seal_key.clone())),
            ),
            ("late".into(), Arc::new(SecretValue::Plain(seal_key.clone()))),
        ],
    };
    bytes.extend_from_slice(&sealer.changes(&[again], dice).unwrap());
    let opened = open_state(&bytes, &key).unwrap();
    assert_eq!(opened.state.position(), state.position() + 1);
    drop(opened);
    // Damaged: what was read so far goes.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(open_state(&bytes, &key).is_err());
}

fn nothing_is_freed_unwiped(suite: CryptoSuite, recovery_keys: usize, threshold: usize) {
    let keys = ready_keys();
    let holders: Vec<Ready> = (0..recovery_keys)
        .map(|index| {
            let key = keys
                .iter()
                .filter(|key| key.kind == KeyKind::Rsa(2048))
                .nth(index % 2)
                .unwrap();
            Ready {
                kind: key.kind,
                pkcs8: Vec::new(),
                public: key.public.clone(),
            }
        })
        .collect();
    let raw = manifest(&holders, threshold);
    let mut learnt: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    run(suite, &keys, &raw, &mut |name, value| {
        learnt.insert(name.to_owned(), value.to_vec());
    });

    let mut canaries = Canaries::default();
    let mut labels = Vec::new();
    for (name, value) in &learnt {
        let secret = match name.strip_prefix("env ") {
            Some(variable) if variable.starts_with("K_") => hex::decode(value).unwrap(),
            Some("SEAL") => hex::decode(&value[..64]).unwrap(),
            None if name.starts_with("rotated K_") => hex::decode(value).unwrap(),
            None if name.starts_with("rotated ") => hex::decode(&value[..64]).unwrap(),
            None if !name.starts_with("file ") => value.clone(),
            _ => continue,
        };
        canaries.add(name, &secret);
        labels.push(name.clone());
    }
    assert!(
        labels.len() == 2 * SYMMETRIC.len() + 8 + recovery_keys,
        "{labels:?}"
    );
    for (index, key) in keys.iter().enumerate() {
        let (start, end) = secret_part(key);
        let label = format!("key {index} ({:?})", key.kind);
        canaries.add_inside(&label, &key.pkcs8, start, end);
        if key.kind != KeyKind::Ed25519 {
            let (inner, offset) = (inner(key), key.pkcs8.len());
            let shift = offset - inner.len();
            let (start, end) = match key.kind {
                KeyKind::Rsa(_) => (start - shift, end - shift),
                _ => {
                    let at = inner
                        .windows(12)
                        .position(|window| window == &key.pkcs8[start..start + 12]);
                    (at.unwrap(), at.unwrap() + end - start)
                }
            };
            canaries.add_inside(&label, &inner, start, end);
        }
    }
    // The patterns are those of what is really handed out.
    let handed_out = |name: &str, label: &str, form: &str| {
        let found = canaries.all_in(&learnt[name]);
        let seen = found
            .iter()
            .any(|found| found.contains(label) && found.ends_with(form));
        assert!(seen, "{label}, {form} is not in {name}: {found:?}");
    };
    for name in SYMMETRIC {
        for form in ["raw", "hex", "base64"] {
            handed_out(&format!("file /{name}"), &format!("env K_{name}"), form);
        }
    }
    for (name, kind) in CERTIFICATES.iter().zip(KINDS) {
        for form in ["raw", "hex", "base64"] {
            handed_out(&format!("file /{name}"), &format!("({:?})", kind.0), form);
        }
    }
    let own = format!("({:?})", suite.key_kind());
    handed_out("env OWN", &own, "hex");
    handed_out("env MARBLE_PREDEFINED_PRIVATE_KEY", &own, "base64");
    handed_out("env MARBLE_TTLS_CONFIG", &own, "base64");
    handed_out("env MARBLE_TTLS_CONFIG", "(Rsa(2048))", "base64");

    let mut same = 0;
    let ((), reports) = canaries.watch(|| {
        run(suite, &keys, &raw, &mut |name, value| {
            same += usize::from(labels.iter().any(|label| label == name) && learnt[name] == value);
        });
    });
    assert_eq!(
        same,
        labels.len(),
        "the second run had other secrets than the first"
    );
    let count = reports.len();
    assert_eq!(
        count,
        0,
        "{count} blocks, the first of them:\n{}",
        reports[..count.min(24)].join("\n")
    );
}

#[test]
fn with_p256_and_all_shares_needed() {
    nothing_is_freed_unwiped(CryptoSuite::P256Aes128, 2, 0);
}

#[test]
fn with_p384_and_two_of_three_shares_needed() {
    nothing_is_freed_unwiped(CryptoSuite::P384Aes256, 3, 2);
}

/// A checkpoint in parts is put together in one buffer.
#[test]
fn with_a_state_of_several_parts() {
    let dice = TestDice::new(5);
    let values: Vec<(Arc<str>, Vec<u8>)> = (0..160)
        .map(|number| {
            let mut value = vec![0; 8160];
            dice.fill(&mut value);
            (format!("secret{number}").into(), value)
        })
        .collect();
    let manifest = json!({
        "Packages": {"p": {"Debug": true}},
        "Marbles": {"m": {"Package": "p"}},
        "Secrets": values
            .iter()
            .map(|(name, _)| (name.to_string(), json!({"Type": "plain", "UserDefined": true})))
            .collect::<serde_json::Map<_, _>>(),
    });
    let mut canaries = Canaries::default();
    for (name, value) in &values {
        canaries.add(name, value);
    }
    let own = authority(CryptoSuite::P256Aes128, &dice);
    let ((), reports) = canaries.watch(|| {
        let (mut state, _, _) = deploy(own, SecretBytes::copy_from(&[6; 32]), &manifest, &dice);
        let plain = |value: &[u8]| Arc::new(SecretValue::Plain(SecretBytes::copy_from(value)));
        let uploaded = Change::SecretsGenerated {
            values: values
                .iter()
                .map(|(name, value)| (Arc::clone(name), plain(value)))
                .collect(),
        };
        state.apply(&uploaded);
        let key = state.sealing().unwrap().key.clone();
        let (mut file, mut sealer) = seal_state(&state, StateId::generate(&dice), &dice).unwrap();
        file.extend_from_slice(&sealer.changes(&[uploaded], &dice).unwrap());
        assert!(file.len() > 2 << 20);
        drop(state);
        let opened = open_state(&file, &key).unwrap();
        assert_eq!(opened.state.secret_version("secret159"), opened.state.position());
    });
    assert_eq!(reports, [""; 0]);
}

#[test]
fn keys_in_other_forms_and_keys_that_are_refused() {
    let keys = ready_keys();
    let inner: Vec<Vec<u8>> = keys.iter().map(inner).collect();
    let mut canaries = Canaries::default();
    for (key, inner) in keys.iter().zip(&inner) {
        let (start, end) = secret_part(key);
        let label = format!("{:?}", key.kind);
        canaries.add_inside(&label, &key.pkcs8, start, end);
        assert!(
            inner
                .windows(12)
                .any(|window| window == &key.pkcs8[start..start + 12]),
            "{label}"
        );
    }
    let ((), reports) = canaries.watch(|| {
        for (key, inner) in keys.iter().zip(&inner) {
            let parsed = PrivateKey::from_any_der(&key.pkcs8).map(|key| key.kind());
            assert_eq!(parsed, Ok(key.kind));
            match key.kind {
                // The curve stands outside.
                KeyKind::Rsa(_) => assert_eq!(
                    PrivateKey::from_any_der(inner).map(|key| key.kind()),
                    Ok(key.kind)
                ),
                _ => assert!(PrivateKey::from_any_der(inner).is_err()),
            }
            for cut in [key.pkcs8.len() / 2, key.pkcs8.len() - 1] {
                assert!(PrivateKey::from_any_der(&key.pkcs8[..cut]).is_err());
            }
        }
    });
    assert_eq!(reports, [""; 0]);
}
