#![no_main]

// The planted fault, which a run has to find.
libfuzzer_sys::fuzz_target!(|input: &[u8]| marblerun_fuzz_targets::planted(input));
