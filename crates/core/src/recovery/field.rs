//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1 (0x11b), as in AES (FIPS 197 section 4).
//!
//! Neither branches nor addresses depend on the operands.

use std::hint::black_box;

/// All bits set if the lowest bit of `bit` is set, none otherwise. The compiler cannot see through it and make
/// a branch of it.
fn mask(bit: u8) -> u8 {
    black_box(0_u8.wrapping_sub(bit & 1))
}

/// The product. (The sum is XOR.)
pub(super) fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0;
    let mut shifted = a;
    for bit in 0..8 {
        product ^= shifted & mask(b >> bit);
        shifted = (shifted << 1) ^ (0x1b & mask(shifted >> 7));
    }
    product
}

/// The inverse of `a`, which is a^254; 0 for 0.
pub(super) fn invert(a: u8) -> u8 {
    // 254 = 2 + 4 + 8 + 16 + 32 + 64 + 128
    let mut power = a;
    let mut product = 1;
    for _ in 1..8 {
        power = multiply(power, power);
        product = multiply(product, power);
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_products_of_fips_197() {
        // Section 4.2: {57} x {83} = {c1}; section 4.2.1: {57} x {13} = {fe}.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
    }

    #[test]
    fn it_is_a_field() {
        for a in 0..=255 {
            assert_eq!(multiply(a, 1), a);
            assert_eq!(multiply(a, 0), 0);
            assert_eq!(multiply(a, invert(a)), u8::from(a != 0), "{a}");
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply(b, a));
                assert_eq!(multiply(a, b ^ 0x1d), multiply(a, b) ^ multiply(a, 0x1d));
                assert!(multiply(a, b) != 0 || a == 0 || b == 0);
            }
        }
    }
}
