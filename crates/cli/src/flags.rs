//! Flags that every command takes, and how their values are read.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// Flags of all commands.
#[derive(Args, Clone)]
pub struct GlobalFlags {
    /// File the Coordinator's certificates are pinned in (PEM: intermediate, then root) [default:
    /// $XDG_CONFIG_HOME/marblerun/coordinator-cert.pem, else below ~/.config]
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub coordinator_cert: Option<PathBuf>,
    /// JSON file that says which enclave the Coordinator must be: UniqueID, SignerID, ProductID,
    /// SecurityVersion, Debug [default: era-config.json]
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub era_config: Option<PathBuf>,
    /// Do not verify the Coordinator: only for simulation
    #[arg(
        short, long, global = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true,
        hide_possible_values = true, value_parser = switch
    )]
    pub insecure: bool,
    /// TCB statuses that are good enough, comma-separated
    #[arg(
        long,
        global = true,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true,
        default_value = "UpToDate,SWHardeningNeeded"
    )]
    pub accepted_tcb_statuses: Vec<String>,
    /// Advisories that are good enough with SWHardeningNeeded, comma-separated [default: all]
    #[arg(
        long,
        global = true,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub accepted_advisories: Vec<String>,
    /// Makes the Coordinator's evidence fresh: it must contain this string
    #[arg(
        long,
        global = true,
        value_name = "STRING",
        allow_hyphen_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub nonce: String,
    /// Accept evidence of the software TEE, which proves nothing: only for Coordinators in strict simulation
    #[arg(
        long, global = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL", hide_default_value = true,
        hide_possible_values = true, value_parser = switch
    )]
    pub accept_simulation: bool,
    /// Where collateral for evidence comes from.
    #[command(flatten)]
    pub collateral: CollateralFlags,
    /// File to save the Coordinator's evidence to, as received; also if it is refused
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub save_sgx_quote: Option<PathBuf>,
    /// Kubernetes namespace of MarbleRun
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        allow_hyphen_values = true,
        default_value = "marblerun"
    )]
    pub namespace: String,
    /// Form of the results [default: text as scripts know it]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub format: Option<Format>,
}

/// Where collateral for evidence comes from.
#[derive(Args, Clone)]
pub struct CollateralFlags {
    /// Service with collateral of SGX and TDX [default: that of Intel]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "EDG_PCCS_URL",
        hide_env_values = true
    )]
    pub pccs_url: Option<String>,
    /// Service with certificates of SEV-SNP [default: that of AMD]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "EDG_KDS_URL",
        hide_env_values = true
    )]
    pub kds_url: Option<String>,
    /// PEM file with the only authorities these services are trusted by [default: the public ones]
    #[arg(long, global = true, value_name = "FILE", env = "EDG_COLLATERAL_CA")]
    pub collateral_ca: Option<PathBuf>,
    /// Directory with collateral, looked at before any service
    #[arg(long, global = true, value_name = "DIR", env = "EDG_COLLATERAL_DIR")]
    pub collateral_dir: Option<PathBuf>,
}

/// `--format`
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON value on standard output; notices go to standard error.
    Json,
    /// A table.
    Table,
}

/// Reads the value of a switch: the spellings of Go's flag packages.
///
/// # Errors
/// Any other spelling.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}
