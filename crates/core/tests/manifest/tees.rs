//! `TDX` and `SNP` of packages: what they ask for, and that nothing that cannot be used is passed over.

use marblerun_attestation::claims::SnpProduct;
use marblerun_core::manifest::{
    Limits, Package, SnpMinimumTcb, SnpPackage, TdxPackage, Warning, WarningKind, package_update, reopen,
};
use serde_json::{Value, json};

use super::support::{
    ID, accept, accept_silently, assert_refused, assert_warned, patched, refuse, set, small,
};

const P: &str = "/Packages/package";

fn hex(byte: &str, bytes: usize) -> String {
    byte.repeat(bytes)
}

fn tdx() -> Value {
    json!({
        "MRTD": hex("d0", 48), "RTMR0": hex("A0", 48), "RTMR1": hex("a1", 48), "RTMR2": hex("a2", 48),
    })
}

fn snp() -> Value {
    json!({"Measurement": hex("3e", 48)})
}

fn both() -> Value {
    json!({"TDX": tdx(), "SNP": snp()})
}

/// The small manifest whose package names claims of all TEEs, with something changed.
fn all(pointer: &str, value: Value) -> Value {
    let mut manifest = small();
    set(
        &mut manifest,
        P,
        json!({"UniqueID": ID, "TDX": tdx(), "SNP": snp()}),
    );
    set(&mut manifest, &format!("{P}{pointer}"), value);
    manifest
}

/// As [`patched`], for any platform.
fn anywhere(pointer: &str, value: Value) -> Value {
    let mut manifest = patched(pointer, value);
    set(&mut manifest, "/Infrastructures", json!({}));
    manifest
}

fn package_of(manifest: &Value) -> Package {
    accept_silently(manifest).packages["package"].clone()
}

#[test]
fn packages_for_other_tees_need_no_sgx_identity() {
    let package = package_of(&patched(P, both()));
    assert_eq!(package.sgx, None);
    assert!(package.tdx.is_some() && package.snp.is_some());
    let package = package_of(&all("/Debug", json!(false)));
    assert!(package.sgx.is_some() && package.tdx.is_some() && package.snp.is_some());
}

#[test]
fn every_field_is_read() {
    let package = package_of(&patched(
        P,
        json!({
            "tdx": {
                "mrtd": hex("D0", 48), "RTMR0": hex("a0", 48), "RTMR1": hex("a1", 48), "RTMR2": hex("a2", 48),
                "RTMR3": hex("a3", 48), "MRSEAM": hex("5e", 48), "MRCONFIGID": hex("c0", 48),
                "MROWNER": hex("b0", 48), "MROWNERCONFIG": hex("b1", 48), "Debug": true,
                "AcceptedTCBStatuses": ["SWHardeningNeeded", "OutOfDate"], "AcceptedAdvisories": ["INTEL-SA-1"],
            },
            "SNP": {
                "Measurement": hex("3e", 48), "HostData": hex("05", 32), "IDKeyDigest": hex("1d", 48),
                "AuthorKeyDigest": hex("a7", 48), "Product": "Turin", "VMPL": 3, "Debug": true,
                "MinimumTCB": {"BootLoader": 3, "TEE": 2, "SNP": 8, "Microcode": 255, "FMC": 1},
            },
        }),
    ));
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    assert_eq!(
        package.tdx.as_deref(),
        Some(&TdxPackage {
            mrtd: Some([0xD0; 48]),
            rtmr: [0xA0, 0xA1, 0xA2, 0xA3].map(|byte| Some([byte; 48])),
            mr_seam: Some([0x5E; 48]),
            mr_config_id: Some([0xC0; 48]),
            mr_owner: Some([0xB0; 48]),
            mr_owner_config: Some([0xB1; 48]),
            debug: Some(true),
            accepted_tcb_statuses: texts(&["SWHardeningNeeded", "OutOfDate"]),
            accepted_advisories: texts(&["INTEL-SA-1"]),
        })
    );
    assert_eq!(
        package.snp.as_deref(),
        Some(&SnpPackage {
            measurement: Some([0x3E; 48]),
            host_data: Some([0x05; 32]),
            id_key_digest: Some([0x1D; 48]),
            author_key_digest: Some([0xA7; 48]),
            products: vec![SnpProduct::Turin],
            minimum_tcb: Some(SnpMinimumTcb {
                boot_loader: Some(3),
                tee: Some(2),
                snp: Some(8),
                microcode: Some(255),
                fmc: Some(1),
            }),
            vmpl: 3,
            debug: Some(true),
        })
    );
    let products = |value| package_of(&all("/SNP/Product", value)).snp.unwrap().products;
    assert_eq!(products(json!("Milan")), [SnpProduct::Milan]);
    assert_eq!(
        products(json!(["Genoa", "Milan"])),
        [SnpProduct::Genoa, SnpProduct::Milan]
    );
    for none in [json!(null), json!(""), json!([])] {
        assert_eq!(products(none), []);
    }
}

#[test]
fn what_cannot_be_used_is_a_problem() {
    let long = hex("00", 49);
    for (pointer, value, path, word) in [
        ("/TDX", json!("x"), "TDX", "expected an object"),
        ("/TDX", json!([1]), "TDX", "expected an object"),
        ("/SNP", json!(true), "SNP", "expected an object"),
        (
            "/TDX/MRTDD",
            json!(null),
            "TDX.MRTDD",
            "unknown field; there are MRTD",
        ),
        (
            "/TDX/Measurement",
            json!("00"),
            "TDX.Measurement",
            "unknown field",
        ),
        ("/TDX/UniqueID", json!(ID), "TDX.UniqueID", "unknown field"),
        ("/SNP/MRTD", json!(""), "SNP.MRTD", "unknown field"),
        (
            "/SNP/AcceptedTCBStatuses",
            json!([]),
            "SNP.AcceptedTCBStatuses",
            "unknown field",
        ),
        (
            "/TDX/MRTD",
            json!("00"),
            "TDX.MRTD",
            "expected 96 hexadecimal digits (48 bytes), found 2",
        ),
        ("/TDX/RTMR0", json!(long), "TDX.RTMR0", "found 98 characters"),
        ("/TDX/RTMR1", json!(ID), "TDX.RTMR1", "found 64 characters"),
        (
            "/TDX/RTMR2",
            json!(hex("0g", 48)),
            "TDX.RTMR2",
            "found other characters",
        ),
        ("/TDX/RTMR3", json!(3), "TDX.RTMR3", "expected a string"),
        ("/TDX/RTMR4", json!(hex("00", 48)), "TDX.RTMR4", "unknown field"),
        (
            "/TDX/MRSEAM",
            json!("YOUR_ID"),
            "TDX.MRSEAM",
            "96 hexadecimal digits",
        ),
        ("/TDX/MRCONFIGID", json!("0x"), "TDX.MRCONFIGID", "96 hexadecimal"),
        ("/TDX/MROWNER", json!([0]), "TDX.MROWNER", "expected a string"),
        (
            "/TDX/MROWNERCONFIG",
            json!("é"),
            "TDX.MROWNERCONFIG",
            "found 1 char",
        ),
        ("/TDX/Debug", json!("true"), "TDX.Debug", "true or false"),
        (
            "/TDX/AcceptedTCBStatuses",
            json!(["UpToDate", "Outofdate"]),
            "TDX.AcceptedTCBStatuses[1]",
            "no platform has this status; there are UpToDate, SWHardeningNeeded",
        ),
        (
            "/TDX/AcceptedTCBStatuses",
            json!("OutOfDate"),
            "TDX.AcceptedTCBStatuses",
            "a list",
        ),
        (
            "/TDX/AcceptedAdvisories",
            json!(["INTEL-SA-1", ""]),
            "TDX.AcceptedAdvisories[1]",
            "empty string",
        ),
        ("/TDX/MRTD", json!(""), "TDX.MRTD", "missing"),
        ("/TDX/RTMR0", json!(null), "TDX.RTMR0", "missing"),
        ("/TDX/RTMR1", json!(""), "TDX.RTMR1", "missing"),
        ("/TDX/RTMR2", json!(""), "TDX.RTMR2", "missing"),
        (
            "/SNP",
            json!({"HostData": hex("00", 32)}),
            "SNP.Measurement",
            "missing",
        ),
        (
            "/SNP/Measurement",
            json!(ID),
            "SNP.Measurement",
            "96 hexadecimal digits",
        ),
        (
            "/SNP/HostData",
            json!(hex("00", 48)),
            "SNP.HostData",
            "expected 64 hexadecimal digits (32 bytes), found 96 characters",
        ),
        (
            "/SNP/IDKeyDigest",
            json!(ID),
            "SNP.IDKeyDigest",
            "96 hexadecimal digits",
        ),
        (
            "/SNP/AuthorKeyDigest",
            json!({}),
            "SNP.AuthorKeyDigest",
            "expected a string, found an object",
        ),
        ("/SNP/VMPL", json!(4), "SNP.VMPL", "from 0 to 3"),
        ("/SNP/VMPL", json!(-1), "SNP.VMPL", "from 0 to 3"),
        (
            "/SNP/Product",
            json!("milan"),
            "SNP.Product",
            "no product `milan`; there are Milan, Genoa, Turin",
        ),
        (
            "/SNP/Product",
            json!(["Milan", "Rome"]),
            "SNP.Product[1]",
            "no product `Rome`",
        ),
        (
            "/SNP/Product",
            json!(["Milan", "Milan"]),
            "SNP.Product[1]",
            "more than once",
        ),
        (
            "/SNP/Product",
            json!({"Milan": true}),
            "SNP.Product",
            "a list of products",
        ),
        (
            "/SNP/MinimumTCB",
            json!({"Bootloader": 1, "Firmware": 2}),
            "SNP.MinimumTCB.Firmware",
            "unknown field; there are BootLoader",
        ),
        (
            "/SNP/MinimumTCB",
            json!({"SNP": 256}),
            "SNP.MinimumTCB.SNP",
            "from 0 to 255",
        ),
        ("/SNP/MinimumTCB", json!(8), "SNP.MinimumTCB", "an object"),
        (
            "/SNP/MinimumTCB",
            json!({"FMC": 1}),
            "SNP.MinimumTCB.FMC",
            "Product to be Turin alone",
        ),
        (
            "/SNP",
            json!({"Measurement": hex("00", 48), "Product": ["Turin", "Genoa"], "MinimumTCB": {"FMC": 1}}),
            "SNP.MinimumTCB.FMC",
            "only Turin",
        ),
        (
            "/SNP",
            json!({"Measurement": hex("00", 48), "Product": "Milan", "MinimumTCB": {"FMC": 1}}),
            "SNP.MinimumTCB.FMC",
            "only Turin",
        ),
    ] {
        let path = format!("Packages.package.{path}");
        assert_refused(&all(pointer, value), &path, word);
    }
    let twice =
        r#"{"Packages": {"p": {"TDX": {"MRTD": "", "mrtd": ""}}}, "Marbles": {"m": {"Package": "p"}}}"#;
    let error = super::support::check_bytes(twice.as_bytes())
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().contains("Packages.p.TDX.MRTD: "), "{error}");
}

#[test]
fn all_problems_are_listed() {
    let problems = refuse(&patched(
        P,
        json!({
            "TDX": {"MRTD": "1", "RTMR0": "2", "Nonsense": 0, "AcceptedTCBStatuses": ["x"]},
            "SNP": {"Measurement": "3", "MinimumTCB": {"TEE": -1, "XYZ": 1}, "Product": ["Rome"]},
        }),
    ));
    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.path.strip_prefix("Packages.package.").unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "TDX.Nonsense",
            "TDX.MRTD",
            "TDX.RTMR0",
            "TDX.AcceptedTCBStatuses[0]",
            "SNP.Measurement",
            "SNP.Product[0]",
            "SNP.MinimumTCB.XYZ",
            "SNP.MinimumTCB.TEE",
        ]
    );
    // Two that are missing.
    let problems = refuse(&patched(
        P,
        json!({"TDX": {"RTMR0": hex("0", 96), "RTMR2": hex("0", 96)}}),
    ));
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["Packages.package.TDX.MRTD", "Packages.package.TDX.RTMR1"]);
}

#[test]
fn debug_and_packages_without_marbles_need_less() {
    let missing = WarningKind::PackageRule;
    for (pointer, value, path, word) in [
        (
            P,
            json!({"Debug": true, "SNP": {"HostData": hex("00", 32)}}),
            "Packages.package.SNP.Measurement",
            "because Debug is true",
        ),
        (
            P,
            json!({"SNP": {"Debug": true}}),
            "Packages.package.SNP.Measurement",
            "because Debug is true",
        ),
        (
            "/Packages/unused",
            json!({"SNP": {"VMPL": 1}}),
            "Packages.unused.SNP.Measurement",
            "no marble refers",
        ),
    ] {
        assert_warned(&anywhere(pointer, value), missing, path, word);
    }
    for package in [
        json!({"Debug": true, "TDX": {"MRSEAM": hex("00", 48)}}),
        json!({"TDX": {"Debug": true}}),
    ] {
        let (manifest, warnings) = accept(&patched(P, package));
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(manifest.packages["package"].tdx.is_some());
    }
    // What is there has to be usable all the same.
    assert_refused(
        &patched("/Packages/unused", json!({"SNP": {"Measurement": "00"}})),
        "Packages.unused.SNP.Measurement",
        "96 hexadecimal digits",
    );
    assert_refused(
        &patched("/Packages/unused", json!({"Debug": true, "TDX": {"MRTDD": ""}})),
        "Packages.unused.TDX.MRTDD",
        "unknown field",
    );
}

#[test]
fn a_structure_in_which_nothing_is_given_names_no_claims() {
    for nothing in [
        json!(null),
        json!({}),
        json!(""),
        json!(0),
        json!(false),
        json!([]),
    ] {
        let package = package_of(&patched(
            P,
            json!({"UniqueID": ID, "TDX": nothing, "SNP": nothing}),
        ));
        assert_eq!((package.tdx, package.snp), (None, None));
    }
    let written = json!({
        "UniqueID": ID,
        "TDX": {"MRTD": "", "RTMR0": "", "Debug": false, "AcceptedTCBStatuses": null},
    });
    let manifest = assert_warned(
        &patched(P, written),
        WarningKind::NoEffect,
        "Packages.package.TDX",
        "TDX evidence never matches",
    );
    assert_eq!(manifest.packages["package"].tdx, None);
    let written = json!({
        "UniqueID": ID,
        "SNP": {"Measurement": "", "VMPL": 0, "MinimumTCB": {"SNP": 0, "FMC": 0}, "Product": []},
    });
    let manifest = assert_warned(
        &patched(P, written),
        WarningKind::NoEffect,
        "Packages.package.SNP",
        "SEV-SNP evidence never matches",
    );
    assert_eq!(manifest.packages["package"].snp, None);
}

/// A section that is there, with nothing in it, in a package that names nothing else: the TEE that was meant is told what
/// it lacks, and nobody is sent looking for ids of SGX.
#[test]
fn an_empty_package_is_told_what_its_tee_lacks() {
    let tdx = ["TDX.MRTD", "TDX.RTMR0", "TDX.RTMR1", "TDX.RTMR2"];
    let snp = ["SNP.Measurement"];
    for (package, expected) in [
        (json!({"TDX": {}}), &tdx[..]),
        (json!({"TDX": {"MRTD": ""}, "UniqueID": "", "SNP": null}), &tdx),
        (json!({"SNP": {}}), &snp),
        (json!({"SNP": {"Product": [], "VMPL": 0}, "Debug": false}), &snp),
        (json!({"SNP": []}), &["SNP"]),
        (json!({}), &[""]),
        (json!({"TDX": null, "SNP": null}), &[""]),
    ] {
        let problems = refuse(&patched(P, package.clone()));
        let paths: Vec<_> = problems
            .iter()
            .map(|problem| {
                problem
                    .path
                    .strip_prefix("Packages.package")
                    .unwrap()
                    .trim_start_matches('.')
            })
            .collect();
        assert_eq!(paths, expected, "{package}");
    }
    // Beside claims of another TEE it is what Go clients write for nothing.
    for package in [
        json!({"UniqueID": ID, "TDX": {}, "SNP": {}}),
        json!({"SNP": {"Measurement": hex("3e", 48)}, "TDX": {}}),
    ] {
        assert_eq!(package_of(&anywhere(P, package)).tdx, None);
    }
}

/// A list that trust domains are judged by is a reference value of theirs, whoever it is written for.
#[test]
fn a_misspelled_status_is_not_inherited() {
    let tdx = json!({
        "MRTD": hex("d0", 48), "RTMR0": hex("a0", 48), "RTMR1": hex("a1", 48), "RTMR2": hex("a2", 48),
    });
    let misspelled = json!(["UpToDate", "SwHardeningNeeded"]);
    for package in [
        json!({"TDX": tdx, "AcceptedTCBStatuses": misspelled}),
        json!({"TDX": tdx, "AcceptedTCBStatuses": misspelled, "Debug": true}),
    ] {
        for pointer in [P, "/Packages/unused"] {
            let name = pointer.rsplit('/').next().unwrap();
            assert_refused(
                &patched(pointer, package.clone()),
                &format!("Packages.{name}.AcceptedTCBStatuses[1]"),
                "no platform has this status",
            );
        }
    }
    let mut own = tdx;
    own["AcceptedTCBStatuses"] = json!(["OutOfDate"]);
    assert_warned(
        &patched(
            P,
            json!({"UniqueID": ID, "Debug": true, "TDX": own, "AcceptedTCBStatuses": misspelled}),
        ),
        WarningKind::PackageRule,
        "Packages.package.AcceptedTCBStatuses[1]",
        "no platform has this status",
    );
}

#[test]
fn a_minimum_of_zero_asks_for_nothing() {
    let zeros = json!({"BootLoader": 0, "TEE": 0, "SNP": 0, "Microcode": 0, "FMC": 0});
    assert_eq!(
        package_of(&all("/SNP/MinimumTCB", zeros))
            .snp
            .unwrap()
            .minimum_tcb,
        None
    );
    let some = json!({"BootLoader": 0, "SNP": 8, "FMC": 0});
    assert_eq!(
        package_of(&all("/SNP/MinimumTCB", some)).snp.unwrap().minimum_tcb,
        Some(SnpMinimumTcb {
            snp: Some(8),
            ..SnpMinimumTcb::default()
        })
    );
}

#[test]
fn a_manifest_in_force_opens_and_its_unusable_claims_match_nothing() {
    for (tdx_is_usable, package) in [
        (
            false,
            json!({"UniqueID": ID, "TDX": {"MRTD": "00"}, "SNP": snp()}),
        ),
        (false, json!({"TDX": {"Unknown": 1}, "SNP": snp()})),
        (false, json!({"TDX": {"RTMR0": hex("00", 48)}, "SNP": snp()})),
        (
            false,
            json!({"TDX": "by an author who meant something else", "SNP": snp()}),
        ),
        (true, both()),
    ] {
        let has_sgx = package.get("UniqueID").is_some();
        let raw = patched(P, package).to_string().into_bytes();
        let manifest = reopen(raw.into()).unwrap_or_else(|error| panic!("{error}"));
        let package = &manifest.packages["package"];
        // Claims of another TEE do not become rules of SGX that every enclave keeps.
        assert_eq!(package.sgx.is_some(), has_sgx);
        assert_eq!(package.tdx.is_some(), tdx_is_usable);
        assert!(package.snp.is_some());
    }
}

#[test]
fn updates_of_packages_give_no_claims() {
    let update = |package: Value| {
        let document = json!({"Packages": {"a": package}}).to_string();
        package_update(document.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
    };
    for nothing in [
        json!({"SecurityVersion": 1, "TDX": null, "SNP": {}}),
        json!({"SecurityVersion": 1, "TDX": {"MRTD": "", "Debug": false}, "SNP": {"MinimumTCB": {"FMC": 0}}}),
    ] {
        assert_eq!(update(nothing).unwrap().unwrap()["a"], 1);
    }
    for (package, path) in [
        (json!({"SecurityVersion": 1, "TDX": tdx()}), "Packages.a.TDX"),
        (
            json!({"SecurityVersion": 1, "SNP": {"VMPL": 1}}),
            "Packages.a.SNP",
        ),
        (json!({"SecurityVersion": 1, "SNP": "x"}), "Packages.a.SNP"),
        (
            json!({"SecurityVersion": 1, "SNP": {"MinimumTCB": {"TEE": 1}}}),
            "Packages.a.SNP",
        ),
    ] {
        let error = update(package).unwrap_err();
        assert!(
            error.contains(&format!("{path}: an update of packages")),
            "{error}"
        );
    }
}

#[test]
fn what_does_nothing_for_sev_snp_is_warned_of() {
    let warned = |package: Value, infrastructures: Value| {
        let mut manifest = patched(P, package);
        set(&mut manifest, "/Infrastructures", infrastructures);
        let (_, warnings) = accept(&manifest);
        let path = |warning: &Warning| (warning.kind, warning.path.clone());
        warnings.iter().map(path).collect::<Vec<_>>()
    };
    let lists = json!({"AcceptedTCBStatuses": ["OutOfDate"], "AcceptedAdvisories": ["INTEL-SA-00334"]});
    let with_lists = |mut package: Value| {
        for (name, list) in lists.as_object().unwrap() {
            package[name] = list.clone();
        }
        package
    };
    let only_snp = json!({"SNP": snp()});
    assert_eq!(
        warned(with_lists(only_snp.clone()), json!({})),
        [
            (
                WarningKind::NoEffect,
                "Packages.package.AcceptedTCBStatuses".to_owned()
            ),
            (
                WarningKind::NoEffect,
                "Packages.package.AcceptedAdvisories".to_owned()
            ),
        ]
    );
    // What Go clients write for nothing says nothing.
    let nothing = json!({"SNP": snp(), "AcceptedTCBStatuses": [], "AcceptedAdvisories": null});
    assert_eq!(warned(nothing, json!(null)), []);
    let intel = json!({"here": {"QESVN": 2}});
    assert_eq!(
        warned(only_snp, intel.clone()),
        [(WarningKind::PackageRule, "Packages.package".to_owned())]
    );
    // A package that is for others too.
    for others in [
        json!({"UniqueID": ID, "SNP": snp()}),
        json!({"TDX": tdx(), "SNP": snp()}),
    ] {
        assert_eq!(warned(with_lists(others), intel.clone()), []);
    }
}
