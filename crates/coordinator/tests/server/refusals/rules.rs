//! Evidence that verifies and does not comply: each rule of a package and of infrastructures, broken by itself.

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::fakes::{IntelPlatform, QuoteFields, SoftwareTee};
use serde_json::{Value, json};

use super::door::{Expected, Make, Row, any};
use super::make::{enclave, guest, guest_on, sgx, td, tdx_quote};

/// Packages that the evidence of the software TEE, unchanged, complies with.
pub fn manifest() -> Value {
    let tdx = json!({
        "MRTD": "d0".repeat(48), "RTMR0": "a0".repeat(48), "RTMR1": "a1".repeat(48), "RTMR2": "a2".repeat(48),
        "RTMR3": "a3".repeat(48), "MRSEAM": "5e".repeat(48), "MRCONFIGID": "c0".repeat(48), "MROWNER": "0a".repeat(48),
        "MROWNERCONFIG": "0c".repeat(48),
    });
    let snp = json!({
        "Measurement": "3e".repeat(48), "HostData": "05".repeat(32), "IDKeyDigest": "1d".repeat(48),
        "AuthorKeyDigest": "a7".repeat(48), "Product": ["Milan", "Turin"],
        "MinimumTCB": {"BootLoader": 3, "TEE": 2, "SNP": 8, "Microcode": 200},
    });
    let with = |object: &Value, more: &Value| {
        let mut object = object.clone();
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    };
    let own =
        json!({"AcceptedTCBStatuses": ["ConfigurationNeeded"], "AcceptedAdvisories": ["INTEL-SA-99999"]});
    let turin = json!({"Product": "Turin", "MinimumTCB": {"FMC": 1}});
    let debug = json!({"Debug": true});
    let packages = json!({
        "signer": {
            "SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 1,
            "AcceptedAdvisories": ["INTEL-SA-99999"],
        },
        "unique": {"UniqueID": "e1".repeat(32)},
        "debug": {"UniqueID": "e1".repeat(32), "Debug": true},
        "tdx": {"TDX": tdx, "AcceptedAdvisories": ["INTEL-SA-99999"]},
        "tdx-own": {"TDX": with(&tdx, &own)},
        "tdx-hardened": {"TDX": with(&tdx, &json!({"AcceptedAdvisories": ["INTEL-SA-99999"]}))},
        "tdx-debug": {"TDX": with(&tdx, &debug)},
        "snp": {"SNP": snp},
        "snp-debug": {"SNP": with(&snp, &debug)},
        "turin": {"SNP": with(&snp, &turin)},
    });
    let names: Vec<&String> = packages.as_object().unwrap().keys().collect();
    let marbles: Value = names
        .into_iter()
        .map(|name| (name.clone(), json!({"Package": name})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({"Packages": packages, "Marbles": marbles})
}

/// The rule `Packages.<marble type>.<rule>`, broken.
fn broken(marble_type: &'static str, rule: &'static str, evidence: Make, expected: &str, found: &str) -> Row {
    let path = if rule.is_empty() { "" } else { "." };
    let text = format!(
        "marble verification failed: Packages.{marble_type}{path}{rule}: expected {expected}, found {found}"
    );
    Row::new(rule, evidence, Expected::Told(text)).of(marble_type)
}

fn admitted(marble_type: &'static str, evidence: Make) -> Row {
    Row::new("as the manifest says", evidence, Expected::Admitted).of(marble_type)
}

/// An SGX platform whose security versions are all this.
fn rated(svn: u8) -> Make {
    sgx(move |platform, _| at(platform, svn))
}

/// The same with TDX.
fn rated_td(svn: u8) -> Make {
    tdx_quote(move |platform, _| at(platform, svn), |_| {})
}

fn at(platform: &mut IntelPlatform, svn: u8) {
    platform.extension.components = vec![svn; 16];
    platform.extension.cpu_svn = vec![svn; 16];
}

const STATUS: &str = "AcceptedTCBStatuses";
const ADVISORIES: &str = "AcceptedAdvisories";
const DEFAULT: &str = "UpToDate or SWHardeningNeeded";
const ONLY: &str = "only INTEL-SA-99999";
const SA_1: &str = "INTEL-SA-00001";

pub fn sgx_rules() -> Vec<Row> {
    let ones = "01".repeat(32);
    vec![
        admitted("signer", enclave(|_| {})),
        admitted("unique", enclave(|_| {})),
        admitted("debug", enclave(|enclave| enclave.attributes[0] |= 2)),
        broken(
            "signer",
            "Debug",
            enclave(|enclave| enclave.attributes[0] |= 2),
            "false",
            "true",
        ),
        broken("debug", "Debug", enclave(|_| {}), "true", "false"),
        broken(
            "unique",
            "UniqueID",
            enclave(|enclave| enclave.mr_enclave = [1; 32]),
            &"e1".repeat(32),
            &ones,
        ),
        broken(
            "signer",
            "SignerID",
            enclave(|enclave| enclave.mr_signer = [1; 32]),
            &"51".repeat(32),
            &ones,
        ),
        broken(
            "signer",
            "ProductID",
            enclave(|enclave| enclave.product_id = 2),
            "1",
            "2",
        ),
        broken(
            "signer",
            "SecurityVersion",
            enclave(|enclave| enclave.security_version = 0),
            "at least 1",
            "0",
        ),
        broken("signer", STATUS, rated(4), DEFAULT, "OutOfDate"),
        broken("signer", ADVISORIES, rated(5), ONLY, SA_1),
        broken(
            "signer",
            "",
            guest(|_| {}),
            "evidence of a TEE the package names claims for",
            "SEV-SNP evidence",
        ),
    ]
}

pub fn tdx_rules() -> Vec<Row> {
    let ones = "01".repeat(48);
    let measured =
        |rule, evidence, expected: &str| broken("tdx", rule, evidence, &expected.repeat(48), &ones);
    vec![
        admitted("tdx", td(|_| {})),
        admitted("tdx-own", td(|_| {})),
        admitted("tdx-debug", td(|td| td.attributes[0] = 1)),
        broken("tdx", "Debug", td(|td| td.attributes[0] = 1), "false", "true"),
        broken("tdx-debug", "TDX.Debug", td(|_| {}), "true", "false"),
        measured("TDX.MRTD", td(|td| td.mrtd = [1; 48]), "d0"),
        measured("TDX.RTMR0", td(|td| td.rtmr[0] = [1; 48]), "a0"),
        measured("TDX.RTMR1", td(|td| td.rtmr[1] = [1; 48]), "a1"),
        measured("TDX.RTMR2", td(|td| td.rtmr[2] = [1; 48]), "a2"),
        measured("TDX.RTMR3", td(|td| td.rtmr[3] = [1; 48]), "a3"),
        measured("TDX.MRSEAM", td(|td| td.mr_seam = [1; 48]), "5e"),
        measured("TDX.MRCONFIGID", td(|td| td.mr_config_id = [1; 48]), "c0"),
        measured("TDX.MROWNER", td(|td| td.mr_owner = [1; 48]), "0a"),
        measured("TDX.MROWNERCONFIG", td(|td| td.mr_owner_config = [1; 48]), "0c"),
        broken("tdx", STATUS, rated_td(4), DEFAULT, "OutOfDate"),
        broken(
            "tdx",
            STATUS,
            td(|td| td.tee_tcb_svn[0] = 3),
            DEFAULT,
            "OutOfDate",
        ),
        broken("tdx", ADVISORIES, rated_td(5), ONLY, SA_1),
        broken(
            "tdx-own",
            "TDX.AcceptedTCBStatuses",
            rated_td(5),
            "UpToDate or one of ConfigurationNeeded",
            "SWHardeningNeeded",
        ),
        broken("tdx-hardened", "TDX.AcceptedAdvisories", rated_td(5), ONLY, SA_1),
    ]
}

pub fn snp_rules() -> Vec<Row> {
    let ones = |length: usize| "01".repeat(length);
    let older = |rule, at: usize, found: u8, minimum: u8| {
        let evidence = guest(move |report| report.reported_tcb[at] = found);
        broken(
            "snp",
            rule,
            evidence,
            &format!("at least {minimum}"),
            &found.to_string(),
        )
    };
    let turin = |change: fn(&mut _)| guest_on(SnpProduct::Turin, SnpSigningKey::Vcek, change);
    vec![
        admitted("snp", guest(|_| {})),
        admitted("snp", turin(|_| {})),
        admitted("turin", turin(|_| {})),
        admitted("snp-debug", guest(|report| report.policy |= 1 << 19)),
        broken(
            "snp",
            "Debug",
            guest(|report| report.policy |= 1 << 19),
            "false",
            "true",
        ),
        broken("snp-debug", "SNP.Debug", guest(|_| {}), "true", "false"),
        broken(
            "snp",
            "SNP",
            guest(|report| report.policy |= 1 << 18),
            "a guest policy without migration agent",
            "one that allows it",
        ),
        broken("snp", "SNP.VMPL", guest(|report| report.vmpl = 1), "0", "1"),
        broken(
            "snp",
            "SNP.Measurement",
            guest(|report| report.measurement = [1; 48]),
            &"3e".repeat(48),
            &ones(48),
        ),
        broken(
            "snp",
            "SNP.HostData",
            guest(|report| report.host_data = [1; 32]),
            &"05".repeat(32),
            &ones(32),
        ),
        broken(
            "snp",
            "SNP.IDKeyDigest",
            guest(|report| report.id_key_digest = [1; 48]),
            &"1d".repeat(48),
            &ones(48),
        ),
        broken(
            "snp",
            "SNP.AuthorKeyDigest",
            guest(|report| report.author_key_digest = [1; 48]),
            &"a7".repeat(48),
            &ones(48),
        ),
        broken(
            "snp",
            "SNP.Product",
            guest_on(SnpProduct::Genoa, SnpSigningKey::Vcek, |_| {}),
            "Milan or Turin",
            "Genoa",
        ),
        older("SNP.MinimumTCB.BootLoader", 0, 2, 3),
        older("SNP.MinimumTCB.TEE", 1, 1, 2),
        older("SNP.MinimumTCB.SNP", 6, 7, 8),
        older("SNP.MinimumTCB.Microcode", 7, 199, 200),
        broken(
            "turin",
            "SNP.MinimumTCB.FMC",
            turin(|report: &mut marblerun_attestation::fakes::SnpReportFields| report.reported_tcb[0] = 0),
            "at least 1",
            "0",
        ),
    ]
}

/// A manifest with one platform, under the root of the software TEE or under another.
pub fn infrastructures(of_another_root: bool) -> Value {
    let tee = if of_another_root {
        SoftwareTee::generate()
    } else {
        SoftwareTee::development()
    };
    let root = tee
        .unwrap()
        .intel(marblerun_attestation::collateral::DcapTee::Sgx)
        .root_der()
        .unwrap();
    let mut manifest = manifest();
    manifest["Infrastructures"] = json!({
        "here": {"CPUSVN": vec![8; 16], "QESVN": 9, "PCESVN": 12, "RootCA": root},
    });
    manifest
}

/// Evidence of the platform that is listed.
fn listed(change: fn(&mut IntelPlatform, &mut QuoteFields)) -> Make {
    sgx(move |platform, quote| {
        at(platform, 8);
        platform.extension.pce_svn = 12;
        quote.quoting_enclave.security_version = 9;
        change(platform, quote);
    })
}

fn not_listed(name: &'static str, evidence: Make, expected: &str, found: &str) -> Row {
    let text = format!(
        "marble verification failed: Infrastructures: expected a platform that is listed, found \
         Infrastructures.here.{name}: expected {expected}, found {found}"
    );
    Row::new(name, evidence, Expected::Told(text)).of("unique")
}

pub fn infrastructure_rules() -> Vec<Row> {
    let no_platform_of_intel = "marble verification failed: Infrastructures: expected an Intel platform that is \
                                listed, found a platform with SEV-SNP";
    vec![
        admitted("unique", listed(|_, _| {})),
        not_listed(
            "CPUSVN",
            listed(|platform, _| at(platform, 9)),
            &"08".repeat(16),
            &"09".repeat(16),
        ),
        not_listed(
            "QESVN",
            listed(|_, quote| quote.quoting_enclave.security_version = 8),
            "at least 9",
            "8",
        ),
        not_listed(
            "PCESVN",
            listed(|platform, _| platform.extension.pce_svn = 11),
            "at least 12",
            "11",
        ),
        Row::new(
            "SEV-SNP",
            guest(|_| {}),
            Expected::Told(no_platform_of_intel.to_owned()),
        )
        .of("snp"),
    ]
}

pub fn root_rule() -> Row {
    let certificate = &format!("the certificate with SHA-256 {}", any());
    not_listed("RootCA", listed(|_, _| {}), certificate, certificate)
}
