//! Transparent TLS wraps a program's connections from below, which takes a runtime that sits between program and
//! sockets. The premain is gone once the program runs, so it refuses a marble that relies on it: silently starting
//! one would send in the clear what the manifest wants encrypted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use marblerun_wire::marble::{ENVIRONMENT_TTLS_CONFIG, Parameters};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The manifest has TLS tags for this marble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manifest gives this marble TLS tags ({demanded}), but transparent TLS is not possible here: expected a \
     marble without `TLS`, or a runtime that does it"
)]
pub struct TransparentTlsDemanded {
    /// The connections, as in `MARBLE_TTLS_CONFIG`.
    pub demanded: String,
}

/// Refuses when `MARBLE_TTLS_CONFIG` is among the parameters or, set by whoever started the premain, `inherited`.
pub(super) fn refuse(
    parameters: &Parameters,
    inherited: Option<&OsStr>,
) -> Result<(), TransparentTlsDemanded> {
    match parameters
        .env
        .get(ENVIRONMENT_TTLS_CONFIG)
        .map(Vec::as_slice)
        .or(inherited.map(OsStr::as_bytes))
    {
        None => Ok(()),
        Some(configuration) => Err(TransparentTlsDemanded {
            demanded: describe(configuration),
        }),
    }
}

/// Names of connections only: the rest of the configuration is keys and certificates, and is not even kept.
#[derive(Deserialize)]
struct Configuration {
    tls: Connections,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Connections {
    #[serde(default)]
    incoming: BTreeMap<String, IgnoredAny>,
    #[serde(default)]
    outgoing: BTreeMap<String, IgnoredAny>,
}

fn describe(configuration: &[u8]) -> String {
    let Ok(Configuration { tls }) = serde_json::from_slice(configuration) else {
        return "MARBLE_TTLS_CONFIG in an unknown form".to_owned();
    };
    let incoming = tls.incoming.keys().map(|name| format!("incoming {name}"));
    let outgoing = tls.outgoing.keys().map(|name| format!("outgoing {name}"));
    let connections: Vec<String> = incoming.chain(outgoing).collect();
    if connections.is_empty() {
        "which name no connection".to_owned()
    } else {
        connections.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(configuration: &str) -> String {
        let mut parameters = Parameters::default();
        parameters
            .env
            .insert(ENVIRONMENT_TTLS_CONFIG.into(), configuration.into());
        refuse(&parameters, None).unwrap_err().demanded
    }

    #[test]
    fn without_configuration_there_is_nothing_to_refuse() {
        assert_eq!(refuse(&Parameters::default(), None), Ok(()));
    }

    #[test]
    fn connections_are_named_and_nothing_else() {
        let demanded = refused(
            r#"{"tls": {"Incoming": {"*:8080": {"clikey": "secret"}, "*:443": {}},
                        "Outgoing": {"backend:80": {"clikey": "secret"}}}}"#,
        );
        assert_eq!(demanded, "incoming *:443, incoming *:8080, outgoing backend:80");
    }

    #[test]
    fn any_configuration_is_refused() {
        assert_eq!(
            refused(r#"{"tls": {"Incoming": {}, "Outgoing": {}}}"#),
            "which name no connection"
        );
        for unknown in ["", "{}", "[]", "secret"] {
            assert_eq!(refused(unknown), "MARBLE_TTLS_CONFIG in an unknown form");
        }
        assert!(refuse(&Parameters::default(), Some(OsStr::new("{}"))).is_err());
    }
}
