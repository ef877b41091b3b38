//! A deployment in a test, and activations in it.

use marblerun_attestation::{Admission, SimulationMode};
use marblerun_core::ambient::Dice;
use marblerun_core::change::Change;
use marblerun_core::decision::{Decision, Verdict};
use marblerun_core::flow::activate::Activated;
use marblerun_core::flow::set_manifest::ManifestSet;
use marblerun_core::flow::{activate, set_manifest, update_manifest};
use marblerun_core::manifest::{HsmEnvironment, Limits};
use marblerun_core::pki::authority::{self, Authority};
use marblerun_core::pki::{CryptoSuite, HostName};
use marblerun_core::refusal::Refusal;
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::NOW;
use serde_json::Value;

pub fn ambient(dice: &dyn Dice) -> marblerun_core::ambient::Ambient<'_> {
    marblerun_core::ambient::Ambient { now: NOW, dice }
}

pub fn authority(suite: CryptoSuite, dice: &dyn Dice) -> Authority {
    authority::create(suite, &[HostName::Dns("localhost".into())], None, &ambient(dice)).unwrap()
}

/// Sets a manifest; also the changes, to apply them elsewhere.
pub fn deploy(
    authority: Authority,
    root_secret: SecretBytes,
    manifest: &Value,
    dice: &dyn Dice,
) -> (State, Vec<Change>, ManifestSet) {
    let mut state = State::begin(authority, root_secret, false);
    let raw = manifest.to_string();
    let environment = HsmEnvironment::from_lookup(|_| false);
    let ambient = ambient(dice);
    let prepared = set_manifest::prepare(&state, raw.as_bytes(), &Limits::default(), &environment, &ambient)
        .unwrap_or_else(|refusal| panic!("{refusal}\n{manifest:#}"));
    let Decision { changes, reply } = decided(set_manifest::decide(&state, &prepared, &ambient));
    apply(&mut state, &changes);
    (state, changes, reply)
}

pub fn apply(state: &mut State, changes: &[Change]) {
    changes.iter().for_each(|change| state.apply(change));
}

/// A user of test manifests.
pub const USER: &str = include_str!("../golden/manifest/keys/user-p256.pem");

/// The certificate of [`USER`], DER.
pub fn user() -> Vec<u8> {
    from_pem(USER)
}

/// Brings another manifest into force, proposed by [`USER`] alone.
pub fn update(state: &mut State, manifest: &Value, dice: &dyn Dice) {
    let (leaf, raw) = (user(), manifest.to_string());
    let (limits, environment) = (Limits::default(), HsmEnvironment::from_lookup(|_| false));
    let request = update_manifest::Request {
        leaf: Some(&leaf),
        raw: raw.as_bytes(),
        may_yield_recovery_secrets: true,
        limits: &limits,
        environment: &environment,
    };
    let ambient = ambient(dice);
    let update =
        update_manifest::prepare(state, &request, &ambient).unwrap_or_else(|refusal| panic!("{refusal}"));
    let Decision { changes, reply } = decided(update_manifest::decide(state, &update, &ambient));
    assert!(matches!(reply, update_manifest::Outcome::Applied(_)));
    apply(state, &changes);
}

pub fn try_activate(
    state: &State,
    marble_type: &str,
    uuid: &str,
    dice: &dyn Dice,
) -> Result<Activated, Refusal> {
    let admission = Admission::Simulated(SimulationMode::by_explicit_configuration());
    let csr = csr();
    let request = activate::Request {
        marble_type,
        uuid,
        csr: &csr,
        admission: &admission,
    };
    let prepared = activate::prepare(state, request, &ambient(dice))?;
    Ok(decided(activate::decide(state, &prepared)).reply)
}

pub fn activate(state: &State, marble_type: &str, uuid: &str, dice: &dyn Dice) -> Activated {
    try_activate(state, marble_type, uuid, dice).unwrap_or_else(|refusal| panic!("{refusal}"))
}

pub fn decided<R>(verdict: Result<Verdict<R>, Refusal>) -> Decision<R> {
    match verdict {
        Ok(Verdict::Decided(decision)) => decision,
        Ok(Verdict::Stale) => panic!("stale"),
        Err(refusal) => panic!("refused: {refusal}"),
    }
}

/// The recorded request of an activation.
fn csr() -> Vec<u8> {
    from_pem(include_str!("../golden/recorded.csr.pem"))
}

fn from_pem(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}
