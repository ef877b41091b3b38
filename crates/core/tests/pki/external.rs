//! OpenSSL, Go, GnuTLS and webpki as verifiers of the same certificates: whom each accepts for which name and use.
//! Each test is skipped, loudly, where its tool is missing.

mod deployment;
mod gnutls;
mod go;
mod openssl;
mod web_pki;

use std::path::Path;
use std::process::{Command, Output};

use deployment::{LEAVES, deployment};
use marblerun_core::pki::CryptoSuite;

/// What a certificate is verified for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    Server,
    Client,
}

/// Why a certificate has to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// No chain to the anchor, or only one with wrong signatures.
    Issuer,
    /// Not for that name or address.
    Name,
    /// Not for that use.
    Usage,
}

/// One question to a verifier. Certificates are named by their files, without `.pem`.
#[derive(Debug, Clone)]
struct Case {
    leaf: &'static str,
    /// What is sent along.
    between: &'static [&'static str],
    /// The only certificate trusted.
    anchor: &'static str,
    /// A host name or an IP address.
    name: &'static str,
    usage: Usage,
    /// `None`: it has to be accepted.
    fault: Option<Fault>,
}

/// The two paths of a marble: from outside through the intermediate, among marbles by the Marble root, and that
/// with the chain sent along.
const PATHS: [(&[&str], &str); 3] = [
    (&["intermediate"], "root"),
    (&[], "marble-root"),
    (&["intermediate"], "marble-root"),
];

/// Paths that must not exist for certificates of the deployment.
const WRONG_PATHS: [(&[&str], &str); 7] = [
    // Another deployment: its root with our chain, with its own, its Marble root.
    (&["intermediate"], "their-root"),
    (&["their-intermediate"], "their-root"),
    (&[], "their-marble-root"),
    // After an update of the manifest: inside, and outside with the chain of after.
    (&[], "renewed-marble-root"),
    (&["renewed-intermediate"], "root"),
    (&["renewed-intermediate"], "renewed-marble-root"),
    // Without its chain.
    (&[], "root"),
];

const AUTHORITY: [(&str, &str); 3] = [
    ("root", "root"),
    ("intermediate", "root"),
    ("marble-root", "marble-root"),
];

/// All questions, the same for every verifier and suite.
fn cases() -> Vec<Case> {
    let usages = [Usage::Server, Usage::Client];
    let mut cases = Vec::new();
    let mut ask = |leaf, (between, anchor), name, usage, fault| {
        cases.push(Case {
            leaf,
            between,
            anchor,
            name,
            usage,
            fault,
        });
    };
    for leaf in LEAVES {
        for usage in usages {
            for path in PATHS {
                for name in ["marble.example", "10.9.8.7"] {
                    ask(leaf, path, name, usage, None);
                }
            }
            for path in WRONG_PATHS {
                ask(leaf, path, "marble.example", usage, Some(Fault::Issuer));
            }
        }
        for path in PATHS {
            for name in ["other.example", "10.9.8.6", "coordinator.example"] {
                ask(leaf, path, name, Usage::Server, Some(Fault::Name));
            }
        }
    }
    // The same marble after an update: the root survives, the Marble root does not.
    for usage in usages {
        let name = "marble.example";
        ask(
            "renewed-marble",
            (&["renewed-intermediate"], "root"),
            name,
            usage,
            None,
        );
        ask("renewed-marble", (&[], "renewed-marble-root"), name, usage, None);
        ask(
            "renewed-marble",
            (&[], "marble-root"),
            name,
            usage,
            Some(Fault::Issuer),
        );
        ask(
            "renewed-marble",
            (&["intermediate"], "root"),
            name,
            usage,
            Some(Fault::Issuer),
        );
    }
    for path in PATHS {
        let name = "marble.example";
        ask("server-only", path, name, Usage::Server, None);
        ask("server-only", path, name, Usage::Client, Some(Fault::Usage));
        ask("client-only", path, name, Usage::Client, None);
        ask("client-only", path, name, Usage::Server, Some(Fault::Usage));
    }
    // The authority's own certificates are those of the Coordinator's servers.
    for (leaf, anchor) in AUTHORITY {
        for name in ["coordinator.example", "10.1.2.3", "127.0.0.1", "::1"] {
            ask(leaf, (&[], anchor), name, Usage::Server, None);
        }
        for name in ["marble.example", "10.1.2.4"] {
            ask(leaf, (&[], anchor), name, Usage::Server, Some(Fault::Name));
        }
        for anchor in ["their-root", "their-marble-root"] {
            ask(
                leaf,
                (&[], anchor),
                "coordinator.example",
                Usage::Server,
                Some(Fault::Issuer),
            );
        }
    }
    ask(
        "intermediate",
        (&[], "marble-root"),
        "coordinator.example",
        Usage::Server,
        Some(Fault::Issuer),
    );
    ask(
        "marble-root",
        (&[], "root"),
        "coordinator.example",
        Usage::Server,
        Some(Fault::Issuer),
    );
    cases
}

/// Compares a verifier's answer (`Err`: its reason) with what is expected; `words` are how it says each fault.
fn judge(
    case: &Case,
    answer: Result<(), String>,
    words: impl Fn(Fault) -> &'static [&'static str],
) -> Option<String> {
    match (case.fault, answer) {
        (None, Ok(())) => None,
        (None, Err(reason)) => Some(format!("refused {case:?}: {reason}")),
        (Some(_), Ok(())) => Some(format!("accepted {case:?}")),
        (Some(fault), Err(reason)) => {
            let named = words(fault).iter().any(|word| reason.contains(word));
            (!named).then(|| format!("refused {case:?} for another reason: {reason}"))
        }
    }
}

/// Puts all cases of both suites to a verifier that is started anew for each.
fn put_each(
    tool: &str,
    applies: impl Fn(&Case) -> bool,
    ask: impl Fn(&Path, &Case) -> Result<(), String>,
    words: impl Fn(Fault) -> &'static [&'static str],
) {
    for suite in CryptoSuite::ALL {
        let directory = deployment(suite, &format!("{tool}-{suite}"));
        let cases: Vec<Case> = cases().into_iter().filter(|case| applies(case)).collect();
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|case| judge(case, ask(&directory, case), &words))
            .collect();
        assert!(
            wrong.is_empty(),
            "{tool}, {suite}: {} of {}\n{}",
            wrong.len(),
            cases.len(),
            wrong.join("\n")
        );
        eprintln!("{tool}, {suite}: {} cases as expected", cases.len());
    }
}

/// Whether a tool is there; says so where it is not.
fn available(tool: &str, argument: &str) -> bool {
    let found = Command::new(tool)
        .arg(argument)
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("\n*** SKIPPED: `{tool}` is not installed; certificates were NOT verified with it ***\n");
    }
    found
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Runs to the end; `Err` with all it printed if it failed.
fn answer(command: &mut Command) -> Result<(), String> {
    let output = run(command);
    if output.status.success() {
        Ok(())
    } else {
        Err(text(&output))
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn is_address(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
}

#[test]
fn every_kind_of_certificate_is_asked_about() {
    let cases = cases();
    let good = cases.iter().filter(|case| case.fault.is_none()).count();
    assert!(
        good >= 130 && cases.len() - good >= 250,
        "{good} of {}",
        cases.len()
    );
    for leaf in LEAVES.into_iter().chain(["root", "intermediate", "marble-root"]) {
        for fault in [None, Some(Fault::Issuer), Some(Fault::Name)] {
            assert!(
                cases.iter().any(|case| case.leaf == leaf && case.fault == fault),
                "{leaf} {fault:?}"
            );
        }
    }
}
