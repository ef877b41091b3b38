//! Every target over its seeds, the corpus that was kept, and mutations of both.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{TARGETS, Target, planted, target};

/// Far more than any input of this size may take, on a busy machine and without optimisation.
const HANG: Duration = Duration::from_secs(20);

/// Largest input.
const LONGEST: usize = 64 * 1024;

/// A generator of numbers that are the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn choose<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

fn mutated(inputs: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = numbers.choose(inputs).clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len() + 1);
        match numbers.below(9) {
            0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
            1 if at < input.len() => input[at] = numbers.next() as u8,
            2 => input.truncate(at),
            3 => input.insert(at, numbers.next() as u8),
            4 if at < input.len() => {
                let end = (at + 1 + numbers.below(16)).min(input.len());
                input.drain(at..end);
            }
            5 => {
                let other = numbers.choose(inputs);
                let from = numbers.below(other.len() + 1);
                let end = (from + numbers.below(64)).min(other.len());
                input.splice(at..at, other[from..end].iter().copied());
            }
            6 => {
                let numbers: [&[u8]; 6] = [
                    &[0xFF; 4],
                    &[0; 8],
                    &[0xFF, 0xFF, 0xFF, 0x7F],
                    &[0x80],
                    &[0, 1],
                    &[0xFF; 8],
                ];
                let bytes = numbers[at % numbers.len()];
                for (to, from) in input.iter_mut().skip(at).zip(bytes) {
                    *to = *from;
                }
            }
            7 => {
                let words: [&[u8]; 6] = [b"\"", b"{{", b"}}", b"null", b"[[[[", b"\\u0000"];
                let word = numbers.choose(&words);
                input.splice(at..at, word.iter().copied());
            }
            _ => {
                let from = numbers.below(input.len() + 1);
                let end = (from + numbers.below(32)).min(input.len());
                let copy = input[from..end].to_vec();
                input.splice(at..at, copy);
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Feeds it; the first input that panics or takes too long, if there is one.
fn fault(run: fn(&[u8]), seeds: &[Vec<u8>], mutations: usize) -> Option<Vec<u8>> {
    let mut numbers = Numbers(20);
    let fed = seeds.iter().cloned();
    let fed = fed.chain((0..mutations).map(|_| mutated(seeds, &mut numbers)));
    for input in fed {
        let began = Instant::now();
        if catch_unwind(|| run(&input)).is_err() || began.elapsed() > HANG {
            return Some(input);
        }
    }
    None
}

fn feed(target: &Target) {
    let mut seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{}: nothing to begin with", target.name);
    seeds.extend(corpus(target.name));
    if let Some(input) = fault(target.run, &seeds, target.mutations) {
        panic!(
            "{}: a fault with {} bytes: {}",
            target.name,
            input.len(),
            hex::encode(&input)
        );
    }
}

macro_rules! smoke {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                feed(target(stringify!($name)).unwrap());
            }
        )*
    };
}

smoke! {
    sgx_quote tdx_quote snp_report quote_header dcap_collateral snp_certificates manifest template content csr
    client_certificate activation_request rest_body recovery_message sealed_file log_record
}

#[test]
fn every_target_is_tested_and_has_a_fuzz_target() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let readme = std::fs::read_to_string(fuzz.join("README.md")).unwrap();
    for name in names.into_iter().chain(["planted"]) {
        let source = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(name), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// Mutations reach what stands one step from a seed.
#[test]
fn a_planted_fault_is_found() {
    let near = vec![b"fau1t".to_vec()];
    let found = fault(planted, &near, 20_000).unwrap();
    assert!(found.starts_with(b"fault"), "{found:?}");
    assert_eq!(fault(planted, &[b"fa-la-la".to_vec()], 0), None);
}

/// Not run by itself: writes the seeds of all targets for `cargo xtask fuzz`, a folder each.
#[test]
#[ignore = "writes files"]
fn write_seeds() {
    let folder = PathBuf::from(std::env::var_os("MARBLERUN_FUZZ_SEEDS").unwrap());
    for target in TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:03}")), seed).unwrap();
        }
    }
}
