//! What evidence is verified with, from the flags.

use anyhow::{Context as _, Result};
use marblerun_attestation::{Quote, ReportBinding};
use marblerun_client::{EvidenceVerifier, system_clock};
use marblerun_collateral::{Clock, Config, ServiceUrl, Services, Source, Trust};

use crate::files;
use crate::flags::{CollateralFlags, GlobalFlags};
use crate::output::simulation;

/// Longest file with authorities that is read, in bytes.
const MAXIMUM_AUTHORITIES: usize = 1 << 20;

/// Under the roots of the manufacturers, or with `--accept-simulation` under those of the software TEE.
///
/// As of the time that `clock` tells.
pub fn verifier(flags: &GlobalFlags, clock: Clock) -> Result<EvidenceVerifier> {
    let chosen = &flags.collateral;
    let verifier = if flags.accept_simulation {
        simulation("--accept-simulation: evidence of the software TEE proves nothing");
        let named = chosen.pccs_url.is_some() || chosen.kds_url.is_some();
        let source = if named {
            services(chosen)?
        } else {
            Source::SoftwareTee
        };
        EvidenceVerifier::dangerous_software_tee(config(chosen, source), clock)
    } else {
        EvidenceVerifier::hardware(config(chosen, services(chosen)?), clock)
    };
    verifier.context("collateral cannot be had as the flags say")
}

/// Whether this is evidence of the software TEE, whomever it is about. Asks nobody.
pub async fn is_simulated(evidence: &[u8]) -> bool {
    let data = Quote::new(evidence.to_vec())
        .ok()
        .and_then(|quote| quote.unverified_report_data().ok().flatten());
    let verifier = EvidenceVerifier::dangerous_software_tee(Config::new(Source::SoftwareTee), system_clock());
    let (Some(data), Ok(verifier)) = (data, verifier) else {
        return false;
    };
    let binding = ReportBinding::report_data_itself(data);
    verifier.verify(evidence, &binding).await.is_ok()
}

fn config(flags: &CollateralFlags, source: Source) -> Config {
    let mut config = Config::new(source);
    config.directory.clone_from(&flags.collateral_dir);
    config
}

/// The services that the flags name.
pub fn services(flags: &CollateralFlags) -> Result<Source> {
    let mut services = Services::default();
    if let Some(url) = &flags.pccs_url {
        services.pccs = url.parse::<ServiceUrl>().context("--pccs-url")?;
    }
    if let Some(url) = &flags.kds_url {
        services.kds = url.parse::<ServiceUrl>().context("--kds-url")?;
    }
    if let Some(path) = &flags.collateral_ca {
        let pem = files::read(path, MAXIMUM_AUTHORITIES)?;
        services.trust = Trust::from_pem(&pem).with_context(|| path.display().to_string())?;
    }
    Ok(Source::Services(Box::new(services)))
}
