//! Against recordings of the original system: derived keys, and certificates byte for byte.

use std::collections::VecDeque;
use std::sync::Mutex;

use aws_lc_rs::signature::{ECDSA_P384_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use const_oid::ObjectIdentifier;
use marblerun_core::ambient::{Ambient, CryptoFault, Dice, Timestamp};
use marblerun_core::pki::authority::{self, Authority};
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash};
use marblerun_core::pki::{CryptoSuite, marble, pem, request, secret_certificate};
use marblerun_core::secret::derive;
use marblerun_core::secret::spec::{CertificateTemplate, ObjectId, SubjectTemplate};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::testing::TestDice;
use uuid::Uuid;
use x509_parser::oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::{pem_block, pem_blocks};

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../golden/pki/", $name))
    };
}

fn base64(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

const ONE: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

/// Root secret at the time of the activations before the rotation, and after it.
const BEFORE: &str = "uBnjAwbnPXBofmTm6N1ZIN3HYfTR+gXgO5uLrxeYAeM=";
const AFTER: &str = "oG6T9YmkVAVQAVw+dMsnh8qhGIPzIgtmMsdHcTaQ7UI=";

#[test]
fn derived_keys_are_those_marbles_were_given() {
    // Root secret, UUID, secret, marble type (none: DisableSecretBinding), what the marble found in its
    // environment or files.
    let recorded = [
        (
            BEFORE,
            ONE,
            "private",
            Some("backend"),
            "9cb1d384d2afc879e24bc5dce128c163fa2d1ef182f82fde5b21c4a23969e8eb",
        ),
        (
            BEFORE,
            OTHER,
            "private",
            Some("backend"),
            "b2b8a514e989307bd383e0fb0d8fd704560bdb759db7aa05d977eb7b8aef8058",
        ),
        (
            BEFORE,
            ONE,
            "private",
            Some("frontend"),
            "2069346c39f2b75a17b740df27332d775a95223f3fce4c53b65ae373753908f5",
        ),
        (
            BEFORE,
            ONE,
            "private",
            None,
            "ccf4900df2057020053e2369bdf19c7e27c156845d29c75dde2665de88bbba7a",
        ),
        (
            BEFORE,
            ONE,
            "private",
            Some("plainmarble"),
            "98a18ac9de7fa6c9b56258a8ac5667c6fc58e48a16c5fe861d3d67ab69a17ceb",
        ),
        (
            BEFORE,
            ONE,
            "private128",
            Some("plainmarble"),
            "2367d6503768855550bed40c8f650fc6",
        ),
        (
            BEFORE,
            OTHER,
            "private",
            Some("plainmarble"),
            "a277acc6b890cc1b50d15cf7f4a65236572e2756991324fea2b3e03ab434b7c9",
        ),
        (
            BEFORE,
            OTHER,
            "private128",
            Some("plainmarble"),
            "68c7cbb275fc0972b9fabdfbf262c49e",
        ),
        (
            AFTER,
            ONE,
            "private",
            Some("plainmarble"),
            "0edf3734e3bc6cd3d6163eaf2f3b2fa010e59e7f6b52196b88494658861670ab",
        ),
        (
            AFTER,
            ONE,
            "private128",
            Some("plainmarble"),
            "76f9f4bddc22a72a7922750df13995cb",
        ),
    ];
    for (root_secret, uuid, name, marble_type, expected) in recorded {
        let root_secret = SecretBytes::copy_from(&base64(root_secret));
        let expected = hex::decode(expected).unwrap();
        let uuid = Uuid::parse_str(uuid).unwrap();
        let key = derive::private_key(&root_secret, uuid, name, marble_type, expected.len());
        assert_eq!(key.expose(), expected, "{uuid} {name} {marble_type:?}");
    }
}

#[test]
fn a_sealing_key_is_hkdf_over_the_bytes_of_the_uuid() {
    // Computed with HMAC-SHA256 in Python from the recorded root secret and the UUID.
    let root_secret = SecretBytes::copy_from(&base64(AFTER));
    let key = derive::sealing_key(&root_secret, Uuid::parse_str(ONE).unwrap());
    assert_eq!(hex::encode(key.expose()), SEALING_KEY);
    let other = derive::sealing_key(&root_secret, Uuid::parse_str(OTHER).unwrap());
    assert!(key != other);
}

const SEALING_KEY: &str = "bf4e1cc88267b3a9d8a9f03e9e8d7344324f6c938556e0d316f952ff471e4cba";

#[test]
fn derived_keys_have_any_length_up_to_the_limit_of_hkdf() {
    let root_secret = SecretBytes::copy_from(&[7; 32]);
    let longest = derive::private_key(&root_secret, Uuid::nil(), "k", None, derive::MAX_DERIVED);
    assert_eq!(longest.len(), 8160);
    assert_ne!(longest.expose()[8128..], [0; 32]);
    for length in [1, 31, 32, 33] {
        let key = derive::private_key(&root_secret, Uuid::nil(), "k", None, length);
        assert_eq!(key.expose(), &longest.expose()[..length]);
    }
    assert_eq!(
        derive::private_key(&root_secret, Uuid::nil(), "k", None, 9000).len(),
        8160
    );
}

/// Dice that throw what was thrown when the recording was made.
struct Replay {
    bytes: Mutex<VecDeque<u8>>,
    keys: Mutex<VecDeque<PrivateKey>>,
    fresh: TestDice,
}

impl Replay {
    fn new(serials: &[&X509Certificate<'_>], keys: &[&PrivateKey]) -> Self {
        let bytes = serials.iter().flat_map(|certificate| {
            // Sixteen bytes, without the zero that keeps an INTEGER positive.
            let mut serial = certificate.raw_serial().to_vec();
            while serial.len() < 16 {
                serial.insert(0, 0);
            }
            serial.split_off(serial.len() - 16)
        });
        Self {
            bytes: Mutex::new(bytes.collect()),
            keys: Mutex::new(keys.iter().copied().cloned().collect()),
            fresh: TestDice::default(),
        }
    }
}

impl Dice for Replay {
    fn fill(&self, out: &mut [u8]) {
        let mut bytes = self.bytes.lock().unwrap();
        out.iter_mut().for_each(|byte| *byte = bytes.pop_front().unwrap());
    }

    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
        let key = self.keys.lock().unwrap().pop_front().unwrap();
        assert_eq!(key.kind(), kind);
        Ok(key)
    }

    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.fresh.sign(key, hash, message)
    }

    fn encrypt_oaep_sha256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        unreachable!("nothing is encrypted here")
    }
}

/// The recorded authority, as we would have imported it.
fn recorded_authority() -> Authority {
    Authority {
        suite: CryptoSuite::P384Aes256,
        root: pem_block("CERTIFICATE", golden!("root.pem")).into(),
        root_key: PrivateKey::from_any_der(&pem_block("EC PRIVATE KEY", golden!("root-key.pem"))).unwrap(),
        intermediate: pem_block("CERTIFICATE", golden!("intermediate.pem")).into(),
        marble_root: pem_block("CERTIFICATE", golden!("marble-root.pem")).into(),
        intermediate_key: PrivateKey::from_any_der(&pem_block(
            "EC PRIVATE KEY",
            golden!("intermediate-key.pem"),
        ))
        .unwrap(),
    }
}

fn not_before(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_unix_seconds(certificate.validity().not_before.timestamp())
}

/// Everything but validity and signature.
fn assert_same_but_dates(ours: &X509Certificate<'_>, recorded: &X509Certificate<'_>) {
    assert_eq!(ours.version(), recorded.version());
    assert_eq!(ours.raw_serial(), recorded.raw_serial());
    assert_eq!(ours.signature, recorded.signature);
    assert_eq!(ours.issuer().as_raw(), recorded.issuer().as_raw());
    assert_eq!(ours.subject().as_raw(), recorded.subject().as_raw());
    assert_eq!(ours.public_key().raw, recorded.public_key().raw);
    assert_eq!(ours.extensions().len(), recorded.extensions().len());
    for (ours, recorded) in ours.extensions().iter().zip(recorded.extensions()) {
        assert_eq!((&ours.oid, ours.critical), (&recorded.oid, recorded.critical));
        // Both come from the key and have 20 bytes, but ours is SHA-256 where the original's was SHA-1.
        match ours.oid == OID_X509_EXT_SUBJECT_KEY_IDENTIFIER {
            true => assert_eq!(ours.value[..2], recorded.value[..2]),
            false => assert_eq!(ours.value, recorded.value, "{}", ours.oid),
        }
    }
}

#[test]
fn recorded_keys_are_kept_byte_for_byte() {
    let recorded = [
        (KeyKind::P256, golden!("certShared.pem")),
        (KeyKind::P224, golden!("cert224.pem")),
        (KeyKind::Ed25519, golden!("certEd.pem")),
        (KeyKind::Rsa(2048), golden!("certRsa.pem")),
        (KeyKind::P384, golden!("activation.pem")),
    ];
    for (kind, text) in recorded {
        let pkcs8 = pem_block("PRIVATE KEY", text);
        let key = PrivateKey::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(key.kind(), kind);
        assert_eq!(hex::encode(key.pkcs8().expose()), hex::encode(&pkcs8), "{kind:?}");
        assert_eq!(key.public()[..], pem_block("PUBLIC KEY", text), "{kind:?}");
        let certificate = &pem_blocks("CERTIFICATE", text)[0];
        let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
        assert_eq!(certificate.public_key().raw, &key.public()[..], "{kind:?}");
        // And written as they were.
        let written = pem::encode_secret(pem::PRIVATE_KEY, key.pkcs8());
        assert!(text.contains(written.as_str()), "{kind:?}");
    }
}

#[test]
fn certificate_secrets_are_issued_as_recorded() {
    let oid = |text| ObjectId::new(ObjectIdentifier::new_unwrap(text));
    let defaults = CertificateTemplate {
        subject: SubjectTemplate {
            common_name: "localhost".into(),
            ..SubjectTemplate::default()
        },
        key_usage: 1 | 32,
        extended_key_usage: vec![oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2")],
        dns_names: vec!["localhost".into()],
        ip_addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        ..CertificateTemplate::default()
    };
    let shared = CertificateTemplate {
        subject: SubjectTemplate {
            common_name: "shared.example".into(),
            organization: vec!["Org".into()],
            ..SubjectTemplate::default()
        },
        dns_names: vec!["shared.example".into(), "localhost".into()],
        ip_addresses: vec!["10.0.0.1".parse().unwrap()],
        ..defaults.clone()
    };
    let rsa = CertificateTemplate {
        subject: SubjectTemplate {
            common_name: "MarbleRun Unit Test".into(),
            ..SubjectTemplate::default()
        },
        ..defaults.clone()
    };
    let elliptic224 = CertificateTemplate {
        key_usage: 1,
        extended_key_usage: vec![oid("1.3.6.1.5.5.7.3.1")],
        ..defaults.clone()
    };
    let recorded = [
        (golden!("certShared.pem"), shared, 7),
        (golden!("certRsa.pem"), rsa, 7),
        (golden!("certEd.pem"), defaults, 365),
        (golden!("cert224.pem"), elliptic224, 365),
    ];
    let authority = recorded_authority();
    for (text, template, days) in recorded {
        let recorded = pem_block("CERTIFICATE", text);
        let (_, recorded) = X509Certificate::from_der(&recorded).unwrap();
        let dice = Replay::new(&[&recorded], &[]);
        let ambient = Ambient {
            now: not_before(&recorded),
            dice: &dice,
        };
        let public_key = pem_block("PUBLIC KEY", text);
        let issued = secret_certificate::issue(&authority, &template, days, &public_key, &ambient).unwrap();
        let (_, issued) = X509Certificate::from_der(&issued).unwrap();
        assert_same_but_dates(&issued, &recorded);
        assert_eq!(issued.tbs_certificate.as_ref(), recorded.tbs_certificate.as_ref());
    }
}

#[test]
fn intermediate_and_marble_root_are_renewed_as_recorded() {
    let authority = recorded_authority();
    let (_, intermediate) = X509Certificate::from_der(&authority.intermediate).unwrap();
    let (_, marble_root) = X509Certificate::from_der(&authority.marble_root).unwrap();
    let dice = Replay::new(&[&intermediate, &marble_root], &[&authority.intermediate_key]);
    let ambient = Ambient {
        now: not_before(&intermediate),
        dice: &dice,
    };
    let renewed = authority::renew_intermediate(&authority, &ambient).unwrap();
    assert_eq!(renewed.root, authority.root);
    assert_same_but_dates(
        &X509Certificate::from_der(&renewed.intermediate).unwrap().1,
        &intermediate,
    );
    assert_same_but_dates(
        &X509Certificate::from_der(&renewed.marble_root).unwrap().1,
        &marble_root,
    );
}

#[test]
fn a_root_is_made_as_recorded() {
    let recorded = recorded_authority();
    let (_, root) = X509Certificate::from_der(&recorded.root).unwrap();
    let dice = Replay::new(
        &[&root, &root, &root],
        &[&recorded.root_key, &recorded.intermediate_key],
    );
    let ambient = Ambient {
        now: not_before(&root),
        dice: &dice,
    };
    let names = [marblerun_core::pki::HostName::parse("localhost").unwrap()];
    let made = authority::create(CryptoSuite::P384Aes256, &names, None, &ambient).unwrap();
    assert_same_but_dates(&X509Certificate::from_der(&made.root).unwrap().1, &root);
}

#[test]
fn a_marble_is_certified_as_recorded_and_recognised() {
    let text = golden!("activation.pem");
    let [certificate, marble_root] = pem_blocks("CERTIFICATE", text).try_into().unwrap();
    let (_, recorded) = X509Certificate::from_der(&certificate).unwrap();
    let (_, root) = X509Certificate::from_der(&marble_root).unwrap();
    // The authority of that time: only its public half was given out.
    let mut authority = recorded_authority();
    authority.intermediate_key =
        PrivateKey::from_parts(KeyKind::P384, SecretBytes::copy_from(&[]), root.public_key().raw);
    authority.marble_root = marble_root.clone().into();

    let seen = marble::recognise(&authority, &certificate).unwrap();
    assert_eq!(seen.uuid, Uuid::parse_str(ONE).unwrap());
    assert_eq!(seen.marble_type, "backend");
    assert_eq!(
        marble::recognise(&recorded_authority(), &certificate),
        Err(marble::NotAMarble::Issuer)
    );

    // Issued anew by the authority whose key we have: the same but for the issuer's key identifier.
    let csr = request::parse(&pem_block("CERTIFICATE REQUEST", text)).unwrap();
    let key = PrivateKey::from_pkcs8(&pem_block("PRIVATE KEY", text)).unwrap();
    let dice = Replay::new(&[&recorded], &[&key]);
    let ambient = Ambient {
        now: not_before(&recorded),
        dice: &dice,
    };
    let authority = recorded_authority();
    let issued = marble::issue(&authority, &csr, seen.uuid, &seen.marble_type, &ambient).unwrap();
    let (_, issued) = X509Certificate::from_der(&issued.certificate).unwrap();
    assert_eq!(issued.subject().as_raw(), recorded.subject().as_raw());
    assert_eq!(issued.issuer().as_raw(), recorded.issuer().as_raw());
    assert_eq!(issued.public_key().raw, recorded.public_key().raw);
    assert_eq!(issued.validity().not_before, recorded.validity().not_before);
    let (_, current_root) = X509Certificate::from_der(&authority.marble_root).unwrap();
    assert_eq!(issued.validity().not_after, current_root.validity().not_after);
    assert_eq!(issued.extensions().len(), recorded.extensions().len());
    for (ours, theirs) in issued.extensions().iter().zip(recorded.extensions()) {
        assert_eq!((&ours.oid, ours.critical), (&theirs.oid, theirs.critical));
        if ours.oid != OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER {
            assert_eq!(ours.value, theirs.value, "{}", ours.oid);
        }
    }
}

#[test]
fn manifest_signatures_are_made_and_verified_alike() {
    let authority = recorded_authority();
    let manifest = include_bytes!("../golden/pki/manifest.json");
    let public = UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, authority.root_key.public());
    let recorded = pem_block("SIGNATURE", golden!("manifest-signature.pem"));
    public.verify(manifest, &recorded).unwrap();
    let ours = authority::sign_manifest(&authority, manifest, &TestDice::default().ambient()).unwrap();
    public.verify(manifest, &ours).unwrap();
}
