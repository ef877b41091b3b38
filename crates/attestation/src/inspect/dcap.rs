//! Quotes of SGX and TDX: Intel SGX DCAP ECDSA quote library API and Intel TDX DCAP quoting library API, appendix A
//! each.

use super::certificates::certificate;
use super::reader::{CutOff, Reader};
use super::{Item, structure};
use crate::chain::pem;
use crate::quote::{QUOTE_HEADER_SIZE, SGX_REPORT_BODY_SIZE, TD_REPORT_10_SIZE};
use crate::reason::CertificateRole;

/// Most certificates that are shown.
const CERTIFICATES: usize = 8;
/// Deepest certification data in certification data.
const NESTING: usize = 3;

const SGX_ATTRIBUTES: &[(u32, &str)] = &[
    (0, "INIT"),
    (1, "DEBUG"),
    (2, "MODE64BIT"),
    (4, "PROVISIONKEY"),
    (5, "EINITTOKENKEY"),
    (6, "CET"),
    (7, "KSS"),
    (10, "AEXNOTIFY"),
];

const TD_ATTRIBUTES: &[(u32, &str)] = &[
    (0, "DEBUG"),
    (4, "HGS_PLUS_PROF"),
    (5, "PERF_PROF"),
    (6, "PMT_PROF"),
    (16, "ICSSD"),
    (17, "SERVTD_EXT"),
    (27, "LASS"),
    (28, "SEPT_VE_DISABLE"),
    (29, "MIGRATABLE"),
    (30, "PKS"),
    (31, "KL"),
    (62, "TPA"),
    (63, "PERFMON"),
];

pub(super) fn quote(evidence: &[u8]) -> Vec<Item> {
    structure("quote", evidence, read).items
}

fn read(reader: &mut Reader<'_>) -> Result<(), CutOff> {
    let header_bytes = reader.take("header", QUOTE_HEADER_SIZE)?;
    let version = header_bytes.first().copied().unwrap_or(0);
    let tee = header_bytes.get(4..8).unwrap_or_default();
    reader.push(structure("header", header_bytes, |fields| {
        header(fields, version)
    }));
    if version == 5 {
        let kind = reader.u16("body type")?;
        let size = reader.u32("body size")?;
        let body = reader.take("body", size as usize)?;
        reader.push(match kind {
            1 => structure("enclave report", body, enclave_report),
            _ => structure("TD report", body, td_report),
        });
    } else if tee == [0; 4] {
        let body = reader.take("enclave report", SGX_REPORT_BODY_SIZE)?;
        reader.push(structure("enclave report", body, enclave_report));
    } else {
        let body = reader.take("TD report", TD_REPORT_10_SIZE)?;
        reader.push(structure("TD report", body, td_report));
    }
    let size = reader.u32("signature data size")?;
    let data = reader.take("signature data", size as usize)?;
    reader.push(structure("signature data", data, |fields| {
        signature_data(fields, version)
    }));
    reader.behind("behind the quote");
    Ok(())
}

fn header(fields: &mut Reader<'_>, version: u8) -> Result<(), CutOff> {
    fields.u16("version")?;
    fields.u16("attestation key type")?;
    let tee = fields.take("TEE type", 4)?;
    let name = match tee {
        [0, 0, 0, 0] => "SGX",
        [0x81, 0, 0, 0] => "TDX",
        _ => "unknown",
    };
    fields.push(Item::value("TEE type", format!("{} ({name})", hex::encode(tee))));
    if version == 3 {
        fields.u16("QE SVN")?;
        fields.u16("PCE SVN")?;
    } else {
        fields.reserved("reserved", 4)?;
    }
    fields.hex("QE vendor id", 16)?;
    fields.hex("user data", 20)?;
    Ok(())
}

fn enclave_report(fields: &mut Reader<'_>) -> Result<(), CutOff> {
    fields.hex("CPUSVN", 16)?;
    fields.hex("MISCSELECT", 4)?;
    fields.reserved("reserved 1", 12)?;
    fields.hex("ISVEXTPRODID", 16)?;
    fields.flags("ATTRIBUTES", SGX_ATTRIBUTES)?;
    fields.hex("XFRM", 8)?;
    fields.hex("MRENCLAVE", 32)?;
    fields.reserved("reserved 2", 32)?;
    fields.hex("MRSIGNER", 32)?;
    fields.reserved("reserved 3", 32)?;
    fields.hex("CONFIGID", 64)?;
    fields.u16("ISVPRODID")?;
    fields.u16("ISVSVN")?;
    fields.u16("CONFIGSVN")?;
    fields.reserved("reserved 4", 42)?;
    fields.hex("ISVFAMILYID", 16)?;
    fields.hex("REPORTDATA", 64)?;
    Ok(())
}

fn td_report(fields: &mut Reader<'_>) -> Result<(), CutOff> {
    fields.hex("TEE_TCB_SVN", 16)?;
    fields.hex("MRSEAM", 48)?;
    fields.hex("MRSIGNERSEAM", 48)?;
    fields.hex("SEAMATTRIBUTES", 8)?;
    fields.flags("TDATTRIBUTES", TD_ATTRIBUTES)?;
    fields.hex("XFAM", 8)?;
    fields.hex("MRTD", 48)?;
    fields.hex("MRCONFIGID", 48)?;
    fields.hex("MROWNER", 48)?;
    fields.hex("MROWNERCONFIG", 48)?;
    for register in ["RTMR0", "RTMR1", "RTMR2", "RTMR3"] {
        fields.hex(register, 48)?;
    }
    fields.hex("REPORTDATA", 64)?;
    if !fields.rest().is_empty() {
        fields.hex("TEE_TCB_SVN_2", 16)?;
        fields.hex("MRSERVICETD", 48)?;
    }
    if !fields.rest().is_empty() {
        let rest = fields.rest().len();
        fields.hex("further fields", rest)?;
    }
    Ok(())
}

fn signature_data(fields: &mut Reader<'_>, version: u8) -> Result<(), CutOff> {
    fields.hex("signature", 64)?;
    fields.hex("attestation key", 64)?;
    if version == 3 {
        qe_certification(fields, 0)
    } else {
        certification_data(fields, 0)
    }
}

/// What vouches for the attestation key.
fn qe_certification(fields: &mut Reader<'_>, depth: usize) -> Result<(), CutOff> {
    let report = fields.take("QE report", SGX_REPORT_BODY_SIZE)?;
    fields.push(structure("QE report", report, enclave_report));
    fields.hex("QE report signature", 64)?;
    let size = fields.u16("QE authentication data size")?;
    fields.hex("QE authentication data", size.into())?;
    certification_data(fields, depth)
}

fn certification_data(fields: &mut Reader<'_>, depth: usize) -> Result<(), CutOff> {
    let kind = fields.u16("certification data type")?;
    let size = fields.u32("certification data size")?;
    let content = fields.take("certification data", size as usize)?;
    match kind {
        5 => fields.push(Item::group("certificates", chain(content))),
        6 if depth < NESTING => fields.push(structure("certification data", content, |inner| {
            qe_certification(inner, depth + 1)
        })),
        _ => fields.push(Item::value("certification data", hex::encode(content))),
    }
    fields.behind("behind the certification data");
    Ok(())
}

fn chain(text: &[u8]) -> Vec<Item> {
    let list = match pem::certificates(text, CERTIFICATES) {
        Ok(list) => list,
        Err(why) => return vec![Item::problem(why)],
    };
    (1..)
        .zip(list)
        .map(|(number, der)| certificate(format!("certificate {number}"), CertificateRole::Pck, &der))
        .collect()
}
