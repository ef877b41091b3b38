//! Asking one's own TEE for evidence (spec/08, "Issuing").
//!
//! Every issuer works below a root directory it is given, `/` in production. Occlum's device is reached with an
//! ioctl, which needs `unsafe`; its issuer therefore lives in the marble crate, not here.

mod files;
mod gramine;
mod tsm;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

pub use self::files::read_bounded;
pub use self::gramine::GramineIssuer;
pub use self::tsm::TsmIssuer;
use crate::binding::ReportBinding;
use crate::header::OpenEnclaveHeader;
use crate::quote::{EvidenceKind, Quote, UnrecognisedEvidence, unverified_report_data};

/// Something that makes evidence about the program that asks it.
pub trait Issuer: Send + Sync {
    /// Evidence bound to `binding`, ready to be sent: an SGX quote has the Open Enclave header in front. Blocks; a
    /// second call waits for the first.
    ///
    /// # Errors
    /// The TEE gives no evidence, or evidence that is not what was asked for. Never a reason to go on without.
    fn quote(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError>;
}

/// The issuer of a program without TEE: an empty quote, which only a Coordinator in simulation mode takes.
#[derive(Debug, Clone, Copy)]
pub struct NoEvidence;

impl Issuer for NoEvidence {
    fn quote(&self, _: &ReportBinding) -> Result<Vec<u8>, IssueError> {
        Ok(Vec::new())
    }
}

/// Why the TEE gave no evidence.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A file or device failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried, as in "cannot … the file".
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// More bytes than such a file holds.
    #[error("{} is too large: expected at most {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Limit in bytes.
        limit: usize,
    },
    /// The TEE is not configured for evidence that others can verify.
    #[error("{} says {found:?}: expected \"dcap\"", path.display())]
    NotForRemoteUse {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A provider of evidence that is not supported.
    #[error("{} says {found:?}: expected tdx_guest or sev_guest", path.display())]
    UnknownProvider {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// Others kept using the same report, or the TEE stayed busy.
    #[error("{}: no undisturbed report in {attempts} attempts, last: {last}", path.display())]
    Disturbed {
        /// Where.
        path: PathBuf,
        /// How many attempts were made.
        attempts: u32,
        /// What the last one met.
        last: String,
    },
    /// The bytes have no known format.
    #[error("the TEE gave unusable evidence: {0}")]
    Unrecognised(#[from] UnrecognisedEvidence),
    /// The evidence has another format than this TEE gives.
    #[error("the TEE gave unusable evidence: expected {expected}, found {found}")]
    WrongKind {
        /// Expected formats.
        expected: &'static str,
        /// Found format.
        found: EvidenceKind,
    },
    /// The software TEE cannot make evidence.
    #[error("the software TEE gave no evidence: {why}")]
    SoftwareTee {
        /// Why not.
        why: String,
    },
    /// The evidence is bound to something else.
    #[error("the TEE gave evidence for other report data than asked for: {expected}")]
    WrongReportData {
        /// What it was asked for.
        expected: ReportBinding,
    },
}

/// Name and version of the running system, as `uname` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemName {
    /// Name of the kernel.
    pub system: OsString,
    /// Release of the kernel.
    pub release: OsString,
    /// Version of the kernel.
    pub version: OsString,
    /// Hardware.
    pub machine: OsString,
}

impl SystemName {
    /// Of the system this program runs on.
    pub fn of_this_system() -> Self {
        let name = rustix::system::uname();
        let text = |part: &std::ffi::CStr| OsString::from_vec(part.to_bytes().to_vec());
        Self {
            system: text(name.sysname()),
            release: text(name.release()),
            version: text(name.version()),
            machine: text(name.machine()),
        }
    }
}

/// What a program runs in, as far as that decides how it gets evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// SGX enclave of the Gramine library OS.
    Gramine,
    /// SGX enclave of the Occlum library OS.
    Occlum,
    /// TDX or SEV-SNP guest, or another that has Linux' configfs TSM interface.
    ConfidentialVm,
    /// None of these: no TEE to ask.
    Plain,
}

/// Finds out what this program runs in, from the pseudo-files below `root` and the name of the system.
pub fn detect(root: &Path, system: &SystemName) -> Environment {
    // What Gramine answers to uname, whatever it runs on.
    let gramine = SystemName {
        system: "Linux".into(),
        release: "3.10.0".into(),
        version: "1".into(),
        machine: "x86_64".into(),
    };
    if system.system == "Occlum" {
        Environment::Occlum
    } else if gramine::directory(root).is_dir() || *system == gramine {
        Environment::Gramine
    } else if tsm::directory(root).is_dir() {
        Environment::ConfidentialVm
    } else {
        Environment::Plain
    }
}

/// Last step of every issuer of SGX quotes: `bare` is an SGX quote, it speaks for `binding`, and it leaves behind the
/// Open Enclave header.
///
/// # Errors
/// [`IssueError::Unrecognised`], [`IssueError::WrongKind`], [`IssueError::WrongReportData`].
pub fn finish_sgx_quote(bare: Vec<u8>, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
    let quote = finish(bare, binding, "an SGX quote", |kind| kind == EvidenceKind::SgxV3)?;
    Ok(OpenEnclaveHeader::add(&quote))
}

/// Checks what the TEE gave: a mistake is easier to see here than in the Coordinator's refusal.
fn finish(
    evidence: Vec<u8>,
    binding: &ReportBinding,
    expected: &'static str,
    fits: impl Fn(EvidenceKind) -> bool,
) -> Result<Vec<u8>, IssueError> {
    let quote = Quote::new(evidence)?;
    let (kind, bare) = quote.recognise()?;
    if !fits(kind) {
        return Err(IssueError::WrongKind {
            expected,
            found: kind,
        });
    }
    if unverified_report_data(kind, bare) != Some(&binding.report_data()) {
        return Err(IssueError::WrongReportData { expected: *binding });
    }
    Ok(bare.to_vec())
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

    #[test]
    fn an_empty_tree_is_plain() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(detect(root.path(), &linux()), Environment::Plain);
    }

    #[test]
    fn occlum_is_known_by_name() {
        let root = tempfile::tempdir().unwrap();
        let system = SystemName {
            system: "Occlum".into(),
            ..linux()
        };
        assert_eq!(detect(root.path(), &system), Environment::Occlum);
    }

    #[test]
    fn gramine_is_known_by_directory_or_by_name() {
        let root = tempfile::tempdir().unwrap();
        let system = SystemName {
            release: "3.10.0".into(),
            version: "1".into(),
            ..linux()
        };
        assert_eq!(detect(root.path(), &system), Environment::Gramine);
        for other in [
            SystemName {
                version: "2".into(),
                ..system.clone()
            },
            SystemName {
                release: "3.10.1".into(),
                ..system.clone()
            },
            SystemName {
                machine: "aarch64".into(),
                ..system
            },
        ] {
            assert_eq!(detect(root.path(), &other), Environment::Plain);
        }
        std::fs::create_dir_all(root.path().join("dev/attestation")).unwrap();
        assert_eq!(detect(root.path(), &linux()), Environment::Gramine);
    }

    #[test]
    fn a_confidential_vm_is_known_by_its_interface() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/kernel/config/tsm/report")).unwrap();
        assert_eq!(detect(root.path(), &linux()), Environment::ConfidentialVm);
    }

    #[test]
    fn this_system_has_a_name() {
        assert!(!SystemName::of_this_system().system.is_empty());
    }

    #[test]
    fn without_tee_the_quote_is_empty() {
        assert_eq!(
            NoEvidence
                .quote(&ReportBinding::certificate(b"certificate"))
                .unwrap(),
            b""
        );
    }

    #[test]
    fn evidence_of_another_kind_or_for_something_else_is_refused() {
        let binding = ReportBinding::certificate(b"certificate");
        let data = binding.report_data();
        let sgx = crate::quote::tests::sgx(&data);
        assert_eq!(
            finish_sgx_quote(sgx.clone(), &binding).unwrap(),
            OpenEnclaveHeader::add(&sgx)
        );
        let refused = finish_sgx_quote(crate::quote::tests::snp(&data), &binding).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the TEE gave unusable evidence: expected an SGX quote, found SEV-SNP report"
        );
        let refused = finish_sgx_quote(sgx, &ReportBinding::certificate(b"other")).unwrap_err();
        assert!(matches!(refused, IssueError::WrongReportData { .. }), "{refused}");
        let refused = finish_sgx_quote(Vec::new(), &binding).unwrap_err();
        assert!(refused.to_string().ends_with("found no evidence"), "{refused}");
    }
}
