//! What the Coordinator is told to do: command line, environment, an optional TOML file (`spec/11`).
//!
//! A flag wins over the environment, the environment over the file, the file over the default. A bad value ends
//! the start with one line that says which setting, what was found and what was expected. This module alone
//! turns a setting into a token of simulation: nothing else in the program can switch protection off.

mod settings;
mod tee;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use marblerun_core::pki::CryptoSuite;
use marblerun_core::pki::HostName;
use zeroize::Zeroizing;

pub use tee::{Collateral, SimulatedEvidence, Simulation, Tee};
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
    /// What protects this run.
    pub tee: Tee,
    /// The evidence of this Coordinator, in strict simulation.
    pub simulated_evidence: SimulatedEvidence,
    /// Where collateral for evidence comes from.
    pub collateral: Collateral,
    /// Below it lie the pseudo-files of TEEs: `/`.
    pub root: PathBuf,
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
    /// An OpenTelemetry collector that spans are sent to, `http://host:port`.
    pub collector: Option<String>,
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

impl AzureHsm {
    /// Whether the setting that this variable stands for is given, wherever it comes from.
    pub fn is_set(&self, variable: &str) -> bool {
        match variable {
            "EDG_MAA_URL" => self.attestation_url.is_some(),
            "EDG_AZURE_HSM_VAULT_URL" => self.vault_url.is_some(),
            "EDG_AZURE_HSM_KEY_NAME" => self.key_name.is_some(),
            "EDG_AZURE_HSM_KEY_VERSION" => self.key_version.is_some(),
            "EDG_AZURE_CLIENT_ID" => self.client_id.is_some(),
            "EDG_AZURE_TENANT_ID" => self.tenant_id.is_some(),
            "EDG_AZURE_CLIENT_SECRET" => self.client_secret.is_some(),
            "EDG_AZURE_FEDERATED_TOKEN_FILE" => self.federated_token_file.is_some(),
            "EDG_AZURE_AUTHORITY_HOST" => self.authority_host.is_some(),
            _ => false,
        }
    }
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
    Ok(Request::Run(Box::new(check(
        &command_line,
        &sources,
        environment,
    )?)))
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
    let development = read.switch("dev-mode")?;
    let base = read.text("cwd").map(PathBuf::from);
    let tee = tee::tee(&read)?;
    Ok(Config {
        mesh_address: read.or(
            "mesh-addr",
            ListenAddress::all_interfaces(2001),
            value::ADDRESS,
            ListenAddress::parse,
        )?,
        client_address: read.or(
            "client-addr",
            ListenAddress::all_interfaces(4433),
            value::ADDRESS,
            ListenAddress::parse,
        )?,
        prometheus_address: read.optional("prometheus-addr", value::ADDRESS, ListenAddress::parse)?,
        dns_names: read.or(
            "dns-names",
            vec![HostName::Dns("localhost".to_owned())],
            value::DNS_NAMES,
            value::dns_names,
        )?,
        seal_directory: path_in(
            base.as_deref(),
            read.text("seal-dir")
                .unwrap_or_else(|| "marblerun-coordinator-data".to_owned()),
        ),
        startup_manifest: read
            .text("startup-manifest")
            .map(|path| path_in(base.as_deref(), path)),
        development,
        logging: Logging {
            format: read.or(
                "log-format",
                if development {
                    LogFormat::Text
                } else {
                    LogFormat::Json
                },
                value::LOG_FORMAT,
                LogFormat::parse,
            )?,
            debug: read.switch("debug-logging")?,
            http_errors: read.or(
                "http-error-log-level",
                LogLevel::Error,
                value::LOG_LEVEL,
                LogLevel::parse,
            )?,
            directives: value::directives(environment)?,
            collector: read.optional("otlp-endpoint", value::COLLECTOR, value::collector)?,
        },
        tee,
        simulated_evidence: tee::simulated_evidence(&read, tee)?,
        collateral: tee::collateral(&read, base.as_deref())?,
        root: PathBuf::from("/"),
        suite: read.or("crypto-suite", CryptoSuite::default(), value::SUITE, |name| {
            CryptoSuite::parse(name).ok()
        })?,
        limit_manifest: read.or(
            "limit-manifest",
            32 << 20,
            value::LIMIT_MANIFEST,
            value::limit_manifest,
        )?,
        limit_entries: read.or(
            "limit-entries",
            200_000,
            value::LIMIT_ENTRIES,
            value::limit_entries,
        )?,
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

/// Typed access to the settings.
struct Reader<'a>(&'a Sources<'a>);

impl Reader<'_> {
    fn text(&self, name: &'static str) -> Option<String> {
        self.0
            .get(name)
            .map(|found| found.text)
            .filter(|text| !text.is_empty())
    }

    fn optional<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(found) = self.0.get(name) else {
            return Ok(None);
        };
        match parse(&found.text) {
            Some(value) => Ok(Some(value)),
            None => Err(ConfigError::Value {
                place: found.place,
                expected,
                found: shown(&found.text),
            }),
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

    /// Refuses a setting that is not to be given here, unless an environment variable gives it.
    fn refuse_unless_variable(&self, name: &'static str, expected: &'static str) -> Result<(), ConfigError> {
        match self.0.get(name) {
            Some(found) if !found.is_variable && !found.text.is_empty() => Err(ConfigError::Value {
                place: found.place,
                expected,
                found: shown(&found.text),
            }),
            _ => Ok(()),
        }
    }

    fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        self.or(name, false, value::SWITCH, value::switch)
    }

    fn unsupported(&self, name: &'static str, reason: &'static str) -> ConfigError {
        let place = self
            .0
            .get(name)
            .map_or_else(|| name.to_owned(), |found| found.place);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn run(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
        let arguments = ["coordinator"].iter().chain(flags);
        match load(arguments, &environment(variables)) {
            Ok(Request::Run(config)) => Ok(*config),
            Ok(Request::Print(text)) => Err(format!("printed: {text}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn error(flags: &[&str], variables: &[(&str, &str)]) -> String {
        match run(flags, variables) {
            Ok(_) => panic!("expected an error"),
            Err(error) => error,
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = run(&["--simulation"], &[]).unwrap();
        assert_eq!(config.mesh_address.to_string(), ":2001");
        assert_eq!(config.client_address.to_string(), ":4433");
        assert_eq!(config.prometheus_address, None);
        assert_eq!(config.dns_names, [HostName::Dns("localhost".into())]);
        assert_eq!(config.seal_directory, Path::new("marblerun-coordinator-data"));
        assert_eq!(config.startup_manifest, None);
        assert_eq!(config.logging.format, LogFormat::Json);
        assert_eq!(config.logging.http_errors, LogLevel::Error);
        assert!(!config.logging.debug && !config.development && !config.fresh);
        assert_eq!(config.suite, CryptoSuite::P256Aes128);
        assert_eq!((config.limit_manifest, config.limit_entries), (32 << 20, 200_000));
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("coordinator.toml");
        std::fs::write(&path, "mesh-addr = \":1\"\nclient-addr = \":2\"\ndns-names = [\"a\", \"b\"]\nsimulation = true\nlimit-entries = 7\n").unwrap();
        let file = ["--config", path.to_str().unwrap()];
        let variables = [
            ("EDG_COORDINATOR_MESH_ADDR", ":3"),
            ("EDG_COORDINATOR_CLIENT_ADDR", ""),
        ];

        let config = run(&file, &variables).unwrap();
        assert_eq!(config.mesh_address.port, 3);
        assert_eq!(
            config.client_address.port, 2,
            "an empty variable counts as not set"
        );
        assert_eq!(config.dns_names.len(), 2);
        assert_eq!(config.limit_entries, 7);

        let config = run(&[&file[..], &["--mesh-addr", ":4"]].concat(), &variables).unwrap();
        assert_eq!(config.mesh_address.port, 4);
    }

    #[test]
    fn simulation_is_only_ever_explicit() {
        let tee = |flags: &[&str], variables: &[(&str, &str)]| run(flags, variables).unwrap().tee;
        let is_strict = |tee| matches!(tee, Tee::Simulated(Simulation::Strict(_)));
        let is_lenient = |tee| matches!(tee, Tee::Simulated(Simulation::Lenient(_)));
        for variables in [&[][..], &[("OE_SIMULATION", "0")], &[("OE_SIMULATION", "")]] {
            assert_eq!(tee(&[], variables), Tee::Hardware, "{variables:?}");
        }
        assert_eq!(tee(&["--simulation=0"], &[("OE_SIMULATION", "1")]), Tee::Hardware);
        assert!(is_lenient(tee(&[], &[("OE_SIMULATION", "1")])));
        assert!(is_lenient(tee(&["--simulation"], &[("OE_SIMULATION", "0")])));
        assert!(error(&[], &[("OE_SIMULATION", "yes")]).starts_with("OE_SIMULATION: expected"));
        assert!(is_strict(tee(&["--simulation-strict"], &[])));
        assert!(is_strict(tee(
            &["--simulation-strict"],
            &[("OE_SIMULATION", "1")]
        )));
    }

    #[test]
    fn evidence_is_simulated_in_strict_simulation_only() {
        let strict = "--simulation-strict";
        let found = error(&[strict, "--simulated-tee=sev"], &[]);
        assert_eq!(
            found,
            format!("--simulated-tee: expected {}, found `sev`", value::SIMULATED_TEE)
        );
        let config = run(&[strict], &[("EDG_SIMULATED_TEE", "snp")]).unwrap();
        assert_eq!(config.simulated_evidence.tee, "snp");
        for others in [&[][..], &["--simulation"]] {
            for (flag, text) in [("--simulated-tee", "snp"), ("--simulated-claims", "{}")] {
                let given = format!("{flag}={text}");
                assert_eq!(
                    error(&[others, &[given.as_str()]].concat(), &[]),
                    format!("{flag}: expected nothing, or --simulation-strict beside it, found `{text}`")
                );
                let nothing = format!("{flag}=");
                assert!(run(&[others, &[nothing.as_str()]].concat(), &[]).is_ok());
            }
            // Marbles on this machine have the same variables.
            let config = run(
                others,
                &[("EDG_SIMULATED_TEE", "snp"), ("EDG_SIMULATED_CLAIMS", "{}")],
            );
            assert_eq!(config.unwrap().simulated_evidence, SimulatedEvidence::default());
        }
    }

    #[test]
    fn bad_values_are_named_with_what_was_expected() {
        let cases = [
            ("EDG_COORDINATOR_MESH_ADDR", "2001", value::ADDRESS),
            ("EDG_COORDINATOR_CLIENT_ADDR", "a:b", value::ADDRESS),
            ("EDG_COORDINATOR_PROMETHEUS_ADDR", "x", value::ADDRESS),
            ("EDG_COORDINATOR_DNS_NAMES", "a b", value::DNS_NAMES),
            ("EDG_COORDINATOR_DEV_MODE", "yes", value::SWITCH),
            ("EDG_DEBUG_LOGGING", "2", value::SWITCH),
            ("EDG_HTTP_ERROR_LOG_LEVEL", "trace", value::LOG_LEVEL),
            ("EDG_LOG_FORMAT", "JSON", value::LOG_FORMAT),
            ("EDG_DISTRIBUTED_COORDINATOR", "on", value::SWITCH),
        ];
        for (variable, bad, expected) in cases {
            let found = error(&["--simulation"], &[(variable, bad)]);
            assert_eq!(found, format!("{variable}: expected {expected}, found `{bad}`"));
        }
        let found = error(&["--simulation", "--crypto-suite", "rsa\n"], &[]);
        assert_eq!(
            found,
            "--crypto-suite: expected p256-aes128 or p384-aes256, found `rsa\\n`"
        );
        assert!(
            error(&["--simulation", "--limit-manifest=0"], &[]).starts_with("--limit-manifest: expected")
        );
        assert!(error(&["--simulation", "--limit-entries=x"], &[]).starts_with("--limit-entries: expected"));
        assert!(
            error(&["--simulation"], &[("EDG_DISTRIBUTED_COORDINATOR", "1")])
                .starts_with("EDG_DISTRIBUTED_COORDINATOR: ")
        );
        let long = "x".repeat(1000);
        assert!(error(&["--simulation", "--log-format", &long], &[]).len() < 200);
    }

    #[test]
    fn unknown_flags_and_keys_are_refused_in_one_line() {
        let found = error(&["--simulate"], &[]);
        assert!(found.contains("--simulate") && !found.contains('\n'), "{found}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        for (text, expected) in [
            ("mesh_addr = \":1\"", "unknown setting `mesh_addr`"),
            ("fresh = true", "unknown setting `fresh`"),
            (
                "mesh-addr = {}",
                "`mesh-addr` must be a string, a number, a boolean or a list of strings",
            ),
            ("mesh-addr = ", "line 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let found = error(&["--simulation", "--config", path.to_str().unwrap()], &[]);
            assert!(
                found.contains(expected) && found.contains("c.toml") && !found.contains('\n'),
                "{found}"
            );
        }
        assert!(error(&["--config", "/nowhere.toml"], &[]).contains("/nowhere.toml"));
    }

    #[test]
    fn paths_start_from_the_given_directory() {
        let variables = [("EDG_CWD", "/data"), ("EDG_STARTUP_MANIFEST", "m.json")];
        let config = run(&["--simulation"], &variables).unwrap();
        assert_eq!(
            config.seal_directory,
            Path::new("/data/marblerun-coordinator-data")
        );
        assert_eq!(
            config.startup_manifest.as_deref(),
            Some(Path::new("/data/m.json"))
        );
        let config = run(&["--simulation", "--seal-dir", "/elsewhere"], &variables).unwrap();
        assert_eq!(config.seal_directory, Path::new("/elsewhere"));
    }

    #[test]
    fn workload_identity_stands_in_for_our_own_variables() {
        let standing_in = [
            ("AZURE_CLIENT_ID", "a"),
            ("AZURE_TENANT_ID", "b"),
            ("AZURE_CLIENT_SECRET", "no"),
        ];
        let azure = run(&["--simulation"], &standing_in).unwrap().azure;
        assert_eq!(
            (azure.client_id.as_deref(), azure.tenant_id.as_deref()),
            (Some("a"), Some("b"))
        );
        assert!(azure.is_set("EDG_AZURE_CLIENT_ID") && !azure.is_set("EDG_AZURE_CLIENT_SECRET"));
        let both = [("AZURE_CLIENT_ID", "a"), ("EDG_AZURE_CLIENT_ID", "c")];
        assert_eq!(
            run(&["--simulation"], &both).unwrap().azure.client_id.as_deref(),
            Some("c")
        );
    }

    #[test]
    fn development_mode_logs_text_unless_told_otherwise() {
        let development = ("EDG_COORDINATOR_DEV_MODE", "1");
        assert_eq!(
            run(&["--simulation"], &[development]).unwrap().logging.format,
            LogFormat::Text
        );
        let told = [development, ("EDG_LOG_FORMAT", "json")];
        assert_eq!(
            run(&["--simulation"], &told).unwrap().logging.format,
            LogFormat::Json
        );
    }

    #[test]
    fn help_names_every_variable() {
        let text = error(&["--help"], &[]);
        assert!(text.starts_with("printed: "));
        for setting in settings::SETTINGS {
            assert!(text.contains(&format!("--{}", setting.name)), "{}", setting.name);
            assert!(
                setting
                    .variables
                    .iter()
                    .take(1)
                    .all(|variable| text.contains(variable)),
                "{}",
                setting.name
            );
        }
    }
}
