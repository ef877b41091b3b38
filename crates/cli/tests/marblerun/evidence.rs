//! Coordinators that prove themselves, and evidence in files: in strict simulation, and real evidence offline.

use std::collections::BTreeMap;

use marblerun_coordinator::assemble::Running;
use marblerun_coordinator::config::{self, Request};

use crate::online::{failed, succeeded};
use crate::support::{Home, Outcome, start_coordinator};

struct Coordinator {
    _running: Running,
    address: String,
}

async fn start(home: &Home, flags: &[&str]) -> Coordinator {
    let directory = home.file("state");
    let arguments = [
        "marblerun-coordinator",
        "--mesh-addr=127.0.0.1:0",
        "--client-addr=127.0.0.1:0",
        "--seal-dir",
        directory.to_str().unwrap(),
    ];
    let arguments = arguments.iter().chain(flags);
    let Request::Run(config) = config::load(arguments, &BTreeMap::new()).unwrap() else {
        panic!("expected a configuration");
    };
    let running = start_coordinator(&config).await;
    let address = running.client.to_string();
    Coordinator {
        _running: running,
        address,
    }
}

impl Coordinator {
    fn run(&self, home: &Home, arguments: &str) -> Outcome {
        let arguments: Vec<&str> = arguments
            .split(' ')
            .map(|argument| {
                if argument == "ADDR" {
                    &self.address
                } else {
                    argument
                }
            })
            .collect();
        tokio::task::block_in_place(|| home.run(&arguments))
    }
}

fn evidence(name: &str) -> String {
    format!(
        "{}/../attestation/tests/evidence/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

const MANIFEST: &str = r#"{"Packages":{"p":{"UniqueID":"0000000000000000000000000000000000000000000000000000000000000000"}},"Marbles":{"m":{"Package":"p"}}}"#;

/// Claims of a Coordinator in strict simulation that was not told any.
fn defaults(tee: &str) -> Vec<String> {
    let repeated = |names: &[&str], length: usize| {
        let value = |pair: &&str| {
            pair.split_once('=')
                .map(|(name, byte)| format!("{name}: {}", byte.repeat(length)))
        };
        names.iter().map(|pair| value(pair).unwrap()).collect::<Vec<_>>()
    };
    match tee {
        "sgx" => [
            repeated(&["MRENCLAVE=e1", "MRSIGNER=51"], 32),
            vec!["ISVPRODID: 1\n".to_owned(), "ISVSVN: 1\n".to_owned()],
        ]
        .concat(),
        "tdx" => repeated(
            &[
                "MRTD=d0",
                "RTMR0=a0",
                "RTMR1=a1",
                "RTMR2=a2",
                "RTMR3=a3",
                "MRSEAM=5e",
                "MRCONFIGID=c0",
                "MROWNER=0a",
                "MROWNERCONFIG=0c",
            ],
            48,
        ),
        _ => [
            repeated(
                &["MEASUREMENT=3e", "ID_KEY_DIGEST=1d", "AUTHOR_KEY_DIGEST=a7"],
                48,
            ),
            repeated(&["HOST_DATA=05"], 32),
            vec!["VMPL: 0\n".to_owned()],
        ]
        .concat(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_each_tee_is_verified_set_up_and_pinned() {
    let policies = [
        (
            "sgx",
            format!(
                r#"{{"SignerID":"{}","ProductID":1,"SecurityVersion":1}}"#,
                "51".repeat(32)
            ),
            "SignerID",
        ),
        (
            "tdx",
            format!(
                r#"{{"TDX":{{"MRTD":"{}","RTMR0":"{}","RTMR1":"{}","RTMR2":"{}"}}}}"#,
                "d0".repeat(48),
                "a0".repeat(48),
                "a1".repeat(48),
                "a2".repeat(48)
            ),
            "TDX.MRTD",
        ),
        (
            "snp",
            format!(r#"{{"SNP":{{"Measurement":"{}"}}}}"#, "3e".repeat(48)),
            "SNP.Measurement",
        ),
    ];
    for (tee, policy, rule) in policies {
        let home = Home::new();
        let coordinator = start(&home, &["--simulation-strict", "--simulated-tee", tee]).await;
        home.write("m.json", MANIFEST);
        home.write("era-config.json", &policy);
        let verified = "--accept-simulation --nonce fresh";
        let set = coordinator.run(
            &home,
            &format!("manifest set m.json ADDR {verified} --save-sgx-quote quote"),
        );
        succeeded(&set);
        assert!(set.stderr.contains("SIMULATION"), "{}", set.stderr);
        succeeded(&coordinator.run(&home, &format!("manifest verify m.json ADDR {verified}")));
        for command in [
            "status ADDR",
            "status ADDR -i",
            "manifest log ADDR",
            "manifest verify m.json ADDR -i",
        ] {
            let said = coordinator.run(&home, command);
            succeeded(&said);
            assert!(
                said.stderr.contains("SIMULATION") && said.stderr.contains("strict"),
                "{said:?}"
            );
        }
        assert!(std::fs::metadata(home.file("quote")).unwrap().len() > 1000);
        // What it claims by default is in docs/attestation.md.
        let shown = home.run(&["quote", "show", "quote"]);
        for value in defaults(tee) {
            assert!(shown.stdout.contains(&value), "{value}: {}", shown.stdout);
        }

        // Without being asked to, nobody takes the software TEE for a TEE.
        let refused = coordinator.run(&home, "manifest verify m.json ADDR");
        failed(&refused, "was not verified: ");
        let last = policy.rfind(|digit: char| "1e02".contains(digit)).unwrap();
        let mut other = policy.clone();
        other.replace_range(last..=last, "7");
        home.write(
            "other.json",
            other
                .replacen("51", "52", 1)
                .replacen("d0", "d1", 1)
                .replacen("3e", "3f", 1),
        );
        let refused = coordinator.run(
            &home,
            &format!("manifest verify m.json ADDR {verified} --era-config other.json"),
        );
        failed(&refused, &format!("is not the one expected: {rule}: broken"));
        assert!(!refused.stderr.contains("saved"), "{}", refused.stderr);
        // A platform of SEV-SNP has no rating: what it must be is asked for in the file.
        for (platform, broken) in [
            (r#","Product":["Genoa","Turin"]"#, "SNP.Product"),
            (r#","MinimumTCB":{"SNP":255}"#, "SNP.MinimumTCB.SNP"),
        ] {
            if tee == "snp" {
                home.write("other.json", policy.replacen("}}", &format!("{platform}}}}}"), 1));
                let refused = coordinator.run(
                    &home,
                    &format!("manifest verify m.json ADDR {verified} --era-config other.json"),
                );
                failed(&refused, &format!("is not the one expected: {broken}: broken"));
            }
        }
        // Keys that nobody knows are told, as they ask for nothing.
        home.write("more.json", policy.replacen('{', r#"{"Comment":"ours","#, 1));
        let kept = coordinator.run(
            &home,
            &format!("manifest verify m.json ADDR {verified} --era-config more.json"),
        );
        succeeded(&kept);
        assert!(
            kept.stderr.contains("unknown keys are ignored: Comment"),
            "{kept:?}"
        );
        // The evidence that was saved, and the one in the root certificate, read back.
        succeeded(&coordinator.run(&home, &format!("certificate root ADDR {verified} -o root.crt")));
        succeeded(&coordinator.run(&home, &format!("certificate chain ADDR {verified} -o chain.crt")));
        for file in ["quote", "root.crt", "chain.crt"] {
            let explained = home.run(&[
                "attest",
                "explain",
                file,
                "-p",
                "p",
                "-m",
                "m.json",
                "--accept-simulation",
            ]);
            assert!(
                explained.stdout.contains("evidence: kept: "),
                "{file}: {explained:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_a_tee_that_is_not_expected_is_refused() {
    let home = Home::new();
    let coordinator = start(&home, &["--simulation-strict", "--simulated-tee", "tdx"]).await;
    home.write(
        "era-config.json",
        format!(r#"{{"UniqueID":"{}"}}"#, "00".repeat(32)),
    );
    let refused = coordinator.run(&home, "certificate root ADDR --accept-simulation");
    failed(
        &refused,
        "TEE: broken: expected a TEE the era config has a section for (this one needs a section \"TDX\"), found TDX",
    );
    // Whatever it is refused for, it can be looked at; nothing is pinned, nothing is set.
    home.write("m.json", MANIFEST);
    for (command, reason) in [
        ("manifest set m.json ADDR --accept-simulation", "needs a section"),
        ("manifest set m.json ADDR", "--accept-simulation takes it"),
        (
            "manifest verify m.json ADDR --accept-simulation --nonce fresh",
            "needs a section",
        ),
        ("certificate root ADDR --accept-simulation", "needs a section"),
    ] {
        home.write("refused", "of before, and longer than any evidence".repeat(1000));
        let refused = coordinator.run(&home, &format!("{command} --save-sgx-quote refused"));
        failed(&refused, reason);
        assert!(
            refused
                .stderr
                .contains("the evidence was REFUSED; it was saved, unverified, to refused"),
            "{}",
            refused.stderr
        );
        let shown = home.run(&["quote", "show", "refused"]);
        succeeded(&shown);
        assert!(shown.stdout.contains(&"d0".repeat(48)), "{}", shown.stdout);
        let explain = [
            "attest",
            "explain",
            "refused",
            "-p",
            "p",
            "-m",
            "m.json",
            "--accept-simulation",
        ];
        let explained = home.run(&explain);
        assert!(explained.stdout.contains("evidence: kept: "), "{explained:?}");
        failed(&coordinator.run(&home, "status ADDR"), "no Coordinator is pinned");
    }
    let refused = coordinator.run(
        &home,
        "manifest set m.json ADDR --accept-simulation --save-sgx-quote none/refused",
    );
    failed(
        &refused,
        "the evidence was REFUSED and not saved (cannot write none/refused",
    );
    assert!(refused.stderr.contains("needs a section"), "{}", refused.stderr);
}

#[test]
fn real_evidence_is_explained_rule_by_rule() {
    let home = Home::new();
    let collateral = home.file("collateral");
    std::fs::create_dir(&collateral).unwrap();
    std::fs::copy(evidence("sgx_v3.collateral.json"), collateral.join("sgx.json")).unwrap();
    home.write(
        "m.json",
        r#"{"Packages":{"p":{"SignerID":"0000000000000000000000000000000000000000000000000000000000000000","ProductID":0,"SecurityVersion":0,"AcceptedTCBStatuses":["ConfigurationAndSWHardeningNeeded"]},"t":{"TDX":{"Debug":true}}},"Marbles":{"m":{"Package":"p"}}}"#,
    );
    let quote = evidence("sgx_v3.quote");
    let explain = |more: &[&str]| {
        let collateral = collateral.to_str().unwrap();
        let fixed = [
            "attest",
            "explain",
            &quote,
            "-m",
            "m.json",
            "--collateral-dir",
            collateral,
        ];
        home.run(&[&fixed, more].concat())
    };
    let at = ["--at", "2025-06-20T10:56:11Z"];
    let explained = explain(&[&["-p", "p"][..], &at].concat());
    assert_eq!(explained.code, 1, "{explained:?}");
    for line in [
        "evidence: kept: ",
        "Packages.p.SignerID: broken: expected 0000",
        "Packages.p.ProductID: kept: expected 0, found 0",
        "Packages.p.AcceptedTCBStatuses: kept: expected UpToDate or one of ConfigurationAndSWHardeningNeeded",
        "Packages.p.AcceptedAdvisories: kept: expected any, found INTEL-SA-00289, INTEL-SA-00615; with \
         ConfigurationAndSWHardeningNeeded none is looked at",
    ] {
        assert!(explained.stdout.contains(line), "{line}: {}", explained.stdout);
    }
    assert!(
        explained.stderr.contains("package p refuses this evidence"),
        "{}",
        explained.stderr
    );
    let explained = explain(&[&["-p", "p", "--format=json"][..], &at].concat());
    let json: serde_json::Value = serde_json::from_str(&explained.stdout).unwrap();
    assert_eq!(
        (&json["verdict"], &json["broken"], &json["package"]),
        (&"refused".into(), &1.into(), &"p".into())
    );
    assert_eq!(
        json["notLookedAt"],
        serde_json::json!([
            "to which certificate the evidence is bound",
            "updates of packages: the security versions are those of the manifest",
        ])
    );
    assert_eq!(json["rules"][0]["rule"], "evidence");
    assert_eq!(json["rules"][2]["verdict"], "broken");
    let explained = explain(&[&["-p", "t"][..], &at].concat());
    assert!(
        explained.stdout.contains("Packages.t: broken: "),
        "{}",
        explained.stdout
    );

    // A file that was changed is named; the service is one that is not there.
    let whole = std::fs::read_to_string(collateral.join("sgx.json")).unwrap();
    let changed = whole.replacen(
        "\\\"tcbStatus\\\":\\\"OutOfDate\\\"",
        "\\\"tcbStatus\\\":\\\"UpToDate\\\"",
        1,
    );
    assert_ne!(changed, whole);
    std::fs::write(collateral.join("sgx.json"), changed).unwrap();
    let forged = explain(&[&["-p", "p", "--pccs-url=http://127.0.0.1:1"][..], &at].concat());
    failed(
        &forged,
        "has sgx.json, passed over because collateral from directory is refused: ",
    );
    assert!(
        forged.stderr.contains("PCCS cannot be reached at 127.0.0.1:1"),
        "{forged:?}"
    );
    std::fs::write(collateral.join("sgx.json"), whole).unwrap();

    failed(
        &explain(&[&["-p", "none"][..], &at].concat()),
        "has no package \"none\"; it has: p, t",
    );
    failed(
        &explain(&["-p", "p", "--at", "yesterday"]),
        "--at: expected a time like",
    );
    home.write("junk", "no evidence");
    let refused = home.run(&["attest", "explain", "junk", "-p", "p", "-m", "m.json"]);
    failed(&refused, "junk is not evidence: unknown format of evidence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_nobody_looks_at_is_told_where_a_manifest_is_set() {
    let home = Home::new();
    let coordinator = start(&home, &["--simulation"]).await;
    let with = |entry: &str| MANIFEST.replacen('{', &format!(r#"{{"Infrastructures":{{"i":{entry}}},"#), 1);
    // Misspelled, so that any platform would do.
    home.write("m.json", with(r#"{"PCESV":99}"#));
    let refused = coordinator.run(&home, "manifest set m.json ADDR -i");
    failed(
        &refused,
        "Infrastructures.i.PCESV: unknown field; is PCESVN meant?",
    );
    home.write("m.json", with(r#"{"PCESVN":99,"Where":"here"}"#));
    let set = coordinator.run(&home, "manifest set m.json ADDR -i");
    succeeded(&set);
    assert!(
        set.stderr.contains("Warning") && set.stderr.contains("Infrastructures.i.Where"),
        "{}",
        set.stderr
    );
}
