//! Where the collateral of this run comes from, and by what evidence is judged with it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marblerun_attestation::{ProductionRoots, SimulationRoots, TrustRoots};
use marblerun_collateral::{
    Collaterals, Config as Collection, ServiceUrl, Services, Source, StartError, Trust,
};

use crate::config::{Collateral, Config, Simulation, Tee};
use crate::evidence::Judge;
use crate::evidence::judge::{Appraiser, moment};

/// Bytes that the file with authorities may have.
const AUTHORITIES_LIMIT: u64 = 1 << 20;

/// Why collateral cannot be obtained as configured.
#[derive(Debug, thiserror::Error)]
pub enum CollateralStartError {
    /// An address.
    #[error("{setting}: {why}")]
    Address {
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The file with authorities.
    #[error("the collateral authorities {}: {why}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Neither service nor directory.
    #[error(
        "collateral-offline: expected collateral-dir with it, as nothing else is left to take collateral from"
    )]
    Nowhere,
    /// Anything else.
    #[error(transparent)]
    Collection(#[from] StartError),
}

/// By what evidence is judged in the TEE, or the simulation, that was configured.
///
/// # Errors
/// [`CollateralStartError`]
pub fn judge(config: &Config) -> Result<Judge, CollateralStartError> {
    let chosen = &config.collateral;
    Ok(match config.tee {
        Tee::Hardware => {
            let roots = ProductionRoots::pinned();
            let collaterals = collaterals(chosen, services(chosen)?, roots.clone())?;
            Judge::Hardware(Appraiser::new(roots, collaterals))
        }
        Tee::Simulated(Simulation::Strict(_)) => Judge::Strict(simulated(chosen)?),
        Tee::Simulated(Simulation::Lenient(simulation)) => Judge::Lenient(simulation, simulated(chosen)?),
    })
}

/// Collateral of the software TEE is made here, unless somewhere else is named where it is.
fn simulated(chosen: &Collateral) -> Result<Appraiser<SimulationRoots>, CollateralStartError> {
    let named = chosen.pccs_url.is_some() || chosen.kds_url.is_some() || chosen.offline;
    let source = if named {
        services(chosen)?
    } else {
        Source::SoftwareTee
    };
    let roots = SimulationRoots::development();
    Ok(Appraiser::new(roots.clone(), collaterals(chosen, source, roots)?))
}

fn collaterals<R: TrustRoots + Send + Sync + 'static>(
    chosen: &Collateral,
    source: Source,
    roots: R,
) -> Result<Collaterals, CollateralStartError> {
    let mut config = Collection::new(source);
    config.directory.clone_from(&chosen.directory);
    config.grace = chosen.grace;
    Ok(Collaterals::new(config, roots, Arc::new(moment))?)
}

fn services(chosen: &Collateral) -> Result<Source, CollateralStartError> {
    if chosen.offline {
        if chosen.directory.is_none() {
            return Err(CollateralStartError::Nowhere);
        }
        return Ok(Source::Nothing);
    }
    let address = |setting, text: &str| {
        text.parse::<ServiceUrl>()
            .map_err(|error| CollateralStartError::Address {
                setting,
                why: error.to_string(),
            })
    };
    let mut services = Services::default();
    if let Some(url) = &chosen.pccs_url {
        services.pccs = address("pccs-url", url)?;
    }
    if let Some(url) = &chosen.kds_url {
        services.kds = address("kds-url", url)?;
    }
    if let Some(path) = &chosen.authorities {
        services.trust = trust(path)?;
    }
    services.insecure_http = chosen.insecure_http;
    Ok(Source::Services(Box::new(services)))
}

fn trust(path: &Path) -> Result<Trust, CollateralStartError> {
    let failed = |why: String| CollateralStartError::Authorities {
        path: path.to_owned(),
        why,
    };
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(AUTHORITIES_LIMIT + 1).read_to_end(&mut pem))
        .map_err(|error| failed(error.to_string()))?;
    if pem.len() as u64 > AUTHORITIES_LIMIT {
        return Err(failed(format!("expected at most {AUTHORITIES_LIMIT} bytes")));
    }
    Trust::from_pem(&pem).map_err(|error| match error {
        StartError::Trust { why } => failed(why),
        other => other.into(),
    })
}
