//! The recorded run of the original system, as far as users change something: same refusals, same update log.

use marblerun_core::flow::update_manifest::pending;
use marblerun_core::refusal::RefusalKind;
use marblerun_core::secret::upload::Upload;
use serde_json::{Value, json};

use crate::support::*;

const MANIFEST: &[u8] = include_bytes!("../golden/single-manifest.json");

/// The certificate of a user of the recorded manifest, DER.
fn leaf(name: &str) -> Vec<u8> {
    let manifest: Value = serde_json::from_slice(MANIFEST).unwrap();
    der_of(manifest["Users"][name]["Certificate"].as_str().unwrap())
}

#[test]
fn the_recorded_run_leads_to_the_recorded_log() {
    let mut world = World::with_raw(90, MANIFEST);
    let (admin, alice, bob) = (leaf("admin"), leaf("alice"), leaf("bob"));
    let user_cert = Upload {
        certificate: Some(certificate("nobody").into()),
        ..Upload::default()
    };
    let values = [
        ("token", key(b"hello")),
        ("userKey", key(&(0..16).collect::<Vec<u8>>())),
        ("userCert", user_cert),
    ];
    for (uploads, start) in [
        (
            &[("userKey", key(b"short"))][..],
            "parsing new secrets: declared size and actual size don't match: userKey",
        ),
        (
            &[("shared", key(&[b'0'; 16]))],
            "parsing new secrets: secret shared is not writeable",
        ),
        (&[("nope", key(b""))], "parsing new secrets: "),
        (
            &[("token", key(b"a\0b"))],
            "running manifest template dry run: in Marble backend: env variable TOKEN: ",
        ),
    ] {
        let (kind, message) = refusal(world.write_as(&admin, uploads));
        assert!(
            kind == RefusalKind::Invalid && message.starts_with(start),
            "{message}"
        );
    }
    assert_eq!(
        refusal(world.write_as(&alice, &[("token", key(b"x"))])).1,
        "user alice is not allowed to update secret: token"
    );
    world.write_as(&admin, &values).unwrap();

    for (who, raw, message) in [
        (
            &alice,
            r#"{"Packages": {"frontend": {"SecurityVersion": 5}}}"#,
            "user alice is not allowed to update one or more packages of [frontend]",
        ),
        (
            &admin,
            r#"{"Packages": {"frontend": {"SecurityVersion": 2}}}"#,
            "checking update manifest: update manifest tries to downgrade SecurityVersion of the original manifest",
        ),
        (
            &admin,
            r#"{"Packages": {"nope": {"SecurityVersion": 5}}}"#,
            "user admin is not allowed to update one or more packages of [nope]",
        ),
    ] {
        let refused = refusal(world.propose_as(who, raw.as_bytes())).1;
        assert!(refused.starts_with(message), "{refused}");
    }
    applied(world.propose_as(&admin, br#"{"Packages": {"frontend": {"SecurityVersion": 5}}}"#));

    let mut next: Value = serde_json::from_slice(MANIFEST).unwrap();
    next["Config"]["RotateRootSecret"] = json!(true);
    let next = next.to_string();
    assert_eq!(
        refusal(world.propose_as(&admin, next.as_bytes())).1,
        "user admin is not allowed to update the complete manifest"
    );
    assert_eq!(
        waiting(world.propose_as(&alice, next.as_bytes())),
        (1, vec!["bob".into()])
    );
    let fingerprint = pending(&world.state)
        .unwrap_or_else(|r| panic!("{r}"))
        .fingerprint;
    world.cancel_as(&bob).unwrap();
    waiting(world.propose_as(&alice, next.as_bytes()));
    let done = applied(world.acknowledge_as(&bob, next.as_bytes()));
    assert!(done.recovery_secrets.is_empty());
    assert_eq!(
        done.message().split(". SecurityVersion").next().unwrap(),
        "All users have acknowledged the update manifest. Update successfully applied"
    );

    let expected = [
        r#"{"update":"Initial manifest set"}"#,
        r#"{"update":"Secret set","user":"admin","secret":"token","type":"plain"}"#,
        r#"{"update":"Secret set","user":"admin","secret":"userCert","type":"cert-rsa"}"#,
        r#"{"update":"Secret set","user":"admin","secret":"userKey","type":"symmetric-key"}"#,
        r#"{"update":"SecurityVersion increased","user":"admin","package":"frontend","new version":5}"#,
        r#"{"update":"Complete Manifest update initiated by user. Waiting for acknowledgments to apply the update","user":"alice","missingAcknowledgments":1,"missingUsers":["bob"],OURS"manifestFingerprint":"FINGERPRINT"}"#,
        r#"{"update":"Complete Manifest update cancelled by user","user":"bob","manifestFingerprint":"FINGERPRINT"}"#,
        r#"{"update":"Complete Manifest update initiated by user. Waiting for acknowledgments to apply the update","user":"alice","missingAcknowledgments":1,"missingUsers":["bob"],OURS"manifestFingerprint":"FINGERPRINT"}"#,
        r#"{"update":"Complete Manifest update acknowledged by user","user":"bob","missingAcknowledgments":0,"missingUsers":[],"manifestFingerprint":"FINGERPRINT"}"#,
        r#"{"update":"Complete Manifest updated","manifestFingerprint":"FINGERPRINT"}"#,
    ]
    .map(|line| line.replace("FINGERPRINT", &fingerprint))
    // The recorded entries have no such field (`docs/compatibility.md`).
    .map(|line| line.replace("OURS", r#""loweredSecurityVersions":["frontend from 5 to 3"],"#));
    assert_eq!(world.log(), expected);
    world.check_restart();
}
