//! Authorisation: every operation, by every principal, in every phase, in both versions, with every method.

mod page;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use table::{OPERATIONS, Operation, PRINCIPALS, Phase, Principal, Verdict};

use crate::recovery::holders;
use crate::support::ClientIdentity;
use crate::support::program::{Program, manifest, start, uuid};
use crate::support::users::wrapped;

/// Certificates of users, and of those who look like one.
struct Cast(BTreeMap<Principal, ClientIdentity>);

fn certificate(key: &rcgen::KeyPair, name: &str) -> ClientIdentity {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    ClientIdentity {
        certificate: params.self_signed(key).unwrap().der().to_vec(),
        pkcs8: key.serialize_der(),
    }
}

impl Cast {
    fn new() -> Self {
        let key = || rcgen::KeyPair::generate().unwrap();
        let mut cast = BTreeMap::new();
        let users = [
            Principal::ReaderOfOther,
            Principal::Writer,
            Principal::WriterOfOther,
            Principal::Raiser,
            Principal::RaiserOfOther,
            Principal::Manager,
        ];
        for user in users {
            cast.insert(user, certificate(&key(), &format!("{user:?}")));
        }
        let reader = key();
        cast.insert(Principal::Reader, certificate(&reader, "reader"));
        cast.insert(Principal::SameKey, certificate(&reader, "another"));
        cast.insert(Principal::SameSubject, certificate(&key(), "reader"));
        cast.insert(Principal::Stranger, certificate(&key(), "stranger"));
        Self(cast)
    }

    fn get(&self, principal: Principal) -> Option<&ClientIdentity> {
        self.0.get(&principal)
    }

    /// A manifest that makes them what they are. There are two with `UpdateManifest`, so that an update waits.
    fn manifest(&self, second_manager: &ClientIdentity) -> Value {
        let mut manifest = manifest();
        for package in ["web", "other"] {
            manifest["Packages"][package] =
                json!({"SignerID": "1f".repeat(32), "ProductID": 7, "SecurityVersion": 3});
        }
        manifest["Marbles"]["marble"] = json!({"Package": "web"});
        manifest["Marbles"]["with role"] = json!({"Package": "web", "Roles": ["Reader"]});
        for secret in ["token", "other"] {
            manifest["Secrets"][secret] = json!({"Type": "plain", "UserDefined": true});
        }
        let mut users =
            json!({"second": {"Certificate": second_manager.certificate_pem(), "Roles": ["Manager"]}});
        for (principal, identity) in &self.0 {
            if principal.is_user() && *principal != Principal::MarbleWithRole {
                let name = format!("{principal:?}");
                users[&name] = json!({"Certificate": identity.certificate_pem(), "Roles": [name]});
            }
        }
        manifest["Users"] = users;
        let role = |kind: &str, name: &str, action: &str| json!({"ResourceType": kind, "ResourceNames": [name], "Actions": [action]});
        manifest["Roles"] = json!({
            "Reader": role("Secrets", "token", "ReadSecret"),
            "ReaderOfOther": role("Secrets", "other", "ReadSecret"),
            "Writer": role("Secrets", "token", "WriteSecret"),
            "WriterOfOther": role("Secrets", "other", "WriteSecret"),
            "Raiser": role("Packages", "web", "UpdateSecurityVersion"),
            "RaiserOfOther": role("Packages", "other", "UpdateSecurityVersion"),
            "Manager": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]},
        });
        let [one, ..] = holders();
        manifest["RecoveryKeys"] = json!({"one": one.public_key()});
        manifest["Config"] = json!({"FeatureGates": ["SignQuoteEndpoint", "MonotonicCounter"]});
        manifest
    }
}

/// A Coordinator in some phase, and who calls it.
struct Stage {
    program: Program,
    cast: Cast,
    second_manager: ClientIdentity,
    _directories: Vec<tempfile::TempDir>,
}

impl Stage {
    /// In this phase, with every principal there can be.
    async fn set(phase: Phase) -> Self {
        let directories = vec![tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (mut cast, second_manager) = (Cast::new(), ClientIdentity::self_signed());
        let manifest = cast.manifest(&second_manager);
        let mut program = start(directories[0].path(), &[]);
        // Marbles exist where a manifest was in force; elsewhere they come from another deployment.
        let foreign = start(directories[1].path(), &[]);
        foreign.set_manifest(&manifest).await;
        let home = if phase == Phase::AcceptingManifest {
            &foreign
        } else {
            &program
        };
        if phase != Phase::AcceptingManifest {
            program.set_manifest(&manifest).await;
        }
        let marble = async |program: &Program, kind: &str| {
            ClientIdentity::of_marble(&program.activate(kind, &uuid()).await.unwrap())
        };
        cast.0
            .insert(Principal::OldMarble, marble(home, "with role").await);
        let raise = wrapped(&json!({"Packages": {"web": {"SecurityVersion": 4}}}));
        home.v2(&cast.0[&Principal::Raiser], "POST", "update", raise)
            .await;
        cast.0.insert(Principal::Marble, marble(home, "marble").await);
        cast.0
            .insert(Principal::MarbleWithRole, marble(home, "with role").await);
        cast.0
            .insert(Principal::ForeignMarble, marble(&foreign, "with role").await);
        if phase == Phase::Recovery {
            program.end(Signal::TERM);
            std::fs::remove_file(directories[0].path().join("state/sealed_key")).unwrap();
            program = start(directories[0].path(), &[]);
        }
        let stage = Self {
            program,
            cast,
            second_manager,
            _directories: directories,
        };
        if phase == Phase::UpdatePending {
            stage.propose().await;
        }
        stage
    }

    /// An update that waits for the other one with `UpdateManifest`.
    async fn propose(&self) {
        let mut next = self.cast.manifest(&self.second_manager);
        next["Marbles"]["marble"]["MaxActivations"] = json!(1_000_000);
        self.program
            .v2(&self.second_manager, "POST", "update", wrapped(&next))
            .await;
    }

    /// A body that is refused, if at all, for what it says only after who asks was looked at.
    fn body(operation: &Operation, version: u8) -> String {
        let manifest = |manifest: &Value| match version {
            1 => manifest.to_string(),
            _ => wrapped(manifest),
        };
        match operation.name {
            "write a secret" => {
                let secrets = json!({"token": {"Key": STANDARD.encode("value")}});
                match version {
                    1 => secrets.to_string(),
                    _ => json!({"secrets": secrets}).to_string(),
                }
            }
            "raise a package's SecurityVersion" => {
                manifest(&json!({"Packages": {"web": {"SecurityVersion": 1}}}))
            }
            "set the first manifest" | "propose an update" | "acknowledge an update" => {
                manifest(&json!({"Packages": {}, "Marbles": {"m": {"Package": "nope"}}}))
            }
            "hand in a recovery secret" => json!({"recoverySecret": "AA=="}).to_string(),
            "have a quote signed" => json!({"sgxQuote": "AA=="}).to_string(),
            "raise a counter" => json!({"name": "counter", "value": 1}).to_string(),
            _ => String::new(),
        }
    }

    /// How a request ends, and the code it has.
    async fn ask(
        &self,
        operation: &Operation,
        version: u8,
        path: &str,
        principal: Principal,
    ) -> (Verdict, u16) {
        let body = Self::body(operation, version);
        let identity = self.cast.get(principal);
        let (code, reply) = self.program.ask_as(identity, operation.method, path, body).await;
        let message = reply["message"].as_str().unwrap_or_default();
        let verdict = match code {
            401 if message.starts_with("unauthorized ") => Verdict::Unauthenticated,
            403 if message.contains("is not enabled") => Verdict::GateClosed,
            404 if message.contains("no update in progress") => Verdict::NoUpdate,
            410 if message.contains("/api/v2/recover") => Verdict::Gone,
            _ if message.contains("is not allowed to") => Verdict::Denied,
            _ if message.contains("server is not in expected state") => Verdict::WrongPhase,
            _ if message.contains("update is already in progress") || message.contains("in progress") => {
                Verdict::UpdateInProgress
            }
            _ => Verdict::Allowed,
        };
        (verdict, code)
    }
}

/// The code that goes with a verdict.
fn code(operation: &Operation, version: u8, phase: Phase, verdict: Verdict) -> u16 {
    match verdict {
        Verdict::Allowed => allowed(operation, version, phase),
        Verdict::Unauthenticated => 401,
        Verdict::GateClosed => 403,
        Verdict::NoUpdate => 404,
        Verdict::Gone => 410,
        Verdict::Denied | Verdict::WrongPhase | Verdict::UpdateInProgress => match version {
            1 => operation.denied_in_v1,
            _ => 500,
        },
    }
}

/// The code of what is asked here, for those who may ask: some of the bodies are refused for what they say.
fn allowed(operation: &Operation, version: u8, phase: Phase) -> u16 {
    match operation.name {
        // Version 2 has no word for "none is set".
        "read the manifest"
            if version == 2 && matches!(phase, Phase::Recovery | Phase::AcceptingManifest) =>
        {
            500
        }
        "set the first manifest" | "raise a package's SecurityVersion" | "propose an update"
            if version == 1 =>
        {
            400
        }
        "set the first manifest" | "raise a package's SecurityVersion" | "propose an update" => 500,
        "acknowledge an update" => 500,
        // The manifest here gives a marble roles, which the original does not know.
        "export the state" => 500,
        "hand in a recovery secret" | "have a quote signed" => 400,
        _ => 200,
    }
}

/// Asks everything in a phase and tells what differs from `expected`; also how many cells there were.
async fn differences(
    stage: &Arc<Stage>,
    phase: Phase,
    expected: impl Fn(&Operation, Principal) -> Verdict,
) -> (Vec<String>, usize) {
    let (mut wrong, mut cells) = (Vec::new(), 0);
    for operation in OPERATIONS {
        for (version, path) in [(1, operation.v1), (2, operation.v2)] {
            let Some(path) = path else { continue };
            let mut asked = tokio::task::JoinSet::new();
            for principal in PRINCIPALS {
                let stage = Arc::clone(stage);
                asked.spawn(async move { (principal, stage.ask(operation, version, path, principal).await) });
            }
            for (principal, (verdict, found)) in asked.join_all().await {
                cells += 1;
                let expected = expected(operation, principal);
                let fits = code(operation, version, phase, expected) == found;
                if verdict != expected || !fits {
                    wrong.push(format!(
                        "{phase:?}: {} in version {version} by {principal:?}: {verdict:?} ({found}), expected {expected:?}",
                        operation.name
                    ));
                }
                if operation.name == "cancel an update" && verdict == Verdict::Allowed {
                    stage.propose().await;
                }
            }
        }
    }
    (wrong, cells)
}

async fn assert_phase(phase: Phase) {
    let stage = Arc::new(Stage::set(phase).await);
    let (wrong, cells) = differences(&stage, phase, |operation, principal| {
        operation.verdict(principal, phase)
    })
    .await;
    assert!(cells > 400, "{cells}");
    assert!(
        wrong.is_empty(),
        "{} of {cells} cells\n{}",
        wrong.len(),
        wrong.join("\n")
    );

    // Methods that a path does not have are nobody's, whoever asks.
    let paths: std::collections::BTreeSet<&str> = OPERATIONS
        .iter()
        .flat_map(|operation| [operation.v1, operation.v2])
        .flatten()
        .map(|path| path.split('?').next().unwrap())
        .collect();
    for path in paths {
        let known: Vec<&str> = OPERATIONS
            .iter()
            .filter(|operation| {
                [operation.v1, operation.v2]
                    .iter()
                    .flatten()
                    .any(|known| known.split('?').next() == Some(path))
            })
            .map(|operation| operation.method)
            .collect();
        let mut asked = tokio::task::JoinSet::new();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if known.contains(&method) {
                continue;
            }
            for principal in PRINCIPALS {
                let (stage, path) = (Arc::clone(&stage), path.to_owned());
                asked.spawn(async move {
                    let identity = stage.cast.get(principal);
                    let (code, _) = stage.program.ask_as(identity, method, &path, "{}").await;
                    (code, format!("{phase:?}: {method} {path} by {principal:?}"))
                });
            }
        }
        for (code, what) in asked.join_all().await {
            assert_eq!(code, 405, "{what}");
        }
    }
}

#[tokio::test]
async fn in_recovery() {
    assert_phase(Phase::Recovery).await;
}

#[tokio::test]
async fn before_a_manifest_is_set() {
    assert_phase(Phase::AcceptingManifest).await;
}

#[tokio::test]
async fn with_a_manifest() {
    assert_phase(Phase::AcceptingMarbles).await;
}

#[tokio::test]
async fn with_an_update_that_waits() {
    assert_phase(Phase::UpdatePending).await;
}

#[tokio::test]
async fn a_wrong_cell_is_found() {
    let phase = Phase::AcceptingMarbles;
    let stage = Arc::new(Stage::set(phase).await);
    let doctored = |operation: &Operation, principal| {
        if (operation.name, principal) == ("write a secret", Principal::Reader) {
            return Verdict::Allowed;
        }
        operation.verdict(principal, phase)
    };
    let (wrong, _) = differences(&stage, phase, doctored).await;
    // Once in each version.
    assert_eq!(wrong.len(), 2, "{wrong:?}");
}
