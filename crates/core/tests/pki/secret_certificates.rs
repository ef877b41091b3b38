//! Certificates of certificate secrets: every type, every field of the template.

use std::net::IpAddr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use marblerun_core::ambient::{Ambient, Dice, Timestamp};
use marblerun_core::pki::authority::Authority;
use marblerun_core::pki::key::{KeyKind, PrivateKey};
use marblerun_core::pki::{CryptoSuite, secret_certificate};
use marblerun_core::secret::generate::generate;
use marblerun_core::secret::spec::{
    CertificateFamily, CertificateTemplate, NameConstraints, NameSet, ObjectId, SecretKind, SecretSpec,
    SubjectTemplate,
};
use marblerun_core::secret::value::SecretValue;
use marblerun_core::testing::{NOW, TestDice};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use x509_parser::prelude::{
    DistributionPointName, FromDer as _, GeneralName, ParsedExtension, X509Certificate,
};

use crate::support::authority;

fn oid(text: &str) -> ObjectId {
    ObjectId::new(ObjectIdentifier::new(text).unwrap())
}

fn read(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn ordinary() -> CertificateTemplate {
    CertificateTemplate {
        subject: SubjectTemplate {
            common_name: "localhost".into(),
            ..SubjectTemplate::default()
        },
        key_usage: 33,
        extended_key_usage: vec![oid("1.3.6.1.5.5.7.3.1")],
        dns_names: vec!["localhost".into()],
        ..CertificateTemplate::default()
    }
}

fn certificate_spec(family: CertificateFamily, key: Option<KeyKind>) -> SecretSpec {
    let kind = SecretKind::Certificate {
        family,
        key,
        template: Box::new(ordinary()),
    };
    SecretSpec {
        kind,
        size: 0,
        shared: true,
        user_defined: false,
        valid_for: 365,
    }
}

#[test]
fn every_type_is_generated_with_a_certificate_over_its_key() {
    let dice = TestDice::default();
    let types = [
        (CertificateFamily::Ecdsa, KeyKind::P224),
        (CertificateFamily::Ecdsa, KeyKind::P256),
        (CertificateFamily::Ecdsa, KeyKind::P384),
        (CertificateFamily::Ecdsa, KeyKind::P521),
        (CertificateFamily::Ed25519, KeyKind::Ed25519),
        (CertificateFamily::Rsa, KeyKind::Rsa(2048)),
        (CertificateFamily::Rsa, KeyKind::Rsa(3072)),
        (CertificateFamily::Rsa, KeyKind::Rsa(4096)),
    ];
    for suite in CryptoSuite::ALL {
        let authority = authority(suite);
        let marble_root = read(&authority.marble_root);
        for (family, kind) in types {
            let spec = certificate_spec(family, Some(kind));
            let SecretValue::Certificate(value) = generate(&spec, &authority, &dice.ambient()).unwrap()
            else {
                panic!("a certificate");
            };
            let certificate = read(&value.certificate);
            assert_eq!(certificate.public_key().raw, &value.public[..], "{kind:?}");
            let key = PrivateKey::from_pkcs8(value.private.unwrap().expose()).unwrap();
            assert_eq!((key.kind(), key.public()), (kind, &value.public));
            assert_eq!(certificate.issuer().as_raw(), marble_root.subject().as_raw());
            assert!(is_signed_by(&certificate, &authority), "{suite} {kind:?}");
            let validity = certificate.validity();
            assert_eq!(validity.not_before.timestamp(), NOW.unix_seconds());
            assert_eq!(validity.not_after.timestamp(), NOW.unix_seconds() + 365 * 86_400);
        }
    }
}

fn is_signed_by(certificate: &X509Certificate<'_>, authority: &Authority) -> bool {
    let algorithm: &dyn VerificationAlgorithm = match authority.suite {
        CryptoSuite::P256Aes128 => &ECDSA_P256_SHA256_ASN1,
        CryptoSuite::P384Aes256 => &ECDSA_P384_SHA384_ASN1,
    };
    let public = UnparsedPublicKey::new(algorithm, authority.intermediate_key.public());
    public
        .verify(
            certificate.tbs_certificate.as_ref(),
            &certificate.signature_value.data,
        )
        .is_ok()
}

#[test]
fn a_certificate_is_issued_for_the_largest_keys() {
    let text = include_str!("../golden/pki/rsa-8192.pem");
    let key = PrivateKey::from_any_der(&crate::support::pem_block("PRIVATE KEY", text)).unwrap();
    let authority = authority(CryptoSuite::P256Aes128);
    let der = secret_certificate::issue(
        &authority,
        &ordinary(),
        1,
        key.public(),
        &TestDice::default().ambient(),
    )
    .unwrap();
    assert_eq!(read(&der).public_key().raw, &key.public()[..]);
}

#[test]
fn generated_values_are_fresh() {
    let dice = TestDice::default();
    let authority = authority(CryptoSuite::P256Aes128);
    let symmetric = SecretSpec {
        kind: SecretKind::Symmetric { length: 33 },
        size: 264,
        shared: true,
        user_defined: false,
        valid_for: 0,
    };
    let SecretValue::Symmetric(one) = generate(&symmetric, &authority, &dice.ambient()).unwrap() else {
        panic!("a symmetric key");
    };
    let SecretValue::Symmetric(two) = generate(&symmetric, &authority, &dice.ambient()).unwrap() else {
        panic!("a symmetric key");
    };
    assert_eq!((one.len(), two.len()), (33, 33));
    assert!(one != two);
    let spec = certificate_spec(CertificateFamily::Ecdsa, Some(KeyKind::P256));
    assert!(
        generate(&spec, &authority, &dice.ambient()).unwrap()
            != generate(&spec, &authority, &dice.ambient()).unwrap()
    );
}

#[test]
fn what_is_uploaded_is_not_generated() {
    let dice = TestDice::default();
    let authority = authority(CryptoSuite::P256Aes128);
    let plain = SecretSpec {
        kind: SecretKind::Plain,
        size: 0,
        shared: false,
        user_defined: true,
        valid_for: 0,
    };
    let without_size = certificate_spec(CertificateFamily::Rsa, None);
    let mut user_defined = certificate_spec(CertificateFamily::Ecdsa, Some(KeyKind::P256));
    user_defined.user_defined = true;
    let plain_generated = SecretSpec {
        user_defined: false,
        ..plain.clone()
    };
    for spec in [plain, plain_generated, without_size, user_defined] {
        assert!(generate(&spec, &authority, &dice.ambient()).is_err());
    }
}

fn issue(template: &CertificateTemplate, days: u64, now: Timestamp) -> Vec<u8> {
    static AUTHORITY: std::sync::OnceLock<(Authority, PrivateKey)> = std::sync::OnceLock::new();
    let (authority, key) = AUTHORITY.get_or_init(|| {
        (
            authority(CryptoSuite::P256Aes128),
            TestDice::default().generate_key(KeyKind::P256).unwrap(),
        )
    });
    let dice = TestDice::default();
    let ambient = Ambient { now, dice: &dice };
    secret_certificate::issue(authority, template, days, key.public(), &ambient)
        .unwrap()
        .to_vec()
}

#[test]
fn dates_are_written_as_rfc_5280_wants_them() {
    let not_after = |text: &str| CertificateTemplate {
        not_after: Some(Timestamp::parse_rfc3339(text).unwrap()),
        ..ordinary()
    };
    // NotAfter, whether as GeneralizedTime.
    for (text, generalized) in [
        ("2049-12-31T23:59:59Z", false),
        ("2050-01-01T00:00:00Z", true),
        ("9999-12-31T23:59:59.999Z", true),
        ("2030-01-02T03:04:05+09:00", false),
    ] {
        let der = issue(&not_after(text), 9, NOW);
        let certificate = read(&der);
        let validity = certificate.validity();
        assert_eq!(
            validity.not_after.timestamp(),
            Timestamp::parse_rfc3339(text).unwrap().unix_seconds()
        );
        assert_eq!(validity.not_after.is_generalizedtime(), generalized, "{text}");
        assert!(validity.not_before.is_utctime());
    }
    // Long past: still a certificate, and still past.
    let der = issue(&not_after("1000-01-01T00:00:00Z"), 9, NOW);
    assert_eq!(read(&der).validity().not_after.timestamp(), 0);
    // More days than there are.
    for days in [u64::MAX, 10_000_000, i64::MAX as u64] {
        let der = issue(&ordinary(), days, NOW);
        assert_eq!(read(&der).validity().not_after.timestamp(), 253_402_300_799);
    }
}

#[test]
fn authorities_get_a_key_identifier_others_only_if_given() {
    let key_id = |template: &CertificateTemplate| {
        let der = issue(template, 1, NOW);
        read(&der)
            .extensions()
            .iter()
            .find_map(|ext| match ext.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
    };
    assert_eq!(key_id(&ordinary()), None);
    assert_eq!(
        key_id(&CertificateTemplate {
            is_ca: true,
            ..ordinary()
        })
        .unwrap()
        .len(),
        20
    );
    let given = CertificateTemplate {
        subject_key_id: Some(vec![1, 2, 3]),
        is_ca: true,
        ..ordinary()
    };
    assert_eq!(key_id(&given).unwrap(), [1, 2, 3]);
}

#[test]
fn name_constraints_without_names_are_left_out() {
    let template = CertificateTemplate {
        name_constraints: Some(NameConstraints {
            critical: true,
            ..NameConstraints::default()
        }),
        ..ordinary()
    };
    let der = issue(&template, 1, NOW);
    assert!(read(&der).name_constraints().unwrap().is_none());
}

#[test]
fn names_are_critical_only_without_a_subject() {
    let critical = |template: &CertificateTemplate| {
        let der = issue(template, 1, NOW);
        read(&der).subject_alternative_name().unwrap().unwrap().critical
    };
    assert!(!critical(&ordinary()));
    assert!(critical(&CertificateTemplate {
        subject: SubjectTemplate::default(),
        ..ordinary()
    }));
}

#[test]
fn text_that_x509_cannot_carry_is_an_error_and_no_panic() {
    let authority = authority(CryptoSuite::P256Aes128);
    let dice = TestDice::default();
    let key = dice.generate_key(KeyKind::P256).unwrap();
    let bad = || vec!["ü".to_owned()];
    for template in [
        CertificateTemplate {
            dns_names: bad(),
            ..ordinary()
        },
        CertificateTemplate {
            email_addresses: bad(),
            ..ordinary()
        },
        CertificateTemplate {
            uris: bad(),
            ..ordinary()
        },
        CertificateTemplate {
            ocsp_servers: bad(),
            ..ordinary()
        },
        CertificateTemplate {
            crl_distribution_points: bad(),
            ..ordinary()
        },
    ] {
        assert!(secret_certificate::issue(&authority, &template, 1, key.public(), &dice.ambient()).is_err());
    }
    assert!(secret_certificate::issue(&authority, &ordinary(), 1, b"no key", &dice.ambient()).is_err());
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9 '()+,./:=?-]{1,20}",
        "[a-zäöü*&@_ ]{1,20}",
        "\\PC{1,12}"
    ]
}

fn ascii() -> impl Strategy<Value = String> {
    "[a-z0-9.-]{1,30}"
}

fn url() -> impl Strategy<Value = String> {
    "http://[a-z0-9.]{1,20}/[a-z0-9?=&]{0,10}"
}

fn object_id() -> impl Strategy<Value = ObjectId> {
    (0_u32..=2, 0_u32..40, vec(0_u32..1_000_000, 1..6)).prop_map(|(first, second, rest)| {
        let rest: String = rest.iter().map(|arc| format!(".{arc}")).collect();
        oid(&format!("{first}.{second}{rest}"))
    })
}

prop_compose! {
    fn subject()(
        lists in vec(vec(text(), 0..3), 7),
        serial_number in option::of(text()),
        common_name in text(),
        extra_names in vec((object_id(), text()), 0..3),
    ) -> SubjectTemplate {
        let [country, organization, organizational_unit, locality, province, street_address, postal_code] =
            lists.try_into().unwrap();
        SubjectTemplate {
            country, organization, organizational_unit, locality, province, street_address, postal_code,
            serial_number: serial_number.unwrap_or_default(), common_name, extra_names,
        }
    }
}

prop_compose! {
    fn name_set()(
        dns_domains in vec(ascii(), 0..3),
        four in vec(vec(any::<u8>(), 8), 0..2),
        six in vec(vec(any::<u8>(), 32), 0..2),
        email_addresses in vec(ascii(), 0..2),
        uri_domains in vec(ascii(), 0..2),
    ) -> NameSet {
        NameSet { dns_domains, ip_ranges: [four, six].concat(), email_addresses, uri_domains }
    }
}

fn name_constraints() -> impl Strategy<Value = Option<NameConstraints>> {
    option::of((any::<bool>(), name_set(), name_set())).prop_map(|constraints| {
        let (critical, permitted, excluded) = constraints?;
        let empty = permitted == NameSet::default() && excluded == NameSet::default();
        (!empty).then_some(NameConstraints {
            critical,
            permitted,
            excluded,
        })
    })
}

prop_compose! {
    fn template()(
        subject in subject(),
        not_after in option::of(0_i64..=253_402_300_799),
        key_usage in 1_u16..512,
        extended_key_usage in vec(object_id(), 0..4),
        ca in option::of(option::of(any::<u8>())),
        subject_key_id in option::of(vec(any::<u8>(), 1..40)),
        names in (vec(ascii(), 0..4), vec(ascii(), 0..3), vec(any::<IpAddr>(), 0..4), vec(url(), 0..3)),
        access in (vec(url(), 0..3), vec(url(), 0..3), vec(url(), 0..3)),
        policies in vec(object_id(), 0..4),
        name_constraints in name_constraints(),
    ) -> CertificateTemplate {
        CertificateTemplate {
            subject,
            not_after: not_after.map(Timestamp::from_unix_seconds),
            key_usage,
            extended_key_usage,
            is_ca: ca.is_some(),
            max_path_length: ca.flatten(),
            subject_key_id,
            dns_names: names.0,
            email_addresses: names.1,
            ip_addresses: names.2,
            uris: names.3,
            ocsp_servers: access.0,
            issuing_certificate_urls: access.1,
            crl_distribution_points: access.2,
            policies,
            name_constraints,
        }
    }
}

/// A general name in a form to compare: kind and value.
fn general(name: &GeneralName<'_>) -> (char, Vec<u8>) {
    match name {
        GeneralName::DNSName(name) => ('d', name.as_bytes().to_vec()),
        GeneralName::RFC822Name(name) => ('e', name.as_bytes().to_vec()),
        GeneralName::IPAddress(octets) => ('i', octets.to_vec()),
        GeneralName::URI(uri) => ('u', uri.as_bytes().to_vec()),
        other => panic!("unexpected {other:?}"),
    }
}

fn tagged(kind: char, texts: &[String]) -> impl Iterator<Item = (char, Vec<u8>)> {
    texts.iter().map(move |text| (kind, text.as_bytes().to_vec()))
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn constrained(names: &NameSet) -> Vec<(char, Vec<u8>)> {
    tagged('d', &names.dns_domains)
        .chain(names.ip_ranges.iter().map(|range| ('i', range.clone())))
        .chain(tagged('e', &names.email_addresses))
        .chain(tagged('u', &names.uri_domains))
        .collect()
}

/// The extensions the template asks for, in order, with criticality.
fn expected_extensions(template: &CertificateTemplate) -> Vec<(&'static str, bool)> {
    let names = !template.dns_names.is_empty()
        || !template.email_addresses.is_empty()
        || !template.ip_addresses.is_empty()
        || !template.uris.is_empty();
    let access = !template.ocsp_servers.is_empty() || !template.issuing_certificate_urls.is_empty();
    let constraints = template.name_constraints.as_ref();
    [
        (true, "2.5.29.15", true),
        (!template.extended_key_usage.is_empty(), "2.5.29.37", false),
        (true, "2.5.29.19", true),
        (
            template.is_ca || template.subject_key_id.is_some(),
            "2.5.29.14",
            false,
        ),
        (true, "2.5.29.35", false),
        (access, "1.3.6.1.5.5.7.1.1", false),
        (names, "2.5.29.17", false),
        (!template.policies.is_empty(), "2.5.29.32", false),
        (
            constraints.is_some(),
            "2.5.29.30",
            constraints.is_some_and(|constraints| constraints.critical),
        ),
        (!template.crl_distribution_points.is_empty(), "2.5.29.31", false),
    ]
    .into_iter()
    .filter_map(|(present, oid, critical)| present.then_some((oid, critical)))
    .collect()
}

/// Attribute types and values as an independent reader sees them; of one RDN sorted, as a SET has no order.
fn read_subject(certificate: &X509Certificate<'_>) -> Vec<Vec<(String, String)>> {
    let rdns = certificate.subject().iter_rdn();
    rdns.map(|rdn| {
        let mut values: Vec<_> = rdn
            .iter()
            .map(|attribute| {
                (
                    attribute.attr_type().to_id_string(),
                    attribute.as_str().unwrap().to_owned(),
                )
            })
            .collect();
        values.sort();
        values
    })
    .collect()
}

fn expected_subject(subject: &SubjectTemplate) -> Vec<Vec<(String, String)>> {
    let one = |value: &String| {
        if value.is_empty() {
            Vec::new()
        } else {
            vec![value.clone()]
        }
    };
    let fields = [
        ("2.5.4.6", subject.country.clone()),
        ("2.5.4.10", subject.organization.clone()),
        ("2.5.4.11", subject.organizational_unit.clone()),
        ("2.5.4.7", subject.locality.clone()),
        ("2.5.4.8", subject.province.clone()),
        ("2.5.4.9", subject.street_address.clone()),
        ("2.5.4.17", subject.postal_code.clone()),
        ("2.5.4.3", one(&subject.common_name)),
        ("2.5.4.5", one(&subject.serial_number)),
    ];
    let extra = |oid: &str| {
        subject
            .extra_names
            .iter()
            .any(|(extra, _)| extra.get().to_string() == oid)
    };
    let mut rdns: Vec<Vec<(String, String)>> = fields
        .into_iter()
        .filter(|(oid, values)| !values.is_empty() && !extra(oid))
        .map(|(oid, values)| {
            let mut values: Vec<_> = values.into_iter().map(|value| (oid.to_owned(), value)).collect();
            values.sort();
            values.dedup();
            values
        })
        .collect();
    let extra_names = subject.extra_names.iter();
    rdns.extend(extra_names.map(|(oid, value)| vec![(oid.get().to_string(), value.clone())]));
    rdns
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_template_is_read_back_as_it_was_meant(template in template(), days in 1_u64..40_000) {
        let der = issue(&template, days, NOW);
        let certificate = read(&der);

        prop_assert_eq!(read_subject(&certificate), expected_subject(&template.subject));
        let end = template.not_after.unwrap_or_else(|| NOW.plus_seconds(i64::try_from(days).unwrap() * 86_400));
        prop_assert_eq!(certificate.validity().not_after.timestamp(), end.unix_seconds());
        let extensions: Vec<(String, bool)> =
            certificate.extensions().iter().map(|ext| (ext.oid.to_id_string(), ext.critical)).collect();
        let expected = expected_extensions(&template);
        let expected: Vec<(String, bool)> = expected.iter().map(|(oid, critical)| ((*oid).to_owned(), *critical)).collect();
        prop_assert_eq!(extensions, expected);

        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::KeyUsage(usage) => prop_assert_eq!(usage.flags, template.key_usage),
                ParsedExtension::ExtendedKeyUsage(_) => {
                    // The reader sorts known usages into flags: compare the encoded list.
                    let usages: Vec<ObjectIdentifier> = der::Decode::from_der(extension.value).unwrap();
                    let expected: Vec<_> = template.extended_key_usage.iter().map(ObjectId::get).collect();
                    prop_assert_eq!(usages, expected);
                }
                ParsedExtension::BasicConstraints(constraints) => {
                    prop_assert_eq!(constraints.ca, template.is_ca);
                    prop_assert_eq!(constraints.path_len_constraint, template.max_path_length.map(u32::from));
                }
                ParsedExtension::SubjectKeyIdentifier(id) => match &template.subject_key_id {
                    Some(given) => prop_assert_eq!(id.0, given.as_slice()),
                    None => prop_assert_eq!(id.0.len(), 20),
                },
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    prop_assert_eq!(id.key_identifier.as_ref().unwrap().0.len(), 20);
                    prop_assert!(id.authority_cert_issuer.is_none() && id.authority_cert_serial.is_none());
                }
                ParsedExtension::AuthorityInfoAccess(access) => {
                    let read: Vec<_> = access
                        .accessdescs
                        .iter()
                        .map(|access| (access.access_method.to_id_string(), general(&access.access_location)))
                        .collect();
                    let ocsp = tagged('u', &template.ocsp_servers).map(|url| ("1.3.6.1.5.5.7.48.1".to_owned(), url));
                    let issuers =
                        tagged('u', &template.issuing_certificate_urls).map(|url| ("1.3.6.1.5.5.7.48.2".to_owned(), url));
                    prop_assert_eq!(read, ocsp.chain(issuers).collect::<Vec<_>>());
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    let read: Vec<_> = names.general_names.iter().map(general).collect();
                    let expected: Vec<_> = tagged('d', &template.dns_names)
                        .chain(tagged('e', &template.email_addresses))
                        .chain(template.ip_addresses.iter().map(|address| ('i', octets(address))))
                        .chain(tagged('u', &template.uris))
                        .collect();
                    prop_assert_eq!(read, expected);
                }
                ParsedExtension::CertificatePolicies(policies) => {
                    let read: Vec<_> = policies.iter().map(|policy| policy.policy_id.to_id_string()).collect();
                    let expected: Vec<_> = template.policies.iter().map(|policy| policy.get().to_string()).collect();
                    prop_assert_eq!(read, expected);
                }
                // The reader takes no IP ranges here: compare with our own types' reader.
                ParsedExtension::NameConstraints(_) | ParsedExtension::ParseError { .. } => {
                    use x509_cert::ext::pkix::NameConstraints as Read;
                    let read: Read = der::Decode::from_der(extension.value).unwrap();
                    let given = template.name_constraints.as_ref().unwrap();
                    for (subtrees, names) in
                        [(read.permitted_subtrees, &given.permitted), (read.excluded_subtrees, &given.excluded)]
                    {
                        let subtrees: Vec<_> =
                            subtrees.unwrap_or_default().iter().map(|subtree| constraint(&subtree.base)).collect();
                        prop_assert_eq!(subtrees, constrained(names));
                    }
                }
                ParsedExtension::CRLDistributionPoints(points) => {
                    let mut read = Vec::new();
                    for point in points.iter() {
                        let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                            panic!("a full name");
                        };
                        prop_assert_eq!(names.len(), 1);
                        read.push(general(&names[0]));
                    }
                    prop_assert_eq!(read, tagged('u', &template.crl_distribution_points).collect::<Vec<_>>());
                }
                other => prop_assert!(false, "unexpected {:?}", other),
            }
        }
    }
}

fn constraint(name: &x509_cert::ext::pkix::name::GeneralName) -> (char, Vec<u8>) {
    use x509_cert::ext::pkix::name::GeneralName as Name;
    match name {
        Name::DnsName(name) => ('d', name.as_bytes().to_vec()),
        Name::Rfc822Name(name) => ('e', name.as_bytes().to_vec()),
        Name::IpAddress(range) => ('i', range.as_bytes().to_vec()),
        Name::UniformResourceIdentifier(uri) => ('u', uri.as_bytes().to_vec()),
        other => panic!("unexpected {other:?}"),
    }
}
