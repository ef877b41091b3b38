//! GnuTLS: takes every type.

use std::path::Path;
use std::process::Command;

use super::deployment::joined;
use super::{Case, Fault, Usage, answer, available, put_each};

#[test]
fn gnutls_agrees() {
    if available("certtool", "--version") {
        put_each("gnutls", |_| true, ask, words);
    }
}

fn ask(directory: &Path, case: &Case) -> Result<(), String> {
    let chain = [case.leaf].into_iter().chain(case.between.iter().copied());
    std::fs::write(directory.join("chain.pem"), joined(directory, chain)).unwrap();
    let mut certtool = Command::new("certtool");
    certtool
        .current_dir(directory)
        .args(["--verify", "--infile", "chain.pem"]);
    certtool.args(["--load-ca-certificate", &format!("{}.pem", case.anchor)]);
    certtool.args(["--verify-hostname", case.name]);
    certtool.args([
        "--verify-purpose",
        match case.usage {
            Usage::Server => "1.3.6.1.5.5.7.3.1",
            Usage::Client => "1.3.6.1.5.5.7.3.2",
        },
    ]);
    answer(&mut certtool)
}

fn words(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Issuer => &[
            "issuer is unknown",
            "not signed by",
            "signature in the certificate is invalid",
        ],
        Fault::Name => &["name in the certificate does not match"],
        Fault::Usage => &["purpose"],
    }
}
