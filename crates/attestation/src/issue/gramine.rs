//! Gramine: the report data is written to a pseudo-file, the quote read from another (Gramine documentation,
//! "Attestation and Secret Provisioning").

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{IssueError, Issuer, finish_sgx_quote, read_bounded};
use crate::binding::ReportBinding;
use crate::quote::Quote;

/// Evidence through `/dev/attestation` of Gramine.
#[derive(Debug)]
pub struct GramineIssuer {
    directory: PathBuf,
    /// Report data and quote are two files of one process: who writes the one must read the other.
    one_at_a_time: Mutex<()>,
}

impl GramineIssuer {
    /// Below `root`, `/` in production.
    pub fn new(root: &Path) -> Self {
        Self {
            directory: directory(root),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// Whether there is anything to ask. Gramine has the files only when it runs in an enclave, not in direct mode.
    pub fn is_available(&self) -> bool {
        self.directory.join(USER_REPORT_DATA).exists()
    }
}

impl Issuer for GramineIssuer {
    fn quote(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
        let _guard = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_attestation_type()?;

        let path = self.directory.join(USER_REPORT_DATA);
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            // Gramine fills up with zeros.
            .and_then(|mut file| file.write_all(binding.digest()))
            .map_err(|source| IssueError::File {
                path,
                doing: "write",
                source,
            })?;
        finish_sgx_quote(
            read_bounded(&self.directory.join("quote"), Quote::LIMIT)?,
            binding,
        )
    }
}

impl GramineIssuer {
    /// `sgx.remote_attestation` of the Gramine manifest: without "dcap" reading the quote fails with an error that
    /// tells nothing. Versions of Gramine that have no such file know no other type.
    fn check_attestation_type(&self) -> Result<(), IssueError> {
        let path = self.directory.join("attestation_type");
        if !path.exists() {
            return Ok(());
        }
        let content = read_bounded(&path, 64)?;
        let found = String::from_utf8_lossy(&content)
            .trim_matches(['\n', '\0', ' '])
            .to_owned();
        if found == "dcap" {
            Ok(())
        } else {
            Err(IssueError::NotForRemoteUse { path, found })
        }
    }
}

/// Where Gramine's pseudo-files are.
pub(super) fn directory(root: &Path) -> PathBuf {
    root.join("dev/attestation")
}

const USER_REPORT_DATA: &str = "user_report_data";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::OpenEnclaveHeader;

    struct Tree {
        root: tempfile::TempDir,
    }

    impl Tree {
        fn new(files: &[(&str, &[u8])]) -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(directory(root.path())).unwrap();
            let tree = Self { root };
            for (name, content) in files {
                std::fs::write(tree.path(name), content).unwrap();
            }
            tree
        }

        fn path(&self, name: &str) -> PathBuf {
            directory(self.root.path()).join(name)
        }

        fn quote(&self) -> Result<Vec<u8>, IssueError> {
            GramineIssuer::new(self.root.path()).quote(&binding())
        }
    }

    fn binding() -> ReportBinding {
        ReportBinding::certificate(b"certificate")
    }

    fn good_quote() -> Vec<u8> {
        crate::quote::tests::sgx(&binding().report_data())
    }

    #[test]
    fn the_hash_is_written_and_the_quote_leaves_behind_the_header() {
        let quote = good_quote();
        let tree = Tree::new(&[(USER_REPORT_DATA, &[9; 64]), ("quote", &quote)]);
        assert_eq!(tree.quote().unwrap(), OpenEnclaveHeader::add(&quote));
        assert_eq!(
            std::fs::read(tree.path(USER_REPORT_DATA)).unwrap(),
            binding().digest()
        );
    }

    #[test]
    fn missing_files_are_named_and_not_made() {
        let tree = Tree::new(&[]);
        assert!(!GramineIssuer::new(tree.root.path()).is_available());
        let message = tree.quote().unwrap_err().to_string();
        let path = tree.path(USER_REPORT_DATA);
        assert!(
            message.starts_with(&format!("cannot write {}: ", path.display())),
            "{message}"
        );
        assert!(!path.exists());

        std::fs::write(&path, b"").unwrap();
        assert!(GramineIssuer::new(tree.root.path()).is_available());
        let message = tree.quote().unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("cannot read {}: ", tree.path("quote").display())),
            "{message}"
        );
    }

    #[test]
    fn an_oversize_quote_is_refused() {
        let tree = Tree::new(&[(USER_REPORT_DATA, b""), ("quote", &vec![0; Quote::LIMIT + 1])]);
        let refused = tree.quote().unwrap_err();
        assert!(matches!(refused, IssueError::TooLarge { .. }), "{refused}");
    }

    #[test]
    fn a_quote_for_other_report_data_is_refused() {
        let other = crate::quote::tests::sgx(&[1; 64]);
        let tree = Tree::new(&[(USER_REPORT_DATA, b""), ("quote", &other)]);
        let refused = tree.quote().unwrap_err();
        assert!(matches!(refused, IssueError::WrongReportData { .. }), "{refused}");
    }

    #[test]
    fn an_enclave_not_made_for_dcap_is_told_so() {
        let quote = good_quote();
        let files = |kind: &'static [u8]| {
            [
                (USER_REPORT_DATA, &b""[..]),
                ("quote", &quote),
                ("attestation_type", kind),
            ]
        };
        assert!(Tree::new(&files(b"dcap\n")).quote().is_ok());
        let tree = Tree::new(&files(b"none"));
        let path = tree.path("attestation_type");
        assert_eq!(
            tree.quote().unwrap_err().to_string(),
            format!("{} says \"none\": expected \"dcap\"", path.display())
        );
    }
}
