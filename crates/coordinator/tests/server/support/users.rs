//! Users of a manifest, with what they may do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ClientIdentity;
use super::program::{Program, manifest};

/// Number of secrets `slot0`, `slot1`, … that `admin` may write, unless a test asks for more.
pub const SLOTS: usize = 192;

/// `admin` reads and writes secrets and raises `web`; `alice` and `bob` update the manifest; `nobody` is no user.
pub struct Users {
    pub admin: ClientIdentity,
    pub alice: ClientIdentity,
    pub bob: ClientIdentity,
    pub nobody: ClientIdentity,
}

impl Users {
    pub fn new() -> Self {
        Self {
            admin: ClientIdentity::self_signed(),
            alice: ClientIdentity::self_signed(),
            bob: ClientIdentity::self_signed(),
            nobody: ClientIdentity::self_signed(),
        }
    }

    /// A manifest that names them, with every feature gate open; marble `teller` may read `token`.
    pub fn manifest(&self) -> Value {
        self.manifest_with_slots(SLOTS)
    }

    /// The same with so many slots.
    pub fn manifest_with_slots(&self, count: usize) -> Value {
        let mut manifest = manifest();
        manifest["Packages"]["web"] =
            json!({"SignerID": "1f".repeat(32), "ProductID": 7, "SecurityVersion": 3});
        manifest["Marbles"]["counting"] = json!({"Package": "web"});
        manifest["Marbles"]["teller"] = json!({"Package": "web", "Roles": ["token"]});
        manifest["Secrets"]["token"] = json!({"Type": "plain", "UserDefined": true});
        let mut slots = vec!["token".to_owned(), "uploaded".to_owned()];
        for slot in 0..count {
            let name = format!("slot{slot}");
            manifest["Secrets"][&name] = json!({"Type": "plain", "UserDefined": true});
            slots.push(name);
        }
        let user = |identity: &ClientIdentity, roles: &[&str]| json!({"Certificate": identity.certificate_pem(), "Roles": roles});
        manifest["Users"] = json!({
            "admin": user(&self.admin, &["slots", "shared", "web"]),
            "alice": user(&self.alice, &["manifest"]),
            "bob": user(&self.bob, &["manifest"]),
        });
        let actions = ["ReadSecret", "WriteSecret"];
        manifest["Roles"] = json!({
            "slots": {"ResourceType": "Secrets", "ResourceNames": slots, "Actions": actions},
            "shared": {"ResourceType": "Secrets", "ResourceNames": ["shared", "cert"], "Actions": ["ReadSecret"]},
            "token": {"ResourceType": "Secrets", "ResourceNames": ["token"], "Actions": ["ReadSecret"]},
            "web": {"ResourceType": "Packages", "ResourceNames": ["web"], "Actions": ["UpdateSecurityVersion"]},
            "manifest": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]},
        });
        manifest["Config"] = json!({"FeatureGates": ["SignQuoteEndpoint", "MonotonicCounter"]});
        manifest
    }
}

/// A manifest as version 2 takes it.
pub fn wrapped(manifest: &Value) -> String {
    json!({"manifest": STANDARD.encode(manifest.to_string())}).to_string()
}

/// An upload of plain secrets as version 2 takes it.
pub fn upload<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let values = values.into_iter();
    let secrets: serde_json::Map<String, Value> = values
        .map(|(name, value)| (name.to_owned(), json!({"Key": STANDARD.encode(value)})))
        .collect();
    json!({ "secrets": secrets }).to_string()
}

impl Program {
    /// A call of version 2 that has to succeed: its data.
    pub async fn v2(
        &self,
        identity: impl Into<Option<&ClientIdentity>>,
        method: &str,
        path: &str,
        body: impl Into<bytes::Bytes>,
    ) -> Value {
        let (status, reply) = self
            .ask_as(identity, method, &format!("/api/v2/{path}"), body)
            .await;
        assert_eq!(status, 200, "{method} {path}: {reply}");
        reply["data"].clone()
    }

    /// The values of plain secrets.
    pub async fn read(&self, identity: &ClientIdentity, names: &[&str]) -> Vec<Option<String>> {
        let query: Vec<_> = names.iter().map(|name| format!("s={name}")).collect();
        let data = self
            .v2(identity, "GET", &format!("secrets?{}", query.join("&")), "")
            .await;
        let value = |name: &&str| {
            let value = data["secrets"][*name]["Private"].as_str()?;
            Some(String::from_utf8(STANDARD.decode(value).unwrap()).unwrap())
        };
        names.iter().map(value).collect()
    }

    /// The update log.
    pub async fn update_log(&self) -> Vec<Value> {
        let data = self.v2(None, "GET", "update", "").await;
        let lines = data["updateLog"].as_array().unwrap().iter();
        lines
            .map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap())
            .collect()
    }
}
