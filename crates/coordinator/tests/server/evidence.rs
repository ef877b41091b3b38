//! Evidence at the real program: in strict simulation the whole way of verification, in lenient simulation what is
//! admitted all the same, and outside simulation nothing of either.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{
    EnclaveFields, QuoteFields, SoftwareIssuer, SoftwareProfile, SoftwareTee,
};
use marblerun_attestation::issue::Issuer as _;
use marblerun_attestation::{
    Collateral, Quote, ReportBinding, SimulationRoots, UnixSeconds, Verifier, certificate,
};
use marblerun_collateral::Document;
use marblerun_collateral::fakes::{Behaviour, Service};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::program::{Program, Start, start, uuid};

const STRICT: &str = "--simulation-strict";

/// A package for each TEE, and one for all three.
fn manifest() -> Value {
    let sgx = json!({"SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 2});
    let tdx = json!({"MRTD": "01".repeat(48), "RTMR0": "a0".repeat(48), "RTMR1": "a1".repeat(48), "RTMR2": "a2".repeat(48)});
    let snp = json!({"Measurement": "02".repeat(48)});
    let mut all = sgx.clone();
    all["TDX"] = tdx.clone();
    all["SNP"] = snp.clone();
    json!({
        "Packages": {"sgx": sgx, "tdx": {"TDX": tdx}, "snp": {"SNP": snp}, "all": all},
        "Marbles": {
            "sgx": {"Package": "sgx"}, "tdx": {"Package": "tdx"}, "snp": {"Package": "snp"}, "all": {"Package": "all"},
        },
        "Config": {"FeatureGates": ["SignQuoteEndpoint"]},
    })
}

/// Claims that comply with the packages above.
fn claims(tee: &str) -> String {
    match tee {
        "sgx" => json!({"SecurityVersion": 2}).to_string(),
        "tdx" => json!({"MRTD": "01".repeat(48)}).to_string(),
        _ => json!({"Measurement": "02".repeat(48)}).to_string(),
    }
}

fn evidence(tee: &str, claims: &str) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let profile = SoftwareProfile::new(tee, Some(claims), None).unwrap();
    move |certificate| {
        SoftwareIssuer::development(profile)
            .unwrap()
            .quote(&ReportBinding::certificate(certificate))
            .unwrap()
    }
}

async fn strict(directory: &std::path::Path, flags: &[&str]) -> Program {
    let program = start(
        directory,
        &[&[STRICT, "--http-error-log-level", "warn"], flags].concat(),
    );
    program.set_manifest(&manifest()).await;
    program
}

fn now() -> UnixSeconds {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixSeconds(since_epoch.unwrap().as_secs())
}

#[tokio::test]
async fn evidence_of_each_tee_is_verified_and_held_against_its_package() {
    let directory = tempfile::tempdir().unwrap();
    let program = strict(directory.path(), &[]).await;
    for tee in ["sgx", "tdx", "snp"] {
        for marble_type in [tee, "all"] {
            let activated = program
                .activate_with(marble_type, &uuid(), evidence(tee, &claims(tee)))
                .await;
            assert!(activated.is_ok(), "{tee} as {marble_type}: {:?}", activated.err());
        }
        for other in ["sgx", "tdx", "snp"].into_iter().filter(|other| *other != tee) {
            let refused = program
                .activate_with(other, &uuid(), evidence(tee, &claims(tee)))
                .await
                .unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
            assert!(
                refused.message().contains(&format!("Packages.{other}")),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_names_rule_expected_and_found_to_the_marble_and_in_one_line_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let program = strict(directory.path(), &[]).await;
    let cases: [(&str, &str, &str, &[&str]); 5] = [
        (
            "sgx",
            "sgx",
            r#"{"SecurityVersion":1}"#,
            &["Packages.sgx.SecurityVersion", "at least 2", "found 1"],
        ),
        (
            "sgx",
            "sgx",
            r#"{"SecurityVersion":2,"Debug":true}"#,
            &["Packages.sgx.Debug", "expected false", "found true"],
        ),
        (
            "tdx",
            "tdx",
            r#"{}"#,
            &["Packages.tdx.TDX.MRTD", "expected 0101", "found d0d0"],
        ),
        (
            "snp",
            "snp",
            r#"{}"#,
            &["Packages.snp.SNP.Measurement", "expected 0202", "found 3e3e"],
        ),
        ("snp", "snp", r#"{"VMPL":1}"#, &["Packages.snp.SNP"]),
    ];
    for (marble_type, tee, claims, texts) in cases {
        let marble = uuid();
        let refused = program
            .activate_with(marble_type, &marble, evidence(tee, claims))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        let log = program.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&marble)).collect();
        let [line] = lines[..] else { panic!("{lines:?}") };
        for text in texts {
            assert!(refused.message().contains(text), "{refused}");
            assert!(line.contains(text), "{line}");
        }
        assert!(
            line.contains(&format!("\"marble_type\":\"{marble_type}\"")),
            "{line}"
        );
        assert!(line.contains("SIMULATION"), "{line}");
    }
}

#[tokio::test]
async fn what_is_missing_forged_or_made_for_another_is_refused_with_its_step() {
    let directory = tempfile::tempdir().unwrap();
    let program = strict(directory.path(), &[]).await;
    let generated = SoftwareTee::generate().unwrap();
    let quote = |tee: &SoftwareTee, certificate: &[u8]| {
        let fields = EnclaveFields::new(&ReportBinding::certificate(certificate));
        QuoteFields::sgx(fields).sign(&tee.intel(DcapTee::Sgx)).unwrap()
    };
    let development = SoftwareTee::development().unwrap();
    let flipped = |certificate: &[u8]| {
        let mut quote = quote(&development, certificate);
        quote[100] ^= 1;
        quote
    };
    type Make<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;
    let cases: [(&str, Make<'_>); 6] = [
        ("step 1, ", Box::new(|_| Vec::new())),
        ("step 1, ", Box::new(|_| vec![9; 3000])),
        ("step 3, ", Box::new(|certificate| quote(&generated, certificate))),
        ("step 4, ", Box::new(flipped)),
        (
            "step 5, ",
            Box::new(|_| quote(&development, b"another certificate")),
        ),
        ("too large", Box::new(|_| vec![3; Quote::LIMIT + 1])),
    ];
    for (expected, make) in cases {
        let refused = program
            .activate_with("sgx", &uuid(), |certificate| make(certificate))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(
            refused
                .message()
                .starts_with("marble verification failed: evidence: "),
            "{refused}"
        );
        assert!(refused.message().contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn lenient_simulation_admits_whatever_is_sent_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    // Neither package nor signature is looked at.
    program
        .activate_with("tdx", &uuid(), evidence("sgx", "{}"))
        .await
        .unwrap();
    let warning = "admitted although its evidence was not verified";
    assert!(!program.log().contains(warning));
    program
        .activate_with("tdx", &uuid(), |_| vec![3; 2000])
        .await
        .unwrap();
    assert!(program.log().contains(warning), "{}", program.log());
    program
        .activate_with("tdx", &uuid(), |_| vec![3; Quote::LIMIT + 1])
        .await
        .unwrap();
    assert!(
        program.log().contains("evidence is too large"),
        "{}",
        program.log()
    );
    let (_, reply) = program.ask("GET", "/api/v2/quote", "").await;
    assert_eq!(reply["data"]["quote"], Value::Null);
}

#[tokio::test]
async fn the_coordinator_proves_itself_over_its_certificate_and_over_a_nonce() {
    for tee in ["sgx", "tdx", "snp"] {
        let directory = tempfile::tempdir().unwrap();
        let program = start(directory.path(), &[STRICT, "--simulated-tee", tee]);
        let verifier = Verifier::new(SimulationRoots::development());
        let collateral = {
            let software = SoftwareTee::development().unwrap();
            match tee {
                "sgx" => Collateral::Dcap(software.intel(DcapTee::Sgx).collateral().unwrap()),
                "tdx" => Collateral::Dcap(software.intel(DcapTee::Tdx).collateral().unwrap()),
                _ => Collateral::Snp(
                    software
                        .snp(SnpProduct::Milan, SnpSigningKey::Vcek)
                        .collateral()
                        .unwrap(),
                ),
            }
        };
        let verify = |bytes: Vec<u8>, binding: ReportBinding| {
            verifier.verify(&Quote::new(bytes).unwrap(), &binding, &collateral, now())
        };
        let ask = async |query: &str| {
            let (code, reply) = program.ask("GET", &format!("/api/v2/quote{query}"), "").await;
            assert_eq!(code, 200, "{reply}");
            let quote = STANDARD.decode(reply["data"]["quote"].as_str().unwrap()).unwrap();
            (quote, reply["data"]["cert"].as_str().unwrap().to_owned())
        };
        let (quote, chain) = ask("").await;
        let root = x509_parser::pem::Pem::iter_from_buffer(chain.as_bytes())
            .last()
            .unwrap()
            .unwrap()
            .contents;
        verify(quote.clone(), ReportBinding::certificate(&root)).unwrap();
        assert_eq!(ask("").await.0, quote, "kept");
        let (fresh, _) = ask("?nonce=bm9uY2U").await;
        verify(
            fresh.clone(),
            ReportBinding::certificate_and_nonce(&root, b"nonce"),
        )
        .unwrap();
        assert!(verify(fresh, ReportBinding::certificate(&root)).is_err());

        let (_, parsed) = x509_parser::parse_x509_certificate(&root).unwrap();
        let evidence = parsed
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "2.23.133.5.4.9")
            .unwrap();
        assert!(!evidence.critical);
        let key = parsed.public_key().raw;
        let quote = certificate::decode(evidence.value, key).unwrap();
        verify(quote.as_bytes().to_vec(), ReportBinding::public_key(key)).unwrap();
    }
}

#[tokio::test]
async fn quotes_are_verified_and_their_status_signed_whatever_they_are_of() {
    let directory = tempfile::tempdir().unwrap();
    let program = strict(directory.path(), &[]).await;
    let sign = async |quote: &[u8]| {
        let body = json!({"sgxQuote": STANDARD.encode(quote)}).to_string();
        program.ask("POST", "/api/v2/sign-quote", body).await
    };
    let bound = ReportBinding::report_data_itself([7; 64]);
    let development = SoftwareTee::development().unwrap();
    let quote = |svn: u8| {
        let mut platform = development.intel(DcapTee::Sgx);
        (platform.extension.components, platform.extension.cpu_svn) = (vec![svn; 16], vec![svn; 16]);
        QuoteFields::sgx(EnclaveFields::new(&bound))
            .sign(&platform)
            .unwrap()
    };
    let (_, chain) = program.ask("GET", "/api/v2/quote", "").await;
    let chain = chain["data"]["cert"].as_str().unwrap().to_owned();
    let root = x509_parser::pem::Pem::iter_from_buffer(chain.as_bytes())
        .last()
        .unwrap()
        .unwrap();
    let root = root.parse_x509().unwrap();
    for (svn, status) in [(7, "UpToDate"), (5, "SWHardeningNeeded"), (3, "OutOfDate")] {
        let quote = quote(svn);
        let (code, reply) = sign(&quote).await;
        assert_eq!(
            (code, &reply["data"]["tcbStatus"]),
            (200, &json!(status)),
            "{reply}"
        );
        let signature = STANDARD
            .decode(reply["data"]["verificationSignature"].as_str().unwrap())
            .unwrap();
        let message = STANDARD.encode(&quote) + status;
        aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
            &root.public_key().subject_public_key.data,
        )
        .verify(message.as_bytes(), &signature)
        .unwrap();
    }
    let mut forged = quote(7);
    forged[100] ^= 1;
    let (code, reply) = sign(&forged).await;
    assert_eq!((code, &reply["status"]), (400, &json!("fail")), "{reply}");
    assert!(
        reply["data"]["sgxQuote"].as_str().unwrap().contains("step 4, "),
        "{reply}"
    );
    // A length that somebody chose could make the beginning of the status the end of a quote.
    for behind in [1, 3] {
        let (code, reply) = sign(&[quote(7), vec![0; behind]].concat()).await;
        let reason = format!("{behind} bytes stand behind the end of the quote: expected the quote alone");
        assert_eq!(
            (code, &reply["data"]["sgxQuote"]),
            (400, &json!(reason)),
            "{reply}"
        );
    }
    let tdx = evidence("tdx", "{}")(b"certificate");
    let (code, reply) = sign(&tdx).await;
    assert_eq!(code, 400, "{reply} {}", program.log());
    assert!(
        reply["data"]["sgxQuote"]
            .as_str()
            .unwrap()
            .contains("expected an SGX quote"),
        "{reply}"
    );
}

#[tokio::test]
async fn the_state_of_collateral_is_told_to_the_log_alone() {
    let service = Service::start().await.unwrap();
    let url = service.url().to_string();
    let directory = tempfile::tempdir().unwrap();
    let program = strict(directory.path(), &["--pccs-url", &url, "--kds-url", &url]).await;
    service.behave(&Behaviour::Status(500));
    for tee in ["sgx", "tdx", "snp"] {
        let refused = program
            .activate_with(tee, &uuid(), evidence(tee, &claims(tee)))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(!refused.message().contains("collateral"), "{refused}");
    }
    assert!(program.log().contains("no collateral: "), "{}", program.log());
}

/// Whatever lies in the directory of collateral: it is named, never waited for, and never in the way.
#[tokio::test]
async fn what_is_no_collateral_is_named_in_the_log() {
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name);
    let genuine = SoftwareTee::development()
        .unwrap()
        .intel(DcapTee::Sgx)
        .collateral()
        .unwrap()
        .to_json();
    // It claims to last as long as any other, and of those the last by name is tried first.
    let forged = genuine.replace(
        &marblerun_attestation::fakes::UNTIL.to_string(),
        "2199-12-31T23:59:59Z",
    );
    assert_ne!(forged, genuine);
    std::fs::write(at("zz-forged.json"), forged).unwrap();
    std::fs::write(at("genuine.json"), genuine).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe.json"), rustix::fs::Mode::RUSR).unwrap();
    for (target, name) in [
        ("/dev/zero", "device.json"),
        ("loop.crl", "loop.crl"),
        ("nowhere", "nowhere.pem"),
    ] {
        std::os::unix::fs::symlink(target, at(name)).unwrap();
    }
    std::fs::create_dir(at("directory.der")).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let path = files.path().to_str().unwrap();
    let program = strict(directory.path(), &["--collateral-dir", path]).await;
    program
        .activate_with("sgx", &uuid(), evidence("sgx", &claims("sgx")))
        .await
        .unwrap();
    let log = program.log();
    for (name, why) in [
        ("pipe.json", "expected a regular file"),
        ("device.json", "expected a regular file"),
        ("directory.der", "expected a regular file"),
        ("loop.crl", "Too many levels of symbolic links"),
        ("nowhere.pem", "No such file"),
        ("zz-forged.json", "collateral in the directory is passed over"),
    ] {
        let named = |line: &&str| line.contains(name) && line.contains("WARN");
        let lines: Vec<&str> = log.lines().filter(named).collect();
        assert!(
            matches!(&lines[..], [line] if line.contains(why)),
            "{name}: {log}"
        );
    }
    assert!(!log.contains("genuine.json"), "{log}");
}

#[tokio::test]
async fn outside_simulation_the_software_tee_counts_for_nothing() {
    // The program does not start without a TEE; the rest of the way is the library's.
    let directory = tempfile::tempdir().unwrap();
    let (status, text) = Start {
        directory: directory.path(),
        flags: &["--simulation=0", "--simulation-strict=0"],
        environment: &[],
    }
    .fail();
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("no TEE that the Coordinator can use"), "{text}");
}

/// The shortest of many times: what else the machine does makes some of them longer, a lock would make each longer.
fn shortest(times: &[Duration]) -> Duration {
    *times.iter().min().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_collateral_delays_nobody_else() {
    const LATER: Duration = Duration::from_secs(6);
    let service = Service::start().await.unwrap();
    let url = service.url().to_string();
    let directory = tempfile::tempdir().unwrap();
    let program =
        std::sync::Arc::new(strict(directory.path(), &["--pccs-url", &url, "--kds-url", &url]).await);
    for document in [Document::TcbInfo, Document::QeIdentity, Document::PckCrl] {
        service.behave_for(document, Behaviour::Slow(LATER));
    }
    let status = async || {
        let began = Instant::now();
        assert_eq!(program.ask("GET", "/api/v2/status", "").await.0, 200);
        began.elapsed()
    };
    let other_platform = async || {
        let claims = claims("snp");
        let made = evidence("snp", &claims);
        let began = Instant::now();
        program.activate_with("snp", &uuid(), made).await.unwrap();
        began.elapsed()
    };
    let measure = async || {
        let (mut statuses, mut others) = (Vec::new(), Vec::new());
        for _ in 0..15 {
            statuses.push(status().await);
            others.push(other_platform().await);
        }
        (shortest(&statuses), shortest(&others))
    };
    other_platform().await;
    let quiet = measure().await;
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let program = std::sync::Arc::clone(&program);
            tokio::spawn(async move {
                program
                    .activate_with("sgx", &uuid(), evidence("sgx", &claims("sgx")))
                    .await
            })
        })
        .collect();
    // Their handshakes and the first half of their verification are work, not waiting.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let beside = measure().await;
    assert!(began.elapsed() < LATER, "measured while nobody waited any longer");
    assert_eq!(service.requests_with("/tcb"), 1, "one flight for all");
    println!("status {:?}, beside those who wait {:?}", quiet.0, beside.0);
    println!(
        "activation of another platform {:?}, beside those who wait {:?}",
        quiet.1, beside.1
    );
    let limit = Duration::from_millis(5);
    assert!(beside.0 <= quiet.0 + limit, "status: {beside:?}, quiet {quiet:?}");
    assert!(
        beside.1 <= quiet.1 + limit,
        "another platform: {beside:?}, quiet {quiet:?}"
    );
    for waiting in waiting {
        let activated = waiting.await.unwrap();
        assert!(activated.is_ok(), "{:?}", activated.err());
    }
}
