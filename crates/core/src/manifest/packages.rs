//! `Packages`: enclave software.

use std::collections::BTreeMap;
use std::fmt;

use marblerun_attestation::TcbStatus;
use marblerun_attestation::policy::misspelled;

use super::field::{Field, Object};
use super::model::{Name, Package, SgxPackage};
use super::report::{Report, Unusable, WarningKind};
use super::section::Section;
use super::{snp, tdx};

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

/// Who asks about a package.
pub(super) struct Asked {
    /// Whether a marble refers to it: only such packages have to keep the rules.
    pub(super) used: bool,
    /// `Debug` of the package.
    pub(super) debug: bool,
    /// Whether the package names nothing at all: a section for a TEE that is there all the same, with what Go clients
    /// write for nothing in it, tells which TEE was meant.
    pub(super) empty: bool,
}

/// Reads the section. `used` says which packages marbles refer to.
pub(super) fn read(
    section: &Section<'_, '_>,
    used: impl Fn(&Name) -> bool,
    unusable: Unusable,
) -> Vec<(Name, Package)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), package(field, used(name), unusable)?)))
        .collect()
}

fn package(field: &Field<'_, '_>, used: bool, unusable: Unusable) -> Option<Package> {
    let before = field.report.problem_count();
    let object = field.references(FIELDS, unusable, meant).ok()?;
    let sgx = SgxPackage {
        unique_id: identity(&object.field("UniqueID")),
        signer_id: identity(&object.field("SignerID")),
        product_id: object.field("ProductID").number(u64::MAX).ok().flatten(),
        security_version: object.field("SecurityVersion").number(u64::MAX).ok().flatten(),
    };
    let debug = object.field("Debug").flag();
    let (tdx_field, snp_field) = (object.field("TDX"), object.field("SNP"));
    let others = !tdx_field.is_blank() || !snp_field.is_blank();
    let asked = Asked {
        used,
        debug,
        empty: sgx == SgxPackage::default() && !others,
    };
    let tdx = claims(&tdx_field, unusable, asked.empty, |field| {
        tdx::read(field, &asked)
    })
    .map(Box::new);
    let snp = claims(&snp_field, unusable, asked.empty, |field| {
        snp::read(field, &asked)
    })
    .map(Box::new);
    // Where a trust domain is judged by this list, a misspelled status is an unusable reference value of TDX.
    let judges_tdx = tdx
        .as_ref()
        .is_some_and(|tdx| tdx.accepted_tcb_statuses.is_empty());
    let package = Package {
        sgx: (sgx != SgxPackage::default() || !others).then_some(sgx),
        tdx,
        snp,
        debug,
        accepted_tcb_statuses: statuses(
            &object.field("AcceptedTCBStatuses"),
            unusable == Unusable::IsAProblem && (judges_tdx || (used && !debug)),
        ),
        accepted_advisories: object
            .field("AcceptedAdvisories")
            .texts()
            .iter()
            .map(|(_, text)| (*text).to_owned())
            .collect(),
    };
    if is_for_snp_alone(&package) {
        for name in ["AcceptedTCBStatuses", "AcceptedAdvisories"] {
            if !object.field(name).is_zero() {
                object.field(name).warn(
                    WarningKind::NoEffect,
                    "not looked at: the package is for SEV-SNP alone, whose platforms have no rating; SNP.MinimumTCB is \
                     for them",
                );
            }
        }
    }
    // A field of the wrong type is not also missing.
    if field.report.problem_count() == before
        && let Some(sgx) = &package.sgx
    {
        let strict = used && !debug;
        let say = |name, message: &str| say(&object, name, message, strict, used);
        check_identity(sgx, say);
        // A manifest that is in force stays in force, whatever its packages match.
        if unusable == Unusable::IsAProblem {
            check_range(sgx, say);
        }
    }
    Some(package)
}

fn is_for_snp_alone(package: &Package) -> bool {
    package.sgx.is_none() && package.tdx.is_none() && package.snp.is_some()
}

/// Warns of packages for SEV-SNP alone in a manifest that lists infrastructures: those are Intel platforms.
pub(super) fn check_platforms(
    section: &Section<'_, '_>,
    packages: &BTreeMap<Name, Package>,
    used: impl Fn(&Name) -> bool,
) {
    for (name, field) in &section.entries {
        if used(name) && packages.get(name).is_some_and(is_for_snp_alone) {
            field.warn(
                WarningKind::PackageRule,
                "no marble of this package can be activated: it is for SEV-SNP alone, and Infrastructures are Intel \
                 platforms, of which one has to match",
            );
        }
    }
}

/// What an unknown name in a package has to mean, if that can be told: a claim of another TEE outside of its section, or
/// a name that is nearly one of ours.
fn meant(name: &str) -> Option<String> {
    let of = |fields: &[&'static str]| {
        fields
            .iter()
            .copied()
            .find(|field| field.eq_ignore_ascii_case(name))
    };
    let of_tdx = of(tdx::FIELDS).map(|field| format!("TDX.{field}"));
    let of_snp = of(snp::FIELDS).map(|field| format!("SNP.{field}"));
    of_tdx
        .or(of_snp)
        .or_else(|| misspelled(FIELDS, name).map(str::to_owned))
}

/// What a package says of one TEE; `None`: nothing that evidence could match.
fn claims<T>(
    field: &Field<'_, '_>,
    unusable: Unusable,
    in_empty_package: bool,
    read: impl Fn(&Field<'_, '_>) -> Option<T>,
) -> Option<T> {
    let may_be_meant = in_empty_package && unusable == Unusable::IsAProblem && field.given().is_some();
    if field.is_zero() && !may_be_meant {
        return None;
    }
    if unusable == Unusable::IsAProblem {
        return read(field);
    }
    let report = Report::default();
    let value = read(&field.reporting_to(&report));
    value.filter(|_| report.problem_count() == 0)
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

fn statuses(field: &Field<'_, '_>, strict: bool) -> Vec<String> {
    let texts = field.texts();
    for (item, text) in &texts {
        match (text.parse::<TcbStatus>(), strict) {
            (Ok(_), _) => {}
            (Err(_), true) => drop(item.problem(NoSuchStatus)),
            (Err(_), false) => item.warn(WarningKind::PackageRule, NoSuchStatus),
        }
    }
    texts.iter().map(|(_, text)| (*text).to_owned()).collect()
}

/// What to say of a status that is none.
pub(super) struct NoSuchStatus;

impl fmt::Display for NoSuchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = TcbStatus::ALL.map(TcbStatus::as_str).join(", ");
        write!(f, "no platform has this status; there are {known}")
    }
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

/// The largest product id (`ISVPRODID`) and security version (`ISVSVN`) of an SGX enclave: 16 bits in its report
/// (Intel SDM, "REPORT").
pub(super) const MOST_OF_AN_ENCLAVE: u64 = u16::MAX as u64;

/// What to say of a product id or a security version that is too large.
pub(super) struct NoEnclaveHas(pub(super) u64);

impl fmt::Display for NoEnclaveHas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found) = self;
        write!(
            f,
            "no enclave has {found}: it is a number of 16 bits, {MOST_OF_AN_ENCLAVE} at most"
        )
    }
}

/// Numbers that an enclave can have.
fn check_range(sgx: &SgxPackage, say: impl Fn(Option<&'static str>, &str)) {
    for (name, number) in [
        ("ProductID", sgx.product_id),
        ("SecurityVersion", sgx.security_version),
    ] {
        if let Some(number) = number.filter(|number| *number > MOST_OF_AN_ENCLAVE) {
            say(Some(name), &NoEnclaveHas(number).to_string());
        }
    }
}

/// Reports a rule for packages that is broken, as a problem if `strict`. `field`: which field is wrong; none: the
/// object.
pub(super) fn say(
    object: &Object<'_, '_>,
    field: Option<&'static str>,
    message: &str,
    strict: bool,
    used: bool,
) {
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
