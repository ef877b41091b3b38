//! The second implementation: the first time a platform and its collateral are seen, the whole quote is verified by
//! the crate `dcap-qvl` too, with our cryptography and our root.

use aws_lc_rs::digest::{SHA384, digest};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::config::{Config, CryptoProvider};
use dcap_qvl::signature::DerSigEncoder;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::x509::X509CertBackend;
use rustls_pki_types::SignatureVerificationAlgorithm;

use super::tcb_info::Rating;
use crate::chain::Certificate;
use crate::collateral::DcapCollateralParts;
use crate::moment::UnixSeconds;
use crate::reason::Reason;
use crate::tcb::TcbStatus;

/// What the second implementation says about a platform that it rates as revoked; it has no other way to say so.
const REVOKED: &str = "TCB status is invalid: Revoked";

/// Whether the second implementation accepts the quote with the same rating.
pub(super) fn agrees(
    root: &Certificate,
    quote: &[u8],
    parts: &DcapCollateralParts,
    now: UnixSeconds,
    rating: &Rating,
) -> Result<(), Reason> {
    let verdict = QuoteVerifier::<AwsLc>::new_with_config(root.der.clone())
        .allow_debug(true)
        .verify(quote, &collateral(parts), now.0);
    match verdict {
        Err(error) if rating.status == TcbStatus::Revoked && error.to_string() == REVOKED => Ok(()),
        Err(error) => Err(Reason::SecondOpinion {
            why: format!("{error:#}"),
        }),
        Ok(report) if same(&report.status, rating.status) => Ok(()),
        Ok(report) => Err(Reason::SecondRating {
            found: report.status,
            expected: rating.status,
        }),
    }
}

/// It has names of its own for trust domains that would be rated better once started again.
fn same(theirs: &str, ours: TcbStatus) -> bool {
    match theirs {
        "TDRelaunchAdvised" => ours == TcbStatus::OutOfDate,
        "TDRelaunchAdvisedConfigurationNeeded" => ours == TcbStatus::OutOfDateConfigurationNeeded,
        other => other == ours.as_str(),
    }
}

fn collateral(parts: &DcapCollateralParts) -> QuoteCollateralV3 {
    QuoteCollateralV3 {
        pck_crl_issuer_chain: parts.pck_crl_issuer_chain.clone(),
        root_ca_crl: parts.root_ca_crl.clone(),
        pck_crl: parts.pck_crl.clone(),
        tcb_info_issuer_chain: parts.tcb_info_issuer_chain.clone(),
        tcb_info: parts.tcb_info.clone(),
        tcb_info_signature: parts.tcb_info_signature.clone(),
        qe_identity_issuer_chain: parts.qe_identity_issuer_chain.clone(),
        qe_identity: parts.qe_identity.clone(),
        qe_identity_signature: parts.qe_identity_signature.clone(),
        pck_certificate_chain: None,
    }
}

/// `dcap-qvl` on our cryptographic provider.
struct AwsLc;

impl Config for AwsLc {
    type X509 = X509CertBackend;
    type SigEncoder = DerSigEncoder;
    type Crypto = Self;
}

impl CryptoProvider for AwsLc {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        webpki::aws_lc_rs::ECDSA_P256_SHA256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        crate::collateral::sha256(data)
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        let mut output = [0; 48];
        for (target, byte) in output.iter_mut().zip(digest(&SHA384, data).as_ref()) {
            *target = *byte;
        }
        output
    }
}
