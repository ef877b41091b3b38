//! SEV-SNP reports: as they come, and with fields from the input, signed by the software TEE.

use std::sync::LazyLock;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::fakes::{SnpPlatform, SnpReportFields};
use marblerun_attestation::{Claims, Collateral};

use super::cursor::{Cursor, with_mode};
use super::evidence::{REAL_SNP, TEE, binding, snp_report, verify_fake};

/// As it comes.
const RAW: u8 = 0;
/// Fields of a report to be signed.
const SIGNED: u8 = 1;
/// Kinds of platforms: three products, two keys.
const KINDS: u8 = 6;

pub fn run(input: &[u8]) {
    match input.split_first() {
        Some((&SIGNED, fields)) => signed(Cursor(fields)),
        Some((_, evidence)) => REAL_SNP.judge(evidence, &[]),
        None => {}
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let report = snp_report();
    let mut table = report.clone();
    table.extend([
        0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd,
    ]);
    table.extend([48, 0, 0, 0, 1, 0, 0, 0]);
    table.extend([0; 25]);
    let mut seeds = vec![
        with_mode(RAW, &report),
        with_mode(RAW, &table),
        with_mode(SIGNED, &[]),
    ];
    seeds.extend((0..KINDS).map(|kind| with_mode(SIGNED, &[kind])));
    seeds
}

fn platform(kind: u8) -> (SnpPlatform, SnpSigningKey) {
    let key = match kind % 2 {
        0 => SnpSigningKey::Vcek,
        _ => SnpSigningKey::Vlek,
    };
    let product = match kind / 2 % 3 {
        0 => SnpProduct::Milan,
        1 => SnpProduct::Genoa,
        _ => SnpProduct::Turin,
    };
    (TEE.snp(product, key), key)
}

/// Collateral of each platform: signing with RSA takes longer than all the rest.
static COLLATERAL: LazyLock<Vec<Collateral>> = LazyLock::new(|| {
    (0..KINDS)
        .map(|kind| Collateral::Snp(platform(kind).0.collateral().unwrap()))
        .collect()
});

fn signed(mut cursor: Cursor<'_>) {
    let kind = cursor.byte() % KINDS;
    let (platform, key) = platform(kind);
    let mut report = SnpReportFields::new(&platform, key, &binding());
    report.version ^= cursor.u32();
    report.policy ^= cursor.u64();
    report.vmpl ^= cursor.u32();
    report.signing_key ^= cursor.u32();
    cursor.flip(&mut report.reported_tcb);
    cursor.flip(&mut report.cpuid);
    cursor.flip(&mut report.chip_id);
    cursor.flip(&mut report.measurement);
    cursor.flip(&mut report.host_data);
    cursor.flip(&mut report.id_key_digest);
    report.guest_svn ^= cursor.u32();
    let mut evidence = report.sign(&platform).unwrap();
    evidence.extend_from_slice(cursor.0);
    let collateral = COLLATERAL.get(usize::from(kind)).unwrap();
    if let Ok(claims) = verify_fake(evidence, collateral) {
        let Claims::Snp(claims) = claims else {
            panic!("another TEE")
        };
        assert!(claims.measurement == report.measurement && claims.host_data == report.host_data);
        assert!(claims.policy == report.policy && claims.vmpl == report.vmpl && claims.vmpl <= 3);
        assert!(claims.debug == (report.policy & (1 << 19) != 0));
        assert!(claims.product == platform.product && claims.tcb == platform.tcb);
    }
}
