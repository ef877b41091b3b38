//! Quotes of SGX and TDX that are good, of platforms, quoting enclaves and trust domains that are not.

use marblerun_attestation::{Reason, Step, TcbStatus};

use super::door::{Row, told, withheld};
use super::make::{sgx, td};

pub fn rows() -> Vec<Row> {
    let mut rows = platform_and_quoting_enclave();
    rows.extend(trust_domains());
    rows
}

fn platform_and_quoting_enclave() -> Vec<Row> {
    let quoting = |name, evidence, field, found: &str, expected: &str| {
        let (found, expected) = (found.to_owned(), expected.to_owned());
        let reason = Reason::QuotingEnclave {
            field,
            found,
            expected,
        };
        told(name, evidence, Step::QuotingEnclave, reason)
    };
    vec![
        withheld(
            "a platform that collateral is not for",
            sgx(|platform, _| platform.extension.fmspc = vec![9; 6]),
            Step::Platform,
            Reason::Fmspc {
                found: "506070000000".to_owned(),
                expected: "090909090909".to_owned(),
            },
        ),
        withheld(
            "another provisioning enclave",
            sgx(|platform, _| platform.extension.pce_id = vec![0, 1]),
            Step::Platform,
            Reason::PceId {
                found: "0000".to_owned(),
                expected: "0001".to_owned(),
            },
        ),
        quoting(
            "a quoting enclave of another signer",
            sgx(|_, quote| quote.quoting_enclave.mr_signer = [1; 32]),
            "MRSIGNER",
            &"01".repeat(32),
            &"8c".repeat(32),
        ),
        quoting(
            "another product of the same signer",
            sgx(|_, quote| quote.quoting_enclave.product_id = 2),
            "ISVPRODID",
            "2",
            "1",
        ),
        quoting(
            "a quoting enclave with other features",
            sgx(|_, quote| quote.quoting_enclave.misc_select = [1, 0, 0, 0]),
            "MISCSELECT",
            "01000000",
            "00000000 under mask ffffffff",
        ),
        quoting(
            "a quoting enclave with other attributes",
            sgx(|_, quote| quote.quoting_enclave.attributes[0] |= 2),
            "ATTRIBUTES",
            "1300000000000000e700000000000000",
            "11000000000000000000000000000000 under mask fbffffffffffffff0000000000000000",
        ),
        told(
            "a quoting enclave older than all that are rated",
            sgx(|_, quote| quote.quoting_enclave.security_version = 4),
            Step::QuotingEnclave,
            Reason::QuotingEnclaveTooOld { found: 4, lowest: 5 },
        ),
        told(
            "a platform older than all that are rated",
            sgx(|platform, _| {
                platform.extension.components[3] = 2;
                platform.extension.cpu_svn[3] = 2;
            }),
            Step::Rating,
            Reason::NoTcbLevel {
                sgx: "07070702070707070707070707070707".to_owned(),
                pce: 11,
                tdx: "none".to_owned(),
            },
        ),
        withheld(
            "a certificate that the second implementation rates differently",
            sgx(|platform, _| platform.extension.cpu_svn = vec![4; 16]),
            Step::SecondOpinion,
            Reason::SecondRating {
                found: "OutOfDate".to_owned(),
                expected: TcbStatus::UpToDate,
            },
        ),
    ]
}

fn trust_domains() -> Vec<Row> {
    const SVN: [u8; 16] = [5, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
    let guest = |name, evidence, reason| told(name, evidence, Step::Guest, reason);
    let module = |name, evidence, field, found: &str, expected: &str| {
        let (found, expected) = (found.to_owned(), expected.to_owned());
        let reason = Reason::Module {
            field,
            found,
            expected,
        };
        told(name, evidence, Step::Guest, reason)
    };
    let found = |attributes: &str| attributes.to_owned();
    vec![
        guest(
            "a module of an unknown version",
            td(|td| td.tee_tcb_svn[1] = 9),
            Reason::NoModuleIdentity { version: 9 },
        ),
        module(
            "a module of another signer",
            td(|td| td.mr_signer_seam[0] = 1),
            "MRSIGNERSEAM",
            &format!("01{}", "00".repeat(47)),
            &"00".repeat(48),
        ),
        module(
            "a module with attributes",
            td(|td| td.seam_attributes[0] = 1),
            "SEAMATTRIBUTES",
            "0100000000000000",
            "0000000000000000 under mask ffffffffffffffff",
        ),
        guest(
            "reserved attributes",
            td(|td| td.attributes[4] = 1),
            Reason::TdReserved {
                found: found("0000001001000000"),
            },
        ),
        guest(
            "a trust domain that can be moved",
            td(|td| td.attributes[3] = 0x30),
            Reason::TdMigratable {
                found: found("0000003000000000"),
            },
        ),
        guest(
            "a trust domain whose pages can be taken away",
            td(|td| td.attributes[3] = 0),
            Reason::TdSeptVe {
                found: found("0000000000000000"),
            },
        ),
        guest(
            "a trust domain open to service trust domains",
            td(|td| td.attributes[2] = 2),
            Reason::TdService {
                found: found("SERVTD_EXT on in 0000021000000000"),
            },
        ),
        guest(
            "a trust domain with a service trust domain",
            td(|td| td.since_15 = Some((SVN, [1; 48]))),
            Reason::TdService {
                found: "01".repeat(48),
            },
        ),
        told(
            "a module older than all that are rated",
            td(|td| td.tee_tcb_svn[0] = 1),
            Step::Rating,
            Reason::ModuleTooOld { found: 1, lowest: 2 },
        ),
        told(
            "a TDX platform older than all that are rated",
            td(|td| td.tee_tcb_svn[2] = 2),
            Step::Rating,
            Reason::NoTcbLevel {
                sgx: "07".repeat(16),
                pce: 11,
                tdx: "05010207070707070707070707070707".to_owned(),
            },
        ),
    ]
}
