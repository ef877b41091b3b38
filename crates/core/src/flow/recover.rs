//! Recovering a state whose seal key is gone (`docs/flows/recover.md`): whether those who opened it may.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use crate::manifest::{Name, RecoveryKey};
use crate::recovery::{Collected, RecoveredKey, RecoveryPlan, prescribed};
use crate::refusal::{Refusal, RefusalKind};
use crate::sealed::{SealedError, sha256};
use crate::state::State;

/// Checks the secrets a state was opened with against the manifest *in* the state: what stands in clear beside a
/// state may have been forged around a genuine manifest, but nobody can sign for its recovery keys.
///
/// 1. The manifest has recovery keys, and the scheme and numbers of the state are those it prescribes.
/// 2. Exactly as many secrets were handed in as it demands: the one, all, or the threshold.
/// 3. Each is a different secret of the state, and is signed for a different entry of `RecoveryKeys`.
///
/// # Errors
/// `Denied`; the message names what does not fit.
pub fn check(state: &State, collected: &[Collected]) -> Result<(), Refusal> {
    let (Some(manifest), Some(sealing)) = (state.manifest(), state.sealing()) else {
        return Err(denied("the state has no manifest: it cannot be recovered"));
    };
    let keys = &manifest.recovery_keys;
    if keys.is_empty() {
        return Err(denied(
            "the manifest of the state has no recovery keys: it cannot be recovered",
        ));
    }
    let plan = &sealing.recovery;
    let expected = prescribed(keys.len(), manifest.config.recovery_threshold);
    if expected != Some((plan.scheme(), plan.threshold())) || plan.shares() != keys.len() {
        return Err(denied(
            "the state is not shared among the recovery keys of its manifest as the manifest prescribes",
        ));
    }
    if collected.len() != plan.threshold() {
        return Err(denied(format!(
            "recovery keys in manifest do not match the keys used for recovery: expected {}, got {}",
            plan.threshold(),
            collected.len()
        )));
    }
    let mut shares = Vec::with_capacity(collected.len());
    for given in collected {
        match plan.find_share(given.secret.expose()) {
            Some(share) if !shares.contains(&share) => shares.push(share),
            _ => return Err(denied("a recovery secret is repeated or not one of the state")),
        }
    }
    let entries: Vec<(&Name, &RecoveryKey)> = keys.iter().collect();
    check_signatures(&entries, &shares, collected)
}

/// Opens a state of the original: what [`check`] has to agree to before anything is made of it. Its shares come into
/// the order of the recovery keys, as far as the signatures tell it.
///
/// # Errors
/// As [`crate::original::open`].
pub fn open_original(file: &[u8], recovered: &RecoveredKey) -> Result<State, SealedError> {
    let mut state = crate::original::open(file, &recovered.key, recovered.plan.clone())?;
    if let Some(deployment) = &mut state.deployment
        && let Some(sealing) = &mut deployment.sealing
        && sealing.recovery.shares() == deployment.manifest.recovery_keys.len()
    {
        let keys = deployment.manifest.recovery_keys.values();
        sealing.recovery = in_order(&keys.collect::<Vec<_>>(), &sealing.recovery, &recovered.collected);
    }
    Ok(state)
}

fn in_order(keys: &[&RecoveryKey], plan: &RecoveryPlan, collected: &[Collected]) -> RecoveryPlan {
    let mut places: Vec<Option<[u8; 32]>> = vec![None; keys.len()];
    for given in collected {
        let signer = places
            .iter()
            .zip(keys)
            .position(|(place, key)| place.is_none() && signed(key, given));
        if let Some(place) = signer.and_then(|index| places.get_mut(index)) {
            *place = Some(sha256(&[given.secret.expose()]));
        }
    }
    let taken: Vec<[u8; 32]> = places.iter().flatten().copied().collect();
    let mut others = plan.share_hashes().iter().filter(|hash| !taken.contains(hash));
    let hashes = places
        .into_iter()
        .map(|place| place.or_else(|| others.next().copied()).unwrap_or_default())
        .collect();
    plan.clone().reordered(hashes)
}

/// Entries with the same key count once each. As a signature is good for one key only, the first free entry it is
/// good for is as right as any other.
fn check_signatures(
    entries: &[(&Name, &RecoveryKey)],
    shares: &[usize],
    collected: &[Collected],
) -> Result<(), Refusal> {
    let mut used = vec![false; entries.len()];
    for (share, given) in shares.iter().zip(collected) {
        // Its own entry comes first: then there is one RSA operation for each secret.
        let order = std::iter::once(*share).chain((0..entries.len()).filter(|index| index != share));
        let signer = order
            .filter(|index| used.get(*index) == Some(&false))
            .find(|index| {
                let entry = entries.get(*index);
                entry.is_some_and(|(_, key)| signed(key, given))
            });
        match signer.and_then(|index| used.get_mut(index)) {
            Some(entry) => *entry = true,
            None => {
                let name = entries.get(*share).map_or("", |(name, _)| name);
                return Err(denied(format!(
                    "the signature of the recovery secret for {name} was not made with a recovery key of the \
                     manifest that is still needed"
                )));
            }
        }
    }
    Ok(())
}

fn signed(key: &RecoveryKey, given: &Collected) -> bool {
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &*key.public_key_pkix)
        .verify(given.secret.expose(), &given.signature)
        .is_ok()
}

fn denied(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Denied, message)
}
