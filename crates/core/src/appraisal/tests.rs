use marblerun_attestation::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use marblerun_attestation::{SgxClaims, SnpClaims, TcbStatus, TdxClaims};

use super::*;
use crate::manifest::{Infrastructure, SgxPackage, SnpMinimumTcb, SnpPackage, TdxPackage};

fn sgx() -> SgxClaims {
    SgxClaims {
        unique_id: [1; 32],
        signer_id: [2; 32],
        product_id: 44,
        security_version: 3,
        debug: false,
        tcb_status: TcbStatus::UpToDate,
        advisories: Some(Vec::new()),
        cpu_svn: [7; 16],
        qe_svn: 5,
        pce_svn: 6,
        root_ca: vec![3, 3, 3],
        report_data: [0; 64],
    }
}

fn tdx() -> TdxClaims {
    TdxClaims {
        mrtd: [0xD0; 48],
        rtmr: [[0xA0; 48], [0xA1; 48], [0xA2; 48], [0xA3; 48]],
        mr_config_id: [0xC0; 48],
        mr_owner: [0xB0; 48],
        mr_owner_config: [0xB1; 48],
        mr_seam: [0x5E; 48],
        mr_signer_seam: [0; 48],
        attributes: [0; 8],
        xfam: [0; 8],
        debug: false,
        tee_tcb_svn: [1; 16],
        tcb_status: TcbStatus::UpToDate,
        advisories: None,
        cpu_svn: [7; 16],
        qe_svn: 5,
        pce_svn: 6,
        root_ca: vec![3, 3, 3],
        report_data: [0; 64],
    }
}

fn snp() -> SnpClaims {
    SnpClaims {
        product: SnpProduct::Turin,
        signing_key: SnpSigningKey::Vcek,
        tcb: SnpTcb {
            fmc: Some(1),
            boot_loader: 3,
            tee: 2,
            snp: 8,
            microcode: 200,
        },
        measurement: [0x3E; 48],
        host_data: [0x05; 32],
        id_key_digest: [0x1D; 48],
        author_key_digest: [0xA7; 48],
        family_id: [0; 16],
        image_id: [0; 16],
        guest_svn: 1,
        policy: 0x3_0000,
        debug: false,
        migration_agent_allowed: false,
        vmpl: 0,
        reported_tcb: [0; 8],
        committed_tcb: [0; 8],
        launch_tcb: [0; 8],
        revocation_checked: true,
        chip_id: [0; 64],
        report_data: [0; 64],
    }
}

fn package() -> Package {
    Package {
        sgx: Some(SgxPackage {
            unique_id: None,
            signer_id: Some("02".repeat(32).to_uppercase()),
            product_id: Some(44),
            security_version: Some(3),
        }),
        tdx: Some(Box::new(TdxPackage {
            mrtd: Some([0xD0; 48]),
            rtmr: [
                Some([0xA0; 48]),
                Some([0xA1; 48]),
                Some([0xA2; 48]),
                Some([0xA3; 48]),
            ],
            mr_seam: Some([0x5E; 48]),
            mr_config_id: Some([0xC0; 48]),
            mr_owner: Some([0xB0; 48]),
            mr_owner_config: Some([0xB1; 48]),
            ..TdxPackage::default()
        })),
        snp: Some(Box::new(SnpPackage {
            measurement: Some([0x3E; 48]),
            host_data: Some([0x05; 32]),
            id_key_digest: Some([0x1D; 48]),
            author_key_digest: Some([0xA7; 48]),
            products: vec![SnpProduct::Genoa, SnpProduct::Turin],
            minimum_tcb: Some(SnpMinimumTcb {
                boot_loader: Some(3),
                tee: Some(2),
                snp: Some(8),
                microcode: Some(200),
                fmc: Some(1),
            }),
            ..SnpPackage::default()
        })),
        debug: false,
        accepted_tcb_statuses: Vec::new(),
        accepted_advisories: Vec::new(),
    }
}

/// A change of the claims, and how the refusal begins.
type Case<C> = (fn(&mut C), &'static str);

fn of_sgx(change: impl FnOnce(&mut SgxClaims)) -> Claims {
    let mut claims = sgx();
    change(&mut claims);
    Claims::Sgx(Box::new(claims))
}

fn of_tdx(change: impl FnOnce(&mut TdxClaims)) -> Claims {
    let mut claims = tdx();
    change(&mut claims);
    Claims::Tdx(Box::new(claims))
}

fn of_snp(change: impl FnOnce(&mut SnpClaims)) -> Claims {
    let mut claims = snp();
    change(&mut claims);
    Claims::Snp(Box::new(claims))
}

/// The first broken rule, which has to be the only one in the list of all.
#[track_caller]
fn refused_raised(package: &Package, raised: Option<u64>, claims: &Claims) -> String {
    let mut every = EveryRule::default();
    let all = appraise_package(
        &mut Rules::of_document(&mut every).below("P"),
        package,
        raised,
        claims,
    );
    assert!(all.is_continue());
    let broken: Vec<_> = every
        .into_outcomes()
        .into_iter()
        .filter(RuleOutcome::is_broken)
        .collect();

    let mut first = FirstBroken::default();
    let one = appraise_package(
        &mut Rules::of_document(&mut first).below("P"),
        package,
        raised,
        claims,
    );
    match first.into_result() {
        Ok(()) => {
            assert!(one.is_continue());
            assert_eq!(broken, []);
            "accepted".to_owned()
        }
        Err(outcome) => {
            assert!(one.is_break());
            assert_eq!(broken.as_slice(), std::slice::from_ref(&outcome));
            Mismatch::from(outcome).to_string()
        }
    }
}

#[track_caller]
fn refused(package: &Package, claims: &Claims) -> String {
    refused_raised(package, None, claims)
}

#[test]
fn each_rule_of_an_sgx_package_is_compared() {
    assert_eq!(refused(&package(), &of_sgx(|_| ())), "accepted");
    assert_eq!(
        refused(&package(), &of_sgx(|c| c.security_version = 4)),
        "accepted"
    );
    let table: [Case<SgxClaims>; 5] = [
        (
            |c| c.security_version = 2,
            "P.SecurityVersion: expected at least 3, found 2",
        ),
        (|c| c.debug = true, "P.Debug: expected false, found true"),
        (|c| c.product_id = 45, "P.ProductID: expected 44, found 45"),
        (|c| c.signer_id[0] = 3, "P.SignerID: expected 0202"),
        (
            |c| c.tcb_status = TcbStatus::OutOfDate,
            "P.AcceptedTCBStatuses: expected UpToDate or SWHardeningNeeded, found OutOfDate",
        ),
    ];
    for (change, expected) in table {
        let found = refused(&package(), &of_sgx(change));
        assert!(found.starts_with(expected), "{found}");
    }

    let unique = |id: &str| Package {
        sgx: Some(SgxPackage {
            unique_id: Some(id.to_owned()),
            ..SgxPackage::default()
        }),
        ..package()
    };
    let id = "01".repeat(32);
    assert_eq!(refused(&unique(&id), &of_sgx(|_| ())), "accepted");
    assert!(refused(&unique(&id), &of_sgx(|c| c.unique_id[31] = 9)).starts_with("P.UniqueID"));
    assert!(refused(&unique("put the id here"), &of_sgx(|_| ())).starts_with("P.UniqueID"));
}

#[test]
fn a_raised_security_version_counts_instead_of_the_manifest_s() {
    let comply = |raised| refused_raised(&package(), raised, &of_sgx(|_| ()));
    assert_eq!(comply(None), "accepted");
    assert_eq!(comply(Some(3)), "accepted");
    assert_eq!(comply(Some(4)), "P.SecurityVersion: expected at least 4, found 3");
}

#[test]
fn each_rule_of_a_tdx_package_is_compared() {
    assert_eq!(refused(&package(), &of_tdx(|_| ())), "accepted");
    let table: [Case<TdxClaims>; 11] = [
        (|c| c.mrtd[47] = 0, "P.TDX.MRTD: expected d0"),
        (|c| c.rtmr[0][0] = 0, "P.TDX.RTMR0: expected a0"),
        (|c| c.rtmr[1][0] = 0, "P.TDX.RTMR1: expected a1"),
        (|c| c.rtmr[2][0] = 0, "P.TDX.RTMR2: expected a2"),
        (|c| c.rtmr[3][0] = 0, "P.TDX.RTMR3: expected a3"),
        (|c| c.mr_seam[0] = 0, "P.TDX.MRSEAM: expected 5e"),
        (|c| c.mr_config_id[0] = 0, "P.TDX.MRCONFIGID: expected c0"),
        (|c| c.mr_owner[0] = 0, "P.TDX.MROWNER: expected b0"),
        (|c| c.mr_owner_config[0] = 0, "P.TDX.MROWNERCONFIG: expected b1"),
        (|c| c.debug = true, "P.Debug: expected false, found true"),
        (|c| c.tcb_status = TcbStatus::Revoked, "P.AcceptedTCBStatuses"),
    ];
    for (change, expected) in table {
        let found = refused(&package(), &of_tdx(change));
        assert!(found.starts_with(expected), "{found}");
    }
    // What is not given is not compared.
    let bare = Package {
        tdx: Some(Box::default()),
        ..package()
    };
    let other = of_tdx(|c| {
        (c.mrtd, c.rtmr, c.mr_seam) = ([9; 48], [[9; 48]; 4], [9; 48]);
        (c.mr_config_id, c.mr_owner, c.mr_owner_config) = ([9; 48], [9; 48], [9; 48]);
    });
    assert_eq!(refused(&bare, &other), "accepted");
}

fn with_tdx(package: Package, change: impl FnOnce(&mut TdxPackage)) -> Package {
    let mut tdx = package.tdx.clone().unwrap();
    change(&mut tdx);
    Package {
        tdx: Some(tdx),
        ..package
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn lists_of_tdx_itself_count_instead_of_the_package_s() {
    let outer = Package {
        accepted_tcb_statuses: texts(&["OutOfDate"]),
        accepted_advisories: texts(&["A"]),
        ..package()
    };
    let out_of_date = of_tdx(|c| c.tcb_status = TcbStatus::OutOfDate);
    let hardening = |advisory: &str| {
        of_tdx(|c| {
            c.tcb_status = TcbStatus::SWHardeningNeeded;
            c.advisories = Some(vec![advisory.to_owned()]);
        })
    };
    assert_eq!(refused(&outer, &out_of_date), "accepted");
    assert!(refused(&outer, &hardening("A")).starts_with("P.AcceptedTCBStatuses"));

    let statuses = with_tdx(outer.clone(), |tdx| {
        tdx.accepted_tcb_statuses = texts(&["SWHardeningNeeded"]);
    });
    assert_eq!(
        refused(&statuses, &out_of_date),
        "P.TDX.AcceptedTCBStatuses: expected UpToDate or one of SWHardeningNeeded, found OutOfDate"
    );
    assert_eq!(refused(&statuses, &hardening("a")), "accepted");
    assert_eq!(
        refused(&statuses, &hardening("B")),
        "P.AcceptedAdvisories: expected only A, found B"
    );

    let both = with_tdx(statuses, |tdx| tdx.accepted_advisories = texts(&["B"]));
    assert_eq!(refused(&both, &hardening("B")), "accepted");
    assert_eq!(
        refused(&both, &hardening("A")),
        "P.TDX.AcceptedAdvisories: expected only B, found A"
    );
    // Those of TDX are no business of SGX.
    let sgx = of_sgx(|c| c.tcb_status = TcbStatus::OutOfDate);
    assert_eq!(refused(&both, &sgx), "accepted");
}

#[test]
fn each_rule_of_an_snp_package_is_compared() {
    assert_eq!(refused(&package(), &of_snp(|_| ())), "accepted");
    let higher = of_snp(|c| {
        c.tcb = SnpTcb {
            fmc: Some(2),
            boot_loader: 4,
            tee: 3,
            snp: 9,
            microcode: 201,
        };
    });
    assert_eq!(refused(&package(), &higher), "accepted");
    let table: [Case<SnpClaims>; 14] = [
        (|c| c.measurement[47] = 0, "P.SNP.Measurement: expected 3e"),
        (|c| c.host_data[0] = 0, "P.SNP.HostData: expected 05"),
        (|c| c.id_key_digest[0] = 0, "P.SNP.IDKeyDigest: expected 1d"),
        (
            |c| c.author_key_digest[0] = 0,
            "P.SNP.AuthorKeyDigest: expected a7",
        ),
        (|c| c.vmpl = 1, "P.SNP.VMPL: expected 0, found 1"),
        (|c| c.debug = true, "P.Debug: expected false, found true"),
        (
            |c| c.migration_agent_allowed = true,
            "P.SNP: expected a guest policy without migration agent, found one that allows it",
        ),
        (
            |c| c.product = SnpProduct::Milan,
            "P.SNP.Product: expected Genoa or Turin, found Milan",
        ),
        (
            |c| c.tcb.boot_loader = 2,
            "P.SNP.MinimumTCB.BootLoader: expected at least 3, found 2",
        ),
        (
            |c| c.tcb.tee = 1,
            "P.SNP.MinimumTCB.TEE: expected at least 2, found 1",
        ),
        (
            |c| c.tcb.snp = 7,
            "P.SNP.MinimumTCB.SNP: expected at least 8, found 7",
        ),
        (
            |c| c.tcb.microcode = 199,
            "P.SNP.MinimumTCB.Microcode: expected at least 200, found 199",
        ),
        (
            |c| c.tcb.fmc = Some(0),
            "P.SNP.MinimumTCB.FMC: expected at least 1, found 0",
        ),
        (
            |c| c.tcb.fmc = None,
            "P.SNP.MinimumTCB.FMC: expected at least 1, found no such component",
        ),
    ];
    for (change, expected) in table {
        let found = refused(&package(), &of_snp(change));
        assert!(found.starts_with(expected), "{found}");
    }
    // What is not given is not compared, but for the privilege level and the migration agent.
    let bare = Package {
        snp: Some(Box::default()),
        ..package()
    };
    let other = of_snp(|c| {
        (c.measurement, c.host_data) = ([9; 48], [9; 32]);
        (c.id_key_digest, c.author_key_digest) = ([9; 48], [9; 48]);
        (c.product, c.tcb.fmc, c.tcb.snp) = (SnpProduct::Milan, None, 0);
    });
    assert_eq!(refused(&bare, &other), "accepted");
    assert!(refused(&bare, &of_snp(|c| c.vmpl = 3)).starts_with("P.SNP.VMPL"));
    assert!(refused(&bare, &of_snp(|c| c.migration_agent_allowed = true)).starts_with("P.SNP: "));
    let second = Package {
        snp: Some(Box::new(SnpPackage {
            vmpl: 2,
            ..SnpPackage::default()
        })),
        ..package()
    };
    assert_eq!(refused(&second, &of_snp(|c| c.vmpl = 2)), "accepted");
    assert!(refused(&second, &of_snp(|_| ())).starts_with("P.SNP.VMPL: expected 2, found 0"));
}

#[test]
fn debug_of_one_tee_or_of_the_package_is_compared() {
    let outer = Package {
        debug: true,
        ..package()
    };
    let inner = Package {
        snp: Some(Box::new(SnpPackage {
            debug: Some(true),
            ..*package().snp.unwrap()
        })),
        ..with_tdx(package(), |tdx| tdx.debug = Some(true))
    };
    let inner_not = Package {
        debug: true,
        snp: Some(Box::new(SnpPackage {
            debug: Some(false),
            ..*package().snp.unwrap()
        })),
        ..with_tdx(package(), |tdx| tdx.debug = Some(false))
    };
    let production = [of_sgx(|_| ()), of_tdx(|_| ()), of_snp(|_| ())];
    let debug = [
        of_sgx(|c| c.debug = true),
        of_tdx(|c| c.debug = true),
        of_snp(|c| c.debug = true),
    ];
    for (production, debug) in production.iter().zip(&debug) {
        assert_eq!(refused(&outer, production), "P.Debug: expected true, found false");
        assert_eq!(refused(&outer, debug), "accepted");
    }
    let [sgx, tdx, snp] = &production;
    assert_eq!(refused(&inner_not, sgx), "P.Debug: expected true, found false");
    assert_eq!(refused(&inner_not, tdx), "accepted");
    assert_eq!(refused(&inner_not, snp), "accepted");
    assert_eq!(refused(&inner, sgx), "accepted");
    assert_eq!(refused(&inner, tdx), "P.TDX.Debug: expected true, found false");
    assert_eq!(refused(&inner, snp), "P.SNP.Debug: expected true, found false");
    let [sgx, tdx, snp] = &debug;
    assert_eq!(refused(&inner_not, sgx), "accepted");
    assert_eq!(
        refused(&inner_not, tdx),
        "P.TDX.Debug: expected false, found true"
    );
    assert_eq!(
        refused(&inner_not, snp),
        "P.SNP.Debug: expected false, found true"
    );
    assert_eq!(refused(&inner, sgx), "P.Debug: expected false, found true");
    assert_eq!(refused(&inner, tdx), "accepted");
    assert_eq!(refused(&inner, snp), "accepted");
}

#[test]
fn a_package_that_names_no_claims_for_a_tee_never_matches_it() {
    let none = Package {
        sgx: None,
        tdx: None,
        snp: None,
        ..package()
    };
    for (claims, tee) in [
        (of_sgx(|_| ()), "SGX"),
        (of_tdx(|_| ()), "TDX"),
        (of_snp(|_| ()), "SEV-SNP"),
    ] {
        assert_eq!(
            refused(&none, &claims),
            format!("P: expected evidence of a TEE the package names claims for, found {tee} evidence")
        );
    }
}

fn infrastructures(list: &[(&str, Infrastructure)]) -> std::collections::BTreeMap<Name, Infrastructure> {
    list.iter()
        .map(|(name, rules)| (Name::from(*name), rules.clone()))
        .collect()
}

fn refused_platform(list: &[(&str, Infrastructure)], claims: &Claims) -> String {
    let mut first = FirstBroken::default();
    let list = infrastructures(list);
    let _ = infrastructure::appraise(&mut Rules::of_document(&mut first), &list, claims);
    match first.into_result() {
        Ok(()) => "accepted".to_owned(),
        Err(outcome) => Mismatch::from(outcome).to_string(),
    }
}

#[test]
fn each_property_of_an_infrastructure_is_compared() {
    let all = Infrastructure {
        cpu_svn: Some(vec![7; 16]),
        qe_svn: Some(5),
        pce_svn: Some(6),
        root_ca: Some(vec![3, 3, 3]),
    };
    for claims in [of_sgx(|_| ()), of_tdx(|_| ())] {
        let refused = |rules: Infrastructure| refused_platform(&[("I", rules)], &claims);
        assert_eq!(refused(all.clone()), "accepted");
        assert_eq!(refused(Infrastructure::default()), "accepted");
        let others = [
            (
                Infrastructure {
                    cpu_svn: Some(vec![8; 16]),
                    ..all.clone()
                },
                "Infrastructures.I.CPUSVN",
            ),
            (
                Infrastructure {
                    qe_svn: Some(6),
                    ..all.clone()
                },
                "Infrastructures.I.QESVN: expected at least 6, found 5",
            ),
            (
                Infrastructure {
                    pce_svn: Some(7),
                    ..all.clone()
                },
                "Infrastructures.I.PCESVN: expected at least 7, found 6",
            ),
            (
                Infrastructure {
                    root_ca: Some(vec![3]),
                    ..all.clone()
                },
                // Of the byte 3, and of the root that is claimed.
                "Infrastructures.I.RootCA: expected the certificate with SHA-256 \
                 084fed08b978af4d7d196a7446a86b58009e636b611db16211b65a9aadff29c5, found the certificate with SHA-256 ",
            ),
        ];
        for (other, expected) in others {
            let found = refused_platform(&[("I", other.clone())], &claims);
            let prefix = format!("Infrastructures: expected a platform that is listed, found {expected}");
            assert!(found.starts_with(&prefix), "{found}");
            assert_eq!(
                refused_platform(&[("I", other), ("J", all.clone())], &claims),
                "accepted"
            );
        }
    }
    assert_eq!(refused_platform(&[], &of_snp(|_| ())), "accepted");
    assert_eq!(
        refused_platform(&[("I", Infrastructure::default())], &of_snp(|_| ())),
        "Infrastructures: expected an Intel platform that is listed, found a platform with SEV-SNP"
    );
}

#[test]
fn a_refusal_tells_of_some_infrastructures_however_many_there_are() {
    let other = Infrastructure {
        qe_svn: Some(6),
        ..Infrastructure::default()
    };
    let names: Vec<String> = (0..1000).map(|number| format!("i{number:04}")).collect();
    let list: Vec<_> = names.iter().map(|name| (name.as_str(), other.clone())).collect();
    let found = refused_platform(&list, &of_sgx(|_| ()));
    assert_eq!(found.matches("QESVN").count(), 16);
}
