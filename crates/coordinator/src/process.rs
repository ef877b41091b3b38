//! What the process does to itself before it holds a secret.

use std::thread::available_parallelism;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getpid, getpriority_process, getrlimit, set_dumpable_behavior,
    setpriority_process, setrlimit,
};

/// The operating system refused to protect the process.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct HardenError {
    what: &'static str,
    source: rustix::io::Errno,
}

/// No core files, no inspection by other processes of the same user, and as many file descriptors as allowed.
///
/// # Errors
/// [`HardenError`] if core files cannot be switched off: memory full of secrets would land on a disk.
pub fn harden() -> Result<(), HardenError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(|source| HardenError {
        what: "core files cannot be switched off",
        source,
    })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|source| HardenError {
        what: "the process cannot be shielded from inspection",
        source,
    })?;
    let files = getrlimit(Resource::Nofile);
    // Only a convenience: with fewer descriptors, connections wait earlier.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            maximum: files.maximum,
        },
    );
    Ok(())
}

/// Has the allocator keep free memory in as many places as there are processors. By default glibc has eight times as many,
/// one for each thread that ever ran at the same time as others; what one of them keeps, no other uses, and memory
/// grows for hours under a steady load. To be called before there are other threads.
pub fn share_free_memory() {
    #[cfg(target_env = "gnu")]
    {
        let processors = available_parallelism().map_or(2, usize::from).max(2);
        let places = libc::c_int::try_from(processors).unwrap_or(libc::c_int::MAX);
        #[expect(
            unsafe_code,
            reason = "mallopt(3) has no safe wrapper; it takes two numbers and changes only how the allocator works"
        )]
        // SAFETY: `mallopt` may be called at any time, and with any value of M_ARENA_MAX.
        let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, places) };
        // Only a convenience, which another allocator need not know.
        let _ = taken;
    }
}

/// Has this thread give way to the others of the process: crowds of marbles come to it, and whoever administers them
/// must not wait behind them. It stands as far behind the main thread as five steps of `nice` (setpriority(2)).
pub fn give_way() {
    const STEPS: i32 = 5;
    let ours = getpriority_process(Some(getpid())).unwrap_or_default();
    // Only a convenience: on Linux, a process id of nobody means the calling thread.
    let _ = setpriority_process(None, ours.saturating_add(STEPS).min(19));
}

/// Connections one of the two listeners may have, so that descriptors for files remain.
pub fn connections_per_listener(wanted: usize) -> usize {
    const FOR_FILES: u64 = 128;
    match getrlimit(Resource::Nofile).current {
        None => wanted,
        Some(files) => {
            let half = usize::try_from(files.saturating_sub(FOR_FILES) / 2).unwrap_or(wanted);
            wanted.min(half.max(16))
        }
    }
}
