//! An allocator that looks into every block before it is given back, and counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Wraps the system's allocator. Blocks that grow are moved, so that what `realloc` leaves behind is looked at
/// too.
pub struct Checking;

thread_local! {
    static WATCHED: Cell<Option<&'static Canaries>> = const { Cell::new(None) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[expect(
    unsafe_code,
    reason = "an allocator is the only place that sees blocks as they are freed"
)]
// SAFETY: blocks come from and go back to `System`, unchanged; `realloc` is the provided one, on top of these two.
unsafe impl GlobalAlloc for Checking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the layout is the caller's. Zeroed, so that a block never holds what was not written to it.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Ok(Some(canaries)) = WATCHED.try_with(Cell::get) {
            // SAFETY: the block is `layout.size()` bytes long, initialised by `alloc`, and nobody's any more.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            if let Some(found) = canaries.find(bytes) {
                // Reporting allocates.
                WATCHED.set(None);
                canaries.report(found, bytes.len());
                WATCHED.set(Some(canaries));
            }
        }
        // SAFETY: it came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

/// How many blocks this thread asks for while `work` runs.
pub fn count_allocations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let result = work();
    (result, ALLOCATIONS.get() - before)
}

/// Bytes, and what they are of.
type Pattern = (Box<[u8]>, String);

/// What must not be in freed memory: for each secret the bytes themselves, their hex and their base64.
#[derive(Default)]
pub struct Canaries {
    /// By the pair of bytes they begin with.
    patterns: HashMap<usize, Vec<Pattern>>,
    /// The pairs of bytes that there are, one bit each.
    beginnings: Vec<u64>,
    reports: Mutex<Vec<String>>,
}

impl Canaries {
    /// Watches for a secret that stands alone, of 12 bytes or more.
    pub fn add(&mut self, label: &str, secret: &[u8]) {
        self.add_inside(label, secret, 0, secret.len());
    }

    /// Watches for `container[start..end]`: what is around it (a public key, say) may be freed unwiped, but is
    /// encoded together with it.
    pub fn add_inside(&mut self, label: &str, container: &[u8], start: usize, end: usize) {
        let secret = &container[start..end];
        assert!(secret.len() >= 12, "{label} is too short to be told from chance");
        for piece in [&secret[..12], &secret[secret.len() - 12..]] {
            self.pattern(format!("{label}, raw"), piece.into());
            self.pattern(format!("{label}, hex"), hex::encode(piece).into_bytes());
        }
        // Characters of which all bits are of the secret, a line of PEM at a time.
        let (first, last) = ((start * 8).div_ceil(6), end * 8 / 6);
        let text = STANDARD.encode(container).into_bytes();
        for line in (0..last).step_by(64) {
            let (from, to) = (first.max(line), last.min(line + 64));
            if to >= from + 16 {
                self.pattern(format!("{label}, base64"), text[from..from + 16].to_vec());
                self.pattern(format!("{label}, base64"), text[to - 16..to].to_vec());
            }
        }
    }

    fn pattern(&mut self, label: String, bytes: Vec<u8>) {
        self.beginnings.resize(1024, 0);
        let pair = usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
        self.beginnings[pair / 64] |= 1 << (pair % 64);
        self.patterns.entry(pair).or_default().push((bytes.into(), label));
    }

    /// The first pattern in `bytes`.
    fn find(&self, bytes: &[u8]) -> Option<&str> {
        bytes.windows(2).enumerate().find_map(|(at, pair)| {
            let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            if self.beginnings[pair / 64] >> (pair % 64) & 1 == 0 {
                return None;
            }
            let mut patterns = self.patterns.get(&pair)?.iter();
            let found = patterns.find(|(pattern, _)| bytes[at..].starts_with(pattern));
            found.map(|(_, label)| label.as_str())
        })
    }

    /// All labels of patterns in `bytes`.
    pub fn all_in(&self, bytes: &[u8]) -> Vec<&str> {
        let is_in = |pattern: &[u8]| bytes.windows(pattern.len()).any(|window| window == pattern);
        let patterns = self.patterns.values().flatten();
        let found = patterns.filter(|(pattern, _)| is_in(pattern));
        found.map(|(_, label)| label.as_str()).collect()
    }

    fn report(&self, label: &str, size: usize) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        // Enough to see the pattern in the places.
        let place = if reports.len() < 24 {
            place()
        } else {
            String::new()
        };
        reports.push(format!("a block of {size} bytes was freed with {label}\n{place}"));
    }

    /// Runs `work` on this thread, and tells of each block it freed with a secret in it.
    pub fn watch<T>(self, work: impl FnOnce() -> T) -> (T, Vec<String>) {
        // Never freed: the allocator may look at it at any time.
        let canaries: &'static Self = Box::leak(Box::new(self));
        WATCHED.set(Some(canaries));
        let result = work();
        WATCHED.set(None);
        let mut reports = canaries.reports.lock().unwrap_or_else(PoisonError::into_inner);
        (result, std::mem::take(&mut *reports))
    }
}

/// The functions on the stack that are ours or a crypto crate's.
fn place() -> String {
    let stack = Backtrace::force_capture().to_string();
    let ours = [
        "marblerun",
        "proofs::wiped",
        "aws_lc",
        "p224",
        "p384",
        "sec1",
        "pkcs8",
        "serde_json",
    ];
    let frames = stack
        .lines()
        .filter(|line| ours.iter().any(|name| line.contains(name)));
    frames
        .take(14)
        .map(|frame| format!("    {}\n", frame.trim()))
        .collect()
}

#[test]
fn what_is_freed_unwiped_is_found() {
    let secret: Vec<u8> = (0..48).map(|number: u8| number.wrapping_mul(37) ^ 0x5a).collect();
    let canaries = || {
        let mut canaries = Canaries::default();
        canaries.add("the secret", &secret);
        canaries
    };
    let found = |work: &dyn Fn()| canaries().watch(work).1;
    let kinds = |work: &dyn Fn(), kind: &str| {
        let found = found(work);
        assert!(!found.is_empty(), "{kind}");
        assert!(found.iter().all(|report| report.contains(kind)), "{found:?}");
    };
    kinds(&|| drop(secret.clone()), "the secret, raw");
    kinds(&|| drop(hex::encode(&secret)), "the secret, hex");
    kinds(&|| drop(STANDARD.encode(&secret)), "the secret, base64");
    kinds(
        &|| drop([&b"before"[..], &secret[..], b"after"].concat()),
        "the secret, raw",
    );
    let key = marblerun_core::secret::value::SecretBytes::copy_from(&secret);
    let pem = marblerun_core::pki::pem::encode_secret("PRIVATE KEY", &key);
    kinds(&|| drop(pem.as_str().to_owned()), "the secret, base64");
    // What a growing vector leaves behind.
    let grow = || {
        let mut growing = Vec::with_capacity(secret.len());
        growing.extend_from_slice(&secret);
        growing.extend_from_slice(&secret);
        zeroize::Zeroize::zeroize(&mut growing);
    };
    kinds(&grow, "the secret, raw");

    assert_eq!(found(&|| drop(zeroize::Zeroizing::new(secret.clone()))), [""; 0]);
    assert_eq!(found(&|| drop(vec![7; 4096])), [""; 0]);
    let (_, other_thread) = canaries().watch(|| {
        let secret = secret.clone();
        std::thread::spawn(move || drop(secret)).join().unwrap();
    });
    assert_eq!(other_thread, [""; 0], "of other tests nothing is told");
}
