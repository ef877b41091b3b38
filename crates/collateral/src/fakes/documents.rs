//! What is served: documents of the software TEE, made when they are asked for.

use std::collections::HashMap;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use marblerun_attestation::collateral::{DcapCollateralParts, DcapTee};
use marblerun_attestation::fakes::{IntelPlatform, SnpPlatform, SoftwareTee};

use super::{Failed, Shared};
use crate::error::Document;
use crate::item::to_pem;

/// A document with the header that holds its issuer chain.
pub(super) struct Made {
    pub(super) body: Vec<u8>,
    pub(super) chain: Option<(&'static str, String)>,
}

/// What a path asks for; `None`: nothing that such services have.
pub(super) fn document(path: &str) -> Option<Document> {
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    Some(match words.as_slice() {
        ["sgx", "certification", "v4", "rootcacrl"] | ["IntelSGXRootCA.der"] => Document::RootCrl,
        ["sgx", "certification", "v4", "pckcrl"] => Document::PckCrl,
        ["sgx" | "tdx", "certification", "v4", "tcb"] => Document::TcbInfo,
        ["sgx" | "tdx", "certification", "v4", "qe", "identity"] => Document::QeIdentity,
        ["vcek" | "vlek", "v1", _, "cert_chain"] => Document::AmdChain,
        ["vcek" | "vlek", "v1", _, "crl"] => Document::AmdCrl,
        ["vcek", "v1", _, _] => Document::Vcek,
        _ => return None,
    })
}

/// Makes a document; `None` where a service would say that it has none.
pub(super) fn make(shared: &Shared, path: &str, query: &str, foreign: bool) -> Result<Option<Made>, Failed> {
    let Some(document) = document(path) else {
        return Ok(None);
    };
    let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match document {
        Document::RootCrl | Document::PckCrl | Document::TcbInfo | Document::QeIdentity => {
            let tee = match words.first() {
                Some(&"tdx") => DcapTee::Tdx,
                _ => DcapTee::Sgx,
            };
            intel(shared, document, tee, &query, path, foreign)
        }
        Document::AmdChain | Document::AmdCrl | Document::Vcek => {
            let key = match words.first() {
                Some(&"vlek") => SnpSigningKey::Vlek,
                _ => SnpSigningKey::Vcek,
            };
            let Some(product) = words.get(2).and_then(|name| SnpProduct::named(name)) else {
                return Ok(None);
            };
            amd(shared, document, product, key, words.get(3).copied(), &query)
        }
    }
}

fn intel(
    shared: &Shared,
    document: Document,
    tee: DcapTee,
    query: &HashMap<&str, &str>,
    path: &str,
    foreign: bool,
) -> Result<Option<Made>, Failed> {
    let parts = platform(&shared.tee, shared, tee, query).parts()?;
    let chains = if foreign {
        platform(&shared.foreign, shared, tee, query).parts()?
    } else {
        parts.clone()
    };
    let DcapCollateralParts {
        pck_crl_issuer_chain,
        tcb_info_issuer_chain,
        qe_identity_issuer_chain,
        ..
    } = chains;
    let (body, chain) = match document {
        // A PCCS serves hex, the distribution point DER.
        Document::RootCrl if path.ends_with("rootcacrl") => {
            (hex::encode(&parts.root_ca_crl).into_bytes(), None)
        }
        Document::RootCrl => (parts.root_ca_crl, None),
        Document::PckCrl => {
            if !query.contains_key("ca") {
                return Ok(None);
            }
            (
                parts.pck_crl,
                Some(("SGX-PCK-CRL-Issuer-Chain", pck_crl_issuer_chain)),
            )
        }
        Document::TcbInfo => {
            if !query.contains_key("fmspc") {
                return Ok(None);
            }
            (
                signed("tcbInfo", &parts.tcb_info, &parts.tcb_info_signature),
                Some(("TCB-Info-Issuer-Chain", tcb_info_issuer_chain)),
            )
        }
        _ => (
            signed(
                "enclaveIdentity",
                &parts.qe_identity,
                &parts.qe_identity_signature,
            ),
            Some(("SGX-Enclave-Identity-Issuer-Chain", qe_identity_issuer_chain)),
        ),
    };
    Ok(Some(Made { body, chain }))
}

/// The platform that was asked for: its family, and its CA.
fn platform(tee: &SoftwareTee, shared: &Shared, kind: DcapTee, query: &HashMap<&str, &str>) -> IntelPlatform {
    let mut platform = tee.intel(kind);
    if let Some(fmspc) = query.get("fmspc")
        && let Some(fields) = platform.tcb_info.as_object_mut()
    {
        fields.insert("fmspc".to_owned(), (*fmspc).into());
    }
    if query.get("ca") == Some(&"processor") {
        let name = "Intel SGX PCK Processor CA";
        platform.ca.subject = name.to_owned();
        platform.pck_list.issuer = name.to_owned();
    }
    let change = shared.lock().intel.clone();
    if let Some(change) = change {
        change(&mut platform);
    }
    platform
}

fn signed(name: &str, text: &str, signature: &[u8]) -> Vec<u8> {
    format!(r#"{{"{name}":{text},"signature":"{}"}}"#, hex::encode(signature)).into_bytes()
}

fn amd(
    shared: &Shared,
    document: Document,
    product: SnpProduct,
    key: SnpSigningKey,
    chip: Option<&str>,
    query: &HashMap<&str, &str>,
) -> Result<Option<Made>, Failed> {
    let mut platform = shared.tee.snp(product, key);
    if document == Document::Vcek {
        let Some((chip, tcb)) = asked(product, chip, query) else {
            return Ok(None);
        };
        if shared.lock().forgotten.contains(&product) {
            return Ok(None);
        }
        platform.hardware_id = Some(chip);
        platform.tcb = tcb;
    }
    let change = shared.lock().amd.clone();
    if let Some(change) = change {
        change(&mut platform);
    }
    let body = match document {
        Document::AmdChain => chain(&platform)?,
        Document::AmdCrl => platform.list.sign(&platform.ark_key)?,
        _ => platform.endorsement_der()?,
    };
    Ok(Some(Made { body, chain: None }))
}

fn chain(platform: &SnpPlatform) -> Result<Vec<u8>, Failed> {
    Ok(to_pem(&[platform.intermediate_der()?, platform.ark_der()?]).into_bytes())
}

fn asked(product: SnpProduct, chip: Option<&str>, query: &HashMap<&str, &str>) -> Option<(Vec<u8>, SnpTcb)> {
    let chip = hex::decode(chip?).ok()?;
    let (length, has_fmc) = match product {
        SnpProduct::Milan | SnpProduct::Genoa => (64, false),
        SnpProduct::Turin => (8, true),
    };
    let number = |name: &str| query.get(name)?.parse::<u8>().ok();
    let tcb = SnpTcb {
        fmc: if has_fmc { Some(number("fmcSPL")?) } else { None },
        boot_loader: number("blSPL")?,
        tee: number("teeSPL")?,
        snp: number("snpSPL")?,
        microcode: number("ucodeSPL")?,
    };
    (chip.len() == length && query.contains_key("fmcSPL") == has_fmc).then_some((chip, tcb))
}
