//! `cargo xtask fuzz certificate`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::run("certificate", input));
