//! The rule, said without the code that is tested: spec/08, "TCB statuses".

/// What a package accepts.
#[derive(Debug, Clone, Copy)]
pub struct Accepts {
    pub statuses: &'static [&'static str],
    pub advisories: &'static [&'static str],
}

/// Which rule refuses a platform in force with this rating, if any does.
///
/// UpToDate always; others when listed, in exact spelling; an empty list stands for SWHardeningNeeded. With
/// SWHardeningNeeded and a list of advisories, every advisory of the platform must be in it, ignoring case; no list of
/// the platform is a refusal.
pub fn refused_by(status: &str, found: Option<&[&str]>, accepts: Accepts) -> Option<&'static str> {
    let implied: &[&str] = &["SWHardeningNeeded"];
    let good = if accepts.statuses.is_empty() {
        implied
    } else {
        accepts.statuses
    };
    if status != "UpToDate" && !good.contains(&status) {
        return Some("AcceptedTCBStatuses");
    }
    if status == "SWHardeningNeeded" && !accepts.advisories.is_empty() {
        let lower: Vec<String> = accepts.advisories.iter().map(|id| id.to_lowercase()).collect();
        let known = found.is_some_and(|list| list.iter().all(|id| lower.contains(&id.to_lowercase())));
        if !known {
            return Some("AcceptedAdvisories");
        }
    }
    None
}
