//! Quotes of SGX and TDX that are refused for what they are. Collateral is as it should be.

use std::sync::Arc;

use marblerun_attestation::fakes::{EnclaveFields, Key};
use marblerun_attestation::header::{OpenEnclaveHeader, WrongLength};
use marblerun_attestation::quote::UnrecognisedEvidence;
use marblerun_attestation::reason::{CertificateRole as Role, Dated};
use marblerun_attestation::{EvidenceKind, Quote, Reason, ReportBinding, Step, UnixSeconds};

use super::door::{Row, SOME_TIME, any, some_binding, told};
use super::make::{bytes, enclave, other_p256, sgx, sgx_bytes, sgx_chain, td, tdx_quote, unknown_critical};
use super::platforms;

/// Header and report of an SGX quote, and the length of what follows.
const SIGNATURE: usize = 48 + 384 + 4;
const QE_REPORT: usize = SIGNATURE + 64 + 64;

pub fn rows() -> Vec<Row> {
    let mut rows = formats();
    rows.extend(fields());
    rows.extend(chains());
    rows.extend(signatures_and_binding());
    rows.extend(platforms::rows());
    rows
}

fn formats() -> Vec<Row> {
    let format = |name, evidence, reason| told(name, evidence, Step::Format, reason);
    let unrecognised = |name, evidence, error| format(name, evidence, Reason::Unrecognised(error));
    vec![
        format("no evidence", bytes(Vec::new), Reason::NoEvidence),
        unrecognised(
            "bytes of no format",
            bytes(|| vec![7; 2000]),
            UnrecognisedEvidence::UnknownFormat {
                found: 2000,
                beginning: "07".repeat(16),
            },
        ),
        unrecognised(
            "the beginning of a quote",
            Box::new(|binding| tdx_quote(|_, _| {}, |_| {})(binding)[..100].to_vec()),
            UnrecognisedEvidence::CutShort {
                format: "TDX quote (version 4)",
                expected: 48 + 584 + 4,
                found: 100,
            },
        ),
        unrecognised(
            "a header of another length",
            bytes(|| [OpenEnclaveHeader::add(&[9; 100]), vec![9]].concat()),
            UnrecognisedEvidence::Header(WrongLength {
                announced: 100,
                found: 101,
            }),
        ),
        unrecognised(
            "a header before a TDX quote",
            Box::new(|binding| OpenEnclaveHeader::add(&td(|_| {})(binding))),
            UnrecognisedEvidence::HeaderBeforeOther,
        ),
        unrecognised(
            "more than evidence can be",
            bytes(|| vec![3; Quote::LIMIT + 1]),
            UnrecognisedEvidence::TooLarge {
                found: Quote::LIMIT + 1,
            },
        ),
    ]
}

fn fields() -> Vec<Row> {
    let fields = |name, evidence, reason| told(name, evidence, Step::Fields, reason);
    vec![
        fields(
            "another kind of attestation key",
            tdx_quote(|_, _| {}, |quote| quote.attestation_key_type = 3),
            Reason::AttestationKeyType { found: 3 },
        ),
        fields(
            "another vendor",
            sgx(|_, quote| quote.vendor[0] = 0),
            Reason::QeVendor {
                found: "009a7233f79c4ca9940a0db3957f0607".to_owned(),
                expected: "939a7233f79c4ca9940a0db3957f0607".to_owned(),
            },
        ),
        fields(
            "no PCK chain",
            sgx(|_, quote| quote.certification_data_type = 3),
            Reason::CertificationData {
                found: 3,
                expected: 5,
            },
        ),
        fields(
            "authentication data of another length",
            sgx(|_, quote| quote.authentication_data = vec![0; 31]),
            Reason::Length {
                part: "authentication data of the quoting enclave",
                expected: 32,
                found: 31,
            },
        ),
        fields(
            "something behind the quote",
            sgx_bytes(|quote| quote.push(1)),
            Reason::TrailingBytes {
                evidence: EvidenceKind::SgxV3,
                found: 1,
            },
        ),
    ]
}

fn chains() -> Vec<Row> {
    let chain = |name, evidence, reason| told(name, evidence, Step::Chain, reason);
    const END: &str = "-----END CERTIFICATE-----\n";
    vec![
        chain(
            "a chain that is no PEM",
            sgx_chain(|_| {}, |text| text.replace("-----END", "--*--END")),
            Reason::CertificateMalformed {
                certificate: Role::Pck,
                why: "no PEM certificate at number 1".to_owned(),
            },
        ),
        chain(
            "two certificates",
            sgx_chain(
                |_| {},
                |text| text.split_inclusive(END).take(2).collect::<String>(),
            ),
            Reason::ChainLength {
                chain: "PCK certificate chain",
                expected: "3",
                found: 2,
            },
        ),
        chain(
            "another root",
            sgx(|platform, _| {
                platform.root_key = other_p256();
                platform.root_as_issued = None;
            }),
            Reason::AnotherRoot {
                certificate: Role::IntelSgxRoot,
                found: "CN=Software TEE SGX Root CA with key …".to_owned(),
                expected: "CN=Software TEE SGX Root CA with key …".to_owned(),
            },
        ),
        chain(
            "another issuer",
            sgx(|platform, _| platform.pck.issuer = "another".to_owned()),
            Reason::AnotherIssuer {
                certificate: Role::Pck,
                found: "CN=another".to_owned(),
                expected: "CN=Intel SGX PCK Platform CA".to_owned(),
            },
        ),
        chain(
            "another CA of Intel",
            sgx(|platform, _| {
                platform.ca.subject = "Intel SGX TCB Signing".to_owned();
                platform.pck.issuer = platform.ca.subject.clone();
            }),
            Reason::AnotherSubject {
                certificate: Role::PckCa,
                found: "Intel SGX TCB Signing".to_owned(),
                expected: "Intel SGX PCK Processor CA or Intel SGX PCK Platform CA",
            },
        ),
        chain(
            "an issuer that is no authority",
            sgx(|platform, _| platform.ca.authority = false),
            Reason::NotAnAuthority {
                certificate: Role::PckCa,
            },
        ),
        chain(
            "a platform that is an authority",
            sgx(|platform, _| platform.pck.authority = true),
            Reason::UnexpectedAuthority {
                certificate: Role::Pck,
            },
        ),
        chain(
            "another signature algorithm",
            sgx(|platform, _| platform.pck.algorithm = Some("1.2.840.10045.4.3.3")),
            Reason::CertificateAlgorithm {
                certificate: Role::Pck,
                found: "1.2.840.10045.4.3.3".to_owned(),
                expected: "1.2.840.10045.4.3.2".to_owned(),
            },
        ),
        chain(
            "a CA that the root did not sign",
            sgx(|platform, _| platform.root_key = other_p256()),
            Reason::CertificateSignature {
                certificate: Role::PckCa,
                issuer: Role::IntelSgxRoot,
            },
        ),
        chain(
            "another kind of key",
            sgx_chain(
                |platform| platform.pck_key = Arc::new(Key::p384().unwrap()),
                |text| text,
            ),
            Reason::CertificateKey {
                certificate: Role::Pck,
                found: "EC P-384",
                expected: "EC P-256",
            },
        ),
        chain(
            "an unknown critical extension",
            sgx(|platform, _| platform.pck.extensions.push(unknown_critical())),
            Reason::CriticalExtension {
                certificate: Role::Pck,
                extension: "1.2.3.4".to_owned(),
            },
        ),
        chain(
            "no SGX extension",
            sgx(|platform, _| platform.extension.present = false),
            Reason::CertificateExtension {
                certificate: Role::Pck,
                extension: "SGX extension",
                why: "expected one, found none".to_owned(),
            },
        ),
        chain(
            "a platform that expired",
            sgx(|platform, _| platform.pck.not_after = UnixSeconds(1_700_000_000)),
            Reason::Expired {
                dated: Dated::Certificate(Role::Pck),
                until: UnixSeconds(1_700_000_000),
                now: SOME_TIME,
            },
        ),
        chain(
            "a CA of the future",
            sgx(|platform, _| platform.ca.not_before = UnixSeconds(2_500_000_000)),
            Reason::NotYetValid {
                dated: Dated::Certificate(Role::PckCa),
                from: UnixSeconds(2_500_000_000),
                now: SOME_TIME,
            },
        ),
    ]
}

fn signatures_and_binding() -> Vec<Row> {
    let signature = |name, evidence, reason| told(name, evidence, Step::Signature, reason);
    vec![
        signature(
            "a quoting enclave that the platform did not sign",
            sgx_bytes(|quote| quote[QE_REPORT] ^= 1),
            Reason::QeReportSignature,
        ),
        signature(
            "another attestation key",
            sgx(|_, quote| quote.keep_qe_report_data = true),
            Reason::AttestationKey {
                found: any(),
                expected: "00".repeat(64),
            },
        ),
        signature(
            "a quote that the attestation key did not sign",
            sgx_bytes(|quote| quote[48] ^= 1),
            Reason::QuoteSignature,
        ),
        told(
            "an SGX quote for another certificate",
            enclave(|enclave| enclave.report_data = EnclaveFields::new(&another()).report_data),
            Step::Binding,
            Reason::Binding {
                found: hex::encode(another().report_data()),
                expected: some_binding(),
            },
        ),
        told(
            "a TDX quote with more in its report data",
            td(|td| td.report_data[63] = 1),
            Step::Binding,
            Reason::Binding {
                found: "…01".to_owned(),
                expected: some_binding(),
            },
        ),
    ]
}

fn another() -> ReportBinding {
    ReportBinding::certificate(b"another certificate")
}
