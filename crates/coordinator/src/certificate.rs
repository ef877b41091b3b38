//! The one field of a peer's certificate that a handshake needs.

/// The `SubjectPublicKeyInfo` of an X.509 certificate in DER, with its header, or `None` if the bytes do not have
/// the outline of a certificate.
///
/// Nothing else is looked at: version 1 certificates and unknown critical extensions are fine here (RFC 5280
/// section 4.1 for the outline).
pub fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const EXPLICIT_VERSION: u8 = 0xa0;

    let (outer, rest) = element(certificate)?;
    if outer.tag != SEQUENCE || !rest.is_empty() {
        return None;
    }
    let (to_be_signed, _) = element(outer.content)?;
    if to_be_signed.tag != SEQUENCE {
        return None;
    }
    let mut fields = to_be_signed.content;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        fields = element(fields)?.1;
    }
    // Serial number, signature algorithm, issuer, validity, subject, subject public key.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        let (field, rest) = element(fields)?;
        if field.tag != tag {
            return None;
        }
        fields = rest;
    }
    let (key, _) = element(fields)?;
    (key.tag == SEQUENCE).then_some(key.whole)
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The first element of `bytes` and what follows it. Only definite lengths in their shortest form (X.690
/// section 10.1), at most 2^24 − 1.
fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x83 => {
            let count = usize::from(first & 0x0f);
            let digits = rest.get(..count)?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            let shortest = if count == 1 { 0x80 } else { 1 << (8 * (count - 1)) };
            if length < shortest {
                return None;
            }
            (length, 2 + count)
        }
        _ => return None,
    };
    let (whole, rest) = bytes.split_at_checked(header.checked_add(length)?)?;
    Some((
        Element {
            tag,
            content: whole.get(header..)?,
            whole,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a.example".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (
            certificate.der().to_vec(),
            rcgen::PublicKeyData::subject_public_key_info(&key),
        )
    }

    #[test]
    fn the_key_is_found_in_version_3_and_version_1_certificates() {
        let (der, key) = certificate();
        assert_eq!(public_key_info(&der), Some(key.as_slice()));

        // The same fields as version 1: no version, no extensions.
        let (outer, _) = element(&der).unwrap();
        let (signed, _) = element(outer.content).unwrap();
        let after_version = element(signed.content).unwrap().1;
        let key_end = after_version
            .windows(key.len())
            .position(|window| window == key)
            .unwrap()
            + key.len();
        let fields = &after_version[..key_end];
        let wrap = |content: &[u8]| {
            let length = match content.len() {
                short @ 0x80..=0xff => vec![0x81, short as u8],
                long => vec![0x82, (long >> 8) as u8, long as u8],
            };
            [&[0x30], length.as_slice(), content].concat()
        };
        assert_eq!(public_key_info(&wrap(&wrap(fields))), Some(key.as_slice()));
    }

    #[test]
    fn anything_cut_or_misplaced_is_refused() {
        let (der, _) = certificate();
        for end in 0..der.len() {
            assert_eq!(public_key_info(&der[..end]), None, "cut at {end}");
        }
        assert_eq!(
            public_key_info(&[der.as_slice(), b"x"].concat()),
            None,
            "bytes behind the certificate"
        );
        assert_eq!(public_key_info(&[0x30, 0x80, 0, 0]), None, "indefinite length");
        assert_eq!(
            public_key_info(&[0x30, 0x81, 0x02, 0x30, 0x00]),
            None,
            "length not in its shortest form"
        );
        assert_eq!(
            public_key_info(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
            None,
            "absurd length"
        );
    }
}
