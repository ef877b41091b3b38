//! Linux configfs TSM: one interface of the kernel for TDX and SEV-SNP guests (kernel documentation,
//! `Documentation/ABI/testing/configfs-tsm-report`).
//!
//! 1. A directory made below `report` is a report of one's own.
//! 2. `inblob` takes the report data; each write raises `generation`.
//! 3. Reading `outblob` makes the evidence; `provider` says of which TEE, `auxblob` may hold certificates.
//! 4. When `generation` is not what it was before the reading, someone else wrote in between: all over again.
//! 5. The directory is removed.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{IssueError, Issuer, finish, read_bounded};
use crate::binding::ReportBinding;
use crate::quote::{EvidenceKind, Quote, SNP_REPORT_SIZE};

/// Evidence through `/sys/kernel/config/tsm/report`.
///
/// Evidence of SEV-SNP is the attestation report (1184 bytes) followed by the certificate table of `auxblob`, if
/// the host gave one.
#[derive(Debug)]
pub struct TsmIssuer {
    reports: ConfigFs,
    one_at_a_time: Mutex<()>,
}

impl TsmIssuer {
    /// Below `root`, `/` in production.
    pub fn new(root: &Path) -> Self {
        Self {
            reports: ConfigFs {
                directory: directory(root),
            },
            one_at_a_time: Mutex::new(()),
        }
    }
}

impl Issuer for TsmIssuer {
    fn quote(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
        let _guard = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        quote(&self.reports, binding, std::thread::sleep)
    }
}

/// Where the kernel's interface is.
pub(super) fn directory(root: &Path) -> PathBuf {
    root.join("sys/kernel/config/tsm/report")
}

/// What is asked of the kernel; tests put a kernel of their own behind it.
trait Reports {
    /// Makes a report.
    fn create(&self, report: &str) -> Result<(), IssueError>;
    /// Writes an attribute in one go.
    fn write(&self, report: &str, attribute: &str, content: &[u8]) -> Result<(), IssueError>;
    /// Reads an attribute.
    fn read(&self, report: &str, attribute: &str, limit: usize) -> Result<Vec<u8>, IssueError>;
    /// Removes a report. Failing is not worth a word: it is gone with the guest at the latest.
    fn remove(&self, report: &str);
    /// For messages.
    fn path(&self, report: &str, attribute: &str) -> PathBuf;
}

#[derive(Debug)]
struct ConfigFs {
    directory: PathBuf,
}

impl Reports for ConfigFs {
    fn create(&self, report: &str) -> Result<(), IssueError> {
        let path = self.directory.join(report);
        std::fs::create_dir(&path).map_err(|source| IssueError::File {
            path,
            doing: "make",
            source,
        })
    }

    fn write(&self, report: &str, attribute: &str, content: &[u8]) -> Result<(), IssueError> {
        let path = self.path(report, attribute);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(content))
            .map_err(|source| IssueError::File {
                path,
                doing: "write",
                source,
            })
    }

    fn read(&self, report: &str, attribute: &str, limit: usize) -> Result<Vec<u8>, IssueError> {
        read_bounded(&self.path(report, attribute), limit)
    }

    fn remove(&self, report: &str) {
        // The kernel removes the attributes with their directory; elsewhere they would be in the way.
        drop(std::fs::remove_dir(self.directory.join(report)));
    }

    fn path(&self, report: &str, attribute: &str) -> PathBuf {
        self.directory.join(report).join(attribute)
    }
}

const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Steps 1 to 5, again while the TEE is busy or someone interferes.
fn quote(
    reports: &impl Reports,
    binding: &ReportBinding,
    pause: impl Fn(Duration),
) -> Result<Vec<u8>, IssueError> {
    let mut waiting = FIRST_PAUSE;
    let mut last = String::new();
    for attempt in 1..=ATTEMPTS {
        let report = report_name();
        let outcome = reports.create(&report).and_then(|()| {
            let outcome = attempt_quote(reports, &report, binding);
            reports.remove(&report);
            outcome
        });
        match outcome {
            Ok(Attempt::Evidence(evidence)) => return Ok(evidence),
            Ok(Attempt::Interfered { expected, found }) => {
                last = format!("generation {found} instead of {expected}");
            }
            Err(IssueError::File { path, doing, source }) if is_busy(&source) => {
                last = format!("cannot {doing} {}: {source}", path.display());
            }
            Err(error) => return Err(error),
        }
        if attempt < ATTEMPTS {
            pause(waiting);
            waiting *= 2;
        }
    }
    Err(IssueError::Disturbed {
        path: reports.path("", ""),
        attempts: ATTEMPTS,
        last,
    })
}

enum Attempt {
    Evidence(Vec<u8>),
    Interfered { expected: u64, found: u64 },
}

fn attempt_quote(
    reports: &impl Reports,
    report: &str,
    binding: &ReportBinding,
) -> Result<Attempt, IssueError> {
    let expected = generation(reports, report)? + 1;
    reports.write(report, "inblob", &binding.report_data())?;
    let mut evidence = reports.read(report, "outblob", Quote::LIMIT)?;

    let provider = reports.read(report, "provider", 64)?;
    let provider = String::from_utf8_lossy(&provider).trim_end().to_owned();
    let snp = match provider.as_str() {
        "tdx_guest" => false,
        "sev_guest" => true,
        _ => {
            let path = reports.path(report, "provider");
            return Err(IssueError::UnknownProvider {
                path,
                found: provider,
            });
        }
    };
    let certificates = if snp {
        certificate_table(reports, report)?
    } else {
        Vec::new()
    };

    let found = generation(reports, report)?;
    if found != expected {
        return Ok(Attempt::Interfered { expected, found });
    }
    if snp && evidence.len() == SNP_REPORT_SIZE {
        evidence.extend_from_slice(&certificates);
    }
    let expected_kind = if snp { "an SEV-SNP report" } else { "a TDX quote" };
    finish(evidence, binding, expected_kind, |kind| match kind {
        EvidenceKind::Snp => snp,
        EvidenceKind::TdxV4 | EvidenceKind::TdxV5 => !snp,
        EvidenceKind::Empty | EvidenceKind::SgxV3 => false,
    })
    .map(Attempt::Evidence)
}

/// Kernels and hosts without certificates have no file, or an empty one.
fn certificate_table(reports: &impl Reports, report: &str) -> Result<Vec<u8>, IssueError> {
    match reports.read(report, "auxblob", Quote::LIMIT - SNP_REPORT_SIZE) {
        Err(IssueError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        outcome => outcome,
    }
}

fn generation(reports: &impl Reports, report: &str) -> Result<u64, IssueError> {
    let content = reports.read(report, "generation", 64)?;
    String::from_utf8_lossy(&content)
        .trim_end()
        .parse()
        .map_err(|_| IssueError::File {
            path: reports.path(report, "generation"),
            doing: "read a number from",
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                String::from_utf8_lossy(&content).into_owned(),
            ),
        })
}

/// EBUSY: the TEE serves another; EWOULDBLOCK: someone wrote between our writing and reading; EINTR: a signal.
fn is_busy(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// A name no one else uses: other programs by their process id, other calls by number.
fn report_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!(
        "marblerun-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    /// As much of a kernel as the interface shows.
    struct Kernel {
        provider: &'static str,
        /// Evidence for report data.
        make: fn(&[u8; 64]) -> Vec<u8>,
        auxblob: Option<Vec<u8>>,
        /// Errors to answer with before anything works: attribute, error.
        failures: RefCell<Vec<(&'static str, io::ErrorKind)>>,
        /// How many readings of `outblob` someone else interferes with.
        interferences: RefCell<u32>,
        reports: RefCell<BTreeMap<String, (u64, Vec<u8>)>>,
        pauses: RefCell<Vec<Duration>>,
    }

    impl Kernel {
        fn new(provider: &'static str, make: fn(&[u8; 64]) -> Vec<u8>) -> Self {
            Self {
                provider,
                make,
                auxblob: None,
                failures: RefCell::default(),
                interferences: RefCell::default(),
                reports: RefCell::default(),
                pauses: RefCell::default(),
            }
        }

        fn quote(&self) -> Result<Vec<u8>, IssueError> {
            let outcome = quote(self, &binding(), |pause| self.pauses.borrow_mut().push(pause));
            assert!(self.reports.borrow().is_empty(), "a report was left behind");
            outcome
        }

        fn fail(&self, report: &str, attribute: &str) -> Result<(), IssueError> {
            let mut failures = self.failures.borrow_mut();
            match failures.first() {
                Some((first, kind)) if *first == attribute => {
                    let source = io::Error::from(*kind);
                    failures.remove(0);
                    Err(IssueError::File {
                        path: self.path(report, attribute),
                        doing: "use",
                        source,
                    })
                }
                _ => Ok(()),
            }
        }
    }

    impl Reports for Kernel {
        fn create(&self, report: &str) -> Result<(), IssueError> {
            self.fail(report, "")?;
            assert!(
                self.reports
                    .borrow_mut()
                    .insert(report.to_owned(), (0, Vec::new()))
                    .is_none()
            );
            Ok(())
        }

        fn write(&self, report: &str, attribute: &str, content: &[u8]) -> Result<(), IssueError> {
            self.fail(report, attribute)?;
            assert_eq!(attribute, "inblob");
            let mut reports = self.reports.borrow_mut();
            let report = reports.get_mut(report).unwrap();
            *report = (report.0 + 1, content.to_vec());
            Ok(())
        }

        fn read(&self, report: &str, attribute: &str, limit: usize) -> Result<Vec<u8>, IssueError> {
            self.fail(report, attribute)?;
            let path = self.path(report, attribute);
            let mut reports = self.reports.borrow_mut();
            let report = reports.get_mut(report).unwrap();
            let content = match attribute {
                "generation" => format!("{}\n", report.0).into_bytes(),
                "provider" => format!("{}\n", self.provider).into_bytes(),
                "auxblob" => self.auxblob.clone().ok_or_else(|| IssueError::File {
                    path: path.clone(),
                    doing: "read",
                    source: io::ErrorKind::NotFound.into(),
                })?,
                "outblob" => {
                    let evidence = (self.make)(report.1.as_slice().try_into().unwrap());
                    let mut interferences = self.interferences.borrow_mut();
                    if *interferences > 0 {
                        *interferences -= 1;
                        report.0 += 1;
                    }
                    evidence
                }
                other => unreachable!("{other}"),
            };
            if content.len() > limit {
                Err(IssueError::TooLarge { path, limit })
            } else {
                Ok(content)
            }
        }

        fn remove(&self, report: &str) {
            self.reports.borrow_mut().remove(report);
        }

        fn path(&self, report: &str, attribute: &str) -> PathBuf {
            Path::new("tsm").join(report).join(attribute)
        }
    }

    fn binding() -> ReportBinding {
        ReportBinding::certificate(b"certificate")
    }

    #[test]
    fn a_tdx_quote_is_given_as_it_is() {
        let kernel = Kernel::new("tdx_guest", crate::quote::tests::tdx_v4);
        assert_eq!(
            kernel.quote().unwrap(),
            crate::quote::tests::tdx_v4(&binding().report_data())
        );
        assert!(kernel.pauses.borrow().is_empty());
    }

    #[test]
    fn an_snp_report_takes_its_certificates_along() {
        let report = crate::quote::tests::snp(&binding().report_data());
        let mut kernel = Kernel::new("sev_guest", crate::quote::tests::snp);
        assert_eq!(kernel.quote().unwrap(), report);
        kernel.auxblob = Some(b"certificates".to_vec());
        assert_eq!(kernel.quote().unwrap(), [&report[..], b"certificates"].concat());
        kernel.auxblob = Some(vec![0; Quote::LIMIT]);
        assert!(matches!(kernel.quote(), Err(IssueError::TooLarge { .. })));
    }

    #[test]
    fn interference_starts_over_and_is_not_suffered_for_ever() {
        let kernel = Kernel::new("tdx_guest", crate::quote::tests::tdx_v4);
        *kernel.interferences.borrow_mut() = 2;
        assert!(kernel.quote().is_ok());
        assert_eq!(*kernel.pauses.borrow(), [FIRST_PAUSE, FIRST_PAUSE * 2]);

        *kernel.interferences.borrow_mut() = ATTEMPTS;
        assert_eq!(
            kernel.quote().unwrap_err().to_string(),
            "tsm/: no undisturbed report in 8 attempts, last: generation 2 instead of 1"
        );
    }

    #[test]
    fn a_busy_tee_is_asked_again_wherever_it_says_so() {
        let kernel = Kernel::new("tdx_guest", crate::quote::tests::tdx_v4);
        kernel.failures.borrow_mut().extend([
            ("", io::ErrorKind::ResourceBusy),
            ("inblob", io::ErrorKind::ResourceBusy),
            ("outblob", io::ErrorKind::ResourceBusy),
            ("outblob", io::ErrorKind::WouldBlock),
            ("generation", io::ErrorKind::Interrupted),
        ]);
        assert!(kernel.quote().is_ok());
        assert_eq!(kernel.pauses.borrow().len(), 5);

        kernel
            .failures
            .borrow_mut()
            .extend([("outblob", io::ErrorKind::ResourceBusy); ATTEMPTS as usize]);
        let refused = kernel.quote().unwrap_err();
        assert!(
            matches!(
                refused,
                IssueError::Disturbed {
                    attempts: ATTEMPTS,
                    ..
                }
            ),
            "{refused}"
        );
    }

    #[test]
    fn other_failures_end_it_at_once() {
        for attribute in ["", "generation", "inblob", "outblob", "provider"] {
            let kernel = Kernel::new("tdx_guest", crate::quote::tests::tdx_v4);
            kernel
                .failures
                .borrow_mut()
                .push((attribute, io::ErrorKind::PermissionDenied));
            let refused = kernel.quote().unwrap_err();
            assert!(
                matches!(&refused, IssueError::File { path, .. } if attribute.is_empty() || path.ends_with(attribute)),
                "{refused}"
            );
            assert!(kernel.pauses.borrow().is_empty());
        }
    }

    #[test]
    fn unknown_providers_and_wrong_evidence_are_refused() {
        let refused = Kernel::new("arm_cca_guest", crate::quote::tests::snp)
            .quote()
            .unwrap_err();
        assert!(
            refused
                .to_string()
                .ends_with("says \"arm_cca_guest\": expected tdx_guest or sev_guest"),
            "{refused}"
        );
        let refused = Kernel::new("tdx_guest", crate::quote::tests::snp)
            .quote()
            .unwrap_err();
        assert!(
            matches!(
                refused,
                IssueError::WrongKind {
                    expected: "a TDX quote",
                    ..
                }
            ),
            "{refused}"
        );
        let refused = Kernel::new("sev_guest", |_| crate::quote::tests::snp(&[1; 64]))
            .quote()
            .unwrap_err();
        assert!(matches!(refused, IssueError::WrongReportData { .. }), "{refused}");
    }

    /// The part that touches files, without a kernel that fills directories.
    #[test]
    fn attributes_are_written_but_never_made() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path());
        let refused = TsmIssuer::new(root.path()).quote(&binding()).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with(&format!("cannot make {}", directory.display())),
            "{refused}"
        );

        std::fs::create_dir_all(&directory).unwrap();
        let refused = TsmIssuer::new(root.path()).quote(&binding()).unwrap_err();
        assert!(refused.to_string().contains("/generation: "), "{refused}");
        assert_eq!(
            std::fs::read_dir(&directory).unwrap().count(),
            0,
            "the report was removed"
        );

        let files = ConfigFs {
            directory: directory.clone(),
        };
        files.create("report").unwrap();
        assert!(files.write("report", "inblob", b"data").is_err());
        std::fs::write(directory.join("report/inblob"), b"").unwrap();
        files.write("report", "inblob", b"data").unwrap();
        assert_eq!(files.read("report", "inblob", 4).unwrap(), b"data");
        assert!(matches!(
            files.read("report", "inblob", 3),
            Err(IssueError::TooLarge { .. })
        ));
    }
}
