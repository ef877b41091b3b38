//! A strict reader of the text format of Prometheus (0.0.4).

use std::collections::{BTreeMap, BTreeSet};

/// A sample: its labels and its value.
pub type Sample = (BTreeMap<String, String>, f64);

/// What was scraped.
#[derive(Default, Debug)]
pub struct Scraped {
    /// Kind of each metric, by the name it is declared with.
    pub kinds: BTreeMap<String, String>,
    /// By the name of the sample.
    pub samples: BTreeMap<String, Vec<Sample>>,
}

impl Scraped {
    /// Reads a text; says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut scraped = Self::default();
        let mut last = String::new();
        for line in text.lines() {
            let wrong = |why: &str| Err(format!("{why}: {line}"));
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let Some((name, kind)) = declared.split_once(' ') else {
                    return wrong("no kind");
                };
                if !["counter", "gauge", "histogram"].contains(&kind) {
                    return wrong("unknown kind");
                }
                if scraped.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return wrong("declared twice");
                }
                last = name.to_owned();
            } else if let Some(help) = line.strip_prefix("# HELP ") {
                if !help.contains(' ') {
                    return wrong("no help");
                }
            } else if line.starts_with('#') || line.is_empty() {
                return wrong("neither sample nor declaration");
            } else {
                let Some((name, sample)) = read_sample(line) else {
                    return wrong("not a sample");
                };
                let of = |suffix: &str| name.strip_suffix(suffix) == Some(&last);
                let belongs = match scraped.kinds.get(&last).map(String::as_str) {
                    Some("histogram") => of("_bucket") || of("_sum") || of("_count"),
                    Some(_) => name == last,
                    None => false,
                };
                if !belongs {
                    return wrong("not declared before");
                }
                let samples = scraped.samples.entry(name).or_default();
                if samples.iter().any(|(labels, _)| *labels == sample.0) {
                    return wrong("twice");
                }
                samples.push(sample);
            }
        }
        scraped.histograms_are_sound()?;
        Ok(scraped)
    }

    fn histograms_are_sound(&self) -> Result<(), String> {
        for name in self
            .kinds
            .iter()
            .filter(|(_, kind)| *kind == "histogram")
            .map(|(name, _)| name)
        {
            let none = Vec::new();
            let of = |suffix: &str| self.samples.get(&format!("{name}{suffix}")).unwrap_or(&none);
            for (labels, count) in of("_count") {
                let mine = |(bucket, _): &&Sample| {
                    let mut bucket = bucket.clone();
                    bucket.remove("le").is_some() && bucket == *labels
                };
                let buckets: Vec<_> = of("_bucket").iter().filter(mine).collect();
                let grows = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
                let last = buckets
                    .last()
                    .filter(|(bucket, value)| bucket["le"] == "+Inf" && value == count);
                if !grows || last.is_none() {
                    return Err(format!("buckets of {name} {labels:?}"));
                }
            }
        }
        Ok(())
    }

    /// The names of all metrics: of samples, and of histograms once.
    pub fn names(&self) -> BTreeSet<String> {
        self.kinds.keys().cloned().collect()
    }

    /// The names of the labels of a metric.
    pub fn labels(&self, name: &str) -> BTreeSet<String> {
        let samples = self.samples.iter().filter(|(sample, _)| {
            **sample == name || [format!("{name}_sum"), format!("{name}_count")].contains(sample)
        });
        let labels = samples.flat_map(|(_, samples)| samples.iter().flat_map(|(labels, _)| labels.keys()));
        labels.cloned().collect()
    }

    /// The values that a label has anywhere.
    pub fn values(&self, label: &str) -> BTreeSet<String> {
        let samples = self.samples.values().flatten();
        samples
            .filter_map(|(labels, _)| labels.get(label).cloned())
            .collect()
    }

    /// The value of the sample with these labels among others.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |(found, _): &&Sample| {
            labels
                .iter()
                .all(|(name, value)| found.get(*name).map(String::as_str) == Some(*value))
        };
        let samples: Vec<_> = self.samples[name].iter().filter(has).collect();
        assert_eq!(samples.len(), 1, "{name} {labels:?}");
        samples[0].1
    }
}

fn read_sample(line: &str) -> Option<(String, Sample)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let word = |text: &str| {
        let mut characters = text.chars();
        characters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && characters.all(|next| next.is_ascii_alphanumeric() || next == '_')
    };
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = read_quoted(after)?;
            if !word(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    word(name).then(|| (name.to_owned(), (labels, value)))
}

/// The text up to the quote that ends it, and what follows.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

#[test]
fn texts_that_are_none_are_noticed() {
    let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\\\"\\n\"} 1\na_total{x=\"2\"} NaN\n# TYPE h histogram\nh_sum 1.5\nh_count 2\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n";
    let scraped = Scraped::read(good).unwrap();
    assert_eq!(scraped.values("x"), ["1\"\n".to_owned(), "2".to_owned()].into());
    for (from, to) in [
        ("# TYPE a_total counter\n", ""),
        ("counter", "info"),
        ("x=\"2\"", "x=\"1\\\"\\n\""),
        ("NaN", "none"),
        ("\\\"", "\""),
        ("h_count 2", "h_count 3"),
        ("h_bucket{le=\"1\"} 1", "h_bucket{le=\"1\"} 3"),
        ("h_sum 1.5", "g_sum 1.5"),
        ("h_sum 1.5", "# EOF"),
        ("# TYPE h histogram", "# TYPE a_total counter"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(Scraped::read(&bad).is_err(), "{bad}");
    }
}
