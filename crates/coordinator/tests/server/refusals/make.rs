//! Evidence of the software TEE with something changed.

use std::sync::{Arc, LazyLock};

use marblerun_attestation::ReportBinding;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{
    BodyFields, EnclaveFields, Extension, IntelPlatform, Key, QuoteFields, SnpPlatform, SnpReportFields,
    SoftwareTee, TdFields,
};
use marblerun_attestation::header::OpenEnclaveHeader;

use super::door::Make;

static TEE: LazyLock<SoftwareTee> = LazyLock::new(|| SoftwareTee::development().unwrap());

/// GUID of a VCEK in the table behind a report, as it lies in memory.
const VCEK: [u8; 16] = *b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";

pub fn other_p256() -> Arc<Key> {
    Arc::new(Key::p256().unwrap())
}

/// An extension that nobody knows and everybody has to.
pub fn unknown_critical() -> Extension {
    Extension {
        id: "1.2.3.4".to_owned(),
        critical: true,
        value: vec![5, 0],
    }
}

/// These bytes.
pub fn bytes(bytes: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Make {
    Box::new(move |_| bytes())
}

/// An SGX quote.
pub fn sgx(change: impl Fn(&mut IntelPlatform, &mut QuoteFields) + Send + Sync + 'static) -> Make {
    Box::new(move |binding| {
        let mut platform = TEE.intel(DcapTee::Sgx);
        let mut quote = QuoteFields::sgx(EnclaveFields::new(binding));
        change(&mut platform, &mut quote);
        OpenEnclaveHeader::add(&quote.sign(&platform).unwrap())
    })
}

/// An SGX quote of another enclave.
pub fn enclave(change: impl Fn(&mut EnclaveFields) + Send + Sync + 'static) -> Make {
    sgx(move |_, quote| {
        let BodyFields::Sgx(body) = &mut quote.body else {
            panic!("another body")
        };
        change(body);
    })
}

/// An SGX quote whose bytes are changed after it was signed.
pub fn sgx_bytes(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Make {
    Box::new(move |binding| {
        let platform = TEE.intel(DcapTee::Sgx);
        let mut quote = QuoteFields::sgx(EnclaveFields::new(binding))
            .sign(&platform)
            .unwrap();
        change(&mut quote);
        OpenEnclaveHeader::add(&quote)
    })
}

/// An SGX quote with the PCK chain of a platform that is changed, and another text for it.
pub fn sgx_chain(
    change: impl Fn(&mut IntelPlatform) + Send + Sync + 'static,
    text: impl Fn(String) -> String + Send + Sync + 'static,
) -> Make {
    Box::new(move |binding| {
        let platform = TEE.intel(DcapTee::Sgx);
        let mut other = platform.clone();
        change(&mut other);
        let quote = QuoteFields::sgx(EnclaveFields::new(binding));
        let chain = text(other.pck_chain().unwrap());
        OpenEnclaveHeader::add(&quote.sign_with_chain(&platform, &chain).unwrap())
    })
}

/// A TDX quote, of version 5 if the report needs it, and what is changed once it is made.
pub fn tdx_quote(
    change: impl Fn(&mut IntelPlatform, &mut TdFields) + Send + Sync + 'static,
    then: impl Fn(&mut QuoteFields) + Send + Sync + 'static,
) -> Make {
    Box::new(move |binding| {
        let mut platform = TEE.intel(DcapTee::Tdx);
        let mut fields = TdFields::new(binding);
        change(&mut platform, &mut fields);
        let mut quote = match fields.since_15 {
            None => QuoteFields::tdx_v4(fields),
            Some(_) => QuoteFields::tdx_v5(fields),
        };
        then(&mut quote);
        quote.sign(&platform).unwrap()
    })
}

/// A TDX quote of another trust domain.
pub fn td(change: impl Fn(&mut TdFields) + Send + Sync + 'static) -> Make {
    tdx_quote(move |_, fields| change(fields), |_| {})
}

fn report(
    binding: &ReportBinding,
    product: SnpProduct,
    key: SnpSigningKey,
    change: impl Fn(&mut SnpPlatform, &mut SnpReportFields),
) -> (SnpPlatform, Vec<u8>) {
    let mut platform = TEE.snp(product, key);
    let mut report = SnpReportFields::new(&platform, key, binding);
    change(&mut platform, &mut report);
    let report = report.sign(&platform).unwrap();
    (platform, report)
}

/// A report of a Milan, under its VCEK, of another guest.
pub fn guest(change: impl Fn(&mut SnpReportFields) + Send + Sync + 'static) -> Make {
    guest_on(SnpProduct::Milan, SnpSigningKey::Vcek, change)
}

/// The same on another platform.
pub fn guest_on(
    product: SnpProduct,
    key: SnpSigningKey,
    change: impl Fn(&mut SnpReportFields) + Send + Sync + 'static,
) -> Make {
    Box::new(move |binding| report(binding, product, key, |_, fields| change(fields)).1)
}

/// A report whose bytes are changed after it was signed.
pub fn report_bytes(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Make {
    Box::new(move |binding| {
        let (_, mut report) = report(binding, SnpProduct::Milan, SnpSigningKey::Vcek, |_, _| {});
        change(&mut report);
        report
    })
}

/// A report with the platform's VCEK certificate behind it: nobody else is asked for one.
pub fn with_vcek(change: impl Fn(&mut SnpPlatform, &mut SnpReportFields) + Send + Sync + 'static) -> Make {
    Box::new(move |binding| {
        let (platform, report) = report(binding, SnpProduct::Milan, SnpSigningKey::Vcek, &change);
        with_table(report, &platform.endorsement_der().unwrap())
    })
}

/// A report with this as VCEK certificate.
pub fn with_this_vcek(der: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Make {
    Box::new(move |binding| {
        let (_, report) = report(binding, SnpProduct::Milan, SnpSigningKey::Vcek, |_, _| {});
        with_table(report, &der())
    })
}

fn with_table(mut report: Vec<u8>, certificate: &[u8]) -> Vec<u8> {
    for (id, offset, length) in [(VCEK, 48, certificate.len()), ([0; 16], 0, 0)] {
        report.extend(id);
        report.extend((offset as u32).to_le_bytes());
        report.extend((length as u32).to_le_bytes());
    }
    report.extend(certificate);
    report
}
