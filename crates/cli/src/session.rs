//! One verified Coordinator for one command.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use marblerun_attestation::TcbStatus;
use marblerun_client::rest::{text, v2};
use marblerun_client::{
    Address, Attested, CertificateChain, ClientIdentity, ConnectError, Connector, EvidencePolicy,
    ExpectedEnclave, Limits, Pin, RequestError, Trust, system_clock,
};

use crate::evidence;
use crate::files;
use crate::flags::GlobalFlags;
use crate::output::{simulation, warning};

/// Longest certificate or policy file that is read, in bytes.
const MAXIMUM_FILE: usize = 1 << 20;
/// Where the policy is looked for when no flag names a file.
const DEFAULT_POLICY: &str = "era-config.json";

/// A connection all requests of the command go over.
pub struct Session {
    coordinator: Attested,
    quote: Option<v2::Quote>,
}

impl Session {
    /// Connects to the Coordinator whose certificate is pinned; with `--insecure` to whoever answers.
    pub async fn pinned(flags: &GlobalFlags, address: &str) -> Result<Self> {
        Self::known(flags, address, connector(address)?).await
    }

    /// As [`Session::pinned`], presenting a user's certificate.
    pub async fn pinned_as(flags: &GlobalFlags, address: &str, user: ClientIdentity) -> Result<Self> {
        Self::known(flags, address, connector(address)?.with_identity(user)).await
    }

    /// As [`Session::pinned_as`], within limits of the command's own.
    pub async fn pinned_within(
        flags: &GlobalFlags,
        address: &str,
        user: ClientIdentity,
        limits: Limits,
    ) -> Result<Self> {
        let connector = connector(address)?.with_identity(user).with_limits(limits);
        Self::known(flags, address, connector).await
    }

    async fn known(flags: &GlobalFlags, address: &str, connector: Connector) -> Result<Self> {
        let coordinator = if flags.insecure {
            unverified(&connector, address).await?
        } else {
            let path = pin_path(flags)?;
            let pin = read_pin(&path)?;
            connector
                .pinned(&pin)
                .await
                .map_err(|error| explain(error, &path))?
        };
        // Only to say what kind of Coordinator this is: the command does not depend on it.
        let quote = coordinator.quote(None).await.ok();
        Ok(Self::new(coordinator, quote).await)
    }

    /// Verifies the Coordinator anew; with `--insecure` takes whoever answers.
    pub async fn fresh(flags: &GlobalFlags, address: &str) -> Result<Self> {
        let connector = connector(address)?;
        let coordinator = if flags.insecure {
            unverified(&connector, address).await?
        } else {
            let policy = policy(flags)?;
            connector
                .by_evidence(&policy, &evidence::verifier(flags, system_clock())?)
                .await
                .map_err(|error| keep_refused(flags, error, |error| match error {
                    error @ ConnectError::Evidence { .. } if of_software_tee(&error) => anyhow!(error).context(
                        "this is evidence of the software TEE, which proves nothing; --accept-simulation takes it",
                    ),
                    ConnectError::Simulation { .. } => {
                        anyhow!("{error}; use --insecure if that is what you want")
                    }
                    other => other.into(),
                }))?
        };
        let quote = match coordinator.verified_quote() {
            Some(verified) => verified.clone(),
            None => coordinator.quote(None).await?,
        };
        if let Some(path) = &flags.save_sgx_quote {
            match &quote.quote {
                Some(evidence) => files::write(path, evidence.as_ref())?,
                None => warning("the Coordinator has no evidence: nothing was saved"),
            }
        }
        let session = Self::new(coordinator, Some(quote)).await;
        // Before anything is sent: what is learnt too late is of no use.
        session.chain().await?;
        Ok(session)
    }

    async fn new(coordinator: Attested, quote: Option<v2::Quote>) -> Self {
        let kind = match &quote {
            None => None,
            Some(quote) => match quote.quote.as_ref().map(|evidence| &*evidence.0) {
                None | Some([]) => Some("simulation"),
                // Evidence that was verified under the roots of the manufacturers is theirs.
                Some(evidence)
                    if coordinator.trust() != Trust::Evidence && evidence::is_simulated(evidence).await =>
                {
                    Some("strict simulation")
                }
                Some(_) => None,
            },
        };
        if let Some(kind) = kind {
            simulation(&format!(
                "the Coordinator at {} runs in {kind}; nothing protects its secrets",
                coordinator.address()
            ));
        }
        Self { coordinator, quote }
    }

    /// The Coordinator.
    pub fn coordinator(&self) -> &Attested {
        &self.coordinator
    }

    /// The Coordinator's certificates.
    pub async fn chain(&self) -> Result<CertificateChain> {
        let chain = match &self.quote {
            Some(quote) => self.coordinator.chain_of(quote)?,
            None => self.coordinator.certificates().await?,
        };
        if self.coordinator.trust() == Trust::Unverified && chain.root() != self.coordinator.root() {
            bail!(
                "the root certificate is not the one the connection was made with: something stands between you and the Coordinator; \
                 --insecure leaves out the verification of a Coordinator, it does not let another answer for it"
            );
        }
        Ok(chain)
    }

    /// Pins the Coordinator's certificates: later commands talk to this Coordinator only.
    pub async fn pin(&self, flags: &GlobalFlags) -> Result<()> {
        let path = pin_path(flags)?;
        let chain = self.chain().await?;
        files::make_parent(&path)?;
        files::write(&path, chain.to_pem().as_bytes())
    }
}

/// Saves evidence that was refused where `--save-sgx-quote` says, so that it can be found out why. The command fails all
/// the same, with what `advise` makes of the error and where the evidence is.
fn keep_refused(
    flags: &GlobalFlags,
    error: ConnectError,
    advise: impl FnOnce(ConnectError) -> anyhow::Error,
) -> anyhow::Error {
    let (Some(path), Some(evidence)) = (&flags.save_sgx_quote, error.refused_evidence()) else {
        return advise(error);
    };
    let saved = files::write(path, evidence.unverified_bytes());
    let error = advise(error);
    match saved {
        Ok(()) => error.context(format!(
            "the evidence was REFUSED; it was saved, unverified, to {} (see `marblerun quote show` and `marblerun attest explain`)",
            path.display()
        )),
        Err(reason) => error.context(format!("the evidence was REFUSED and not saved ({reason:#})")),
    }
}

/// Whether evidence was refused because it is that of the software TEE, as its certificates say.
fn of_software_tee(error: &ConnectError) -> bool {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .any(|error| error.to_string().contains("Software TEE"))
}

/// The file certificates are pinned in.
pub fn pin_path(flags: &GlobalFlags) -> Result<PathBuf> {
    match &flags.coordinator_cert {
        Some(path) => Ok(path.clone()),
        None => files::default_pin(),
    }
}

/// Reads the pinned certificate.
pub fn read_pin(path: &Path) -> Result<Pin> {
    let pem = files::read(path, MAXIMUM_FILE).map_err(|error| {
        let missing = error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound);
        if missing {
            anyhow!(
                "no Coordinator is pinned: there is no file {}; verify the Coordinator first, for example with `marblerun manifest verify`",
                path.display()
            )
        } else {
            error
        }
    })?;
    Pin::from_pem(&pem).with_context(|| format!("the pinned certificate {} is unusable", path.display()))
}

/// Runs a command that talks to a Coordinator.
pub fn run<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(command)
}

/// Adds what to do next to the refusal of a Coordinator that has no manifest.
pub fn advise_manifest(error: RequestError) -> anyhow::Error {
    match error {
        RequestError::Refused { ref message, .. } if message.contains("not set") => {
            anyhow!("{error}; set a manifest with `marblerun manifest set`")
        }
        other => other.into(),
    }
}

/// Adds what to do next to the refusals that users meet.
pub fn advise_user(error: RequestError) -> anyhow::Error {
    match error {
        RequestError::Refused { ref message, .. } if message.starts_with(text::UNAUTHORIZED_USER) => {
            anyhow!(
                "{error}; --cert must be, byte for byte, a certificate of a user in the manifest in force"
            )
        }
        RequestError::Refused { ref message, .. } if message == text::NO_UPDATE_IN_PROGRESS => {
            anyhow!("{error}; propose one with `marblerun manifest update apply`")
        }
        other => other.into(),
    }
}

fn connector(address: &str) -> Result<Connector> {
    Ok(Connector::new(address.parse::<Address>()?))
}

async fn unverified(connector: &Connector, address: &str) -> Result<Attested> {
    warning(&format!(
        "--insecure: who answers at {address} is NOT verified; do not use this with real secrets"
    ));
    Ok(connector.dangerous_unverified().await?)
}

fn explain(error: ConnectError, pin: &Path) -> anyhow::Error {
    match error {
        ConnectError::NotPinned { .. } => anyhow!(
            "{error} ({}); it may be in recovery mode, where it has a temporary one (look with `marblerun status --insecure`); \
             if it was set up anew, verify it with `marblerun manifest verify`",
            pin.display()
        ),
        other => other.into(),
    }
}

fn policy(flags: &GlobalFlags) -> Result<EvidencePolicy> {
    let path = flags
        .era_config
        .clone()
        .unwrap_or_else(|| PathBuf::from(DEFAULT_POLICY));
    if flags.era_config.is_none() && !path.exists() {
        bail!(
            "nothing says which enclave the Coordinator must be: there is no {DEFAULT_POLICY} in the working directory; \
             name a file with --era-config, or use --insecure against a Coordinator in simulation"
        );
    }
    let json = files::read(&path, MAXIMUM_FILE)?;
    let enclave =
        ExpectedEnclave::from_json(&json).with_context(|| format!("{} is unusable", path.display()))?;
    if !enclave.names_code() {
        warning(&format!(
            "{} does not name the code of each TEE it takes (UniqueID or SignerID; MRTD; Measurement): any will do",
            path.display()
        ));
    }
    if !enclave.ignored.is_empty() {
        let (path, names) = (path.display(), enclave.ignored.join(", "));
        warning(&format!(
            "{path}: unknown keys are ignored: {}",
            names.escape_debug()
        ));
    }
    for status in &flags.accepted_tcb_statuses {
        if status.parse::<TcbStatus>().is_err() {
            let known = TcbStatus::ALL.map(TcbStatus::as_str).join(", ");
            warning(&format!(
                "--accepted-tcb-statuses: no platform has the status {status:?}; there are {known}"
            ));
        }
    }
    Ok(EvidencePolicy {
        enclave,
        accepted_tcb_statuses: flags.accepted_tcb_statuses.clone(),
        accepted_advisories: flags.accepted_advisories.clone(),
        nonce: flags.nonce.as_bytes().to_vec(),
    })
}
