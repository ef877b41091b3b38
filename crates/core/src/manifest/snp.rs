//! `SNP` in a package: claims of an AMD SEV-SNP guest (`spec/08`).

use marblerun_attestation::claims::SnpProduct;

use super::document::Node;
use super::field::{Field, Object};
use super::model::{SnpMinimumTcb, SnpPackage};
use super::packages::{Asked, say};
use super::path::Quoted;
use super::report::WarningKind;

pub(super) const FIELDS: &[&str] = &[
    "Measurement",
    "HostData",
    "IDKeyDigest",
    "AuthorKeyDigest",
    "Product",
    "MinimumTCB",
    "VMPL",
    "Debug",
];

const MINIMUM_TCB: &[&str] = &["BootLoader", "TEE", "SNP", "Microcode", "FMC"];

/// Virtual machine privilege levels of a guest.
const LEAST_PRIVILEGED: u64 = 3;

/// Reads the object; `None`: it names no claim.
pub(super) fn read(field: &Field<'_, '_>, asked: &Asked) -> Option<SnpPackage> {
    let before = field.report.problem_count();
    let object = field.whole_object(FIELDS).ok()?;
    let package = SnpPackage {
        measurement: object.field("Measurement").hex().ok().flatten(),
        host_data: object.field("HostData").hex().ok().flatten(),
        id_key_digest: object.field("IDKeyDigest").hex().ok().flatten(),
        author_key_digest: object.field("AuthorKeyDigest").hex().ok().flatten(),
        products: products(&object.field("Product")),
        minimum_tcb: minimum_tcb(&object.field("MinimumTCB")),
        vmpl: small(&object.field("VMPL"), LEAST_PRIVILEGED).unwrap_or(0),
        debug: object.field("Debug").given_flag(),
    };
    let strict = asked.used && !package.debug.unwrap_or(asked.debug);
    let blank = field.is_blank();
    if blank && !(strict && asked.empty) {
        field.warn(
            WarningKind::NoEffect,
            "no claim is given: SEV-SNP evidence never matches this package",
        );
    } else if field.report.problem_count() == before {
        // A field of the wrong type is not also missing.
        check(&object, &package, strict, asked);
    }
    (!blank).then_some(package)
}

fn check(object: &Object<'_, '_>, package: &SnpPackage, strict: bool, asked: &Asked) {
    let component = package.minimum_tcb.and_then(|minimum| minimum.fmc);
    if component.is_some() && package.products != [SnpProduct::Turin] {
        let minimum = object.field("MinimumTCB");
        if let Ok(minimum) = minimum.whole_object(MINIMUM_TCB) {
            minimum
                .field("FMC")
                .problem("only Turin has this component: expected Product to be Turin alone");
        }
    }
    if package.measurement.is_none() {
        say(
            object,
            Some("Measurement"),
            "missing: it says which software is meant",
            strict,
            asked.used,
        );
    }
}

fn minimum_tcb(field: &Field<'_, '_>) -> Option<SnpMinimumTcb> {
    let object = field.whole_object(MINIMUM_TCB).ok()?;
    // Zero as a minimum asks for nothing.
    let minimum = |name| small(&object.field(name), u64::from(u8::MAX)).filter(|version| *version > 0);
    let read = SnpMinimumTcb {
        boot_loader: minimum("BootLoader"),
        tee: minimum("TEE"),
        snp: minimum("SNP"),
        microcode: minimum("Microcode"),
        fmc: minimum("FMC"),
    };
    (read != SnpMinimumTcb::default()).then_some(read)
}

fn small(field: &Field<'_, '_>, most: u64) -> Option<u8> {
    let number = field.number(most).ok().flatten()?;
    u8::try_from(number).ok()
}

/// One name or a list of names.
fn products(field: &Field<'_, '_>) -> Vec<SnpProduct> {
    let named = match field.given() {
        None => Vec::new(),
        Some(Node::Text(text)) if text.is_empty() => Vec::new(),
        Some(Node::Text(text)) => vec![(*field, text.as_ref())],
        Some(Node::List(_)) => field.texts(),
        Some(_) => {
            field.expected("a product or a list of products");
            Vec::new()
        }
    };
    let mut products = Vec::with_capacity(named.len());
    for (item, name) in named {
        match SnpProduct::named(name) {
            Some(product) if products.contains(&product) => {
                item.problem(format_args!("{product} is given more than once"));
            }
            Some(product) => products.push(product),
            None => {
                let known = SnpProduct::ALL.map(SnpProduct::as_str).join(", ");
                item.problem(format_args!(
                    "there is no product {}; there are {known}",
                    Quoted(name)
                ));
            }
        }
    }
    products
}
