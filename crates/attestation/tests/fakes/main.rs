//! Evidence of the software TEE, changed and signed again: each reason for refusing comes back, at its step.

#![cfg(test)]

mod certificates;
mod intel;
mod issuer;
mod roots;
mod snp;

use std::sync::{Arc, LazyLock};

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{DcapCollateralParts, DcapTee};
use marblerun_attestation::fakes::{
    EnclaveFields, IntelPlatform, Key, QuoteFields, SnpPlatform, SnpReportFields, SoftwareTee, TdFields,
};
use marblerun_attestation::{
    Claims, Collateral, DcapCollateral, Quote, Reason, Refused, ReportBinding, SimulationRoots, Step,
    UnixSeconds, Verifier,
};

/// 2026-01-01T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

static TEE: LazyLock<SoftwareTee> = LazyLock::new(|| SoftwareTee::development().unwrap());

fn binding() -> ReportBinding {
    ReportBinding::certificate(b"a certificate")
}

fn other_p256() -> Arc<Key> {
    Arc::new(Key::p256().unwrap())
}

/// What a verifier that has seen nothing says.
fn judge(evidence: Vec<u8>, collateral: &Collateral) -> Result<Claims, Refused> {
    Verifier::new(SimulationRoots::development())
        .verify(&Quote::new(evidence).unwrap(), &binding(), collateral, NOW)
        .map(marblerun_attestation::Verified::into_inner)
}

fn dcap(
    mut quote: QuoteFields,
    change: impl FnOnce(&mut IntelPlatform, &mut QuoteFields),
) -> Result<Claims, Refused> {
    let mut platform = TEE.intel(quote.tee());
    change(&mut platform, &mut quote);
    let collateral = Collateral::Dcap(platform.collateral().unwrap());
    judge(quote.sign(&platform).unwrap(), &collateral)
}

fn sgx(change: impl FnOnce(&mut IntelPlatform, &mut QuoteFields)) -> Result<Claims, Refused> {
    dcap(QuoteFields::sgx(EnclaveFields::new(&binding())), change)
}

fn tdx(change: impl FnOnce(&mut IntelPlatform, &mut TdFields)) -> Result<Claims, Refused> {
    let mut fields = TdFields::new(&binding());
    let mut platform = TEE.intel(DcapTee::Tdx);
    change(&mut platform, &mut fields);
    let quote = match fields.since_15 {
        None => QuoteFields::tdx_v4(fields),
        Some(_) => QuoteFields::tdx_v5(fields),
    };
    let collateral = Collateral::Dcap(platform.collateral().unwrap());
    judge(quote.sign(&platform).unwrap(), &collateral)
}

/// An SGX quote whose bytes, or the collateral with it, are changed after they were signed.
fn sgx_signed(change: impl FnOnce(&mut Vec<u8>, &mut DcapCollateralParts)) -> Result<Claims, Refused> {
    let platform = TEE.intel(DcapTee::Sgx);
    let mut quote = QuoteFields::sgx(EnclaveFields::new(&binding()))
        .sign(&platform)
        .unwrap();
    let mut parts = platform.parts().unwrap();
    change(&mut quote, &mut parts);
    judge(quote, &Collateral::Dcap(DcapCollateral::new(parts).unwrap()))
}

/// Where the length of the PCK chain stands in an SGX quote; the chain is the last thing in it.
const SGX_CHAIN: usize = 432 + 4 + 128 + 384 + 64 + 2 + 32 + 2;

/// Puts another PCK chain into an SGX quote and sets the lengths in front of it.
fn replace_chain(quote: &mut Vec<u8>, chain: &[u8]) {
    quote.truncate(SGX_CHAIN);
    quote.extend_from_slice(&(chain.len() as u32).to_le_bytes());
    quote.extend_from_slice(chain);
    let size = (quote.len() - 436) as u32;
    quote[432..436].copy_from_slice(&size.to_le_bytes());
}

fn snp_with(
    product: SnpProduct,
    key: SnpSigningKey,
    change: impl FnOnce(&mut SnpPlatform, &mut SnpReportFields),
) -> Result<Claims, Refused> {
    let mut platform = TEE.snp(product, key);
    let mut report = SnpReportFields::new(&platform, key, &binding());
    change(&mut platform, &mut report);
    let collateral = Collateral::Snp(platform.collateral().unwrap());
    judge(report.sign(&platform).unwrap(), &collateral)
}

fn snp(change: impl FnOnce(&mut SnpPlatform, &mut SnpReportFields)) -> Result<Claims, Refused> {
    snp_with(SnpProduct::Milan, SnpSigningKey::Vcek, change)
}

#[track_caller]
fn expect_refused(result: Result<Claims, Refused>, step: Step, reason: impl Fn(&Reason) -> bool) {
    let refused = result.unwrap_err();
    assert!(
        refused.step == step && reason(&refused.reason),
        "{refused}\n{refused:?}"
    );
    let message = refused.to_string();
    assert!(
        message.starts_with(&format!("step {}, {step}: ", step.number())),
        "{message}"
    );
}

/// Expects a result to be refused at a step for a reason.
macro_rules! refused {
    ($result:expr, $step:ident, $reason:pat) => {
        crate::expect_refused($result, marblerun_attestation::Step::$step, |reason| {
            use marblerun_attestation::reason::Reason::*;
            matches!(reason, $reason)
        })
    };
}
pub(crate) use refused;
