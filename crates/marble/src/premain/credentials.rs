//! The key a marble asks to be activated with, and what is made of it. All of it serves one activation: the marble's
//! own key and certificate come from the Coordinator.

use marblerun_attestation::ReportBinding;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use super::settings::Names;

/// Key, certificate and CSR.
pub(super) struct Credentials {
    certificate: CertificateDer<'static>,
    certificate_signing_request: Vec<u8>,
    private_key: Zeroizing<Vec<u8>>,
}

/// They cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {what}: {source}")]
pub struct CredentialsError {
    what: &'static str,
    source: rcgen::Error,
}

impl Credentials {
    /// A fresh P-256 key; a certificate it signs itself; a CSR with `names`.
    pub(super) fn new(names: &Names) -> Result<Self, CredentialsError> {
        let failed = |what| move |source| CredentialsError { what, source };
        let key = WipedKey(KeyPair::generate().map_err(failed("a key"))?);

        let mut certificate = CertificateParams::default();
        certificate.distinguished_name = DistinguishedName::new();
        certificate
            .distinguished_name
            .push(DnType::CommonName, "MarbleRun Marble");
        certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // Valid at any time: the clock inside a TEE is the host's, and what the certificate is trusted for is said
        // by the quote alone.
        certificate.not_before = rcgen::date_time_ymd(1975, 1, 1);
        certificate.not_after = rcgen::date_time_ymd(4096, 1, 1);
        let certificate = certificate.self_signed(&key.0).map_err(failed("a certificate"))?;

        let mut request = CertificateParams::default();
        request.distinguished_name = DistinguishedName::new();
        let dns_names = names
            .dns
            .iter()
            .map(|name| name.as_str().try_into().map(SanType::DnsName));
        request.subject_alt_names = dns_names
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed("a certificate signing request"))?;
        request
            .subject_alt_names
            .extend(names.addresses.iter().copied().map(SanType::IpAddress));
        let request = request
            .serialize_request(&key.0)
            .map_err(failed("a certificate signing request"))?;

        Ok(Self {
            certificate: certificate.der().clone(),
            certificate_signing_request: request.der().to_vec(),
            private_key: Zeroizing::new(key.0.serialize_der()),
        })
    }

    /// What the quote is bound to.
    pub(super) fn binding(&self) -> ReportBinding {
        ReportBinding::certificate(&self.certificate)
    }

    /// PKCS#10, DER.
    pub(super) fn certificate_signing_request(&self) -> &[u8] {
        &self.certificate_signing_request
    }

    /// For the TLS client certificate. rustls wipes the key it is given once it is loaded.
    pub(super) fn into_certificate_and_key(self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = PrivatePkcs8KeyDer::from(self.private_key.to_vec());
        (self.certificate, PrivateKeyDer::Pkcs8(key))
    }
}

/// The certificate library keeps an encoded copy of the key.
struct WipedKey(KeyPair);

impl Drop for WipedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::FromDer;

    use super::*;

    fn credentials() -> Credentials {
        Credentials::new(&Names {
            dns: vec!["a.example".into(), "b.example".into()],
            addresses: vec![
                "127.0.0.1".parse().unwrap(),
                "::1".parse().unwrap(),
                "10.1.2.3".parse().unwrap(),
            ],
        })
        .unwrap()
    }

    #[test]
    fn the_certificate_is_its_own_issuer_and_the_request_has_the_same_key() {
        let credentials = credentials();
        let (_, certificate) = x509_parser::parse_x509_certificate(&credentials.certificate).unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=MarbleRun Marble");
        assert_eq!(certificate.issuer(), certificate.subject());
        let key = &certificate.public_key().subject_public_key.data;
        let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
        verifier
            .verify(
                certificate.tbs_certificate.as_ref(),
                &certificate.signature_value.data,
            )
            .unwrap();

        let (_, request) =
            X509CertificationRequest::from_der(credentials.certificate_signing_request()).unwrap();
        assert_eq!(
            &request
                .certification_request_info
                .subject_pki
                .subject_public_key
                .data,
            key
        );
        verifier
            .verify(
                request.certification_request_info.raw,
                &request.signature_value.data,
            )
            .unwrap();
    }

    #[test]
    fn the_request_has_an_empty_subject_and_all_names() {
        let credentials = credentials();
        let (_, request) =
            X509CertificationRequest::from_der(credentials.certificate_signing_request()).unwrap();
        assert_eq!(request.certification_request_info.subject.iter().count(), 0);
        let names: Vec<String> = request
            .requested_extensions()
            .unwrap()
            .filter_map(|extension| match extension {
                ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
                _ => None,
            })
            .flatten()
            .map(|name| match name {
                GeneralName::DNSName(name) => (*name).to_owned(),
                GeneralName::IPAddress(bytes) => format!("{bytes:?}"),
                other => format!("{other}"),
            })
            .collect();
        assert_eq!(
            names,
            [
                "a.example",
                "b.example",
                "[127, 0, 0, 1]",
                "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]",
                "[10, 1, 2, 3]"
            ]
        );
    }

    #[test]
    fn no_two_activations_share_a_key() {
        assert_ne!(*credentials().private_key, *credentials().private_key);
    }

    #[test]
    fn a_name_that_does_not_fit_a_certificate_is_refused() {
        let names = Names {
            dns: vec!["ü".into()],
            addresses: Vec::new(),
        };
        let refused = Credentials::new(&names).err().unwrap().to_string();
        assert!(
            refused.starts_with("cannot make a certificate signing request: "),
            "{refused}"
        );
    }
}
