//! Evidence that verifies: nothing else may.

use std::sync::LazyLock;

use marblerun_attestation::collateral::{DcapTee, SnpRevocation};
use marblerun_attestation::fakes::SoftwareTee;
use marblerun_attestation::{
    Claims, Collateral, DcapCollateral, ProductionRoots, Quote, Refused, ReportBinding, SimulationRoots,
    SnpCollateral, UnixSeconds, Verified, Verifier,
};

pub const SGX: &[u8] = include_bytes!("../../attestation/tests/evidence/sgx_v3.quote");
pub const SGX_COLLATERAL: &[u8] = include_bytes!("../../attestation/tests/evidence/sgx_v3.collateral.json");
pub const TDX_V4: &[u8] = include_bytes!("../../attestation/tests/evidence/tdx_v4.quote");
pub const TDX_V4_COLLATERAL: &[u8] =
    include_bytes!("../../attestation/tests/evidence/tdx_v4.collateral.json");
pub const TDX_V5: &[u8] = include_bytes!("../../attestation/tests/evidence/tdx_v5_15ex.quote");
const TDX_V5_COLLATERAL: &[u8] =
    include_bytes!("../../attestation/tests/evidence/tdx_v5_15ex.collateral.json");
const SNP: &str = include_str!("../../attestation/tests/evidence/snp_milan.report.hex");
pub const SNP_VCEK: &[u8] = include_bytes!("../../attestation/tests/evidence/snp_milan.vcek.der");
pub const SNP_CHAIN: &[u8] = include_bytes!("../../attestation/tests/evidence/snp_milan.ask_ark.pem");

/// 2026-01-01T00:00:00Z: the software TEE's certificates are in force.
pub const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

pub static TEE: LazyLock<SoftwareTee> = LazyLock::new(|| SoftwareTee::development().unwrap());

pub fn binding() -> ReportBinding {
    ReportBinding::certificate(b"a certificate")
}

pub fn snp_report() -> Vec<u8> {
    hex::decode(SNP.trim()).unwrap()
}

/// Evidence of real hardware and what it proves.
pub struct Real {
    collateral: Collateral,
    now: UnixSeconds,
    verifier: Verifier<ProductionRoots>,
    claims: Claims,
}

impl Real {
    fn new(quote: &[u8], collateral: Collateral, now: u64) -> Self {
        let (verifier, now) = (Verifier::new(ProductionRoots::pinned()), UnixSeconds(now));
        let claims = verify(&verifier, quote, &collateral, now).unwrap();
        Self {
            collateral,
            now,
            verifier,
            claims,
        }
    }

    fn dcap(quote: &[u8], collateral: &[u8], now: u64) -> Self {
        let collateral = Collateral::Dcap(DcapCollateral::from_json(collateral).unwrap());
        Self::new(quote, collateral, now)
    }

    /// Nobody can make evidence of this hardware: what verifies proves what the real evidence proves. Other real
    /// evidence of the same kind of platform verifies too, with another rating.
    pub fn judge(&self, input: &[u8], others: &[&Self]) {
        if let Ok(claims) = verify(&self.verifier, input, &self.collateral, self.now) {
            let genuine = claims == self.claims || others.iter().any(|other| other.is_of(&claims));
            assert!(genuine, "forged: {claims:?}");
        }
    }

    /// Whether it proves this, the rating left out.
    fn is_of(&self, claims: &Claims) -> bool {
        match (&self.claims, claims) {
            (Claims::Tdx(own), Claims::Tdx(found)) => {
                let mut found = found.clone();
                found.tcb_status = own.tcb_status;
                found.advisories.clone_from(&own.advisories);
                found == *own
            }
            _ => false,
        }
    }

    /// The real evidence with other collateral: nobody can make collateral that rates it differently.
    pub fn judge_collateral(&self, quote: &[u8], collateral: &Collateral) {
        // A verifier that has seen nothing: what it remembers is keyed by the collateral.
        let verifier = Verifier::new(ProductionRoots::pinned());
        if let Ok(claims) = verify(&verifier, quote, collateral, self.now) {
            assert!(claims == self.claims, "another rating: {claims:?}");
        }
    }
}

pub static REAL_SGX: LazyLock<Real> = LazyLock::new(|| Real::dcap(SGX, SGX_COLLATERAL, 1_750_416_971));
pub static REAL_TDX_V4: LazyLock<Real> =
    LazyLock::new(|| Real::dcap(TDX_V4, TDX_V4_COLLATERAL, 1_750_415_547));
pub static REAL_TDX_V5: LazyLock<Real> =
    LazyLock::new(|| Real::dcap(TDX_V5, TDX_V5_COLLATERAL, 1_791_504_586));
pub static REAL_SNP: LazyLock<Real> = LazyLock::new(|| {
    let collateral = SnpCollateral::new(SnpRevocation::NotChecked)
        .with_endorsement_key(SNP_VCEK.to_vec())
        .with_authorities(SNP_CHAIN)
        .unwrap();
    Real::new(&snp_report(), Collateral::Snp(collateral), 1_700_000_000)
});

/// Collateral of the software TEE, as it is made.
pub static FAKE_SGX: LazyLock<Collateral> =
    LazyLock::new(|| Collateral::Dcap(TEE.intel(DcapTee::Sgx).collateral().unwrap()));
pub static FAKE_TDX: LazyLock<Collateral> =
    LazyLock::new(|| Collateral::Dcap(TEE.intel(DcapTee::Tdx).collateral().unwrap()));

/// Verifies evidence as bound to whatever it says it is bound to. What is said about what it needs and what is said
/// in the end do not contradict each other.
fn verify(
    verifier: &Verifier<ProductionRoots>,
    evidence: &[u8],
    collateral: &Collateral,
    now: UnixSeconds,
) -> Result<Claims, Option<Refused>> {
    let quote = Quote::new(evidence.to_vec()).map_err(|_| None)?;
    let data = quote.unverified_report_data().ok().flatten();
    let binding = ReportBinding::report_data_itself(data.unwrap_or([0; 64]));
    let needed = verifier.collateral_needed(&quote, &binding, now);
    let verified = verifier.verify(&quote, &binding, collateral, now);
    if let Ok(verified) = &verified {
        assert!(needed.is_ok(), "verified, and refused before: {needed:?}");
        assert!(
            verified.get().report_data() == &binding.report_data(),
            "another binding"
        );
    }
    verified.map(Verified::into_inner).map_err(Some)
}

/// Verifies evidence of the software TEE.
pub fn verify_fake(evidence: Vec<u8>, collateral: &Collateral) -> Result<Claims, Refused> {
    verified_fake(evidence, collateral).map(Verified::into_inner)
}

/// As [`verify_fake`], with the proof.
pub fn verified_fake(
    evidence: Vec<u8>,
    collateral: &Collateral,
) -> Result<Verified<Claims, SimulationRoots>, Refused> {
    let quote = Quote::new(evidence).unwrap();
    let verifier = Verifier::new(SimulationRoots::development());
    let first = verifier.verify(&quote, &binding(), collateral, NOW);
    let again = verifier.verify(&quote, &binding(), collateral, NOW);
    assert!(
        first.as_ref().ok().map(Verified::get) == again.as_ref().ok().map(Verified::get),
        "another verdict at second sight"
    );
    if let Err(refused) = &first {
        assert!(!refused.to_string().is_empty());
    }
    first
}
