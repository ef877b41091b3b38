//! What the Coordinator is told to do: command line, environment, an optional TOML file (`spec/11`).
//!
//! A flag wins over the environment, the environment over the file, the file over the default. A bad value ends
//! the start with one line that says which setting, what was found and what was expected. This module alone
//! turns a setting into [`SimulationMode`]: nothing else in the program can switch protection off.

mod settings;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use marblerun_attestation::SimulationMode;
use marblerun_core::pki::host_name::HostName;
use marblerun_core::pki::suite::CryptoSuite;
use zeroize::Zeroizing;

pub use value::{ListenAddress, LogFormat, LogLevel};

use settings::{CommandLine, Sources};

/// The checked configuration of one run.
pub struct Config {
    /// Where the Marble API listens.
    pub mesh_address: ListenAddress,
    /// Where the client API listens.
    pub client_address: ListenAddress,
    /// Where metrics are served; `None`: nowhere.
    pub prometheus_address: Option<ListenAddress>,
    /// Names and addresses of the certificates made for a new deployment, besides the loopback addresses.
    pub dns_names: Vec<HostName>,
    /// The directory of the sealed state.
    pub seal_directory: PathBuf,
    /// The manifest to set when the Coordinator starts and is ready to accept one.
    pub startup_manifest: Option<PathBuf>,
    /// Development mode.
    pub development: bool,
    /// How and what to log.
    pub logging: Logging,
    /// Present: this run simulates a TEE and protects nothing.
    pub simulation: Option<Simulation>,
    /// The suite of a state made by this run.
    pub suite: CryptoSuite,
    /// Bytes a manifest may have.
    pub limit_manifest: usize,
    /// Entries a section of a manifest may have.
    pub limit_entries: usize,
    /// Start anew although the directory holds remains of a state that is gone.
    pub fresh: bool,
    /// Written once both APIs accept connections.
    pub ready_file: Option<PathBuf>,
    /// What sealing with an Azure HSM needs.
    pub azure: AzureHsm,
}

/// How and what to log.
#[derive(Debug, Clone)]
pub struct Logging {
    /// JSON or text.
    pub format: LogFormat,
    /// Log more than usual.
    pub debug: bool,
    /// The level of refused requests and failed connections.
    pub http_errors: LogLevel,
    /// `RUST_LOG`: directives that replace the level, for debugging.
    pub directives: Option<String>,
}

/// A simulated TEE.
#[derive(Clone, Copy)]
pub struct Simulation {
    /// Needed wherever a check is skipped or a root made for tests is trusted.
    pub mode: SimulationMode,
    /// Admit nothing unverified: evidence of the software TEE is verified against its root.
    pub strict: bool,
}

/// Settings of sealing with an Azure HSM (`spec/01`, "Config").
#[derive(Default)]
pub struct AzureHsm {
    /// `EDG_MAA_URL`
    pub attestation_url: Option<String>,
    /// `EDG_AZURE_HSM_VAULT_URL`
    pub vault_url: Option<String>,
    /// `EDG_AZURE_HSM_KEY_NAME`
    pub key_name: Option<String>,
    /// `EDG_AZURE_HSM_KEY_VERSION`
    pub key_version: Option<String>,
    /// `EDG_AZURE_CLIENT_ID` or `AZURE_CLIENT_ID`
    pub client_id: Option<String>,
    /// `EDG_AZURE_TENANT_ID` or `AZURE_TENANT_ID`
    pub tenant_id: Option<String>,
    /// `EDG_AZURE_CLIENT_SECRET`
    pub client_secret: Option<Zeroizing<String>>,
    /// `EDG_AZURE_FEDERATED_TOKEN_FILE` or `AZURE_FEDERATED_TOKEN_FILE`
    pub federated_token_file: Option<String>,
    /// `EDG_AZURE_AUTHORITY_HOST` or `AZURE_AUTHORITY_HOST`
    pub authority_host: Option<String>,
}

/// Why the configuration is not usable. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that cannot be what the setting needs.
    #[error("{place}: expected {expected}, found `{found}`")]
    Value {
        /// The flag, variable or key of the file.
        place: String,
        /// What the setting takes.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The settings file.
    #[error("settings file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting that asks for what this version does not have.
    #[error("{place}: {reason}")]
    Unsupported {
        /// The flag, variable or key of the file.
        place: String,
        /// What is missing, and what to do.
        reason: &'static str,
    },
    /// Neither a TEE that can be used nor an explicit wish to simulate one.
    #[error(
        "no TEE is supported by this version: start with --simulation (or OE_SIMULATION=1) to run without protection"
    )]
    NoTee,
}

/// What a command line asks for.
pub enum Request {
    /// To run with this configuration.
    Run(Box<Config>),
    /// To print this text (help, version) and end with success.
    Print(String),
}

/// Why a command line and environment do not make a configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The command line itself. The message has several lines and names the usage.
    #[error("{0}")]
    CommandLine(String),
    /// A setting.
    #[error(transparent)]
    Setting(#[from] ConfigError),
}

/// Makes the configuration out of `arguments` (the program's name first) and `environment`.
///
/// # Errors
/// [`LoadError`] for a command line that cannot be read, a bad value, an unusable file, an unsupported setting.
pub fn load(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    environment: &BTreeMap<String, String>,
) -> Result<Request, LoadError> {
    let command_line = match settings::command_line(arguments) {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() => return Err(LoadError::CommandLine(one_line_of(&error))),
        Err(error) => return Ok(Request::Print(error.to_string())),
    };
    let sources = Sources::new(&command_line, environment)?;
    Ok(Request::Run(Box::new(check(&command_line, &sources, environment)?)))
}

fn check(
    command_line: &CommandLine,
    sources: &Sources<'_>,
    environment: &BTreeMap<String, String>,
) -> Result<Config, ConfigError> {
    let read = Reader(sources);
    if read.switch("distributed")? {
        return Err(read.unsupported("distributed", "this version runs as a single instance"));
    }
    let simulation = simulation(&read)?.ok_or(ConfigError::NoTee)?;
    let development = read.switch("dev-mode")?;
    let base = read.text("cwd").map(PathBuf::from);
    Ok(Config {
        mesh_address: read.or("mesh-addr", ListenAddress::all_interfaces(2001), value::ADDRESS, ListenAddress::parse)?,
        client_address: read.or("client-addr", ListenAddress::all_interfaces(4433), value::ADDRESS, ListenAddress::parse)?,
        prometheus_address: read.optional("prometheus-addr", value::ADDRESS, ListenAddress::parse)?,
        dns_names: read.or("dns-names", vec![HostName::Dns("localhost".to_owned())], value::DNS_NAMES, value::dns_names)?,
        seal_directory: path_in(
            base.as_deref(),
            read.text("seal-dir").unwrap_or_else(|| "marblerun-coordinator-data".to_owned()),
        ),
        startup_manifest: read.text("startup-manifest").map(|path| path_in(base.as_deref(), path)),
        development,
        logging: Logging {
            format: read.or(
                "log-format",
                if development { LogFormat::Text } else { LogFormat::Json },
                value::LOG_FORMAT,
                LogFormat::parse,
            )?,
            debug: read.switch("debug-logging")?,
            http_errors: read.or("http-error-log-level", LogLevel::Error, value::LOG_LEVEL, LogLevel::parse)?,
            directives: environment.get("RUST_LOG").filter(|text| !text.is_empty()).cloned(),
        },
        simulation: Some(simulation),
        suite: read.or("crypto-suite", CryptoSuite::default(), value::SUITE, |name| CryptoSuite::parse(name).ok())?,
        limit_manifest: read.or("limit-manifest", 32 << 20, value::LIMIT_MANIFEST, value::limit_manifest)?,
        limit_entries: read.or("limit-entries", 200_000, value::LIMIT_ENTRIES, value::limit_entries)?,
        fresh: command_line.fresh,
        ready_file: command_line.ready_file.clone(),
        azure: AzureHsm {
            attestation_url: read.text("maa-url"),
            vault_url: read.text("azure-hsm-vault-url"),
            key_name: read.text("azure-hsm-key-name"),
            key_version: read.text("azure-hsm-key-version"),
            client_id: read.text("azure-client-id"),
            tenant_id: read.text("azure-tenant-id"),
            client_secret: read.text("azure-client-secret").map(Zeroizing::new),
            federated_token_file: read.text("azure-federated-token-file"),
            authority_host: read.text("azure-authority-host"),
        },
    })
}

/// Simulation, when it was asked for in so many words.
fn simulation(read: &Reader<'_>) -> Result<Option<Simulation>, ConfigError> {
    if read.switch("simulation-strict")? {
        return Err(read.unsupported(
            "simulation-strict",
            "evidence of the software TEE cannot be verified by this version; use --simulation",
        ));
    }
    let wanted = read.switch("simulation")?;
    Ok(wanted.then(|| Simulation { mode: SimulationMode::by_explicit_configuration(), strict: false }))
}

/// Typed access to the settings.
struct Reader<'a>(&'a Sources<'a>);

impl Reader<'_> {
    fn text(&self, name: &'static str) -> Option<String> {
        self.0.get(name).map(|found| found.text).filter(|text| !text.is_empty())
    }

    fn optional<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(found) = self.0.get(name) else { return Ok(None) };
        match parse(&found.text) {
            Some(value) => Ok(Some(value)),
            None => Err(ConfigError::Value { place: found.place, expected, found: shown(&found.text) }),
        }
    }

    fn or<T>(
        &self,
        name: &'static str,
        default: T,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        Ok(self.optional(name, expected, parse)?.unwrap_or(default))
    }

    fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        self.or(name, false, value::SWITCH, value::switch)
    }

    fn unsupported(&self, name: &'static str, reason: &'static str) -> ConfigError {
        let place = self.0.get(name).map_or_else(|| name.to_owned(), |found| found.place);
        ConfigError::Unsupported { place, reason }
    }
}

/// A bad value as an error shows it: one line, of bounded length.
fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

fn path_in(base: Option<&Path>, path: String) -> PathBuf {
    match base {
        Some(base) => base.join(path),
        None => PathBuf::from(path),
    }
}

fn one_line_of(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\nUsage").next().unwrap_or_default();
    settings::one_line(text.strip_prefix("error: ").unwrap_or(text))
}
