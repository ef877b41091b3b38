//! Reports of SEV-SNP, and what stands behind them, refused for what they are. Collateral is as it should be.

use marblerun_attestation::reason::{CertificateRole as Role, Dated};
use marblerun_attestation::{Reason, Step, UnixSeconds};

use super::door::{Row, SOME_TIME, any, some_binding, told};
use super::make::{guest, other_p256, report_bytes, unknown_critical, with_this_vcek, with_vcek};

pub fn rows() -> Vec<Row> {
    let mut rows = fields();
    rows.extend(certificates());
    rows.extend(signature_and_binding());
    rows.extend(platforms());
    rows.extend(guests());
    rows.extend(without_collateral());
    rows
}

fn fields() -> Vec<Row> {
    let fields = |name, evidence, reason| told(name, evidence, Step::Fields, reason);
    vec![
        fields(
            "bytes of the signature that are reserved",
            report_bytes(|report| report[0x2A0 + 48] = 1),
            Reason::Reserved {
                field: "upper bytes of the signature",
                found: format!("01{}", "00".repeat(23)),
            },
        ),
        fields(
            "another signing key",
            guest(|report| report.signing_key = 7),
            Reason::SigningKey { found: 7 },
        ),
        fields(
            "a processor of no known product line",
            guest(|report| report.cpuid = [0x17, 1]),
            Reason::UnknownProduct {
                found: "CPUID family 0x17, model 0x1".to_owned(),
            },
        ),
        fields(
            "a certificate outside of the table",
            report_bytes(|report| {
                report.extend(*b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd");
                report.extend([48, 0, 0, 0, 9, 0, 0, 0]);
                report.extend([0; 24]);
            }),
            Reason::CertificateTable {
                why: "expected a certificate within 48 bytes, found 9 bytes at 48".to_owned(),
            },
        ),
        fields(
            "bytes that are in no certificate",
            report_bytes(|report| {
                report.extend([9; 16]);
                report.extend([48, 0, 0, 0, 1, 0, 0, 0]);
                report.extend([0; 24]);
                report.extend([1, 0, 2, 3]);
            }),
            Reason::BytesInNoCertificate { found: 2, at: 50 },
        ),
    ]
}

fn certificates() -> Vec<Row> {
    let chain = |name, evidence, reason| told(name, evidence, Step::Chain, reason);
    let certificate = Role::Vcek;
    let dated = Dated::Certificate(certificate);
    let name = |found: &str| format!("CN={found}");
    vec![
        chain(
            "a VCEK that is no certificate",
            with_this_vcek(|| vec![0x30, 0]),
            Reason::CertificateMalformed {
                certificate,
                why: any(),
            },
        ),
        chain(
            "a VCEK of another issuer",
            with_vcek(|platform, _| platform.endorsement.issuer = "SEV-Genoa".to_owned()),
            Reason::AnotherIssuer {
                certificate,
                found: name("SEV-Genoa"),
                expected: name("SEV-Milan"),
            },
        ),
        chain(
            "a VLEK in the place of a VCEK",
            with_vcek(|platform, _| platform.endorsement.subject = "SEV-VLEK".to_owned()),
            Reason::AnotherSubject {
                certificate,
                found: "SEV-VLEK".to_owned(),
                expected: "SEV-VCEK",
            },
        ),
        chain(
            "a VCEK that is an authority",
            with_vcek(|platform, _| platform.endorsement.authority = true),
            Reason::UnexpectedAuthority { certificate },
        ),
        chain(
            "a VCEK with another kind of key",
            with_vcek(|platform, _| platform.endorsement_key = other_p256()),
            Reason::CertificateKey {
                certificate,
                found: "EC P-256",
                expected: "EC P-384",
            },
        ),
        chain(
            "a VCEK with an unknown critical extension",
            with_vcek(|platform, _| platform.endorsement.extensions.push(unknown_critical())),
            Reason::CriticalExtension {
                certificate,
                extension: "1.2.3.4".to_owned(),
            },
        ),
        chain(
            "a VCEK that expired",
            with_vcek(|platform, _| platform.endorsement.not_after = UnixSeconds(1_700_000_000)),
            Reason::Expired {
                dated,
                until: UnixSeconds(1_700_000_000),
                now: SOME_TIME,
            },
        ),
        chain(
            "a VCEK of the future",
            with_vcek(|platform, _| platform.endorsement.not_before = UnixSeconds(2_500_000_000)),
            Reason::NotYetValid {
                dated,
                from: UnixSeconds(2_500_000_000),
                now: SOME_TIME,
            },
        ),
    ]
}

fn signature_and_binding() -> Vec<Row> {
    vec![
        told(
            "a report that the VCEK did not sign",
            report_bytes(|report| report[0x90] ^= 1),
            Step::Signature,
            Reason::ReportSignature { signer: Role::Vcek },
        ),
        told(
            "a report with more in its report data",
            guest(|report| report.report_data[63] = 1),
            Step::Binding,
            Reason::Binding {
                found: "…01".to_owned(),
                expected: some_binding(),
            },
        ),
    ]
}

fn platforms() -> Vec<Row> {
    let platform = |name, evidence, reason| told(name, evidence, Step::Platform, reason);
    let certificate = Role::Vcek;
    vec![
        platform(
            "a VCEK of another chip",
            with_vcek(|_, report| report.chip_id[0] = 1),
            Reason::ChipId {
                found: format!("01{}", "c1".repeat(63)),
                expected: "c1".repeat(64),
            },
        ),
        platform(
            "a VCEK for older firmware",
            with_vcek(|_, report| report.reported_tcb[0] += 1),
            Reason::EndorsedTcb {
                component: "boot loader",
                found: 4,
                expected: 3,
                certificate,
            },
        ),
        platform(
            "a VCEK for another product line",
            with_vcek(|platform, _| platform.product_name = "Genoa-B0".to_owned()),
            Reason::AnotherProduct {
                found: "Genoa".to_owned(),
                expected: "Milan",
                certificate,
            },
        ),
        platform(
            "a VCEK for an unknown product line",
            with_vcek(|platform, _| platform.product_name = "Rome".to_owned()),
            Reason::UnknownProduct {
                found: "Rome".to_owned(),
            },
        ),
        platform(
            "a VCEK without hardware id",
            with_vcek(|platform, _| platform.hardware_id = None),
            Reason::CertificateExtension {
                certificate,
                extension: "hardware id",
                why: "expected one, found none".to_owned(),
            },
        ),
        platform(
            "reserved bytes of the reported TCB",
            with_vcek(|_, report| report.reported_tcb[2] = 1),
            Reason::Reserved {
                field: "reserved bytes of the reported TCB",
                found: "01000000".to_owned(),
            },
        ),
    ]
}

fn guests() -> Vec<Row> {
    let refused = |name, evidence, reason| told(name, evidence, Step::Guest, reason);
    vec![
        refused(
            "a privilege level that does not exist",
            guest(|report| report.vmpl = 4),
            Reason::Vmpl { found: 4 },
        ),
        refused(
            "a policy without the bit that is always one",
            guest(|report| report.policy = 0x1_0000),
            Reason::Policy {
                found: "0x0000000000010000".to_owned(),
            },
        ),
        refused(
            "a policy with reserved bits",
            guest(|report| report.policy |= 1 << 26),
            Reason::Policy {
                found: "0x0000000004030000".to_owned(),
            },
        ),
    ]
}

/// The report itself is why no collateral can be asked for.
fn without_collateral() -> Vec<Row> {
    vec![
        Row::without_collateral(
            "a report that hides its chip",
            guest(|report| report.chip_id = [0; 64]),
            "the report does not name its chip, and no VCEK certificate stands behind it",
        ),
        Row::without_collateral(
            "a report of no known product line behind which nothing names one",
            with_vcek(|platform, report| {
                (report.version, report.cpuid) = (2, [0; 2]);
                platform.product_name = "Rome".to_owned();
            }),
            "the product line of the platform is not known",
        ),
        Row::without_collateral(
            "a TCB that no Milan can have",
            guest(|report| report.reported_tcb[2] = 1),
            "the reported TCB is malformed: reserved bytes of the reported TCB: expected zero, found 01000000",
        ),
    ]
}
