//! The TEE this Coordinator runs in: who makes its evidence, and where its seal keys come from (`spec/06`, `spec/08`).

use std::path::Path;
use std::sync::Arc;

use marblerun_attestation::ReportBinding;
use marblerun_attestation::certificate::{self, CertificateEvidenceError};
use marblerun_attestation::fakes::{FakeError, ProfileError, SoftwareIssuer, SoftwareProfile};
use marblerun_attestation::issue::{
    self, Environment, GramineIssuer, IssueError, Issuer, SystemName, TsmIssuer,
};
use marblerun_core::ambient::Dice;

use crate::config::{Config, Simulation, Tee as Chosen};
use crate::seal::gramine::GramineSealKeys;
use crate::seal::none::NoSealKeys;
use crate::seal::simulation::SimulationSealKeys;
use crate::seal::{SealKeyError, SealKeys};

/// Why there is no TEE to run in.
#[derive(Debug, thiserror::Error)]
pub enum TeeError {
    /// None that could be asked for evidence.
    #[error(
        "this machine has no TEE that the Coordinator can use (found {environment:?}; expected an SGX enclave under \
         Gramine with remote attestation, or a TDX or SEV-SNP guest with /sys/kernel/config/tsm/report); \
         --simulation (or OE_SIMULATION=1) runs without protection"
    )]
    None {
        /// What it seems to be instead.
        environment: Environment,
    },
    /// The TEE gives no evidence about this Coordinator.
    #[error("the TEE gives no evidence about this Coordinator: {0}")]
    Evidence(#[from] IssueError),
    /// Its evidence does not fit into a certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateEvidenceError),
    /// The software TEE cannot be set up.
    #[error(transparent)]
    Software(#[from] FakeError),
    /// What the software TEE shall claim.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// What the Coordinator gets from its TEE.
pub struct Tee {
    /// Makes evidence; `None` in lenient simulation, which has none to show.
    pub issuer: Option<Arc<dyn Issuer>>,
    seal: Seal,
}

enum Seal {
    Gramine(GramineSealKeys),
    /// The TEE has no seal key: each start needs recovery.
    None,
    Simulated(Simulation),
}

impl Tee {
    /// The TEE the configuration asks for. What it is, is found out from the machine, but whether it is simulated
    /// never is.
    ///
    /// # Errors
    /// [`TeeError`]
    pub fn find(config: &Config) -> Result<Self, TeeError> {
        match config.tee {
            Chosen::Hardware => Self::hardware(&config.root, &SystemName::of_this_system()),
            Chosen::Simulated(simulation @ Simulation::Lenient(_)) => Ok(Self {
                issuer: None,
                seal: Seal::Simulated(simulation),
            }),
            Chosen::Simulated(simulation @ Simulation::Strict(_)) => {
                let evidence = &config.simulated_evidence;
                let profile = SoftwareProfile::new(&evidence.tee, evidence.claims.as_deref(), None)?;
                Ok(Self {
                    issuer: Some(Arc::new(SoftwareIssuer::development(profile)?)),
                    seal: Seal::Simulated(simulation),
                })
            }
        }
    }

    fn hardware(root: &Path, system: &SystemName) -> Result<Self, TeeError> {
        let environment = issue::detect(root, system);
        let none = TeeError::None { environment };
        match environment {
            Environment::Gramine => {
                let issuer = GramineIssuer::new(root);
                if !issuer.is_available() {
                    return Err(none);
                }
                Ok(Self {
                    issuer: Some(Arc::new(issuer)),
                    seal: Seal::Gramine(GramineSealKeys::below(root)),
                })
            }
            Environment::ConfidentialVm => Ok(Self {
                issuer: Some(Arc::new(TsmIssuer::new(root))),
                seal: Seal::None,
            }),
            Environment::Occlum | Environment::Plain => Err(none),
        }
    }

    /// Whether a restart can open the state without recovery.
    pub fn seals(&self) -> bool {
        !matches!(self.seal, Seal::None)
    }

    /// The seal keys for the state in `directory`, whose lock the caller holds.
    ///
    /// # Errors
    /// [`SealKeyError`]
    pub fn seal_keys(
        &self,
        directory: &Path,
        dice: &Arc<dyn Dice>,
    ) -> Result<Arc<dyn SealKeys>, SealKeyError> {
        Ok(match &self.seal {
            Seal::Gramine(keys) => Arc::new(keys.clone()),
            Seal::None => Arc::new(NoSealKeys),
            Seal::Simulated(simulation) => {
                Arc::new(SimulationSealKeys::new(*simulation, directory, Arc::clone(dice))?)
            }
        })
    }

    /// Evidence over a public key, PKIX DER, as the root certificate carries it; `None` in lenient simulation.
    ///
    /// # Errors
    /// [`TeeError::Evidence`], [`TeeError::Certificate`]
    pub fn certificate_evidence(&self, public_key: &[u8]) -> Result<Option<Vec<u8>>, TeeError> {
        let Some(issuer) = &self.issuer else {
            return Ok(None);
        };
        let evidence = issuer.quote(&ReportBinding::public_key(public_key))?;
        Ok(Some(certificate::encode(&evidence, public_key)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux() -> SystemName {
        SystemName {
            system: "Linux".into(),
            release: "6.12.0".into(),
            version: "#1 SMP".into(),
            machine: "x86_64".into(),
        }
    }

    fn found(paths: &[&str], system: &SystemName) -> Result<Tee, String> {
        let root = tempfile::tempdir().unwrap();
        for path in paths {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        Tee::hardware(root.path(), system).map_err(|error| error.to_string())
    }

    #[test]
    fn a_machine_without_tee_is_refused_and_says_what_is_missing() {
        let occlum = SystemName {
            system: "Occlum".into(),
            ..linux()
        };
        // Gramine in direct mode has the directory, and no enclave.
        let direct = &["dev/attestation/keys/default"][..];
        for (paths, system) in [(&[][..], linux()), (direct, linux()), (&[], occlum)] {
            let refused = found(paths, &system).err().unwrap();
            assert!(
                refused.contains("no TEE that the Coordinator can use"),
                "{refused}"
            );
            assert!(refused.contains("--simulation"), "{refused}");
        }
    }

    #[test]
    fn enclaves_have_seal_keys_and_guests_have_none() {
        assert!(
            found(&["dev/attestation/user_report_data"], &linux())
                .unwrap()
                .seals()
        );
        assert!(
            !found(&["sys/kernel/config/tsm/report/x"], &linux())
                .unwrap()
                .seals()
        );
    }
}
