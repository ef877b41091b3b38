//! Evidence made by real hardware: it verifies as it should, and nothing that differs from it does.

#![cfg(test)]

use marblerun_attestation::collateral::{CollateralNeeded, DcapNeeded, DcapTee, PckAuthority, SnpRevocation};
use marblerun_attestation::header::OpenEnclaveHeader;
use marblerun_attestation::reason::{CertificateRole, Dated, ListName};
use marblerun_attestation::{
    Claims, Collateral, DcapCollateral, ProductionRoots, Quote, Reason, Refused, ReportBinding,
    SnpCollateral, Step, TcbStatus, UnixSeconds, Verified, Verifier,
};

struct Sample {
    quote: Vec<u8>,
    collateral: Collateral,
    time: u64,
    /// Which bytes are signed or a signature; the rest is padding or PEM.
    signed: usize,
    verifier: Verifier<ProductionRoots>,
}

impl Sample {
    fn dcap(quote: &[u8], collateral: &[u8], time: u64, signed: usize) -> Self {
        Self {
            quote: quote.to_vec(),
            collateral: Collateral::Dcap(DcapCollateral::from_json(collateral).unwrap()),
            time,
            signed,
            verifier: Verifier::new(ProductionRoots::pinned()),
        }
    }

    fn sgx() -> Self {
        let (quote, collateral) = (
            include_bytes!("evidence/sgx_v3.quote"),
            include_bytes!("evidence/sgx_v3.collateral.json"),
        );
        Self::dcap(quote, collateral, 1_750_416_971, quote.len() - 1)
    }

    fn tdx_v4() -> Self {
        let (quote, collateral) = (
            include_bytes!("evidence/tdx_v4.quote"),
            include_bytes!("evidence/tdx_v4.collateral.json"),
        );
        Self::dcap(quote, collateral, 1_750_415_547, 4935)
    }

    fn tdx_v5_extended() -> Self {
        let (quote, collateral) = (
            include_bytes!("evidence/tdx_v5_15ex.quote"),
            include_bytes!("evidence/tdx_v5_15ex.collateral.json"),
        );
        Self::dcap(quote, collateral, 1_791_504_586, quote.len() - 1)
    }

    fn tdx_v5() -> Self {
        let (quote, collateral) = (
            include_bytes!("evidence/tdx_v5_15.quote"),
            include_bytes!("evidence/tdx_v5_15.collateral.json"),
        );
        Self::dcap(quote, collateral, 1_771_498_731, quote.len() - 1)
    }

    fn snp() -> Self {
        Self {
            quote: hex::decode(include_str!("evidence/snp_milan.report.hex").trim()).unwrap(),
            collateral: Collateral::Snp(milan()),
            time: 1_700_000_000,
            signed: 1184,
            verifier: Verifier::new(ProductionRoots::pinned()),
        }
    }

    fn verify_bytes(&self, bytes: &[u8]) -> Result<Verified<Claims>, Refused> {
        let quote = Quote::new(bytes.to_vec()).unwrap();
        // What a changed quote says about itself: so that it is not refused for its binding alone.
        let data = quote.unverified_report_data().ok().flatten().unwrap_or([0; 64]);
        self.verifier.verify(
            &quote,
            &ReportBinding::report_data_itself(data),
            &self.collateral,
            UnixSeconds(self.time),
        )
    }

    fn claims(&self) -> Claims {
        self.verify_bytes(&self.quote).unwrap().into_inner()
    }

    fn refused_at(&self, time: u64) -> Reason {
        let sample = Self {
            time,
            quote: self.quote.clone(),
            collateral: self.collateral.clone(),
            verifier: Verifier::new(ProductionRoots::pinned()),
            ..*self
        };
        *sample.verify_bytes(&self.quote).unwrap_err().reason
    }
}

fn milan() -> SnpCollateral {
    SnpCollateral::new(SnpRevocation::NotChecked)
        .with_endorsement_key(include_bytes!("evidence/snp_milan.vcek.der").to_vec())
        .with_authorities(include_bytes!("evidence/snp_milan.ask_ark.pem"))
        .unwrap()
}

#[test]
fn sgx_evidence_verifies_with_its_rating() {
    let sample = Sample::sgx();
    let Claims::Sgx(claims) = sample.claims() else {
        panic!("claims of another TEE")
    };
    assert_eq!(claims.tcb_status, TcbStatus::ConfigurationAndSWHardeningNeeded);
    assert_eq!(
        claims.advisories,
        Some(vec!["INTEL-SA-00289".to_owned(), "INTEL-SA-00615".to_owned()])
    );
    assert_eq!(claims.root_ca, include_bytes!("../src/roots/intel_sgx.der"));
    assert_eq!(
        hex::encode(claims.unique_id),
        hex::encode(&sample.quote[48 + 64..48 + 96])
    );
    assert_eq!(
        hex::encode(claims.signer_id),
        hex::encode(&sample.quote[48 + 128..48 + 160])
    );
    assert_eq!(claims.report_data[..], sample.quote[368..432]);
    let wrapped = OpenEnclaveHeader::add(&sample.quote);
    assert_eq!(*sample.verify_bytes(&wrapped).unwrap().get(), sample.claims());
}

#[test]
fn tdx_evidence_verifies_with_its_rating() {
    for sample in [Sample::tdx_v4(), Sample::tdx_v5_extended()] {
        let Claims::Tdx(claims) = sample.claims() else {
            panic!("claims of another TEE")
        };
        assert_eq!(claims.tcb_status, TcbStatus::UpToDate);
        assert_eq!(claims.advisories, None);
        assert!(!claims.debug);
    }
}

#[test]
fn a_platform_older_than_all_that_are_rated_is_refused() {
    let refused = Sample::tdx_v5()
        .verify_bytes(&Sample::tdx_v5().quote)
        .unwrap_err();
    assert_eq!(refused.step, Step::Rating);
    assert!(matches!(*refused.reason, Reason::NoTcbLevel { .. }), "{refused}");
}

#[test]
fn snp_evidence_verifies() {
    let Claims::Snp(claims) = Sample::snp().claims() else {
        panic!("claims of another TEE")
    };
    assert_eq!(claims.product.as_str(), "Milan");
    assert_eq!((claims.policy, claims.vmpl), (0x30000, 0));
    assert_eq!(
        (claims.tcb.boot_loader, claims.tcb.snp, claims.tcb.microcode),
        (3, 8, 0x73)
    );
    assert!(!claims.debug && !claims.revocation_checked);
    assert!(hex::encode(claims.measurement).starts_with("7a1e5c266c0108db"));
}

#[test]
fn what_is_needed_is_named_from_the_quote() {
    let needed = |sample: &Sample| {
        let quote = Quote::new(sample.quote.clone()).unwrap();
        let data = quote.unverified_report_data().unwrap().unwrap();
        let binding = ReportBinding::report_data_itself(data);
        sample
            .verifier
            .collateral_needed(&quote, &binding, UnixSeconds(sample.time))
            .unwrap()
    };
    assert_eq!(
        needed(&Sample::sgx()),
        CollateralNeeded::Dcap(DcapNeeded {
            tee: DcapTee::Sgx,
            fmspc: [0x00, 0xA0, 0x67, 0x11, 0, 0],
            authority: PckAuthority::Processor,
        })
    );
    assert_eq!(
        needed(&Sample::tdx_v4()),
        CollateralNeeded::Dcap(DcapNeeded {
            tee: DcapTee::Tdx,
            fmspc: [0xB0, 0xC0, 0x6F, 0, 0, 0],
            authority: PckAuthority::Platform,
        })
    );
    let CollateralNeeded::Snp(snp) = needed(&Sample::snp()) else {
        panic!("another TEE")
    };
    assert_eq!((snp.product, snp.endorsement_key_present), (None, false));
}

#[test]
fn another_time_is_refused_with_what_is_out_of_date() {
    use CertificateRole as Role;
    let sample = Sample::sgx();
    let early = sample.refused_at(1_500_000_000);
    assert!(
        matches!(
            early,
            Reason::NotYetValid {
                dated: Dated::Certificate(Role::IntelSgxRoot),
                ..
            }
        ),
        "{early}"
    );
    let before = sample.refused_at(1_750_000_000);
    assert!(
        matches!(
            before,
            Reason::NotYetValid {
                dated: Dated::List(ListName::Pck),
                ..
            }
        ),
        "{before}"
    );
    let after = sample.refused_at(1_753_000_000);
    assert!(
        matches!(
            after,
            Reason::Expired {
                dated: Dated::List(ListName::Pck) | Dated::TcbInfo,
                ..
            }
        ),
        "{after}"
    );
    let late = sample.refused_at(4_000_000_000);
    assert!(
        matches!(
            late,
            Reason::Expired {
                dated: Dated::Certificate(_),
                ..
            }
        ),
        "{late}"
    );

    let snp = Sample::snp();
    assert!(matches!(
        snp.refused_at(1_650_000_000),
        Reason::NotYetValid {
            dated: Dated::Certificate(Role::Vcek),
            ..
        }
    ));
    assert!(matches!(
        snp.refused_at(1_950_000_000),
        Reason::Expired {
            dated: Dated::Certificate(Role::Vcek),
            ..
        }
    ));
}

#[test]
fn a_platform_seen_before_is_refused_once_its_collateral_is_out_of_date() {
    let mut sample = Sample::tdx_v4();
    sample.claims();
    sample.time = 1_760_000_000;
    let refused = sample.verify_bytes(&sample.quote).unwrap_err();
    assert_eq!(refused.step, Step::Collateral);
    assert!(matches!(*refused.reason, Reason::Expired { .. }), "{refused}");
    sample.time = 1_750_415_547;
    sample.claims();
    sample.time = 3_000_000_000;
    let refused = sample.verify_bytes(&sample.quote).unwrap_err();
    assert_eq!(refused.step, Step::Chain);
}

#[test]
fn another_binding_is_refused() {
    for sample in [Sample::sgx(), Sample::tdx_v4(), Sample::snp()] {
        let quote = Quote::new(sample.quote.clone()).unwrap();
        let binding = ReportBinding::certificate(b"another");
        let refused = sample
            .verifier
            .verify(&quote, &binding, &sample.collateral, UnixSeconds(sample.time))
            .unwrap_err();
        assert_eq!(refused.step, Step::Binding);
        let message = refused.to_string();
        assert!(
            message.starts_with("step 5, binding: report data: expected certificate with SHA-256"),
            "{message}"
        );
        assert!(
            sample
                .verifier
                .collateral_needed(&quote, &binding, UnixSeconds(sample.time))
                .is_err()
        );
    }
}

#[test]
fn collateral_of_another_manufacturer_is_refused() {
    for (sample, other) in [
        (Sample::sgx(), Sample::snp().collateral),
        (Sample::snp(), Sample::sgx().collateral),
    ] {
        let sample = Sample {
            collateral: other,
            ..sample
        };
        let refused = sample.verify_bytes(&sample.quote).unwrap_err();
        assert!(
            matches!(*refused.reason, Reason::AnotherCollateral { .. }),
            "{refused}"
        );
    }
}

#[test]
fn collateral_of_another_platform_is_refused() {
    let with = |sample: Sample, other: Sample| {
        let sample = Sample {
            collateral: other.collateral,
            time: 1_750_415_547,
            ..sample
        };
        *sample.verify_bytes(&sample.quote).unwrap_err().reason
    };
    assert!(matches!(
        with(Sample::sgx(), Sample::tdx_v4()),
        Reason::ListIssuer {
            list: ListName::Pck,
            ..
        }
    ));
    assert!(matches!(
        with(Sample::tdx_v4(), Sample::sgx()),
        Reason::ListIssuer {
            list: ListName::Pck,
            ..
        }
    ));
}

/// Every bit in release mode, and wherever `EVERY_BIT` is set; otherwise, as our own code is slow without
/// optimisation, every 37th.
fn bits(bytes: usize) -> impl Iterator<Item = usize> {
    let every = !cfg!(debug_assertions) || std::env::var_os("EVERY_BIT").is_some();
    (0..bytes * 8).step_by(if every { 1 } else { 37 })
}

fn refuses_every_flip(sample: &Sample) {
    sample.claims();
    for bit in bits(sample.signed) {
        let mut quote = sample.quote.clone();
        quote[bit / 8] ^= 1 << (bit % 8);
        assert!(sample.verify_bytes(&quote).is_err(), "bit {bit} flipped");
    }
}

#[test]
fn every_flipped_bit_of_an_sgx_quote_is_refused() {
    refuses_every_flip(&Sample::sgx());
}

#[test]
fn every_flipped_bit_of_a_tdx_quote_v4_is_refused() {
    refuses_every_flip(&Sample::tdx_v4());
}

#[test]
fn every_flipped_bit_of_a_tdx_quote_v5_is_refused() {
    refuses_every_flip(&Sample::tdx_v5_extended());
}

#[test]
fn every_flipped_bit_of_an_snp_report_is_refused() {
    refuses_every_flip(&Sample::snp());
}

#[test]
fn every_flipped_bit_of_an_snp_chain_is_refused() {
    let sample = Sample::snp();
    let vcek = include_bytes!("evidence/snp_milan.vcek.der");
    let chain = include_bytes!("evidence/snp_milan.ask_ark.pem");
    let refused = |collateral| {
        let sample = Sample {
            collateral: Collateral::Snp(collateral),
            verifier: Verifier::new(ProductionRoots::pinned()),
            quote: sample.quote.clone(),
            ..sample
        };
        sample.verify_bytes(&sample.quote).is_err()
    };
    for bit in bits(vcek.len()) {
        let mut flipped = vcek.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            refused(milan().with_endorsement_key(flipped)),
            "bit {bit} of the VCEK"
        );
    }
    for bit in bits(chain.len()) {
        let mut flipped = chain.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(collateral) = milan().with_authorities(&flipped) {
            assert!(refused(collateral), "bit {bit} of the chain");
        }
    }
}

#[test]
fn every_flipped_bit_of_collateral_is_refused() {
    for sample in [Sample::sgx(), Sample::tdx_v4()] {
        let Collateral::Dcap(collateral) = &sample.collateral else {
            panic!("collateral of another TEE")
        };
        let parts = collateral.parts();
        type Piece = fn(&mut marblerun_attestation::collateral::DcapCollateralParts) -> Option<&mut Vec<u8>>;
        let binary: [Piece; 4] = [
            |parts| Some(&mut parts.root_ca_crl),
            |parts| Some(&mut parts.pck_crl),
            |parts| Some(&mut parts.tcb_info_signature),
            |parts| Some(&mut parts.qe_identity_signature),
        ];
        for piece in binary {
            let length = piece(&mut parts.clone()).unwrap().len();
            for bit in bits(length) {
                let mut flipped = parts.clone();
                piece(&mut flipped).unwrap()[bit / 8] ^= 1 << (bit % 8);
                refuses(&sample, flipped, bit);
            }
        }
        let text: [fn(&mut marblerun_attestation::collateral::DcapCollateralParts) -> &mut String; 5] = [
            |parts| &mut parts.tcb_info,
            |parts| &mut parts.qe_identity,
            |parts| &mut parts.tcb_info_issuer_chain,
            |parts| &mut parts.qe_identity_issuer_chain,
            |parts| &mut parts.pck_crl_issuer_chain,
        ];
        for piece in text {
            let length = piece(&mut parts.clone()).len();
            for bit in bits(length) {
                let mut bytes = piece(&mut parts.clone()).clone().into_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                if let Ok(flipped) = String::from_utf8(bytes) {
                    let mut parts = parts.clone();
                    *piece(&mut parts) = flipped;
                    refuses(&sample, parts, bit);
                }
            }
        }
    }
}

fn refuses(sample: &Sample, parts: marblerun_attestation::collateral::DcapCollateralParts, bit: usize) {
    let Ok(collateral) = DcapCollateral::new(parts) else {
        return;
    };
    let sample = Sample {
        collateral: Collateral::Dcap(collateral),
        quote: sample.quote.clone(),
        verifier: Verifier::new(ProductionRoots::pinned()),
        ..*sample
    };
    assert!(sample.verify_bytes(&sample.quote).is_err(), "bit {bit} flipped");
}

#[test]
fn every_truncation_is_refused() {
    for sample in [
        Sample::sgx(),
        Sample::tdx_v4(),
        Sample::tdx_v5_extended(),
        Sample::snp(),
    ] {
        for length in 0..sample.signed {
            assert!(
                sample.verify_bytes(&sample.quote[..length]).is_err(),
                "{length} bytes"
            );
            let wrapped = OpenEnclaveHeader::add(&sample.quote[..length]);
            assert!(
                sample.verify_bytes(&wrapped).is_err(),
                "{length} bytes behind the header"
            );
        }
    }
}

#[test]
fn every_other_length_is_refused() {
    let sgx = Sample::sgx();
    let tdx = Sample::tdx_v4();
    let extended = Sample::tdx_v5_extended();
    // Offsets of length fields: signature data; certification data; authentication data; PCK chain; body.
    let after = 4 + 64 + 64;
    let fields: [(&Sample, &[(usize, usize)]); 3] = [
        (
            &sgx,
            &[
                (432, 4),
                (432 + after + 448, 2),
                (432 + after + 448 + 2 + 32 + 2, 4),
            ],
        ),
        (
            &tdx,
            &[
                (632, 4),
                (632 + after + 2, 4),
                (632 + after + 6 + 448, 2),
                (632 + after + 6 + 448 + 2 + 32 + 2, 4),
            ],
        ),
        (
            &extended,
            &[
                (50, 4),
                (939, 4),
                (939 + after + 2, 4),
                (939 + after + 6 + 448, 2),
                (939 + after + 6 + 448 + 2 + 32 + 2, 4),
            ],
        ),
    ];
    for (sample, offsets) in fields {
        for (offset, size) in offsets {
            let mut field = [0; 4];
            field[..*size].copy_from_slice(&sample.quote[*offset..offset + size]);
            let real = u32::from_le_bytes(field);
            let others = [
                0,
                1,
                real - 1,
                real + 1,
                real * 2,
                0xFFFF,
                i32::MAX as u32,
                u32::MAX - 1,
                u32::MAX,
            ];
            for other in others.into_iter().filter(|other| *other != real) {
                let mut quote = sample.quote.clone();
                quote[*offset..offset + size].copy_from_slice(&other.to_le_bytes()[..*size]);
                if quote != sample.quote {
                    assert!(sample.verify_bytes(&quote).is_err(), "{other} at {offset}");
                }
            }
        }
    }
}

#[test]
fn bytes_behind_evidence_are_refused() {
    for sample in [Sample::sgx(), Sample::tdx_v4(), Sample::snp()] {
        let mut longer = sample.quote.clone();
        longer.push(1);
        assert!(sample.verify_bytes(&longer).is_err());
    }
}
