//! The table.

use std::collections::BTreeMap;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{DcapTee, SnpCollateral, SnpRevocation};
use marblerun_attestation::fakes::{EnclaveFields, IntelPlatform, QuoteFields, SnpReportFields, TdFields};
use marblerun_attestation::{
    Claims, Collateral, DcapCollateral, Quote, Refused, SimulationRoots, Step, UnixSeconds, Verified,
    Verifier,
};
use marblerun_core::manifest::Manifest;
use serde_json::{Map, json};

use super::conditions::{self, Refusal};
use super::rule::{Accepts, refused_by};
use super::{NOW, TEE, binding, judged, manifest};

const STATUSES: [&str; 7] = [
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
];

const ACCEPTED_STATUSES: [&[&str]; 8] = [
    &[],
    &["UpToDate"],
    &["SWHardeningNeeded"],
    &["ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"],
    &["OutOfDate"],
    &["OutOfDateConfigurationNeeded", "SWHardeningNeeded"],
    &["Revoked"],
    &STATUSES,
];

const ACCEPTED_ADVISORIES: [&[&str]; 3] = [&[], &["INTEL-SA-00001", "intel-sa-00002"], &["INTEL-SA-00009"]];

/// Of the platform: no list, an empty one, one, several.
const FOUND_ADVISORIES: [Option<&[&str]>; 4] = [
    None,
    Some(&[]),
    Some(&["INTEL-SA-00002"]),
    Some(&["INTEL-SA-00001", "INTEL-SA-00009"]),
];

/// Where a package has its lists.
const PLACES: [&str; 2] = ["package", "tdx"];

fn name(place: &str, statuses: usize, advisories: usize) -> String {
    format!("{place}-{statuses}-{advisories}")
}

/// A manifest with a package for every combination of lists and a marble of it. The identities are those of the
/// software TEE.
fn every_list() -> Manifest {
    let (mut packages, mut marbles) = (Map::new(), Map::new());
    for (s, statuses) in ACCEPTED_STATUSES.iter().enumerate() {
        for (a, advisories) in ACCEPTED_ADVISORIES.iter().enumerate() {
            for place in PLACES {
                let mut package = json!({
                    "SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 1,
                    "TDX": {"MRTD": "d0".repeat(48)},
                    "SNP": {"Measurement": "3e".repeat(48)},
                });
                for (number, register) in TdFields::new(&binding()).rtmr.iter().enumerate() {
                    package["TDX"][format!("RTMR{number}")] = json!(hex::encode(register));
                }
                let lists = match place {
                    "tdx" => {
                        // These must not count for TDX.
                        package["AcceptedTCBStatuses"] = json!(STATUSES);
                        package["AcceptedAdvisories"] = json!(["INTEL-SA-00001", "INTEL-SA-00002"]);
                        &mut package["TDX"]
                    }
                    _ => &mut package,
                };
                // An empty list is no list: the package's would count.
                lists["AcceptedTCBStatuses"] = json!(statuses);
                lists["AcceptedAdvisories"] = json!(advisories);
                if place == "tdx" && statuses.is_empty() {
                    package["AcceptedTCBStatuses"] = json!([]);
                }
                if place == "tdx" && advisories.is_empty() {
                    package["AcceptedAdvisories"] = json!([]);
                }
                let name = name(place, s, a);
                packages.insert(name.clone(), package);
                marbles.insert(name.clone(), json!({"Package": name}));
            }
        }
    }
    manifest(&json!({"Packages": packages, "Marbles": marbles}))
}

/// The verdicts that came up, to see that all did.
#[derive(Default)]
struct Tally {
    rows: usize,
    verdicts: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, verdict: &str) {
        self.rows += 1;
        *self.verdicts.entry(verdict.to_owned()).or_default() += 1;
    }
}

type Judged = Result<Verified<Claims, SimulationRoots>, Refused>;

/// What a verifier says that has seen nothing; that has just seen this; and that has seen the platform in order.
fn verify(
    evidence: &[u8],
    collateral: &Collateral,
    now: UnixSeconds,
    seen: &Verifier<SimulationRoots>,
) -> Judged {
    let quote = Quote::new(evidence.to_vec()).unwrap();
    let verifier = Verifier::new(SimulationRoots::development());
    let first = verifier.verify(&quote, &binding(), collateral, now);
    for other in [&verifier, seen] {
        let again = other.verify(&quote, &binding(), collateral, now);
        assert_eq!(
            first.as_ref().map(Verified::get),
            again.as_ref().map(Verified::get)
        );
    }
    first
}

#[track_caller]
fn assert_refused(row: &str, judged: Judged, expected: &Refusal) {
    let refused = match judged {
        Ok(_) => panic!("{row}: verified"),
        Err(refused) => refused,
    };
    let message = refused.to_string();
    assert_eq!(refused.step, expected.step, "{row}: {message}");
    for word in &expected.words {
        assert!(message.contains(word), "{row}: {word:?} is not in {message}");
    }
}

fn rated(tee: DcapTee, status: &str, advisories: Option<&[&str]>) -> IntelPlatform {
    let mut platform = TEE.intel(tee);
    let level = &mut platform.tcb_info["tcbLevels"][0];
    level["tcbStatus"] = json!(status);
    if let Some(advisories) = advisories {
        level["advisoryIDs"] = json!(advisories);
    }
    platform
}

fn quote(tee: DcapTee, platform: &IntelPlatform) -> Vec<u8> {
    let fields = match tee {
        DcapTee::Sgx => QuoteFields::sgx(EnclaveFields::new(&binding())),
        DcapTee::Tdx => QuoteFields::tdx_v4(TdFields::new(&binding())),
    };
    fields.sign(platform).unwrap()
}

/// Rows of a platform in force: every package says what the rule says.
fn in_force(manifest: &Manifest, tee: DcapTee, seen: &Verifier<SimulationRoots>, tally: &mut Tally) {
    let places: &[&str] = match tee {
        DcapTee::Sgx => &["package"],
        DcapTee::Tdx => &PLACES,
    };
    for status in STATUSES {
        for found in FOUND_ADVISORIES {
            let platform = rated(tee, status, found);
            let collateral = Collateral::Dcap(platform.collateral().unwrap());
            let verified = verify(&quote(tee, &platform), &collateral, NOW, seen).unwrap();
            for (s, statuses) in ACCEPTED_STATUSES.iter().enumerate() {
                for (a, advisories) in ACCEPTED_ADVISORIES.iter().enumerate() {
                    for place in places {
                        let accepts = Accepts { statuses, advisories };
                        let row = format!("{tee:?} {status} {found:?} {place} {accepts:?}");
                        let broken = judged(manifest, &name(place, s, a), &verified);
                        let expected = refused_by(status, found, accepts);
                        assert_eq!(
                            broken.as_deref().map(|rule| rule.rsplit('.').next().unwrap()),
                            expected,
                            "{row}"
                        );
                        tally.count(expected.unwrap_or("accepted"));
                    }
                }
            }
        }
    }
}

/// Rows of a platform with something wrong: no rating and no list makes up for it.
fn not_in_force(tee: DcapTee, seen: &Verifier<SimulationRoots>, tally: &mut Tally) {
    for status in STATUSES {
        for condition in conditions::intel() {
            let mut platform = rated(tee, status, None);
            (condition.change)(&mut platform);
            let collateral = Collateral::Dcap(platform.collateral().unwrap());
            let judged = verify(&quote(tee, &platform), &collateral, condition.now, seen);
            let row = format!("{tee:?} {status} {}", condition.name);
            assert_refused(&row, judged, &condition.expected);
            tally.count(&format!("refused in step {:?}", condition.expected.step));
        }
        // What is missing is seen when collateral is read, at the latest when it is verified.
        for (part, without) in conditions::missing_parts() {
            let platform = rated(tee, status, None);
            let mut parts = platform.parts().unwrap();
            without(&mut parts);
            let row = format!("{tee:?} {status} without {part}");
            if let Ok(collateral) = DcapCollateral::new(parts) {
                let collateral = Collateral::Dcap(collateral);
                let refused = verify(&quote(tee, &platform), &collateral, NOW, seen).unwrap_err();
                assert_eq!(refused.step, Step::Collateral, "{row}: {refused}");
            }
            tally.count("refused as a part is missing");
        }
        let other = Collateral::Snp(SnpCollateral::new(SnpRevocation::NotChecked));
        let refused = verify(&quote(tee, &rated(tee, status, None)), &other, NOW, seen).unwrap_err();
        assert_eq!(refused.step, Step::Collateral, "{refused}");
        tally.count("refused in step Collateral");
    }
}

/// A verifier that has seen the platform with each rating, in order.
fn experienced(tee: DcapTee) -> Verifier<SimulationRoots> {
    let verifier = Verifier::new(SimulationRoots::development());
    for status in STATUSES {
        let platform = rated(tee, status, None);
        let quote = Quote::new(quote(tee, &platform)).unwrap();
        let collateral = Collateral::Dcap(platform.collateral().unwrap());
        assert!(verifier.verify(&quote, &binding(), &collateral, NOW).is_ok());
    }
    verifier
}

/// There is no rating of SEV-SNP: lists of statuses and advisories change nothing.
fn snp(manifest: &Manifest, tally: &mut Tally) {
    let seen = Verifier::new(SimulationRoots::development());
    for product in SnpProduct::ALL {
        for key in [SnpSigningKey::Vcek, SnpSigningKey::Vlek] {
            let platform = TEE.snp(product, key);
            let sign = |platform: &_| {
                SnpReportFields::new(platform, key, &binding())
                    .sign(platform)
                    .unwrap()
            };
            let report = sign(&platform);
            let chain = platform.intermediate_der().unwrap();
            let chain = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, &chain).unwrap();
            let unchecked = SnpCollateral::new(SnpRevocation::NotChecked);
            let endorsed = unchecked
                .clone()
                .with_endorsement_key(platform.endorsement_der().unwrap());
            let whole = endorsed.clone().with_authorities(chain.as_bytes()).unwrap();

            for (collateral, checked) in [(platform.collateral().unwrap(), true), (whole, false)] {
                let verified = verify(&report, &Collateral::Snp(collateral), NOW, &seen).unwrap();
                let Claims::Snp(claims) = verified.get() else {
                    panic!("another TEE")
                };
                assert_eq!(claims.revocation_checked, checked);
                for s in 0..ACCEPTED_STATUSES.len() {
                    for a in 0..ACCEPTED_ADVISORIES.len() {
                        assert_eq!(judged(manifest, &name("package", s, a), &verified), None);
                        tally.count("accepted");
                    }
                }
            }
            let without_key = unchecked.clone().with_authorities(chain.as_bytes()).unwrap();
            for collateral in [unchecked, endorsed, without_key] {
                let refused = verify(&report, &Collateral::Snp(collateral), NOW, &seen).unwrap_err();
                assert_eq!(refused.step, Step::Chain, "{refused}");
                assert!(refused.to_string().contains("found none"), "{refused}");
                tally.count("refused as a part is missing");
            }
            for condition in conditions::amd(key) {
                let mut platform = TEE.snp(product, key);
                (condition.change)(&mut platform);
                let collateral = Collateral::Snp(platform.collateral().unwrap());
                let judged = verify(&sign(&platform), &collateral, condition.now, &seen);
                let row = format!("{product} {}", condition.name);
                assert_refused(&row, judged, &condition.expected);
                tally.count(&format!("refused in step {:?}", condition.expected.step));
            }
        }
    }
}

#[test]
fn every_combination_is_judged_as_the_rule_says() {
    let manifest = every_list();
    let mut tally = Tally::default();
    for tee in [DcapTee::Sgx, DcapTee::Tdx] {
        let seen = experienced(tee);
        in_force(&manifest, tee, &seen, &mut tally);
        not_in_force(tee, &seen, &mut tally);
    }
    snp(&manifest, &mut tally);
    println!("{} rows: {:#?}", tally.rows, tally.verdicts);
    assert!(tally.rows >= 400, "{}", tally.rows);
    for verdict in [
        "accepted",
        "AcceptedTCBStatuses",
        "AcceptedAdvisories",
        "refused in step Chain",
        "refused in step Collateral",
        "refused as a part is missing",
    ] {
        assert!(
            tally.verdicts.get(verdict).is_some_and(|rows| *rows >= 20),
            "{verdict}"
        );
    }
}

/// The table would show a rule that is too lenient or too strict.
#[test]
fn another_rule_is_seen_in_the_table() {
    let manifest = every_list();
    let platform = rated(DcapTee::Sgx, "SWHardeningNeeded", None);
    let collateral = Collateral::Dcap(platform.collateral().unwrap());
    let seen = Verifier::new(SimulationRoots::development());
    let verified = verify(&quote(DcapTee::Sgx, &platform), &collateral, NOW, &seen).unwrap();
    let differs = |other: fn(Accepts) -> Option<&'static str>| {
        let mut rows = ACCEPTED_STATUSES.iter().enumerate().flat_map(|(s, statuses)| {
            ACCEPTED_ADVISORIES
                .iter()
                .enumerate()
                .map(move |(a, advisories)| (s, a, Accepts { statuses, advisories }))
        });
        rows.any(|(s, a, accepts)| {
            let broken = judged(&manifest, &name("package", s, a), &verified);
            broken.as_deref().map(|rule| rule.rsplit('.').next().unwrap()) != other(accepts)
        })
    };
    // No list of advisories taken for an empty one; no list of statuses taken for UpToDate alone; statuses never
    // looked at.
    assert!(differs(|accepts| refused_by(
        "SWHardeningNeeded",
        Some(&[]),
        accepts
    )));
    assert!(differs(|accepts| {
        let statuses = if accepts.statuses.is_empty() {
            &["UpToDate"]
        } else {
            accepts.statuses
        };
        refused_by("SWHardeningNeeded", None, Accepts { statuses, ..accepts })
    }));
    assert!(differs(|accepts| refused_by("UpToDate", None, accepts)));
    assert!(!differs(|accepts| refused_by("SWHardeningNeeded", None, accepts)));
}
