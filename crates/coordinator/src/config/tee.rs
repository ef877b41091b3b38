//! Which TEE protects a run, and how evidence is verified (`spec/08`).

use std::path::PathBuf;
use std::time::Duration;

use marblerun_attestation::{SimulationMode, StrictSimulationMode};

use super::{ConfigError, Reader, path_in, value};

/// What protects this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tee {
    /// The TEE this process runs in.
    Hardware,
    /// Nothing: simulation was asked for.
    Simulated(Simulation),
}

/// Proof that a simulated TEE was asked for: this run protects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulation {
    /// Marbles are admitted without verified evidence.
    Lenient(SimulationMode),
    /// Nothing unverified is admitted, but evidence of the software TEE counts.
    Strict(StrictSimulationMode),
}

impl Tee {
    /// Whether this run protects nothing.
    pub fn is_simulated(self) -> bool {
        matches!(self, Self::Simulated(_))
    }
}

const SGX: &str = "sgx";

/// The evidence of a Coordinator in strict simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedEvidence {
    /// `sgx`, `tdx` or `snp`.
    pub tee: String,
    /// JSON object with what it claims.
    pub claims: Option<String>,
}

impl Default for SimulatedEvidence {
    fn default() -> Self {
        Self {
            tee: SGX.to_owned(),
            claims: None,
        }
    }
}

/// Where collateral comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collateral {
    /// Address of the service for SGX and TDX; `None`: the default.
    pub pccs_url: Option<String>,
    /// Address of the service for SEV-SNP; `None`: the default.
    pub kds_url: Option<String>,
    /// PEM file with the roots that certificates of these services may end in; `None`: the public ones.
    pub authorities: Option<PathBuf>,
    /// Directory with collateral, looked at before any service.
    pub directory: Option<PathBuf>,
    /// How long collateral is used after its end when no newer can be had.
    pub grace: Duration,
    /// Only the directory, no service.
    pub offline: bool,
    /// Services are reached over plain HTTP elsewhere than on this machine.
    pub insecure_http: bool,
}

/// Simulation only when it was asked for in so many words; of both kinds the strict one.
pub(super) fn tee(read: &Reader<'_>) -> Result<Tee, ConfigError> {
    let strict = read.switch("simulation-strict")?;
    let lenient = read.switch("simulation")?;
    Ok(if strict {
        Tee::Simulated(Simulation::Strict(
            StrictSimulationMode::by_explicit_configuration(),
        ))
    } else if lenient {
        Tee::Simulated(Simulation::Lenient(SimulationMode::by_explicit_configuration()))
    } else {
        Tee::Hardware
    })
}

/// A flag, or a setting of the file, that would have no effect is an error. The variables are those of `marble-run`, too:
/// both programs may be given the same.
pub(super) fn simulated_evidence(read: &Reader<'_>, tee: Tee) -> Result<SimulatedEvidence, ConfigError> {
    if !matches!(tee, Tee::Simulated(Simulation::Strict(_))) {
        for name in ["simulated-tee", "simulated-claims"] {
            read.refuse_unless_variable(name, value::IN_STRICT_SIMULATION)?;
        }
        return Ok(SimulatedEvidence::default());
    }
    Ok(SimulatedEvidence {
        tee: read.or("simulated-tee", SGX.to_owned(), value::SIMULATED_TEE, |text| {
            matches!(text, SGX | "tdx" | "snp").then(|| text.to_owned())
        })?,
        claims: read.text("simulated-claims"),
    })
}

pub(super) fn collateral(
    read: &Reader<'_>,
    base: Option<&std::path::Path>,
) -> Result<Collateral, ConfigError> {
    let path = |name| read.text(name).map(|text| path_in(base, text));
    Ok(Collateral {
        pccs_url: read.text("pccs-url"),
        kds_url: read.text("kds-url"),
        authorities: path("collateral-ca"),
        directory: path("collateral-dir"),
        grace: read.or("collateral-grace", Duration::ZERO, value::GRACE, value::grace)?,
        offline: read.switch("collateral-offline")?,
        insecure_http: read.switch("collateral-insecure-http")?,
    })
}
