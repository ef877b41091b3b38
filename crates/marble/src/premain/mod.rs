//! What runs before a marble's application (spec/04, "Premain").
//!
//! 1. Read the settings from the environment.
//! 2. Find out what the marble runs in, and so how it gets evidence.
//! 3. Read or create the UUID.
//! 4. Make a key, a self-signed certificate and a CSR with it.
//! 5. Ask the TEE for a quote over SHA-256 of the certificate.
//! 6. Ask the Coordinator to be activated; again while it cannot be reached.
//! 7. Check that the Coordinator is the pinned one, where one is pinned, and all that came;  refuse what cannot be done: nothing is written before.
//! 8. Write the files.
//! 9. Become the application: [`Application::execute`].

mod activate;
mod apply;
mod command;
mod connection;
mod credentials;
mod evidence;
mod evidence_left;
mod occlum;
mod pinned;
mod place;
mod settings;
mod transparent_tls;
mod uuid_file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use marblerun_attestation::issue::{self, Environment, IssueError, Issuer, NoEvidence, SystemName};
use marblerun_wire::marble::ActivationReq;

use self::activate::Activated;
pub use self::activate::ActivationError;
pub use self::apply::ApplyError;
pub use self::command::{Application, CommandError};
use self::credentials::Credentials;
pub use self::credentials::CredentialsError;
pub use self::evidence::SimulatedTeeError;
pub use self::occlum::OcclumIssuer;
use self::pinned::PinnedRoot;
pub use self::pinned::{NotThePinned, PinError};
pub use self::settings::{LogFormat, Names, Settings, SettingsError, Simulated};
pub use self::transparent_tls::TransparentTlsDemanded;
pub use self::uuid_file::UuidFileError;

/// Everything the premain takes from the process it runs in.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Below it lie the pseudo-files of TEEs and all absolute paths of the manifest; `/` in production.
    pub root: PathBuf,
    /// As `uname` tells.
    pub system: SystemName,
    /// Environment variables.
    pub variables: BTreeMap<OsString, OsString>,
    /// Command line, own `argv[0]` first.
    pub arguments: Vec<OsString>,
    /// The file this program was started from, if the system tells.
    pub executable: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self {
            root: PathBuf::from("/"),
            system: SystemName::of_this_system(),
            variables: std::env::vars_os().collect(),
            arguments: std::env::args_os().collect(),
            executable: std::env::current_exe().ok(),
        }
    }
}

/// Why the application was not started, by step.
#[derive(Debug, thiserror::Error)]
pub enum PremainError {
    /// The command line is wrong.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A variable of the environment is wrong or missing.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The UUID can be neither read nor created.
    #[error(transparent)]
    UuidFile(#[from] UuidFileError),
    /// Key, certificate or CSR cannot be made.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The software TEE is wanted in a way it cannot be had.
    #[error(transparent)]
    SimulatedTee(#[from] SimulatedTeeError),
    /// The TEE gave no evidence.
    #[error("no evidence from the TEE: {0}")]
    Evidence(#[from] IssueError),
    /// The Coordinator did not activate the marble.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// There is no root certificate where one is said to be.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// It was not the pinned Coordinator that answered.
    #[error(transparent)]
    NotThePinned(#[from] NotThePinned),
    /// The manifest demands transparent TLS, which the premain does not do.
    #[error(transparent)]
    TransparentTls(#[from] TransparentTlsDemanded),
    /// What the manifest gives cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Steps 1 to 8. Blocks; starts a Tokio runtime of its own for the time of the activation, so it must not be called
/// from within one.
///
/// # Errors
/// [`PremainError`], by step. Before step 8 nothing was written but the UUID file and, where `EDG_MARBLE_EVIDENCE_FILE` asks for
/// it, the evidence of a marble that was not activated.
pub fn prepare(surroundings: &Surroundings) -> Result<Application, PremainError> {
    prepare_with(surroundings, None)
}

/// [`prepare`] for a program that gets its evidence in a way of its own; `issuer` takes the place of the TEE that would
/// be found.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_with(
    surroundings: &Surroundings,
    issuer: Option<&dyn Issuer>,
) -> Result<Application, PremainError> {
    // Steps 1 and 2. A wrong command line is found before an activation is spent on it.
    let settings = Settings::read(|name| {
        surroundings
            .variables
            .get(OsString::from(name).as_os_str())
            .cloned()
    })?;
    let environment = issue::detect(&surroundings.root, &surroundings.system);
    let invocation = command::Invocation::read(
        environment,
        &surroundings.arguments,
        surroundings.executable.as_deref(),
    )?;
    tracing::info!(
        marble_type = settings.marble_type,
        coordinator = %settings.coordinator,
        environment = ?environment,
        "starting a marble"
    );
    let pinned = settings
        .coordinator_root
        .as_deref()
        .map(PinnedRoot::read)
        .transpose()?;
    let found = match issuer {
        Some(_) => None,
        None => Some(evidence::issuer(
            environment,
            &surroundings.root,
            settings.simulated.as_ref(),
            invocation.program(&surroundings.variables).as_deref(),
        )?),
    };
    let issuer = issuer.or(found.as_deref()).unwrap_or(&NoEvidence);

    let Activated {
        mut parameters,
        server_certificate,
    } = activate_marble(&settings, environment, issuer)?;

    // Step 7
    match pinned {
        Some(root) => root.check(&server_certificate, &parameters)?,
        None => tracing::warn!(
            coordinator = %settings.coordinator,
            "the Coordinator was not verified: EDG_MARBLE_COORDINATOR_ROOT names no root certificate, so whoever can \
             answer at this address decides what this marble runs"
        ),
    }
    let inherited = surroundings
        .variables
        .get(marble_ttls_variable().as_os_str())
        .cloned();
    transparent_tls::refuse(&parameters, inherited.as_deref())?;
    apply::check(&parameters)?;
    let application = command::application(&invocation, &surroundings.root, &mut parameters)?;

    // Step 8
    apply::write_files(environment, &surroundings.root, &parameters.files)?;
    Ok(application)
}

/// Steps 3 to 6.
fn activate_marble(
    settings: &Settings,
    environment: Environment,
    issuer: &dyn Issuer,
) -> Result<Activated, PremainError> {
    let uuid = uuid_file::read_or_create(&settings.uuid_file)?;
    let credentials = Credentials::new(&settings.names)?;
    let quote = issuer.quote(&credentials.binding())?;
    tracing::info!(%uuid, uuid_file = %settings.uuid_file.display(), quote_bytes = quote.len(), "asking to be activated");
    let request = ActivationReq {
        quote,
        csr: credentials.certificate_signing_request().to_vec(),
        marble_type: settings.marble_type.clone(),
        uuid: uuid.to_string(),
    };
    let activated = activate::activate(settings, credentials, &request).inspect_err(|_| {
        if let Some(path) = &settings.evidence_file {
            evidence_left::leave(environment, path, &request.quote);
        }
    })?;
    let parameters = &activated.parameters;
    tracing::info!(
        files = parameters.files.len(),
        variables = parameters.env.len(),
        arguments = parameters.argv.len(),
        "activated"
    );
    Ok(activated)
}

fn marble_ttls_variable() -> OsString {
    marblerun_wire::marble::ENVIRONMENT_TTLS_CONFIG.into()
}
