//! Certificates and revocation lists of SEV-SNP.

use std::sync::LazyLock;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use marblerun_attestation::collateral::SnpRevocation;
use marblerun_attestation::fakes::SnpReportFields;
use marblerun_attestation::{Claims, Collateral, SnpCollateral};

use super::cursor::{Cursor, with_mode};
use super::evidence::{REAL_SNP, SNP_CHAIN, SNP_VCEK, TEE, binding, snp_report, verify_fake};

const ENDORSEMENT: u8 = 0;
const AUTHORITIES: u8 = 1;
const LIST: u8 = 2;
const SIGNED: u8 = 3;

pub fn run(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    let real = SnpCollateral::new(SnpRevocation::NotChecked);
    let collateral = match mode {
        ENDORSEMENT => real
            .with_endorsement_key(rest.to_vec())
            .with_authorities(SNP_CHAIN),
        AUTHORITIES => real
            .with_endorsement_key(SNP_VCEK.to_vec())
            .with_authorities(rest),
        LIST => return list(rest),
        _ => return signed(Cursor(rest)),
    };
    if let Ok(collateral) = collateral {
        REAL_SNP.judge_collateral(&snp_report(), &Collateral::Snp(collateral));
    }
}

/// Evidence of the software TEE, all of whose roots have a list.
struct Listed {
    report: Vec<u8>,
    endorsement: Vec<u8>,
    /// PEM.
    intermediate: String,
    /// The genuine list.
    list: Vec<u8>,
}

static LISTED: LazyLock<Listed> = LazyLock::new(|| {
    let platform = TEE.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding());
    Listed {
        report: report.sign(&platform).unwrap(),
        endorsement: platform.endorsement_der().unwrap(),
        intermediate: pem(&platform.intermediate_der().unwrap()),
        list: platform.list.sign(&platform.ark_key).unwrap(),
    }
});

fn list(der: &[u8]) {
    let collateral = SnpCollateral::new(SnpRevocation::Checked(der.to_vec()))
        .with_endorsement_key(LISTED.endorsement.clone())
        .with_authorities(LISTED.intermediate.as_bytes())
        .unwrap();
    if verify_fake(LISTED.report.clone(), &Collateral::Snp(collateral)).is_ok() {
        // RSASSA-PSS signs the same list in many ways.
        assert!(content(der) == content(&LISTED.list), "a list that nobody signed");
    }
}

/// A list without its signature, which is the last thing in it: 512 bytes by the key of the software TEE.
fn content(list: &[u8]) -> &[u8] {
    list.get(..list.len().saturating_sub(512)).unwrap_or_default()
}

fn pem(der: &[u8]) -> String {
    marblerun_core::pki::pem::encode("CERTIFICATE", der)
}

/// Fields of the endorsement key's certificate, signed by the software TEE.
fn signed(mut cursor: Cursor<'_>) {
    let key = match cursor.byte() % 2 {
        0 => SnpSigningKey::Vcek,
        _ => SnpSigningKey::Vlek,
    };
    let product = match cursor.byte() % 3 {
        0 => SnpProduct::Milan,
        1 => SnpProduct::Genoa,
        _ => SnpProduct::Turin,
    };
    let mut platform = TEE.snp(product, key);
    let report = SnpReportFields::new(&platform, key, &binding());
    let [boot_loader, tee, snp, microcode, fmc, has_fmc] = cursor.array();
    let tcb = platform.tcb;
    platform.tcb = SnpTcb {
        fmc: if has_fmc % 2 == 0 { tcb.fmc } else { Some(fmc) },
        boot_loader: tcb.boot_loader ^ boot_loader,
        tee: tcb.tee ^ tee,
        snp: tcb.snp ^ snp,
        microcode: tcb.microcode ^ microcode,
    };
    if cursor.byte() % 2 == 1 {
        let length = usize::from(cursor.byte());
        platform.product_name = String::from_utf8_lossy(cursor.take(length)).into_owned();
    }
    if cursor.byte() % 2 == 1 {
        let length = usize::from(cursor.byte());
        platform.hardware_id = Some(cursor.take(length).to_vec());
    }
    let collateral = Collateral::Snp(platform.collateral().unwrap());
    if let Ok(Claims::Snp(claims)) = verify_fake(report.sign(&platform).unwrap(), &collateral) {
        assert!(claims.product == product && claims.tcb == tcb, "another platform");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        with_mode(ENDORSEMENT, SNP_VCEK),
        with_mode(AUTHORITIES, SNP_CHAIN),
        with_mode(LIST, &LISTED.list),
        with_mode(
            SIGNED,
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 1, 8, b'M', b'i', b'l', b'a', b'n', b'-', b'B', b'1',
            ],
        ),
    ];
    seeds.extend(
        [0, 1]
            .into_iter()
            .flat_map(|key| [0, 1, 2].map(|product| with_mode(SIGNED, &[key, product]))),
    );
    seeds
}
