//! Shamir's secret sharing over GF(2^8) (Shamir, "How to share a secret", 1979), a byte at a time.
//!
//! A share is one y byte for each byte of the secret, then the x coordinate: the layout of Vault.

use zeroize::Zeroizing;

use super::field::{invert, multiply};
use super::scheme::CombineError;
use crate::ambient::Dice;
use crate::secret::value::SecretBytes;

/// Splits a secret into `shares` shares any `threshold` of which give it back, and fewer of which say nothing
/// about it. `None` unless 2 <= `threshold` <= `shares` <= 255.
pub fn split(secret: &[u8], threshold: usize, shares: usize, dice: &dyn Dice) -> Option<Vec<SecretBytes>> {
    let last_x = u8::try_from(shares).ok()?;
    if threshold < 2 || threshold > shares {
        return None;
    }
    // For each byte of the secret a polynomial with that byte as its constant term; the other coefficients are
    // uniform, 0 included: anything else would say something about the secret.
    let degree = threshold - 1;
    let mut coefficients = Zeroizing::new(vec![0; secret.len() * degree]);
    dice.fill(&mut coefficients);

    let share = |x: u8| {
        SecretBytes::fill_with(secret.len() + 1, |out| {
            let polynomials = secret.iter().zip(coefficients.chunks_exact(degree));
            for (y, (constant, others)) in out.iter_mut().zip(polynomials) {
                let above = others
                    .iter()
                    .fold(0, |sum, coefficient| multiply(sum, x) ^ coefficient);
                *y = multiply(above, x) ^ constant;
            }
            if let Some(coordinate) = out.last_mut() {
                *coordinate = x;
            }
        })
    };
    Some((1..=last_x).map(share).collect())
}

/// The secret, from as many shares as the threshold said. Wrong shares, and fewer, give something else without
/// any sign of it: compare the result with something known.
///
/// # Errors
/// [`CombineError`] for shares that cannot be of one secret.
pub fn combine(shares: &[SecretBytes]) -> Result<SecretBytes, CombineError> {
    let [first, _, ..] = shares else {
        return Err(CombineError::TooFew);
    };
    let mut points: Vec<(u8, &[u8])> = Vec::with_capacity(shares.len());
    for (index, share) in shares.iter().enumerate() {
        let Some((x, ys)) = share.expose().split_last().filter(|_| share.len() == first.len()) else {
            return Err(CombineError::WrongLength { index });
        };
        if ys.is_empty() {
            return Err(CombineError::WrongLength { index });
        }
        if *x == 0 || points.iter().any(|(other, _)| other == x) {
            return Err(CombineError::BadCoordinate { index });
        }
        points.push((*x, ys));
    }
    // Lagrange interpolation at 0: each share weighs the product of x_j / (x_j - x_i) over the others.
    let weigh = |i: usize, x_i: u8| {
        points
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .fold(1, |weight, (_, (x_j, _))| {
                multiply(weight, multiply(*x_j, invert(x_j ^ x_i)))
            })
    };
    Ok(SecretBytes::fill_with(first.len() - 1, |out| {
        for (i, (x, ys)) in points.iter().enumerate() {
            let weight = weigh(i, *x);
            for (byte, y) in out.iter_mut().zip(*ys) {
                *byte ^= multiply(weight, *y);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDice;

    /// Every subset of `items`, as a list each.
    pub(crate) fn subsets<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
        (0..1_usize << items.len())
            .map(|set| {
                let chosen = items.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1);
                chosen.map(|(_, item)| item.clone()).collect()
            })
            .collect()
    }

    #[test]
    fn enough_shares_give_the_secret_and_fewer_do_not() {
        let dice = TestDice::new(1);
        for length in [16, 32] {
            let secret = SecretBytes::fill_with(length, |bytes| dice.fill(bytes));
            for shares in 2..=6 {
                for threshold in 2..=shares {
                    let all = split(secret.expose(), threshold, shares, &dice).unwrap();
                    assert_eq!(all.len(), shares);
                    for subset in subsets(&all).into_iter().filter(|subset| subset.len() >= 2) {
                        let combined = combine(&subset).unwrap();
                        let count = subset.len();
                        assert_eq!(
                            combined == secret,
                            count >= threshold,
                            "{count} of {threshold}/{shares}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_number_of_shares() {
        let dice = TestDice::new(2);
        let all = split(b"sixteen bytes...", 200, 255, &dice).unwrap();
        assert!(combine(&all[55..]).unwrap().expose() == b"sixteen bytes...");
        assert!(combine(&all[56..]).unwrap().expose() != b"sixteen bytes...");
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let dice = TestDice::new(3);
        for (threshold, shares) in [(0, 2), (1, 2), (3, 2), (2, 256), (2, 0)] {
            assert!(
                split(b"secret", threshold, shares, &dice).is_none(),
                "{threshold} of {shares}"
            );
        }
    }

    #[test]
    fn shares_that_cannot_belong_together_are_named() {
        let share = |bytes: &[u8]| SecretBytes::copy_from(bytes);
        let refused = |shares: &[SecretBytes]| combine(shares).err();
        assert_eq!(refused(&[]), Some(CombineError::TooFew));
        assert_eq!(refused(&[share(&[1, 2])]), Some(CombineError::TooFew));
        assert_eq!(
            refused(&[share(&[1, 2]), share(&[1, 2, 3])]),
            Some(CombineError::WrongLength { index: 1 })
        );
        assert_eq!(
            refused(&[share(&[1]), share(&[2])]),
            Some(CombineError::WrongLength { index: 0 })
        );
        assert_eq!(
            refused(&[share(&[]), share(&[])]),
            Some(CombineError::WrongLength { index: 0 })
        );
        assert_eq!(
            refused(&[share(&[1, 2]), share(&[3, 2])]),
            Some(CombineError::BadCoordinate { index: 1 })
        );
        assert_eq!(
            refused(&[share(&[1, 0]), share(&[3, 2])]),
            Some(CombineError::BadCoordinate { index: 0 })
        );
    }
}
