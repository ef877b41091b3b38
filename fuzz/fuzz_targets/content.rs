#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| marblerun_fuzz_targets::feed("content", input));
