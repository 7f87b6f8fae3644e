//! `cargo xtask fuzz traffic`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::run("traffic", input));
