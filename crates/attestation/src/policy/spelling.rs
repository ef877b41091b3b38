//! Names of reference values that are nearly right.

/// The one of `known` that `name`, which is none of them, is most likely meant to be, ignoring case: one edit away, or
/// two in a name of eight letters and more. To ignore such a name would be to leave out a check.
pub fn misspelled(known: &[&'static str], name: &str) -> Option<&'static str> {
    let distance = |known: &str| {
        let allowed = if known.len() < 8 { 1 } else { 2 };
        // What is much longer than any name is not compared letter by letter.
        let near = known.len().abs_diff(name.len()) <= allowed;
        let distance =
            near.then(|| strsim::osa_distance(&known.to_ascii_lowercase(), &name.to_ascii_lowercase()));
        distance.filter(|distance| *distance <= allowed)
    };
    let found = known.iter().filter_map(|known| Some((distance(known)?, *known)));
    found.min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::misspelled;

    const KNOWN: &[&str] = &["RTMR0", "RTMR1", "CPUSVN", "AcceptedAdvisories", "SNP"];

    #[test]
    fn slips_of_the_pen_are_seen_and_other_names_are_not() {
        for (name, meant) in [
            ("cpusvm", Some("CPUSVN")),
            ("CUPSVN", Some("CPUSVN")),
            ("PUSVN", Some("CPUSVN")),
            ("AcceptedAdvisorys", Some("AcceptedAdvisories")),
            ("acceptedadvisory", None),
            ("RTMR5", Some("RTMR0")),
            ("rtmr1x", Some("RTMR1")),
            ("SNQ", Some("SNP")),
            ("SGX", None),
            ("Platform", None),
            ("", None),
            ("\u{212a}", None),
        ] {
            assert_eq!(misspelled(KNOWN, name), meant, "{name}");
        }
        assert_eq!(misspelled(KNOWN, &"A".repeat(1 << 20)), None);
    }
}
