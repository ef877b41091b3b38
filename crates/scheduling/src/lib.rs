//! When threads get their turn on a processor: what neither the standard library nor a wrapper of the C library asks the
//! kernel for.

/// Has this thread get its turn soon after it wakes, for short turns in exchange: Linux from 6.12 on lets a thread whose
/// slice is shorter take the processor from another one (sched_setattr(2), `sched_runtime`). What it gets in all is the
/// same. Older kernels, and other systems, do not know of it: there nothing happens.
pub fn short_slices() {
    #[cfg(target_os = "linux")]
    {
        // Nanoseconds; the shortest there is.
        const SLICE: u64 = 100_000;
        const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
        let mut attributes = libc::sched_attr {
            size: SIZE,
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: 0,
            sched_deadline: 0,
            sched_period: 0,
        };
        #[expect(
            unsafe_code,
            reason = "the C library has no function for these calls; they read and write what is passed, and change only \
                      when this thread runs"
        )]
        // SAFETY: `attributes` is as large as `size` says, and outlives both calls; 0 is the calling thread.
        let _ = unsafe {
            let read = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0);
            // As whoever started the process wanted it, but for the slice; threads of real-time policies have none.
            let policies = [libc::SCHED_OTHER, libc::SCHED_BATCH].map(libc::c_int::cast_unsigned);
            if read == 0 && policies.contains(&attributes.sched_policy) {
                attributes.sched_runtime = SLICE;
                libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0)
            } else {
                read
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the kernel tells, and knows of slices: what it tells of this thread.
    fn slice() -> Option<u64> {
        let told = std::fs::read_to_string("/proc/thread-self/sched").ok()?;
        let line = told.lines().find(|line| line.starts_with("se.slice "))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[test]
    fn slices_become_short_and_the_thread_no_less_nice() {
        let thread = std::thread::spawn(|| {
            let nice = rustix::process::getpriority_process(None);
            let before = slice();
            short_slices();
            assert_eq!(rustix::process::getpriority_process(None), nice);
            match (before, slice()) {
                (Some(_), Some(after)) => assert_eq!(after, 100_000),
                _ => eprintln!("skipped: this kernel does not tell the slices of threads"),
            }
        });
        assert!(thread.join().is_ok());
    }
}
