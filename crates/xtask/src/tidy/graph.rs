//! Dependency arrows: which crate of the workspace may use which, and which foreign crates may be reached from
//! where. Only what ships counts: development dependencies may differ.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Context, bail};

use super::Finding;

/// Which members each member may depend on. A member that is not listed is an error: a new crate is a decision.
const ARROWS: &[(&str, &[&str])] = &[
    ("marblerun-attestation", &[]),
    ("marblerun-collateral", &["marblerun-attestation"]),
    ("marblerun-core", &["marblerun-attestation"]),
    ("marblerun-wire", &[]),
    ("marblerun-scheduling", &[]),
    (
        "marblerun-coordinator",
        &[
            "marblerun-scheduling",
            "marblerun-core",
            "marblerun-wire",
            "marblerun-attestation",
            "marblerun-collateral",
        ],
    ),
    (
        "marblerun-client",
        &["marblerun-wire", "marblerun-attestation", "marblerun-collateral"],
    ),
    ("marblerun-marble", &["marblerun-wire", "marblerun-attestation"]),
    (
        "marblerun-cli",
        &[
            "marblerun-client",
            "marblerun-core",
            "marblerun-attestation",
            "marblerun-collateral",
        ],
    ),
    (
        "marblerun-bench",
        &["marblerun-wire", "marblerun-attestation", "marblerun-scheduling"],
    ),
    ("marblerun-injector", &[]),
    ("xtask", &["marblerun-client"]),
    (
        "marblerun-fuzz-targets",
        &[
            "marblerun-attestation",
            "marblerun-core",
            "marblerun-wire",
            "marblerun-coordinator",
        ],
    ),
];

/// Crates that nothing we ship may reach: one cryptographic provider, no C library beside it.
const NOWHERE: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls", "rsa"];

/// Crates that may not be reached from a member, not even through another crate.
const NOT_REACHED: &[(&str, &[&str])] = &[
    ("marblerun-core", WITHOUT_SOCKETS),
    ("marblerun-attestation", WITHOUT_SOCKETS),
];

const WITHOUT_SOCKETS: &[&str] = &[
    "async-std",
    "axum",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-rustls",
    "tonic",
    "ureq",
];

/// Crates that a member may not use itself.
const NOT_USED: &[(&str, &[&str])] = &[
    (
        "marblerun-core",
        &[
            "anyhow",
            "rustix",
            "nix",
            "libc",
            "tempfile",
            "rand",
            "getrandom",
            "marblerun-wire",
        ],
    ),
    ("marblerun-attestation", &["anyhow"]),
    ("marblerun-collateral", &["anyhow"]),
    ("marblerun-wire", &["anyhow"]),
    ("marblerun-scheduling", &["anyhow"]),
    ("marblerun-client", &["anyhow"]),
    ("marblerun-marble", &["anyhow"]),
];

/// Packages and what each depends on, development dependencies of the members left out.
#[derive(Debug, Default)]
pub struct Graph {
    /// Names of the members.
    pub members: BTreeSet<String>,
    /// Package id (name and version) to name.
    pub names: BTreeMap<String, String>,
    /// Package id to ids of its normal and build dependencies.
    pub edges: BTreeMap<String, BTreeSet<String>>,
    /// Member name to the names in its `[dependencies]`, also those of other targets and optional ones.
    pub declared: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// The dependencies of the workspace at `root` as they are compiled on the machine this runs on.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let manifest = root.join("Cargo.toml");
        let metadata = cargo_metadata::MetadataCommand::new()
            .manifest_path(&manifest)
            .no_deps()
            .exec()?;
        let mut graph = Self::default();
        for package in metadata.workspace_packages() {
            let normal = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == cargo_metadata::DependencyKind::Normal)
                .map(|dependency| dependency.name.clone());
            graph.declared.insert(package.name.to_string(), normal.collect());
            graph.members.insert(package.name.to_string());
        }
        graph.add_lines(&compiled_packages(&manifest)?)?;
        Ok(graph)
    }

    /// Adds what `cargo tree --prefix depth` printed: depth, name, version, and what we do not look at.
    fn add_lines(&mut self, printed: &str) -> anyhow::Result<()> {
        let mut above: Vec<String> = Vec::new();
        for line in printed.lines().filter(|line| !line.is_empty()) {
            let digits = line.chars().take_while(char::is_ascii_digit).count();
            let (depth, package) = line.split_at(digits);
            let depth: usize = depth
                .parse()
                .with_context(|| format!("`{line}` begins with no depth"))?;
            let mut words = package.split_whitespace();
            let (Some(name), Some(version)) = (words.next(), words.next()) else {
                bail!("`{line}` is not depth, name and version");
            };
            let id = format!("{name} {version}");
            above.truncate(depth);
            if let Some(parent) = above.last() {
                self.edges.entry(parent.clone()).or_default().insert(id.clone());
            }
            self.names.insert(id.clone(), name.to_owned());
            above.push(id);
        }
        Ok(())
    }

    /// The shortest way from a member to each package it reaches, as names from the member on.
    fn ways_from(&self, member: &str) -> BTreeMap<&str, Vec<&str>> {
        let mut ways: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut queue: VecDeque<(&str, Vec<&str>)> = self
            .names
            .iter()
            .filter(|(_, name)| *name == member)
            .map(|(id, name)| (id.as_str(), vec![name.as_str()]))
            .collect();
        while let Some((id, way)) = queue.pop_front() {
            if !seen.insert(id) {
                continue;
            }
            for next in self.edges.get(id).into_iter().flatten() {
                let Some(name) = self.names.get(next) else {
                    continue;
                };
                let mut longer = way.clone();
                longer.push(name);
                ways.entry(name).or_insert_with(|| longer.clone());
                queue.push_back((next, longer));
            }
        }
        ways
    }
}

/// Every arrow that must not be there.
pub fn check(graph: &Graph) -> Vec<Finding> {
    let mut messages: BTreeSet<String> = BTreeSet::new();
    for member in &graph.members {
        let declared = graph.declared.get(member).cloned().unwrap_or_default();
        match ARROWS.iter().find(|(name, _)| name == member) {
            None => {
                messages.insert(format!(
                    "`{member}` has no place in the table of arrows (xtask, tidy/graph.rs)"
                ));
            }
            Some((_, allowed)) => {
                for other in declared.iter().filter(|name| graph.members.contains(*name)) {
                    if !allowed.contains(&other.as_str()) {
                        messages.insert(format!("`{member}` must not depend on `{other}`"));
                    }
                }
            }
        }
        for name in listed(NOT_USED, member).filter(|name| declared.contains(**name)) {
            messages.insert(format!("`{member}` must not use `{name}`"));
        }
        let ways = graph.ways_from(member);
        for name in NOWHERE.iter().chain(listed(NOT_REACHED, member)) {
            if let Some(way) = ways.get(name) {
                messages.insert(format!("`{member}` must not reach `{name}`: {}", way.join(" → ")));
            }
        }
    }
    messages
        .into_iter()
        .map(|message| Finding {
            path: "Cargo.toml".to_owned(),
            line: 0,
            rule: "arrows",
            message,
        })
        .collect()
}

fn listed<'a>(table: &'a [(&str, &'a [&'a str])], member: &str) -> impl Iterator<Item = &'a &'a str> {
    table
        .iter()
        .filter(move |(name, _)| *name == member)
        .flat_map(|(_, names)| names.iter())
}

/// Asks Cargo which packages it compiles. `cargo metadata` would not do: it also names optional packages that
/// are mentioned by a feature and never compiled.
fn compiled_packages(manifest: &Path) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args([
            "tree",
            "--workspace",
            "--edges",
            "normal,build",
            "--prefix",
            "depth",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()?;
    if !output.status.success() {
        bail!("`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph in which ids are names. Members are those in the table of arrows and those named `ours-…`.
    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            for name in [from, to] {
                graph.names.insert((*name).to_owned(), (*name).to_owned());
                if ARROWS.iter().any(|(member, _)| member == name) || name.starts_with("ours-") {
                    graph.members.insert((*name).to_owned());
                }
            }
            graph
                .edges
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
            graph
                .declared
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    }

    fn messages(edges: &[(&str, &str)]) -> Vec<String> {
        check(&graph(edges))
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn the_drawn_arrows_pass() {
        let edges: Vec<(&str, &str)> = ARROWS
            .iter()
            .flat_map(|(from, all)| all.iter().map(move |to| (*from, *to)))
            .collect();
        assert_eq!(messages(&edges), Vec::<String>::new());
        assert_eq!(
            messages(&[("marblerun-coordinator", "tokio"), ("marblerun-cli", "anyhow")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn planted_arrows_are_found() {
        for (edges, expected) in [
            (
                vec![("marblerun-core", "marblerun-wire")],
                "`marblerun-core` must not depend on `marblerun-wire`",
            ),
            (
                vec![("marblerun-wire", "marblerun-core")],
                "`marblerun-wire` must not depend on `marblerun-core`",
            ),
            (
                vec![("marblerun-client", "marblerun-core")],
                "`marblerun-client` must not depend on `marblerun-core`",
            ),
            (
                vec![("marblerun-marble", "marblerun-core")],
                "`marblerun-marble` must not depend on `marblerun-core`",
            ),
            (
                vec![("xtask", "marblerun-core")],
                "`xtask` must not depend on `marblerun-core`",
            ),
            (
                vec![("ours-new", "serde")],
                "`ours-new` has no place in the table of arrows",
            ),
            (
                vec![("marblerun-core", "rustix")],
                "`marblerun-core` must not use `rustix`",
            ),
            (
                vec![("marblerun-wire", "anyhow")],
                "`marblerun-wire` must not use `anyhow`",
            ),
            (
                vec![("marblerun-core", "helpful"), ("helpful", "tokio")],
                "`marblerun-core` must not reach `tokio`: marblerun-core → helpful → tokio",
            ),
            (
                vec![("marblerun-cli", "a"), ("a", "b"), ("b", "ring")],
                "`marblerun-cli` must not reach `ring`: marblerun-cli → a → b → ring",
            ),
        ] {
            let found = messages(&edges);
            assert!(
                found.iter().any(|message| message.starts_with(expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn printed_trees_are_read() {
        let mut graph = Graph::default();
        graph
            .add_lines("0cli v0.1.0 (/a/crates/cli)\n1serde v1.0.0\n2serde_core v1.0.0\n1hex v0.4.0\n\n0core v0.1.0\n1hex v0.4.0 (*)\n")
            .unwrap();
        let ways = graph.ways_from("cli");
        assert_eq!(ways.get("serde_core"), Some(&vec!["cli", "serde", "serde_core"]));
        assert_eq!(ways.get("hex"), Some(&vec!["cli", "hex"]));
        assert_eq!(graph.ways_from("core").keys().collect::<Vec<_>>(), [&"hex"]);
        assert!(graph.add_lines("serde v1.0.0").is_err() && graph.add_lines("1serde").is_err());
    }

    /// Reading the real workspace sees its members and their foreign dependencies.
    #[test]
    fn the_real_graph_is_read() {
        let graph = Graph::read(&crate::repository_root()).unwrap();
        assert!(graph.members.contains("marblerun-core") && graph.members.contains("xtask"));
        let ways = graph.ways_from("marblerun-coordinator");
        assert!(ways.contains_key("tokio") && ways.contains_key("aws-lc-sys"));
        let core = graph.declared.get("marblerun-core").unwrap();
        assert!(core.contains("marblerun-attestation") && !core.contains("proptest"));
    }
}
