//! Recovery at the level of the rules: every subset of shares, and states forged around a genuine manifest.

#![cfg(test)]

use marblerun_core::ambient::Dice as _;
use marblerun_core::change::Change;
use marblerun_core::decision::Verdict;
use marblerun_core::flow::{recover, set_manifest};
use marblerun_core::manifest::{HsmEnvironment, Limits};
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash};
use marblerun_core::pki::{CryptoSuite, authority};
use marblerun_core::recovery::{
    Collected, Lock, Progress, Recovery, RecoveryPlan, RecoveryScheme, shamir, xor,
};
use marblerun_core::refusal::Refusal;
use marblerun_core::sealed::{DataKey, Header, StateCipher, StateId, open_state, seal_state};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;

/// A state whose manifest has `keys` recovery keys, and its sealed file.
struct Sealed {
    dice: TestDice,
    state: State,
    key: PrivateKey,
    file: Vec<u8>,
}

fn pem(key: &PrivateKey) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(key.public());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

/// All entries have the same key, which is allowed: each still has to sign.
fn deployed(keys: usize, threshold: usize) -> Sealed {
    let dice = TestDice::new(8);
    let key = dice.generate_key(KeyKind::Rsa(2048)).unwrap();
    let entries: Vec<String> = (0..keys)
        .map(|entry| format!("\"key{entry}\": {:?}", pem(&key)))
        .collect();
    let manifest = format!(
        r#"{{"Packages": {{"p": {{"UniqueID": "{}"}}}}, "Marbles": {{"m": {{"Package": "p"}}}},
            "RecoveryKeys": {{{}}}, "Config": {{"RecoveryThreshold": {threshold}}}}}"#,
        "00".repeat(32),
        entries.join(", ")
    );
    let authority = authority::create(CryptoSuite::P256Aes128, &[], None, &dice.ambient()).unwrap();
    let mut state = State::begin(authority, SecretBytes::copy_from(&[9; 32]), false);
    let environment = HsmEnvironment::from_lookup(|_| false);
    let prepared = set_manifest::prepare(
        &state,
        manifest.as_bytes(),
        &Limits::default(),
        &environment,
        &dice.ambient(),
    );
    let prepared = prepared.unwrap_or_else(|refusal| panic!("{refusal}"));
    match set_manifest::decide(&state, &prepared, &dice.ambient()) {
        Ok(Verdict::Decided(decision)) => decision.changes.iter().for_each(|change| state.apply(change)),
        _ => panic!("the manifest is refused"),
    }
    sealed(dice, state, key)
}

fn sealed(dice: TestDice, state: State, key: PrivateKey) -> Sealed {
    let (file, _) = seal_state(&state, StateId::from_bytes([1; 32]), &dice).unwrap();
    Sealed {
        dice,
        state,
        key,
        file,
    }
}

impl Sealed {
    /// Draws a new data key and shares it so, whatever the manifest says: the shares.
    fn shared_anew(
        self,
        scheme: RecoveryScheme,
        threshold: usize,
        shares: usize,
    ) -> (Self, Vec<SecretBytes>) {
        let Self {
            dice, mut state, key, ..
        } = self;
        let data_key = DataKey::generate(StateCipher::Aes128Gcm, &dice);
        let secret = data_key.bytes().expose();
        let parts = match scheme {
            RecoveryScheme::None => Vec::new(),
            RecoveryScheme::Single => vec![data_key.bytes().clone()],
            RecoveryScheme::Xor => xor::split(secret, shares, &dice).unwrap(),
            RecoveryScheme::Shamir => shamir::split(secret, threshold, shares, &dice).unwrap(),
        };
        let hash = |share: &SecretBytes| {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, share.expose());
            <[u8; 32]>::try_from(digest.as_ref()).unwrap()
        };
        let hashes = parts.iter().map(hash).collect();
        state.apply(&Change::DataKeyDrawn {
            key_generation: 2,
            key: data_key,
            recovery: RecoveryPlan::from_parts(scheme, threshold, hashes).unwrap(),
        });
        (sealed(dice, state, key), parts)
    }

    fn recovery(&self) -> Recovery {
        let (header, _) = Header::parse(&self.file).unwrap();
        Recovery::new(Lock::Ours(Box::new(header)))
    }

    fn sign(&self, secret: &SecretBytes) -> Vec<u8> {
        self.dice
            .sign(&self.key, SignatureHash::Sha256, secret.expose())
            .unwrap()
    }

    /// Hands secrets in, in this order, correctly signed; whether the state was recovered at the end.
    fn hand_in(&self, secrets: &[SecretBytes]) -> Result<bool, Refusal> {
        let mut recovery = self.recovery();
        let mut remaining = self.state.sealing().unwrap().recovery.shares();
        for secret in secrets {
            match recovery.collect(secret.clone(), &self.sign(secret))? {
                Progress::Wanting { remaining: left } => {
                    remaining -= 1;
                    assert_eq!(left, remaining);
                }
                Progress::Complete(key) => {
                    let opened = open_state(&self.file, &key.key).unwrap();
                    recover::check(&opened.state, recovery.collected())?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn scheme(keys: usize, threshold: usize) -> RecoveryScheme {
    match keys {
        1 => RecoveryScheme::Single,
        _ if threshold == 0 || threshold == keys => RecoveryScheme::Xor,
        _ => RecoveryScheme::Shamir,
    }
}

fn needed(keys: usize, threshold: usize) -> usize {
    if threshold == 0 { keys } else { threshold }
}

#[test]
fn every_subset_of_shares_recovers_exactly_when_it_is_large_enough() {
    for keys in 1..=6_usize {
        for threshold in (0..=keys).filter(|threshold| *threshold != 1) {
            let needed = needed(keys, threshold);
            let (sealed, shares) =
                deployed(keys, threshold).shared_anew(scheme(keys, threshold), needed, keys);
            for set in 0..1_usize << keys {
                let mut chosen: Vec<_> = shares
                    .iter()
                    .enumerate()
                    .filter(|(share, _)| set >> share & 1 == 1)
                    .map(|(_, share)| share.clone())
                    .collect();
                let enough = chosen.len() >= needed;
                chosen.truncate(needed);
                assert_eq!(
                    sealed.hand_in(&chosen).unwrap(),
                    enough,
                    "{set:b}: {threshold} of {keys}"
                );
                chosen.reverse();
                assert_eq!(sealed.hand_in(&chosen).unwrap(), enough);
            }
        }
    }
}

#[test]
fn foreign_and_repeated_secrets_are_named_and_change_nothing() {
    for (keys, threshold) in [(1, 0), (3, 0), (3, 2)] {
        let needed = needed(keys, threshold);
        let (sealed, shares) = deployed(keys, threshold).shared_anew(scheme(keys, threshold), needed, keys);
        let mut recovery = sealed.recovery();
        if keys > 1 {
            recovery.collect(shares[0].clone(), &[]).ok().unwrap();
            let again = recovery.collect(shares[0].clone(), &[]).err().unwrap();
            assert!(again.message().contains("used already"), "{again}");
        }
        let before = recovery.collected().len();
        for length in [16, 17, 32, 33] {
            let foreign = SecretBytes::copy_from(&vec![5; length]);
            let refusal = recovery.collect(foreign, &[]).err().unwrap();
            assert!(
                refusal.message().contains("recovery secret of the state"),
                "{refusal}"
            );
        }
        assert_eq!(recovery.collected().len(), before);
    }
}

/// Refusals of opened states, of which the shares are known.
#[test]
fn states_forged_around_a_genuine_manifest_are_refused() {
    use RecoveryScheme::{None, Shamir, Single, Xor};
    for (keys, threshold, forged, forged_threshold, forged_shares) in [
        (1, 0, None, 0, 0),
        (1, 0, Xor, 2, 2),
        (1, 0, Shamir, 2, 3),
        (3, 0, None, 0, 0),
        (3, 0, Single, 1, 1),
        (3, 0, Xor, 2, 2),
        (3, 0, Shamir, 2, 3),
        (3, 2, Single, 1, 1),
        (3, 2, Xor, 3, 3),
        (4, 3, Shamir, 2, 4),
        (4, 3, Shamir, 3, 5),
        (0, 0, Single, 1, 1),
        (0, 0, Xor, 2, 2),
    ] {
        let (sealed, shares) = deployed(keys, threshold).shared_anew(forged, forged_threshold, forged_shares);
        let chosen = &shares[..forged_threshold];
        let refusal = match forged {
            None => sealed.hand_in(&[SecretBytes::copy_from(&[1; 16])]).unwrap_err(),
            _ => sealed.hand_in(chosen).unwrap_err(),
        };
        let said = ["has no recovery keys", "as the manifest prescribes"];
        assert!(
            said.iter().any(|part| refusal.message().contains(part)),
            "{forged:?} {forged_threshold} of {forged_shares} for {keys}: {refusal}"
        );
        // Whatever the collecting thinks: the check of the opened state alone refuses, too.
        let collected: Vec<_> = shares
            .iter()
            .map(|share| Collected {
                secret: share.clone(),
                signature: sealed.sign(share),
            })
            .collect();
        assert!(recover::check(&sealed.state, &collected).is_err());
    }
}

#[test]
fn every_secret_needs_a_signature_of_its_own_and_the_entry_is_named() {
    for (keys, threshold) in [(1, 0), (3, 0), (3, 2)] {
        let needed = needed(keys, threshold);
        let (sealed, shares) = deployed(keys, threshold).shared_anew(scheme(keys, threshold), needed, keys);
        let good = |share: &SecretBytes| Collected {
            secret: share.clone(),
            signature: sealed.sign(share),
        };
        let all: Vec<_> = shares.iter().take(needed).map(good).collect();
        recover::check(&sealed.state, &all).unwrap();
        for position in 0..needed {
            let stranger = PrivateKey::from_pkcs8(
                marblerun_core::testing::TestDice::new(1)
                    .generate_key(KeyKind::P256)
                    .unwrap()
                    .pkcs8()
                    .expose(),
            )
            .unwrap();
            let by_stranger = sealed
                .dice
                .sign(&stranger, SignatureHash::Sha256, shares[position].expose())
                .unwrap();
            let of_another = sealed.sign(&SecretBytes::copy_from(b"another secret"));
            for signature in [Vec::new(), vec![0; 256], by_stranger, of_another] {
                let mut some = all.clone();
                some[position].signature = signature;
                let refusal = recover::check(&sealed.state, &some).unwrap_err();
                assert!(
                    refusal.message().contains(&format!("for key{position} ")),
                    "{refusal}"
                );
            }
        }
        // Fewer, more, and one twice.
        assert!(recover::check(&sealed.state, &all[1..]).is_err());
        assert!(recover::check(&sealed.state, &[]).is_err());
        let more: Vec<_> = all.iter().chain(&all[..1]).cloned().collect();
        assert!(recover::check(&sealed.state, &more).is_err());
        if needed > 1 {
            let mut twice = all.clone();
            twice[1] = twice[0].clone();
            let refusal = recover::check(&sealed.state, &twice).unwrap_err();
            assert!(refusal.message().contains("repeated"), "{refusal}");
        }
    }
}

#[test]
fn shares_that_make_no_key_are_dropped() {
    // A header that names secrets of different lengths as shares of one key.
    let (sealed, _) = deployed(2, 0).shared_anew(RecoveryScheme::Xor, 2, 2);
    let (mut header, _) = Header::parse(&sealed.file).unwrap();
    let secrets = [SecretBytes::copy_from(&[1; 16]), SecretBytes::copy_from(&[2; 32])];
    let hashes = secrets.iter().map(|secret| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.expose());
        <[u8; 32]>::try_from(digest.as_ref()).unwrap()
    });
    header.recovery = RecoveryPlan::from_parts(RecoveryScheme::Xor, 2, hashes.collect()).unwrap();
    let mut recovery = Recovery::new(Lock::Ours(Box::new(header)));
    recovery.collect(secrets[0].clone(), &[]).ok().unwrap();
    let refusal = recovery.collect(secrets[1].clone(), &[]).err().unwrap();
    assert!(refusal.message().contains("do not make a key"), "{refusal}");
    assert!(recovery.collected().is_empty());
}
