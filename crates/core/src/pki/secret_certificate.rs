//! Certificates of certificate secrets (`spec/02`, "Certificate secrets").

use std::sync::Arc;

use const_oid::ObjectIdentifier;

use super::authority::Authority;
use super::certificate::{Draft, Parsed, key_identifier, random_serial};
use super::extensions::{AlternativeNames, Profile};
use super::name;
use crate::ambient::{Ambient, CryptoFault};
use crate::secret::spec::{CertificateTemplate, ObjectId};

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// Issues the certificate a template describes, for a PKIX public key, under the Marble root.
///
/// Valid from now until the template's NotAfter or, without one, for `valid_for_days`; never beyond the year
/// 9999. The subject key identifier is the template's, else for a CA that of the key, else absent.
///
/// # Errors
/// [`CryptoFault`] if the provider fails, or if the template holds what its check should have refused (text
/// outside ASCII where X.509 wants ASCII).
pub fn issue(
    authority: &Authority,
    template: &CertificateTemplate,
    valid_for_days: u64,
    public_key_pkix: &[u8],
    ambient: &Ambient<'_>,
) -> Result<Arc<[u8]>, CryptoFault> {
    let issuer = Parsed::read_own(&authority.marble_root)?;
    let issuer_name = issuer.subject()?;
    let subject = name::encode(&template.subject)?;
    let own_key_id = key_identifier(public_key_pkix)?;
    let subject_key_id = match &template.subject_key_id {
        Some(given) => Some(given.as_slice()),
        None => template.is_ca.then_some(own_key_id.as_slice()),
    };
    let usages: Vec<ObjectIdentifier> = template.extended_key_usage.iter().map(ObjectId::get).collect();
    let names = AlternativeNames {
        dns: template.dns_names.iter().map(String::as_str).collect(),
        email_addresses: &template.email_addresses,
        ip_addresses: template.ip_addresses.clone(),
        uris: &template.uris,
    };
    let extensions = Profile {
        key_usage: template.key_usage,
        extended_key_usage: &usages,
        is_ca: template.is_ca,
        max_path_length: template.max_path_length,
        subject_key_id,
        authority_key_id: Some(&issuer.subject_key_id()?),
        ocsp_servers: &template.ocsp_servers,
        issuing_certificate_urls: &template.issuing_certificate_urls,
        names,
        // An empty name is an empty SEQUENCE: tag and a length of zero.
        subject_is_empty: subject.len() == 2,
        policies: &template.policies,
        name_constraints: template.name_constraints.as_ref(),
        crl_distribution_points: &template.crl_distribution_points,
        extra: None,
    }
    .encode()?;
    let seconds = i64::try_from(valid_for_days)
        .unwrap_or(i64::MAX)
        .saturating_mul(SECONDS_PER_DAY);
    Draft {
        serial: random_serial(ambient),
        issuer: &issuer_name,
        subject: &subject,
        public_key: public_key_pkix,
        not_before: ambient.now,
        not_after: template
            .not_after
            .unwrap_or_else(|| ambient.now.plus_seconds(seconds)),
        extensions,
    }
    .sign(authority.suite, &authority.intermediate_key, ambient)
    .map(Arc::from)
}
