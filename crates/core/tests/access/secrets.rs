//! Secrets read and written.

use std::sync::Arc;

use marblerun_core::ambient::Dice;
use marblerun_core::decision::Verdict;
use marblerun_core::flow::{read_secrets, write_secrets};
use marblerun_core::pki::CryptoSuite;
use marblerun_core::pki::authority;
use marblerun_core::pki::key::{KeyKind, PrivateKey};
use marblerun_core::refusal::RefusalKind;
use marblerun_core::secret::upload::Upload;
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::testing::TestDice;
use serde_json::json;

use crate::support::*;

fn certificate_of(dice: &TestDice) -> (Vec<u8>, PrivateKey) {
    let made = authority::create(CryptoSuite::P256Aes128, &[], None, &dice.ambient()).unwrap();
    (made.root.to_vec(), made.root_key)
}

fn uploaded(certificate: &[u8], private: Option<&[u8]>) -> Upload {
    Upload {
        key: None,
        certificate: Some(certificate.into()),
        private: private.map(SecretBytes::copy_from),
    }
}

fn invalid(message: &str) -> Refused {
    (RefusalKind::Invalid, message.to_owned())
}

#[test]
fn secrets_are_shown_as_defined() {
    let world = World::new(10);
    let read = world
        .read("reader", &["cert", "shared", "token", "shared"])
        .unwrap();
    assert_eq!(&*read.caller.name(), "reader");
    let names: Vec<_> = read.secrets.keys().map(|name| &**name).collect();
    assert_eq!(names, ["cert", "shared", "token"]);

    let shared = &read.secrets["shared"];
    assert_eq!(
        (
            shared.secret_type,
            shared.size,
            shared.shared,
            shared.user_defined,
            shared.valid_for
        ),
        ("symmetric-key", 128, true, false, 0)
    );
    assert_eq!(shared.private().map(<[u8]>::len), Some(16));
    assert_eq!((shared.public(), shared.certificate()), (shared.private(), None));

    let cert = &read.secrets["cert"];
    assert_eq!(
        (
            cert.secret_type,
            cert.size,
            cert.shared,
            cert.user_defined,
            cert.valid_for
        ),
        ("cert-ecdsa", 256, true, false, 365)
    );
    let private = PrivateKey::from_pkcs8(cert.private().unwrap()).unwrap();
    assert_eq!(cert.public(), Some(&**private.public()));
    assert!(cert.certificate().is_some());

    let token = &read.secrets["token"];
    assert_eq!((token.secret_type, token.user_defined), ("plain", true));
    assert_eq!(
        (token.private(), token.public(), token.certificate()),
        (None, None, None)
    );
}

#[test]
fn names_to_read_have_to_be_given() {
    let world = World::new(11);
    assert_eq!(
        refusal(world.read("reader", &[])),
        (
            RefusalKind::Malformed,
            "invalid query: endpoint requires at least one query parameter".into()
        )
    );
    assert_eq!(
        refusal(world.read("reader", &["shared", ""])),
        (
            RefusalKind::Malformed,
            "malformed query string: empty query parameter".into()
        )
    );
}

#[test]
fn values_are_written_together_and_logged_one_by_one() {
    let mut world = World::new(12);
    let (certificate, private) = certificate_of(&TestDice::new(5));
    let written = world
        .write(
            "admin",
            &[
                ("token", key(b"hello")),
                ("key", key(&[7; 16])),
                ("userCert", uploaded(&certificate, Some(private.pkcs8().expose()))),
            ],
        )
        .unwrap();
    assert_eq!(&*written.caller.name(), "admin");
    assert_eq!(
        written.warnings.len(),
        1,
        "an ECDSA key where cert-rsa is defined"
    );
    assert!(written.warnings[0].contains("userCert"), "{:?}", written.warnings);
    assert_eq!(world.value("reader", "token"), b"hello");
    assert_eq!(world.value("reader", "key"), [7; 16]);
    let read = world.read("reader", &["userCert"]).unwrap();
    let shown = &read.secrets["userCert"];
    assert_eq!(shown.certificate(), Some(&certificate[..]));
    assert_eq!(shown.private(), Some(private.pkcs8().expose()));
    assert_eq!(shown.public(), Some(&**private.public()));
    assert_eq!(
        world.log()[1..],
        [
            r#"{"update":"Secret set","user":"admin","secret":"key","type":"symmetric-key"}"#,
            r#"{"update":"Secret set","user":"admin","secret":"token","type":"plain"}"#,
            r#"{"update":"Secret set","user":"admin","secret":"userCert","type":"cert-rsa"}"#,
        ]
    );
    assert_eq!(world.env("t", "TOKEN"), "hello");
    world.check_restart();
}

#[test]
fn one_bad_value_and_nothing_is_written() {
    let mut world = World::new(13);
    for bad in [
        [("token", key(b"good")), ("key", key(b"short"))],
        [("token", key(b"good")), ("shared", key(&[0; 16]))],
        [("token", key(b"good")), ("nope", key(b""))],
    ] {
        assert_eq!(refusal(world.write("admin", &bad)).0, RefusalKind::Invalid);
    }
    assert!(world.value("reader", "token").is_empty());
    assert_eq!(world.log().len(), 1);
    // Nothing to write is no error and no entry.
    assert!(world.write("admin", &[]).is_ok());
    assert_eq!(world.log().len(), 1);
}

#[test]
fn a_value_that_does_not_fit_is_refused_by_name() {
    let mut world = World::new(14);
    let (certificate, private) = certificate_of(&TestDice::new(5));
    let (_, other) = certificate_of(&TestDice::new(6));
    let size = |found: usize| {
        invalid(&format!(
            "parsing new secrets: declared size and actual size don't match: key (expected 16 bytes, found {found})"
        ))
    };
    for (bytes, found) in [(&b"short"[..], 5), (&[0; 17], 17), (b"", 0)] {
        assert_eq!(refusal(world.write("admin", &[("key", key(bytes))])), size(found));
    }
    assert_eq!(
        refusal(world.write("admin", &[("key", Upload::default())])),
        size(0)
    );
    assert_eq!(
        refusal(world.write("admin", &[("shared", key(&[0; 16]))])),
        invalid("parsing new secrets: secret shared is not writeable")
    );
    assert_eq!(
        refusal(world.write("admin", &[("nope", key(b"x"))])),
        invalid("parsing new secrets: the manifest does not define a secret nope")
    );
    for name in ["token", "key"] {
        let (_, message) = refusal(world.write("admin", &[(name, uploaded(&certificate, None))]));
        assert!(
            message.contains(&format!("secret {name} is of type")),
            "{message}"
        );
        assert!(message.contains("expected Key alone"), "{message}");
    }
    let with_key = Upload {
        key: Some(SecretBytes::copy_from(b"x")),
        ..uploaded(&certificate, None)
    };
    for (upload, part) in [
        (with_key, "found Key"),
        (Upload::default(), "expected Cert, found none"),
        (
            uploaded(b"", Some(private.pkcs8().expose())),
            "expected Cert, found none",
        ),
        (
            uploaded(b"no DER", None),
            "Cert of secret userCert: expected an X.509 certificate",
        ),
        (
            uploaded(&certificate[..50], None),
            "Cert of secret userCert: expected an X.509 certificate",
        ),
        (
            uploaded(&certificate, Some(b"no DER")),
            "Private of secret userCert: not a private key",
        ),
        (
            uploaded(&certificate, Some(other.pkcs8().expose())),
            "Private of secret userCert is not the key of its Cert",
        ),
    ] {
        let (kind, message) = refusal(world.write("admin", &[("userCert", upload)]));
        assert_eq!(kind, RefusalKind::Invalid);
        assert!(
            message.starts_with("parsing new secrets: ") && message.contains(part),
            "{message}"
        );
    }
    assert_eq!(world.log().len(), 1);
}

#[test]
fn private_keys_are_taken_in_three_forms_and_kept_in_one() {
    // What follows the algorithm in PKCS#8 is PKCS#1 or SEC1.
    fn inner(pkcs8: &[u8]) -> Vec<u8> {
        use der::{Decode as _, asn1::OctetStringRef};
        let mut reader = der::SliceReader::new(pkcs8).unwrap();
        use der::Reader as _;
        reader
            .sequence(|fields| {
                u8::decode(fields)?;
                fields.tlv_bytes()?;
                let key = <&OctetStringRef>::decode(fields)?.as_bytes().to_vec();
                while !fields.is_finished() {
                    fields.tlv_bytes()?;
                }
                Ok::<_, der::Error>(key)
            })
            .unwrap()
    }
    let mut world = World::new(15);
    let recorded = include_str!("../golden/pki/certRsa.pem");
    let blocks: Vec<&str> = recorded.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let certificate = der_of(blocks[0]);
    let private = blocks.get(1).map(|pem| der_of(pem));
    let mut tried = 0;
    if let Some(pkcs8) = private {
        for form in [pkcs8.clone(), inner(&pkcs8)] {
            let written = world
                .write("admin", &[("userCert", uploaded(&certificate, Some(&form)))])
                .unwrap();
            assert!(written.warnings.is_empty(), "an RSA key is what is defined");
            let read = world.read("reader", &["userCert"]).unwrap();
            assert_eq!(read.secrets["userCert"].private(), Some(&pkcs8[..]));
            tried += 1;
        }
    }
    // SEC1 as OpenSSL writes it names its curve.
    let (certificate, private) = certificate_of(&TestDice::new(5));
    let scalar_only = inner(private.pkcs8().expose());
    assert!(
        PrivateKey::from_any_der(&scalar_only).is_err(),
        "a curve without a name is no key"
    );
    let oid = [
        0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    let mut sec1 = vec![0x30, 0];
    sec1.extend([0x02, 0x01, 0x01, 0x04, 0x20]);
    sec1.extend(&scalar_only[7..39]);
    sec1.extend(oid);
    sec1[1] = (sec1.len() - 2) as u8;
    world
        .write("admin", &[("userCert", uploaded(&certificate, Some(&sec1)))])
        .unwrap();
    let read = world.read("reader", &["userCert"]).unwrap();
    assert_eq!(read.secrets["userCert"].private(), Some(private.pkcs8().expose()));
    assert_eq!(tried, 2);
}

#[test]
fn a_certificate_may_come_without_its_key() {
    let mut world = World::new(16);
    let (certificate, private) = certificate_of(&TestDice::new(5));
    world
        .write("admin", &[("userCert", uploaded(&certificate, Some(b"")))])
        .unwrap();
    let read = world.read("reader", &["userCert"]).unwrap();
    assert_eq!(read.secrets["userCert"].private(), None);
    assert_eq!(read.secrets["userCert"].public(), Some(&**private.public()));
}

#[test]
fn an_empty_plain_secret_is_unset() {
    let mut world = World::new(17);
    world.write("admin", &[("token", key(b"one"))]).unwrap();
    assert_eq!(world.env("t", "TOKEN"), "one");
    let before = world
        .prepare_activation("t", UUID)
        .unwrap_or_else(|r| panic!("{r}"));
    world.write("admin", &[("token", key(b""))]).unwrap();
    assert!(world.value("reader", "token").is_empty());
    assert_eq!(world.state.secret_version("token"), 0);
    let (kind, message) = refusal(world.activate("t", UUID));
    assert!(
        kind == RefusalKind::Internal && message.contains("token"),
        "{message}"
    );
    let decided = marblerun_core::flow::activate::decide(&world.state, &before);
    assert!(
        matches!(decided, Ok(Verdict::Stale)),
        "prepared with the value that is gone"
    );
    assert_eq!(world.log().len(), 3);
    world.check_restart();
}

#[test]
fn a_nul_byte_is_refused_where_string_would_meet_it() {
    let mut world = World::new(18);
    let (kind, message) = refusal(world.write("admin", &[("token", key(b"a\0b"))]));
    assert_eq!(kind, RefusalKind::Invalid);
    assert!(
        message.starts_with("running manifest template dry run: in Marble t: env variable TOKEN: template "),
        "{message}"
    );
    assert!(!message.contains("a\0b"));
    assert!(world.value("reader", "token").is_empty());

    // Where nothing but hex meets it, any bytes will do.
    let hex = with(
        manifest(),
        "/Marbles/t/Parameters/Env/TOKEN",
        json!("{{ hex .Secrets.token }}"),
    );
    let mut world = World::with(18, &hex);
    world.write("admin", &[("token", key(b"a\0b"))]).unwrap();
    assert_eq!(world.env("t", "TOKEN"), "610062");
}

#[test]
fn templates_are_rehearsed_with_what_they_would_be_given() {
    let secrets = json!({
        "shared": { "Type": "symmetric-key", "Size": 128, "Shared": true },
        "private": { "Type": "symmetric-key", "Size": 128 },
        "rsa": { "Type": "cert-rsa", "Size": 8192 },
        "cert": { "Type": "cert-ecdsa", "Size": 256, "Shared": true },
        "token": { "Type": "plain", "UserDefined": true },
        "other": { "Type": "plain", "UserDefined": true },
        "key": { "Type": "symmetric-key", "Size": 128, "UserDefined": true },
        "userCert": { "Type": "cert-rsa", "UserDefined": true },
    });
    let world = |template: &str| {
        let manifest = with(manifest(), "/Secrets", secrets.clone());
        let manifest = with(manifest, "/Marbles/t/Parameters/Env/TOKEN", json!(template));
        let manifest = with(manifest, "/Roles/writes/ResourceNames", json!(["token", "other"]));
        World::with(19, &manifest)
    };
    // Behind a value that is missing, behind one each activation makes anew, by a computed name.
    for template in [
        "{{ string .Secrets.other }}{{ string .Secrets.token }}",
        "{{ pem .Secrets.rsa.Private }}{{ hex .Secrets.private }}{{ base64 .MarbleRun.SealKey }}{{ string .Secrets.token }}",
        "{{ hex .Previous.Secrets.shared }}{{ pem .MarbleRun.MarbleCert.Private }}{{ string (index .Secrets \"token\") }}",
        "{{ if eq (string .Secrets.token) \"x\" }}{{ end }}",
    ] {
        let mut world = world(template);
        let (_, message) = refusal(world.write("admin", &[("token", key(b"\0"))]));
        assert!(message.contains("env variable TOKEN"), "{template}: {message}");
        world.write("admin", &[("token", key(b"fine"))]).unwrap();
        world.write("admin", &[("token", key(b""))]).unwrap();
    }
    // Nothing is refused that activations do not meet.
    for template in [
        "{{ if .Secrets.token.Shared }}{{ string .Secrets.token }}{{ end }}",
        "{{ string .Secrets.other }}{{ hex .Secrets.token }}",
    ] {
        world(template).write("admin", &[("token", key(b"\0"))]).unwrap();
    }
    // What the new value is too short for is found too.
    let mut world = world("{{ hex (slice .Secrets.token.Private 0 8) }}");
    assert!(
        refusal(world.write("admin", &[("token", key(b"1234567"))]))
            .1
            .contains("in Marble t")
    );
    world.write("admin", &[("token", key(b"12345678"))]).unwrap();
    assert_eq!(world.env("t", "TOKEN"), hex::encode("12345678"));
}

#[test]
fn writers_do_not_wait_for_each_other() {
    let mut world = World::new(20);
    let prepare = |world: &World, value: &[u8]| {
        let uploads = [("token".into(), key(value))].into();
        write_secrets::prepare(&world.state, Some(&certificate("admin")), &uploads)
            .unwrap_or_else(|refusal| panic!("{refusal}"))
    };
    let (first, second) = (prepare(&world, b"first"), prepare(&world, b"second"));
    for prepared in [&first, &second] {
        let verdict = write_secrets::decide(&world.state, prepared, &world.ambient());
        world.settle(verdict).unwrap();
    }
    assert_eq!(world.value("reader", "token"), b"second");
    // But what was prepared before an update of the manifest is.
    let before = prepare(&world, b"third");
    applied(world.raise("admin", &[("p", 4)]));
    let verdict = write_secrets::decide(&world.state, &before, &world.ambient());
    assert!(matches!(verdict, Ok(Verdict::Stale)));
}

#[test]
fn keys_match_whatever_form_their_public_half_has() {
    let dice = TestDice::new(21);
    let key = dice.generate_key(KeyKind::P256).unwrap();
    let other = dice.generate_key(KeyKind::P256).unwrap();
    assert!(key.matches(key.public()) && !key.matches(other.public()));
    assert!(!key.matches(b"") && !key.matches(&key.public()[1..]));
    // Compressed: 02 or 03 and the x coordinate.
    let point = &key.public()[key.public().len() - 65..];
    let mut compressed = key.public()[..key.public().len() - 65 - 3].to_vec();
    compressed.extend([0x03, 34, 0x00, 2 + (point[64] & 1)]);
    compressed.extend(&point[1..33]);
    compressed[1] = (compressed.len() - 2) as u8;
    assert!(key.matches(&compressed));
    let flip = compressed.len() - 33;
    compressed[flip] ^= 1;
    assert!(!key.matches(&compressed), "the other point with this x");
    assert!(!dice.generate_key(KeyKind::Ed25519).unwrap().matches(key.public()));
}

#[test]
fn values_shared_with_readers_are_those_of_their_snapshot() {
    let mut world = World::new(22);
    world.write("admin", &[("token", key(b"old"))]).unwrap();
    let snapshot = Arc::new(world.state.clone());
    world.write("admin", &[("token", key(b"new"))]).unwrap();
    let read = read_secrets::read(&snapshot, Some(&certificate("reader")), &["token".into()]);
    assert_eq!(
        read.unwrap_or_else(|r| panic!("{r}")).secrets["token"].private(),
        Some(&b"old"[..])
    );
    assert_eq!(world.value("reader", "token"), b"new");
}
