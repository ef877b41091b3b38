//! The environment every marble gets beside the manifest's own (`spec/04`).

use std::collections::BTreeMap;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::manifest::{Name, TlsTag};
use crate::pki::authority::Authority;
use crate::pki::marble::MarbleIdentity;
use crate::pki::pem::{self, CERTIFICATE, PRIVATE_KEY};
use crate::secret::value::SecretValue;
use crate::secret_json;

/// The variable with the transparent TLS configuration.
pub const TRANSPARENT_TLS: &str = "MARBLE_TTLS_CONFIG";

/// A certificate secret that a TLS tag names cannot be presented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "TLS: incoming port {port}: the secret {secret} has no certificate with a private key yet; upload it first"
)]
pub struct MissingCertificate {
    /// The port as the manifest writes it.
    pub port: String,
    /// The secret.
    pub secret: Name,
}

/// The identity of the marble and the certificates to verify others with, each as PEM.
pub(crate) fn predefined(
    authority: &Authority,
    identity: &MarbleIdentity,
) -> [(Name, Zeroizing<Vec<u8>>); 4] {
    let mut chain = pem::encode(CERTIFICATE, &identity.certificate);
    chain.push_str(&pem::encode(CERTIFICATE, &authority.intermediate));
    let private_key = pem::encode_secret(PRIVATE_KEY, identity.key.pkcs8());
    [
        (
            "MARBLE_PREDEFINED_ROOT_CA".into(),
            public(pem::encode(CERTIFICATE, &authority.marble_root)),
        ),
        ("MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN".into(), public(chain)),
        (
            "MARBLE_PREDEFINED_PRIVATE_KEY".into(),
            Zeroizing::new(private_key.as_bytes().to_vec()),
        ),
        (
            "MARBLE_PREDEFINED_COORDINATOR_ROOT_CA".into(),
            public(pem::encode(CERTIFICATE, &authority.root)),
        ),
    ]
}

/// `MARBLE_TTLS_CONFIG`: which connections the runtime wraps in TLS, and with what identity.
///
/// When two tags give the same key, the later tag of the marble's list wins.
///
/// # Errors
/// The `Cert` of an incoming connection has no value yet, or no private key.
pub(crate) fn transparent_tls<'a>(
    authority: &Authority,
    identity: &MarbleIdentity,
    tags: impl Iterator<Item = &'a TlsTag>,
    secrets: &BTreeMap<Name, SecretValue>,
) -> Result<Zeroizing<Vec<u8>>, MissingCertificate> {
    let root = pem::encode(CERTIFICATE, &authority.marble_root);
    let own_certificate = pem::encode(CERTIFICATE, &identity.certificate);
    let own_key = pem::encode_secret(PRIVATE_KEY, identity.key.pkcs8());
    let own = |client_auth| Connection {
        cacrt: root.clone(),
        clicrt: own_certificate.clone(),
        client_auth,
        clikey: own_key.clone(),
    };

    let mut connections = Connections::default();
    for tag in tags {
        for entry in &tag.incoming {
            let connection = match &entry.certificate {
                None => own(Some(true)),
                Some(secret) => {
                    let missing = || MissingCertificate {
                        port: entry.port.clone(),
                        secret: Name::clone(secret),
                    };
                    let Some(SecretValue::Certificate(value)) = secrets.get(secret) else {
                        return Err(missing());
                    };
                    let private = value.private.as_ref().ok_or_else(missing)?;
                    Connection {
                        cacrt: root.clone(),
                        clicrt: pem::encode(CERTIFICATE, &value.certificate),
                        client_auth: Some(!entry.disable_client_auth),
                        clikey: pem::encode_secret(PRIVATE_KEY, private),
                    }
                }
            };
            connections
                .incoming
                .insert(format!("*:{}", entry.port), connection);
        }
        for entry in &tag.outgoing {
            connections
                .outgoing
                .insert(format!("{}:{}", entry.address, entry.port), own(None));
        }
    }
    // Texts in maps: nothing that could refuse.
    Ok(secret_json::to_vec(&Document { tls: connections }).unwrap_or_default())
}

fn public(pem: String) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(pem.into_bytes())
}

#[derive(Serialize)]
struct Document {
    tls: Connections,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Connections {
    incoming: BTreeMap<String, Connection>,
    outgoing: BTreeMap<String, Connection>,
}

#[derive(Serialize)]
struct Connection {
    cacrt: String,
    clicrt: String,
    #[serde(rename = "clientAuth", skip_serializing_if = "Option::is_none")]
    client_auth: Option<bool>,
    #[serde(serialize_with = "as_text")]
    clikey: Zeroizing<String>,
}

fn as_text<S: serde::Serializer>(text: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
