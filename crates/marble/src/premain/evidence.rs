//! Who issues evidence, by what the marble runs in.

use std::path::Path;

use marblerun_attestation::issue::{Environment, GramineIssuer, Issuer, NoEvidence, TsmIssuer};

use super::occlum::OcclumIssuer;

/// The issuer for `environment`. A library OS that does not run in an enclave has nothing to ask; the marble then
/// sends no evidence, and the Coordinator decides. An issuer that is there and fails is an error later, never a
/// reason to send none.
pub(super) fn issuer(environment: Environment, root: &Path) -> Box<dyn Issuer> {
    match environment {
        Environment::Gramine => {
            let issuer = GramineIssuer::new(root);
            if issuer.is_available() {
                return Box::new(issuer);
            }
        }
        Environment::Occlum => {
            let issuer = OcclumIssuer::new(root);
            if issuer.is_available() {
                return Box::new(issuer);
            }
        }
        Environment::ConfidentialVm => return Box::new(TsmIssuer::new(root)),
        Environment::Plain => {}
    }
    tracing::warn!(
        ?environment,
        "no TEE: sending no evidence, which only a Coordinator in simulation mode accepts"
    );
    Box::new(NoEvidence)
}

#[cfg(test)]
mod tests {
    use marblerun_attestation::ReportBinding;

    use super::*;

    fn quote(environment: Environment, root: &Path) -> Result<Vec<u8>, String> {
        issuer(environment, root)
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
        }
    }
}
