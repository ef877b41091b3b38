//! Our own verification of SGX and TDX quotes beside the crate `dcap-qvl`: once a platform is known, that crate is
//! no longer asked, so changed quotes are judged here by both.

#![cfg(test)]

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::config::{Config, CryptoProvider};
use dcap_qvl::signature::DerSigEncoder;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::x509::X509CertBackend;
use marblerun_attestation::collateral::{DcapCollateral, DcapTee};
use marblerun_attestation::fakes::{BodyFields, EnclaveFields, QuoteFields, SoftwareTee, TdFields};
use marblerun_attestation::{
    Claims, Collateral, ProductionRoots, Quote, Reason, Refused, ReportBinding, SimulationRoots, TcbStatus,
    TrustRoots, UnixSeconds, Verifier,
};

/// Our own code is slow without optimisation.
const MUTATIONS: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };

/// 2026-01-01T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

struct AwsLc;

impl Config for AwsLc {
    type X509 = X509CertBackend;
    type SigEncoder = DerSigEncoder;
    type Crypto = Self;
}

impl CryptoProvider for AwsLc {
    fn sig_algo() -> &'static dyn rustls_pki_types::SignatureVerificationAlgorithm {
        webpki::aws_lc_rs::ECDSA_P256_SHA256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        digest(&SHA256, data).as_ref().try_into().unwrap()
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        digest(&SHA384, data).as_ref().try_into().unwrap()
    }
}

/// A rating and the advisories with it, or a refusal.
type Verdict = Option<(String, Vec<String>)>;

struct Judges<R> {
    ours: Verifier<R>,
    theirs: QuoteVerifier<AwsLc>,
    collateral: DcapCollateral,
    for_them: QuoteCollateralV3,
    now: UnixSeconds,
}

impl<R: TrustRoots> Judges<R> {
    fn new(roots: R, root: Vec<u8>, collateral: DcapCollateral, now: UnixSeconds) -> Self {
        let parts = collateral.parts().clone();
        Self {
            ours: Verifier::new(roots),
            theirs: QuoteVerifier::new_with_config(root).allow_debug(true),
            for_them: QuoteCollateralV3 {
                pck_crl_issuer_chain: parts.pck_crl_issuer_chain,
                root_ca_crl: parts.root_ca_crl,
                pck_crl: parts.pck_crl,
                tcb_info_issuer_chain: parts.tcb_info_issuer_chain,
                tcb_info: parts.tcb_info,
                tcb_info_signature: parts.tcb_info_signature,
                qe_identity_issuer_chain: parts.qe_identity_issuer_chain,
                qe_identity: parts.qe_identity,
                qe_identity_signature: parts.qe_identity_signature,
                pck_certificate_chain: None,
            },
            collateral,
            now,
        }
    }

    fn ours(&self, quote: &[u8]) -> Result<(TcbStatus, Vec<String>), Refused> {
        let quote = Quote::new(quote.to_vec()).unwrap();
        let data = quote.unverified_report_data().ok().flatten().unwrap_or([0; 64]);
        let collateral = Collateral::Dcap(self.collateral.clone());
        let binding = ReportBinding::report_data_itself(data);
        match self
            .ours
            .verify(&quote, &binding, &collateral, self.now)?
            .into_inner()
        {
            Claims::Sgx(claims) => Ok((claims.tcb_status, claims.advisories.unwrap_or_default())),
            Claims::Tdx(claims) => Ok((claims.tcb_status, claims.advisories.unwrap_or_default())),
            Claims::Snp(_) => panic!("claims of another TEE"),
        }
    }

    fn theirs(&self, quote: &[u8]) -> Verdict {
        let report = self.theirs.verify(quote, &self.for_them, self.now.0).ok()?;
        let status = match report.status.as_str() {
            "TDRelaunchAdvised" => "OutOfDate",
            "TDRelaunchAdvisedConfigurationNeeded" => "OutOfDateConfigurationNeeded",
            other => other,
        };
        Some((status.to_owned(), report.advisory_ids))
    }

    /// Whether the quote was accepted.
    fn agree(&self, quote: &[u8], what: impl Fn() -> String) -> bool {
        let theirs = self.theirs(quote);
        match self.ours(quote) {
            Ok((TcbStatus::Revoked, _)) => {
                assert_eq!(theirs, None, "{}", what());
                true
            }
            Ok((status, advisories)) => {
                assert_eq!(theirs, Some((status.to_string(), advisories)), "{}", what());
                true
            }
            Err(refused) => {
                assert!(
                    theirs.is_none() || not_checked_by_them(&refused.reason),
                    "only refused by us: {}: {refused}",
                    what()
                );
                false
            }
        }
    }
}

/// The crate takes text around certificates, bytes behind a quote and behind what is in it, and does not look at the
/// type of certification data around the quoting enclave's report, nor at the root in the chain, only at its own.
fn not_checked_by_them(reason: &Reason) -> bool {
    match reason {
        Reason::CertificateMalformed { .. }
        | Reason::ChainLength { .. }
        | Reason::CertificationData { expected: 6, .. }
        | Reason::TrailingBytes { .. }
        | Reason::Length { .. } => true,
        other => format!("{other:?}").contains("certificate: IntelSgxRoot"),
    }
}

/// SplitMix64: the same changes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        bytes[at] ^= 1 << self.below(8);
    }

    /// Lowers or raises one of several security versions.
    fn nudge(&mut self, versions: &mut [u8]) {
        let at = self.below(versions.len());
        versions[at] = self.below(9) as u8;
    }
}

#[test]
fn changed_bytes_of_real_quotes_are_judged_alike() {
    let samples: [(&[u8], &[u8], u64); 3] = [
        (
            include_bytes!("evidence/sgx_v3.quote"),
            include_bytes!("evidence/sgx_v3.collateral.json"),
            1_750_416_971,
        ),
        (
            include_bytes!("evidence/tdx_v4.quote"),
            include_bytes!("evidence/tdx_v4.collateral.json"),
            1_750_415_547,
        ),
        (
            include_bytes!("evidence/tdx_v5_15ex.quote"),
            include_bytes!("evidence/tdx_v5_15ex.collateral.json"),
            1_791_504_586,
        ),
    ];
    let mut random = Random(2);
    for (quote, collateral, now) in samples {
        let judges = Judges::new(
            ProductionRoots::pinned(),
            include_bytes!("../src/roots/intel_sgx.der").to_vec(),
            DcapCollateral::from_json(collateral).unwrap(),
            UnixSeconds(now),
        );
        assert!(judges.agree(quote, || "unchanged".to_owned()));
        for number in 0..MUTATIONS / 6 {
            let mut changed = quote.to_vec();
            match random.below(4) {
                0 => random.flip(&mut changed),
                1 => {
                    let at = random.below(changed.len());
                    changed[at] = random.next() as u8;
                }
                2 => {
                    let at = random.below(changed.len());
                    changed.truncate(at);
                }
                _ => {
                    let at = random.below(changed.len());
                    let end = changed.len().min(at + 1 + random.below(8));
                    changed[at..end].fill(random.next() as u8);
                }
            }
            judges.agree(&changed, || format!("change {number}"));
        }
    }
}

#[test]
fn changed_fields_signed_again_are_judged_alike() {
    let tee = SoftwareTee::development().unwrap();
    let mut random = Random(3);
    for kind in [DcapTee::Sgx, DcapTee::Tdx] {
        let mut platform = tee.intel(kind);
        // What is random about certificates and collateral is drawn once: the platform stays a known one.
        platform.extension.components[5] = 6;
        platform.extension.cpu_svn[5] = 6;
        let judges = Judges::new(
            SimulationRoots::development(),
            platform.root_der().unwrap(),
            platform.collateral().unwrap(),
            NOW,
        );
        let chain = platform.pck_chain().unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for number in 0..MUTATIONS / 4 {
            let fields = random_quote(&mut random, kind);
            let quote = fields.sign_with_chain(&platform, &chain).unwrap();
            match judges.agree(&quote, || format!("{kind:?} {number}: {fields:?}")) {
                true => accepted += 1,
                false => refused += 1,
            }
        }
        assert!(
            accepted > MUTATIONS / 40 && refused > MUTATIONS / 40,
            "{accepted} and {refused}"
        );
    }
}

fn random_quote(random: &mut Random, kind: DcapTee) -> QuoteFields {
    let binding = ReportBinding::certificate(b"a certificate");
    let mut fields = match kind {
        DcapTee::Sgx => {
            let mut enclave = EnclaveFields::new(&binding);
            random.flip(&mut enclave.mr_enclave);
            if random.one_in(2) {
                random.flip(&mut enclave.attributes);
            }
            QuoteFields::sgx(enclave)
        }
        DcapTee::Tdx => {
            let mut td = TdFields::new(&binding);
            random.flip(&mut td.mrtd);
            if random.one_in(2) {
                random.nudge(&mut td.tee_tcb_svn);
            }
            if random.one_in(3) {
                random.flip(&mut td.attributes);
            }
            if random.one_in(8) {
                random.flip(&mut td.seam_attributes);
            }
            if random.one_in(8) {
                random.flip(&mut td.mr_signer_seam);
            }
            if random.one_in(2) {
                let mut now = td.tee_tcb_svn;
                random.nudge(&mut now);
                let mut service = [0; 48];
                if random.one_in(8) {
                    random.flip(&mut service);
                }
                td.since_15 = Some((now, service));
            }
            match td.since_15 {
                Some(_) => QuoteFields::tdx_v5(td),
                None => QuoteFields::tdx_v4(td),
            }
        }
    };
    let enclave = &mut fields.quoting_enclave;
    match random.below(10) {
        0 => random.flip(&mut enclave.attributes),
        1 => random.flip(&mut enclave.misc_select),
        2 => random.flip(&mut enclave.mr_signer),
        3 => enclave.product_id = random.below(3) as u16,
        4 | 5 => enclave.security_version = random.below(10) as u16,
        6 => fields.vendor = *b"another vendor..",
        7 => fields.attestation_key_type = random.below(4) as u16,
        _ => {}
    }
    if let BodyFields::Sgx(body) = &mut fields.body {
        body.security_version = random.next() as u16;
    }
    fields
}
