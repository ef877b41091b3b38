//! Writes certificates of random deployments to standard output, for tools that judge certificates: one a line, its
//! class (`ca`, `marble`, `default-secret`, `template-secret`) and its DER in base64.
//!
//! `cargo run -p marblerun-core --example certificates -- COUNT SEED`: at least COUNT certificates; the same SEED
//! gives certificates that say the same, with other keys.

#![expect(
    clippy::indexing_slicing,
    reason = "fields of JSON objects that are made here"
)]

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_attestation::{Admission, SimulationMode};
use marblerun_core::ambient::{Ambient, Dice as _, Timestamp};
use marblerun_core::decision::{Decision, Verdict};
use marblerun_core::flow::{activate, set_manifest};
use marblerun_core::manifest::{HsmEnvironment, Limits};
use marblerun_core::pki::{CryptoSuite, HostName, authority};
use marblerun_core::refusal::Refusal;
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;
use serde_json::{Map, Value, json};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MARBLES: u32 = 3;
const DEFAULT_SECRETS: u32 = 4;
const TEMPLATE_SECRETS: u32 = 4;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments
        .next()
        .ok_or("expected the number of certificates")?
        .parse()?;
    let seed: u64 = arguments.next().ok_or("expected a seed")?.parse()?;
    let mut random = Random(TestDice::new(seed));
    let mut out = std::io::stdout().lock();
    let mut written = 0;
    while written < count {
        let certificates = deployment(&mut random)?;
        for (class, der) in &certificates {
            writeln!(out, "{class} {}", STANDARD.encode(der))?;
        }
        written += certificates.len();
    }
    Ok(())
}

/// The certificates of one deployment: authority, then for each marble its own and its secrets'.
fn deployment(random: &mut Random) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let dice = TestDice::new(random.below(u64::MAX));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let ambient = Ambient {
        now: Timestamp::from_unix_seconds(i64::try_from(seconds)?),
        dice: &dice,
    };
    let names: Vec<HostName> = random
        .hosts()
        .iter()
        .map(|name| HostName::parse(name))
        .collect::<std::result::Result<_, _>>()?;
    let suite = *random.one_of(&CryptoSuite::ALL);
    let authority = authority::create(suite, &names, None, &ambient)?;
    let mut found = vec![
        ("ca", authority.root.to_vec()),
        ("ca", authority.intermediate.to_vec()),
        ("ca", authority.marble_root.to_vec()),
    ];
    let root_secret = SecretBytes::fill_with(32, |out| dice.fill(out));
    let mut state = State::begin(authority, root_secret, false);
    let manifest = manifest(random).to_string();
    let environment = HsmEnvironment::from_lookup(|_| false);
    let prepared = set_manifest::prepare(
        &state,
        manifest.as_bytes(),
        &Limits::default(),
        &environment,
        &ambient,
    )
    .map_err(|refusal| format!("{refusal}\n{manifest}"))?;
    for change in decided(set_manifest::decide(&state, &prepared, &ambient))?.changes {
        state.apply(&change);
    }
    for number in 0..MARBLES {
        let admission = Admission::Simulated(SimulationMode::by_explicit_configuration());
        let csr = request(random)?;
        let request = activate::Request {
            marble_type: &format!("marble{number}"),
            uuid: &Uuid::from_u128(u128::from(random.below(u64::MAX)) << 64 | 1).to_string(),
            csr: &csr,
            admission: &admission,
        };
        let prepared = activate::prepare(&state, request, &ambient)?;
        let parameters = decided(activate::decide(&state, &prepared))?.reply.parameters;
        for (variable, value) in &parameters.env {
            let class = match variable.trim_end_matches(|end: char| end.is_ascii_digit()) {
                "MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN" => "marble",
                "DEFAULT" if number == 0 => "default-secret",
                "TEMPLATE" if number == 0 => "template-secret",
                _ => continue,
            };
            found.push((class, first_certificate(value)?));
        }
    }
    Ok(found)
}

fn decided<R>(verdict: std::result::Result<Verdict<R>, Refusal>) -> Result<Decision<R>> {
    match verdict? {
        Verdict::Decided(decision) => Ok(decision),
        Verdict::Stale => Err("the state changed meanwhile".into()),
    }
}

fn first_certificate(pem: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(pem)?;
    let body: String = text
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('-'))
        .collect();
    Ok(STANDARD.decode(body)?)
}

fn manifest(random: &mut Random) -> Value {
    let mut secrets = Map::new();
    let mut env = Map::new();
    let numbered = [("DEFAULT", DEFAULT_SECRETS), ("TEMPLATE", TEMPLATE_SECRETS)];
    for (kind, count) in numbered {
        for number in 0..count {
            let name = format!("{kind}{number}");
            let (family, size) = *random.one_of(&[
                ("cert-ecdsa", 224),
                ("cert-ecdsa", 256),
                ("cert-ecdsa", 384),
                ("cert-ecdsa", 521),
                ("cert-ed25519", 0),
                ("cert-rsa", 2048),
                ("cert-rsa", 3072),
            ]);
            let mut secret = json!({"Type": family, "Size": size, "Shared": random.flag()});
            if kind == "TEMPLATE" {
                template(random, family, &mut secret);
            }
            env.insert(name.clone(), json!(format!("{{{{ pem .Secrets.{name} }}}}")));
            secrets.insert(name, secret);
        }
    }
    let marbles: Map<String, Value> = (0..MARBLES)
        .map(|number| {
            let env = if number == 0 { json!(env) } else { json!({}) };
            let marble = json!({"Package": "package", "Parameters": {"Env": env}});
            (format!("marble{number}"), marble)
        })
        .collect();
    json!({
        "Packages": {"package": {"Debug": true}},
        "Marbles": marbles,
        "Secrets": secrets,
    })
}

/// A certificate as an author who knows RFC 5280 would ask for it.
fn template(random: &mut Random, family: &str, secret: &mut Value) {
    const KEY_ENCIPHERMENT: u64 = 4;
    const KEY_AGREEMENT: u64 = 16;
    let mut subject = json!({"CommonName": random.words(3)});
    for field in [
        "Organization",
        "OrganizationalUnit",
        "Locality",
        "Province",
        "StreetAddress",
        "PostalCode",
    ] {
        if random.flag() {
            subject[field] = json!([random.words(2)]);
        }
    }
    if random.flag() {
        subject["Country"] = json!([random.one_of(&["DE", "US", "JP"])]);
        subject["SerialNumber"] = json!(random.below(1_000_000).to_string());
    }
    let host = random.host();
    let mut cert = json!({
        "Subject": subject,
        "DNSNames": [host, random.host()],
        "IPAddresses": [random.one_of(&["10.1.2.3", "2001:db8::7"])],
    });
    if random.flag() {
        cert["EmailAddresses"] = json!([format!("someone@{}", random.host())]);
        cert["URIs"] = json!([{"Scheme": "https", "Host": random.host(), "Path": "/path"}]);
    }
    if random.flag() {
        cert["OCSPServer"] = json!([format!("http://{}/ocsp", random.host())]);
        cert["IssuingCertificateURL"] = json!([format!("http://{}/ca.der", random.host())]);
        cert["CRLDistributionPoints"] = json!([format!("http://{}/list.crl", random.host())]);
    }
    if random.flag() {
        cert["PolicyIdentifiers"] = json!([[1, 2, 3, random.below(100_000)], [2, 23, 140, 1, 2, 1]]);
    }
    if random.below(3) == 0 {
        cert["IsCA"] = json!(true);
        cert["KeyUsage"] = json!(32 + 64 + random.below(2));
        cert["ExtKeyUsage"] = json!([]);
        if random.flag() {
            cert["MaxPathLen"] = json!(random.below(3));
            cert["MaxPathLenZero"] = json!(true);
        }
        if random.flag() {
            cert["PermittedDNSDomainsCritical"] = json!(true);
            cert["PermittedDNSDomains"] = json!([random.host()]);
            cert["ExcludedEmailAddresses"] = json!([random.host()]);
            cert["PermittedIPRanges"] = json!([{"IP": "10.0.0.0", "Mask": "/wAAAA=="}]);
            cert["ExcludedURIDomains"] = json!([format!(".{}", random.host())]);
        }
    } else {
        let more = match family {
            "cert-rsa" => KEY_ENCIPHERMENT,
            "cert-ecdsa" => KEY_AGREEMENT,
            _ => 0,
        };
        cert["KeyUsage"] = json!(1 + if random.flag() { more } else { 0 });
        cert["ExtKeyUsage"] = json!([1, 2]);
        cert["SubjectKeyId"] = json!(STANDARD.encode(random.bytes(20)));
    }
    if random.flag() {
        secret["ValidFor"] = json!(1 + random.below(3650));
    } else {
        cert["NotAfter"] = json!(format!("{}-12-31T23:59:59Z", 2030 + random.below(100)));
    }
    secret["Cert"] = cert;
}

/// A certificate request of a marble.
fn request(random: &mut Random) -> Result<Vec<u8>> {
    let mut parameters = rcgen::CertificateParams::new(random.hosts())?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, random.words(2));
    name.push(rcgen::DnType::OrganizationName, random.words(2));
    if random.flag() {
        name.push(rcgen::DnType::CountryName, "DE");
        name.push(rcgen::DnType::LocalityName, random.words(1));
    }
    parameters.distinguished_name = name;
    let key = rcgen::KeyPair::generate()?;
    Ok(parameters.serialize_request(&key)?.der().to_vec())
}

/// Choices, from dice with a seed.
struct Random(TestDice);

impl Random {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill(&mut bytes);
        bytes
    }

    fn below(&mut self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % end
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn one_of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        let index = usize::try_from(self.below(items.len() as u64)).unwrap_or(0);
        &items[index]
    }

    fn words(&mut self, count: u32) -> String {
        const WORDS: [&str; 8] = [
            "Zeta",
            "größe",
            "O'Neil",
            "a&b",
            "Tōkyō",
            "x",
            "Company, Inc.",
            "plain",
        ];
        let words: Vec<&str> = (0..count).map(|_| *self.one_of(&WORDS)).collect();
        words.join(" ")
    }

    fn host(&mut self) -> String {
        let label = *self.one_of(&[
            "a",
            "service-1",
            "xn--gre-6ka8b",
            "very-long-label-of-a-host-name",
        ]);
        let domain = *self.one_of(&["example.com", "example.org", "cluster.local"]);
        format!("{label}{}.{domain}", self.below(1000))
    }

    /// Names and addresses.
    fn hosts(&mut self) -> Vec<String> {
        let mut hosts: Vec<String> = (0..=self.below(4)).map(|_| self.host()).collect();
        if self.flag() {
            hosts.push("localhost".to_owned());
        }
        if self.flag() {
            hosts.push(format!("10.{}.2.3", self.below(256)));
            hosts.push(format!("2001:db8::{:x}", 1 + self.below(65_535)));
        }
        hosts
    }
}
