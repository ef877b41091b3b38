//! Every rule of a package, told of evidence that keeps all and of evidence that breaks some.

use imbl::OrdMap;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SnpReportFields, TdFields};
use marblerun_attestation::policy::RuleOutcome;
use marblerun_attestation::{
    Admission, Claims, Collateral, Quote, SimulationMode, SimulationRoots, Verified, Verifier,
};
use marblerun_core::appraisal::{comply, explain};
use marblerun_core::manifest::Manifest;
use serde_json::json;

use super::{NOW, TEE, binding, manifest};

fn verified(evidence: Vec<u8>, collateral: &Collateral) -> Verified<Claims, SimulationRoots> {
    Verifier::new(SimulationRoots::development())
        .verify(&Quote::new(evidence).unwrap(), &binding(), collateral, NOW)
        .unwrap()
}

fn sgx() -> Verified<Claims, SimulationRoots> {
    let platform = TEE.intel(DcapTee::Sgx);
    let quote = QuoteFields::sgx(EnclaveFields::new(&binding()));
    verified(
        quote.sign(&platform).unwrap(),
        &Collateral::Dcap(platform.collateral().unwrap()),
    )
}

fn tdx(change: impl FnOnce(&mut TdFields)) -> Verified<Claims, SimulationRoots> {
    let platform = TEE.intel(DcapTee::Tdx);
    let mut fields = TdFields::new(&binding());
    change(&mut fields);
    verified(
        QuoteFields::tdx_v4(fields).sign(&platform).unwrap(),
        &Collateral::Dcap(platform.collateral().unwrap()),
    )
}

fn snp(change: impl FnOnce(&mut SnpReportFields)) -> Verified<Claims, SimulationRoots> {
    let platform = TEE.snp(SnpProduct::Turin, SnpSigningKey::Vcek);
    let mut report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding());
    change(&mut report);
    verified(
        report.sign(&platform).unwrap(),
        &Collateral::Snp(platform.collateral().unwrap()),
    )
}

fn all_tees() -> Manifest {
    let td = TdFields::new(&binding());
    let [rtmr0, rtmr1, rtmr2, rtmr3] = td.rtmr.map(hex::encode);
    manifest(&json!({
        "Packages": {
            "all": {
                "SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 1,
                "AcceptedAdvisories": ["INTEL-SA-00001"],
                "TDX": {
                    "MRTD": hex::encode(td.mrtd), "RTMR0": rtmr0, "RTMR1": rtmr1, "RTMR2": rtmr2, "RTMR3": rtmr3,
                    "MRSEAM": hex::encode(td.mr_seam), "MRCONFIGID": hex::encode(td.mr_config_id),
                    "MROWNER": hex::encode(td.mr_owner), "MROWNERCONFIG": hex::encode(td.mr_owner_config),
                },
                "SNP": {
                    "Measurement": "3e".repeat(48), "HostData": "05".repeat(32), "IDKeyDigest": "1d".repeat(48),
                    "AuthorKeyDigest": "a7".repeat(48), "Product": "Turin",
                    "MinimumTCB": {"BootLoader": 3, "TEE": 2, "SNP": 8, "Microcode": 200, "FMC": 1},
                },
            },
            "sgx": {"UniqueID": "e1".repeat(32)},
        },
        "Marbles": {"all": {"Package": "all"}, "sgx": {"Package": "sgx"}},
    }))
}

fn told(manifest: &Manifest, package: &str, claims: &Claims) -> Vec<String> {
    explain(manifest, package, &OrdMap::new(), claims)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn rules(manifest: &Manifest, claims: &Claims) -> Vec<String> {
    let outcomes = explain(manifest, "all", &OrdMap::new(), claims);
    assert!(
        outcomes.iter().all(|outcome| !outcome.is_broken()),
        "{outcomes:#?}"
    );
    outcomes
        .into_iter()
        .map(|outcome| {
            outcome
                .rule
                .strip_prefix("Packages.all.")
                .unwrap_or("")
                .to_owned()
        })
        .collect()
}

#[test]
fn all_rules_are_told_when_all_are_kept() {
    let manifest = all_tees();
    assert_eq!(
        told(&manifest, "all", sgx().get()),
        [
            "Packages.all.Debug: kept: expected false, found false".to_owned(),
            format!("Packages.all.SignerID: kept: expected {0}, found {0}", "51".repeat(32)),
            "Packages.all.ProductID: kept: expected 1, found 1".to_owned(),
            "Packages.all.SecurityVersion: kept: expected at least 1, found 1".to_owned(),
            "Packages.all.AcceptedTCBStatuses: kept: expected UpToDate or SWHardeningNeeded, found UpToDate".to_owned(),
            "Packages.all.AcceptedAdvisories: kept: expected only INTEL-SA-00001, found no list of advisories; with \
             UpToDate none is looked at"
                .to_owned(),
        ]
    );
    assert_eq!(
        rules(&manifest, tdx(|_| ()).get()),
        [
            "Debug",
            "TDX.MRTD",
            "TDX.RTMR0",
            "TDX.RTMR1",
            "TDX.RTMR2",
            "TDX.RTMR3",
            "TDX.MRSEAM",
            "TDX.MRCONFIGID",
            "TDX.MROWNER",
            "TDX.MROWNERCONFIG",
            "AcceptedTCBStatuses",
            "AcceptedAdvisories",
        ]
    );
    assert_eq!(
        rules(&manifest, snp(|_| ()).get()),
        [
            "Debug",
            "SNP",
            "SNP.VMPL",
            "SNP.Measurement",
            "SNP.HostData",
            "SNP.IDKeyDigest",
            "SNP.AuthorKeyDigest",
            "SNP.Product",
            "SNP.MinimumTCB.BootLoader",
            "SNP.MinimumTCB.TEE",
            "SNP.MinimumTCB.SNP",
            "SNP.MinimumTCB.Microcode",
            "SNP.MinimumTCB.FMC",
        ]
    );
}

#[test]
fn every_broken_rule_is_told_and_the_first_decides() {
    let manifest = all_tees();
    let broken = |verified: &Verified<Claims, SimulationRoots>| -> Vec<String> {
        let outcomes = explain(&manifest, "all", &OrdMap::new(), verified.get());
        let broken = outcomes.into_iter().filter(RuleOutcome::is_broken);
        let broken: Vec<_> = broken.map(|outcome| outcome.rule).collect();
        let admission = Admission::VerifiedInSimulation(verified.clone());
        let marble = &manifest.marbles["all"];
        let mismatch = comply(&manifest, &OrdMap::new(), marble, &admission).unwrap_err();
        assert_eq!(mismatch.rule, broken[0]);
        broken
    };
    let other = tdx(|td| (td.mrtd, td.rtmr[3], td.mr_owner) = ([9; 48], [9; 48], [9; 48]));
    assert_eq!(
        broken(&other),
        [
            "Packages.all.TDX.MRTD",
            "Packages.all.TDX.RTMR3",
            "Packages.all.TDX.MROWNER"
        ]
    );
    let other = snp(|report| {
        report.policy |= (1 << 18) | (1 << 19);
        report.vmpl = 1;
        report.host_data = [0; 32];
    });
    assert_eq!(
        broken(&other),
        [
            "Packages.all.Debug",
            "Packages.all.SNP",
            "Packages.all.SNP.VMPL",
            "Packages.all.SNP.HostData"
        ]
    );
}

#[test]
fn other_tees_and_unknown_packages_break_the_only_rule_there_is() {
    let manifest = all_tees();
    for (verified, tee) in [(tdx(|_| ()), "TDX"), (snp(|_| ()), "SEV-SNP")] {
        assert_eq!(
            told(&manifest, "sgx", verified.get()),
            [format!(
                "Packages.sgx: broken: expected evidence of a TEE the package names claims for, found {tee} evidence"
            )]
        );
    }
    assert_eq!(
        told(&manifest, "nope", sgx().get()),
        ["Packages: broken: expected nope, found no such package"]
    );
}

#[test]
fn raised_versions_and_infrastructures_are_told_too() {
    let mut document: serde_json::Value = serde_json::from_slice(&all_tees().raw).unwrap();
    document["Infrastructures"] = json!({"one": {"QESVN": 60_000}, "two": {"QESVN": 1}});
    let manifest = manifest(&document);
    let raised = OrdMap::unit("all".into(), 7);
    let broken = |claims: &Claims| -> Vec<String> {
        explain(&manifest, "all", &raised, claims)
            .iter()
            .filter(|outcome| outcome.is_broken())
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        broken(sgx().get()),
        ["Packages.all.SecurityVersion: broken: expected at least 7, found 1"]
    );
    assert!(
        explain(&manifest, "all", &raised, sgx().get())
            .iter()
            .any(|outcome| outcome.rule == "Infrastructures" && outcome.found == "Infrastructures.two")
    );
    // Raising is of SGX packages only.
    assert!(broken(tdx(|_| ()).get()).is_empty());
    assert_eq!(
        broken(snp(|_| ()).get()),
        ["Infrastructures: broken: expected an Intel platform that is listed, found a platform with SEV-SNP"]
    );
}

#[test]
fn without_evidence_there_is_nothing_to_compare() {
    let manifest = all_tees();
    let admission = Admission::Simulated(SimulationMode::by_explicit_configuration());
    let marble = &manifest.marbles["all"];
    assert!(comply(&manifest, &OrdMap::new(), marble, &admission).is_ok());
}
