//! Collateral of SGX and TDX: as it comes, part by part, and documents of the input signed by the software TEE.

use std::sync::LazyLock;

use marblerun_attestation::collateral::{DcapCollateralParts, DcapTee};
use marblerun_attestation::fakes::{EnclaveFields, IntelPlatform, QuoteFields, TdFields};
use marblerun_attestation::{Collateral, DcapCollateral};

use super::cursor::with_mode;
use super::evidence::{REAL_SGX, SGX, SGX_COLLATERAL, TDX_V4_COLLATERAL, TEE, binding, verify_fake};

const WHOLE: u8 = 0;
const TCB_INFO: u8 = 1;
const QE_IDENTITY: u8 = 2;
const TDX_TCB_INFO: u8 = 3;
const FIRST_PART: u8 = 4;

static REAL: LazyLock<DcapCollateral> = LazyLock::new(|| DcapCollateral::from_json(SGX_COLLATERAL).unwrap());

pub fn run(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    match mode {
        WHOLE => whole(rest),
        TCB_INFO => signed(DcapTee::Sgx, rest, |platform, value| platform.tcb_info = value),
        QE_IDENTITY => signed(DcapTee::Sgx, rest, |platform, value| platform.qe_identity = value),
        TDX_TCB_INFO => signed(DcapTee::Tdx, rest, |platform, value| platform.tcb_info = value),
        _ => part(mode - FIRST_PART, rest),
    }
}

fn whole(json: &[u8]) {
    if let Ok(collateral) = DcapCollateral::from_json(json) {
        let _ = collateral.next_update();
        REAL_SGX.judge_collateral(SGX, &Collateral::Dcap(collateral));
    }
}

/// The software TEE signs whatever it is given, so all that is behind the signature is reached.
fn signed(tee: DcapTee, json: &[u8], change: impl FnOnce(&mut IntelPlatform, serde_json::Value)) {
    let Ok(value) = serde_json::from_slice(json) else {
        return;
    };
    let mut platform = TEE.intel(tee);
    change(&mut platform, value);
    let Ok(collateral) = platform.collateral() else {
        return;
    };
    let quote = match tee {
        DcapTee::Sgx => QuoteFields::sgx(EnclaveFields::new(&binding())),
        DcapTee::Tdx => QuoteFields::tdx_v4(TdFields::new(&binding())),
    };
    let _ = verify_fake(quote.sign(&platform).unwrap(), &Collateral::Dcap(collateral));
}

fn part(number: u8, bytes: &[u8]) {
    let mut parts: DcapCollateralParts = REAL.parts().clone();
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match number % 8 {
        0 => parts.pck_crl_issuer_chain = text(),
        1 => parts.root_ca_crl = bytes.to_vec(),
        2 => parts.pck_crl = bytes.to_vec(),
        3 => parts.tcb_info_issuer_chain = text(),
        4 => parts.tcb_info = text(),
        5 => parts.tcb_info_signature = bytes.to_vec(),
        6 => parts.qe_identity_issuer_chain = text(),
        _ => parts.qe_identity = text(),
    }
    if let Ok(collateral) = DcapCollateral::new(parts) {
        REAL_SGX.judge_collateral(SGX, &Collateral::Dcap(collateral));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let parts = REAL.parts();
    let mut seeds = vec![
        with_mode(WHOLE, SGX_COLLATERAL),
        with_mode(WHOLE, TDX_V4_COLLATERAL),
        with_mode(TCB_INFO, TEE.intel(DcapTee::Sgx).tcb_info.to_string().as_bytes()),
        with_mode(
            QE_IDENTITY,
            TEE.intel(DcapTee::Sgx).qe_identity.to_string().as_bytes(),
        ),
        with_mode(
            TDX_TCB_INFO,
            TEE.intel(DcapTee::Tdx).tcb_info.to_string().as_bytes(),
        ),
    ];
    let pieces: [&[u8]; 8] = [
        parts.pck_crl_issuer_chain.as_bytes(),
        &parts.root_ca_crl,
        &parts.pck_crl,
        parts.tcb_info_issuer_chain.as_bytes(),
        parts.tcb_info.as_bytes(),
        &parts.tcb_info_signature,
        parts.qe_identity_issuer_chain.as_bytes(),
        parts.qe_identity.as_bytes(),
    ];
    seeds.extend(
        (FIRST_PART..)
            .zip(pieces)
            .map(|(mode, piece)| with_mode(mode, piece)),
    );
    seeds
}
