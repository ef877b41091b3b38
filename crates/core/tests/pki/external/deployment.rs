//! The files all verifiers look at.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use marblerun_core::ambient::{Ambient, Dice, Timestamp};
use marblerun_core::pki::authority::{self, Authority};
use marblerun_core::pki::key::{KeyKind, PrivateKey};
use marblerun_core::pki::{CryptoSuite, HostName, marble, pem, request, secret_certificate};
use marblerun_core::secret::spec::{CertificateTemplate, ObjectId, SubjectTemplate};
use marblerun_core::testing::TestDice;
use uuid::Uuid;

use crate::support::{Request, pem_block};

/// A marble, and a certificate secret of every type and size.
pub const LEAVES: [&str; 10] = [
    "marble", "p224", "p256", "p384", "p521", "ed25519", "rsa2048", "rsa3072", "rsa4096", "rsa8192",
];

const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

/// These tools look at their own clock.
pub fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap())
}

/// Writes an authority, the same after an update, and another of the same names; below the first a marble and the
/// secrets, with their keys; a manifest signature. Returns the directory.
pub fn deployment(suite: CryptoSuite, name: &str) -> PathBuf {
    let path = directory(name);
    let dice = TestDice::new(12);
    let ambient = Ambient {
        now: now(),
        dice: &dice,
    };
    let files = Files(&path);
    let names = ["coordinator.example", "10.1.2.3"].map(|name| HostName::parse(name).unwrap());
    let create = || authority::create(suite, &names, None, &ambient).unwrap();
    let authority = create();
    let renewed = authority::renew_intermediate(&authority, &ambient).unwrap();
    for (prefix, authority) in [("", &authority), ("their-", &create()), ("renewed-", &renewed)] {
        files.certificate(&format!("{prefix}root"), &authority.root);
        files.certificate(&format!("{prefix}intermediate"), &authority.intermediate);
        files.certificate(&format!("{prefix}marble-root"), &authority.marble_root);
    }

    let csr = request::parse(&Request::default().sign(&dice.generate_key(KeyKind::P384).unwrap())).unwrap();
    for (file, authority) in [("marble", &authority), ("renewed-marble", &renewed)] {
        let marble = marble::issue(authority, &csr, Uuid::max(), "backend", &ambient).unwrap();
        files.certificate(file, &marble.certificate);
        files.key(file, &marble.key);
    }
    let both = [SERVER_AUTH, CLIENT_AUTH];
    for leaf in &LEAVES[1..] {
        let key = secret_key(leaf, &dice);
        files.certificate(leaf, &secret(&authority, &key, &both, &ambient));
        files.key(leaf, &key);
    }
    for (file, usage) in [("server-only", SERVER_AUTH), ("client-only", CLIENT_AUTH)] {
        let key = dice.generate_key(KeyKind::P256).unwrap();
        files.certificate(file, &secret(&authority, &key, &[usage], &ambient));
    }
    files.write("message", "a manifest");
    let signature = authority::sign_manifest(&authority, b"a manifest", &ambient).unwrap();
    std::fs::write(path.join("signature"), signature).unwrap();
    let root_key = pem::encode(pem::PUBLIC_KEY, authority.root_key.public());
    files.write("root.pub", &root_key);
    path
}

fn secret_key(leaf: &str, dice: &TestDice) -> PrivateKey {
    let kind = match leaf {
        "p224" => KeyKind::P224,
        "p256" => KeyKind::P256,
        "p384" => KeyKind::P384,
        "p521" => KeyKind::P521,
        "ed25519" => KeyKind::Ed25519,
        "rsa2048" => KeyKind::Rsa(2048),
        "rsa3072" => KeyKind::Rsa(3072),
        "rsa4096" => KeyKind::Rsa(4096),
        // Making one takes too long for a test.
        "rsa8192" => {
            let der = pem_block("PRIVATE KEY", include_str!("../../golden/pki/rsa-8192.pem"));
            return PrivateKey::from_any_der(&der).unwrap();
        }
        other => panic!("{other}"),
    };
    dice.generate_key(kind).unwrap()
}

fn secret(authority: &Authority, key: &PrivateKey, usages: &[&str], ambient: &Ambient<'_>) -> Vec<u8> {
    let usage = |text: &&str| ObjectId::new(const_oid::ObjectIdentifier::new_unwrap(text));
    let template = CertificateTemplate {
        subject: SubjectTemplate {
            common_name: "secret.example".into(),
            organization: vec!["Größe".into(), "Org".into()],
            ..SubjectTemplate::default()
        },
        key_usage: 33,
        extended_key_usage: usages.iter().map(usage).collect(),
        dns_names: vec!["marble.example".into()],
        ip_addresses: vec!["10.9.8.7".parse().unwrap()],
        ..CertificateTemplate::default()
    };
    secret_certificate::issue(authority, &template, 36_500, key.public(), ambient)
        .unwrap()
        .to_vec()
}

/// A directory below the build's own, emptied.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

struct Files<'p>(&'p Path);

impl Files<'_> {
    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }

    fn certificate(&self, name: &str, der: &[u8]) {
        self.write(&format!("{name}.pem"), &pem::encode(pem::CERTIFICATE, der));
    }

    fn key(&self, name: &str, key: &PrivateKey) {
        let private = pem::encode_secret(pem::PRIVATE_KEY, key.pkcs8());
        self.write(&format!("{name}.key"), &private);
        self.write(
            &format!("{name}.pub"),
            &pem::encode(pem::PUBLIC_KEY, key.public()),
        );
    }
}

/// The certificates in one text, in this order.
pub fn joined(directory: &Path, names: impl IntoIterator<Item = &'static str>) -> String {
    let read = |name| std::fs::read_to_string(directory.join(format!("{name}.pem"))).unwrap();
    names.into_iter().map(read).collect()
}
