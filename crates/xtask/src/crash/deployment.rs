//! The deployment the campaigns work on: who its users and holders are, what is asked of it, and what it tells.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use marblerun_client::rest::{Base64Secret, Named, path, v2};
use marblerun_client::{Address, Attested, ClientIdentity, Connector, RecoveryKey};
use serde_json::{Value, json};

use super::Setting;
use super::coordinator::{Coordinator, state};

/// Activations of the marble type `few`.
const BUDGET: u64 = 3;
/// The marble that raises counters.
const UUID: &str = "9c2f1f5e-53e1-4b3c-8f0e-2d1c0b9a8f7e";

/// A user: who he is, and his certificate in PEM.
pub struct User {
    /// With his key.
    pub identity: ClientIdentity,
    certificate: String,
}

/// A holder of a recovery key.
pub struct Holder {
    /// Decrypts and signs.
    pub key: RecoveryKey,
    public_key: String,
}

/// Who takes part. The same for all Coordinators of a run, so that they can be compared.
pub struct Cast {
    /// Reads and writes secrets, raises the package.
    pub admin: User,
    /// Both update manifests.
    pub alice: User,
    /// See [`Self::alice`].
    pub bob: User,
    /// Of the recovery key in most manifests.
    pub one: Holder,
    /// Of the other one.
    pub two: Holder,
}

impl Cast {
    /// Draws users; the recovery keys are those of the recordings.
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            admin: User::new()?,
            alice: User::new()?,
            bob: User::new()?,
            one: Holder::read(root, "one")?,
            two: Holder::read(root, "two")?,
        })
    }

    /// The first manifest.
    pub fn manifest(&self) -> Value {
        let user = |user: &User, roles: &[&str]| json!({"Certificate": user.certificate, "Roles": roles});
        let secret = json!({"Type": "plain", "UserDefined": true});
        let secrets = ["a", "b", "big"];
        json!({
            "Packages": {
                "any": {"UniqueID": "00".repeat(32)},
                "web": {"SignerID": "1f".repeat(32), "ProductID": 7, "SecurityVersion": 3},
            },
            "Marbles": {
                "few": {"Package": "any", "MaxActivations": BUDGET},
                "counting": {"Package": "web"},
            },
            "Secrets": {
                "shared": {"Type": "symmetric-key", "Size": 128, "Shared": true},
                "a": secret, "b": secret, "big": secret,
            },
            "Users": {
                "admin": user(&self.admin, &["secrets", "shared", "web"]),
                "alice": user(&self.alice, &["manifest"]),
                "bob": user(&self.bob, &["manifest"]),
            },
            "Roles": {
                "secrets": {"ResourceType": "Secrets", "ResourceNames": secrets, "Actions": ["ReadSecret", "WriteSecret"]},
                "shared": {"ResourceType": "Secrets", "ResourceNames": ["shared"], "Actions": ["ReadSecret"]},
                "web": {"ResourceType": "Packages", "ResourceNames": ["web"], "Actions": ["UpdateSecurityVersion"]},
                "manifest": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]},
            },
            "RecoveryKeys": {"one": self.one.public_key},
            "Config": {"FeatureGates": ["MonotonicCounter"]},
        })
    }

    /// The first manifest with one thing in it that is different.
    pub fn other_manifest(&self) -> Value {
        let mut manifest = self.manifest();
        set(&mut manifest, "/Marbles/counting/MaxActivations", json!(1000));
        manifest
    }

    /// The first manifest with another recovery key.
    pub fn other_recovery_keys(&self) -> Value {
        let mut manifest = self.manifest();
        set(
            &mut manifest,
            "/RecoveryKeys",
            json!({"two": self.two.public_key}),
        );
        manifest
    }

    /// The first manifest with another seal mode.
    pub fn other_seal_mode(&self) -> Value {
        let mut manifest = self.manifest();
        set(&mut manifest, "/Config/SealMode", json!("UniqueKey"));
        manifest
    }
}

/// Puts a value into an object that is there, under the last part of a pointer.
fn set(value: &mut Value, pointer: &str, new: Value) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(fields) = value.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        fields.insert(name.to_owned(), new);
    }
}

impl User {
    fn new() -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec![])?.self_signed(&key)?.pem();
        let identity = ClientIdentity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes())?;
        Ok(Self {
            identity,
            certificate,
        })
    }
}

impl Holder {
    fn read(root: &Path, name: &str) -> anyhow::Result<Self> {
        let file = |end: &str| {
            let path = root.join(format!("crates/cli/tests/golden/recovery-{name}.{end}"));
            std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
        };
        Ok(Self {
            key: RecoveryKey::from_pem(&file("key.pem")?)?,
            public_key: String::from_utf8(file("pub.pem")?)?,
        })
    }
}

/// A connection, by a user or by nobody.
pub async fn connect(coordinator: &Coordinator, user: Option<&User>) -> anyhow::Result<Attested> {
    let address: Address = coordinator.client.parse()?;
    let mut connector = Connector::new(address);
    if let Some(user) = user {
        connector = connector.with_identity(user.identity.clone());
    }
    Ok(connector.dangerous_unverified().await?)
}

/// Uploads plain secrets.
pub async fn write(connection: &Attested, values: &[(&str, &[u8])]) -> anyhow::Result<()> {
    let mut secrets = Named::default();
    for (name, value) in values {
        let uploaded = v2::UploadedSecret {
            key: Some(Base64Secret::new(value.to_vec().into())),
            ..v2::UploadedSecret::default()
        };
        secrets.0.insert((*name).to_owned(), uploaded);
    }
    connection.write_secrets(&v2::UploadSecrets { secrets }).await?;
    Ok(())
}

/// Raises the security version of the package.
pub async fn raise_package(connection: &Attested, version: u64) -> anyhow::Result<()> {
    let update = json!({"Packages": {"web": {"SecurityVersion": version}}});
    connection.propose_update(update.to_string().as_bytes()).await?;
    Ok(())
}

/// Hands a recovery secret in; as decrypted by its holder.
pub async fn recover(connection: &Attested, holder: &Holder, secret: &[u8]) -> anyhow::Result<usize> {
    let plain = holder.key.plain(secret)?;
    let signature = holder.key.sign(&plain)?;
    Ok(connection.recover(plain, signature).await?.remaining)
}

/// Activates a marble through `marble-run`; what its environment is then, or `None` when it was refused.
pub fn activate(setting: &Setting, coordinator: &Coordinator, kind: &str) -> anyhow::Result<Option<String>> {
    let uuid = coordinator.folder().join(format!("{kind}.uuid"));
    std::fs::write(&uuid, UUID)?;
    let mut child = Command::new(&setting.marble_run)
        .env_clear()
        .env("EDG_MARBLE_TYPE", kind)
        .env("EDG_MARBLE_COORDINATOR_ADDR", &coordinator.mesh)
        .env("EDG_MARBLE_UUID_FILE", &uuid)
        .env("EDG_MARBLE_DNS_NAMES", "localhost")
        .args(["--", "/usr/bin/env"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", setting.marble_run.display()))?;
    // What it writes fits into the pipes.
    while child.try_wait()?.is_none() {
        if coordinator.is_gone() {
            // It would go on trying for a minute.
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(Some(String::from_utf8(output.stdout)?));
    }
    let log = String::from_utf8_lossy(&output.stderr);
    if log.contains("reached max activations count") {
        return Ok(None);
    }
    bail!("activating {kind}: {}", log.lines().last().unwrap_or_default())
}

/// What a marble raises a counter with: its certificate and key.
pub fn marble(environment: &str) -> anyhow::Result<ClientIdentity> {
    let block = |name: &str| -> anyhow::Result<String> {
        let rest = environment
            .split_once(&format!("{name}=-"))
            .with_context(|| format!("the marble has no {name}"))?
            .1;
        let lines: Vec<&str> = rest
            .lines()
            .scan(false, |over, line| {
                if *over {
                    return None;
                }
                *over = line.starts_with("-----END");
                Some(line)
            })
            .collect();
        Ok(format!("-{}\n", lines.join("\n")))
    };
    Ok(ClientIdentity::from_pem(
        block("MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN")?.as_bytes(),
        block("MARBLE_PREDEFINED_PRIVATE_KEY")?.as_bytes(),
    )?)
}

/// Raises the counter of the counting marble, and tells what it was.
pub async fn raise_counter(setting: &Setting, coordinator: &Coordinator, value: u64) -> anyhow::Result<u64> {
    let environment = activate(setting, coordinator, "counting")?.context("the marble was refused")?;
    let connector = Connector::new(coordinator.client.parse()?).with_identity(marble(&environment)?);
    let connection = connector.dangerous_unverified().await?;
    let set = v2::SetCounter {
        name: "c".to_owned(),
        value,
    };
    let before: v2::CounterSet = connection.post(path::V2_MONOTONIC_COUNTER, &set).await?;
    Ok(before.value)
}

/// What a Coordinator tells of its state; random and timed things left out, unless they have to stay as they are.
///
/// With `deep` it spends the budget and the counter to know them: the Coordinator is of no further use.
pub async fn tell(
    setting: &Setting,
    cast: &Cast,
    coordinator: &Coordinator,
    same_deployment: bool,
    deep: bool,
) -> anyhow::Result<Value> {
    let anybody = connect(coordinator, None).await?;
    let phase = anybody.status().await?.code;
    let mut told = json!({"phase": phase});
    if phase != 3 {
        return Ok(told);
    }
    // An attempt to give a state up that was cut short leaves a copy behind, which says nothing.
    let aside = put_aside(&state(coordinator.folder()))?;
    set(&mut told, "/aside", json!(aside));
    let manifest = anybody.manifest().await?;
    set(&mut told, "/manifest", json!(manifest.fingerprint));
    let mut log = Vec::new();
    for line in anybody.update_log().await? {
        let mut entry: Value = serde_json::from_str(&line)?;
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("time");
        }
        log.push(entry);
    }
    set(&mut told, "/log", json!(log));
    let pending = anybody.pending_update().await.ok();
    set(
        &mut told,
        "/pending",
        json!(pending.map(|pending| pending.message)),
    );
    if same_deployment {
        set(&mut told, "/root", json!(anybody.root().as_ref()));
    }
    // A state of the recordings has other users and marbles.
    let admin = connect(coordinator, Some(&cast.admin)).await?;
    if let Ok(secrets) = admin.read_secrets(&["a", "b", "big", "shared"]).await {
        for (name, secret) in &secrets.0 {
            let value = secret.private.as_ref().map(|value| {
                let bytes = value.expose();
                let sum = bytes.iter().fold(0_u64, |sum, byte| {
                    sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
                });
                format!("{} bytes, {sum:x}", bytes.len())
            });
            if name != "shared" || same_deployment {
                set(&mut told, &format!("/{name}"), json!(value));
            }
        }
        if !deep {
            return Ok(told);
        }
        let mut left = 0_u64;
        while left <= BUDGET && activate(setting, coordinator, "few")?.is_some() {
            left += 1;
        }
        ensure!(left <= BUDGET, "a budget of {BUDGET} was overspent");
        set(&mut told, "/budget left", json!(left));
        let counter = raise_counter(setting, coordinator, 1_000_000).await?;
        set(&mut told, "/counter", json!(counter));
    }
    Ok(told)
}

/// Lengths of the states that were put aside.
fn put_aside(folder: &Path) -> anyhow::Result<Vec<u64>> {
    let mut lengths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("superseded-") && name.ends_with("-sealed_data") {
            lengths.push(entry.metadata()?.len());
        }
    }
    Ok(lengths)
}
