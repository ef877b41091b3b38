//! Collateral of SEV-SNP, put together from its pieces.

use std::sync::Arc;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use marblerun_attestation::collateral::{CollateralNeeded, SnpNeeded, SnpRevocation};
use marblerun_attestation::{Collateral, SnpCollateral};

use crate::collaterals::{Freshness, Obtained};
use crate::error::{CollateralError, Document, ServiceName};
use crate::flight::{Gate, Inner};
use crate::piece::{Key, Piece, SnpEndorsementKey, SnpLine};

/// Product lines whose firmware makes reports that do not name them.
const UNNAMED: &[SnpProduct] = &[SnpProduct::Milan, SnpProduct::Genoa];

impl Inner {
    /// What a report needs: its endorsement key, unless it stands behind the report, and what its product line shares.
    pub(crate) async fn snp(
        self: &Arc<Self>,
        needed: &SnpNeeded,
        gate: &mut Gate,
    ) -> Result<Obtained, CollateralError> {
        let (product, endorsement, fresh) = if needed.endorsement_key_present {
            let product = needed.product.ok_or(CollateralError::UnknownProduct)?;
            (product, None, Freshness::Fresh)
        } else {
            self.endorsement(needed, gate).await?
        };
        let key = Key::SnpLine(product, needed.signing_key);
        let held = self.piece(key, gate).await?;
        let Piece::SnpLine(line) = &held.dated.piece else {
            return Err(CollateralError::Interrupted);
        };
        let missing = |what: &str| {
            let nobody_asked = || CollateralError::NotInDirectory {
                what: format!("{what} of {product}"),
            };
            line.rest.as_deref().cloned().unwrap_or_else(nobody_asked)
        };
        if line.chain.is_none() && !needed.intermediate_present {
            return Err(missing("certificate chain"));
        }
        if line.list.is_none() && self.revocation {
            return Err(missing("CRL"));
        }
        let line = SnpLine {
            chain: line.chain.clone(),
            list: line.list.clone().filter(|_| self.revocation),
            rest: None,
        };
        Ok(Obtained {
            collateral: Arc::new(assemble(&line, endorsement)?),
            freshness: fresh.and(held.freshness),
        })
    }

    async fn endorsement(
        self: &Arc<Self>,
        needed: &SnpNeeded,
        gate: &mut Gate,
    ) -> Result<(SnpProduct, Option<Vec<u8>>, Freshness), CollateralError> {
        let chip_id = match needed.signing_key {
            SnpSigningKey::Vlek => None,
            SnpSigningKey::Vcek if needed.chip_id == [0; 64] => return Err(CollateralError::MaskedChip),
            SnpSigningKey::Vcek => Some(needed.chip_id),
        };
        let products = needed.product.as_ref().map_or(UNNAMED, std::slice::from_ref);
        let mut last = CollateralError::UnknownProduct;
        for product in products {
            let tcb = match SnpTcb::read(*product, &needed.reported_tcb) {
                Ok(tcb) => tcb,
                Err(reason) => {
                    last = CollateralError::ReportedTcb {
                        why: reason.to_string(),
                    };
                    continue;
                }
            };
            let key = Key::SnpEndorsement(SnpEndorsementKey {
                product: *product,
                signing_key: needed.signing_key,
                chip_id,
                tcb,
            });
            match self.piece(key, gate).await {
                Ok(held) => {
                    let Piece::SnpEndorsement(der) = &held.dated.piece else {
                        return Err(CollateralError::Interrupted);
                    };
                    return Ok((*product, Some(der.clone()), held.freshness));
                }
                Err(error) if is_of_another_line(&error) => {
                    // One that names a file says more than that there is none of the next product line.
                    if !matches!(last, CollateralError::Nowhere { .. }) {
                        last = error;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

/// Whether the platform may still be one of another product line: the directory may have that.
fn is_of_another_line(error: &CollateralError) -> bool {
    let in_directory = matches!(error, CollateralError::Nowhere { .. });
    in_directory
        || matches!(
            error,
            CollateralError::NotKnown { .. }
                | CollateralError::NotInDirectory { .. }
                | CollateralError::VlekNotPublished
        )
}

/// Puts pieces together.
pub(crate) fn assemble(line: &SnpLine, endorsement: Option<Vec<u8>>) -> Result<Collateral, CollateralError> {
    let revocation = line
        .list
        .clone()
        .map_or(SnpRevocation::NotChecked, SnpRevocation::Checked);
    let mut collateral = SnpCollateral::new(revocation);
    if let Some(chain) = &line.chain {
        collateral = collateral
            .with_authorities(chain)
            .map_err(|error| CollateralError::Malformed {
                service: ServiceName::Kds,
                document: Document::AmdChain,
                why: error.to_string(),
            })?;
    }
    if let Some(der) = endorsement {
        collateral = collateral.with_endorsement_key(der);
    }
    Ok(Collateral::Snp(collateral))
}

/// What a piece is for, in the words of the verifier.
pub(crate) fn needed(key: &Key) -> CollateralNeeded {
    let (product, signing_key, endorsement) = match key {
        Key::Dcap(needed) => return CollateralNeeded::Dcap(*needed),
        Key::SnpLine(product, signing_key) => (*product, *signing_key, None),
        Key::SnpEndorsement(key) => (key.product, key.signing_key, Some(key)),
    };
    CollateralNeeded::Snp(SnpNeeded {
        product: Some(product),
        signing_key,
        chip_id: endorsement.and_then(|key| key.chip_id).unwrap_or([0; 64]),
        reported_tcb: endorsement.map_or([0; 8], SnpEndorsementKey::reported_tcb),
        endorsement_key_present: false,
        intermediate_present: false,
    })
}
