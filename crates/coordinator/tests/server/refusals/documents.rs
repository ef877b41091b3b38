//! Collateral of SGX and TDX from a service: what is wrong with it is told to the log, what it says of the evidence to
//! the marble.

use std::sync::{Arc, LazyLock};

use marblerun_attestation::fakes::{IntelPlatform, Key};
use marblerun_attestation::reason::{CertificateRole as Role, Dated, ListName};
use marblerun_attestation::{Reason, Step, UnixSeconds};
use marblerun_collateral::Document;
use marblerun_collateral::fakes::Behaviour;
use serde_json::json;

use super::door::{Expected, Row, SOME_TIME, any, told, withheld};
use super::make::{enclave, other_p256, sgx, td};
use super::served::Case;

/// Long ago, and far ahead.
const PAST: UnixSeconds = UnixSeconds(1_700_000_000);
const FUTURE: UnixSeconds = UnixSeconds(2_500_000_000);

/// One key: list and certificate are made in answer to two requests.
static OTHER_CA: LazyLock<Arc<Key>> = LazyLock::new(other_p256);

pub fn cases() -> Vec<Case> {
    let mut cases = certificates();
    cases.extend(lists());
    cases.extend(signed_documents());
    cases.extend(dates());
    cases.extend(said_of_the_evidence());
    cases
}

/// The reason is found when the collateral comes, or when it is held against the evidence: the log has it either way.
fn intel(
    name: &'static str,
    step: Step,
    reason: Reason,
    change: impl Fn(&mut IntelPlatform) + Send + Sync + Copy + 'static,
) -> Case {
    Case::new(withheld(name, enclave(|_| {}), step, reason), move |service| {
        service.change_intel(change);
    })
}

fn certificates() -> Vec<Case> {
    let collateral = Step::Collateral;
    let certificate = Role::TcbInfoSigner;
    vec![
        Case::new(
            withheld(
                "TCB information under another root",
                enclave(|_| {}),
                collateral,
                Reason::AnotherRoot {
                    certificate: Role::IntelSgxRoot,
                    found: any(),
                    expected: "CN=Software TEE SGX Root CA with key …".to_owned(),
                },
            ),
            |service| service.behave_for(Document::TcbInfo, Behaviour::ForeignIssuerChain),
        ),
        intel(
            "a signer of TCB information with another name",
            collateral,
            Reason::AnotherSubject {
                certificate,
                found: "Intel SGX PCK Platform CA".to_owned(),
                expected: "Intel SGX TCB Signing",
            },
            |platform| platform.signer.subject = "Intel SGX PCK Platform CA".to_owned(),
        ),
        intel(
            "a signer of TCB information that is an authority",
            collateral,
            Reason::UnexpectedAuthority { certificate },
            |platform| platform.signer.authority = true,
        ),
        intel(
            "a signer of TCB information that was revoked",
            collateral,
            Reason::Revoked {
                certificate,
                serial: "04".to_owned(),
                list: ListName::IntelSgxRoot,
            },
            |platform| platform.root_list.revoked = vec![vec![4]],
        ),
        intel(
            "a signer of TCB information that expired",
            collateral,
            Reason::Expired {
                dated: Dated::Certificate(certificate),
                until: PAST,
                now: SOME_TIME,
            },
            |platform| platform.signer.not_after = PAST,
        ),
    ]
}

fn lists() -> Vec<Case> {
    let collateral = Step::Collateral;
    let malformed = Reason::ListMalformed {
        list: ListName::Pck,
        why: "no nextUpdate".to_owned(),
    };
    let without_end = Row::new(
        "a list without end",
        enclave(|_| {}),
        Expected::Withheld(malformed.to_string()),
    );
    vec![
        Case::new(without_end.reason(malformed), |service| {
            service.change_intel(|platform| platform.pck_list.next_update = None);
        }),
        intel(
            "a list of another issuer",
            collateral,
            Reason::ListIssuer {
                list: ListName::Pck,
                found: "CN=Intel SGX PCK Processor CA".to_owned(),
                expected: "CN=Intel SGX PCK Platform CA".to_owned(),
            },
            |platform| platform.pck_list.issuer = "Intel SGX PCK Processor CA".to_owned(),
        ),
        intel(
            "a list signed with another algorithm",
            collateral,
            Reason::ListAlgorithm {
                list: ListName::IntelSgxRoot,
                found: "1.2.840.10045.4.3.3".to_owned(),
                expected: "1.2.840.10045.4.3.2".to_owned(),
            },
            |platform| platform.root_list.algorithm = Some("1.2.840.10045.4.3.3"),
        ),
        intel(
            "a list that the root did not sign",
            collateral,
            Reason::ListSignature {
                list: ListName::IntelSgxRoot,
                issuer: Role::IntelSgxRoot,
            },
            |platform| platform.root_key = other_p256(),
        ),
        // The list is good under the CA it comes with; that one is not the platform's.
        intel(
            "the list of a CA of the same name",
            collateral,
            Reason::ListSignature {
                list: ListName::Pck,
                issuer: Role::PckCa,
            },
            |platform| platform.ca_key = Arc::clone(&OTHER_CA),
        ),
        intel(
            "the list of the other CA",
            Step::Platform,
            Reason::AnotherAuthority {
                found: "CN=Intel SGX PCK Processor CA".to_owned(),
                expected: "platform",
            },
            |platform| {
                platform.ca.subject = "Intel SGX PCK Processor CA".to_owned();
                platform.pck_list.issuer = platform.ca.subject.clone();
            },
        ),
        intel(
            "a list of the future",
            collateral,
            Reason::NotYetValid {
                dated: Dated::List(ListName::Pck),
                from: FUTURE,
                now: SOME_TIME,
            },
            |platform| platform.pck_list.this_update = FUTURE,
        ),
    ]
}

fn signed_documents() -> Vec<Case> {
    let flipped = |name, document, signed, signer| {
        let reason = Reason::CollateralSignature { signed, signer };
        Case::new(
            withheld(name, enclave(|_| {}), Step::Collateral, reason),
            move |service| {
                // The bit in the middle of the document, which is flipped, lies in this text.
                service.change_intel(|platform| {
                    platform.tcb_info["zero"] = json!("0".repeat(30_000));
                    platform.qe_identity["zero"] = json!("0".repeat(30_000));
                });
                service.behave_for(document, Behaviour::Flipped);
            },
        )
    };
    let kind = |what, found: &str, expected| Reason::CollateralKind {
        what,
        found: found.to_owned(),
        expected,
    };
    vec![
        flipped(
            "TCB information that was changed",
            Document::TcbInfo,
            Dated::TcbInfo,
            Role::TcbInfoSigner,
        ),
        flipped(
            "a QE identity that was changed",
            Document::QeIdentity,
            Dated::QeIdentity,
            Role::QeIdentitySigner,
        ),
        intel(
            "TCB information of another version",
            Step::Platform,
            kind(Dated::TcbInfo, "\"SGX\" of version 2", "SGX of version 3"),
            |platform| platform.tcb_info["version"] = json!(2),
        ),
        intel(
            "the identity of another enclave",
            Step::Platform,
            kind(Dated::QeIdentity, "\"QVE\" of version 2", "QE of version 2"),
            |platform| platform.qe_identity["id"] = json!("QVE"),
        ),
        intel(
            "TCB information of another platform",
            Step::Platform,
            Reason::Fmspc {
                found: "506070000001".to_owned(),
                expected: "506070000000".to_owned(),
            },
            |platform| platform.tcb_info["fmspc"] = json!("506070000001"),
        ),
        intel(
            "TCB information for another provisioning enclave",
            Step::Platform,
            Reason::PceId {
                found: "0001".to_owned(),
                expected: "0000".to_owned(),
            },
            |platform| platform.tcb_info["pceId"] = json!("0001"),
        ),
        intel(
            "a QE identity that the second implementation does not accept",
            Step::SecondOpinion,
            Reason::SecondOpinion { why: any() },
            |platform| platform.qe_identity["tcbLevels"][0]["tcbStatus"] = json!("SWHardeningNeeded"),
        ),
    ]
}

fn dates() -> Vec<Case> {
    let out_of_date = |name, change: fn(&mut IntelPlatform)| {
        let text = format!("collateral from pccs is out of date since {PAST}");
        Case::new(
            Row::new(name, enclave(|_| {}), Expected::Withheld(text)),
            move |service| service.change_intel(change),
        )
    };
    let early = |dated| Reason::NotYetValid {
        dated,
        from: FUTURE,
        now: SOME_TIME,
    };
    vec![
        out_of_date("TCB information that is over", |platform| {
            platform.tcb_info["nextUpdate"] = json!(PAST.to_string());
        }),
        out_of_date("a QE identity that is over", |platform| {
            platform.qe_identity["nextUpdate"] = json!(PAST.to_string());
        }),
        out_of_date("a list that is over", |platform| {
            platform.root_list.next_update = Some(PAST);
        }),
        intel(
            "TCB information of the future",
            Step::Collateral,
            early(Dated::TcbInfo),
            |platform| platform.tcb_info["issueDate"] = json!(FUTURE.to_string()),
        ),
        intel(
            "a QE identity of the future",
            Step::Collateral,
            early(Dated::QeIdentity),
            |platform| platform.qe_identity["issueDate"] = json!(FUTURE.to_string()),
        ),
    ]
}

/// Collateral that is good, and evidence that is not by it.
fn said_of_the_evidence() -> Vec<Case> {
    let revoked = |name, certificate, serial: u8, list, change: fn(&mut IntelPlatform)| {
        let serial = hex::encode([serial]);
        let reason = Reason::Revoked {
            certificate,
            serial,
            list,
        };
        Case::new(
            told(name, enclave(|_| {}), Step::Collateral, reason),
            move |service| service.change_intel(change),
        )
    };
    let under_debug = Reason::QuotingEnclave {
        field: "DEBUG",
        found: "on".to_owned(),
        expected: "off".to_owned(),
    };
    let no_identity = Reason::NoModuleIdentity { version: 0 };
    vec![
        revoked(
            "a platform that was revoked",
            Role::Pck,
            3,
            ListName::Pck,
            |platform| platform.pck_list.revoked = vec![vec![3]],
        ),
        revoked(
            "a CA that was revoked",
            Role::PckCa,
            2,
            ListName::IntelSgxRoot,
            |platform| platform.root_list.revoked = vec![vec![2]],
        ),
        Case::new(
            told(
                "a quoting enclave under debug, when its identity says nothing of that",
                sgx(|_, quote| quote.quoting_enclave.attributes[0] |= 2),
                Step::QuotingEnclave,
                under_debug,
            ),
            |service| {
                service.change_intel(|platform| {
                    platform.qe_identity["attributesMask"] = json!("F9FFFFFFFFFFFFFF0000000000000000");
                });
            },
        ),
        Case::new(
            told(
                "a module without version, when no identity is for it",
                td(|td| td.tee_tcb_svn[1] = 0),
                Step::Guest,
                no_identity,
            ),
            |service| {
                service.change_intel(|platform| {
                    platform.tcb_info.as_object_mut().unwrap().remove("tdxModule");
                });
            },
        ),
        Case::new(
            Row::new(
                "a platform that needs hardening and does not say against what",
                enclave(|_| {}),
                Expected::Told(
                    "marble verification failed: Packages.hardened.AcceptedAdvisories: expected only \
                     INTEL-SA-00001, found no list of advisories"
                        .to_owned(),
                ),
            )
            .of("hardened"),
            |service| {
                service.change_intel(|platform| {
                    platform.tcb_info["tcbLevels"][0]["tcbStatus"] = json!("SWHardeningNeeded");
                });
            },
        ),
        Case::new(
            Row::new("collateral as it should be", enclave(|_| {}), Expected::Admitted),
            |_| {},
        ),
        Case::new(
            Row::new(
                "a service that fails",
                td(|_| {}),
                Expected::Withheld("PCCS: status 500 when asked for the …".to_owned()),
            ),
            |service| service.behave(&Behaviour::Status(500)),
        ),
    ]
}
