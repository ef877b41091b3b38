//! Writes private keys of curves as `ECPrivateKey` (RFC 5915, SEC 1): the form in which the original keeps them.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use der::{Decode as _, Encode as _, Reader as _, Sequence, SliceReader};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::key::PrivateKey;
use crate::secret::value::SecretBytes;

#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", constructed = "true")]
    curve: ObjectIdentifier,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    public_key: BitStringRef<'a>,
}

/// The key with its curve and its public point; `None` for keys of another kind.
pub(super) fn write(key: &PrivateKey) -> Option<SecretBytes> {
    let public = SubjectPublicKeyInfoRef::from_der(key.public()).ok()?;
    let curve = public
        .algorithm
        .parameters?
        .decode_as::<ObjectIdentifier>()
        .ok()?;
    let written = EcPrivateKey {
        version: 1,
        private_key: scalar(key.pkcs8().expose())?,
        curve,
        public_key: public.subject_public_key,
    };
    let length = usize::try_from(written.encoded_len().ok()?).ok()?;
    let mut whole = false;
    let der = SecretBytes::fill_with(length, |out| {
        whole = written
            .encode_to_slice(out)
            .is_ok_and(|written| written.len() == length);
    });
    whole.then_some(der)
}

/// The private number inside PKCS#8 version 1.
fn scalar(pkcs8: &[u8]) -> Option<&OctetStringRef> {
    let inner = octets(pkcs8, |fields| AlgorithmIdentifierRef::decode(fields).map(drop))?;
    octets(inner.as_bytes(), |_| Ok(()))
}

/// The octet string in a sequence of a version, what `skip` reads, the octet string, and whatever follows.
fn octets<'a>(
    der: &'a [u8],
    skip: impl FnOnce(&mut SliceReader<'a>) -> der::Result<()>,
) -> Option<&'a OctetStringRef> {
    let mut reader = SliceReader::new(der).ok()?;
    let octets = reader.sequence(|fields| {
        u8::decode(fields)?;
        skip(fields)?;
        let octets = <&OctetStringRef>::decode(fields)?;
        while !fields.is_finished() {
            AnyRef::decode(fields)?;
        }
        Ok::<_, der::Error>(octets)
    });
    octets.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Dice as _;
    use crate::pki::key::KeyKind;
    use crate::testing::TestDice;

    #[test]
    fn what_is_written_is_read_as_the_same_key() {
        let dice = TestDice::new(1);
        for kind in [KeyKind::P224, KeyKind::P256, KeyKind::P384, KeyKind::P521] {
            let key = dice.generate_key(kind).unwrap();
            let der = write(&key).unwrap();
            let read = PrivateKey::from_any_der(der.expose()).unwrap();
            assert_eq!(read.kind(), kind);
            assert!(read.pkcs8() == key.pkcs8(), "{kind:?}");
            assert!(read.public() == key.public(), "{kind:?}");
        }
        assert!(write(&dice.generate_key(KeyKind::Ed25519).unwrap()).is_none());
    }
}
