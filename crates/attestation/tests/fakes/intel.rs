//! SGX and TDX.

use marblerun_attestation::collateral::{CollateralNeeded, DcapNeeded, DcapTee, PckAuthority};
use marblerun_attestation::fakes::{BodyFields, EnclaveFields, QuoteFields, TdFields};
use marblerun_attestation::header::OpenEnclaveHeader;
use marblerun_attestation::reason::{CertificateRole, Dated};
use marblerun_attestation::{
    Claims, Collateral, Quote, ReportBinding, SimulationRoots, TcbStatus, UnixSeconds, Verifier,
};
use serde_json::{Value, json};

use super::{NOW, SGX_CHAIN, TEE, binding, judge, other_p256, refused, replace_chain, sgx, sgx_signed, tdx};

const TD_15: Option<([u8; 16], [u8; 48])> = Some(([5, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7], [0; 48]));

#[test]
fn claims_are_the_fields_of_an_sgx_quote() {
    let Claims::Sgx(claims) = sgx(|_, quote| {
        let BodyFields::Sgx(body) = &mut quote.body else {
            panic!("another body")
        };
        body.mr_enclave = [1; 32];
        body.mr_signer = [2; 32];
        (body.product_id, body.security_version) = (0x0304, 0x0506);
    })
    .unwrap() else {
        panic!("another TEE")
    };
    assert_eq!((claims.unique_id, claims.signer_id), ([1; 32], [2; 32]));
    assert_eq!((claims.product_id, claims.security_version), (0x0304, 0x0506));
    assert_eq!((claims.cpu_svn, claims.pce_svn, claims.qe_svn), ([7; 16], 11, 8));
    assert_eq!(claims.report_data, binding().report_data());
    assert_eq!(
        (claims.tcb_status, claims.advisories),
        (TcbStatus::UpToDate, None)
    );
    assert!(!claims.debug);
}

#[test]
fn claims_are_the_fields_of_a_tdx_quote() {
    for since_15 in [None, TD_15] {
        let Claims::Tdx(claims) = tdx(|_, td| td.since_15 = since_15).unwrap() else {
            panic!("another TEE")
        };
        let fields = TdFields::new(&binding());
        assert_eq!((claims.mrtd, claims.rtmr), (fields.mrtd, fields.rtmr));
        assert_eq!(
            (claims.mr_config_id, claims.mr_owner),
            (fields.mr_config_id, fields.mr_owner)
        );
        assert_eq!(
            (claims.mr_owner_config, claims.mr_seam),
            (fields.mr_owner_config, fields.mr_seam)
        );
        assert_eq!((claims.xfam, claims.attributes), (fields.xfam, fields.attributes));
        assert_eq!(claims.tcb_status, TcbStatus::UpToDate);
        assert!(!claims.debug);
    }
}

#[test]
fn debug_is_a_claim() {
    let sgx = sgx(|_, quote| {
        let BodyFields::Sgx(body) = &mut quote.body else {
            panic!("another body")
        };
        body.attributes[0] |= 2;
    });
    assert!(sgx.unwrap().debug());
    for bit in [1, 0x10, 0x20, 0x40] {
        assert!(tdx(|_, td| td.attributes[0] = bit).unwrap().debug(), "{bit}");
    }
}

#[test]
fn an_sgx_quote_verifies_behind_the_header() {
    let platform = TEE.intel(DcapTee::Sgx);
    let quote = QuoteFields::sgx(EnclaveFields::new(&binding()))
        .sign(&platform)
        .unwrap();
    let collateral = Collateral::Dcap(platform.collateral().unwrap());
    assert_eq!(
        judge(OpenEnclaveHeader::add(&quote), &collateral),
        judge(quote, &collateral)
    );
}

#[test]
fn what_is_needed_is_named_after_the_signatures_and_the_binding() {
    let platform = TEE.intel(DcapTee::Tdx);
    let quote = QuoteFields::tdx_v4(TdFields::new(&binding()))
        .sign(&platform)
        .unwrap();
    let verifier = Verifier::new(SimulationRoots::development());
    let needed = |bytes: &[u8], binding| {
        verifier.collateral_needed(&Quote::new(bytes.to_vec()).unwrap(), &binding, NOW)
    };
    assert_eq!(
        needed(&quote, binding()),
        Ok(CollateralNeeded::Dcap(DcapNeeded {
            tee: DcapTee::Tdx,
            fmspc: [0x50, 0x60, 0x70, 0, 0, 0],
            authority: PckAuthority::Platform,
        }))
    );
    assert!(needed(&quote, ReportBinding::certificate(b"another")).is_err());
    let mut flipped = quote.clone();
    flipped[48] ^= 1;
    assert!(needed(&flipped, binding()).is_err());
    assert!(needed(b"", binding()).is_err());
}

#[test]
fn evidence_of_no_format_is_refused() {
    let collateral = Collateral::Dcap(TEE.intel(DcapTee::Sgx).collateral().unwrap());
    refused!(judge(Vec::new(), &collateral), Format, NoEvidence);
    refused!(judge(vec![7; 2000], &collateral), Format, Unrecognised(_));
}

#[test]
fn fields_with_fixed_values_are_compared() {
    refused!(
        tdx(|_, _| {}).and_then(|_| {
            let platform = TEE.intel(DcapTee::Tdx);
            let mut quote = QuoteFields::tdx_v4(TdFields::new(&binding()));
            quote.attestation_key_type = 3;
            judge(
                quote.sign(&platform).unwrap(),
                &Collateral::Dcap(platform.collateral().unwrap()),
            )
        }),
        Fields,
        AttestationKeyType { found: 3 }
    );
    refused!(sgx(|_, quote| quote.vendor[0] = 0), Fields, QeVendor { .. });
    refused!(
        sgx(|_, quote| quote.certification_data_type = 3),
        Fields,
        CertificationData {
            found: 3,
            expected: 5
        }
    );
    refused!(
        sgx(|_, quote| quote.authentication_data = vec![0; 31]),
        Fields,
        Length {
            expected: 32,
            found: 31,
            ..
        }
    );
    refused!(sgx_signed(|quote, _| quote.push(1)), Fields, TrailingBytes { .. });
    assert!(sgx_signed(|quote, _| quote.push(0)).is_ok());
}

#[test]
fn each_signature_is_verified() {
    let after = 432 + 4;
    refused!(
        sgx_signed(|quote, _| quote[after] ^= 1),
        Signature,
        QuoteSignature
    );
    refused!(sgx_signed(|quote, _| quote[48] ^= 1), Signature, QuoteSignature);
    refused!(
        sgx_signed(|quote, _| quote[after + 64] ^= 1),
        Signature,
        AttestationKey { .. }
    );
    refused!(
        sgx_signed(|quote, _| quote[after + 128] ^= 1),
        Signature,
        QeReportSignature
    );
    refused!(
        sgx_signed(|quote, _| quote[after + 128 + 384] ^= 1),
        Signature,
        QeReportSignature
    );
    refused!(
        sgx(|_, quote| quote.keep_qe_report_data = true),
        Signature,
        AttestationKey { .. }
    );
}

#[test]
fn another_binding_is_refused() {
    refused!(
        sgx(|_, quote| {
            let BodyFields::Sgx(body) = &mut quote.body else {
                panic!("another body")
            };
            body.report_data[63] = 1;
        }),
        Binding,
        Binding { .. }
    );
    refused!(tdx(|_, td| td.report_data[0] ^= 1), Binding, Binding { .. });
}

#[test]
fn collateral_has_to_be_signed() {
    refused!(
        sgx_signed(|_, parts| parts.tcb_info_signature[0] ^= 1),
        Collateral,
        CollateralSignature {
            signed: Dated::TcbInfo,
            ..
        }
    );
    refused!(
        sgx_signed(|_, parts| parts.tcb_info.push(' ')),
        Collateral,
        CollateralSignature {
            signed: Dated::TcbInfo,
            ..
        }
    );
    refused!(
        sgx_signed(|_, parts| parts.qe_identity_signature[0] ^= 1),
        Collateral,
        CollateralSignature {
            signed: Dated::QeIdentity,
            ..
        }
    );
}

#[test]
fn collateral_has_to_be_for_the_platform() {
    use DcapTee::{Sgx, Tdx};
    refused!(
        sgx(|platform, _| *platform = platform.clone().with_collateral_for(Tdx)),
        Platform,
        CollateralKind {
            what: Dated::TcbInfo,
            ..
        }
    );
    refused!(
        tdx(|platform, _| *platform = platform.clone().with_collateral_for(Sgx)),
        Platform,
        CollateralKind {
            what: Dated::TcbInfo,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.qe_identity["id"] = json!("QVE")),
        Platform,
        CollateralKind {
            what: Dated::QeIdentity,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.tcb_info["version"] = json!(2)),
        Platform,
        CollateralKind {
            what: Dated::TcbInfo,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.tcb_info["fmspc"] = json!("506070000001")),
        Platform,
        Fmspc { .. }
    );
    refused!(
        sgx(|platform, _| platform.extension.fmspc = vec![9; 6]),
        Platform,
        Fmspc { .. }
    );
    refused!(
        sgx(|platform, _| platform.tcb_info["pceId"] = json!("0001")),
        Platform,
        PceId { .. }
    );
}

#[test]
fn collateral_has_to_be_in_force() {
    for (name, dated) in [("tcb_info", Dated::TcbInfo), ("qe_identity", Dated::QeIdentity)] {
        let with = |field: &str, date: &str| {
            sgx(|platform, _| {
                let document = match name {
                    "tcb_info" => &mut platform.tcb_info,
                    _ => &mut platform.qe_identity,
                };
                document[field] = json!(date);
            })
        };
        assert!(with("nextUpdate", "2026-01-01T00:00:00Z").is_ok());
        let late = with("nextUpdate", "2025-12-31T23:59:59Z").unwrap_err();
        assert!(
            matches!(*late.reason, marblerun_attestation::Reason::Expired { dated: found, .. } if found == dated),
            "{late}"
        );
        assert!(with("issueDate", "2026-01-01T00:00:00Z").is_ok());
        let early = with("issueDate", "2026-01-01T00:00:01Z").unwrap_err();
        assert!(
            matches!(*early.reason, marblerun_attestation::Reason::NotYetValid { dated: found, .. } if found == dated),
            "{early}"
        );
    }
}

#[test]
fn the_quoting_enclave_has_to_be_intels() {
    refused!(
        sgx(|_, quote| quote.quoting_enclave.mr_signer = [1; 32]),
        QuotingEnclave,
        QuotingEnclave {
            field: "MRSIGNER",
            ..
        }
    );
    refused!(
        sgx(|_, quote| quote.quoting_enclave.product_id = 2),
        QuotingEnclave,
        QuotingEnclave {
            field: "ISVPRODID",
            ..
        }
    );
    refused!(
        sgx(|_, quote| quote.quoting_enclave.misc_select = [1, 0, 0, 0]),
        QuotingEnclave,
        QuotingEnclave {
            field: "MISCSELECT",
            ..
        }
    );
    refused!(
        sgx(|_, quote| quote.quoting_enclave.attributes[0] |= 2),
        QuotingEnclave,
        QuotingEnclave {
            field: "ATTRIBUTES",
            ..
        }
    );
    refused!(
        sgx(|platform, quote| {
            quote.quoting_enclave.attributes[0] |= 2;
            platform.qe_identity["attributesMask"] = json!("F9FFFFFFFFFFFFFF0000000000000000");
        }),
        QuotingEnclave,
        QuotingEnclave { field: "DEBUG", .. }
    );
    refused!(
        sgx(|_, quote| quote.quoting_enclave.security_version = 4),
        QuotingEnclave,
        QuotingEnclaveTooOld { found: 4, lowest: 5 }
    );
}

#[test]
fn the_platform_is_rated_by_the_best_level_it_meets() {
    let rated = |svn: u8| {
        let Claims::Sgx(claims) = sgx(|platform, _| {
            platform.extension.components[3] = svn;
            platform.extension.cpu_svn[3] = svn;
        })
        .unwrap() else {
            panic!("another TEE")
        };
        (claims.tcb_status, claims.advisories.unwrap_or_default().len())
    };
    assert_eq!(rated(7), (TcbStatus::UpToDate, 0));
    assert_eq!(rated(6), (TcbStatus::SWHardeningNeeded, 1));
    assert_eq!(rated(4), (TcbStatus::OutOfDate, 2));
    refused!(
        sgx(|platform, _| {
            platform.extension.components[3] = 2;
            platform.extension.cpu_svn[3] = 2;
        }),
        Rating,
        NoTcbLevel { .. }
    );
    refused!(
        sgx(|platform, _| platform.extension.pce_svn = 10),
        Rating,
        NoTcbLevel { .. }
    );
    refused!(tdx(|_, td| td.tee_tcb_svn[2] = 2), Rating, NoTcbLevel { .. });
}

#[test]
fn every_status_of_a_platform_is_a_claim() {
    for status in TcbStatus::ALL {
        let claims = sgx(|platform, _| {
            platform.tcb_info["tcbLevels"][0]["tcbStatus"] = json!(status.as_str());
            platform.tcb_info["tcbLevels"][0]["advisoryIDs"] = json!(["INTEL-SA-1"]);
        });
        let Claims::Sgx(claims) = claims.unwrap() else {
            panic!("another TEE")
        };
        assert_eq!(claims.tcb_status, status);
        assert_eq!(claims.advisories, Some(vec!["INTEL-SA-1".to_owned()]));
    }
}

#[test]
fn the_order_of_levels_means_nothing() {
    let claims = sgx(|platform, _| {
        platform.tcb_info["tcbLevels"].as_array_mut().unwrap().reverse();
    });
    let Claims::Sgx(claims) = claims.unwrap() else {
        panic!("another TEE")
    };
    assert_eq!(claims.tcb_status, TcbStatus::UpToDate);
}

#[test]
fn a_quoting_enclave_out_of_date_makes_the_platform_worse() {
    let rated = |status: &str, qe: u16| {
        let Claims::Sgx(claims) = sgx(|platform, quote| {
            platform.tcb_info["tcbLevels"][0]["tcbStatus"] = json!(status);
            quote.quoting_enclave.security_version = qe;
        })
        .unwrap() else {
            panic!("another TEE")
        };
        claims.tcb_status
    };
    use TcbStatus as S;
    assert_eq!(rated("UpToDate", 8), S::UpToDate);
    assert_eq!(rated("UpToDate", 7), S::OutOfDate);
    assert_eq!(rated("SWHardeningNeeded", 7), S::OutOfDate);
    assert_eq!(rated("ConfigurationNeeded", 7), S::OutOfDateConfigurationNeeded);
    assert_eq!(
        rated("ConfigurationAndSWHardeningNeeded", 7),
        S::OutOfDateConfigurationNeeded
    );
    assert_eq!(rated("OutOfDate", 7), S::OutOfDate);
    assert_eq!(rated("Revoked", 7), S::Revoked);
}

fn tdx_status(change: impl FnOnce(&mut Value, &mut TdFields)) -> TcbStatus {
    let Claims::Tdx(claims) = tdx(|platform, td| change(&mut platform.tcb_info, td)).unwrap() else {
        panic!("another TEE")
    };
    claims.tcb_status
}

#[test]
fn the_module_is_rated_too() {
    assert_eq!(tdx_status(|_, td| td.tee_tcb_svn[0] = 3), TcbStatus::OutOfDate);
    refused!(
        tdx(|_, td| td.tee_tcb_svn[0] = 1),
        Rating,
        ModuleTooOld { found: 1, lowest: 2 }
    );
    // Without a version of its own the module is part of the levels.
    assert_eq!(
        tdx_status(|info, td| {
            (td.tee_tcb_svn[0], td.tee_tcb_svn[1]) = (7, 0);
            for level in info["tcbLevels"].as_array_mut().unwrap() {
                level["tcb"]["tdxtcbcomponents"][1] = json!({ "svn": 0 });
            }
        }),
        TcbStatus::UpToDate
    );
}

#[test]
fn a_trust_domain_started_on_an_old_platform_stays_out_of_date() {
    let status = |then: u8, now: u8, status_now: &str| {
        tdx_status(|info, td| {
            td.tee_tcb_svn[2] = then;
            let mut svn = TD_15.unwrap().0;
            svn[2] = now;
            td.since_15 = Some((svn, [0; 48]));
            info["tcbLevels"][0]["tcbStatus"] = json!(status_now);
        })
    };
    use TcbStatus as S;
    assert_eq!(status(7, 7, "UpToDate"), S::UpToDate);
    assert_eq!(status(4, 7, "UpToDate"), S::OutOfDate);
    assert_eq!(
        status(4, 7, "ConfigurationNeeded"),
        S::OutOfDateConfigurationNeeded
    );
    assert_eq!(status(4, 7, "Revoked"), S::Revoked);
    assert_eq!(status(4, 4, "UpToDate"), S::OutOfDate);
}

#[test]
fn the_module_has_to_be_known() {
    refused!(
        tdx(|_, td| td.tee_tcb_svn[1] = 9),
        Guest,
        NoModuleIdentity { version: 9 }
    );
    refused!(
        tdx(|platform, td| {
            td.tee_tcb_svn[1] = 0;
            platform.tcb_info.as_object_mut().unwrap().remove("tdxModule");
        }),
        Guest,
        NoModuleIdentity { version: 0 }
    );
    refused!(
        tdx(|_, td| td.mr_signer_seam[0] = 1),
        Guest,
        Module {
            field: "MRSIGNERSEAM",
            ..
        }
    );
    refused!(
        tdx(|_, td| td.seam_attributes[0] = 1),
        Guest,
        Module {
            field: "SEAMATTRIBUTES",
            ..
        }
    );
    refused!(
        tdx(|platform, td| {
            td.seam_attributes[0] = 1;
            platform.tcb_info["tdxModuleIdentities"][0]["attributesMask"] = json!("00FFFFFFFFFFFFFF");
        }),
        Guest,
        Module {
            field: "SEAMATTRIBUTES",
            ..
        }
    );
}

#[test]
fn the_trust_domain_has_to_stay_where_and_what_it_is() {
    refused!(tdx(|_, td| td.attributes[4] = 1), Guest, TdReserved { .. });
    refused!(tdx(|_, td| td.attributes[0] = 2), Guest, TdReserved { .. });
    refused!(tdx(|_, td| td.attributes[3] = 0x30), Guest, TdMigratable { .. });
    refused!(tdx(|_, td| td.attributes[3] = 0), Guest, TdSeptVe { .. });
    refused!(tdx(|_, td| td.attributes[2] = 2), Guest, TdService { .. });
    refused!(
        tdx(|_, td| td.since_15 = Some((TD_15.unwrap().0, [1; 48]))),
        Guest,
        TdService { .. }
    );
}

#[test]
fn the_second_implementation_has_to_agree() {
    // A status that this structure never has in reality: only the second implementation minds.
    refused!(
        sgx(|platform, _| platform.qe_identity["tcbLevels"][0]["tcbStatus"] = json!("SWHardeningNeeded")),
        SecondOpinion,
        SecondOpinion { .. }
    );
    // A certificate that contradicts itself: the second implementation looks at the other field.
    refused!(
        sgx(|platform, _| platform.extension.cpu_svn = vec![4; 16]),
        SecondOpinion,
        SecondRating { .. }
    );
}

#[test]
fn what_was_seen_before_is_judged_as_at_first() {
    let platform = TEE.intel(DcapTee::Sgx);
    let collateral = Collateral::Dcap(platform.collateral().unwrap());
    let verifier = Verifier::new(SimulationRoots::development());
    let verify = |bytes: &[u8], now: u64| {
        let quote = Quote::new(bytes.to_vec()).unwrap();
        verifier.verify(&quote, &binding(), &collateral, UnixSeconds(now))
    };
    let first = QuoteFields::sgx(EnclaveFields::new(&binding()))
        .sign(&platform)
        .unwrap();
    let at_first = verify(&first, NOW.0).unwrap();
    assert_eq!(verify(&first, NOW.0), Ok(at_first));

    // The chain is signed anew here, so this is another one; what follows shares it.
    let chain_of = |fields: &QuoteFields| {
        let mut other = fields.sign(&platform).unwrap();
        replace_chain(&mut other, &first[SGX_CHAIN + 4..]);
        other
    };
    let debug = {
        let mut fields = QuoteFields::sgx(EnclaveFields::new(&binding()));
        let BodyFields::Sgx(body) = &mut fields.body else {
            panic!("another body")
        };
        body.attributes[0] |= 2;
        chain_of(&fields)
    };
    assert!(verify(&debug, NOW.0).unwrap().get().debug());
    let mut old = QuoteFields::sgx(EnclaveFields::new(&binding()));
    old.quoting_enclave.security_version = 4;
    refused!(
        verify(&chain_of(&old), NOW.0).map(marblerun_attestation::Verified::into_inner),
        QuotingEnclave,
        QuotingEnclaveTooOld { .. }
    );
    for at in [48, 436, 500, 564, 948] {
        let mut flipped = first.clone();
        flipped[at] ^= 1;
        assert!(verify(&flipped, NOW.0).is_err(), "{at}");
    }
    let late = verify(&first, 2_600_000_000).unwrap_err();
    assert!(
        matches!(
            *late.reason,
            marblerun_attestation::Reason::Expired {
                dated: Dated::Certificate(CertificateRole::IntelSgxRoot),
                ..
            }
        ),
        "{late}"
    );
}

#[test]
fn another_key_of_the_platform_is_another_platform() {
    // Same certificate, other key: what it signs is not the platform's.
    let platform = TEE.intel(DcapTee::Sgx);
    let mut other = platform.clone();
    other.pck_key = other_p256();
    let quote = QuoteFields::sgx(EnclaveFields::new(&binding()));
    let (ours, mut mixed) = (quote.sign(&platform).unwrap(), quote.sign(&other).unwrap());
    replace_chain(&mut mixed, &ours[SGX_CHAIN + 4..]);
    refused!(
        judge(mixed, &Collateral::Dcap(platform.collateral().unwrap())),
        Signature,
        QeReportSignature
    );
}
