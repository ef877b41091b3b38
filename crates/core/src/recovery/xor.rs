//! Shares whose XOR is the secret: all of them are needed.

use super::scheme::CombineError;
use crate::ambient::Dice;
use crate::secret::value::SecretBytes;

/// Splits a secret into `shares` shares, each as long as the secret; `None` for fewer than two.
pub fn split(secret: &[u8], shares: usize, dice: &dyn Dice) -> Option<Vec<SecretBytes>> {
    if shares < 2 {
        return None;
    }
    let random = || SecretBytes::fill_with(secret.len(), |bytes| dice.fill(bytes));
    let mut all: Vec<SecretBytes> = std::iter::repeat_with(random).take(shares - 1).collect();
    let last = SecretBytes::fill_with(secret.len(), |out| {
        out.copy_from_slice(secret);
        all.iter().for_each(|share| add(out, share));
    });
    all.push(last);
    Some(all)
}

/// The secret, from all its shares in any order. Wrong shares, and fewer, give something else without any sign
/// of it: compare the result with something known.
///
/// # Errors
/// [`CombineError`] for fewer than two shares, or of different length.
pub fn combine(shares: &[SecretBytes]) -> Result<SecretBytes, CombineError> {
    let [first, _, ..] = shares else {
        return Err(CombineError::TooFew);
    };
    if let Some(index) = shares
        .iter()
        .position(|share| share.len() != first.len() || share.is_empty())
    {
        return Err(CombineError::WrongLength { index });
    }
    Ok(SecretBytes::fill_with(first.len(), |out| {
        shares.iter().for_each(|share| add(out, share));
    }))
}

fn add(out: &mut [u8], share: &SecretBytes) {
    for (byte, other) in out.iter_mut().zip(share.expose()) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDice;

    #[test]
    fn all_shares_give_the_secret_and_fewer_do_not() {
        let dice = TestDice::new(1);
        for length in [16, 32] {
            let secret = SecretBytes::fill_with(length, |bytes| dice.fill(bytes));
            for shares in 2..=6_usize {
                let all = split(secret.expose(), shares, &dice).unwrap();
                assert_eq!(all.len(), shares);
                for set in 0..1_u32 << shares {
                    let chosen: Vec<_> = (0..shares)
                        .filter(|i| set >> i & 1 == 1)
                        .map(|i| all[i].clone())
                        .collect();
                    if chosen.len() >= 2 {
                        assert_eq!(combine(&chosen).unwrap() == secret, chosen.len() == shares);
                    }
                }
            }
        }
    }

    #[test]
    fn bad_numbers_and_lengths_are_refused() {
        let dice = TestDice::new(1);
        assert!(split(b"secret", 0, &dice).is_none());
        assert!(split(b"secret", 1, &dice).is_none());
        let share = |bytes: &[u8]| SecretBytes::copy_from(bytes);
        assert_eq!(combine(&[share(b"a")]).err(), Some(CombineError::TooFew));
        assert_eq!(
            combine(&[share(b"a"), share(b"ab")]).err(),
            Some(CombineError::WrongLength { index: 1 })
        );
        assert_eq!(
            combine(&[share(b""), share(b"")]).err(),
            Some(CombineError::WrongLength { index: 0 })
        );
    }
}
