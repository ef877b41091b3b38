//! Collateral of SEV-SNP from a service, likewise.

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::fakes::SnpPlatform;
use marblerun_attestation::reason::{CertificateRole as Role, Dated, ListName};
use marblerun_attestation::{Reason, Step, UnixSeconds};
use marblerun_collateral::Document;
use marblerun_collateral::fakes::Behaviour;

use super::door::{Expected, Row, SOME_TIME, any, told, withheld};
use super::make::{guest, guest_on, unknown_critical};
use super::served::Case;

const PAST: UnixSeconds = UnixSeconds(1_700_000_000);

fn amd(
    name: &'static str,
    step: Step,
    reason: Reason,
    change: impl Fn(&mut SnpPlatform) + Send + Sync + Copy + 'static,
) -> Case {
    Case::new(withheld(name, guest(|_| {}), step, reason), move |service| {
        service.change_amd(change);
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = certificates();
    cases.extend(lists());
    cases.extend(endorsement_keys());
    cases.push(Case::new(
        Row::new("collateral as it should be", guest(|_| {}), Expected::Admitted),
        |_| {},
    ));
    cases
}

fn certificates() -> Vec<Case> {
    let certificate = Role::Ask;
    vec![
        amd(
            "another ARK",
            Step::Chain,
            Reason::AnotherRoot {
                certificate: Role::Ark,
                found: "CN=ARK-Milan with key …".to_owned(),
                expected: "CN=ARK-Milan with key …".to_owned(),
            },
            |platform| {
                std::mem::swap(&mut platform.ark_key, &mut platform.intermediate_key);
                platform.ark_as_issued = None;
            },
        ),
        amd(
            "an ASK that expired",
            Step::Chain,
            Reason::Expired {
                dated: Dated::Certificate(certificate),
                until: PAST,
                now: SOME_TIME,
            },
            |platform| platform.intermediate.not_after = PAST,
        ),
        amd(
            "an ASK that is no authority",
            Step::Chain,
            Reason::NotAnAuthority { certificate },
            |platform| platform.intermediate.authority = false,
        ),
        amd(
            "an ASK with an unknown critical extension",
            Step::Chain,
            Reason::CriticalExtension {
                certificate,
                extension: "1.2.3.4".to_owned(),
            },
            |platform| platform.intermediate.extensions.push(unknown_critical()),
        ),
        Case::new(
            told(
                "an ASK that was revoked",
                guest(|_| {}),
                Step::Collateral,
                Reason::Revoked {
                    certificate,
                    serial: "02".to_owned(),
                    list: ListName::Amd,
                },
            ),
            |service| service.change_amd(|platform| platform.list.revoked = vec![vec![2]]),
        ),
    ]
}

fn lists() -> Vec<Case> {
    vec![
        amd(
            "a list of another product line",
            Step::Collateral,
            Reason::ListIssuer {
                list: ListName::Amd,
                found: "CN=ARK-Genoa".to_owned(),
                expected: "CN=ARK-Milan".to_owned(),
            },
            |platform| platform.list.issuer = "ARK-Genoa".to_owned(),
        ),
        Case::new(
            Row::new(
                "a list that is over",
                guest(|_| {}),
                Expected::Withheld(format!("collateral from kds is out of date since {PAST}")),
            ),
            |service| service.change_amd(|platform| platform.list.next_update = Some(PAST)),
        ),
    ]
}

fn endorsement_keys() -> Vec<Case> {
    let certificate = Role::Vcek;
    let text = |text: &str| Expected::Withheld(text.to_owned());
    vec![
        amd(
            "the VCEK of another chip",
            Step::Platform,
            Reason::ChipId {
                found: "c1".repeat(64),
                expected: "c2".repeat(64),
            },
            |platform| platform.hardware_id = Some(vec![0xC2; 64]),
        ),
        amd(
            "a VCEK for newer firmware",
            Step::Platform,
            Reason::EndorsedTcb {
                component: "SNP",
                found: 8,
                expected: 9,
                certificate,
            },
            |platform| platform.tcb.snp = 9,
        ),
        amd(
            "a VCEK for another product line",
            Step::Platform,
            Reason::AnotherProduct {
                found: "Genoa".to_owned(),
                expected: "Milan",
                certificate,
            },
            |platform| platform.product_name = "Genoa-B0".to_owned(),
        ),
        Case::new(
            Row::new(
                "a page in the place of the VCEK",
                guest(|_| {}),
                text("KDS: the VCEK certificate cannot be read: VCEK certificate: malformed: …"),
            )
            .reason(Reason::CertificateMalformed {
                certificate,
                why: any(),
            }),
            |service| service.behave_for(Document::Vcek, Behaviour::Garbage),
        ),
        Case::new(
            Row::new(
                "a chip that the service does not know",
                guest(|_| {}),
                text("KDS has no VCEK certificate for this platform"),
            ),
            |service| service.behave_for(Document::Vcek, Behaviour::Status(404)),
        ),
        Case::new(
            Row::without_collateral(
                "a VLEK, which nobody publishes",
                guest_on(SnpProduct::Milan, SnpSigningKey::Vlek, |_| {}),
                "a VLEK certificate cannot be fetched: expected it behind the report, found none",
            ),
            |_| {},
        ),
    ]
}
