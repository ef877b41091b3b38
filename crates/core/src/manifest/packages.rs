//! `Packages`: enclave software.

use super::field::{Field, Object};
use super::model::{Name, Package, SgxPackage};
use super::report::WarningKind;
use super::section::Section;

const FIELDS: &[&str] = &[
    "UniqueID",
    "SignerID",
    "ProductID",
    "SecurityVersion",
    "Debug",
    "AcceptedTCBStatuses",
    "AcceptedAdvisories",
    "TDX",
    "SNP",
];

/// Names the collateral gives to the state of a platform (`spec/08`).
const TCB_STATUSES: &[&str] = &[
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
];

/// Reads the section. `used` says which packages marbles refer to: only those have to keep the rules.
pub(super) fn read(section: &Section<'_, '_>, used: impl Fn(&Name) -> bool) -> Vec<(Name, Package)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), package(field, used(name))?)))
        .collect()
}

fn package(field: &Field<'_, '_>, used: bool) -> Option<Package> {
    let object = field.object(FIELDS).ok()?;
    let before = field.report.problem_count();
    let sgx = SgxPackage {
        unique_id: identity(&object.field("UniqueID")),
        signer_id: identity(&object.field("SignerID")),
        product_id: object.field("ProductID").number(u64::MAX).ok().flatten(),
        security_version: object.field("SecurityVersion").number(u64::MAX).ok().flatten(),
    };
    let (tdx, snp) = (claims(&object.field("TDX")), claims(&object.field("SNP")));
    let sgx = (sgx != SgxPackage::default() || (tdx.is_none() && snp.is_none())).then_some(sgx);
    let package = Package {
        sgx,
        tdx,
        snp,
        debug: object.field("Debug").flag(),
        accepted_tcb_statuses: statuses(&object.field("AcceptedTCBStatuses")),
        accepted_advisories: object
            .field("AcceptedAdvisories")
            .texts()
            .iter()
            .map(|(_, text)| (*text).to_owned())
            .collect(),
    };
    // A field of the wrong type is not also missing.
    if field.report.problem_count() == before
        && let Some(sgx) = &package.sgx
    {
        let strict = used && !package.debug;
        check_identity(sgx, |name, message| say(&object, name, message, strict, used));
    }
    Some(package)
}

fn identity(field: &Field<'_, '_>) -> Option<String> {
    let text = field.text().ok().flatten()?;
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        field.warn(
            WarningKind::PackageRule,
            "this is not 64 hexadecimal digits and matches no quote",
        );
    }
    Some(text.to_owned())
}

fn claims(field: &Field<'_, '_>) -> Option<serde_json::Value> {
    if field.is_zero() {
        return None;
    }
    // All of its fields are known only to the TEE it is for.
    match field.given()? {
        node @ super::document::Node::Object(_) => Some(node.to_json()),
        _ => {
            field.expected("an object");
            None
        }
    }
}

fn statuses(field: &Field<'_, '_>) -> Vec<String> {
    let texts = field.texts();
    for (item, text) in &texts {
        if !TCB_STATUSES.contains(text) {
            let known = TCB_STATUSES.join(", ");
            item.warn(
                WarningKind::PackageRule,
                format_args!("no platform has this status; there are {known}"),
            );
        }
    }
    texts.iter().map(|(_, text)| (*text).to_owned()).collect()
}

/// Either `UniqueID` alone, or all of the other three. `say` is told which field is wrong; none: the package.
fn check_identity(sgx: &SgxPackage, say: impl Fn(Option<&'static str>, &str)) {
    const RULE: &str = "a package needs either UniqueID alone, or SignerID, ProductID and SecurityVersion";
    let others = [
        ("SignerID", sgx.signer_id.is_some()),
        ("ProductID", sgx.product_id.is_some()),
        ("SecurityVersion", sgx.security_version.is_some()),
    ];
    let given = others.iter().any(|(_, given)| *given);
    if sgx.unique_id.is_some() {
        if given {
            say(
                Some("UniqueID"),
                &format!("given together with SignerID, ProductID or SecurityVersion: {RULE}"),
            );
        }
    } else if given {
        for (name, _) in others.iter().filter(|(_, given)| !given) {
            say(Some(name), &format!("missing: {RULE}"));
        }
    } else {
        say(None, &format!("neither UniqueID nor SignerID is given: {RULE}"));
    }
}

fn say(object: &Object<'_, '_>, field: Option<&'static str>, message: &str, strict: bool, used: bool) {
    let why = match (strict, used) {
        (true, _) => "",
        (false, true) => " (a warning only, because Debug is true)",
        (false, false) => " (a warning only, because no marble refers to this package)",
    };
    let message = format!("{message}{why}");
    match (field, strict) {
        (Some(name), true) => drop(object.field(name).problem(message)),
        (Some(name), false) => object.field(name).warn(WarningKind::PackageRule, message),
        (None, true) => drop(object.problem(message)),
        (None, false) => object.warn(WarningKind::PackageRule, message),
    }
}
