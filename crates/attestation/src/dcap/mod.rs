//! SGX and TDX: quotes of Intel's Data Center Attestation Primitives.

pub(crate) mod collateral;
mod guest;
mod pck;
mod qe_identity;
mod quote;
mod second_opinion;
mod seen;
mod tcb_info;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use self::pck::PckChain;
pub(crate) use self::pck::PlatformId;
use self::quote::{Body, Quote, SgxReport};
pub(crate) use self::seen::Seen;
use self::tcb_info::Rating;
use crate::binding::ReportBinding;
use crate::chain::certificate::valid_at;
use crate::claims::{Claims, SgxClaims, TdxClaims};
use crate::collateral::{DcapCollateral, DcapNeeded, DcapTee, sha256};
use crate::freshness::AsOf;
use crate::moment::UnixSeconds;
use crate::quote::EvidenceKind;
use crate::reason::{Dated, Reason, Refused, Step};
use crate::roots::Roots;

/// Steps 2 to 5 of [`crate::verify`], and what the others need.
pub(crate) fn needed(
    roots: &Roots,
    kind: EvidenceKind,
    evidence: &[u8],
    binding: &ReportBinding,
    now: UnixSeconds,
) -> Result<DcapNeeded, Refused> {
    let quote = Quote::read(kind, evidence).map_err(|reason| Step::Fields.refuse(reason))?;
    let chain = chain(&quote, roots, now).map_err(|reason| Step::Chain.refuse(reason))?;
    is_signed(&quote, &chain).map_err(|reason| Step::Signature.refuse(reason))?;
    is_bound(&quote, binding).map_err(|reason| Step::Binding.refuse(reason))?;
    Ok(DcapNeeded {
        tee: quote.body.tee(),
        fmspc: chain.platform.fmspc,
        authority: chain.authority,
    })
}

/// What evidence of a platform seen before needs. Nothing is verified.
pub(crate) fn remembered(seen: &Seen, kind: EvidenceKind, evidence: &[u8]) -> Option<DcapNeeded> {
    let quote = Quote::read(kind, evidence).ok()?;
    let tee = quote.body.tee();
    let chain = seen.recall(sha256(quote.pck_chain), tee)?;
    Some(DcapNeeded {
        tee,
        fmspc: chain.platform.fmspc,
        authority: chain.authority,
    })
}

/// Steps 2 to 11 of [`crate::verify`].
pub(crate) fn verify(
    roots: &Roots,
    seen: &Seen,
    kind: EvidenceKind,
    evidence: &[u8],
    binding: &ReportBinding,
    collateral: &DcapCollateral,
    as_of: AsOf,
) -> Result<Claims, Refused> {
    let now = as_of.now;

    // 2. Fields.
    let quote = Quote::read(kind, evidence).map_err(|reason| Step::Fields.refuse(reason))?;

    // 3. Chain. Seen before with this collateral, its signatures hold; its dates are looked at again.
    let key = seen::Key::new(sha256(quote.pck_chain), *collateral.digest(), quote.body.tee());
    let known = seen.get(&key);
    let chain_of_first_sight;
    let chain = match &known {
        Some(chain) => {
            chain
                .dated()
                .into_iter()
                .try_for_each(|dated| valid_at(now, dated))
                .map_err(|reason| Step::Chain.refuse(reason))?;
            chain
        }
        None => {
            chain_of_first_sight =
                std::sync::Arc::new(chain(&quote, roots, now).map_err(|reason| Step::Chain.refuse(reason))?);
            &chain_of_first_sight
        }
    };

    // 4. Signature.
    is_signed(&quote, chain).map_err(|reason| Step::Signature.refuse(reason))?;

    // 5. Binding.
    is_bound(&quote, binding).map_err(|reason| Step::Binding.refuse(reason))?;

    // 6. Collateral. Likewise.
    let signed = collateral.signed();
    if known.is_none() {
        signed
            .verify(collateral.parts(), &roots.intel_sgx, chain)
            .map_err(|reason| Step::Collateral.refuse(reason))?;
    }
    signed
        .dated()
        .into_iter()
        .try_for_each(|dated| as_of.in_force(dated))
        .map_err(|reason| Step::Collateral.refuse(reason))?;

    // 7. Platform.
    is_of_this_platform(quote.body.tee(), chain, signed).map_err(|reason| Step::Platform.refuse(reason))?;

    // 8. Quoting enclave.
    let quoting_enclave =
        SgxReport::read(quote.qe_report).map_err(|reason| Step::QuotingEnclave.refuse(reason))?;
    let qe_rating = signed
        .qe_identity
        .rate(&quoting_enclave)
        .map_err(|reason| Step::QuotingEnclave.refuse(reason))?;

    // 9. Guest.
    if let Body::Tdx(report) = &quote.body {
        guest::check(report, &signed.tcb_info).map_err(|reason| Step::Guest.refuse(reason))?;
    }

    // 10. Rating.
    let rating =
        rate(&quote.body, chain, signed, &qe_rating).map_err(|reason| Step::Rating.refuse(reason))?;

    // 11. Second opinion, at first sight. It knows no grace, and a revocation list ends a second earlier for it: from
    // `nextUpdate` on, it is asked as of the last second before.
    if known.is_none() {
        let last = UnixSeconds(signed.next_update().0.saturating_sub(1));
        second_opinion::agrees(
            &roots.intel_sgx,
            evidence,
            collateral.parts(),
            now.min(last),
            &rating,
        )
        .map_err(|reason| Step::SecondOpinion.refuse(reason))?;
        seen.put(key, chain.clone());
    }

    Ok(claims(
        &quote.body,
        chain,
        quoting_enclave.security_version,
        rating,
    ))
}

/// See [`crate::verify::check_collateral`].
pub(crate) fn check_collateral(
    roots: &Roots,
    collateral: &DcapCollateral,
    needed: &DcapNeeded,
    as_of: AsOf,
) -> Result<(), Refused> {
    let signed = collateral.signed();
    signed
        .verify_alone(collateral.parts(), &roots.intel_sgx)
        .and_then(|()| {
            signed
                .dated()
                .into_iter()
                .try_for_each(|dated| as_of.in_force(dated))
        })
        .map_err(|reason| Step::Collateral.refuse(reason))?;
    is_of_this_tee(needed.tee, signed).map_err(|reason| Step::Platform.refuse(reason))?;
    if signed.tcb_info.fmspc != needed.fmspc {
        return Err(Step::Platform.refuse(Reason::Fmspc {
            found: hex::encode(signed.tcb_info.fmspc),
            expected: hex::encode(needed.fmspc),
        }));
    }
    if collateral.is_for().map(|is_for| is_for.authority) != Some(needed.authority) {
        return Err(Step::Platform.refuse(Reason::AnotherAuthority {
            found: signed.pck_list_issuer_name(),
            expected: needed.authority.as_str(),
        }));
    }
    Ok(())
}

fn chain(quote: &Quote<'_>, roots: &Roots, now: UnixSeconds) -> Result<PckChain, Reason> {
    let chain = PckChain::verify(quote.pck_chain, &roots.intel_sgx)?;
    chain
        .dated()
        .into_iter()
        .try_for_each(|dated| valid_at(now, dated))?;
    Ok(chain)
}

/// The platform signs for the quoting enclave, the quoting enclave reports the attestation key, and that one signs
/// the quote.
fn is_signed(quote: &Quote<'_>, chain: &PckChain) -> Result<(), Reason> {
    chain
        .key
        .verify_sig(quote.qe_report, quote.qe_report_signature)
        .map_err(|_| Reason::QeReportSignature)?;

    let reported = SgxReport::read(quote.qe_report)?.report_data;
    let mut expected = [0; 64];
    let hash = sha256(&[&quote.attestation_key[..], quote.authentication_data].concat());
    for (target, byte) in expected.iter_mut().zip(hash) {
        *target = byte;
    }
    if *reported != expected {
        return Err(Reason::AttestationKey {
            found: hex::encode(expected),
            expected: hex::encode(reported),
        });
    }

    let mut key = [4; 65];
    for (target, byte) in key.iter_mut().skip(1).zip(quote.attestation_key) {
        *target = *byte;
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(quote.signed, quote.signature)
        .map_err(|_| Reason::QuoteSignature)
}

fn is_bound(quote: &Quote<'_>, binding: &ReportBinding) -> Result<(), Reason> {
    let found = quote.body.report_data();
    if *found == binding.report_data() {
        return Ok(());
    }
    Err(Reason::Binding {
        found: hex::encode(found),
        expected: *binding,
    })
}

/// TCB information and QE identity are for this kind of TEE, in a version that is known.
fn is_of_this_tee(tee: DcapTee, signed: &collateral::Signed) -> Result<(), Reason> {
    let (info, identity) = (&signed.tcb_info, &signed.qe_identity);
    let (tcb_info_ok, expected_info, identity_ok, expected_identity) = match tee {
        DcapTee::Sgx => (
            info.id == "SGX" && info.version == 3,
            "SGX of version 3",
            identity.id == "QE" && identity.version == 2,
            "QE of version 2",
        ),
        DcapTee::Tdx => (
            info.id == "TDX" && info.version == 3,
            "TDX of version 3",
            identity.id == "TD_QE" && matches!(identity.version, 2 | 3),
            "TD_QE of version 2 or 3",
        ),
    };
    let kind = |what, id: &str, version, expected| Reason::CollateralKind {
        what,
        found: format!("{id:?} of version {version}"),
        expected,
    };
    if !tcb_info_ok {
        return Err(kind(Dated::TcbInfo, &info.id, info.version, expected_info));
    }
    if !identity_ok {
        return Err(kind(
            Dated::QeIdentity,
            &identity.id,
            identity.version,
            expected_identity,
        ));
    }
    Ok(())
}

fn is_of_this_platform(tee: DcapTee, chain: &PckChain, signed: &collateral::Signed) -> Result<(), Reason> {
    is_of_this_tee(tee, signed)?;
    let info = &signed.tcb_info;
    if info.fmspc != chain.platform.fmspc {
        return Err(Reason::Fmspc {
            found: hex::encode(info.fmspc),
            expected: hex::encode(chain.platform.fmspc),
        });
    }
    if info.pce_id != chain.platform.pce_id {
        return Err(Reason::PceId {
            found: hex::encode(info.pce_id),
            expected: hex::encode(chain.platform.pce_id),
        });
    }
    Ok(())
}

fn rate(
    body: &Body<'_>,
    chain: &PckChain,
    signed: &collateral::Signed,
    quoting_enclave: &Rating,
) -> Result<Rating, Reason> {
    let rate = |tee_tcb_svn| {
        let mut rating = signed.tcb_info.rate(&chain.platform, tee_tcb_svn)?;
        rating.converge(quoting_enclave);
        Ok(rating)
    };
    let Body::Tdx(report) = body else {
        return rate(None);
    };
    let mut rating = rate(Some(report.tee_tcb_svn))?;
    if let Some(now) = &report.since_15 {
        rating.since_start(&rate(Some(now.tee_tcb_svn_now))?);
    }
    Ok(rating)
}

fn claims(body: &Body<'_>, chain: &PckChain, qe_svn: u16, rating: Rating) -> Claims {
    let (cpu_svn, pce_svn) = (chain.platform.cpu_svn, chain.platform.pce_svn);
    let root_ca = chain.root.der.clone();
    match body {
        Body::Sgx(report) => Claims::Sgx(Box::new(SgxClaims {
            unique_id: *report.mr_enclave,
            signer_id: *report.mr_signer,
            product_id: report.product_id,
            security_version: report.security_version,
            debug: report.debug(),
            tcb_status: rating.status,
            advisories: rating.advisories,
            cpu_svn,
            qe_svn,
            pce_svn,
            root_ca,
            report_data: *report.report_data,
        })),
        Body::Tdx(report) => Claims::Tdx(Box::new(TdxClaims {
            mrtd: *report.mrtd,
            rtmr: report.rtmr.map(|register| *register),
            mr_config_id: *report.mr_config_id,
            mr_owner: *report.mr_owner,
            mr_owner_config: *report.mr_owner_config,
            mr_seam: *report.mr_seam,
            mr_signer_seam: *report.mr_signer_seam,
            attributes: *report.attributes,
            xfam: *report.xfam,
            debug: guest::debug(report),
            tee_tcb_svn: *report.tee_tcb_svn,
            tcb_status: rating.status,
            advisories: rating.advisories,
            cpu_svn,
            qe_svn,
            pce_svn,
            root_ca,
            report_data: *report.report_data,
        })),
    }
}
