//! Activations leave nothing behind in memory.

use crate::support::program::{Program, manifest, start, uuid};

#[tokio::test]
async fn memory_does_not_grow_with_activations() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    for _ in 0..200 {
        program.activate("plain", &uuid()).await.unwrap();
    }
    let early = resident(&program);
    for _ in 200..1_000 {
        program.activate("plain", &uuid()).await.unwrap();
    }
    let late = resident(&program);
    assert!(
        late.saturating_sub(early) <= 1 << 20,
        "{early} bytes after 200 activations, {late} after 1,000"
    );
}

/// Resident memory in bytes.
pub fn resident(program: &Program) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", program.pid())).unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}
