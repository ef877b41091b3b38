//! Every path a verifier may build, with webpki: outside, inside, and all those that must not exist.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use marblerun_core::ambient::{Dice, Timestamp};
use marblerun_core::pki::authority::{self, Authority};
use marblerun_core::pki::key::KeyKind;
use marblerun_core::pki::marble::{self, MarbleIdentity, NotAMarble};
use marblerun_core::pki::{CryptoSuite, request, secret_certificate};
use marblerun_core::secret::spec::{CertificateTemplate, ObjectId, SubjectTemplate};
use marblerun_core::testing::{NOW, TestDice};
use uuid::Uuid;
use webpki::{Error, KeyUsage};

use crate::support::{Request, authority, is_for, verify};

const UUID: Uuid = Uuid::from_u128(0x1111_1111_2222_4333_8444_5555_5555_5555);
const LATER: Timestamp = NOW.plus_seconds(3600);

fn activate(authority: &Authority, marble_type: &str) -> MarbleIdentity {
    let dice = TestDice::new(2);
    let csr = request::parse(&Request::default().sign(&dice.generate_key(KeyKind::P384).unwrap())).unwrap();
    marble::issue(authority, &csr, UUID, marble_type, &dice.ambient()).unwrap()
}

fn usages() -> [KeyUsage; 2] {
    [KeyUsage::server_auth(), KeyUsage::client_auth()]
}

#[test]
fn marbles_are_verified_outside_and_inside() {
    for suite in CryptoSuite::ALL {
        let authority = authority(suite);
        let marble = activate(&authority, "backend");
        for usage in usages() {
            // Outside: the client has the root, the marble sends its chain.
            let between: [&[u8]; 1] = [&authority.intermediate];
            verify(&marble.certificate, &between, &authority.root, usage, LATER).unwrap();
            // Inside: the other marble has the Marble root; whether a chain is sent along does not matter.
            verify(&marble.certificate, &[], &authority.marble_root, usage, LATER).unwrap();
            verify(
                &marble.certificate,
                &between,
                &authority.marble_root,
                usage,
                LATER,
            )
            .unwrap();
            // A client that wants to notice updates has the intermediate.
            verify(&marble.certificate, &[], &authority.intermediate, usage, LATER).unwrap();
            // In a thousand years.
            let far = Timestamp::from_unix_seconds(33_000_000_000);
            verify(&marble.certificate, &between, &authority.root, usage, far).unwrap();
        }
        for name in ["localhost", "marble.example", "10.9.8.7"] {
            assert!(is_for(&marble.certificate, name), "{name}");
        }
        for name in ["example", "other.example", "10.9.8.6", "coordinator.example"] {
            assert!(!is_for(&marble.certificate, name), "{name}");
        }
    }
}

#[test]
fn marbles_are_not_verified_before_they_start_or_without_the_chain() {
    let authority = authority(CryptoSuite::P256Aes128);
    let marble = activate(&authority, "backend");
    let early = verify(
        &marble.certificate,
        &[],
        &authority.marble_root,
        KeyUsage::server_auth(),
        NOW.plus_seconds(-1),
    );
    assert!(matches!(early, Err(Error::CertNotValidYet { .. })), "{early:?}");
    let alone = verify(
        &marble.certificate,
        &[],
        &authority.root,
        KeyUsage::server_auth(),
        LATER,
    );
    assert_eq!(alone, Err(Error::UnknownIssuer));
    let other_usage = KeyUsage::required(&[0x2b, 6, 1, 5, 5, 7, 3, 3]);
    let code_signing = verify(
        &marble.certificate,
        &[],
        &authority.marble_root,
        other_usage,
        LATER,
    );
    assert!(
        matches!(code_signing, Err(Error::RequiredEkuNotFoundContext(_))),
        "{code_signing:?}"
    );
}

#[test]
fn the_authoritys_clock_may_run_ten_minutes_ahead() {
    let authority = authority(CryptoSuite::P256Aes128);
    // The intermediate as leaf's issuer, at a verifier that is behind.
    let secret = issue_secret(&authority, KeyKind::P256);
    let at = |seconds| {
        let between: [&[u8]; 1] = [&authority.intermediate];
        verify(
            &secret,
            &between,
            &authority.root,
            KeyUsage::server_auth(),
            NOW.plus_seconds(seconds),
        )
    };
    at(0).unwrap();
    // The leaf itself is valid from now on; the authority is from ten minutes ago.
    let (_, root) = x509_parser::parse_x509_certificate(&authority.root).unwrap();
    assert_eq!(
        root.validity().not_before.timestamp(),
        NOW.plus_seconds(-600).unix_seconds()
    );
    assert!(at(-1).is_err());
}

#[test]
fn another_deployment_is_not_trusted() {
    for suite in CryptoSuite::ALL {
        let (ours, theirs) = (authority(suite), authority(suite));
        let marble = activate(&theirs, "backend");
        for usage in usages() {
            // Names are alike, keys are not.
            let inside = verify(&marble.certificate, &[], &ours.marble_root, usage, LATER);
            assert!(is_bad_signature(&inside), "{inside:?}");
            let outside = verify(
                &marble.certificate,
                &[&theirs.intermediate],
                &ours.root,
                usage,
                LATER,
            );
            assert!(is_bad_signature(&outside), "{outside:?}");
            let mixed = verify(
                &marble.certificate,
                &[&ours.intermediate],
                &ours.root,
                usage,
                LATER,
            );
            assert!(is_bad_signature(&mixed), "{mixed:?}");
        }
        assert_eq!(
            marble::recognise(&ours, &marble.certificate),
            Err(NotAMarble::Issuer)
        );
    }
}

fn is_bad_signature(result: &Result<(), Error>) -> bool {
    matches!(
        result,
        Err(Error::InvalidSignatureForPublicKey | Error::UnknownIssuer)
    )
}

#[test]
fn a_manifest_update_parts_old_marbles_from_new_ones() {
    for suite in CryptoSuite::ALL {
        let before = authority(suite);
        let old = activate(&before, "backend");
        let after = authority::renew_intermediate(&before, &TestDice::new(3).ambient()).unwrap();
        let new = activate(&after, "backend");

        assert_eq!(after.root, before.root);
        assert_ne!(after.intermediate_key.public(), before.intermediate_key.public());
        assert_eq!(
            authority::root_names(&after).unwrap(),
            authority::root_names(&before).unwrap()
        );
        for usage in usages() {
            // Inside, neither knows the other.
            assert!(is_bad_signature(&verify(
                &old.certificate,
                &[],
                &after.marble_root,
                usage,
                LATER
            )));
            assert!(is_bad_signature(&verify(
                &new.certificate,
                &[],
                &before.marble_root,
                usage,
                LATER
            )));
            verify(&new.certificate, &[], &after.marble_root, usage, LATER).unwrap();
            // Outside, the root survives.
            verify(
                &new.certificate,
                &[&after.intermediate],
                &before.root,
                usage,
                LATER,
            )
            .unwrap();
            let mixed = verify(
                &old.certificate,
                &[&after.intermediate],
                &after.root,
                usage,
                LATER,
            );
            assert!(is_bad_signature(&mixed), "{mixed:?}");
        }
        assert_eq!(
            marble::recognise(&after, &old.certificate),
            Err(NotAMarble::Issuer)
        );
        assert_eq!(marble::recognise(&after, &new.certificate).unwrap().uuid, UUID);
    }
}

#[test]
fn a_marble_is_recognised_by_its_certificate_alone() {
    for suite in CryptoSuite::ALL {
        let authority = authority(suite);
        for marble_type in ["backend", "", "Überwachung\u{7f}", &"x".repeat(4096)] {
            let marble = activate(&authority, marble_type);
            let seen = marble::recognise(&authority, &marble.certificate).unwrap();
            assert_eq!((seen.uuid, seen.marble_type.as_str()), (UUID, marble_type));
            assert_eq!(marble.key.kind(), suite.key_kind());
        }
    }
}

#[test]
fn what_is_no_marble_is_not_recognised() {
    let authority = authority(CryptoSuite::P256Aes128);
    let marble = activate(&authority, "backend");
    let recognise = |der: &[u8]| marble::recognise(&authority, der);

    assert_eq!(recognise(b""), Err(NotAMarble::Malformed));
    assert_eq!(recognise(&vec![0x30; 200_000]), Err(NotAMarble::Malformed));
    assert_eq!(recognise(&authority.root), Err(NotAMarble::MarbleType));
    assert_eq!(recognise(&authority.marble_root), Err(NotAMarble::MarbleType));
    // A certificate secret has the same issuer, even with a marble's CommonName, but no marble type.
    assert_eq!(
        recognise(&issue_secret(&authority, KeyKind::P256)),
        Err(NotAMarble::MarbleType)
    );
    // Trailing bytes.
    let mut longer = marble.certificate.to_vec();
    longer.push(0);
    assert_eq!(recognise(&longer), Err(NotAMarble::Malformed));
    // Every certificate that differs in one byte, wherever it is. The tag of unused bits and the like make it
    // malformed, the rest breaks the signature.
    for index in 0..marble.certificate.len() {
        let mut changed = marble.certificate.to_vec();
        changed[index] ^= 1;
        assert!(recognise(&changed).is_err(), "byte {index}");
    }
}

#[test]
fn a_self_made_marble_certificate_is_not_recognised() {
    // Signed by someone else's Marble root of the same name, whatever it says.
    let (ours, theirs) = (
        authority(CryptoSuite::P384Aes256),
        authority(CryptoSuite::P384Aes256),
    );
    let forged = activate(&theirs, "backend");
    assert_eq!(
        marble::recognise(&ours, &forged.certificate),
        Err(NotAMarble::Issuer)
    );
    // The other suite's signature under the right key's name.
    let other_suite = activate(&authority(CryptoSuite::P256Aes128), "backend");
    assert_eq!(
        marble::recognise(&ours, &other_suite.certificate),
        Err(NotAMarble::Issuer)
    );
}

fn issue_secret(authority: &Authority, kind: KeyKind) -> Vec<u8> {
    let dice = TestDice::new(4);
    let usage = |oid| ObjectId::new(ObjectIdentifier::new_unwrap(oid));
    let template = CertificateTemplate {
        subject: SubjectTemplate {
            common_name: UUID.to_string(),
            ..SubjectTemplate::default()
        },
        key_usage: 33,
        extended_key_usage: vec![usage("1.3.6.1.5.5.7.3.1"), usage("1.3.6.1.5.5.7.3.2")],
        dns_names: vec!["secret.example".into()],
        ip_addresses: vec!["2001:db8::7".parse().unwrap()],
        ..CertificateTemplate::default()
    };
    let key = dice.generate_key(kind).unwrap();
    secret_certificate::issue(authority, &template, 7, key.public(), &dice.ambient())
        .unwrap()
        .to_vec()
}

#[test]
fn certificate_secrets_are_verified_outside_and_inside() {
    for suite in CryptoSuite::ALL {
        let authority = authority(suite);
        for kind in [
            KeyKind::P256,
            KeyKind::P384,
            KeyKind::P521,
            KeyKind::Ed25519,
            KeyKind::Rsa(2048),
        ] {
            let secret = issue_secret(&authority, kind);
            for usage in usages() {
                verify(&secret, &[&authority.intermediate], &authority.root, usage, LATER).unwrap();
                verify(&secret, &[], &authority.marble_root, usage, LATER).unwrap();
            }
            assert!(is_for(&secret, "secret.example") && is_for(&secret, "2001:db8::7"));
            let expired = verify(
                &secret,
                &[],
                &authority.marble_root,
                usages()[0],
                NOW.plus_seconds(7 * 86_400 + 1),
            );
            assert!(matches!(expired, Err(Error::CertExpired { .. })), "{expired:?}");
        }
    }
}

#[test]
fn manifest_signatures_verify_over_sha256_in_both_suites() {
    let dice = TestDice::default();
    let verifiers: [&'static dyn VerificationAlgorithm; 2] =
        [&ECDSA_P256_SHA256_ASN1, &ECDSA_P384_SHA256_ASN1];
    for (suite, algorithm) in CryptoSuite::ALL.into_iter().zip(verifiers) {
        let authority = authority(suite);
        for manifest in [&b""[..], b"{}", &[b' '; 10_000]] {
            let signature = authority::sign_manifest(&authority, manifest, &dice.ambient()).unwrap();
            let public = UnparsedPublicKey::new(algorithm, authority.root_key.public());
            public.verify(manifest, &signature).unwrap();
            assert!(public.verify(b"{ }", &signature).is_err());
            let other = UnparsedPublicKey::new(algorithm, authority.intermediate_key.public());
            assert!(other.verify(manifest, &signature).is_err());
        }
    }
}
