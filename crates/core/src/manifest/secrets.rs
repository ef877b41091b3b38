//! `Secrets`: definitions (`spec/02`, "Definition").

use super::certificate_template;
use super::field::{Field, Object};
use super::model::Name;
use super::path::Quoted;
use super::report::WarningKind;
use super::section::Section;
use crate::pki::key::KeyKind;
use crate::secret::spec::{CertificateFamily, CertificateTemplate, SecretKind, SecretSpec};

const FIELDS: &[&str] = &[
    "Type",
    "Size",
    "Shared",
    "UserDefined",
    "Cert",
    "ValidFor",
    "Private",
    "Public",
];

/// What HKDF-SHA256 can derive (RFC 5869 section 2.3), in bytes.
const LONGEST_KEY: u64 = 255 * 32;

/// Days of validity when nothing else is said.
const DEFAULT_DAYS: u64 = 365;

/// Days from year 1 to year 9999: no certificate can be valid longer.
const MOST_DAYS: u64 = 3_652_058;

/// Reads the section. What has a known type is in the result even when other things are wrong with it, so that
/// those who refer to it are not blamed.
pub(super) fn read(section: &Section<'_, '_>) -> Vec<(Name, SecretSpec)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), definition(field)?)))
        .collect()
}

fn definition(field: &Field<'_, '_>) -> Option<SecretSpec> {
    const TYPES: &str = "symmetric-key, cert-rsa, cert-ecdsa, cert-ed25519 or plain";
    let object = field.object(FIELDS).ok()?;
    for name in ["Private", "Public"] {
        let value = object.field(name);
        if !value.is_zero() {
            value.problem("a manifest defines secrets, it cannot hold their values");
        }
    }
    let size_field = object.field("Size");
    let size = size_field.number(u64::MAX).map(Option::unwrap_or_default);
    let user_defined_field = object.field("UserDefined");
    let user_defined_given = user_defined_field.try_flag();
    let user_defined = user_defined_given.unwrap_or(false);
    let shared = object.field("Shared").flag();
    let valid_for_field = object.field("ValidFor");
    let mut valid_for = valid_for_field.number(u64::MAX).ok().flatten().unwrap_or(0);

    let type_field = object.field("Type");
    let type_name = type_field.required_text(&format!("expected {TYPES}")).ok()?;
    // Problems of size are reported once: as zero, a size of the wrong type is not looked at again.
    let checked_size = size.ok();
    let size = checked_size.unwrap_or(0);
    let mut certificate = |family| {
        let key = match checked_size {
            Some(size) if !user_defined => key_kind(family, size, &size_field),
            _ => None,
        };
        let template = template(&object, &valid_for_field, valid_for);
        if valid_for == 0 && template.not_after.is_none() && !user_defined {
            valid_for = DEFAULT_DAYS;
        }
        SecretKind::Certificate {
            family,
            key,
            template: Box::new(template),
        }
    };
    let kind = match type_name {
        "symmetric-key" => {
            without_certificate(&object, type_name);
            SecretKind::Symmetric {
                length: key_length(checked_size, &size_field),
            }
        }
        "plain" => {
            without_certificate(&object, type_name);
            if user_defined_given == Ok(false) {
                user_defined_field.problem("expected true: plain secrets are only ever uploaded");
            }
            SecretKind::Plain
        }
        "cert-rsa" => certificate(CertificateFamily::Rsa),
        "cert-ecdsa" => certificate(CertificateFamily::Ecdsa),
        "cert-ed25519" => certificate(CertificateFamily::Ed25519),
        other => {
            let other = Quoted(other);
            type_field.problem(format_args!("unknown type {other}, expected {TYPES}"));
            return None;
        }
    };
    Some(SecretSpec {
        kind,
        size,
        shared,
        user_defined,
        valid_for,
    })
}

fn without_certificate(object: &Object<'_, '_>, type_name: &str) {
    let field = object.field("Cert");
    if !field.is_zero() {
        field.warn(
            WarningKind::NoEffect,
            format_args!("a {type_name} has no certificate, this is not looked at"),
        );
    }
}

/// In bytes.
fn key_length(size: Option<u64>, field: &Field<'_, '_>) -> usize {
    let Some(bits) = size else { return 0 };
    let most = LONGEST_KEY * 8;
    if bits == 0 || bits % 8 != 0 || bits > most {
        field.problem(format_args!(
            "invalid secret size {bits}, expected a number of bits from 8 to {most} that is a multiple of 8"
        ));
    }
    usize::try_from((bits / 8).min(LONGEST_KEY)).unwrap_or(0)
}

fn key_kind(family: CertificateFamily, size: u64, field: &Field<'_, '_>) -> Option<KeyKind> {
    let (kind, expected) = match (family, size) {
        (CertificateFamily::Rsa, 2048) => (Some(KeyKind::Rsa(2048)), ""),
        (CertificateFamily::Rsa, 3072) => (Some(KeyKind::Rsa(3072)), ""),
        (CertificateFamily::Rsa, 4096) => (Some(KeyKind::Rsa(4096)), ""),
        (CertificateFamily::Rsa, 8192) => (Some(KeyKind::Rsa(8192)), ""),
        (CertificateFamily::Rsa, _) => (None, "2048, 3072, 4096 or 8192"),
        (CertificateFamily::Ecdsa, 224) => (Some(KeyKind::P224), ""),
        (CertificateFamily::Ecdsa, 256) => (Some(KeyKind::P256), ""),
        (CertificateFamily::Ecdsa, 384) => (Some(KeyKind::P384), ""),
        (CertificateFamily::Ecdsa, 521) => (Some(KeyKind::P521), ""),
        (CertificateFamily::Ecdsa, _) => (None, "224, 256, 384 or 521"),
        (CertificateFamily::Ed25519, 0) => (Some(KeyKind::Ed25519), ""),
        (CertificateFamily::Ed25519, _) => (None, "no size or 0"),
    };
    if kind.is_none() {
        field.problem(format_args!(
            "invalid secret size {size} for this type, expected {expected}"
        ));
    }
    kind
}

fn template(object: &Object<'_, '_>, valid_for_field: &Field<'_, '_>, valid_for: u64) -> CertificateTemplate {
    let template = certificate_template::read(&object.field("Cert"));
    if valid_for > 0 && template.not_after.is_some() {
        valid_for_field.problem("given together with Cert.NotAfter, only one of them can decide");
    }
    if valid_for > MOST_DAYS {
        valid_for_field.problem(format_args!(
            "expected at most {MOST_DAYS} days, no certificate can be valid longer"
        ));
    }
    template
}
