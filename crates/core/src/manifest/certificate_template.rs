//! `Cert` of a secret: Go's `x509.Certificate` in its JSON form (`spec/02`, "Certificate secrets").

use std::net::IpAddr;

use super::document::Node;
use super::field::{Field, Object};
use super::object_id;
use super::report::Reported;
use super::{name_constraints, subject, uri};
use crate::ambient::Timestamp;
use crate::secret::spec::{CertificateTemplate, ObjectId};

const FIELDS: &[&str] = &[
    "Subject",
    "NotAfter",
    "KeyUsage",
    "ExtKeyUsage",
    "UnknownExtKeyUsage",
    "IsCA",
    "MaxPathLen",
    "MaxPathLenZero",
    "SubjectKeyId",
    "DNSNames",
    "EmailAddresses",
    "IPAddresses",
    "URIs",
    "OCSPServer",
    "IssuingCertificateURL",
    "CRLDistributionPoints",
    "PolicyIdentifiers",
    "Policies",
    "PermittedDNSDomainsCritical",
    "PermittedDNSDomains",
    "ExcludedDNSDomains",
    "PermittedIPRanges",
    "ExcludedIPRanges",
    "PermittedEmailAddresses",
    "ExcludedEmailAddresses",
    "PermittedURIDomains",
    "ExcludedURIDomains",
    // Set by the Coordinator whatever they say: accepted and not looked at.
    "SerialNumber",
    "NotBefore",
    "BasicConstraintsValid",
    "AuthorityKeyId",
    "SignatureAlgorithm",
    "Version",
    "PublicKey",
    "Issuer",
    "Raw",
    "RawTBSCertificate",
    "RawSubjectPublicKeyInfo",
    "RawSubject",
    "RawIssuer",
    // Not supported: refused where they have a value.
    "Signature",
    "PublicKeyAlgorithm",
    "Extensions",
    "ExtraExtensions",
    "UnhandledCriticalExtensions",
    "InhibitAnyPolicy",
    "InhibitAnyPolicyZero",
    "InhibitPolicyMapping",
    "InhibitPolicyMappingZero",
    "RequireExplicitPolicy",
    "RequireExplicitPolicyZero",
    "PolicyMappings",
];

const UNSUPPORTED: &[&str] = &[
    "Signature",
    "PublicKeyAlgorithm",
    "Extensions",
    "ExtraExtensions",
    "UnhandledCriticalExtensions",
    "InhibitAnyPolicy",
    "InhibitAnyPolicyZero",
    "InhibitPolicyMapping",
    "InhibitPolicyMappingZero",
    "RequireExplicitPolicy",
    "RequireExplicitPolicyZero",
    "PolicyMappings",
];

/// digitalSignature and certSign.
const DEFAULT_KEY_USAGE: u16 = 1 | 32;

/// All nine bits of KeyUsage (RFC 5280 section 4.2.1.3).
const ALL_KEY_USAGES: u64 = 0x1ff;

/// How Go writes a time that was not given: the start of year 1.
const NO_TIME: i64 = -62_135_596_800_000;

const DEFAULT_COMMON_NAME: &str = "MarbleRun Generated Certificate";

/// Reads the template with defaults applied; what is wrong is reported and left out.
pub(super) fn read(field: &Field<'_, '_>) -> CertificateTemplate {
    let Ok(object) = field.object(FIELDS) else {
        return CertificateTemplate::default();
    };
    for name in UNSUPPORTED {
        let value = object.field(name);
        if !value.is_zero() {
            value.problem("this field is not supported, it cannot be put into the certificate");
        }
    }
    let dns_field = object.field("DNSNames");
    let dns_names = if dns_field.given().is_none() {
        vec!["localhost".to_owned()]
    } else {
        ia5_list(&dns_field, "a DNS name")
    };
    let mut subject = subject::read(&object.field("Subject"));
    if subject.common_name.is_empty() {
        subject.common_name = match dns_names.as_slice() {
            [single] => single.clone(),
            _ => DEFAULT_COMMON_NAME.to_owned(),
        };
    }
    let is_ca = object.field("IsCA").flag();
    CertificateTemplate {
        subject,
        not_after: not_after(&object.field("NotAfter")),
        key_usage: key_usage(&object.field("KeyUsage")),
        extended_key_usage: extended_key_usage(&object),
        is_ca,
        max_path_length: max_path_length(&object, is_ca),
        subject_key_id: object.field("SubjectKeyId").bytes().ok().flatten(),
        dns_names,
        email_addresses: ia5_list(&object.field("EmailAddresses"), "an email address"),
        ip_addresses: ip_addresses(&object.field("IPAddresses")),
        uris: uris(&object.field("URIs")),
        ocsp_servers: ia5_list(&object.field("OCSPServer"), "a URL"),
        issuing_certificate_urls: ia5_list(&object.field("IssuingCertificateURL"), "a URL"),
        crl_distribution_points: ia5_list(&object.field("CRLDistributionPoints"), "a URL"),
        policies: policies(&object),
        name_constraints: name_constraints::read(&object),
    }
}

/// Strings that X.509 writes as IA5String: ASCII. None of them may be empty or hold blanks.
fn ia5_list(field: &Field<'_, '_>, what: &str) -> Vec<String> {
    let mut list = Vec::new();
    for (item, text) in field.texts() {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            item.problem(format_args!(
                "expected {what} in printable ASCII without blanks, as X.509 encodes it"
            ));
        } else {
            list.push(text.to_owned());
        }
    }
    list
}

fn not_after(field: &Field<'_, '_>) -> Option<Timestamp> {
    let text = field.text().ok().flatten()?;
    let Some(time) = Timestamp::parse_rfc3339(text) else {
        field.problem("expected a date and time as in RFC 3339, such as 2030-12-31T23:59:59Z");
        return None;
    };
    Some(time).filter(|time| time.unix_millis() != NO_TIME)
}

fn key_usage(field: &Field<'_, '_>) -> u16 {
    let bits = field
        .number(ALL_KEY_USAGES)
        .ok()
        .flatten()
        .and_then(|bits| u16::try_from(bits).ok());
    bits.filter(|bits| *bits != 0).unwrap_or(DEFAULT_KEY_USAGE)
}

/// By the numbers of Go: any (RFC 5280 section 4.2.1.12), then id-kp.
const EXTENDED_KEY_USAGES: [&str; 10] = [
    "2.5.29.37.0",
    "1.3.6.1.5.5.7.3.1",
    "1.3.6.1.5.5.7.3.2",
    "1.3.6.1.5.5.7.3.3",
    "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.5",
    "1.3.6.1.5.5.7.3.6",
    "1.3.6.1.5.5.7.3.7",
    "1.3.6.1.5.5.7.3.8",
    "1.3.6.1.5.5.7.3.9",
];

fn extended_key_usage(object: &Object<'_, '_>) -> Vec<ObjectId> {
    const EXPECTED: &str = "expected a number from 0 to 9 (0 any, 1 serverAuth, 2 clientAuth, …); others go into UnknownExtKeyUsage by OID";
    let field = object.field("ExtKeyUsage");
    let mut usages = Vec::new();
    match field.items() {
        Err(Reported) => {}
        Ok(None) => usages.extend([1, 2].iter().filter_map(|number| known_usage(*number))),
        Ok(Some(items)) => {
            for item in items {
                let usage = match item.given() {
                    Some(Node::Unsigned(number)) => known_usage(*number),
                    _ => None,
                };
                match usage {
                    Some(usage) => usages.push(usage),
                    None => drop(item.problem(EXPECTED)),
                }
            }
        }
    }
    usages.extend(object_id::read_list(&object.field("UnknownExtKeyUsage")));
    usages
}

fn known_usage(number: u64) -> Option<ObjectId> {
    let dotted = EXTENDED_KEY_USAGES.get(usize::try_from(number).ok()?)?;
    const_oid::ObjectIdentifier::new(dotted).ok().map(ObjectId::new)
}

fn max_path_length(object: &Object<'_, '_>, is_ca: bool) -> Option<u8> {
    let field = object.field("MaxPathLen");
    // Go writes -1 for "no limit" when it prints a certificate it has parsed.
    let given = match field.given() {
        Some(Node::Negative(-1)) => None,
        _ => field.number(255).ok().flatten().filter(|length| *length > 0),
    };
    let zero_field = object.field("MaxPathLenZero");
    let zero = zero_field.flag();
    let (length, from) = match given {
        Some(length) => (u8::try_from(length).ok()?, &field),
        None if zero => (0, &zero_field),
        None => return None,
    };
    if !is_ca {
        from.problem("a path length needs IsCA: true");
    }
    Some(length)
}

fn ip_addresses(field: &Field<'_, '_>) -> Vec<IpAddr> {
    if field.given().is_none() {
        return vec![
            std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::Ipv6Addr::LOCALHOST.into(),
        ];
    }
    let mut addresses = Vec::new();
    for (item, text) in field.texts() {
        match text.parse::<IpAddr>() {
            // An IPv4 address in IPv6 form is written as IPv4, as Go does.
            Ok(address) => addresses.push(address.to_canonical()),
            Err(_) => drop(item.problem("expected an IP address, such as 10.0.0.1 or fd00::1")),
        }
    }
    addresses
}

fn uris(field: &Field<'_, '_>) -> Vec<String> {
    let Ok(Some(items)) = field.items() else {
        return Vec::new();
    };
    items.filter_map(|item| uri::read(&item)).collect()
}

/// `PolicyIdentifiers` and `Policies` say the same in two forms; a policy appears once (RFC 5280 section 4.2.1.4).
fn policies(object: &Object<'_, '_>) -> Vec<ObjectId> {
    let mut policies: Vec<ObjectId> = Vec::new();
    let both = object_id::read_list(&object.field("PolicyIdentifiers"))
        .into_iter()
        .chain(object_id::read_dotted_list(&object.field("Policies")));
    let mut seen = std::collections::BTreeSet::new();
    policies.extend(both.filter(|policy| seen.insert(policy.get())));
    policies
}
