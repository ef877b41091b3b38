//! What setting a manifest may cost: anybody may set the first one, and every update pays again.

use super::Name;
use super::field::Field;
use crate::pki::key::KeyKind;
use crate::secret::spec::{SecretKind, SecretSpec};

/// What the keys of all shared RSA certificates may cost, in keys of 2048 bits; twice the size costs 16 times as much.
/// That is about half a minute of one core.
const RSA_KEYS: u64 = 512;

/// Bytes that the values of all shared secrets may take, roughly.
const VALUES: u64 = 128 << 20;

/// Bytes of a certificate and its key, without what grows with an RSA key.
const CERTIFICATE: u64 = 1 << 10;

/// Reports secrets that together cost too much to make or to keep.
pub(super) fn check<'a>(secrets: &Field<'_, '_>, specs: impl Iterator<Item = (&'a Name, &'a SecretSpec)>) {
    let (mut rsa_keys, mut values) = (0_u64, 0_u64);
    for (_, spec) in specs.filter(|(_, spec)| spec.shared && !spec.user_defined) {
        let (cost, bytes) = match spec.kind {
            SecretKind::Symmetric { length } => (0, length as u64),
            SecretKind::Certificate {
                key: Some(KeyKind::Rsa(bits)),
                ..
            } => (rsa_cost(bits), CERTIFICATE + u64::from(bits)),
            SecretKind::Certificate { .. } => (0, CERTIFICATE),
            SecretKind::Plain => (0, 0),
        };
        rsa_keys = rsa_keys.saturating_add(cost);
        values = values.saturating_add(bytes);
    }
    if rsa_keys > RSA_KEYS {
        secrets.problem(format_args!(
            "the shared RSA secrets take as long to make as {rsa_keys} keys of 2048 bits, expected at most {RSA_KEYS}: \
             a key of 3072 bits counts 6, of 4096 bits 16, of 8192 bits 256"
        ));
    }
    if values > VALUES {
        secrets.problem(format_args!(
            "the values of the shared secrets take about {values} bytes, expected at most {VALUES}"
        ));
    }
}

/// How long a key takes to make, in keys of 2048 bits, rounded up: by the fourth power of its size.
fn rsa_cost(bits: u16) -> u64 {
    (u64::from(bits).pow(4)).div_ceil(2048_u64.pow(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_keys_cost_by_the_fourth_power() {
        assert_eq!([2048, 3072, 4096, 8192].map(rsa_cost), [1, 6, 16, 256]);
    }
}
