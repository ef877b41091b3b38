//! Private keys in every form tools write them in.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::Ed25519KeyPair;
use const_oid::ObjectIdentifier;
use der::asn1::{BitString, OctetString, OctetStringRef};
use der::{Decode as _, Encode as _, Sequence};
use marblerun_core::ambient::Dice;
use marblerun_core::pki::key::{KeyKind, PrivateKey, PrivateKeyError, SignatureHash, Signer};
use marblerun_core::testing::TestDice;
use proptest::prelude::*;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};

use crate::support::pem_block;

/// PKCS#8 of either version, taken apart.
#[derive(Sequence, Clone)]
struct Pkcs8 {
    version: u8,
    algorithm: AlgorithmIdentifierOwned,
    key: OctetString,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    public: Option<BitString>,
}

/// RFC 5915.
#[derive(Sequence, Clone)]
struct Sec1 {
    version: u8,
    scalar: OctetString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public: Option<BitString>,
}

const KINDS: [KeyKind; 6] = [
    KeyKind::P224,
    KeyKind::P256,
    KeyKind::P384,
    KeyKind::P521,
    KeyKind::Ed25519,
    KeyKind::Rsa(2048),
];
const CURVES: [KeyKind; 4] = [KeyKind::P224, KeyKind::P256, KeyKind::P384, KeyKind::P521];

fn key(kind: KeyKind) -> PrivateKey {
    TestDice::new(7).generate_key(kind).unwrap()
}

fn pkcs8(key: &PrivateKey) -> Pkcs8 {
    Pkcs8::from_der(key.pkcs8().expose()).unwrap()
}

/// The key as SEC1, with everything that may be left out.
fn sec1(key: &PrivateKey) -> Sec1 {
    let outer = pkcs8(key);
    let curve = outer
        .algorithm
        .parameters
        .as_ref()
        .unwrap()
        .decode_as::<ObjectIdentifier>()
        .unwrap();
    Sec1 {
        curve: Some(curve),
        ..Sec1::from_der(outer.key.as_bytes()).unwrap()
    }
}

/// The error of a refused key: `PrivateKey` itself has no `Debug`, on purpose.
fn refused(der: &[u8]) -> PrivateKeyError {
    PrivateKey::from_any_der(der).err().unwrap()
}

fn assert_same(read: Result<PrivateKey, PrivateKeyError>, key: &PrivateKey) {
    let read = read.unwrap_or_else(|error| panic!("{:?}: {error}", key.kind()));
    assert_eq!((read.kind(), read.public()), (key.kind(), key.public()));
    assert!(read.pkcs8() == key.pkcs8(), "{:?}", key.kind());
}

#[test]
fn pkcs8_is_read_in_both_versions() {
    for kind in KINDS {
        let key = key(kind);
        assert_eq!(pkcs8(&key).version, 0);
        assert!(pkcs8(&key).public.is_none());
        assert_same(PrivateKey::from_pkcs8(key.pkcs8().expose()), &key);
        assert_same(PrivateKey::from_any_der(key.pkcs8().expose()), &key);
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    let version1: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let version2: aws_lc_rs::encoding::Pkcs8V2Der<'_> = pair.as_der().unwrap();
    assert!(version2.as_ref().len() > version1.as_ref().len());
    let key = PrivateKey::from_pkcs8(version1.as_ref()).unwrap();
    // Seed only: sixteen bytes of frame, thirty-two of seed.
    assert_eq!(key.pkcs8().len(), 48);
    assert_same(PrivateKey::from_pkcs8(version2.as_ref()), &key);
}

#[test]
fn public_keys_match_and_are_pkix() {
    for kind in KINDS {
        let key = key(kind);
        let info = SubjectPublicKeyInfoRef::from_der(key.public()).unwrap();
        assert_eq!(info.algorithm.oid, pkcs8(&key).algorithm.oid);
        if CURVES.contains(&kind) {
            assert_eq!(
                info.subject_public_key.as_bytes(),
                sec1(&key).public.unwrap().as_bytes()
            );
        }
    }
}

#[test]
fn sec1_is_read_with_and_without_what_may_be_left_out() {
    for kind in CURVES {
        let key = key(kind);
        let full = sec1(&key);
        assert_same(PrivateKey::from_any_der(&full.to_der().unwrap()), &key);
        let bare = Sec1 {
            public: None,
            ..full.clone()
        };
        assert_same(PrivateKey::from_any_der(&bare.to_der().unwrap()), &key);
        // A compressed public key.
        let point = full.public.as_ref().unwrap().as_bytes().unwrap().to_vec();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let compressed = |form| Sec1 {
            public: Some(BitString::from_bytes(&[&[form], x].concat()).unwrap()),
            ..full.clone()
        };
        let parity = y[y.len() - 1] & 1;
        assert_same(
            PrivateKey::from_any_der(&compressed(2 + parity).to_der().unwrap()),
            &key,
        );
        assert_eq!(
            refused(&compressed(3 - parity).to_der().unwrap()),
            PrivateKeyError::Invalid
        );
        // Inside PKCS#8: as OpenSSL writes it, with the curve repeated, and bare.
        for inner in [
            full.clone(),
            bare,
            Sec1 {
                curve: None,
                public: None,
                ..full.clone()
            },
        ] {
            let wrapped = Pkcs8 {
                key: OctetString::new(inner.to_der().unwrap()).unwrap(),
                ..pkcs8(&key)
            };
            assert_same(PrivateKey::from_pkcs8(&wrapped.to_der().unwrap()), &key);
        }
        // A scalar with a leading zero too many.
        let padded = [&[0], full.scalar.as_bytes()].concat();
        let padded = Sec1 {
            scalar: OctetString::new(padded).unwrap(),
            ..full
        };
        assert_same(PrivateKey::from_any_der(&padded.to_der().unwrap()), &key);
    }
}

#[test]
fn short_scalars_are_padded() {
    let scalar = [0x01, 0x02];
    for (curve, kind) in [
        ("1.3.132.0.33", KeyKind::P224),
        ("1.2.840.10045.3.1.7", KeyKind::P256),
    ] {
        let short = Sec1 {
            version: 1,
            scalar: OctetString::new(scalar).unwrap(),
            curve: Some(ObjectIdentifier::new(curve).unwrap()),
            public: None,
        };
        let read = PrivateKey::from_any_der(&short.to_der().unwrap()).unwrap();
        assert_eq!(read.kind(), kind);
        assert!(sec1(&read).scalar.as_bytes().ends_with(&scalar));
    }
}

#[test]
fn pkcs1_is_read() {
    let key = key(KeyKind::Rsa(2048));
    let inner = pkcs8(&key).key;
    assert_same(PrivateKey::from_any_der(inner.as_bytes()), &key);
    let PrivateKeyError::Malformed = PrivateKey::from_pkcs8(inner.as_bytes()).err().unwrap() else {
        panic!("PKCS#1 is not PKCS#8");
    };
}

#[test]
fn a_key_of_8192_bits_made_elsewhere_is_kept_as_it_is() {
    let der = pem_block("PRIVATE KEY", include_str!("../golden/pki/rsa-8192.pem"));
    let key = PrivateKey::from_any_der(&der).unwrap();
    assert_eq!(key.kind(), KeyKind::Rsa(8192));
    assert_eq!(key.pkcs8().expose(), der);
}

#[test]
fn keys_that_contradict_themselves_are_refused() {
    for kind in CURVES {
        let (one, two) = (sec1(&key(kind)), sec1(&key(kind)));
        // P-224 keys of equal seeds are equal: take another scalar there.
        let other = if kind == KeyKind::P224 {
            sec1(&TestDice::new(8).generate_key(kind).unwrap())
        } else {
            two
        };
        let mixed = Sec1 {
            public: other.public,
            ..one.clone()
        };
        assert_eq!(
            refused(&mixed.to_der().unwrap()),
            PrivateKeyError::Invalid,
            "{kind:?}"
        );
        for scalar in [
            vec![0; one.scalar.as_bytes().len()],
            vec![0xff; one.scalar.as_bytes().len()],
            vec![1; 70],
        ] {
            let wrong = Sec1 {
                scalar: OctetString::new(scalar).unwrap(),
                ..one.clone()
            };
            assert_eq!(
                refused(&wrong.to_der().unwrap()),
                PrivateKeyError::Invalid,
                "{kind:?}"
            );
        }
    }
    let (inside, outside) = (key(KeyKind::P256), key(KeyKind::P384));
    let inner = sec1(&inside).to_der().unwrap();
    let wrapped = Pkcs8 {
        key: OctetString::new(inner).unwrap(),
        ..pkcs8(&outside)
    };
    assert_eq!(refused(&wrapped.to_der().unwrap()), PrivateKeyError::Invalid);

    let (one, two) = (key(KeyKind::Ed25519), key(KeyKind::Ed25519));
    let public = SubjectPublicKeyInfoRef::from_der(two.public()).unwrap();
    let public = BitString::from_bytes(public.subject_public_key.as_bytes().unwrap()).unwrap();
    let mixed = Pkcs8 {
        version: 1,
        public: Some(public),
        ..pkcs8(&one)
    };
    assert_eq!(refused(&mixed.to_der().unwrap()), PrivateKeyError::Invalid);
    // A seed of another length.
    let short = OctetStringRef::new(&[1; 31]).unwrap().to_der().unwrap();
    let short = Pkcs8 {
        key: OctetString::new(short).unwrap(),
        ..pkcs8(&one)
    };
    assert_eq!(refused(&short.to_der().unwrap()), PrivateKeyError::Invalid);
}

#[test]
fn unsupported_keys_are_named() {
    let outer = pkcs8(&key(KeyKind::Ed25519));
    let x25519 = ObjectIdentifier::new_unwrap("1.3.101.110");
    let other = Pkcs8 {
        algorithm: AlgorithmIdentifierOwned {
            oid: x25519,
            parameters: None,
        },
        ..outer
    };
    assert_eq!(
        refused(&other.to_der().unwrap()),
        PrivateKeyError::Algorithm { algorithm: x25519 }
    );

    let elliptic = sec1(&key(KeyKind::P256));
    let koblitz = Sec1 {
        curve: Some(ObjectIdentifier::new_unwrap("1.3.132.0.10")),
        ..elliptic.clone()
    };
    assert_eq!(refused(&koblitz.to_der().unwrap()), PrivateKeyError::Curve);
    let no_curve = Sec1 {
        curve: None,
        ..elliptic
    };
    assert_eq!(refused(&no_curve.to_der().unwrap()), PrivateKeyError::Curve);
}

#[test]
fn what_is_no_key_is_refused() {
    let der = key(KeyKind::Rsa(2048)).pkcs8().clone();
    let der = der.expose();
    assert_eq!(
        refused(&[0; 20_000]),
        PrivateKeyError::TooLarge { length: 20_000 }
    );
    let longer = [der, &[0]].concat();
    for bytes in [
        &b""[..],
        b"0",
        &[0x30, 0x80, 0, 0],
        &der[1..],
        &der[..der.len() - 1],
        &longer,
        &[0x30, 3, 2, 1, 0],
    ] {
        assert_eq!(refused(bytes), PrivateKeyError::Malformed);
    }
    assert_eq!(
        refused(b"").to_string(),
        "not a private key in PKCS#8, PKCS#1 or SEC1 DER"
    );
}

#[test]
fn the_providers_form_is_parsed_once_and_refused_for_p224() {
    let key = key(KeyKind::P384);
    let stored = PrivateKey::from_parts(KeyKind::P384, key.pkcs8().clone(), key.public().clone());
    let (one, two): (*const Signer, *const Signer) =
        (stored.signer().unwrap(), stored.clone().signer().unwrap());
    assert_eq!(one, two);
    assert!(
        TestDice::default()
            .sign(&stored, SignatureHash::Sha384, b"m")
            .is_ok()
    );
    assert!(self::key(KeyKind::P224).signer().is_err());
    // Parts that do not belong together are noticed when the key is used.
    let wrong = PrivateKey::from_parts(KeyKind::P256, key.pkcs8().clone(), key.public().clone());
    assert!(wrong.signer().is_err());
    assert!(wrong.sign_sha256_with_p384(&[0; 32]).is_ok());
    assert!(self::key(KeyKind::P256).sign_sha256_with_p384(&[0; 32]).is_err());
}

#[test]
fn p224_scalars_outside_the_group_are_refused() {
    assert!(PrivateKey::p224_from_scalar(&[0; 28]).is_none());
    assert!(PrivateKey::p224_from_scalar(&[0xff; 28]).is_none());
    let mut one = [0; 28];
    one[27] = 1;
    // One times the generator (SEC 2 section 2.6.2: 04B70E0C…).
    let key = PrivateKey::p224_from_scalar(&one).unwrap();
    assert!(hex::encode(key.public()).contains("04b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn hostile_bytes_are_refused_in_peace(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        index in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        prop_assert!(PrivateKey::from_any_der(&noise).is_err());
        for kind in [KeyKind::P256, KeyKind::Ed25519] {
            let mut der = key(kind).pkcs8().expose().to_vec();
            let index = index.index(der.len());
            der[index] = byte;
            let _ = PrivateKey::from_any_der(&der);
            let _ = PrivateKey::from_any_der(&[&[0x30, 0x30], &der[2..]].concat());
        }
    }
}
