//! Who issues evidence, by what the marble runs in.

use std::path::Path;

use marblerun_attestation::fakes::{FakeError, ProfileError, SoftwareIssuer, SoftwareProfile};
use marblerun_attestation::issue::{Environment, GramineIssuer, Issuer, NoEvidence, TsmIssuer};

use super::occlum::OcclumIssuer;
use super::settings::Simulated;

/// The software TEE cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SimulatedTeeError {
    /// What it shall claim.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] FakeError),
}

/// The issuer for `environment`. A library OS that does not run in an enclave has nothing to ask; the marble then
/// sends evidence of the software TEE, if that is wanted, about the program at the path `program`, else none, and the
/// Coordinator decides. An issuer that is there and fails is an error later, never a reason to send another's evidence
/// or none.
///
/// # Errors
/// The software TEE is wanted in a way it cannot be had.
pub(super) fn issuer(
    environment: Environment,
    root: &Path,
    simulated: Option<&Simulated>,
    program: Option<&Path>,
) -> Result<Box<dyn Issuer>, SimulatedTeeError> {
    match environment {
        Environment::Gramine => {
            let issuer = GramineIssuer::new(root);
            if issuer.is_available() {
                return Ok(Box::new(issuer));
            }
        }
        Environment::Occlum => {
            let issuer = OcclumIssuer::new(root);
            if issuer.is_available() {
                return Ok(Box::new(issuer));
            }
        }
        Environment::ConfidentialVm => return Ok(Box::new(TsmIssuer::new(root))),
        Environment::Plain => {}
    }
    if let Some(Simulated { tee, claims }) = simulated {
        tracing::warn!(
            ?environment,
            tee,
            "SIMULATION: sending evidence of the software TEE, which only a Coordinator in simulation mode accepts"
        );
        // A program that cannot be read cannot be started either, which is said then.
        let program = program.and_then(|program| std::fs::read(program).ok());
        let profile = SoftwareProfile::new(tee, claims.as_deref(), program.as_deref())?;
        return Ok(Box::new(SoftwareIssuer::development(profile)?));
    }
    tracing::warn!(
        ?environment,
        "no TEE: sending no evidence, which only a Coordinator in simulation mode accepts"
    );
    Ok(Box::new(NoEvidence))
}

#[cfg(test)]
mod tests {
    use marblerun_attestation::ReportBinding;

    use super::*;

    fn quote(environment: Environment, root: &Path) -> Result<Vec<u8>, String> {
        issuer(environment, root, None, None)
            .unwrap()
            .quote(&ReportBinding::certificate(b"certificate"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_anything_to_ask_there_is_no_evidence() {
        let root = tempfile::tempdir().unwrap();
        for environment in [Environment::Plain, Environment::Gramine, Environment::Occlum] {
            assert_eq!(quote(environment, root.path()), Ok(Vec::new()));
        }
    }

    #[test]
    fn where_there_is_nothing_to_ask_the_software_tee_is_used_if_it_is_wanted() {
        let root = tempfile::tempdir().unwrap();
        let simulated = |tee: &str, claims: Option<&str>| Simulated {
            tee: tee.to_owned(),
            claims: claims.map(str::to_owned),
        };
        for tee in ["sgx", "tdx", "snp"] {
            let quote = issuer(Environment::Plain, root.path(), Some(&simulated(tee, None)), None)
                .unwrap()
                .quote(&ReportBinding::certificate(b"certificate"))
                .unwrap();
            assert!(quote.len() > 1000, "{tee}");
        }
        let wrong = simulated("sgx", Some(r#"{"Unique":1}"#));
        let refused = issuer(Environment::Plain, root.path(), Some(&wrong), None)
            .err()
            .unwrap();
        assert!(refused.to_string().contains("Unique"), "{refused}");
    }

    #[test]
    fn what_is_there_and_fails_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["dev/attestation", "sys/kernel/config/tsm/report"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for file in ["dev/attestation/user_report_data", "dev/sgx"] {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        for environment in [
            Environment::Gramine,
            Environment::Occlum,
            Environment::ConfidentialVm,
        ] {
            assert!(quote(environment, root.path()).is_err(), "{environment:?}");
            let simulated = Simulated {
                tee: "sgx".to_owned(),
                claims: None,
            };
            let issuer = issuer(environment, root.path(), Some(&simulated), None).unwrap();
            assert!(
                issuer.quote(&ReportBinding::certificate(b"certificate")).is_err(),
                "{environment:?}"
            );
        }
    }
}
