//! `manifest get`

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{ArgAction, Args};
use marblerun_client::manifest_fingerprint;
use serde::Serialize as _;
use serde_json::{Value, json};

use crate::files;
use crate::flags::{GlobalFlags, switch};
use crate::output::Output;
use crate::session::{self, Session, advise_manifest};

/// Arguments of `manifest get`.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// Add the signature: {"ManifestSignature": …, "Manifest": …}
    #[arg(
        short, long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = switch
    )]
    signature: bool,
    /// Merge the package updates of the update log
    #[arg(
        short = 'u', long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = switch
    )]
    display_update: bool,
    /// File to save to [default: standard output]
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
    /// Pin the Coordinator's certificates
    #[arg(
        long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = switch
    )]
    keep_cert: bool,
}

/// Verifies the Coordinator and prints its manifest.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let (manifest, log) = session::run(async {
        let session = Session::fresh(flags, &arguments.address).await?;
        let manifest = session.coordinator().manifest().await.map_err(advise_manifest)?;
        let log = if arguments.display_update {
            session.coordinator().update_log().await?
        } else {
            Vec::new()
        };
        if arguments.keep_cert {
            session.pin(flags).await?;
        }
        Ok((manifest, log))
    })?;
    let fingerprint = manifest_fingerprint(manifest.manifest.as_ref());
    if fingerprint != manifest.fingerprint {
        bail!(
            "the Coordinator's manifest is not the one of its fingerprint {}",
            manifest.fingerprint
        );
    }
    let mut bytes = manifest.manifest.0;
    if arguments.display_update {
        bytes = merged(&bytes, &log)?;
    }
    if arguments.signature {
        let mut signed = format!("{{\"ManifestSignature\": \"{fingerprint}\", \"Manifest\": ").into_bytes();
        signed.append(&mut bytes);
        signed.push(b'}');
        bytes = signed;
    }
    match &arguments.output {
        Some(path) => {
            files::write(path, &bytes)?;
            output.result(
                &format!("Manifest written to: {}", path.display()),
                &json!({"file": path.to_string_lossy(), "manifestSignature": fingerprint}),
            )
        }
        None => output.bytes(&bytes),
    }
}

/// The manifest with the versions that packages were raised to since it came into force.
fn merged(manifest: &[u8], log: &[String]) -> Result<Vec<u8>> {
    let mut manifest: Value =
        serde_json::from_slice(manifest).context("the Coordinator's manifest is no JSON")?;
    for (package, version) in raised(log)? {
        let entry = field(&mut manifest, "Packages").and_then(|packages| packages.get_mut(&package));
        let Some(entry) = entry.and_then(Value::as_object_mut) else {
            bail!("the update log raises package {package:?}, which the manifest does not have");
        };
        let name = entry
            .keys()
            .find(|name| name.eq_ignore_ascii_case("SecurityVersion"))
            .map_or_else(|| "SecurityVersion".to_owned(), Clone::clone);
        entry.insert(name, Value::from(version));
    }
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    sorted(pruned(manifest)).serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(bytes)
}

/// The last version of each package; a full update replaces what was raised before it.
fn raised(log: &[String]) -> Result<BTreeMap<String, u64>> {
    let mut versions = BTreeMap::new();
    for line in log {
        let entry: Value =
            serde_json::from_str(line).context("the update log holds an entry that is no JSON")?;
        if entry.get("update").and_then(Value::as_str) == Some("Complete Manifest updated") {
            versions.clear();
        }
        if let (Some(package), Some(version)) = (
            entry.get("package").and_then(Value::as_str),
            entry.get("new version").and_then(Value::as_u64),
        ) {
            versions.insert(package.to_owned(), version);
        }
    }
    Ok(versions)
}

fn field<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    object
        .as_object_mut()?
        .iter_mut()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Without nulls and empty objects, from the inside out.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, field)| (name, pruned(field)))
                .filter(|(_, field)| {
                    !field.is_null() && field.as_object().is_none_or(|fields| !fields.is_empty())
                })
                .collect(),
        ),
        Value::Array(elements) => Value::Array(elements.into_iter().map(pruned).collect()),
        other => other,
    }
}

/// With sorted keys, however the map of JSON objects was built.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields
                .into_iter()
                .map(|(name, field)| (name, sorted(field)))
                .collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn updates_are_merged() {
        let manifest = br#"{"packages":{"b":{"SecurityVersion":3,"SignerID":null},"a":{"securityversion":1}},"TLS":{},"Config":{"x":{"y":null}},"Users":[{}]}"#;
        let log = log(&[
            r#"{"time":"t","update":"Initial manifest set"}"#,
            r#"{"time":"t","update":"SecurityVersion increased","user":"u","package":"b","new version":5}"#,
            r#"{"time":"t","update":"SecurityVersion increased","user":"u","package":"a","new version":2}"#,
            r#"{"time":"t","update":"SecurityVersion increased","user":"u","package":"b","new version":6}"#,
        ]);
        assert_eq!(
            String::from_utf8(merged(manifest, &log).unwrap()).unwrap(),
            "{\n    \"Users\": [\n        {}\n    ],\n    \"packages\": {\n        \"a\": {\n            \"securityversion\": 2\n        },\n        \"b\": {\n            \"SecurityVersion\": 6\n        }\n    }\n}"
        );
    }

    #[test]
    fn a_full_update_starts_anew() {
        let log = log(&[
            r#"{"update":"SecurityVersion increased","package":"gone","new version":5}"#,
            r#"{"update":"Complete Manifest updated","manifestFingerprint":"00"}"#,
            r#"{"update":"SecurityVersion increased","package":"new","new version":7}"#,
        ]);
        assert_eq!(raised(&log).unwrap(), BTreeMap::from([("new".to_owned(), 7)]));
    }

    #[test]
    fn a_log_that_does_not_fit() {
        let unknown = log(&[r#"{"update":"SecurityVersion increased","package":"x","new version":5}"#]);
        assert!(
            merged(br#"{"Packages":{}}"#, &unknown)
                .unwrap_err()
                .to_string()
                .contains("\"x\"")
        );
        assert!(merged(b"{}", &log(&["no JSON"])).is_err());
        assert!(merged(b"no JSON", &[]).is_err());
    }
}
