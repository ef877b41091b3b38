//! One file of collateral: read, described, written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{
    CollateralError, DcapNeeded, SnpCertificate, SnpCertificateInfo, SnpEndorsement, SnpListInfo,
    SnpRevocation,
};
use marblerun_attestation::{Collateral, DcapCollateral, Reason, SnpCollateral, UnixSeconds};

use crate::piece::{SnpEndorsementKey, kind};

/// One file of collateral. Nothing of it is verified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Item {
    /// `.json`: everything for a platform with SGX or TDX.
    Dcap {
        /// The collateral.
        collateral: DcapCollateral,
        /// What it says it is for.
        is_for: DcapNeeded,
    },
    /// `.pem`: ASK or ASVK, then perhaps the ARK, as the key distribution service gives them.
    SnpChain {
        /// The file.
        pem: Vec<u8>,
        /// Product line.
        product: SnpProduct,
        /// For which kind of endorsement key.
        signing_key: SnpSigningKey,
        /// Latest beginning of a certificate in it.
        from: UnixSeconds,
        /// Earliest end of a certificate in it.
        until: UnixSeconds,
    },
    /// `.crl`: revocation list of an ARK, DER.
    SnpList {
        /// The file.
        der: Vec<u8>,
        /// What it says about itself.
        info: SnpListInfo,
    },
    /// `.der`, `.crt`, `.cer`: certificate of a VCEK or VLEK, DER.
    SnpEndorsement {
        /// The file.
        der: Vec<u8>,
        /// What it says it is for.
        says: SnpEndorsement,
        /// Valid from.
        from: UnixSeconds,
        /// Valid until.
        until: UnixSeconds,
    },
}

/// A file that is no collateral.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnItem {
    /// A name that says nothing.
    #[error("expected a name that ends in .json, .pem, .crl, .der, .crt or .cer")]
    Name,
    /// Content that is not what the name says.
    #[error(transparent)]
    Content(#[from] CollateralError),
    /// JSON that says neither SGX nor TDX, or is of no known CA.
    #[error("collateral for neither SGX nor TDX, or of no known CA")]
    UnknownTee,
    /// A certificate or list that is not what the name says.
    #[error(transparent)]
    Certificate(#[from] Reason),
    /// A certificate in the wrong kind of file.
    #[error("expected {expected}, found another certificate")]
    AnotherCertificate {
        /// What belongs into such a file.
        expected: &'static str,
    },
}

enum Ending {
    Dcap,
    Chain,
    List,
    Endorsement,
}

fn ending(name: &str) -> Option<Ending> {
    Some(match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "json" => Ending::Dcap,
        "pem" => Ending::Chain,
        "crl" => Ending::List,
        "der" | "crt" | "cer" => Ending::Endorsement,
        _ => return None,
    })
}

impl Item {
    /// Whether a file of this name in a directory would be read: hidden ones are not.
    pub fn is_name(name: &str) -> bool {
        !name.starts_with('.') && ending(name).is_some()
    }

    /// Reads a file; only the ending of its name counts.
    ///
    /// # Errors
    /// It is no collateral.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, NotAnItem> {
        match ending(name).ok_or(NotAnItem::Name)? {
            Ending::Dcap => {
                let collateral = DcapCollateral::from_json(bytes)?;
                let is_for = collateral.is_for().ok_or(NotAnItem::UnknownTee)?;
                Ok(Self::Dcap { collateral, is_for })
            }
            Ending::Chain => {
                let chain = SnpCollateral::new(SnpRevocation::NotChecked).with_authorities(bytes)?;
                let mut infos = Vec::new();
                for der in chain.authorities() {
                    infos.push(SnpCertificateInfo::read(der)?);
                }
                let Some(SnpCertificate::Intermediate(product, signing_key)) =
                    infos.first().map(|info| info.what)
                else {
                    return Err(NotAnItem::AnotherCertificate {
                        expected: "an ASK or ASVK, then perhaps an ARK",
                    });
                };
                let from = infos.iter().map(|info| info.from).max();
                let until = infos.iter().map(|info| info.until).min();
                Ok(Self::SnpChain {
                    pem: bytes.to_vec(),
                    product,
                    signing_key,
                    from: from.unwrap_or(UnixSeconds(0)),
                    until: until.unwrap_or(UnixSeconds(0)),
                })
            }
            Ending::List => Ok(Self::SnpList {
                info: SnpListInfo::read(bytes)?,
                der: bytes.to_vec(),
            }),
            Ending::Endorsement => {
                let info = SnpCertificateInfo::read(bytes)?;
                let SnpCertificate::Endorsement(says) = info.what else {
                    return Err(NotAnItem::AnotherCertificate {
                        expected: "a VCEK or VLEK",
                    });
                };
                Ok(Self::SnpEndorsement {
                    der: bytes.to_vec(),
                    says,
                    from: info.from,
                    until: info.until,
                })
            }
        }
    }

    /// Reads a file from disk.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn open(path: &Path) -> Result<Self, String> {
        crate::directory::read_item(path)
    }

    /// Takes collateral apart into files.
    ///
    /// # Errors
    /// A part of it is not what it should be.
    pub fn of(collateral: &Collateral) -> Result<Vec<Self>, NotAnItem> {
        match collateral {
            Collateral::Dcap(collateral) => Ok(vec![Self::Dcap {
                is_for: collateral.is_for().ok_or(NotAnItem::UnknownTee)?,
                collateral: collateral.clone(),
            }]),
            Collateral::Snp(collateral) => {
                let mut items = Vec::new();
                if !collateral.authorities().is_empty() {
                    items.push(Self::read(
                        "chain.pem",
                        to_pem(collateral.authorities()).as_bytes(),
                    )?);
                }
                if let SnpRevocation::Checked(der) = collateral.revocation() {
                    items.push(Self::read("list.crl", der)?);
                }
                if let Some(der) = collateral.endorsement_key() {
                    items.push(Self::read("key.der", der)?);
                }
                Ok(items)
            }
        }
    }

    /// A name that says what is in it.
    pub fn name(&self) -> String {
        match self {
            Self::Dcap { is_for, .. } => format!(
                "{}-{}-{}.json",
                is_for.tee.as_str(),
                hex::encode(is_for.fmspc),
                is_for.authority.as_str()
            ),
            Self::SnpChain {
                product, signing_key, ..
            } => format!("snp-{product}-{}.pem", kind(*signing_key)).to_ascii_lowercase(),
            Self::SnpList { info, .. } => format!("snp-{}.crl", info.product).to_ascii_lowercase(),
            Self::SnpEndorsement { says, .. } => {
                let chip = says.chip_id.map_or_else(String::new, |chip| {
                    let chip = hex::encode(chip);
                    format!("{}-", chip.get(..16).unwrap_or(&chip))
                });
                format!(
                    "snp-{}-{}-{chip}{}.der",
                    says.product,
                    kind(says.signing_key),
                    hex::encode(SnpEndorsementKey::from(*says).reported_tcb())
                )
                .to_ascii_lowercase()
            }
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Dcap { collateral, .. } => collateral.to_json().into_bytes(),
            Self::SnpChain { pem, .. } => pem.clone(),
            Self::SnpList { der, .. } | Self::SnpEndorsement { der, .. } => der.clone(),
        }
    }

    /// Writes the file into a directory, in place of one with this name: a reader sees the old one or the new one whole.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        let name = self.name();
        let (path, temporary) = (directory.join(&name), directory.join(format!(".{name}.new")));
        fs::write(&temporary, self.bytes())?;
        fs::rename(&temporary, &path)?;
        Ok(path)
    }
}

/// Certificates in PEM.
pub(crate) fn to_pem(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = BASE64_STANDARD.encode(der);
        while !rest.is_empty() {
            let behind = rest.split_off(rest.len().min(64));
            text.push_str(&rest);
            text.push('\n');
            rest = behind;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
