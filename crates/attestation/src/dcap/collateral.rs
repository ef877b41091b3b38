//! Collateral as signed: revocation lists, TCB information, identity of the quoting enclave.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::pck::PckChain;
use super::qe_identity::QeIdentity;
use super::tcb_info::TcbInfo;
use crate::chain::certificate::KeyKind;
use crate::chain::{Certificate, RevocationList, pem};
use crate::collateral::{CollateralError, DcapCollateralParts, DcapNeeded, DcapTee};
use crate::moment::{Period, UnixSeconds};
use crate::reason::{CertificateRole, Dated, ListName, Reason};

const SIGNER: &str = "Intel SGX TCB Signing";

/// The parts of collateral, read and not verified.
pub(crate) struct Signed {
    root_list: RevocationList,
    pck_list: RevocationList,
    pck_list_issuer: Certificate,
    pck_list_root: Certificate,
    tcb_info_signer: Certificate,
    tcb_info_root: Certificate,
    pub(super) tcb_info: TcbInfo,
    qe_identity_signer: Certificate,
    qe_identity_root: Certificate,
    pub(super) qe_identity: QeIdentity,
}

impl Signed {
    pub(crate) fn read(parts: &DcapCollateralParts) -> Result<Self, CollateralError> {
        let [pck_list_issuer, pck_list_root] = pair(
            "pck_crl_issuer_chain",
            &parts.pck_crl_issuer_chain,
            CertificateRole::PckListIssuer,
        )?;
        let [tcb_info_signer, tcb_info_root] = pair(
            "tcb_info_issuer_chain",
            &parts.tcb_info_issuer_chain,
            CertificateRole::TcbInfoSigner,
        )?;
        let [qe_identity_signer, qe_identity_root] = pair(
            "qe_identity_issuer_chain",
            &parts.qe_identity_issuer_chain,
            CertificateRole::QeIdentitySigner,
        )?;
        Ok(Self {
            root_list: RevocationList::parse(ListName::IntelSgxRoot, &parts.root_ca_crl)?,
            pck_list: RevocationList::parse(ListName::Pck, &parts.pck_crl)?,
            pck_list_issuer,
            pck_list_root,
            tcb_info_signer,
            tcb_info_root,
            tcb_info: TcbInfo::read(&parts.tcb_info)?,
            qe_identity_signer,
            qe_identity_root,
            qe_identity: QeIdentity::read(&parts.qe_identity)?,
        })
    }

    pub(crate) fn next_update(&self) -> UnixSeconds {
        [
            self.root_list.dated(),
            self.pck_list.dated(),
            (Dated::TcbInfo, self.tcb_info.period),
            (Dated::QeIdentity, self.qe_identity.period),
        ]
        .iter()
        .map(|(_, period)| period.until)
        .fold(UnixSeconds(u64::MAX), UnixSeconds::min)
    }

    /// Everything signed by whom it should be, and nothing revoked; dates apart.
    pub(super) fn verify(
        &self,
        parts: &DcapCollateralParts,
        pinned: &Certificate,
        chain: &PckChain,
    ) -> Result<(), Reason> {
        self.verify_below(parts, pinned, &chain.ca)?;
        self.pck_list.does_not_name(&chain.pck)
    }

    /// The same before there is a platform: then its CA is the one whose list this is.
    pub(super) fn verify_alone(
        &self,
        parts: &DcapCollateralParts,
        pinned: &Certificate,
    ) -> Result<(), Reason> {
        self.verify_below(parts, pinned, &self.pck_list_issuer)
    }

    fn verify_below(
        &self,
        parts: &DcapCollateralParts,
        pinned: &Certificate,
        ca: &Certificate,
    ) -> Result<(), Reason> {
        for root in [&self.pck_list_root, &self.tcb_info_root, &self.qe_identity_root] {
            root.is_root(pinned)?;
        }
        self.root_list.is_issued_by(pinned)?;
        self.pck_list_issuer.is_issued_by(pinned)?;
        // The list has to be the one of the CA that issued this platform's certificate.
        self.pck_list.is_issued_by(ca)?;
        if !self.pck_list_issuer.is_same_entity(ca) {
            return Err(Reason::AnotherIssuer {
                certificate: CertificateRole::PckListIssuer,
                found: self.pck_list_issuer.subject.to_string(),
                expected: ca.subject.to_string(),
            });
        }
        for signer in [&self.tcb_info_signer, &self.qe_identity_signer] {
            signer.is_issued_by(pinned)?;
            is_signer(signer)?;
        }
        for issued_by_root in [
            ca,
            &self.pck_list_issuer,
            &self.tcb_info_signer,
            &self.qe_identity_signer,
        ] {
            self.root_list.does_not_name(issued_by_root)?;
        }
        signed(
            Dated::TcbInfo,
            &parts.tcb_info,
            &parts.tcb_info_signature,
            &self.tcb_info_signer,
        )?;
        signed(
            Dated::QeIdentity,
            &parts.qe_identity,
            &parts.qe_identity_signature,
            &self.qe_identity_signer,
        )
    }

    /// The CA whose list this is, as it names itself.
    pub(super) fn pck_list_issuer_name(&self) -> String {
        self.pck_list_issuer.subject.to_string()
    }

    /// What the parts say they are for; `None` when they say no such thing.
    pub(crate) fn is_for(&self) -> Option<DcapNeeded> {
        Some(DcapNeeded {
            tee: match self.tcb_info.id.as_str() {
                "SGX" => DcapTee::Sgx,
                "TDX" => DcapTee::Tdx,
                _ => return None,
            },
            fmspc: self.tcb_info.fmspc,
            authority: super::pck::authority(&self.pck_list_issuer)?,
        })
    }

    pub(crate) fn dated(&self) -> [(Dated, Period); 10] {
        [
            self.root_list.dated(),
            self.pck_list.dated(),
            self.pck_list_issuer.dated(),
            self.pck_list_root.dated(),
            self.tcb_info_signer.dated(),
            self.tcb_info_root.dated(),
            (Dated::TcbInfo, self.tcb_info.period),
            self.qe_identity_signer.dated(),
            self.qe_identity_root.dated(),
            (Dated::QeIdentity, self.qe_identity.period),
        ]
    }
}

/// A chain of a certificate and the root.
fn pair(field: &'static str, text: &str, role: CertificateRole) -> Result<[Certificate; 2], CollateralError> {
    let list = pem::certificates(text.as_bytes(), 2).map_err(|why| CollateralError::field(field, why))?;
    let [certificate, root] = list.as_slice() else {
        let why = format!("expected 2 certificates, found {}", list.len());
        return Err(CollateralError::field(field, why));
    };
    Ok([
        Certificate::parse(role, certificate)?,
        Certificate::parse(CertificateRole::IntelSgxRoot, root)?,
    ])
}

/// The root issues CAs as well; only the signer's certificate may speak about platforms.
fn is_signer(certificate: &Certificate) -> Result<(), Reason> {
    if certificate.is_authority() {
        return Err(Reason::UnexpectedAuthority {
            certificate: certificate.role,
        });
    }
    let found = certificate.common_name();
    if found.as_deref() != Some(SIGNER) {
        return Err(Reason::AnotherSubject {
            certificate: certificate.role,
            found: found.unwrap_or_else(|| "none".to_owned()),
            expected: SIGNER,
        });
    }
    certificate.has_key(KeyKind::P256)
}

fn signed(what: Dated, text: &str, signature: &[u8], signer: &Certificate) -> Result<(), Reason> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &signer.public_key)
        .verify(text.as_bytes(), signature)
        .map_err(|_| Reason::CollateralSignature {
            signed: what,
            signer: signer.role,
        })
}
