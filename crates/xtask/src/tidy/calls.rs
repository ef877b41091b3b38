//! The rules do no I/O: `core` and the verifying part of `attestation` read no clock, no environment, no file,
//! no socket and draw no random bytes. Time and randomness come in as arguments.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::Visit;

use super::Finding;
use super::syntax::{Names, Segments, imports, is_test_item, is_test_only, segments};
use super::tree::Tree;

/// Paths whose beginning is enough to refuse them, and why.
const FORBIDDEN_BEGINNINGS: &[(&[&str], &str)] = &[
    (&["std", "env"], ENVIRONMENT),
    (&["std", "fs"], FILES),
    (&["std", "process"], PROCESSES),
    (&["std", "net", "TcpListener"], SOCKETS),
    (&["std", "net", "TcpStream"], SOCKETS),
    (&["std", "net", "UdpSocket"], SOCKETS),
    (&["std", "net", "ToSocketAddrs"], SOCKETS),
    (&["std", "os", "unix", "net"], SOCKETS),
    (&["std", "thread", "spawn"], THREADS),
    (&["std", "thread", "scope"], THREADS),
    (&["std", "thread", "Builder"], THREADS),
    (&["std", "thread", "sleep"], THREADS),
    (&["aws_lc_rs", "rand"], DICE),
    (&["getrandom"], DICE),
];

/// Paths whose last two segments are enough to refuse them, and why.
const FORBIDDEN_ENDINGS: &[(&str, &str, &str)] = &[
    ("SystemTime", "now", CLOCK),
    ("Instant", "now", CLOCK),
    ("OffsetDateTime", "now_utc", CLOCK),
    ("OffsetDateTime", "now_local", CLOCK),
    ("UtcDateTime", "now", CLOCK),
    ("Uuid", "new_v4", DICE),
    ("Uuid", "now_v7", DICE),
];

/// Key types of aws-lc-rs, for the case that one came in by a glob import.
const KEY_TYPES: &[&str] = &[
    "EcdsaKeyPair",
    "Ed25519KeyPair",
    "RsaKeyPair",
    "PrivateDecryptingKey",
    "EphemeralPrivateKey",
];

const CLOCK: &str = "reads the clock";
const DICE: &str = "draws randomness";
const ENVIRONMENT: &str = "reads the environment";
const FILES: &str = "touches files";
const PROCESSES: &str = "looks at processes or starts them";
const SOCKETS: &str = "opens sockets";
const THREADS: &str = "runs or stops threads";

/// Forbidden calls and imports in `crates/core/src` and `crates/attestation/src`, outside tests. The `issue`
/// module of attestation reads the devices that make evidence: it may touch files and wait for them.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, syntax) in tree.rust_files() {
        let core = file.path.starts_with("crates/core/src/");
        let attestation = file.path.strip_prefix("crates/attestation/src/");
        if !(core || attestation.is_some()) || file.is_for_tests() {
            continue;
        }
        let issues = attestation.is_some_and(|below| below == "issue.rs" || below.starts_with("issue/"));
        let mut calls = Calls {
            path: &file.path,
            names: Names::of(syntax),
            devices_allowed: issues,
            findings: Vec::new(),
        };
        calls.visit_file(syntax);
        calls.findings.sort();
        calls.findings.dedup();
        findings.append(&mut calls.findings);
    }
    findings
}

/// Why a full path is forbidden.
fn reason(path: &[String]) -> Option<&'static str> {
    let beginning = FORBIDDEN_BEGINNINGS.iter().find(|(forbidden, _)| {
        path.len() >= forbidden.len() && path.iter().zip(forbidden.iter()).all(|(own, other)| own == other)
    });
    if let Some((_, reason)) = beginning {
        return Some(reason);
    }
    let [.., owner, last] = path else { return None };
    if let Some((_, _, reason)) = FORBIDDEN_ENDINGS
        .iter()
        .find(|(kind, function, _)| owner == kind && last == function)
    {
        return Some(reason);
    }
    let generates = last == "generate" || last.starts_with("generate_");
    let library = path.first().is_some_and(|first| first == "aws_lc_rs");
    (generates && (library || KEY_TYPES.contains(&owner.as_str()))).then_some(DICE)
}

struct Calls<'a> {
    path: &'a str,
    names: Names,
    devices_allowed: bool,
    findings: Vec<Finding>,
}

impl Calls<'_> {
    fn examine(&mut self, full: &[String], line: usize) {
        let Some(reason) = reason(full) else { return };
        if self.devices_allowed && [FILES, PROCESSES, THREADS].contains(&reason) {
            return;
        }
        self.findings.push(Finding {
            path: self.path.to_owned(),
            line,
            rule: "calls",
            message: format!("`{}` {reason}: take it as an argument (Ambient)", full.join("::")),
        });
    }

    /// Macro arguments are tokens, not syntax: looks for `a::b::c` among them.
    fn examine_tokens(&mut self, tokens: TokenStream) {
        let mut path: Segments = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.examine_collected(&mut path, line);
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.examine_collected(&mut path, line);
                    colons = 0;
                    self.examine_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.examine_collected(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.examine_collected(&mut path, line);
    }

    fn examine_collected(&mut self, path: &mut Segments, line: usize) {
        let full = self.names.resolve(path);
        path.clear();
        self.examine(&full, line);
    }
}

impl<'tree> Visit<'tree> for Calls<'_> {
    fn visit_item(&mut self, item: &'tree syn::Item) {
        if !is_test_item(item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'tree syn::ImplItemFn) {
        if !is_test_only(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'tree syn::ItemUse) {
        for import in imports(&item.tree) {
            if import.glob && import.path == ["std"] {
                self.findings.push(Finding {
                    path: self.path.to_owned(),
                    line: import.line,
                    rule: "calls",
                    message: "`use std::*` brings in clocks and files: name what is used".to_owned(),
                });
            }
            self.examine(&import.path, import.line);
        }
    }

    fn visit_path(&mut self, path: &'tree syn::Path) {
        let full = self.names.resolve(&segments(path));
        self.examine(&full, path.span().start().line);
        syn::visit::visit_path(self, path);
    }

    /// `<SystemTime>::now()` has its type beside the path.
    fn visit_expr_path(&mut self, expression: &'tree syn::ExprPath) {
        if let Some(qualified) = &expression.qself
            && let syn::Type::Path(kind) = &*qualified.ty
        {
            let mut full = self.names.resolve(&segments(&kind.path));
            full.extend(segments(&expression.path));
            self.examine(&full, expression.span().start().line);
        }
        syn::visit::visit_expr_path(self, expression);
    }

    fn visit_expr_method_call(&mut self, call: &'tree syn::ExprMethodCall) {
        if call.method == "elapsed" {
            self.findings.push(Finding {
                path: self.path.to_owned(),
                line: call.method.span().start().line,
                rule: "calls",
                message: format!("`.elapsed()` {CLOCK}: take the time as an argument (Ambient)"),
            });
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, invocation: &'tree syn::Macro) {
        self.examine_tokens(invocation.tokens.clone());
        syn::visit::visit_macro(self, invocation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn planted_calls_are_found() {
        for text in [
            "fn f() { std::time::SystemTime::now(); }",
            "use std::time::SystemTime;\nfn f() { SystemTime::now(); }",
            "use std::time::SystemTime as Clock;\nfn f() { Clock::now(); }",
            "use std::time::Instant;\nfn f() { let read = Instant::now; }",
            "use std::time::SystemTime;\nfn f() { <SystemTime>::now(); }",
            "fn f(since: Since) { since.elapsed(); }",
            "fn f() { std::env::var(\"HOME\"); }",
            "use std::env;",
            "use std::{collections::HashMap, fs::File};",
            "fn f() { ::std::fs::read(\"x\"); }",
            "fn f(stream: std::net::TcpStream) {}",
            "use std::net::{IpAddr, UdpSocket};",
            "fn f() { std::thread::spawn(|| {}); }",
            "use std::thread;\nfn f() { thread::sleep(x); }",
            "use std::*;",
            "use aws_lc_rs::rand::SystemRandom;",
            "use aws_lc_rs::signature::EcdsaKeyPair;\nfn f() { EcdsaKeyPair::generate(&A); }",
            "use aws_lc_rs::{agreement, signature};\nfn f() { agreement::PrivateKey::generate(&A); }",
            "use aws_lc_rs::signature::*;\nfn f() { Ed25519KeyPair::generate_pkcs8(&r); }",
            "fn f() { time::OffsetDateTime::now_utc(); }",
            "use std::time::SystemTime;\nfn f() { println!(\"{:?}\", SystemTime::now()); }",
            "fn f() { vec![1, std::env::args().count()]; }",
            "impl S { fn f() { std::fs::remove_file(\"x\"); } }",
        ] {
            assert!(findings("crates/core/src/a.rs", text) > 0, "{text}");
            assert!(findings("crates/attestation/src/quote.rs", text) > 0, "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        for text in [
            "use std::net::IpAddr;\nfn f(a: std::net::Ipv4Addr) {}",
            "use std::time::{Duration, SystemTime};\nfn f(now: SystemTime) { now.duration_since(now); }",
            "fn f() { env!(\"CARGO_PKG_VERSION\"); }",
            "use crate::secret::generate;\nfn f(dice: &D) { generate(dice); dice.generate(); Key::generate(dice); }",
            "use aws_lc_rs::signature::EcdsaKeyPair;\nfn f() { EcdsaKeyPair::from_pkcs8(&A, b); }",
            "// std::fs::read is not called here\nconst S: &str = \"std::fs\";",
            "#[cfg(test)]\nmod tests { use std::fs; fn f() { std::time::SystemTime::now(); } }",
            "pub mod testing { use aws_lc_rs::rand::SystemRandom; }",
            "impl S { #[cfg(test)] fn f() { std::env::var(\"A\"); } }",
        ] {
            assert_eq!(findings("crates/core/src/a.rs", text), 0, "{text}");
        }
        let clock = "fn f() { std::time::SystemTime::now(); }";
        assert_eq!(findings("crates/coordinator/src/a.rs", clock), 0);
        assert_eq!(findings("crates/core/tests/a.rs", clock), 0);
    }

    #[test]
    fn issuing_may_touch_files_and_wait() {
        let files = "fn f() { std::fs::read(\"/dev/attestation/quote\"); }";
        assert_eq!(findings("crates/attestation/src/issue/gramine.rs", files), 0);
        assert_eq!(findings("crates/attestation/src/quote.rs", files), 1);
        assert_eq!(
            findings(
                "crates/attestation/src/issue.rs",
                "fn f() { std::env::var(\"A\"); }"
            ),
            1
        );
    }

    #[test]
    fn lines_are_named() {
        let tree = Tree::of(&[(
            "crates/core/src/a.rs",
            "\n\nfn f() {\n    std::env::var(\"A\");\n}\n",
        )]);
        assert_eq!(check(&tree).first().map(|finding| finding.line), Some(4));
    }
}
