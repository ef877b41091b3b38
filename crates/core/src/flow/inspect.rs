//! What anybody may read.

use std::sync::Arc;

use crate::phase::Phase;
use crate::pki::pem::{self, CERTIFICATE};
use crate::refusal::Refusal;
use crate::state::State;

/// The manifest in force, as clients verify it.
pub struct ManifestView {
    /// The bytes as they were set.
    pub raw: Arc<[u8]>,
    /// SHA-256 of the bytes, lower-case hex.
    pub fingerprint: String,
    /// The root key's signature over the bytes: ECDSA, ASN.1 DER, SHA-256.
    pub signature: Arc<[u8]>,
}

/// What the Coordinator is ready for.
pub fn status(state: &State) -> Phase {
    state.phase()
}

/// The Coordinator's certificates as PEM: intermediate, then root.
pub fn certificate_chain(state: &State) -> String {
    let authority = state.authority();
    let mut chain = pem::encode(CERTIFICATE, &authority.intermediate);
    chain.push_str(&pem::encode(CERTIFICATE, &authority.root));
    chain
}

/// The manifest in force, if one is set.
pub fn manifest(state: &State) -> Option<ManifestView> {
    state.deployment.as_ref().map(|deployment| ManifestView {
        raw: Arc::clone(&deployment.manifest.raw),
        fingerprint: hex::encode(deployment.manifest.fingerprint),
        signature: Arc::clone(&deployment.signature),
    })
}

/// The update log: one JSON object for each entry, oldest first.
///
/// # Errors
/// [`RefusalKind::WrongPhase`](crate::refusal::RefusalKind) before a manifest is set.
pub fn update_log(state: &State) -> Result<Vec<Arc<str>>, Refusal> {
    match (&state.deployment, state.phase()) {
        (Some(deployment), Phase::AcceptingMarbles) => {
            let lines = deployment.update_log.iter().map(|entry| Arc::clone(&entry.line));
            Ok(lines.collect())
        }
        _ => Err(Refusal::wrong_phase()),
    }
}

/// How many entries the update log has, and the hash of the last one (see [`update_log_hashes`]; zeros if there is
/// none): two logs that agree in both are the same.
///
/// # Errors
/// As [`update_log`].
pub fn update_log_end(state: &State) -> Result<(usize, [u8; 32]), Refusal> {
    match (&state.deployment, state.phase()) {
        (Some(deployment), Phase::AcceptingMarbles) => {
            let last = deployment.update_log.last().map_or([0; 32], |entry| entry.hash);
            Ok((deployment.update_log.len(), last))
        }
        _ => Err(Refusal::wrong_phase()),
    }
}

/// An entry of the update log with its hash (see [`update_log_hashes`]).
pub type HashedEntry = (Arc<str>, [u8; 32]);

/// The entries of the update log behind the first ones that the caller knows: `known` of them, the last with this
/// hash. `None` if the log did not begin like that.
///
/// # Errors
/// As [`update_log`].
pub fn update_log_behind(
    state: &State,
    known: usize,
    hash: &[u8; 32],
) -> Result<Option<Vec<HashedEntry>>, Refusal> {
    let (length, _) = update_log_end(state)?;
    let log = &state.deployed()?.update_log;
    let begins_alike = match known.checked_sub(1) {
        None => true,
        Some(last) => log.get(last).is_some_and(|entry| entry.hash == *hash),
    };
    if !begins_alike || known > length {
        return Ok(None);
    }
    Ok(Some(
        log.iter()
            .skip(known)
            .map(|entry| (Arc::clone(&entry.line), entry.hash))
            .collect(),
    ))
}

/// For each entry of the update log its hash: SHA-256(hash of the entry before ‖ bytes of the entry), where 32 zero
/// bytes stand before the first one. Whoever kept one hash can tell whether the log up to there is still the same.
///
/// # Errors
/// [`RefusalKind::WrongPhase`](crate::refusal::RefusalKind) before a manifest is set.
pub fn update_log_hashes(state: &State) -> Result<Vec<[u8; 32]>, Refusal> {
    let deployment = state.deployed()?;
    Ok(deployment.update_log.iter().map(|entry| entry.hash).collect())
}
