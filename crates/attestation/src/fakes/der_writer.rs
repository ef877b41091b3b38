//! Writing DER, as far as certificates and revocation lists need it.

use const_oid::ObjectIdentifier;
use time::OffsetDateTime;

use crate::moment::UnixSeconds;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const UTF8_STRING: u8 = 0x0C;
pub(super) const IA5_STRING: u8 = 0x16;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0A;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const EXPLICIT: u8 = 0xA0;

/// Tag, length, and the parts one after another.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let long = length.to_be_bytes();
            let significant = long.iter().position(|byte| *byte != 0).unwrap_or(long.len());
            let (_, digits) = long.split_at(significant);
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend_from_slice(digits);
        }
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

pub(super) fn explicit(number: u8, part: &[u8]) -> Vec<u8> {
    tlv(EXPLICIT | number, &[part])
}

/// A number that is not negative, big-endian.
pub(super) fn integer(magnitude: &[u8]) -> Vec<u8> {
    let start = magnitude
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(magnitude.len());
    let (_, digits) = magnitude.split_at(start);
    match digits.first() {
        Some(first) if *first < 0x80 => tlv(INTEGER, &[digits]),
        _ => tlv(INTEGER, &[&[0], digits]),
    }
}

pub(super) fn oid(text: &str) -> Vec<u8> {
    ObjectIdentifier::new(text).map_or_else(|_| Vec::new(), |id| tlv(OBJECT_IDENTIFIER, &[id.as_bytes()]))
}

pub(super) fn null() -> Vec<u8> {
    tlv(NULL, &[])
}

pub(super) fn boolean(value: bool) -> Vec<u8> {
    tlv(BOOLEAN, &[&[if value { 0xFF } else { 0 }]])
}

pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes])
}

/// Named bits: trailing zeros are cut off.
pub(super) fn named_bits(byte: u8) -> Vec<u8> {
    tlv(BIT_STRING, &[&[byte.trailing_zeros().min(7) as u8, byte]])
}

/// A name that consists of a common name.
pub(super) fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[&oid("2.5.4.3"), &tlv(UTF8_STRING, &[common_name.as_bytes()])]);
    sequence(&[&tlv(SET, &[&attribute])])
}

/// UTCTime before 2050, GeneralizedTime from then on (RFC 5280, section 4.1.2.5).
pub(super) fn date(time: UnixSeconds) -> Vec<u8> {
    let date = i64::try_from(time.0)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = (date.hour(), date.minute(), date.second());
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    if year < 2050 {
        tlv(UTC_TIME, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        tlv(GENERALIZED_TIME, &[format!("{year:04}{rest}").as_bytes()])
    }
}
