//! Intel's collateral: PCS API v4, as Intel's own service and caching services (PCCS) offer it.

use marblerun_attestation::DcapCollateral;
use marblerun_attestation::collateral::{
    CollateralError as Content, DcapCollateralParts, DcapNeeded, not_hex,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Services;
use crate::error::{CollateralError, Document, ServiceName};
use crate::http::{Answer, Asked, Fetcher};
use crate::url::ServiceUrl;

const PCCS: ServiceName = ServiceName::Pccs;
const TCB_INFO_CHAIN: &[&str] = &["TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"];
const QE_IDENTITY_CHAIN: &[&str] = &["SGX-Enclave-Identity-Issuer-Chain"];
const PCK_CRL_CHAIN: &[&str] = &["SGX-PCK-CRL-Issuer-Chain"];

/// Fetches the four documents of a platform, at the same time.
pub(crate) async fn fetch(
    fetcher: &Fetcher,
    services: &Services,
    needed: &DcapNeeded,
) -> Result<DcapCollateral, CollateralError> {
    let (root_ca_crl, pck_crl, tcb_info, qe_identity) = tokio::try_join!(
        root_crl(fetcher, services),
        pck_crl(fetcher, services, needed),
        signed(fetcher, services, Kind::TcbInfo, needed),
        signed(fetcher, services, Kind::QeIdentity, needed),
    )?;
    let parts = DcapCollateralParts {
        pck_crl_issuer_chain: pck_crl.1,
        root_ca_crl,
        pck_crl: pck_crl.0,
        tcb_info_issuer_chain: tcb_info.issuer_chain,
        tcb_info: tcb_info.text,
        tcb_info_signature: tcb_info.signature,
        qe_identity_issuer_chain: qe_identity.issuer_chain,
        qe_identity: qe_identity.text,
        qe_identity_signature: qe_identity.signature,
    };
    DcapCollateral::new(parts).map_err(|error| unreadable(&error))
}

/// Which document it is that cannot be read.
fn unreadable(error: &Content) -> CollateralError {
    use marblerun_attestation::Reason;
    use marblerun_attestation::reason::{CertificateRole, ListName};
    let document = match error {
        Content::Field { field, .. } => match *field {
            "tcb_info" | "tcb_info_issuer_chain" => Document::TcbInfo,
            "qe_identity" | "qe_identity_issuer_chain" => Document::QeIdentity,
            _ => Document::PckCrl,
        },
        Content::Content(Reason::ListMalformed {
            list: ListName::IntelSgxRoot,
            ..
        }) => Document::RootCrl,
        Content::Content(Reason::CertificateMalformed {
            certificate: CertificateRole::TcbInfoSigner,
            ..
        }) => Document::TcbInfo,
        Content::Content(Reason::CertificateMalformed {
            certificate: CertificateRole::QeIdentitySigner,
            ..
        }) => Document::QeIdentity,
        _ => Document::PckCrl,
    };
    malformed(document, error.to_string())
}

async fn root_crl(fetcher: &Fetcher, services: &Services) -> Result<Vec<u8>, CollateralError> {
    let document = Document::RootCrl;
    let (base, path) = match &services.root_crl {
        Some(url) => (url.clone(), ""),
        // Intel's own service has the list at its distribution point alone.
        None if services.pccs == ServiceUrl::known(Services::INTEL_PCS) => {
            (ServiceUrl::known(Services::INTEL_ROOT_CRL), "")
        }
        None => (services.pccs.clone(), "/sgx/certification/v4/rootcacrl"),
    };
    let answer = fetcher
        .get(Asked {
            service: PCCS,
            document,
            base: &base,
            path,
        })
        .await?;
    list(document, &answer.body)
}

async fn pck_crl(
    fetcher: &Fetcher,
    services: &Services,
    needed: &DcapNeeded,
) -> Result<(Vec<u8>, String), CollateralError> {
    let document = Document::PckCrl;
    let path = format!(
        "/sgx/certification/v4/pckcrl?ca={}&encoding=der",
        needed.authority.as_str()
    );
    let answer = fetcher
        .get(Asked {
            service: PCCS,
            document,
            base: &services.pccs,
            path: &path,
        })
        .await?;
    let chain = issuer_chain(document, &answer, PCK_CRL_CHAIN)?;
    Ok((list(document, &answer.body)?, chain))
}

/// A revocation list: DER from Intel and from distribution points, hex of it from caching services.
fn list(document: Document, body: &[u8]) -> Result<Vec<u8>, CollateralError> {
    const SEQUENCE: u8 = 0x30;
    // Hex of DER begins with the character `3`, 0x33.
    if body.first() == Some(&SEQUENCE) && body.get(1).is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Ok(body.to_vec());
    }
    let text = body.trim_ascii();
    let text = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text);
    hex::decode(text).map_err(|error| {
        malformed(
            document,
            format!("expected DER or hex of it, found {}", not_hex(error)),
        )
    })
}

/// A JSON document with its signature.
struct Signed {
    text: String,
    signature: Vec<u8>,
    issuer_chain: String,
}

/// The two kinds of such documents.
#[derive(Clone, Copy)]
enum Kind {
    TcbInfo,
    QeIdentity,
}

impl Kind {
    fn document(self) -> Document {
        match self {
            Self::TcbInfo => Document::TcbInfo,
            Self::QeIdentity => Document::QeIdentity,
        }
    }

    fn path(self, needed: &DcapNeeded) -> String {
        let tee = needed.tee.as_str();
        match self {
            Self::TcbInfo => format!("/{tee}/certification/v4/tcb?fmspc={}", hex::encode(needed.fmspc)),
            Self::QeIdentity => format!("/{tee}/certification/v4/qe/identity"),
        }
    }

    /// Names of the header with the issuer chain, in order of preference.
    fn chain(self) -> &'static [&'static str] {
        match self {
            Self::TcbInfo => TCB_INFO_CHAIN,
            Self::QeIdentity => QE_IDENTITY_CHAIN,
        }
    }

    /// The signed object as it stands in the answer, and the signature.
    fn read(self, body: &[u8]) -> serde_json::Result<(String, String)> {
        Ok(match self {
            Self::TcbInfo => {
                let body: TcbInfo<'_> = serde_json::from_slice(body)?;
                (body.text.get().to_owned(), body.signature)
            }
            Self::QeIdentity => {
                let body: QeIdentity<'_> = serde_json::from_slice(body)?;
                (body.text.get().to_owned(), body.signature)
            }
        })
    }
}

#[derive(Deserialize)]
struct TcbInfo<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    text: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
struct QeIdentity<'a> {
    #[serde(borrow, rename = "enclaveIdentity")]
    text: &'a RawValue,
    signature: String,
}

async fn signed(
    fetcher: &Fetcher,
    services: &Services,
    kind: Kind,
    needed: &DcapNeeded,
) -> Result<Signed, CollateralError> {
    let document = kind.document();
    let answer = fetcher
        .get(Asked {
            service: PCCS,
            document,
            base: &services.pccs,
            path: &kind.path(needed),
        })
        .await?;
    let issuer_chain = issuer_chain(document, &answer, kind.chain())?;
    let (text, signature) = kind
        .read(&answer.body)
        .map_err(|error| malformed(document, error.to_string()))?;
    let signature = hex::decode(signature)
        .map_err(|error| malformed(document, format!("signature: {}", not_hex(error))))?;
    Ok(Signed {
        text,
        signature,
        issuer_chain,
    })
}

/// The issuer chain in a header: PEM, percent-encoded.
fn issuer_chain(
    document: Document,
    answer: &Answer,
    names: &'static [&'static str],
) -> Result<String, CollateralError> {
    let header = names.first().copied().unwrap_or("");
    let failed = |why: &str| CollateralError::IssuerChain {
        service: PCCS,
        document,
        header,
        why: why.to_owned(),
    };
    let value = names
        .iter()
        .find_map(|name| answer.headers.get(*name))
        .ok_or_else(|| failed("expected one, found none"))?;
    let text = percent_decoded(value.as_bytes()).ok_or_else(|| failed("not percent-encoded text"))?;
    if !text.starts_with("-----BEGIN CERTIFICATE-----") {
        return Err(failed("expected PEM, found something else"));
    }
    Ok(text)
}

/// `%XX` becomes a byte; everything else, `+` of Base64 included, stays. `None`: a broken escape, or no UTF-8.
fn percent_decoded(text: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        decoded.extend(hex::decode(digits).ok()?);
        rest = behind;
    }
    String::from_utf8(decoded).ok()
}

fn malformed(document: Document, why: String) -> CollateralError {
    CollateralError::Malformed {
        service: PCCS,
        document,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoded_text_is_decoded() {
        for (text, decoded) in [
            ("a%20b%0A+%2B/=", Some("a b\n++/=")),
            ("", Some("")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decoded(text.as_bytes()).as_deref(), decoded, "{text}");
        }
    }

    #[test]
    fn lists_are_der_or_hex() {
        let der = [0x30, 0x82, 0x01, 0x02];
        for body in [&der[..], b"30820102", b" 30820102\n", b"\"30820102\""] {
            assert_eq!(list(Document::RootCrl, body).unwrap(), der);
        }
        assert!(list(Document::RootCrl, b"<html>").is_err());
    }
}
