//! What can be wrong with certificates and collateral, and where verification has to say so.

use marblerun_attestation::claims::SnpSigningKey;
use marblerun_attestation::collateral::DcapCollateralParts;
use marblerun_attestation::fakes::{CertificateFields, FROM, IntelPlatform, ListFields, SnpPlatform, UNTIL};
use marblerun_attestation::{Step, UnixSeconds};
use serde_json::{Value, json};

use super::NOW;

/// One thing that is wrong.
pub struct Condition<P> {
    pub name: String,
    pub change: Box<dyn Fn(&mut P)>,
    pub now: UnixSeconds,
    pub expected: Refusal,
}

/// Where it has to be found, and what has to be said.
pub struct Refusal {
    pub step: Step,
    pub words: Vec<String>,
}

/// What is wrong with something that has a period of validity.
#[derive(Clone, Copy)]
pub enum Period {
    Expired,
    NotYetValid,
}

impl Period {
    pub const ALL: [Self; 2] = [Self::Expired, Self::NotYetValid];

    fn word(self) -> &'static str {
        match self {
            Self::Expired => "found expired at",
            Self::NotYetValid => "found not valid before",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
        }
    }

    fn of_certificate(self, fields: &mut CertificateFields) {
        match self {
            Self::Expired => fields.not_after = UnixSeconds(NOW.0 - 1),
            Self::NotYetValid => fields.not_before = UnixSeconds(NOW.0 + 1),
        }
    }

    fn of_list(self, fields: &mut ListFields) {
        match self {
            Self::Expired => fields.next_update = Some(UnixSeconds(NOW.0 - 1)),
            Self::NotYetValid => fields.this_update = UnixSeconds(NOW.0 + 1),
        }
    }

    fn of_json(self, document: &mut Value) {
        match self {
            Self::Expired => document["nextUpdate"] = json!(UnixSeconds(NOW.0 - 1).to_string()),
            Self::NotYetValid => document["issueDate"] = json!(UnixSeconds(NOW.0 + 1).to_string()),
        }
    }
}

fn condition<P>(name: String, step: Step, words: &[&str], change: impl Fn(&mut P) + 'static) -> Condition<P> {
    Condition {
        name,
        change: Box::new(change),
        now: NOW,
        expected: Refusal {
            step,
            words: words.iter().map(ToString::to_string).collect(),
        },
    }
}

/// Judged at another time than [`NOW`]: nothing is in force then.
fn at_another_time<P>() -> [Condition<P>; 2] {
    [
        (UnixSeconds(FROM.0 - 1), Period::NotYetValid),
        (UnixSeconds(UNTIL.0 + 1), Period::Expired),
    ]
    .map(|(now, period)| Condition {
        now,
        ..condition(
            format!("everything {}", period.name()),
            Step::Chain,
            &[period.word()],
            |_| (),
        )
    })
}

/// Everything that is wrong with an SGX or TDX platform or with its collateral.
pub fn intel() -> Vec<Condition<IntelPlatform>> {
    type Change = fn(&mut IntelPlatform);
    type Certificate = fn(&mut IntelPlatform) -> &mut CertificateFields;
    type List = fn(&mut IntelPlatform) -> &mut ListFields;
    type Document = fn(&mut IntelPlatform) -> &mut Value;
    let mut all: Vec<Condition<IntelPlatform>> = at_another_time().into();
    let certificates: [(&str, Step, Certificate); 3] = [
        ("PCK certificate", Step::Chain, |platform| &mut platform.pck),
        ("PCK CA certificate", Step::Chain, |platform| &mut platform.ca),
        (
            "TCB information signing certificate",
            Step::Collateral,
            |platform| &mut platform.signer,
        ),
    ];
    let lists: [(&str, List); 2] = [
        ("CRL of the Intel SGX root", |platform| &mut platform.root_list),
        ("CRL of the PCK CA", |platform| &mut platform.pck_list),
    ];
    let documents: [(&str, Document); 2] = [
        ("TCB information", |platform| &mut platform.tcb_info),
        ("QE identity", |platform| &mut platform.qe_identity),
    ];
    for period in Period::ALL {
        for (name, step, certificate) in certificates {
            all.push(condition(
                format!("{name} {}", period.name()),
                step,
                &[&format!("{name}: "), period.word()],
                move |platform| period.of_certificate(certificate(platform)),
            ));
        }
        for (name, list) in lists {
            all.push(condition(
                format!("{name} {}", period.name()),
                Step::Collateral,
                &[&format!("{name}: "), period.word()],
                move |platform| period.of_list(list(platform)),
            ));
        }
        for (name, document) in documents {
            all.push(condition(
                format!("{name} {}", period.name()),
                Step::Collateral,
                &[&format!("{name}: "), period.word()],
                move |platform| period.of_json(document(platform)),
            ));
        }
    }
    let revoked: [(&str, Change); 3] = [
        ("PCK certificate", |platform| {
            platform.pck_list.revoked = vec![platform.pck.serial.clone()];
        }),
        ("PCK CA certificate", |platform| {
            platform.root_list.revoked = vec![platform.ca.serial.clone()];
        }),
        ("TCB information signing certificate", |platform| {
            platform.root_list.revoked = vec![vec![0x7F], platform.signer.serial.clone()];
        }),
    ];
    for (name, change) in revoked {
        all.push(condition(
            format!("{name} revoked"),
            Step::Collateral,
            &[&format!("{name}: "), "expected not to be revoked"],
            change,
        ));
    }
    all
}

/// Takes a part away.
pub type Without = fn(&mut DcapCollateralParts);

/// The parts of collateral for SGX and TDX, each of which can be missing.
pub fn missing_parts() -> [(&'static str, Without); 9] {
    [
        ("pck_crl_issuer_chain", |parts| parts.pck_crl_issuer_chain.clear()),
        ("root_ca_crl", |parts| parts.root_ca_crl.clear()),
        ("pck_crl", |parts| parts.pck_crl.clear()),
        ("tcb_info_issuer_chain", |parts| {
            parts.tcb_info_issuer_chain.clear();
        }),
        ("tcb_info", |parts| parts.tcb_info.clear()),
        ("tcb_info_signature", |parts| parts.tcb_info_signature.clear()),
        ("qe_identity_issuer_chain", |parts| {
            parts.qe_identity_issuer_chain.clear();
        }),
        ("qe_identity", |parts| parts.qe_identity.clear()),
        ("qe_identity_signature", |parts| {
            parts.qe_identity_signature.clear();
        }),
    ]
}

/// Everything that is wrong with a SEV-SNP platform or with its revocation list.
pub fn amd(key: SnpSigningKey) -> Vec<Condition<SnpPlatform>> {
    let (endorsement, intermediate) = match key {
        SnpSigningKey::Vcek => ("VCEK certificate", "ASK certificate"),
        SnpSigningKey::Vlek => ("VLEK certificate", "ASVK certificate"),
    };
    let mut all: Vec<Condition<SnpPlatform>> = at_another_time().into();
    for period in Period::ALL {
        all.push(condition(
            format!("{endorsement} {}", period.name()),
            Step::Chain,
            &[&format!("{endorsement}: "), period.word()],
            move |platform: &mut SnpPlatform| period.of_certificate(&mut platform.endorsement),
        ));
        all.push(condition(
            format!("{intermediate} {}", period.name()),
            Step::Chain,
            &[&format!("{intermediate}: "), period.word()],
            move |platform: &mut SnpPlatform| period.of_certificate(&mut platform.intermediate),
        ));
        all.push(condition(
            format!("CRL {}", period.name()),
            Step::Collateral,
            &["CRL of the ARK: ", period.word()],
            move |platform: &mut SnpPlatform| period.of_list(&mut platform.list),
        ));
    }
    all.push(condition(
        format!("{intermediate} revoked"),
        Step::Collateral,
        &[&format!("{intermediate}: "), "expected not to be revoked"],
        |platform: &mut SnpPlatform| platform.list.revoked = vec![platform.intermediate.serial.clone()],
    ));
    all
}
