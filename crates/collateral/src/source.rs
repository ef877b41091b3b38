//! Where a piece comes from when it is not in the directory.

use std::sync::Arc;

use marblerun_attestation::claims::SnpSigningKey;
use marblerun_attestation::collateral::{SnpCertificateInfo, SnpListInfo};
use marblerun_attestation::{Collateral, SnpCollateral, UnixSeconds};

use crate::config::{Config, Services, Source, StartError};
use crate::error::{CollateralError, Document, ServiceName};
use crate::http::Fetcher;
use crate::piece::{Dated, Key, Origin, Piece, SnpLine};
use crate::{Clock, amd, intel};

/// A source that can be asked.
pub(crate) enum Client {
    Services {
        fetcher: Box<Fetcher>,
        services: Box<Services>,
        revocation: bool,
    },
    Nothing,
    #[cfg(feature = "software-tee")]
    SoftwareTee,
}

impl Client {
    pub(crate) fn new(config: &Config, clock: Clock) -> Result<Self, StartError> {
        Ok(match &config.source {
            Source::Services(services) => Self::Services {
                fetcher: Box::new(Fetcher::new(services, &config.limits, clock)?),
                services: services.clone(),
                revocation: config.snp_revocation,
            },
            Source::Nothing if config.directory.is_none() => return Err(StartError::NoSource),
            Source::Nothing => Self::Nothing,
            #[cfg(feature = "software-tee")]
            Source::SoftwareTee => Self::SoftwareTee,
        })
    }

    /// Whether asking costs more than a look into a directory or at one's own keys.
    pub(crate) fn is_paced(&self) -> bool {
        matches!(self, Self::Services { .. })
    }

    /// What it answers for, in metrics.
    pub(crate) fn origin(&self, key: &Key) -> Origin {
        match (self, key) {
            (Self::Services { .. }, Key::Dcap(_)) => Origin::Pccs,
            (Self::Services { .. }, _) => Origin::Kds,
            (Self::Nothing, _) => Origin::Directory,
            #[cfg(feature = "software-tee")]
            (Self::SoftwareTee, _) => Origin::SoftwareTee,
        }
    }

    /// Fetches a piece: read, not verified.
    pub(crate) async fn fetch(&self, key: &Key) -> Result<Dated, CollateralError> {
        let (piece, next_update) = match self {
            Self::Services {
                fetcher,
                services,
                revocation,
            } => from_services(fetcher, services, *revocation, key).await?,
            Self::Nothing => {
                return Err(CollateralError::NotInDirectory {
                    what: key.to_string(),
                });
            }
            #[cfg(feature = "software-tee")]
            Self::SoftwareTee => crate::software_tee::make(key)?,
        };
        Ok(Dated {
            piece,
            next_update,
            origin: self.origin(key),
        })
    }
}

async fn from_services(
    fetcher: &Fetcher,
    services: &Services,
    revocation: bool,
    key: &Key,
) -> Result<(Piece, Option<UnixSeconds>), CollateralError> {
    match key {
        Key::Dcap(needed) => {
            let collateral = intel::fetch(fetcher, services, needed).await?;
            let next_update = Some(collateral.next_update());
            Ok((Piece::Dcap(Arc::new(Collateral::Dcap(collateral))), next_update))
        }
        Key::SnpLine(product, signing_key) => {
            let chain = amd::chain(fetcher, services, *product, *signing_key);
            let list = async {
                match revocation {
                    true => amd::list(fetcher, services, *product, *signing_key)
                        .await
                        .map(Some),
                    false => Ok(None),
                }
            };
            let (chain, list) = tokio::try_join!(chain, list)?;
            SnpCollateral::new(marblerun_attestation::collateral::SnpRevocation::NotChecked)
                .with_authorities(&chain)
                .map_err(|error| malformed(Document::AmdChain, error.to_string()))?;
            let until = match &list {
                None => None,
                Some(der) => {
                    let info = SnpListInfo::read(der)
                        .map_err(|reason| malformed(Document::AmdCrl, reason.to_string()))?;
                    Some(info.until)
                }
            };
            let line = SnpLine {
                chain: Some(chain),
                list,
                rest: None,
            };
            Ok((Piece::SnpLine(line), until))
        }
        Key::SnpEndorsement(wanted) => {
            let (SnpSigningKey::Vcek, Some(chip_id)) = (wanted.signing_key, &wanted.chip_id) else {
                return Err(CollateralError::VlekNotPublished);
            };
            let der = amd::vcek(fetcher, services, wanted.product, chip_id, &wanted.tcb).await?;
            let info = SnpCertificateInfo::read(&der)
                .map_err(|reason| malformed(Document::Vcek, reason.to_string()))?;
            Ok((Piece::SnpEndorsement(der), Some(info.until)))
        }
    }
}

fn malformed(document: Document, why: String) -> CollateralError {
    CollateralError::Malformed {
        service: ServiceName::Kds,
        document,
        why,
    }
}
