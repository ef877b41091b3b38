//! What fuzzing feeds: for each thing that reads bytes of others, one function from bytes to nothing. It panics when
//! a promise is broken: that nothing panics, that what is accepted is what was signed, that what is written reads
//! back.
//!
//! The same functions run under libFuzzer (`fuzz/`, `cargo xtask fuzz`) and, over seeds, corpus and some thousand
//! mutations of them, as an ordinary test of this crate.

#![cfg(any(test, feature = "targets"))]
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken promise is told by a panic, and what targets start from is known to be whole"
)]

mod content;
mod cursor;
mod dcap_collateral;
mod evidence;
mod log_record;
mod manifest;
mod quote_header;
mod quotes;
mod recovery_message;
mod requests;
mod rest_body;
mod sealed_file;
#[cfg(test)]
mod smoke;
mod snp_certificates;
mod snp_report;
mod template;
mod world;

/// A thing to feed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, that of a file in `fuzz/fuzz_targets` too.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Inputs that get far, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations the ordinary test feeds.
    pub mutations: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "sgx_quote",
        run: quotes::run_sgx,
        seeds: quotes::seeds_sgx,
        mutations: 1_500,
    },
    Target {
        name: "tdx_quote",
        run: quotes::run_tdx,
        seeds: quotes::seeds_tdx,
        mutations: 1_500,
    },
    Target {
        name: "snp_report",
        run: snp_report::run,
        seeds: snp_report::seeds,
        mutations: 1_500,
    },
    Target {
        name: "quote_header",
        run: quote_header::run,
        seeds: quote_header::seeds,
        mutations: 10_000,
    },
    Target {
        name: "dcap_collateral",
        run: dcap_collateral::run,
        seeds: dcap_collateral::seeds,
        mutations: 1_500,
    },
    Target {
        name: "snp_certificates",
        run: snp_certificates::run,
        seeds: snp_certificates::seeds,
        mutations: 1_500,
    },
    Target {
        name: "manifest",
        run: manifest::run,
        seeds: manifest::seeds,
        mutations: 1_500,
    },
    Target {
        name: "template",
        run: template::run,
        seeds: template::seeds,
        mutations: 10_000,
    },
    Target {
        name: "content",
        run: content::run,
        seeds: content::seeds,
        mutations: 10_000,
    },
    Target {
        name: "csr",
        run: requests::run_csr,
        seeds: requests::seeds_csr,
        mutations: 3_000,
    },
    Target {
        name: "client_certificate",
        run: requests::run_certificate,
        seeds: requests::seeds_certificate,
        mutations: 3_000,
    },
    Target {
        name: "activation_request",
        run: requests::run_activation,
        seeds: requests::seeds_activation,
        mutations: 1_500,
    },
    Target {
        name: "rest_body",
        run: rest_body::run,
        seeds: rest_body::seeds,
        mutations: 10_000,
    },
    Target {
        name: "recovery_message",
        run: recovery_message::run,
        seeds: recovery_message::seeds,
        mutations: 10_000,
    },
    Target {
        name: "sealed_file",
        run: sealed_file::run,
        seeds: sealed_file::seeds,
        mutations: 3_000,
    },
    Target {
        name: "log_record",
        run: log_record::run,
        seeds: log_record::seeds,
        mutations: 3_000,
    },
];

/// The target with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Feeds the target with this name.
pub fn feed(name: &str, input: &[u8]) {
    match target(name) {
        Some(target) => (target.run)(input),
        None => panic!("there is no target {name}"),
    }
}

/// A fault on purpose, that fuzzing has to find: an input that begins with certain bytes panics.
pub fn planted(input: &[u8]) {
    assert!(!input.starts_with(b"fault"), "the planted fault");
}
