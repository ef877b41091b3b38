//! OpenSSL: takes every type.

use std::path::Path;
use std::process::Command;

use marblerun_core::pki::CryptoSuite;

use super::deployment::{LEAVES, deployment};
use super::{Case, Fault, Usage, answer, available, is_address, put_each, run, text};

#[test]
fn openssl_agrees() {
    if available("openssl", "version") {
        put_each("openssl", |_| true, ask, words);
    }
}

fn ask(directory: &Path, case: &Case) -> Result<(), String> {
    let mut verify = Command::new("openssl");
    verify
        .current_dir(directory)
        .args(["verify", "-no-CApath", "-no-CAstore"]);
    verify.args(["-CAfile", &format!("{}.pem", case.anchor)]);
    for between in case.between {
        verify.args(["-untrusted", &format!("{between}.pem")]);
    }
    verify.args([
        "-purpose",
        match case.usage {
            Usage::Server => "sslserver",
            Usage::Client => "sslclient",
        },
    ]);
    let by = if is_address(case.name) {
        "-verify_ip"
    } else {
        "-verify_hostname"
    };
    verify.args([by, case.name]);
    // By default, secrets may sign certificates without being an authority (a contract with existing manifests),
    // which the strict mode minds.
    if case.leaf.ends_with("marble") || case.leaf.ends_with("root") || case.leaf.ends_with("intermediate") {
        verify.arg("-x509_strict");
    }
    answer(verify.arg(format!("{}.pem", case.leaf)))
}

fn words(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Issuer => &[
            "unable to get local issuer certificate",
            "unable to get issuer certificate",
            "certificate signature failure",
            "self-signed certificate",
        ],
        Fault::Name => &["ostname mismatch", "IP address mismatch"],
        Fault::Usage => &["unsuitable certificate purpose"],
    }
}

#[test]
fn openssl_reads_keys_and_the_manifest_signature() {
    if !available("openssl", "version") {
        return;
    }
    for suite in CryptoSuite::ALL {
        let path = deployment(suite, &format!("openssl-keys-{suite}"));
        for leaf in LEAVES {
            let mut key = Command::new("openssl");
            let key = run(key
                .current_dir(&path)
                .args(["pkey", "-pubout", "-in", &format!("{leaf}.key")]));
            let expected = std::fs::read_to_string(path.join(format!("{leaf}.pub"))).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&key.stdout),
                expected,
                "{leaf}: {}",
                text(&key)
            );
        }
        let signed = |message: &str| {
            let mut dgst = Command::new("openssl");
            dgst.current_dir(&path)
                .args(["dgst", "-sha256", "-verify", "root.pub"]);
            answer(dgst.args(["-signature", "signature", message]))
        };
        assert_eq!(signed("message"), Ok(()), "{suite}");
        assert!(signed("root.pub").is_err(), "{suite}");
    }
}
