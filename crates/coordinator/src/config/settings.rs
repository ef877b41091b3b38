//! The table of settings, and where the text of each comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::ConfigError;

/// One setting: the names it has in the three places it may be given in.
pub(super) struct Setting {
    /// Name of the flag and key of the file.
    pub name: &'static str,
    /// Environment variables, the first that is set and not empty counts.
    pub variables: &'static [&'static str],
    /// On with `1`, off with `0`; as a flag it may stand without a value.
    pub switch: bool,
    /// What `--help` says.
    pub help: &'static str,
}

const fn value(name: &'static str, variables: &'static [&'static str], help: &'static str) -> Setting {
    Setting {
        name,
        variables,
        switch: false,
        help,
    }
}

const fn switch(name: &'static str, variables: &'static [&'static str], help: &'static str) -> Setting {
    Setting {
        name,
        variables,
        switch: true,
        help,
    }
}

/// Every setting (`spec/11`); what is not in here is refused in the file and on the command line.
pub(super) const SETTINGS: &[Setting] = &[
    value(
        "mesh-addr",
        &["EDG_COORDINATOR_MESH_ADDR"],
        "Address of the Marble API, host:port; no host: all interfaces [default: :2001]",
    ),
    value(
        "client-addr",
        &["EDG_COORDINATOR_CLIENT_ADDR"],
        "Address of the client API [default: :4433]",
    ),
    value(
        "prometheus-addr",
        &["EDG_COORDINATOR_PROMETHEUS_ADDR"],
        "Address for metrics [default: off]",
    ),
    value(
        "dns-names",
        &["EDG_COORDINATOR_DNS_NAMES"],
        "DNS names and IP addresses of the certificates, comma-separated [default: localhost]",
    ),
    value(
        "seal-dir",
        &["EDG_COORDINATOR_SEAL_DIR"],
        "Directory of the sealed state [default: marblerun-coordinator-data]",
    ),
    value(
        "startup-manifest",
        &["EDG_STARTUP_MANIFEST"],
        "Manifest to set at the start, when none is set",
    ),
    switch(
        "dev-mode",
        &["EDG_COORDINATOR_DEV_MODE"],
        "Development mode: logs as text",
    ),
    switch("debug-logging", &["EDG_DEBUG_LOGGING"], "Log more"),
    value(
        "http-error-log-level",
        &["EDG_HTTP_ERROR_LOG_LEVEL"],
        "Level at which refused requests and failed connections are logged: debug, info, warn or error [default: error]",
    ),
    value(
        "log-format",
        &["EDG_LOG_FORMAT"],
        "json or text [default: json; text in development mode]",
    ),
    value(
        "otlp-endpoint",
        &["EDG_OTLP_ENDPOINT"],
        "OpenTelemetry collector that requests are sent to as spans, http://host:port; for programs built with the feature \
         opentelemetry [default: none]",
    ),
    switch(
        "simulation",
        &["OE_SIMULATION"],
        "Run without a TEE. Gives no protection at all",
    ),
    switch(
        "simulation-strict",
        &[],
        "Simulation that admits only evidence of the software TEE, verified. Gives no protection at all",
    ),
    value(
        "simulated-tee",
        &["EDG_SIMULATED_TEE"],
        "Strict simulation: sgx, tdx or snp [default: sgx]",
    ),
    value(
        "simulated-claims",
        &["EDG_SIMULATED_CLAIMS"],
        "Strict simulation: JSON object with what the evidence claims, named as in packages",
    ),
    value(
        "pccs-url",
        &["EDG_PCCS_URL"],
        "Service with collateral of SGX and TDX [default: that of Intel]",
    ),
    value(
        "kds-url",
        &["EDG_KDS_URL"],
        "Service with certificates of SEV-SNP [default: that of AMD]",
    ),
    value(
        "collateral-ca",
        &["EDG_COLLATERAL_CA"],
        "PEM file with the only authorities these services are trusted by [default: the public ones]",
    ),
    value(
        "collateral-dir",
        &["EDG_COLLATERAL_DIR"],
        "Directory with collateral, looked at before any service",
    ),
    value(
        "collateral-grace",
        &["EDG_COLLATERAL_GRACE"],
        "How long collateral is used after its end when no newer can be had, like 12h or 3d [default: 0]",
    ),
    switch(
        "collateral-offline",
        &["EDG_COLLATERAL_OFFLINE"],
        "Take collateral from the directory only",
    ),
    switch(
        "collateral-insecure-http",
        &["EDG_COLLATERAL_INSECURE_HTTP"],
        "Reach these services over plain HTTP, not only on this machine",
    ),
    value(
        "crypto-suite",
        &[],
        "Suite of a new state: p256-aes128 or p384-aes256 [default: p256-aes128]",
    ),
    value(
        "limit-manifest",
        &[],
        "Bytes a manifest may have [default: 33554432]",
    ),
    value(
        "limit-entries",
        &[],
        "Entries a section of a manifest may have [default: 200000]",
    ),
    switch(
        "distributed",
        &["EDG_DISTRIBUTED_COORDINATOR"],
        "Share the state with other instances",
    ),
    value(
        "cwd",
        &["EDG_CWD"],
        "Directory that relative paths start from [default: the working directory]",
    ),
    value(
        "maa-url",
        &["EDG_MAA_URL"],
        "Azure attestation service that releases the HSM key",
    ),
    value(
        "azure-hsm-vault-url",
        &["EDG_AZURE_HSM_VAULT_URL"],
        "Azure HSM: vault",
    ),
    value(
        "azure-hsm-key-name",
        &["EDG_AZURE_HSM_KEY_NAME"],
        "Azure HSM: name of the key",
    ),
    value(
        "azure-hsm-key-version",
        &["EDG_AZURE_HSM_KEY_VERSION"],
        "Azure HSM: version of the key",
    ),
    value(
        "azure-client-id",
        &["EDG_AZURE_CLIENT_ID", "AZURE_CLIENT_ID"],
        "Azure HSM: client",
    ),
    value(
        "azure-tenant-id",
        &["EDG_AZURE_TENANT_ID", "AZURE_TENANT_ID"],
        "Azure HSM: tenant",
    ),
    value(
        "azure-client-secret",
        &["EDG_AZURE_CLIENT_SECRET"],
        "Azure HSM: secret of the client",
    ),
    value(
        "azure-federated-token-file",
        &["EDG_AZURE_FEDERATED_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE"],
        "Azure HSM: token file of workload identity",
    ),
    value(
        "azure-authority-host",
        &["EDG_AZURE_AUTHORITY_HOST", "AZURE_AUTHORITY_HOST"],
        "Azure HSM: authority",
    ),
];

/// The places settings come from, asked in this order: flag, environment, file.
pub(super) struct Sources<'a> {
    command_line: &'a CommandLine,
    environment: &'a BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    file_name: PathBuf,
}

/// The text of a setting with the place it was found in, for error messages.
pub(super) struct Found {
    pub text: String,
    pub place: String,
    /// Whether an environment variable gives it, which other programs may have, too.
    pub is_variable: bool,
}

/// What the command line alone may say.
pub(super) struct CommandLine {
    matches: ArgMatches,
    pub config_file: Option<PathBuf>,
    pub ready_file: Option<PathBuf>,
    pub fresh: bool,
}

/// Reads the command line. `arguments` begins with the program's name.
pub(super) fn command_line(
    arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> Result<CommandLine, clap::Error> {
    let mut command = Command::new("marblerun-coordinator")
        .args_override_self(true)
        .about("The MarbleRun Coordinator")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(path_argument(
            "config",
            "TOML file with settings, named as the flags",
        ))
        .arg(path_argument(
            "ready-file",
            "Written once both APIs accept connections: JSON with their addresses",
        ))
        .arg(
            Arg::new("fresh")
                .long("fresh")
                .action(ArgAction::SetTrue)
                .help("Start anew although the directory holds remains of a state that is gone"),
        );
    for setting in SETTINGS {
        let argument = Arg::new(setting.name)
            .long(setting.name)
            .help(help_of(setting))
            .action(ArgAction::Set);
        command = command.arg(if setting.switch {
            argument
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("1")
                .value_name("0|1")
        } else {
            argument.num_args(1).value_name("VALUE")
        });
    }
    let matches = command.try_get_matches_from(arguments)?;
    Ok(CommandLine {
        config_file: matches.get_one::<PathBuf>("config").cloned(),
        ready_file: matches.get_one::<PathBuf>("ready-file").cloned(),
        fresh: matches.get_flag("fresh"),
        matches,
    })
}

fn path_argument(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_parser(PathBufValueParser::new())
        .help(help)
}

fn help_of(setting: &Setting) -> String {
    match setting.variables {
        [] => setting.help.to_owned(),
        [variable, ..] => format!("{} [env: {variable}]", setting.help),
    }
}

impl<'a> Sources<'a> {
    /// Reads the file the command line names, if it names one.
    pub fn new(
        command_line: &'a CommandLine,
        environment: &'a BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let (file, file_name) = match &command_line.config_file {
            None => (BTreeMap::new(), PathBuf::new()),
            Some(path) => (read_file(path)?, path.clone()),
        };
        Ok(Self {
            command_line,
            environment,
            file,
            file_name,
        })
    }

    /// The text of a setting, if it is given anywhere. An empty variable counts as not set.
    pub fn get(&self, name: &'static str) -> Option<Found> {
        if let Some(text) = self.command_line.matches.get_one::<String>(name) {
            return Some(Found {
                text: text.clone(),
                place: format!("--{name}"),
                is_variable: false,
            });
        }
        let setting = SETTINGS.iter().find(|setting| setting.name == name)?;
        let of_environment = setting.variables.iter().find_map(|variable| {
            let text = self.environment.get(*variable).filter(|text| !text.is_empty())?;
            Some(Found {
                text: text.clone(),
                place: (*variable).to_owned(),
                is_variable: true,
            })
        });
        of_environment.or_else(|| {
            let text = self.file.get(name)?.clone();
            Some(Found {
                text,
                place: format!("{name} in {}", self.file_name.display()),
                is_variable: false,
            })
        })
    }
}

/// The settings of a TOML file as text: numbers and switches as the environment would have them, lists joined
/// with commas.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let unreadable = |reason: String| ConfigError::File {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| unreadable(one_line(&error.to_string())))?;
    table
        .into_iter()
        .map(|(key, value)| {
            if !SETTINGS.iter().any(|setting| setting.name == key) {
                return Err(unreadable(format!("unknown setting `{key}`")));
            }
            let text = text_of(&value).ok_or_else(|| {
                unreadable(format!(
                    "`{key}` must be a string, a number, a boolean or a list of strings"
                ))
            })?;
            Ok((key, text))
        })
        .collect()
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(String::from(if *on { "1" } else { "0" })),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

/// An error message on one line: what a start prints when it fails.
pub(super) fn one_line(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}
