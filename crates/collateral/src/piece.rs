//! The pieces collateral is kept in, and what each is for. SGX and TDX have one for a platform; SEV-SNP has one for a
//! product line, which all chips share, and one for each endorsement key.

use std::fmt;
use std::sync::Arc;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use marblerun_attestation::collateral::{DcapNeeded, DcapTee, SnpEndorsement};
use marblerun_attestation::{Collateral, UnixSeconds};

use crate::error::CollateralError;

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A platform of Intel.
    Dcap(DcapNeeded),
    /// A product line of AMD: chain of one kind of endorsement key, and the revocation list.
    SnpLine(SnpProduct, SnpSigningKey),
    /// An endorsement key of AMD.
    SnpEndorsement(SnpEndorsementKey),
}

/// Which endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SnpEndorsementKey {
    pub(crate) product: SnpProduct,
    pub(crate) signing_key: SnpSigningKey,
    /// As in reports; a VLEK has none.
    pub(crate) chip_id: Option<[u8; 64]>,
    pub(crate) tcb: SnpTcb,
}

impl SnpEndorsementKey {
    /// The version as in reports: the reverse of [`SnpTcb::read`].
    pub(crate) fn reported_tcb(&self) -> [u8; 8] {
        let tcb = &self.tcb;
        match self.product {
            SnpProduct::Milan | SnpProduct::Genoa => {
                [tcb.boot_loader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode]
            }
            SnpProduct::Turin => [
                tcb.fmc.unwrap_or(0),
                tcb.boot_loader,
                tcb.tee,
                tcb.snp,
                0,
                0,
                0,
                tcb.microcode,
            ],
        }
    }
}

impl From<SnpEndorsement> for SnpEndorsementKey {
    fn from(says: SnpEndorsement) -> Self {
        Self {
            product: says.product,
            signing_key: says.signing_key,
            chip_id: says.chip_id,
            tcb: says.tcb,
        }
    }
}

impl Key {
    /// The TEE, for metrics.
    pub(crate) fn tee(&self) -> &'static str {
        match self {
            Self::Dcap(needed) => needed.tee.as_str(),
            Self::SnpLine(..) | Self::SnpEndorsement(_) => "snp",
        }
    }

    /// Whether new ones are published while it lasts. Certificates of endorsement keys are made once.
    pub(crate) fn is_renewed(&self) -> bool {
        !matches!(self, Self::SnpEndorsement(_))
    }

    /// Whether strangers can name many of them. Product lines are few.
    pub(crate) fn is_platform(&self) -> bool {
        !matches!(self, Self::SnpLine(..))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dcap(needed) => write!(
                formatter,
                "{} collateral for FMSPC {} and the {} CA",
                match needed.tee {
                    DcapTee::Sgx => "SGX",
                    DcapTee::Tdx => "TDX",
                },
                hex::encode(needed.fmspc),
                needed.authority.as_str()
            ),
            Self::SnpLine(product, key) => {
                write!(formatter, "{} chain and CRL of {product}", kind(*key))
            }
            Self::SnpEndorsement(key) => {
                write!(
                    formatter,
                    "{} certificate of {}",
                    kind(key.signing_key),
                    key.product
                )?;
                if let Some(chip) = &key.chip_id {
                    let (start, _) = chip.split_at(8);
                    write!(formatter, " for chip {}…", hex::encode(start))?;
                }
                write!(formatter, " and TCB {}", hex::encode(key.reported_tcb()))
            }
        }
    }
}

/// Both kinds of endorsement key.
pub(crate) const SIGNING_KEYS: [SnpSigningKey; 2] = [SnpSigningKey::Vcek, SnpSigningKey::Vlek];

pub(crate) fn kind(key: SnpSigningKey) -> &'static str {
    match key {
        SnpSigningKey::Vcek => "VCEK",
        SnpSigningKey::Vlek => "VLEK",
    }
}

/// A piece of collateral.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// For [`Key::Dcap`].
    Dcap(Arc<Collateral>),
    /// For [`Key::SnpLine`].
    SnpLine(SnpLine),
    /// For [`Key::SnpEndorsement`]: DER.
    SnpEndorsement(Vec<u8>),
}

/// What chips of a product line share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SnpLine {
    /// PEM, if it is there: it may also stand behind the report.
    pub(crate) chain: Option<Vec<u8>>,
    /// DER; `None` when revocation is not checked.
    pub(crate) list: Option<Vec<u8>>,
    /// Why the part that is not there was not to be had, if a service was asked for it.
    pub(crate) rest: Option<Box<CollateralError>>,
}

/// A piece with its dates.
#[derive(Debug, Clone)]
pub(crate) struct Dated {
    pub(crate) piece: Piece,
    /// When the first part of it is out of date; `None`: never.
    pub(crate) next_update: Option<UnixSeconds>,
    /// Where it is from.
    pub(crate) origin: Origin,
}

/// Where a piece is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    Pccs,
    Kds,
    Directory,
    #[cfg(feature = "software-tee")]
    SoftwareTee,
}

impl Origin {
    /// For metrics and messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pccs => "pccs",
            Self::Kds => "kds",
            Self::Directory => "directory",
            #[cfg(feature = "software-tee")]
            Self::SoftwareTee => "software_tee",
        }
    }
}

impl Dated {
    /// Whether it is out of date, and since when.
    pub(crate) fn stale_since(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        self.next_update.filter(|end| now > *end)
    }

    /// Why a part of it was not to be had, if a service was asked for it.
    pub(crate) fn rest_missing(&self) -> Option<&CollateralError> {
        match &self.piece {
            Piece::SnpLine(line) => line.rest.as_deref(),
            Piece::Dcap(_) | Piece::SnpEndorsement(_) => None,
        }
    }

    /// The same, with why its other part was not to be had.
    pub(crate) fn without_the_rest(&self, error: Option<CollateralError>) -> Self {
        let mut dated = self.clone();
        if let Piece::SnpLine(line) = &mut dated.piece {
            line.rest = error.map(Box::new);
        }
        dated
    }
}
