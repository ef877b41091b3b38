//! Certificate requests: of every kind of key, and what is refused.

use std::collections::BTreeSet;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{COMMON_NAME, LOCALITY_NAME};
use const_oid::db::rfc5912::{ECDSA_WITH_SHA_224, SHA_256_WITH_RSA_ENCRYPTION};
use der::Tag;
use der::asn1::{Any, Ia5String, OctetString};
use marblerun_core::ambient::Dice;
use marblerun_core::pki::key::{KeyKind, PrivateKey};
use marblerun_core::pki::request::{self, AlternativeNameError, CsrError, MAX_NAMES, MAX_REQUEST, NameError};
use marblerun_core::pki::{HostName, HostNameError};
use marblerun_core::testing::TestDice;
use proptest::prelude::*;
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;

use crate::support::{Request, dns, names, pem_block, utf8};

/// RFC 3279 section 2.2.3.
const ECDSA_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");

fn key(kind: KeyKind) -> PrivateKey {
    TestDice::new(5).generate_key(kind).unwrap()
}

fn parse(request: &Request) -> Result<request::Csr, CsrError> {
    request::parse(&request.sign(&key(KeyKind::P256)))
}

fn asking_for(alternative_names: Vec<GeneralName>) -> Request {
    Request {
        extension_requests: vec![vec![names(alternative_names)]],
        ..Request::default()
    }
}

#[test]
fn requests_of_every_kind_of_key_are_read() {
    let kinds = [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::P521,
        KeyKind::Ed25519,
        KeyKind::Rsa(2048),
        KeyKind::Rsa(4096),
    ];
    for kind in kinds {
        let csr = request::parse(&Request::default().sign(&key(kind))).unwrap();
        assert_eq!(csr.subject().common_name, "ignored", "{kind:?}");
        let expected = ["localhost", "marble.example", "10.9.8.7"].map(|name| HostName::parse(name).unwrap());
        assert_eq!(csr.names(), expected, "{kind:?}");
    }
}

#[test]
fn a_recorded_request_is_read() {
    // P-384 with SHA-256, as marbles of the original send it.
    let der = pem_block(
        "CERTIFICATE REQUEST",
        include_str!("../golden/pki/activation.pem"),
    );
    let csr = request::parse(&der).unwrap();
    assert_eq!(csr.subject().organization, ["ignored org"]);
    assert_eq!(
        csr.names(),
        ["localhost", "marble.example"].map(|name| HostName::parse(name).unwrap())
    );
}

#[test]
fn every_changed_byte_is_noticed() {
    let der = Request::default().sign(&key(KeyKind::P256));
    request::parse(&der).unwrap();
    let mut reasons = BTreeSet::new();
    for index in 0..der.len() {
        let mut changed = der.clone();
        changed[index] ^= 1;
        let error = request::parse(&changed).expect_err(&format!("byte {index}"));
        reasons.insert(format!("{error:?}").split(' ').next().unwrap().to_owned());
    }
    assert!(
        reasons.contains("Signature") && reasons.contains("Malformed"),
        "{reasons:?}"
    );
}

#[test]
fn what_is_no_request_is_refused() {
    let der = Request::default().sign(&key(KeyKind::P256));
    let too_large = vec![0; MAX_REQUEST + 1];
    assert_eq!(
        request::parse(&too_large),
        Err(CsrError::TooLarge {
            length: MAX_REQUEST + 1
        })
    );
    let longer = [&der[..], &[0]].concat();
    for bytes in [
        &[][..],
        &[0x30],
        &[0x30, 0x80],
        &[0xff; 100],
        &der[1..],
        &der[..der.len() - 1],
        &longer,
    ] {
        assert_eq!(request::parse(bytes), Err(CsrError::Malformed));
    }
    assert_eq!(
        parse(&Request {
            version: 1,
            ..Request::default()
        }),
        Err(CsrError::Malformed)
    );
}

#[test]
fn a_signature_by_another_key_is_refused() {
    // The same request signed by two keys, the halves exchanged: key of one, signature of the other.
    let dice = TestDice::new(6);
    let signed = || Request::default().sign(&dice.generate_key(KeyKind::Ed25519).unwrap());
    let (one, two) = (signed(), signed());
    assert_eq!(one.len(), two.len());
    let (body, _) = one.split_at(one.len() - 64);
    let (_, signature) = two.split_at(two.len() - 64);
    assert_eq!(
        request::parse(&[body, signature].concat()),
        Err(CsrError::Signature)
    );
}

#[test]
fn keys_and_algorithms_we_cannot_verify_are_refused() {
    let algorithm = ObjectIdentifier::new_unwrap("1.3.132.0.33");
    assert_eq!(
        request::parse(&Request::default().sign(&key(KeyKind::P224))),
        Err(CsrError::Key { algorithm })
    );
    for (kind, oid, parameters) in [
        (KeyKind::P256, ECDSA_WITH_SHA_1, None),
        (KeyKind::P384, ECDSA_WITH_SHA_224, None),
        (KeyKind::P256, SHA_256_WITH_RSA_ENCRYPTION, Some(Any::null())),
        (KeyKind::Ed25519, const_oid::db::rfc5912::ECDSA_WITH_SHA_256, None),
        (KeyKind::Rsa(2048), const_oid::db::rfc5912::ID_RSASSA_PSS, None),
        (
            KeyKind::Rsa(2048),
            const_oid::db::rfc5912::SHA_1_WITH_RSA_ENCRYPTION,
            Some(Any::null()),
        ),
        // Parameters where there must be none, and others than NULL.
        (
            KeyKind::P256,
            const_oid::db::rfc5912::ECDSA_WITH_SHA_256,
            Some(Any::null()),
        ),
        (KeyKind::Rsa(2048), SHA_256_WITH_RSA_ENCRYPTION, Some(utf8("x"))),
    ] {
        let algorithm = Some(AlgorithmIdentifierOwned { oid, parameters });
        let request = Request {
            algorithm,
            ..Request::default()
        };
        let refused = request::parse(&request.sign(&key(kind)));
        assert_eq!(
            refused,
            Err(CsrError::SignatureAlgorithm { algorithm: oid }),
            "{kind:?}"
        );
    }
}

#[test]
fn rsa_keys_below_2048_bits_are_refused() {
    // Made with `openssl req -new -newkey rsa:1024 -nodes -subj /CN=small`.
    let der = pem_block(
        "CERTIFICATE REQUEST",
        include_str!("../golden/pki/rsa-1024-request.pem"),
    );
    assert_eq!(request::parse(&der), Err(CsrError::Signature));
}

#[test]
fn subjects_that_are_not_text_are_refused() {
    let with = |value: Any| Request {
        subject: vec![(LOCALITY_NAME, value)],
        ..Request::default()
    };
    let attribute = LOCALITY_NAME;
    let not_text = Err(CsrError::Subject(NameError::NotText { attribute }));
    assert_eq!(parse(&with(utf8("a\nb"))), not_text);
    assert_eq!(
        parse(&with(Any::new(Tag::Utf8String, &b"\xc3"[..]).unwrap())),
        not_text
    );
    assert_eq!(
        parse(&with(Any::new(Tag::OctetString, &b"a"[..]).unwrap())),
        not_text
    );
    let too_long = Err(CsrError::Subject(NameError::ValueTooLong { attribute }));
    assert_eq!(parse(&with(utf8(&"a".repeat(1025)))), too_long);
    assert!(parse(&with(utf8(&"a".repeat(1024)))).is_ok());
    let many = Request {
        subject: vec![(COMMON_NAME, utf8("a")); 65],
        ..Request::default()
    };
    assert_eq!(parse(&many), Err(CsrError::Subject(NameError::TooManyAttributes)));
}

#[test]
fn alternative_names_are_dns_names_and_addresses_only() {
    let ip = |octets: &[u8]| GeneralName::IpAddress(OctetString::new(octets).unwrap());
    let csr = parse(&asking_for(vec![
        GeneralName::Rfc822Name(Ia5String::new("a@b").unwrap()),
        dns("b.example"),
        GeneralName::UniformResourceIdentifier(Ia5String::new("spiffe://a/b").unwrap()),
        ip(&[0; 16]),
        GeneralName::RegisteredId(COMMON_NAME),
        // Looks like an address, but was asked for as a DNS name.
        dns("1.2.3.4"),
    ]))
    .unwrap();
    let expected = [
        HostName::Dns("b.example".into()),
        HostName::parse("::").unwrap(),
        HostName::Dns("1.2.3.4".into()),
    ];
    assert_eq!(csr.names(), expected);

    let refused =
        |names, error| assert_eq!(parse(&asking_for(names)), Err(CsrError::AlternativeNames(error)));
    refused(
        vec![ip(&[1, 2, 3])],
        AlternativeNameError::IpAddress { length: 3 },
    );
    refused(vec![ip(&[0; 17])], AlternativeNameError::IpAddress { length: 17 });
    refused(vec![dns("")], AlternativeNameError::DnsName(HostNameError::Empty));
    refused(
        vec![dns("a b")],
        AlternativeNameError::DnsName(HostNameError::Characters),
    );
    refused(
        vec![dns("a\0b")],
        AlternativeNameError::DnsName(HostNameError::Characters),
    );
    refused(
        vec![dns(&"a".repeat(254))],
        AlternativeNameError::DnsName(HostNameError::TooLong { length: 254 }),
    );
    refused(
        vec![dns("a"); MAX_NAMES + 1],
        AlternativeNameError::TooMany { limit: MAX_NAMES },
    );
    assert_eq!(
        parse(&asking_for(vec![dns("a"); MAX_NAMES]))
            .unwrap()
            .names()
            .len(),
        MAX_NAMES
    );
}

#[test]
fn requested_extensions_have_to_be_well_formed_and_single() {
    let localhost = || names(vec![dns("localhost")]);
    let two_in_one = Request {
        extension_requests: vec![vec![localhost(), localhost()]],
        ..Request::default()
    };
    assert_eq!(parse(&two_in_one), Err(CsrError::Malformed));
    let two_requests = Request {
        extension_requests: vec![vec![localhost()], vec![names(vec![dns("other")])]],
        ..Request::default()
    };
    assert_eq!(parse(&two_requests), Err(CsrError::Malformed));
    let garbage = Extension {
        extn_value: OctetString::new(&b"\x30\x05ab"[..]).unwrap(),
        ..localhost()
    };
    let garbage = Request {
        extension_requests: vec![vec![garbage]],
        ..Request::default()
    };
    assert_eq!(
        parse(&garbage),
        Err(CsrError::AlternativeNames(AlternativeNameError::Malformed))
    );
    // Others are not looked at: what the certificate says is for the Coordinator to decide.
    let ca = Extension {
        extn_id: ObjectIdentifier::new_unwrap("2.5.29.19"),
        critical: true,
        extn_value: OctetString::new([0x30, 0x03, 0x01, 0x01, 0xff]).unwrap(),
    };
    let with_ca = Request {
        extension_requests: vec![vec![ca, localhost()]],
        ..Request::default()
    };
    assert_eq!(
        parse(&with_ca).unwrap().names(),
        [HostName::Dns("localhost".into())]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Neither noise nor a damaged request makes the reader panic.
    #[test]
    fn hostile_bytes_are_refused_in_peace(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        prop_assert!(request::parse(&noise).is_err());
        let mut der = base_request();
        for (index, byte) in cuts {
            let index = index.index(der.len());
            der[index] = byte;
        }
        let _ = request::parse(&der);
        let _ = request::parse(&[&der[..], &noise].concat());
        let header = [&[0x30, 0x82, 0x01, 0x00][..], &noise].concat();
        prop_assert!(request::parse(&header).is_err());
    }
}

fn base_request() -> Vec<u8> {
    static REQUEST: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    REQUEST
        .get_or_init(|| Request::default().sign(&key(KeyKind::P256)))
        .clone()
}

#[test]
fn errors_say_what_was_expected() {
    let error = request::parse(b"x").unwrap_err();
    assert_eq!(error.to_string(), "not a certificate request (PKCS#10 DER)");
    let error = parse(&asking_for(vec![dns("a b")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate request's subject alternative names: a host name holds characters other than printable \
         ASCII (international names: use the `xn--` form)"
    );
}
