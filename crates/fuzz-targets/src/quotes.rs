//! SGX and TDX quotes: as they come, and with fields from the input, signed by the software TEE.

use marblerun_attestation::Claims;
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{BodyFields, EnclaveFields, QuoteFields, TdFields};
use marblerun_attestation::header::OpenEnclaveHeader;

use super::cursor::{Cursor, with_mode};
use super::evidence::{
    FAKE_SGX, FAKE_TDX, REAL_SGX, REAL_TDX_V4, REAL_TDX_V5, SGX, TDX_V4, TDX_V5, TEE, binding, verify_fake,
};

/// As it comes.
const RAW: u8 = 0;
/// Fields of a quote to be signed.
const SIGNED: u8 = 1;

pub fn run_sgx(input: &[u8]) {
    match input.split_first() {
        Some((&SIGNED, fields)) => signed_sgx(Cursor(fields)),
        Some((_, evidence)) => REAL_SGX.judge(evidence, &[]),
        None => {}
    }
}

pub fn seeds_sgx() -> Vec<Vec<u8>> {
    let fake = QuoteFields::sgx(EnclaveFields::new(&binding()));
    let fake = fake.sign(&TEE.intel(DcapTee::Sgx)).unwrap();
    vec![
        with_mode(RAW, SGX),
        with_mode(RAW, &OpenEnclaveHeader::add(SGX)),
        with_mode(RAW, &fake),
        with_mode(RAW, &[]),
        with_mode(SIGNED, &[]),
        with_mode(SIGNED, &[0; 200]),
    ]
}

fn flip_enclave(cursor: &mut Cursor<'_>, enclave: &mut EnclaveFields) {
    cursor.flip(&mut enclave.attributes);
    cursor.flip(&mut enclave.misc_select);
    cursor.flip(&mut enclave.mr_enclave);
    cursor.flip(&mut enclave.mr_signer);
    enclave.product_id ^= cursor.u16();
    enclave.security_version ^= cursor.u16();
    cursor.flip(&mut enclave.cpu_svn);
}

fn flip_quote(cursor: &mut Cursor<'_>, quote: &mut QuoteFields) {
    quote.version ^= cursor.u16();
    quote.attestation_key_type ^= cursor.u16();
    quote.certification_data_type ^= cursor.u16();
    cursor.flip(&mut quote.vendor);
    flip_enclave(cursor, &mut quote.quoting_enclave);
    if cursor.byte() % 2 == 1 {
        quote.authentication_data = cursor.0.to_vec();
    }
}

fn signed_sgx(mut cursor: Cursor<'_>) {
    let mut enclave = EnclaveFields::new(&binding());
    flip_enclave(&mut cursor, &mut enclave);
    let mut quote = QuoteFields::sgx(enclave.clone());
    flip_quote(&mut cursor, &mut quote);
    let evidence = quote.sign(&TEE.intel(DcapTee::Sgx)).unwrap();
    if let Ok(claims) = verify_fake(evidence, &FAKE_SGX) {
        let Claims::Sgx(claims) = claims else {
            panic!("another TEE")
        };
        assert!(claims.unique_id == enclave.mr_enclave && claims.signer_id == enclave.mr_signer);
        assert!(claims.product_id == enclave.product_id);
        assert!(claims.security_version == enclave.security_version);
        assert!(claims.debug == (enclave.attributes.first().is_some_and(|first| first & 2 != 0)));
    }
}

pub fn run_tdx(input: &[u8]) {
    match input.split_first() {
        Some((&SIGNED, fields)) => signed_tdx(Cursor(fields)),
        Some((_, evidence)) => {
            REAL_TDX_V4.judge(evidence, &[&REAL_TDX_V5]);
            REAL_TDX_V5.judge(evidence, &[&REAL_TDX_V4]);
        }
        None => {}
    }
}

pub fn seeds_tdx() -> Vec<Vec<u8>> {
    let fake = QuoteFields::tdx_v4(TdFields::new(&binding()));
    let fake = fake.sign(&TEE.intel(DcapTee::Tdx)).unwrap();
    vec![
        with_mode(RAW, TDX_V4),
        with_mode(RAW, TDX_V5),
        with_mode(RAW, &fake),
        with_mode(SIGNED, &[]),
        with_mode(SIGNED, &[1; 1]),
        with_mode(SIGNED, &[0; 400]),
    ]
}

fn signed_tdx(mut cursor: Cursor<'_>) {
    let mut td = TdFields::new(&binding());
    if cursor.byte() % 2 == 1 {
        let mut now = td.tee_tcb_svn;
        cursor.flip(&mut now);
        td.since_15 = Some((now, cursor.array()));
    }
    cursor.flip(&mut td.tee_tcb_svn);
    cursor.flip(&mut td.attributes);
    cursor.flip(&mut td.seam_attributes);
    cursor.flip(&mut td.xfam);
    cursor.flip(&mut td.mr_signer_seam);
    cursor.flip(&mut td.mrtd);
    cursor.flip(&mut td.mr_seam);
    td.rtmr.iter_mut().for_each(|register| cursor.flip(register));
    let mut quote = match td.since_15 {
        None => QuoteFields::tdx_v4(td.clone()),
        Some(_) => QuoteFields::tdx_v5(td.clone()),
    };
    flip_quote(&mut cursor, &mut quote);
    assert!(matches!(quote.body, BodyFields::Tdx(_)));
    let evidence = quote.sign(&TEE.intel(DcapTee::Tdx)).unwrap();
    if let Ok(claims) = verify_fake(evidence, &FAKE_TDX) {
        let Claims::Tdx(claims) = claims else {
            panic!("another TEE")
        };
        assert!(claims.mrtd == td.mrtd && claims.rtmr == td.rtmr && claims.mr_seam == td.mr_seam);
        assert!(claims.attributes == td.attributes && claims.xfam == td.xfam);
        let attributes = u64::from_le_bytes(td.attributes);
        assert!(claims.debug == (attributes & 0xFF != 0));
        assert!(attributes & (1 << 29) == 0, "a trust domain that can be moved");
    }
}
