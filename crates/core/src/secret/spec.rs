//! What the manifest says about a secret (`spec/02`, "Definition").

use std::net::IpAddr;

use crate::ambient::Timestamp;
use crate::pki::key::KeyKind;

/// A checked secret definition. A definition is not a value: see [`super::value::SecretValue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSpec {
    /// The type, with what only that type has.
    pub kind: SecretKind,
    /// `Size` as written, in bits; 0 when absent.
    pub size: u64,
    /// One value for all marbles instead of one for each activation.
    pub shared: bool,
    /// Uploaded by a user, never generated.
    pub user_defined: bool,
    /// Validity in days as replies show it: 365 for generated certificates that give neither `ValidFor` nor
    /// `Cert.NotAfter`, otherwise as written, 0 when absent.
    pub valid_for: u64,
}

/// The type of a secret, with what only that type has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// `symmetric-key`; the length of the key in bytes.
    Symmetric {
        /// Bytes, 1 to 8160.
        length: usize,
    },
    /// `cert-rsa`, `cert-ecdsa` or `cert-ed25519`.
    Certificate {
        /// Which of the three names the manifest used.
        family: CertificateFamily,
        /// The key to generate; `None` for user-defined certificates, whose size is not looked at.
        key: Option<KeyKind>,
        /// The certificate to issue around the key.
        template: Box<CertificateTemplate>,
    },
    /// `plain`: only ever uploaded.
    Plain,
}

/// The certificate types of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFamily {
    /// `cert-rsa`
    Rsa,
    /// `cert-ecdsa`
    Ecdsa,
    /// `cert-ed25519`
    Ed25519,
}

impl SecretSpec {
    /// The `Type` as the manifest and the API write it.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            SecretKind::Symmetric { .. } => "symmetric-key",
            SecretKind::Plain => "plain",
            SecretKind::Certificate {
                family: CertificateFamily::Rsa,
                ..
            } => "cert-rsa",
            SecretKind::Certificate {
                family: CertificateFamily::Ecdsa,
                ..
            } => "cert-ecdsa",
            SecretKind::Certificate {
                family: CertificateFamily::Ed25519,
                ..
            } => "cert-ed25519",
        }
    }

    /// The length in bytes of a symmetric key; `None` for other types.
    pub fn symmetric_length(&self) -> Option<usize> {
        match self.kind {
            SecretKind::Symmetric { length } => Some(length),
            SecretKind::Certificate { .. } | SecretKind::Plain => None,
        }
    }

    /// Generated anew (or derived) for each activation: neither shared nor uploaded.
    pub fn is_private(&self) -> bool {
        !self.shared && !self.user_defined
    }
}

/// `Cert` of a secret definition, defaults applied (`spec/02`, "Certificate secrets").
///
/// Issuer, serial number, NotBefore, authority key identifier and the basic constraints flag are the
/// Coordinator's and have no place here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateTemplate {
    /// `Subject`; `CommonName` has its default when none is given.
    pub subject: SubjectTemplate,
    /// `NotAfter`; `None`: the validity of the secret in days, from now.
    pub not_after: Option<Timestamp>,
    /// `KeyUsage`: bit 0 is digitalSignature, bit 8 decipherOnly.
    pub key_usage: u16,
    /// Extended key usages in the order given, known ones first, then `UnknownExtKeyUsage`: dotted OIDs.
    pub extended_key_usage: Vec<ObjectId>,
    /// `IsCA`
    pub is_ca: bool,
    /// `MaxPathLen`, where it counts.
    pub max_path_length: Option<u8>,
    /// `SubjectKeyId`; a CA certificate without one gets one from its key.
    pub subject_key_id: Option<Vec<u8>>,
    /// `DNSNames`
    pub dns_names: Vec<String>,
    /// `EmailAddresses`
    pub email_addresses: Vec<String>,
    /// `IPAddresses`
    pub ip_addresses: Vec<IpAddr>,
    /// `URIs`, put together from their parts.
    pub uris: Vec<String>,
    /// `OCSPServer`: URLs.
    pub ocsp_servers: Vec<String>,
    /// `IssuingCertificateURL`
    pub issuing_certificate_urls: Vec<String>,
    /// `CRLDistributionPoints`: URLs.
    pub crl_distribution_points: Vec<String>,
    /// `PolicyIdentifiers` (or `Policies`).
    pub policies: Vec<ObjectId>,
    /// The name constraints, if any are given.
    pub name_constraints: Option<NameConstraints>,
}

/// An object identifier: at least two arcs, checked so that it can be encoded in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectId(const_oid::ObjectIdentifier);

impl ObjectId {
    /// From a checked identifier.
    pub const fn new(oid: const_oid::ObjectIdentifier) -> Self {
        Self(oid)
    }

    /// The identifier.
    pub const fn get(&self) -> const_oid::ObjectIdentifier {
        self.0
    }
}

/// `Cert.Subject`; each list in the order given, encoded as one RDN per attribute type as Go does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectTemplate {
    /// `Country`
    pub country: Vec<String>,
    /// `Organization`
    pub organization: Vec<String>,
    /// `OrganizationalUnit`
    pub organizational_unit: Vec<String>,
    /// `Locality`
    pub locality: Vec<String>,
    /// `Province`
    pub province: Vec<String>,
    /// `StreetAddress`
    pub street_address: Vec<String>,
    /// `PostalCode`
    pub postal_code: Vec<String>,
    /// `SerialNumber`, empty when absent.
    pub serial_number: String,
    /// `CommonName`, never empty after defaults are applied.
    pub common_name: String,
    /// `ExtraNames`: attribute type and value, in order.
    pub extra_names: Vec<(ObjectId, String)>,
}

/// Name constraints (RFC 5280 section 4.2.1.10).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameConstraints {
    /// `PermittedDNSDomainsCritical`: marks the whole extension critical.
    pub critical: bool,
    /// `Permitted…`
    pub permitted: NameSet,
    /// `Excluded…`
    pub excluded: NameSet,
}

/// Names of one side of a name constraint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameSet {
    /// `…DNSDomains`
    pub dns_domains: Vec<String>,
    /// `…IPRanges`: network address and mask octets, 8 bytes for IPv4 and 32 for IPv6.
    pub ip_ranges: Vec<Vec<u8>>,
    /// `…EmailAddresses`
    pub email_addresses: Vec<String>,
    /// `…URIDomains`
    pub uri_domains: Vec<String>,
}
