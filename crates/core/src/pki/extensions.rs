//! What certificates say beyond name, key and dates, in the order and with the criticality of Go's
//! `crypto/x509`: existing clients were built against such certificates.

use std::net::IpAddr;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_AD_CA_ISSUERS, ID_AD_OCSP, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS,
    ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE,
    ID_CE_NAME_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_PE_AUTHORITY_INFO_ACCESS,
};
use der::asn1::{Ia5String, OctetString};
use der::flagset::FlagSet;
use der::{Decode as _, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::constraints::name::{GeneralSubtree, NameConstraints as NameConstraintsExtension};
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityKeyIdentifier, BasicConstraints, KeyUsages, SubjectAltName,
};

use super::host_name::HostName;
use crate::ambient::CryptoFault;
use crate::secret::spec::{NameConstraints, NameSet, ObjectId};

/// `id-kp-serverAuth` (RFC 5280 section 4.2.1.12).
pub(super) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// `id-kp-clientAuth` (RFC 5280 section 4.2.1.12).
pub(super) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// KeyUsage bits, numbered as in a template: bit 0 is digitalSignature.
pub(super) mod key_usage {
    pub(in crate::pki) const DIGITAL_SIGNATURE: u16 = 1;
    pub(in crate::pki) const KEY_AGREEMENT: u16 = 16;
    pub(in crate::pki) const CERT_SIGN: u16 = 32;
}

/// All extensions a certificate of ours can have; what is empty or `None` is left out. BasicConstraints is
/// always there.
#[derive(Default)]
pub(super) struct Profile<'a> {
    pub key_usage: u16,
    pub extended_key_usage: &'a [ObjectIdentifier],
    pub is_ca: bool,
    pub max_path_length: Option<u8>,
    pub subject_key_id: Option<&'a [u8]>,
    pub authority_key_id: Option<&'a [u8]>,
    pub ocsp_servers: &'a [String],
    pub issuing_certificate_urls: &'a [String],
    pub names: AlternativeNames<'a>,
    /// An empty subject makes the alternative names critical (RFC 5280 section 4.2.1.6).
    pub subject_is_empty: bool,
    pub policies: &'a [ObjectId],
    pub name_constraints: Option<&'a NameConstraints>,
    pub crl_distribution_points: &'a [String],
    /// An extension of ours with its value as it is, not critical.
    pub extra: Option<(ObjectIdentifier, &'a [u8])>,
}

/// Subject alternative names, written in this order.
#[derive(Default)]
pub(super) struct AlternativeNames<'a> {
    pub dns: Vec<&'a str>,
    pub email_addresses: &'a [String],
    pub ip_addresses: Vec<IpAddr>,
    pub uris: &'a [String],
}

impl<'a> AlternativeNames<'a> {
    pub(super) fn of_hosts(hosts: &'a [HostName]) -> Self {
        let mut names = Self::default();
        for host in hosts {
            match host {
                HostName::Dns(name) => names.dns.push(name),
                HostName::Ip(address) => names.ip_addresses.push(*address),
            }
        }
        names
    }

    fn encode(&self) -> der::Result<Vec<GeneralName>> {
        let dns = self.dns.iter().map(|name| ia5(name).map(GeneralName::DnsName));
        let email = self
            .email_addresses
            .iter()
            .map(|name| ia5(name).map(GeneralName::Rfc822Name));
        let ip = self
            .ip_addresses
            .iter()
            .map(|address| Ok(GeneralName::from(*address)));
        let uris = self.uris.iter().map(|uri| uri_name(uri));
        dns.chain(email).chain(ip).chain(uris).collect()
    }
}

impl Profile<'_> {
    /// The extensions, encoded and in order.
    pub(super) fn encode(&self) -> Result<Vec<Extension>, CryptoFault> {
        let mut list = List(Vec::with_capacity(8));
        if self.key_usage != 0 {
            let bits = FlagSet::<KeyUsages>::new_truncated(self.key_usage);
            list.push("key usage", ID_CE_KEY_USAGE, true, || Ok(bits))?;
        }
        if !self.extended_key_usage.is_empty() {
            list.push("extended key usage", ID_CE_EXT_KEY_USAGE, false, || {
                Ok(self.extended_key_usage.to_vec())
            })?;
        }
        list.push("basic constraints", ID_CE_BASIC_CONSTRAINTS, true, || {
            Ok(BasicConstraints {
                ca: self.is_ca,
                path_len_constraint: self.max_path_length,
            })
        })?;
        if let Some(id) = self.subject_key_id {
            list.push(
                "subject key identifier",
                ID_CE_SUBJECT_KEY_IDENTIFIER,
                false,
                || OctetString::new(id),
            )?;
        }
        if let Some(id) = self.authority_key_id {
            list.push(
                "authority key identifier",
                ID_CE_AUTHORITY_KEY_IDENTIFIER,
                false,
                || {
                    let key_identifier = Some(OctetString::new(id)?);
                    Ok(AuthorityKeyIdentifier {
                        key_identifier,
                        ..AuthorityKeyIdentifier::default()
                    })
                },
            )?;
        }
        if !self.ocsp_servers.is_empty() || !self.issuing_certificate_urls.is_empty() {
            list.push(
                "authority information access",
                ID_PE_AUTHORITY_INFO_ACCESS,
                false,
                || self.information_access(),
            )?;
        }
        let names = self
            .names
            .encode()
            .map_err(|_| fault("subject alternative names"))?;
        if !names.is_empty() {
            let critical = self.subject_is_empty;
            list.push(
                "subject alternative names",
                ID_CE_SUBJECT_ALT_NAME,
                critical,
                || Ok(names),
            )?;
        }
        if !self.policies.is_empty() {
            list.push("certificate policies", ID_CE_CERTIFICATE_POLICIES, false, || {
                Ok(self.policies.iter().map(policy).collect::<Vec<_>>())
            })?;
        }
        // Constraints without names are none: an empty extension is not allowed (RFC 5280 section 4.2.1.10).
        let has_names = |given: &&NameConstraints| {
            given.permitted != NameSet::default() || given.excluded != NameSet::default()
        };
        if let Some(constraints) = self.name_constraints.filter(has_names) {
            list.push(
                "name constraints",
                ID_CE_NAME_CONSTRAINTS,
                constraints.critical,
                || {
                    Ok(NameConstraintsExtension {
                        permitted_subtrees: subtrees(&constraints.permitted)?,
                        excluded_subtrees: subtrees(&constraints.excluded)?,
                    })
                },
            )?;
        }
        if !self.crl_distribution_points.is_empty() {
            list.push(
                "CRL distribution points",
                ID_CE_CRL_DISTRIBUTION_POINTS,
                false,
                || {
                    self.crl_distribution_points
                        .iter()
                        .map(|url| distribution_point(url))
                        .collect::<Result<Vec<_>, _>>()
                },
            )?;
        }
        if let Some((oid, value)) = self.extra {
            let extn_value = OctetString::new(value).map_err(|_| fault("extra extension"))?;
            list.0.push(Extension {
                extn_id: oid,
                critical: false,
                extn_value,
            });
        }
        Ok(list.0)
    }

    fn information_access(&self) -> der::Result<Vec<AccessDescription>> {
        let ocsp = self.ocsp_servers.iter().map(|url| (ID_AD_OCSP, url));
        let issuers = self
            .issuing_certificate_urls
            .iter()
            .map(|url| (ID_AD_CA_ISSUERS, url));
        ocsp.chain(issuers)
            .map(|(access_method, url)| {
                Ok(AccessDescription {
                    access_method,
                    access_location: uri_name(url)?,
                })
            })
            .collect()
    }
}

/// The host names among a certificate's or request's alternative names; names of other kinds are passed over.
pub(super) fn host_names(value: &[u8], limit: usize) -> Result<Vec<HostName>, AlternativeNameError> {
    let names = SubjectAltName::from_der(value).map_err(|_| AlternativeNameError::Malformed)?;
    if names.0.len() > limit {
        return Err(AlternativeNameError::TooMany { limit });
    }
    let mut hosts = Vec::with_capacity(names.0.len());
    for name in &names.0 {
        match name {
            GeneralName::DnsName(name) => {
                hosts.push(HostName::dns(name.as_str()).map_err(AlternativeNameError::DnsName)?);
            }
            GeneralName::IpAddress(address) => hosts.push(HostName::Ip(ip_address(address.as_bytes())?)),
            _ => {}
        }
    }
    Ok(hosts)
}

/// Why subject alternative names cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlternativeNameError {
    /// Not the DER of RFC 5280 section 4.2.1.6.
    #[error("they are not well-formed")]
    Malformed,
    /// More names than anyone needs.
    #[error("there are more than {limit}")]
    TooMany {
        /// How many are possible.
        limit: usize,
    },
    /// A DNS name that is none.
    #[error(transparent)]
    DnsName(super::host_name::HostNameError),
    /// An IP address of neither 4 nor 16 bytes.
    #[error("an IP address has {length} bytes, expected 4 or 16")]
    IpAddress {
        /// Its length in bytes.
        length: usize,
    },
}

fn ip_address(octets: &[u8]) -> Result<IpAddr, AlternativeNameError> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Ok(IpAddr::from(octets));
    }
    let length = octets.len();
    <[u8; 16]>::try_from(octets)
        .map(IpAddr::from)
        .map_err(|_| AlternativeNameError::IpAddress { length })
}

struct List(Vec<Extension>);

impl List {
    fn push<T: Encode>(
        &mut self,
        what: &'static str,
        oid: ObjectIdentifier,
        critical: bool,
        value: impl FnOnce() -> der::Result<T>,
    ) -> Result<(), CryptoFault> {
        let encoded = value().and_then(|value| OctetString::new(value.to_der()?));
        let extn_value = encoded.map_err(|_| fault(what))?;
        self.0.push(Extension {
            extn_id: oid,
            critical,
            extn_value,
        });
        Ok(())
    }
}

fn fault(what: &'static str) -> CryptoFault {
    CryptoFault::in_operation(what)
}

fn policy(policy: &ObjectId) -> PolicyInformation {
    PolicyInformation {
        policy_identifier: policy.get(),
        policy_qualifiers: None,
    }
}

fn distribution_point(url: &str) -> der::Result<DistributionPoint> {
    let distribution_point = Some(DistributionPointName::FullName(vec![uri_name(url)?]));
    Ok(DistributionPoint {
        distribution_point,
        reasons: None,
        crl_issuer: None,
    })
}

/// `None` when there are no names on this side.
fn subtrees(names: &NameSet) -> der::Result<Option<Vec<GeneralSubtree>>> {
    let dns = names
        .dns_domains
        .iter()
        .map(|name| ia5(name).map(GeneralName::DnsName));
    let ip = names
        .ip_ranges
        .iter()
        .map(|range| OctetString::new(range.as_slice()).map(GeneralName::IpAddress));
    let email = names
        .email_addresses
        .iter()
        .map(|name| ia5(name).map(GeneralName::Rfc822Name));
    let uris = names.uri_domains.iter().map(|name| uri_name(name));
    let subtrees: Vec<GeneralSubtree> = dns
        .chain(ip)
        .chain(email)
        .chain(uris)
        .map(|base| {
            Ok(GeneralSubtree {
                base: base?,
                minimum: 0,
                maximum: None,
            })
        })
        .collect::<der::Result<_>>()?;
    Ok(Some(subtrees).filter(|subtrees| !subtrees.is_empty()))
}

fn uri_name(uri: &str) -> der::Result<GeneralName> {
    ia5(uri).map(GeneralName::UniformResourceIdentifier)
}

fn ia5(text: &str) -> der::Result<Ia5String> {
    Ia5String::new(text)
}
