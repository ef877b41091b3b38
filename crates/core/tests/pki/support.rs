//! What several of these tests need: fixtures, requests of any shape, verification with webpki.

use std::time::Duration;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME};
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SHA_256_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{Any, BitString, Ia5String, SetOfVec};
use der::{Decode, Encode, Sequence, Tag};
use marblerun_core::ambient::{Dice, Timestamp};
use marblerun_core::pki::authority::{self, Authority};
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash, Signer};
use marblerun_core::pki::{CryptoSuite, HostName};
use marblerun_core::testing::TestDice;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::attr::{Attribute, AttributeTypeAndValue};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::request::ExtensionReq;

/// The DER of every PEM block with this label, in order.
pub fn pem_blocks(label: &str, text: &str) -> Vec<Vec<u8>> {
    x509_parser::pem::Pem::iter_from_buffer(text.as_bytes())
        .map(Result::unwrap)
        .filter(|block| block.label == label)
        .map(|block| block.contents)
        .collect()
}

/// The only block with this label.
pub fn pem_block(label: &str, text: &str) -> Vec<u8> {
    let mut blocks = pem_blocks(label, text);
    assert_eq!(blocks.len(), 1, "{label}");
    blocks.remove(0)
}

/// An authority reached as `coordinator.example` and 10.1.2.3.
pub fn authority(suite: CryptoSuite) -> Authority {
    let names = ["coordinator.example", "10.1.2.3"].map(|name| HostName::parse(name).unwrap());
    authority::create(suite, &names, None, &TestDice::new(1).ambient()).unwrap()
}

/// A certificate request in the making.
pub struct Request {
    pub version: u8,
    pub subject: Vec<(ObjectIdentifier, Any)>,
    pub extension_requests: Vec<Vec<Extension>>,
    /// Instead of the algorithm that goes with the key.
    pub algorithm: Option<AlgorithmIdentifierOwned>,
}

impl Default for Request {
    /// Like that of an ordinary marble: a name that will not be used, two DNS names, an address.
    fn default() -> Self {
        let ip = GeneralName::from("10.9.8.7".parse::<std::net::IpAddr>().unwrap());
        Self {
            version: 0,
            subject: vec![
                (COMMON_NAME, utf8("ignored")),
                (ORGANIZATION_NAME, utf8("ignored org")),
            ],
            extension_requests: vec![vec![names(vec![dns("localhost"), dns("marble.example"), ip])]],
            algorithm: None,
        }
    }
}

#[derive(Sequence)]
struct RequestInfo {
    version: u8,
    subject: Vec<SetOfVec<AttributeTypeAndValue>>,
    public_key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Attribute>,
}

#[derive(Sequence)]
struct SignedRequest {
    info: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

impl Request {
    pub fn sign(&self, key: &PrivateKey) -> Vec<u8> {
        let mut attributes = SetOfVec::new();
        for extensions in &self.extension_requests {
            attributes
                .insert(Attribute::try_from(ExtensionReq(extensions.clone())).unwrap())
                .unwrap();
        }
        let rdn = |(oid, value): &(ObjectIdentifier, Any)| {
            SetOfVec::try_from(vec![AttributeTypeAndValue {
                oid: *oid,
                value: value.clone(),
            }])
            .unwrap()
        };
        let info = RequestInfo {
            version: self.version,
            subject: self.subject.iter().map(rdn).collect(),
            public_key: SubjectPublicKeyInfoOwned::from_der(key.public()).unwrap(),
            attributes,
        };
        let info = info.to_der().unwrap();
        let (algorithm, signature) = signature(key, &info);
        let algorithm = self.algorithm.clone().unwrap_or(algorithm);
        let signature = BitString::from_bytes(&signature).unwrap();
        SignedRequest {
            info: Any::from_der(&info).unwrap(),
            algorithm,
            signature,
        }
        .to_der()
        .unwrap()
    }
}

fn signature(key: &PrivateKey, message: &[u8]) -> (AlgorithmIdentifierOwned, Vec<u8>) {
    let dice = TestDice::default();
    let sign = |hash| dice.sign(key, hash, message).unwrap();
    let (oid, parameters, signature) = match key.kind() {
        KeyKind::P256 => (ECDSA_WITH_SHA_256, None, sign(SignatureHash::Sha256)),
        KeyKind::P384 => (ECDSA_WITH_SHA_384, None, sign(SignatureHash::Sha384)),
        KeyKind::P521 => {
            let Signer::Ecdsa(pair) = key.signer().unwrap() else {
                panic!("P-521 is ECDSA")
            };
            let random = aws_lc_rs::rand::SystemRandom::new();
            (
                ECDSA_WITH_SHA_512,
                None,
                pair.sign(&random, message).unwrap().as_ref().to_vec(),
            )
        }
        KeyKind::Ed25519 => (ID_ED_25519, None, sign(SignatureHash::Sha256)),
        KeyKind::Rsa(_) => (
            SHA_256_WITH_RSA_ENCRYPTION,
            Some(Any::null()),
            sign(SignatureHash::Sha256),
        ),
        // Nobody can sign with it here: the request is refused for its key before.
        KeyKind::P224 => (ECDSA_WITH_SHA_256, None, vec![0; 8]),
    };
    (AlgorithmIdentifierOwned { oid, parameters }, signature)
}

pub fn utf8(text: &str) -> Any {
    Any::new(Tag::Utf8String, text.as_bytes()).unwrap()
}

pub fn dns(name: &str) -> GeneralName {
    GeneralName::DnsName(Ia5String::new(name).unwrap())
}

/// A requested SubjectAltName extension.
pub fn names(names: Vec<GeneralName>) -> Extension {
    (&SubjectAltName(names))
        .to_extension(&x509_cert::name::Name::default(), &[])
        .unwrap()
}

/// Verifies a chain with webpki, for a usage and at a time.
pub fn verify(
    leaf: &[u8],
    between: &[&[u8]],
    anchor: &[u8],
    usage: KeyUsage,
    at: Timestamp,
) -> Result<(), webpki::Error> {
    let (leaf, anchor) = (CertificateDer::from(leaf), CertificateDer::from(anchor));
    let between: Vec<_> = between
        .iter()
        .map(|certificate| CertificateDer::from(*certificate))
        .collect();
    let anchor = webpki::anchor_from_trusted_cert(&anchor)?;
    let seconds = u64::try_from(at.unix_seconds()).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &between,
            time,
            usage,
            None,
            None,
        )
        .map(|_| ())
}

/// Whether webpki accepts the certificate for a server of this name or address.
pub fn is_for(leaf: &[u8], name: &str) -> bool {
    let leaf = CertificateDer::from(leaf);
    let name = ServerName::try_from(name).unwrap();
    EndEntityCert::try_from(&leaf)
        .unwrap()
        .verify_is_valid_for_subject_name(&name)
        .is_ok()
}
