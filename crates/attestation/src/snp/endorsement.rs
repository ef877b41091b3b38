//! What VCEK and VLEK certificates say about the platform: Versioned Chip Endorsement Key Certificate and KDS
//! Interface Specification, section 3.1.

use const_oid::ObjectIdentifier;
use x509_cert::der::Decode;

use crate::chain::Certificate;
use crate::claims::{SnpProduct, SnpTcb};
use crate::reason::{CertificateRole, Reason};

const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const BOOT_LOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const RESERVED: [(ObjectIdentifier, &str); 4] = [
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.4"), "SPL 4"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.5"), "SPL 5"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.6"), "SPL 6"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.7"), "SPL 7"),
];
const MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HARDWARE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");

/// Names of products by line; a stepping may follow after a dash.
const NAMES: [(&str, SnpProduct); 5] = [
    ("Milan", SnpProduct::Milan),
    ("Genoa", SnpProduct::Genoa),
    ("Bergamo", SnpProduct::Genoa),
    ("Siena", SnpProduct::Genoa),
    ("Turin", SnpProduct::Turin),
];

/// The product line the certificate is for.
pub(super) fn product(certificate: &Certificate) -> Result<SnpProduct, Reason> {
    let name = certificate
        .text_extension(PRODUCT_NAME)
        .ok_or_else(|| extension(certificate, "product name", "expected a text, found none"))?;
    let (line, _stepping) = name.split_once('-').unwrap_or((name, ""));
    NAMES
        .iter()
        .find_map(|(known, product)| (*known == line).then_some(*product))
        .ok_or_else(|| Reason::UnknownProduct {
            found: name.to_owned(),
        })
}

/// Whether the key was derived for this product line, firmware version and, for a VCEK, chip.
pub(super) fn is_of_this_platform(
    certificate: &Certificate,
    expected_product: SnpProduct,
    tcb: &SnpTcb,
    chip_id: &[u8; 64],
) -> Result<(), Reason> {
    let found = product(certificate)?;
    if found != expected_product {
        return Err(Reason::AnotherProduct {
            found: found.to_string(),
            expected: expected_product.as_str(),
            certificate: certificate.role,
        });
    }
    let mut components = vec![
        (BOOT_LOADER, "boot loader", tcb.boot_loader),
        (TEE, "TEE", tcb.tee),
        (SNP, "SNP", tcb.snp),
        (MICROCODE, "microcode", tcb.microcode),
    ];
    components.extend(tcb.fmc.map(|fmc| (FMC, "FMC", fmc)));
    for (id, component, found) in components {
        equal(certificate, component, number(certificate, id, component)?, found)?;
    }
    for (id, component) in RESERVED {
        if certificate.extension(id).is_some() {
            equal(certificate, component, number(certificate, id, component)?, 0)?;
        }
    }
    match certificate.role {
        CertificateRole::Vcek => is_of_this_chip(certificate, chip_id),
        _ => Ok(()),
    }
}

fn equal(certificate: &Certificate, component: &'static str, expected: u8, found: u8) -> Result<(), Reason> {
    if expected == found {
        return Ok(());
    }
    Err(Reason::EndorsedTcb {
        component,
        found,
        expected,
        certificate: certificate.role,
    })
}

/// The host may mask the chip id; that the key is the chip's is then proved by the signature alone.
fn is_of_this_chip(certificate: &Certificate, chip_id: &[u8; 64]) -> Result<(), Reason> {
    if *chip_id == [0; 64] {
        return Ok(());
    }
    let expected = hardware_id(certificate)?;
    let same = chip_id
        .strip_prefix(expected)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
    if same {
        return Ok(());
    }
    Err(Reason::ChipId {
        found: hex::encode(chip_id),
        expected: hex::encode(expected),
    })
}

/// The chip as reports name it: padded with zeros.
pub(super) fn chip_id(certificate: &Certificate) -> Result<[u8; 64], Reason> {
    let mut chip_id = [0; 64];
    for (target, byte) in chip_id.iter_mut().zip(hardware_id(certificate)?) {
        *target = *byte;
    }
    Ok(chip_id)
}

fn hardware_id(certificate: &Certificate) -> Result<&[u8], Reason> {
    let content = certificate
        .extension(HARDWARE_ID)
        .ok_or_else(|| extension(certificate, "hardware id", "expected one, found none"))?;
    // The identifier itself, or an OCTET STRING with it: AMD has issued both.
    match content {
        [0x04, 0x40, id @ ..] if id.len() == 64 => Ok(id),
        [0x04, 0x08, id @ ..] if id.len() == 8 => Ok(id),
        id if id.len() == 64 || id.len() == 8 => Ok(id),
        other => {
            let why = format!("expected 8 or 64 bytes, found {}", other.len());
            Err(extension(certificate, "hardware id", why))
        }
    }
}

/// The version the key is derived for.
pub(super) fn tcb(certificate: &Certificate, product: SnpProduct) -> Result<SnpTcb, Reason> {
    Ok(SnpTcb {
        fmc: match product {
            SnpProduct::Turin => Some(number(certificate, FMC, "FMC")?),
            SnpProduct::Milan | SnpProduct::Genoa => None,
        },
        boot_loader: number(certificate, BOOT_LOADER, "boot loader")?,
        tee: number(certificate, TEE, "TEE")?,
        snp: number(certificate, SNP, "SNP")?,
        microcode: number(certificate, MICROCODE, "microcode")?,
    })
}

fn number(certificate: &Certificate, id: ObjectIdentifier, name: &'static str) -> Result<u8, Reason> {
    let content = certificate
        .extension(id)
        .ok_or_else(|| extension(certificate, name, "expected a number, found none"))?;
    u8::from_der(content).map_err(|_| {
        extension(
            certificate,
            name,
            "expected a number from 0 to 255, found something else",
        )
    })
}

fn extension(certificate: &Certificate, name: &'static str, why: impl Into<String>) -> Reason {
    Reason::CertificateExtension {
        certificate: certificate.role,
        extension: name,
        why: why.into(),
    }
}
