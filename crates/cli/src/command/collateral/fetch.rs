//! `collateral fetch`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use marblerun_attestation::collateral::{CollateralNeeded, DcapNeeded, DcapTee, PckAuthority};
use marblerun_attestation::{ProductionRoots, SimulationRoots, TrustRoots, Verifier};
use marblerun_collateral::{Asker, Collaterals, Config, Item, ServiceUrl, Source, system_clock};
use serde_json::json;

use super::say_simulation;
use crate::evidence;
use crate::evidence_file;
use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::session;

/// Arguments of `fetch`.
#[derive(Args)]
pub struct Arguments {
    /// File with evidence of the platform: as it is, in hex, in base64, or in a certificate; `-`: standard input
    #[arg(value_name = "EVIDENCE", required_unless_present = "fmspc", conflicts_with_all = ["fmspc", "tee", "ca"])]
    evidence: Option<PathBuf>,
    /// Platform with SGX or TDX, without evidence: its FMSPC, 12 hex digits
    #[arg(long, value_name = "HEX", requires_all = ["tee", "ca"], value_parser = fmspc)]
    fmspc: Option<[u8; 6]>,
    /// With --fmspc: the kind of TEE
    #[arg(long, value_name = "TEE", requires = "fmspc")]
    tee: Option<Tee>,
    /// With --fmspc: the issuer of the platform's certificate
    #[arg(long, value_name = "CA", requires = "fmspc")]
    ca: Option<Ca>,
    /// Directory to write into; it is made if it is not there
    #[arg(short, long, value_name = "DIR", allow_hyphen_values = true)]
    output: PathBuf,
    /// Where the CRL of the Intel SGX root is [default: Intel's distribution point for Intel's service, else the PCCS]
    #[arg(long, value_name = "URL")]
    root_crl_url: Option<ServiceUrl>,
    /// Allow http to other hosts than this one
    #[arg(long)]
    insecure_http: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Tee {
    Sgx,
    Tdx,
}

#[derive(Clone, Copy, ValueEnum)]
enum Ca {
    Processor,
    Platform,
}

fn fmspc(text: &str) -> Result<[u8; 6], String> {
    let mut bytes = [0; 6];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "expected 12 hex digits".to_owned())?;
    Ok(bytes)
}

/// Fetches what the platform needs, checks it below the pinned roots, and writes it. With `--accept-simulation` it is that
/// of the software TEE, made here unless a service is named.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    if flags.accept_simulation {
        say_simulation();
        fetch(arguments, flags, SimulationRoots::development(), output)
    } else {
        fetch(arguments, flags, ProductionRoots::pinned(), output)
    }
}

fn fetch<R: TrustRoots + Clone>(
    arguments: &Arguments,
    flags: &GlobalFlags,
    roots: R,
    output: &Output,
) -> Result<()> {
    let needed = match (&arguments.evidence, arguments.fmspc, arguments.tee, arguments.ca) {
        (Some(path), ..) => needed_by(path, roots.clone())?,
        (None, Some(fmspc), Some(tee), Some(ca)) => CollateralNeeded::Dcap(DcapNeeded {
            tee: match tee {
                Tee::Sgx => DcapTee::Sgx,
                Tee::Tdx => DcapTee::Tdx,
            },
            fmspc,
            authority: match ca {
                Ca::Processor => PckAuthority::Processor,
                Ca::Platform => PckAuthority::Platform,
            },
        }),
        _ => bail!("expected a file with evidence, or --fmspc with --tee and --ca"),
    };
    let collaterals = Collaterals::new(Config::new(source(arguments, flags)?), roots, system_clock())?;
    let obtained = session::run(async { Ok(collaterals.get(&needed, Asker::Trusted).await?) })?;

    let directory = &arguments.output;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut written = Vec::new();
    for item in Item::of(&obtained.collateral)? {
        let path = item
            .write(directory)
            .with_context(|| format!("cannot write into {}", directory.display()))?;
        written.push(path.to_string_lossy().into_owned());
    }
    let until = obtained.collateral.next_update().map(|until| until.to_string());
    let mut text = format!("Collateral written to: {}", written.join(", "));
    if let Some(until) = &until {
        text.push_str(&format!("\nFetch it again before: {until}"));
    }
    output.result(&text, &json!({"files": written, "nextUpdate": until}))
}

/// What evidence in a file needs. Outside of a certificate, what it is bound to was the business of whoever received it.
fn needed_by<R: TrustRoots>(path: &Path, roots: R) -> Result<CollateralNeeded> {
    let file = evidence_file::read(path)?;
    Verifier::new(roots)
        .collateral_needed(&file.quote, &file.binding()?, (system_clock())())
        .with_context(|| format!("the evidence in {} is refused", path.display()))
}

fn source(arguments: &Arguments, flags: &GlobalFlags) -> Result<Source> {
    let chosen = &flags.collateral;
    if flags.accept_simulation && chosen.pccs_url.is_none() && chosen.kds_url.is_none() {
        return Ok(Source::SoftwareTee);
    }
    let mut source = evidence::services(chosen)?;
    if let Source::Services(services) = &mut source {
        services.root_crl.clone_from(&arguments.root_crl_url);
        services.insecure_http = arguments.insecure_http;
    }
    Ok(source)
}
