//! The deployment that the load is for: packages of three TEEs and one that is updated, marble types with and without
//! budget, secrets of every lifetime, a user who may do everything.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use marblerun_wire::rest::path;
use serde_json::{Value, json};

use super::activating;
use crate::rest::{beginning, connect, send};
use crate::tls::{Connector, Identity};

/// Marble types `plain0` and so on.
pub const PLAIN_TYPES: u64 = 8;
/// A marble type whose activations are counted, and so durable.
pub const COUNTED: &str = "counted";
/// A marble type that may be activated once, and was.
pub const ONCE: &str = "once";
/// A marble type of a package that nobody has evidence of.
pub const FOREIGN: &str = "foreign";
/// The package whose security version is raised.
const RAISED: &str = "raised";

/// Makes manifests and updates.
pub struct Deployment {
    user: String,
}

impl Deployment {
    /// With a user who has this certificate, PEM.
    pub fn new(user: String) -> Self {
        Self { user }
    }

    /// Sets the manifest and the secrets that marbles need, and spends the budget that shall be spent.
    pub async fn begin(&self, client: SocketAddr, mesh: SocketAddr, user: &Identity) -> Result<()> {
        let mut sender = connect(&Connector::new(client, Some(user), "http/1.1")?).await?;
        let manifest = self.manifest(1, 0).to_string().into();
        for (path, body) in [(path::V1_MANIFEST, manifest), (path::V2_SECRETS, secrets(0))] {
            let (status, answer) = send(&mut sender, Method::POST, path, body).await?;
            if status != StatusCode::OK {
                bail!("POST {path} answered {status}: {}", beginning(&answer));
            }
        }
        activating::activate(mesh, ONCE).await
    }

    /// The `number`th update: of a package, each third of the whole manifest.
    pub fn update(&self, number: u64) -> Bytes {
        // The first manifest has 1.
        let version = number + 2;
        let update = if number % 3 == 2 {
            self.manifest(version, number)
        } else {
            json!({"Packages": {RAISED: {"SecurityVersion": version}}})
        };
        update.to_string().into()
    }

    fn manifest(&self, version: u64, revision: u64) -> Value {
        let parameters = json!({
            "Env": {
                "SHARED": "{{ hex .Secrets.shared }}",
                "PRIVATE": "{{ hex .Secrets.private }}",
                "UPLOADED": "{{ hex .Secrets.uploaded }}",
                "REVISION": revision.to_string(),
            },
            "Files": {
                "/run/service/key.pem": "{{ pem .MarbleRun.MarbleCert.Private }}",
                "/run/service/root.pem": "{{ pem .MarbleRun.RootCA.Cert }}",
                "/run/service/service.pem": "{{ pem .Secrets.service.Cert }}",
                "/run/service/instance.pem": "{{ pem .Secrets.instance.Cert }}{{ pem .Secrets.instance.Private }}",
                "/run/service/token": "{{ raw .Secrets.token }}",
            },
        });
        let marble = |package: &str, budget: u64| json!({"Package": package, "MaxActivations": budget, "Parameters": parameters});
        let mut marbles = json!({
            "tdx": marble("tdx", 0),
            "snp": marble("snp", 0),
            FOREIGN: marble("foreign", 0),
            COUNTED: marble("sgx", 4_000_000_000),
            ONCE: marble("sgx", 1),
        });
        if let Some(marbles) = marbles.as_object_mut() {
            marbles.extend((0..PLAIN_TYPES).map(|number| (format!("plain{number}"), marble("sgx", 0))));
        }
        let sgx = |signer: &str, version: u64| json!({"SignerID": signer.repeat(32), "ProductID": 1, "SecurityVersion": version});
        json!({
            "Packages": {
                "sgx": sgx("51", 1),
                "foreign": sgx("99", 1),
                RAISED: sgx("52", version),
                // What evidence of the software TEE claims.
                "tdx": {"TDX": {
                    "MRTD": "d0".repeat(48), "RTMR0": "a0".repeat(48), "RTMR1": "a1".repeat(48), "RTMR2": "a2".repeat(48),
                }},
                "snp": {"SNP": {"Measurement": "3e".repeat(48)}},
            },
            "Marbles": marbles,
            "Secrets": {
                "shared": {"Type": "symmetric-key", "Size": 256, "Shared": true},
                "private": {"Type": "symmetric-key", "Size": 128},
                "service": {"Type": "cert-ecdsa", "Size": 256, "Shared": true},
                "instance": {"Type": "cert-ed25519"},
                "uploaded": {"Type": "symmetric-key", "Size": 128, "UserDefined": true},
                "token": {"Type": "plain", "UserDefined": true},
            },
            "Users": {"operator": {"Certificate": self.user, "Roles": ["secrets", "package", "manifest"]}},
            "Roles": {
                "secrets": {
                    "ResourceType": "Secrets",
                    "ResourceNames": ["uploaded", "token"],
                    "Actions": ["ReadSecret", "WriteSecret"],
                },
                "package": {"ResourceType": "Packages", "ResourceNames": [RAISED], "Actions": ["UpdateSecurityVersion"]},
                "manifest": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]},
            },
        })
    }
}

/// An upload of both secrets, the `number`th.
pub fn secrets(number: u64) -> Bytes {
    // Base64 of as many bytes each time.
    let key = ["MDEyMzQ1Njc4OWFiY2RlZg==", "ZmVkY2JhOTg3NjU0MzIxMA=="];
    let key = if number.is_multiple_of(2) { key[0] } else { key[1] };
    json!({"secrets": {"uploaded": {"Key": key}, "token": {"Key": key}}})
        .to_string()
        .into()
}
