//! `quote show`, on evidence of real hardware and on anything else.

use std::path::PathBuf;

use serde_json::Value;

use super::support::{Home, Outcome};

fn evidence(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../attestation/tests/evidence");
    std::fs::read(folder.join(name)).unwrap()
}

/// A certificate, PEM and DER, with the evidence that is made for its SubjectPublicKeyInfo.
pub fn certificate_with(make: impl FnOnce(&[u8]) -> Vec<u8>) -> (String, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let info = rcgen::PublicKeyData::subject_public_key_info(&key);
    let value = marblerun_attestation::certificate::encode(&make(&info), &info).unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["coordinator.example".to_owned()]).unwrap();
    let id = [2, 23, 133, 5, 4, 9];
    parameters.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&id, value)];
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), certificate.der().to_vec())
}

fn show(home: &Home, content: impl AsRef<[u8]>, more: &[&str]) -> Outcome {
    home.write("evidence", content);
    let outcome = home.run(&[&["quote", "show", "evidence"], more].concat());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    outcome
}

fn json(home: &Home, content: impl AsRef<[u8]>) -> Value {
    let (code, value) = coded(home, content);
    assert_eq!(code, 0, "{value}");
    value
}

/// Exit code and what is shown all the same.
fn coded(home: &Home, content: impl AsRef<[u8]>) -> (i32, Value) {
    home.write("evidence", content);
    let outcome = home.run(&["quote", "show", "evidence", "--format=json"]);
    assert!(outcome.stderr.contains("UNVERIFIED"), "{}", outcome.stderr);
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(value["verified"], false);
    (outcome.code, value)
}

#[test]
fn an_sgx_quote_is_shown_down_to_its_certificates() {
    let home = Home::new();
    let quote = evidence("sgx_v3.quote");
    let outcome = show(&home, &quote, &[]);
    assert!(
        outcome
            .stdout
            .starts_with("verified: no\nform: binary\nformat: SGX quote (version 3)\n")
    );
    for line in [
        "\nsize: 4600 bytes\n",
        "\n  QE vendor id: 939a7233f79c4ca9940a0db3957f0607\n",
        "\nenclave report:\n  CPUSVN: ",
        "\n  ISVPRODID: ",
        "\n  QE report:\n    CPUSVN: ",
        "\n    certificate 1:\n      subject: ",
        "CN=Intel SGX PCK Certificate",
        "\n      FMSPC: ",
        "\n    certificate 3:\n",
    ] {
        assert!(outcome.stdout.contains(line), "{line:?}: {}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("problem"), "{}", outcome.stdout);

    // The values are those at the places of the format.
    let value = json(&home, &quote);
    let report = &value["evidence"]["enclave report"];
    for (field, offset, length) in [
        ("CPUSVN", 48, 16),
        ("MRENCLAVE", 48 + 64, 32),
        ("MRSIGNER", 48 + 128, 32),
        ("REPORTDATA", 48 + 320, 64),
    ] {
        assert_eq!(
            report[field],
            hex::encode(&quote[offset..offset + length]),
            "{field}"
        );
    }
    let svn = u16::from_le_bytes([quote[48 + 258], quote[48 + 259]]);
    assert_eq!(report["ISVSVN"], svn.to_string());
}

#[test]
fn every_form_shows_the_same() {
    use base64::Engine as _;
    let home = Home::new();
    let quote = evidence("sgx_v3.quote");
    let mut headed = vec![1, 0, 0, 0, 2, 0, 0, 0];
    headed.extend((quote.len() as u64).to_le_bytes());
    headed.extend(&quote);

    let shown = json(&home, &quote)["evidence"].clone();
    let digits = hex::encode(&quote);
    let wrapped: Vec<&str> = digits
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&quote);
    for (form, content) in [
        ("hex", wrapped.join("\n")),
        ("hex", digits.to_uppercase()),
        ("base64", base64),
    ] {
        let value = json(&home, content);
        assert_eq!((&value["form"], &value["evidence"]), (&Value::from(form), &shown));
    }
    let (pem, der) = certificate_with(|_| quote.clone());
    for certificate in [pem.as_bytes(), &der] {
        let value = json(&home, certificate);
        let form = Value::from("certificate");
        assert_eq!((&value["form"], &value["evidence"]), (&form, &shown));
    }
    let value = json(&home, &headed)["evidence"].clone();
    assert_eq!(value["Open Enclave header"], "16 bytes");
    assert_eq!(value["enclave report"], shown["enclave report"]);
    assert_eq!(value["signature data"], shown["signature data"]);
}

#[test]
fn tdx_quotes_are_shown() {
    let home = Home::new();
    let quote = evidence("tdx_v4.quote");
    let value = json(&home, &quote)["evidence"].clone();
    assert_eq!(value["format"], "TDX quote (version 4)");
    assert_eq!(value["header"]["TEE type"], "81000000 (TDX)");
    let report = &value["TD report"];
    assert_eq!(report["MRTD"], hex::encode(&quote[48 + 136..48 + 184]));
    assert_eq!(report["RTMR3"], hex::encode(&quote[48 + 472..48 + 520]));
    assert_eq!(report["REPORTDATA"], hex::encode(&quote[48 + 520..48 + 584]));
    assert!(
        report["TDATTRIBUTES"]
            .as_str()
            .unwrap()
            .contains("SEPT_VE_DISABLE")
    );
    assert_eq!(value["behind the quote"], "70 bytes, all zero");
    let chain = &value["signature data"]["certification data"]["certificates"];
    assert!(
        chain["certificate 2"]["subject"]
            .as_str()
            .unwrap()
            .contains("PCK Platform CA")
    );

    for name in ["tdx_v5_15.quote", "tdx_v5_15ex.quote"] {
        let value = json(&home, evidence(name))["evidence"].clone();
        assert_eq!(value["format"], "TDX quote (version 5)");
        assert!(value["TD report"]["MRSERVICETD"].is_string());
        assert_eq!(value.get("problem"), None);
    }
}

#[test]
fn snp_reports_are_shown() {
    let home = Home::new();
    let text = evidence("snp_milan.report.hex");
    let report = hex::decode(std::str::from_utf8(&text).unwrap().trim()).unwrap();
    let value = json(&home, &text);
    assert_eq!(value["form"], "hex");
    let value = &value["evidence"];
    assert_eq!(value["format"], "SEV-SNP report");
    assert_eq!(value["MEASUREMENT"], hex::encode(&report[0x90..0xC0]));
    assert_eq!(value["CHIP_ID"], hex::encode(&report[0x1A0..0x1E0]));
    assert_eq!(value["SIGNING_KEY"], "VCEK");
    assert!(value["POLICY"].as_str().unwrap().contains("SMT"));
    assert!(value["REPORTED_TCB"].as_str().unwrap().contains("boot loader"));
    assert_eq!(value.get("problem"), None);

    // With a table behind it that holds the certificate of the VCEK.
    let vcek = evidence("snp_milan.vcek.der");
    let mut table = vec![
        0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd,
    ];
    table.extend(48_u32.to_le_bytes());
    table.extend((vcek.len() as u32).to_le_bytes());
    table.extend([0; 24]);
    table.extend(&vcek);
    let value = json(&home, [report, table].concat());
    let certificate = &value["evidence"]["certificate table"]["VCEK"];
    assert!(
        certificate["subject"].as_str().unwrap().contains("SEV-VCEK"),
        "{value}"
    );
}

#[test]
fn what_is_no_evidence_is_shown_as_far_as_it_goes() {
    let home = Home::new();
    let quote = evidence("sgx_v3.quote");
    for length in [0, 1, 2, 15, 47, 48, 100, 431, 432, 435, 436, 600, 4599] {
        let (code, value) = coded(&home, &quote[..length]);
        assert_eq!(code, 1, "{length}");
        let said = value["evidence"].to_string();
        assert_eq!(said.contains("expected"), length > 0, "{length}: {said}");
    }
    for content in [&b"not evidence at all"[..], b"{}", &[0xFF; 2000], &[5; 2000]] {
        let (code, value) = coded(&home, content);
        assert_eq!(
            (code, &value["evidence"]["format"]),
            (1, &Value::from("not recognised"))
        );
        assert!(value["evidence"]["not recognised because"].is_string());
    }
    home.write("large", vec![b'0'; 300 * 1024]);
    let outcome = home.run(&["quote", "show", "large"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("longer than 262144 bytes"),
        "{}",
        outcome.stderr
    );
    home.write("other.pem", include_bytes!("../golden/alice.crt.pem"));
    let outcome = home.run(&["quote", "show", "other.pem"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("the certificate holds no evidence"),
        "{}",
        outcome.stderr
    );
    let outcome = home.run(&["quote", "show", "missing"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("cannot open missing"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn evidence_is_found_in_any_certificate_of_a_file() {
    let home = Home::new();
    let (holding, _) = certificate_with(|_| evidence("sgx_v3.quote"));
    let other = String::from_utf8(include_bytes!("../golden/alice.crt.pem").to_vec()).unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    for chain in [
        format!("{other}{holding}"),
        format!("{holding}{other}"),
        format!("subject=root\n{other}{key}\nissuer=\u{e9}\n{holding}{key}"),
        format!("{other}{other}{holding}").replace('\n', "\r\n"),
    ] {
        assert_eq!(json(&home, chain)["form"], "certificate");
    }
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert_eq!(json(&home, format!("{broken}{holding}"))["form"], "certificate");
    for (chain, said) in [
        (
            format!("{other}{other}{other}"),
            "none of the 3 certificates holds evidence",
        ),
        (format!("{other}{key}"), "the certificate holds no evidence"),
        (format!("{other}{broken}"), "certificate 2: "),
    ] {
        home.write("chain.pem", chain);
        let outcome = home.run(&["quote", "show", "chain.pem"]);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    }
}

#[test]
fn what_keeps_text_from_being_decoded_is_shown_escaped() {
    let home = Home::new();
    home.write("m.json", "{}");
    for (content, said) in [
        (
            &b"0300\n02zz\xc3\x28\x1b"[..],
            "neither hex (found \"zz\\xc3(\\x1b\" behind 7 bytes) nor base64",
        ),
        (b" 0x03000\n", "neither hex (an odd number of digits) nor base64"),
    ] {
        home.write("bad", content);
        let outcome = home.run(&["quote", "show", "bad"]);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
        assert!(outcome.stderr.is_ascii(), "{}", outcome.stderr);
    }
}

/// A pipe with a name waits for whoever writes; one of `<(command)` has somebody who does.
#[test]
fn named_pipes_are_refused_and_those_of_a_shell_read() {
    let home = Home::new();
    let made = std::process::Command::new("mkfifo")
        .arg(home.file("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    home.write(
        "m.json",
        r#"{"Packages":{"p":{"Debug":true,"SignerID":"00"}},"Marbles":{"m":{"Package":"p"}}}"#,
    );
    std::os::unix::fs::symlink("pipe", home.file("link")).unwrap();
    for arguments in [
        &["quote", "show", "pipe"][..],
        &["quote", "show", "link"],
        &["attest", "explain", "pipe", "-p", "p", "-m", "m.json"],
        &["collateral", "fetch", "-o", "d", "pipe"],
    ] {
        let outcome = home.run(arguments);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(
            outcome
                .stderr
                .contains("is a named pipe: expected a regular file"),
            "{outcome:?}"
        );
    }
    home.write("evidence", evidence("sgx_v3.quote"));
    let shell = format!("{} quote show <(cat evidence)", env!("CARGO_BIN_EXE_marblerun"));
    let output = std::process::Command::new("bash")
        .args(["-c", &shell])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
