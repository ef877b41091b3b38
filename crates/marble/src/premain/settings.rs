//! The environment variables the marble side reads (spec/04, "Marble environment").

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{self, CoordinatorAddress};

/// What `EDG_MARBLE_…` say, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `EDG_MARBLE_TYPE`
    pub marble_type: String,
    /// `EDG_MARBLE_COORDINATOR_ADDR`
    pub coordinator: CoordinatorAddress,
    /// `EDG_MARBLE_COORDINATOR_ROOT`: file with the root certificate the Coordinator must have.
    pub coordinator_root: Option<PathBuf>,
    /// `EDG_MARBLE_DNS_NAMES`, with 127.0.0.1 and ::1.
    pub names: Names,
    /// `EDG_MARBLE_UUID_FILE`
    pub uuid_file: PathBuf,
    /// `EDG_MARBLE_ACTIVATION_TIMEOUT`: how long attempts to reach the Coordinator are begun.
    pub activation_timeout: Duration,
    /// `EDG_MARBLE_EVIDENCE_FILE`: where the evidence is left if the marble is not activated.
    pub evidence_file: Option<PathBuf>,
    /// `EDG_SIMULATED_TEE` and `EDG_SIMULATED_CLAIMS`, or `OE_SIMULATION=1`: what is simulated where there is no TEE.
    pub simulated: Option<Simulated>,
}

/// Evidence of the software TEE, for a marble without TEE (spec/08, "Simulation mode").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// `sgx`, `tdx` or `snp`.
    pub tee: String,
    /// JSON object with what it claims.
    pub claims: Option<String>,
}

/// The names a marble asks to have in its certificate; without repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// DNS names, ASCII.
    pub dns: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// `EDG_LOG_FORMAT`: `json`, ignoring case; anything else is text (spec/04).
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        match variable("EDG_LOG_FORMAT") {
            Some(value) if value.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Text,
        }
    }
}

/// A variable that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not set, or empty.
    #[error("{variable} is not set: expected {expected}")]
    Missing {
        /// Name of the variable.
        variable: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// Set to something else than it takes.
    #[error("{variable} is {found:?}: expected {expected}")]
    Wrong {
        /// Name of the variable.
        variable: &'static str,
        /// What it is set to, or the part of it that is wrong.
        found: OsString,
        /// What belongs there.
        expected: &'static str,
    },
}

impl Settings {
    /// From the environment that `variable` gives; an empty variable counts as not set.
    ///
    /// # Errors
    /// [`SettingsError`] names the variable.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &'static str, expected: &'static str| match set(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(found)) => Err(SettingsError::Wrong {
                variable: name,
                found,
                expected,
            }),
        };

        let expected = "a marble type of the manifest";
        let marble_type = text(MARBLE_TYPE, expected)?.ok_or(SettingsError::Missing {
            variable: MARBLE_TYPE,
            expected,
        })?;

        let address = text(COORDINATOR_ADDRESS, address::EXPECTED)?;
        let coordinator = parse_address(address.as_deref().unwrap_or("localhost:2001"))?;

        let coordinator_root = set(COORDINATOR_ROOT).map(PathBuf::from);

        let names = text(DNS_NAMES, NAMES_EXPECTED)?;
        let names = parse_names(names.as_deref().unwrap_or("localhost"))?;

        let uuid_file = match set("EDG_MARBLE_UUID_FILE") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(set("EDG_CWD").unwrap_or_default()).join("uuid"),
        };

        let timeout = text(ACTIVATION_TIMEOUT, TIMEOUT_EXPECTED)?;
        let activation_timeout = parse_duration(timeout.as_deref().unwrap_or("60s"))?;

        let simulation = text("OE_SIMULATION", SWITCH_EXPECTED)?;
        let simulation = parse_switch("OE_SIMULATION", simulation.as_deref())?;
        let tee = text(SIMULATED_TEE, TEES_EXPECTED)?;
        let claims = text("EDG_SIMULATED_CLAIMS", "a JSON object")?;
        let simulated = match tee.as_deref() {
            Some("sgx" | "tdx" | "snp") => tee,
            Some(other) => {
                return Err(SettingsError::Wrong {
                    variable: SIMULATED_TEE,
                    found: other.into(),
                    expected: TEES_EXPECTED,
                });
            }
            None => simulation.then(|| "sgx".to_owned()),
        };

        Ok(Self {
            marble_type,
            coordinator,
            coordinator_root,
            names,
            uuid_file,
            activation_timeout,
            evidence_file: set(EVIDENCE_FILE).map(PathBuf::from),
            simulated: simulated.map(|tee| Simulated { tee, claims }),
        })
    }
}

const MARBLE_TYPE: &str = "EDG_MARBLE_TYPE";
const COORDINATOR_ADDRESS: &str = "EDG_MARBLE_COORDINATOR_ADDR";
/// Names the file with the pinned root certificate.
pub(super) const COORDINATOR_ROOT: &str = "EDG_MARBLE_COORDINATOR_ROOT";
const DNS_NAMES: &str = "EDG_MARBLE_DNS_NAMES";
const ACTIVATION_TIMEOUT: &str = "EDG_MARBLE_ACTIVATION_TIMEOUT";
/// Names the file in which evidence is left that did not suffice.
pub(super) const EVIDENCE_FILE: &str = "EDG_MARBLE_EVIDENCE_FILE";

const SIMULATED_TEE: &str = "EDG_SIMULATED_TEE";
const TEES_EXPECTED: &str = "sgx, tdx or snp";
const SWITCH_EXPECTED: &str = "1 (on) or 0 (off)";

const NAMES_EXPECTED: &str = "DNS names and IP addresses, separated by commas";
const TIMEOUT_EXPECTED: &str =
    "a whole number with unit ms, s, m or h (without unit: seconds), at most 24 hours";

const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

fn parse_switch(variable: &'static str, text: Option<&str>) -> Result<bool, SettingsError> {
    match text {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(SettingsError::Wrong {
            variable,
            found: other.into(),
            expected: SWITCH_EXPECTED,
        }),
    }
}

fn parse_address(text: &str) -> Result<CoordinatorAddress, SettingsError> {
    text.parse().map_err(|_| SettingsError::Wrong {
        variable: COORDINATOR_ADDRESS,
        found: text.into(),
        expected: address::EXPECTED,
    })
}

fn parse_names(text: &str) -> Result<Names, SettingsError> {
    let mut names = Names {
        dns: Vec::new(),
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
    };
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if let Ok(address) = name.parse() {
            if !names.addresses.contains(&address) {
                names.addresses.push(address);
            }
        } else if name.is_ascii() && !name.contains(|c: char| c.is_ascii_control() || c == ' ') {
            if !names.dns.iter().any(|known| known == name) {
                names.dns.push(name.to_owned());
            }
        } else {
            return Err(SettingsError::Wrong {
                variable: DNS_NAMES,
                found: name.into(),
                expected: NAMES_EXPECTED,
            });
        }
    }
    Ok(names)
}

fn parse_duration(text: &str) -> Result<Duration, SettingsError> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds: u64 = match text.strip_prefix(digits) {
        Some("ms") => 1,
        Some("s" | "") => 1000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => 0,
    };
    digits
        .parse::<u64>()
        .ok()
        .filter(|_| milliseconds > 0 && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST_TIMEOUT)
        .ok_or_else(|| SettingsError::Wrong {
            variable: ACTIVATION_TIMEOUT,
            found: text.into(),
            expected: TIMEOUT_EXPECTED,
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    fn localhost() -> Vec<IpAddr> {
        vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]
    }

    #[test]
    fn only_the_type_is_required() {
        let expected = Settings {
            marble_type: "frontend".into(),
            coordinator: "localhost:2001".parse().unwrap(),
            coordinator_root: None,
            names: Names {
                dns: vec!["localhost".into()],
                addresses: localhost(),
            },
            uuid_file: "uuid".into(),
            activation_timeout: Duration::from_secs(60),
            evidence_file: None,
            simulated: None,
        };
        assert_eq!(read(&[(MARBLE_TYPE, "frontend")]).as_ref(), Ok(&expected));
        let empty = [
            (MARBLE_TYPE, "frontend"),
            (COORDINATOR_ADDRESS, ""),
            (COORDINATOR_ROOT, ""),
            (DNS_NAMES, ""),
            ("EDG_MARBLE_UUID_FILE", ""),
            ("EDG_CWD", ""),
            (ACTIVATION_TIMEOUT, ""),
            (EVIDENCE_FILE, ""),
            (SIMULATED_TEE, ""),
            ("OE_SIMULATION", "0"),
        ];
        assert_eq!(read(&empty), Ok(expected));
        for missing in [&[][..], &[(MARBLE_TYPE, "")]] {
            assert_eq!(
                read(missing).unwrap_err().to_string(),
                "EDG_MARBLE_TYPE is not set: expected a marble type of the manifest"
            );
        }
    }

    #[test]
    fn a_tee_is_simulated_only_when_that_is_asked_for() {
        let with = |more: &[(&str, &str)]| {
            let settings = read(&[&[(MARBLE_TYPE, "t")], more].concat());
            settings.map(|settings| {
                settings
                    .simulated
                    .map(|simulated| (simulated.tee, simulated.claims))
            })
        };
        assert_eq!(with(&[("EDG_SIMULATED_CLAIMS", "{}")]), Ok(None));
        assert_eq!(with(&[("OE_SIMULATION", "1")]), Ok(Some(("sgx".into(), None))));
        let claims = [(SIMULATED_TEE, "snp"), ("EDG_SIMULATED_CLAIMS", "{}")];
        assert_eq!(with(&claims), Ok(Some(("snp".into(), Some("{}".into())))));
        for (variable, value) in [(SIMULATED_TEE, "sev"), ("OE_SIMULATION", "yes")] {
            let refused = with(&[(variable, value)]).unwrap_err().to_string();
            assert!(refused.starts_with(variable), "{refused}");
        }
    }

    #[test]
    fn the_uuid_file_is_looked_for_in_this_order() {
        let with = |more: &[(&str, &str)]| read(&[&[(MARBLE_TYPE, "t")], more].concat()).unwrap().uuid_file;
        assert_eq!(
            with(&[("EDG_CWD", "/home/marble")]),
            PathBuf::from("/home/marble/uuid")
        );
        let both = [("EDG_CWD", "/home/marble"), ("EDG_MARBLE_UUID_FILE", "/data/id")];
        assert_eq!(with(&both), PathBuf::from("/data/id"));
    }

    #[test]
    fn names_are_divided_by_kind_and_not_repeated() {
        let names = parse_names(" a.example ,,10.0.0.1,a.example,::1,fe80::1, *.b").unwrap();
        assert_eq!(names.dns, ["a.example", "*.b"]);
        let addresses = [
            localhost(),
            vec!["10.0.0.1".parse().unwrap(), "fe80::1".parse().unwrap()],
        ]
        .concat();
        assert_eq!(names.addresses, addresses);
        assert!(parse_names(",").unwrap().dns.is_empty());
        for text in ["a,bü", "a b"] {
            assert!(matches!(
                parse_names(text),
                Err(SettingsError::Wrong {
                    variable: DNS_NAMES,
                    ..
                })
            ));
        }
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("60", 60_000),
            ("0", 0),
            ("1500ms", 1500),
            ("2s", 2000),
            ("3m", 180_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in [
            "",
            "s",
            "-1",
            "+1",
            "1.5s",
            "1 s",
            "1d",
            "25h",
            "99999999999999999999",
            "18446744073709551615h",
        ] {
            assert!(
                matches!(
                    parse_duration(text),
                    Err(SettingsError::Wrong {
                        variable: ACTIVATION_TIMEOUT,
                        ..
                    })
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let refused =
            Settings::read(|name| (name == MARBLE_TYPE).then(|| OsString::from_vec(vec![0xFF]))).unwrap_err();
        assert!(matches!(
            refused,
            SettingsError::Wrong {
                variable: MARBLE_TYPE,
                ..
            }
        ));
    }

    #[test]
    fn the_log_format_ignores_case_and_defaults_to_text() {
        let format = |value: &'static str| LogFormat::read(|_| Some(value.into()));
        assert_eq!(
            [format("json"), format("JSON"), format("Json")],
            [LogFormat::Json; 3]
        );
        assert_eq!(
            [format(""), format("text"), LogFormat::read(|_| None)],
            [LogFormat::Text; 3]
        );
    }
}
