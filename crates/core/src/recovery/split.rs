//! Making the recovery secrets of a manifest.

use std::collections::BTreeMap;

use super::scheme::{MAX_SHARES, RecoveryPlan, RecoveryScheme};
use super::{shamir, xor};
use crate::ambient::Ambient;
use crate::manifest::{Name, RecoveryKey};
use crate::refusal::{Refusal, RefusalKind};
use crate::sealed::{DataKey, sha256};
use crate::secret::value::SecretBytes;

/// Shares the data key among the recovery keys of a manifest: how it can be recovered, and for each name the
/// share encrypted with RSA-OAEP (SHA-256, no label) for its key. `threshold` is `RecoveryThreshold`, 0 for
/// all. Two names with the same key get one share each. The shares themselves are wiped.
///
/// # Errors
/// `Invalid` for a threshold that does not fit the number of keys, more keys than there can be shares, or a key
/// nothing can be encrypted for; the message names the field of the manifest.
pub fn split(
    data_key: &DataKey,
    keys: &BTreeMap<Name, RecoveryKey>,
    threshold: usize,
    ambient: &Ambient<'_>,
) -> Result<(RecoveryPlan, BTreeMap<Name, Vec<u8>>), Refusal> {
    let invalid = |message: String| Refusal::new(RefusalKind::Invalid, message);
    let count = keys.len();
    if threshold == 1 || threshold > count {
        return Err(invalid(format!(
            "Config.RecoveryThreshold: {threshold} does not fit {count} recovery keys: expected 0 or 2 to {count}"
        )));
    }
    let secret = data_key.bytes();
    let all_needed = threshold == 0 || threshold == count;
    let (scheme, needed, shares) = match count {
        0 => return Ok((RecoveryPlan::none(), BTreeMap::new())),
        1 => (RecoveryScheme::Single, 1, Some(vec![secret.clone()])),
        2..=MAX_SHARES if all_needed => (
            RecoveryScheme::Xor,
            count,
            xor::split(secret.expose(), count, ambient.dice),
        ),
        _ if all_needed => {
            return Err(invalid(format!(
                "RecoveryKeys: {count} keys, expected at most {MAX_SHARES}"
            )));
        }
        _ => {
            let shares = shamir::split(secret.expose(), threshold, count, ambient.dice);
            if shares.is_none() {
                return Err(invalid(format!(
                    "RecoveryKeys: {count} keys, expected at most 255 with Config.RecoveryThreshold below their number"
                )));
            }
            (RecoveryScheme::Shamir, threshold, shares)
        }
    };
    let shares: Vec<SecretBytes> = shares.unwrap_or_default();
    let hashes = shares.iter().map(|share| sha256(&[share.expose()])).collect();
    let plan = RecoveryPlan::from_parts(scheme, needed, hashes)
        .ok_or_else(|| Refusal::internal("the recovery shares do not fit their scheme"))?;

    let mut encrypted = BTreeMap::new();
    for ((name, key), share) in keys.iter().zip(&shares) {
        let secret = ambient
            .dice
            .encrypt_oaep_sha256(&key.public_key_pkix, share.expose())
            .map_err(|fault| {
                invalid(format!(
                    "RecoveryKeys.{name}: a recovery secret cannot be encrypted for this key; \
                     expected an RSA key of 2048 to 8192 bits"
                ))
                .with_detail(fault)
            })?;
        encrypted.insert(name.clone(), secret);
    }
    Ok((plan, encrypted))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};

    use super::*;
    use crate::ambient::Dice;
    use crate::pki::key::{KeyKind, PrivateKey};
    use crate::sealed::StateCipher;
    use crate::testing::TestDice;

    fn recovery_key() -> PrivateKey {
        TestDice::new(0).generate_key(KeyKind::Rsa(2048)).unwrap()
    }

    /// All the same key, which is allowed: each name gets a share of its own.
    fn keys(count: usize, key: &PrivateKey) -> BTreeMap<Name, RecoveryKey> {
        let key = RecoveryKey {
            pem: "PEM".into(),
            public_key_pkix: key.public().clone(),
        };
        (0..count)
            .map(|i| (Name::from(format!("key{i:04}")), key.clone()))
            .collect()
    }

    fn decrypt(key: &PrivateKey, secret: &[u8]) -> SecretBytes {
        let key = PrivateDecryptingKey::from_pkcs8(key.pkcs8().expose()).unwrap();
        let key = OaepPrivateDecryptingKey::new(key).unwrap();
        let mut out = vec![0; key.min_output_size()];
        let share = key
            .decrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut out, None)
            .unwrap();
        SecretBytes::copy_from(share)
    }

    fn run(count: usize, threshold: usize) -> Result<(DataKey, RecoveryPlan, Vec<SecretBytes>), Refusal> {
        let dice = TestDice::new(4);
        let data_key = DataKey::generate(StateCipher::Aes256Gcm, &dice);
        let recovery_key = recovery_key();
        let keys = keys(count, &recovery_key);
        let (plan, encrypted) = split(&data_key, &keys, threshold, &dice.ambient())?;
        assert!(encrypted.keys().eq(keys.keys()));
        let shares: Vec<_> = encrypted
            .values()
            .map(|secret| decrypt(&recovery_key, secret))
            .collect();
        for (index, share) in shares.iter().enumerate() {
            assert_eq!(plan.find_share(share.expose()), Some(index));
        }
        Ok((data_key, plan, shares))
    }

    #[test]
    fn the_table_of_the_specification() {
        let (_, plan, shares) = run(0, 0).unwrap();
        assert_eq!(plan, RecoveryPlan::none());
        assert!(shares.is_empty());

        let (key, plan, shares) = run(1, 0).unwrap();
        assert_eq!(
            (plan.scheme(), plan.shares(), plan.threshold()),
            (RecoveryScheme::Single, 1, 1)
        );
        assert!(shares[0] == *key.bytes());

        for threshold in [0, 3] {
            let (key, plan, shares) = run(3, threshold).unwrap();
            assert_eq!(
                (plan.scheme(), plan.shares(), plan.threshold()),
                (RecoveryScheme::Xor, 3, 3)
            );
            assert!(shares.iter().all(|share| share.len() == 32));
            assert!(xor::combine(&shares).unwrap() == *key.bytes());
        }

        let (key, plan, shares) = run(3, 2).unwrap();
        assert_eq!(
            (plan.scheme(), plan.shares(), plan.threshold()),
            (RecoveryScheme::Shamir, 3, 2)
        );
        assert!(shares.iter().all(|share| share.len() == 33));
        assert!(shamir::combine(&shares[1..]).unwrap() == *key.bytes());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (count, threshold, place) in [
            (0, 1, "Config.RecoveryThreshold"),
            (1, 1, "Config.RecoveryThreshold"),
            (3, 1, "Config.RecoveryThreshold"),
            (3, 4, "Config.RecoveryThreshold"),
            (256, 2, "RecoveryKeys"),
            (MAX_SHARES + 1, 0, "RecoveryKeys"),
        ] {
            let refusal = run(count, threshold).map(|_| ()).unwrap_err();
            assert_eq!(refusal.kind(), RefusalKind::Invalid);
            assert!(refusal.message().starts_with(place), "{}", refusal.message());
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named() {
        let dice = TestDice::new(4);
        let data_key = DataKey::generate(StateCipher::Aes128Gcm, &dice);
        let mut keys = keys(2, &recovery_key());
        let odd = RecoveryKey {
            pem: "PEM".into(),
            public_key_pkix: b"not a key".as_slice().into(),
        };
        keys.insert(Name::from("odd"), odd);
        let refusal = split(&data_key, &keys, 0, &dice.ambient())
            .map(|_| ())
            .unwrap_err();
        assert!(
            refusal.message().starts_with("RecoveryKeys.odd:"),
            "{}",
            refusal.message()
        );
    }
}
