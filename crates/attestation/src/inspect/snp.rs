//! SEV-SNP reports: SEV-SNP ABI specification, ATTESTATION_REPORT, versions 2 to 5.

use super::certificates::certificate;
use super::reader::{CutOff, Reader};
use super::{Item, structure};
use crate::quote::SNP_REPORT_SIZE;
use crate::reason::CertificateRole;
use crate::snp::Table;

const POLICY: &[(u32, &str)] = &[
    (16, "SMT"),
    (17, "bit 17"),
    (18, "MIGRATE_MA"),
    (19, "DEBUG"),
    (20, "SINGLE_SOCKET"),
    (21, "CXL_ALLOW"),
    (22, "MEM_AES_256_XTS"),
    (23, "RAPL_DIS"),
    (24, "CIPHERTEXT_HIDING_DRAM"),
    (25, "PAGE_SWAP_DISABLE"),
];

const PLATFORM: &[(u32, &str)] = &[
    (0, "SMT_EN"),
    (1, "TSME_EN"),
    (2, "ECC_EN"),
    (3, "RAPL_DIS"),
    (4, "CIPHERTEXT_HIDING_DRAM_EN"),
    (5, "ALIAS_CHECK_COMPLETE"),
    (7, "TIO_EN"),
];

/// Where the family of the processor stands in the report.
const CPUID_FAMILY: usize = 0x188;
/// The first family whose TCB versions have another layout: Turin's.
const TURIN: u8 = 0x1A;

pub(super) fn report(evidence: &[u8]) -> Vec<Item> {
    let (report, behind) = evidence.split_at(SNP_REPORT_SIZE.min(evidence.len()));
    let turin = report.get(CPUID_FAMILY).is_some_and(|family| *family >= TURIN);
    let version = report.first().copied().unwrap_or(0);
    let mut items = structure("report", report, |fields| read(fields, version, turin)).items;
    if !behind.is_empty() {
        items.push(table(behind));
    }
    items
}

fn read(fields: &mut Reader<'_>, version: u8, turin: bool) -> Result<(), CutOff> {
    fields.u32("VERSION")?;
    fields.u32("GUEST_SVN")?;
    policy(fields)?;
    fields.hex("FAMILY_ID", 16)?;
    fields.hex("IMAGE_ID", 16)?;
    fields.u32("VMPL")?;
    fields.u32("SIGNATURE_ALGO")?;
    tcb(fields, "CURRENT_TCB", turin)?;
    fields.flags("PLATFORM_INFO", PLATFORM)?;
    keys(fields)?;
    fields.reserved("reserved 1", 4)?;
    fields.hex("REPORT_DATA", 64)?;
    fields.hex("MEASUREMENT", 48)?;
    fields.hex("HOST_DATA", 32)?;
    fields.hex("ID_KEY_DIGEST", 48)?;
    fields.hex("AUTHOR_KEY_DIGEST", 48)?;
    fields.hex("REPORT_ID", 32)?;
    fields.hex("REPORT_ID_MA", 32)?;
    tcb(fields, "REPORTED_TCB", turin)?;
    if version == 2 {
        fields.reserved("reserved 2", 24)?;
    } else {
        fields.hex("CPUID_FAM_ID", 1)?;
        fields.hex("CPUID_MOD_ID", 1)?;
        fields.hex("CPUID_STEP", 1)?;
        fields.reserved("reserved 2", 21)?;
    }
    fields.hex("CHIP_ID", 64)?;
    tcb(fields, "COMMITTED_TCB", turin)?;
    firmware(fields, "current firmware")?;
    firmware(fields, "committed firmware")?;
    tcb(fields, "LAUNCH_TCB", turin)?;
    if version >= 5 {
        fields.hex("LAUNCH_MIT_VECTOR", 8)?;
        fields.hex("CURRENT_MIT_VECTOR", 8)?;
        fields.reserved("reserved 3", 152)?;
    } else {
        fields.reserved("reserved 3", 168)?;
    }
    fields.hex("SIGNATURE R", 72)?;
    fields.hex("SIGNATURE S", 72)?;
    fields.reserved("reserved 4", 368)?;
    Ok(())
}

fn policy(fields: &mut Reader<'_>) -> Result<(), CutOff> {
    let bytes = fields.take("POLICY", 8)?;
    let mut number = [0; 8];
    number.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let value = u64::from_le_bytes(number);
    let [minor, major, ..] = number;
    let names = super::bits(value & !0xFFFF, POLICY);
    let shown = format!("{value:#018x} (ABI {major}.{minor}, {names})");
    fields.push(Item::value("POLICY", shown));
    Ok(())
}

fn keys(fields: &mut Reader<'_>) -> Result<(), CutOff> {
    let bytes = fields.take("key information", 4)?;
    let first = bytes.first().copied().unwrap_or(0);
    let key = match (first >> 2) & 7 {
        0 => "VCEK",
        1 => "VLEK",
        7 => "none",
        _ => "unknown",
    };
    let yes = |bit: u8| if first & bit != 0 { "yes" } else { "no" };
    fields.push(Item::value("SIGNING_KEY", key));
    fields.push(Item::value("MASK_CHIP_KEY", yes(2)));
    fields.push(Item::value("AUTHOR_KEY_EN", yes(1)));
    Ok(())
}

fn tcb(fields: &mut Reader<'_>, name: &str, turin: bool) -> Result<(), CutOff> {
    let bytes = fields.take(name, 8)?;
    let [a, b, c, d, _, _, g, h] = <[u8; 8]>::try_from(bytes).unwrap_or_default();
    let parts = if turin {
        format!("FMC {a}, boot loader {b}, TEE {c}, SNP {d}, microcode {h}")
    } else {
        format!("boot loader {a}, TEE {b}, SNP {g}, microcode {h}")
    };
    fields.push(Item::value(name, format!("{} ({parts})", hex::encode(bytes))));
    Ok(())
}

fn firmware(fields: &mut Reader<'_>, name: &str) -> Result<(), CutOff> {
    let bytes = fields.take(name, 4)?;
    let [build, minor, major, _] = <[u8; 4]>::try_from(bytes).unwrap_or_default();
    fields.push(Item::value(name, format!("{major}.{minor}, build {build}")));
    Ok(())
}

fn table(behind: &[u8]) -> Item {
    let size = Item::value("size", format!("{} bytes", behind.len()));
    let table = match Table::read(behind) {
        Ok(table) => table,
        Err(reason) => {
            return Item::group("certificate table", vec![size, Item::problem(reason.to_string())]);
        }
    };
    let mut items = vec![size];
    for (name, role, der) in [
        ("VCEK", CertificateRole::Vcek, table.vcek),
        ("VLEK", CertificateRole::Vlek, table.vlek),
        ("ASK or ASVK", CertificateRole::Ask, table.intermediate),
        ("ARK", CertificateRole::Ark, table.ark),
    ] {
        if let Some(der) = der {
            items.push(certificate(name.to_owned(), role, der));
        }
    }
    Item::group("certificate table", items)
}
