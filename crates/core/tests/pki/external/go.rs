//! Go's `crypto/x509`, what existing clients are built with: takes every type.

use std::process::Command;

use marblerun_core::pki::CryptoSuite;

use super::deployment::{LEAVES, deployment};
use super::{Case, Fault, available, cases, judge, run, text};

#[test]
fn go_agrees_and_reads_keys_and_the_manifest_signature() {
    if !available("go", "version") {
        return;
    }
    for suite in CryptoSuite::ALL {
        let path = deployment(suite, &format!("go-{suite}"));
        let cases = cases();
        let line = |case: &Case| {
            let between = case.between.join(",");
            format!(
                "{}\t{between}\t{}\t{}\t{:?}\n",
                case.leaf, case.anchor, case.name, case.usage
            )
        };
        std::fs::write(path.join("cases.tsv"), cases.iter().map(line).collect::<String>()).unwrap();
        std::fs::write(path.join("verify.go"), include_str!("verify.go")).unwrap();
        let mut go = Command::new("go");
        go.current_dir(&path)
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .args(["run", "verify.go"])
            .args(LEAVES);
        let output = run(&mut go);
        assert!(output.status.success(), "{suite}: {}", text(&output));
        let answers = String::from_utf8(output.stdout).unwrap();
        let mut answers = answers.lines();
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|case| {
                let answer = match answers.next().expect("an answer to each case") {
                    "ok" => Ok(()),
                    reason => Err(reason.to_owned()),
                };
                judge(case, answer, words)
            })
            .collect();
        assert!(
            wrong.is_empty(),
            "{suite}: {} of {}\n{}",
            wrong.len(),
            cases.len(),
            wrong.join("\n")
        );
        assert_eq!(answers.next(), Some("verified with Go"));
        eprintln!("Go, {suite}: {} cases as expected", cases.len());
    }
}

fn words(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Issuer => &["signed by unknown authority"],
        Fault::Name => &["certificate is valid for"],
        Fault::Usage => &["incompatible key usage"],
    }
}
