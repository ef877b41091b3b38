//! What the certificates say, field by field, in the eyes of an independent reader.

use std::net::IpAddr;

use marblerun_core::ambient::{Ambient, Dice, Timestamp};
use marblerun_core::pki::authority::{self, Authority, INTERMEDIATE_NAME, MAX_HOST_NAMES, ROOT_NAME};
use marblerun_core::pki::key::KeyKind;
use marblerun_core::pki::{CryptoSuite, HostName, marble, request};
use marblerun_core::testing::{NOW, TestDice};
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate, X509Version};

use crate::support::{Request, authority, utf8};

fn read(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn subject(certificate: &X509Certificate<'_>) -> String {
    certificate.subject().to_string()
}

/// The types of the extensions and whether each is critical, in order.
fn extensions(certificate: &X509Certificate<'_>) -> Vec<(String, bool)> {
    certificate
        .extensions()
        .iter()
        .map(|ext| (ext.oid.to_id_string(), ext.critical))
        .collect()
}

fn list(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
    expected
        .iter()
        .map(|(oid, critical)| ((*oid).to_owned(), *critical))
        .collect()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => match <[u8; 4]>::try_from(*octets) {
            Ok(octets) => IpAddr::from(octets).to_string(),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(*octets).unwrap()).to_string(),
        },
        other => panic!("unexpected {other:?}"),
    };
    names.value.general_names.iter().map(text).collect()
}

fn subject_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate
        .extensions()
        .iter()
        .find_map(|ext| match ext.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
}

fn authority_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate
        .extensions()
        .iter()
        .find_map(|ext| match ext.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref().unwrap().0),
            _ => None,
        })
}

const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const SUBJECT_KEY_ID: &str = "2.5.29.14";
const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const ALTERNATIVE_NAMES: &str = "2.5.29.17";

fn assert_ca(der: &[u8], suite: CryptoSuite) {
    let certificate = read(der);
    assert_eq!(certificate.version(), X509Version::V3);
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    match suite {
        CryptoSuite::P256Aes128 => assert_eq!(algorithm, "1.2.840.10045.4.3.2"),
        CryptoSuite::P384Aes256 => assert_eq!(algorithm, "1.2.840.10045.4.3.3"),
    }
    assert_eq!(
        certificate.validity().not_before.timestamp(),
        NOW.unix_seconds() - 600
    );
    assert_eq!(certificate.validity().not_after.timestamp(), 253_402_300_799);
    let serial = certificate.raw_serial();
    assert!(serial.len() <= 17 && serial[0] < 0x80 && serial.iter().any(|byte| *byte != 0));
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1 | 32);
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any && extended.other.is_empty());
    let constraints = certificate.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca && constraints.path_len_constraint.is_none());
    assert_eq!(
        names(&certificate),
        ["coordinator.example", "10.1.2.3", "127.0.0.1", "::1"]
    );
}

#[test]
fn the_authority_is_as_specified() {
    for suite in CryptoSuite::ALL {
        let authority = authority(suite);
        for der in [&authority.root, &authority.intermediate, &authority.marble_root] {
            assert_ca(der, suite);
        }
        let (root, intermediate, marble_root) = (
            read(&authority.root),
            read(&authority.intermediate),
            read(&authority.marble_root),
        );

        assert_eq!(subject(&root), format!("CN={ROOT_NAME}"));
        assert_eq!(root.issuer().as_raw(), root.subject().as_raw());
        assert_eq!(subject(&intermediate), format!("CN={INTERMEDIATE_NAME}"));
        assert_eq!(intermediate.issuer().as_raw(), root.subject().as_raw());
        assert_eq!(marble_root.subject().as_raw(), intermediate.subject().as_raw());
        assert_eq!(marble_root.issuer().as_raw(), marble_root.subject().as_raw());

        assert_eq!(root.public_key().raw, &authority.root_key.public()[..]);
        assert_eq!(
            intermediate.public_key().raw,
            &authority.intermediate_key.public()[..]
        );
        assert_eq!(marble_root.public_key().raw, intermediate.public_key().raw);

        let self_signed = list(&[
            (KEY_USAGE, true),
            (EXTENDED_KEY_USAGE, false),
            (BASIC_CONSTRAINTS, true),
            (SUBJECT_KEY_ID, false),
            (ALTERNATIVE_NAMES, false),
        ]);
        assert_eq!(extensions(&root), self_signed);
        assert_eq!(extensions(&marble_root), self_signed);
        let mut issued = self_signed;
        issued.insert(4, (AUTHORITY_KEY_ID.to_owned(), false));
        assert_eq!(extensions(&intermediate), issued);

        assert_eq!(authority_key_id(&intermediate), subject_key_id(&root));
        assert_eq!(subject_key_id(&intermediate), subject_key_id(&marble_root));
        assert_eq!(subject_key_id(&root).unwrap().len(), 20);
        assert_eq!(
            (authority_key_id(&root), authority_key_id(&marble_root)),
            (None, None)
        );

        let serials = [
            root.raw_serial(),
            intermediate.raw_serial(),
            marble_root.raw_serial(),
        ];
        assert!(serials[0] != serials[1] && serials[1] != serials[2] && serials[0] != serials[2]);
    }
}

#[test]
fn evidence_is_over_the_root_key_and_stands_last() {
    let dice = TestDice::default();
    let mut seen = Vec::new();
    let authority = authority::create_with(CryptoSuite::P256Aes128, &[], &dice.ambient(), |public_key| {
        seen = public_key.to_vec();
        Some(b"\x30\x03\x02\x01\x2a".to_vec())
    })
    .unwrap();
    assert_eq!(seen, authority.root_key.public()[..]);
    let root = read(&authority.root);
    let last = root.extensions().last().unwrap();
    assert_eq!(last.oid.to_id_string(), "2.23.133.5.4.9");
    assert_eq!((last.critical, last.value), (false, &b"\x30\x03\x02\x01\x2a"[..]));
    assert_eq!(root.extensions().len(), 6);
    assert_eq!(read(&authority.intermediate).extensions().len(), 6);
    // Ready-made evidence ends up in the same place.
    let ready = authority::create(CryptoSuite::P256Aes128, &[], Some(b"\x05\x00"), &dice.ambient()).unwrap();
    assert_eq!(read(&ready.root).extensions().last().unwrap().value, b"\x05\x00");
    // And it survives an update, with the root.
    let renewed = authority::renew_intermediate(&authority, &dice.ambient()).unwrap();
    assert_eq!(renewed.root, authority.root);
}

#[test]
fn names_are_configured_ones_then_loopback_each_once() {
    let dice = TestDice::default();
    let create =
        |names: &[HostName]| authority::create(CryptoSuite::P256Aes128, names, None, &dice.ambient());
    let given = ["localhost", "::1", "*.example.org", "localhost"].map(|name| HostName::parse(name).unwrap());
    let authority = create(&given).unwrap();
    let expected = ["localhost", "*.example.org", "::1", "127.0.0.1"];
    assert_eq!(names(&read(&authority.root)), expected);
    let renewed = authority::renew_intermediate(&authority, &dice.ambient()).unwrap();
    assert_eq!(names(&read(&renewed.intermediate)), expected);
    assert_eq!(names(&read(&renewed.marble_root)), expected);

    let many: Vec<HostName> = (0..MAX_HOST_NAMES - 1)
        .map(|number| HostName::parse(&format!("h{number}")).unwrap())
        .collect();
    assert!(create(&many).is_err());
    let most = create(&many[1..]).unwrap();
    assert_eq!(names(&read(&most.root)).len(), MAX_HOST_NAMES);
    assert_eq!(authority::root_names(&most).unwrap().len(), MAX_HOST_NAMES);
}

#[test]
fn an_authority_without_our_certificates_is_an_error_and_no_panic() {
    let dice = TestDice::default();
    let good = authority(CryptoSuite::P256Aes128);
    for der in [&b""[..], b"\x30\x00", &good.root[..good.root.len() - 1]] {
        let broken = Authority {
            root: der.into(),
            marble_root: der.into(),
            ..good.clone()
        };
        assert!(authority::renew_intermediate(&broken, &dice.ambient()).is_err());
        assert!(authority::root_names(&broken).is_err());
        let csr = Request::default().sign(&dice.generate_key(KeyKind::P256).unwrap());
        let csr = request::parse(&csr).unwrap();
        assert!(marble::issue(&broken, &csr, Uuid::max(), "t", &dice.ambient()).is_err());
        let identity = marble::issue(&good, &csr, Uuid::max(), "t", &dice.ambient()).unwrap();
        assert!(marble::recognise(&broken, &identity.certificate).is_err());
    }
}

#[test]
fn a_marble_certificate_is_as_specified() {
    use const_oid::db::rfc4519::*;

    for suite in CryptoSuite::ALL {
        let authority = authority(suite);
        let dice = TestDice::new(9);
        let asked = Request {
            subject: vec![
                (COMMON_NAME, utf8("coordinator.example")),
                (ORGANIZATION_NAME, utf8("Somebody Else Ltd")),
                (ORGANIZATIONAL_UNIT_NAME, utf8("Unit")),
                (COUNTRY_NAME, utf8("DE")),
                (SERIAL_NUMBER, utf8("7")),
                (DOMAIN_COMPONENT, utf8("example")),
                (COMMON_NAME, utf8("root")),
            ],
            ..Request::default()
        };
        let csr = request::parse(&asked.sign(&dice.generate_key(KeyKind::Ed25519).unwrap())).unwrap();
        let uuid = Uuid::parse_str("AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE").unwrap();
        let ambient = Ambient {
            now: Timestamp::parse_rfc3339("2050-01-01T00:00:00.999Z").unwrap(),
            dice: &dice,
        };
        let issued = marble::issue(&authority, &csr, uuid, "back end", &ambient).unwrap();
        let certificate = read(&issued.certificate);

        assert_eq!(
            subject(&certificate),
            "C=DE, OU=Unit, CN=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee, serialNumber=7, DC=example"
        );
        assert_eq!(
            certificate.issuer().as_raw(),
            read(&authority.marble_root).subject().as_raw()
        );
        assert_eq!(
            certificate.validity().not_before.timestamp(),
            ambient.now.unix_seconds()
        );
        assert_eq!(certificate.validity().not_after.timestamp(), 253_402_300_799);
        assert!(certificate.validity().not_before.is_generalizedtime());
        assert_eq!(certificate.public_key().raw, &issued.key.public()[..]);
        assert_eq!(issued.key.kind(), suite.key_kind());
        assert_eq!(
            extensions(&certificate),
            list(&[
                (KEY_USAGE, true),
                (EXTENDED_KEY_USAGE, false),
                (BASIC_CONSTRAINTS, true),
                (AUTHORITY_KEY_ID, false),
                (ALTERNATIVE_NAMES, false),
                ("1.3.9903.2.1", false),
            ])
        );
        assert_eq!(certificate.extensions().last().unwrap().value, b"back end");
        assert_eq!(certificate.key_usage().unwrap().unwrap().value.flags, 1 | 16);
        assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
        assert_eq!(names(&certificate), ["localhost", "marble.example", "10.9.8.7"]);
        assert_eq!(
            authority_key_id(&certificate),
            subject_key_id(&read(&authority.marble_root))
        );
    }
}

#[test]
fn a_request_without_names_gives_a_certificate_without_names() {
    let authority = authority(CryptoSuite::P256Aes128);
    let dice = TestDice::default();
    let bare = Request {
        subject: Vec::new(),
        extension_requests: Vec::new(),
        ..Request::default()
    };
    let csr = request::parse(&bare.sign(&dice.generate_key(KeyKind::P256).unwrap())).unwrap();
    let issued = marble::issue(&authority, &csr, Uuid::max(), "t", &dice.ambient()).unwrap();
    let certificate = read(&issued.certificate);
    assert!(certificate.subject_alternative_name().unwrap().is_none());
    assert_eq!(subject(&certificate), "CN=ffffffff-ffff-ffff-ffff-ffffffffffff");
}

#[test]
fn keys_and_serials_are_fresh_each_time() {
    let authority = authority(CryptoSuite::P256Aes128);
    let dice = TestDice::default();
    let csr = request::parse(&Request::default().sign(&dice.generate_key(KeyKind::P256).unwrap())).unwrap();
    let issue = || marble::issue(&authority, &csr, Uuid::max(), "t", &dice.ambient()).unwrap();
    let (one, two) = (issue(), issue());
    assert_ne!(one.key.public(), two.key.public());
    assert_ne!(
        read(&one.certificate).raw_serial(),
        read(&two.certificate).raw_serial()
    );
}

#[test]
fn serials_are_positive_and_never_zero_whatever_the_dice_say() {
    struct Fixed(u8, TestDice);
    impl Dice for Fixed {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0);
        }
        fn generate_key(
            &self,
            kind: KeyKind,
        ) -> Result<marblerun_core::pki::key::PrivateKey, marblerun_core::ambient::CryptoFault> {
            self.1.generate_key(kind)
        }
        fn sign(
            &self,
            key: &marblerun_core::pki::key::PrivateKey,
            hash: marblerun_core::pki::key::SignatureHash,
            message: &[u8],
        ) -> Result<Vec<u8>, marblerun_core::ambient::CryptoFault> {
            self.1.sign(key, hash, message)
        }
        fn encrypt_oaep_sha256(
            &self,
            key: &[u8],
            text: &[u8],
        ) -> Result<Vec<u8>, marblerun_core::ambient::CryptoFault> {
            self.1.encrypt_oaep_sha256(key, text)
        }
    }
    for (byte, expected) in [
        (0x00, vec![1]),
        (0x7f, vec![0x7f; 16]),
        (0xff, [&[0][..], &[0xff; 16]].concat()),
    ] {
        let dice = Fixed(byte, TestDice::default());
        let ambient = Ambient {
            now: NOW,
            dice: &dice,
        };
        let authority = authority::create(CryptoSuite::P256Aes128, &[], None, &ambient).unwrap();
        assert_eq!(read(&authority.root).raw_serial(), expected);
    }
}
