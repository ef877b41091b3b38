//! The platform of a marble against the infrastructures of the manifest.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use aws_lc_rs::digest::{SHA256, digest};
use marblerun_attestation::Claims;
use marblerun_attestation::policy::{FirstBroken, Rules};

use crate::manifest::{Infrastructure, Name};

const SECTION: &str = "Infrastructures";
const EXPECTED: &str = "a platform that is listed";

/// How many infrastructures a refusal tells the reasons of.
const REASONS: usize = 16;

/// When the manifest lists infrastructures, the platform must comply with at least one. Their properties are those of
/// Intel platforms: others comply with none.
pub(super) fn appraise(
    rules: &mut Rules<'_>,
    infrastructures: &BTreeMap<Name, Infrastructure>,
    claims: &Claims,
) -> ControlFlow<()> {
    if infrastructures.is_empty() {
        return ControlFlow::Continue(());
    }
    let Some(platform) = Platform::of(claims) else {
        return rules.tell(
            SECTION,
            false,
            "an Intel platform that is listed",
            format_args!("a platform with {}", claims.tee()),
        );
    };
    let mut reasons = Vec::new();
    for (name, infrastructure) in infrastructures {
        let mut first = FirstBroken::default();
        // What stopped it is kept by `first`.
        let _ = platform.appraise(
            &mut Rules::of_document(&mut first).below(SECTION).below(name),
            infrastructure,
        );
        match first.into_result() {
            Ok(()) => return rules.tell(SECTION, true, EXPECTED, format_args!("{SECTION}.{name}")),
            Err(_) if reasons.len() == REASONS => {}
            Err(outcome) => reasons.push(format!(
                "{}: expected {}, found {}",
                outcome.rule, outcome.expected, outcome.found
            )),
        }
    }
    rules.tell(SECTION, false, EXPECTED, reasons.join("; "))
}

struct Platform<'c> {
    cpu_svn: &'c [u8; 16],
    qe_svn: u16,
    pce_svn: u16,
    root_ca: &'c [u8],
}

impl<'c> Platform<'c> {
    fn of(claims: &'c Claims) -> Option<Self> {
        match claims {
            Claims::Sgx(c) => Some(Self {
                cpu_svn: &c.cpu_svn,
                qe_svn: c.qe_svn,
                pce_svn: c.pce_svn,
                root_ca: &c.root_ca,
            }),
            Claims::Tdx(c) => Some(Self {
                cpu_svn: &c.cpu_svn,
                qe_svn: c.qe_svn,
                pce_svn: c.pce_svn,
                root_ca: &c.root_ca,
            }),
            Claims::Snp(_) => None,
        }
    }

    fn appraise(&self, rules: &mut Rules<'_>, expected: &Infrastructure) -> ControlFlow<()> {
        if let Some(root_ca) = &expected.root_ca {
            let kept = root_ca.as_slice() == self.root_ca;
            rules.tell("RootCA", kept, Fingerprint(root_ca), Fingerprint(self.root_ca))?;
        }
        if let Some(cpu_svn) = &expected.cpu_svn {
            rules.equal_bytes("CPUSVN", cpu_svn, self.cpu_svn)?;
        }
        if let Some(minimum) = expected.qe_svn {
            rules.at_least("QESVN", minimum, self.qe_svn)?;
        }
        if let Some(minimum) = expected.pce_svn {
            rules.at_least("PCESVN", minimum, self.pce_svn)?;
        }
        ControlFlow::Continue(())
    }
}

/// A certificate by what other tools show of it. Made only when something is said about it.
struct Fingerprint<'a>(&'a [u8]);

impl fmt::Display for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = digest(&SHA256, self.0);
        f.write_str("the certificate with SHA-256 ")?;
        hash.as_ref().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
