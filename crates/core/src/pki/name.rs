//! Distinguished names: written the way Go's `crypto/x509` writes them, read from certificate requests.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{
    COMMON_NAME, COUNTRY_NAME, LOCALITY_NAME, ORGANIZATION_NAME, ORGANIZATIONAL_UNIT_NAME, POSTAL_CODE,
    SERIAL_NUMBER, ST, STREET,
};
use der::asn1::{Any, AnyRef, SetOfVec};
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::attr::AttributeTypeAndValue;

use crate::ambient::CryptoFault;
use crate::secret::spec::{ObjectId, SubjectTemplate};

/// Longest DNS name (RFC 1035 section 3.1), as text without the final dot.
pub(super) const MAX_DNS_NAME: usize = 253;
/// Most attributes a subject we read may have.
pub const MAX_ATTRIBUTES: usize = 64;
/// Longest attribute value we read, in bytes of UTF-8.
pub const MAX_ATTRIBUTE_VALUE: usize = 1024;

/// A name of a CommonName alone.
pub(super) fn encode_common_name(common_name: &str) -> Result<Vec<u8>, CryptoFault> {
    encode(&SubjectTemplate {
        common_name: common_name.to_owned(),
        ..SubjectTemplate::default()
    })
}

/// DER of the name: one RDN for each attribute type, its values a SET; then each extra name in its own RDN.
/// An attribute type among the extra names takes the place of the field.
pub(super) fn encode(subject: &SubjectTemplate) -> Result<Vec<u8>, CryptoFault> {
    let fault = |_| CryptoFault::in_operation("encode a distinguished name");
    let mut rdns: Vec<SetOfVec<AttributeTypeAndValue>> = Vec::new();
    for (oid, values) in fields(subject) {
        let overridden = subject.extra_names.iter().any(|(extra, _)| extra.get() == oid);
        if values.is_empty() || overridden {
            continue;
        }
        let mut rdn: Vec<AttributeTypeAndValue> = Vec::with_capacity(values.len());
        for value in values {
            let attribute = attribute(oid, value).map_err(fault)?;
            // A SET holds each value once.
            if !rdn.contains(&attribute) {
                rdn.push(attribute);
            }
        }
        rdns.push(SetOfVec::try_from(rdn).map_err(fault)?);
    }
    for (oid, value) in &subject.extra_names {
        let rdn = vec![attribute(oid.get(), value).map_err(fault)?];
        rdns.push(SetOfVec::try_from(rdn).map_err(fault)?);
    }
    rdns.to_der().map_err(fault)
}

/// The fields of a subject in the order they are written.
fn fields(subject: &SubjectTemplate) -> [(ObjectIdentifier, &[String]); 9] {
    let single = |value: &'_ String| !value.is_empty();
    let one = std::slice::from_ref::<String>;
    [
        (COUNTRY_NAME, &subject.country),
        (ORGANIZATION_NAME, &subject.organization),
        (ORGANIZATIONAL_UNIT_NAME, &subject.organizational_unit),
        (LOCALITY_NAME, &subject.locality),
        (ST, &subject.province),
        (STREET, &subject.street_address),
        (POSTAL_CODE, &subject.postal_code),
        (
            COMMON_NAME,
            if single(&subject.common_name) {
                one(&subject.common_name)
            } else {
                &[]
            },
        ),
        (
            SERIAL_NUMBER,
            if single(&subject.serial_number) {
                one(&subject.serial_number)
            } else {
                &[]
            },
        ),
    ]
}

fn attribute(oid: ObjectIdentifier, value: &str) -> der::Result<AttributeTypeAndValue> {
    let tag = if value.bytes().all(is_printable) {
        Tag::PrintableString
    } else {
        Tag::Utf8String
    };
    Ok(AttributeTypeAndValue {
        oid,
        value: Any::new(tag, value.as_bytes())?,
    })
}

/// The alphabet of PrintableString (X.680 section 41.4).
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

/// Why a subject cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a distinguished name in DER.
    #[error("it is not a distinguished name")]
    Malformed,
    /// More attributes than anyone needs.
    #[error("it has more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// A value that is too long.
    #[error("its attribute {attribute} is longer than {MAX_ATTRIBUTE_VALUE} bytes")]
    ValueTooLong {
        /// The attribute type.
        attribute: ObjectIdentifier,
    },
    /// A value that is not text, or text with control characters.
    #[error("its attribute {attribute} is not printable text")]
    NotText {
        /// The attribute type.
        attribute: ObjectIdentifier,
    },
}

/// Reads a name. Attributes that are no field of their own become extra names; of several CommonNames or
/// SerialNumbers the last counts, as in Go.
pub(super) fn decode(der: &[u8]) -> Result<SubjectTemplate, NameError> {
    let rdns = Vec::<SetOfVec<AttributeTypeAndValue>>::from_der(der).map_err(|_| NameError::Malformed)?;
    let mut subject = SubjectTemplate::default();
    for (count, attribute) in rdns.iter().flat_map(|rdn| rdn.iter()).enumerate() {
        if count >= MAX_ATTRIBUTES {
            return Err(NameError::TooManyAttributes);
        }
        let value = text(attribute)?;
        match attribute.oid {
            COUNTRY_NAME => subject.country.push(value),
            ORGANIZATION_NAME => subject.organization.push(value),
            ORGANIZATIONAL_UNIT_NAME => subject.organizational_unit.push(value),
            LOCALITY_NAME => subject.locality.push(value),
            ST => subject.province.push(value),
            STREET => subject.street_address.push(value),
            POSTAL_CODE => subject.postal_code.push(value),
            COMMON_NAME => subject.common_name = value,
            SERIAL_NUMBER => subject.serial_number = value,
            oid => subject.extra_names.push((ObjectId::new(oid), value)),
        }
    }
    Ok(subject)
}

fn text(attribute: &AttributeTypeAndValue) -> Result<String, NameError> {
    let not_text = || NameError::NotText {
        attribute: attribute.oid,
    };
    let value = AnyRef::from(&attribute.value);
    if value.value().len() > 2 * MAX_ATTRIBUTE_VALUE {
        return Err(NameError::ValueTooLong {
            attribute: attribute.oid,
        });
    }
    let text = match value.tag() {
        Tag::Utf8String => str::from_utf8(value.value()).map_err(|_| not_text())?.to_owned(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::TeletexString => {
            let bytes = Some(value.value())
                .filter(|bytes| bytes.is_ascii())
                .ok_or_else(not_text)?;
            str::from_utf8(bytes).map_err(|_| not_text())?.to_owned()
        }
        Tag::BmpString => {
            let (units, rest) = value.value().as_chunks::<2>();
            if !rest.is_empty() {
                return Err(not_text());
            }
            char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)))
                .collect::<Result<String, _>>()
                .map_err(|_| not_text())?
        }
        _ => return Err(not_text()),
    };
    if text.len() > MAX_ATTRIBUTE_VALUE {
        return Err(NameError::ValueTooLong {
            attribute: attribute.oid,
        });
    }
    if text.chars().any(char::is_control) {
        return Err(not_text());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_it_was_written() {
        let subject = SubjectTemplate {
            country: vec!["DE".into()],
            organization: vec!["Zeta".into(), "Alpha & Söhne".into()],
            locality: vec!["Bochum".into()],
            serial_number: "7".into(),
            common_name: "a*b".into(),
            extra_names: vec![(
                ObjectId::new(ObjectIdentifier::new("1.2.840.113549.1.9.1").unwrap()),
                "a@b".into(),
            )],
            ..SubjectTemplate::default()
        };
        let mut read = decode(&encode(&subject).unwrap()).unwrap();
        // Values of one SET are ordered by their encoding, not as given.
        read.organization
            .sort_by_key(|name| subject.organization.iter().position(|o| o == name));
        assert_eq!(read, subject);
    }

    #[test]
    fn extra_names_take_the_place_of_fields_and_sets_hold_no_doubles() {
        let subject = SubjectTemplate {
            organization: vec!["a".into(), "a".into()],
            common_name: "field".into(),
            extra_names: vec![(ObjectId::new(COMMON_NAME), "extra".into())],
            ..SubjectTemplate::default()
        };
        let read = decode(&encode(&subject).unwrap()).unwrap();
        assert_eq!(read.common_name, "extra");
        assert_eq!(read.organization, ["a"]);
    }

    #[test]
    fn names_that_are_not_text_are_refused() {
        let name = |tag, value: &[u8]| {
            let attribute = AttributeTypeAndValue {
                oid: LOCALITY_NAME,
                value: Any::new(tag, value).unwrap(),
            };
            vec![SetOfVec::try_from(vec![attribute]).unwrap()]
                .to_der()
                .unwrap()
        };
        let attribute = LOCALITY_NAME;
        for (tag, value) in [
            (Tag::Utf8String, &b"\xff"[..]),
            (Tag::PrintableString, b"\xe9"),
            (Tag::BmpString, b"\0a\0"),
            (Tag::BmpString, b"\xd8\0"),
            (Tag::Utf8String, b"a\0b"),
            (Tag::OctetString, b"a"),
        ] {
            assert_eq!(
                decode(&name(tag, value)),
                Err(NameError::NotText { attribute }),
                "{tag} {value:?}"
            );
        }
        assert_eq!(
            decode(&name(Tag::BmpString, b"\0a\0\xe9")).unwrap().locality,
            ["aé"]
        );
        assert_eq!(
            decode(&name(Tag::Utf8String, &[b'a'; 1025])),
            Err(NameError::ValueTooLong { attribute })
        );
        assert_eq!(decode(b"\x30\x01"), Err(NameError::Malformed));
        let many = SubjectTemplate {
            locality: (0..65).map(|number| number.to_string()).collect(),
            ..SubjectTemplate::default()
        };
        assert_eq!(decode(&encode(&many).unwrap()), Err(NameError::TooManyAttributes));
    }
}
