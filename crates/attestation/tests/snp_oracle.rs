//! Our SEV-SNP verifier beside the crate `sev`: random changes to a report, its endorsement key and the chain above
//! it are judged alike wherever that crate checks at all.

#![cfg(test)]

use marblerun_attestation::collateral::SnpRevocation;
use marblerun_attestation::{
    Collateral, ProductionRoots, Quote, Reason, Refused, ReportBinding, SnpCollateral, Step, UnixSeconds,
    Verifier,
};
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

const TIME: UnixSeconds = UnixSeconds(1_700_000_000);
/// The crate is slow without optimisation.
const MUTATIONS: u64 = if cfg!(debug_assertions) { 2_000 } else { 10_000 };

#[derive(Clone)]
struct Evidence {
    report: Vec<u8>,
    vcek: Vec<u8>,
    ask: Vec<u8>,
    ark: Vec<u8>,
}

impl Evidence {
    fn milan() -> Self {
        let chain = certificates(include_str!("evidence/snp_milan.ask_ark.pem"));
        let [ask, ark] = chain.as_slice() else {
            panic!("a chain of two")
        };
        Self {
            report: hex::decode(include_str!("evidence/snp_milan.report.hex").trim()).unwrap(),
            vcek: include_bytes!("evidence/snp_milan.vcek.der").to_vec(),
            ask: ask.clone(),
            ark: ark.clone(),
        }
    }

    fn ours(&self, verifier: &Verifier<ProductionRoots>) -> Result<(), Refused> {
        let quote = Quote::new(self.report.clone()).unwrap();
        let data = quote.unverified_report_data().ok().flatten().unwrap_or([0; 64]);
        let chain = [pem(&self.ask), pem(&self.ark)].concat();
        let collateral = SnpCollateral::new(SnpRevocation::NotChecked)
            .with_endorsement_key(self.vcek.clone())
            .with_authorities(chain.as_bytes())
            .unwrap();
        verifier
            .verify(
                &quote,
                &ReportBinding::report_data_itself(data),
                &Collateral::Snp(collateral),
                TIME,
            )
            .map(|_| ())
    }

    fn theirs(&self) -> bool {
        let verify = || {
            let chain = Chain {
                ca: ca::Chain {
                    ark: Certificate::from_der(&self.ark).ok()?,
                    ask: Certificate::from_der(&self.ask).ok()?,
                },
                vek: Certificate::from_der(&self.vcek).ok()?,
            };
            let report = AttestationReport::from_bytes(&self.report).ok()?;
            (&chain, &report).verify().ok()
        };
        verify().is_some()
    }

    /// The crate verifies the report as it would write it, not as it came: some changes are lost on the way.
    fn lost_by_them(&self) -> bool {
        AttestationReport::from_bytes(&self.report)
            .and_then(|report| report.to_bytes())
            .is_ok_and(|bytes| bytes[..0x2A0] != self.report[..0x2A0])
    }
}

fn certificates(text: &str) -> Vec<Vec<u8>> {
    text.split_inclusive("-----END CERTIFICATE-----\n")
        .filter(|block| block.contains("BEGIN"))
        .map(|block| der::pem::decode_vec(block.as_bytes()).unwrap().1)
        .collect()
}

fn pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).unwrap() + "\n"
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

    fn change(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        match self.below(5) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.next() as u8,
            2 => {
                let end = bytes.len().min(at + 1 + self.below(16));
                bytes[at..end].fill(0);
            }
            3 => {
                let other = self.below(bytes.len());
                bytes.swap(at, other);
            }
            // Nothing changes: both have to accept.
            _ => {}
        }
    }
}

#[test]
fn random_changes_are_judged_alike() {
    let verifier = Verifier::new(ProductionRoots::pinned());
    let original = Evidence::milan();
    assert!(original.ours(&verifier).is_ok() && original.theirs());
    let mut random = Random(1);
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..MUTATIONS {
        let mut evidence = original.clone();
        let target = match random.below(6) {
            0 => &mut evidence.vcek,
            1 => &mut evidence.ask,
            2 => &mut evidence.ark,
            _ => &mut evidence.report,
        };
        random.change(target);
        match evidence.ours(&verifier) {
            Ok(()) => {
                assert!(evidence.theirs(), "only accepted by us, mutation {number}");
                accepted += 1;
            }
            Err(why) => {
                assert!(
                    !evidence.theirs() || evidence.lost_by_them() || not_checked_by_them(&why),
                    "only refused by us, mutation {number}: {why}"
                );
                refused += 1;
            }
        }
    }
    assert!(
        accepted > MUTATIONS / 10 && refused > MUTATIONS / 2,
        "{accepted} and {refused}"
    );
}

/// The crate passes over unused bytes of the signature and over how a certificate is wrapped, and takes any ARK.
fn not_checked_by_them(why: &Refused) -> bool {
    match (&why.step, &*why.reason) {
        (Step::Fields, Reason::Reserved { field, .. }) => field.contains("the signature"),
        (Step::Chain, Reason::CertificateMalformed { why, .. }) => {
            why.contains("two different signature algorithms")
        }
        _ => false,
    }
}
