//! Manifests of a given size.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

/// Arguments of `manifest`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Marble types, `m0` and so on; each refers to the first secrets only
    #[arg(long, default_value_t = 1)]
    pub marbles: usize,
    /// Secrets, `s0` and so on
    #[arg(long, default_value_t = 1)]
    pub secrets: usize,
    /// What the secrets are
    #[arg(long, value_enum, default_value_t = Kind::Symmetric)]
    pub kind: Kind,
    /// Secrets of the deployment, not of each instance
    #[arg(long, conflicts_with = "private")]
    pub shared: bool,
    /// Secrets of each instance (the default)
    #[arg(long)]
    pub private: bool,
    /// Budget of each marble type
    #[arg(long, default_value_t = 0)]
    pub max_activations: u64,
    /// Secrets each marble refers to
    #[arg(long, default_value_t = 1)]
    pub referred: usize,
    /// A user who may read and write secrets and update the manifest: his certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub user: Option<std::path::PathBuf>,
}

/// What secrets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// 128-bit keys.
    Symmetric,
    /// P-256 certificates.
    CertEcdsa,
    /// Ed25519 certificates.
    CertEd25519,
    /// RSA 2048 certificates.
    CertRsa,
    /// 128-bit keys that a user uploads.
    UserDefined,
}

/// Prints the manifest.
pub fn print(arguments: &Arguments) -> Result<()> {
    crate::output::print(&make(arguments)?.to_string())
}

/// The manifest. Its package is what evidence of the software TEE claims.
pub fn make(arguments: &Arguments) -> Result<Value> {
    let secret = || {
        let mut secret = match arguments.kind {
            Kind::Symmetric => json!({"Type": "symmetric-key", "Size": 128}),
            Kind::UserDefined => json!({"Type": "symmetric-key", "Size": 128, "UserDefined": true}),
            Kind::CertEcdsa => json!({"Type": "cert-ecdsa", "Size": 256}),
            Kind::CertEd25519 => json!({"Type": "cert-ed25519"}),
            Kind::CertRsa => json!({"Type": "cert-rsa", "Size": 2048}),
        };
        if let (true, Some(fields)) = (arguments.shared, secret.as_object_mut()) {
            fields.insert("Shared".to_owned(), json!(true));
        }
        secret
    };
    let named = |prefix: &str, count: usize, value: &dyn Fn() -> Value| -> Map<String, Value> {
        (0..count)
            .map(|index| (format!("{prefix}{index}"), value()))
            .collect()
    };
    let encoding = match arguments.kind {
        Kind::Symmetric | Kind::UserDefined => "hex",
        Kind::CertEcdsa | Kind::CertEd25519 | Kind::CertRsa => "pem",
    };
    let part = if encoding == "pem" { ".Private" } else { "" };
    // Nothing is uploaded for a measurement, and what is not there cannot be handed out.
    let referred = match arguments.kind {
        Kind::UserDefined => 0,
        _ => arguments.referred.min(arguments.secrets),
    };
    let env: Map<String, Value> = (0..referred)
        .map(|index| {
            (
                format!("S{index}"),
                json!(format!("{{{{ {encoding} .Secrets.s{index}{part} }}}}")),
            )
        })
        .collect();
    let marble = || json!({"Package": "p", "MaxActivations": arguments.max_activations, "Parameters": {"Env": env.clone()}});
    let mut manifest = json!({
        "Packages": {"p": {"SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 1}},
        "Marbles": named("m", arguments.marbles, &marble),
        "Secrets": named("s", arguments.secrets, &secret),
    });
    if let (Some(path), Some(sections)) = (&arguments.user, manifest.as_object_mut()) {
        let certificate = std::fs::read_to_string(path)?;
        let names: Vec<String> = (0..arguments.secrets).map(|index| format!("s{index}")).collect();
        let mut actions = Vec::new();
        if arguments.shared || arguments.kind == Kind::UserDefined {
            actions.push("ReadSecret");
        }
        if arguments.kind == Kind::UserDefined {
            actions.push("WriteSecret");
        }
        let mut roles = json!({"updater": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]}});
        let mut user_roles = vec!["updater"];
        if let (false, Some(roles)) = (actions.is_empty(), roles.as_object_mut()) {
            let secrets = json!({"ResourceType": "Secrets", "ResourceNames": names, "Actions": actions});
            roles.insert("secrets".to_owned(), secrets);
            user_roles.push("secrets");
        }
        sections.insert("Roles".to_owned(), roles);
        sections.insert(
            "Users".to_owned(),
            json!({"u": {"Certificate": certificate, "Roles": user_roles}}),
        );
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(kind: Kind) -> Arguments {
        Arguments {
            marbles: 3,
            secrets: 5,
            kind,
            shared: true,
            private: false,
            max_activations: 7,
            referred: 2,
            user: None,
        }
    }

    #[test]
    fn manifests_have_the_size_that_was_asked_for() {
        let manifest = make(&arguments(Kind::Symmetric)).unwrap();
        assert_eq!(manifest["Marbles"].as_object().unwrap().len(), 3);
        assert_eq!(manifest["Secrets"].as_object().unwrap().len(), 5);
        assert_eq!(
            manifest["Marbles"]["m2"]["Parameters"]["Env"]["S1"],
            "{{ hex .Secrets.s1 }}"
        );
        assert_eq!(manifest["Marbles"]["m0"]["MaxActivations"], 7);
        assert_eq!(manifest["Secrets"]["s4"]["Shared"], true);
        let manifest = make(&arguments(Kind::CertEcdsa)).unwrap();
        assert_eq!(
            manifest["Marbles"]["m0"]["Parameters"]["Env"]["S0"],
            "{{ pem .Secrets.s0.Private }}"
        );
    }
}
