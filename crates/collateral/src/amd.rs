//! AMD's collateral: Versioned Chip Endorsement Key Certificate and KDS Interface Specification, chapter 4.

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey, SnpTcb};

use crate::config::Services;
use crate::error::{CollateralError, Document, ServiceName};
use crate::http::{Asked, Fetcher};

/// The chain of a product line, PEM: ASK or ASVK, ARK.
pub(crate) async fn chain(
    fetcher: &Fetcher,
    services: &Services,
    product: SnpProduct,
    key: SnpSigningKey,
) -> Result<Vec<u8>, CollateralError> {
    let path = format!("/{}/v1/{product}/cert_chain", name(key));
    get(fetcher, services, Document::AmdChain, &path).await
}

/// The revocation list of a product line, DER.
pub(crate) async fn list(
    fetcher: &Fetcher,
    services: &Services,
    product: SnpProduct,
    key: SnpSigningKey,
) -> Result<Vec<u8>, CollateralError> {
    let path = format!("/{}/v1/{product}/crl", name(key));
    get(fetcher, services, Document::AmdCrl, &path).await
}

/// The certificate of a VCEK, DER.
pub(crate) async fn vcek(
    fetcher: &Fetcher,
    services: &Services,
    product: SnpProduct,
    chip_id: &[u8; 64],
    tcb: &SnpTcb,
) -> Result<Vec<u8>, CollateralError> {
    get(
        fetcher,
        services,
        Document::Vcek,
        &vcek_path(product, chip_id, tcb),
    )
    .await
}

fn vcek_path(product: SnpProduct, chip_id: &[u8; 64], tcb: &SnpTcb) -> String {
    // On Turin a chip is known by 8 bytes, and the first component is another one.
    let id = match product {
        SnpProduct::Milan | SnpProduct::Genoa => hex::encode(chip_id),
        SnpProduct::Turin => hex::encode(chip_id).chars().take(16).collect(),
    };
    let fmc = tcb.fmc.map(|fmc| format!("fmcSPL={fmc:02}&")).unwrap_or_default();
    format!(
        "/vcek/v1/{product}/{id}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
        tcb.boot_loader, tcb.tee, tcb.snp, tcb.microcode
    )
}

fn name(key: SnpSigningKey) -> &'static str {
    match key {
        SnpSigningKey::Vcek => "vcek",
        SnpSigningKey::Vlek => "vlek",
    }
}

async fn get(
    fetcher: &Fetcher,
    services: &Services,
    document: Document,
    path: &str,
) -> Result<Vec<u8>, CollateralError> {
    let asked = Asked {
        service: ServiceName::Kds,
        document,
        base: &services.kds,
        path,
    };
    Ok(fetcher.get(asked).await?.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endorsement_keys_are_asked_for_as_the_specification_says() {
        let mut chip = [0; 64];
        chip[..8].copy_from_slice(&[0xAB; 8]);
        let mut tcb = SnpTcb {
            fmc: None,
            boot_loader: 3,
            tee: 0,
            snp: 8,
            microcode: 115,
        };
        assert_eq!(
            vcek_path(SnpProduct::Milan, &chip, &tcb),
            format!(
                "/vcek/v1/Milan/{}{}?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115",
                "ab".repeat(8),
                "00".repeat(56)
            )
        );
        tcb.fmc = Some(1);
        assert_eq!(
            vcek_path(SnpProduct::Turin, &chip, &tcb),
            "/vcek/v1/Turin/abababababababab?fmcSPL=01&blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115"
        );
    }
}
