//! Collateral of the software TEE whose keys everybody knows, made in-process. It is good under
//! [`marblerun_attestation::SimulationRoots::development`] and nowhere else.

use std::sync::Arc;

use marblerun_attestation::claims::SnpProduct;
use marblerun_attestation::collateral::SnpCertificateInfo;
use marblerun_attestation::fakes::SoftwareTee;
use marblerun_attestation::{Collateral, UnixSeconds};

use crate::error::CollateralError;
use crate::item::to_pem;
use crate::piece::{Key, Piece, SnpLine};

/// Makes a piece. Chips may be any; a platform of Intel is the one the software TEE has, and collateral for another is
/// refused where it is checked.
pub(crate) fn make(key: &Key) -> Result<(Piece, Option<UnixSeconds>), CollateralError> {
    let tee = SoftwareTee::development().map_err(failed)?;
    match key {
        Key::Dcap(needed) => {
            let collateral = tee.intel(needed.tee).collateral().map_err(failed)?;
            let until = Some(collateral.next_update());
            Ok((Piece::Dcap(Arc::new(Collateral::Dcap(collateral))), until))
        }
        Key::SnpLine(product, signing_key) => {
            let platform = tee.snp(*product, *signing_key);
            let chain = [
                platform.intermediate_der().map_err(failed)?,
                platform.ark_der().map_err(failed)?,
            ];
            let line = SnpLine {
                chain: Some(to_pem(&chain).into_bytes()),
                list: Some(platform.list.sign(&platform.ark_key).map_err(failed)?),
                rest: None,
            };
            Ok((Piece::SnpLine(line), platform.list.next_update))
        }
        Key::SnpEndorsement(wanted) => {
            let mut platform = tee.snp(wanted.product, wanted.signing_key);
            platform.tcb = wanted.tcb;
            platform.hardware_id = wanted.chip_id.map(|chip| match wanted.product {
                SnpProduct::Turin => chip.into_iter().take(8).collect(),
                SnpProduct::Milan | SnpProduct::Genoa => chip.to_vec(),
            });
            let der = platform.endorsement_der().map_err(failed)?;
            let until = SnpCertificateInfo::read(&der).map_err(failed)?.until;
            Ok((Piece::SnpEndorsement(der), Some(until)))
        }
    }
}

fn failed(error: impl std::fmt::Display) -> CollateralError {
    CollateralError::SoftwareTee {
        why: error.to_string(),
    }
}
